//! What the daemon keeps and remembers of releases.
//!
//! What lives here: the registered authorities, the signers and the used statements in the vault's annex, and how many releases there were
//! lately.
//! What must never live here: a decision.
//! Who calls it: the service, for its administration and for the chapter of releases.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize, Serializer};
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::codec;
use strongroom_wire::secret::Secret;

use super::authority::{AUTHORITIES_MAX, Authority, LOCAL, Trust};
use super::envelope::{Certified, Signer};
use super::statement::Patience;
use super::used::Used;
use super::{Attested, Refusal, Why};
use crate::limits::Limits;
use crate::ports::Time;
use crate::sink::Locked;
use crate::vault::{Vault, VaultError};

/// How an operator wants releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseSettings {
    /// Whether each statement releases one key once, instead of any until its end.
    pub single_use: bool,
    /// What follows the name of a token in the name of its host.
    pub domain: String,
    /// Whether the daemon's own authority, which measures the process that asks, is one.
    pub local: bool,
}

impl Default for ReleaseSettings {
    fn default() -> Self {
        Self {
            single_use: false,
            domain: "strongroom.internal".to_owned(),
            local: false,
        }
    }
}

/// What the vault's annex holds.
#[derive(Debug, Default)]
struct Kept {
    authorities: Vec<Authority>,
    root: Option<Certified>,
    leaves: Vec<Leaf>,
    used: Used,
}

/// The signer of one token.
#[derive(Debug)]
struct Leaf {
    /// The serial number of the token.
    serial: String,
    /// Whom its certificate names.
    host: String,
    certified: Certified,
}

/// As it is written: each secret is seen in its place only.
#[derive(Serialize)]
struct Written<'k> {
    authorities: &'k [Authority],
    root: Option<WrittenKey<'k>>,
    leaves: Vec<(&'k str, &'k str, WrittenKey<'k>)>,
}

#[derive(Serialize)]
struct WrittenKey<'k> {
    #[serde(serialize_with = "exposed")]
    key: &'k SecretBytes,
    certificate: &'k [u8],
}

/// The same, as it is read.
#[derive(Deserialize)]
struct Read<'k> {
    authorities: Vec<Authority>,
    #[serde(borrow)]
    root: Option<ReadKey<'k>>,
    leaves: Vec<(String, String, ReadKey<'k>)>,
}

#[derive(Deserialize)]
struct ReadKey<'k> {
    #[serde(borrow)]
    key: Secret<'k>,
    certificate: Vec<u8>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn exposed<S: Serializer>(key: &&SecretBytes, serializer: S) -> Result<S::Ok, S::Error> {
    key.with(|bytes| serializer.serialize_bytes(bytes))
}

impl ReadKey<'_> {
    fn certified(self) -> Result<Certified, VaultError> {
        Ok(Certified {
            key: SecretBytes::copy_from(self.key.expose())?,
            certificate: self.certificate,
        })
    }
}

