//! JSON Web Keys (RFC 7517, RFC 7518, RFC 8037), one or a set.
//!
//! What lives here: the members of a key, and what they become.
//! What must never live here: encrypted keys; they are messages, and no files of keys.
//! Who calls it: the door for JWK.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use strongroom_keymem::SecretVec;
use strongroom_wire::ck::{AttributeType as A, KeyType};

use super::error::FileError;
use super::material::{Description, PrivateKey, PublicKey, RsaPrivate, secret_key};
use super::open::Findings;

/// A key. The values borrow from the file, which lies in locked memory; a value with an escape in it would not, and is refused.
#[derive(Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x5c: Option<Vec<String>>,
    #[serde(borrow)]
    n: Option<&'a str>,
    e: Option<&'a str>,
    d: Option<&'a str>,
    p: Option<&'a str>,
    q: Option<&'a str>,
    dp: Option<&'a str>,
    dq: Option<&'a str>,
    qi: Option<&'a str>,
    oth: Option<serde_json::Value>,
    x: Option<&'a str>,
    y: Option<&'a str>,
    k: Option<&'a str>,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a serde_json::value::RawValue>,
}

/// Reads a key or a set of keys.
///
/// # Errors
/// [`FileError`]; what cannot be brought in and is not damaged is among the findings.
pub fn read(
    file: &[u8],
    name: &str,
    label: &str,
    findings: &mut Findings,
) -> Result<(), FileError> {
    let text = std::str::from_utf8(file).map_err(|_| FORM)?;
    let keys = match serde_json::from_str::<Set<'_>>(text) {
        Ok(set) => set.keys.iter().map(|key| key.get()).collect(),
        Err(_) => vec![text],
    };
    let several = keys.len() > 1;
    for (key, number) in keys.into_iter().zip(1_usize..) {
        let source = match several {
            true => format!("{name}, key {number}"),
            false => name.to_owned(),
        };
        // The words of the parser are not shown: they may name a value.
        let key: Jwk<'_> = serde_json::from_str(key).map_err(|_| FORM)?;
        match key.read(&source, label, findings) {
            Err(FileError::Unsupported(why)) => findings.refused.push((source, why)),
            other => other?,
        }
    }
    Ok(())
}

