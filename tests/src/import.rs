//! Objects brought in through administration, as an importer does it.
//!
//! What lives here: one import on one connection, and templates in the form in which they travel.
//! What must never live here: what is in an object.
//! Who calls it: the tests of imports.

use strongroom_wire::admin::{AdminAnswer, AdminRequest, Token};
use strongroom_wire::ck::{AttributeType, Rv};
use strongroom_wire::codec::List;
use strongroom_wire::frame::Door;
use strongroom_wire::import::{Destination, IMPORT_OBJECTS_MAX, Judgement};
use strongroom_wire::request::{self, Attribute, FlatAttribute};
use strongroom_wire::secret::Secret;

use crate::load::client::Client;
use crate::template::{Template, Value};
use crate::{Hsm, SO_PIN, USER_PIN};

/// Why something did not happen: the daemon's words, or none when it is gone.
pub type Refusal = Option<(Rv, String)>;

/// One import on a connection of its own; dropped, it is abandoned.
pub struct Importer(Client);

impl Importer {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn connect(hsm: &Hsm) -> Self {
        Self::try_connect(hsm).expect("the administration socket")
    }

    /// Connects, unless the daemon has ended.
    #[must_use]
    pub fn try_connect(hsm: &Hsm) -> Option<Self> {
        let path = hsm.home.join("admin.sock");
        // A daemon that has just begun to listen opens this door last.
        for _ in 0..100 {
            match Client::connect(&path, Door::Admin) {
                Ok(client) => return Some(Self(client)),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        None
    }

    fn ask(&mut self, request: &AdminRequest<'_>) -> Result<AdminAnswer, Refusal> {
        match self.0.administer(request) {
            Ok(AdminAnswer::Refused { rv, reason }) => Err(Some((rv, reason))),
            Ok(answer) => Ok(answer),
            Err(_) => Err(None),
        }
    }

    /// Begins.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn begin(&mut self, destination: Destination<'_>) -> Result<(), Refusal> {
        let request = AdminRequest::ImportBegin {
            source: "a test",
            destination,
            keep_history: true,
        };
        self.ask(&request).map(drop)
    }

    /// Brings objects, as many requests as it takes.
    ///
    /// # Errors
    /// [`Refusal`].
    ///
    /// # Panics
    /// When the answer is none.
    pub fn bring(&mut self, objects: &[Template]) -> Result<Vec<Judgement>, Refusal> {
        let mut judged = Vec::new();
        for objects in objects.chunks(IMPORT_OBJECTS_MAX) {
            let objects = objects.iter().map(travelling).collect();
            let objects = List::new(objects).expect("not too many");
            let answer = self.ask(&AdminRequest::ImportObjects { objects })?;
            let AdminAnswer::ImportJudged(more) = answer else {
                panic!("{answer:?}")
            };
            judged.extend(more.into_items());
        }
        Ok(judged)
    }

    /// Commits.
    ///
    /// # Errors
    /// [`Refusal`].
    ///
    /// # Panics
    /// When the answer is none.
    pub fn commit(&mut self) -> Result<(Token, u64), Refusal> {
        let answer = self.ask(&AdminRequest::ImportCommit)?;
        let AdminAnswer::Imported { token, objects } = answer else {
            panic!("{answer:?}")
        };
        Ok((token, objects))
    }
}

/// A new token with the PINs of all tests.
#[must_use]
pub fn new_token<'d>(label: &'d str, serial_number: Option<&'d str>) -> Destination<'d> {
    Destination::NewToken {
        label,
        serial_number,
        so_pin: Secret::new(SO_PIN.as_bytes()),
        user_pin: Some(Secret::new(USER_PIN.as_bytes())),
    }
}

/// A token that is there.
#[must_use]
pub fn token<'d>(name: &'d str, user_pin: &'d str) -> Destination<'d> {
    Destination::Token {
        token: name,
        user_pin: Secret::new(user_pin.as_bytes()),
    }
}

/// A template as it travels.
///
/// # Panics
/// When it is longer than any can be.
#[must_use]
pub fn travelling(template: &Template) -> request::Template<'_> {
    let attributes = template.0.iter().map(|(kind, given)| Attribute {
        kind: AttributeType(*kind),
        value: value_of(given),
    });
    List::new(attributes.collect()).expect("not too many")
}

fn value_of(value: &Value) -> request::Value<'_> {
    match value {
        Value::Bytes(bytes) => request::Value::Bytes(Secret::new(bytes)),
        Value::Nested(inner) => {
            let inner = inner.0.iter().map(|(kind, value)| FlatAttribute {
                kind: AttributeType(*kind),
                value: match value {
                    Value::Bytes(bytes) => Secret::new(bytes),
                    Value::Nested(_) => panic!("an array of attributes within an array"),
                },
            });
            request::Value::Template(List::new(inner.collect()).expect("not too many"))
        }
    }
}
