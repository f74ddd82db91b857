//! What `strongroom bench` runs for each module, in a process of its own.
//!
//! What lives here: loading a PKCS#11 module as an application does, and a handful of operations with a clock.
//! What must never live here: the daemon's sockets; a rule of the token.
//! Who calls it: `bench`, by starting this program again.

use std::io;
use std::io::Read as _;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::bench::Measured;
use crate::arguments::MeasureArguments;
use crate::failure::Failure;
use crate::output;

/// A case: its name, and what makes its operation in a session.
struct Case {
    name: &'static str,
    make: fn(&Session) -> Result<Operation<'_>, Error>,
}

type Operation<'s> = Box<dyn FnMut() -> Result<(), Error> + 's>;

const CASES: &[Case] = &[
    Case {
        name: "RSA-2048 sign",
        make: |session| sign(session, rsa_pair(session)?, &Mechanism::Sha256RsaPkcs),
    },
    Case {
        name: "RSA-2048 verify",
        make: |session| verify(session, rsa_pair(session)?, &Mechanism::Sha256RsaPkcs),
    },
    Case {
        name: "ECDSA P-256 sign",
        make: |session| sign(session, ec_pair(session)?, &Mechanism::Ecdsa),
    },
    Case {
        name: "ECDSA P-256 verify",
        make: |session| verify(session, ec_pair(session)?, &Mechanism::Ecdsa),
    },
    Case {
        name: "AES-256-GCM encrypt 4 KiB",
        make: encrypt,
    },
    Case {
        name: "AES-256 generate",
        make: |session| {
            Ok(Box::new(|| {
                let key = aes(session)?;
                session.destroy_object(key)
            }))
        },
    },
    Case {
        name: "random 32 B",
        make: |session| {
            let mut out = [0; 32];
            Ok(Box::new(move || session.generate_random_slice(&mut out)))
        },
    },
];

pub(super) fn run(arguments: &MeasureArguments) -> Result<(), Failure> {
    let mut pin = Zeroizing::new(String::with_capacity(PIN_BYTES_MAX));
    io::stdin()
        .take(PIN_BYTES_MAX as u64)
        .read_to_string(&mut pin)
        .map_err(|error| Failure::Failed(format!("cannot read the PIN: {error}")))?;
    let pin = AuthPin::from(pin.trim_end_matches('\n').to_owned());
    let module = Pkcs11::new(&arguments.module).map_err(|error| {
        failure(
            &format!("cannot load {}", arguments.module.display()),
            &error,
        )
    })?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| failure("cannot initialise the module", &error))?;
    let slot = slot(&module, &arguments.token)?;
    let session = module
        .open_rw_session(slot)
        .map_err(|error| failure("cannot open a session", &error))?;
    // One login holds for all sessions of a process.
    session
        .login(UserType::User, Some(&pin))
        .map_err(|error| failure("cannot log in", &error))?;
    for case in CASES {
        let measured = match measure(&module, slot, case, arguments) {
            Ok(times) => times.told(case.name),
            Err(error) => Measured {
                case: case.name.to_owned(),
                p50_ns: None,
                p99_ns: None,
                operations_per_second: None,
                why: Some(error.to_string()),
            },
        };
        let line = serde_json::to_string(&measured)
            .map_err(|error| Failure::Failed(format!("cannot write the result: {error}")))?;
        output::show(&format!("{line}\n"))?;
    }
    Ok(())
}

fn failure(what: &str, error: &Error) -> Failure {
    Failure::Failed(format!("{what}: {error}"))
}

fn slot(module: &Pkcs11, label: &str) -> Result<Slot, Failure> {
    let slots = module
        .get_slots_with_initialized_token()
        .map_err(|error| failure("cannot list the tokens", &error))?;
    let is_it = |slot: &Slot| {
        module
            .get_token_info(*slot)
            .is_ok_and(|info| info.label() == label)
    };
    slots.into_iter().find(is_it).ok_or_else(|| {
        let label = output::printable(label);
        Failure::Failed(format!("this module has no token \"{label}\""))
    })
}

/// Times of single operations in nanoseconds, in order of length, and how many a second.
#[derive(Default)]
struct Times {
    nanoseconds: Vec<u64>,
    rate: f64,
}

