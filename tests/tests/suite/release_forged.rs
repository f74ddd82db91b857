//! Envelopes that are truly signed and wrong nevertheless: by whom, for whom, or what is inside. The command and the strangers' programs refuse
//! each of them and leave nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aes_kw::KeyInit as _;
use cryptoki_sys::*;
use serde_json::{Value, json};
use strongroom_tests::attest::{base64url, from_base64url};
use strongroom_tests::certify::{AUTHORITY, Certified, USUAL, Wish};
use strongroom_tests::tool::{Ran, run, succeed};
use strongroom_tests::{hex, not_on_softhsm, pattern, template};

use crate::release_open::{Consumers, HOST};

const LEAF: &str = "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature";
pub const NAMED: &str = "subjectAltName=DNS:suite.strongroom.internal";
const TEMPORARY: [u8; 32] = [0x5a; 32];

/// Whoever has a root that is pinned, and opens what it vouches for.
struct Forge {
    consumers: Consumers,
    root: Certified,
    /// Their public keys in DER: that of the key in the token, and that of the key in a file.
    places: [PathBuf; 2],
}

impl Forge {
    fn new() -> Self {
        let consumers = Consumers::new();
        let home = consumers.scene.place.hsm.home.clone();
        let root = Certified::root(&home, "forge");
        let places = ["token.der", "file.der"].map(|name| home.join(name));
        {
            let session = consumers.elsewhere();
            let wanted = template! { CKA_LABEL => "kek", CKA_CLASS => CKO_PUBLIC_KEY };
            let found = session.find(&wanted).unwrap();
            let public = session.attribute(found[0], CKA_PUBLIC_KEY_INFO).unwrap();
            fs::write(&places[0], public).unwrap();
        }
        let mut command = Command::new("openssl");
        command.args(["pkey", "-pubout", "-outform", "DER", "-in"]);
        command.arg(home.join("kek.pem")).arg("-out");
        succeed(command.arg(&places[1]));
        Self {
            consumers,
            root,
            places,
        }
    }

    fn leaf(&self, name: &str) -> Certified {
        self.root.certifies(name, &usual(&extended(NAMED)))
    }

    /// What everybody says of an envelope: the command, then the others.
    fn everybody(&self, of: impl Fn(&Path) -> String) -> Vec<Ran> {
        let root = self.root.pem();
        let more = ["--root", root.to_str().unwrap()];
        let mut all = vec![self.consumers.open(&of(&self.places[0]), &more)];
        for program in &self.consumers.programs {
            let envelope = of(&self.places[1]);
            all.push(self.consumers.program(program, &envelope, &more));
        }
        all
    }

    /// Everybody refuses it for a reason with one of these words, and the token has what it had.
    #[track_caller]
    fn refuse(&self, words: &[&str], of: impl Fn(&Path) -> String) {
        let before = self.objects();
        for ran in self.everybody(of) {
            assert!(!ran.good, "{words:?}: {}", ran.said);
            let told = words.iter().any(|word| ran.said.contains(word));
            assert!(
                told && !ran.said.contains("Traceback"),
                "{words:?}: {}",
                ran.said
            );
        }
        assert_eq!(self.objects(), before, "{words:?}");
    }

    #[track_caller]
    fn take(&self, of: impl Fn(&Path) -> String) {
        let before = self.objects().len();
        for ran in self.everybody(of) {
            assert!(ran.good, "{}", ran.said);
        }
        assert_eq!(self.objects().len(), before + 1);
    }

    /// All that is in the token, as the unique ids of its objects.
    fn objects(&self) -> Vec<Vec<u8>> {
        let session = self.consumers.elsewhere();
        let found = session.find(&template! {}).unwrap();
        let id = |object: &CK_OBJECT_HANDLE| session.attribute(*object, CKA_UNIQUE_ID).unwrap();
        let mut all: Vec<_> = found.iter().map(id).collect();
        all.sort();
        all
    }
}

pub fn usual(extensions: &str) -> Wish<'_> {
    Wish {
        subject: "/CN=leaf",
        extensions,
        validity: USUAL,
    }
}

pub fn extended(more: &str) -> String {
    format!("{LEAF}\n{more}")
}

pub fn header(chain: &[&Certified]) -> Value {
    let chain: Vec<String> = chain.iter().map(|link| link.shown()).collect();
    json!({"alg": "RS256", "typ": "JWT", "x5c": chain})
}

