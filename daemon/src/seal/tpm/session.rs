//! Sessions: what allows a command, protects it on its way, and proves its answer.
//!
//! What lives here: salted sessions (TPM 2.0 Library, Part 1, 19.6), their keys, the codes over commands and answers, and the encryption of the
//! first parameter (Part 1, 21).
//! What must never live here: which commands are run.
//! Who calls it: `client.rs` for each command, `objects.rs` to open one.
//!
//! Nothing here has a password: values of authorisation are empty throughout, so the key of a session is the whole key of its codes.

use strongroom_crypto::block::Direction;
use strongroom_crypto::cfb::cfb;
use strongroom_crypto::digest::{Digest, DigestValue, Hash};
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::mac::HmacKey;
use strongroom_crypto::{mac, random};
use strongroom_keymem::SecretBytes;

use super::bytes::{Reader, Writer};
use super::client::{Authority, Command, Handle, Tpm};
use super::error::TpmError;
use super::numbers::{
    TPM_ALG_AES, TPM_ALG_CFB, TPM_ALG_SHA256, TPM_CC_START_AUTH_SESSION, TPM_RH_NULL, TPM_SE_HMAC,
    TPM_SE_POLICY, TPMA_SESSION_AUDIT, TPMA_SESSION_CONTINUE, TPMA_SESSION_DECRYPT,
    TPMA_SESSION_ENCRYPT,
};
use super::objects::Primary;

/// What a session is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To allow what needs an (empty) password.
    Password,
    /// To satisfy a policy.
    Policy,
}

/// What is protected in a command and its answer besides both being proved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// The session only proves who answers: the command needs no permission.
    Proof,
    /// The session allows the command.
    Permission,
    /// It allows, and the first parameter of the command travels encrypted.
    SecretCommand,
    /// It allows, and the first parameter of the answer travels encrypted.
    SecretAnswer,
}

impl Protection {
    fn attributes(self) -> u8 {
        TPMA_SESSION_CONTINUE
            | match self {
                Self::Proof => TPMA_SESSION_AUDIT,
                Self::Permission => 0,
                Self::SecretCommand => TPMA_SESSION_DECRYPT,
                Self::SecretAnswer => TPMA_SESSION_ENCRYPT,
            }
    }
}

/// An open session.
pub(super) struct Session {
    pub(super) handle: u32,
    key: SecretBytes,
    nonce_of_tpm: Vec<u8>,
    own_nonce: [u8; HASH_BYTES],
}

impl Session {
    /// Opens a session with a secret that only the holder of the primary key learns.
    pub(super) fn open(
        tpm: &mut Tpm,
        primary: &Primary,
        purpose: Purpose,
    ) -> Result<Self, TpmError> {
        let (salt, encrypted_salt) = salt_for(primary)?;
        let mut own_nonce = [0; HASH_BYTES];
        random::fill(&mut own_nonce)?;
        let mut parameters = Writer::new()?;
        parameters.sized(&own_nonce)?;
        parameters.sized(encrypted_salt.expose())?;
        parameters.byte(match purpose {
            Purpose::Password => TPM_SE_HMAC,
            Purpose::Policy => TPM_SE_POLICY,
        })?;
        for number in [TPM_ALG_AES, AES_KEY_BITS, TPM_ALG_CFB, TPM_ALG_SHA256] {
            parameters.short(number)?;
        }
        let nobody = Handle {
            number: TPM_RH_NULL,
            name: &[],
        };
        let command = Command {
            name: "TPM2_StartAuthSession",
            code: TPM_CC_START_AUTH_SESSION,
            handles: &[primary.handle(), nobody],
            loads: true,
        };
        let answer = tpm.run(&command, Authority::Nothing, parameters)?;
        let mut reader = Reader::new(answer.parameters.expose());
        let nonce_of_tpm = nonce(&mut reader)?;
        reader.end()?;
        let key = salt.with(|salt| kdfa(salt, b"ATH", &nonce_of_tpm, &own_nonce, HASH_BYTES))?;
        Ok(Self {
            handle: answer.handle,
            key,
            nonce_of_tpm,
            own_nonce,
        })
    }

    /// The authorisation of a command; where the parameters are secret, encrypts the first.
    pub(super) fn authorise(
        &mut self,
        command: &Command<'_>,
        protection: Protection,
        parameters: &mut [u8],
    ) -> Result<Writer, TpmError> {
        random::fill(&mut self.own_nonce)?;
        if protection == Protection::SecretCommand {
            let (newer, older) = (&self.own_nonce[..], &self.nonce_of_tpm[..]);
            self.crypt(newer, older, Direction::Encrypt, parameters)?;
        }
        let mut digest = Digest::new(Hash::Sha256)?;
        digest.update(&command.code.to_be_bytes())?;
        for handle in command.handles {
            digest.update(handle.name)?;
        }
        digest.update(parameters)?;
        let attributes = protection.attributes();
        let nonces = [&self.own_nonce[..], &self.nonce_of_tpm[..]];
        let code = self.code(&digest.finish()?, nonces, attributes)?;
        let mut area = Writer::new()?;
        area.long(self.handle)?;
        area.sized(&self.own_nonce)?;
        area.byte(attributes)?;
        area.sized(code.as_ref())?;
        Ok(area)
    }

