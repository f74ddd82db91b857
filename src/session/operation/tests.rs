//! *What lives here:* the tests of `operation.rs`. *What must never live here:* what several tests share (`session/operation/rig.rs`). *Who
//! calls it:* the test runner.

use strongroom_wire::ck::{KeyType, MechanismType as M};

use super::rig::{Rig, data, done, mechanism, room, size, too_small};
use super::*;
use crate::attribute::Value;
use crate::chapter::{cipher, digest, sign};

fn reply(
    slot: &mut Slot<u8>,
    call: Call,
    output: Output,
    length: Length,
    result: &[u8],
) -> Result<Reply> {
    slot.deliver_last(
        call,
        output,
        |_| Ok(length),
        |_, out| Ok(out.push_slice(result)?),
    )
}

fn active() -> Slot<u8> {
    Rig::new();
    let mut slot = Slot::default();
    slot.begin_keyless(1).unwrap();
    slot
}

/// Every function of a slot, as to whether it finds an operation.
fn is_idle(slot: &mut Slot<u8>) -> bool {
    slot.must_be_idle().is_ok()
        && slot.take_part(|_| Ok(())).unwrap_err() == Error::OperationNotInitialized
        && slot.conclude(Call::Whole, |_| Ok(())).unwrap_err() == Error::OperationNotInitialized
        && slot
            .deliver_part(Output::Size, |_| Ok(0), |_, _| Ok(()))
            .unwrap_err()
            == Error::OperationNotInitialized
        && reply(slot, Call::Final, Output::Size, Length::Exact(0), b"").unwrap_err()
            == Error::OperationNotInitialized
}

#[test]
fn from_idle_nothing_but_begin_goes_on() {
    assert!(is_idle(&mut Slot::default()));
    let mut slot = active();
    assert_eq!(slot.begin_keyless(2).unwrap_err(), Error::OperationActive);
    slot.conclude(Call::Whole, |operation| {
        assert_eq!(operation, 1);
        Ok(())
    })
    .unwrap();
    assert!(is_idle(&mut slot));
}

#[test]
fn a_size_ends_nothing_and_computes_nothing() {
    let mut slot = active();
    for call in [Call::Whole, Call::Final] {
        for length in [Length::Exact(3), Length::AtMost(3)] {
            let reply = slot.deliver_last(
                call,
                Output::Size,
                |_| Ok(length),
                |_, _| panic!("computed"),
            );
            assert_eq!(size(reply), 3);
        }
        let reply = slot.deliver_last(
            call,
            room(2),
            |_| Ok(Length::Exact(3)),
            |_, _| panic!("computed"),
        );
        assert_eq!(too_small(reply), 3);
    }
    assert_eq!(
        data(reply(
            &mut slot,
            Call::Whole,
            room(3),
            Length::Exact(3),
            b"abc"
        )),
        b"abc"
    );
    assert!(is_idle(&mut slot));
}

#[test]
fn a_result_is_computed_once_and_held_until_it_fits() {
    for call in [Call::Whole, Call::Final] {
        let mut slot = active();
        assert_eq!(
            too_small(reply(&mut slot, call, room(2), Length::AtMost(9), b"abc")),
            3
        );
        assert_eq!(slot.begin_keyless(2).unwrap_err(), Error::OperationActive);
        let again = |slot: &mut Slot<u8>, output| {
            slot.deliver_last(call, output, |_| panic!("asked"), |_, _| panic!("computed"))
        };
        assert_eq!(too_small(again(&mut slot, room(0))), 3);
        assert_eq!(size(again(&mut slot, Output::Size)), 3);
        assert_eq!(data(again(&mut slot, room(3))), b"abc");
        assert!(is_idle(&mut slot));
    }
}

#[test]
fn a_bound_need_not_fit_if_the_result_does() {
    let mut slot = active();
    assert_eq!(
        data(reply(
            &mut slot,
            Call::Whole,
            room(3),
            Length::AtMost(9),
            b"abc"
        )),
        b"abc"
    );
    assert!(is_idle(&mut slot));
}

#[test]
fn another_function_ends_what_is_held() {
    let held = || {
        let mut slot = active();
        too_small(reply(
            &mut slot,
            Call::Final,
            room(2),
            Length::AtMost(9),
            b"abc",
        ));
        slot
    };
    let none = Error::OperationNotInitialized;
    let mut slot = held();
    assert_eq!(slot.take_part(|_| Ok(())).unwrap_err(), none);
    assert!(is_idle(&mut slot));
    let mut slot = held();
    assert_eq!(
        reply(&mut slot, Call::Whole, room(9), Length::Exact(0), b"").unwrap_err(),
        none
    );
    assert!(is_idle(&mut slot));
    let mut slot = held();
    slot.cancel();
    assert!(is_idle(&mut slot));
}

