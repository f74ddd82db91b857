//! The layout of quotes.
//!
//! What lives here: versions 3 and 4 and 5 of "Intel SGX/TDX ECDSA Quote Library Reference", appendix A, with ECDSA on P-256.
//! What must never live here: a verdict.
//! Who calls it: `dcap`.

use crate::read::Cursor;
use crate::{Kind, Refusal};

const WHAT: &str = "quote";
const HEADER_BYTES: usize = 48;
const ENCLAVE_BYTES: usize = 384;
/// "Intel's QE": the vendor that the header names.
const INTEL: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
const ECDSA_P256: u16 = 2;
const TEE_SGX: u32 = 0;
const TEE_TDX: u32 = 0x81;
/// The kinds of certification data: a chain in PEM; and what wraps the report of the quoting enclave from version 4 on.
const PCK_CHAIN: u16 = 5;
const QUOTING_REPORT: u16 = 6;

/// A quote, taken apart.
pub(super) struct Quote<'a> {
    pub(super) body: Body<'a>,
    pub(super) signed: &'a [u8],
    pub(super) signature: &'a [u8],
    /// The point of the key, without SEC 1's first byte.
    pub(super) key: &'a [u8],
    pub(super) quoting: Enclave<'a>,
    pub(super) quoting_signed: &'a [u8],
    pub(super) quoting_signature: &'a [u8],
    pub(super) authentication: &'a [u8],
    pub(super) certificates: &'a str,
}

/// What is quoted.
pub(super) enum Body<'a> {
    Enclave(Enclave<'a>),
    Machine(Box<Machine<'a>>),
}

/// The report of an SGX enclave.
pub(super) struct Enclave<'a> {
    pub(super) miscselect: [u8; 4],
    pub(super) extended_product: &'a [u8],
    pub(super) attributes: [u8; 16],
    pub(super) mrenclave: &'a [u8],
    pub(super) mrsigner: &'a [u8],
    pub(super) config_id: &'a [u8],
    pub(super) product: u16,
    pub(super) svn: u16,
    pub(super) config_svn: u16,
    pub(super) family: &'a [u8],
    pub(super) report_data: &'a [u8],
}

/// The report of a TDX machine.
pub(super) struct Machine<'a> {
    pub(super) tee_tcb_svn: [u8; 16],
    pub(super) mrseam: &'a [u8],
    pub(super) mrsignerseam: &'a [u8],
    pub(super) seam_attributes: [u8; 8],
    pub(super) td_attributes: [u8; 8],
    pub(super) xfam: [u8; 8],
    pub(super) mrtd: &'a [u8],
    pub(super) mrconfigid: &'a [u8],
    pub(super) mrowner: &'a [u8],
    pub(super) mrownerconfig: &'a [u8],
    pub(super) rtmrs: [&'a [u8]; 4],
    pub(super) report_data: &'a [u8],
    pub(super) later: Option<Later<'a>>,
}

/// What TDX 1.5 adds: the state of the module that is loaded now, and whoever serves the machine, such as one that migrates it.
pub(super) struct Later<'a> {
    pub(super) tee_tcb_svn: &'a [u8],
    pub(super) mrservicetd: &'a [u8],
}

