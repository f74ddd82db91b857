//! AWS Nitro: the attestation document of an enclave.
//!
//! What lives here: the document as AWS describes it ("Nitro Enclaves attestation process"): a COSE_Sign1 (RFC 9052) over a map.
//! What must never live here: CBOR itself.
//! Who calls it: `verify`.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use rsa::traits::PublicKeyParts;
use serde_json::{Map, Value, json};

use crate::cbor::{self, Item};
use crate::key::{Algorithm, EcdsaForm, Key};
use crate::read::hex;
use crate::runtime::{self, Field};
use crate::{Refusal, Roots, Verified, chain};

const WHAT: &str = "Nitro document";
const LEAF: &str = "the certificate of the Nitro document";

/// RFC 9053, 2.1: ES384 is -35, which CBOR writes as -1 - 34.
const ES384: Item<'_> = Item::Negative(34);
/// RFC 9052, 2: COSE_Sign1.
const TAG_SIGN1: u64 = 18;
/// How far ahead of us the clock of the enclave's host may be.
const CLOCK_SECONDS: u64 = 300;
/// Registers 0 to 31.
const PCRS_MAX: usize = 32;

/// The map that is signed.
struct Document<'a> {
    module_id: &'a str,
    milliseconds: u64,
    pcrs: Vec<(u64, &'a [u8])>,
    /// The signer's, then those between, up to the root.
    certificates: Vec<Vec<u8>>,
    public_key: Option<&'a [u8]>,
    user_data: Option<&'a [u8]>,
    nonce: Option<&'a [u8]>,
}

/// Verifies a document.
pub(crate) fn verify(
    document: &[u8],
    runtime: Option<&[u8]>,
    roots: &Roots,
    now: u64,
) -> Result<Verified, Refusal> {
    let envelope = Envelope::read(document)?;
    let item = cbor::read(envelope.payload, WHAT)?;
    let document = Document::read(&item)?;
    let (leaf, others) = chain::leaf_first(&document.certificates, LEAF)?;
    let verifies = matches!(leaf.key, Key::P384(_))
        && leaf.key.verifies(
            Algorithm::EcdsaSha384,
            EcdsaForm::Fixed,
            &envelope.to_be_signed(),
            envelope.signature,
        );
    if !verifies {
        return Err(Refusal::Signature { what: WHAT });
    }
    if !leaf.may_state() {
        return Err(Refusal::Unsupported {
            what: LEAF,
            why: "it is not of a signer of documents",
        });
    }
    chain::to_root(&leaf, &others, roots, now, LEAF)?;
    let seconds = document.milliseconds / 1000;
    if seconds > now.saturating_add(CLOCK_SECONDS) {
        return Err(Refusal::Time {
            what: WHAT,
            from: seconds,
            until: leaf.not_after,
            now,
        });
    }
    let field = Field {
        bytes: document.user_data.unwrap_or_default(),
        length: 32,
        name: "user_data of the document (32 bytes)",
    };
    let bound = runtime::bound(runtime, field)?;
    let runtime = bound.or_else(|| document.own_runtime());
    Ok(runtime::with_claims(document.claims(), runtime))
}

/// A COSE_Sign1 (RFC 9052, 4.2).
struct Envelope<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// The protected header says nothing but ES384, the other one nothing at all.
    fn read(document: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = |why| Refusal::Malformed { what: WHAT, why };
        let mut item = cbor::read(document, WHAT)?;
        if let Item::Tagged(TAG_SIGN1, inner) = item {
            item = *inner;
        }
        let parts = if let Item::List(list) = &item {
            list.as_slice()
        } else {
            &[]
        };
        let [
            Item::Bytes(protected),
            Item::Map(unprotected),
            Item::Bytes(payload),
            Item::Bytes(signature),
        ] = parts
        else {
            return Err(malformed("not a COSE_Sign1"));
        };
        let header = cbor::read(protected, WHAT)?;
        if header != Item::Map(vec![(Item::Unsigned(1), ES384)]) || !unprotected.is_empty() {
            return Err(malformed("its headers say more or less than ES384"));
        }
        Ok(Self {
            protected,
            payload,
            signature,
        })
    }

    /// RFC 9052, 4.4: Sig_structure, without additional data.
    fn to_be_signed(&self) -> Vec<u8> {
        let mut out = b"\x84\x6aSignature1".to_vec();
        cbor::write_bytes(&mut out, self.protected);
        cbor::write_bytes(&mut out, &[]);
        cbor::write_bytes(&mut out, self.payload);
        out
    }
}

