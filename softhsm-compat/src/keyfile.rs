//! Private keys in files: PKCS #8 (RFC 5958) in PEM, also encrypted with a password.
//!
//! What lives here: from a file to the attributes of a key pair that make the key what it is, and the few faults that the original tells apart.
//! What must never live here: a format; labels, ids and usages, which whoever imports knows.
//! Who calls it: `strongroom-softhsm2-util`.

use std::fmt;

use strongroom_keymem::SecretVec;
use strongroom_wire::ck::KeyType;

use crate::files::error::FileError;
use crate::files::material::PrivateKey;
use crate::files::password::Password;
use crate::files::{ber, key, open, pem};
use crate::opened::Opened;

/// The two halves of a key: what `C_CreateObject` needs of each besides class, type and what somebody wishes.
#[derive(Debug)]
pub struct KeyPair {
    /// Its type.
    pub key_type: KeyType,
    /// The public half.
    pub public: Opened,
    /// The private half.
    pub private: Opened,
}

/// Why a file gave no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// There is no key of this form in it.
    NoKey,
    /// The password is wrong, or the way of encryption is not known.
    NotDecrypted,
    /// It holds something else than the algorithm needs.
    Malformed,
    /// A key of another algorithm, or a form of it that is not known.
    Algorithm(String),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => out.write_str("there is no such private key in it"),
            Self::NotDecrypted => {
                out.write_str("the password is wrong, or the encryption is of an unknown kind")
            }
            Self::Malformed => out.write_str("the key in it is malformed"),
            Self::Algorithm(which) => write!(out, "keys of this kind are not taken: {which}"),
        }
    }
}

impl std::error::Error for KeyFileError {}

impl From<FileError> for KeyFileError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Unsupported(what) => Self::Algorithm(what),
            FileError::Malformed(_) | FileError::Password | FileError::Resources => Self::Malformed,
        }
    }
}

/// Reads the key that lies in clear in a file.
///
/// # Errors
/// [`KeyFileError`].
pub fn clear(file: &[u8]) -> Result<KeyPair, KeyFileError> {
    pair(block(file, "PRIVATE KEY")?.expose())
}

/// Reads the key that is encrypted with a password.
///
/// # Errors
/// [`KeyFileError`].
pub fn encrypted(file: &[u8], password: &[u8]) -> Result<KeyPair, KeyFileError> {
    let closed = block(file, "ENCRYPTED PRIVATE KEY")?;
    let opened = open::encrypted_key(closed.expose(), &mut || Ok(Password::new(password)?))
        .map_err(|_| KeyFileError::NotDecrypted)?;
    // A wrong password may open to something else.
    key::private_key_info(opened.expose()).map_err(|_| KeyFileError::NotDecrypted)?;
    pair(opened.expose())
}

/// The first block of a label; files may have others before it, and words between them.
fn block(file: &[u8], label: &str) -> Result<SecretVec, KeyFileError> {
    let blocks = pem::blocks(file).map_err(|_| KeyFileError::NoKey)?;
    let found = blocks.into_iter().find(|block| block.label == label);
    Ok(found.ok_or(KeyFileError::NoKey)?.der)
}

/// Both halves of a key, from its encoding.
fn pair(der: &[u8]) -> Result<KeyPair, KeyFileError> {
    let key = key::private_key(der)?;
    if matches!(key, PrivateKey::Ec { parameters, .. } if parameters.first() != Some(&ber::OBJECT_IDENTIFIER))
    {
        return Err(KeyFileError::Algorithm(
            "a curve that is written out".into(),
        ));
    }
    let public = key.public().ok_or_else(|| {
        KeyFileError::Algorithm("one whose public key is not told and cannot be computed".into())
    })?;
    let mut pair = KeyPair {
        key_type: key.key_type(),
        public: Opened::default(),
        private: Opened::default(),
    };
    key.push_values(&mut pair.private)?;
    public.push_values(&mut pair.public)?;
    Ok(pair)
}
