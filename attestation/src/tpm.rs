//! TPM 2.0: quotes.
//!
//! What lives here: TPMS_ATTEST, TPMT_SIGNATURE and TPM2B_PUBLIC of "TPM 2.0 Library, Part 2: Structures", as far as quotes and
//! their keys use them.
//! What must never live here: a command for a TPM.
//! Who calls it: `verify`; `roots` for keys to pin.

use rsa::BoxedUint;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha384};
use x509_cert::spki::ObjectIdentifier;

use crate::container::{Pcr, PcrBank};
use crate::key::{Algorithm, EcdsaForm, Key};
use crate::read::{Cursor, hex};
use crate::runtime::{self, Field};
use crate::{Refusal, Roots, Verified, chain};

const WHAT: &str = "TPM quote";
const SIGNATURE: &str = "TPM signature";
const LEAF: &str = "the certificate of the attestation key";
const PUBLIC: &str = "TPM2B_PUBLIC";

/// 6.2: TPM_GENERATED_VALUE; a TPM signs nothing of a stranger's that begins so with a restricted key.
const GENERATED: u32 = 0xff54_4347;
/// 6.9: TPM_ST_ATTEST_QUOTE.
const QUOTE: u16 = 0x8018;
/// 6.3: TPM_ALG_ID.
const ALG_RSA: u16 = 0x0001;
const ALG_NULL: u16 = 0x0010;
const ALG_RSASSA: u16 = 0x0014;
const ALG_RSAPSS: u16 = 0x0016;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
/// 6.4: TPM_ECC_NIST_P256 and _P384.
const CURVE_P256: u16 = 0x0003;
const CURVE_P384: u16 = 0x0004;
/// "TCG EK Credential Profile", 3.2.16: tcg-kp-AIKCertificate.
const ATTESTATION_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");

/// What came.
pub(crate) struct Quote<'a> {
    pub(crate) attest: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) pcrs: &'a [Pcr],
    pub(crate) certificates: &'a [Vec<u8>],
}

/// Verifies a quote.
pub(crate) fn verify(
    quote: &Quote<'_>,
    runtime: Option<&[u8]>,
    roots: &Roots,
    now: u64,
) -> Result<Verified, Refusal> {
    let attest = Attest::read(quote.attest)?;
    let signature = Signature::read(quote.signature)?;
    let signed_by = |key: &Key| {
        key.verifies(
            signature.algorithm,
            EcdsaForm::Fixed,
            quote.attest,
            &signature.bytes(key),
        )
    };
    if quote.certificates.is_empty() {
        if !roots.keys.iter().any(signed_by) {
            return Err(Refusal::Signature {
                what: "TPM quote under the pinned attestation keys",
            });
        }
    } else {
        let (leaf, others) = chain::leaf_first(quote.certificates, LEAF)?;
        if !signed_by(&leaf.key) {
            return Err(Refusal::Signature { what: WHAT });
        }
        // Without this, any other key that the authority certifies could make up quotes.
        if !leaf.is_for(ATTESTATION_KEY) || !leaf.may_state() {
            return Err(Refusal::Unsupported {
                what: LEAF,
                why: "it is not for attestation keys (extended key usage 2.23.133.8.3)",
            });
        }
        chain::to_root(&leaf, &others, roots, now, LEAF)?;
    }
    attest.judge_registers(quote.pcrs, signature.bank)?;
    let field = Field {
        bytes: attest.extra,
        length: 32,
        name: "extraData of the quote (32 bytes)",
    };
    let runtime = runtime::bound(runtime, field)?;
    Ok(runtime::with_claims(attest.claims(quote.pcrs), runtime))
}

/// 10.12.12: TPMS_ATTEST of a quote.
struct Attest<'a> {
    signer: &'a [u8],
    extra: &'a [u8],
    clock: u64,
    resets: u32,
    restarts: u32,
    safe: bool,
    firmware: u64,
    /// Which registers, in the order that they were hashed in.
    selected: Vec<(PcrBank, u8)>,
    digest: &'a [u8],
}