    /// Reads the proof behind an answer; where the answer is secret, decrypts its first parameter.
    pub(super) fn check(
        &mut self,
        command: &Command<'_>,
        protection: Protection,
        parameters: &mut [u8],
        reader: &mut Reader<'_>,
    ) -> Result<(), TpmError> {
        let newer = nonce(reader)?;
        let attributes = reader.byte()?;
        let told = reader.sized()?;
        let mut digest = Digest::new(Hash::Sha256)?;
        // The code of success, and that of the command (Part 1, 16.8).
        digest.update(&0_u32.to_be_bytes())?;
        digest.update(&command.code.to_be_bytes())?;
        digest.update(parameters)?;
        let code = self.code(&digest.finish()?, [&newer, &self.own_nonce], attributes)?;
        if !mac::equal_in_constant_time(code.as_ref(), told) {
            return Err(TpmError::Forged);
        }
        if protection == Protection::SecretAnswer {
            self.crypt(&newer, &self.own_nonce, Direction::Decrypt, parameters)?;
        }
        self.nonce_of_tpm = newer;
        Ok(())
    }

    /// The code over a command or an answer (Part 1, 19.6.5).
    fn code(
        &self,
        digest: &DigestValue,
        nonces: [&[u8]; 2],
        attributes: u8,
    ) -> Result<DigestValue, TpmError> {
        let key = self.key.with(|key| HmacKey::new(Hash::Sha256, key))?;
        let mut code = key.start()?;
        code.update(digest.as_ref())?;
        for nonce in nonces {
            code.update(nonce)?;
        }
        code.update(&[attributes])?;
        Ok(code.finish()?)
    }

    /// Encrypts or decrypts the buffer that the parameters begin with, and leaves its length (Part 1, 21.3).
    fn crypt(
        &self,
        newer: &[u8],
        older: &[u8],
        direction: Direction,
        parameters: &mut [u8],
    ) -> Result<(), TpmError> {
        let bytes = AES_KEY_BYTES + AES_BLOCK_BYTES;
        let material = self
            .key
            .with(|key| kdfa(key, b"CFB", newer, older, bytes))?;
        let length = Reader::new(parameters).short()?.into();
        let first = parameters
            .get_mut(2..)
            .and_then(|rest| rest.get_mut(..length))
            .ok_or(TpmError::Garbled("an answer is shorter than it says"))?;
        material.with(|material| {
            let (key, start) = material.split_at(AES_KEY_BYTES);
            let mut iv = [0; AES_BLOCK_BYTES];
            iv.copy_from_slice(start);
            Ok(cfb(key, &iv, direction, first)?)
        })
    }
}

/// A nonce of the TPM. It may not be shorter than what keeps a recorded answer from being played again.
fn nonce(reader: &mut Reader<'_>) -> Result<Vec<u8>, TpmError> {
    let nonce = reader.sized()?;
    if (NONCE_BYTES_MIN..=HASH_BYTES).contains(&nonce.len()) {
        Ok(nonce.to_vec())
    } else {
        Err(TpmError::Garbled("a nonce has an impossible length"))
    }
}

/// A secret for the holder of the primary key alone, and how it is told (Part 1, C.6.3).
fn salt_for(primary: &Primary) -> Result<(SecretBytes, Writer), TpmError> {
    let own = EcPrivateKey::generate(Curve::P256)?;
    let (_, own_point) = own.point().split_at(1);
    let (own_x, own_y) = own_point.split_at(own_point.len() / 2);
    let shared = own.agree(&primary.point)?;
    let mut encrypted = Writer::new()?;
    encrypted.sized(own_x)?;
    encrypted.sized(own_y)?;
    let mut digest = Digest::new(Hash::Sha256)?;
    // KDFe (Part 1, 11.4.10.3): one round is enough, for as many bits as the hash has.
    digest.update(&1_u32.to_be_bytes())?;
    shared.with(|shared| digest.update(shared))?;
    digest.update(b"SECRET\0")?;
    digest.update(own_x)?;
    digest.update(primary.point_x())?;
    let salt = SecretBytes::copy_from(digest.finish()?.as_ref())?;
    Ok((salt, encrypted))
}

/// KDFa (Part 1, 11.4.10.2): SP 800-108 in counter mode with HMAC-SHA256, of at most one hash.
fn kdfa(
    key: &[u8],
    label: &[u8],
    newer: &[u8],
    older: &[u8],
    bytes: usize,
) -> Result<SecretBytes, TpmError> {
    let key = HmacKey::new(Hash::Sha256, key)?;
    let bits = u32::try_from(8 * bytes).map_err(|_| TpmError::Memory)?;
    let mut round = key.start()?;
    round.update(&1_u32.to_be_bytes())?;
    round.update(label)?;
    round.update(&[0])?;
    round.update(newer)?;
    round.update(older)?;
    round.update(&bits.to_be_bytes())?;
    let derived = round.finish()?;
    let derived = derived.as_ref().get(..bytes).ok_or(TpmError::Memory)?;
    Ok(SecretBytes::copy_from(derived)?)
}

/// What SHA-256 gives.
pub(super) const HASH_BYTES: usize = 32;
/// Part 1, 19.6.3.2: at least 16.
const NONCE_BYTES_MIN: usize = 16;
const AES_KEY_BITS: u16 = 128;
const AES_KEY_BYTES: usize = 16;
const AES_BLOCK_BYTES: usize = 16;
