//! *What lives here:* tickets: what lets an application be logged in again by a daemon that was started anew, without its PIN. *What must
//! never live here:* who is logged in; the chapter of sessions has that. *Who calls it:* the service, after a login and to restore one.
//!
//! A ticket is the token's realm key, sealed under a key that only the root key leads to, and bound to all that makes the login what it
//! is: the token, the user, the key slot of that user's PIN, and the process that logged in. So it is worth nothing without the root key,
//! nothing once the PIN was changed or the token initialised anew, and nothing to another process.
//!
//! ```text
//! format 1 │ user │ reach │ issued 8 │ uid 4 │ started 8 │ nonce 12 │ realm key, sealed 32 + 16
//! ```

use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::random;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::hierarchy::KEY_BYTES;
use super::seal::{NONCE_BYTES, TAG_BYTES};
use super::token::TokenVault;
use super::{User, VaultError};
use crate::limits::Limits;
use crate::ports::Time;

/// Who holds a ticket.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'h> {
    /// Its user.
    pub uid: u32,
    /// Its process.
    pub pid: i32,
    /// When that was started, in ticks since the machine was: no two processes have the same number and the same start.
    pub started: u64,
    /// Which instance of the module in it.
    pub instance: [u8; 16],
    /// Its program, as far as it is known.
    pub executable: &'h str,
}

/// Why a ticket opens nothing. A stranger is not told which of these it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketError {
    /// It is none, is another's, was changed, or stands for a PIN that is no more.
    Worthless,
    /// It is too old.
    Old,
    /// The PIN it stands for is locked.
    Locked,
    /// It could not be looked at.
    Vault(VaultError),
}

impl<E: Into<VaultError>> From<E> for TicketError {
    fn from(error: E) -> Self {
        Self::Vault(error.into())
    }
}

/// Whom a ticket is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// For the process that logged in.
    #[default]
    Process = 0,
    /// Also for its children: the operator chose that they go on with what they inherit.
    Children = 1,
}

/// What stands before the nonce.
struct Head {
    bytes: [u8; HEAD_BYTES],
    user: User,
    reach: Reach,
    issued: Time,
    uid: u32,
    started: u64,
}

impl Head {
    fn new(user: User, reach: Reach, holder: &Holder<'_>, issued: Time) -> Self {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..3].copy_from_slice(&[FORMAT, user as u8, reach as u8]);
        bytes[3..11].copy_from_slice(&issued.0.to_le_bytes());
        bytes[11..15].copy_from_slice(&holder.uid.to_le_bytes());
        bytes[15..].copy_from_slice(&holder.started.to_le_bytes());
        Self {
            bytes,
            user,
            reach,
            issued,
            uid: holder.uid,
            started: holder.started,
        }
    }

    fn parse(ticket: &[u8]) -> Option<(Self, &[u8])> {
        let (bytes, rest) = ticket.split_first_chunk::<HEAD_BYTES>()?;
        let [FORMAT, user, reach, numbers @ ..] = bytes else {
            return None;
        };
        let (issued, numbers) = numbers.split_first_chunk()?;
        let (uid, started) = numbers.split_first_chunk()?;
        let head = Self {
            bytes: *bytes,
            user: [User::So, User::User]
                .into_iter()
                .find(|known| *known as u8 == *user)?,
            reach: [Reach::Process, Reach::Children]
                .into_iter()
                .find(|known| *known as u8 == *reach)?,
            issued: Time(u64::from_le_bytes(*issued)),
            uid: u32::from_le_bytes(*uid),
            started: u64::from_le_bytes(*started.first_chunk()?),
        };
        Some((head, rest))
    }

    /// Whether it is good for whoever shows it, as far as the seal does not tell.
    fn fits(&self, holder: &Holder<'_>) -> bool {
        match self.reach {
            // The seal binds all of it.
            Reach::Process => true,
            // A child starts no earlier than its parent, and has its user unless that was root and gave its rights up.
            Reach::Children => {
                holder.started >= self.started && (self.uid == holder.uid || self.uid == 0)
            }
        }
    }

