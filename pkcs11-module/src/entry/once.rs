//! Operations with a key that begin and end with one request.
//!
//! What lives here: which Init functions are answered here, and what then travels with the data.
//! What must never live here: whether a key may be used; the daemon judges that at each operation.
//! Who calls it: the entries for signatures and ciphers.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{
    Mechanism as WireMechanism, ObjectHandle, Output, Request, SessionHandle,
};
use strongroom_wire::secret::Secret;

use super::{ask_known, output_known, tell};
use crate::abi::{Mechanism, Out};
use crate::operations::{Active, Kind, Place};
use crate::process::Instance;
use crate::sessions::Session;

/// An operation whose data come whole.
#[derive(Clone, Copy)]
pub(crate) enum Whole<'d> {
    /// C_Sign.
    Sign(Secret<'d>),
    /// C_Verify: data and signature.
    Verify(Secret<'d>, &'d [u8]),
    /// C_Encrypt.
    Encrypt(Secret<'d>),
    /// C_Decrypt.
    Decrypt(Secret<'d>),
}

impl<'d> Whole<'d> {
    const fn kind(self) -> Kind {
        match self {
            Self::Sign(_) => Kind::Sign,
            Self::Verify(..) => Kind::Verify,
            Self::Encrypt(_) => Kind::Encrypt,
            Self::Decrypt(_) => Kind::Decrypt,
        }
    }

    /// The data of a cipher, and whether it encrypts.
    const fn cipher(self) -> Option<(Secret<'d>, bool)> {
        match self {
            Self::Encrypt(data) => Some((data, true)),
            Self::Decrypt(data) => Some((data, false)),
            Self::Sign(_) | Self::Verify(..) => None,
        }
    }

    /// The request where the daemon has the operation.
    const fn alone(self, session: SessionHandle, output: Output) -> Request<'d> {
        match self {
            Self::Sign(data) => Request::Sign {
                session,
                data,
                output,
            },
            Self::Verify(data, signature) => Request::Verify {
                session,
                data,
                signature,
            },
            Self::Encrypt(data) => Request::Encrypt {
                session,
                data,
                output,
            },
            Self::Decrypt(data) => Request::Decrypt {
                session,
                data,
                output,
            },
        }
    }

    /// The request that begins the operation as well.
    const fn with(
        self,
        session: SessionHandle,
        mechanism: WireMechanism<'d>,
        key: ObjectHandle,
        output: Output,
    ) -> Request<'d> {
        match self {
            Self::Sign(data) => Request::SignOnce {
                session,
                mechanism,
                key,
                data,
                output,
            },
            Self::Verify(data, signature) => Request::VerifyOnce {
                session,
                mechanism,
                key,
                data,
                signature,
            },
            Self::Encrypt(data) => Request::EncryptOnce {
                session,
                mechanism,
                key,
                data,
                output,
            },
            Self::Decrypt(data) => Request::DecryptOnce {
                session,
                mechanism,
                key,
                data,
                output,
            },
        }
    }
}

/// C_SignInit and its kin.
pub(crate) fn init(
    at: &Instance,
    session: SessionHandle,
    kind: Kind,
    mechanism: Option<Mechanism>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    let session = at.sessions.get(session)?;
    let mut operations = session.operations();
    let place = operations.place(kind);
    let begun = matches!(place.active, Active::Begun(..));
    let Some(mechanism) = mechanism else {
        if begun {
            place.active = Active::Nothing;
            at.sessions.count_begun(-1);
            return Ok(());
        }
        return ask_init(at, &session, kind, None, key);
    };
    if begun {
        return Err(Rv::OPERATION_ACTIVE);
    }
    let now = at.client.now();
    if place.would_agree(&mechanism, key, now) {
        place.active = Active::Begun(mechanism, key);
        at.sessions.count_begun(1);
        return Ok(());
    }
    let asked = ask_init(at, &session, kind, Some(mechanism.wire()), key);
    if asked.is_ok() {
        place.agree(mechanism, key, now);
    } else {
        place.doubt();
    }
    asked
}

/// Asks the daemon to begin an operation, or to cancel one.
pub(super) fn ask_init(
    at: &Instance,
    session: &Session,
    kind: Kind,
    mechanism: Option<WireMechanism<'_>>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    let known = session;
    let session = session.handle;
    let request = match kind {
        Kind::Sign => Request::SignInit {
            session,
            mechanism,
            key,
        },
        Kind::Verify => Request::VerifyInit {
            session,
            mechanism,
            key,
        },
        Kind::Encrypt => Request::EncryptInit {
            session,
            mechanism,
            key,
        },
        Kind::Decrypt => Request::DecryptInit {
            session,
            mechanism,
            key,
        },
    };
    ask_known(at, Some(known), &request, Rv::DEVICE_REMOVED, |_| Some(()))
}

