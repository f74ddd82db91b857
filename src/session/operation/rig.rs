//! *What lives here:* a session with keys of every kind, for the tests of operations. *What must never live here:* a test. *Who
//! calls it:* the tests beside the operations and their chapters.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use strongroom_crypto::block::BlockCipher;
use strongroom_crypto::digest::Hash;
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::edwards::Ed25519PrivateKey;
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_keymem::{Config, Locking, SecretBytes};
use strongroom_wire::ck::{
    AttributeType as A, KeyType, MechanismType, Mgf, OaepSource, ObjectClass, UserType,
};
use strongroom_wire::request::{
    Mechanism, OaepParameter, ObjectHandle, Output, Parameter, SessionHandle,
};

use crate::application::Application;
use crate::attribute::{Attributes, Value};
use crate::audit::Principal;
use crate::calendar::Date;
use crate::chapter::release::Releasing;
use crate::chapter::{Desk, Reply};
use crate::error::Result;
use crate::limits::Limits;
use crate::mechanism::table::MacLength;
use crate::mechanism::{CipherScheme, Row, SignScheme};
use crate::object::{Material, Object, Place, SESSION_OBJECT_FIRST};
use crate::ports::{MemoryMeasurer, MemoryStore, Time};
use crate::release::register::ReleaseSettings;
use crate::release::{Account, Releases};
use crate::service::Numbers;
use crate::session::Session;
use crate::token::Token;
use crate::vault::{PinCost, Vault};

/// One session of one application at one token.
pub(crate) struct Rig {
    pub(crate) session: Arc<Session>,
    application: Application,
    limits: Limits,
    pub(crate) mechanisms: crate::mechanism::Mechanisms,
    numbers: Numbers,
    next: AtomicU64,
    vault: Vault,
    releases: Releases,
    release_settings: ReleaseSettings,
    account: RefCell<Option<Box<Account>>>,
    measurer: MemoryMeasurer,
}

/// A key for one direction and its counterpart; the same handle twice for secret keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) private: ObjectHandle,
    pub(crate) public: ObjectHandle,
}

/// Every use that a key can allow.
const USES: [A; 8] = [
    A::SIGN,
    A::VERIFY,
    A::SIGN_RECOVER,
    A::VERIFY_RECOVER,
    A::ENCRYPT,
    A::DECRYPT,
    A::EXTRACTABLE,
    A::MODIFIABLE,
];

impl Rig {
    pub(crate) fn new() -> Self {
        let config = Config {
            bytes: Some(32 << 20),
            locking: Locking::DangerUnlockedAllowed,
        };
        strongroom_keymem::start(&config).unwrap();
        strongroom_crypto::start().unwrap();
        let root = SecretBytes::copy_from(&[7; 32]).unwrap();
        let vault =
            Vault::open(Arc::new(MemoryStore::new()), root, PinCost::danger_cheap()).unwrap();
        let token = vault.create_token([b' '; 32], b"87654321").unwrap();
        let token = Arc::new(Token::load(token, &Limits::default()).unwrap());
        let principal = Principal {
            uid: 0,
            gid: 0,
            pid: 1,
            executable: String::new(),
            started: Some(77),
        };
        let application = Application::new(principal, [0; 16]);
        application
            .open_session(SessionHandle(1), &token, true, 1)
            .unwrap();
        let session = application.session(SessionHandle(1)).unwrap();
        Self {
            session,
            application,
            limits: Limits::default(),
            mechanisms: crate::mechanism::Mechanisms::default(),
            numbers: Numbers::new().unwrap(),
            next: AtomicU64::new(SESSION_OBJECT_FIRST),
            releases: Releases::open(&vault).unwrap(),
            vault,
            release_settings: ReleaseSettings::default(),
            account: RefCell::default(),
            measurer: MemoryMeasurer::default(),
        }
    }

