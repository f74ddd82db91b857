//! A released key comes into a token.
//!
//! What lives here: both steps of `CKM_RSA_AES_KEY_WRAP`, by mechanisms that every token has, and the comparison of what came out.
//! What must never live here: a key in clear: the temporary one and the released one lie in the token alone.
//! Who calls it: `release open`.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use super::envelope::{Kind, Oaep, Released};
use crate::command::wrap::token::{Token, failure};
use crate::failure::Failure;

/// The place's private key.
pub(super) struct Kek<'t> {
    token: &'t Token,
    key: ObjectHandle,
    modulus_bytes: usize,
}

impl<'t> Kek<'t> {
    /// Finds it: the only private RSA key that has all of these attributes.
    ///
    /// # Errors
    /// When there is none, or several.
    pub(super) fn find(
        token: &'t Token,
        label: Option<&str>,
        id: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let mut wanted = vec![
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::RSA),
        ];
        wanted.extend(label.map(|label| Attribute::Label(label.into())));
        wanted.extend(id.map(|id| Attribute::Id(id.to_vec())));
        let found = token
            .session
            .find_objects(&wanted)
            .map_err(|error| failure("cannot search the token", &error))?;
        let key = match found.as_slice() {
            [key] => *key,
            [] => {
                return Err(Failure::Failed(
                    "there is no private RSA key in the token that --kek and --kek-id name".into(),
                ));
            }
            several => {
                return Err(Failure::Failed(format!(
                    "{} private RSA keys are what --kek and --kek-id name; say by both which one is meant",
                    several.len()
                )));
            }
        };
        let modulus = token
            .session
            .get_attributes(key, &[AttributeType::Modulus])
            .map_err(|error| failure("cannot read the modulus of the private key", &error))?;
        let Some(Attribute::Modulus(modulus)) = modulus.first() else {
            return Err(Failure::Failed(
                "the token does not tell the modulus of the private key".into(),
            ));
        };
        Ok(Self {
            token,
            key,
            modulus_bytes: modulus.len(),
        })
    }

    /// Unwraps a released key into the token, and destroys it again if it is not the one that was signed for.
    ///
    /// # Errors
    /// When this private key does not fit, the token refuses, or another key comes out.
    pub(super) fn unwrap(
        &self,
        released: &Released,
        label: &str,
        extractable: bool,
    ) -> Result<(), Failure> {
        let session = &self.token.session;
        let (first, second) = released
            .ciphertext
            .split_at_checked(self.modulus_bytes)
            .ok_or_else(|| Failure::Failed(DOES_NOT_FIT.into()))?;
        let (hash, mask) = match released.oaep {
            Oaep::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
            Oaep::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
            Oaep::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        };
        let oaep = PkcsOaepParams::new(hash, mask, PkcsOaepSource::empty());
        let temporary = session
            .unwrap_key(
                &Mechanism::RsaPkcsOaep(oaep),
                self.key,
                first,
                &[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::AES),
                    Attribute::Token(false),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Unwrap(true),
                ],
            )
            .map_err(|error| not_by_oaep(released.oaep, &error))?;
        let key = self.by_temporary(temporary, second, &template(released, label, extractable));
        // It ends with the session in any case.
        let _ = session.destroy_object(temporary);
        let key = key?;
        let why = match self.compared(key, &released.kind) {
            Ok(Comparison::Same) => return Ok(()),
            Ok(Comparison::Another) => {
                "what was encrypted is another key than the one that was signed for".to_owned()
            }
            Ok(Comparison::Untold) => {
                "the token does not tell the public half of the key (CKA_PUBLIC_KEY_INFO), so nobody knows whether it is the one that was signed for"
                    .to_owned()
            }
            Err(error) => failure("the token does not tell the public half of the key", &error)
                .to_string(),
        };
        Err(self.undone(key, &why))
    }

    /// The second step: RFC 5649 under the temporary key.
    fn by_temporary(
        &self,
        temporary: ObjectHandle,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, Failure> {
        let session = &self.token.session;
        let told = session
            .get_attributes(temporary, &[AttributeType::ValueLen])
            .map_err(|error| failure("cannot read the length of the temporary key", &error))?;
        // SoftHSM tells none of keys that were unwrapped. Nothing hangs on it: whoever signed has chosen the key, and RFC 5649 finds what does not fit.
        let is_another = |length: &Attribute| matches!(length, Attribute::ValueLen(length) if ![0, TEMPORARY_BYTES].contains(&**length));
        if told.iter().any(is_another) {
            return Err(Failure::Failed(format!(
                "the temporary key that was encrypted has not {TEMPORARY_BYTES} bytes"
            )));
        }
        session
            .unwrap_key(&Mechanism::AesKeyWrapPad, temporary, wrapped, template)
            .map_err(|error| {
                let is_another = matches!(
                    error,
                    Error::Pkcs11(
                        RvError::TemplateInconsistent | RvError::KeyTypeInconsistent,
                        _
                    )
                );
                if is_another {
                    failure(
                        "what was encrypted is a key of another kind than was signed for",
                        &error,
                    )
                } else {
                    refused(&error)
                }
            })
    }

    /// Whether a key that came out has the public half that was signed for: as the token tells it, or else by an RSA key's numbers or a signature.
    fn compared(&self, key: ObjectHandle, kind: &Kind) -> Result<Comparison, Error> {
        let session = &self.token.session;
        if matches!(kind, Kind::Secret) {
            // RFC 5649 finds every change, and of a secret nothing is public.
            return Ok(Comparison::Same);
        }
        let told = session.get_attributes(key, &[AttributeType::PublicKeyInfo])?;
        // SoftHSM has the attribute and nothing in it.
        if let [Attribute::PublicKeyInfo(info)] = told.as_slice()
            && !info.is_empty()
        {
            return Ok(Comparison::of(kind.has_public(info)));
        }
        if matches!(kind, Kind::Rsa(_)) {
            let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
            let told = session.get_attributes(key, &wanted)?;
            if let [
                Attribute::Modulus(modulus),
                Attribute::PublicExponent(exponent),
            ] = told.as_slice()
            {
                return Ok(Comparison::of(kind.has_numbers(modulus, exponent)));
            }
        }
        let signs = session.get_attributes(key, &[AttributeType::Sign])?;
        if matches!(kind, Kind::Ec(_)) && matches!(signs.as_slice(), [Attribute::Sign(true)]) {
            let signature = session.sign(&Mechanism::Ecdsa, key, PROOF)?;
            return Ok(Comparison::of(kind.has_signed(PROOF, &signature)));
        }
        Ok(Comparison::Untold)
    }

    fn undone(&self, key: ObjectHandle, why: &str) -> Failure {
        match self.token.session.destroy_object(key) {
            Ok(()) => Failure::Failed(format!("{why}; it is destroyed again")),
            Err(error) => failure(
                &format!(
                    "{why}; it is still in the token and could not be destroyed, so do it by hand"
                ),
                &error,
            ),
        }
    }
}

