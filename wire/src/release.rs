//! Releases of keys, as they are asked for on both sockets.
//!
//! What lives here: what comes with the question.
//! What must never live here: an answer; that is an output as others are.
//! Who calls it: the messages of this crate.

use serde::{Deserialize, Serialize};

use crate::codec;

/// How a key is to be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRelease<'a> {
    /// What an authority says of the place: a compact JWS.
    #[serde(borrow, serialize_with = "codec::bytes")]
    pub statement: &'a [u8],
    /// What must stand in it.
    pub nonce: Option<&'a str>,
    /// How the key is encrypted: `CKM_RSA_AES_KEY_WRAP`, which is usual, `RSA_AES_KEY_WRAP_256` or `RSA_AES_KEY_WRAP_384`.
    pub encryption: Option<&'a str>,
    /// Whether the one who asks addresses a version of the key.
    pub versioned: bool,
}