fn payload(host: &str, key: &Value, ciphertext: &[u8]) -> Value {
    payload_by("RSA_AES_KEY_WRAP_256", host, key, ciphertext)
}

/// What an envelope says of a key that is encrypted in this way.
pub fn payload_by(encryption: &str, host: &str, key: &Value, ciphertext: &[u8]) -> Value {
    let hsm = json!({
        "schema_version": "1.0", "header": {"kid": "kek", "alg": "dir", "enc": encryption},
        "ciphertext": base64url(ciphertext),
    });
    let mut key = key.clone();
    key["kid"] = json!(format!("https://{host}/keys/forged/version"));
    key["key_hsm"] = json!(base64url(hsm.to_string().as_bytes()));
    json!({
        "request": {"kid": format!("https://{host}/keys/forged"), "enc": encryption, "nonce": "n-1"},
        "response": {"key": {"key": key, "attributes": {"enabled": true, "exportable": true}}},
    })
}

/// Envelopes by this leaf, with this chain, which are good apart from that.
fn signed<'c>(
    host: &str,
    leaf: &'c Certified,
    chain: &[&Certified],
) -> impl Fn(&Path) -> String + use<'c> {
    let (head, host) = (header(chain), host.to_owned());
    move |place| {
        let body = payload(&host, &secret(), &encrypted(place, &pattern(3, 32)));
        leaf.key.signed(&head, &body)
    }
}

fn secret() -> Value {
    json!({"kty": "oct-HSM", "key_ops": ["encrypt", "decrypt"]})
}

fn oaep(place: &Path, plain: &[u8]) -> Vec<u8> {
    oaep_by("sha256", place, plain)
}

/// By OpenSSL.
fn oaep_by(hash: &str, place: &Path, plain: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey"]);
    command
        .arg(place)
        .args(["-pkeyopt", "rsa_padding_mode:oaep"]);
    for option in ["rsa_oaep_md", "rsa_mgf1_md"] {
        command.args(["-pkeyopt", &format!("{option}:{hash}")]);
    }
    let ran = run(&mut command, plain);
    assert!(ran.good, "{}", ran.said);
    ran.out
}

fn kwp(plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; plain.len().next_multiple_of(8) + 8];
    let wrap = aes_kw::KwpAes256::new(&TEMPORARY.into());
    wrap.wrap_key(plain, &mut out).unwrap();
    out
}

fn encrypted(place: &Path, plain: &[u8]) -> Vec<u8> {
    encrypted_by("sha256", place, plain)
}

/// Both parts of a ciphertext for this place.
pub fn encrypted_by(hash: &str, place: &Path, plain: &[u8]) -> Vec<u8> {
    [oaep_by(hash, place, &TEMPORARY), kwp(plain)].concat()
}

/// A key pair of these options: PKCS #8 in DER.
pub fn private(directory: &Path, name: &str, options: &[&str]) -> Vec<u8> {
    let path = directory.join(format!("{name}.p8"));
    let mut command = Command::new("openssl");
    command.arg("genpkey").args(options);
    succeed(command.args(["-outform", "DER", "-out"]).arg(&path));
    let mut command = Command::new("openssl");
    command.args(["pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-in"]);
    succeed(command.arg(&path).args(["-outform", "DER"])).out
}

pub const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// The public half of a key pair, as an envelope has it.
pub fn public(directory: &Path, kind: &str, private: &[u8]) -> Value {
    let path = directory.join("private");
    fs::write(&path, private).unwrap();
    let told = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        succeed(command.args(arguments).arg(&path)).out
    };
    if kind == "RSA" {
        let said = told(&["rsa", "-noout", "-modulus", "-inform", "DER", "-in"]);
        let said = String::from_utf8(said).unwrap();
        let modulus = hex(said.trim().strip_prefix("Modulus=").unwrap());
        return json!({"kty": "RSA-HSM", "n": base64url(&modulus), "e": "AQAB", "key_ops": ["sign"]});
    }
    let spki = told(&[
        "pkey", "-pubout", "-outform", "DER", "-inform", "DER", "-in",
    ]);
    let (x, y) = spki[spki.len() - 64..].split_at(32);
    json!({"kty": "EC-HSM", "crv": "P-256", "x": base64url(x), "y": base64url(y), "key_ops": ["sign"]})
}