impl Jwk<'_> {
    fn read(&self, source: &str, label: &str, findings: &mut Findings) -> Result<(), FileError> {
        let description = Description {
            label: self.kid.clone().unwrap_or_else(|| label.into()),
            id: self.kid.as_ref().map(|kid| kid.as_bytes().to_vec()),
            usage: self.usage()?,
        };
        match self.kty {
            "RSA" => self.rsa(source, &description, findings)?,
            "EC" => self.ec(source, &description, findings)?,
            "OKP" => self.okp(source, &description, findings)?,
            "oct" => {
                let value = bytes(self.k, "a secret key has no k")?;
                let object = secret_key(self.secret_type(), value.expose(), &description)?;
                findings.objects.push((source.into(), object));
            }
            other => {
                return Err(FileError::Unsupported(format!(
                    "its kty \"{}\" is not RSA, EC, OKP or oct",
                    strongroom_cli::output::printable(other)
                )));
            }
        }
        for certificate in self.x5c.iter().flatten() {
            // RFC 7517, 4.7: base64 with padding, unlike all else.
            let der = Base64::decode_vec(certificate).map_err(|_| BASE64)?;
            findings.certificate(source, &der, &description)?;
        }
        Ok(())
    }

    fn rsa(
        &self,
        source: &str,
        description: &Description,
        findings: &mut Findings,
    ) -> Result<(), FileError> {
        let modulus = bytes(self.n, "an RSA key has no n")?;
        let exponent = bytes(self.e, "an RSA key has no e")?;
        if self.d.is_none() {
            let key = PublicKey::Rsa {
                modulus: modulus.expose(),
                public_exponent: exponent.expose(),
            };
            return findings.public_key(source, &key, description);
        }
        if self.oth.is_some() {
            return Err(FileError::Unsupported(
                "it is an RSA key of more than two primes, which no PKCS#11 token takes".into(),
            ));
        }
        let private = bytes(self.d, "an RSA key has no d")?;
        let parts =
            [self.p, self.q, self.dp, self.dq, self.qi].map(|part| bytes(part.or(Some("")), ""));
        let [p, q, dp, dq, qi] = parts;
        let (p, q, dp, dq, qi) = (p?, q?, dp?, dq?, qi?);
        let key = PrivateKey::Rsa(RsaPrivate {
            modulus: modulus.expose(),
            public_exponent: exponent.expose(),
            private_exponent: private.expose(),
            prime_1: p.expose(),
            prime_2: q.expose(),
            exponent_1: dp.expose(),
            exponent_2: dq.expose(),
            coefficient: qi.expose(),
        });
        findings.private_key(source, &key, description, Some(mirrored(description)))
    }

    fn ec(
        &self,
        source: &str,
        description: &Description,
        findings: &mut Findings,
    ) -> Result<(), FileError> {
        let (parameters, length) = self.curve(EC_CURVES)?;
        let (x, y) = (
            bytes(self.x, "a key has no x")?,
            bytes(self.y, "a key has no y")?,
        );
        // RFC 7518, 6.2.1.2: as long as the field.
        if x.len() != length || y.len() != length {
            return Err(FileError::Malformed(
                "a coordinate has not the length of its curve",
            ));
        }
        let point = [&[4], x.expose(), y.expose()].concat();
        if self.d.is_none() {
            return public_curve(
                KeyType::EC,
                parameters,
                &point,
                source,
                description,
                findings,
            );
        }
        let scalar = bytes(self.d, "a key has no d")?;
        let key = PrivateKey::Ec {
            parameters,
            scalar: scalar.expose(),
            point: Some(&point),
        };
        belongs(&key, &point)?;
        findings.private_key(source, &key, description, Some(mirrored(description)))
    }

    fn okp(
        &self,
        source: &str,
        description: &Description,
        findings: &mut Findings,
    ) -> Result<(), FileError> {
        let (parameters, length) = self.curve(OKP_CURVES)?;
        let kind = match self.crv.as_deref() {
            Some("X25519" | "X448") => KeyType::EC_MONTGOMERY,
            _ => KeyType::EC_EDWARDS,
        };
        let public = bytes(self.x, "a key has no x")?;
        if public.len() != length {
            return Err(FileError::Malformed(
                "a public key has not the length of its curve",
            ));
        }
        if self.d.is_none() {
            return public_curve(
                kind,
                parameters,
                public.expose(),
                source,
                description,
                findings,
            );
        }
        let value = bytes(self.d, "a key has no d")?;
        let key = PrivateKey::Edwards {
            kind,
            parameters,
            value: value.expose(),
        };
        belongs(&key, public.expose())?;
        findings.private_key(source, &key, description, Some(mirrored(description)))
    }

    fn curve(
        &self,
        known: &'static [(&str, &[u8], usize)],
    ) -> Result<(&'static [u8], usize), FileError> {
        let name = self.crv.as_deref().unwrap_or_default();
        known
            .iter()
            .find(|(one, ..)| *one == name)
            .map(|(_, parameters, length)| (*parameters, *length))
            .ok_or_else(|| {
                let name = strongroom_cli::output::printable(name);
                FileError::Unsupported(format!("its curve \"{name}\" is not known here"))
            })
    }

    /// What `alg` says, or else what it may be used for: a key that encrypts is one of AES.
    fn secret_type(&self) -> KeyType {
        let is_aes = match &self.alg {
            Some(alg) => {
                alg.starts_with('A')
                    && ["KW", "GCM", "CBC", "CTR"].iter().any(|mode| alg.contains(mode))
                    // RFC 7518, 5.1: A128CBC-HS256 is a key for AES and one for HMAC in one run of bytes.
                    && !alg.contains("-HS")
            }
            None => self.usage().ok().flatten().is_some_and(|uses| {
                [A::ENCRYPT, A::DECRYPT, A::WRAP, A::UNWRAP]
                    .iter()
                    .any(|one| uses.contains(one))
            }),
        };
        match is_aes {
            true => KeyType::AES,
            false => KeyType::GENERIC_SECRET,
        }
    }

    /// What the key may be used for; `key_ops` is more precise than `use`.
    fn usage(&self) -> Result<Option<Vec<A>>, FileError> {
        if let Some(operations) = &self.key_ops {
            let uses = operations.iter().filter_map(|name| {
                OPERATIONS
                    .iter()
                    .find(|(one, _)| one == name)
                    .map(|(_, kind)| *kind)
            });
            return Ok(Some(uses.collect()));
        }
        Ok(match self.purpose.as_deref() {
            Some("sig") => Some(vec![A::SIGN, A::VERIFY]),
            Some("enc") => Some(vec![A::ENCRYPT, A::DECRYPT, A::WRAP, A::UNWRAP, A::DERIVE]),
            Some(_) => {
                return Err(FileError::Unsupported(
                    "its use is neither sig nor enc".into(),
                ));
            }
            None => None,
        })
    }
}