impl<'a> Quote<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut cursor = Cursor::new(bytes, WHAT);
        let unsupported = |why| Refusal::Unsupported { what: WHAT, why };
        let version = cursor.u16_little()?;
        if cursor.u16_little()? != ECDSA_P256 {
            return Err(unsupported("its key is not ECDSA on P-256"));
        }
        let tee = cursor.u32_little()?;
        let _versions_of_the_quoting_enclave = cursor.take(4)?;
        if cursor.array::<16>()? != INTEL {
            return Err(unsupported("its quoting enclave is not Intel's"));
        }
        let _own = cursor.take(20)?;
        let body = match (version, tee) {
            (3 | 4, TEE_SGX) => Body::Enclave(Enclave::read(&mut cursor)?),
            (4, TEE_TDX) => Body::Machine(Box::new(Machine::read(&mut cursor)?)),
            (5, _) => described(&mut cursor, tee)?,
            _ => return Err(unsupported("versions 3 (SGX), 4 and 5 are known")),
        };
        let signed = &bytes[..bytes.len() - cursor.rest().len()];
        debug_assert!(signed.len() >= HEADER_BYTES + ENCLAVE_BYTES);
        let mut all = Cursor::new(cursor.sized_u32_little()?, WHAT);
        // Some libraries hand out their buffer, with zeros behind the quote.
        if cursor.rest().iter().any(|byte| *byte != 0) {
            return Err(cursor.malformed("bytes are left behind its end"));
        }
        let signature = all.take(64)?;
        let key = all.take(64)?;
        let mut vouched = all.clone();
        if version > 3 {
            if all.u16_little()? != QUOTING_REPORT {
                return Err(unsupported("it carries no report of the quoting enclave"));
            }
            vouched = Cursor::new(all.sized_u32_little()?, WHAT);
            all.end()?;
        }
        let quoting_signed = vouched.clone().take(ENCLAVE_BYTES)?;
        let quoting = Enclave::read(&mut vouched)?;
        let quoting_signature = vouched.take(64)?;
        let authentication = vouched.sized_u16_little()?;
        if vouched.u16_little()? != PCK_CHAIN {
            return Err(unsupported("it does not carry the chain of the platform"));
        }
        let chain = vouched.sized_u32_little()?;
        vouched.end()?;
        let certificates = std::str::from_utf8(chain);
        Ok(Self {
            body,
            signed,
            signature,
            key,
            quoting,
            quoting_signed,
            quoting_signature,
            authentication,
            certificates: certificates.map_err(|_| cursor.malformed("its chain is not text"))?,
        })
    }

    pub(super) const fn kind(&self) -> Kind {
        match self.body {
            Body::Enclave(_) => Kind::Sgx,
            Body::Machine(_) => Kind::Tdx,
        }
    }
}

/// Version 5 says the kind and size of what it quotes: 1 is SGX, 2 is TDX 1.0, 3 is TDX 1.5, which adds a level and a digest.
fn described<'a>(cursor: &mut Cursor<'a>, tee: u32) -> Result<Body<'a>, Refusal> {
    let kind = cursor.u16_little()?;
    let mut inner = Cursor::new(cursor.sized_u32_little()?, WHAT);
    let body = match (kind, tee) {
        (1, TEE_SGX) => Body::Enclave(Enclave::read(&mut inner)?),
        (2 | 3, TEE_TDX) => {
            let mut machine = Machine::read(&mut inner)?;
            if kind == 3 {
                machine.later = Some(Later {
                    tee_tcb_svn: inner.take(16)?,
                    mrservicetd: inner.take(48)?,
                });
            }
            Body::Machine(Box::new(machine))
        }
        _ => return Err(cursor.malformed("it quotes neither an enclave nor a machine")),
    };
    inner.end()?;
    Ok(body)
}

impl<'a> Body<'a> {
    pub(super) const fn report_data(&self) -> &'a [u8] {
        match self {
            Self::Enclave(enclave) => enclave.report_data,
            Self::Machine(machine) => machine.report_data,
        }
    }
}

impl<'a> Enclave<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Refusal> {
        let _cpu_svn = cursor.take(16)?;
        let miscselect = cursor.array()?;
        let _reserved = cursor.take(12)?;
        let extended_product = cursor.take(16)?;
        let attributes = cursor.array()?;
        let mrenclave = cursor.take(32)?;
        let _reserved = cursor.take(32)?;
        let mrsigner = cursor.take(32)?;
        let _reserved = cursor.take(32)?;
        let config_id = cursor.take(64)?;
        let product = cursor.u16_little()?;
        let svn = cursor.u16_little()?;
        let config_svn = cursor.u16_little()?;
        let _reserved = cursor.take(42)?;
        let family = cursor.take(16)?;
        let report_data = cursor.take(64)?;
        Ok(Self {
            miscselect,
            extended_product,
            attributes,
            mrenclave,
            mrsigner,
            config_id,
            product,
            svn,
            config_svn,
            family,
            report_data,
        })
    }
}

impl<'a> Machine<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Refusal> {
        Ok(Self {
            tee_tcb_svn: cursor.array()?,
            mrseam: cursor.take(48)?,
            mrsignerseam: cursor.take(48)?,
            seam_attributes: cursor.array()?,
            td_attributes: cursor.array()?,
            xfam: cursor.array()?,
            mrtd: cursor.take(48)?,
            mrconfigid: cursor.take(48)?,
            mrowner: cursor.take(48)?,
            mrownerconfig: cursor.take(48)?,
            rtmrs: [
                cursor.take(48)?,
                cursor.take(48)?,
                cursor.take(48)?,
                cursor.take(48)?,
            ],
            report_data: cursor.take(64)?,
            later: None,
        })
    }
}