impl Times {
    fn told(&self, case: &str) -> Measured {
        let percentile = |percent: usize| {
            let place = self.nanoseconds.len().saturating_sub(1) * percent / 100;
            self.nanoseconds.get(place).copied()
        };
        Measured {
            case: case.to_owned(),
            p50_ns: percentile(50),
            p99_ns: percentile(99),
            operations_per_second: Some(self.rate),
            why: None,
        }
    }
}

fn measure(
    module: &Pkcs11,
    slot: Slot,
    case: &Case,
    arguments: &MeasureArguments,
) -> Result<Times, Error> {
    let time = Duration::from_secs_f64(arguments.seconds);
    let barrier = Barrier::new(arguments.threads.into());
    let work = || -> Result<Times, Error> {
        let session = match module.open_rw_session(slot) {
            Ok(session) => session,
            Err(error) => {
                // Passed whatever happens, or the others would wait for ever.
                barrier.wait();
                return Err(error);
            }
        };
        let prepared = (case.make)(&session).and_then(|mut operation| {
            operation()?;
            Ok(operation)
        });
        barrier.wait();
        timed(prepared?, time)
    };
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or(Err(Error::Pkcs11(
                RvError::GeneralError,
                Function::Initialize,
            )))
        });
        joined.collect::<Result<Vec<Times>, Error>>()
    })?;
    let mut sum = Times::default();
    for one in all {
        sum.nanoseconds.extend(one.nanoseconds);
        sum.rate += one.rate;
    }
    sum.nanoseconds.sort_unstable();
    Ok(sum)
}

fn timed(mut operation: Operation<'_>, time: Duration) -> Result<Times, Error> {
    let mut nanoseconds = Vec::new();
    let begin = Instant::now();
    let mut last = begin;
    while last - begin < time && nanoseconds.len() < OPERATIONS_MAX {
        operation()?;
        let now = Instant::now();
        let one = now.duration_since(last).as_nanos();
        nanoseconds.push(u64::try_from(one).unwrap_or(u64::MAX));
        last = now;
    }
    let rate = nanoseconds.len() as f64 / (last - begin).as_secs_f64();
    Ok(Times { nanoseconds, rate })
}

/// Public and private.
type Pair = (ObjectHandle, ObjectHandle);

fn private_template() -> Vec<Attribute> {
    vec![
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Sign(true),
    ]
}

fn rsa_pair(session: &Session) -> Result<Pair, Error> {
    let public = [
        Attribute::Token(false),
        Attribute::Verify(true),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private_template())
}

fn ec_pair(session: &Session) -> Result<Pair, Error> {
    let public = [
        Attribute::Token(false),
        Attribute::Verify(true),
        Attribute::EcParams(P256.to_vec()),
    ];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private_template())
}

fn aes(session: &Session) -> Result<ObjectHandle, Error> {
    let template = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::ValueLen(32.into()),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template)
}

fn sign<'s>(
    session: &'s Session,
    (public, private): Pair,
    mechanism: &'s Mechanism<'s>,
) -> Result<Operation<'s>, Error> {
    let signature = session.sign(mechanism, private, DIGEST)?;
    session.verify(mechanism, public, DIGEST, &signature)?;
    Ok(Box::new(move || {
        session.sign(mechanism, private, DIGEST).map(|_| ())
    }))
}

fn verify<'s>(
    session: &'s Session,
    (public, private): Pair,
    mechanism: &'s Mechanism<'s>,
) -> Result<Operation<'s>, Error> {
    let signature = session.sign(mechanism, private, DIGEST)?;
    Ok(Box::new(move || {
        session.verify(mechanism, public, DIGEST, &signature)
    }))
}

fn encrypt(session: &Session) -> Result<Operation<'_>, Error> {
    let key = aes(session)?;
    let data = vec![7; 4_096];
    let mut number = 0_u64;
    Ok(Box::new(move || {
        // A new initialisation vector each time, as an application must.
        number += 1;
        let mut iv = [0; 12];
        for (place, byte) in iv.iter_mut().zip(number.to_le_bytes()) {
            *place = byte;
        }
        let parameters = GcmParams::new(&mut iv, &[], 128.into())?;
        session
            .encrypt(&Mechanism::AesGcm(parameters), key, &data)
            .map(|_| ())
    }))
}

/// As long as a digest of SHA-256.
const DIGEST: &[u8] = b"0123456789abcdef0123456789abcdef";
/// The object identifier of the curve.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// More than the longest PIN.
const PIN_BYTES_MAX: usize = 1024;
/// As many times are kept; more say nothing new.
const OPERATIONS_MAX: usize = 4_000_000;
