//! Secure key release as operators, workloads and consumers see it: an authority that signs with OpenSSL, keys of every kind, a consumer
//! that unwraps into another token.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use cryptoki_sys::*;
use serde_json::{Value, json};
use strongroom_tests::attest::{
    Authority, URL, base64url, claims, from_base64url, header, now, opened, policy,
};
use strongroom_tests::mechanism::{Mechanism, Oaep, Parameter};
use strongroom_tests::tool::run;
use strongroom_tests::{
    Session, Template, USER_PIN, Way, Workplace, not_on_softhsm, pattern, template,
};

use crate::keys;

/// `CKA_STRONGROOM_RELEASE_POLICY`
const POLICY: CK_ATTRIBUTE_TYPE = 0x8053_5201;
/// `CKA_STRONGROOM_RELEASE_POLICY_IMMUTABLE`
const IMMUTABLE: CK_ATTRIBUTE_TYPE = 0x8053_5202;
const APPLICATION: &str = "strongroom-release";

/// A house with a registered authority, a token that releases, and another one that keys are released to.
pub struct Scene {
    pub place: Workplace,
    pub authority: Authority,
    pub other_slot: CK_SLOT_ID,
}

/// The place that keys are released to: its private key never leaves it.
pub struct Consumer<'m> {
    pub session: Session<'m>,
    pub private: CK_OBJECT_HANDLE,
    pub modulus: Vec<u8>,
}

impl Scene {
    pub fn open() -> Self {
        let place = Workplace::open();
        let other_slot = place.module.make_token("elsewhere");
        let authority = Authority::new(&place.hsm.home, "authority");
        let keys = authority.keys();
        place
            .hsm
            .administer(&["authority", "add", URL, "--keys", keys.to_str().unwrap()]);
        fs::write(place.hsm.home.join("pin"), USER_PIN).unwrap();
        Self {
            place,
            authority,
            other_slot,
        }
    }

    pub fn consumer(&self) -> Consumer<'_> {
        let session = Session::open_rw(&self.place.module, self.other_slot).unwrap();
        session.login(CKU_USER, USER_PIN).unwrap();
        let (public, private) = keys::rsa_pair(&session, 2048);
        let modulus = session.attribute(public, CKA_MODULUS).unwrap();
        Consumer {
            session,
            private,
            modulus,
        }
    }

    /// `strongroom key release`, of the key with this label.
    pub fn release(&self, label: &str, statement: &str, more: &[&str]) -> Result<String, String> {
        let file = self.place.hsm.home.join("statement");
        fs::write(&file, statement).unwrap();
        let pin = self.place.hsm.home.join("pin");
        let mut arguments = vec![
            "key",
            "release",
            "suite",
            label,
            "--token",
            file.to_str().unwrap(),
        ];
        arguments.extend(["--pin-file", pin.to_str().unwrap()]);
        arguments.extend(more);
        let output = self.place.hsm.try_administer(&arguments);
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }
}

pub fn exportable(policy: &str) -> Template {
    template! {
        CKA_TOKEN => true, CKA_PRIVATE => true, CKA_EXTRACTABLE => true, CKA_SENSITIVE => true,
        POLICY => policy
    }
}

pub fn aes(session: &Session<'_>, label: &str, policy: &str) -> CK_OBJECT_HANDLE {
    let template = exportable(policy)
        .with(CKA_VALUE_LEN, 32u64)
        .with(CKA_ENCRYPT, true)
        .with(CKA_LABEL, label);
    session
        .generate(Mechanism::plain(CKM_AES_KEY_GEN), &template)
        .unwrap()
}

pub fn pair(
    session: &Session<'_>,
    kind: CK_MECHANISM_TYPE,
    public: &Template,
    label: &str,
    policy: &str,
) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let private = exportable(policy)
        .with(CKA_SIGN, true)
        .with(CKA_LABEL, label);
    session
        .generate_pair(kind, &public.clone().with(CKA_TOKEN, true), &private)
        .unwrap()
}

pub fn present(session: &Session<'_>, statement: &str) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    session
        .create(&template! {
            CKA_CLASS => CKO_DATA, CKA_TOKEN => false, CKA_APPLICATION => APPLICATION,
            CKA_VALUE => statement
        })
        .map_err(|code| code.0)
}

