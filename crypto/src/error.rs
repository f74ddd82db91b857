//! What lives here: the one error type of the crate.
//!
//! What must never live here: data, lengths of secrets, messages of AWS-LC: an error that says more
//! than its name is an oracle.
//!
//! Who calls it: every file of the crate; callers map it to their own errors once.

use std::fmt;

use strongroom_keymem::OutOfMemory;

/// Why a primitive refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Error {
    /// The locked memory is exhausted.
    Memory,
    /// The signature or MAC has the right length and is wrong.
    SignatureInvalid,
    /// The signature cannot be one of this key: its length is wrong.
    SignatureLength,
    /// The data has a length that the primitive does not take.
    DataLength,
    /// Padding, tag or integrity check failed, or the number is out of range.
    DataInvalid,
    /// The key does not parse, or its parts contradict each other.
    KeyMalformed,
    /// The key has a size that is not supported.
    KeySize,
    /// The point is not on the curve, is the point at infinity, or has small order.
    PointInvalid,
    /// A parameter (exponent, tag length, salt length, cost, …) is out of range.
    ParameterInvalid,
    /// The algorithm, curve or encoding is not supported.
    Unsupported,
    /// AWS-LC failed where it must not. Please report.
    Internal,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "the locked memory is exhausted",
            Self::SignatureInvalid => "the signature is invalid",
            Self::SignatureLength => "the signature has the wrong length",
            Self::DataLength => "the data has the wrong length",
            Self::DataInvalid => "the data is invalid",
            Self::KeyMalformed => "the key is malformed or inconsistent",
            Self::KeySize => "the key size is not supported",
            Self::PointInvalid => "the public point is invalid",
            Self::ParameterInvalid => "a parameter is out of range",
            Self::Unsupported => "the algorithm or encoding is not supported",
            Self::Internal => "the cryptographic library failed unexpectedly",
        })
    }
}

impl std::error::Error for Error {}

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}
