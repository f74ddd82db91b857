//! TPM 2.0: quotes of a TPM in software, made with tpm2-tools.
//!
//! What lives here: what holds, and what is refused.
//! What must never live here: how bytes are altered.
//! Who calls it: the runner of the tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use strongroom_attestation::{
    Evidence, Kind, Pcr, PcrBank, Proof, Refusal, Roots, Verified, verify,
};

use crate::altered;
use crate::forge::{NOW, Party, authority, extension, tlv};

const RUNTIME: &[u8] = br#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;

/// A TPM in software, with a state of its own; both end with this.
struct Swtpm {
    process: Child,
    directory: PathBuf,
}

impl Swtpm {
    fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("strongroom-quote-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(directory.join("state")).unwrap();
        let argument = |kind: &str, name: &str| format!("{kind}{}", directory.join(name).display());
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--server", &argument("type=unixio,path=", "tpm")])
            .args(["--ctrl", &argument("type=unixio,path=", "tpm.ctrl")])
            .args(["--tpmstate", &argument("dir=", "state")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the package swtpm is missing (tests/APT_PACKAGES)");
        let swtpm = Self { process, directory };
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(swtpm.directory.join("tpm")).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "swtpm is not up");
            std::thread::yield_now();
        }
        swtpm
    }

    fn tool(&self, name: &str, arguments: &[&str]) {
        let output = Command::new(name)
            .arg("-T")
            .arg(format!(
                "swtpm:path={}",
                self.directory.join("tpm").display()
            ))
            .args(arguments)
            .current_dir(&self.directory)
            .output()
            .expect("the package tpm2-tools is missing (tests/APT_PACKAGES)");
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {says}");
    }

    fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        std::fs::read(self.directory.join(name)).unwrap()
    }

    /// An attestation key and a quote over registers 0, 7 and 16, the last of which was extended.
    fn quote(&self, algorithm: &str, scheme: &str, hash: &str) -> Quote {
        let tool = |name, arguments: &[&str]| self.tool(name, arguments);
        tool(
            "tpm2_createek",
            &["-c", "ek.ctx", "-G", "rsa", "-u", "ek.pub"],
        );
        let key = [
            "-C", "ek.ctx", "-c", "ak.ctx", "-G", algorithm, "-g", hash, "-s", scheme,
        ];
        tool("tpm2_createak", &[&key[..], &["-u", "ak.pub"]].concat());
        tool("tpm2_flushcontext", &["-t"]);
        tool(
            "tpm2_readpublic",
            &["-c", "ak.ctx", "-f", "der", "-o", "ak.der"],
        );
        let extended = "sha256=".to_owned() + &"5a".repeat(32);
        tool("tpm2_pcrextend", &[&format!("16:{extended}")]);
        let digest = Sha256::digest(RUNTIME);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let what = [
            "-c",
            "ak.ctx",
            "-l",
            "sha256:0,7,16",
            "-q",
            &digest,
            "-g",
            hash,
            "--scheme",
            scheme,
        ];
        tool(
            "tpm2_quote",
            &[&what[..], &["-m", "attest", "-s", "signature"]].concat(),
        );
        let register = |index: u8| {
            let name = format!("sha256:{index}");
            tool("tpm2_pcrread", &[&name, "-o", "register"]);
            Pcr {
                bank: PcrBank::Sha256,
                index,
                value: self.read("register"),
            }
        };
        Quote {
            attest: self.read("attest"),
            signature: self.read("signature"),
            pcrs: vec![register(0), register(7), register(16)],
            public_area: self.read("ak.pub"),
            spki: self.read("ak.der"),
            endorsement: self.read("ek.pub"),
        }
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a TPM said.
#[derive(Clone)]
struct Quote {
    attest: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<Pcr>,
    public_area: Vec<u8>,
    spki: Vec<u8>,
    endorsement: Vec<u8>,
}

impl Quote {
    fn judged(
        &self,
        pinned: &[u8],
        certificates: &[Vec<u8>],
        runtime: Option<&[u8]>,
    ) -> Result<Verified, Refusal> {
        let roots = Roots::parse(Kind::Tpm, pinned)?;
        let evidence = Evidence {
            proof: Proof::Tpm {
                attest: self.attest.clone(),
                signature: self.signature.clone(),
                pcrs: self.pcrs.clone(),
                certificates: certificates.to_vec(),
            },
            runtime: runtime.map(<[u8]>::to_vec),
        };
        verify(&evidence, &roots, NOW)
    }
}

#[test]
fn quotes_of_every_scheme_become_claims() {
    for (algorithm, scheme, hash) in [
        ("rsa", "rsassa", "sha256"),
        ("rsa", "rsapss", "sha256"),
        ("ecc", "ecdsa", "sha256"),
    ] {
        let swtpm = Swtpm::start();
        let quote = swtpm.quote(algorithm, scheme, hash);
        for pinned in [&quote.public_area, &quote.spki] {
            let verified = quote.judged(pinned, &[], Some(RUNTIME)).unwrap();
            let claims = verified.claims;
            assert_eq!(claims["x-ms-attestation-type"], "tpm");
            assert_eq!(claims["tpm-pcr-sha256-0"], "00".repeat(32));
            let extended = Sha256::digest([[0; 32], [0x5a; 32]].concat());
            let extended: String = extended.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(claims["tpm-pcr-sha256-16"], extended);
            assert!(claims["tpm-reset-count"].is_number());
            assert_eq!(claims["x-ms-runtime"]["keys"][0]["kty"], "RSA");
        }
        refusals(&quote);
    }
}

/// Whatever is wrong with a good quote refuses it.
fn refusals(quote: &Quote) {
    let pinned = &quote.spki;
    let with = |change: &dyn Fn(&mut Quote)| {
        let mut changed = quote.clone();
        change(&mut changed);
        changed.judged(pinned, &[], None)
    };
    assert!(with(&|_| {}).is_ok());
    for (name, change) in [
        (
            "value",
            &(|q: &mut Quote| q.pcrs[2].value[0] ^= 1) as &dyn Fn(&mut Quote),
        ),
        ("missing", &|q| drop(q.pcrs.pop())),
        ("twice", &|q| q.pcrs.push(q.pcrs[0].clone())),
        ("another", &|q| q.pcrs[0].index = 1),
        ("more", &|q| {
            let more = Pcr {
                index: 9,
                ..q.pcrs[0].clone()
            };
            q.pcrs.push(more);
        }),
        ("bank", &|q| q.pcrs[0].bank = PcrBank::Sha384),
    ] {
        let refusal = with(change).expect_err(name);
        assert!(matches!(refusal, Refusal::Mismatch { .. }), "{name}");
    }
    // The order in which registers are listed is of no matter.
    assert!(with(&|q| q.pcrs.reverse()).is_ok());
    assert!(matches!(
        quote.judged(pinned, &[], Some(b"{}")),
        Err(Refusal::Binding { .. })
    ));
    assert!(matches!(
        quote.judged(&Party::new("x", 9).public(), &[], None),
        Err(Refusal::Signature { .. })
    ));
    let attest = |bytes: &[u8]| with(&|q| q.attest = bytes.to_vec());
    altered::every_bit_is_refused(&quote.attest, &|bytes| {
        let mut changed = quote.clone();
        changed.attest = bytes.to_vec();
        changed.judged(pinned, &[], None)
    });
    assert!(attest(&[]).is_err());
    altered::every_bit_is_refused(&quote.signature, &|bytes| {
        let mut changed = quote.clone();
        changed.signature = bytes.to_vec();
        changed.judged(pinned, &[], None)
    });
    altered::every_length_is_refused(&quote.attest, &|bytes| {
        let mut changed = quote.clone();
        changed.attest = bytes.to_vec();
        changed.judged(pinned, &[], None)
    });
    altered::rubbish_is_refused(&quote.signature, &|bytes| {
        let mut changed = quote.clone();
        changed.signature = bytes.to_vec();
        changed.judged(pinned, &[], None)
    });
    // An endorsement key decrypts; what it would sign proves nothing.
    assert!(matches!(
        quote.judged(&quote.endorsement, &[], None),
        Err(Refusal::Roots { .. })
    ));
}

/// A TPM of our own, with a certified key.
fn certified(usages: &[Vec<u8>], root: &Party) -> Result<Verified, Refusal> {
    let signer = Party::new("AK", 22);
    let value = [0x5a; 48];
    let digest = sha2::Sha384::digest(value);
    let attest = [
        &[0xff, 0x54, 0x43, 0x47, 0x80, 0x18][..],
        &[0, 0],
        &[0, 32],
        &Sha256::digest(RUNTIME),
        &[0; 16],
        &[1],
        &[0; 8],
        &[0, 0, 0, 1, 0, 0x0c, 3, 0, 0, 1],
        &[0, 48],
        &digest,
    ]
    .concat();
    let numbers = signer.sign(&attest);
    let signature = [
        &[0, 0x18, 0, 0x0c, 0, 48][..],
        &numbers[..48],
        &[0, 48],
        &numbers[48..],
    ]
    .concat();
    let quote = Quote {
        attest,
        signature,
        pcrs: vec![Pcr {
            bank: PcrBank::Sha384,
            index: 16,
            value: value.to_vec(),
        }],
        public_area: vec![],
        spki: vec![],
        endorsement: vec![],
    };
    let authority = Party::new("AK authority", 21);
    quote.judged(
        &root.root(),
        &[authority.certify(&signer, usages)],
        Some(RUNTIME),
    )
}

#[test]
fn a_certified_key_must_be_one_that_attests() {
    let root = Party::new("AK authority", 21);
    let usage = |arc: &str| extension("2.5.29.37", true, &tlv(0x30, &[&crate::forge::oid(arc)]));
    let attests = usage("2.23.133.8.3");
    let claims = certified(std::slice::from_ref(&attests), &root)
        .unwrap()
        .claims;
    assert_eq!(claims["tpm-pcr-sha384-16"], "5a".repeat(48));
    // A server's key of the same authority, a key for anything, an authority.
    assert!(certified(&[usage("1.3.6.1.5.5.7.3.1")], &root).is_err());
    assert!(certified(&[], &root).is_err());
    assert!(certified(&[authority(0), vec![attests.clone()]].concat(), &root).is_err());
    let stranger = Party::new("AK authority", 66);
    assert!(matches!(
        certified(&[attests], &stranger),
        Err(Refusal::Untrusted { .. })
    ));
}
