//! *What lives here:* the tests of the one question: which key, for what, with which mechanism, on which day. *What must never live
//! here:* what several tests share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{AttributeType as A, Kdf, MechanismType as M, Rv};
use strongroom_wire::request::{Mechanism, ObjectHandle, Parameter, Request};

use super::*;
use crate::attribute::Value;
use crate::attribute::samples::{class_and_type, created, p256};
use crate::attribute::table::Shape;
use crate::ports::Time;
use crate::service::rig::*;

const DAY: i64 = 86_400_000;

/// A use of a key: its name, the permission that it wants, whether it is of a private key, and whether it goes on after the end date.
struct Case {
    name: &'static str,
    permission: A,
    mechanism: M,
    rsa: Option<bool>,
    after_end: bool,
}

#[rustfmt::skip]
const CASES: [Case; 15] = [
    Case { name: "encrypt", permission: A::ENCRYPT, mechanism: M::AES_ECB, rsa: None, after_end: false },
    Case { name: "decrypt", permission: A::DECRYPT, mechanism: M::AES_ECB, rsa: None, after_end: true },
    Case { name: "sign", permission: A::SIGN, mechanism: M::AES_CMAC, rsa: None, after_end: false },
    Case { name: "verify", permission: A::VERIFY, mechanism: M::AES_CMAC, rsa: None, after_end: true },
    Case { name: "wrap", permission: A::WRAP, mechanism: M::AES_KEY_WRAP_KWP, rsa: None, after_end: false },
    Case { name: "unwrap", permission: A::UNWRAP, mechanism: M::AES_KEY_WRAP_KWP, rsa: None, after_end: true },
    Case { name: "encrypt", permission: A::ENCRYPT, mechanism: M::RSA_PKCS, rsa: Some(false), after_end: false },
    Case { name: "decrypt", permission: A::DECRYPT, mechanism: M::RSA_PKCS, rsa: Some(true), after_end: true },
    Case { name: "sign", permission: A::SIGN, mechanism: M::RSA_PKCS, rsa: Some(true), after_end: false },
    Case { name: "sign_recover", permission: A::SIGN_RECOVER, mechanism: M::RSA_PKCS, rsa: Some(true), after_end: false },
    Case { name: "verify", permission: A::VERIFY, mechanism: M::RSA_PKCS, rsa: Some(false), after_end: true },
    Case { name: "verify_recover", permission: A::VERIFY_RECOVER, mechanism: M::RSA_PKCS, rsa: Some(false), after_end: true },
    Case { name: "wrap", permission: A::WRAP, mechanism: M::RSA_PKCS, rsa: Some(false), after_end: false },
    Case { name: "unwrap", permission: A::UNWRAP, mechanism: M::RSA_PKCS, rsa: Some(true), after_end: true },
    Case { name: "derive", permission: A::DERIVE, mechanism: M::ECDH1_DERIVE, rsa: None, after_end: false },
];

impl Case {
    /// A key that may do it, and says these things more.
    fn key(&self, talk: &Talk, more: &[(A, Value)]) -> ObjectHandle {
        let shape = match (self.rsa, self.name) {
            (Some(true), _) => Shape::RsaPrivate,
            (Some(false), _) => Shape::RsaPublic,
            (None, "derive") => Shape::EcPrivate,
            (None, _) => Shape::Secret,
        };
        let template = with(&created(shape), &[yes(self.permission)]);
        talk.create(&with(&template, more)).unwrap()
    }

