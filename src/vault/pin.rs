//! *What lives here:* PINs: comparing, counting tries, setting, resetting. *What must never live here:* rules on a PIN's length and
//! on who may set it; the chapter of sessions has those. *Who calls it:* the chapters of tokens and sessions.
//!
//! The rule: **a try is on the disk before its PIN is compared.** So a stopped machine gives no try back.
//!
//! - *Cold*, when this process has not seen the right PIN of that user: the try is charged and spent in one commit, then Argon2id
//!   and the key slot decide. A right PIN ends with a commit that charges one try *ahead*.
//! - *Warm*: the try was charged ahead, so the PIN is compared with a verifier in locked memory, in microseconds. A right PIN writes
//!   nothing. A wrong one commits the charge of the next try before it is answered.
//!
//! Whoever can stop the machine in the microseconds between a warm comparison and its commit has spent the try charged ahead and
//! looks as if he had not. That is one try for each right PIN in between, never a series: after a restart all are cold.

use std::fmt;

use serde::{Deserialize, Serialize};
use strongroom_crypto::digest::Hash;
use strongroom_crypto::mac::HmacKey;
use strongroom_keymem::SecretBytes;

use super::draft::Draft;
use super::hierarchy::{self, KeySlot};
use super::token::{TokenBody, TokenVault, Writer};
use super::{User, VaultError};
use crate::error::Error;
use crate::limits::Limits;
use crate::ports::RecordKind;
use crate::vault::census::Entries;

/// Tries of a PIN since it was last right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinTries {
    /// Wrong ones.
    pub used: u32,
    /// How many are left until it locks.
    pub left: u32,
}

impl PinTries {
    /// `CKF_USER_PIN_COUNT_LOW`, `CKF_SO_PIN_COUNT_LOW`: it was wrong at least once since it was last right.
    #[must_use]
    pub const fn count_low(self) -> bool {
        self.used > 0
    }

    /// `CKF_USER_PIN_FINAL_TRY`, `CKF_SO_PIN_FINAL_TRY`: one more wrong PIN locks it.
    #[must_use]
    pub const fn final_try(self) -> bool {
        self.left == 1
    }

    /// `CKF_USER_PIN_LOCKED`, `CKF_SO_PIN_LOCKED`.
    #[must_use]
    pub const fn locked(self) -> bool {
        self.left == 0
    }
}

/// Why a PIN opened nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// It is wrong. The try is recorded.
    Incorrect,
    /// It was wrong too often.
    Locked,
    /// It was never set.
    NotInitialized,
    /// It could not be compared.
    Vault(VaultError),
}

impl fmt::Display for LoginError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incorrect => out.write_str("the PIN is wrong"),
            Self::Locked => out.write_str("the PIN is locked after too many wrong ones; the security officer can set a new one"),
            Self::NotInitialized => out.write_str("the PIN was never set; the security officer sets the first one"),
            Self::Vault(error) => fmt::Display::fmt(error, out),
        }
    }
}

impl std::error::Error for LoginError {}

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Incorrect => Self::PinIncorrect,
            LoginError::Locked => Self::PinLocked,
            LoginError::NotInitialized => Self::UserPinNotInitialized,
            LoginError::Vault(error) => error.into(),
        }
    }
}

impl<E: Into<VaultError>> From<E> for LoginError {
    fn from(error: E) -> Self {
        Self::Vault(error.into())
    }
}

/// What the record of tries holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tries {
    so: UserTries,
    user: UserTries,
}

/// Tries of one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct UserTries {
    /// Charged since the PIN was last right; never fewer than were made.
    charged: u32,
    /// Whether one of them was not made yet.
    ahead: bool,
}

impl UserTries {
    /// As it stands after a right PIN: nothing but the charge ahead.
    const RIGHT: Self = Self {
        charged: 1,
        ahead: true,
    };

    fn used(self) -> u32 {
        self.charged.saturating_sub(u32::from(self.ahead))
    }

    /// One try more is paid and not made.
    fn with_one_ahead(self) -> Self {
        Self {
            charged: self.charged.saturating_add(1),
            ahead: true,
        }
    }

    /// The next try is paid and made: the one charged ahead, or one more.
    fn with_one_spent(self) -> Self {
        let charged = if self.ahead {
            self.charged
        } else {
            self.charged.saturating_add(1)
        };
        Self {
            charged,
            ahead: false,
        }
    }
}

impl Tries {
    fn of(self, user: User) -> UserTries {
        match user {
            User::So => self.so,
            User::User => self.user,
        }
    }

    fn with(self, user: User, tries: UserTries) -> Self {
        match user {
            User::So => Self { so: tries, ..self },
            User::User => Self {
                user: tries,
                ..self
            },
        }
    }

    /// What a user is told.
    pub(super) fn shown(self, user: User, limits: &Limits) -> PinTries {
        let used = self.of(user).used();
        PinTries {
            used,
            left: tries_max(user, limits).saturating_sub(used),
        }
    }
}

