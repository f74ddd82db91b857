//! Administration: tokens and objects as the operator sees them.
//!
//! What lives here: the answers to administrative requests that concern the token.
//! What must never live here: values of attributes that an application could not read either.
//! Who calls it: the daemon's administration socket.

use std::sync::Arc;

use strongroom_crypto::hex;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, Object as ObjectLine, Token as TokenLine};
use strongroom_wire::ck::{
    AttributeType, CertificateType, KeyType, MechanismType, ObjectClass, Rv,
};
use strongroom_wire::codec::List;
use strongroom_wire::rehearsal::Act;

use super::{Malformed, Service};
use crate::attribute::reveal::{Revealed, reveal};
use crate::attribute::table::des_bytes;
use crate::attribute::{Value, draft, table};
use crate::audit::{self, Audit, Event, ImportFacts, Principal};
use crate::chapter::{sessions, slots};
use crate::error::{Error, Result};
use crate::limits::PIN_BYTES_MAX;
use crate::object::{Material, Object};
use crate::release::Account;
use crate::token::Token;
use crate::vault::NewToken;

impl Service {
    /// Answers the administration. What the daemon itself has answered comes in as `answered`, to be recorded.
    ///
    /// # Errors
    /// [`Malformed`] when the answer could not be recorded.
    pub fn administer(
        &self,
        principal: &Principal,
        request: &AdminRequest<'_>,
        answered: Option<AdminAnswer>,
    ) -> std::result::Result<AdminAnswer, Malformed> {
        let (_, management) = name(request);
        if management {
            self.audit.read().make_room().map_err(|_| Malformed)?;
        }
        let answer = answered.unwrap_or_else(|| self.administrate(request));
        if management {
            self.ports.changes.count();
        }
        record(&self.audit.read(), principal, request, answer)
    }

    fn administrate(&self, request: &AdminRequest<'_>) -> AdminAnswer {
        match request {
            AdminRequest::TokenList => self.token_lines(),
            AdminRequest::TokenCreate {
                label,
                so_pin,
                user_pin,
            } => {
                let user_pin = user_pin.map(strongroom_wire::secret::Secret::expose);
                self.token_create(label, so_pin.expose(), user_pin)
            }
            AdminRequest::TokenDelete { token } => self.token_delete(token),
            AdminRequest::ObjectList { token } => self.object_list(token),
            AdminRequest::ObjectShow { token, object } => self.object_show(token, object),
            AdminRequest::AuditTail { lines } => {
                let lines = usize::try_from(*lines).unwrap_or(usize::MAX).min(100_000);
                match audit::tail(&*self.ports.journal, lines) {
                    Ok(lines) => listed(lines, AdminAnswer::Lines),
                    Err(error) => refused(Rv::DEVICE_ERROR, error.to_string()),
                }
            }
            AdminRequest::AuditVerify => match audit::verify(&*self.ports.journal) {
                Ok(report) => AdminAnswer::Audit(report),
                Err(error) => refused(Rv::DEVICE_ERROR, error.to_string()),
            },
            AdminRequest::Verify { part } => AdminAnswer::Verified(self.verify(*part)),
            AdminRequest::AuthorityAdd { .. }
            | AdminRequest::AuthorityList
            | AdminRequest::AuthorityRemove { .. }
            | AdminRequest::ReleaseRoot => self.authority_answer(request),
            AdminRequest::Rehearse { token, act } => self.rehearse(token, act),
            AdminRequest::Unseal { .. } | AdminRequest::UnsealReset => refused(
                Rv::FUNCTION_FAILED,
                "the daemon is not sealed: there is nothing to unseal".to_owned(),
            ),
            AdminRequest::Status
            | AdminRequest::Reload
            | AdminRequest::Stop
            | AdminRequest::SealShow
            | AdminRequest::SealRotate { .. }
            | AdminRequest::Backup { .. }
            | AdminRequest::Limits
            | AdminRequest::ImportBegin { .. }
            | AdminRequest::ImportObjects { .. }
            | AdminRequest::ImportCommit
            | AdminRequest::ImportAbandon
            | AdminRequest::KeyRelease { .. }
            | AdminRequest::Replace => refused(
                Rv::GENERAL_ERROR,
                "the daemon answers this itself".to_owned(),
            ),
        }
    }

