//! An honest application: what it does all day.
//!
//! What lives here: a token with keys for a crowd, and an application with sessions and its kinds of work.
//! What must never live here: how many there are.
//! Who calls it: soak for its crowd, fuzz for the one who must not notice anything.

use std::path::Path;

use strongroom_wire::ck::{AttributeType, MechanismType, ObjectClass, UserType};
use strongroom_wire::codec::List;
use strongroom_wire::request::{
    Attribute, Mechanism, ObjectHandle, Output, Parameter, Request, SessionHandle, SlotId,
    Template, Value,
};
use strongroom_wire::response::{AttributeAnswer, Body};
use strongroom_wire::secret::Secret;

use super::Noise;
use super::client::Client;
use crate::{SO_PIN, USER_PIN};

/// Attributes, owned.
pub type Attributes = Vec<(AttributeType, Vec<u8>)>;

/// A template of them.
///
/// # Panics
/// When there are more than a template has.
#[must_use]
pub fn template(attributes: &[(AttributeType, Vec<u8>)]) -> Template<'_> {
    let items = attributes
        .iter()
        .map(|(kind, value)| Attribute {
            kind: *kind,
            value: Value::Bytes(Secret::new(value)),
        })
        .collect();
    List::new(items).expect("a short template")
}

fn number(value: u64) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// A data object.
#[must_use]
pub fn data(label: &str, value: &[u8], on_token: bool) -> Attributes {
    vec![
        (AttributeType::CLASS, number(ObjectClass::DATA.0)),
        (AttributeType::TOKEN, vec![on_token.into()]),
        (AttributeType::PRIVATE, vec![0]),
        (AttributeType::LABEL, label.into()),
        (AttributeType::VALUE, value.into()),
    ]
}

/// A mechanism without a parameter.
#[must_use]
pub fn plain(kind: MechanismType) -> Mechanism<'static> {
    Mechanism {
        kind,
        parameter: Parameter::None,
    }
}

/// An initialised token with a P-256 key pair and an AES key, all labelled `load`.
#[derive(Clone, Debug)]
pub struct Token {
    /// Where it is.
    pub slot: SlotId,
}

impl Token {
    /// Makes it in the first slot whose token is not initialised.
    ///
    /// # Errors
    /// What fails.
    pub fn make(socket: &Path, label: &str) -> Result<Self, String> {
        // Another one for each token: what the last one left may end a moment later.
        let mut instance = [0xee; 16];
        let own = label.len().min(16);
        instance[..own].copy_from_slice(&label.as_bytes()[..own]);
        let mut client = Client::application(socket, instance)?;
        let Body::Slots(slots) = client.ok("C_GetSlotList", &Request::SlotList)? else {
            return Err("no slots".to_owned());
        };
        // The free one is the last.
        let slot = slots.items().last().ok_or("no slot")?.slot;
        let mut padded = [b' '; 32];
        padded[..label.len()].copy_from_slice(label.as_bytes());
        let (so_pin, user_pin) = (
            Secret::new(SO_PIN.as_bytes()),
            Secret::new(USER_PIN.as_bytes()),
        );
        client.ok(
            "C_InitToken",
            &Request::InitToken {
                slot,
                pin: so_pin,
                label: padded,
            },
        )?;
        let session = SessionHandle(1);
        let open = Request::OpenSession {
            slot,
            flags: RW_SESSION,
            session,
        };
        client.ok("C_OpenSession", &open)?;
        let login = |user, pin| Request::Login { session, user, pin };
        client.ok("C_Login", &login(UserType::SO, so_pin))?;
        let pin = user_pin;
        client.ok("C_InitPIN", &Request::InitPin { session, pin })?;
        client.ok("C_Logout", &Request::Logout { session })?;
        client.ok("C_Login", &login(UserType::USER, user_pin))?;
        make_keys(&mut client, session)?;
        Ok(Self { slot })
    }
}

