//! *What lives here:* the tests of statements, authorities and what a statement is good for. *What must never live here:* sessions.
//! *Who calls it:* the test runner.

use serde_json::{Value, json};
use strongroom_crypto::ec::{Curve, EcPrivateKey};

use super::attested::Presented;
use super::rig::*;
use super::statement::Patience;
use super::text::encoded;
use super::*;
use crate::ports::Time;
use crate::service::rig::{NOW, start};

const PATIENCE: Patience = Patience {
    seconds_max: 8 * 3600,
};

fn authority() -> Authority {
    Authority::with_keys(URL, &key_set()).unwrap()
}

fn verified_at(now: Time, statement: &str, nonce: Option<&str>) -> Result<Attested, Refusal> {
    let presented = Presented {
        target: statement.as_bytes(),
        nonce,
    };
    Attested::verify(presented, &[authority()], PATIENCE, now)
}

fn verified(statement: &str) -> Result<Attested, Refusal> {
    verified_at(NOW, statement, None)
}

fn refused(statement: &str, why: Why, word: &str) {
    let refusal = verified(statement).unwrap_err();
    assert_eq!(refusal.why, why, "{refusal}");
    assert!(refusal.words.contains(word), "{refusal}: {word}");
}

#[test]
fn a_good_statement_is_believed_and_names_its_key() {
    let attested = verified(&statement(&json!({}))).unwrap();
    assert_eq!(attested.id(), (URL, "statement-1"));
    assert_eq!(attested.key().kid, "kek");
    assert_eq!(attested.expires(), Time((NOW.0 / 1000 + 3600) * 1000));
    // RFC 7638, by another way: the members in their order, hashed.
    let mut account = attested.account();
    attested
        .satisfies(&policy("sdk-test", &json!("true")), NOW, &mut account)
        .unwrap();
    assert_eq!(account.entry, Some(0));
    assert_eq!(account.trace.unwrap(), "[0] allOf(sdk-test=yes) -> permits");
    assert_eq!(account.policy.unwrap().len(), 64);
}

#[test]
fn every_algorithm_of_the_list_verifies_and_no_other() {
    start();
    for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let statement = signed_by(
            signer(),
            &header(&json!({"alg": name})),
            &claims(&json!({})),
        );
        verified(&statement).unwrap();
    }
    for name in ["none", "HS256", "ES256", "RS1", "EdDSA", "rs256", ""] {
        let statement = signed_by(
            signer(),
            &header(&json!({"alg": name})),
            &claims(&json!({})),
        );
        assert_eq!(
            verified(&statement).unwrap_err().why,
            Why::Forbidden,
            "{name}"
        );
    }
    let unsigned = statement(&json!({}));
    let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
    assert!(verified(unsigned).is_err());
}

#[test]
fn curves_verify_with_their_own_algorithm() {
    start();
    let curves = [
        (Curve::P256, "P-256", "ES256"),
        (Curve::P384, "P-384", "ES384"),
        (Curve::P521, "P-521", "ES512"),
    ];
    for (curve, crv, name) in curves {
        let key = EcPrivateKey::generate(curve).unwrap();
        let (x, y) = key.point()[1..].split_at(curve.field_bytes());
        let set = json!({"keys": [{"kty": "EC", "crv": crv, "x": encoded(x), "y": encoded(y), "kid": "one"}]});
        let authority = Authority::with_keys(URL, &set.to_string()).unwrap();
        for (_, _, other) in curves {
            let statement =
                signed_by_curve(&key, &header(&json!({"alg": other})), &claims(&json!({})));
            let presented = Presented {
                target: statement.as_bytes(),
                nonce: None,
            };
            let outcome =
                Attested::verify(presented, std::slice::from_ref(&authority), PATIENCE, NOW);
            assert_eq!(outcome.is_ok(), other == name, "{name} {other}");
        }
    }
}

