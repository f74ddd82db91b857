//! *What lives here:* how large the region is, which kind of memory it gets, and the words for the operator when there is none.
//! *What must never live here:* use of the region. *Who calls it:* [`crate::start`].

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;

use crate::Backing;
use crate::region::Mapping;

/// What to do where nothing can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// Refuse to start.
    Required,
    /// Go on with memory that may reach swap. Danger: the operator said so by name.
    DangerUnlockedAllowed,
}

/// How to take the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The budget. `None`: chosen from RLIMIT_MEMLOCK and CAP_IPC_LOCK.
    pub bytes: Option<usize>,
    /// What to do where nothing can be locked.
    pub locking: Locking,
}

/// Why the region could not be taken.
#[derive(Debug)]
pub enum StartError {
    /// The configured budget makes no sense.
    BudgetOutOfRange {
        /// What was asked for.
        bytes: usize,
    },
    /// The limit on locked memory leaves too little to work with.
    LimitTooLow {
        /// The hard RLIMIT_MEMLOCK.
        limit_bytes: usize,
    },
    /// Neither way of locking works.
    NothingLocks {
        /// The budget that was tried last.
        bytes: usize,
        /// The limit on locked memory, `None` if there is none.
        limit_bytes: Option<usize>,
        /// What memfd_secret(2) said.
        memfd_secret: io::Error,
        /// What mlock2(2) said.
        mlock: io::Error,
    },
    /// Not even ordinary memory is to be had.
    NoMemory {
        /// The budget that was tried.
        bytes: usize,
        /// What mmap(2) said.
        cause: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BudgetOutOfRange { bytes } => write!(
                out,
                "a budget of {bytes} bytes of locked memory was asked for; it must be from {BYTES_MIN} to {BYTES_MAX}"
            ),
            Self::LimitTooLow { limit_bytes } => write!(
                out,
                "the limit on locked memory is {limit_bytes} bytes, and three quarters of it must be at least {BYTES_MIN}; {RAISE}"
            ),
            Self::NothingLocks {
                bytes,
                limit_bytes,
                memfd_secret,
                mlock,
            } => {
                write!(out, "{bytes} bytes of memory could not be locked: ")?;
                write!(
                    out,
                    "memfd_secret says \"{memfd_secret}\", mlock says \"{mlock}\""
                )?;
                match limit_bytes {
                    Some(limit) => write!(out, ", the limit is {limit} bytes; {RAISE}"),
                    None => write!(out, ", though there is no limit; allow these system calls"),
                }
            }
            Self::NoMemory { bytes, cause } => write!(
                out,
                "{bytes} bytes of memory could not be mapped: {cause}; give the process more memory or configure a smaller budget"
            ),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NothingLocks { mlock: cause, .. } | Self::NoMemory { cause, .. } => Some(cause),
            Self::BudgetOutOfRange { .. } | Self::LimitTooLow { .. } => None,
        }
    }
}

/// The one mapping of the pool, and what keeps it in memory. Its first pages are filled in, so that a failure shows at start.
pub(crate) struct Region {
    pub(crate) mapping: Mapping,
    pub(crate) backing: Backing,
    pub(crate) populated_bytes: usize,
}

/// Takes the region: the largest budget and the best kind of memory that the system grants.
pub(crate) fn take_region(config: &Config) -> Result<Region, StartError> {
    let limit_bytes = raised_memlock_limit();
    let mut refusal = None;
    for bytes in budgets(config, limit_bytes, may_lock_without_limit())? {
        match locked_region(bytes, limit_bytes) {
            Ok(region) => return Ok(region),
            Err(error) => refusal = Some((bytes, error)),
        }
    }
    match (config.locking, refusal) {
        (Locking::Required, Some((_, error))) => Err(error),
        (Locking::Required, None) => Err(StartError::LimitTooLow {
            limit_bytes: limit_bytes.unwrap_or(0),
        }),
        (Locking::DangerUnlockedAllowed, refusal) => {
            let bytes = refusal.map_or_else(generous_bytes, |(bytes, _)| bytes);
            first_pages(Mapping::unlocked(bytes), Backing::Unlocked)
                .map_err(|cause| StartError::NoMemory { bytes, cause })
        }
    }
}

fn locked_region(bytes: usize, limit_bytes: Option<usize>) -> Result<Region, StartError> {
    first_pages(Mapping::secret(bytes), Backing::MemfdSecret).or_else(|memfd_secret| {
        first_pages(Mapping::locked(bytes), Backing::LockedAnonymous).map_err(|mlock| {
            StartError::NothingLocks {
                bytes,
                limit_bytes,
                memfd_secret,
                mlock,
            }
        })
    })
}

fn first_pages(mapping: io::Result<Mapping>, backing: Backing) -> io::Result<Region> {
    let mapping = mapping?;
    mapping.populate(0, FIRST_BYTES)?;
    Ok(Region {
        mapping,
        backing,
        populated_bytes: FIRST_BYTES,
    })
}

