//! Making a seal: for a new store, for a root key that is given, and for rotation.
//!
//! What lives here: from what is asked for to providers with keys, and the check that the written envelope opens.
//! What must never live here: the choice of providers; the configuration and the operator have it.
//! Who calls it: the seal, rotation.

use std::path::{Path, PathBuf};

use strongroom_crypto::hex;
use strongroom_crypto::shamir::{self, Share};
use strongroom_keymem::{SecretBytes, SecretVec};

use super::envelope::{Envelope, Need};
use super::passphrase::{Stretch, is_long_enough};
use super::provider::{Kind, Provider};
use super::sources::{Sources, credential_key, is_key};
use super::tpm::{self, PcrSelection, TpmAddress};
use super::{SealError, key_file, wrong_share};

/// A provider that is asked for.
#[derive(Debug)]
pub enum Target {
    /// A key file, which is made unless it is there.
    KeyFile(PathBuf),
    /// This passphrase.
    Passphrase(SecretVec),
    /// The credential of this name.
    Credential(String),
    /// New shares.
    Shares {
        /// How many give the key.
        threshold: u8,
        /// How many are made.
        count: u8,
    },
    /// The TPM of the machine, bound to these registers.
    Tpm(PcrSelection),
}

impl Target {
    /// What the configuration asks for, with its secret from where the configuration says.
    pub(super) fn of_kind(kind: Kind, sources: &Sources) -> Result<Self, SealError> {
        Ok(match kind {
            Kind::KeyFile => {
                let path = sources.key_file.as_ref();
                Self::KeyFile(path.unwrap_or(&sources.usual_key_file).clone())
            }
            Kind::Passphrase => Self::Passphrase(sources.new_passphrase()?),
            Kind::Credential => Self::Credential(sources.credential.clone().ok_or_else(|| {
                SealError::Unfit(
                    "the seal shall use a credential and none is named; add seal.credential".into(),
                )
            })?),
            Kind::Tpm => Self::Tpm(sources.tpm_pcrs.clone()),
            Kind::Shares => {
                return Err(SealError::Unfit(
                    "shares are shown once to whoever asks for them: begin with another provider, and then run: strongroom seal rotate --to shares 2/3".into(),
                ));
            }
        })
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::KeyFile(_) => Kind::KeyFile,
            Self::Passphrase(_) => Kind::Passphrase,
            Self::Credential(_) => Kind::Credential,
            Self::Shares { .. } => Kind::Shares,
            Self::Tpm(_) => Kind::Tpm,
        }
    }
}

/// A provider that was made, and how its key is had again for the check.
struct Made {
    provider: Provider,
    key: SecretBytes,
    proof: Proof,
}

enum Proof {
    /// Where it comes from at the next start.
    Source,
    /// The passphrase itself.
    Passphrase(SecretVec),
    /// The shares as they will be shown.
    Shares(Vec<SecretVec>),
}

/// An envelope whose secrets are in place and which is not written yet.
pub(super) struct Prepared {
    pub(super) envelope: Envelope,
    proofs: Vec<Proof>,
}

/// Makes the secrets of the providers, and wraps the root key for them.
pub(super) fn prepare(
    root: &SecretBytes,
    targets: Vec<Target>,
    need: Need,
    sources: &Sources,
) -> Result<Prepared, SealError> {
    accept(&targets)?;
    let mut providers = Vec::new();
    let mut proofs = Vec::new();
    for target in targets {
        let made = make(target, root, sources)?;
        providers.push((made.provider, made.key));
        proofs.push(made.proof);
    }
    Ok(Prepared {
        envelope: Envelope::make(root, need, providers)?,
        proofs,
    })
}

fn accept(targets: &[Target]) -> Result<(), SealError> {
    let twice = |(index, target): (usize, &Target)| {
        let mut before = targets.iter().take(index);
        before.any(|other| other.kind() == target.kind())
    };
    if targets.is_empty() || targets.len() > PROVIDERS_MAX {
        return Err(SealError::Unfit(format!(
            "a seal has one or two providers, and {} are asked for",
            targets.len()
        )));
    }
    if targets.iter().enumerate().any(twice) {
        return Err(SealError::Unfit(
            "the two providers of a seal are of different kinds".into(),
        ));
    }
    Ok(())
}

fn make_shares(threshold: u8, count: u8) -> Result<Made, SealError> {
    let key = super::random_key()?;
    let shares = shamir::split(&key, threshold, count).map_err(|_| {
        SealError::Unfit(format!(
            "{threshold}/{count} is no number of shares; from 2 to {} are needed, of at most {}",
            shamir::THRESHOLD_MAX,
            shamir::COUNT_MAX
        ))
    })?;
    let group = shares.first().map(Share::group).unwrap_or_default();
    let texts = shares
        .iter()
        .map(Share::to_text)
        .collect::<Result<_, _>>()?;
    Ok(Made {
        provider: Provider::Shares {
            group: hex::shown(&group),
            threshold,
            count,
        },
        key,
        proof: Proof::Shares(texts),
    })
}

