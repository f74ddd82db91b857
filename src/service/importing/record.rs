//! What the journal is told of an import.
//!
//! What lives here: the facts of one request, and its line.
//! What must never live here: a label, a PIN, a value.
//! Who calls it: imports.

use strongroom_wire::admin::{AdminAnswer, AdminRequest, Token as TokenLine};
use strongroom_wire::import::Destination;

use super::is_one_line;
use crate::audit::{ImportFacts, Principal};
use crate::service::admin::record_with;
use crate::service::{Malformed, Service};
use crate::vault::SerialNumber;

/// What may be written down of an import.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) slot: Option<u64>,
    pub(super) source: Option<String>,
    pub(super) serial_number: Option<String>,
    pub(super) new_token: Option<bool>,
    pub(super) keep_history: Option<bool>,
    pub(super) objects: Option<u64>,
    pub(super) refused: Option<u64>,
    pub(super) trusted: Option<u64>,
    pub(super) metadata: Option<String>,
}

impl Facts {
    /// Of a beginning that may be refused. The name of a token may be its label, which the journal does not see.
    pub(super) fn begun(source: &str, destination: &Destination<'_>, keep_history: bool) -> Self {
        let (new_token, serial_number) = match destination {
            Destination::NewToken { serial_number, .. } => (true, *serial_number),
            Destination::Token { .. } => (false, None),
        };
        Self {
            source: is_one_line(source).then(|| source.to_owned()),
            serial_number: serial_number
                .and_then(|serial| SerialNumber::parse(serial).ok())
                .map(|serial| serial.to_string()),
            new_token: Some(new_token),
            keep_history: Some(keep_history),
            ..Self::default()
        }
    }

    /// What is known once all is in the store.
    pub(super) fn committed(&mut self, token: &TokenLine, metadata: String) {
        self.slot = Some(token.slot);
        self.serial_number = Some(token.serial_number.clone());
        self.metadata = Some(metadata);
    }
}

impl Service {
    pub(super) fn record_import(
        &self,
        principal: &Principal,
        request: &AdminRequest<'_>,
        facts: &Facts,
        answer: AdminAnswer,
    ) -> Result<AdminAnswer, Malformed> {
        let import = ImportFacts {
            source: facts.source.as_deref(),
            serial_number: facts.serial_number.as_deref(),
            new_token: facts.new_token,
            keep_history: facts.keep_history,
            objects: facts.objects,
            refused: facts.refused,
            trusted: facts.trusted,
            metadata: facts.metadata.as_deref(),
        };
        let of_import = (facts.slot, Some(&import));
        record_with(&self.audit.read(), principal, request, answer, of_import)
    }
}