/// What came of comparing a key with what was signed for.
enum Comparison {
    Same,
    Another,
    /// The token does not tell.
    Untold,
}

impl Comparison {
    const fn of(same: bool) -> Self {
        if same { Self::Same } else { Self::Another }
    }
}

/// What the new key is and may do.
fn template(released: &Released, label: &str, extractable: bool) -> Vec<Attribute> {
    let may = |name: &str| released.operations.iter().any(|one| one == name);
    let (class, kind) = match released.kind {
        Kind::Rsa(_) => (ObjectClass::PRIVATE_KEY, KeyType::RSA),
        Kind::Ec(_) => (ObjectClass::PRIVATE_KEY, KeyType::EC),
        Kind::Edwards(_) => (ObjectClass::PRIVATE_KEY, KeyType::EC_EDWARDS),
        Kind::Secret if may("encrypt") || may("decrypt") || may("wrapKey") || may("unwrapKey") => {
            (ObjectClass::SECRET_KEY, KeyType::AES)
        }
        Kind::Secret => (ObjectClass::SECRET_KEY, KeyType::GENERIC_SECRET),
    };
    let mut template = vec![
        Attribute::Class(class),
        Attribute::KeyType(kind),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(extractable),
        Attribute::Label(label.into()),
        Attribute::Sign(may("sign")),
    ];
    // Not all kinds of keys have all flags.
    let rsa = matches!(released.kind, Kind::Rsa(_));
    let secret = matches!(released.kind, Kind::Secret);
    if rsa || secret {
        template.push(Attribute::Decrypt(may("decrypt")));
        template.push(Attribute::Unwrap(may("unwrapKey")));
    }
    if secret {
        template.push(Attribute::Encrypt(may("encrypt")));
        template.push(Attribute::Verify(may("verify")));
        template.push(Attribute::Wrap(may("wrapKey")));
    }
    if may("deriveKey") {
        template.push(Attribute::Derive(true));
    }
    template
}

/// The token did not decrypt the temporary key.
fn not_by_oaep(oaep: Oaep, error: &Error) -> Failure {
    let is_parameter = matches!(
        error,
        Error::Pkcs11(RvError::ArgumentsBad | RvError::MechanismParamInvalid, _)
    );
    let (name, hash) = match oaep {
        Oaep::Sha256 if is_parameter => ("RSA_AES_KEY_WRAP_256", "SHA-256"),
        Oaep::Sha384 if is_parameter => ("RSA_AES_KEY_WRAP_384", "SHA-384"),
        Oaep::Sha1 | Oaep::Sha256 | Oaep::Sha384 => return refused(error),
    };
    failure(
        &format!(
            "the token does no OAEP with {hash}, which {name} needs; have the key released with --enc CKM_RSA_AES_KEY_WRAP"
        ),
        error,
    )
}

/// The token did not unwrap.
fn refused(error: &Error) -> Failure {
    let tells_of_the_data = matches!(
        error,
        Error::Pkcs11(
            RvError::WrappedKeyInvalid
                | RvError::WrappedKeyLenRange
                | RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange,
            _
        )
    );
    failure(
        if tells_of_the_data {
            DOES_NOT_FIT
        } else {
            "the token does not unwrap the key; the private key needs CKA_UNWRAP, and the token CKM_RSA_PKCS_OAEP and CKM_AES_KEY_WRAP_PAD (RFC 5649)"
        },
        error,
    )
}

/// docs/release-format.md, Ciphertext.
const TEMPORARY_BYTES: u64 = 32;
/// What a key signs to show which one it is, in the place of a hash. The signature goes nowhere.
const PROOF: &[u8; 32] = b"strongroom release open: whose? ";
const DOES_NOT_FIT: &str = "the private key is not the one that the released key is encrypted to, or what is encrypted is no such key";