fn rsa_aes(hash: CK_MECHANISM_TYPE, mgf: CK_RSA_PKCS_MGF_TYPE) -> Mechanism {
    let oaep = Oaep {
        hash,
        mgf,
        label: Vec::new(),
    };
    Mechanism::new(
        CKM_RSA_AES_KEY_WRAP,
        Parameter::RsaAes {
            aes_bits: 256,
            oaep,
        },
    )
}

/// The three ways, by the names of the cloud.
pub fn ways() -> [(&'static str, Mechanism); 3] {
    [
        ("CKM_RSA_AES_KEY_WRAP", rsa_aes(CKM_SHA_1, CKG_MGF1_SHA1)),
        ("RSA_AES_KEY_WRAP_256", rsa_aes(CKM_SHA256, CKG_MGF1_SHA256)),
        ("RSA_AES_KEY_WRAP_384", rsa_aes(CKM_SHA384, CKG_MGF1_SHA384)),
    ]
}

/// What a released key does in the consumer's token is what the key itself does.
pub fn does_the_same(
    scene: &Scene,
    consumer: &Consumer<'_>,
    wrapped: &[u8],
    mechanism: &Mechanism,
    kind: Kind,
) {
    let base = match kind {
        Kind::Aes(_) => {
            template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_ENCRYPT => true }
        }
        Kind::Rsa(_) => {
            template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_RSA, CKA_SIGN => true }
        }
        Kind::Ec(_) => {
            template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_EC, CKA_SIGN => true }
        }
    };
    let template = base.with(CKA_TOKEN, false);
    let key = consumer
        .session
        .unwrap(mechanism.clone(), consumer.private, wrapped, &template)
        .unwrap();
    let session = scene.place.user();
    match kind {
        Kind::Aes(original) => {
            let data = pattern(7, 64);
            let ecb = || Mechanism::plain(CKM_AES_ECB);
            assert_eq!(
                consumer
                    .session
                    .run(Way::Encrypt, ecb(), key, &data)
                    .unwrap(),
                session.run(Way::Encrypt, ecb(), original, &data).unwrap()
            );
        }
        Kind::Rsa(public) => {
            let sign = || Mechanism::plain(CKM_SHA256_RSA_PKCS);
            let signature = consumer
                .session
                .run(Way::Sign, sign(), key, b"data")
                .unwrap();
            session.verify(sign(), public, b"data", &signature).unwrap();
        }
        Kind::Ec(public) => {
            let sign = || Mechanism::plain(CKM_ECDSA_SHA256);
            let signature = consumer
                .session
                .run(Way::Sign, sign(), key, b"data")
                .unwrap();
            session.verify(sign(), public, b"data", &signature).unwrap();
        }
    }
    consumer.session.destroy(key).unwrap();
}

/// A key, and what its copy is compared with.
#[derive(Clone, Copy)]
pub enum Kind {
    Aes(CK_OBJECT_HANDLE),
    Rsa(CK_OBJECT_HANDLE),
    Ec(CK_OBJECT_HANDLE),
}