fn tries_max(user: User, limits: &Limits) -> u32 {
    match user {
        User::So => limits.so_tries_max,
        User::User => limits.user_tries_max,
    }
}

/// What this process remembers of right PINs.
pub(super) struct Gate {
    /// Random for each process: a verifier is worth nothing anywhere else.
    key: HmacKey,
    so: Memory,
    user: Memory,
}

#[derive(Default)]
struct Memory {
    verifier: Option<SecretBytes>,
    /// The try charged ahead was made, but recording the next charge failed. The next try must be charged first.
    charge_spent: bool,
}

impl Gate {
    pub(super) fn new() -> Result<Self, VaultError> {
        let key = hierarchy::new_realm_key()?.with(|key| HmacKey::new(Hash::Sha256, key))?;
        Ok(Self {
            key,
            so: Memory::default(),
            user: Memory::default(),
        })
    }

    fn memory(&mut self, user: User) -> &mut Memory {
        match user {
            User::So => &mut self.so,
            User::User => &mut self.user,
        }
    }

    fn verifier(&self, user: User, pin: &[u8]) -> Result<SecretBytes, VaultError> {
        let mut mac = self.key.start()?;
        mac.update(&[user as u8])?;
        mac.update(pin)?;
        let value = mac.finish()?;
        Ok(SecretBytes::copy_from(value.as_ref())?)
    }
}

impl TokenVault {
    /// Compares a PIN. When it is right the private realm is open, until the daemon ends or the token is initialised anew.
    ///
    /// # Errors
    /// [`LoginError`]; a wrong PIN is answered only once it is recorded.
    pub fn login(&self, user: User, pin: &[u8], limits: &Limits) -> Result<(), LoginError> {
        self.compare(&mut self.gate.lock(), user, pin, limits)
    }

    /// Sets the user's PIN and its tries, after a login of the security officer; who that is, the caller has made sure of.
    ///
    /// # Errors
    /// [`VaultError::RealmClosed`] before any login; else as a commit.
    pub fn init_user_pin(&self, pin: &[u8]) -> Result<(), VaultError> {
        let mut gate = self.gate.lock();
        let slot = KeySlot::wrap(&self.keys, User::User, pin, self.cost, &*self.realm_key()?)?;
        let (token, tries) = self.own_records();
        let token = TokenBody {
            user: Some(slot),
            ..token
        };
        let tries = tries.with(User::User, UserTries::default());
        self.write_own(Some(token), Some(tries))?;
        *gate.memory(User::User) = Memory::default();
        Ok(())
    }

    /// Changes a PIN. The old one counts as a try, and opens the private realm as a login does.
    ///
    /// # Errors
    /// [`LoginError`]; the old PIN then stays.
    pub fn set_pin(
        &self,
        user: User,
        old: &[u8],
        new: &[u8],
        limits: &Limits,
    ) -> Result<(), LoginError> {
        let mut gate = self.gate.lock();
        self.compare(&mut gate, user, old, limits)?;
        let slot = KeySlot::wrap(&self.keys, user, new, self.cost, &*self.realm_key()?)?;
        let verifier = gate.verifier(user, new)?;
        let (mut token, _) = self.own_records();
        match user {
            User::So => token.so = slot,
            User::User => token.user = Some(slot),
        }
        self.write_own(Some(token), None)?;
        gate.memory(user).verifier = Some(verifier);
        Ok(())
    }

    /// Initialises the token anew (PKCS#11 3.2, C_InitToken): after the security officer's PIN, which counts as a try, all objects
    /// and the user's PIN are destroyed; label and realm key are new. Number, serial number and the officer's PIN stay.
    ///
    /// # Errors
    /// [`LoginError`]; the token then stands as it was.
    pub fn reinitialize(
        &self,
        so_pin: &[u8],
        label: [u8; 32],
        limits: &Limits,
    ) -> Result<(), LoginError> {
        let mut gate = self.gate.lock();
        self.compare(&mut gate, User::So, so_pin, limits)?;
        let realm = hierarchy::new_realm_key()?;
        let so = KeySlot::wrap(&self.keys, User::So, so_pin, self.cost, &realm)?;
        let (before, _) = self.own_records();
        let token = TokenBody {
            label,
            so,
            user: None,
            serial: before.serial,
        };
        let mut writer = self.writing()?;
        let (_, tries) = self.own_records();
        let tries = tries.with(User::User, UserTries::default());
        let mut draft = Draft::new(&self.keys, &writer.census);
        let Writer {
            token_stamp,
            tries_stamp,
            ..
        } = *writer;
        let staying = [
            (RecordKind::Token, &token_stamp),
            (RecordKind::Tries, &tries_stamp),
        ];
        draft.clear(self.object_records().into_iter(), staying)?;
        let token_stamp = draft.put_own(RecordKind::Token, &token, Some(&token_stamp))?;
        let tries_stamp = draft.put_own(RecordKind::Tries, &tries, Some(&tries_stamp))?;
        self.write(&mut writer, draft)?;
        (writer.token_stamp, writer.tries_stamp) = (token_stamp, tries_stamp);
        let mut books = self.books.write();
        (books.token, books.tries, books.entries) = (token, tries, Entries::default());
        *self.realm.write() = None;
        (gate.so, gate.user) = (Memory::default(), Memory::default());
        Ok(())
    }

