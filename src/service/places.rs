//! Slots and the tokens in them: which there are, initialising one, opening a session at one.
//!
//! What lives here: what a request without a session does at a slot.
//! What must never live here: what is told of slots and tokens (chapter), sessions themselves (application).
//! Who calls it: the service's one match.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_wire::request::{SessionHandle, SlotId};
use strongroom_wire::response::SlotEntry;

use super::Service;
use crate::application::Application;
use crate::chapter::{Reply, sessions, slots};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::token::Token;
use crate::vault::{TokenVault, VaultError};

impl Service {
    pub(super) fn token(&self, slot: SlotId) -> Result<Arc<Token>> {
        if let Some(token) = self.tokens.read().get(&slots::token_of(slot)) {
            return if token.is_removed() {
                Err(Error::TokenNotPresent)
            } else {
                Ok(token.clone())
            };
        }
        Err(if self.is_free(slot) {
            Error::TokenNotRecognized
        } else {
            Error::SlotIdInvalid
        })
    }

    /// The one slot behind all tokens, where the next one is made.
    pub(super) fn free_slot(&self) -> SlotId {
        slots::slot_of(self.vault.next_token())
    }

    pub(super) fn is_free(&self, slot: SlotId) -> bool {
        slot == self.free_slot()
    }

    pub(super) fn slot_list(&self) -> Reply {
        let entry = |slot, token_present| SlotEntry {
            slot,
            token_present,
        };
        let mut slots: Vec<SlotEntry> = self
            .tokens
            .read()
            .values()
            .map(|token| entry(slots::slot_of(token.number), !token.is_removed()))
            .collect();
        slots.push(entry(self.free_slot(), true));
        Reply::Slots(slots)
    }

    pub(super) fn init_token(&self, slot: SlotId, pin: &[u8], label: [u8; 32]) -> Result<Reply> {
        let settings = self.settings.read().clone();
        match self.token(slot) {
            Ok(token) => token.reinitialize(pin, label, &settings.limits)?,
            Err(Error::TokenNotRecognized) => {
                sessions::pin_length(pin, &settings.limits)?;
                let _making = self.making.lock();
                // Somebody may have taken the slot meanwhile; then this PIN is not the officer's of that token.
                if !self.is_free(slot) {
                    return Err(Error::PinIncorrect);
                }
                if self.tokens.read().len() >= settings.limits.tokens_max {
                    return Err(Error::DeviceMemory);
                }
                let token = self.vault.create_token(label, pin)?;
                self.take_in(token, &settings.limits)?;
            }
            Err(other) => return Err(other),
        }
        Ok(Reply::Empty)
    }

    /// Shows a token that has just been made.
    pub(super) fn take_in(
        &self,
        token: Arc<TokenVault>,
        limits: &Limits,
    ) -> std::result::Result<Arc<Token>, VaultError> {
        let token = match Token::load(token.clone(), limits) {
            Ok(loaded) => Arc::new(loaded),
            Err(error) => {
                // What is answered as failed has not happened. Where the store fails now too, the next start shows the token.
                self.vault.delete_token(token.number())?;
                return Err(error);
            }
        };
        self.tokens.write().insert(token.number, token.clone());
        Ok(token)
    }

    pub(super) fn open_session(
        &self,
        application: &Application,
        slot: SlotId,
        flags: u64,
        session: SessionHandle,
    ) -> Result<Reply> {
        let settings = self.settings.read().clone();
        let open: usize = self
            .tokens
            .read()
            .values()
            .map(|token| token.session_counts().0)
            .sum();
        if open >= settings.limits.sessions_max {
            return Err(Error::SessionCount);
        }
        self.sessions_peak.fetch_max(open + 1, Ordering::Relaxed);
        let token = self.token(slot)?;
        if let Some(rehearsal) = token.rehearsal()
            && let Some(most) = rehearsal.plan().sessions_max
            && token.session_counts().0 as u64 >= most
        {
            return Err(Error::SessionCount);
        }
        sessions::open(application, &token, session, flags, &settings.limits)
    }

    pub(super) fn token_info(&self, application: &Application, slot: SlotId) -> Result<Reply> {
        let settings = self.settings.read().clone();
        let now = self.ports.clock.now();
        match self.token(slot) {
            Ok(token) => {
                let own = application
                    .seat(token.number)
                    .map_or((0, 0), |seat| seat.session_counts());
                Ok(slots::token_info(
                    &token,
                    own,
                    &settings.limits,
                    settings.daemon_version,
                    now,
                ))
            }
            Err(Error::TokenNotRecognized) => Ok(slots::free_token_info(
                settings.daemon_version,
                now,
                &settings.limits,
            )),
            Err(other) => Err(other),
        }
    }

    /// Whether there is such a slot, with or without an initialised token.
    pub(super) fn slot_exists(&self, slot: SlotId) -> Result<()> {
        match self.token(slot) {
            Ok(_) | Err(Error::TokenNotRecognized) => Ok(()),
            Err(other) => Err(other),
        }
    }
}