    pub(crate) fn desk(&self) -> Desk<'_> {
        Desk {
            session: &self.session,
            today: Date {
                year: 2026,
                month: 11,
                day: 22,
            },
            limits: &self.limits,
            mechanisms: &self.mechanisms,
            numbers: &self.numbers,
            releasing: Releasing {
                releases: &self.releases,
                settings: &self.release_settings,
                vault: &self.vault,
                now: Time(1_795_343_807_123),
                account: &self.account,
                who: &self.application.principal,
                measurer: &self.measurer,
            },
        }
    }

    pub(crate) fn log_in(&self) {
        self.session
            .seat
            .log_in(UserType::USER, |_| Ok(()))
            .unwrap();
    }

    /// As C_Logout does it.
    pub(crate) fn log_out(&self) {
        self.session.seat.log_out().unwrap();
        self.application
            .end_private_operations(self.session.token().number);
    }

    pub(crate) fn add(
        &self,
        class: ObjectClass,
        key_type: KeyType,
        more: &[(A, Value)],
        secrets: &[(A, &[u8])],
    ) -> ObjectHandle {
        let mut attributes = Attributes::default();
        for usage in USES {
            attributes.set(usage, Value::Flag(true));
        }
        attributes.set(A::PRIVATE, Value::Flag(false));
        attributes.set(A::CLASS, Value::Number(class.0));
        attributes.set(A::KEY_TYPE, Value::Number(key_type.0));
        for (kind, value) in more {
            attributes.set(*kind, value.clone());
        }
        let place = match secrets {
            [] => Place::Nowhere,
            secrets => {
                let secret = |bytes: &&[u8]| SecretBytes::copy_from(bytes).unwrap();
                let secrets: Vec<_> = secrets
                    .iter()
                    .map(|(kind, bytes)| (*kind, secret(bytes)))
                    .collect();
                Place::Memory(Arc::new(Material::new(&secrets).unwrap()))
            }
        };
        let handle = ObjectHandle(self.next.fetch_add(1, Ordering::SeqCst));
        self.session
            .seat
            .objects
            .write()
            .insert(Arc::new(Object::new(handle, attributes, place)));
        handle
    }

    pub(crate) fn secret_with(
        &self,
        key_type: KeyType,
        value: &[u8],
        more: &[(A, Value)],
    ) -> ObjectHandle {
        self.add(
            ObjectClass::SECRET_KEY,
            key_type,
            more,
            &[(A::VALUE, value)],
        )
    }

    pub(crate) fn aes(&self) -> Pair {
        let key = self.secret_with(KeyType::AES, &[0x42; 32], &[]);
        Pair {
            private: key,
            public: key,
        }
    }

    pub(crate) fn rsa_with(&self, more: &[(A, Value)]) -> Pair {
        static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
        let key = KEY
            .get_or_init(|| RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap())
            .to_components()
            .unwrap();
        let shown = [
            (A::MODULUS, Value::Bytes(key.modulus.into())),
            (A::PUBLIC_EXPONENT, Value::Bytes(key.public_exponent.into())),
        ];
        let private: Vec<_> = shown.iter().chain(more).cloned().collect();
        let exponent = key.private_exponent.with(<[u8]>::to_vec);
        Pair {
            private: self.add(
                ObjectClass::PRIVATE_KEY,
                KeyType::RSA,
                &private,
                &[(A::PRIVATE_EXPONENT, &exponent)],
            ),
            public: self.add(ObjectClass::PUBLIC_KEY, KeyType::RSA, &shown, &[]),
        }
    }

    pub(crate) fn ec(&self, curve: Curve) -> Pair {
        let key = EcPrivateKey::generate(curve).unwrap();
        let params = (A::EC_PARAMS, Value::Bytes(curve.oid_der().into()));
        let point = (A::EC_POINT, Value::Bytes(key.point().into()));
        let scalar = key.scalar().unwrap().with(<[u8]>::to_vec);
        Pair {
            private: self.add(
                ObjectClass::PRIVATE_KEY,
                KeyType::EC,
                std::slice::from_ref(&params),
                &[(A::VALUE, &scalar)],
            ),
            public: self.add(ObjectClass::PUBLIC_KEY, KeyType::EC, &[params, point], &[]),
        }
    }

    pub(crate) fn dsa(&self) -> Pair {
        let parameters = crate::attribute::samples::dsa_parameters();
        let base = parameters[2].1.clone();
        // The private value one: the public one is then the base.
        let public = [&parameters[..], &[(A::VALUE, base)]].concat();
        Pair {
            private: self.add(
                ObjectClass::PRIVATE_KEY,
                KeyType::DSA,
                &parameters,
                &[(A::VALUE, &[1])],
            ),
            public: self.add(ObjectClass::PUBLIC_KEY, KeyType::DSA, &public, &[]),
        }
    }

    pub(crate) fn ed25519(&self) -> Pair {
        let key = Ed25519PrivateKey::generate().unwrap();
        let point = (A::EC_POINT, Value::Bytes((*key.public().bytes()).into()));
        let seed = key.seed().unwrap().with(<[u8]>::to_vec);
        Pair {
            private: self.add(
                ObjectClass::PRIVATE_KEY,
                KeyType::EC_EDWARDS,
                &[],
                &[(A::VALUE, &seed)],
            ),
            public: self.add(ObjectClass::PUBLIC_KEY, KeyType::EC_EDWARDS, &[point], &[]),
        }
    }

    /// Keys that a mechanism works with.
    pub(crate) fn keys_for(&self, row: &Row) -> Pair {
        match row.key_types[0] {
            KeyType::RSA => self.rsa_with(&[]),
            KeyType::EC => self.ec(Curve::P256),
            KeyType::EC_EDWARDS => self.ed25519(),
            KeyType::AES => self.aes(),
            KeyType::DSA => self.dsa(),
            key_type => {
                let value: &[u8] = match crate::attribute::table::des_bytes(key_type) {
                    Some(bytes) => &[0x43; 24][..bytes],
                    None => b"a secret of some length",
                };
                let key = self.secret_with(key_type, value, &[]);
                Pair {
                    private: key,
                    public: key,
                }
            }
        }
    }
}