/// The budgets to try, best first; none when the limit is too low for any.
fn budgets(
    config: &Config,
    limit_bytes: Option<usize>,
    unlimited: bool,
) -> Result<Vec<usize>, StartError> {
    if let Some(bytes) = config.bytes {
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes) {
            return Err(StartError::BudgetOutOfRange { bytes });
        }
        return Ok(vec![bytes]);
    }
    let generous = generous_bytes();
    // A quarter is left for big buffers in mappings of their own.
    let within_limit = limit_bytes.map(|limit| (limit / 4 * 3).min(generous));
    let mut budgets = Vec::new();
    // Both, because a capability inside a user namespace shows here but does not count with the kernel.
    if unlimited || limit_bytes.is_none() {
        budgets.push(generous);
    }
    budgets.extend(within_limit.filter(|bytes| *bytes >= BYTES_MIN));
    Ok(budgets)
}

/// What a machine without a limit gives.
fn generous_bytes() -> usize {
    match available_memory_bytes() {
        Some(available) if available >= 4 << 30 => 64 << 20,
        // Small or unknown: several daemons may share the machine.
        _ => 32 << 20,
    }
}

/// Raises the soft limit to the hard one, and tells what then holds; `None` is no limit.
fn raised_memlock_limit() -> Option<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit fills in the structure, which is ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Some(0);
    }
    if limit.rlim_cur != limit.rlim_max {
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_max,
            rlim_max: limit.rlim_max,
        };
        // SAFETY: setrlimit reads the structure, which is ours.
        if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const raised) } == 0 {
            limit = raised;
        }
    }
    if limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    Some(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// Has this process CAP_IPC_LOCK, which lifts the limit?
fn may_lock_without_limit() -> bool {
    // capget(2), version 3 of its structures: {version, process} in, twice {effective, permitted, inheritable} out.
    let mut header = [0x2008_0522_u32, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: both arrays have the layout and the length of version 3.
    let result = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    result == 0 && sets[0][0] & (1 << CAP_IPC_LOCK) != 0
}

fn available_memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

const CAP_IPC_LOCK: u32 = 14;

/// Below this a few RSA signatures at once would fail for lack of memory.
const BYTES_MIN: usize = 1 << 20;
/// The side table takes one byte in sixty-four of this in ordinary memory.
const BYTES_MAX: usize = 4 << 30;
/// Filled in at start: enough to show that it works and for the first requests, 3 ms at the slowest that was measured.
const FIRST_BYTES: usize = 256 << 10;

const RAISE: &str = "raise it (LimitMEMLOCK= in the unit file, or `ulimit -l`), give the process CAP_IPC_LOCK, or configure a smaller budget";

#[cfg(test)]
mod tests {
    use super::*;

    const CHOSEN: Config = Config {
        bytes: None,
        locking: Locking::Required,
    };

    #[test]
    fn the_budget_follows_limit_and_capability() {
        let generous = generous_bytes();
        let rows = [
            (None, false, vec![generous]),
            (None, true, vec![generous]),
            (Some(8 << 20), false, vec![6 << 20]),
            (Some(8 << 20), true, vec![generous, 6 << 20]),
            (Some(1 << 40), false, vec![generous]),
            (Some(64 << 10), true, vec![generous]),
            (Some(64 << 10), false, vec![]),
            (Some(usize::MAX), false, vec![generous]),
        ];
        for (limit, unlimited, expected) in rows {
            let found = budgets(&CHOSEN, limit, unlimited).unwrap();
            assert_eq!(found, expected, "limit {limit:?}, capability {unlimited}");
        }
    }

    #[test]
    fn a_configured_budget_is_taken_as_it_is_or_refused() {
        for bytes in [BYTES_MIN, 5 << 20, BYTES_MAX] {
            let config = Config {
                bytes: Some(bytes),
                ..CHOSEN
            };
            assert_eq!(budgets(&config, Some(0), false).unwrap(), [bytes]);
        }
        for bytes in [0, BYTES_MIN - 1, BYTES_MAX + 1] {
            let config = Config {
                bytes: Some(bytes),
                ..CHOSEN
            };
            let error = budgets(&config, None, true).unwrap_err();
            assert!(error.to_string().contains(&bytes.to_string()), "{error}");
        }
    }

    #[test]
    fn the_errors_say_what_to_do() {
        let os = || io::Error::from_raw_os_error(libc::EPERM);
        let low = StartError::LimitTooLow {
            limit_bytes: 65_536,
        }
        .to_string();
        assert!(
            low.contains("65536") && low.contains("LimitMEMLOCK"),
            "{low}"
        );
        let nothing = StartError::NothingLocks {
            bytes: 7,
            limit_bytes: Some(9),
            memfd_secret: os(),
            mlock: os(),
        };
        let text = nothing.to_string();
        assert!(
            text.contains("memfd_secret") && text.contains("LimitMEMLOCK"),
            "{text}"
        );
        assert!(nothing.source().is_some());
    }

    #[test]
    fn the_machine_can_be_asked() {
        assert!(available_memory_bytes().is_some());
        let region = take_region(&Config {
            bytes: Some(BYTES_MIN),
            ..CHOSEN
        })
        .unwrap();
        assert_eq!(region.mapping.bytes(), BYTES_MIN);
        assert_ne!(region.backing, Backing::Unlocked);
    }
}