fn make_keys(client: &mut Client, session: SessionHandle) -> Result<(), String> {
    let both = |private: u8| {
        vec![
            (AttributeType::TOKEN, vec![1]),
            (AttributeType::PRIVATE, vec![private]),
            (AttributeType::LABEL, b"load".to_vec()),
        ]
    };
    let mut public = both(0);
    public.push((AttributeType::EC_PARAMS, P256.to_vec()));
    public.push((AttributeType::VERIFY, vec![1]));
    let mut private = both(1);
    private.push((AttributeType::SIGN, vec![1]));
    client.ok(
        "C_GenerateKeyPair",
        &Request::GenerateKeyPair {
            session,
            mechanism: plain(MechanismType::EC_KEY_PAIR_GEN),
            public: template(&public),
            private: template(&private),
        },
    )?;
    let mut secret = both(1);
    secret.push((AttributeType::VALUE_LEN, number(32)));
    secret.push((AttributeType::ENCRYPT, vec![1]));
    secret.push((AttributeType::DECRYPT, vec![1]));
    client.ok(
        "C_GenerateKey",
        &Request::GenerateKey {
            session,
            mechanism: plain(MechanismType::AES_KEY_GEN),
            template: template(&secret),
        },
    )?;
    Ok(())
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Work {
    Sign,
    Verify,
    Encrypt,
    Digest,
    Random,
    Find,
    Attribute,
    SessionObject,
    TokenObject,
    Session,
    Login,
}

impl Work {
    /// Every kind, and how often it is done among a hundred.
    pub const MIX: [(Self, usize); 11] = [
        (Self::Sign, 22),
        (Self::Verify, 10),
        (Self::Encrypt, 15),
        (Self::Digest, 8),
        (Self::Random, 5),
        (Self::Find, 13),
        (Self::Attribute, 5),
        (Self::SessionObject, 8),
        (Self::TokenObject, 2),
        (Self::Session, 9),
        (Self::Login, 3),
    ];

    /// The next one.
    #[must_use]
    pub fn chosen(noise: &mut Noise) -> Self {
        let mut place = noise.below(100);
        for (work, share) in Self::MIX {
            if place < share {
                return work;
            }
            place -= share;
        }
        Self::Sign
    }
}

/// An application that is logged in.
pub struct Application {
    client: Client,
    slot: SlotId,
    sessions: Vec<SessionHandle>,
    next_session: u64,
    keys: Keys,
    /// What `Sign` signed last, for `Verify`.
    signed: Option<([u8; 32], Vec<u8>)>,
    noise: Noise,
    /// How many token objects with the labels of [`filler`] there are to be found.
    objects: usize,
}

#[derive(Clone, Copy)]
struct Keys {
    private: ObjectHandle,
    public: ObjectHandle,
    secret: ObjectHandle,
}

/// The label of one of the objects that fill a token.
#[must_use]
pub fn filler(index: usize) -> String {
    format!("object {index}")
}

impl Application {
    /// Connects, opens sessions and logs in.
    ///
    /// # Errors
    /// What fails.
    pub fn open(
        socket: &Path,
        token: &Token,
        sessions: usize,
        objects: usize,
        mut noise: Noise,
    ) -> Result<Self, String> {
        let mut instance = [0; 16];
        instance.copy_from_slice(&noise.bytes(16));
        let none = ObjectHandle(0);
        let mut application = Self {
            client: Client::application(socket, instance)?,
            slot: token.slot,
            sessions: Vec::new(),
            next_session: 1,
            keys: Keys {
                private: none,
                public: none,
                secret: none,
            },
            signed: None,
            noise,
            objects,
        };
        for _ in 0..sessions {
            let session = application.open_session()?;
            application.sessions.push(session);
        }
        application.log_in()?;
        Ok(application)
    }

    /// Does one piece of work.
    ///
    /// # Errors
    /// Whatever is not as it must be.
    pub fn work(&mut self, work: Work) -> Result<(), String> {
        let session = self.sessions[self.noise.below(self.sessions.len())];
        match work {
            Work::Sign => self.sign(session),
            Work::Verify => self.verify(session),
            Work::Encrypt => self.encrypt(session),
            Work::Digest => self.digest(session),
            Work::Random => self.random(session),
            Work::Find => self.find_one(session),
            Work::Attribute => self.attribute(session),
            Work::SessionObject => self.come_and_go(session, false),
            Work::TokenObject => self.come_and_go(session, true),
            Work::Session => self.change_session(),
            Work::Login => {
                self.client.ok("C_Logout", &Request::Logout { session })?;
                self.log_in()
            }
        }
    }

    /// Makes one of the objects that fill a token.
    ///
    /// # Errors
    /// What fails.
    pub fn fill(&mut self, index: usize) -> Result<(), String> {
        let session = self.sessions[0];
        let value = self.noise.bytes(32);
        let attributes = data(&filler(index), &value, true);
        self.create(session, &attributes).map(|_| ())
    }

    fn open_session(&mut self) -> Result<SessionHandle, String> {
        let session = SessionHandle(self.next_session);
        self.next_session += 1;
        let (slot, flags) = (self.slot, RW_SESSION);
        let open = Request::OpenSession {
            slot,
            flags,
            session,
        };
        self.client.ok("C_OpenSession", &open)?;
        Ok(session)
    }

    /// Logs in and finds the keys anew: a logout makes the handles of private objects invalid.
    fn log_in(&mut self) -> Result<(), String> {
        let session = self.sessions[0];
        let login = Request::Login {
            session,
            user: UserType::USER,
            pin: Secret::new(USER_PIN.as_bytes()),
        };
        self.client.ok("C_Login", &login)?;
        let mut key = |class: ObjectClass| {
            let wanted = vec![
                (AttributeType::CLASS, number(class.0)),
                (AttributeType::LABEL, b"load".to_vec()),
            ];
            match self.client_find(session, &wanted)?[..] {
                [key] => Ok(key),
                ref other => Err(format!("{} keys instead of one", other.len())),
            }
        };
        self.keys = Keys {
            private: key(ObjectClass::PRIVATE_KEY)?,
            public: key(ObjectClass::PUBLIC_KEY)?,
            secret: key(ObjectClass::SECRET_KEY)?,
        };
        Ok(())
    }

    fn client_find(
        &mut self,
        session: SessionHandle,
        wanted: &Attributes,
    ) -> Result<Vec<ObjectHandle>, String> {
        let template = template(wanted);
        let begin = Request::FindObjectsInit { session, template };
        self.client.ok("C_FindObjectsInit", &begin)?;
        let search = Request::FindObjects { session, max: 10 };
        let found = match self.client.ok("C_FindObjects", &search)? {
            Body::Objects(found) => found.into_items(),
            _ => return Err("C_FindObjects: another answer".to_owned()),
        };
        let end = Request::FindObjectsFinal { session };
        self.client.ok("C_FindObjectsFinal", &end)?;
        Ok(found)
    }

    /// What an operation with an output gives.
    fn output(&mut self, what: &str, request: &Request<'_>) -> Result<Vec<u8>, String> {
        match self.client.ok(what, request)? {
            Body::Output { data, .. } => Ok(data.expose().to_vec()),
            _ => Err(format!("{what}: another answer")),
        }
    }

    fn sign(&mut self, session: SessionHandle) -> Result<(), String> {
        let mut digest = [0; 32];
        digest.copy_from_slice(&self.noise.bytes(32));
        let request = Request::SignOnce {
            session,
            mechanism: plain(MechanismType::ECDSA),
            key: self.keys.private,
            data: Secret::new(&digest),
            output: Output::Capacity(64),
        };
        let signature = self.output("C_Sign", &request)?;
        self.signed = Some((digest, signature));
        Ok(())
    }

    fn verify(&mut self, session: SessionHandle) -> Result<(), String> {
        if self.signed.is_none() {
            self.sign(session)?;
        }
        let Some((digest, signature)) = &self.signed else {
            return Err("nothing was signed".to_owned());
        };
        let request = Request::VerifyOnce {
            session,
            mechanism: plain(MechanismType::ECDSA),
            key: self.keys.public,
            data: Secret::new(digest),
            signature,
        };
        self.client.ok("C_Verify", &request).map(|_| ())
    }

    /// Encrypts, decrypts and compares.
    fn encrypt(&mut self, session: SessionHandle) -> Result<(), String> {
        let length = 16 << self.noise.below(7);
        let (iv, plain) = (self.noise.bytes(12), self.noise.bytes(length));
        let key = self.keys.secret;
        let mechanism = Mechanism {
            kind: MechanismType::AES_GCM,
            parameter: Parameter::Gcm {
                iv: &iv,
                aad: b"load",
                tag_bits: 128,
            },
        };
        let request = Request::EncryptOnce {
            session,
            mechanism: mechanism.clone(),
            key,
            data: Secret::new(&plain),
            output: Output::Capacity(4096),
        };
        let sealed = self.output("C_Encrypt", &request)?;
        let request = Request::DecryptOnce {
            session,
            mechanism,
            key,
            data: Secret::new(&sealed),
            output: Output::Capacity(4096),
        };
        if self.output("C_Decrypt", &request)? == plain {
            Ok(())
        } else {
            Err("C_Decrypt gave something else".to_owned())
        }
    }

    fn digest(&mut self, session: SessionHandle) -> Result<(), String> {
        let part = self.noise.bytes(1000);
        let mechanism = Some(plain(MechanismType::SHA256));
        let begin = Request::DigestInit { session, mechanism };
        self.client.ok("C_DigestInit", &begin)?;
        for _ in 0..2 {
            let part = Secret::new(&part);
            let update = Request::DigestUpdate { session, part };
            self.client.ok("C_DigestUpdate", &update)?;
        }
        let output = Output::Capacity(32);
        let digest = self.output("C_DigestFinal", &Request::DigestFinal { session, output })?;
        let expected = <sha2::Sha256 as sha2::Digest>::digest(part.repeat(2));
        if digest == expected[..] {
            Ok(())
        } else {
            Err("C_DigestFinal gave something else".to_owned())
        }
    }

    fn random(&mut self, session: SessionHandle) -> Result<(), String> {
        let request = Request::GenerateRandom { session, bytes: 64 };
        let bytes = self.output("C_GenerateRandom", &request)?;
        if bytes.len() == 64 && bytes != [0; 64] {
            Ok(())
        } else {
            Err("C_GenerateRandom gave no random bytes".to_owned())
        }
    }

    fn find_one(&mut self, session: SessionHandle) -> Result<(), String> {
        let (label, expected) = if self.objects == 0 {
            ("nobody".to_owned(), 0)
        } else {
            (filler(self.noise.below(self.objects)), 1)
        };
        let wanted = vec![(AttributeType::LABEL, label.clone().into_bytes())];
        let found = self.client_find(session, &wanted)?.len();
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found} objects are called {label}"))
        }
    }

    fn attribute(&mut self, session: SessionHandle) -> Result<(), String> {
        let kinds = List::new(vec![AttributeType::LABEL]).expect("one");
        let object = self.keys.public;
        let request = Request::AttributeValue {
            session,
            object,
            kinds,
        };
        match self.client.ok("C_GetAttributeValue", &request)? {
            Body::Attributes(values) => match values.items() {
                [AttributeAnswer::Open(b"load")] => Ok(()),
                _ => Err("C_GetAttributeValue gave another label".to_owned()),
            },
            _ => Err("C_GetAttributeValue: another answer".to_owned()),
        }
    }

    fn create(
        &mut self,
        session: SessionHandle,
        attributes: &Attributes,
    ) -> Result<ObjectHandle, String> {
        let template = template(attributes);
        let request = Request::CreateObject { session, template };
        match self.client.ok("C_CreateObject", &request)? {
            Body::Object(object) => Ok(object),
            _ => Err("C_CreateObject: another answer".to_owned()),
        }
    }

    fn come_and_go(&mut self, session: SessionHandle, on_token: bool) -> Result<(), String> {
        let value = self.noise.bytes(200);
        let object = self.create(session, &data("for a moment", &value, on_token))?;
        let request = Request::DestroyObject { session, object };
        self.client.ok("C_DestroyObject", &request).map(|_| ())
    }

    /// Closes one session and opens another; the first stays, because with the last the login would end.
    fn change_session(&mut self) -> Result<(), String> {
        if self.sessions.len() > 1 {
            let place = 1 + self.noise.below(self.sessions.len() - 1);
            let session = self.sessions.swap_remove(place);
            let close = Request::CloseSession { session };
            self.client.ok("C_CloseSession", &close)?;
        }
        let session = self.open_session()?;
        self.sessions.push(session);
        Ok(())
    }
}

/// `CKF_SERIAL_SESSION | CKF_RW_SESSION`.
pub const RW_SESSION: u64 = 6;
/// The curve P-256 by its object identifier, in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