/// C_Sign, C_Encrypt, C_Decrypt.
pub(crate) fn output(
    at: &Instance,
    session: SessionHandle,
    whole: Whole<'_>,
    out: Out,
) -> Result<(), Rv> {
    let session = at.sessions.get(session)?;
    let mut operations = session.operations();
    let place = operations.place(whole.kind());
    let wanted = out.wanted();
    if let Some(length) = known_length(place, whole)
        && let Some(rv) = wanted.short(length)
    {
        return out.deliver(rv, length, &[]);
    }
    tell(at, &session)?;
    let begun = place.give_up();
    let asked = if let Active::Begun(mechanism, key) = &begun {
        at.sessions.count_begun(-1);
        if goes_in_parts(whole, mechanism, wanted) {
            in_parts(at, &session, whole, (mechanism, *key), out)
        } else {
            let request = whole.with(session.handle, mechanism.wire(), *key, wanted);
            output_known(at, Some(&session), &request, out)
        }
    } else {
        output_known(
            at,
            Some(&session),
            &whole.alone(session.handle, wanted),
            out,
        )
    };
    match asked {
        Ok(_) if wanted == Output::Size => {}
        Ok(length) => place.end(Some(length).filter(|_| whole.kind() == Kind::Sign)),
        Err(Rv::BUFFER_TOO_SMALL) => {}
        Err(_) => place.doubt(),
    }
    asked.map(|_| ())
}

/// Length of the output of an operation that was begun here, if it can be told without the daemon.
fn known_length(place: &Place, whole: Whole<'_>) -> Option<u64> {
    let Active::Begun(mechanism, _) = &place.active else {
        return None;
    };
    match whole.cipher() {
        Some((data, encrypts)) => mechanism.cipher_output(encrypts, bytes_of(data)),
        None => place.signature_bytes(),
    }
}

fn bytes_of(data: Secret<'_>) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

/// Longer data go in parts of this length, in bytes: they stay in the caches of both processors, where one long message would take fresh
/// pages at both ends.
const PART_BYTES: usize = 1 << 20;

/// Whether data go in parts: where an output comes with each part and there is room for all of it, so that nothing can be too short half way.
fn goes_in_parts(whole: Whole<'_>, mechanism: &Mechanism, wanted: Output) -> bool {
    let Some((data, encrypts)) = whole.cipher() else {
        return false;
    };
    let bytes = bytes_of(data);
    // What padding takes away is not known before; there is room enough if it took nothing.
    let longest = mechanism
        .cipher_output(encrypts, bytes)
        .or_else(|| Some(bytes).filter(|bytes| !encrypts && bytes.is_multiple_of(16)));
    data.len() > PART_BYTES
        && mechanism.streams(encrypts)
        && longest.is_some_and(|longest| wanted.short(longest).is_none())
}

/// C_EncryptInit, C_EncryptUpdate for each part, C_EncryptFinal; or the same for decryption. Answers the length of the output.
fn in_parts(
    at: &Instance,
    session: &Session,
    whole: Whole<'_>,
    (mechanism, key): (&Mechanism, ObjectHandle),
    out: Out,
) -> Result<u64, Rv> {
    let kind = whole.kind();
    let (data, encrypts) = whole.cipher().ok_or(Rv::GENERAL_ERROR)?;
    ask_init(at, session, kind, Some(mechanism.wire()), key)?;
    let known = session;
    let session = session.handle;
    let mut done = 0_u64;
    for part in data.expose().chunks(PART_BYTES) {
        let part = Secret::new(part);
        let rest = out.behind(done);
        let output = rest.wanted();
        let request = if encrypts {
            Request::EncryptUpdate {
                session,
                part,
                output,
            }
        } else {
            Request::DecryptUpdate {
                session,
                part,
                output,
            }
        };
        done = done.saturating_add(output_known(at, Some(known), &request, rest)?);
    }
    let rest = out.behind(done);
    let output = rest.wanted();
    let request = if encrypts {
        Request::EncryptFinal { session, output }
    } else {
        Request::DecryptFinal { session, output }
    };
    done = done.saturating_add(output_known(at, Some(known), &request, rest)?);
    out.told(done);
    Ok(done)
}

/// C_Verify.
pub(crate) fn verify(
    at: &Instance,
    session: SessionHandle,
    data: Secret<'_>,
    signature: &[u8],
) -> Result<(), Rv> {
    let session = at.sessions.get(session)?;
    let whole = Whole::Verify(data, signature);
    let mut operations = session.operations();
    let place = operations.place(Kind::Verify);
    tell(at, &session)?;
    let begun = place.give_up();
    // Verification has no output.
    let none = Output::Size;
    let asked = if let Active::Begun(mechanism, key) = &begun {
        at.sessions.count_begun(-1);
        let request = whole.with(session.handle, mechanism.wire(), *key, none);
        ask_known(at, Some(&session), &request, Rv::DEVICE_REMOVED, |_| {
            Some(())
        })
    } else {
        let request = whole.alone(session.handle, none);
        ask_known(at, Some(&session), &request, Rv::DEVICE_REMOVED, |_| {
            Some(())
        })
    };
    match asked {
        // A signature that is wrong ends the operation as well.
        Ok(()) | Err(Rv::SIGNATURE_INVALID) => place.end(None),
        Err(_) => place.doubt(),
    }
    asked
}
