//! Why a TPM does not seal or unseal.
//!
//! What lives here: the errors, each with what is wrong and what to do, and the names of the TPM's answers.
//! What must never live here: bytes of a secret or of a session.
//! Who calls it: the client of the TPM, and whoever shows the error.

use std::fmt;
use std::io;
use std::path::PathBuf;

use strongroom_keymem::OutOfMemory;

use super::numbers::{
    TPM_CC_CREATE_PRIMARY, TPM_CC_LOAD, TPM_RC_AUTH_FAIL, TPM_RC_BAD_AUTH, TPM_RC_INITIALIZE,
    TPM_RC_LOCKOUT, TPM_RC_PCR_CHANGED, TPM_RC_POLICY_FAIL,
};

/// Why a TPM does not seal or unseal.
#[derive(Debug)]
pub enum TpmError {
    /// There is nothing at this address, or it may not be used.
    Absent {
        /// The address.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The address is neither a device nor a socket.
    NoDevice {
        /// The address.
        path: PathBuf,
    },
    /// Somebody else has the TPM, and it serves one at a time.
    Busy {
        /// The address.
        path: PathBuf,
    },
    /// No answer came in time.
    Silent {
        /// The address.
        path: PathBuf,
    },
    /// The connection failed in the middle.
    Io {
        /// The address.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What was answered is no answer of a TPM.
    Garbled(&'static str),
    /// A command or an answer was changed on its way.
    Forged,
    /// The registers have other values than when the secret was sealed.
    PcrsChanged {
        /// Which ones.
        changed: Vec<u8>,
    },
    /// The secret was sealed by another TPM, or this one was cleared since.
    OtherTpm,
    /// What was sealed is not whole any more.
    Damaged,
    /// The TPM answers no more tries for a while.
    Lockout,
    /// The owner of the TPM has a password.
    OwnerPassword,
    /// The TPM has not been started.
    NotStarted,
    /// The TPM has no registers of SHA-256.
    NoBank,
    /// These are no numbers of registers.
    Selection,
    /// The secret has a length that a TPM does not take.
    SecretLength,
    /// The TPM refuses for another reason.
    Refused {
        /// The command.
        command: &'static str,
        /// Its answer (TPM 2.0 Library, Part 2, 6.6).
        code: u32,
    },
    /// No locked memory is left.
    Memory,
    /// A computation failed.
    Crypto(strongroom_crypto::Error),
}

impl TpmError {
    /// The error for a code that a command was answered with.
    pub(super) fn refused(command: &'static str, command_code: u32, code: u32) -> Self {
        // Part 2, 6.6.2: with bit 7 the code also says which handle, session or parameter is meant; that is left out.
        let plain = if code & 0x80 == 0 { code } else { code & 0xbf };
        match (plain, command_code) {
            (TPM_RC_POLICY_FAIL | TPM_RC_PCR_CHANGED, _) => Self::PcrsChanged {
                changed: Vec::new(),
            },
            (TPM_RC_BAD_AUTH | TPM_RC_AUTH_FAIL, TPM_CC_CREATE_PRIMARY) => Self::OwnerPassword,
            // Nothing else here has a password that could be wrong: the code over the command was.
            (TPM_RC_BAD_AUTH | TPM_RC_AUTH_FAIL, _) => Self::Forged,
            (TPM_RC_LOCKOUT, _) => Self::Lockout,
            (TPM_RC_INITIALIZE, _) => Self::NotStarted,
            // That it is the same TPM was seen before anything is loaded.
            (_, TPM_CC_LOAD) if code & 0x80 != 0 => Self::Damaged,
            _ => Self::Refused { command, code },
        }
    }
}

impl fmt::Display for TpmError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { path, error } => write!(
                out,
                "the TPM at {} cannot be used: {error}; is it switched on in the firmware, and may the daemon's user open it (group tss)?",
                path.display()
            ),
            Self::NoDevice { path } => write!(
                out,
                "{} is neither a device nor a socket; the TPM of a machine is /dev/tpmrm0",
                path.display()
            ),
            Self::Busy { path } => write!(
                out,
                "the TPM at {} is in use by another program; use /dev/tpmrm0, which serves many",
                path.display()
            ),
            Self::Silent { path } => write!(
                out,
                "the TPM at {} gave no answer in time; another program may hold it, or it hangs",
                path.display()
            ),
            Self::Io { path, error } => write!(
                out,
                "the connection to the TPM at {} failed: {error}",
                path.display()
            ),
            Self::Garbled(what) => {
                write!(out, "what answers is no TPM 2.0, or a broken one: {what}")
            }
            Self::Forged => out.write_str(
                "a command or an answer was changed between this program and the TPM; somebody may be listening on that way, so do not try again before it is explained",
            ),
            Self::PcrsChanged { changed } => registers_changed(changed, out),
            Self::OtherTpm => out.write_str(
                "this was sealed by another TPM, or this one was cleared since; open by another seal, then seal to this TPM",
            ),
            Self::Damaged => out.write_str(
                "what the TPM sealed is damaged; restore the file that it stands in, or open by another seal",
            ),
            Self::Lockout => out.write_str(
                "the TPM is in lockout after wrong tries of somebody's; wait, or run: tpm2_dictionarylockout --clear-lockout",
            ),
            Self::OwnerPassword => out.write_str(
                "the owner of the TPM has a password, under which no key can be made without it; take it away (tpm2_changeauth -c owner) and try again",
            ),
            Self::NotStarted => out.write_str(
                "the TPM was not started; firmware or kernel do that, and swtpm with --flags startup-clear",
            ),
            Self::NoBank => out.write_str(
                "the TPM keeps no registers (PCRs) of SHA-256; allocate that bank in the firmware",
            ),
            Self::Selection => {
                out.write_str("registers (PCRs) are numbers from 0 to 23, at least one of them")
            }
            Self::SecretLength => out.write_str("a TPM seals 1 to 128 bytes"),
            Self::Refused { command, code } => write!(
                out,
                "the TPM refuses {command} with code {code:#x}; tpm2_rc_decode {code:#x} says what it means"
            ),
            Self::Memory => out.write_str("no locked memory is left; raise its limit"),
            Self::Crypto(error) => write!(out, "the exchange with the TPM failed: {error}"),
        }
    }
}

fn registers_changed(changed: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str("the TPM refuses, because ")?;
    match changed {
        [] => out.write_str("its registers (PCRs) have")?,
        [one] => write!(out, "its register PCR {one} has")?,
        [first, rest @ ..] => {
            write!(out, "its registers PCR {first}")?;
            rest.iter().try_for_each(|pcr| write!(out, ", {pcr}"))?;
            out.write_str(" have")?;
        }
    }
    out.write_str(
        " another value than at the sealing: firmware, its settings or the boot changed; open by another seal, then seal to the TPM again",
    )
}

impl std::error::Error for TpmError {}

impl From<OutOfMemory> for TpmError {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<strongroom_crypto::Error> for TpmError {
    fn from(error: strongroom_crypto::Error) -> Self {
        Self::Crypto(error)
    }
}
