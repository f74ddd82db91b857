//! Every bound of the token, with its reason.
//!
//! What lives here: the numbers that keep one client from taking what belongs to all, and between which values an operator may set them.
//! What must never live here: sizes of the standard (mechanism and attribute tables).
//! Who calls it: sessions, vault, chapters; the daemon lets an operator change those in [`Limits`], and lists its own in the same way.

/// A bound as it is listed: what an operator may set it to, and why there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its key in the configuration.
    pub name: &'static str,
    /// The smallest value.
    pub least: u64,
    /// The largest value.
    pub most: u64,
    /// What it is for.
    pub reason: &'static str,
}

/// Makes a structure of bounds, one row each: its reason as documentation, its type, the usual value, and the range it may be set in.
#[macro_export]
macro_rules! bounds {
    (
        $(#[$about:meta])* $structure:ident;
        $($(#[doc = $reason:literal])+ $name:ident: $kind:ty = $usual:expr, $least:expr => $most:expr;)+
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $structure {
            $($(#[doc = $reason])+ pub $name: $kind,)+
        }

        impl Default for $structure {
            fn default() -> Self {
                Self { $($name: $usual,)+ }
            }
        }

        impl $structure {
            /// All of them, in the order of their rows.
            pub const LISTED: &'static [$crate::limits::Bound] = &[
                $($crate::limits::Bound {
                    name: stringify!($name),
                    least: $least,
                    most: $most,
                    reason: concat!($($reason),+),
                },)+
            ];

            /// Their values, in the same order.
            #[must_use]
            pub fn values(&self) -> Vec<u64> {
                vec![$(u64::try_from(self.$name).unwrap_or(u64::MAX),)+]
            }
        }
    };
}

bounds! {
    /// Bounds that an operator may change.
    Limits;
    /// Sessions of one application: a web server keeps one a worker thread; more is a leak.
    sessions_per_application_max: usize = 16_384, 1 => 1 << 24;
    /// Sessions in all: each costs about a kilobyte.
    sessions_max: usize = 65_536, 1 => 1 << 24;
    /// Session objects of one application: each may hold locked memory.
    session_objects_max: usize = 65_536, 1 => 1 << 24;
    /// Token objects of one token: each costs some kilobytes of memory and disk.
    token_objects_max: usize = 1 << 20, 1 => 1 << 30;
    /// Wrong PINs in a row until the user's PIN locks: as smart cards do it, with room for a typing error in a script.
    user_tries_max: u32 = 10, 1 => 1_000_000;
    /// Wrong PINs in a row until the security officer's PIN locks. There is nobody above, so it is larger.
    so_tries_max: u32 = 15, 1 => 1_000_000;
    /// Keys kept open in locked memory at most; beyond it the ones used longest ago are closed and opened again when used.
    open_keys_max: usize = 4_096, 1 => 1 << 24;
    /// Shortest new PIN in bytes; PINs that were set before stay. Four as SoftHSM has it, so that scripts carry over.
    pin_bytes_min: usize = PIN_BYTES_MIN, PIN_BYTES_MIN as u64 => 64;
    /// How long a user of this machine waits after a wrong PIN, in milliseconds; twice as long after each further one, up to half a
    /// minute, and no longer after the right one. None, because a locked PIN guards already.
    wrong_pin_delay_ms: u64 = 0, 0 => 30_000;
    /// Wrong PINs of one user of this machine in a minute, at whatever tokens; beyond it the user waits, and nobody else. Each costs
    /// the work of Argon2id. 0 is no bound.
    wrong_pins_per_minute_max: u32 = 120, 0 => 1_000_000;
    /// Logins of one user of this machine in a minute, right or wrong; beyond it the user waits. No bound (0), because a right
    /// login costs microseconds once a token is open.
    logins_per_minute_max: u32 = 0, 0 => 100_000_000;
    /// Tokens: whoever may connect can make one in the free slot.
    tokens_max: usize = 4_096, 1 => 1 << 20;
    /// Handles that one search keeps until it ends: eight bytes each, as many as a token may have objects.
    search_results_max: usize = 1 << 20, 1 => 1 << 30;
    /// Most random bytes in one request: others wait no longer than for a large encryption. The module asks for a mebibyte at most.
    random_bytes_max: u64 = 16 << 20, 1 << 20 => 64 << 20;
    /// Longest data kept back by an operation that may only answer at its end (authenticated decryption), in bytes.
    held_data_bytes_max: usize = 64 << 20, 1 << 20 => 1 << 30;
    /// How long the ticket is good by which a login outlives the daemon, in seconds; with 0 none is given. A week: over a long weekend
    /// somebody notices a machine that came back without its logins, and what leaked from a memory is worthless after it.
    ticket_seconds_max: u64 = 7 * 24 * 60 * 60, 0 => 31_536_000;
    /// Smallest RSA key that is generated, in bits (SP 800-131A). Keys that come from elsewhere are used from 1024 on, or from here if this is less.
    rsa_bits_min: usize = 2048, 512 => 4096;
    /// Imports under way at once; one that nobody ends keeps its place until its connection ends. 0 lets nobody bring objects in.
    imports_max: usize = 4, 0 => 256;
    /// Objects of one import: they come into being in one commit, and whoever else changes something waits for it, about half a second for
    /// 10,000 keys.
    import_objects_max: usize = 100_000, 1 => 1 << 20;
    /// Memory in bytes of what all imports hold before their commits, some 3,000 for an RSA key. It is ordinary memory: secrets lie sealed in it.
    import_bytes_max: usize = 1 << 30, 1 << 20 => 1 << 40;
    /// Released keys in a minute, of all tokens: more is nobody's start of machines, but somebody who takes everything home. 0 releases none.
    releases_per_minute_max: usize = 600, 0 => 1_000_000;
    /// How long a statement of an authority is good after it was issued, in seconds, whatever it says itself: eight hours, as those of the
    /// big services.
    statement_seconds_max: u64 = 8 * 60 * 60, 1 => 31_536_000;
}

impl Limits {
    /// The smallest RSA key that is used, in bits: what was made in the past must still be decrypted and replaced.
    #[must_use]
    pub fn rsa_use_bits_min(&self) -> u64 {
        self.rsa_bits_min.min(RSA_USE_BITS_MIN) as u64
    }
}

/// The smallest RSA key that is used unless smaller ones are generated, in bits: SP 800-131A allows it for what is there already.
const RSA_USE_BITS_MIN: usize = 1024;
/// Shortest PIN in bytes that can be allowed, as SoftHSM has it.
pub const PIN_BYTES_MIN: usize = 4;
/// Longest PIN in bytes: a passphrase fits, a file does not.
pub const PIN_BYTES_MAX: usize = 255;
/// Longest wait after a wrong PIN, in milliseconds: who waits longer thinks that the machine stands still.
pub const WRONG_PIN_DELAY_MS_MAX: u64 = 30_000;
/// Longest value of one attribute in bytes: the largest certificates and CRLs in the field are far below.
pub const ATTRIBUTE_BYTES_MAX: usize = 1 << 20;
/// Longest generic secret or HMAC key in bytes: sixteen times the largest block of a hash, beyond which a key is hashed first anyway.
pub const SECRET_KEY_BYTES_MAX: usize = 4096;
/// Most handles in one answer to C_FindObjects.
pub const FIND_OBJECTS_MAX: u64 = 65_536;