/// A good parameter for signing with a row.
pub(crate) fn sign_parameter(scheme: SignScheme) -> Parameter<'static> {
    match scheme {
        SignScheme::RsaPss(hash) => {
            let hash = hash.unwrap_or(Hash::Sha256);
            Parameter::Pss {
                hash: digest_mechanism(hash),
                mgf: Mgf::MGF1_SHA384,
                salt_bytes: 20,
            }
        }
        SignScheme::Hmac(_, MacLength::General) | SignScheme::Cmac(_, MacLength::General) => {
            Parameter::Number(7)
        }
        _ => Parameter::None,
    }
}

/// A good parameter for encrypting with a row.
pub(crate) fn cipher_parameter(scheme: CipherScheme) -> Parameter<'static> {
    match scheme {
        CipherScheme::RsaOaep => Parameter::Oaep(OaepParameter {
            hash: MechanismType::SHA256,
            mgf: Mgf::MGF1_SHA1,
            source: OaepSource::DATA_SPECIFIED,
            label: b"label",
        }),
        CipherScheme::Cbc(BlockCipher::Aes) | CipherScheme::CbcPad(BlockCipher::Aes) => {
            Parameter::Bytes(&[3; 16])
        }
        CipherScheme::Cbc(BlockCipher::Des) | CipherScheme::CbcPad(BlockCipher::Des) => {
            Parameter::Bytes(&[3; 8])
        }
        CipherScheme::AesCtr => Parameter::Counter {
            bits: 32,
            block: [9; 16],
        },
        CipherScheme::AesGcm => Parameter::Gcm {
            iv: &[5; 12],
            aad: b"header",
            tag_bits: 128,
        },
        _ => Parameter::None,
    }
}

fn digest_mechanism(hash: Hash) -> MechanismType {
    crate::mechanism::rows()
        .iter()
        .find(|row| row.digest() == Some(hash))
        .unwrap()
        .kind
}

pub(crate) fn mechanism(kind: MechanismType, parameter: Parameter<'_>) -> Mechanism<'_> {
    Mechanism { kind, parameter }
}

pub(crate) const fn room(bytes: usize) -> Output {
    Output::Capacity(bytes as u64)
}

/// The data of an output.
pub(crate) fn data(reply: Result<Reply>) -> Vec<u8> {
    match reply.unwrap() {
        Reply::Output {
            length,
            data: Some(data),
        } => {
            assert_eq!(length, data.len() as u64);
            data.expose().to_vec()
        }
        other => panic!("no data but {other:?}"),
    }
}

/// The length of an output that was asked for.
pub(crate) fn size(reply: Result<Reply>) -> usize {
    match reply.unwrap() {
        Reply::Output { length, data: None } => usize::try_from(length).unwrap(),
        other => panic!("no length but {other:?}"),
    }
}

/// The length that would have been enough.
pub(crate) fn too_small(reply: Result<Reply>) -> usize {
    match reply.unwrap() {
        Reply::TooSmall { length } => usize::try_from(length).unwrap(),
        other => panic!("not too small but {other:?}"),
    }
}

pub(crate) fn done(reply: Result<Reply>) {
    assert!(matches!(reply.unwrap(), Reply::Empty));
}