fn public_curve(
    kind: KeyType,
    parameters: &[u8],
    point: &[u8],
    source: &str,
    description: &Description,
    findings: &mut Findings,
) -> Result<(), FileError> {
    let key = PublicKey::Curve {
        kind,
        parameters,
        point: point.into(),
    };
    findings.public_key(source, &key, description)
}

/// A private key that came with somebody else's public one would sign what nobody can verify.
fn belongs(key: &PrivateKey<'_>, told: &[u8]) -> Result<(), FileError> {
    match key.public() {
        Some(PublicKey::Curve { point, .. }) if *point != *told => Err(FileError::Malformed(
            "the private part and the public part belong to different keys",
        )),
        _ => Ok(()),
    }
}

/// What the public key may do when the private one may do this.
fn mirrored(description: &Description) -> Description {
    let mirror = |kind: &A| match *kind {
        A::SIGN => Some(A::VERIFY),
        A::DECRYPT => Some(A::ENCRYPT),
        A::UNWRAP => Some(A::WRAP),
        other => Some(other),
    };
    Description {
        usage: description
            .usage
            .as_ref()
            .map(|uses| uses.iter().filter_map(mirror).collect()),
        ..description.clone()
    }
}

fn bytes(digits: Option<&str>, what: &'static str) -> Result<SecretVec, FileError> {
    let digits = digits.ok_or(FileError::Malformed(what))?;
    let length = digits.len() / 4 * 3 + digits.len() % 4;
    let mut bytes = SecretVec::with_capacity(length)?;
    let decoded = Base64UrlUnpadded::decode(digits, bytes.grow(length)?)
        .map_err(|_| BASE64)?
        .len();
    bytes.truncate(decoded);
    Ok(bytes)
}

const FORM: FileError = FileError::Malformed("it is no JSON Web Key, and no set of them");
const BASE64: FileError = FileError::Malformed("a value of the key is no base64url");

/// RFC 7517, 4.3.
const OPERATIONS: &[(&str, A)] = &[
    ("sign", A::SIGN),
    ("verify", A::VERIFY),
    ("encrypt", A::ENCRYPT),
    ("decrypt", A::DECRYPT),
    ("wrapKey", A::WRAP),
    ("unwrapKey", A::UNWRAP),
    ("deriveKey", A::DERIVE),
    ("deriveBits", A::DERIVE),
];

/// RFC 7518, 6.2.1.1 and RFC 8812: name, DER of the curve's name, bytes of a coordinate.
const EC_CURVES: &[(&str, &[u8], usize)] = &[
    ("P-256", &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 32),
    ("P-384", &[6, 5, 0x2b, 0x81, 4, 0, 0x22], 48),
    ("P-521", &[6, 5, 0x2b, 0x81, 4, 0, 0x23], 66),
    ("secp256k1", &[6, 5, 0x2b, 0x81, 4, 0, 0x0a], 32),
];
/// RFC 8037, 2.
const OKP_CURVES: &[(&str, &[u8], usize)] = &[
    ("X25519", &[6, 3, 0x2b, 0x65, 110], 32),
    ("X448", &[6, 3, 0x2b, 0x65, 111], 56),
    ("Ed25519", &[6, 3, 0x2b, 0x65, 112], 32),
    ("Ed448", &[6, 3, 0x2b, 0x65, 113], 57),
];