    /// Asks for it and tells whether it was permitted; ends what it began.
    fn ask(&self, talk: &Talk, key: ObjectHandle) -> Rv {
        let session = talk.session;
        let mechanism = Some(plain(self.mechanism));
        let rv = match self.name {
            "encrypt" => talk.rv(&Request::EncryptInit {
                session,
                mechanism,
                key,
            }),
            "decrypt" => talk.rv(&Request::DecryptInit {
                session,
                mechanism,
                key,
            }),
            "sign" => talk.rv(&Request::SignInit {
                session,
                mechanism,
                key,
            }),
            "sign_recover" => talk.rv(&Request::SignRecoverInit {
                session,
                mechanism,
                key,
            }),
            "verify" => talk.rv(&Request::VerifyInit {
                session,
                mechanism,
                key,
            }),
            "verify_recover" => talk.rv(&Request::VerifyRecoverInit {
                session,
                mechanism,
                key,
            }),
            "wrap" => {
                let may_leave = with(&created(Shape::Secret), &[yes(A::EXTRACTABLE)]);
                let target = talk.create(&may_leave).unwrap();
                talk.wrap(plain(self.mechanism), key, target)
                    .map_or_else(|rv| rv, |_| Rv::OK)
            }
            // Rubbish is unwrapped: only a key that may be used comes as far as to see that.
            "unwrap" => {
                let template = class_and_type(Shape::Secret);
                match talk.unwrap(plain(self.mechanism), key, &[1; 256], &template) {
                    Err(Rv::WRAPPED_KEY_INVALID | Rv::WRAPPED_KEY_LEN_RANGE) => Rv::OK,
                    other => other.unwrap_err(),
                }
            }
            _ => {
                let parameter = Parameter::Ecdh1 {
                    kdf: Kdf::NULL,
                    shared: &[],
                    point: &crate::attribute::samples::point(),
                };
                let mechanism = Mechanism {
                    kind: self.mechanism,
                    parameter,
                };
                talk.derive(mechanism, key, &[])
                    .map_or_else(|rv| rv, |_| Rv::OK)
            }
        };
        talk.rv(&Request::SessionCancel {
            session,
            flags: 0xff00,
        });
        rv
    }
}

#[test]
fn a_key_does_what_it_permits() {
    let talk = House::new().user();
    for case in CASES {
        let name = format!("{} with {}", case.name, case.mechanism);
        assert_eq!(case.ask(&talk, case.key(&talk, &[])), Rv::OK, "{name}");
        let forbidden = case.key(&talk, &[no(case.permission)]);
        assert_eq!(
            case.ask(&talk, forbidden),
            Rv::KEY_FUNCTION_NOT_PERMITTED,
            "{name}"
        );
    }
}

#[test]
fn allowed_mechanisms_are_all_when_absent_and_none_when_empty() {
    let talk = House::new().user();
    for case in CASES {
        for (allowed, answer) in [
            (mechanisms(&[]), Rv::MECHANISM_INVALID),
            (mechanisms(&[M::SHA256]), Rv::MECHANISM_INVALID),
            (mechanisms(&[M::SHA256, case.mechanism]), Rv::OK),
        ] {
            let key = case.key(&talk, &[allowed]);
            assert_eq!(
                case.ask(&talk, key),
                answer,
                "{} with {}",
                case.name,
                case.mechanism
            );
        }
    }
}

#[test]
fn a_key_is_in_force_from_its_first_day_to_its_last_and_reads_after_it() {
    let house = House::new();
    let talk = house.user();
    // Noon of the day before the first, of the first, of the last, of the day after it; the clock of the rig shows 2026-11-22.
    let dates = [
        bytes(A::START_DATE, b"20261122"),
        bytes(A::END_DATE, b"20261124"),
    ];
    for case in CASES {
        let key = case.key(&talk, &dates);
        for (offset, in_force) in [
            (-1, false),
            (0, true),
            (1, true),
            (2, true),
            (3, case.after_end),
            (30, case.after_end),
        ] {
            house
                .clock
                .turn_to(Time(NOW.0.checked_add_signed(offset * DAY).unwrap()));
            let answer = if in_force {
                Rv::OK
            } else {
                Rv::KEY_FUNCTION_NOT_PERMITTED
            };
            let name = format!("{} with {}, day {offset}", case.name, case.mechanism);
            assert_eq!(case.ask(&talk, key), answer, "{name}");
        }
        house.clock.turn_to(NOW);
        let undated = case.key(&talk, &[bytes(A::START_DATE, b""), bytes(A::END_DATE, b"")]);
        assert_eq!(case.ask(&talk, undated), Rv::OK);
    }
}

