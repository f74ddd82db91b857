//! The container that evidence travels in.
//!
//! What lives here: its JSON form, read with bounds. `docs/attestation-evidence.md` is its description.
//! What must never live here: a verdict.
//! Who calls it: the token, with what a client sent.

use serde_json::Value;

use crate::chain::CERTIFICATES_MAX;
use crate::json::{self, Members};
use crate::{EVIDENCE_BYTES_MAX, Kind, Refusal, pem, read};

const WHAT: &str = "evidence";
/// A TPM has 24 registers in a bank, and two banks are read here.
const PCRS_MAX: usize = 48;

/// What the hardware said, with what is needed to verify it, and the runtime that it vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What the hardware said.
    pub proof: Proof,
    /// The runtime, byte by byte as it was hashed. Without one, claims come out and no keys.
    pub runtime: Option<Vec<u8>>,
}

/// What one kind of hardware says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// AMD SEV-SNP.
    SevSnp {
        /// ATTESTATION_REPORT, 1184 bytes.
        report: Vec<u8>,
        /// In DER, that of VCEK or VLEK first.
        certificates: Vec<Vec<u8>>,
    },
    /// Intel TDX.
    Tdx {
        /// The quote.
        quote: Vec<u8>,
        /// What Intel says on the platform.
        collateral: Box<Collateral>,
    },
    /// Intel SGX.
    Sgx {
        /// The quote.
        quote: Vec<u8>,
        /// What Intel says on the platform.
        collateral: Box<Collateral>,
    },
    /// AWS Nitro.
    Nitro {
        /// The attestation document, a COSE_Sign1.
        document: Vec<u8>,
    },
    /// TPM 2.0.
    Tpm {
        /// TPMS_ATTEST.
        attest: Vec<u8>,
        /// TPMT_SIGNATURE.
        signature: Vec<u8>,
        /// The registers that the quote is over.
        pcrs: Vec<Pcr>,
        /// In DER, that of the attestation key first; none if the key itself is pinned.
        certificates: Vec<Vec<u8>>,
    },
}

/// What Intel publishes about platforms, as its provisioning service gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collateral {
    /// CRL of the root, DER.
    pub root_ca_crl: Vec<u8>,
    /// CRL of the authority that certified the platform, DER.
    pub pck_crl: Vec<u8>,
    /// Chain of the signer of the TCB info, PEM.
    pub tcb_info_issuer_chain: String,
    /// The TCB info, byte by byte as it was signed.
    pub tcb_info: String,
    /// Its signature.
    pub tcb_info_signature: [u8; 64],
    /// Chain of the signer of the identity, PEM.
    pub qe_identity_issuer_chain: String,
    /// The identity of the quoting enclave, byte by byte as it was signed.
    pub qe_identity: String,
    /// Its signature.
    pub qe_identity_signature: [u8; 64],
}

/// A bank of registers: the hash that they are extended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PcrBank {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl PcrBank {
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Sha384];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        }
    }

    /// TPM 2.0 Part 2, 6.3: TPM_ALG_ID.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

/// A register and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcr {
    /// Its bank.
    pub bank: PcrBank,
    /// Its number.
    pub index: u8,
    /// Its value.
    pub value: Vec<u8>,
}

impl Evidence {
    /// Reads a container.
    ///
    /// # Errors
    ///
    /// `Refusal` if it is too large or nests too deep, is not JSON, lacks a member, or has one that its format does not know.
    pub fn parse(container: &[u8]) -> Result<Self, Refusal> {
        let value = json::parse(container, EVIDENCE_BYTES_MAX, WHAT)?;
        let all = Members::of(&value, WHAT)?;
        let kind = Kind::named(all.text("format")?).ok_or(Refusal::Unsupported {
            what: WHAT,
            why: "its format is none of sev-snp, tdx, sgx, nitro, tpm",
        })?;
        all.only(match kind {
            Kind::SevSnp => &["format", "runtime", "report", "certificates"],
            Kind::Tdx | Kind::Sgx => &["format", "runtime", "quote", "collateral"],
            Kind::Nitro => &["format", "runtime", "document"],
            Kind::Tpm => &[
                "format",
                "runtime",
                "attest",
                "signature",
                "pcrs",
                "certificates",
            ],
        })?;
        let proof = match kind {
            Kind::SevSnp => Proof::SevSnp {
                report: all.bytes("report")?,
                certificates: certificates(&all)?,
            },
            Kind::Tdx => Proof::Tdx {
                quote: all.bytes("quote")?,
                collateral: Box::new(Collateral::read(&all.members("collateral")?)?),
            },
            Kind::Sgx => Proof::Sgx {
                quote: all.bytes("quote")?,
                collateral: Box::new(Collateral::read(&all.members("collateral")?)?),
            },
            Kind::Nitro => Proof::Nitro {
                document: all.bytes("document")?,
            },
            Kind::Tpm => Proof::Tpm {
                attest: all.bytes("attest")?,
                signature: all.bytes("signature")?,
                pcrs: pcrs(&all.members("pcrs")?)?,
                certificates: match all.value("certificates") {
                    Some(_) => certificates(&all)?,
                    None => Vec::new(),
                },
            },
        };
        let runtime = match all.value("runtime") {
            Some(_) => Some(all.bytes("runtime")?),
            None => None,
        };
        Ok(Self { proof, runtime })
    }

