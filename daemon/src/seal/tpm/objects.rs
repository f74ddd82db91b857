//! The primary key, the registers, and the sealed object.
//!
//! What lives here: the commands that make, load and open, with their templates, and the policy over registers.
//! What must never live here: frames, sessions and their proofs.
//! Who calls it: `seal` and `unseal`.

use strongroom_crypto::digest::{Digest, Hash, digest};
use strongroom_keymem::SecretBytes;

use super::bytes::{Reader, Writer};
use super::client::{Authority, Command, Handle, Tpm};
use super::error::TpmError;
use super::numbers::{
    TPM_ALG_AES, TPM_ALG_CFB, TPM_ALG_ECC, TPM_ALG_KEYEDHASH, TPM_ALG_NULL, TPM_ALG_SHA256,
    TPM_CC_CREATE, TPM_CC_CREATE_PRIMARY, TPM_CC_LOAD, TPM_CC_PCR_READ, TPM_CC_POLICY_PCR,
    TPM_CC_UNSEAL, TPM_ECC_NIST_P256, TPM_RH_OWNER, TPMA_OBJECT_DECRYPT, TPMA_OBJECT_FIXED_PARENT,
    TPMA_OBJECT_FIXED_TPM, TPMA_OBJECT_NO_DA, TPMA_OBJECT_RESTRICTED,
    TPMA_OBJECT_SENSITIVE_DATA_ORIGIN, TPMA_OBJECT_USER_WITH_AUTH,
};
use super::session::{HASH_BYTES, Protection, Purpose, Session};
use super::{PcrSelection, TpmBlob};

/// The storage key of the owner: made from the seed of the TPM each time, the same as long as the TPM is not cleared.
pub(super) struct Primary {
    number: u32,
    pub(super) name: Vec<u8>,
    /// Uncompressed (SEC 1, 2.3.3).
    pub(super) point: Vec<u8>,
}

impl Primary {
    pub(super) fn make(tpm: &mut Tpm) -> Result<Self, TpmError> {
        let template = primary_template()?;
        let mut wanted = Writer::new()?;
        wanted.raw(template.expose())?;
        // The point is not known beforehand: two empty coordinates.
        wanted.sized(&[])?;
        wanted.sized(&[])?;
        let mut parameters = Writer::new()?;
        // No password and no data.
        parameters.sized(&[0; 4])?;
        parameters.sized(wanted.expose())?;
        parameters.sized(&[])?;
        parameters.long(0)?;
        let owner = TPM_RH_OWNER.to_be_bytes();
        let command = Command {
            name: "TPM2_CreatePrimary",
            code: TPM_CC_CREATE_PRIMARY,
            handles: &[Handle {
                number: TPM_RH_OWNER,
                name: &owner,
            }],
            loads: true,
        };
        let answer = tpm.run(&command, Authority::EmptyPassword, parameters)?;
        let public = Reader::new(answer.parameters.expose()).sized()?;
        let mut reader = Reader::new(public);
        if reader.raw(template.expose().len())? != template.expose() {
            return Err(TpmError::Garbled(
                "the primary key is another than was asked for",
            ));
        }
        let mut point = vec![UNCOMPRESSED];
        for _ in 0..2 {
            let coordinate = reader.sized()?;
            let zeros = COORDINATE_BYTES
                .checked_sub(coordinate.len())
                .ok_or(TpmError::Garbled(
                    "the point of the primary key is too long",
                ))?;
            point.resize(point.len() + zeros, 0);
            point.extend_from_slice(coordinate);
        }
        reader.end()?;
        Ok(Self {
            number: answer.handle,
            name: name_of(public)?,
            point,
        })
    }

    pub(super) fn handle(&self) -> Handle<'_> {
        Handle {
            number: self.number,
            name: &self.name,
        }
    }

    pub(super) fn point_x(&self) -> &[u8] {
        self.point.get(1..=COORDINATE_BYTES).unwrap_or_default()
    }
}

/// The template for storage keys of the TCG's provisioning guidance, up to the point.
fn primary_template() -> Result<Writer, TpmError> {
    let mut public = Writer::new()?;
    public.short(TPM_ALG_ECC)?;
    public.short(TPM_ALG_SHA256)?;
    public.long(
        TPMA_OBJECT_FIXED_TPM
            | TPMA_OBJECT_FIXED_PARENT
            | TPMA_OBJECT_SENSITIVE_DATA_ORIGIN
            | TPMA_OBJECT_USER_WITH_AUTH
            | TPMA_OBJECT_NO_DA
            | TPMA_OBJECT_RESTRICTED
            | TPMA_OBJECT_DECRYPT,
    )?;
    public.sized(&[])?;
    // AES-128-CFB for what it protects; no scheme, the curve, no derivation.
    for number in [
        TPM_ALG_AES,
        128,
        TPM_ALG_CFB,
        TPM_ALG_NULL,
        TPM_ECC_NIST_P256,
        TPM_ALG_NULL,
    ] {
        public.short(number)?;
    }
    Ok(public)
}