    fn token_lines(&self) -> AdminAnswer {
        let lines = self
            .tokens
            .read()
            .values()
            .map(|token| self.token_line(token))
            .collect();
        listed(lines, AdminAnswer::Tokens)
    }

    pub(super) fn token_line(&self, token: &Token) -> TokenLine {
        let state = token.state(&self.settings.read().limits);
        TokenLine {
            slot: slots::slot_of(token.number).0,
            label: String::from_utf8_lossy(&state.label).trim_end().to_owned(),
            user_pin_initialized: state.user_pin_initialized,
            user_pin_locked: state.user_tries.locked(),
            so_pin_locked: state.so_tries.locked(),
            serial_number: state.serial_number,
            open: token.is_open(),
            objects: token.counts().0,
            sessions: token.session_counts().0 as u64,
            rehearses: token.rehearsal().is_some(),
        }
    }

    /// The token that a label or serial number names, if it is exactly one.
    pub(super) fn named(&self, name: &str) -> std::result::Result<Arc<Token>, Box<AdminAnswer>> {
        let tokens = self.tokens.read();
        let fits = |token: &&Arc<Token>| {
            let line = self.token_line(token);
            line.label == name || line.serial_number == name
        };
        let mut found = tokens.values().filter(fits);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.clone()),
            (None, _) => Err(Box::new(refused(
                Rv::TOKEN_NOT_PRESENT,
                format!(
                    "no token has the label or serial number {name:?}; `strongroom token list` shows them"
                ),
            ))),
            (Some(_), Some(_)) => Err(Box::new(refused(
                Rv::ARGUMENTS_BAD,
                format!("several tokens have the label {name:?}; name one by its serial number"),
            ))),
        }
    }

    fn token_create(&self, label: &str, so_pin: &[u8], user_pin: Option<&[u8]>) -> AdminAnswer {
        let padded = match padded(label) {
            Ok(padded) => padded,
            Err(reason) => return refused(Rv::ARGUMENTS_BAD, reason),
        };
        match self.make_token(padded, so_pin, user_pin) {
            Ok(token) => listed(vec![self.token_line(&token)], AdminAnswer::Tokens),
            Err(Error::PinLenRange) => refused(
                Rv::PIN_LEN_RANGE,
                format!("{}; no token was made", self.pin_lengths()),
            ),
            Err(Error::DeviceMemory) => refused(
                Rv::DEVICE_MEMORY,
                "the token was not made: there are limits.tokens_max tokens, or disk or locked memory is full".to_owned(),
            ),
            Err(error) => refused(
                error.rv(),
                format!("the token was not made: {}", error.rv()),
            ),
        }
    }

    /// What is asked of a new PIN, in words.
    pub(super) fn pin_lengths(&self) -> String {
        let least = self.settings.read().limits.pin_bytes_min;
        format!("a PIN has from {least} to {PIN_BYTES_MAX} bytes (limits.pin_bytes_min)")
    }

    fn make_token(
        &self,
        label: [u8; 32],
        so_pin: &[u8],
        user_pin: Option<&[u8]>,
    ) -> Result<Arc<Token>> {
        let limits = self.settings.read().limits;
        sessions::pin_length(so_pin, &limits)?;
        if let Some(pin) = user_pin {
            sessions::pin_length(pin, &limits)?;
        }
        let _making = self.making.lock();
        if self.tokens.read().len() >= limits.tokens_max {
            return Err(Error::DeviceMemory);
        }
        let token = self.vault.make_token(&NewToken {
            label,
            serial_number: None,
            so_pin,
            user_pin,
        })?;
        Ok(self.take_in(token, &limits)?)
    }

    fn token_delete(&self, name: &str) -> AdminAnswer {
        let token = match self.named(name) {
            Ok(token) => token,
            Err(answer) => return *answer,
        };
        if token.retire().is_err() {
            return refused(
                Rv::SESSION_EXISTS,
                format!("applications have sessions at token {name:?}; end them first"),
            );
        }
        match self.vault.delete_token(token.number) {
            Ok(()) => {
                self.tokens.write().remove(&token.number);
                self.count_rehearsals();
                AdminAnswer::Done
            }
            Err(error) => {
                token.reinstate();
                refused(
                    Rv::DEVICE_ERROR,
                    format!("token {name:?} was not deleted: {error}"),
                )
            }
        }
    }

    fn object_list(&self, name: &str) -> AdminAnswer {
        let token = match self.named(name) {
            Ok(token) => token,
            Err(answer) => return *answer,
        };
        let lines: Vec<ObjectLine> =
            token.with_objects(|index| index.iter().map(|object| object_line(object)).collect());
        match List::new(lines) {
            Some(objects) => AdminAnswer::Objects {
                objects,
                closed: token.counts().1,
            },
            None => refused(
                Rv::DEVICE_MEMORY,
                "there are too many objects to list".to_owned(),
            ),
        }
    }

    fn object_show(&self, token: &str, name: &str) -> AdminAnswer {
        let token = match self.named(token) {
            Ok(token) => token,
            Err(answer) => return *answer,
        };
        let found: Vec<Arc<Object>> = token.with_objects(|index| {
            index
                .iter()
                .filter(|object| is_named(object, name))
                .cloned()
                .collect()
        });
        match found.as_slice() {
            [object] => match shown(object) {
                Some(attributes) => AdminAnswer::Object {
                    object: object_line(object),
                    attributes,
                },
                None => refused(Rv::GENERAL_ERROR, "the object cannot be shown".to_owned()),
            },
            [] => refused(
                Rv::OBJECT_HANDLE_INVALID,
                format!(
                    "no object that can be read now has the unique id, label or id {name:?}; private ones can be read once the token's user has logged in"
                ),
            ),
            several => refused(
                Rv::ARGUMENTS_BAD,
                format!(
                    "{} objects have the label or id {name:?}; name one by its unique id",
                    several.len()
                ),
            ),
        }
    }
}

