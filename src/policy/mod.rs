//! Policy: the one question, may this be done, answered with a grant.
//!
//! What lives here: [`authorize`] and [`Grant`], without which no primitive is reached.
//! What must never live here: carrying out what was granted.
//! Who calls it: every chapter that uses a key.

use std::marker::PhantomData;
use std::sync::Arc;

use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass, UserType};

use crate::calendar::Date;
use crate::error::{Error, Result};
use crate::mechanism::{Row, Use};
use crate::object::{Object, OpenKey};
use crate::ports::Time;
use crate::release::{Account, Attested, Refusal, Why, rules};
use crate::session::Session;

/// What a key is used for.
pub trait Usage {
    /// The function's bit in the mechanism's row.
    const FUNCTION: Use;
    /// The key's own permission.
    const PERMISSION: AttributeType;
    /// Whether it goes on after the key's end date: reading what was written, never writing more.
    const AFTER_END: bool;
    /// What something that is no key is called by the function.
    const NO_KEY: Error = Error::KeyHandleInvalid;
    /// What a key of the wrong type is called by the function.
    const WRONG_TYPE: Error = Error::KeyTypeInconsistent;
    /// What a key of the wrong size is called by the function.
    const WRONG_SIZE: Error = Error::KeySizeRange;
}

/// Makes the markers.
macro_rules! usages {
    ($($(#[$doc:meta])* $name:ident: $function:ident, $permission:ident, after_end: $after:literal $(, $konst:ident = $error:ident)*;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl Usage for $name {
                const FUNCTION: Use = Use::$function;
                const PERMISSION: AttributeType = AttributeType::$permission;
                const AFTER_END: bool = $after;
                $(const $konst: Error = Error::$error;)*
            }
        )*
    };
}

usages! {
    /// C_EncryptInit.
    Encrypt: Encrypt, ENCRYPT, after_end: false;
    /// C_DecryptInit.
    Decrypt: Decrypt, DECRYPT, after_end: true;
    /// C_SignInit.
    Sign: Sign, SIGN, after_end: false;
    /// C_SignRecoverInit.
    SignRecover: SignRecover, SIGN_RECOVER, after_end: false;
    /// C_VerifyInit.
    Verify: Verify, VERIFY, after_end: true;
    /// C_VerifyRecoverInit.
    VerifyRecover: VerifyRecover, VERIFY_RECOVER, after_end: true;
    /// C_WrapKey, the wrapping key.
    Wrap: Wrap, WRAP, after_end: false, NO_KEY = WrappingKeyHandleInvalid, WRONG_TYPE = WrappingKeyTypeInconsistent, WRONG_SIZE = WrappingKeySizeRange;
    /// C_UnwrapKey, the unwrapping key.
    Unwrap: Unwrap, UNWRAP, after_end: true, NO_KEY = UnwrappingKeyHandleInvalid, WRONG_TYPE = UnwrappingKeyTypeInconsistent, WRONG_SIZE = UnwrappingKeySizeRange;
    /// C_DeriveKey.
    Derive: Derive, DERIVE, after_end: false;
}

/// The release of a key to an attested place, asked by [`authorize_release`].
#[derive(Debug)]
pub enum Release {}

/// The permission to use one key for one thing. Made only by [`authorize`] and [`authorize_release`]; an operation keeps its own.
///
/// Nobody else can make one:
///
/// ```compile_fail,E0451
/// use std::{marker::PhantomData, sync::Arc};
/// use strongroom::{object::{Object, OpenKey}, policy::{Grant, Sign}};
/// fn forged(object: Arc<Object>, key: Arc<OpenKey>) -> Grant<Sign> {
///     Grant { object, key, usage: PhantomData }
/// }
/// ```
///
/// and one use is not another:
///
/// ```compile_fail,E0308
/// use strongroom::policy::{Decrypt, Grant, Sign};
/// fn decrypt(_: &Grant<Decrypt>) {}
/// fn confused(grant: &Grant<Sign>) {
///     decrypt(grant);
/// }
/// ```
///
/// while each is taken where it is wanted:
///
/// ```
/// use strongroom::policy::{Grant, Sign};
/// fn sign(_: &Grant<Sign>) {}
/// fn right(grant: &Grant<Sign>) {
///     sign(grant);
/// }
/// ```
#[derive(Debug)]
pub struct Grant<U> {
    object: Arc<Object>,
    key: Arc<OpenKey>,
    usage: PhantomData<fn() -> U>,
}

impl<U> Grant<U> {
    /// The key, ready for use.
    #[must_use]
    pub fn key(&self) -> &OpenKey {
        &self.key
    }

