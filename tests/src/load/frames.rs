//! Requests as the protocol has them, and what a hostile client makes of them.
//!
//! What lives here: one request of each kind, and the ways to spoil it.
//! What must never live here: sending.
//! Who calls it: fuzz.

use strongroom_wire::ck::{AttributeType, MechanismType, Mgf, UserType};
use strongroom_wire::codec::{self, List};
use strongroom_wire::frame::{self, Door, HEADER_BYTES, PAYLOAD_BYTES_MAX};
use strongroom_wire::request::{
    Dual, Mechanism, ObjectHandle, Output, Parameter, Request, SessionHandle, SlotId,
};
use strongroom_wire::secret::Secret;

use super::Noise;
use super::application::{RW_SESSION, data, plain, template};

/// How a frame was spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoiled {
    /// Not at all.
    Not,
    /// Sessions and objects of elsewhere.
    Handles,
    /// Some bits are others.
    Bits,
    /// Bytes are missing at the end, in the middle, or too many.
    Length,
    /// The payload is noise.
    Payload,
    /// The header is noise or of another protocol.
    Header,
    /// The header promises more or fewer bytes than come.
    Lie,
    /// It ends in the middle.
    Half,
    /// It lies in the shared memory, with lies beside it.
    Shared,
}

/// What a hostile client knows of its own world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The slot of its token.
    pub slot: SlotId,
    /// A session of its own.
    pub session: SessionHandle,
    /// A session object of its own.
    pub object: ObjectHandle,
}

/// A payload that can keep the connection alive: as it should be, with other handles, or with other bits.
pub fn likely(noise: &mut Noise, world: &World) -> (Spoiled, Vec<u8>) {
    match noise.below(10) {
        0..4 => (Spoiled::Not, payload(noise, world)),
        4..7 => {
            let mut elsewhere = *world;
            for _ in 0..=noise.below(3) {
                match noise.below(3) {
                    0 => elsewhere.session = SessionHandle(strange(noise)),
                    1 => elsewhere.object = ObjectHandle(strange(noise)),
                    _ => elsewhere.slot = SlotId(strange(noise)),
                }
            }
            (Spoiled::Handles, payload(noise, &elsewhere))
        }
        _ => {
            let mut payload = payload(noise, world);
            // Mostly behind the number of the request and its session, where a message stays one.
            let from = payload.len().min(2) * usize::from(!noise.once_in(8));
            if payload.len() > from {
                for _ in 0..=noise.below(2) {
                    let at = from + noise.below(payload.len() - from);
                    payload[at] ^= 1 << noise.below(8);
                }
            }
            (Spoiled::Bits, payload)
        }
    }
}

/// A frame after which a connection ends.
pub fn deadly(noise: &mut Noise, world: &World) -> (Spoiled, Vec<u8>) {
    let good = payload(noise, world);
    let spoiled = [
        Spoiled::Length,
        Spoiled::Payload,
        Spoiled::Header,
        Spoiled::Lie,
        Spoiled::Half,
    ][noise.below(5)];
    let bytes = match spoiled {
        Spoiled::Length => framed(&other_length(noise, good)),
        Spoiled::Payload => {
            let length = noise.below(600);
            framed(&noise.bytes(length))
        }
        Spoiled::Header => {
            let mut frame = framed(&good);
            let at = noise.below(8);
            frame[at] ^= 1 << noise.below(8);
            frame
        }
        Spoiled::Lie => {
            let mut frame = framed(&good);
            let told = match noise.below(4) {
                0 => PAYLOAD_BYTES_MAX as u32 + 1,
                1 => u32::MAX,
                2 => PAYLOAD_BYTES_MAX as u32,
                _ => noise.below(1 << 20) as u32,
            };
            frame[8..12].copy_from_slice(&told.to_le_bytes());
            frame
        }
        _ => {
            let mut frame = framed(&good);
            let cut = noise.below(frame.len());
            frame.truncate(cut);
            frame
        }
    };
    (spoiled, bytes)
}

/// A payload with its header.
///
/// # Panics
/// When it is too long for a frame.
#[must_use]
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let header = frame::header(Door::Application, payload.len()).expect("a short payload");
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.extend(header);
    frame.extend(payload);
    frame
}

fn other_length(noise: &mut Noise, mut payload: Vec<u8>) -> Vec<u8> {
    match noise.below(3) {
        0 => payload.truncate(noise.below(payload.len().max(1))),
        1 => {
            let more = 1 + noise.below(40);
            payload.extend(noise.bytes(more));
        }
        _ => {
            let at = noise.below(payload.len().max(1));
            payload.drain(at..(at + 1 + noise.below(4)).min(payload.len()));
        }
    }
    payload
}

/// Numbers that somebody may take for a handle.
fn strange(noise: &mut Noise) -> u64 {
    match noise.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << noise.below(64),
        3 => noise.draw(),
        _ => noise.below(40) as u64,
    }
}

