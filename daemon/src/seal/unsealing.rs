//! Opening an envelope, secret by secret.
//!
//! What lives here: which keys of the providers are there, which are missing, and what the next secret means.
//! What must never live here: who brings a secret; that is start-up or the sealed daemon.
//! Who calls it: the seal at start, the sealed daemon afterwards.

use std::path::PathBuf;

use strongroom_crypto::hex;
use strongroom_crypto::shamir::{self, Share, ShareError};
use strongroom_keymem::SecretBytes;
use strongroom_wire::admin;

use super::ask::Terminal;
use super::envelope::{Envelope, Need};
use super::passphrase::without_line_end;
use super::provider::Provider;
use super::sources::{Found, Sources};
use super::{SealError, wrong_share};

/// What a start comes to.
#[derive(Debug)]
pub enum Opening {
    /// The root key.
    Open(SecretBytes),
    /// Somebody must bring a secret.
    Sealed(Box<Unsealing>),
}

/// An envelope that is being opened.
#[derive(Debug)]
pub struct Unsealing {
    path: PathBuf,
    envelope: Envelope,
    sources: Sources,
    /// The key of each provider that is there.
    keys: Vec<Option<SecretBytes>>,
    /// Shares, until there are enough.
    shares: Vec<Share>,
}

impl Unsealing {
    pub(super) fn new(path: PathBuf, envelope: Envelope, sources: Sources) -> Self {
        let keys = envelope.providers().map(|_| None).collect();
        Self {
            path,
            envelope,
            sources,
            keys,
            shares: Vec::new(),
        }
    }

    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// As far as it goes without a person; then with the one at the terminal, if there is one.
    pub(super) fn start(mut self) -> Result<Opening, SealError> {
        let mut failures = Vec::new();
        // Whether something is left that only a person can bring: a file that is named and wrong is a mistake, and no reason to wait.
        let mut person = false;
        let providers: Vec<Provider> = self.envelope.providers().cloned().collect();
        for (index, provider) in providers.iter().enumerate() {
            let taken = match self.sources.key(provider) {
                Ok(Some(found)) => self.take(index, found),
                Ok(None) => {
                    person = true;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            failures.extend(taken.err());
            if let Some(root) = self.root_key()? {
                return Ok(Opening::Open(root));
            }
        }
        // Where all are needed, one that cannot be had will not come by waiting for another.
        let hopeless = !person || self.envelope.need() == Need::All;
        let mut failures = failures.into_iter();
        match failures.next() {
            Some(first) if hopeless => return Err(first),
            Some(first) => {
                for failure in std::iter::once(first).chain(failures) {
                    tracing::warn!("{failure}");
                }
            }
            None => {}
        }
        if self.sources.may_ask
            && let Some(index) = self.passphrase_awaited()
            && let Some(terminal) = Terminal::open()
        {
            return self.ask(index, terminal);
        }
        Ok(Opening::Sealed(Box::new(self)))
    }

    fn ask(mut self, index: usize, terminal: Terminal) -> Result<Opening, SealError> {
        let mut last = None;
        for _ in 0..TRIES_AT_TERMINAL {
            let typed = terminal.ask("Passphrase of the root key: ")?;
            match self.give_passphrase(index, typed.expose()) {
                Ok(()) => match self.root_key()? {
                    Some(root) => return Ok(Opening::Open(root)),
                    None => return Ok(Opening::Sealed(Box::new(self))),
                },
                Err(error @ SealError::Wrong(_)) => {
                    terminal.tell(&format!("{error}\n"))?;
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(SealError::Memory))
    }

    /// The root key, once enough keys are there.
    pub(super) fn root_key(&self) -> Result<Option<SecretBytes>, SealError> {
        let keys: Vec<_> = self
            .keys
            .iter()
            .enumerate()
            .filter_map(|(index, key)| Some((index, key.as_ref()?)))
            .collect();
        self.envelope.open(&self.path, &keys)
    }

    /// A secret that a person brought: the passphrase, or a share. Answers the root key once it opens.
    ///
    /// # Errors
    /// [`SealError`] says what is wrong with it; what was given before stays.
    pub fn give(&mut self, secret: &[u8]) -> Result<Option<SecretBytes>, SealError> {
        let secret = without_line_end(secret);
        let share = Share::parse(secret);
        match (self.shares_awaited(), self.passphrase_awaited(), share) {
            // With a passphrase awaited too, whatever does not begin as a share is that.
            (Some(_), Some(index), Err(ShareError::NoShare)) | (None, Some(index), _) => {
                self.give_passphrase(index, secret)?;
            }
            (Some(index), _, share) => self.give_share(index, share.map_err(wrong_share)?)?,
            (None, None, _) => {
                return Err(SealError::Unfit(
                    "this seal waits for no further secret that a person could bring; see: strongroom seal show".into(),
                ));
            }
        }
        self.root_key()
    }

    fn give_share(&mut self, index: usize, share: Share) -> Result<(), SealError> {
        let provider = self.envelope.providers().nth(index);
        let Some(Provider::Shares {
            group, threshold, ..
        }) = provider
        else {
            return Err(SealError::Unfit("this seal has no shares".into()));
        };
        let number = share.index();
        if hex::shown(&share.group()) != *group || share.threshold() != *threshold {
            return Err(SealError::Wrong(format!(
                "share {number} is not one of this seal; it was made for another one, or before the seal was changed"
            )));
        }
        if self.shares.iter().any(|other| other.index() == number) {
            return Err(wrong_share(ShareError::Twice { index: number }));
        }
        let needed = usize::from(*threshold);
        self.shares.push(share);
        if self.shares.len() < needed {
            return Ok(());
        }
        // Enough: whatever comes of it, they have done what they were given for.
        let shares = std::mem::take(&mut self.shares);
        let secret = shamir::combine(&shares).map_err(wrong_share)?;
        let source = "what the shares give".into();
        self.take(index, Found { secret, source })
    }

    /// Forgets what persons have brought.
    pub fn reset(&mut self) {
        for (provider, key) in self.envelope.providers().zip(&mut self.keys) {
            if matches!(
                provider,
                Provider::Passphrase { .. } | Provider::Shares { .. }
            ) {
                *key = None;
            }
        }
        self.shares.clear();
    }

    /// What the seal is, and how much of it is open.
    #[must_use]
    pub fn report(&self) -> admin::Seal {
        let shares = u32::try_from(self.shares.len()).unwrap_or(u32::MAX);
        self.envelope.report(&self.path, true, |index, provider| {
            match (self.keys.get(index), provider) {
                (Some(Some(_)), provider) => provider.secrets().0,
                (_, Provider::Shares { .. }) => shares,
                _ => 0,
            }
        })
    }

    fn give_passphrase(&mut self, index: usize, passphrase: &[u8]) -> Result<(), SealError> {
        let Some(Provider::Passphrase { stretch }) = self.envelope.providers().nth(index) else {
            return Err(SealError::Unfit("this seal has no passphrase".into()));
        };
        let secret = stretch.key(passphrase)?;
        let source = "the passphrase".into();
        self.take(index, Found { secret, source })
    }

    /// Keeps a key that fits; one that does not is refused by name.
    fn take(&mut self, index: usize, found: Found<SecretBytes>) -> Result<(), SealError> {
        let Found { secret, source } = found;
        let wrong = || SealError::Wrong(format!("{source} is not the one of this seal"));
        if self.envelope.accepts(index, &secret)? == Some(false) {
            return Err(wrong());
        }
        if let Some(place) = self.keys.get_mut(index) {
            *place = Some(secret);
        }
        // What cannot be told apart alone shows together with the others.
        let complete = self.keys.iter().all(Option::is_some);
        if complete && self.root_key()?.is_none() {
            return Err(self.forget_the_doubtful()?);
        }
        Ok(())
    }

    /// All keys are there and do not open it: those that were known to be right stay, the others go.
    fn forget_the_doubtful(&mut self) -> Result<SealError, SealError> {
        let mut doubtful = Vec::new();
        for (index, provider) in self.envelope.providers().enumerate() {
            let Some(place) = self.keys.get_mut(index) else {
                continue;
            };
            let known = match place {
                Some(key) => self.envelope.accepts(index, key)? == Some(true),
                None => true,
            };
            if !known {
                *place = None;
                doubtful.push(format!("the {provider}"));
            }
        }
        let are = if doubtful.len() > 1 { "are" } else { "is" };
        Ok(SealError::Wrong(format!(
            "{} {are} not the one of this seal",
            doubtful.join(" or ")
        )))
    }

    /// The passphrase that a person could bring.
    fn passphrase_awaited(&self) -> Option<usize> {
        self.envelope
            .providers()
            .zip(&self.keys)
            .position(|(provider, key)| {
                key.is_none() && matches!(provider, Provider::Passphrase { .. })
            })
    }

    /// The shares that persons could bring.
    fn shares_awaited(&self) -> Option<usize> {
        let mut providers = self.envelope.providers().zip(&self.keys);
        providers.position(|(provider, key)| {
            key.is_none() && matches!(provider, Provider::Shares { .. })
        })
    }
}

/// How often the passphrase may be typed before the start is given up.
const TRIES_AT_TERMINAL: usize = 3;
