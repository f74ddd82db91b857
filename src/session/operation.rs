//! Operations: what a session has begun with one of the Init functions and not ended yet.
//!
//! What lives here: [`Slot`] and its only legal exits, [`Operations`] (one slot for each kind), and [`init`], which every Init
//! function with a key goes through.
//! What must never live here: what an operation computes (the chapters of operations), and whether it may (policy).
//! Who calls it: the chapters sign, cipher and digest; the sessions chapter for C_SessionCancel and C_Login.

use std::mem;

use strongroom_keymem::SecretVec;
use strongroom_wire::ck::{AttributeType, flag};
use strongroom_wire::request::{Dual, Mechanism, ObjectHandle, Output, Parameter};

use crate::chapter::cipher::{Decryption, Encryption};
use crate::chapter::digest::Digesting;
use crate::chapter::sign::{Recovery, Signature, SignatureFirst};
use crate::chapter::{Desk, Reply};
use crate::error::{Error, Result};
use crate::mechanism::Row;
use crate::policy::{Grant, Sign, SignRecover, Usage, Verify, VerifyRecover, authorize};

/// The operations of one session: one of each kind at a time, all kinds beside each other.
#[derive(Debug, Default)]
pub struct Operations {
    /// C_SignInit.
    pub sign: Slot<Signature<Sign>>,
    /// C_VerifyInit.
    pub verify: Slot<Signature<Verify>>,
    /// C_SignRecoverInit.
    pub sign_recover: Slot<Recovery<SignRecover>>,
    /// C_VerifyRecoverInit.
    pub verify_recover: Slot<Recovery<VerifyRecover>>,
    /// C_EncryptInit.
    pub encrypt: Slot<Encryption>,
    /// C_DecryptInit.
    pub decrypt: Slot<Decryption>,
    /// C_VerifySignatureInit.
    pub verify_signature: Slot<SignatureFirst>,
    /// C_DigestInit.
    pub digest: Slot<Digesting>,
    /// How many have begun: tells which one came last.
    begun: u64,
}

impl Operations {
    /// Ends those whose flags are set (C_SessionCancel); a flag without an operation, or of another kind, means nothing here.
    pub fn cancel(&mut self, flags: u64) {
        let wanted = |flag: u64| flags & flag != 0;
        if wanted(flag::SIGN) {
            self.sign.cancel();
        }
        if wanted(flag::VERIFY) {
            self.verify.cancel();
            self.verify_signature.cancel();
        }
        if wanted(flag::SIGN_RECOVER) {
            self.sign_recover.cancel();
        }
        if wanted(flag::VERIFY_RECOVER) {
            self.verify_recover.cancel();
        }
        if wanted(flag::ENCRYPT) {
            self.encrypt.cancel();
        }
        if wanted(flag::DECRYPT) {
            self.decrypt.cancel();
        }
        if wanted(flag::DIGEST) {
            self.digest.cancel();
        }
    }

    /// Ends those with a private key, as at logout: a grant that only the user could get must not outlive the login.
    pub fn end_private(&mut self) {
        self.sign.end_private();
        self.verify.end_private();
        self.verify_signature.end_private();
        self.sign_recover.end_private();
        self.verify_recover.end_private();
        self.encrypt.end_private();
        self.decrypt.end_private();
    }

    /// Refuses a part for two operations of which one is not active.
    ///
    /// # Errors
    /// [`Error::OperationNotInitialized`].
    pub const fn both_active(&self, dual: Dual) -> Result<()> {
        let idle = match dual {
            Dual::DigestEncrypt => self.digest.is_idle() || self.encrypt.is_idle(),
            Dual::SignEncrypt => self.sign.is_idle() || self.encrypt.is_idle(),
            Dual::DecryptDigest => self.digest.is_idle() || self.decrypt.is_idle(),
            Dual::DecryptVerify => self.verify.is_idle() || self.decrypt.is_idle(),
        };
        if idle {
            Err(Error::OperationNotInitialized)
        } else {
            Ok(())
        }
    }

