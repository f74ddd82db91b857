//! The account of a release: what the journal is told, whether it was permitted or not.
//!
//! What lives here: names, hashes and the way to the decision; never a claim's value, a key or a ciphertext.
//! What must never live here: the decision.
//! Who calls it: the chapter of releases fills it, the audit writes it.

/// What the journal says of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The authority whose word it was.
    pub authority: Option<String>,
    /// By which the statement is known again: its `jti`, or a hash.
    pub statement: Option<String>,
    /// SHA-256 of the key's release policy, in hexadecimal.
    pub policy: Option<String>,
    /// The entry of the policy that permitted, counted from 0.
    pub entry: Option<u64>,
    /// The thumbprint (RFC 7638) of the key that it was encrypted to.
    pub key: Option<String>,
    /// How it was encrypted.
    pub encryption: Option<&'static str>,
    /// How each claim was found: its name, and whether it was as demanded.
    pub trace: Option<String>,
    /// It was permitted, and no key left: its length alone was asked for, or wrapping failed.
    pub withheld: bool,
    /// Why nothing was released.
    pub refusal: Option<String>,
}
