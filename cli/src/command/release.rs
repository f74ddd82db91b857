//! `strongroom authority`, `strongroom key release` and `strongroom release`.
//!
//! What lives here: files into requests, and answers into output.
//! What must never live here: a decision; the daemon makes it.
//! Who calls it: the commands.

mod create;
mod envelope;
mod json;
mod open;
mod unwrapping;

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use strongroom_wire::admin::{AdminAnswer, AdminRequest, NewTrust};
use strongroom_wire::codec::List;
use strongroom_wire::request::KeyRelease;
use strongroom_wire::secret::Secret;

use super::{Bench, done};
use crate::arguments::{
    AuthorityArguments, AuthorityCommand, EncryptionName, KeyCommand, KeyReleaseArguments,
    ReleaseCommand,
};
use crate::client::{Client, unexpected};
use crate::failure::Failure;
use crate::output::{self, Format, Rows};
use crate::pem;
use crate::pin;

pub(super) fn authority(bench: Bench<'_>, command: &AuthorityCommand) -> Result<(), Failure> {
    match command {
        AuthorityCommand::Add(arguments) => add(bench, arguments),
        AuthorityCommand::List => list(bench),
        AuthorityCommand::Remove { url } => done(
            bench,
            &AdminRequest::AuthorityRemove { url },
            "the authority is gone",
        ),
    }
}

fn add(bench: Bench<'_>, arguments: &AuthorityArguments) -> Result<(), Failure> {
    let AuthorityArguments {
        url,
        keys,
        certificates,
        hardware,
        roots,
    } = arguments;
    let read =
        |path: &Path| fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error));
    let keys = keys.as_deref().map(read).transpose()?;
    let certificates = match certificates {
        None => Vec::new(),
        Some(path) => pem::certificates(&read(path)?)
            .map_err(|what| Failure::Failed(format!("{}: {what}", path.display())))?,
    };
    let roots = match roots {
        None => Vec::new(),
        Some(path) => fs::read(path).map_err(|error| Failure::file("read", path, &error))?,
    };
    let trust = match (&keys, hardware) {
        (Some(keys), _) => NewTrust::Keys(keys),
        (None, Some(kind)) => NewTrust::Hardware {
            kind,
            roots: Secret::new(&roots),
        },
        (None, None) => {
            let all = certificates.iter().map(|der| Secret::new(der)).collect();
            let all = List::new(all)
                .ok_or_else(|| Failure::Failed("these are too many certificates".into()))?;
            NewTrust::Certificates(all)
        }
    };
    done(
        bench,
        &AdminRequest::AuthorityAdd { url, trust },
        "the authority is registered",
    )
}

fn list(bench: Bench<'_>) -> Result<(), Failure> {
    let AdminAnswer::Authorities(authorities) = bench.ask(&AdminRequest::AuthorityList)? else {
        return Err(unexpected());
    };
    match bench.format {
        Format::Json => output::show_json(&authorities),
        Format::Text if authorities.items().is_empty() => output::show(
            "there is no authority yet; register one with: strongroom authority add URL --keys FILE\n",
        ),
        Format::Text => {
            let mut rows = Rows::new(&["authority", "trusted by", "sha-256"]);
            for authority in authorities.items() {
                let short = authority.pinned.get(..16).unwrap_or(&authority.pinned);
                rows.push(vec![
                    authority.url.clone(),
                    authority.about.clone(),
                    short.to_owned(),
                ]);
            }
            output::show_rows(&rows)
        }
    }
}

pub(super) fn key(bench: Bench<'_>, command: &KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(arguments) => create::run(bench, arguments),
        KeyCommand::Release(arguments) => let_out(bench, arguments),
    }
}

fn let_out(bench: Bench<'_>, arguments: &KeyReleaseArguments) -> Result<(), Failure> {
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    let statement = statement(&arguments.token)?;
    let pin = pin::existing(arguments.pin_file.as_deref())?;
    let request = AdminRequest::KeyRelease {
        token: &arguments.hsm,
        user_pin: Secret::new(pin.expose()),
        key: &arguments.key,
        release: KeyRelease {
            statement: &statement,
            nonce: arguments.nonce.as_deref(),
            encryption: Some(match arguments.enc {
                EncryptionName::CkmRsaAesKeyWrap => "CKM_RSA_AES_KEY_WRAP",
                EncryptionName::RsaAesKeyWrap256 => "RSA_AES_KEY_WRAP_256",
                EncryptionName::RsaAesKeyWrap384 => "RSA_AES_KEY_WRAP_384",
            }),
            versioned: arguments.versioned,
        },
    };
    let AdminAnswer::Released { envelope } = client.ask(&request)? else {
        return Err(unexpected());
    };
    match (&arguments.out, bench.format) {
        (Some(path), _) => {
            fs::write(path, envelope).map_err(|error| Failure::file("write", path, &error))
        }
        (None, Format::Json) => output::show_json(&serde_json::json!({ "value": envelope })),
        (None, Format::Text) => output::show(&format!("{envelope}\n")),
    }
}

/// A statement, without the white space that editors leave at the end.
fn statement(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::file("read", path, &error))?;
    Ok(bytes.trim_ascii().to_vec())
}

pub(super) fn release(bench: Bench<'_>, command: &ReleaseCommand) -> Result<(), Failure> {
    match command {
        ReleaseCommand::Root => {
            let AdminAnswer::Certificate(der) = bench.ask(&AdminRequest::ReleaseRoot)? else {
                return Err(unexpected());
            };
            let text = pem::certificate(&der);
            match bench.format {
                Format::Json => output::show_json(&serde_json::json!({ "certificate": text })),
                Format::Text => output::show(&text),
            }
        }
        ReleaseCommand::Open(arguments) => open::run(bench, arguments),
    }
}