    /// Whether some operation waits for C_Login with `CKU_CONTEXT_SPECIFIC`; asked before a PIN is tried.
    #[must_use]
    pub fn awaits_login(&mut self) -> bool {
        self.waiting().is_some()
    }

    /// Notes that the PIN was right, for the operation that waits for it; for the one begun last if there are several.
    ///
    /// # Errors
    /// [`Error::OperationNotInitialized`] when none waits (PKCS#11 3.2, 5.6.8).
    pub fn context_login(&mut self) -> Result<()> {
        let login = self.waiting().ok_or(Error::OperationNotInitialized)?;
        *login = Login::Done;
        Ok(())
    }

    fn waiting(&mut self) -> Option<&mut Login> {
        [
            self.sign.waiting(),
            self.verify.waiting(),
            self.verify_signature.waiting(),
            self.sign_recover.waiting(),
            self.verify_recover.waiting(),
            self.encrypt.waiting(),
            self.decrypt.waiting(),
        ]
        .into_iter()
        .flatten()
        .max_by_key(|(begun, _)| *begun)
        .map(|(_, login)| login)
    }
}

/// A place for one operation. Only the functions of this file move it on; whatever goes wrong in them leaves it idle.
#[derive(Debug)]
pub struct Slot<O>(State<O>);

#[derive(Debug, Default)]
enum State<O> {
    #[default]
    Idle,
    /// Boxed: most slots of most sessions are idle, and there may be very many sessions.
    Active(Box<Active<O>>),
    Held(Held),
}

#[derive(Debug)]
struct Active<O> {
    operation: O,
    terms: Terms,
    /// Whether an Update function has run.
    in_parts: bool,
}

/// What the slot has to know of the key of an operation.
#[derive(Clone, Copy, Debug)]
struct Terms {
    login: Login,
    /// Whether the key is there for the user only (`CKA_PRIVATE`).
    private: bool,
    /// Larger than that of every operation begun earlier.
    begun: u64,
}

/// A result that did not fit and waits to be fetched.
#[derive(Debug)]
struct Held {
    call: Call,
    output: SecretVec,
    /// Whether the key was there for the user only.
    private: bool,
}

/// Whether an operation wants a login of its own (`CKA_ALWAYS_AUTHENTICATE`). It counts for one operation, however many its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// It does not.
    NotWanted,
    /// It does, and has not had it.
    Wanted,
    /// It has had it.
    Done,
}

impl Login {
    fn wanted_by<U: Usage>(grant: &Grant<U>) -> Self {
        if grant.wants_login() {
            Self::Wanted
        } else {
            Self::NotWanted
        }
    }

    fn must_not_be_missing(self) -> Result<()> {
        if self == Self::Wanted {
            Err(Error::UserNotLoggedIn)
        } else {
            Ok(())
        }
    }
}

/// Which function ends an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// C_Sign and its kin: the data come whole.
    Whole,
    /// C_SignFinal and its kin: the data came in parts.
    Final,
}

/// The length of an output, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Known before anything is computed.
    Exact(usize),
    /// Only its bound is known before (removal of padding).
    AtMost(usize),
}

impl Length {
    const fn bytes(self) -> usize {
        match self {
            Self::Exact(bytes) | Self::AtMost(bytes) => bytes,
        }
    }

    /// What can be answered before anything is computed. PKCS#11 3.2, 5.2: a size may exceed the precise one somewhat.
    const fn answer(self, output: Output) -> Option<Reply> {
        let length = self.bytes() as u64;
        match (self, output) {
            (_, Output::Size) => Some(Reply::Output { length, data: None }),
            (Self::Exact(_), Output::Capacity(capacity)) if capacity < length => {
                Some(Reply::TooSmall { length })
            }
            _ => None,
        }
    }
}

impl<O> Default for Slot<O> {
    fn default() -> Self {
        Self(State::Idle)
    }
}