#[test]
fn whatever_fails_ends_the_operation() {
    let fail = || Error::DataInvalid;
    let mut slots: [Slot<u8>; 6] = std::array::from_fn(|_| active());
    let [a, b, c, d, e, f] = &mut slots;
    assert_eq!(a.take_part(|_| Err(fail())).unwrap_err(), fail());
    assert_eq!(
        b.conclude(Call::Whole, |_| Err(fail())).unwrap_err(),
        fail()
    );
    assert_eq!(
        c.deliver_part(room(9), |_| Err(fail()), |_, _| Ok(()))
            .unwrap_err(),
        fail()
    );
    assert_eq!(
        d.deliver_part(room(9), |_| Ok(0), |_, _| Err(fail()))
            .unwrap_err(),
        fail()
    );
    assert_eq!(
        e.deliver_last(Call::Whole, room(9), |_| Err(fail()), |_, _| Ok(()))
            .unwrap_err(),
        fail()
    );
    assert_eq!(
        f.deliver_last(
            Call::Whole,
            room(9),
            |_| Ok(Length::Exact(0)),
            |_, _| Err(fail())
        )
        .unwrap_err(),
        fail()
    );
    assert!(slots.iter_mut().all(is_idle));
}

#[test]
fn a_part_that_does_not_fit_is_not_consumed() {
    let mut slot = active();
    let too_much = slot.deliver_part(room(0), |_| Ok(1), |_, _| panic!("computed"));
    assert_eq!(too_small(too_much), 1);
    // Not begun in parts yet, so the whole may still come.
    assert_eq!(
        size(reply(
            &mut slot,
            Call::Whole,
            Output::Size,
            Length::Exact(1),
            b""
        )),
        1
    );
    slot.deliver_part(room(1), |_| Ok(1), |_, out| Ok(out.push_slice(b"a")?))
        .unwrap();
    assert_eq!(
        slot.conclude(Call::Whole, |_| Ok(())).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert!(is_idle(&mut slot));
}

#[test]
fn init_without_a_mechanism_cancels() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let key = rig.aes().private;
    let cmac = mechanism(M::AES_CMAC, Parameter::None);
    done(sign::sign_init(desk, None, key));
    done(sign::sign_init(desk, Some(&cmac), key));
    done(sign::sign_init(desk, None, ObjectHandle(0)));
    assert_eq!(
        sign::sign(desk, b"", room(16)).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(digest::digest_init(
        desk,
        Some(&mechanism(M::SHA256, Parameter::None)),
    ));
    done(digest::digest_init(desk, None));
    assert_eq!(
        digest::digest(desk, b"", room(32)).unwrap_err(),
        Error::OperationNotInitialized
    );
}

#[test]
fn kinds_run_beside_each_other_and_flags_cancel_their_own() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let (key, rsa) = (rig.aes().private, rig.rsa_with(&[]));
    let cmac = mechanism(M::AES_CMAC, Parameter::None);
    let ecb = mechanism(M::AES_ECB, Parameter::None);
    let pkcs1 = mechanism(M::RSA_PKCS, Parameter::None);
    let sha256 = mechanism(M::SHA256, Parameter::None);
    let begin_all = || {
        [
            sign::sign_init(desk, Some(&cmac), key),
            sign::verify_init(desk, Some(&cmac), key),
            sign::sign_recover_init(desk, Some(&pkcs1), rsa.private),
            sign::verify_recover_init(desk, Some(&pkcs1), rsa.public),
            cipher::encrypt_init(desk, Some(&ecb), key),
            cipher::decrypt_init(desk, Some(&ecb), key),
            digest::digest_init(desk, Some(&sha256)),
        ]
        .map(|begun| begun.is_ok())
    };
    assert_eq!(begin_all(), [true; 7]);
    assert_eq!(begin_all(), [false; 7]);
    let flags = [
        flag::SIGN,
        flag::VERIFY,
        flag::SIGN_RECOVER,
        flag::VERIFY_RECOVER,
        flag::ENCRYPT,
        flag::DECRYPT,
        flag::DIGEST,
    ];
    for (place, flag) in flags.into_iter().enumerate() {
        rig.session.operations.lock().cancel(flag);
        let mut expected = [false; 7];
        expected[place] = true;
        assert_eq!(begin_all(), expected);
    }
    rig.session
        .operations
        .lock()
        .cancel(flags[0] | flags[6] | flag::FIND_OBJECTS);
    assert_eq!(begin_all(), [true, false, false, false, false, false, true]);
    rig.session.operations.lock().cancel(u64::MAX);
    assert_eq!(begin_all(), [true; 7]);
}