impl<'a> Attest<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut cursor = Cursor::new(bytes, WHAT);
        if cursor.u32_big()? != GENERATED {
            return Err(cursor.malformed("it does not begin as a TPM begins"));
        }
        if cursor.u16_big()? != QUOTE {
            return Err(cursor.malformed("it attests something else than registers"));
        }
        let signer = cursor.sized_u16_big()?;
        let extra = cursor.sized_u16_big()?;
        let clock = cursor.u64_big()?;
        let resets = cursor.u32_big()?;
        let restarts = cursor.u32_big()?;
        let safe = match cursor.u8()? {
            0 => false,
            1 => true,
            _ => return Err(cursor.malformed("a yes or no is neither")),
        };
        let firmware = cursor.u64_big()?;
        let selected = selection(&mut cursor)?;
        let digest = cursor.sized_u16_big()?;
        cursor.end()?;
        Ok(Self {
            signer,
            extra,
            clock,
            resets,
            restarts,
            safe,
            firmware,
            selected,
            digest,
        })
    }

    /// Part 3, TPM2_Quote: the digest is of the selected registers in order, with the hash of the signature.
    fn judge_registers(&self, pcrs: &[Pcr], hash: PcrBank) -> Result<(), Refusal> {
        let mut all = Vec::new();
        for (bank, index) in &self.selected {
            let mut given = pcrs
                .iter()
                .filter(|pcr| pcr.bank == *bank && pcr.index == *index);
            let (Some(one), None) = (given.next(), given.next()) else {
                return Err(Refusal::Mismatch {
                    what: "the list of registers in the evidence",
                    with: "the selection of the quote",
                });
            };
            all.extend(&one.value);
        }
        if pcrs.len() != self.selected.len() {
            return Err(Refusal::Mismatch {
                what: "the list of registers in the evidence",
                with: "the selection of the quote",
            });
        }
        let digest = match hash {
            PcrBank::Sha256 => Sha256::digest(&all).to_vec(),
            PcrBank::Sha384 => Sha384::digest(&all).to_vec(),
        };
        if digest != self.digest {
            return Err(Refusal::Mismatch {
                what: "the values of the registers in the evidence",
                with: "the digest of the quote",
            });
        }
        Ok(())
    }

    fn claims(&self, pcrs: &[Pcr]) -> Value {
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        claim("x-ms-attestation-type", "tpm".into());
        claim("tpm-clock", self.clock.into());
        claim("tpm-clock-safe", self.safe.into());
        claim("tpm-extra-data", hex(self.extra).into());
        claim("tpm-firmware-version", self.firmware.into());
        claim("tpm-qualified-signer", hex(self.signer).into());
        claim("tpm-reset-count", self.resets.into());
        claim("tpm-restart-count", self.restarts.into());
        for Pcr { bank, index, value } in pcrs {
            let name = format!("tpm-pcr-{}-{index}", bank.name());
            claim(&name, hex(value).into());
        }
        Value::Object(claims)
    }
}

/// 10.9.7: TPML_PCR_SELECTION.
fn selection(cursor: &mut Cursor<'_>) -> Result<Vec<(PcrBank, u8)>, Refusal> {
    let mut selected = Vec::new();
    // One entry a bank; a TPM has at most five banks.
    let count = cursor.u32_big()?;
    if count > 5 {
        return Err(cursor.malformed("it selects of more banks than a TPM has"));
    }
    for _ in 0..count {
        let number = cursor.u16_big()?;
        let size = usize::from(cursor.u8()?);
        let mask = cursor.take(size)?;
        let registers: Vec<u8> = (0..=u8::MAX)
            .filter(|index| {
                let byte = mask.get(usize::from(index / 8));
                byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
            })
            .collect();
        let bank = PcrBank::ALL
            .into_iter()
            .find(|bank| bank.number() == number);
        match bank {
            Some(bank) => {
                if selected.iter().any(|(one, _)| *one == bank) {
                    return Err(cursor.malformed("it selects of a bank twice"));
                }
                selected.extend(registers.into_iter().map(|index| (bank, index)));
            }
            None if registers.is_empty() => {}
            None => {
                return Err(Refusal::Unsupported {
                    what: WHAT,
                    why: "it is over a bank that is neither SHA-256 nor SHA-384",
                });
            }
        }
    }
    if selected.is_empty() {
        return Err(cursor.malformed("it is over no register"));
    }
    Ok(selected)
}

/// 11.3.4: TPMT_SIGNATURE.
struct Signature<'a> {
    algorithm: Algorithm,
    bank: PcrBank,
    /// One number of RSA, or two of ECDSA.
    numbers: Vec<&'a [u8]>,
}