/// What is inside is not what was signed for, or is nothing: it is named, and no key is left in the token.
#[test]
fn what_does_not_fit_the_envelope_is_refused_and_leaves_nothing() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let forge = Forge::new();
    let leaf = forge.leaf("leaf");
    let home = &forge.consumers.scene.place.hsm.home;
    let signed = |key: &Value, ciphertext: &[u8]| {
        let payload = payload(HOST, key, ciphertext);
        leaf.key.signed(&header(&[&leaf]), &payload)
    };
    let [rsa, other_rsa] = ["one", "two"].map(|name| private(home, name, RSA));
    let [ec, other_ec] = ["three", "four"].map(|name| private(home, name, EC));
    let told_rsa = public(home, "RSA", &rsa);
    let told_ec = public(home, "EC", &ec);
    let aes = pattern(3, 32);
    // What is refused below is so near to this that nothing else can be the reason.
    for (told, plain) in [(&told_rsa, &rsa), (&told_ec, &ec), (&secret(), &aes)] {
        forge.take(|place| signed(told, &encrypted(place, plain)));
    }
    let inside = |words: &[&str], told: &Value, plain: &[u8]| {
        forge.refuse(words, |place| signed(told, &encrypted(place, plain)));
    };
    // Of another key than its public half says.
    inside(&["another key"], &told_rsa, &other_rsa);
    inside(&["another key"], &told_ec, &other_ec);
    let mut exponent = told_rsa.clone();
    exponent["e"] = json!("Aw");
    inside(&["another key"], &exponent, &rsa);
    // Of another type than kty.
    inside(&["another kind"], &told_rsa, &ec);
    inside(&["another kind"], &told_ec, &rsa);
    inside(
        &["no private key", "no such key"],
        &told_rsa,
        &pattern(5, 32),
    );
    // Not what RFC 5649 made, and not of a length that it makes.
    let changed = |words: &[&str], change: &dyn Fn(&Path, Vec<u8>) -> Vec<u8>| {
        for (told, plain) in [(&told_rsa, &rsa), (&secret(), &aes)] {
            forge.refuse(words, |place| {
                signed(told, &change(place, encrypted(place, plain)))
            });
        }
    };
    let unfit = &["private key"];
    for place in [0, 255, 256, 263, usize::MAX] {
        changed(unfit, &|_, mut ciphertext| {
            let place = place.min(ciphertext.len() - 1);
            ciphertext[place] ^= 1;
            ciphertext
        });
    }
    changed(unfit, &|place, _| {
        let mut wrapped = vec![0; 40];
        let wrap = aes_kw::KwAes256::new(&TEMPORARY.into());
        wrap.wrap_key(&aes, &mut wrapped).unwrap();
        [oaep(place, &TEMPORARY), wrapped].concat()
    });
    for length in [0, 255, 256, 257, 264] {
        changed(unfit, &|_, mut ciphertext| {
            ciphertext.truncate(length);
            ciphertext
        });
    }
    for more in [1, 8] {
        changed(unfit, &|_, ciphertext| [ciphertext, vec![0; more]].concat());
    }
    // A temporary key of 16 bytes is not what the format says.
    changed(&["private key", "temporary key"], &|place, _| {
        let mut wrapped = vec![0; 40];
        let wrap = aes_kw::KwpAes128::new(&[0x5a; 16].into());
        wrap.wrap_key(&aes, &mut wrapped).unwrap();
        [oaep(place, &[0x5a; 16]), wrapped].concat()
    });
}