impl<O> Slot<O> {
    /// Refuses another operation beside this one.
    ///
    /// # Errors
    /// [`Error::OperationActive`]; the one that is active goes on.
    pub const fn must_be_idle(&self) -> Result<()> {
        if self.is_idle() {
            Ok(())
        } else {
            Err(Error::OperationActive)
        }
    }

    const fn is_idle(&self) -> bool {
        matches!(self.0, State::Idle)
    }

    /// Ends the operation, if there is one.
    pub fn cancel(&mut self) {
        self.0 = State::Idle;
    }

    /// Begins one that needs no key.
    ///
    /// # Errors
    /// As [`Self::must_be_idle`].
    pub fn begin_keyless(&mut self, operation: O) -> Result<()> {
        self.begin(
            operation,
            Terms {
                login: Login::NotWanted,
                private: false,
                begun: 0,
            },
        )
    }

    fn begin(&mut self, operation: O, terms: Terms) -> Result<()> {
        self.must_be_idle()?;
        self.0 = State::Active(Box::new(Active {
            operation,
            terms,
            in_parts: false,
        }));
        Ok(())
    }

    fn end_private(&mut self) {
        let private = match &self.0 {
            State::Idle => false,
            State::Active(active) => active.terms.private,
            State::Held(held) => held.private,
        };
        if private {
            self.cancel();
        }
    }

    fn waiting(&mut self) -> Option<(u64, &mut Login)> {
        match &mut self.0 {
            State::Active(active) if active.terms.login == Login::Wanted => {
                Some((active.terms.begun, &mut active.terms.login))
            }
            State::Active(_) | State::Idle | State::Held(_) => None,
        }
    }

    /// An Update function with output. A buffer that is too small consumes nothing.
    ///
    /// # Errors
    /// [`Error::OperationNotInitialized`], [`Error::UserNotLoggedIn`], what `length` and `run` say; the operation has then ended.
    pub fn deliver_part(
        &mut self,
        output: Output,
        length: impl FnOnce(&mut O) -> Result<usize>,
        run: impl FnOnce(&mut O, &mut SecretVec) -> Result<()>,
    ) -> Result<Reply> {
        let mut active = self.take()?;
        let length = Length::Exact(length(&mut active.operation)?);
        if let Some(reply) = length.answer(output) {
            self.0 = State::Active(active);
            return Ok(reply);
        }
        active.terms.login.must_not_be_missing()?;
        let mut data = SecretVec::with_capacity(length.bytes())?;
        run(&mut active.operation, &mut data)?;
        active.in_parts = true;
        self.0 = State::Active(active);
        Ok(Reply::Output {
            length: data.len() as u64,
            data: Some(data),
        })
    }

    /// An Update function without output.
    ///
    /// # Errors
    /// As [`Self::deliver_part`].
    pub fn take_part(&mut self, run: impl FnOnce(&mut O) -> Result<()>) -> Result<Reply> {
        let mut active = self.take()?;
        active.terms.login.must_not_be_missing()?;
        run(&mut active.operation)?;
        active.in_parts = true;
        self.0 = State::Active(active);
        Ok(Reply::Empty)
    }

    /// The last function of an operation, with output: computes once, hands over if it fits, holds it if not.
    ///
    /// # Errors
    /// As [`Self::deliver_part`].
    pub fn deliver_last(
        &mut self,
        call: Call,
        output: Output,
        length: impl FnOnce(&mut O) -> Result<Length>,
        run: impl FnOnce(O, &mut SecretVec) -> Result<()>,
    ) -> Result<Reply> {
        let mut active = match mem::take(&mut self.0) {
            // PKCS#11 3.2, 5.2: the same call is made again with a larger buffer, so its input is not looked at again.
            State::Held(held) if held.call == call => return Ok(self.deliver(held, output)),
            state => {
                self.0 = state;
                self.take_for(call)?
            }
        };
        let length = length(&mut active.operation)?;
        if let Some(reply) = length.answer(output) {
            self.0 = State::Active(active);
            return Ok(reply);
        }
        active.terms.login.must_not_be_missing()?;
        let private = active.terms.private;
        let mut data = SecretVec::with_capacity(length.bytes())?;
        run(active.operation, &mut data)?;
        Ok(self.deliver(
            Held {
                call,
                output: data,
                private,
            },
            output,
        ))
    }