    fn compare(
        &self,
        gate: &mut Gate,
        user: User,
        pin: &[u8],
        limits: &Limits,
    ) -> Result<(), LoginError> {
        let (token, tries) = self.own_records();
        let slot = match user {
            User::So => Some(token.so),
            User::User => token.user,
        };
        let slot = slot.ok_or(LoginError::NotInitialized)?;
        let mut tries = tries.of(user);
        if gate.memory(user).charge_spent {
            tries.ahead = false;
        }
        if tries.used() >= tries_max(user, limits) {
            return Err(LoginError::Locked);
        }
        if gate.memory(user).verifier.is_some() && self.realm_is_open() {
            self.compare_warm(gate, user, pin, tries)
        } else {
            self.compare_cold(gate, user, pin, tries, &slot)
        }
    }

    fn compare_warm(
        &self,
        gate: &mut Gate,
        user: User,
        pin: &[u8],
        mut tries: UserTries,
    ) -> Result<(), LoginError> {
        if !tries.ahead {
            tries = tries.with_one_ahead();
            self.record_tries(gate, user, tries)?;
        }
        let offered = gate.verifier(user, pin)?;
        let verifier = gate.memory(user).verifier.as_ref();
        let right = verifier.is_some_and(|verifier| {
            offered.with(|offered| verifier.equals_in_constant_time(offered))
        });
        if right && tries == UserTries::RIGHT {
            return Ok(());
        }
        gate.memory(user).charge_spent = true;
        let after = if right {
            UserTries::RIGHT
        } else {
            tries.with_one_ahead()
        };
        self.record_tries(gate, user, after)?;
        if right {
            Ok(())
        } else {
            Err(LoginError::Incorrect)
        }
    }

    fn compare_cold(
        &self,
        gate: &mut Gate,
        user: User,
        pin: &[u8],
        tries: UserTries,
        slot: &KeySlot,
    ) -> Result<(), LoginError> {
        self.record_tries(gate, user, tries.with_one_spent())?;
        let realm = slot
            .unwrap(&self.keys, user, pin)?
            .ok_or(LoginError::Incorrect)?;
        let verifier = gate.verifier(user, pin)?;
        self.record_tries(gate, user, UserTries::RIGHT)?;
        gate.memory(user).verifier = Some(verifier);
        *self.realm.write() = Some(realm.into());
        Ok(())
    }

    fn record_tries(
        &self,
        gate: &mut Gate,
        user: User,
        tries: UserTries,
    ) -> Result<(), VaultError> {
        let (_, all) = self.own_records();
        self.write_own(None, Some(all.with(user, tries)))?;
        gate.memory(user).charge_spent = false;
        Ok(())
    }

    /// Tries of a user's PIN.
    pub(super) fn tries(&self, user: User, limits: &Limits) -> PinTries {
        self.books.read().tries.shown(user, limits)
    }

    /// The salt of a user's key slot, if there is one.
    pub(super) fn slot_salt(&self, user: User) -> Option<[u8; 16]> {
        let books = self.books.read();
        let slot = match user {
            User::So => Some(&books.token.so),
            User::User => books.token.user.as_ref(),
        };
        slot.map(|slot| *slot.salt())
    }

    fn own_records(&self) -> (TokenBody, Tries) {
        let books = self.books.read();
        (books.token.clone(), books.tries)
    }

    /// Commits the token's own records, those that are given.
    fn write_own(&self, token: Option<TokenBody>, tries: Option<Tries>) -> Result<(), VaultError> {
        let mut writer = self.writing()?;
        let mut draft = Draft::new(&self.keys, &writer.census);
        let Writer {
            mut token_stamp,
            mut tries_stamp,
            ..
        } = *writer;
        if let Some(token) = &token {
            token_stamp = draft.put_own(RecordKind::Token, token, Some(&token_stamp))?;
        }
        if let Some(tries) = &tries {
            tries_stamp = draft.put_own(RecordKind::Tries, tries, Some(&tries_stamp))?;
        }
        self.write(&mut writer, draft)?;
        (writer.token_stamp, writer.tries_stamp) = (token_stamp, tries_stamp);
        let mut books = self.books.write();
        if let Some(token) = token {
            books.token = token;
        }
        if let Some(tries) = tries {
            books.tries = tries;
        }
        Ok(())
    }
}