    /// What kind of hardware speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.proof {
            Proof::SevSnp { .. } => Kind::SevSnp,
            Proof::Tdx { .. } => Kind::Tdx,
            Proof::Sgx { .. } => Kind::Sgx,
            Proof::Nitro { .. } => Kind::Nitro,
            Proof::Tpm { .. } => Kind::Tpm,
        }
    }
}

fn certificates(all: &Members<'_>) -> Result<Vec<Vec<u8>>, Refusal> {
    let list = all.list("certificates")?;
    if list.len() > CERTIFICATES_MAX {
        return Err(Refusal::TooLarge {
            what: "certificates of the evidence",
            max: CERTIFICATES_MAX,
        });
    }
    let one = |value: &Value| {
        let text = value
            .as_str()
            .ok_or_else(|| all.malformed("a certificate is not text"))?;
        all.decoded(text)
    };
    list.iter().map(one).collect()
}

fn pcrs(banks: &Members<'_>) -> Result<Vec<Pcr>, Refusal> {
    let mut pcrs = Vec::new();
    for (name, values) in banks.iter() {
        let bank = PcrBank::ALL
            .into_iter()
            .find(|bank| bank.name() == name)
            .ok_or_else(|| banks.malformed("a bank of registers is neither sha256 nor sha384"))?;
        for (number, value) in Members::of(values, WHAT)?.iter() {
            let index: u8 = number
                .parse()
                .ok()
                .filter(|index: &u8| index.to_string() == *number)
                .ok_or_else(|| banks.malformed("a register is not named by its number"))?;
            let value = value
                .as_str()
                .and_then(read::unhex)
                .filter(|value| value.len() == bank.bytes())
                .ok_or_else(|| banks.malformed("a register is not hexadecimal of its size"))?;
            if pcrs.len() == PCRS_MAX {
                return Err(Refusal::TooLarge {
                    what: "registers of the evidence",
                    max: PCRS_MAX,
                });
            }
            pcrs.push(Pcr { bank, index, value });
        }
    }
    Ok(pcrs)
}

impl Collateral {
    /// Members are named as the tools around Intel's library name them; a chain for the CRL that comes along is not needed.
    fn read(all: &Members<'_>) -> Result<Self, Refusal> {
        all.only(&[
            "root_ca_crl",
            "pck_crl",
            "pck_crl_issuer_chain",
            "pck_certificate_chain",
            "tcb_info_issuer_chain",
            "tcb_info",
            "tcb_info_signature",
            "qe_identity_issuer_chain",
            "qe_identity",
            "qe_identity_signature",
        ])?;
        let crl = |name| {
            let text = all.text(name)?;
            let list = match pem::blocks(text, 1) {
                Some(blocks) if !blocks.is_empty() => {
                    blocks.into_iter().next().map(|block| block.bytes)
                }
                _ => read::unhex(text),
            };
            list.ok_or_else(|| all.malformed("a CRL is neither PEM nor hexadecimal"))
        };
        Ok(Self {
            root_ca_crl: crl("root_ca_crl")?,
            pck_crl: crl("pck_crl")?,
            tcb_info_issuer_chain: all.text("tcb_info_issuer_chain")?.to_owned(),
            tcb_info: all.text("tcb_info")?.to_owned(),
            tcb_info_signature: all.hex("tcb_info_signature")?,
            qe_identity_issuer_chain: all.text("qe_identity_issuer_chain")?.to_owned(),
            qe_identity: all.text("qe_identity")?.to_owned(),
            qe_identity_signature: all.hex("qe_identity_signature")?,
        })
    }
}