#[test]
fn a_key_that_wants_a_login_each_time_gets_it_for_one_operation() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let careful = rig
        .rsa_with(&[(AttributeType::ALWAYS_AUTHENTICATE, Value::Flag(true))])
        .private;
    let context_login = || rig.session.operations.lock().context_login();
    let pkcs1 = mechanism(M::RSA_PKCS, Parameter::None);
    let sha256 = mechanism(M::SHA256_RSA_PKCS, Parameter::None);
    assert_eq!(context_login().unwrap_err(), Error::OperationNotInitialized);

    // Without: the size may be asked, the first use ends it.
    done(sign::sign_init(desk, Some(&pkcs1), careful));
    assert!(rig.session.operations.lock().awaits_login());
    assert_eq!(size(sign::sign(desk, b"x", Output::Size)), 256);
    assert_eq!(too_small(sign::sign(desk, b"x", room(1))), 256);
    assert_eq!(
        sign::sign(desk, b"x", room(256)).unwrap_err(),
        Error::UserNotLoggedIn
    );
    assert_eq!(
        sign::sign(desk, b"x", room(256)).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(sign::sign_init(desk, Some(&sha256), careful));
    assert_eq!(
        sign::sign_update(desk, b"x").unwrap_err(),
        Error::UserNotLoggedIn
    );
    assert!(!rig.session.operations.lock().awaits_login());

    // With: one operation, however many parts.
    done(sign::sign_init(desk, Some(&sha256), careful));
    context_login().unwrap();
    assert_eq!(context_login().unwrap_err(), Error::OperationNotInitialized);
    done(sign::sign_update(desk, b"x"));
    done(sign::sign_update(desk, b"y"));
    data(sign::sign_final(desk, room(256)));
    done(sign::sign_init(desk, Some(&sha256), careful));
    assert_eq!(
        sign::sign(desk, b"x", room(256)).unwrap_err(),
        Error::UserNotLoggedIn
    );

    // One login does not count for another operation.
    done(sign::sign_init(desk, Some(&pkcs1), careful));
    done(cipher::decrypt_init(desk, Some(&pkcs1), careful));
    context_login().unwrap();
    assert_eq!(
        sign::sign(desk, b"x", room(256)).unwrap_err(),
        Error::UserNotLoggedIn
    );
    assert_eq!(
        cipher::decrypt(desk, &[0xff; 256], room(256)).unwrap_err(),
        Error::EncryptedDataInvalid
    );
    done(sign::sign_recover_init(desk, Some(&pkcs1), careful));
    done(sign::sign_init(desk, Some(&pkcs1), careful));
    context_login().unwrap();
    data(sign::sign(desk, b"x", room(256)));
    context_login().unwrap();
    data(sign::sign_recover(desk, b"x", room(256)));
}

#[test]
fn a_logout_ends_the_operations_of_private_keys() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let private = |value| [(AttributeType::PRIVATE, Value::Flag(value))];
    let hidden = rig.secret_with(KeyType::AES, &[1; 16], &private(true));
    let shown = rig.secret_with(KeyType::AES, &[1; 16], &private(false));
    let cmac = mechanism(M::AES_CMAC, Parameter::None);
    assert_eq!(
        sign::sign_init(desk, Some(&cmac), hidden).unwrap_err(),
        Error::KeyHandleInvalid
    );
    rig.log_in();
    let padded = mechanism(M::AES_CBC_PAD, Parameter::Bytes(&[0; 16]));
    done(cipher::encrypt_init(desk, Some(&padded), hidden));
    let sealed = data(cipher::encrypt(desk, b"text", room(16)));
    done(sign::sign_init(desk, Some(&cmac), hidden));
    done(sign::verify_init(desk, Some(&cmac), shown));
    done(cipher::decrypt_init(desk, Some(&padded), hidden));
    // What is held is not handed over either.
    assert_eq!(too_small(cipher::decrypt(desk, &sealed, room(1))), 4);
    rig.log_out();
    assert_eq!(
        sign::sign(desk, b"", room(16)).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert_eq!(
        cipher::decrypt(desk, &sealed, room(16)).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert_eq!(
        sign::verify(desk, b"", &[0; 16]).unwrap_err(),
        Error::SignatureInvalid
    );
}