/// A key of each kind, under the labels `aes`, `rsa` and `ec`: the key, and how it is compared.
pub fn every_kind(
    session: &Session<'_>,
    policy: &str,
) -> [(&'static str, CK_OBJECT_HANDLE, Kind); 3] {
    let aes = aes(session, "aes", policy);
    let bits = template! { CKA_MODULUS_BITS => 2048u64, CKA_VERIFY => true };
    let rsa = pair(session, CKM_RSA_PKCS_KEY_PAIR_GEN, &bits, "rsa", policy);
    let p256 = strongroom_tests::hex("06082a8648ce3d030107");
    let curve = template! { CKA_EC_PARAMS => p256.as_slice(), CKA_VERIFY => true };
    let ec = pair(session, CKM_EC_KEY_PAIR_GEN, &curve, "ec", policy);
    [
        ("aes", aes, Kind::Aes(aes)),
        ("rsa", rsa.1, Kind::Rsa(rsa.0)),
        ("ec", ec.1, Kind::Ec(ec.0)),
    ]
}

/// T13, by both doors that an operator and a workload have.
#[test]
fn released_keys_work_in_another_token() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let session = scene.place.user();
    let wanted = policy("sdk-test", &json!(true));
    let statement = scene.authority.statement(&consumer.modulus, &json!({}));
    let guest = present(&session, &statement).unwrap();
    for (label, key, kind) in every_kind(&session, &wanted) {
        for (name, mechanism) in ways() {
            let wrapped = session.wrap(mechanism.clone(), guest, key).unwrap();
            does_the_same(&scene, &consumer, &wrapped, &mechanism, kind);
            let envelope = scene.release(label, &statement, &["--enc", name]).unwrap();
            let (head, payload) = opened(&envelope);
            assert_eq!(head["alg"], "RS256");
            assert_eq!(payload["request"]["enc"], name);
            let told = &payload["response"]["key"]["key"];
            let kty = told["kty"].as_str().unwrap();
            assert_eq!(
                kty.strip_suffix("-HSM")
                    .unwrap()
                    .to_lowercase()
                    .replace("oct", "aes"),
                label
            );
            let hsm: Value =
                serde_json::from_slice(&from_base64url(told["key_hsm"].as_str().unwrap())).unwrap();
            assert_eq!(hsm["header"]["kid"], "fake-release-key");
            let wrapped = from_base64url(hsm["ciphertext"].as_str().unwrap());
            does_the_same(&scene, &consumer, &wrapped, &mechanism, kind);
        }
    }
}

/// T14: each of these is refused with its reason, and nobody is asked anything over the network.
#[test]
fn statements_that_prove_nothing_release_nothing_and_nobody_is_called() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let session = scene.place.user();
    aes(&session, "aes", &policy("sdk-test", &json!(true)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}/certs", listener.local_addr().unwrap());
    let stranger = Authority::new(&scene.place.hsm.home, "stranger");
    let of = |more: Value| scene.authority.statement(&consumer.modulus, &more);
    let mut away = header();
    away["jku"] = json!(address);
    away["x5u"] = json!(address);
    let mut unnamed = header();
    unnamed["kid"] = json!("another");
    let good = claims(&consumer.modulus, &json!({}));
    for (statement, word) in [
        (
            of(json!({"iss": "https://other.example"})),
            "no registered authority",
        ),
        (stranger.signed(&header(), &good), "signature"),
        (stranger.signed(&away, &good), "signature"),
        (scene.authority.signed(&unnamed, &good), "kid"),
        (of(json!({"exp": now() - 1})), "holds no more"),
        (of(json!({"nbf": now() + 3600})), "does not hold yet"),
        (of(json!({"sdk-test": false})), "does not meet"),
        (of(json!({"sdk-test": null})), "does not meet"),
        // T16: the key only where it does not count.
        (
            of(
                json!({"x-ms-runtime": null, "x-ms-isolation-tee": {"x-ms-runtime": good["x-ms-runtime"]}}),
            ),
            "x-ms-runtime.keys",
        ),
        ("rubbish".to_owned(), "three parts"),
    ] {
        let said = scene.release("aes", &statement, &[]).unwrap_err();
        assert!(said.contains(word), "{word}: {said}");
        assert!(
            !said.contains(statement.split('.').next_back().unwrap()) || statement == "rubbish"
        );
    }
    let said = scene
        .release("aes", &of(json!({})), &["--nonce", "n-1"])
        .unwrap_err();
    assert!(said.contains("nonce"), "{said}");
    let fresh = of(json!({"nonce": "n-1"}));
    let envelope = scene.release("aes", &fresh, &["--nonce", "n-1"]).unwrap();
    assert_eq!(opened(&envelope).1["request"]["nonce"], "n-1");
    // An address in a good statement changes nothing.
    scene
        .release("aes", &scene.authority.signed(&away, &good), &[])
        .unwrap();
    let met = listener.accept();
    assert!(met.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

/// T15.
#[test]
fn truth_is_compared_by_its_text() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let session = scene.place.user();
    aes(&session, "text", &policy("sdk-test", &json!("true")));
    aes(&session, "truth", &policy("sdk-test", &json!(true)));
    for claim in [json!(true), json!("true")] {
        let statement = scene
            .authority
            .statement(&consumer.modulus, &json!({"sdk-test": claim}));
        scene.release("text", &statement, &[]).unwrap();
        scene.release("truth", &statement, &[]).unwrap();
    }
}

/// T17, T18 and T19 through the C ABI.
#[test]
fn there_is_one_way_out_and_it_ends_with_the_statement() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let session = scene.place.user();
    let wanted = policy("sdk-test", &json!(true));
    let key = aes(&session, "aes", &wanted);
    let (ordinary, _) = keys::rsa_pair(&session, 2048);
    let [_, (_, way), _] = ways();
    let code = |outcome: Result<Vec<u8>, strongroom_tests::Rv>| outcome.unwrap_err().0;
    assert_eq!(
        code(session.wrap(way.clone(), ordinary, key)),
        CKR_KEY_NOT_WRAPPABLE
    );
    assert_eq!(
        session.attribute(key, CKA_VALUE).unwrap_err().0,
        CKR_ATTRIBUTE_SENSITIVE
    );
    assert_eq!(session.attribute(key, POLICY).unwrap(), wanted.as_bytes());
    // T17.
    session.set(key, &template! { IMMUTABLE => true }).unwrap();
    for change in [
        template! { POLICY => policy("sdk-test", &json!(false)) },
        template! { IMMUTABLE => false },
        template! { CKA_EXTRACTABLE => false },
    ] {
        assert_eq!(
            session.set(key, &change).unwrap_err().0,
            CKR_ATTRIBUTE_READ_ONLY
        );
    }
    let plain = session
        .generate(
            Mechanism::plain(CKM_AES_KEY_GEN),
            &template! { CKA_VALUE_LEN => 32u64 },
        )
        .unwrap();
    assert_eq!(
        session
            .set(plain, &template! { POLICY => wanted.as_str() })
            .unwrap_err()
            .0,
        CKR_ATTRIBUTE_READ_ONLY
    );
    // T19.
    let end = now() + 3;
    let statement = scene
        .authority
        .statement(&consumer.modulus, &json!({"exp": end}));
    let guest = present(&session, &statement).unwrap();
    assert!(session.flag(guest, CKA_TRUSTED).unwrap());
    let wrapped = session.wrap(way.clone(), guest, key).unwrap();
    does_the_same(&scene, &consumer, &wrapped, &way, Kind::Aes(key));
    while now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(code(session.wrap(way, guest, key)), CKR_KEY_NOT_WRAPPABLE);
    assert_eq!(
        present(&session, &statement).unwrap_err(),
        CKR_ATTRIBUTE_VALUE_INVALID
    );
}

