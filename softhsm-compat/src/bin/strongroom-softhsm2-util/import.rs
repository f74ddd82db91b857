//! `--import`: a key pair or an AES key from a file.
//!
//! What lives here: the objects that softhsm2-util makes of such a file, with their usages.
//! What must never live here: the form of the file.
//! Who calls it: `main`.

use std::fs::File;
use std::io::Read as _;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use strongroom_softhsm::keyfile::{self, KeyFileError, KeyPair};
use strongroom_softhsm::opened::Opened;
use strongroom_wire::ck;
use zeroize::{Zeroize as _, Zeroizing};

use crate::arguments::Options;
use crate::prompt::{Whose, auth_pin, pin};
use crate::{Refused, print};

/// What the object shall be called.
struct Called<'o> {
    label: &'o str,
    id: Vec<u8>,
}

/// Imports what the options name.
pub(crate) fn run(module: &Pkcs11, slot: Slot, options: &Options) -> Result<(), Refused> {
    let called = called(options)?;
    let path = options.path.as_deref().unwrap_or_default();
    if options.aes {
        let pin = pin(options.pin.as_ref(), Whose::User)?;
        let session = open(module, slot)?;
        login(&session, &pin)?;
        return aes(&session, path, &called);
    }
    let session = open(module, slot)?;
    login(&session, &pin(options.pin.as_ref(), Whose::User)?)?;
    let taken = session
        .find_objects(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Id(called.id.clone()),
        ])
        .map_err(|_| Refused::error("Could not prepare the object search."))?;
    if !taken.is_empty() && !options.force {
        return Err(Refused::error(
            "The ID is already assigned to another object. Use --force to override this message.",
        ));
    }
    let pair = key_pair(path, options)?;
    save(&session, &pair, &called, options.no_public_key)
}

fn called(options: &Options) -> Result<Called<'_>, Refused> {
    let Some(label) = &options.label else {
        return Err(Refused::error(
            "A label for the object must be supplied. Use --label <text>",
        ));
    };
    let Some(digits) = &options.id else {
        return Err(Refused::error(
            "An ID for the object must be supplied. Use --id <hex>",
        ));
    };
    let wrong = |why: &str| Refused::error(why).and("Please edit --id <hex> to correct error.");
    if digits.len() < 2 || !digits.len().is_multiple_of(2) {
        return Err(wrong("Invalid length on hex string."));
    }
    let values: Option<Vec<u8>> = digits
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        })
        .collect();
    let values = values.ok_or_else(|| wrong("Invalid character in hex string."))?;
    let id = values.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
    Ok(Called {
        label,
        id: id.collect(),
    })
}

fn open(module: &Pkcs11, slot: Slot) -> Result<Session, Refused> {
    module.open_rw_session(slot).map_err(|error| {
        Refused::error(if said(&error, RvError::SlotIdInvalid) {
            "The given slot does not exist."
        } else {
            "Could not open a session on the given slot."
        })
    })
}

fn login(session: &Session, pin: &Zeroizing<String>) -> Result<(), Refused> {
    let logged_in = session.login(UserType::User, Some(&auth_pin(pin)));
    logged_in.map_err(|error| {
        Refused::error(if said(&error, RvError::PinIncorrect) {
            "The given user PIN does not match the one in the token."
        } else {
            "Could not log in on the token."
        })
    })
}

/// Whether the module answered this value.
fn said(error: &Error, value: RvError) -> bool {
    matches!(error, Error::Pkcs11(answered, _) if *answered == value)
}

fn key_pair(path: &str, options: &Options) -> Result<KeyPair, Refused> {
    // The sentence of the original, which scripts may look for.
    let unreadable = || Refused::error(format!("Could open the PKCS#8 file: {path}"));
    let bytes = read(path, FILE_BYTES_MAX).map_err(|_| unreadable())?;
    let parsed = match &options.file_pin {
        Some(pin) => keyfile::encrypted(&bytes, pin.as_bytes()),
        None => keyfile::clear(&bytes),
    };
    parsed.map_err(|error| match (error, &options.file_pin) {
        (KeyFileError::NoKey, Some(_)) => {
            Refused::error("Could not read the PKCS#8 file. Maybe the file is not encrypted.")
        }
        (KeyFileError::NoKey, None) => Refused::error(
            "Could not read the PKCS#8 file. Maybe it is encypted (--file-pin <PIN>)",
        ),
        (KeyFileError::NotDecrypted, _) => Refused::error(
            "Could not decrypt the PKCS#8 file. Maybe wrong PIN to file (--file-pin <PIN>)",
        ),
        (KeyFileError::Malformed, _) => Refused::error("Could not convert the key."),
        (KeyFileError::Algorithm(which), _) => {
            Refused::error("Cannot handle this algorithm.").and(format!("It is {which}."))
        }
    })
}