    /// What the seal binds.
    fn bound(&self, token: u64, salt: &[u8; 16], holder: &Holder<'_>) -> Vec<u8> {
        let mut bound = Vec::with_capacity(128);
        bound.extend_from_slice(&self.bytes);
        bound.extend_from_slice(&token.to_le_bytes());
        bound.extend_from_slice(salt);
        match self.reach {
            Reach::Process => {
                bound.extend_from_slice(&holder.uid.to_le_bytes());
                bound.extend_from_slice(&holder.pid.to_le_bytes());
                bound.extend_from_slice(&holder.started.to_le_bytes());
                bound.extend_from_slice(&holder.instance);
            }
            // The kernel says so of a program that was replaced on the disk since it was started.
            Reach::Children => bound.extend_from_slice(
                holder
                    .executable
                    .strip_suffix(" (deleted)")
                    .unwrap_or(holder.executable)
                    .as_bytes(),
            ),
        }
        bound
    }
}

/// The user that a ticket claims to log in.
#[must_use]
pub fn claimed_user(ticket: &[u8]) -> Option<User> {
    Head::parse(ticket).map(|(head, _)| head.user)
}

impl TokenVault {
    /// A ticket for a user who has just logged in. None where the operator wants none.
    ///
    /// # Errors
    /// [`VaultError::RealmClosed`] without a login; memory.
    pub fn ticket(
        &self,
        user: User,
        holder: &Holder<'_>,
        now: Time,
        (limits, reach): (&Limits, Reach),
    ) -> Result<Option<SecretVec>, VaultError> {
        if limits.ticket_seconds_max == 0 {
            return Ok(None);
        }
        let _gate = self.gate.lock();
        let Some(salt) = self.slot_salt(user) else {
            return Ok(None);
        };
        let head = Head::new(user, reach, holder, now);
        let mut nonce = [0; NONCE_BYTES];
        random::fill(&mut nonce)?;
        let mut ticket = SecretVec::with_capacity(TICKET_BYTES)?;
        ticket.push_slice(&head.bytes)?;
        ticket.push_slice(&nonce)?;
        let bound = head.bound(self.keys.token, &salt, holder);
        let cipher = self.keys.ticket_key()?.with(GcmKey::new)?;
        let realm = self.realm_key()?;
        realm.with(|realm| cipher.seal(&nonce, &bound, TAG_BYTES, realm, &mut ticket))?;
        Ok(Some(ticket))
    }

    /// Opens the private realm by a ticket. No try of a PIN is spent or given back by it.
    ///
    /// # Errors
    /// [`TicketError`]: then nothing has changed.
    pub fn redeem(
        &self,
        ticket: &[u8],
        holder: &Holder<'_>,
        now: Time,
        (limits, reach): (&Limits, Reach),
    ) -> Result<User, TicketError> {
        let (head, rest) = Head::parse(ticket).ok_or(TicketError::Worthless)?;
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .filter(|(_, sealed)| sealed.len() == KEY_BYTES + TAG_BYTES)
            .ok_or(TicketError::Worthless)?;
        let allowed = head.reach == Reach::Process || reach == Reach::Children;
        if !allowed || !head.fits(holder) {
            return Err(TicketError::Worthless);
        }
        // No PIN changes between this look at its slot and the end.
        let _gate = self.gate.lock();
        let salt = self.slot_salt(head.user).ok_or(TicketError::Worthless)?;
        let bound = head.bound(self.keys.token, &salt, holder);
        let cipher = self.keys.ticket_key()?.with(GcmKey::new)?;
        let mut realm = SecretVec::with_capacity(sealed.len())?;
        match cipher.open(nonce, &bound, TAG_BYTES, sealed, &mut realm) {
            Ok(()) => {}
            Err(strongroom_crypto::Error::DataInvalid) => return Err(TicketError::Worthless),
            Err(error) => return Err(error.into()),
        }
        // A clock that was set back makes no ticket older.
        let age = now.0.saturating_sub(head.issued.0) / 1000;
        if age >= limits.ticket_seconds_max {
            return Err(TicketError::Old);
        }
        if self.tries(head.user, limits).locked() {
            return Err(TicketError::Locked);
        }
        self.open_realm(&realm)?;
        Ok(head.user)
    }

    fn open_realm(&self, realm: &SecretVec) -> Result<(), TicketError> {
        let mut current = self.realm.write();
        match &*current {
            // It was sealed here for this very slot, so it is the same; if it were not, this must not open another one.
            Some(open) if !open.equals_in_constant_time(realm.expose()) => {
                Err(TicketError::Worthless)
            }
            Some(_) => Ok(()),
            None => {
                *current = Some(SecretBytes::copy_from(realm.expose())?.into());
                Ok(())
            }
        }
    }
}

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 23;
/// Length of a ticket.
const TICKET_BYTES: usize = HEAD_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
