//! What an operation costs at the least: each primitive alone, and one trip over a socket.
//!
//! What lives here: the primitives as the daemon calls them, with prepared keys in the locked pool, timed one by one; a line of JSON each.
//! What must never live here: a judgement; `cargo xtask bench` makes that.
//! Who calls it: `cargo xtask bench`, and people:
//! `cargo run --release -p strongroom-crypto --example primitives -- 0.2 ecdsa-p256-sign`.

#![allow(clippy::print_stdout, reason = "the lines are what was asked for")]

use std::error::Error;
use std::hint::black_box;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use strongroom_crypto::digest::Hash;
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::edwards::Ed25519PrivateKey;
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::mac::HmacKey;
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_crypto::wrap::WrapKey;
use strongroom_keymem::{Config, Locking, SecretVec};

type Outcome<T> = Result<T, Box<dyn Error>>;
/// One operation, to be called again and again.
type Operation = Box<dyn FnMut() -> Outcome<()>>;

const USAGE: &str = "\
usage: primitives SECONDS [CASE...]

Prints {\"case\": NAME, \"p50_ns\": N} for each case, or for all of them, and for socket-round-trip.
Cases are named as those of p11measure; other names are left out.";

/// Said to the other end of the socket instead of a number of seconds.
const ECHO: &str = "--echo";
const ROUND_TRIP: &str = "socket-round-trip";
const MESSAGE_BYTES: usize = 64;

/// A sample has so many operations that the clock weighs nothing in it.
const SAMPLE: Duration = Duration::from_micros(10);
/// Few samples have no median.
const SAMPLES_MIN: usize = 15;

/// A digest of SHA-256, and the same as CKM_RSA_PKCS takes it: the data of p11measure.
const DIGEST: &[u8] = b"0123456789abcdef0123456789abcdef";
const DIGEST_INFO: &[u8] = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x200123456789abcdef0123456789abcdef";

/// What a case does.
#[derive(Clone, Copy)]
enum Primitive {
    RsaSign(usize),
    EcSign(Curve),
    Ed25519Sign,
    Agree(Curve),
    GcmEncrypt,
    Hmac,
    Wrap,
}

const PRIMITIVES: &[(&str, Primitive)] = &[
    ("rsa2048-sign-pkcs", Primitive::RsaSign(2048)),
    ("rsa3072-sign-pkcs", Primitive::RsaSign(3072)),
    ("rsa4096-sign-pkcs", Primitive::RsaSign(4096)),
    ("ecdsa-p256-sign", Primitive::EcSign(Curve::P256)),
    ("ecdsa-p384-sign", Primitive::EcSign(Curve::P384)),
    ("ecdsa-p521-sign", Primitive::EcSign(Curve::P521)),
    ("ed25519-sign", Primitive::Ed25519Sign),
    ("ecdh-p256-derive", Primitive::Agree(Curve::P256)),
    ("ecdh-p384-derive", Primitive::Agree(Curve::P384)),
    ("aes-kw-wrap", Primitive::Wrap),
    ("hmac-sha256-64", Primitive::Hmac),
    ("aes-gcm-encrypt-16", Primitive::GcmEncrypt),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The error has nowhere else to go when standard error is gone, too.
            let _ = writeln!(io::stderr(), "primitives: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Outcome<()> {
    let (first, names) = words.split_first().ok_or(USAGE)?;
    if first == ECHO {
        return echo();
    }
    let seconds: f64 = first.parse().map_err(|_| USAGE)?;
    let time = Duration::try_from_secs_f64(seconds)?;
    let locking = Locking::DangerUnlockedAllowed;
    strongroom_keymem::start(&Config {
        bytes: None,
        locking,
    })?;
    strongroom_crypto::start()?;
    for (name, primitive) in PRIMITIVES {
        if names.is_empty() || names.iter().any(|one| one == name) {
            tell(name, median(&mut operation(*primitive)?, time)?);
        }
    }
    tell(ROUND_TRIP, round_trip(time)?);
    Ok(())
}

fn tell(name: &str, nanoseconds: f64) {
    println!("{{\"case\": \"{name}\", \"p50_ns\": {nanoseconds:.1}}}");
}

/// The operation with its key prepared, as the daemon has it.
fn operation(primitive: Primitive) -> Outcome<Operation> {
    Ok(match primitive {
        Primitive::RsaSign(bits) => {
            let key = RsaPrivateKey::generate(bits, &[1, 0, 1])?;
            Box::new(move || used(&key.sign_pkcs1(DIGEST_INFO)?))
        }
        Primitive::EcSign(curve) => {
            let key = EcPrivateKey::generate(curve)?;
            Box::new(move || used(&key.sign_digest(DIGEST)?))
        }
        Primitive::Ed25519Sign => {
            let key = Ed25519PrivateKey::generate()?;
            Box::new(move || used(&key.sign(DIGEST)?))
        }
        Primitive::Agree(curve) => {
            let key = EcPrivateKey::generate(curve)?;
            let peer = EcPrivateKey::generate(curve)?.point().to_vec();
            Box::new(move || key.agree(&peer)?.with(used))
        }
        Primitive::GcmEncrypt => {
            let key = GcmKey::new(&[2; 32])?;
            let mut out = SecretVec::with_capacity(64)?;
            Box::new(move || {
                out.clear();
                key.seal(&[1; 12], &[], 16, black_box(&[3; 16]), &mut out)?;
                used(out.expose())
            })
        }
        Primitive::Hmac => {
            let key = HmacKey::new(Hash::Sha256, &[2; 32])?;
            Box::new(move || {
                let mut mac = key.start()?;
                mac.update(black_box(&[7; 64]))?;
                used(mac.finish()?.as_ref())
            })
        }
        Primitive::Wrap => {
            let key = WrapKey::new(&[2; 32])?;
            let mut out = SecretVec::with_capacity(64)?;
            Box::new(move || {
                out.clear();
                key.kw_wrap(None, black_box(&[3; 32]), &mut out)?;
                used(out.expose())
            })
        }
    })
}

/// Keeps the compiler from leaving out what nobody reads.
fn used(result: &[u8]) -> Outcome<()> {
    black_box(result);
    Ok(())
}

/// Nanoseconds of an operation: the median of samples taken in this time, after a quarter of it to warm up.
fn median(operation: &mut dyn FnMut() -> Outcome<()>, time: Duration) -> Outcome<f64> {
    let begin = Instant::now();
    let mut warm: u32 = 0;
    while warm == 0 || begin.elapsed() < time / 4 {
        operation()?;
        warm = warm.saturating_add(1);
    }
    let one = (begin.elapsed() / warm).as_secs_f64();
    let operations = (1_u32..1_000)
        .find(|number| one * f64::from(*number) >= SAMPLE.as_secs_f64())
        .unwrap_or(1_000);
    let mut samples = Vec::new();
    let begin = Instant::now();
    while samples.len() < SAMPLES_MIN || begin.elapsed() < time {
        let start = Instant::now();
        for _ in 0..operations {
            operation()?;
        }
        samples.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(operations));
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples
        .get(samples.len() / 2)
        .copied()
        .ok_or("no samples")?)
}

/// A message to another process and back, with blocking reads at both ends.
fn round_trip(time: Duration) -> Outcome<f64> {
    let (mut own, other) = UnixStream::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ECHO)
        .stdin(Stdio::from(OwnedFd::from(other)))
        .spawn()?;
    let mut message = [7; MESSAGE_BYTES];
    let measured = median(
        &mut || {
            own.write_all(&message)?;
            Ok(own.read_exact(&mut message)?)
        },
        time,
    );
    // The end of the stream ends the other process.
    drop(own);
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("the other end of the socket ended with {status}").into());
    }
    measured
}

/// The other process: sends back what comes on the socket that is its standard input.
fn echo() -> Outcome<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut message = [0; MESSAGE_BYTES];
    loop {
        match socket.read_exact(&mut message) {
            Ok(()) => socket.write_all(&message)?,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
