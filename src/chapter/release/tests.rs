//! *What lives here:* the tests of releases through sessions: who may, which key leaves, how, and that there is no other way. *What must
//! never live here:* what several tests share (`release/rig.rs`). *Who calls it:* the test runner.

use serde_json::json;
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::pkcs8::PrivateKey;
use strongroom_wire::ck::{AttributeType as A, MechanismType as M, Mgf, OaepSource, Rv, UserType};
use strongroom_wire::request::{Mechanism, OaepParameter, Output, Parameter, Request};
use strongroom_wire::response::Body;

use super::*;
use crate::attribute::samples::{class_and_type, p256};
use crate::ports::Clock as _;
use crate::release::rig::*;
use crate::release::text::decoded;
use crate::service::rig::*;

/// A house that knows the authority of the tests.
fn house() -> Arc<House> {
    let house = House::new();
    house.register();
    house
}

fn released_with(policy: &[u8]) -> Vec<(A, Value)> {
    vec![
        yes(A::EXTRACTABLE),
        bytes(A::STRONGROOM_RELEASE_POLICY, policy),
    ]
}

/// An AES key with a policy.
fn key(talk: &Talk) -> ObjectHandle {
    aes_with(talk, &released_with(&policy("sdk-test", &json!(true)))).unwrap()
}

fn aes_with(talk: &Talk, more: &[(A, Value)]) -> std::result::Result<ObjectHandle, Rv> {
    talk.generate(M::AES_KEY_GEN, &with(&[number(A::VALUE_LEN, 32)], more))
}

fn present(talk: &Talk, statement: &str) -> std::result::Result<ObjectHandle, Rv> {
    talk.create(&with(
        &class_and_type(Shape::Data),
        &[
            bytes(A::APPLICATION, APPLICATION),
            bytes(A::VALUE, statement.as_bytes()),
        ],
    ))
}

fn rsa_aes(hash: M, mgf: Mgf) -> Mechanism<'static> {
    let oaep = OaepParameter {
        hash,
        mgf,
        source: OaepSource::DATA_SPECIFIED,
        label: b"",
    };
    Mechanism {
        kind: M::RSA_AES_KEY_WRAP,
        parameter: Parameter::RsaAesKeyWrap {
            aes_bits: 256,
            oaep,
        },
    }
}

fn sha256() -> Mechanism<'static> {
    rsa_aes(M::SHA256, Mgf::MGF1_SHA256)
}

fn release(
    talk: &Talk,
    key: ObjectHandle,
    asked: KeyRelease<'_>,
) -> std::result::Result<String, Rv> {
    let session = talk.session;
    let told = talk.ask(&Request::ReleaseKey {
        session,
        key,
        release: asked,
    });
    match told.body() {
        Body::Output { data, .. } if told.rv() == Rv::OK => {
            Ok(String::from_utf8(data.expose().to_vec()).unwrap())
        }
        _ => Err(told.rv()),
    }
}

fn asked<'a>(statement: &'a str, encryption: Option<&'a str>) -> KeyRelease<'a> {
    KeyRelease {
        statement: statement.as_bytes(),
        nonce: None,
        encryption,
        versioned: true,
    }
}