/// A release by C_WrapKeyAuthenticated: the place opens it with the same associated data, by either function, and with no others.
#[test]
fn associated_data_bind_a_release() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let session = scene.place.user();
    let wanted = policy("sdk-test", &json!(true));
    let statement = scene.authority.statement(&consumer.modulus, &json!({}));
    let guest = present(&session, &statement).unwrap();
    let context = b"for this run of the workload";
    let labelled = |mechanism: &Mechanism, label: &[u8]| {
        let mut mechanism = mechanism.clone();
        if let Parameter::RsaAes { oaep, .. } = &mut mechanism.parameter {
            oaep.label = label.to_vec();
        }
        mechanism
    };
    let template =
        template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_TOKEN => false };
    for (_, key, kind) in every_kind(&session, &wanted) {
        for (_, mechanism) in ways() {
            let pair = (guest, key);
            let wrapped = session.wrap_authenticated(&mut mechanism.clone(), pair, context);
            let wrapped = wrapped.unwrap();
            let how = labelled(&mechanism, context);
            does_the_same(&scene, &consumer, &wrapped, &how, kind);
            if !matches!(kind, Kind::Aes(_)) {
                continue;
            }
            let (place, private) = (&consumer.session, consumer.private);
            let back = |associated: &[u8]| {
                let mut how = mechanism.clone();
                place.unwrap_authenticated(&mut how, private, &wrapped, associated, &template)
            };
            back(context).unwrap();
            for other in [&b""[..], b"for another run"] {
                assert_eq!(back(other).unwrap_err().0, CKR_WRAPPED_KEY_INVALID);
                let how = labelled(&mechanism, other);
                let back = place.unwrap(how, private, &wrapped, &template);
                assert_eq!(back.unwrap_err().0, CKR_WRAPPED_KEY_INVALID);
            }
        }
    }
    let [_, (_, way), _] = ways();
    let leave = |wrapping, key| {
        let left = session.wrap_authenticated(&mut way.clone(), (wrapping, key), context);
        left.map_err(|code| code.0)
    };
    let denied = aes(&session, "denied", &policy("sdk-test", &json!("never")));
    let permitted = aes(&session, "permitted", &wanted);
    let (ordinary, _) = keys::rsa_pair(&session, 2048);
    for (wrapping, key) in [(guest, denied), (ordinary, permitted)] {
        assert_eq!(leave(wrapping, key), Err(CKR_KEY_NOT_WRAPPABLE));
    }
    let end = now() + 2;
    let ending = scene
        .authority
        .statement(&consumer.modulus, &json!({"exp": end}));
    let guest = present(&session, &ending).unwrap();
    leave(guest, permitted).unwrap();
    while now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(leave(guest, permitted), Err(CKR_KEY_NOT_WRAPPABLE));
    let journal = scene.place.hsm.administer(&["audit", "tail", "-n", "200"]);
    let lines = journal
        .lines()
        .filter(|line| line.contains("C_WrapKeyAuthenticated") && line.contains("sdk-test=yes"));
    // Each of nine wraps and the last one were asked for their length first.
    assert_eq!(lines.count(), 20, "{journal}");
    assert!(!journal.contains("for this run"), "{journal}");
}

