//! Bringing objects in from elsewhere: begun, judged, committed or abandoned, each with its line in the journal.
//!
//! What lives here: one import of one connection of the administration, and its bounds.
//! What must never live here: the judgement of an object (chapter of importing), and how many are sealed and committed (token, vault).
//! Who calls it: the daemon's administration socket.

mod bounds;
mod commit;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use strongroom_crypto::digest::{Digest, Hash};
use strongroom_keymem::SecretBytes;
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::ck::{AttributeType, Rv};
use strongroom_wire::codec::List;
use strongroom_wire::import::{Destination, IMPORT_SOURCE_BYTES_MAX, Judgement};
use strongroom_wire::request::Template;

pub(super) use self::bounds::Bounds;
use self::bounds::Place;
use self::record::Facts;
use super::admin::padded;
use super::pins::PinTry;
use super::{Malformed, Service};
use crate::attribute::Attributes;
use crate::audit::Principal;
use crate::chapter::importing::{History, Verdict, judge};
use crate::chapter::sessions;
use crate::error::Error;
use crate::limits::Limits;
use crate::token::{Token, metadata};
use crate::vault::{OpenRealm, SerialNumber, Stash, Stashed, User};

/// What one connection brings in, if it does. When it ends, [`Service::end_import`] abandons what was not committed.
#[derive(Debug, Default)]
pub struct Importing(Option<Import>);

/// An import under way. Nothing of it is in the store, and nobody sees it.
struct Import {
    source: String,
    target: Target,
    history: History,
    stash: Stash,
    arrivals: Vec<Arrival>,
    refused: u64,
    trusted: u64,
    digest: Digest,
    place: Place,
}

impl fmt::Debug for Import {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Import({} objects)", self.arrivals.len())
    }
}

/// Where objects go.
enum Target {
    /// A token that is made for them.
    New {
        label: [u8; 32],
        serial_number: Option<SerialNumber>,
        so_pin: SecretBytes,
        user_pin: Option<SecretBytes>,
    },
    /// A token that is there, whose realm its user's PIN has opened.
    There(Arc<Token>, OpenRealm),
}

/// An object that was judged good.
struct Arrival {
    attributes: Attributes,
    secret: Option<Stashed>,
}

impl Arrival {
    /// Memory that it takes, about.
    fn bytes(&self, metadata: usize) -> usize {
        metadata + self.secret.as_ref().map_or(0, Stashed::len) + ARRIVAL_BYTES
    }
}

/// Why nothing was done.
struct Refusal {
    rv: Rv,
    reason: String,
}

impl Refusal {
    fn new(rv: Rv, reason: impl Into<String>) -> Self {
        Self {
            rv,
            reason: reason.into(),
        }
    }

    /// An error of the device, or of the token.
    fn of(error: Error) -> Self {
        let why = match error {
            Error::DeviceMemory => "the disk or the locked memory (memory.bytes) is full",
            Error::DeviceError => "the store or the journal failed; the daemon's log says how",
            Error::UserNotLoggedIn => "the token was initialised anew meanwhile",
            Error::TokenNotRecognized => "the token was deleted meanwhile",
            _ => "the daemon met a defect; please report it",
        };
        Self::new(error.rv(), why)
    }
}

impl From<AdminAnswer> for Refusal {
    fn from(answer: AdminAnswer) -> Self {
        match answer {
            AdminAnswer::Refused { rv, reason } => Self { rv, reason },
            _ => Self::of(Error::GeneralError),
        }
    }
}

/// A request that concerns an import, and what it waits for.
#[derive(Debug)]
pub struct AskedImport<'r, 's> {
    request: &'r AdminRequest<'r>,
    pin: Option<PinTry<'s>>,
}

impl AskedImport<'_, '_> {
    /// How long to wait before it is carried out: what its PIN has to wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.pin.as_ref().map_or(Duration::ZERO, PinTry::wait)
    }

    /// Whether it compares a PIN, which may cost an Argon2id.
    #[must_use]
    pub const fn may_stretch_a_pin(&self) -> bool {
        self.pin.is_some()
    }
}

