//! Every bound, with its reason.
//!
//! What lives here: the numbers that keep one client from taking what belongs to all.
//! What must never live here: sizes of the standard (mechanism and attribute tables).
//! Who calls it: sessions, vault, chapters; the daemon lets an operator change those in [`Limits`].

/// Bounds that an operator may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of one application: a web server keeps one a worker thread; more is a leak.
    pub sessions_per_application_max: usize,
    /// Sessions in all: each costs about a kilobyte.
    pub sessions_max: usize,
    /// Session objects of one application: each may hold locked memory.
    pub session_objects_max: usize,
    /// Token objects of one token.
    pub token_objects_max: usize,
    /// Wrong PINs in a row until the user's PIN locks: as smart cards do it, with room for a typing error in a script.
    pub user_tries_max: u32,
    /// Wrong PINs in a row until the security officer's PIN locks. There is nobody above, so it is larger.
    pub so_tries_max: u32,
    /// Keys kept open in locked memory at most; beyond it the ones used longest ago are closed and opened again when used.
    pub open_keys_max: usize,
    /// By what a login outlives the daemon.
    pub tickets: Tickets,
}

/// Tickets: what an application shows to a daemon that was started anew, to be logged in as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tickets {
    /// How long one is good, in seconds; with 0 none is given. A week: over a long weekend somebody notices a machine that came back without
    /// its logins, and what leaked from a memory is worthless after it.
    pub seconds_max: u64,
    /// Whether they are good for the children of the process that logged in as well.
    pub heritable: bool,
}

impl Default for Tickets {
    fn default() -> Self {
        Self {
            seconds_max: 7 * 24 * 60 * 60,
            heritable: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_per_application_max: 16_384,
            sessions_max: 65_536,
            session_objects_max: 65_536,
            token_objects_max: 1 << 20,
            user_tries_max: 10,
            so_tries_max: 15,
            open_keys_max: 4_096,
            tickets: Tickets::default(),
        }
    }
}

/// Shortest PIN in bytes, as SoftHSM has it, so that scripts carry over.
pub const PIN_BYTES_MIN: usize = 4;
/// Longest PIN in bytes: a passphrase fits, a file does not.
pub const PIN_BYTES_MAX: usize = 255;
/// Longest value of one attribute in bytes: the largest certificates and CRLs in the field are far below.
pub const ATTRIBUTE_BYTES_MAX: usize = 1 << 20;
/// Longest generic secret or HMAC key in bytes: sixteen times the largest block of a hash, beyond which a key is hashed first anyway.
pub const SECRET_KEY_BYTES_MAX: usize = 4096;
/// Most random bytes in one request.
pub const RANDOM_BYTES_MAX: u64 = 16 << 20;
/// Most handles in one answer to C_FindObjects.
pub const FIND_OBJECTS_MAX: u64 = 65_536;
/// Longest data kept back by an operation that may only answer at its end (authenticated decryption), in bytes.
pub const HELD_DATA_BYTES_MAX: usize = 64 << 20;