    /// The object it was given for.
    #[must_use]
    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// Whether each use wants a login of its own (`CKA_ALWAYS_AUTHENTICATE`).
    #[must_use]
    pub fn wants_login(&self) -> bool {
        self.object.is(AttributeType::ALWAYS_AUTHENTICATE)
    }
}

/// What a key is judged by that does not stand in the key.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Today's date.
    pub today: Date,
    /// The smallest RSA key that is used, in bits.
    pub rsa_bits_min: u64,
}

/// May this session use this key, with this mechanism, for `U`, today?
///
/// # Errors
/// The reason why not, as the standard names it for the function.
pub fn authorize<U: Usage>(
    session: &Session,
    object: Arc<Object>,
    mechanism: &Row,
    rules: Rules,
) -> Result<Grant<U>> {
    if !mechanism.serves(U::FUNCTION) {
        return Err(Error::MechanismInvalid);
    }
    let key_type = object
        .key_type()
        .filter(|_| object.is_key())
        .ok_or(U::NO_KEY)?;
    if !mechanism.key_types.contains(&key_type) {
        return Err(U::WRONG_TYPE);
    }
    if !object.is(U::PERMISSION) {
        return Err(Error::KeyFunctionNotPermitted);
    }
    permits_mechanism(&object, mechanism)?;
    in_force(&object, rules.today, U::AFTER_END)?;
    let key = session.token().open_key(&object)?;
    size_fits(&object, &key, mechanism, rules, U::WRONG_SIZE)?;
    Ok(Grant {
        object,
        key,
        usage: PhantomData,
    })
}

/// May this session's user release this key (`keys/release`) to a place that was attested, now? The key's own usage flags and dates are not
/// asked: its policy is.
///
/// # Errors
/// What an application is answered, and the reason in words.
pub fn authorize_release(
    session: &Session,
    object: Arc<Object>,
    attested: &Attested,
    now: Time,
    account: &mut Account,
) -> std::result::Result<Grant<Release>, (Error, Refusal)> {
    let refused = |error, words: &str| Err((error, Refusal::forbidden(words)));
    if session.user() != Some(UserType::USER) {
        return refused(Error::UserNotLoggedIn, "the token's user is not logged in");
    }
    if !object.is(AttributeType::EXTRACTABLE) {
        return refused(Error::KeyUnextractable, "the key never leaves");
    }
    let Some(policy) = rules::policy_of(&object) else {
        return refused(Error::KeyNotWrappable, "the key has no release policy");
    };
    attested
        .satisfies(policy, now, account)
        .map_err(|refusal| (Error::KeyNotWrappable, refusal))?;
    let key = session
        .token()
        .open_key(&object)
        .map_err(|error| (error, Refusal::new(Why::Failed, "the key cannot be opened")))?;
    Ok(Grant {
        object,
        key,
        usage: PhantomData,
    })
}

/// `CKA_ALLOWED_MECHANISMS`: absent allows all, empty allows none (the strict reading).
fn permits_mechanism(object: &Object, mechanism: &Row) -> Result<()> {
    match object.attributes.numbers(AttributeType::ALLOWED_MECHANISMS) {
        Some(allowed) if !allowed.contains(&mechanism.kind.0) => Err(Error::MechanismInvalid),
        Some(_) | None => Ok(()),
    }
}

/// `CKA_START_DATE` and `CKA_END_DATE`: nothing before the first, only reading after the second.
fn in_force(object: &Object, today: Date, after_end: bool) -> Result<()> {
    let date = |kind| object.attributes.bytes(kind).and_then(Date::parse);
    let early = date(AttributeType::START_DATE).is_some_and(|start| today < start);
    let late = date(AttributeType::END_DATE).is_some_and(|end| today > end);
    if early || (late && !after_end) {
        return Err(Error::KeyFunctionNotPermitted);
    }
    Ok(())
}

/// The sizes of the mechanism; of RSA the smallest is the operator's.
fn size_fits(
    object: &Object,
    key: &OpenKey,
    mechanism: &Row,
    rules: Rules,
    wrong: Error,
) -> Result<()> {
    let (smallest, largest) = mechanism.sizes;
    let smallest = match (object.key_type(), object.class()) {
        (Some(KeyType::RSA), _) => smallest.max(rules.rsa_bits_min),
        (_, ObjectClass::PUBLIC_KEY) => 0,
        _ => smallest,
    };
    if (smallest..=largest).contains(&key.size()) {
        Ok(())
    } else {
        Err(wrong)
    }
}

#[cfg(test)]
mod tests;
