//! What an administrator pins.
//!
//! What lives here: roots, read and judged when they are registered, so that nothing is found wrong with them later.
//! What must never live here: roots of our own choice. None is built in.
//! Who calls it: the token when an authority is registered; the kinds.

use der::Decode;
use x509_cert::certificate::{CertificateInner, Raw};

use crate::certificate::{Certificate, Revocations};
use crate::key::Key;
use crate::pem;
use crate::tpm::public_area;
use crate::{Kind, Refusal};

/// A vendor has one root a generation.
const ROOTS_MAX: usize = 16;
const WHAT: &str = "a pinned root";
const LIST: &str = "a pinned CRL";

/// Pinned trust for one kind of hardware.
#[derive(Debug, Clone)]
pub struct Roots {
    kind: Kind,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) keys: Vec<Key>,
    pub(crate) lists: Vec<Revocations>,
}

impl Roots {
    /// Reads what is to be pinned: certificates of authorities, in PEM (one or many) or DER (one). For TPMs also attestation keys
    /// themselves: `PUBLIC KEY` in PEM or DER, or a `TPM2B_PUBLIC` as tpm2-tools write it. Beside certificates also lists of revoked ones
    /// (`X509 CRL` in PEM), of a root or of an authority between: once its time is over, a list refuses what it would have spared.
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
            lists: Vec::new(),
        };
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if text.contains("-----BEGIN ") {
            let blocks = pem::blocks(text, ROOTS_MAX).ok_or(Refusal::Roots {
                why: "a PEM block cannot be read, or there are more than 16",
            })?;
            for block in blocks {
                match block.label.as_str() {
                    "CERTIFICATE" => roots.certify(&block.bytes)?,
                    "X509 CRL" => roots.lists.push(Revocations::parse(&block.bytes, LIST)?),
                    "PUBLIC KEY" => roots.key(Key::parse(&block.bytes))?,
                    _ => {
                        return Err(Refusal::Roots {
                            why: "certificates, public keys and lists of revoked certificates are pinned; a PEM block is none of them",
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
        roots.judge_lists()?;
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

    /// A list of a root is signed by that root.
    fn judge_lists(&self) -> Result<(), Refusal> {
        for list in &self.lists {
            let mut of = self
                .certificates
                .iter()
                .filter(|root| list.is_of(root))
                .peekable();
            if of.peek().is_some() && !of.any(|root| list.is_signed_by(root)) {
                return Err(Refusal::Signature { what: LIST });
            }
        }
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
