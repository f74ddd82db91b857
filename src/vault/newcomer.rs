//! *What lives here:* a token that is to be: drafted with its PINs and its objects while nothing is locked, and made in one commit.
//! *What must never live here:* a rule on the length of a PIN. *Who calls it:* the service.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_crypto::random;
use strongroom_keymem::SecretBytes;

use super::batch::{Batch, SealedBatch};
use super::hierarchy::{self, KeySlot, TokenKeys};
use super::serial::SerialNumber;
use super::token::{TokenBody, TokenVault};
use super::{User, Vault, VaultError};

/// A token that is to be.
#[derive(Clone)]
pub struct NewToken<'n> {
    /// Its label, padded with spaces.
    pub label: [u8; 32],
    /// Its serial number, where somebody chose one.
    pub serial_number: Option<SerialNumber>,
    /// PIN of the security officer.
    pub so_pin: &'n [u8],
    /// PIN of the user.
    pub user_pin: Option<&'n [u8]>,
}

impl fmt::Debug for NewToken<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("NewToken")
    }
}

/// A token with its keys and its PINs, and without a place. Its number was that of the next token when it was drafted.
pub struct DraftToken {
    pub(super) keys: TokenKeys,
    pub(super) salt: [u8; 8],
    pub(super) body: TokenBody,
    realm: Arc<SecretBytes>,
    pub(super) next: AtomicU64,
}

impl DraftToken {
    /// The number that it was drafted for.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.keys.token
    }

    /// The objects that it is to have.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.keys, Arc::clone(&self.realm), &self.next)
    }
}

impl fmt::Debug for DraftToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DraftToken({})", self.keys.token)
    }
}

impl Vault {
    /// Drafts a token: what is slow in making one (the PINs are stretched), and nothing that anybody sees.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn draft_token(&self, new: &NewToken<'_>) -> Result<DraftToken, VaultError> {
        let mut salt = [0; 8];
        random::fill(&mut salt)?;
        let keys = TokenKeys::new(&self.root, self.next_token(), &salt)?;
        let realm = hierarchy::new_realm_key()?;
        let wrap = |user, pin: &[u8]| KeySlot::wrap(&keys, user, pin, self.cost, &realm);
        let body = TokenBody {
            label: new.label,
            so: wrap(User::So, new.so_pin)?,
            user: new.user_pin.map(|pin| wrap(User::User, pin)).transpose()?,
            serial: new.serial_number.clone(),
        };
        Ok(DraftToken {
            keys,
            salt,
            body,
            realm: realm.into(),
            next: AtomicU64::new(1),
        })
    }

    /// Makes a drafted token with all its objects, in one commit. None when another token was made since the draft: then it has to be
    /// drafted anew, because its number is bound into its keys.
    ///
    /// # Errors
    /// [`VaultError`], [`VaultError::SerialNumberTaken`] among them; then there is no new token.
    pub fn add_token(
        &self,
        draft: DraftToken,
        objects: Option<SealedBatch>,
    ) -> Result<Option<Arc<TokenVault>>, VaultError> {
        let mut register = self.register.lock();
        let mut body = register.body.clone();
        let number = draft.keys.token;
        if body.next_token != number {
            return Ok(None);
        }
        body.next_token += 1;
        body.tokens.push((number, draft.salt));
        let serial = draft.body.serial_number(draft.salt);
        if self.has_serial_number(&serial) {
            return Err(VaultError::SerialNumberTaken(serial.to_string()));
        }
        let (token, changes) = TokenVault::create(
            Arc::clone(&self.store),
            draft,
            objects,
            self.cost,
            &self.generation,
        )?;
        register.write(&self.store, &self.root, body, changes, 0)?;
        // The vault record and a first census.
        self.generation.grow(2);
        let token = Arc::new(token);
        self.tokens.write().insert(number, Arc::clone(&token));
        self.next_token.store(number + 1, Ordering::SeqCst);
        Ok(Some(token))
    }

    /// Makes a token without objects.
    ///
    /// # Errors
    /// [`VaultError`]; then there is no new token.
    pub fn make_token(&self, new: &NewToken<'_>) -> Result<Arc<TokenVault>, VaultError> {
        loop {
            let draft = self.draft_token(new)?;
            if let Some(token) = self.add_token(draft, None)? {
                return Ok(token);
            }
        }
    }

    /// Makes a token without objects, whose user has no PIN yet. Its number was never used before.
    ///
    /// # Errors
    /// [`VaultError`]; then there is no new token.
    pub fn create_token(
        &self,
        label: [u8; 32],
        so_pin: &[u8],
    ) -> Result<Arc<TokenVault>, VaultError> {
        self.make_token(&NewToken {
            label,
            serial_number: None,
            so_pin,
            user_pin: None,
        })
    }

    /// Whether a token has this serial number.
    #[must_use]
    pub fn has_serial_number(&self, serial: &SerialNumber) -> bool {
        let tokens = self.tokens.read();
        tokens
            .values()
            .any(|token| token.serial_number() == *serial)
    }

    /// The number that the next token will have.
    #[must_use]
    pub fn next_token(&self) -> u64 {
        self.next_token.load(Ordering::SeqCst)
    }
}
