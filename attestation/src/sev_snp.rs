//! AMD SEV-SNP: the attestation report.
//!
//! What lives here: the report of the "SEV Secure Nested Paging Firmware ABI Specification" (56860), table ATTESTATION_REPORT, the
//! extensions of the certificates of VCEK and VLEK (57230), and the claims that come of them.
//! What must never live here: a verdict on what is measured; that is the policy's.
//! Who calls it: `verify`.

use serde_json::{Value, json};
use x509_cert::spki::ObjectIdentifier;

use crate::certificate::Certificate;
use crate::key::{Algorithm, EcdsaForm, Key};
use crate::read::{Cursor, hex};
use crate::runtime::{self, Field};
use crate::{Refusal, Roots, Verified, chain};

const WHAT: &str = "SEV-SNP report";
const LEAF: &str = "the certificate of VCEK or VLEK";

const REPORT_BYTES: usize = 0x4a0;
const SIGNED_BYTES: usize = 0x2a0;
/// Each number of a signature has 48 bytes, little end first, in a field of 72.
const NUMBER_BYTES: usize = 48;
const NUMBER_FIELD_BYTES: usize = 72;

/// A report as far as it is looked at.
struct Report<'a> {
    version: u32,
    guest_svn: u32,
    policy: u64,
    family_id: &'a [u8],
    image_id: &'a [u8],
    vmpl: u32,
    platform: u64,
    /// Whether a key of the author is there, whether the chip's key is masked, and which key signed.
    flags: u32,
    report_data: &'a [u8],
    measurement: &'a [u8],
    host_data: &'a [u8],
    id_key_digest: &'a [u8],
    author_key_digest: &'a [u8],
    report_id: &'a [u8],
    reported_tcb: [u8; 8],
    /// Family, model and stepping; from version 3 on.
    processor: [u8; 3],
    chip_id: &'a [u8],
    signed: &'a [u8],
    /// As SEC 1 writes it.
    signature: [u8; 2 * NUMBER_BYTES],
}

/// Verifies a report.
pub(crate) fn verify(
    report: &[u8],
    certificates: &[Vec<u8>],
    runtime: Option<&[u8]>,
    roots: &Roots,
    now: u64,
) -> Result<Verified, Refusal> {
    let report = Report::read(report)?;
    let (leaf, others) = chain::leaf_first(certificates, LEAF)?;
    if !matches!(leaf.key, Key::P384(_)) {
        return Err(Refusal::Unsupported {
            what: LEAF,
            why: "its key is not on P-384",
        });
    }
    let verifies = leaf.key.verifies(
        Algorithm::EcdsaSha384,
        EcdsaForm::Fixed,
        report.signed,
        &report.signature,
    );
    if !verifies {
        return Err(Refusal::Signature { what: WHAT });
    }
    chain::to_root(&leaf, &others, roots, now, LEAF)?;
    let endorsement = Endorsement::read(&leaf)?;
    let levels = endorsement.judge(&report)?;
    let field = Field {
        bytes: report.report_data,
        length: 64,
        name: "REPORT_DATA (the first 32 of 64 bytes, zeros behind)",
    };
    let runtime = runtime::bound(runtime, field)?;
    Ok(runtime::with_claims(
        claims(&report, &levels, &endorsement),
        runtime,
    ))
}

impl<'a> Report<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut cursor = Cursor::new(bytes, WHAT);
        if bytes.len() != REPORT_BYTES {
            return Err(cursor.malformed("a report has 1184 bytes"));
        }
        let version = cursor.u32_little()?;
        if !(2..=5).contains(&version) {
            return Err(Refusal::Unsupported {
                what: WHAT,
                why: "versions 2 to 5 are known",
            });
        }
        let guest_svn = cursor.u32_little()?;
        let policy = cursor.u64_little()?;
        let family_id = cursor.take(16)?;
        let image_id = cursor.take(16)?;
        let vmpl = cursor.u32_little()?;
        // Chapter "Algorithm encodings": 1 is ECDSA on P-384 with SHA-384, the only one.
        if cursor.u32_little()? != 1 {
            return Err(Refusal::Unsupported {
                what: WHAT,
                why: "its algorithm of signature is not ECDSA on P-384 with SHA-384",
            });
        }
        let _current_tcb: [u8; 8] = cursor.array()?;
        let platform = cursor.u64_little()?;
        let flags = cursor.u32_little()?;
        let _reserved = cursor.u32_little()?;
        let report_data = cursor.take(64)?;
        let measurement = cursor.take(48)?;
        let host_data = cursor.take(32)?;
        let id_key_digest = cursor.take(48)?;
        let author_key_digest = cursor.take(48)?;
        let report_id = cursor.take(32)?;
        let _report_id_of_migration_agent = cursor.take(32)?;
        let reported_tcb = cursor.array()?;
        let processor = cursor.array()?;
        let _reserved = cursor.take(21)?;
        let chip_id = cursor.take(64)?;
        Ok(Self {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            platform,
            flags,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            reported_tcb,
            processor,
            chip_id,
            signed: &bytes[..SIGNED_BYTES],
            signature: signature(&bytes[SIGNED_BYTES..])?,
        })
    }

    const fn policy_bit(&self, bit: u32) -> bool {
        self.policy >> bit & 1 == 1
    }
}

