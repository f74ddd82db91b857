//! Where the root key comes from.
//!
//! What lives here: the seal of a store: an envelope that holds the root key for one or two providers, or, in stores without one, the
//! root key itself in a file or derived from a passphrase.
//! What must never live here: what the root key opens; that is the vault of the token.
//! Who calls it: start-up, rotation, and whoever restores a store.
//!
//! The providers are an enum: a trait comes with the first provider that is somebody else's.

mod ask;
mod envelope;
mod error;
mod files;
mod key_file;
mod make;
mod passphrase;
mod provider;
mod rotate;
mod sources;
pub mod tpm;
mod unsealing;

use std::fmt;
use std::path::PathBuf;

use strongroom_crypto::password::Argon2Cost;
use strongroom_crypto::random;
use strongroom_crypto::shamir::ShareError;
use strongroom_keymem::SecretBytes;

pub(crate) use ask::Terminal;
pub use envelope::{Envelope, Need};
pub use error::SealError;
pub use make::Target;
pub use passphrase::COST as PASSPHRASE_COST;
pub use provider::{Kind, Provider};
pub use rotate::{Rotated, Step};
pub use sources::Sources;
pub use unsealing::{Opening, Unsealing};

/// Length of the root key in bytes: AES-256 and HKDF-SHA256 hang from it.
pub const ROOT_KEY_BYTES: usize = 32;

/// The seal of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The envelope, `root.seal` beside the store. What stands in it comes before everything else.
    pub envelope: PathBuf,
    /// What opens a store without an envelope.
    pub direct: SealProvider,
    /// What a new store gets; none gives it what opens a store without an envelope.
    pub wanted: Option<Wanted>,
    /// Where secrets come from.
    pub sources: Sources,
}

/// The providers of a new store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// One or two, of different kinds.
    pub kinds: Vec<Kind>,
    /// How many of them open it.
    pub need: Need,
}

/// Where the root key comes from in a store without an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealProvider {
    /// It stands in a file of its own, which is made at the first start.
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// It is derived from a passphrase that stands in a file, for example a systemd credential.
    PassphraseFile {
        /// The file with the passphrase; a line feed at its end does not belong to it.
        path: PathBuf,
        /// The file with salt and cost, beside the store.
        salt: PathBuf,
        /// The cost of a new salt file.
        cost: Argon2Cost,
    },
}

/// Whether a store is there already. A root key may only be made for a store that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// There is none: this is the first start.
    Absent,
    /// There is one, and it needs the very key it was made with.
    Present,
}

impl SealProvider {
    /// The root key.
    ///
    /// # Errors
    /// [`SealError`] says which file, what is wrong and what to do.
    pub fn root_key(&self, store: StoreState) -> Result<SecretBytes, SealError> {
        match self {
            Self::KeyFile { path } => key_file::root_key(path, store),
            Self::PassphraseFile { path, salt, cost } => {
                passphrase::root_key(path, salt, *cost, store)
            }
        }
    }
}

impl fmt::Display for SealProvider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile { path } => write!(out, "key file {}", path.display()),
            Self::PassphraseFile { path, .. } => write!(out, "passphrase file {}", path.display()),
        }
    }
}

impl Seal {
    /// Opens the seal, or makes it when there is no store yet.
    ///
    /// # Errors
    /// [`SealError`] says which secret, what is wrong with it and what to do.
    pub fn open(&self, store: StoreState) -> Result<Opening, SealError> {
        if let Some(envelope) = Envelope::read(&self.envelope)? {
            self.warn_of_other_wishes(&envelope);
            return Unsealing::new(self.envelope.clone(), envelope, self.sources.clone()).start();
        }
        match (&self.wanted, store) {
            (Some(wanted), StoreState::Absent) => {
                let root = random_key()?;
                self.install_for(&root, &wanted.kinds, wanted.need)?;
                tracing::info!(seal = %self.envelope.display(), "a root key was made and sealed; back this file up with the store");
                Ok(Opening::Open(root))
            }
            _ => self.direct.root_key(store).map(Opening::Open),
        }
    }

    /// The root key of a store that is there, where no person has to wait for a socket.
    ///
    /// # Errors
    /// As [`Seal::open`]; and when somebody must bring a secret.
    pub fn root_key(&self, store: StoreState) -> Result<SecretBytes, SealError> {
        match self.open(store)? {
            Opening::Open(root) => Ok(root),
            Opening::Sealed(unsealing) => Err(SealError::Absent(format!(
                "the seal waits for {}; give a passphrase with --passphrase-fd or --passphrase-file, or start the daemon and unseal it",
                unsealing.report().waits_for()
            ))),
        }
    }

