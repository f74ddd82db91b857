//! The daemon's own authority: a place is described by what the daemon finds when it looks at the process that asks.
//!
//! What lives here: what such a process presents, and the statement that the daemon makes of it.
//! What must never live here: looking at a process (a port of the daemon does); what a key demands (policy).
//! Who calls it: the chapter of releases.
//!
//! For rehearsals, and for machines where whoever may start a program as its user is trusted with it (docs/release.md).

use serde_json::{Value, json};
use strongroom_attestation::unambiguous;
use strongroom_crypto::hex;
use strongroom_crypto::random;

use super::authority::{Authority, LOCAL};
use super::statement::{EVIDENCE_SECONDS, Patience, STATEMENT_BYTES_MAX, Statement};
use super::text::{decoded, encoded};
use super::{Refusal, Why};
use crate::audit::Principal;
use crate::ports::{Measurement, Time};

/// The runtime that a process presents to be measured, with the key that it can decrypt with; none where something else is presented.
///
/// # Errors
/// [`Refusal`] for one that cannot be read.
pub fn runtime_in(presented: &[u8]) -> Result<Option<Value>, Refusal> {
    if presented.len() > STATEMENT_BYTES_MAX || presented.trim_ascii_start().first() != Some(&b'{')
    {
        return Ok(None);
    }
    // What is no JSON is refused as evidence of hardware that is none.
    let Ok(container) = unambiguous(presented) else {
        return Ok(None);
    };
    let member = |name| container.get(name).and_then(Value::as_str);
    if member("format") != Some(FORMAT) {
        return Ok(None);
    }
    if container.as_object().is_none_or(|all| all.len() != 2) {
        return Err(Refusal::malformed(
            "what is presented to be measured has other members than format and runtime",
        ));
    }
    let runtime = member("runtime")
        .and_then(decoded)
        .and_then(|bytes| unambiguous(&bytes).ok())
        .filter(Value::is_object)
        .ok_or_else(|| {
            Refusal::malformed(
                "the runtime is no object of JSON in base64url, or has a member twice",
            )
        })?;
    Ok(Some(runtime))
}

/// What the daemon says of a process that it has measured.
///
/// # Errors
/// [`Refusal`].
pub fn statement(
    runtime: Value,
    who: &Principal,
    measured: &Measurement,
    patience: Patience,
    now: Time,
) -> Result<Statement, Refusal> {
    let mut claims = json!({
        "iss": LOCAL,
        "x-ms-attestation-type": FORMAT,
        "x-ms-runtime": runtime,
        "local-uid": who.uid,
        "local-gid": who.gid,
    });
    let program = measured.program.as_ref();
    for (name, value) in [
        (
            "local-executable",
            program.map(|program| program.path.clone()),
        ),
        (
            "local-executable-sha256",
            program.map(|program| hex::shown(&program.sha256)),
        ),
        ("local-unit", measured.unit.clone()),
    ] {
        if let (Some(value), Some(claims)) = (value, claims.as_object_mut()) {
            claims.insert(name.to_owned(), Value::String(value));
        }
    }
    // Each look is a statement of its own.
    let mut id = [0; 16];
    random::fill(&mut id)?;
    let seconds = patience.seconds_max.min(EVIDENCE_SECONDS);
    Ok(Statement {
        authority: Authority::local(),
        claims,
        expires: Time(now.0.saturating_add(seconds.saturating_mul(1000))),
        id: encoded(&id),
    })
}

/// Why nothing was measured.
pub fn unmeasured(why: &str) -> Refusal {
    Refusal::new(
        Why::Forbidden,
        format!("the process that asks cannot be measured: {why}"),
    )
}

const FORMAT: &str = "local";

#[cfg(test)]
mod tests;
