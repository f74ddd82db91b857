//! The token, reached as an application reaches it.
//!
//! What lives here: one session at one token through a PKCS#11 module of any vendor, and what its answers mean for people.
//! What must never live here: Strongroom's sockets; what wrapped data look like.
//! Who calls it: `wrap`, `unwrap` and `release open`.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

use super::format::{IV_BYTES, KeyName};
use crate::failure::Failure;
use crate::output;
use crate::pin::Pin;

/// A session, logged in.
pub(in crate::command) struct Token {
    pub(in crate::command) session: Session,
    module: Pkcs11,
}

/// What came of decrypting.
pub(super) enum Opened {
    /// The data.
    Secret(Zeroizing<Vec<u8>>),
    /// Another key, or changed data.
    Refused,
}

impl Token {
    /// Loads the module and opens a session at the token of a label; `pin` is asked for once the token was found.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when there is no token at all, [`Failure::Failed`] when the one that is meant is not among them or lets nobody in.
    pub(super) fn open(
        path: &Path,
        label: &str,
        pin: impl FnOnce() -> Result<Pin, Failure>,
    ) -> Result<Self, Failure> {
        Self::begin(path, label, pin, Pkcs11::open_ro_session)
    }

    /// The same, with a session that may make keys.
    ///
    /// # Errors
    /// As [`Token::open`].
    pub(in crate::command) fn open_to_write(
        path: &Path,
        label: &str,
        pin: impl FnOnce() -> Result<Pin, Failure>,
    ) -> Result<Self, Failure> {
        Self::begin(path, label, pin, Pkcs11::open_rw_session)
    }

    fn begin(
        path: &Path,
        label: &str,
        pin: impl FnOnce() -> Result<Pin, Failure>,
        session: impl FnOnce(&Pkcs11, Slot) -> Result<Session, Error>,
    ) -> Result<Self, Failure> {
        // Absolute, because a loader looks for a bare name elsewhere.
        let path =
            std::path::absolute(path).map_err(|error| Failure::file("find", path, &error))?;
        let module = Pkcs11::new(&path)
            .map_err(|error| failure(&format!("cannot load {}", path.display()), &error))?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| failure("cannot initialise the module", &error))?;
        let slot = slot(&module, &path, label)?;
        let session =
            session(&module, slot).map_err(|error| failure("cannot open a session", &error))?;
        let pin = pin()?;
        let raw = RawAuthPin::from(Box::new(pin.expose().to_vec()));
        session
            .login_with_raw(UserType::User, &raw)
            .map_err(|error| not_let_in(label, &error))?;
        Ok(Self { session, module })
    }

    /// The private AES keys in the token that have all of these attributes. Public ones do not count: whoever may connect can make one without a
    /// PIN, with any label.
    pub(super) fn keys(
        &self,
        label: Option<&[u8]>,
        id: Option<&[u8]>,
    ) -> Result<Vec<ObjectHandle>, Failure> {
        let mut wanted = vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Private(true),
        ];
        wanted.extend(label.map(|label| Attribute::Label(label.to_vec())));
        wanted.extend(id.map(|id| Attribute::Id(id.to_vec())));
        self.session
            .find_objects(&wanted)
            .map_err(|error| failure("cannot search the token", &error))
    }

    /// How a key is found again.
    pub(super) fn name(&self, key: ObjectHandle) -> Result<KeyName, Failure> {
        let attributes = self
            .session
            .get_attributes(key, &[AttributeType::Label, AttributeType::Id])
            .map_err(|error| failure("cannot read the name of the key", &error))?;
        let mut name = KeyName {
            label: Vec::new(),
            id: Vec::new(),
        };
        for attribute in attributes {
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "no other attribute was asked for"
            )]
            match attribute {
                Attribute::Label(label) => name.label = label,
                Attribute::Id(id) => name.id = id,
                _ => {}
            }
        }
        Ok(name)
    }

    /// An initialisation vector from the token's generator.
    pub(super) fn iv(&self) -> Result<[u8; IV_BYTES], Failure> {
        let mut iv = [0; IV_BYTES];
        self.session
            .generate_random_slice(&mut iv)
            .map_err(|error| failure("the token gives no random bytes", &error))?;
        Ok(iv)
    }

    /// Encrypts and authenticates.
    pub(super) fn encrypt(
        &self,
        key: ObjectHandle,
        mut iv: [u8; IV_BYTES],
        header: &[u8],
        secret: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        GcmParams::new(&mut iv, header, TAG_BITS.into())
            .and_then(|parameters| {
                self.session
                    .encrypt(&Mechanism::AesGcm(parameters), key, secret)
            })
            .map_err(|error| {
                failure(
                    "the key cannot wrap; it needs CKA_ENCRYPT and the token CKM_AES_GCM",
                    &error,
                )
            })
    }

    /// Decrypts, if all of it is what this key wrapped.
    pub(super) fn decrypt(
        &self,
        key: ObjectHandle,
        iv: [u8; IV_BYTES],
        header: &[u8],
        sealed: &[u8],
    ) -> Result<Opened, Failure> {
        match self.decrypted(key, iv, header, sealed) {
            Ok(secret) => Ok(Opened::Secret(secret)),
            Err(error) if tells_of_the_data(&error) || self.opens_its_own(key) => {
                Ok(Opened::Refused)
            }
            Err(error) => Err(failure(
                "the key cannot unwrap; it needs CKA_DECRYPT and the token CKM_AES_GCM",
                &error,
            )),
        }
    }

    fn decrypted(
        &self,
        key: ObjectHandle,
        mut iv: [u8; IV_BYTES],
        header: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let parameters = GcmParams::new(&mut iv, header, TAG_BITS.into())?;
        self.session
            .decrypt(&Mechanism::AesGcm(parameters), key, sealed)
            .map(Zeroizing::new)
    }

    /// Whether a key opens what it has just wrapped. Then a refusal is about the data, whatever its code: SoftHSM answers a wrong tag with
    /// `CKR_GENERAL_ERROR`, as other modules answer when they are in trouble.
    fn opens_its_own(&self, key: ObjectHandle) -> bool {
        self.iv().is_ok_and(|iv| {
            self.encrypt(key, iv, OWN, OWN).is_ok_and(|sealed| {
                self.decrypted(key, iv, OWN, &sealed)
                    .is_ok_and(|opened| opened.as_slice() == OWN)
            })
        })
    }

    /// Leaves in order.
    pub(in crate::command) fn close(self) {
        drop(self.session);
        // Whatever is wrong now, what was asked for is done.
        let _ = self.module.finalize();
    }
}