/// T13: every kind of key by each encryption; what the place opens is the key.
#[test]
fn keys_of_every_kind_leave_in_every_encryption() {
    let house = house();
    let talk = house.user();
    let more = released_with(&policy("sdk-test", &json!(true)));
    let statement = statement(&json!({}));
    let rsa = talk
        .pair(
            M::RSA_PKCS_KEY_PAIR_GEN,
            &[number(A::MODULUS_BITS, 2048)],
            &more,
        )
        .unwrap();
    let ec = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &more).unwrap();
    for (public, private, kty) in [
        (Some(rsa.0), rsa.1, "RSA-HSM"),
        (Some(ec.0), ec.1, "EC-HSM"),
        (None, key(&talk), "oct-HSM"),
    ] {
        for (name, hash) in [
            (None, Hash::Sha1),
            (Some("RSA_AES_KEY_WRAP_256"), Hash::Sha256),
            (Some("RSA_AES_KEY_WRAP_384"), Hash::Sha384),
        ] {
            let envelope = release(&talk, private, asked(&statement, name)).unwrap();
            let (header, payload, _) = parts(&envelope);
            assert_eq!(header["alg"], "RS256");
            assert_eq!(
                payload["request"]["enc"],
                name.unwrap_or("CKM_RSA_AES_KEY_WRAP")
            );
            let told = &payload["response"]["key"]["key"];
            assert_eq!(told["kty"], kty);
            assert_eq!(payload["response"]["key"]["attributes"]["exportable"], true);
            let hsm = decoded(told["key_hsm"].as_str().unwrap()).unwrap();
            let hsm: Json = serde_json::from_slice(&hsm).unwrap();
            assert_eq!(hsm["header"]["kid"], "kek");
            let plain = opened(hash, &decoded(hsm["ciphertext"].as_str().unwrap()).unwrap());
            match public {
                None => {
                    assert_eq!(plain.len(), 32);
                    let check = talk.read(private, A::CHECK_VALUE).unwrap();
                    let cipher = strongroom_crypto::block::BlockCipher::Aes;
                    assert_eq!(
                        strongroom_crypto::block::check_value(cipher, &plain)
                            .unwrap()
                            .as_slice(),
                        check
                    );
                }
                Some(public) => {
                    let info = talk.read(public, A::PUBLIC_KEY_INFO).unwrap();
                    let opened = match PrivateKey::from_pkcs8(&plain).unwrap() {
                        PrivateKey::Rsa(key) => key.public().unwrap().to_spki_der().unwrap(),
                        PrivateKey::Ec(key) => key.to_spki_der(),
                        _ => panic!("another kind"),
                    };
                    assert_eq!(opened, info);
                }
            }
        }
    }
    assert_eq!(
        release(&talk, ec.1, asked(&statement, Some("RSA1_5"))),
        Err(Rv::ARGUMENTS_BAD)
    );
}

/// The envelope is signed by a certificate of the installation's root, for the host of the token.
#[test]
fn the_envelope_is_signed_for_the_host_of_the_token() {
    let house = house();
    let talk = house.user();
    let key = talk.copy(key(&talk), &[yes(A::TOKEN)]).unwrap();
    let statement = statement(&json!({"nonce": "n-1"}));
    let envelope = release(
        &talk,
        key,
        KeyRelease {
            nonce: Some("n-1"),
            versioned: false,
            ..asked(&statement, None)
        },
    )
    .unwrap();
    let (header, payload, signature) = parts(&envelope);
    assert_eq!(payload["request"]["nonce"], "n-1");
    let id = String::from_utf8(talk.read(key, A::UNIQUE_ID).unwrap()).unwrap();
    assert_eq!(
        payload["request"]["kid"],
        format!("https://a-token.strongroom.internal/keys/{id}")
    );
    let kid = payload["response"]["key"]["key"]["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        kid,
        format!("https://a-token.strongroom.internal/keys/{id}/{id}")
    );
    let chain: Vec<Vec<u8>> = header["x5c"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| crate::release::text::standard_decoded(link.as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(
        header["x5t#S256"],
        encoded(digest(Hash::Sha256, &chain[0]).unwrap().as_ref())
    );
    let root = house.root_certificate();
    assert_eq!(chain[1], root);
    let signer = crate::release::certificate::signer_of_chain(&chain, &[root], NOW).unwrap();
    let message = &envelope[..envelope.rfind('.').unwrap()];
    let algorithm = crate::release::jwk::Algorithm::Rs(Hash::Sha256);
    assert!(signer.verifies(algorithm, message.as_bytes(), &signature));
    // The signer stays, also over a restart.
    let again = house.restarted();
    assert_eq!(again.root_certificate(), chain[1]);
    let talk = again.user();
    let envelope = release(
        &talk,
        key,
        KeyRelease {
            nonce: Some("n-1"),
            ..asked(&statement, None)
        },
    )
    .unwrap();
    assert_eq!(parts(&envelope).0["x5c"], header["x5c"]);
}

/// T14 and T16 through the door of gateways: 400 and 403 have their return values.
#[test]
fn statements_that_are_not_believed_release_nothing() {
    let house = house();
    let talk = house.user();
    let key = key(&talk);
    for (statement, rv) in [
        (
            statement(&json!({"iss": "https://other.example"})),
            Rv::ACTION_PROHIBITED,
        ),
        (
            signed_by(rsa(2), &header(&json!({})), &claims(&json!({}))),
            Rv::ACTION_PROHIBITED,
        ),
        (
            statement(&json!({"exp": NOW.0 / 1000 - 1})),
            Rv::ACTION_PROHIBITED,
        ),
        (
            statement(&json!({"x-ms-runtime": null})),
            Rv::ACTION_PROHIBITED,
        ),
        (
            statement(&json!({"sdk-test": false})),
            Rv::KEY_NOT_WRAPPABLE,
        ),
        ("no statement".to_owned(), Rv::DATA_INVALID),
    ] {
        assert_eq!(release(&talk, key, asked(&statement, None)), Err(rv));
    }
    let good = statement(&json!({}));
    let nonce = KeyRelease {
        nonce: Some("n-1"),
        ..asked(&good, None)
    };
    assert_eq!(release(&talk, key, nonce), Err(Rv::ACTION_PROHIBITED));
    let plain = aes_with(&talk, &[yes(A::EXTRACTABLE)]).unwrap();
    assert_eq!(
        release(&talk, plain, asked(&good, None)),
        Err(Rv::KEY_UNEXTRACTABLE)
    );
    assert_eq!(talk.logout(), Rv::OK);
    assert_eq!(
        release(&talk, key, asked(&good, None)),
        Err(Rv::KEY_HANDLE_INVALID)
    );
    let lines = house.audit_lines();
    let refused = lines
        .iter()
        .filter(|line| line.contains("\"refusal\":\"403 "))
        .count();
    assert_eq!(refused, 6);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("\"trace\":\"[0] allOf(sdk-test=no) -> refuses\"")),
        "{lines:?}"
    );
}