#[test]
fn what_is_not_signed_by_the_authority_is_refused() {
    let good = statement(&json!({}));
    let stranger = signed_by(rsa(2), &header(&json!({})), &claims(&json!({})));
    refused(&stranger, Why::Forbidden, "signature");
    refused(
        &statement(&json!({"iss": "https://other.example"})),
        Why::Forbidden,
        "issuer",
    );
    refused(&statement(&json!({"iss": null})), Why::Malformed, "iss");
    let header_of = |more: &Value| signed_by(signer(), &header(more), &claims(&json!({})));
    refused(&header_of(&json!({"kid": "two"})), Why::Forbidden, "kid");
    refused(&header_of(&json!({"kid": null})), Why::Forbidden, "kid");
    refused(
        &header_of(&json!({"crit": ["b64"], "b64": false})),
        Why::Forbidden,
        "crit",
    );
    // An address to fetch keys from, and a key of its own, change nothing.
    verified(&header_of(
        &json!({"jku": "http://127.0.0.1:1/", "jwk": jwk(rsa(2), &json!({}))}),
    ))
    .unwrap();
    let own =
        header(&json!({"jku": "http://127.0.0.1:1/", "jwk": jwk(rsa(2), &json!({"kid": "one"}))}));
    refused(
        &signed_by(rsa(2), &own, &claims(&json!({}))),
        Why::Forbidden,
        "signature",
    );
    // A change anywhere is found: another claim under the same signature, and every character.
    let parts: Vec<&str> = good.split('.').collect();
    let other = statement(&json!({"sdk-test": false}));
    let other = other.split('.').nth(1).unwrap();
    refused(
        &format!("{}.{other}.{}", parts[0], parts[2]),
        Why::Forbidden,
        "signature",
    );
    for place in (0..good.len()).step_by(7) {
        let mut changed = good.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        if changed != good {
            assert!(verified(&changed).is_err(), "{place}");
        }
    }
}

#[test]
fn what_is_no_statement_is_malformed() {
    for text in [
        "",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "{}",
        "e30.e30.",
        "e30.W10.AA",
        "\u{0}.\u{0}.\u{0}",
    ] {
        let refusal = verified(text).unwrap_err();
        assert_eq!(refusal.why, Why::Malformed, "{text}: {refusal}");
    }
    let long = statement(&json!({"long": "x".repeat(300_000)}));
    refused(&long, Why::Malformed, "bytes");
}

/// A member again, as the first one of its object: whoever takes the last one reads the truth, whoever takes the first one does not.
fn again(text: &str, place: &str, member: &str) -> String {
    let at = text.find(place).unwrap() + place.len();
    format!("{}{member},{}", &text[..at], &text[at..])
}

