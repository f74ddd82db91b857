//! `strongroom unseal` and `strongroom seal`.
//!
//! What lives here: bringing secrets to the daemon, and what a person must keep of a new seal.
//! What must never live here: what a secret opens; the daemon knows.
//! Who calls it: the commands.

use strongroom_wire::admin::{AdminAnswer, AdminRequest, NewProvider, Seal};
use strongroom_wire::codec::List;
use strongroom_wire::secret::Secret;

use super::Bench;
use crate::arguments::{Need, RotateArguments, UnsealArguments};
use crate::client::{Client, unexpected};
use crate::failure::Failure;
use crate::output::{self, Format, Rows};
use crate::pin::{self, Pin};

pub(super) fn unseal(bench: Bench<'_>, arguments: &UnsealArguments) -> Result<(), Failure> {
    // Connected first: nobody should type a secret for a daemon that is not there, or not sealed.
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    let request = if arguments.reset {
        AdminRequest::UnsealReset
    } else {
        AdminRequest::SealShow
    };
    let AdminAnswer::Seal(seal) = client.ask(&request)? else {
        return Err(unexpected());
    };
    if arguments.reset {
        return tell_progress(bench.format, &seal);
    }
    if !seal.sealed {
        return Err(Failure::Failed(
            "the daemon is not sealed: there is nothing to unseal".into(),
        ));
    }
    let what = match seal.providers.items() {
        [one] if one.kind == "passphrase" => "passphrase",
        providers if providers.iter().any(|one| one.kind == "passphrase") => "passphrase or share",
        _ => "share",
    };
    let secret = pin::secret(what, arguments.file.as_deref(), arguments.fd, false)?;
    let request = AdminRequest::Unseal {
        secret: Secret::new(secret.expose()),
    };
    match client.ask(&request)? {
        AdminAnswer::Seal(seal) => tell_progress(bench.format, &seal),
        _ => Err(unexpected()),
    }
}

fn tell_progress(format: Format, seal: &Seal) -> Result<(), Failure> {
    match format {
        Format::Json => output::show_json(seal),
        Format::Text if !seal.sealed => output::show("unsealed\n"),
        Format::Text => {
            let mut text = String::new();
            for provider in seal.providers.items() {
                if provider.given > 0 && provider.needed > 1 {
                    text.push_str(&format!(
                        "{} of {} shares\n",
                        provider.given, provider.needed
                    ));
                }
            }
            text.push_str(&format!(
                "sealed: waits for {}\n",
                output::printable(&seal.waits_for())
            ));
            output::show(&text)
        }
    }
}

pub(super) fn show(bench: Bench<'_>) -> Result<(), Failure> {
    match (bench.ask(&AdminRequest::SealShow)?, bench.format) {
        (AdminAnswer::Seal(seal), Format::Json) => output::show_json(&seal),
        (AdminAnswer::Seal(seal), Format::Text) => {
            output::show_rows(&rows(&seal))?;
            output::show(&remarks(&seal))
        }
        _ => Err(unexpected()),
    }
}

pub(super) fn rotate(bench: Bench<'_>, arguments: &RotateArguments) -> Result<(), Failure> {
    let asked = asked(&arguments.to)?;
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    let passphrase = match asked.contains(&Asked::Passphrase) {
        true => Some(pin::secret(
            "new passphrase",
            arguments.passphrase_file.as_deref(),
            arguments.passphrase_fd,
            true,
        )?),
        false => None,
    };
    let providers = asked
        .iter()
        .map(|one| provider(one, passphrase.as_ref(), &arguments.pcrs))
        .collect::<Result<Vec<_>, _>>()?;
    let providers = List::new(providers)
        .ok_or_else(|| Failure::Usage("a seal has at most two providers".into()))?;
    let request = AdminRequest::SealRotate {
        providers,
        all: arguments.need == Need::All,
        destroy_old: arguments.destroy_old,
    };
    let AdminAnswer::SealRotated { seal, shares } = client.ask(&request)? else {
        return Err(unexpected());
    };
    match bench.format {
        Format::Json => output::show_json(&serde_json::json!({ "seal": seal, "shares": shares })),
        Format::Text => {
            output::show_rows(&rows(&seal))?;
            output::show(&remarks(&seal))?;
            tell_shares(shares.items())
        }
    }
}

