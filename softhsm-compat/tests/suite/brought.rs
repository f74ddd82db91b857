//! A token of SoftHSM's with a thousand objects, brought in, and every key of it proved against the original.
//!
//! What lives here: the kinds of objects, one row each; how they are made by SoftHSM, and how a key shows that it is the same.
//! What must never live here: an object that SoftHSM did not make.
//! Who calls it: the suite.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cryptoki_sys::*;
use strongroom_tests::{
    Hsm, Mechanism, Module, SO_PIN, Session, Template, USER_PIN, Way, hex, pattern, template,
};
use strongroom_wire::ck::AttributeType;

use crate::original::{Original, snapshot, user};

/// How a key shows that it is the same in both places: it is used in both, and each judges what the other made.
type Proof = fn(&Twin<'_>);

/// A kind of object.
struct Kind {
    name: &'static str,
    count: usize,
    /// Makes one in SoftHSM; every object of it gets the label.
    make: fn(&Session<'_>, &str, u64),
    proof: Option<Proof>,
}

/// The same object twice.
struct Twin<'s> {
    theirs: &'s Session<'s>,
    ours: &'s Session<'s>,
    class: CK_OBJECT_CLASS,
    /// SoftHSM's handle and ours.
    objects: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    /// Of the other half, where there is one.
    partners: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    label: String,
}

/// All kinds that SoftHSM has. Big numbers take long to be made: few of those, many of the others.
const KINDS: &[Kind] = &[
    Kind {
        name: "aes-128",
        count: 120,
        make: |s, l, n| secret(s, l, n, CKK_AES, 16),
        proof: Some(aes),
    },
    Kind {
        name: "aes-192",
        count: 60,
        make: |s, l, n| secret(s, l, n, CKK_AES, 24),
        proof: Some(aes),
    },
    Kind {
        name: "aes-256",
        count: 140,
        make: |s, l, n| secret(s, l, n, CKK_AES, 32),
        proof: Some(aes),
    },
    Kind {
        name: "aes-generated",
        count: 40,
        make: |s, l, n| generated(s, l, n, CKM_AES_KEY_GEN, 32),
        proof: Some(aes),
    },
    Kind {
        name: "generic-1",
        count: 5,
        make: |s, l, n| secret(s, l, n, CKK_GENERIC_SECRET, 1),
        proof: None,
    },
    Kind {
        name: "generic-64",
        count: 120,
        make: |s, l, n| secret(s, l, n, CKK_GENERIC_SECRET, 64),
        proof: Some(hmac),
    },
    Kind {
        name: "generic-generated",
        count: 40,
        make: |s, l, n| generated(s, l, n, CKM_GENERIC_SECRET_KEY_GEN, 48),
        proof: Some(hmac),
    },
    Kind {
        name: "sha256-hmac",
        count: 20,
        make: |s, l, n| secret(s, l, n, CKK_SHA256_HMAC, 32),
        proof: Some(hmac),
    },
    Kind {
        name: "p256",
        count: 60,
        make: |s, l, n| ec(s, l, n, "06082a8648ce3d030107"),
        proof: Some(ecdsa_and_ecdh),
    },
    Kind {
        name: "p384",
        count: 25,
        make: |s, l, n| ec(s, l, n, "06052b81040022"),
        proof: Some(ecdsa_and_ecdh),
    },
    Kind {
        name: "p521",
        count: 15,
        make: |s, l, n| ec(s, l, n, "06052b81040023"),
        proof: Some(ecdsa_and_ecdh),
    },
    Kind {
        name: "ed25519",
        count: 15,
        make: |s, l, n| ed25519(s, l, n, "06032b6570"),
        proof: Some(eddsa),
    },
    Kind {
        // The curve by its name, as pkcs11-tool asks for it.
        name: "ed25519-named",
        count: 5,
        make: |s, l, n| ed25519(s, l, n, "130c656477617264733235353139"),
        proof: Some(eddsa),
    },
    Kind {
        name: "rsa-2048",
        count: 4,
        make: |s, l, n| rsa(s, l, n, 2048),
        proof: Some(rsa_both_ways),
    },
    Kind {
        name: "rsa-3072",
        count: 1,
        make: |s, l, n| rsa(s, l, n, 3072),
        proof: Some(rsa_both_ways),
    },
    Kind {
        name: "rsa-4096",
        count: 1,
        make: |s, l, n| rsa(s, l, n, 4096),
        proof: Some(rsa_both_ways),
    },
    Kind {
        name: "des3",
        count: 60,
        make: |s, l, n| des(s, l, n, CKK_DES3, 24),
        proof: Some(des3),
    },
    Kind {
        // Debian's OpenSSL has single DES switched off, so the original cannot use these either.
        name: "des",
        count: 10,
        make: |s, l, n| des(s, l, n, CKK_DES, 8),
        proof: None,
    },
    Kind {
        name: "rsa-1024",
        count: 3,
        make: |s, l, n| rsa(s, l, n, 1024),
        proof: Some(rsa_both_ways),
    },
    Kind {
        name: "dsa-1024",
        count: 2,
        make: dsa,
        proof: Some(dsa_both_ways),
    },
    Kind {
        name: "dh-2048",
        count: 4,
        make: dh,
        proof: Some(agreement),
    },
    Kind {
        name: "data",
        count: 150,
        make: data,
        proof: None,
    },
    Kind {
        name: "certificate",
        count: 100,
        make: certificate,
        proof: None,
    },
];

/// Half of all objects are private, half of all keys sensitive; some have long values, some have none.
fn common(label: &str, number: u64) -> Template {
    template! { CKA_TOKEN => true, CKA_PRIVATE => !number.is_multiple_of(2), CKA_LABEL => label }
}

fn key(label: &str, number: u64) -> Template {
    let id = pattern(number, number as usize % 40);
    let sensitive = number.is_multiple_of(3);
    let template = common(label, number).with(CKA_ID, &id[..]);
    if number.is_multiple_of(5) {
        template
            .with(CKA_START_DATE, &b"20240229"[..])
            .with(CKA_END_DATE, &b"29991231"[..])
    } else {
        template
    }
    .with(CKA_SENSITIVE, sensitive)
    .with(CKA_EXTRACTABLE, !number.is_multiple_of(4))
}

fn every_use() -> Template {
    template! {
        CKA_ENCRYPT => true, CKA_DECRYPT => true, CKA_SIGN => true, CKA_VERIFY => true,
        CKA_WRAP => true, CKA_UNWRAP => true, CKA_DERIVE => true,
    }
}

fn secret(session: &Session<'_>, label: &str, number: u64, key_type: CK_KEY_TYPE, length: usize) {
    let value = pattern(number + length as u64, length);
    let template = key(label, number)
        .and(&every_use())
        .with(CKA_CLASS, CKO_SECRET_KEY)
        .with(CKA_KEY_TYPE, key_type)
        .with(CKA_VALUE, &value[..]);
    session
        .create(&template)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

fn generated(
    session: &Session<'_>,
    label: &str,
    number: u64,
    mechanism: CK_MECHANISM_TYPE,
    length: u64,
) {
    let template = key(label, number)
        .and(&every_use())
        .with(CKA_VALUE_LEN, length);
    session
        .generate(mechanism, &template)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

fn ec(session: &Session<'_>, label: &str, number: u64, parameters: &str) {
    curve(session, CKM_EC_KEY_PAIR_GEN, label, number, parameters);
}

fn ed25519(session: &Session<'_>, label: &str, number: u64, parameters: &str) {
    let mechanism = CKM_EC_EDWARDS_KEY_PAIR_GEN;
    curve(session, mechanism, label, number, parameters);
}

fn curve(
    session: &Session<'_>,
    mechanism: CK_MECHANISM_TYPE,
    label: &str,
    number: u64,
    parameters: &str,
) {
    let public = common(label, number)
        .with(CKA_EC_PARAMS, &hex(parameters)[..])
        .with(CKA_VERIFY, true);
    let private = key(label, number)
        .with(CKA_SIGN, true)
        .with(CKA_DERIVE, true);
    session
        .generate_pair(mechanism, &public, &private)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

fn rsa(session: &Session<'_>, label: &str, number: u64, bits: u64) {
    let public = common(label, number)
        .with(CKA_MODULUS_BITS, bits)
        .with(CKA_PUBLIC_EXPONENT, b"\x01\x00\x01")
        .with(CKA_VERIFY, true)
        .with(CKA_ENCRYPT, true);
    let private = key(label, number)
        .with(CKA_SIGN, true)
        .with(CKA_DECRYPT, true);
    session
        .generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &private)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

fn des(session: &Session<'_>, label: &str, number: u64, key_type: CK_KEY_TYPE, length: usize) {
    // FIPS 46-3: the last bit of each byte makes its ones odd.
    let odd = |byte: &u8| (byte & 0xfe) | u8::from((byte >> 1).count_ones().is_multiple_of(2));
    let value: Vec<u8> = pattern(number + 77, length).iter().map(odd).collect();
    let template = key(label, number)
        .and(&every_use())
        .with(CKA_CLASS, CKO_SECRET_KEY)
        .with(CKA_KEY_TYPE, key_type)
        .with(CKA_VALUE, &value[..]);
    session
        .create(&template)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

fn dsa(session: &Session<'_>, label: &str, number: u64) {
    let domain = template! { CKA_PRIME_BITS => 1024, CKA_TOKEN => false, CKA_PRIVATE => false };
    let domain = session.generate(CKM_DSA_PARAMETER_GEN, &domain).unwrap();
    let mut public = common(label, number).with(CKA_VERIFY, true);
    for kind in [CKA_PRIME, CKA_SUBPRIME, CKA_BASE] {
        public = public.with(kind, &session.attribute(domain, kind).unwrap()[..]);
    }
    session.destroy(domain).unwrap();
    let private = key(label, number).with(CKA_SIGN, true);
    session
        .generate_pair(CKM_DSA_KEY_PAIR_GEN, &public, &private)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

fn dh(session: &Session<'_>, label: &str, number: u64) {
    let public = common(label, number)
        .with(CKA_PRIME, &hex(MODP_2048)[..])
        .with(CKA_BASE, b"\x02")
        .with(CKA_DERIVE, true);
    let private = key(label, number).with(CKA_DERIVE, true);
    session
        .generate_pair(CKM_DH_PKCS_KEY_PAIR_GEN, &public, &private)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

/// RFC 3526, 3.
const MODP_2048: &str = "
    ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b
    302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6
    49286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d
    670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf695581718
    3995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff";

fn data(session: &Session<'_>, label: &str, number: u64) {
    let length = if number.is_multiple_of(10) {
        60_000
    } else {
        number as usize
    };
    let template = common(label, number)
        .with(CKA_CLASS, CKO_DATA)
        .with(CKA_APPLICATION, "the application")
        .with(CKA_VALUE, &pattern(number, length)[..]);
    session
        .create(&template)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

fn certificate(session: &Session<'_>, label: &str, number: u64) {
    // What a certificate says is its owner's affair: no token parses it.
    let template = common(label, number)
        .with(CKA_CLASS, CKO_CERTIFICATE)
        .with(CKA_CERTIFICATE_TYPE, CKC_X_509)
        .with(CKA_ID, &pattern(number, 20)[..])
        .with(CKA_SUBJECT, &hex("3010310e300c06035504030c0566697874")[..])
        .with(CKA_VALUE, &pattern(number, 300 + number as usize)[..]);
    session
        .create(&template)
        .unwrap_or_else(|code| panic!("{label}: {code:?}"));
}

/// What both make of the same input is the same.
fn same(twin: &Twin<'_>, way: Way, mechanism: &Mechanism, input: &[u8]) -> Vec<u8> {
    let theirs = twin
        .theirs
        .run(way, mechanism.clone(), twin.objects.0, input);
    let ours = twin.ours.run(way, mechanism.clone(), twin.objects.1, input);
    let expected = theirs.unwrap_or_else(|code| panic!("{} by the original: {code:?}", twin.label));
    assert_eq!(ours, Ok(expected.clone()), "{} {way:?}", twin.label);
    expected
}

fn aes(twin: &Twin<'_>) {
    let iv = pattern(1, 16);
    let mechanism = Mechanism::bytes(CKM_AES_CBC_PAD, &iv);
    let encrypted = same(
        twin,
        Way::Encrypt,
        &mechanism,
        b"what the original encrypts",
    );
    same(twin, Way::Decrypt, &mechanism, &encrypted);
    same(
        twin,
        Way::Sign,
        &Mechanism::plain(CKM_AES_CMAC),
        b"what the original MACs",
    );
}

fn des3(twin: &Twin<'_>) {
    let mechanism = Mechanism::bytes(CKM_DES3_CBC_PAD, &pattern(1, 8));
    let encrypted = same(
        twin,
        Way::Encrypt,
        &mechanism,
        b"what the original encrypts",
    );
    same(twin, Way::Decrypt, &mechanism, &encrypted);
}

fn dsa_both_ways(twin: &Twin<'_>) {
    if twin.class != CKO_PRIVATE_KEY {
        return;
    }
    let digest = pattern(9, 20);
    let by = |session: &Session<'_>, key| session.run(Way::Sign, CKM_DSA, key, &digest).unwrap();
    let (theirs, ours) = (
        by(twin.theirs, twin.objects.0),
        by(twin.ours, twin.objects.1),
    );
    assert_eq!(
        twin.theirs.verify(CKM_DSA, twin.partners.0, &digest, &ours),
        Ok(())
    );
    assert_eq!(
        twin.ours.verify(CKM_DSA, twin.partners.1, &digest, &theirs),
        Ok(())
    );
}

fn agreement(twin: &Twin<'_>) {
    if twin.class != CKO_PRIVATE_KEY {
        return;
    }
    let other = twin.theirs.attribute(twin.partners.0, CKA_VALUE).unwrap();
    let derive = |session: &Session<'_>, key| {
        let template = template! {
            CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_GENERIC_SECRET, CKA_VALUE_LEN => 32,
            CKA_SENSITIVE => false, CKA_EXTRACTABLE => true, CKA_TOKEN => false,
        };
        let mechanism = Mechanism::bytes(CKM_DH_PKCS_DERIVE, &other);
        let secret = session.derive(mechanism, key, &template).unwrap();
        let value = session.attribute(secret, CKA_VALUE).unwrap();
        session.destroy(secret).unwrap();
        value
    };
    assert_eq!(
        derive(twin.ours, twin.objects.1),
        derive(twin.theirs, twin.objects.0),
        "{}",
        twin.label
    );
}

fn hmac(twin: &Twin<'_>) {
    same(
        twin,
        Way::Sign,
        &Mechanism::plain(CKM_SHA256_HMAC),
        b"what the original MACs",
    );
}

fn ecdsa_and_ecdh(twin: &Twin<'_>) {
    if twin.class != CKO_PRIVATE_KEY {
        return;
    }
    let digest = pattern(9, 32);
    let by = |session: &Session<'_>, key| session.run(Way::Sign, CKM_ECDSA, key, &digest).unwrap();
    let (theirs, ours) = (
        by(twin.theirs, twin.objects.0),
        by(twin.ours, twin.objects.1),
    );
    assert_eq!(
        twin.theirs
            .verify(CKM_ECDSA, twin.partners.0, &digest, &ours),
        Ok(()),
        "{}",
        twin.label
    );
    assert_eq!(
        twin.ours
            .verify(CKM_ECDSA, twin.partners.1, &digest, &theirs),
        Ok(()),
        "{}",
        twin.label
    );
    let point = twin
        .theirs
        .attribute(twin.partners.0, CKA_EC_POINT)
        .unwrap();
    let derive = |session: &Session<'_>, key| {
        let template = template! {
            CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_GENERIC_SECRET, CKA_VALUE_LEN => 28,
            CKA_SENSITIVE => false, CKA_EXTRACTABLE => true, CKA_TOKEN => false,
        };
        let raw = if point[1] == 0x81 {
            &point[3..]
        } else {
            &point[2..]
        };
        let secret = session
            .derive(Mechanism::ecdh(CKD_NULL, b"", raw), key, &template)
            .unwrap();
        let value = session.attribute(secret, CKA_VALUE).unwrap();
        session.destroy(secret).unwrap();
        value
    };
    assert_eq!(
        derive(twin.ours, twin.objects.1),
        derive(twin.theirs, twin.objects.0),
        "{}",
        twin.label
    );
}

fn eddsa(twin: &Twin<'_>) {
    if twin.class != CKO_PRIVATE_KEY {
        return;
    }
    let message = b"what the original signs";
    let signature = same(twin, Way::Sign, &Mechanism::plain(CKM_EDDSA), message);
    for (session, key) in [(twin.theirs, twin.partners.0), (twin.ours, twin.partners.1)] {
        let verified = session.verify(CKM_EDDSA, key, message, &signature);
        assert_eq!(verified, Ok(()), "{}", twin.label);
    }
}

fn rsa_both_ways(twin: &Twin<'_>) {
    if twin.class != CKO_PRIVATE_KEY {
        return;
    }
    let signature = same(
        twin,
        Way::Sign,
        &Mechanism::plain(CKM_SHA256_RSA_PKCS),
        b"what the original signs",
    );
    for (session, key) in [(twin.theirs, twin.partners.0), (twin.ours, twin.partners.1)] {
        assert_eq!(
            session.verify(
                CKM_SHA256_RSA_PKCS,
                key,
                b"what the original signs",
                &signature
            ),
            Ok(())
        );
        let encrypted = session
            .run(Way::Encrypt, CKM_RSA_PKCS, key, b"secret")
            .unwrap();
        assert_eq!(
            same(
                twin,
                Way::Decrypt,
                &Mechanism::plain(CKM_RSA_PKCS),
                &encrypted
            ),
            b"secret"
        );
    }
}

/// Runs `strongroom import` for an HSM.
fn import(hsm: &Hsm, arguments: &[&str]) -> Output {
    hsm.command(env!("CARGO_BIN_EXE_strongroom-import"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn report(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn write_pins(directory: &Path) {
    fs::write(directory.join("so"), format!("{SO_PIN}\n")).unwrap();
    fs::write(directory.join("user"), format!("{USER_PIN}\n")).unwrap();
    fs::write(directory.join("other"), "another-pin-1234\n").unwrap();
}

/// All objects of a session, by class and label.
fn catalogue(session: &Session<'_>) -> BTreeMap<(CK_OBJECT_CLASS, String), CK_OBJECT_HANDLE> {
    let mut all = BTreeMap::new();
    for object in session.find(&Template::default()).unwrap() {
        let label = String::from_utf8(session.attribute(object, CKA_LABEL).unwrap()).unwrap();
        let class = session.number(object, CKA_CLASS).unwrap();
        assert!(
            all.insert((class, label.clone()), object).is_none(),
            "{label} twice"
        );
    }
    all
}

/// Attributes that the original leaves empty and that have a value here, each with its reason.
const LEFT_EMPTY: &[(AttributeType, &str)] = &[
    (
        AttributeType::CHECK_VALUE,
        "of single DES, which OpenSSL 3 gives SoftHSM no more; PKCS#11 3.2, 4.10.2: it is made from the key",
    ),
    (
        AttributeType::PUBLIC_KEY_INFO,
        "SoftHSM never makes it; PKCS#11 3.2, 4.9: it is made from the key",
    ),
];

/// Every attribute that the original shows, is shown here with the same value; answers how many there were.
fn compare(twin: &Twin<'_>, differences: &mut Vec<String>) -> usize {
    let mut compared = 0;
    for (name, kind) in AttributeType::ALL {
        if kind.0 & CKF_ARRAY_ATTRIBUTE != 0 {
            continue;
        }
        let expected = twin.theirs.attribute(twin.objects.0, kind.0);
        let got = twin.ours.attribute(twin.objects.1, kind.0);
        compared += usize::from(expected.is_ok());
        let left_empty = LEFT_EMPTY.iter().any(|(one, _)| one == kind);
        if left_empty && expected.as_ref().is_ok_and(Vec::is_empty) {
            continue;
        }
        // SoftHSM drops the leading zeros of a scalar; here it has the length of its curve's order. The number is the same.
        let is_scalar = twin.class == CKO_PRIVATE_KEY && *kind == AttributeType::VALUE;
        let number = |value: &Result<Vec<u8>, _>| {
            let zeros = |bytes: &Vec<u8>| bytes.iter().take_while(|byte| **byte == 0).count();
            value
                .clone()
                .map(|bytes| bytes[if is_scalar { zeros(&bytes) } else { 0 }..].to_vec())
        };
        if expected.is_ok() && number(&got) != number(&expected) {
            // Values may be long, and which object it is says less than which kind.
            let kind = twin.label.rsplit_once('-').map_or("", |(kind, _)| kind);
            let shown = |value: &Result<Vec<u8>, _>| {
                value
                    .clone()
                    .map(|bytes| (bytes.len(), bytes.first().copied()))
            };
            differences.push(format!(
                "{kind} class {} {name}: {:?} became {:?}",
                twin.class,
                shown(&expected),
                shown(&got)
            ));
        }
    }
    compared
}

#[test]
fn a_thousand_objects_come_over_and_every_key_does_what_it_did() {
    let original = Original::new();
    write_pins(&original.home);
    let module = original.module();
    let slot = module.make_token("a thousand");
    let theirs = user(&module, slot);
    for kind in KINDS {
        for number in 0..kind.count {
            (kind.make)(&theirs, &format!("{}-{number}", kind.name), number as u64);
        }
    }
    let catalogue_before = catalogue(&theirs);
    assert!(catalogue_before.len() >= 1000, "{}", catalogue_before.len());

    let mut hsm = Hsm::at_rest();
    hsm.start_daemon();
    let before = snapshot(&original.tokens());
    let tokens = original.tokens().display().to_string();
    let pin = |name: &str| original.home.join(name).display().to_string();
    let output = import(
        &hsm,
        &[
            "--json",
            "softhsm",
            "--tokens",
            &tokens,
            "--pin-file",
            &pin("user"),
            "--so-pin-file",
            &pin("so"),
            "--keep-history",
        ],
    );
    let said = report(&output);
    let part = &said["parts"][0];
    let refused: Vec<_> = part["objects"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|object| object["outcome"] == "refused")
        .collect();
    assert!(
        refused.is_empty() && output.status.code() == Some(0),
        "{refused:#?}"
    );
    assert_eq!(part["committed"], true);
    assert_eq!(
        part["objects"].as_array().unwrap().len(),
        catalogue_before.len()
    );
    assert_eq!(
        snapshot(&original.tokens()),
        before,
        "the source is read and not touched"
    );

    let ours = hsm.module();
    let our_slot = ours.slot_labelled("a thousand").unwrap();
    let serials =
        [module.token_info(slot), ours.token_info(our_slot)].map(|info| info.unwrap().serialNumber);
    assert_eq!(serials[0], serials[1], "the serial number comes along");
    prove_all(&theirs, &catalogue_before, &ours, our_slot);
    // The PINs came along, that of the security officer too.
    let session = Session::open_rw(&ours, our_slot).unwrap();
    session.logout().unwrap();
    assert_eq!(session.login(CKU_SO, SO_PIN), Ok(()));
}

fn prove_all(
    theirs: &Session<'_>,
    catalogue_before: &BTreeMap<(CK_OBJECT_CLASS, String), CK_OBJECT_HANDLE>,
    module: &Module,
    slot: CK_SLOT_ID,
) {
    let ours = user(module, slot);
    let brought = catalogue(&ours);
    assert_eq!(
        brought.keys().collect::<Vec<_>>(),
        catalogue_before.keys().collect::<Vec<_>>()
    );
    let (mut compared, mut proved, mut differences) = (0, 0, Vec::new());
    for ((class, label), handle) in catalogue_before {
        let other = if *class == CKO_PRIVATE_KEY {
            CKO_PUBLIC_KEY
        } else {
            CKO_PRIVATE_KEY
        };
        let at = |all: &BTreeMap<_, _>, class| {
            all.get(&(class, label.clone()))
                .copied()
                .unwrap_or_default()
        };
        let twin = Twin {
            theirs,
            ours: &ours,
            class: *class,
            objects: (*handle, at(&brought, *class)),
            partners: (at(catalogue_before, other), at(&brought, other)),
            label: label.clone(),
        };
        compared += compare(&twin, &mut differences);
        let kind = KINDS.iter().rfind(|kind| {
            label
                .rsplit_once('-')
                .is_some_and(|(name, _)| name == kind.name)
        });
        if let Some(proof) = kind.unwrap().proof {
            proof(&twin);
            proved += 1;
        }
    }
    differences.sort();
    differences.dedup();
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences
            .iter()
            .take(60)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    assert!(
        compared > 15 * catalogue_before.len(),
        "{compared} attributes"
    );
    assert!(proved > 700, "{proved} keys");
    println!(
        "{} objects, {compared} attributes, {proved} keys",
        catalogue_before.len()
    );
}

#[test]
fn a_dry_run_a_wrong_pin_and_a_taken_serial_number_change_nothing() {
    let original = Original::new();
    write_pins(&original.home);
    let module = original.module();
    let slot = module.make_token("small");
    secret(&user(&module, slot), "one", 1, CKK_AES, 32);
    let mut hsm = Hsm::at_rest();
    hsm.start_daemon();
    let conf = original.conf().display().to_string();
    let pin = |name: &str| original.home.join(name).display().to_string();
    let (so, right, wrong) = (pin("so"), pin("user"), pin("other"));
    let run = |more: &[&str]| {
        let mut arguments = vec!["--json", "softhsm", "--conf", &conf];
        arguments.extend(more);
        import(&hsm, &arguments)
    };
    let tokens = || hsm.administer(&["--json", "token", "list"]);
    let empty = tokens();

    let dry = run(&["--pin-file", &right, "--so-pin-file", &so, "--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{dry:?}");
    assert_eq!(
        (
            &report(&dry)["dry_run"],
            &report(&dry)["parts"][0]["committed"]
        ),
        (&true.into(), &false.into())
    );
    assert_eq!(
        run(&["--pin-file", &wrong, "--so-pin-file", &so])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(
        run(&["--pin-file", &right, "--so-pin-file", &wrong])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(
        run(&[
            "--pin-file",
            &right,
            "--so-pin-file",
            &so,
            "--token",
            "none"
        ])
        .status
        .code(),
        Some(1)
    );
    assert_eq!(
        run(&["--pin-file", &right]).status.code(),
        Some(2),
        "there is nobody to ask"
    );
    assert_eq!(tokens(), empty, "nothing was changed");

    // Through the command of the operator, with a new PIN for the security officer.
    let command = hsm.try_administer(&[
        "import",
        "softhsm",
        "--conf",
        &conf,
        "--pin-file",
        &right,
        "--new-so-pin-file",
        &wrong,
    ]);
    let text = String::from_utf8_lossy(&command.stdout).into_owned();
    assert!(command.status.success(), "{command:?}");
    assert!(
        text.contains("brought in: 1 objects") && text.contains("new PIN here"),
        "{text}"
    );
    let ours = hsm.module();
    let session = Session::open_rw(&ours, ours.slot_labelled("small").unwrap()).unwrap();
    assert_eq!(session.login(CKU_SO, "another-pin-1234"), Ok(()));
    session.logout().unwrap();
    assert_eq!(session.login(CKU_USER, USER_PIN), Ok(()));
    // Without --keep-history a key says that it came from outside.
    let object = session.find(&template! { CKA_LABEL => "one" }).unwrap()[0];
    assert_eq!(session.flag(object, CKA_LOCAL), Ok(false));
    assert_eq!(session.flag(object, CKA_NEVER_EXTRACTABLE), Ok(false));

    let again = run(&["--pin-file", &right, "--so-pin-file", &so]);
    assert_eq!(
        again.status.code(),
        Some(1),
        "the serial number is taken: {again:?}"
    );
}

#[test]
fn a_half_written_object_is_told_and_strict_brings_nothing() {
    let original = Original::new();
    write_pins(&original.home);
    let module = original.module();
    let slot = module.make_token("half");
    let session = user(&module, slot);
    for number in 0..3 {
        secret(&session, &format!("key-{number}"), number, CKK_AES, 32);
    }
    module.finalize().unwrap();
    let token = strongroom_softhsm::source::tokens(&original.tokens())
        .unwrap()
        .tokens
        .remove(0);
    fs::write(token.directory.join(&token.objects[0].name), b"").unwrap();
    let mut hsm = Hsm::at_rest();
    hsm.start_daemon();
    let conf = original.conf().display().to_string();
    let pin = |name: &str| original.home.join(name).display().to_string();
    let (so, right) = (pin("so"), pin("user"));
    let base = [
        "--json",
        "softhsm",
        "--conf",
        &conf,
        "--pin-file",
        &right,
        "--so-pin-file",
        &so,
    ];
    let strict = import(&hsm, &[&base[..], &["--strict"]].concat());
    assert_eq!(strict.status.code(), Some(1), "{strict:?}");
    assert_eq!(report(&strict)["parts"][0]["committed"], false);
    assert!(
        !hsm.administer(&["--json", "token", "list"])
            .contains("half")
    );
    let lax = import(&hsm, &base);
    assert_eq!(lax.status.code(), Some(4), "{lax:?}");
    let refused: Vec<_> = report(&lax)["parts"][0]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["outcome"].as_str().unwrap().to_owned())
        .filter(|outcome| outcome == "refused")
        .collect();
    assert_eq!(refused.len(), 1);
    assert!(
        hsm.administer(&["--json", "token", "list"])
            .contains("half")
    );
}

/// The command of the operator without the program that it hands over to, in a directory of its own.
#[test]
fn a_command_without_the_importer_says_so() {
    let home = std::env::temp_dir().join(format!("sc{}", std::process::id()));
    fs::create_dir_all(&home).unwrap();
    let command = home.join("strongroom");
    fs::copy(
        strongroom_tests::product::bin_dir().join("strongroom"),
        &command,
    )
    .unwrap();
    let output = Command::new(&command)
        .args(["import", "softhsm"])
        .env("PATH", &home)
        .output()
        .unwrap();
    fs::remove_dir_all(&home).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("strongroom-import is not installed"));
}
