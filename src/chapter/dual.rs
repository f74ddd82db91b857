//! Two operations with one part (PKCS#11 3.2, 5.16).
//!
//! What lives here: in which order a part goes through both.
//! What must never live here: the operations themselves.
//! Who calls it: the service.

use strongroom_keymem::SecretVec;
use strongroom_wire::request::{Dual, Output};

use super::{Desk, Reply, cipher, digest, sign};
use crate::error::Result;

/// C_DigestEncryptUpdate, C_DecryptDigestUpdate, C_SignEncryptUpdate, C_DecryptVerifyUpdate.
///
/// The cipher goes first: as long as its output does not fit, the other operation has seen nothing and the call can be made again.
///
/// # Errors
/// [`Error::OperationNotInitialized`](crate::error::Error) when one of the two is not active, before the other is touched; else those
/// of the two.
pub fn update(desk: &Desk<'_>, dual: Dual, part: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().both_active(dual)?;
    let reply = match dual {
        Dual::DigestEncrypt | Dual::SignEncrypt => cipher::encrypt_update(desk, part, output)?,
        Dual::DecryptDigest | Dual::DecryptVerify => cipher::decrypt_update(desk, part, output)?,
    };
    // Only the length was asked, or the buffer is too small: nothing has happened.
    let Reply::Output {
        data: Some(data), ..
    } = &reply
    else {
        return Ok(reply);
    };
    match dual {
        Dual::DigestEncrypt => digest::digest_update(desk, part)?,
        Dual::SignEncrypt => sign::sign_update(desk, part)?,
        Dual::DecryptDigest => digest::digest_update(desk, SecretVec::expose(data))?,
        Dual::DecryptVerify => sign::verify_update(desk, SecretVec::expose(data))?,
    };
    Ok(reply)
}

#[cfg(test)]
mod tests;
