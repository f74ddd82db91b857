//! `strongroom verify`.
//!
//! What lives here: asking for part after part, showing how far it is, and the verdict.
//! What must never live here: the check itself; the token does it.
//! Who calls it: the commands.

use strongroom_wire::admin::{AdminAnswer, AdminRequest, Verified, VerifyPart};

use super::Bench;
use crate::client::{Client, unexpected};
use crate::failure::Failure;
use crate::output::{self, Format};

pub(super) fn run(bench: Bench<'_>) -> Result<(), Failure> {
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    let mut ask = |part| {
        let AdminAnswer::Verified(verified) = client.ask(&AdminRequest::Verify { part })? else {
            return Err(unexpected());
        };
        Ok(verified)
    };
    let mut all = ask(VerifyPart::Vault)?;
    let tokens = all.tokens.clone();
    for (done, token) in tokens.iter().enumerate() {
        output::progress(&format!(
            "token {} of {}, {} records so far",
            done + 1,
            tokens.len(),
            all.records
        ));
        all.add(ask(VerifyPart::Token(*token))?);
    }
    output::progress("the journal");
    all.add(ask(VerifyPart::Journal)?);
    output::progress("");
    show(bench.format, &all)
}

fn show(format: Format, verified: &Verified) -> Result<(), Failure> {
    match format {
        Format::Json => output::show_json(&verified.summary())?,
        Format::Text => {
            for line in verified.report().lines() {
                output::show(&format!("{}\n", output::printable(line)))?;
            }
        }
    }
    if verified.findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::Failed("the store is not as it was left".into()))
    }
}
