//! Answers: from replies to what stands on the wire.
//!
//! What lives here: the return value of an outcome, [`Answered`], and its encoding into locked memory.
//! What must never live here: decisions.
//! Who calls it: the service.

use std::fmt;

use strongroom_keymem::SecretVec;
use strongroom_wire::ck::Rv;
use strongroom_wire::codec::{self, CodecError, List, Sink};
use strongroom_wire::request::FlatAttribute;
use strongroom_wire::response::{Answer, AttributeAnswer, Body};
use strongroom_wire::secret::Secret;

use crate::chapter::{AttributeReply, Reply};
use crate::error::Result;
use crate::sink::Locked;

/// A message that is none, or one whose answer could not be recorded: the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(
            "the message is not one of this protocol, or its answer could not be recorded",
        )
    }
}

impl std::error::Error for Malformed {}

/// An answer that has been recorded and may be sent.
#[derive(Debug)]
pub struct Answered(pub(super) (Reply, Rv));

impl Answered {
    /// Encodes it into a sink of bounded room; answers whether it fitted. What was written of one that did not is no answer.
    #[must_use]
    pub fn fits(&self, sink: &mut impl Sink) -> bool {
        let (reply, rv) = &self.0;
        write(reply, *rv, sink).is_ok()
    }

    /// Appends it, encoded, to a buffer.
    ///
    /// # Errors
    /// [`Malformed`] when there is no memory: close the connection.
    pub fn append_to(&self, out: &mut SecretVec) -> std::result::Result<(), Malformed> {
        let (reply, rv) = &self.0;
        // The data of an output come last, so that one move of the buffer is enough for them.
        if let Reply::Output {
            data: Some(data), ..
        } = reply
        {
            out.reserve(data.len() + OUTPUT_HEAD_BYTES)
                .map_err(|_| Malformed)?;
        }
        write(reply, *rv, &mut Locked(out)).map_err(|_| Malformed)
    }
}

/// What a request came to: its reply and its return value.
pub(super) fn outcome(result: Result<Reply>) -> (Reply, Rv) {
    match result {
        Ok(reply) => {
            let rv = return_value(&reply);
            (reply, rv)
        }
        Err(error) => (Reply::Empty, error.rv()),
    }
}

fn return_value(reply: &Reply) -> Rv {
    match reply {
        Reply::TooSmall { .. } => Rv::BUFFER_TOO_SMALL,
        Reply::Attributes(attributes) => {
            let any = |wanted: fn(&AttributeReply) -> bool| attributes.iter().any(wanted);
            if any(|attribute| matches!(attribute, AttributeReply::Sensitive)) {
                Rv::ATTRIBUTE_SENSITIVE
            } else if any(|attribute| matches!(attribute, AttributeReply::TypeInvalid)) {
                Rv::ATTRIBUTE_TYPE_INVALID
            } else {
                Rv::OK
            }
        }
        _ => Rv::OK,
    }
}

/// Appends an encoded answer.
pub(super) fn encode(
    answer: &Answer<'_>,
    sink: &mut impl Sink,
) -> std::result::Result<(), CodecError> {
    codec::encode(answer, sink)
}

/// The answer to a hello.
pub(super) fn hello(daemon_version: [u8; 3], sessions_max: usize) -> Answer<'static> {
    Answer {
        rv: Rv::OK,
        body: Body::Hello {
            daemon_version,
            sessions_max: sessions_max as u64,
        },
    }
}

/// Appends a reply as an encoded answer.
pub(super) fn write(
    reply: &Reply,
    rv: Rv,
    sink: &mut impl Sink,
) -> std::result::Result<(), CodecError> {
    let body = match reply {
        Reply::Empty => Body::Empty,
        Reply::Slots(slots) => Body::Slots(list(slots)?),
        Reply::SlotInfo(info) => Body::SlotInfo(info.clone()),
        Reply::TokenInfo(info) => Body::TokenInfo(info.as_ref().clone()),
        Reply::Mechanisms(mechanisms) => Body::Mechanisms(list(mechanisms)?),
        Reply::SessionInfo(info) => Body::SessionInfo(*info),
        Reply::Object(object) => Body::Object(*object),
        Reply::KeyPair { public, private } => Body::KeyPair {
            public: *public,
            private: *private,
        },
        Reply::Objects(objects) => Body::Objects(list(objects)?),
        Reply::Size(bytes) => Body::Size(*bytes),
        Reply::Output { length, data } => {
            let data = Secret::new(data.as_ref().map_or(&[], SecretVec::expose));
            Body::Output {
                length: *length,
                data,
            }
        }
        Reply::Wrapped { iv, length, data } => Body::Wrapped {
            iv,
            length: *length,
            data: Secret::new(data.expose()),
        },
        Reply::TooSmall { length } => Body::Output {
            length: *length,
            data: Secret::default(),
        },
        Reply::Attributes(attributes) => {
            let answers = attributes
                .iter()
                .map(attribute)
                .collect::<std::result::Result<_, _>>()?;
            Body::Attributes(List::new(answers).ok_or(CodecError::Full)?)
        }
    };
    encode(&Answer { rv, body }, sink)
}

/// Room for what stands before the data of an output: return value, variant, two lengths.
pub(super) const OUTPUT_HEAD_BYTES: usize = 40;

fn list<T: Clone, const MAX: usize>(items: &[T]) -> std::result::Result<List<T, MAX>, CodecError> {
    List::new(items.to_vec()).ok_or(CodecError::Full)
}

fn attribute(reply: &AttributeReply) -> std::result::Result<AttributeAnswer<'_>, CodecError> {
    Ok(match reply {
        AttributeReply::Open(bytes) => AttributeAnswer::Open(bytes),
        AttributeReply::Secret(bytes) => AttributeAnswer::Secret(Secret::new(bytes.expose())),
        AttributeReply::Template(inner) => {
            let flat = inner
                .iter()
                .map(|(kind, bytes)| FlatAttribute {
                    kind: *kind,
                    value: Secret::new(bytes),
                })
                .collect();
            AttributeAnswer::Template(List::new(flat).ok_or(CodecError::Full)?)
        }
        AttributeReply::Sensitive => AttributeAnswer::Sensitive,
        AttributeReply::TypeInvalid => AttributeAnswer::TypeInvalid,
    })
}