/// Records an administrative answer.
pub(super) fn record(
    audit: &Audit,
    principal: &Principal,
    request: &AdminRequest<'_>,
    answer: AdminAnswer,
) -> std::result::Result<AdminAnswer, Malformed> {
    record_with(audit, principal, request, answer, (None, None))
}

/// Records the release of a key, with the key and how it was decided.
pub(super) fn record_release(
    audit: &Audit,
    principal: &Principal,
    request: &AdminRequest<'_>,
    answer: AdminAnswer,
    object_id: Option<&str>,
    release: Option<&Account>,
) -> std::result::Result<AdminAnswer, Malformed> {
    let (function, management) = name(request);
    let event = Event {
        object_id,
        release,
        ..event(principal, function, management, rv_of(&answer))
    };
    let recorded = audit.record(&event, answer).map_err(|_| Malformed)?;
    Ok(recorded.into_inner())
}

/// An event of administration of which nothing more is known.
const fn event<'e>(
    who: &'e Principal,
    function: &'static str,
    management: bool,
    rv: Rv,
) -> Event<'e> {
    Event {
        who,
        function,
        management,
        slot: None,
        session: None,
        object: None,
        object_id: None,
        mechanism: None,
        import: None,
        release: None,
        rv,
    }
}

/// Records an administrative answer, with its slot and what is brought in.
pub(super) fn record_with(
    audit: &Audit,
    principal: &Principal,
    request: &AdminRequest<'_>,
    answer: AdminAnswer,
    (slot, import): (Option<u64>, Option<&ImportFacts<'_>>),
) -> std::result::Result<AdminAnswer, Malformed> {
    let (function, management) = name(request);
    let rv = rv_of(&answer);
    let event = Event {
        slot,
        import,
        ..event(principal, function, management, rv)
    };
    let recorded = audit.record(&event, answer).map_err(|_| Malformed)?;
    Ok(recorded.into_inner())
}

/// What the journal says of an answer.
pub(super) const fn rv_of(answer: &AdminAnswer) -> Rv {
    if let AdminAnswer::Refused { rv, .. } = answer {
        *rv
    } else {
        Rv::OK
    }
}

/// Name in the audit, and whether it manages.
const fn name(request: &AdminRequest<'_>) -> (&'static str, bool) {
    match request {
        AdminRequest::Status => ("admin.status", false),
        AdminRequest::TokenList => ("admin.token_list", false),
        AdminRequest::TokenCreate { .. } => ("admin.token_create", true),
        AdminRequest::TokenDelete { .. } => ("admin.token_delete", true),
        AdminRequest::ObjectList { .. } => ("admin.object_list", false),
        AdminRequest::ObjectShow { .. } => ("admin.object_show", false),
        AdminRequest::AuditTail { .. } => ("admin.audit_tail", false),
        AdminRequest::AuditVerify => ("admin.audit_verify", false),
        AdminRequest::Reload => ("admin.reload", true),
        AdminRequest::Stop => ("admin.stop", true),
        AdminRequest::Unseal { .. } => ("admin.unseal", true),
        AdminRequest::UnsealReset => ("admin.unseal_reset", true),
        AdminRequest::SealShow => ("admin.seal_show", false),
        AdminRequest::SealRotate { .. } => ("admin.seal_rotate", true),
        AdminRequest::Verify { .. } => ("admin.verify", false),
        AdminRequest::Backup { .. } => ("admin.backup", true),
        AdminRequest::Limits => ("admin.limits", false),
        AdminRequest::Rehearse { act: Act::Show, .. } => ("admin.rehearsal", false),
        AdminRequest::Rehearse { .. } => ("admin.rehearse", true),
        AdminRequest::Replace => ("admin.replace", true),
        AdminRequest::ImportBegin { .. } => ("admin.import_begin", true),
        AdminRequest::ImportObjects { .. } => ("admin.import_objects", false),
        AdminRequest::ImportCommit => ("admin.import_commit", true),
        AdminRequest::ImportAbandon => ("admin.import_abandon", true),
        AdminRequest::AuthorityAdd { .. } => ("admin.authority_add", true),
        AdminRequest::AuthorityList => ("admin.authority_list", false),
        AdminRequest::AuthorityRemove { .. } => ("admin.authority_remove", true),
        AdminRequest::ReleaseRoot => ("admin.release_root", false),
        AdminRequest::KeyRelease { .. } => ("admin.key_release", true),
    }
}

/// A label in its field.
pub(super) fn padded(label: &str) -> std::result::Result<[u8; 32], String> {
    let mut padded = [b' '; 32];
    match padded.get_mut(..label.len()) {
        Some(room) => {
            room.copy_from_slice(label.as_bytes());
            Ok(padded)
        }
        None => Err(format!(
            "the label has {} bytes; 32 is the most",
            label.len()
        )),
    }
}

pub(super) fn refused(rv: Rv, reason: String) -> AdminAnswer {
    AdminAnswer::Refused { rv, reason }
}

fn listed<T, const MAX: usize>(
    items: Vec<T>,
    answer: fn(List<T, MAX>) -> AdminAnswer,
) -> AdminAnswer {
    List::new(items).map_or_else(
        || refused(Rv::DEVICE_MEMORY, "there is too much to list".to_owned()),
        answer,
    )
}

fn text(object: &Object, kind: AttributeType) -> String {
    String::from_utf8_lossy(object.attributes.bytes(kind).unwrap_or_default()).into_owned()
}

pub(super) fn is_named(object: &Object, name: &str) -> bool {
    let id = object
        .attributes
        .bytes(AttributeType::ID)
        .unwrap_or_default();
    object.unique_id() == name
        || text(object, AttributeType::LABEL) == name
        || (!id.is_empty() && hex::shown(id) == name.to_ascii_lowercase())
}

fn object_line(object: &Object) -> ObjectLine {
    let number = |kind| object.attributes.number(kind);
    let curve_bits = || {
        let curve = crate::object::open_key::curve(&object.attributes).ok()?;
        Some(curve.bits() as u64)
    };
    // RSA, and DSA and Diffie-Hellman.
    let modulus_bits = || {
        let modulus = object.attributes.bytes(AttributeType::MODULUS);
        let modulus = modulus.or_else(|| object.attributes.bytes(AttributeType::PRIME));
        modulus.map(|modulus| modulus.len() as u64 * 8)
    };
    let des_bits = || Some(des_bytes(object.key_type()?)? as u64 * 8);
    let bits = number(AttributeType::VALUE_LEN)
        .map(|bytes| bytes * 8)
        .or_else(modulus_bits)
        .or_else(des_bits)
        .or_else(curve_bits);
    ObjectLine {
        unique_id: object.unique_id().to_owned(),
        class: object.class().to_string(),
        key_type: object.key_type().map(|key_type| key_type.to_string()),
        label: text(object, AttributeType::LABEL),
        id: hex::shown(
            object
                .attributes
                .bytes(AttributeType::ID)
                .unwrap_or_default(),
        ),
        bits,
        flags: object
            .attributes
            .iter()
            .filter(|(_, value)| **value == Value::Flag(true))
            .filter_map(|(kind, _)| kind.name())
            .map(|name| name.trim_start_matches("CKA_").to_ascii_lowercase())
            .collect(),
    }
}

/// Every attribute as a person reads it. Secret values are asked of `reveal` without material, so none is ever shown here.
fn shown(
    object: &Object,
) -> Option<List<(String, String), { strongroom_wire::response::ANSWER_ITEMS_MAX }>> {
    let shape = draft::shape_of_object(&object.attributes).ok()?;
    let no_material = || Ok(None::<Arc<Material>>);
    let lines = table::TABLE
        .iter()
        .filter(|row| row.shapes & shape.bit() != 0)
        .filter_map(|row| match reveal(object, row.kind, &no_material) {
            Ok(Revealed::Open(value)) => Some((row.kind.to_string(), readable(row.kind, value))),
            Ok(Revealed::Sensitive) => Some((row.kind.to_string(), "(sensitive)".to_owned())),
            Ok(Revealed::Secret(_) | Revealed::TypeInvalid) | Err(_) => None,
        })
        .collect();
    List::new(lines)
}

fn readable(kind: AttributeType, value: &Value) -> String {
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => match kind {
            AttributeType::CLASS => ObjectClass(*number).to_string(),
            AttributeType::KEY_TYPE => KeyType(*number).to_string(),
            AttributeType::CERTIFICATE_TYPE => CertificateType(*number).to_string(),
            AttributeType::KEY_GEN_MECHANISM
                if *number == strongroom_wire::ck::UNAVAILABLE_INFORMATION =>
            {
                "none".to_owned()
            }
            AttributeType::KEY_GEN_MECHANISM => MechanismType(*number).to_string(),
            _ => number.to_string(),
        },
        Value::Bytes(bytes) => match kind {
            AttributeType::LABEL
            | AttributeType::APPLICATION
            | AttributeType::UNIQUE_ID
            | AttributeType::START_DATE
            | AttributeType::END_DATE => String::from_utf8_lossy(bytes).into_owned(),
            _ => hex::shown(bytes),
        },
        Value::Numbers(numbers) => numbers
            .iter()
            .map(|number| MechanismType(*number).to_string())
            .collect::<Vec<_>>()
            .join(" "),
        Value::Template(inner) => inner
            .iter()
            .map(|(kind, value)| format!("{kind}={}", readable(*kind, value)))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

#[cfg(test)]
mod tests;
