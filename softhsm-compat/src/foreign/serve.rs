//! The process in which a foreign module runs.
//!
//! What lives here: what is read of a token, and how a key is made to come out that only comes out wrapped.
//! What must never live here: a change of the source: the session cannot write, and what is made in it ends with it.
//! Who calls it: `strongroom-import`, when it is started for that.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use strongroom_cli::failure::{CODE_OK, Failure};
use strongroom_crypto::digest::Hash;
use strongroom_crypto::random;
use strongroom_crypto::rsa::RsaPublicKey;
use strongroom_keymem::SecretVec;
use strongroom_wire::ck::{AttributeType as A, KeyType, MechanismType as M, ObjectClass};
use strongroom_wire::codec;
use strongroom_wire::request::FlatAttribute;
use strongroom_wire::secret::Secret;
use zeroize::Zeroizing;

use super::raw::{self, Module, Refusal, Session, Token};
use super::talk::{self, Asked, Told, Wrapped};

/// Answers the importer at the other end of standard input.
///
/// # Errors
/// [`Failure`] when nobody is there.
pub fn serve() -> Result<u8, Failure> {
    raw::forbid_dumps();
    let nobody =
        |error: &io::Error| Failure::Usage(format!("this is for the importer itself: {error}"));
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
        .map_err(|error| nobody(&error))?;
    let last = match read(&socket) {
        Ok(()) => Told::Done,
        Err(Stop::Socket(error)) => return Err(nobody(&error)),
        Err(Stop::Module(refusal)) => Told::Failed(refusal.to_string()),
    };
    talk::send(&socket, &last).map_err(|error| nobody(&error))?;
    Ok(CODE_OK)
}

enum Stop {
    Socket(io::Error),
    Module(Refusal),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Module(refusal)
    }
}

fn read(socket: &UnixStream) -> Result<(), Stop> {
    let mut message = SecretVec::new();
    talk::receive(socket, &mut message)?;
    let Ok(Asked::Open {
        module,
        parameters,
        token,
        transport,
    }) = codec::decode(message.expose())
    else {
        return Err(Stop::Socket(io::ErrorKind::InvalidData.into()));
    };
    let module = Module::load(Path::new(module), parameters)?;
    let token = chosen(module.tokens()?, token)?;
    let found = Told::Token {
        label: token.label.clone(),
        serial_number: token.serial_number.clone(),
        wants_pin: token.wants_login,
    };
    talk::send(socket, &found)?;
    let session = Session::open(module, token.slot)?;
    if token.wants_login {
        let mut answer = SecretVec::new();
        talk::receive(socket, &mut answer)?;
        let Ok(Asked::Pin(pin)) = codec::decode(answer.expose()) else {
            return Err(Stop::Socket(io::ErrorKind::InvalidData.into()));
        };
        session.login(pin.expose())?;
    }
    let mut source = Source {
        session,
        mechanisms: module.mechanisms(token.slot)?,
        transport: transport.expose(),
        carrier: None,
    };
    for object in session.token_objects()? {
        source.tell(socket, object)?;
    }
    // What it says now changes nothing.
    let _ = module.finalize();
    Ok(())
}

fn chosen(tokens: Vec<Token>, wanted: Option<&str>) -> Result<Token, Refusal> {
    let there: Vec<String> = tokens
        .iter()
        .map(|token| {
            format!(
                "\"{}\" (serial number {})",
                token.label, token.serial_number
            )
        })
        .collect();
    let is_meant = |token: &Token| {
        wanted.is_none_or(|name| token.label == name || token.serial_number == name)
    };
    let mut meant = tokens.into_iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(token), None) => Ok(token),
        (None, _) if there.is_empty() => Err(Refusal::Broken("it has no token".into())),
        (None, _) => Err(Refusal::Broken(format!(
            "it has no such token; there are: {}",
            there.join(", ")
        ))),
        (Some(_), Some(_)) => Err(Refusal::Broken(format!(
            "which token? There are: {}; use --from-token",
            there.join(", ")
        ))),
    }
}

/// A token that is read.
struct Source<'a> {
    session: Session,
    mechanisms: Vec<u64>,
    transport: &'a [u8],
    /// The transport key in the session, once it was needed.
    carrier: Option<Result<u64, Refusal>>,
}