impl<'a> Signature<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut cursor = Cursor::new(bytes, SIGNATURE);
        let scheme = cursor.u16_big()?;
        let hash = cursor.u16_big()?;
        let bank = PcrBank::ALL.into_iter().find(|bank| bank.number() == hash);
        let algorithm = match (scheme, bank) {
            (ALG_RSASSA, Some(PcrBank::Sha256)) => Algorithm::RsaPkcs1Sha256,
            (ALG_RSASSA, Some(PcrBank::Sha384)) => Algorithm::RsaPkcs1Sha384,
            (ALG_RSAPSS, Some(PcrBank::Sha256)) => Algorithm::RsaPssSha256,
            (ALG_RSAPSS, Some(PcrBank::Sha384)) => Algorithm::RsaPssSha384,
            (ALG_ECDSA, Some(PcrBank::Sha256)) => Algorithm::EcdsaSha256,
            (ALG_ECDSA, Some(PcrBank::Sha384)) => Algorithm::EcdsaSha384,
            _ => {
                return Err(Refusal::Unsupported {
                    what: SIGNATURE,
                    why: "it is none of RSASSA, RSAPSS and ECDSA with SHA-256 or SHA-384",
                });
            }
        };
        let mut numbers = vec![cursor.sized_u16_big()?];
        if scheme == ALG_ECDSA {
            numbers.push(cursor.sized_u16_big()?);
        }
        cursor.end()?;
        Ok(Self {
            algorithm,
            bank: bank.unwrap_or(PcrBank::Sha256),
            numbers,
        })
    }

    /// As the key wants it: the numbers of ECDSA in full length, for a TPM may leave zeros ahead away.
    fn bytes(&self, key: &Key) -> Vec<u8> {
        let length = match key {
            Key::P256(_) => 32,
            Key::P384(_) => 48,
            Key::Rsa(_) => 0,
        };
        let padded = |number: &&[u8]| {
            let zeros = vec![0; usize::saturating_sub(length, number.len())];
            [zeros, number.to_vec()].concat()
        };
        self.numbers.iter().flat_map(padded).collect()
    }
}

/// 12.2.5: the key of a TPM2B_PUBLIC, if it is one that attests.
pub(crate) fn public_area(bytes: &[u8]) -> Result<Key, Refusal> {
    let mut outer = Cursor::new(bytes, PUBLIC);
    let mut cursor = Cursor::new(outer.sized_u16_big()?, PUBLIC);
    outer.end()?;
    let kind = cursor.u16_big()?;
    let _name_hash = cursor.u16_big()?;
    // 8.3: fixedTPM, sensitiveDataOrigin, restricted, sign; and not decrypt. A key without "restricted" signs made-up quotes.
    let attributes = cursor.u32_big()?;
    let must = 1 << 1 | 1 << 5 | 1 << 16 | 1 << 18;
    let must_not = 1 << 17;
    if attributes & must != must || attributes & must_not != 0 {
        return Err(Refusal::Roots {
            why: "a TPM2B_PUBLIC is not of an attestation key: fixedtpm, sensitivedataorigin, restricted and sign must be set, and decrypt not",
        });
    }
    let _policy = cursor.sized_u16_big()?;
    if cursor.u16_big()? != ALG_NULL {
        return Err(cursor.malformed("a signing key names a symmetric cipher"));
    }
    if cursor.u16_big()? != ALG_NULL {
        let _hash_of_scheme = cursor.u16_big()?;
    }
    let key = match kind {
        ALG_RSA => {
            let _bits = cursor.u16_big()?;
            let exponent = match cursor.u32_big()? {
                0 => 65_537,
                other => other,
            };
            let modulus = cursor.sized_u16_big()?;
            let key = rsa::PublicKey::new(
                BoxedUint::from_be_slice_vartime(modulus),
                BoxedUint::from(exponent),
            );
            key.ok().and_then(Key::rsa)
        }
        ALG_ECC => point(&mut cursor)?,
        _ => None,
    };
    cursor.end()?;
    key.ok_or(Refusal::Unsupported {
        what: PUBLIC,
        why: "its key is neither ECDSA on P-256 or P-384 nor RSA of 2048 to 4096 bits",
    })
}

/// 11.2.4.5: curve, no derivation, and the two coordinates.
fn point(cursor: &mut Cursor<'_>) -> Result<Option<Key>, Refusal> {
    let curve = cursor.u16_big()?;
    if cursor.u16_big()? != ALG_NULL {
        return Err(cursor.malformed("a signing key names a derivation"));
    }
    let length = match curve {
        CURVE_P256 => 32,
        CURVE_P384 => 48,
        _ => return Ok(None),
    };
    let mut sec1 = vec![4];
    for _ in 0..2 {
        let number = cursor.sized_u16_big()?;
        sec1.resize(sec1.len() + usize::saturating_sub(length, number.len()), 0);
        sec1.extend(number);
    }
    Ok(match curve {
        CURVE_P256 => Key::p256(&sec1),
        _ => Key::p384(&sec1),
    })
}