/// A payload whose reading depends on the reader is refused by all of them, though it is truly signed.
#[test]
fn what_is_signed_and_ambiguous_is_refused() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let forge = Forge::new();
    let leaf = forge.leaf("leaf");
    let head = header(&[&leaf]).to_string();
    let body =
        |place: &Path| payload(HOST, &secret(), &encrypted(place, &pattern(3, 32))).to_string();
    let again = |text: &str, place: &str, member: &str| {
        let at = text.find(place).unwrap() + place.len();
        format!("{}{member},{}", &text[..at], &text[at..])
    };
    let words = &["ambiguous", "twice", "no JSON"];
    forge.take(|place| leaf.key.signed_text(&head, &body(place)));
    forge.refuse(words, |place| {
        leaf.key
            .signed_text(&again(&head, "{", r#""typ":"other""#), &body(place))
    });
    for (at, member) in [
        ("{", r#""request":{}"#),
        (r#""request":{"#, r#""nonce":"n-2""#),
        (r#"},"key":{"#, r#""kty":"RSA-HSM""#),
        (r#"},"key":{"#, r#""\u006bty":"RSA-HSM""#),
    ] {
        forge.refuse(words, |place| {
            leaf.key
                .signed_text(&head, &again(&body(place), at, member))
        });
    }
    forge.refuse(words, |place| {
        let mut payload = payload(HOST, &secret(), &encrypted(place, &pattern(3, 32)));
        let hsm = &mut payload["response"]["key"]["key"]["key_hsm"];
        let text = String::from_utf8(from_base64url(hsm.as_str().unwrap())).unwrap();
        *hsm = json!(base64url(
            again(&text, "{", r#""ciphertext":"AA""#).as_bytes()
        ));
        leaf.key.signed_text(&head, &payload.to_string())
    });
    forge.refuse(words, |place| {
        let envelope = leaf.key.signed_text(&head, &body(place));
        format!(r#"{{"value":"a.b.c","value":"{envelope}"}}"#)
    });
    let mut critical = header(&[&leaf]);
    critical["crit"] = json!(["b64"]);
    forge.refuse(&["critical"], |place| {
        leaf.key.signed_text(&critical.to_string(), &body(place))
    });
}

/// Words for a chain that leads nowhere, in the words of each.
const CHAIN: &[&str] = &["chain", "do not lead", "order"];
const SIGNER: &[&str] = &["authority", "signatures"];
const TIME: &[&str] = &["not hold", "expired", "not yet valid"];
const NAME: &[&str] = &["host"];

/// Leaves that a pinned root has truly certified, and that are not for this.
#[test]
fn certificates_are_in_their_time_and_for_this_host_and_for_signatures() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let forge = Forge::new();
    let root = &forge.root;
    let certified = |name: &str, extensions: &str| root.certifies(name, &usual(extensions));
    for (name, host, names) in [
        ("usual", HOST, NAMED),
        (
            "several",
            HOST,
            "subjectAltName=DNS:a.example,DNS:SUITE.strongroom.internal",
        ),
        ("star", HOST, "subjectAltName=DNS:*.strongroom.internal"),
    ] {
        let leaf = certified(name, &extended(names));
        forge.take(signed(host, &leaf, &[&leaf, root]));
    }
    // RFC 5280, 4.2.1.6: a leaf without subject has critical names.
    let nobody = format!("{LEAF}\nsubjectAltName=critical,DNS:{HOST}");
    let nobody = Wish {
        subject: "/",
        ..usual(&nobody)
    };
    let nobody = root.certifies("nobody", &nobody);
    forge.take(signed(HOST, &nobody, &[&nobody, root]));
    for (name, host, names) in [
        (
            "other",
            HOST,
            "subjectAltName=DNS:other.strongroom.internal",
        ),
        ("stars", HOST, "subjectAltName=DNS:*.internal"),
        ("all", HOST, "subjectAltName=DNS:*"),
        ("top", "suite.internal", "subjectAltName=DNS:*.internal"),
        ("part", HOST, "subjectAltName=DNS:s*.strongroom.internal"),
        ("inner", HOST, "subjectAltName=DNS:suite.*.internal"),
        (
            "deep",
            "a.suite.strongroom.internal",
            "subjectAltName=DNS:*.strongroom.internal",
        ),
        (
            "bare",
            "strongroom.internal.example",
            "subjectAltName=DNS:*.strongroom.internal.example",
        ),
        (
            "mail",
            HOST,
            "subjectAltName=email:suite@strongroom.internal",
        ),
    ] {
        let leaf = certified(name, &extended(names));
        forge.refuse(NAME, signed(host, &leaf, &[&leaf, root]));
    }
    let subject = format!("/CN={HOST}");
    for (name, extensions) in [
        ("subject", LEAF.to_owned()),
        ("elsewhere", extended("subjectAltName=DNS:other.example")),
    ] {
        let wish = Wish {
            subject: &subject,
            ..usual(&extensions)
        };
        let leaf = root.certifies(name, &wish);
        forge.refuse(NAME, signed(HOST, &leaf, &[&leaf, root]));
    }
    for (name, validity) in [
        ("expired", ("20200101000000Z", "20250101000000Z")),
        ("early", ("20480101000000Z", "20490101000000Z")),
    ] {
        let extensions = extended(NAMED);
        let wish = Wish {
            validity,
            ..usual(&extensions)
        };
        let leaf = root.certifies(name, &wish);
        forge.refuse(TIME, signed(HOST, &leaf, &[&leaf, root]));
    }
    let both = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,digitalSignature";
    let encipher = "basicConstraints=critical,CA:false\nkeyUsage=critical,keyEncipherment";
    for (name, extensions) in [("both", both), ("ca", AUTHORITY), ("encipher", encipher)] {
        let leaf = certified(name, &format!("{extensions}\n{NAMED}"));
        forge.refuse(SIGNER, signed(HOST, &leaf, &[&leaf, root]));
    }
    let unknown = extended(&format!("{NAMED}\n1.2.3.4=critical,ASN1:UTF8String:x"));
    let leaf = certified("unknown", &unknown);
    forge.refuse(
        &["critical", "signatures"],
        signed(HOST, &leaf, &[&leaf, root]),
    );
}

/// Chains: each certificate certifies the one before it, up to the pinned root.
#[test]
fn chains_lead_to_the_root_link_by_link() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let forge = Forge::new();
    let root = &forge.root;
    let authority = |above: &Certified, name: &str, extensions: &str, validity| {
        let subject = format!("/CN={name}");
        let wish = Wish {
            subject: &subject,
            extensions,
            validity,
        };
        above.certifies(name, &wish)
    };
    let named = extended(NAMED);
    let leaf_of = |above: &Certified, name: &str| above.certifies(name, &usual(&named));
    let upper = authority(root, "upper", AUTHORITY, USUAL);
    let lower = authority(&upper, "lower", AUTHORITY, USUAL);
    let leaf = leaf_of(&lower, "leaf");
    forge.take(signed(HOST, &leaf, &[&leaf, &lower, &upper]));
    forge.take(signed(HOST, &leaf, &[&leaf, &lower, &upper, root]));
    for chain in [
        &[&leaf][..],
        &[&leaf, &lower],
        &[&leaf, &upper],
        &[&leaf, &lower, root],
        &[&leaf, &upper, &lower],
        &[&leaf, root, &lower, &upper],
    ] {
        forge.refuse(CHAIN, signed(HOST, &leaf, chain));
    }
    // The signer is not the first: whoever signs, the first one is asked.
    for chain in [&[&upper, &lower, &leaf][..], &[root, &leaf, &lower]] {
        forge.refuse(
            &["authority", "signatures", "host"],
            signed(HOST, &leaf, chain),
        );
    }
    // Certified by somebody who may not, or not so far down, or not any more.
    let no_authority = leaf_of(root, "leaf-above");
    let below = leaf_of(&no_authority, "below");
    forge.refuse(CHAIN, signed(HOST, &below, &[&below, &no_authority]));
    let short = authority(
        root,
        "short",
        "basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign",
        USUAL,
    );
    let beneath = authority(&short, "beneath", AUTHORITY, USUAL);
    let far = leaf_of(&beneath, "far");
    forge.refuse(CHAIN, signed(HOST, &far, &[&far, &beneath, &short]));
    let ended = authority(
        root,
        "ended",
        AUTHORITY,
        ("20200101000000Z", "20250101000000Z"),
    );
    let late = leaf_of(&ended, "late");
    forge.refuse(TIME, signed(HOST, &late, &[&late, &ended]));
    let unusable = authority(
        root,
        "unusable",
        "basicConstraints=critical,CA:true\nkeyUsage=critical,cRLSign",
        USUAL,
    );
    let unusable_leaf = leaf_of(&unusable, "unusable-leaf");
    forge.refuse(
        CHAIN,
        signed(HOST, &unusable_leaf, &[&unusable_leaf, &unusable]),
    );
    // A root of the same name that is not the pinned one.
    let home = forge.consumers.path("elsewhere");
    fs::create_dir(&home).unwrap();
    let twin = Certified::root(&home, "forge");
    let of_twin = leaf_of(&twin, "of-twin");
    forge.refuse(CHAIN, signed(HOST, &of_twin, &[&of_twin, &twin]));
    forge.refuse(CHAIN, signed(HOST, &of_twin, &[&of_twin, root]));
}