fn tell_shares(shares: &[String]) -> Result<(), Failure> {
    if shares.is_empty() {
        return Ok(());
    }
    let mut text = String::from(
        "\nShares, shown this once and stored nowhere. Give each line to another person:\n\n",
    );
    for share in shares {
        text.push_str(share);
        text.push('\n');
    }
    text.push_str("\nEach of them enters theirs with: strongroom unseal\n");
    output::show(&text)
}

fn rows(seal: &Seal) -> Rows {
    let mut rows = Rows::new(&["provider", "what", "needed"]);
    for provider in seal.providers.items() {
        let needed = match (seal.sealed, provider.needed) {
            (true, needed) => format!("{} of {needed} given", provider.given),
            (false, 1) => "1".into(),
            (false, needed) => format!("{needed} of {}", provider.total),
        };
        rows.push(vec![provider.kind.clone(), provider.shown.clone(), needed]);
    }
    rows
}

fn remarks(seal: &Seal) -> String {
    let mut text = String::new();
    if seal.providers.items().len() > 1 {
        text.push_str(if seal.all {
            "all of them together open the store\n"
        } else {
            "each of them alone opens the store\n"
        });
    }
    match &seal.file {
        Some(file) => text.push_str(&format!(
            "envelope {}, root key {}; back this file up with the store\n",
            output::printable(file),
            seal.root_key_id.as_deref().unwrap_or("?")
        )),
        None => text.push_str("no envelope; strongroom seal rotate makes one\n"),
    }
    for path in seal.left_over.items() {
        text.push_str(&format!(
            "careful: {} still opens the store without this seal; once the new one is backed up: strongroom seal rotate … --destroy-old, or destroy it yourself\n",
            output::printable(path)
        ));
    }
    text
}

/// A provider as it was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    KeyFile(String),
    Passphrase,
    Credential(String),
    Tpm,
    Shares(u8, u8),
}

/// Words to providers: those that need a value take the next word.
fn asked(words: &[String]) -> Result<Vec<Asked>, Failure> {
    let mut words = words.iter();
    let mut all = Vec::new();
    while let Some(word) = words.next() {
        let mut value = |what: &str| {
            words.next().cloned().ok_or_else(|| {
                Failure::Usage(format!("--to {word} needs {what}: --to {word} {what}"))
            })
        };
        all.push(match word.as_str() {
            "key-file" => {
                let path = value("PATH")?;
                let path = std::path::absolute(&path)
                    .map_err(|error| Failure::Usage(format!("{path}: {error}")))?;
                Asked::KeyFile(path.display().to_string())
            }
            "passphrase" => Asked::Passphrase,
            "credential" => Asked::Credential(value("NAME")?),
            "tpm" => Asked::Tpm,
            "shares" => {
                let text = value("K/N")?;
                let numbers = text
                    .split_once('/')
                    .and_then(|(k, n)| Some(Asked::Shares(k.parse().ok()?, n.parse().ok()?)));
                numbers.ok_or_else(|| {
                    Failure::Usage(format!(
                        "\"{text}\" is no number of shares; write for example --to shares 2/3"
                    ))
                })?
            }
            other => {
                return Err(Failure::Usage(format!(
                    "\"{other}\" is no provider of a seal; it is one of key-file PATH, passphrase, credential NAME, tpm, shares K/N"
                )));
            }
        });
    }
    Ok(all)
}

fn provider<'a>(
    asked: &'a Asked,
    passphrase: Option<&'a Pin>,
    pcrs: &[u8],
) -> Result<NewProvider<'a>, Failure> {
    Ok(match asked {
        Asked::KeyFile(path) => NewProvider::KeyFile { path },
        Asked::Passphrase => NewProvider::Passphrase {
            secret: Secret::new(passphrase.map_or(&[], Pin::expose)),
        },
        Asked::Credential(name) => NewProvider::Credential { name },
        Asked::Tpm => NewProvider::Tpm {
            pcrs: List::new(pcrs.to_vec())
                .ok_or_else(|| Failure::Usage("a TPM has 24 PCRs".into()))?,
        },
        Asked::Shares(threshold, count) => NewProvider::Shares {
            threshold: *threshold,
            count: *count,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<Asked>, Failure> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        asked(&words)
    }

    #[test]
    fn providers_take_the_words_they_need() {
        assert_eq!(
            words("key-file /k shares 2/3").unwrap(),
            [Asked::KeyFile("/k".into()), Asked::Shares(2, 3)]
        );
        assert_eq!(
            words("passphrase tpm").unwrap(),
            [Asked::Passphrase, Asked::Tpm]
        );
        for wrong in ["key-file", "shares 2", "shares 2/300", "credential", "none"] {
            assert!(matches!(words(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
