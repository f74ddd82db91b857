//! *What lives here:* the tests of `digest.rs`. *What must never live here:* what several tests share (`session/operation/rig.rs`). *Who
//! calls it:* the test runner.

use strongroom_crypto::digest::digest as expected;
use strongroom_wire::ck::{KeyType, MechanismType as M};
use strongroom_wire::request::Parameter;

use super::*;
use crate::attribute::Value;
use crate::mechanism::rows;
use crate::session::operation::rig::{Rig, data, done, mechanism, room, size, too_small};

#[test]
fn every_row_digests() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let mut rows_seen = 0;
    for (row, hash) in rows().iter().filter_map(|row| Some((row, row.digest()?))) {
        let with = mechanism(row.kind, Parameter::None);
        done(digest_init(desk, Some(&with)));
        assert_eq!(
            digest_init(desk, Some(&with)).unwrap_err(),
            Error::OperationActive
        );
        let length = size(digest(desk, b"abc", Output::Size));
        assert_eq!(length, hash.output_bytes());
        assert_eq!(too_small(digest(desk, b"abc", room(length - 1))), length);
        let whole = data(digest(desk, b"abc", room(length)));
        assert_eq!(whole, expected(hash, b"abc").unwrap().as_ref());
        assert_eq!(
            digest(desk, b"abc", room(length)).unwrap_err(),
            Error::OperationNotInitialized
        );

        done(digest_init(desk, Some(&with)));
        done(digest_update(desk, b"a"));
        done(digest_update(desk, b""));
        done(digest_update(desk, b"bc"));
        assert_eq!(size(digest_final(desk, Output::Size)), length);
        assert_eq!(too_small(digest_final(desk, room(0))), length);
        assert_eq!(data(digest_final(desk, room(length))), whole);

        let wrong = mechanism(row.kind, Parameter::Number(1));
        assert_eq!(
            digest_init(desk, Some(&wrong)).unwrap_err(),
            Error::MechanismParamInvalid
        );
        rows_seen += 1;
    }
    assert_eq!(rows_seen, 12);
    let hmac = mechanism(M::SHA256_HMAC, Parameter::None);
    assert_eq!(
        digest_init(desk, Some(&hmac)).unwrap_err(),
        Error::MechanismInvalid
    );
}

#[test]
fn a_whole_digest_does_not_end_parts() {
    let rig = Rig::new();
    let desk = &rig.desk();
    done(digest_init(
        desk,
        Some(&mechanism(M::SHA256, Parameter::None)),
    ));
    done(digest_update(desk, b"a"));
    assert_eq!(
        digest(desk, b"bc", room(32)).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert_eq!(
        digest_final(desk, room(32)).unwrap_err(),
        Error::OperationNotInitialized
    );
}

#[test]
fn keys_are_digested_if_their_value_may_be_known() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let with = mechanism(M::SHA256, Parameter::None);
    let flag = |kind, value| [(kind, Value::Flag(value))];
    let open = rig.secret_with(KeyType::GENERIC_SECRET, b"bc", &[]);
    done(digest_init(desk, Some(&with)));
    done(digest_update(desk, b"a"));
    done(digest_key(desk, open));
    assert_eq!(
        data(digest_final(desk, room(32))),
        expected(strongroom_crypto::digest::Hash::Sha256, b"abc")
            .unwrap()
            .as_ref()
    );

    let sensitive = rig.secret_with(
        KeyType::AES,
        &[1; 16],
        &flag(AttributeType::SENSITIVE, true),
    );
    let kept = rig.secret_with(
        KeyType::AES,
        &[1; 16],
        &flag(AttributeType::EXTRACTABLE, false),
    );
    for (key, error) in [
        (sensitive, Error::KeyIndigestible),
        (kept, Error::KeyIndigestible),
        (rig.rsa_with(&[]).public, Error::KeyIndigestible),
        (rig.ed25519().private, Error::KeyIndigestible),
        (ObjectHandle(5), Error::KeyHandleInvalid),
    ] {
        done(digest_init(desk, Some(&with)));
        assert_eq!(digest_key(desk, key).unwrap_err(), error);
        assert_eq!(
            digest_key(desk, key).unwrap_err(),
            Error::OperationNotInitialized
        );
    }
}