/// OpenSSL follows the signer to the root, for the host of the token.
fn openssl_believes(scene: &Scene, root: &str, header: &Value) {
    let home = &scene.place.hsm.home;
    let leaf = header["x5c"][0].as_str().unwrap();
    let leaf = format!("-----BEGIN CERTIFICATE-----\n{leaf}\n-----END CERTIFICATE-----\n");
    let lines: Vec<&str> = leaf.lines().collect();
    let digits: Vec<&str> = lines[1]
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let leaf = format!("{}\n{}\n{}\n", lines[0], digits.join("\n"), lines[2]);
    fs::write(home.join("leaf.pem"), leaf).unwrap();
    fs::write(home.join("root.pem"), root).unwrap();
    for (host, good) in [
        ("suite.strongroom.internal", true),
        ("other.strongroom.internal", false),
    ] {
        let mut command = Command::new("openssl");
        command.current_dir(home).args([
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            host,
        ]);
        let ran = run(command.args(["-CAfile", "root.pem", "leaf.pem"]), b"");
        assert_eq!(ran.good, good, "{}", ran.said);
    }
}

/// A wrong PIN costs a try, an unknown key is named, and what was registered survives a kill.
#[test]
fn the_command_line_says_what_is_wrong() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let mut scene = Scene::open();
    let statement = {
        let consumer = scene.consumer();
        let session = scene.place.user();
        aes(&session, "aes", &policy("sdk-test", &json!(true)));
        scene.authority.statement(&consumer.modulus, &json!({}))
    };
    let listed = scene.place.hsm.administer(&["authority", "list"]);
    assert!(
        listed.contains(URL) && listed.contains("1 pinned keys"),
        "{listed}"
    );
    let said = scene.release("nothing", &statement, &[]).unwrap_err();
    assert!(said.contains("no key with a release policy"), "{said}");
    fs::write(scene.place.hsm.home.join("pin"), "wrong-pin").unwrap();
    let said = scene.release("aes", &statement, &[]).unwrap_err();
    assert!(said.contains("the PIN is wrong"), "{said}");
    let flags = scene
        .place
        .module
        .token_info(scene.place.slot)
        .unwrap()
        .flags;
    assert_ne!(flags & CKF_USER_PIN_COUNT_LOW, 0);
    fs::write(scene.place.hsm.home.join("pin"), USER_PIN).unwrap();
    let first = opened(&scene.release("aes", &statement, &[]).unwrap()).0;
    let root = scene.place.hsm.administer(&["release", "root"]);
    scene.place.hsm.kill_daemon();
    scene.place.hsm.start_daemon();
    let again = opened(&scene.release("aes", &statement, &[]).unwrap()).0;
    assert_eq!(first["x5c"], again["x5c"]);
    assert_eq!(scene.place.hsm.administer(&["release", "root"]), root);
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----\n"));
    openssl_believes(&scene, &root, &again);
    for (url, word) in [
        ("https://other.example", "no authority is called"),
        ("nonsense", "no authority is called"),
    ] {
        let output = scene
            .place
            .hsm
            .try_administer(&["authority", "remove", url]);
        assert!(String::from_utf8_lossy(&output.stderr).contains(word));
    }
    scene.place.hsm.administer(&["authority", "remove", URL]);
    let said = scene.release("aes", &statement, &[]).unwrap_err();
    assert!(said.contains("no registered authority"), "{said}");
    assert!(!scene.place.hsm.log().contains(&base64url(b"x-ms")));
    let journal = scene.place.hsm.administer(&["audit", "tail", "-n", "20"]);
    assert!(
        journal.contains("admin.key_release") && journal.contains("sdk-test=yes"),
        "{journal}"
    );
    scene.place.hsm.administer(&["audit", "verify"]);
}