impl<'a> Document<'a> {
    fn read(item: &Item<'a>) -> Result<Self, Refusal> {
        let malformed = |why| Refusal::Malformed { what: WHAT, why };
        let Item::Map(members) = item else {
            return Err(malformed("its payload is not a map"));
        };
        let member = |name: &str| {
            let found = members.iter().find(|(key, _)| *key == Item::Text(name));
            found.map(|(_, value)| value)
        };
        let optional = |name: &str| match member(name) {
            None | Some(Item::Null) => Ok(None),
            Some(Item::Bytes(bytes)) => Ok(Some(*bytes)),
            Some(_) => Err(malformed("a member that must be bytes is something else")),
        };
        let Some(Item::Text("SHA384")) = member("digest") else {
            return Err(malformed("its registers are not of SHA-384"));
        };
        let Some(Item::Text(module_id)) = member("module_id") else {
            return Err(malformed("it does not name its module"));
        };
        let Some(Item::Unsigned(milliseconds)) = member("timestamp") else {
            return Err(malformed("it does not say when it was made"));
        };
        let (Some(Item::Bytes(leaf)), Some(Item::List(bundle))) =
            (member("certificate"), member("cabundle"))
        else {
            return Err(malformed("its certificates are not there"));
        };
        let mut certificates = vec![leaf.to_vec()];
        // AWS lists from the root downwards.
        for one in bundle.iter().rev() {
            let Item::Bytes(der) = one else {
                return Err(malformed("a certificate is not bytes"));
            };
            certificates.push(der.to_vec());
        }
        Ok(Self {
            module_id,
            milliseconds: *milliseconds,
            pcrs: pcrs(member("pcrs"))?,
            certificates,
            public_key: optional("public_key")?,
            user_data: optional("user_data")?,
            nonce: optional("nonce")?,
        })
    }

    /// What the document says by itself where no runtime came along: an RSA key to encrypt to, and a nonce.
    fn own_runtime(&self) -> Option<Value> {
        let key = jwk(self.public_key?)?;
        let mut runtime = json!({ "keys": [key] });
        if let Some(nonce) = self.nonce {
            runtime["client-payload"] = json!({ "nonce": Base64::encode_string(nonce) });
        }
        Some(runtime)
    }

    fn claims(&self) -> Value {
        let mut claims = Map::new();
        let mut claim = |name: String, value: Value| claims.insert(name, value);
        claim("x-ms-attestation-type".to_owned(), "nitro".into());
        claim("nitro-module-id".to_owned(), self.module_id.into());
        claim("nitro-timestamp".to_owned(), self.milliseconds.into());
        // An enclave in debug mode has zeros for what is measured of its image.
        let image = self.pcrs.iter().filter(|(index, _)| *index < 3);
        let debug = image
            .flat_map(|(_, value)| value.iter())
            .all(|byte| *byte == 0);
        claim("nitro-debug".to_owned(), debug.into());
        for (index, value) in &self.pcrs {
            claim(format!("nitro-pcr{index}"), hex(value).into());
        }
        if let Some(key) = self.public_key {
            let text = Base64UrlUnpadded::encode_string(key);
            claim("nitro-public-key".to_owned(), text.into());
        }
        for (name, value) in [("user-data", self.user_data), ("nonce", self.nonce)] {
            if let Some(value) = value {
                claim(format!("nitro-{name}"), hex(value).into());
            }
        }
        Value::Object(claims)
    }
}

fn pcrs<'a>(item: Option<&Item<'a>>) -> Result<Vec<(u64, &'a [u8])>, Refusal> {
    let malformed = |why| Refusal::Malformed { what: WHAT, why };
    let Some(Item::Map(all)) = item else {
        return Err(malformed("its registers are not there"));
    };
    if all.len() > PCRS_MAX {
        return Err(malformed("it has more registers than there are"));
    }
    let one = |pair: &(Item<'a>, Item<'a>)| match pair {
        (Item::Unsigned(index @ 0..32), Item::Bytes(value)) if value.len() == 48 => {
            Ok((*index, *value))
        }
        _ => Err(malformed("a register is not a number and 48 bytes")),
    };
    let pcrs: Vec<_> = all.iter().map(one).collect::<Result<_, _>>()?;
    if (0..3).any(|image| !pcrs.iter().any(|(index, _)| *index == image)) {
        return Err(malformed("registers 0 to 2 are not all there"));
    }
    Ok(pcrs)
}

/// An RSA key as JWK (RFC 7518, 6.3.1), for encryption; `None` for what is no RSA key in DER.
fn jwk(spki: &[u8]) -> Option<Value> {
    let Key::Rsa(key) = Key::parse(spki)? else {
        return None;
    };
    let number = |number: &rsa::BoxedUint| {
        Base64UrlUnpadded::encode_string(&number.to_be_bytes_trimmed_vartime())
    };
    Some(json!({
        "kty": "RSA",
        "use": "enc",
        "kid": "nitro-public-key",
        "n": number(key.n()),
        "e": number(key.e()),
    }))
}