#[test]
fn what_stands_twice_is_refused_wherever_it_is() {
    let (header, claims) = (
        header(&json!({})).to_string(),
        claims(&json!({})).to_string(),
    );
    verified(&signed_text(&header, &claims)).unwrap();
    let twice = again(&header, "{", r#""kid":"two""#);
    refused(&signed_text(&twice, &claims), Why::Malformed, "header");
    for (place, member) in [
        ("{", r#""sdk-test":false"#),
        ("{", r#""\u0073dk-test":false"#),
        (r#""x-ms-runtime":{"#, r#""keys":[]"#),
        (r#""keys":[{"#, r#""n":"AQAB""#),
    ] {
        let twice = again(&claims, place, member);
        let refusal = verified(&signed_text(&header, &twice)).unwrap_err();
        assert_eq!(refusal.why, Why::Malformed, "{refusal}");
        assert!(refusal.words.contains("a member twice"), "{refusal}");
    }
    let set = key_set();
    for (place, member) in [
        ("{", r#""keys":[]"#),
        (r#""keys":[{"#, r#""n":"AQAB""#),
        (r#""keys":[{"#, r#""x":{"a":1,"a":1}"#),
    ] {
        let said = Authority::with_keys(URL, &again(&set, place, member)).unwrap_err();
        assert!(said.to_string().contains("a member twice"), "{said}");
    }
}

#[test]
fn times_are_kept() {
    let now = NOW.0 / 1000;
    refused(&statement(&json!({"exp": null})), Why::Forbidden, "end");
    refused(
        &statement(&json!({"exp": now - 1})),
        Why::Forbidden,
        "holds no more",
    );
    refused(&statement(&json!({"exp": "soon"})), Why::Malformed, "exp");
    refused(&statement(&json!({"exp": -5})), Why::Malformed, "exp");
    refused(
        &statement(&json!({"nbf": now + 600})),
        Why::Forbidden,
        "yet",
    );
    refused(
        &statement(&json!({"iat": now + 600})),
        Why::Forbidden,
        "yet",
    );
    refused(
        &statement(&json!({"iat": now - 9 * 3600, "exp": now + 99_999})),
        Why::Forbidden,
        "holds no more",
    );
    verified(&statement(&json!({"nbf": now + 200, "iat": now + 200}))).unwrap();
    verified(&statement(&json!({"nbf": null, "iat": null}))).unwrap();
    // Whatever it says, it ends eight hours after it was issued.
    let long = verified(&statement(&json!({"exp": now + 999_999}))).unwrap();
    assert_eq!(long.expires(), Time((now + 8 * 3600) * 1000));
    let fraction = verified(&statement(&json!({"exp": (now + 10) as f64 + 0.5}))).unwrap();
    assert_eq!(fraction.expires(), Time((now + 10) * 1000 + 500));
    let end = Time((now + 3600) * 1000);
    let good = statement(&json!({}));
    assert!(verified_at(Time(end.0 - 1), &good, None).is_ok());
    assert!(verified_at(end, &good, None).is_err());
    let attested = verified(&good).unwrap();
    let mut account = attested.account();
    assert!(
        attested
            .satisfies(&policy("sdk-test", &json!(true)), end, &mut account)
            .is_err()
    );
}

#[test]
fn a_nonce_must_stand_in_one_of_its_two_places() {
    let deep = |nonce: &str| {
        let mut runtime = claims(&json!({}))["x-ms-runtime"].clone();
        runtime["client-payload"] = json!({"nonce": nonce});
        statement(&json!({"x-ms-runtime": runtime}))
    };
    for (statement, nonce, good) in [
        (statement(&json!({"nonce": "n-1"})), Some("n-1"), true),
        (deep("bi0x"), Some("n-1"), true),
        (statement(&json!({"nonce": "n-1"})), None, true),
        (statement(&json!({"nonce": "n-2"})), Some("n-1"), false),
        (statement(&json!({})), Some("n-1"), false),
        (deep("n-1"), Some("n-1"), false),
    ] {
        assert_eq!(
            verified_at(NOW, &statement, nonce).is_ok(),
            good,
            "{nonce:?}"
        );
    }
}

#[test]
fn the_encryption_key_comes_from_its_one_place() {
    let key = |more: &Value| jwk(place(), more);
    let with_keys = |keys: Value| statement(&json!({"x-ms-runtime": {"keys": keys}}));
    for good in [
        json!([key(&json!({"use": "enc"}))]),
        json!([key(&json!({"key_use": "enc"}))]),
        json!([key(&json!({"key_ops": ["wrapKey", "encrypt"]}))]),
        json!([key(&json!({"use": "sig"})), {"kty": "EC", "use": "enc"}, key(&json!({"use": "enc"}))]),
    ] {
        verified(&with_keys(good.clone())).unwrap_or_else(|refusal| panic!("{good}: {refusal}"));
    }
    for wrong in [
        json!([]),
        json!([key(&json!({}))]),
        json!([key(&json!({"use": "sig"}))]),
        json!([key(&json!({"use": "enc", "n": "AQAB"}))]),
        json!([key(&json!({"use": "enc", "e": null}))]),
        json!({}),
    ] {
        assert_eq!(verified(&with_keys(wrong)).unwrap_err().why, Why::Forbidden);
    }
    let elsewhere = json!({
        "x-ms-runtime": null,
        "x-ms-isolation-tee": {"x-ms-runtime": {"keys": [key(&json!({"use": "enc"}))]}},
    });
    refused(&statement(&elsewhere), Why::Forbidden, "x-ms-runtime.keys");
}

#[test]
fn an_authority_is_named_by_a_url_and_has_good_keys() {
    start();
    assert_eq!(
        Authority::with_keys("https://Attest.Example/", &key_set())
            .unwrap()
            .url,
        URL
    );
    for url in ["", "attest", "https://"] {
        assert!(Authority::with_keys(url, &key_set()).is_err(), "{url}");
    }
    for set in [
        "",
        "{}",
        "[]",
        r#"{"keys":[]}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
    ] {
        assert!(Authority::with_keys(URL, set).is_err(), "{set}");
    }
    let for_encryption = json!({"keys": [jwk(signer(), &json!({"kid": "one", "use": "enc"}))]});
    assert!(Authority::with_keys(URL, &for_encryption.to_string()).is_err());
    // A key that says its algorithm verifies no other.
    let set = json!({"keys": [jwk(signer(), &json!({"kid": "one", "alg": "PS256"}))]});
    let authority = Authority::with_keys(URL, &set.to_string()).unwrap();
    for (name, good) in [("PS256", true), ("RS256", false)] {
        let statement = signed_by(
            signer(),
            &header(&json!({"alg": name})),
            &claims(&json!({})),
        );
        let presented = Presented {
            target: statement.as_bytes(),
            nonce: None,
        };
        let outcome = Attested::verify(presented, std::slice::from_ref(&authority), PATIENCE, NOW);
        assert_eq!(outcome.is_ok(), good, "{name}");
    }
}

/// Certificates of our own writer: what a pinned root vouches for is believed, and nothing else.
#[test]
fn a_pinned_certificate_vouches_for_signers() {
    use super::envelope::Certified;
    use super::text::standard;
    use strongroom_crypto::rsa::RsaPrivateKey;
    start();
    let root = Certified::root(NOW).unwrap();
    let leaf = root.leaf("signer.example", NOW).unwrap();
    let key = leaf.key.with(RsaPrivateKey::from_pkcs8).unwrap();
    let authority = Authority::with_certificates(URL, vec![root.certificate.clone()]).unwrap();
    let stranger = Certified::root(NOW).unwrap();
    let attest = |authority: &Authority, chain: &[&[u8]], now: Time| {
        let chain: Vec<String> = chain.iter().map(|der| standard(der)).collect();
        let now_s = now.0 / 1000;
        let claims = claims(&json!({"iat": now_s, "nbf": now_s, "exp": now_s + 60}));
        let statement = signed_by(&key, &header(&json!({"x5c": chain, "kid": null})), &claims);
        let presented = Presented {
            target: statement.as_bytes(),
            nonce: None,
        };
        Attested::verify(presented, std::slice::from_ref(authority), PATIENCE, now).map(|_| ())
    };
    attest(&authority, &[&leaf.certificate], NOW).unwrap();
    attest(&authority, &[&leaf.certificate, &root.certificate], NOW).unwrap();
    let pinned_leaf = Authority::with_certificates(URL, vec![leaf.certificate.clone()]).unwrap();
    attest(&pinned_leaf, &[&leaf.certificate], NOW).unwrap();
    let late = Time(NOW.0 + 21 * 365 * 24 * 3_600_000);
    let other = Authority::with_certificates(URL, vec![stranger.certificate.clone()]).unwrap();
    for (authority, chain, now) in [
        (&other, vec![&leaf.certificate], NOW),
        (&other, vec![&leaf.certificate, &stranger.certificate], NOW),
        (&authority, vec![&stranger.certificate], NOW),
        (&authority, vec![&root.certificate], NOW),
        (&authority, vec![], NOW),
        (&authority, vec![&leaf.certificate], late),
        (
            &authority,
            vec![&leaf.certificate],
            Time(NOW.0 - 24 * 3_600_000),
        ),
    ] {
        let chain: Vec<&[u8]> = chain.into_iter().map(Vec::as_slice).collect();
        assert!(attest(authority, &chain, now).is_err());
    }
    // Every changed bit of the certificate is found.
    for place in 0..leaf.certificate.len() * 8 {
        let mut changed = leaf.certificate.clone();
        changed[place / 8] ^= 1 << (place % 8);
        let vouched = super::certificate::signer_of_chain(
            &[changed],
            std::slice::from_ref(&root.certificate),
            NOW,
        );
        assert!(vouched.is_err(), "{place}");
    }
}