fn aes(session: &Session, path: &str, called: &Called<'_>) -> Result<(), Refused> {
    let file = File::open(path);
    let file = file.map_err(|_| Refused::error("Could not open the secret key file."))?;
    let unreadable = || Refused::error("Could not read the secret key file.");
    let mut value = Zeroizing::new(Vec::with_capacity(AES_BYTES_MAX));
    file.take(AES_BYTES_MAX as u64)
        .read_to_end(&mut value)
        .map_err(|_| unreadable())?;
    if value.is_empty() {
        return Err(unreadable());
    }
    let mut template = Template::new(ObjectClass::SECRET_KEY, KeyType::AES, called);
    template.flag(Attribute::Token(true));
    template.flag(Attribute::Encrypt(true));
    template.flag(Attribute::Decrypt(true));
    template.flag(Attribute::Sensitive(true));
    template.bytes(ck::AttributeType::VALUE, &value);
    match session.create_object(&template.attributes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refused::error(
            "Could not save the secret key in the token. Maybe the algorithm is not supported.",
        )),
    }
}

/// Both halves. Without the public one, the original makes it as a session object, which ends with the program; here it is not made.
fn save(
    session: &Session,
    pair: &KeyPair,
    called: &Called<'_>,
    no_public_key: bool,
) -> Result<(), Refused> {
    let key_type = match pair.key_type {
        ck::KeyType::RSA => KeyType::RSA,
        ck::KeyType::DSA => KeyType::DSA,
        ck::KeyType::EC => KeyType::EC,
        ck::KeyType::EC_EDWARDS => KeyType::EC_EDWARDS,
        ck::KeyType::EC_MONTGOMERY => KeyType::EC_MONTGOMERY,
        _ => return Err(Refused::error("Cannot handle this algorithm.")),
    };
    let is_rsa = pair.key_type == ck::KeyType::RSA;
    let agrees = pair.key_type == ck::KeyType::EC_MONTGOMERY;
    let mut private = Template::new(ObjectClass::PRIVATE_KEY, key_type, called);
    private.flag(Attribute::Sign(!agrees));
    private.flag(Attribute::Derive(agrees));
    private.flag(Attribute::Decrypt(is_rsa));
    private.flag(Attribute::Unwrap(is_rsa));
    private.flag(Attribute::Sensitive(true));
    private.flag(Attribute::Token(true));
    private.flag(Attribute::Private(true));
    private.flag(Attribute::Extractable(false));
    private.all(&pair.private);
    let made = session.create_object(&private.attributes).map_err(|_| {
        Refused::error(
            "Could not save the private key in the token. Maybe the algorithm is not supported.",
        )
    })?;
    if !no_public_key {
        let mut public = Template::new(ObjectClass::PUBLIC_KEY, key_type, called);
        public.flag(Attribute::Token(true));
        public.flag(Attribute::Verify(!agrees));
        public.flag(Attribute::Encrypt(is_rsa));
        public.flag(Attribute::Wrap(is_rsa));
        public.all(&pair.public);
        if session.create_object(&public.attributes).is_err() {
            // What the first half is worth without the second is for the caller to say, who asked for both.
            let _ = session.destroy_object(made);
            return Err(Refused::error(
                "Could not save the public key in the token.",
            ));
        }
    }
    print("The key pair has been imported.\n");
    Ok(())
}

/// The attributes of an object to be made; wiped in the end.
struct Template {
    attributes: Vec<Attribute>,
}

impl Template {
    fn new(class: ObjectClass, key_type: KeyType, called: &Called<'_>) -> Self {
        Self {
            attributes: vec![
                Attribute::Class(class),
                Attribute::KeyType(key_type),
                Attribute::Label(called.label.as_bytes().to_vec()),
                Attribute::Id(called.id.clone()),
            ],
        }
    }

    fn flag(&mut self, attribute: Attribute) {
        self.attributes.push(attribute);
    }

    /// By its number: the crate has no name for some.
    fn bytes(&mut self, kind: ck::AttributeType, value: &[u8]) {
        let kind = AttributeType::VendorDefined(kind.0);
        self.attributes
            .push(Attribute::VendorDefined((kind, value.to_vec())));
    }

    fn all(&mut self, half: &Opened) {
        for (kind, value) in half.values() {
            self.bytes(kind, value);
        }
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        for attribute in &mut self.attributes {
            if let Attribute::VendorDefined((_, bytes)) = attribute {
                bytes.zeroize();
            }
        }
    }
}

fn read(path: &str, bytes_max: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(bytes_max);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Far over any private key.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// As much as the original reads.
const AES_BYTES_MAX: usize = 1024;