fn slot(module: &Pkcs11, path: &Path, label: &str) -> Result<Slot, Failure> {
    let listed = |slots: Result<Vec<Slot>, Error>| {
        slots.map_err(|error| failure("cannot list the tokens", &error))
    };
    let mut found = Vec::new();
    for slot in listed(module.get_slots_with_initialized_token())? {
        if module
            .get_token_info(slot)
            .is_ok_and(|told| told.label() == label)
        {
            found.push(slot);
        }
    }
    let label = output::printable(label);
    match found.as_slice() {
        [slot] => Ok(*slot),
        [_, _, ..] => Err(Failure::Failed(format!(
            "several tokens are labelled \"{label}\"; give the one that is meant another label"
        ))),
        [] if listed(module.get_slots_with_token())?.is_empty() => {
            Err(Failure::Unreachable(format!(
                "{} shows no token at all: its daemon or device is not there, or this user may not connect to it (Strongroom's application socket is open to the group strongroom)",
                path.display()
            )))
        }
        [] => Err(Failure::Failed(format!(
            "there is no token \"{label}\"; if it should be there, its daemon may be sealed (strongroom status, strongroom unseal)"
        ))),
    }
}

fn not_let_in(label: &str, error: &Error) -> Failure {
    let label = output::printable(label);
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other errors have their code only"
    )]
    let text = match error {
        Error::Pkcs11(RvError::PinIncorrect, _) => format!(
            "token \"{label}\" refuses the PIN; each wrong one counts, so mend it before the next try"
        ),
        Error::Pkcs11(RvError::PinLocked, _) => format!(
            "the PIN of token \"{label}\" is locked after too many wrong ones; the security officer sets a new one"
        ),
        _ => format!("cannot log in at token \"{label}\""),
    };
    failure(&text, error)
}

/// What the standard has for it; vendors differ.
const fn tells_of_the_data(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange,
            _
        )
    )
}

/// What was tried, and the code that came back.
pub(in crate::command) fn failure(what: &str, error: &Error) -> Failure {
    let Error::Pkcs11(rv, _) = error else {
        return Failure::Failed(format!("{what}: {error}"));
    };
    let text = format!("{what} ({})", code(*rv));
    if matches!(
        rv,
        RvError::DeviceError | RvError::DeviceRemoved | RvError::TokenNotPresent
    ) {
        Failure::Unreachable(format!(
            "{text}: the token does not answer; once it does, the same command can be repeated"
        ))
    } else {
        Failure::Failed(text)
    }
}

/// The name in the standard, which manuals and logs have too.
fn code(rv: RvError) -> String {
    let mut name = String::from("CKR");
    for letter in format!("{rv:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

const TAG_BITS: u64 = 128;
/// What is wrapped to see whether a key works. It is no header, so that it never stands for a secret.
const OWN: &[u8] = b"strongroom wrap, a trial";

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn of(rv: RvError) -> Failure {
        failure("tried", &Error::Pkcs11(rv, Function::Decrypt))
    }

    #[test]
    fn codes_have_the_names_of_the_standard() {
        for (rv, name) in [
            (RvError::PinIncorrect, "CKR_PIN_INCORRECT"),
            (
                RvError::KeyFunctionNotPermitted,
                "CKR_KEY_FUNCTION_NOT_PERMITTED",
            ),
            (RvError::DeviceRemoved, "CKR_DEVICE_REMOVED"),
        ] {
            assert_eq!(code(rv), name);
        }
    }

    #[test]
    fn a_token_that_is_away_has_an_exit_code_of_its_own() {
        assert_eq!(of(RvError::DeviceRemoved).code(), 3);
        assert_eq!(of(RvError::KeyFunctionNotPermitted).code(), 1);
    }
}