/// A message of any kind.
fn payload(noise: &mut Noise, world: &World) -> Vec<u8> {
    let length = if noise.once_in(500) {
        70_000
    } else {
        noise.below(200)
    };
    let bytes = noise.bytes(length);
    let mut encoded = Vec::with_capacity(length + 64);
    let request = noise.below(100);
    let written = match request {
        0..40 => codec::encode(&of_a_session(noise, world, &bytes), &mut encoded),
        40..75 => codec::encode(&with_a_key(noise, world, &bytes), &mut encoded),
        75..92 => {
            let attributes = data("prey", &bytes[..length.min(64)], false);
            let short = vec![(AttributeType::LABEL, b"prey".to_vec())];
            let (session, object) = (world.session, world.object);
            let request = match noise.below(6) {
                0 => Request::CreateObject {
                    session,
                    template: template(&attributes),
                },
                1 => Request::CopyObject {
                    session,
                    object,
                    template: template(&short),
                },
                2 => Request::SetAttributeValue {
                    session,
                    object,
                    template: template(&short),
                },
                3 => Request::GenerateKey {
                    session,
                    mechanism: plain(MechanismType::AES_KEY_GEN),
                    template: template(&attributes),
                },
                4 => Request::DeriveKey {
                    session,
                    mechanism: chosen(noise, &WRAPS, &bytes),
                    base_key: object,
                    template: template(&attributes),
                },
                _ => Request::FindObjectsInit {
                    session,
                    template: template(&short),
                },
            };
            codec::encode(&request, &mut encoded)
        }
        _ => codec::encode(&of_a_slot(noise, world), &mut encoded),
    };
    written.expect("memory for a message");
    encoded
}

fn of_a_slot(noise: &mut Noise, world: &World) -> Request<'static> {
    let slot = world.slot;
    match noise.below(200) {
        0..50 => Request::SlotList,
        50..100 => Request::SlotInfo { slot },
        100..150 => Request::TokenInfo { slot },
        150..170 => Request::Mechanisms { slot },
        170..198 => Request::OpenSession {
            slot,
            flags: RW_SESSION,
            session: SessionHandle(strange(noise)),
        },
        198 => Request::CloseAllSessions { slot },
        // A PIN that is none, so that no token is made and no try is counted.
        _ => Request::InitToken {
            slot,
            pin: Secret::new(b"1"),
            label: [b'x'; 32],
        },
    }
}

fn of_a_session<'a>(noise: &mut Noise, world: &World, bytes: &'a [u8]) -> Request<'a> {
    let (session, object) = (world.session, world.object);
    let (data, output) = (Secret::new(bytes), output(noise));
    match noise.below(420) {
        0..20 => Request::SessionInfo { session },
        20..40 => Request::ObjectSize { session, object },
        40..60 => Request::FindObjects {
            session,
            max: strange(noise),
        },
        60..80 => Request::FindObjectsFinal { session },
        80..100 => Request::Encrypt {
            session,
            data,
            output,
        },
        100..120 => Request::EncryptUpdate {
            session,
            part: data,
            output,
        },
        120..140 => Request::EncryptFinal { session, output },
        140..160 => Request::DecryptUpdate {
            session,
            part: data,
            output,
        },
        160..180 => Request::DecryptFinal { session, output },
        180..200 => Request::DigestUpdate {
            session,
            part: data,
        },
        200..220 => Request::DigestFinal { session, output },
        220..240 => Request::SignUpdate {
            session,
            part: data,
        },
        240..260 => Request::SignFinal { session, output },
        260..280 => Request::Verify {
            session,
            data,
            signature: bytes,
        },
        280..300 => Request::VerifyFinal {
            session,
            signature: bytes,
        },
        300..320 => Request::SessionCancel {
            session,
            flags: strange(noise),
        },
        320..340 => Request::GenerateRandom {
            session,
            bytes: noise.below(300) as u64,
        },
        340..360 => Request::SeedRandom {
            session,
            seed: data,
        },
        360..380 => Request::DualUpdate {
            session,
            dual: Dual::DigestEncrypt,
            part: data,
            output,
        },
        380..400 => Request::AttributeValue {
            session,
            object,
            kinds: List::new(vec![AttributeType(strange(noise)), AttributeType::VALUE])
                .expect("two"),
        },
        400..415 => Request::DestroyObject { session, object },
        415 => Request::CloseSession { session },
        416 => Request::Logout { session },
        // Whoever is logged in already is told so before any PIN is looked at.
        _ => Request::Login {
            session,
            user: UserType::USER,
            pin: Secret::new(b"1"),
        },
    }
}

