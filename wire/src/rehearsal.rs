//! Rehearsals: how a token is to imitate hardware, for tests of applications.
//!
//! What lives here: the plan of a rehearsal, what is told of one, and the names of functions that rules can be for.
//! What must never live here: carrying it out; the token does.
//! Who calls it: the command line writes plans, administration hands them to the token.

use serde::{Deserialize, Serialize};

use crate::ck::Rv;

/// What is asked about the rehearsal of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Act {
    /// How it is.
    Show,
    /// Begins one, in the place of one that goes on.
    Begin(Box<Plan>),
    /// The token is taken out of its slot: its sessions end.
    Remove,
    /// The token is put back.
    Insert,
    /// Ends it; the token is there, with all its room and speed.
    Off,
}

/// How a token imitates hardware. Without any rule it is as it always was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The name that the operator gave the whole: a profile.
    pub name: Option<String>,
    /// The same seed makes the same call of a function wait and fail the same way.
    pub seed: u64,
    /// Waits; of several for one function the last one holds.
    pub latencies: Vec<Latency>,
    /// Failures; the first that fits is answered.
    pub failures: Vec<Failure>,
    /// Most sessions of all applications at this token.
    pub sessions_max: Option<u64>,
    /// Most operations in a second.
    pub throttle: Option<Throttle>,
    /// How many more token objects there is room for.
    pub room: Option<u64>,
}

/// How long a function takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Name of the function; none for all.
    pub function: Option<String>,
    /// How long, from call to call.
    pub distribution: Distribution,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Always the same.
    Constant(u64),
    /// Anything between the two.
    Uniform(u64, u64),
    /// The bell curve: mean and standard deviation. What would be negative is zero.
    Normal(u64, u64),
    /// Median, and the standard deviation of the logarithm.
    LogNormal(u64, f64),
    /// The smallest value, and the shape: the smaller, the longer the tail.
    Pareto(u64, f64),
    /// The log-normal one with this median and this 99th percentile.
    Percentiles(u64, u64),
}

/// When a function fails, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Name of the function; none for all.
    pub function: Option<String>,
    /// When.
    pub when: When,
    /// What it answers.
    pub rv: Rv,
}

/// Which calls of a function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Each with this probability, from 0 to 1.
    Rate(f64),
    /// This one, counted from 1.
    Nth(u64),
    /// Each whose number can be divided by this.
    Every(u64),
}

/// Most operations in a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// How many.
    pub per_second: f64,
    /// What those beyond are answered; none lets them wait.
    pub rv: Option<Rv>,
}

/// How the rehearsal of a token is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Label of the token.
    pub label: String,
    /// Serial number of the token.
    pub serial_number: String,
    /// The plan; none when it does not rehearse.
    pub plan: Option<Plan>,
    /// Whether the token is in its slot.
    pub present: bool,
    /// Room left for token objects, where that is bounded.
    pub room_left: Option<u64>,
    /// What was called since it began.
    pub calls: Vec<Calls>,
}

/// Calls of one function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// Its name.
    pub function: String,
    /// How many.
    pub calls: u64,
    /// Of which were made to fail.
    pub failed: u64,
    /// How long all of them were made to wait, in microseconds.
    pub waited_microseconds: u64,
}

/// The functions that rules can be for: those that concern a token.
pub const FUNCTIONS: &[&str] = &[
    "C_CloseAllSessions",
    "C_CloseSession",
    "C_CopyObject",
    "C_CreateObject",
    "C_Decrypt",
    "C_DecryptDigestUpdate",
    "C_DecryptFinal",
    "C_DecryptInit",
    "C_DecryptUpdate",
    "C_DecryptVerifyUpdate",
    "C_DeriveKey",
    "C_DestroyObject",
    "C_Digest",
    "C_DigestEncryptUpdate",
    "C_DigestFinal",
    "C_DigestInit",
    "C_DigestKey",
    "C_DigestUpdate",
    "C_Encrypt",
    "C_EncryptFinal",
    "C_EncryptInit",
    "C_EncryptUpdate",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_FindObjectsInit",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_GenerateRandom",
    "C_GetAttributeValue",
    "C_GetMechanismList",
    "C_GetObjectSize",
    "C_GetSessionInfo",
    "C_GetSlotInfo",
    "C_GetTokenInfo",
    "C_InitPIN",
    "C_InitToken",
    "C_Login",
    "C_LoginUser",
    "C_Logout",
    "C_OpenSession",
    "C_SeedRandom",
    "C_SessionCancel",
    "C_SetAttributeValue",
    "C_SetPIN",
    "C_Sign",
    "C_SignEncryptUpdate",
    "C_SignFinal",
    "C_SignInit",
    "C_SignRecover",
    "C_SignRecoverInit",
    "C_SignUpdate",
    "C_UnwrapKey",
    "C_UnwrapKeyAuthenticated",
    "C_Verify",
    "C_VerifyFinal",
    "C_VerifyInit",
    "C_VerifyRecover",
    "C_VerifyRecoverInit",
    "C_VerifySignature",
    "C_VerifySignatureFinal",
    "C_VerifySignatureInit",
    "C_VerifySignatureUpdate",
    "C_VerifyUpdate",
    "C_WrapKey",
    "C_WrapKeyAuthenticated",
];