/// T18: a key with a policy leaves under no ordinary key, whoever trusts it.
#[test]
fn there_is_no_other_way_out() {
    let house = house();
    let talk = house.user();
    let target = key(&talk);
    let (ordinary, _) = talk
        .pair(
            M::RSA_PKCS_KEY_PAIR_GEN,
            &[number(A::MODULUS_BITS, 2048), yes(A::TOKEN)],
            &[yes(A::TOKEN)],
        )
        .unwrap();
    assert_eq!(
        talk.wrap(sha256(), ordinary, target),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    let wrap = aes_with(&talk, &[yes(A::TOKEN), no(A::PRIVATE)]).unwrap();
    let target_on_token = talk.copy(target, &[yes(A::TOKEN)]).unwrap();
    talk.guest.clone().leave();
    let officer = house.officer();
    for key in [ordinary, wrap] {
        assert_eq!(officer.set(key, &[yes(A::TRUSTED)]), Rv::OK);
    }
    officer.guest.clone().leave();
    let talk = house.user();
    let target = target_on_token;
    assert!(talk.flag(ordinary, A::TRUSTED));
    assert_eq!(
        talk.wrap(sha256(), ordinary, target),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    assert_eq!(
        talk.wrap(plain(M::AES_KEY_WRAP_KWP), wrap, target),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    assert_eq!(talk.read(target, A::VALUE), Err(Rv::ATTRIBUTE_SENSITIVE));
    for change in [
        no(A::SENSITIVE),
        no(A::WRAP_WITH_TRUSTED),
        no(A::EXTRACTABLE),
        bytes(A::STRONGROOM_RELEASE_POLICY, b""),
    ] {
        let rv = talk.set(target, std::slice::from_ref(&change));
        assert!(
            matches!(rv, Rv::ATTRIBUTE_READ_ONLY | Rv::ATTRIBUTE_VALUE_INVALID),
            "{change:?}: {rv}"
        );
        assert!(talk.copy(target, &[change]).is_err());
    }
    let copy = talk.copy(target, &[]).unwrap();
    assert_eq!(
        talk.wrap(sha256(), ordinary, copy),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
}

/// T19: a key that was attested in this session wraps what its statement permits, until its end.
#[test]
fn an_attested_key_wraps_until_its_statement_ends() {
    let house = house();
    let talk = house.user();
    let target = key(&talk);
    let guest = present(&talk, &statement(&json!({}))).unwrap();
    assert!(talk.flag(guest, A::TRUSTED));
    for flag in [A::TOKEN, A::ENCRYPT, A::VERIFY, A::MODIFIABLE, A::COPYABLE] {
        assert!(!talk.flag(guest, flag), "{flag}");
    }
    for (mechanism, hash) in [
        (rsa_aes(M::SHA_1, Mgf::MGF1_SHA1), Hash::Sha1),
        (sha256(), Hash::Sha256),
        (rsa_aes(M::SHA384, Mgf::MGF1_SHA384), Hash::Sha384),
    ] {
        let wrapped = talk.wrap(mechanism, guest, target).unwrap();
        assert_eq!(opened(hash, &wrapped).len(), 32);
    }
    // No key without a policy, none whose policy wants something else, by no other mechanism.
    let trusting = aes_with(&talk, &[yes(A::EXTRACTABLE), yes(A::WRAP_WITH_TRUSTED)]).unwrap();
    assert_eq!(
        talk.wrap(sha256(), guest, trusting),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    let other = aes_with(&talk, &released_with(&policy("sdk-test", &json!("never")))).unwrap();
    assert_eq!(
        talk.wrap(sha256(), guest, other),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    assert_eq!(
        talk.wrap(plain(M::RSA_PKCS), guest, target),
        Err(Rv::MECHANISM_INVALID)
    );
    // In no other session, not even of the same process.
    let beside = talk.guest.open(READ_WRITE).unwrap();
    assert_eq!(
        beside.wrap(sha256(), guest, target),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    house.clock.turn_to(Time((NOW.0 / 1000 + 3600) * 1000 - 1));
    talk.wrap(sha256(), guest, target).unwrap();
    house.clock.turn_to(Time((NOW.0 / 1000 + 3600) * 1000));
    assert_eq!(
        talk.wrap(sha256(), guest, target),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    assert!(house.clock.now() > NOW);
}

/// A release by C_WrapKeyAuthenticated is one: the same key, the same end, the same line; the associated data are the label.
#[test]
fn associated_data_go_with_a_release_and_open_no_other_way() {
    let house = house();
    let talk = house.user();
    let target = key(&talk);
    let guest = present(&talk, &statement(&json!({}))).unwrap();
    let leave = |mechanism, guest, key| talk.wrap_authenticated(mechanism, guest, key, b"bound");
    let before = house.audit_lines().len();
    let wrapped = leave(sha256(), guest, target).unwrap();
    let lines = house.audit_lines();
    assert_eq!(lines.len(), before + 1);
    for member in [
        "\"function\":\"C_WrapKeyAuthenticated\"",
        "\"mechanism\":\"CKM_RSA_AES_KEY_WRAP\"",
        "\"statement\":\"statement-1\"",
        "\"trace\":\"[0] allOf(sdk-test=yes) -> permits\"",
        "\"rv\":\"CKR_OK\"",
    ] {
        assert!(lines[before].contains(member), "{member}: {lines:?}");
    }
    assert!(!lines[before].contains("bound"), "no more than is known");
    let check = talk.read(target, A::CHECK_VALUE).unwrap();
    let plain_key = opened_with(Hash::Sha256, b"bound", &wrapped).unwrap();
    let cipher = strongroom_crypto::block::BlockCipher::Aes;
    let check_of = strongroom_crypto::block::check_value(cipher, &plain_key).unwrap();
    assert_eq!(check_of.as_slice(), check);
    for other in [&b""[..], b"other"] {
        assert!(opened_with(Hash::Sha256, other, &wrapped).is_none());
    }
    // No key without a policy, none whose policy wants something else, by no other mechanism, under no ordinary key, in no other session.
    let trusting = aes_with(&talk, &[yes(A::EXTRACTABLE), yes(A::WRAP_WITH_TRUSTED)]).unwrap();
    let other = aes_with(&talk, &released_with(&policy("sdk-test", &json!("never")))).unwrap();
    let wrapping = aes_with(&talk, &[]).unwrap();
    let gcm = Mechanism {
        kind: M::AES_GCM,
        parameter: Parameter::Gcm {
            iv: &[1; 12],
            aad: b"",
            tag_bits: 128,
        },
    };
    for key in [trusting, other] {
        assert_eq!(leave(sha256(), guest, key), Err(Rv::KEY_NOT_WRAPPABLE));
    }
    let last = house.audit_lines().pop().unwrap();
    assert!(last.contains("(sdk-test=no) -> refuses"), "{last}");
    assert_eq!(
        leave(plain(M::RSA_PKCS), guest, target),
        Err(Rv::MECHANISM_INVALID)
    );
    assert_eq!(leave(gcm, wrapping, target), Err(Rv::KEY_NOT_WRAPPABLE));
    let beside = talk.guest.open(READ_WRITE).unwrap();
    assert_eq!(
        beside.wrap_authenticated(sha256(), guest, target, b"bound"),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    house.clock.turn_to(Time((NOW.0 / 1000 + 3600) * 1000));
    assert_eq!(leave(sha256(), guest, target), Err(Rv::KEY_NOT_WRAPPABLE));
}

#[test]
fn releases_with_associated_data_count_against_the_same_bound() {
    let limits = crate::limits::Limits {
        releases_per_minute_max: 2,
        ..crate::limits::Limits::default()
    };
    let house = House::with_limits(limits);
    house.register();
    let talk = house.user();
    let target = key(&talk);
    let guest = present(&talk, &statement(&json!({}))).unwrap();
    talk.wrap_authenticated(sha256(), guest, target, b"bound")
        .unwrap();
    talk.wrap(sha256(), guest, target).unwrap();
    assert_eq!(
        talk.wrap_authenticated(sha256(), guest, target, b"bound"),
        Err(Rv::FUNCTION_FAILED)
    );
    house.unregister();
    house.clock.turn_to(Time(NOW.0 + 60_000));
    assert_eq!(
        talk.wrap_authenticated(sha256(), guest, target, b"bound"),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
}

#[test]
fn an_authority_that_is_gone_releases_nothing_more() {
    let house = house();
    let talk = house.user();
    let target = key(&talk);
    let guest = present(&talk, &statement(&json!({}))).unwrap();
    house.unregister();
    assert_eq!(
        talk.wrap(sha256(), guest, target),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    assert_eq!(
        present(&talk, &statement(&json!({}))),
        Err(Rv::ATTRIBUTE_VALUE_INVALID)
    );
}

#[test]
fn a_statement_is_presented_by_the_user_and_in_its_form() {
    let house = house();
    let talk = house.user();
    let good = statement(&json!({"nonce": "n-1"}));
    let form = |more: &[(A, Value)]| {
        talk.create(&with(
            &with(
                &class_and_type(Shape::Data),
                &[
                    bytes(A::APPLICATION, APPLICATION),
                    bytes(A::VALUE, good.as_bytes()),
                ],
            ),
            more,
        ))
    };
    form(&[
        bytes(A::OBJECT_ID, b"n-1"),
        bytes(A::LABEL, b"guest"),
        no(A::TOKEN),
    ])
    .unwrap();
    for (more, rv) in [
        (bytes(A::OBJECT_ID, b"n-2"), Rv::ATTRIBUTE_VALUE_INVALID),
        (bytes(A::VALUE, b"rubbish"), Rv::ATTRIBUTE_VALUE_INVALID),
        (yes(A::TOKEN), Rv::TEMPLATE_INCONSISTENT),
        (yes(A::PRIVATE), Rv::TEMPLATE_INCONSISTENT),
        (no(A::MODIFIABLE), Rv::ATTRIBUTE_TYPE_INVALID),
    ] {
        assert_eq!(form(std::slice::from_ref(&more)), Err(rv), "{more:?}");
    }
    assert_eq!(talk.logout(), Rv::OK);
    assert_eq!(form(&[]), Err(Rv::USER_NOT_LOGGED_IN));
    assert_eq!(talk.login(UserType::SO, SO_PIN), Rv::OK);
    assert_eq!(form(&[]), Err(Rv::USER_NOT_LOGGED_IN));
}

/// T17, and what a policy asks of the other attributes.
#[test]
fn a_policy_is_there_from_the_beginning_or_never() {
    let house = house();
    let talk = house.user();
    let (one, other) = (policy("a", &json!(1)), policy("b", &json!(2)));
    let said = |policy: &[u8]| bytes(A::STRONGROOM_RELEASE_POLICY, policy);
    for (more, rv) in [
        (vec![said(&one)], Rv::TEMPLATE_INCONSISTENT),
        (
            vec![said(&one), yes(A::EXTRACTABLE), no(A::SENSITIVE)],
            Rv::TEMPLATE_INCONSISTENT,
        ),
        (
            vec![said(b"{}"), yes(A::EXTRACTABLE)],
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            vec![said(b""), yes(A::EXTRACTABLE)],
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            vec![
                yes(A::STRONGROOM_RELEASE_POLICY_IMMUTABLE),
                yes(A::EXTRACTABLE),
            ],
            Rv::TEMPLATE_INCONSISTENT,
        ),
    ] {
        assert_eq!(aes_with(&talk, &more), Err(rv), "{more:?}");
    }
    let plain = aes_with(&talk, &[yes(A::EXTRACTABLE)]).unwrap();
    assert_eq!(talk.set(plain, &[said(&one)]), Rv::ATTRIBUTE_READ_ONLY);
    assert_eq!(
        talk.copy(plain, &[said(&one)]),
        Err(Rv::ATTRIBUTE_READ_ONLY)
    );
    assert_eq!(
        talk.set(plain, &[yes(A::STRONGROOM_RELEASE_POLICY_IMMUTABLE)]),
        Rv::ATTRIBUTE_READ_ONLY
    );
    let key = aes_with(&talk, &released_with(&one)).unwrap();
    assert!(talk.flag(key, A::WRAP_WITH_TRUSTED));
    assert!(!talk.flag(key, A::STRONGROOM_RELEASE_POLICY_IMMUTABLE));
    assert_eq!(talk.read(key, A::STRONGROOM_RELEASE_POLICY).unwrap(), one);
    assert_eq!(talk.set(key, &[said(&other)]), Rv::OK);
    assert_eq!(talk.set(key, &[said(b"{}")]), Rv::ATTRIBUTE_VALUE_INVALID);
    assert_eq!(
        talk.set(key, &[yes(A::STRONGROOM_RELEASE_POLICY_IMMUTABLE)]),
        Rv::OK
    );
    for change in [
        said(&one),
        no(A::STRONGROOM_RELEASE_POLICY_IMMUTABLE),
        no(A::EXTRACTABLE),
    ] {
        assert_eq!(
            talk.set(key, std::slice::from_ref(&change)),
            Rv::ATTRIBUTE_READ_ONLY,
            "{change:?}"
        );
        assert_eq!(talk.copy(key, &[change]), Err(Rv::ATTRIBUTE_READ_ONLY));
    }
    assert_eq!(talk.read(key, A::STRONGROOM_RELEASE_POLICY).unwrap(), other);
}

#[test]
fn statements_are_good_once_where_an_operator_wants_it() {
    let house = house();
    house.single_use();
    let talk = house.user();
    let key = key(&talk);
    let first = statement(&json!({}));
    release(&talk, key, asked(&first, None)).unwrap();
    assert_eq!(
        release(&talk, key, asked(&first, None)),
        Err(Rv::ACTION_PROHIBITED)
    );
    assert_eq!(present(&talk, &first), Err(Rv::ATTRIBUTE_VALUE_INVALID));
    release(
        &talk,
        key,
        asked(&statement(&json!({"jti": "statement-2"})), None),
    )
    .unwrap();
    // Without a name, its hash is its name.
    let nameless = statement(&json!({"jti": null}));
    release(&talk, key, asked(&nameless, None)).unwrap();
    assert_eq!(
        release(&talk, key, asked(&nameless, None)),
        Err(Rv::ACTION_PROHIBITED)
    );
}

/// What was used is in the store before anything leaves; what was refused changes nothing there.
#[test]
fn a_used_statement_stays_used_over_a_restart() {
    let house = house();
    house.single_use();
    let first = statement(&json!({}));
    {
        let talk = house.user();
        release(&talk, key(&talk), asked(&first, None)).unwrap();
    }
    let house = house.restarted();
    house.single_use();
    let talk = house.user();
    let target = key(&talk);
    let commits = house.store.commits();
    assert_eq!(present(&talk, &first), Err(Rv::ATTRIBUTE_VALUE_INVALID));
    assert_eq!(
        release(&talk, target, asked(&first, None)),
        Err(Rv::ACTION_PROHIBITED)
    );
    assert!(house.audit_lines().pop().unwrap().contains("used already"));
    assert_eq!(house.store.commits(), commits);
    // The authority and the signer stand beside it, and stay.
    let second = statement(&json!({"jti": "statement-2"}));
    let root = house.root_certificate();
    // What cannot be kept is not used, and nothing leaves.
    house.store.fail_commit_after(0);
    assert_eq!(
        release(&talk, target, asked(&second, None)),
        Err(Rv::DEVICE_ERROR)
    );
    release(&talk, target, asked(&second, None)).unwrap();
    assert_eq!(house.root_certificate(), root);
    let house = house.restarted();
    house.single_use();
    let talk = house.user();
    assert_eq!(present(&talk, &second), Err(Rv::ATTRIBUTE_VALUE_INVALID));
    present(&talk, &statement(&json!({"jti": "statement-3"}))).unwrap();
}

#[test]
fn too_many_releases_in_a_minute_wait() {
    let limits = crate::limits::Limits {
        releases_per_minute_max: 2,
        ..crate::limits::Limits::default()
    };
    let house = House::with_limits(limits);
    house.register();
    let talk = house.user();
    let key = key(&talk);
    let statement = statement(&json!({}));
    for _ in 0..2 {
        release(&talk, key, asked(&statement, None)).unwrap();
    }
    assert_eq!(
        release(&talk, key, asked(&statement, None)),
        Err(Rv::FUNCTION_FAILED)
    );
    house.clock.turn_to(Time(NOW.0 + 60_000));
    release(&talk, key, asked(&statement, None)).unwrap();
}

/// C_WrapKey without a buffer, or with one that is too small, lets no key leave: nothing is taken from what may leave in a minute, and
/// the journal says so. What may not leave tells not even its length.
#[test]
fn asking_for_the_length_releases_nothing() {
    let limits = crate::limits::Limits {
        releases_per_minute_max: 1,
        ..crate::limits::Limits::default()
    };
    let house = House::with_limits(limits);
    house.register();
    let talk = house.user();
    let refusing = policy("sdk-test", &json!(false));
    let (target, refused) = (
        key(&talk),
        aes_with(&talk, &released_with(&refusing)).unwrap(),
    );
    let guest = present(&talk, &statement(&json!({}))).unwrap();
    let wrap = |key, output| {
        talk.ask(&Request::WrapKey {
            session: talk.session,
            mechanism: sha256(),
            wrapping_key: guest,
            key,
            output,
        })
    };
    let last_line = || house.audit_lines().pop().unwrap();
    // 256 bytes of OAEP, and 32 bytes by RFC 5649.
    let needed = 256 + 40;
    for (output, rv) in [
        (Output::Size, Rv::OK),
        (Output::Capacity(0), Rv::BUFFER_TOO_SMALL),
        (Output::Capacity(needed - 1), Rv::BUFFER_TOO_SMALL),
    ] {
        let told = wrap(target, output);
        assert_eq!(told.rv(), rv);
        let Body::Output { length, data } = told.body() else {
            panic!("no length");
        };
        assert_eq!(length, needed);
        assert!(data.expose().is_empty());
        let line = last_line();
        assert!(line.contains("\"left\":false"), "{line}");
        assert!(
            line.contains("-> permits") && !line.contains("refusal"),
            "{line}"
        );
    }
    for output in [Output::Size, Output::Capacity(needed)] {
        let told = wrap(refused, output);
        assert_eq!(told.rv(), Rv::KEY_NOT_WRAPPABLE);
        let line = last_line();
        assert!(
            line.contains("\"refusal\":\"403") && !line.contains("\"left\""),
            "{line}"
        );
    }
    assert_eq!(wrap(target, Output::Capacity(needed)).rv(), Rv::OK);
    let line = last_line();
    assert!(
        line.contains("-> permits") && !line.contains("\"left\""),
        "{line}"
    );
    // That was the one of this minute; lengths are told all the same.
    assert_eq!(
        wrap(target, Output::Capacity(needed)).rv(),
        Rv::FUNCTION_FAILED
    );
    let line = last_line();
    assert!(
        line.contains("\"refusal\":\"429") && !line.contains("\"left\""),
        "{line}"
    );
    assert_eq!(wrap(target, Output::Size).rv(), Rv::OK);
    house.clock.turn_to(Time(NOW.0 + 60_000));
    assert_eq!(wrap(target, Output::Capacity(needed)).rv(), Rv::OK);
}

#[test]
fn the_journal_tells_how_it_was_decided_and_no_secret() {
    let house = house();
    let talk = house.user();
    let key = key(&talk);
    let statement = statement(&json!({}));
    release(&talk, key, asked(&statement, None)).unwrap();
    let lines = house.audit_lines();
    let line = lines.last().unwrap();
    for member in [
        "\"function\":\"key.release\"",
        "\"authority\":\"https://attest.example\"",
        "\"statement\":\"statement-1\"",
        "\"policy\":\"",
        "\"encrypted_to\":\"",
        "\"encryption\":\"CKM_RSA_AES_KEY_WRAP\"",
        "\"trace\":\"[0] allOf(sdk-test=yes) -> permits\"",
        "\"entry\":0",
        "\"rv\":\"CKR_OK\"",
    ] {
        assert!(line.contains(member), "{member}: {line}");
    }
    assert!(!line.contains(statement.split('.').nth(1).unwrap()));
}

fn policy_of_unit(unit: &str) -> Vec<u8> {
    json!({"version": "1.0.0", "anyOf": [{"authority": "local:", "allOf": [
        {"claim": "local-unit", "equals": unit}, {"claim": "local-uid", "equals": 1000}]}]})
    .to_string()
    .into_bytes()
}

/// What a process presents to be measured.
fn to_be_measured(more: &Json) -> String {
    let kek = jwk(place(), &json!({"kid": "kek", "use": "enc"}));
    let runtime = merged(&json!({"keys": [kek]}), more);
    json!({"format": "local", "runtime": encoded(runtime.to_string().as_bytes())}).to_string()
}

fn in_unit(unit: &str) -> Option<crate::ports::Measurement> {
    Some(crate::ports::Measurement {
        unit: Some(unit.to_owned()),
        ..Default::default()
    })
}

#[test]
fn the_daemons_own_authority_measures_whoever_asks() {
    let house = house();
    house.believe_itself(true);
    let talk = house.user();
    let key = aes_with(&talk, &released_with(&policy_of_unit("app.service"))).unwrap();
    let asks = to_be_measured(&json!({}));
    // There is nobody to be seen.
    assert_eq!(present(&talk, &asks), Err(Rv::ATTRIBUTE_VALUE_INVALID));
    house.measurer.find(in_unit("other.service"));
    let other = present(&talk, &asks).unwrap();
    assert_eq!(talk.wrap(sha256(), other, key), Err(Rv::KEY_NOT_WRAPPABLE));
    assert_eq!(
        release(&talk, key, asked(&asks, None)),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    house.measurer.find(in_unit("app.service"));
    let attested = present(&talk, &asks).unwrap();
    let wrapped = talk.wrap(sha256(), attested, key).unwrap();
    assert_eq!(opened(Hash::Sha256, &wrapped).len(), 32);
    let (_, payload, _) = parts(&release(&talk, key, asked(&asks, None)).unwrap());
    assert!(payload["response"].is_object());
    // Where each statement is good once, each look is one.
    house.single_use();
    for _ in 0..2 {
        release(&talk, key, asked(&asks, None)).unwrap();
    }
    let line = house.audit_lines().pop().unwrap();
    assert!(line.contains("\"authority\":\"local:\""), "{line}");
    assert!(
        line.contains("allOf(local-unit=yes local-uid=yes)"),
        "{line}"
    );
    assert!(!line.contains("app.service"), "{line}");
}

#[test]
fn the_daemons_own_authority_is_off_until_it_is_switched_on() {
    let house = house();
    house.measurer.find(in_unit("app.service"));
    let talk = house.user();
    let key = aes_with(&talk, &released_with(&policy_of_unit("app.service"))).unwrap();
    let asks = to_be_measured(&json!({}));
    assert_eq!(present(&talk, &asks), Err(Rv::ATTRIBUTE_VALUE_INVALID));
    let line = house.audit_lines().pop().unwrap();
    assert!(line.contains("release.local"), "{line}");
    house.believe_itself(true);
    let attested = present(&talk, &asks).unwrap();
    talk.wrap(sha256(), attested, key).unwrap();
    house.believe_itself(false);
    assert_eq!(
        talk.wrap(sha256(), attested, key),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    house.believe_itself(true);
    house.clock.turn_to(Time(NOW.0 + 5 * 60_000));
    assert_eq!(
        talk.wrap(sha256(), attested, key),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
}

#[test]
fn a_measured_process_has_its_nonce_and_its_key_where_others_have_them() {
    let house = house();
    house.believe_itself(true);
    house.measurer.find(in_unit("app.service"));
    let talk = house.user();
    let key = aes_with(&talk, &released_with(&policy_of_unit("app.service"))).unwrap();
    let with_nonce = to_be_measured(&json!({"client-payload": {"nonce": encoded(b"n-1")}}));
    for (statement, nonce, rv) in [
        (&with_nonce, "n-1", None),
        (&with_nonce, "n-2", Some(Rv::ACTION_PROHIBITED)),
        (
            &to_be_measured(&json!({"keys": []})),
            "n-1",
            Some(Rv::ACTION_PROHIBITED),
        ),
    ] {
        let asked = KeyRelease {
            nonce: Some(nonce),
            ..asked(statement, None)
        };
        assert_eq!(release(&talk, key, asked).err(), rv, "{nonce}");
    }
    let unreadable = r#"{"format":"local","runtime":"?"}"#;
    assert_eq!(
        release(&talk, key, asked(unreadable, None)),
        Err(Rv::DATA_INVALID)
    );
}