/// As every program calls it: first for the length, then for the bytes. That is one release, and the journal has one.
#[test]
fn a_length_is_no_release() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let session = scene.place.user();
    let key = aes(&session, "aes", &policy("sdk-test", &json!(true)));
    let hsm = &scene.place.hsm;
    hsm.configure("[limits]\nreleases_per_minute_max = 1\n");
    let statement = scene.authority.statement(&consumer.modulus, &json!({}));
    let guest = present(&session, &statement).unwrap();
    let [_, (_, way), _] = ways();
    let length = 256 + 40;
    assert_eq!(
        session.wrap_into(way.clone(), guest, key, length - 1),
        (strongroom_tests::Rv(CKR_BUFFER_TOO_SMALL), length)
    );
    let wrapped = session.wrap(way.clone(), guest, key).unwrap();
    does_the_same(&scene, &consumer, &wrapped, &way, Kind::Aes(key));
    assert_eq!(
        session.wrap_into(way.clone(), guest, key, length).0.0,
        CKR_FUNCTION_FAILED
    );
    let journal = hsm.administer(&["audit", "tail", "-n", "20"]);
    let asked: Vec<&str> = journal
        .lines()
        .filter(|line| line.contains("C_WrapKey") && line.contains("sdk-test=yes"))
        .collect();
    // Too small a buffer, the length, the key, and one too many.
    let left: Vec<bool> = asked
        .iter()
        .map(|line| !line.contains("\"left\":false") && line.contains("CKR_OK"))
        .collect();
    assert_eq!(left, [false, false, true, false], "{journal}");
    hsm.administer(&["audit", "verify"]);
}

/// Each statement is good once, whatever happens to the daemon after the key has left, and whoever presents it.
#[test]
fn a_used_statement_stays_used_after_a_kill() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let mut scene = Scene::open();
    let single_use = "[release]\nsingle_use = true\n";
    scene.place.hsm.configure(single_use);
    assert!(scene.place.hsm.log().contains("changed=\"release\""));
    let modulus = {
        let consumer = scene.consumer();
        let session = scene.place.user();
        aes(&session, "aes", &policy("sdk-test", &json!(true)));
        consumer.modulus
    };
    let [first, second, third] = ["one", "two", "three"].map(|jti| {
        let more = json!({"jti": jti});
        scene.authority.statement(&modulus, &more)
    });
    scene.release("aes", &first, &[]).unwrap();
    let said = scene.release("aes", &first, &[]).unwrap_err();
    assert!(said.contains("used already"), "{said}");
    {
        let session = scene.place.user();
        present(&session, &second).unwrap();
    }
    scene.place.hsm.kill_daemon();
    scene.place.hsm.start_daemon();
    for used in [&first, &second] {
        let said = scene.release("aes", used, &[]).unwrap_err();
        assert!(said.contains("used already"), "{said}");
        let session = scene.place.user();
        assert_eq!(
            present(&session, used).unwrap_err(),
            CKR_ATTRIBUTE_VALUE_INVALID
        );
    }
    scene.release("aes", &third, &[]).unwrap();
    let said = scene.release("aes", &third, &[]).unwrap_err();
    assert!(said.contains("used already"), "{said}");
    // A daemon that takes over from this one knows it too.
    assert!(scene.place.hsm.replace_daemon());
    let said = scene.release("aes", &third, &[]).unwrap_err();
    assert!(said.contains("used already"), "{said}");
}

