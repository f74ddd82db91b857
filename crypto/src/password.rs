//! What lives here: keys from passwords: Argon2id (RFC 9106).
//!
//! What must never live here: the choice of costs.
//!
//! Who calls it: the vault for PINs, the daemon for the passphrase of the root key. Behind the feature `passwords`, which the PKCS#11 module
//! leaves out.

use argon2::{Algorithm, Argon2, AssociatedData, Block, ParamsBuilder, Version};
use zeroize::Zeroizing;

use crate::error::Error;

/// What Argon2id may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Argon2Cost {
    /// Memory, in kibibytes; at least eight for each lane.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes; computed one after the other here, so that they cost an attacker and not a thread pool.
    pub lanes: u32,
}

/// Argon2id, version 1.3, with a secret key input.
///
/// The working memory is ordinary memory, since it is larger than what can be locked; it is wiped
/// before it is given back.
///
/// # Errors
/// [`Error::ParameterInvalid`] for a cost, salt (8 bytes at least) or output length (4 bytes at least)
/// out of range; [`Error::Memory`] when the working memory cannot be had.
pub fn argon2id(
    password: &[u8],
    salt: &[u8],
    pepper: &[u8],
    cost: Argon2Cost,
    out: &mut [u8],
) -> Result<(), Error> {
    argon2id_with(password, salt, pepper, &[], cost, out)
}

/// [`argon2id`] with the associated data that RFC 9106 has; for the vectors of the standard.
fn argon2id_with(
    password: &[u8],
    salt: &[u8],
    pepper: &[u8],
    associated: &[u8],
    cost: Argon2Cost,
    out: &mut [u8],
) -> Result<(), Error> {
    let associated = AssociatedData::new(associated).map_err(|_| Error::ParameterInvalid)?;
    let params = ParamsBuilder::new()
        .m_cost(cost.memory_kib)
        .t_cost(cost.passes)
        .p_cost(cost.lanes)
        .output_len(out.len())
        .data(associated)
        .build()
        .map_err(|_| Error::ParameterInvalid)?;
    let mut blocks = Zeroizing::new(Vec::new());
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|_| Error::Memory)?;
    blocks.resize(params.block_count(), Block::new());
    Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, params)
        .map_err(|_| Error::ParameterInvalid)?
        .hash_password_into_with_memory(password, salt, out, blocks.as_mut_slice())
        .map_err(|_| Error::ParameterInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9106, 5.3.
    #[test]
    fn the_vector_of_the_standard() {
        let mut tag = [0; 32];
        let cost = Argon2Cost {
            memory_kib: 32,
            passes: 3,
            lanes: 4,
        };
        argon2id_with(&[1; 32], &[2; 16], &[3; 8], &[4; 12], cost, &mut tag).unwrap();
        let expected = [
            0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b,
            0x53, 0xc9, 0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9,
            0x6b, 0x01, 0xe6, 0x59,
        ];
        assert_eq!(tag, expected);
    }

    #[test]
    fn costs_out_of_range_are_refused() {
        let mut tag = [0; 32];
        for cost in [
            Argon2Cost {
                memory_kib: 7,
                passes: 1,
                lanes: 1,
            },
            Argon2Cost {
                memory_kib: 64,
                passes: 0,
                lanes: 1,
            },
            Argon2Cost {
                memory_kib: 64,
                passes: 1,
                lanes: 0,
            },
        ] {
            let answer = argon2id(b"password", b"saltsalt", b"", cost, &mut tag);
            assert_eq!(answer, Err(Error::ParameterInvalid), "{cost:?}");
        }
        let cost = Argon2Cost {
            memory_kib: 64,
            passes: 1,
            lanes: 1,
        };
        assert_eq!(
            argon2id(b"password", b"short", b"", cost, &mut tag),
            Err(Error::ParameterInvalid)
        );
    }

    #[test]
    fn the_pepper_matters() {
        let cost = Argon2Cost {
            memory_kib: 64,
            passes: 1,
            lanes: 1,
        };
        let (mut one, mut other) = ([0; 32], [0; 32]);
        argon2id(b"password", b"saltsalt", b"pepper", cost, &mut one).unwrap();
        argon2id(b"password", b"saltsalt", b"", cost, &mut other).unwrap();
        assert_ne!(one, other);
    }
}