fn with_a_key<'a>(noise: &mut Noise, world: &World, bytes: &'a [u8]) -> Request<'a> {
    let (session, key) = (world.session, world.object);
    let what = noise.below(14);
    let mechanism = match what {
        0 | 1 | 7 | 8 => chosen(noise, &CIPHERS, bytes),
        2 => chosen(noise, &DIGESTS, bytes),
        3..=6 => chosen(noise, &CODES, bytes),
        _ => chosen(noise, &WRAPS, bytes),
    };
    let some = (!noise.once_in(20)).then(|| mechanism.clone());
    let (data, output) = (Secret::new(bytes), output(noise));
    match what {
        0 => Request::EncryptInit {
            session,
            mechanism: some,
            key,
        },
        1 => Request::DecryptInit {
            session,
            mechanism: some,
            key,
        },
        2 => Request::DigestInit {
            session,
            mechanism: some,
        },
        3 => Request::SignInit {
            session,
            mechanism: some,
            key,
        },
        4 => Request::VerifyInit {
            session,
            mechanism: some,
            key,
        },
        5 => Request::SignOnce {
            session,
            mechanism,
            key,
            data,
            output,
        },
        6 => Request::VerifyOnce {
            session,
            mechanism,
            key,
            data,
            signature: bytes,
        },
        7 => Request::EncryptOnce {
            session,
            mechanism,
            key,
            data,
            output,
        },
        8 => Request::DecryptOnce {
            session,
            mechanism,
            key,
            data,
            output,
        },
        9 => Request::WrapKey {
            session,
            mechanism,
            wrapping_key: key,
            key,
            output,
        },
        10 => Request::UnwrapKey {
            session,
            mechanism,
            unwrapping_key: key,
            wrapped: bytes,
            template: List::new(Vec::new()).expect("none"),
        },
        11 => Request::WrapKeyAuthenticated {
            session,
            mechanism,
            wrapping_key: key,
            key,
            associated: bytes,
            output,
        },
        12 => Request::UnwrapKeyAuthenticated {
            session,
            mechanism,
            unwrapping_key: key,
            wrapped: bytes,
            template: List::new(Vec::new()).expect("none"),
            associated: bytes,
        },
        _ => Request::DigestKey { session, key },
    }
}

/// Mostly one that fits the request, with its own parameter.
fn chosen<'a>(noise: &mut Noise, kinds: &[MechanismType], bytes: &'a [u8]) -> Mechanism<'a> {
    let kind = if noise.once_in(10) {
        MechanismType(strange(noise))
    } else {
        kinds[noise.below(kinds.len())]
    };
    let short = &bytes[..bytes.len().min(16)];
    let gcm = Parameter::Gcm {
        iv: short,
        aad: bytes,
        tag_bits: 128,
    };
    let gcm_wrap = Parameter::GcmWrap {
        iv: short,
        fixed_bits: strange(noise),
        generator: Mgf(noise.below(6) as u64),
        aad: &bytes[..bytes.len().min(noise.below(3))],
        tag_bits: 128,
    };
    let parameter = if noise.once_in(5) {
        match noise.below(7) {
            0 => Parameter::None,
            1 => Parameter::Bytes(short),
            2 => Parameter::Counter {
                bits: strange(noise),
                block: [7; 16],
            },
            3 => gcm,
            4 => Parameter::Number(strange(noise)),
            5 => gcm_wrap,
            _ => Parameter::Malformed,
        }
    } else {
        match kind {
            MechanismType::AES_CBC_PAD | MechanismType::AES_CBC => Parameter::Bytes(&[9; 16]),
            MechanismType::AES_CTR => Parameter::Counter {
                bits: 64,
                block: [7; 16],
            },
            MechanismType::AES_GCM if noise.once_in(2) => gcm_wrap,
            MechanismType::AES_GCM => gcm,
            _ => Parameter::None,
        }
    };
    Mechanism { kind, parameter }
}

const CIPHERS: [MechanismType; 5] = [
    MechanismType::AES_CBC_PAD,
    MechanismType::AES_CBC,
    MechanismType::AES_GCM,
    MechanismType::AES_CTR,
    MechanismType::AES_ECB,
];
const DIGESTS: [MechanismType; 3] = [
    MechanismType::SHA_1,
    MechanismType::SHA256,
    MechanismType::SHA3_512,
];
const CODES: [MechanismType; 3] = [
    MechanismType::AES_CMAC,
    MechanismType::ECDSA,
    MechanismType::SHA256_HMAC,
];
const WRAPS: [MechanismType; 3] = [
    MechanismType::AES_KEY_WRAP,
    MechanismType::AES_CBC_PAD,
    MechanismType::AES_GCM,
];

fn output(noise: &mut Noise) -> Output {
    if noise.once_in(8) {
        Output::Size
    } else {
        Output::Capacity([0, 16, 64, 1 << 20, u64::MAX][noise.below(5)])
    }
}
