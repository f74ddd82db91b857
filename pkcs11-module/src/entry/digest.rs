//! Chapter message digests (PKCS#11 3.2, 5.12).
//!
//! What lives here: start, one shot, parts, keys, end. Data that come whole are hashed here: a digest needs no secret of the token's.
//! What must never live here: the digest of a key, or one in parts, which a key may follow; the daemon computes those.
//! Who calls it: the table of functions.

use strongroom_crypto::digest::{self as hashing, Hash};
use strongroom_wire::ck::{MechanismType, Rv};
use strongroom_wire::request::{
    Mechanism as WireMechanism, ObjectHandle, Parameter, Request, SessionHandle,
};

use super::{ask_known, done, output, output_known};
use crate::abi::{In, Mechanism, Out};
use crate::operations::Digest;
use crate::process::Instance;
use crate::sessions::Session;

/// C_DigestInit.
pub(crate) fn init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<&Mechanism>,
) -> Result<(), Rv> {
    let session = at.sessions.get(session)?;
    let mut operations = session.operations();
    let begun = matches!(operations.digest, Digest::Begun(_));
    let Some(mechanism) = mechanism else {
        if begun {
            operations.digest = Digest::Nothing;
            at.sessions.count_begun(-1);
            return Ok(());
        }
        return ask_init(at, &session, None);
    };
    if begun {
        return Err(Rv::OPERATION_ACTIVE);
    }
    let here = hash_of(mechanism.kind()).is_some()
        && mechanism.is_plain()
        && !at.client.stamps.asks_always();
    if here && operations.digest == Digest::Nothing {
        operations.digest = Digest::Begun(mechanism.kind());
        at.sessions.count_begun(1);
        return Ok(());
    }
    operations.digest = Digest::Elsewhere;
    let request = Request::DigestInit {
        session: session.handle,
        mechanism: Some(mechanism.wire()),
    };
    ask_known(at, Some(&session), &request, Rv::DEVICE_REMOVED, |_| {
        Some(())
    })
}

/// Asks the daemon to begin a digest, or to cancel one.
pub(super) fn ask_init(
    at: &Instance,
    session: &Session,
    kind: Option<MechanismType>,
) -> Result<(), Rv> {
    let mechanism = kind.map(|kind| WireMechanism {
        kind,
        parameter: Parameter::None,
    });
    let request = Request::DigestInit {
        session: session.handle,
        mechanism,
    };
    ask_known(
        at,
        Some(session),
        &request,
        Rv::DEVICE_REMOVED,
        |_| Some(()),
    )
}

/// C_Digest.
pub(crate) fn digest(at: &Instance, session: SessionHandle, data: &In, out: Out) -> Result<(), Rv> {
    let session = at.sessions.get(session)?;
    let mut operations = session.operations();
    if let Digest::Begun(kind) = operations.digest
        && let Some(hash) = hash_of(kind)
    {
        let length = u64::try_from(hash.output_bytes()).map_err(|_| Rv::GENERAL_ERROR)?;
        if let Some(rv) = out.wanted().short(length) {
            return out.deliver(rv, length, &[]);
        }
        // Whatever comes of it, the operation has ended.
        operations.digest = Digest::Nothing;
        at.sessions.count_begun(-1);
        let value = hashing::digest(hash, data.public()).map_err(|_| Rv::HOST_MEMORY)?;
        return out.deliver(Rv::OK, length, value.as_ref());
    }
    let request = Request::Digest {
        session: session.handle,
        data: data.secret(),
        output: out.wanted(),
    };
    output_known(at, Some(&session), &request, out).map(|_| ())
}

/// C_DigestUpdate.
pub(crate) fn update(at: &Instance, session: SessionHandle, part: &In) -> Result<(), Rv> {
    done(
        at,
        &Request::DigestUpdate {
            session,
            part: part.secret(),
        },
    )
}

/// C_DigestKey.
pub(crate) fn key(at: &Instance, session: SessionHandle, key: ObjectHandle) -> Result<(), Rv> {
    done(at, &Request::DigestKey { session, key })
}

/// C_DigestFinal.
pub(crate) fn finish(at: &Instance, session: SessionHandle, out: Out) -> Result<(), Rv> {
    output(
        at,
        &Request::DigestFinal {
            session,
            output: out.wanted(),
        },
        out,
    )
}

/// The hash function of a mechanism that is nothing but one (PKCS#11 3.2, 6.17 to 6.25).
const fn hash_of(kind: MechanismType) -> Option<Hash> {
    use MechanismType as M;
    Some(match kind {
        M::MD5 => Hash::Md5,
        M::SHA_1 => Hash::Sha1,
        M::SHA224 => Hash::Sha224,
        M::SHA256 => Hash::Sha256,
        M::SHA384 => Hash::Sha384,
        M::SHA512 => Hash::Sha512,
        M::SHA512_224 => Hash::Sha512_224,
        M::SHA512_256 => Hash::Sha512_256,
        M::SHA3_224 => Hash::Sha3_224,
        M::SHA3_256 => Hash::Sha3_256,
        M::SHA3_384 => Hash::Sha3_384,
        M::SHA3_512 => Hash::Sha3_512,
        _ => return None,
    })
}
