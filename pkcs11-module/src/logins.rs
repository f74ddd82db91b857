//! Logins that outlive the daemon.
//!
//! What lives here: the ticket of each slot that this process is logged in at, and in which era the login is in force.
//! What must never live here: a PIN; what a ticket holds, which only the daemon can open.
//! Who calls it: the entries of logins, and whoever tells the daemon of a session again.
//!
//! A ticket lies in memory that a forked child finds empty and that no core dump shows. It is wiped when the login ends. Where the operator
//! chose that children go on with what they inherit, it is handed down to them as well.

use std::sync::{Mutex, MutexGuard, PoisonError};

use strongroom_wire::ck::Rv;
use strongroom_wire::request::SlotId;

use crate::abi::system::WipedByFork;
use crate::client::Era;
use crate::heritage::Heritage;

/// Longest ticket that is kept, in bytes. The daemon's are shorter; the rest is for those to come.
const TICKET_BYTES_MAX: usize = 1024;
/// Most logins that are kept: one a slot.
const LOGINS_MAX: usize = 256;

/// The logins of one instance.
#[derive(Default)]
pub(crate) struct Logins {
    all: Mutex<Vec<Login>>,
    /// Where children find them, if they shall.
    heritage: Option<&'static Heritage>,
}

struct Login {
    slot: SlotId,
    /// In which era it is in force.
    era: Era,
    memory: WipedByFork,
    bytes: usize,
}

/// What came of showing a ticket.
pub(crate) enum Shown {
    /// The login is in force.
    InForce,
    /// It is worthless, now and ever.
    Worthless,
    /// Not now, but perhaps another time.
    NotNow(Rv),
}

impl Logins {
    /// None yet.
    pub(crate) fn new(heritage: Option<&'static Heritage>) -> Self {
        Self {
            all: Mutex::default(),
            heritage,
        }
    }

    /// A login was made in `era`, and this is its ticket.
    pub(crate) fn keep(&self, slot: SlotId, era: Era, ticket: &[u8]) {
        let mut logins = self.lock();
        logins.retain(|login| login.slot != slot);
        if let Some(heritage) = self.heritage {
            heritage.keep(slot, ticket);
        }
        if ticket.is_empty() || ticket.len() > TICKET_BYTES_MAX || logins.len() >= LOGINS_MAX {
            return;
        }
        // Without such memory the login ends with the daemon.
        let Some(mut memory) = WipedByFork::new(TICKET_BYTES_MAX) else {
            return;
        };
        if let Some(place) = memory.bytes_mut().get_mut(..ticket.len()) {
            place.copy_from_slice(ticket);
            logins.push(Login {
                slot,
                era,
                memory,
                bytes: ticket.len(),
            });
        }
    }

    /// The login of a slot has ended. Answers whether there was one.
    pub(crate) fn forget(&self, slot: SlotId) -> bool {
        let mut logins = self.lock();
        let before = logins.len();
        logins.retain(|login| login.slot != slot);
        if let Some(heritage) = self.heritage {
            heritage.forget(slot);
        }
        logins.len() < before
    }

    /// All logins have ended.
    pub(crate) fn forget_all(&self) {
        let mut logins = self.lock();
        logins.clear();
        if let Some(heritage) = self.heritage {
            heritage.forget_all();
        }
    }

    /// Sees to it that the login of a slot is in force in an era; `show` shows the daemon the ticket. Whoever comes meanwhile waits, so that
    /// nobody works before the login is there.
    pub(crate) fn restore<E>(
        &self,
        slot: SlotId,
        era: Era,
        show: impl FnOnce(&[u8]) -> Result<Shown, E>,
    ) -> Result<Result<(), Rv>, E> {
        let mut logins = self.lock();
        let Some(index) = logins
            .iter()
            .position(|login| login.slot == slot && login.era != era)
        else {
            return Ok(Ok(()));
        };
        let Some(login) = logins.get_mut(index) else {
            return Ok(Ok(()));
        };
        let ticket = login.memory.bytes_mut().get(..login.bytes);
        match show(ticket.unwrap_or_default())? {
            Shown::InForce => login.era = era,
            Shown::Worthless => {
                drop(logins.swap_remove(index));
                if let Some(heritage) = self.heritage {
                    heritage.forget(slot);
                }
            }
            Shown::NotNow(rv) => return Ok(Err(rv)),
        }
        Ok(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Login>> {
        // Nothing under this lock can leave a login half changed.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotId = SlotId(4);

    fn shown(logins: &Logins, era: u64, outcome: Shown) -> Vec<u8> {
        let mut seen = Vec::new();
        let _ = logins.restore(SLOT, Era(era), |ticket| {
            seen = ticket.to_vec();
            Ok::<_, ()>(outcome)
        });
        seen
    }

    #[test]
    fn a_login_is_restored_once_in_each_era_until_it_ends() {
        let logins = Logins::default();
        logins.keep(SLOT, Era(1), b"first");
        logins.keep(SLOT, Era(1), b"ticket");
        assert_eq!(shown(&logins, 1, Shown::InForce), b"", "it is in force");
        assert_eq!(
            shown(&logins, 2, Shown::NotNow(Rv::DEVICE_ERROR)),
            b"ticket"
        );
        assert_eq!(shown(&logins, 2, Shown::InForce), b"ticket");
        assert_eq!(shown(&logins, 2, Shown::InForce), b"");
        assert_eq!(shown(&logins, 3, Shown::Worthless), b"ticket");
        assert_eq!(shown(&logins, 4, Shown::InForce), b"", "it is gone");
        logins.keep(SLOT, Era(4), b"ticket");
        assert!(logins.forget(SLOT) && !logins.forget(SLOT));
        logins.keep(SLOT, Era(4), b"");
        logins.keep(SLOT, Era(4), &[7; TICKET_BYTES_MAX + 1]);
        assert!(
            !logins.forget(SLOT),
            "none is none, and no daemon makes such"
        );
    }
}