impl Kept {
    fn read(annex: &[u8]) -> Result<Self, VaultError> {
        if annex.is_empty() {
            return Ok(Self::default());
        }
        let unreadable = |_| VaultError::Tampered {
            what: "what the vault record says of releases cannot be read".into(),
        };
        let (read, used): (Read<'_>, _) = codec::decode_front(annex).map_err(unreadable)?;
        // Behind the rest, and only where there are some: before any statement was good once, there was nothing.
        let used = match used {
            [] => Used::default(),
            used => codec::decode(used).map_err(unreadable)?,
        };
        let leaf = |(serial, host, key): (String, String, ReadKey<'_>)| {
            let certified = key.certified()?;
            Ok(Leaf {
                serial,
                host,
                certified,
            })
        };
        Ok(Self {
            authorities: read.authorities,
            root: read.root.map(ReadKey::certified).transpose()?,
            leaves: read
                .leaves
                .into_iter()
                .map(leaf)
                .collect::<Result<_, VaultError>>()?,
            used,
        })
    }

    fn written(&self) -> Result<SecretBytes, VaultError> {
        let written = Written {
            authorities: &self.authorities,
            root: self.root.as_ref().map(WrittenKey::of),
            leaves: self
                .leaves
                .iter()
                .map(|leaf| {
                    (
                        leaf.serial.as_str(),
                        leaf.host.as_str(),
                        WrittenKey::of(&leaf.certified),
                    )
                })
                .collect(),
        };
        let mut bytes = SecretVec::new();
        codec::encode(&written, &mut Locked(&mut bytes)).map_err(|_| VaultError::Memory)?;
        if !self.used.is_empty() {
            codec::encode(&self.used, &mut Locked(&mut bytes)).map_err(|_| VaultError::Memory)?;
        }
        Ok(SecretBytes::copy_from(bytes.expose())?)
    }

    fn leaf(&self, serial: &str, host: &str) -> Option<&Certified> {
        let fits = |leaf: &&Leaf| leaf.serial == serial && leaf.host == host;
        self.leaves.iter().find(fits).map(|leaf| &leaf.certified)
    }
}

impl<'k> WrittenKey<'k> {
    fn of(certified: &'k Certified) -> Self {
        Self {
            key: &certified.key,
            certificate: &certified.certificate,
        }
    }
}

/// What is remembered of releases while the daemon runs: the authorities, which stand in the annex too, and how many keys left lately.
#[derive(Debug)]
pub struct Releases {
    authorities: RwLock<Arc<Vec<Authority>>>,
    /// When releases were lately, oldest first.
    lately: Mutex<VecDeque<Time>>,
}

impl Releases {
    /// Reads what the vault keeps.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open(vault: &Vault) -> Result<Self, VaultError> {
        let authorities =
            vault.with_annex(|annex| Kept::read(annex).map(|kept| kept.authorities))?;
        Ok(Self {
            authorities: RwLock::new(Arc::new(authorities)),
            lately: Mutex::default(),
        })
    }

    /// The authorities whose word counts.
    #[must_use]
    pub fn authorities(&self) -> Arc<Vec<Authority>> {
        self.authorities.read().clone()
    }

    /// Whether an authority's word still counts.
    #[must_use]
    pub fn believes(&self, authority: &Authority, settings: &ReleaseSettings) -> bool {
        match authority.trust {
            Trust::Local => settings.local,
            _ => self.authorities().contains(authority),
        }
    }

    /// Registers an authority; one of the same name must not be there.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has changed.
    pub fn add(&self, vault: &Vault, authority: Authority) -> Result<(), Refusal> {
        self.change(vault, |authorities| {
            if authorities.iter().any(|known| known.url == authority.url) {
                return Err(Refusal::forbidden(
                    "there is an authority of this name already; remove it first",
                ));
            }
            if authorities.len() >= AUTHORITIES_MAX {
                return Err(Refusal::forbidden(format!(
                    "there are {AUTHORITIES_MAX} authorities already"
                )));
            }
            authorities.push(authority);
            authorities.sort_by(|one, other| one.url.cmp(&other.url));
            Ok(())
        })
    }

    /// Takes an authority away. Sessions that it attested can release no more.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has changed.
    pub fn remove(&self, vault: &Vault, url: &str) -> Result<(), Refusal> {
        self.change(vault, |authorities| {
            let before = authorities.len();
            let form = super::text::authority_form(url);
            if form.as_deref() == Some(LOCAL) {
                return Err(Refusal::forbidden(
                    "it is the daemon's own authority; release.local = false in the configuration and a reload switch it off",
                ));
            }
            authorities.retain(|known| Some(&known.url) != form.as_ref());
            if authorities.len() == before {
                return Err(Refusal::forbidden(format!(
                    "no authority is called {url:?}"
                )));
            }
            Ok(())
        })
    }