impl Source<'_> {
    fn tell(&mut self, socket: &UnixStream, object: u64) -> Result<(), Stop> {
        let mut values: Vec<(A, Zeroizing<Vec<u8>>)> = Vec::new();
        for kind in ATTRIBUTES {
            // NSS says of public objects too that they are not sensitive.
            if OF_SECRETS.contains(kind) && !is_secret(&values) {
                continue;
            }
            if let Some(value) = self.session.attribute(object, kind.0)? {
                values.push((*kind, value));
            }
        }
        let mut arrays = Vec::new();
        for kind in ARRAYS {
            if let Some(array) = self.session.array(object, kind.0)? {
                let array: Vec<_> = array
                    .into_iter()
                    .map(|(one, value)| (A(one), value))
                    .collect();
                arrays.push((*kind, array));
            }
        }
        let (mut wrapped, mut refused) = (None, None);
        if is_without_value(&values) {
            match self.wrapped(object, &values) {
                Ok(value) => wrapped = Some(value),
                Err(why) => refused = Some(why),
            }
        }
        let told = Told::Object {
            attributes: flat(&values),
            arrays: arrays
                .iter()
                .map(|(kind, array)| (*kind, flat(array)))
                .collect(),
            wrapped: wrapped.as_ref().map(|(mechanism, iv, bytes)| Wrapped {
                mechanism: *mechanism,
                iv: *iv,
                bytes: Secret::new(bytes),
            }),
            refused,
        };
        Ok(talk::send(socket, &told)?)
    }

    /// The value of a key that does not show it, under the transport key; or why it stays where it is.
    fn wrapped(
        &mut self,
        object: u64,
        values: &[(A, Zeroizing<Vec<u8>>)],
    ) -> Result<(u64, [u8; 16], Vec<u8>), String> {
        if flag(values, A::EXTRACTABLE) == Some(false) {
            return Err("CKA_EXTRACTABLE is false: the module gives this key to nobody".into());
        }
        if flag(values, A::WRAP_WITH_TRUSTED) == Some(true) {
            return Err("CKA_WRAP_WITH_TRUSTED is true: the module gives it only to a key that its security officer trusts".into());
        }
        let carrier = match &self.carrier {
            Some(known) => known.clone(),
            None => self.carrier.insert(self.carried()).clone(),
        };
        let carrier = carrier
            .map_err(|refusal| format!("the module takes no key to wrap with: {refusal}"))?;
        let mut iv = [0; 16];
        random::fill(&mut iv).map_err(|error| error.to_string())?;
        let mut first = None;
        for (mechanism, has_iv) in WRAPPING {
            if !self.mechanisms.contains(&mechanism.0) {
                continue;
            }
            let parameter = if *has_iv { iv.as_slice() } else { &[] };
            match self.session.wrap(mechanism.0, parameter, carrier, object) {
                Ok(bytes) => return Ok((mechanism.0, iv, bytes)),
                Err(refusal) => {
                    first.get_or_insert_with(|| {
                        format!("the module does not wrap it: {refusal} for {mechanism}")
                    });
                }
            }
        }
        Err(first.unwrap_or_else(|| "the module has no mechanism to wrap it with".into()))
    }

    /// Brings the transport key into the session: in clear, or under an RSA key that is made for it.
    fn carried(&self) -> Result<u64, Refusal> {
        let (class, kind) = (
            ObjectClass::SECRET_KEY.0.to_ne_bytes(),
            KeyType::AES.0.to_ne_bytes(),
        );
        let template: &[raw::Entry<'_>] = &[
            (A::CLASS.0, &class),
            (A::KEY_TYPE.0, &kind),
            (A::TOKEN.0, NO),
            (A::PRIVATE.0, NO),
            (A::SENSITIVE.0, NO),
            (A::WRAP.0, YES),
            (A::ENCRYPT.0, YES),
        ];
        let created = [template, &[(A::VALUE.0, self.transport)]].concat();
        self.session.create(&created).or_else(|refusal| {
            self.carried_by_rsa()
                .map_err(|second| Refusal::Broken(format!("{refusal}; {second}")))
        })
    }

    fn carried_by_rsa(&self) -> Result<u64, Refusal> {
        let bits = 2048_u64.to_ne_bytes();
        let (public, private) = self.session.generate_rsa(
            &[
                (A::TOKEN.0, NO),
                (A::MODULUS_BITS.0, &bits),
                (A::PUBLIC_EXPONENT.0, &[1, 0, 1]),
                (A::ENCRYPT.0, YES),
                (A::WRAP.0, YES),
            ],
            &[
                (A::TOKEN.0, NO),
                (A::PRIVATE.0, YES),
                (A::SENSITIVE.0, YES),
                (A::DECRYPT.0, YES),
                (A::UNWRAP.0, YES),
            ],
        )?;
        let number = |kind: A| {
            let value = self.session.attribute(public, kind.0)?;
            value.ok_or_else(|| Refusal::Broken(format!("its RSA key shows no {kind}")))
        };
        let (modulus, exponent) = (number(A::MODULUS)?, number(A::PUBLIC_EXPONENT)?);
        let wrapped = RsaPublicKey::from_components(&modulus, &exponent)
            .and_then(|key| key.encrypt_oaep(Hash::Sha1, Hash::Sha1, &[], self.transport))
            .map_err(|error| Refusal::Broken(format!("its RSA key is of no use: {error}")))?;
        let (class, kind) = (
            ObjectClass::SECRET_KEY.0.to_ne_bytes(),
            KeyType::AES.0.to_ne_bytes(),
        );
        self.session.unwrap_oaep(
            private,
            &wrapped,
            &[
                (A::CLASS.0, &class),
                (A::KEY_TYPE.0, &kind),
                (A::TOKEN.0, NO),
                (A::SENSITIVE.0, YES),
                (A::WRAP.0, YES),
                (A::ENCRYPT.0, YES),
            ],
        )
    }
}

