//! The runtime: what a workload says about itself, and the hardware vouches for by its digest.
//!
//! What lives here: the binding, and the form of the document.
//! What must never live here: where each kind of hardware keeps the digest.
//! Who calls it: every kind.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::json::{self, Members};
use crate::{Refusal, Verified};

/// Keys and a nonce need few; RSA keys of 4096 bits as JWK are of 700 bytes.
const RUNTIME_BYTES_MAX: usize = 64 * 1024;
const WHAT: &str = "runtime";

/// A field of the hardware's statement that the workload chose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) bytes: &'a [u8],
    /// How long the field is when it vouches for a runtime: the digest, and zeros behind it.
    pub(crate) length: usize,
    pub(crate) name: &'static str,
}

/// Reads a runtime that the field vouches for.
pub(crate) fn bound(runtime: Option<&[u8]>, field: Field<'_>) -> Result<Option<Value>, Refusal> {
    let Some(runtime) = runtime else {
        return Ok(None);
    };
    let mut vouching = Sha256::digest(runtime).to_vec();
    vouching.resize(field.length, 0);
    if field.bytes != vouching {
        return Err(Refusal::Binding { place: field.name });
    }
    let value = json::parse(runtime, RUNTIME_BYTES_MAX, WHAT)?;
    judge(&value)?;
    Ok(Some(value))
}

/// The document has the members that are looked at in the form that is expected; others are the workload's own.
fn judge(value: &Value) -> Result<(), Refusal> {
    let all = Members::of(value, WHAT)?;
    if all.value("keys").is_some() {
        for key in all.list("keys")? {
            Members::of(key, WHAT)?.text("kty")?;
        }
    }
    if all.value("client-payload").is_some() {
        all.members("client-payload")?;
    }
    Ok(())
}

/// Claims and runtime together: the runtime is a claim too.
pub(crate) fn with_claims(mut claims: Value, runtime: Option<Value>) -> Verified {
    if let (Some(claims), Some(runtime)) = (claims.as_object_mut(), &runtime) {
        claims.insert("x-ms-runtime".to_owned(), runtime.clone());
    }
    Verified { claims, runtime }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_and_zeros_and_nothing_else_vouch() {
        let runtime = br#"{"keys":[{"kty":"RSA"}],"client-payload":{"nonce":"AA"},"own":1}"#;
        let digest = Sha256::digest(runtime).to_vec();
        let field = |bytes, length| Field {
            bytes,
            length,
            name: "a field",
        };
        let long = [digest.clone(), vec![0; 32]].concat();
        assert!(bound(Some(runtime), field(&digest, 32)).is_ok_and(|value| value.is_some()));
        assert!(bound(Some(runtime), field(&long, 64)).is_ok());
        assert!(bound(Some(runtime), field(&long, 32)).is_err());
        assert!(bound(Some(runtime), field(&digest, 64)).is_err());
        assert_eq!(bound(None, field(&[], 32)), Ok(None));
        let mut other = long.clone();
        other[63] = 1;
        assert!(bound(Some(runtime), field(&other, 64)).is_err());
    }

    #[test]
    fn a_runtime_has_a_form() {
        for wrong in [
            "[]",
            "7",
            "{\"keys\":{}}",
            "{\"keys\":[1]}",
            "{\"keys\":[{}]}",
            "{\"client-payload\":1}",
            "{",
        ] {
            let digest = Sha256::digest(wrong).to_vec();
            let field = Field {
                bytes: &digest,
                length: 32,
                name: "a field",
            };
            let refusal = bound(Some(wrong.as_bytes()), field).expect_err(wrong);
            assert!(matches!(refusal, Refusal::Malformed { .. }), "{wrong}");
        }
    }
}