/// The two numbers, big end first. What the format leaves unused must be zero, so that nothing in a report can be changed.
fn signature(bytes: &[u8]) -> Result<[u8; 2 * NUMBER_BYTES], Refusal> {
    let mut cursor = Cursor::new(bytes, WHAT);
    let mut both = [0; 2 * NUMBER_BYTES];
    for number in both.chunks_exact_mut(NUMBER_BYTES) {
        number.copy_from_slice(cursor.take(NUMBER_BYTES)?);
        number.reverse();
        let unused = cursor.take(NUMBER_FIELD_BYTES - NUMBER_BYTES)?;
        if unused.iter().any(|byte| *byte != 0) {
            return Err(cursor.malformed("a number of the signature is longer than P-384 allows"));
        }
    }
    if cursor.rest().iter().any(|byte| *byte != 0) {
        return Err(cursor.malformed("the unused end of the signature is not zero"));
    }
    Ok(both)
}

/// Security levels of the parts of the firmware.
struct Levels {
    /// Of the first loader; from the fifth generation (Turin) on.
    fmc: Option<u8>,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

/// Which key AMD endorsed, and for what.
struct Endorsement {
    levels: Levels,
    /// The chip, for VCEK; a loaded key (VLEK) belongs to no chip.
    chip: Option<Vec<u8>>,
    product: String,
}

const fn amd(arc: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(arc)
}

const PRODUCT: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.2");
const BOOTLOADER: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.3");
const MICROCODE: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.9");
const HARDWARE: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.4");
const PROVIDER: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.5");

impl Endorsement {
    fn read(leaf: &Certificate) -> Result<Self, Refusal> {
        let malformed = |why| Refusal::Malformed { what: LEAF, why };
        let level = |name| {
            // A small INTEGER of DER; a level above 127 has a zero ahead.
            match leaf.extension(name) {
                Some([2, 1, level]) if *level < 128 => Ok(Some(*level)),
                Some([2, 2, 0, level]) if *level >= 128 => Ok(Some(*level)),
                Some(_) => Err(malformed("a security level is not a small number")),
                None => Ok(None),
            }
        };
        let must = |found: Option<u8>| {
            found.ok_or_else(|| malformed("it does not say the security levels of its firmware"))
        };
        let product = match leaf.extension(PRODUCT) {
            // IA5String.
            Some([0x16, length, text @ ..]) if usize::from(*length) == text.len() => {
                let known = text.iter().all(u8::is_ascii_graphic);
                known.then(|| text.iter().copied().map(char::from).collect())
            }
            _ => None,
        };
        let chip = leaf.extension(HARDWARE).map(<[u8]>::to_vec);
        if chip.is_some() == leaf.extension(PROVIDER).is_some() {
            return Err(malformed("it is of neither one chip nor one provider"));
        }
        Ok(Self {
            levels: Levels {
                fmc: level(FMC)?,
                bootloader: must(level(BOOTLOADER)?)?,
                tee: must(level(TEE)?)?,
                snp: must(level(SNP)?)?,
                microcode: must(level(MICROCODE)?)?,
            },
            chip,
            product: product.ok_or_else(|| malformed("it does not name its product"))?,
        })
    }