fn flat<V: AsRef<[u8]>>(values: &[(A, V)]) -> Vec<FlatAttribute<'_>> {
    values
        .iter()
        .map(|(kind, value)| FlatAttribute {
            kind: *kind,
            value: Secret::new(value.as_ref()),
        })
        .collect()
}

/// Whether it is a key that would be one only with a value that was not read.
fn is_without_value(values: &[(A, Zeroizing<Vec<u8>>)]) -> bool {
    let has = |kind: A| {
        values
            .iter()
            .any(|(one, value)| *one == kind && !value.is_empty())
    };
    match number(values, A::CLASS).map(ObjectClass) {
        Some(ObjectClass::SECRET_KEY) => !has(A::VALUE),
        Some(ObjectClass::PRIVATE_KEY) => !has(A::VALUE) && !has(A::PRIVATE_EXPONENT),
        _ => false,
    }
}

fn is_secret(values: &[(A, Zeroizing<Vec<u8>>)]) -> bool {
    let class = number(values, A::CLASS).map(ObjectClass);
    matches!(
        class,
        Some(ObjectClass::SECRET_KEY | ObjectClass::PRIVATE_KEY)
    )
}

fn number(values: &[(A, Zeroizing<Vec<u8>>)], kind: A) -> Option<u64> {
    let value = &values.iter().find(|(one, _)| *one == kind)?.1;
    Some(u64::from_ne_bytes(value.as_slice().try_into().ok()?))
}

fn flag(values: &[(A, Zeroizing<Vec<u8>>)], kind: A) -> Option<bool> {
    let value = &values.iter().find(|(one, _)| *one == kind)?.1;
    value.first().map(|byte| *byte != 0)
}

const YES: &[u8] = &[1];
const NO: &[u8] = &[0];

/// How keys are wrapped, best first, and whether it takes an initialisation vector.
const WRAPPING: &[(M, bool)] = &[
    (M::AES_KEY_WRAP_KWP, false),
    (M::AES_KEY_WRAP_PAD, false),
    (M::AES_CBC_PAD, true),
];

/// What objects are asked for: every attribute of a storage object in PKCS#11 3.2 but those that are arrays of attributes.
const ATTRIBUTES: &[A] = &[
    A::CLASS,
    A::TOKEN,
    A::PRIVATE,
    A::LABEL,
    A::APPLICATION,
    A::VALUE,
    A::OBJECT_ID,
    A::CERTIFICATE_TYPE,
    A::ISSUER,
    A::SERIAL_NUMBER,
    A::AC_ISSUER,
    A::OWNER,
    A::ATTR_TYPES,
    A::TRUSTED,
    A::CERTIFICATE_CATEGORY,
    A::JAVA_MIDP_SECURITY_DOMAIN,
    A::URL,
    A::HASH_OF_SUBJECT_PUBLIC_KEY,
    A::HASH_OF_ISSUER_PUBLIC_KEY,
    A::NAME_HASH_ALGORITHM,
    A::CHECK_VALUE,
    A::KEY_TYPE,
    A::SUBJECT,
    A::ID,
    A::SENSITIVE,
    A::ENCRYPT,
    A::DECRYPT,
    A::WRAP,
    A::UNWRAP,
    A::SIGN,
    A::SIGN_RECOVER,
    A::VERIFY,
    A::VERIFY_RECOVER,
    A::DERIVE,
    A::START_DATE,
    A::END_DATE,
    A::MODULUS,
    A::MODULUS_BITS,
    A::PUBLIC_EXPONENT,
    A::PRIVATE_EXPONENT,
    A::PRIME_1,
    A::PRIME_2,
    A::EXPONENT_1,
    A::EXPONENT_2,
    A::COEFFICIENT,
    A::PUBLIC_KEY_INFO,
    A::PRIME,
    A::SUBPRIME,
    A::BASE,
    A::PRIME_BITS,
    A::VALUE_BITS,
    A::VALUE_LEN,
    A::EXTRACTABLE,
    A::LOCAL,
    A::NEVER_EXTRACTABLE,
    A::ALWAYS_SENSITIVE,
    A::KEY_GEN_MECHANISM,
    A::MODIFIABLE,
    A::COPYABLE,
    A::DESTROYABLE,
    A::EC_PARAMS,
    A::EC_POINT,
    A::ALWAYS_AUTHENTICATE,
    A::WRAP_WITH_TRUSTED,
    A::ALLOWED_MECHANISMS,
];

/// Those that private and secret keys have and nothing else; the class is read before them.
const OF_SECRETS: &[A] = &[
    A::SENSITIVE,
    A::EXTRACTABLE,
    A::NEVER_EXTRACTABLE,
    A::ALWAYS_SENSITIVE,
];

/// Those that are arrays of attributes.
const ARRAYS: &[A] = &[A::WRAP_TEMPLATE, A::UNWRAP_TEMPLATE, A::DERIVE_TEMPLATE];