/// The values of registers, in the order of their numbers. The session proves that the TPM said so.
pub(super) fn pcr_values(
    tpm: &mut Tpm,
    session: &mut Session,
    pcrs: &PcrSelection,
) -> Result<Vec<[u8; HASH_BYTES]>, TpmError> {
    let mut values = Vec::new();
    let mut left = pcrs.clone();
    // A TPM shows eight at a time, the lowest first.
    while left.mask != 0 {
        let mut parameters = Writer::new()?;
        parameters.raw(&left.list())?;
        let command = Command {
            name: "TPM2_PCR_Read",
            code: TPM_CC_PCR_READ,
            handles: &[],
            loads: false,
        };
        let authority = Authority::Session(session, Protection::Proof);
        let answer = tpm.run(&command, authority, parameters)?;
        let mut reader = Reader::new(answer.parameters.expose());
        let _counter = reader.long()?;
        let shown = PcrSelection::shown(&mut reader)?;
        let digests = reader.long()?;
        let first_left = left.mask.trailing_zeros();
        if shown == 0 || shown.count_ones() != digests {
            return Err(TpmError::NoBank);
        }
        if shown & !left.mask != 0 || shown.trailing_zeros() != first_left {
            return Err(TpmError::Garbled("other registers than were asked for"));
        }
        for _ in 0..digests {
            let value = reader.sized()?;
            values.push(
                value
                    .try_into()
                    .map_err(|_| TpmError::Garbled("the value of a register is too short"))?,
            );
        }
        reader.end()?;
        left.mask &= !shown;
    }
    Ok(values)
}

/// The policy that these registers have these values (Part 3, 23.7), computed here and not asked of the TPM.
pub(super) fn policy_of(
    pcrs: &PcrSelection,
    values: &[[u8; HASH_BYTES]],
) -> Result<Vec<u8>, TpmError> {
    let values = digest(Hash::Sha256, values.as_flattened())?;
    let mut policy = Digest::new(Hash::Sha256)?;
    policy.update(&[0; HASH_BYTES])?;
    policy.update(&TPM_CC_POLICY_PCR.to_be_bytes())?;
    policy.update(&pcrs.list())?;
    policy.update(values.as_ref())?;
    Ok(policy.finish()?.as_ref().to_vec())
}

/// The sealed object: its private part, which only this TPM opens, and its public one.
pub(super) fn create(
    tpm: &mut Tpm,
    primary: &Primary,
    session: &mut Session,
    secret: &[u8],
    policy: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
    let mut sensitive = Writer::new()?;
    // No password, and what is sealed.
    sensitive.sized(&[])?;
    sensitive.sized(secret)?;
    let mut public = Writer::new()?;
    public.short(TPM_ALG_KEYEDHASH)?;
    public.short(TPM_ALG_SHA256)?;
    // Not with a password: the policy alone opens it. Nobody's wrong tries elsewhere lock it.
    public.long(TPMA_OBJECT_FIXED_TPM | TPMA_OBJECT_FIXED_PARENT | TPMA_OBJECT_NO_DA)?;
    public.sized(policy)?;
    public.short(TPM_ALG_NULL)?;
    public.sized(&[])?;
    let mut parameters = Writer::new()?;
    parameters.sized(sensitive.expose())?;
    parameters.sized(public.expose())?;
    parameters.sized(&[])?;
    parameters.long(0)?;
    let command = Command {
        name: "TPM2_Create",
        code: TPM_CC_CREATE,
        handles: &[primary.handle()],
        loads: false,
    };
    let authority = Authority::Session(session, Protection::SecretCommand);
    let answer = tpm.run(&command, authority, parameters)?;
    let mut reader = Reader::new(answer.parameters.expose());
    Ok((reader.sized()?.to_vec(), reader.sized()?.to_vec()))
}

/// Opens a sealed object, or says which registers changed.
pub(super) fn open(
    tpm: &mut Tpm,
    primary: &Primary,
    session: &mut Session,
    blob: &TpmBlob,
) -> Result<SecretBytes, TpmError> {
    let mut parameters = Writer::new()?;
    parameters.sized(&blob.private)?;
    parameters.sized(&blob.public)?;
    let command = Command {
        name: "TPM2_Load",
        code: TPM_CC_LOAD,
        handles: &[primary.handle()],
        loads: true,
    };
    let authority = Authority::Session(session, Protection::Permission);
    let object = tpm.run(&command, authority, parameters)?.handle;
    let mut policy = Session::open(tpm, primary, Purpose::Policy)?;
    let mut parameters = Writer::new()?;
    // No digest: the TPM takes the values that the registers have.
    parameters.sized(&[])?;
    parameters.raw(&blob.pcrs.list())?;
    let command = Command {
        name: "TPM2_PolicyPCR",
        code: TPM_CC_POLICY_PCR,
        handles: &[Handle {
            number: policy.handle,
            name: &[],
        }],
        loads: false,
    };
    tpm.run(&command, Authority::Nothing, parameters)?;
    match unseal(tpm, &mut policy, object, &blob.public) {
        Err(TpmError::PcrsChanged { .. }) => {
            let now = pcr_values(tpm, session, &blob.pcrs)?;
            Err(TpmError::PcrsChanged {
                changed: blob.changed(&now),
            })
        }
        answered => answered,
    }
}

fn unseal(
    tpm: &mut Tpm,
    policy: &mut Session,
    object: u32,
    public: &[u8],
) -> Result<SecretBytes, TpmError> {
    let name = name_of(public)?;
    let command = Command {
        name: "TPM2_Unseal",
        code: TPM_CC_UNSEAL,
        handles: &[Handle {
            number: object,
            name: &name,
        }],
        loads: false,
    };
    let authority = Authority::Session(policy, Protection::SecretAnswer);
    let answer = tpm.run(&command, authority, Writer::new()?)?;
    let mut reader = Reader::new(answer.parameters.expose());
    let secret = SecretBytes::copy_from(reader.sized()?)?;
    reader.end()?;
    Ok(secret)
}

/// The name of an object (Part 1, 16): which hash, and the hash of its public part.
fn name_of(public: &[u8]) -> Result<Vec<u8>, TpmError> {
    let mut name = TPM_ALG_SHA256.to_be_bytes().to_vec();
    name.extend_from_slice(digest(Hash::Sha256, public)?.as_ref());
    Ok(name)
}

/// The form of a point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;
const COORDINATE_BYTES: usize = 32;