    /// The seal of a store is what its envelope says; a configuration that says otherwise is not obeyed in silence.
    fn warn_of_other_wishes(&self, envelope: &Envelope) {
        let Some(wanted) = &self.wanted else { return };
        let are: Vec<Kind> = envelope.providers().map(Provider::of_kind).collect();
        let same = wanted.kinds.len() == are.len()
            && wanted.kinds.iter().all(|kind| are.contains(kind))
            && (are.len() < 2 || wanted.need == envelope.need());
        if !same {
            tracing::warn!(
                "seal.providers is for a new store; this one is sealed by {envelope}. Change it with: strongroom seal rotate, or change the configuration"
            );
        }
    }

    /// What the seal is, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match Envelope::read(&self.envelope) {
            Ok(Some(envelope)) => envelope.to_string(),
            Ok(None) => self.direct.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Makes this seal hold a root key that is given, for a store that is about to be put in place. What opened another store here
    /// stays beside: an envelope as `root.seal.` and the first eight digits of its root key's id.
    ///
    /// # Errors
    /// [`SealError`]; then the seal is as it was.
    pub fn install(&self, root: &SecretBytes) -> Result<(), SealError> {
        let old = Envelope::read(&self.envelope)?;
        if let Some(old) = &old {
            if old.holds(root)? {
                return Ok(());
            }
            let id = old.root_key_id().get(..8).unwrap_or_default();
            let name = format!("root.seal.{id}");
            files::keep_as(&self.envelope, &self.envelope.with_file_name(name))?;
        }
        match (&self.wanted, &self.direct) {
            // As a first start would have it: the root key itself, in its file.
            (None, SealProvider::KeyFile { path }) if old.is_none() => {
                match key_file::envelope_key(path)? {
                    None => key_file::write_root_key(path, root),
                    Some(own) if root.with(|root| own.equals_in_constant_time(root)) => Ok(()),
                    Some(_) => self.install_for(root, &[Kind::KeyFile], Need::One),
                }
            }
            (None, SealProvider::KeyFile { .. }) => {
                self.install_for(root, &[Kind::KeyFile], Need::One)
            }
            (None, SealProvider::PassphraseFile { .. }) => {
                self.install_for(root, &[Kind::Passphrase], Need::One)
            }
            (Some(wanted), _) => self.install_for(root, &wanted.kinds, wanted.need),
        }
    }

    /// The key file of an envelope where the usual one holds the root key itself.
    fn usual_envelope_key(&self) -> PathBuf {
        self.envelope.with_file_name("root.seal.key")
    }

    fn install_for(&self, root: &SecretBytes, kinds: &[Kind], need: Need) -> Result<(), SealError> {
        let mut targets = Vec::new();
        for kind in kinds {
            let mut target = Target::of_kind(*kind, &self.sources)?;
            if let Target::KeyFile(path) = &mut target
                && let Some(own) = key_file::envelope_key(path)?
                && root.with(|root| own.equals_in_constant_time(root))
            {
                *path = self.usual_envelope_key();
            }
            targets.push(target);
        }
        let prepared = make::prepare(root, targets, need, &self.sources)?;
        let draft = prepared.envelope.write_draft(&self.envelope)?;
        prepared.verify(&draft, root, &self.sources)?;
        files::put_in_place(&self.envelope)
    }
}

/// What is wrong with a share, in its own words.
fn wrong_share(error: ShareError) -> SealError {
    match error {
        ShareError::Crypto(error) => error.into(),
        other @ (ShareError::NoShare
        | ShareError::Version
        | ShareError::Character { .. }
        | ShareError::Mistyped { .. }
        | ShareError::Damaged
        | ShareError::TooFew { .. }
        | ShareError::OtherGroup { .. }
        | ShareError::Twice { .. }
        | ShareError::Forged) => SealError::Wrong(other.to_string()),
    }
}

/// A new key from the random generator.
fn random_key() -> Result<SecretBytes, SealError> {
    SecretBytes::filled_by(ROOT_KEY_BYTES, |bytes| {
        random::fill(bytes).map_err(SealError::from)
    })
}
