//! What an administrator pins.
//!
//! What lives here: roots, read and judged when they are registered, so that nothing is found wrong with them later.
//! What must never live here: roots of our own choice. None is built in.
//! Who calls it: the token when an authority is registered; the kinds.

use der::Decode;
use x509_cert::certificate::{CertificateInner, Raw};

use crate::certificate::Certificate;
use crate::key::Key;
use crate::pem;
use crate::tpm::public_area;
use crate::{Kind, Refusal};

/// A vendor has one root a generation.
const ROOTS_MAX: usize = 16;
const WHAT: &str = "a pinned root";

/// Pinned trust for one kind of hardware.
#[derive(Debug, Clone)]
pub struct Roots {
    kind: Kind,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) keys: Vec<Key>,
}

impl Roots {
    /// Reads what is to be pinned: certificates of authorities, in PEM (one or many) or DER (one). For TPMs also attestation keys
    /// themselves: `PUBLIC KEY` in PEM or DER, or a `TPM2B_PUBLIC` as tpm2-tools write it.
    ///
    /// # Errors
    ///
    /// `Refusal` if something cannot be read, is no authority, is not its own issuer and signer (so an authority between cannot be
    /// pinned), or if nothing or too much is there. A pinned bare SPKI is taken at the administrator's word; a `TPM2B_PUBLIC` must be of a
    /// restricted signing key that the TPM itself made and never lets go.
    pub fn parse(kind: Kind, bytes: &[u8]) -> Result<Self, Refusal> {
        let mut roots = Self {
            kind,
            certificates: Vec::new(),
            keys: Vec::new(),
        };
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if text.contains("-----BEGIN ") {
            let blocks = pem::blocks(text, ROOTS_MAX).ok_or(Refusal::Roots {
                why: "a PEM block cannot be read, or there are more than 16",
            })?;
            for block in blocks {
                match block.label.as_str() {
                    "CERTIFICATE" => roots.certify(&block.bytes)?,
                    "PUBLIC KEY" => roots.key(Key::parse(&block.bytes))?,
                    _ => {
                        return Err(Refusal::Roots {
                            why: "certificates and public keys are pinned; a PEM block is neither",
                        });
                    }
                }
            }
        } else if CertificateInner::<Raw>::from_der(bytes).is_ok() {
            roots.certify(bytes)?;
        } else if let Some(key) = Key::parse(bytes) {
            roots.key(Some(key))?;
        } else if kind == Kind::Tpm {
            roots.key(Some(public_area(bytes)?))?;
        }
        if roots.certificates.is_empty() && roots.keys.is_empty() {
            return Err(Refusal::Roots {
                why: "nothing that can be pinned was found; give certificates in PEM or DER",
            });
        }
        Ok(roots)
    }

    /// What they were pinned for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    fn certify(&mut self, der: &[u8]) -> Result<(), Refusal> {
        let root = Certificate::parse(der, WHAT)?;
        if !root.may_certify(0) {
            return Err(Refusal::Roots {
                why: "a certificate is not of an authority (CA) that may sign certificates",
            });
        }
        // The signature guards against bytes that changed on their way here; only a root has it within.
        if root.subject != root.issuer || !root.signed(&root) {
            return Err(Refusal::Signature { what: WHAT });
        }
        self.certificates.push(root);
        Ok(())
    }

    fn key(&mut self, key: Option<Key>) -> Result<(), Refusal> {
        if self.kind != Kind::Tpm {
            return Err(Refusal::Roots {
                why: "bare public keys are pinned for TPMs only; give the vendor's certificate",
            });
        }
        self.keys.push(key.ok_or(Refusal::Roots {
            why: "a public key is neither ECDSA on P-256 or P-384 nor RSA of 2048 to 4096 bits",
        })?);
        Ok(())
    }
}