#[test]
fn a_date_changed_counts_for_the_next_use() {
    let talk = House::new().user();
    let case = &CASES[0];
    let key = case.key(&talk, &[yes(A::TOKEN)]);
    assert_eq!(case.ask(&talk, key), Rv::OK);
    assert_eq!(talk.set(key, &[bytes(A::END_DATE, b"20261121")]), Rv::OK);
    assert_eq!(case.ask(&talk, key), Rv::KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(
        talk.set(key, &[bytes(A::END_DATE, b"2026x121")]),
        Rv::ATTRIBUTE_VALUE_INVALID
    );
}

#[test]
fn a_key_of_another_type_and_what_is_no_key_are_refused() {
    let talk = House::new().user();
    let data = talk.create(&class_and_type(Shape::Data)).unwrap();
    let (public, _) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &[]).unwrap();
    for case in CASES.into_iter().filter(|case| case.name != "derive") {
        let name = case.name;
        let (wrong, gone) = match name {
            "wrap" => (
                Rv::WRAPPING_KEY_TYPE_INCONSISTENT,
                Rv::WRAPPING_KEY_HANDLE_INVALID,
            ),
            "unwrap" => (
                Rv::UNWRAPPING_KEY_TYPE_INCONSISTENT,
                Rv::UNWRAPPING_KEY_HANDLE_INVALID,
            ),
            _ => (Rv::KEY_TYPE_INCONSISTENT, Rv::KEY_HANDLE_INVALID),
        };
        assert_eq!(case.ask(&talk, public), wrong, "{name}");
        assert_eq!(case.ask(&talk, data), gone, "{name}");
        assert_eq!(case.ask(&talk, ObjectHandle(77)), gone, "{name}");
    }
}

#[test]
fn a_mechanism_serves_its_own_functions_only() {
    let talk = House::new().user();
    let key = CASES[0].key(&talk, &[]);
    for (name, mechanism) in [
        ("encrypt", M::AES_CMAC),
        ("sign", M::AES_ECB),
        ("decrypt", M::SHA256),
        ("verify", M::AES_KEY_GEN),
        ("wrap", M::AES_CMAC),
        ("unwrap", M::AES_CMAC),
    ] {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        let case = Case { mechanism, ..*case };
        assert_eq!(
            case.ask(&talk, key),
            Rv::MECHANISM_INVALID,
            "{name} with {mechanism}"
        );
    }
}

#[test]
fn a_key_too_small_for_its_mechanism_signs_nothing() {
    let object = |class: ObjectClass| {
        let attributes = vec![(A::CLASS, Value::Number(class.0))];
        let attributes = crate::attribute::Attributes::new(attributes);
        Object::new(ObjectHandle(1), attributes, crate::object::Place::Nowhere)
    };
    start();
    let value = strongroom_keymem::SecretBytes::copy_from(&[1; 16]).unwrap();
    let key = OpenKey::Secret(crate::object::open_key::SecretKey::new(value));
    let rules = Rules {
        today: Date {
            year: 2026,
            month: 11,
            day: 22,
        },
        rsa_bits_min: 1024,
    };
    for row in crate::mechanism::rows()
        .iter()
        .filter(|row| !row.key_types.is_empty())
    {
        let (smallest, largest) = row.sizes;
        let fits = (smallest..=largest).contains(&16);
        let outcome = size_fits(
            &object(ObjectClass::SECRET_KEY),
            &key,
            row,
            rules,
            Error::KeySizeRange,
        );
        assert_eq!(outcome.is_ok(), fits, "{}", row.kind);
        let outcome = size_fits(
            &object(ObjectClass::PUBLIC_KEY),
            &key,
            row,
            rules,
            Error::KeySizeRange,
        );
        assert_eq!(outcome.is_ok(), largest >= 16, "{}", row.kind);
    }
}