/// A quote of a TPM in a statement's place: the key that it vouches for gets what its registers permit.
#[test]
fn evidence_of_hardware_releases_as_a_statement_does() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let session = scene.place.user();
    let url = "https://tpm.example";
    let roots = scene.authority.public();
    let roots = roots.to_str().unwrap();
    let hsm = &scene.place.hsm;
    hsm.administer(&[
        "authority",
        "add",
        url,
        "--hardware",
        "tpm",
        "--roots",
        roots,
    ]);
    let listed = hsm.administer(&["authority", "list"]);
    assert!(listed.contains("pinned roots of tpm"), "{listed}");
    let register = [7; 32];
    let wanted = policy("tpm-pcr-sha256-7", &json!("07".repeat(32))).replace(URL, url);
    let key = aes(&session, "aes", &wanted);
    let quote = scene.authority.quote(&consumer.modulus, &register);
    let envelope = scene.release("aes", &quote.to_string(), &[]).unwrap();
    assert_eq!(
        opened(&envelope).1["response"]["key"]["key"]["kty"],
        "oct-HSM"
    );
    let guest = present(&session, &quote.to_string()).unwrap();
    let [(_, way), ..] = ways();
    let wrapped = session.wrap(way.clone(), guest, key).unwrap();
    does_the_same(&scene, &consumer, &wrapped, &way, Kind::Aes(key));
    // Other registers, truly quoted, and ones that were not.
    let other = scene.authority.quote(&consumer.modulus, &[8; 32]);
    let said = scene.release("aes", &other.to_string(), &[]).unwrap_err();
    assert!(said.contains("does not meet"), "{said}");
    let mut forged = other;
    forged["pcrs"] = quote["pcrs"].clone();
    assert!(scene.release("aes", &forged.to_string(), &[]).is_err());
    let mut swapped = quote.clone();
    swapped["runtime"] = json!(base64url(b"{\"keys\":[]}"));
    assert!(scene.release("aes", &swapped.to_string(), &[]).is_err());
    let stranger = Authority::new(&hsm.home, "stranger");
    let said = scene
        .release(
            "aes",
            &stranger.quote(&consumer.modulus, &register).to_string(),
            &[],
        )
        .unwrap_err();
    assert!(said.contains("not released"), "{said}");
    let said = scene
        .release("aes", "{\"format\":\"nitro\",\"document\":\"AA\"}", &[])
        .unwrap_err();
    assert!(
        said.contains("no registered authority has roots of nitro"),
        "{said}"
    );
}

/// Keys that the command makes leave as those of applications do; what is no policy makes none.
#[test]
fn the_command_line_makes_keys_with_a_policy() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = Scene::open();
    let consumer = scene.consumer();
    let statement = scene.authority.statement(&consumer.modulus, &json!({}));
    let hsm = &scene.place.hsm;
    let module = strongroom_tests::hsm::module_path();
    let (file, pin) = (hsm.home.join("policy.json"), hsm.home.join("pin"));
    let create = |label: &str, kind: &str, policy: &str| {
        fs::write(&file, policy).unwrap();
        let mut arguments = vec![
            "key",
            "create",
            "suite",
            label,
            "--kind",
            kind,
            "--immutable",
        ];
        arguments.extend(["--id", "0a0b", "--release-policy", file.to_str().unwrap()]);
        arguments.extend(["--pin-file", pin.to_str().unwrap()]);
        arguments.extend(["--module", module.to_str().unwrap()]);
        hsm.try_administer(&arguments)
    };
    let wanted = policy("sdk-test", &json!(true));
    for (kind, kty) in [
        ("aes-256", "oct-HSM"),
        ("rsa-2048", "RSA-HSM"),
        ("ec-p384", "EC-HSM"),
    ] {
        let made = create(kind, kind, &wanted);
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let payload = opened(&scene.release(kind, &statement, &[]).unwrap()).1;
        let key = &payload["response"]["key"];
        assert_eq!(key["key"]["kty"], kty);
        assert_eq!(key["release_policy"]["immutable"], true);
        assert_eq!(key["release_policy"]["data"], base64url(wanted.as_bytes()));
    }
    for wrong in ["", "{}", "rubbish"] {
        let refused = create("none", "aes-256", wrong);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("CKR_ATTRIBUTE_VALUE_INVALID"),
            "{said}"
        );
    }
}
