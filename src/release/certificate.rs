//! Certificates at the daemon's clock.
//!
//! What lives here: the moment at which a chain must hold.
//! What must never live here: reading a certificate; the crate of primitives does.
//! Who calls it: authority and statement (signers that a pinned authority vouches for).

use strongroom_crypto::certificate;
use strongroom_crypto::signature::VerifyKey;

use crate::calendar::Moment;
use crate::ports::Time;

/// The key of a signer, if the first certificate of the chain leads to a pinned one and all hold now.
///
/// # Errors
/// Why not, in words.
pub fn signer_of_chain(
    chain: &[Vec<u8>],
    pinned: &[Vec<u8>],
    now: Time,
) -> Result<VerifyKey, &'static str> {
    certificate::signer_of_chain(chain, pinned, &Moment::from(now).digits())
}