fn make(target: Target, root: &SecretBytes, sources: &Sources) -> Result<Made, SealError> {
    match target {
        Target::KeyFile(path) => {
            let key = match key_file::envelope_key(&path)? {
                Some(key) => key,
                None => {
                    key_file::make_envelope_key(&path).map_err(|error| outside(&path, error))?
                }
            };
            if root.with(|root| key.equals_in_constant_time(root)) {
                return Err(SealError::Unfit(format!(
                    "{} holds the root key itself; name another file for the key of the seal",
                    path.display()
                )));
            }
            Ok(Made {
                provider: Provider::KeyFile { path },
                key,
                proof: Proof::Source,
            })
        }
        Target::Passphrase(passphrase) => {
            if !is_long_enough(passphrase.expose()) {
                return Err(SealError::Unfit(
                    "a passphrase of a seal has at least 12 bytes".into(),
                ));
            }
            let stretch = Stretch::make(sources.cost)?;
            Ok(Made {
                key: stretch.key(passphrase.expose())?,
                provider: Provider::Passphrase { stretch },
                proof: Proof::Passphrase(passphrase),
            })
        }
        Target::Credential(name) => {
            let content = sources.credential(&name)?.secret;
            let stretch = match is_key(content.expose()) {
                true => None,
                false => Some(Stretch::make(sources.cost)?),
            };
            Ok(Made {
                key: credential_key(content.expose(), stretch.as_ref())?,
                provider: Provider::Credential { name, stretch },
                proof: Proof::Source,
            })
        }
        Target::Shares { threshold, count } => make_shares(threshold, count),
        Target::Tpm(pcrs) => {
            let key = super::random_key()?;
            let device = sources.tpm();
            let blob = key.with(|key| tpm::seal(&TpmAddress::new(&device), key, &pcrs))?;
            Ok(Made {
                provider: Provider::Tpm { device, blob },
                key,
                proof: Proof::Source,
            })
        }
    }
}

impl Prepared {
    /// The shares that were made, as people keep them.
    pub(super) fn into_shares(self) -> Vec<SecretVec> {
        let shares = |proof| match proof {
            Proof::Shares(texts) => Some(texts),
            Proof::Source | Proof::Passphrase(_) => None,
        };
        self.proofs.into_iter().find_map(shares).unwrap_or_default()
    }

    /// Opens the written envelope with secrets fetched anew, each way that must open it.
    pub(super) fn verify(
        &self,
        written: &Path,
        root: &SecretBytes,
        sources: &Sources,
    ) -> Result<(), SealError> {
        let unverified = |what: &str| {
            SealError::Unfit(format!(
                "the new seal was written and does not open ({what}); the old one stays in force"
            ))
        };
        let envelope = Envelope::read(written)?.ok_or_else(|| unverified("it is not there"))?;
        let keys = envelope
            .providers()
            .zip(&self.proofs)
            .map(|(provider, proof)| proof.key(provider, sources))
            .collect::<Result<Vec<_>, _>>()?;
        let all: Vec<_> = keys.iter().enumerate().collect();
        let ways = match envelope.need() {
            Need::One => all.chunks(1),
            Need::All => all.chunks(all.len().max(1)),
        };
        for way in ways {
            let opened = envelope.open(written, way)?;
            let right =
                opened.is_some_and(|opened| root.with(|root| opened.equals_in_constant_time(root)));
            if !right {
                return Err(unverified("with its own secret"));
            }
        }
        Ok(())
    }
}

impl Proof {
    fn key(&self, provider: &Provider, sources: &Sources) -> Result<SecretBytes, SealError> {
        match (self, provider) {
            (Self::Passphrase(passphrase), Provider::Passphrase { stretch }) => {
                stretch.key(passphrase.expose())
            }
            // The last ones, so that not only those that come first are proved.
            (Self::Shares(texts), Provider::Shares { threshold, .. }) => {
                let last = texts.iter().rev().take(usize::from(*threshold));
                let parsed = last.map(|text| Share::parse(text.expose()));
                let shares = parsed.collect::<Result<Vec<_>, _>>().map_err(wrong_share)?;
                shamir::combine(&shares).map_err(wrong_share)
            }
            _ => {
                // What was just made is asked for, not what the configuration names until it is changed.
                let exact = Sources {
                    key_file: None,
                    credential: None,
                    ..sources.clone()
                };
                let found = exact.key(provider)?;
                found
                    .map(|found| found.secret)
                    .ok_or_else(|| SealError::Unfit("a secret cannot be had again".into()))
            }
        }
    }
}

/// The daemon may write beside its store and nowhere else; whoever wants the key elsewhere puts it there.
fn outside(path: &Path, error: SealError) -> SealError {
    if let SealError::Io { error: cause, .. } = &error
        && cause.kind() == std::io::ErrorKind::PermissionDenied
    {
        return SealError::Unfit(format!(
            "the daemon may not write {} ({cause}): put the key file beside the store, or make it yourself (umask 077; head -c 32 /dev/urandom > {}), name it as seal.key_file, start the daemon again, and rotate then",
            path.display(),
            path.display()
        ));
    }
    error
}

/// Most providers of one seal.
const PROVIDERS_MAX: usize = 2;