impl Service {
    /// Takes a request that concerns an import; none where it is another one. Given up, it leaves nothing behind.
    pub fn asked_to_import<'r>(
        &self,
        principal: &Principal,
        request: &'r AdminRequest<'r>,
    ) -> Option<AskedImport<'r, '_>> {
        let pin = match request {
            AdminRequest::ImportBegin {
                destination: Destination::Token { token, .. },
                ..
            } => {
                let token = self.named(token).ok();
                token.map(|token| self.admit_pin(principal.uid, token.number, User::User))
            }
            AdminRequest::ImportBegin { .. }
            | AdminRequest::ImportObjects { .. }
            | AdminRequest::ImportCommit
            | AdminRequest::ImportAbandon => None,
            _ => return None,
        };
        Some(AskedImport { request, pin })
    }

    /// Answers it.
    ///
    /// # Errors
    /// [`Malformed`] when the answer could not be recorded.
    pub fn import(
        &self,
        principal: &Principal,
        asked: AskedImport<'_, '_>,
        importing: &mut Importing,
    ) -> Result<AdminAnswer, Malformed> {
        let AskedImport { request, pin } = asked;
        self.audit.read().make_room().map_err(|_| Malformed)?;
        let (answer, facts) = self.carried_out(request, importing);
        if let Some(pin) = pin {
            pin.settle(super::admin::rv_of(&answer));
        }
        if matches!(answer, AdminAnswer::Imported { .. }) {
            self.ports.changes.count();
        }
        self.record_import(principal, request, &facts, answer)
    }

    /// The connection has ended: what was not committed is abandoned.
    ///
    /// # Errors
    /// [`Malformed`] when that could not be recorded.
    pub fn end_import(
        &self,
        principal: &Principal,
        importing: &mut Importing,
    ) -> Result<(), Malformed> {
        let Some(import) = importing.0.take() else {
            return Ok(());
        };
        let facts = import.facts();
        drop(import);
        let answer = AdminAnswer::Refused {
            rv: Rv::FUNCTION_CANCELED,
            reason: "the connection ended before the commit".into(),
        };
        self.record_import(principal, &AdminRequest::ImportAbandon, &facts, answer)
            .map(drop)
    }

    fn carried_out(
        &self,
        request: &AdminRequest<'_>,
        importing: &mut Importing,
    ) -> (AdminAnswer, Facts) {
        let refused = |refusal: Refusal, facts| {
            let Refusal { rv, reason } = refusal;
            (AdminAnswer::Refused { rv, reason }, facts)
        };
        if let AdminRequest::ImportBegin {
            source,
            destination,
            keep_history,
        } = request
        {
            let facts = Facts::begun(source, destination, *keep_history);
            return match self.begin_import(importing, source, destination, *keep_history) {
                Ok(import) => {
                    let facts = import.facts();
                    importing.0 = Some(import);
                    (AdminAnswer::Done, facts)
                }
                Err(refusal) => refused(refusal, facts),
            };
        }
        let Some(import) = &mut importing.0 else {
            let reason = "this connection brings nothing in; ImportBegin begins";
            let refusal = Refusal::new(Rv::OPERATION_NOT_INITIALIZED, reason);
            return refused(refusal, Facts::default());
        };
        let mut facts = import.facts();
        if let AdminRequest::ImportObjects { objects } = request {
            return match self.import_objects(import, objects.items()) {
                Ok(judged) => (AdminAnswer::ImportJudged(judged), import.facts()),
                Err(refusal) => refused(refusal, facts),
            };
        }
        let (AdminRequest::ImportCommit, Some(import)) = (request, importing.0.take()) else {
            return (AdminAnswer::Done, facts);
        };
        match self.commit_import(import, &mut facts) {
            Ok(imported) => (imported, facts),
            Err(refusal) => refused(refusal, facts),
        }
    }

    fn begin_import(
        &self,
        importing: &Importing,
        source: &str,
        destination: &Destination<'_>,
        keep_history: bool,
    ) -> Result<Import, Refusal> {
        if importing.0.is_some() {
            return Err(Refusal::new(
                Rv::OPERATION_ACTIVE,
                "this connection has an import under way; commit or abandon it first",
            ));
        }
        if !is_one_line(source) {
            return Err(Refusal::new(
                Rv::ARGUMENTS_BAD,
                format!("the source is one line of at most {IMPORT_SOURCE_BYTES_MAX} bytes"),
            ));
        }
        let limits = self.settings.read().limits;
        // The place first, so that a PIN is not compared for nothing.
        let place = self.imports.enter(&limits)?;
        let target = match destination {
            Destination::NewToken {
                label,
                serial_number,
                so_pin,
                user_pin,
            } => {
                let user_pin = user_pin.map(strongroom_wire::secret::Secret::expose);
                self.new_target(label, *serial_number, so_pin.expose(), user_pin)?
            }
            Destination::Token { token, user_pin } => {
                self.target_there(token, user_pin.expose(), &limits)?
            }
        };
        Ok(Import {
            source: source.to_owned(),
            target,
            history: if keep_history {
                History::Kept
            } else {
                History::BeginsHere
            },
            stash: Stash::new().map_err(|error| Refusal::of(error.into()))?,
            arrivals: Vec::new(),
            refused: 0,
            trusted: 0,
            digest: Digest::new(Hash::Sha256).map_err(|error| Refusal::of(error.into()))?,
            place,
        })
    }

    fn new_target(
        &self,
        label: &str,
        serial_number: Option<&str>,
        so_pin: &[u8],
        user_pin: Option<&[u8]>,
    ) -> Result<Target, Refusal> {
        let bad = |reason: String| Refusal::new(Rv::ARGUMENTS_BAD, reason);
        let label = padded(label).map_err(bad)?;
        let serial_number = serial_number.map(SerialNumber::parse).transpose();
        let serial_number = serial_number.map_err(|error| bad(error.to_string()))?;
        if let Some(serial) = &serial_number
            && self.vault.has_serial_number(serial)
        {
            return Err(bad(serial_taken(&serial.to_string())));
        }
        let limits = self.settings.read().limits;
        for (whose, pin) in [("security officer's", Some(so_pin)), ("user's", user_pin)] {
            if let Some(pin) = pin
                && sessions::pin_length(pin, &limits).is_err()
            {
                let lengths = self.pin_lengths();
                let reason = format!("the {whose} PIN has {} bytes; {lengths}", pin.len());
                return Err(Refusal::new(Rv::PIN_LEN_RANGE, reason));
            }
        }
        self.may_make_a_token(&limits)?;
        let kept =
            |pin: &[u8]| SecretBytes::copy_from(pin).map_err(|_| Refusal::of(Error::DeviceMemory));
        Ok(Target::New {
            label,
            serial_number,
            so_pin: kept(so_pin)?,
            user_pin: user_pin.map(kept).transpose()?,
        })
    }

    fn may_make_a_token(&self, limits: &Limits) -> Result<(), Refusal> {
        if self.tokens.read().len() < limits.tokens_max {
            return Ok(());
        }
        Err(Refusal::new(
            Rv::DEVICE_MEMORY,
            format!(
                "there are {} tokens already (limits.tokens_max)",
                limits.tokens_max
            ),
        ))
    }

    /// The user's PIN opens the token as a login does: tries are counted, and the realm stays open. No application is logged in by it.
    fn target_there(&self, name: &str, pin: &[u8], limits: &Limits) -> Result<Target, Refusal> {
        let token = self.named(name).map_err(|answer| Refusal::from(*answer))?;
        if token.is_removed() {
            let reason = format!("token {name:?} rehearses to be out of its slot");
            return Err(Refusal::new(Rv::TOKEN_NOT_PRESENT, reason));
        }
        token.login(User::User, pin, limits).map_err(|error| {
            let why = match error {
                Error::PinIncorrect => "is wrong; that counts as a try",
                Error::PinLocked => {
                    "is locked after too many wrong ones; the security officer can set a new one"
                }
                Error::UserPinNotInitialized => {
                    "was never set; the security officer sets the first one"
                }
                other => return Refusal::of(other),
            };
            Refusal::new(
                error.rv(),
                format!("the user's PIN of token {name:?} {why}"),
            )
        })?;
        let realm = token
            .opened_realm()
            .map_err(|error| Refusal::of(error.into()))?;
        Ok(Target::There(token, realm))
    }

    /// Judges objects, and takes in those that are good. Refused as a whole it has taken none.
    fn import_objects<const MAX: usize>(
        &self,
        import: &mut Import,
        objects: &[Template<'_>],
    ) -> Result<List<Judgement, MAX>, Refusal> {
        let (mut judgements, mut arrivals) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for object in objects {
            let verdict = judge(object, import.history).map_err(Refusal::of)?;
            let (judgement, arrival) = match verdict {
                Verdict::Refused { rv, reason } => {
                    let refused = Some((rv, reason));
                    (
                        Judgement {
                            refused,
                            changed: Vec::new(),
                        },
                        None,
                    )
                }
                Verdict::Taken {
                    attributes,
                    material,
                    changed,
                } => {
                    let secret = material.map(|material| import.stash.put(material.sealed_form()));
                    let secret = secret
                        .transpose()
                        .map_err(|error| Refusal::of(error.into()))?;
                    (
                        Judgement {
                            refused: None,
                            changed,
                        },
                        Some(Arrival { attributes, secret }),
                    )
                }
            };
            if let Some(arrival) = arrival {
                let metadata = metadata(&arrival.attributes).map_err(Refusal::of)?;
                bytes += arrival.bytes(metadata.len());
                arrivals.push((arrival, metadata));
            }
            judgements.push(judgement);
        }
        let limits = self.settings.read().limits;
        self.has_room(import, arrivals.len(), &limits)?;
        import.place.take(arrivals.len(), bytes, &limits)?;
        import.refused += (objects.len() - arrivals.len()) as u64;
        for (arrival, metadata) in arrivals {
            import
                .digest
                .update(&metadata)
                .map_err(|error| Refusal::of(error.into()))?;
            import.trusted +=
                u64::from(arrival.attributes.flag(AttributeType::TRUSTED) == Some(true));
            import.arrivals.push(arrival);
        }
        List::new(judgements).ok_or_else(|| Refusal::of(Error::GeneralError))
    }

    fn has_room(&self, import: &Import, more: usize, limits: &Limits) -> Result<(), Refusal> {
        let wanted = import.arrivals.len() + more;
        let fits = match &import.target {
            Target::New { .. } => wanted <= limits.token_objects_max,
            Target::There(token, _) => token.has_room(wanted, limits).is_ok(),
        };
        if fits {
            return Ok(());
        }
        Err(Refusal::new(
            Rv::DEVICE_MEMORY,
            format!(
                "a token has at most {} objects (limits.token_objects_max, or what it rehearses), and {wanted} were to come",
                limits.token_objects_max
            ),
        ))
    }
}

impl Import {
    fn facts(&self) -> Facts {
        let (token, serial_number, new_token) = match &self.target {
            Target::New { serial_number, .. } => {
                (None, serial_number.as_ref().map(ToString::to_string), true)
            }
            Target::There(token, _) => {
                let state = token.state(&Limits::default());
                (Some(token.number), Some(state.serial_number), false)
            }
        };
        Facts {
            slot: token.map(|token| crate::chapter::slots::slot_of(token).0),
            source: Some(self.source.clone()),
            serial_number,
            new_token: Some(new_token),
            keep_history: Some(self.history == History::Kept),
            objects: Some(self.arrivals.len() as u64),
            refused: Some(self.refused),
            trusted: Some(self.trusted),
            metadata: None,
        }
    }
}

fn serial_taken(serial: &str) -> String {
    format!("another token has the serial number {serial}; choose another one, or none")
}

fn is_one_line(source: &str) -> bool {
    source.len() <= IMPORT_SOURCE_BYTES_MAX && !source.chars().any(char::is_control)
}

/// What an object takes beside its attributes and its sealed secret: the structures around them, and room that is not used.
const ARRIVAL_BYTES: usize = 512;