    /// The last function of an operation that has no output: its answer is yes or an error.
    ///
    /// # Errors
    /// As [`Self::deliver_part`].
    pub fn conclude(&mut self, call: Call, run: impl FnOnce(O) -> Result<()>) -> Result<Reply> {
        let active = self.take_for(call)?;
        active.terms.login.must_not_be_missing()?;
        run(active.operation)?;
        Ok(Reply::Empty)
    }

    /// The one exit of a result: it is handed over and the slot idle, or stays held.
    fn deliver(&mut self, held: Held, output: Output) -> Reply {
        let length = held.output.len() as u64;
        match output {
            Output::Capacity(capacity) if length <= capacity => Reply::Output {
                length,
                data: Some(held.output),
            },
            Output::Capacity(_) => {
                self.0 = State::Held(held);
                Reply::TooSmall { length }
            }
            Output::Size => {
                self.0 = State::Held(held);
                Reply::Output { length, data: None }
            }
        }
    }

    fn take_for(&mut self, call: Call) -> Result<Box<Active<O>>> {
        let active = self.take()?;
        // PKCS#11 3.2, 5.13.2 and its kin: the single-part function cannot end what has begun in parts. Of the return values listed
        // there only "no active operation of an appropriate type" says so.
        if call == Call::Whole && active.in_parts {
            return Err(Error::OperationNotInitialized);
        }
        Ok(active)
    }

    /// Takes the operation out, so that whatever fails from here on has ended it. While a result is held nothing but the function
    /// that computed it goes on: the operation that could take more data is over.
    fn take(&mut self) -> Result<Box<Active<O>>> {
        match mem::take(&mut self.0) {
            State::Active(active) => Ok(active),
            State::Idle | State::Held(_) => Err(Error::OperationNotInitialized),
        }
    }
}

/// C_SignInit and its kin: cancels without a mechanism, else asks for a grant and begins.
///
/// No lock is held while policy is asked, which may wait for the store. The operations of a session are locked before the login of
/// its seat, never after it.
///
/// # Errors
/// [`Error::OperationActive`], and then the active one goes on; [`Error::MechanismInvalid`]; whatever finding the key, policy and `make`
/// say, in this order.
pub fn init<U: Usage, O>(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
    slot: fn(&mut Operations) -> &mut Slot<O>,
    make: impl FnOnce(Grant<U>, &Row, &Parameter<'_>) -> Result<O>,
) -> Result<Reply> {
    let Some(mechanism) = mechanism else {
        slot(&mut desk.session.operations.lock()).cancel();
        return Ok(Reply::Empty);
    };
    slot(&mut desk.session.operations.lock()).must_be_idle()?;
    let row = desk.mechanism(mechanism.kind, U::FUNCTION)?;
    let grant = authorize::<U>(desk.session, desk.key(key)?, row, desk.rules())?;
    let login = Login::wanted_by(&grant);
    let private = grant.object().is(AttributeType::PRIVATE);
    let operation = make(grant, row, &mechanism.parameter)?;
    let mut operations = desk.session.operations.lock();
    // A logout that came in between has ended the operations there were, or waits for this lock to end this one.
    if private && !desk.session.sees_private() {
        return Err(Error::UserNotLoggedIn);
    }
    operations.begun += 1;
    let begun = operations.begun;
    slot(&mut operations).begin(
        operation,
        Terms {
            login,
            private,
            begun,
        },
    )?;
    Ok(Reply::Empty)
}

#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod tests;