    fn change(
        &self,
        vault: &Vault,
        change: impl FnOnce(&mut Vec<Authority>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let after = vault.change_annex(|annex| {
            let mut kept = Kept::read(annex)?;
            change(&mut kept.authorities)?;
            let annex = kept.written()?;
            Ok::<_, Refusal>((annex, kept.authorities))
        })?;
        *self.authorities.write() = Arc::new(after);
        Ok(())
    }

    /// The root certificate of this installation, in DER; made when it is first asked for.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn root_certificate(&self, vault: &Vault, now: Time) -> Result<Vec<u8>, Refusal> {
        let of = |kept: &Kept| kept.root.as_ref().map(|root| root.certificate.clone());
        if let Some(known) = vault.with_annex(|annex| Kept::read(annex).map(|kept| of(&kept)))? {
            return Ok(known);
        }
        vault.change_annex(|annex| {
            let mut kept = Kept::read(annex)?;
            let certificate = with_root(&mut kept, now)?.certificate.clone();
            Ok((kept.written()?, certificate))
        })
    }

    /// Who signs for a token: made when it is first needed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn signer(
        &self,
        vault: &Vault,
        serial: &str,
        host: &str,
        now: Time,
    ) -> Result<Signer, Refusal> {
        let of = |kept: &Kept| match (kept.leaf(serial, host), &kept.root) {
            (Some(leaf), Some(root)) => Signer::new(leaf, root).map(Some),
            _ => Ok(None),
        };
        if let Some(known) = vault.with_annex(|annex| Ok::<_, Refusal>(of(&Kept::read(annex)?)?))? {
            return Ok(known);
        }
        vault.change_annex(|annex| {
            let mut kept = Kept::read(annex)?;
            let certified = with_root(&mut kept, now)?.leaf(host, now)?;
            // The leaf of another host of this token is of no use any more.
            kept.leaves.retain(|leaf| leaf.serial != serial);
            let (serial, host) = (serial.to_owned(), host.to_owned());
            kept.leaves.push(Leaf {
                serial,
                host,
                certified,
            });
            let signer = of(&kept)?;
            let signer = signer.ok_or_else(|| Refusal::new(Why::Failed, "there is no signer"))?;
            Ok((kept.written()?, signer))
        })
    }

    /// Takes a place for one release, if there were not too many in the last minute.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit(&self, limits: &Limits, now: Time) -> Result<(), Refusal> {
        let most = limits.releases_per_minute_max;
        let mut lately = self.lately.lock();
        while lately
            .front()
            .is_some_and(|then| then.0 + MINUTE_MS <= now.0)
        {
            lately.pop_front();
        }
        if lately.len() >= most {
            return Err(Refusal::new(
                Why::Throttled,
                format!(
                    "there were {most} releases in the last minute (limits.releases_per_minute_max)"
                ),
            ));
        }
        lately.push_back(now);
        Ok(())
    }

    /// Marks a statement as used, where each is good once: on the disk before anything is released under it, so that no restart forgets it.
    ///
    /// # Errors
    /// [`Refusal`] when it was used before, too many are remembered, or that cannot be kept.
    pub fn use_once(
        &self,
        vault: &Vault,
        attested: &Attested,
        settings: &ReleaseSettings,
        now: Time,
    ) -> Result<(), Refusal> {
        // Each look of the daemon's own authority is a statement of its own, so none comes twice.
        if !settings.single_use || attested.authority().trust == Trust::Local {
            return Ok(());
        }
        vault.change_annex(|annex| {
            let mut kept = Kept::read(annex)?;
            kept.used.take(attested.id(), attested.expires(), now)?;
            Ok((kept.written()?, ()))
        })
    }
}

/// The root of what is kept, made where it is missing.
fn with_root(kept: &mut Kept, now: Time) -> Result<&Certified, Refusal> {
    if kept.root.is_none() {
        kept.root = Some(Certified::root(now)?);
    }
    kept.root
        .as_ref()
        .ok_or_else(|| Refusal::new(Why::Failed, "there is no root"))
}

/// How long statements may hold, as the operator set it.
#[must_use]
pub const fn patience(limits: &Limits) -> Patience {
    Patience {
        seconds_max: limits.statement_seconds_max,
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        Self::new(Why::Failed, format!("the store was not changed: {error}"))
    }
}

const MINUTE_MS: u64 = 60_000;
