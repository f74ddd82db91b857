//! Evidence of hardware, verified offline: bytes in, claims out.
//!
//! What lives here: the readers of what confidential machines, enclaves and TPMs say about themselves, and the verdict on it under
//! roots that an administrator pinned.
//! What must never live here: a key of ours, a file, a socket, a clock, a process, a thread. Time and roots are arguments.
//! Who calls it: the token, when somebody asks for a key that is released to a proven place only.
//!
//! Everything that is parsed here was written by a stranger, so this crate depends on nothing of ours: whoever parses
//! strangers' evidence sees no key. `docs/attestation-evidence.md` describes the format for whoever makes evidence.

#![forbid(unsafe_code)]

mod cbor;
mod certificate;
mod chain;
mod container;

mod dcap;
mod json;
mod key;
mod nitro;
mod pem;
mod read;
mod refusal;
mod roots;
mod runtime;
mod sev_snp;
mod tpm;

use serde_json::Value;

pub use container::{Collateral, Evidence, Pcr, PcrBank, Proof};
pub use json::unambiguous;
pub use refusal::Refusal;
pub use roots::Roots;

/// The largest container of evidence, in bytes: twice what the largest real one (TDX with its collateral) needs.
pub const EVIDENCE_BYTES_MAX: usize = 256 * 1024;

/// What kind of hardware speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A virtual machine under AMD SEV-SNP.
    SevSnp,
    /// A virtual machine under Intel TDX.
    Tdx,
    /// An enclave of Intel SGX.
    Sgx,
    /// An enclave of AWS Nitro.
    Nitro,
    /// A machine with a TPM 2.0.
    Tpm,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::SevSnp, Self::Tdx, Self::Sgx, Self::Nitro, Self::Tpm];

    /// Its name in containers and configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
            Self::Sgx => "sgx",
            Self::Nitro => "nitro",
            Self::Tpm => "tpm",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What evidence proved.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// An object: name of the claim to its value.
    pub claims: Value,
    /// The runtime that the hardware vouched for: the keys and the nonce of the workload. It is the claim `x-ms-runtime` too.
    pub runtime: Option<Value>,
}

/// Verifies evidence under pinned roots, at a time given in seconds since 1970.
///
/// # Errors
///
/// Whatever does not hold refuses: a form that is not exactly as written, a signature, a chain that does not end at a pinned root,
/// a certificate or collateral outside its time, a runtime that the hardware did not vouch for. A debug mode does not refuse:
/// it is a claim, and the policy judges it.
pub fn verify(
    evidence: &Evidence,
    roots: &Roots,
    now_unix_seconds: u64,
) -> Result<Verified, Refusal> {
    if evidence.kind() != roots.kind() {
        return Err(Refusal::Mismatch {
            what: "the kind of the evidence",
            with: "the kind that the roots were pinned for",
        });
    }
    let runtime = evidence.runtime.as_deref();
    let now = now_unix_seconds;
    match &evidence.proof {
        Proof::SevSnp {
            report,
            certificates,
        } => sev_snp::verify(report, certificates, runtime, roots, now),
        Proof::Tdx { quote, collateral } => {
            dcap::verify(Kind::Tdx, quote, collateral, runtime, roots, now)
        }
        Proof::Sgx { quote, collateral } => {
            dcap::verify(Kind::Sgx, quote, collateral, runtime, roots, now)
        }
        Proof::Nitro { document } => nitro::verify(document, runtime, roots, now),
        Proof::Tpm {
            attest,
            signature,
            pcrs,
            certificates,
        } => tpm::verify(
            &tpm::Quote {
                attest,
                signature,
                pcrs,
                certificates,
            },
            runtime,
            roots,
            now,
        ),
    }
}