    /// The report must be of the chip and the firmware that the key was endorsed for. Yields the levels that the report states.
    fn judge(&self, report: &Report<'_>) -> Result<Levels, Refusal> {
        let tcb = report.reported_tcb;
        // TCB_VERSION: family 1Ah put a level ahead of the others.
        let stated = if self.levels.fmc.is_some() {
            Levels {
                fmc: Some(tcb[0]),
                bootloader: tcb[1],
                tee: tcb[2],
                snp: tcb[3],
                microcode: tcb[7],
            }
        } else {
            Levels {
                fmc: None,
                bootloader: tcb[0],
                tee: tcb[1],
                snp: tcb[6],
                microcode: tcb[7],
            }
        };
        let all = |levels: &Levels| {
            let Levels {
                fmc,
                bootloader,
                tee,
                snp,
                microcode,
            } = *levels;
            (fmc, bootloader, tee, snp, microcode)
        };
        if all(&stated) != all(&self.levels) {
            return Err(Refusal::Mismatch {
                what: "REPORTED_TCB of the report",
                with: "the security levels in the certificate of its signer",
            });
        }
        let family_is_new = report.processor[0] >= 0x1a;
        if report.version >= 3 && family_is_new != self.levels.fmc.is_some() {
            return Err(Refusal::Mismatch {
                what: "the processor's family in the report",
                with: "the form of the certificate of its signer",
            });
        }
        self.judge_chip(report)?;
        Ok(stated)
    }

    fn judge_chip(&self, report: &Report<'_>) -> Result<(), Refusal> {
        // SIGNING_KEY: 0 is VCEK, 1 is VLEK.
        let signer = report.flags >> 2 & 7;
        if signer != u32::from(self.chip.is_none()) {
            return Err(Refusal::Mismatch {
                what: "the kind of key that the report names as its signer",
                with: "the certificate of its signer",
            });
        }
        let Some(chip) = &self.chip else {
            return Ok(());
        };
        // Turin's identity has 8 bytes, and zeros behind.
        let rest = report.chip_id.strip_prefix(chip.as_slice());
        let same = rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
        let masked = report.chip_id.iter().all(|byte| *byte == 0);
        if !same || masked || chip.len() < 8 {
            return Err(Refusal::Mismatch {
                what: "CHIP_ID of the report",
                with: "the chip in the certificate of its signer",
            });
        }
        Ok(())
    }
}

fn claims(report: &Report<'_>, levels: &Levels, endorsement: &Endorsement) -> Value {
    let signer = if endorsement.chip.is_some() {
        "vcek"
    } else {
        "vlek"
    };
    let mut claims = json!({
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-sevsnpvm-authorkeydigest": hex(report.author_key_digest),
        "x-ms-sevsnpvm-bootloader-svn": levels.bootloader,
        "x-ms-sevsnpvm-familyId": hex(report.family_id),
        "x-ms-sevsnpvm-guestsvn": report.guest_svn,
        "x-ms-sevsnpvm-hostdata": hex(report.host_data),
        "x-ms-sevsnpvm-idkeydigest": hex(report.id_key_digest),
        "x-ms-sevsnpvm-imageId": hex(report.image_id),
        "x-ms-sevsnpvm-is-debuggable": report.policy_bit(19),
        "x-ms-sevsnpvm-launchmeasurement": hex(report.measurement),
        "x-ms-sevsnpvm-microcode-svn": levels.microcode,
        "x-ms-sevsnpvm-migration-allowed": report.policy_bit(18),
        "x-ms-sevsnpvm-reportdata": hex(report.report_data),
        "x-ms-sevsnpvm-reportid": hex(report.report_id),
        "x-ms-sevsnpvm-smt-allowed": report.policy_bit(16),
        "x-ms-sevsnpvm-snpfw-svn": levels.snp,
        "x-ms-sevsnpvm-tee-svn": levels.tee,
        "x-ms-sevsnpvm-vmpl": report.vmpl,
        "sev-snp-chip-id": hex(report.chip_id),
        "sev-snp-platform-info": report.platform,
        "sev-snp-product": endorsement.product,
        "sev-snp-report-version": report.version,
        "sev-snp-signer": signer,
        "sev-snp-single-socket": report.policy_bit(20),
    });
    if let (Some(claims), Some(fmc)) = (claims.as_object_mut(), levels.fmc) {
        claims.insert("sev-snp-fmc-svn".to_owned(), Value::from(fmc));
    }
    claims
}
