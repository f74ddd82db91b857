//! Message digests (PKCS#11 3.2, 5.12).
//!
//! What lives here: the functions of this section, and [`Digesting`], which waits in a session's slot.
//! What must never live here: the life of a slot (session/operation).
//! Who calls it: the front desk ([`crate::service`]).

use strongroom_crypto::digest::Digest;
use strongroom_keymem::SecretVec;
use strongroom_wire::ck::{AttributeType, ObjectClass};
use strongroom_wire::request::{Mechanism, ObjectHandle, Output};

use super::{Desk, Reply};
use crate::error::{Error, Result};
use crate::mechanism::{Use, params};
use crate::session::operation::{Call, Length};

/// A digest that is being computed.
#[derive(Debug)]
pub struct Digesting(Digest);

/// C_DigestInit.
///
/// # Errors
/// [`Error::OperationActive`], [`Error::MechanismInvalid`], [`Error::MechanismParamInvalid`].
pub fn digest_init(desk: &Desk<'_>, mechanism: Option<&Mechanism<'_>>) -> Result<Reply> {
    let mut operations = desk.session.operations.lock();
    let Some(mechanism) = mechanism else {
        operations.digest.cancel();
        return Ok(Reply::Empty);
    };
    operations.digest.must_be_idle()?;
    let row = desk.mechanism(mechanism.kind, Use::Digest)?;
    let hash = row.digest().ok_or(Error::MechanismInvalid)?;
    params::none(&mechanism.parameter)?;
    operations
        .digest
        .begin_keyless(Digesting(Digest::new(hash)?))?;
    Ok(Reply::Empty)
}

/// C_Digest.
///
/// # Errors
/// Those of the slot; each ends the operation.
pub fn digest(desk: &Desk<'_>, data: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().digest.deliver_last(
        Call::Whole,
        output,
        |running| Ok(running.length()),
        |mut running, out| {
            running.0.update(data)?;
            running.finish(out)
        },
    )
}

/// C_DigestUpdate.
///
/// # Errors
/// As [`digest`].
pub fn digest_update(desk: &Desk<'_>, part: &[u8]) -> Result<Reply> {
    desk.session
        .operations
        .lock()
        .digest
        .take_part(|running| Ok(running.0.update(part)?))
}

/// C_DigestKey.
///
/// # Errors
/// [`Error::KeyHandleInvalid`], [`Error::KeyIndigestible`], and as [`digest`].
pub fn digest_key(desk: &Desk<'_>, key: ObjectHandle) -> Result<Reply> {
    // Found before the session is locked, judged after it is known that there is an operation, which every error ends.
    let key = digestible(desk, key);
    let mut operations = desk.session.operations.lock();
    operations.digest.take_part(|running| {
        let key = key?;
        Ok(key
            .secret()?
            .value()
            .with(|value| running.0.update(value))?)
    })
}

/// C_DigestFinal.
///
/// # Errors
/// As [`digest`].
pub fn digest_final(desk: &Desk<'_>, output: Output) -> Result<Reply> {
    desk.session.operations.lock().digest.deliver_last(
        Call::Final,
        output,
        |running| Ok(running.length()),
        Digesting::finish,
    )
}

impl Digesting {
    fn length(&self) -> Length {
        Length::Exact(self.0.hash().output_bytes())
    }

    fn finish(self, out: &mut SecretVec) -> Result<()> {
        Ok(out.push_slice(self.0.finish()?.as_ref())?)
    }
}

/// A key whose value may go into a digest. PKCS#11 3.2, 5.12.4 leaves it to the token which; a digest lets guesses be tried, so that
/// it is given of those values only that could be read or wrapped out anyway, as SoftHSM does it.
fn digestible(
    desk: &Desk<'_>,
    handle: ObjectHandle,
) -> Result<std::sync::Arc<crate::object::OpenKey>> {
    let object = desk.key(handle)?;
    let secret = object.class() == ObjectClass::SECRET_KEY;
    if !secret || object.is(AttributeType::SENSITIVE) || !object.is(AttributeType::EXTRACTABLE) {
        return Err(Error::KeyIndigestible);
    }
    desk.session.token().open_key(&object)
}

#[cfg(test)]
mod tests;
