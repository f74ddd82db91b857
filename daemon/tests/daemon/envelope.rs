//! The envelope of the root key: every provider, alone and in twos; rotation and its crashes; and damage.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom_crypto::password::Argon2Cost;
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroomd::seal::tpm::PcrSelection;
use strongroomd::seal::{
    Kind, Need, Opening, Seal, SealError, SealProvider, Sources, Step, StoreState, Target, Wanted,
};

use crate::bench::{Directory, start_memory};
use crate::tpm::Swtpm;

const PASSPHRASE: &[u8] = b"correct horse battery";

fn root() -> SecretBytes {
    SecretBytes::copy_from(&[0x5a; 32]).unwrap()
}

/// The seal of a store in `home` whose root key stands in `root.key`.
fn seal(home: &Path) -> Seal {
    start_memory();
    let key_file = home.join("root.key");
    Seal {
        envelope: home.join("root.seal"),
        direct: SealProvider::KeyFile {
            path: key_file.clone(),
        },
        wanted: None,
        sources: Sources {
            key_file: None,
            usual_key_file: key_file,
            passphrase_file: None,
            passphrase_descriptor: None,
            may_ask: false,
            credential: None,
            credentials: Some(home.join("credentials")),
            tpm_device: None,
            tpm_pcrs: PcrSelection::default(),
            cost: Argon2Cost {
                memory_kib: 8,
                passes: 1,
                lanes: 1,
            },
        },
    }
}

fn secret(bytes: &[u8]) -> SecretVec {
    let mut secret = SecretVec::new();
    secret.push_slice(bytes).unwrap();
    secret
}

/// What a test may rotate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    KeyFile,
    Passphrase,
    KeyCredential,
    TextCredential,
    Shares,
    Tpm,
}

const CHOICES: [Choice; 6] = [
    Choice::KeyFile,
    Choice::Passphrase,
    Choice::KeyCredential,
    Choice::TextCredential,
    Choice::Shares,
    Choice::Tpm,
];

fn target(home: &Path, choice: Choice) -> Target {
    let credentials = home.join("credentials");
    let credential = |name: &str, content: &[u8]| {
        std::fs::create_dir_all(&credentials).unwrap();
        std::fs::write(credentials.join(name), content).unwrap();
        Target::Credential(name.into())
    };
    match choice {
        Choice::KeyFile => Target::KeyFile(home.join("seal.key")),
        Choice::Passphrase => Target::Passphrase(secret(PASSPHRASE)),
        Choice::KeyCredential => credential("key", &[0xc3; 32]),
        Choice::TextCredential => credential("text", b"a passphrase in a credential\n"),
        Choice::Shares => Target::Shares {
            threshold: 2,
            count: 3,
        },
        Choice::Tpm => Target::Tpm(PcrSelection::default()),
    }
}

fn rotate(seal: &Seal, choices: &[Choice], need: Need) -> Result<Vec<SecretVec>, SealError> {
    let home = seal.envelope.parent().unwrap();
    let targets = choices.iter().map(|choice| target(home, *choice)).collect();
    let rotated = seal.rotate(&root(), targets, need, false, &mut |_| {})?;
    Ok(rotated.shares)
}

/// Opens the seal with what persons bring.
fn open(seal: &Seal, brought: &[&[u8]]) -> Result<bool, SealError> {
    let is_root = |key: &SecretBytes| root().with(|root| key.equals_in_constant_time(root));
    match seal.open(StoreState::Present)? {
        Opening::Open(key) => Ok(is_root(&key)),
        Opening::Sealed(mut unsealing) => {
            for secret in brought {
                if let Some(key) = unsealing.give(secret)? {
                    return Ok(is_root(&key));
                }
            }
            Ok(false)
        }
    }
}

fn brought(shares: &[SecretVec]) -> Vec<&[u8]> {
    let mut all: Vec<&[u8]> = vec![PASSPHRASE];
    all.extend(shares.iter().map(SecretVec::expose));
    all
}

/// Those that fit the choice, of the passphrase and the shares.
fn fitting<'b>(choices: &[Choice], shares: &'b [SecretVec]) -> Vec<&'b [u8]> {
    let passphrase = choices.contains(&Choice::Passphrase);
    let all = brought(shares).into_iter().enumerate();
    all.filter(|(index, _)| *index > 0 || passphrase)
        .map(|(_, secret)| secret)
        .collect()
}

#[test]
fn every_provider_can_follow_every_other() {
    let home = Directory::new();
    let tpm = Swtpm::start();
    let mut seal = seal(home.path());
    seal.sources.tpm_device = Some(tpm.path());
    for from in CHOICES {
        for to in CHOICES {
            for choice in [from, to] {
                let shares = rotate(&seal, &[choice], Need::One).unwrap();
                assert!(
                    open(&seal, &fitting(&[choice], &shares)).unwrap(),
                    "{from:?} {to:?}"
                );
                let mode = std::fs::metadata(&seal.envelope).unwrap().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
        }
    }
}

#[test]
fn two_providers_open_together_or_each_alone() {
    let home = Directory::new();
    let tpm = Swtpm::start();
    let mut seal = seal(home.path());
    seal.sources.tpm_device = Some(tpm.path());
    let pairs = [
        [Choice::KeyFile, Choice::Passphrase],
        [Choice::Passphrase, Choice::Tpm],
        [Choice::Shares, Choice::KeyFile],
        [Choice::TextCredential, Choice::Tpm],
        [Choice::Passphrase, Choice::Shares],
        [Choice::KeyCredential, Choice::Passphrase],
    ];
    for pair in pairs {
        let shares = rotate(&seal, &pair, Need::All).unwrap();
        assert!(open(&seal, &fitting(&pair, &shares)).unwrap(), "{pair:?}");
        // Take one of both away, then the other.
        for gone in pair {
            let without = Taken::away(&seal, gone, &tpm);
            let rest = if matches!(gone, Choice::Passphrase | Choice::Shares) {
                let left: Vec<Choice> = pair.into_iter().filter(|one| *one != gone).collect();
                let shares = if gone == Choice::Shares {
                    &[][..]
                } else {
                    &shares
                };
                open(&without.seal, &fitting(&left, shares))
            } else {
                open(&without.seal, &fitting(&pair, &shares))
            };
            assert!(!matches!(rest, Ok(true)), "{pair:?} without {gone:?}");
        }

        let shares = rotate(&seal, &pair, Need::One).unwrap();
        for gone in pair {
            let left: Vec<Choice> = pair.into_iter().filter(|one| *one != gone).collect();
            let without = Taken::away(&seal, gone, &tpm);
            let opened = open(&without.seal, &fitting(&left, &shares));
            assert!(opened.unwrap(), "{pair:?} by {left:?}");
        }
    }
}

/// A seal one of whose secrets is not to be had, until this is dropped.
struct Taken {
    seal: Seal,
    moved: Option<PathBuf>,
}

impl Taken {
    fn away(seal: &Seal, gone: Choice, tpm: &Swtpm) -> Self {
        let home = seal.envelope.parent().unwrap();
        let mut seal = seal.clone();
        let file = match gone {
            Choice::KeyFile => Some(home.join("seal.key")),
            Choice::KeyCredential => Some(home.join("credentials/key")),
            Choice::TextCredential => Some(home.join("credentials/text")),
            Choice::Tpm => {
                seal.sources.tpm_device = Some(tpm.path().with_extension("none"));
                None
            }
            Choice::Passphrase | Choice::Shares => None,
        };
        if let Some(file) = &file {
            std::fs::rename(file, file.with_extension("moved")).unwrap();
        }
        Self { seal, moved: file }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(file) = &self.moved {
            std::fs::rename(file.with_extension("moved"), file).unwrap();
        }
    }
}

#[test]
fn a_wrong_secret_is_refused_and_named() {
    let home = Directory::new();
    let mut seal = seal(home.path());
    let named = |result: Result<bool, SealError>, words: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    };
    rotate(&seal, &[Choice::KeyFile], Need::One).unwrap();
    std::fs::write(home.join("seal.key"), [7; 32]).unwrap();
    named(open(&seal, &[]), "seal.key is not the one of this seal");
    std::fs::remove_file(home.join("seal.key")).unwrap();
    named(open(&seal, &[]), "seal.key, which is not there");
    seal.sources.key_file = Some(home.join("other.key"));
    named(open(&seal, &[]), "root.seal was made with ");
    seal.sources.key_file = None;

    rotate(&seal, &[Choice::Passphrase], Need::One).unwrap();
    named(
        open(&seal, &[b"correct horse batterz"]),
        "the passphrase is not the one of this seal",
    );
    rotate(&seal, &[Choice::TextCredential], Need::One).unwrap();
    std::fs::write(home.join("credentials/text"), "another passphrase here").unwrap();
    named(open(&seal, &[]), "the credential text is not the one");
    std::fs::remove_file(home.join("credentials/text")).unwrap();
    named(open(&seal, &[]), "LoadCredentialEncrypted=text");

    let old = rotate(&seal, &[Choice::Shares], Need::One).unwrap();
    let new = rotate(&seal, &[Choice::Shares], Need::One).unwrap();
    named(
        open(&seal, &[old[0].expose()]),
        "share 1 is not one of this seal",
    );
    named(
        open(&seal, &[new[0].expose(), new[0].expose()]),
        "entered already",
    );
    let mut typo = new[1].expose().to_vec();
    *typo.last_mut().unwrap() ^= 1;
    named(open(&seal, &[&typo]), "share");

    // Together with a key file, nothing on the disk tells whether a passphrase alone is right; the pair does.
    rotate(&seal, &[Choice::KeyFile, Choice::Passphrase], Need::All).unwrap();
    let text = std::fs::read_to_string(&seal.envelope).unwrap();
    assert_eq!(text.matches("\"check\"").count(), 1, "{text}");
    named(
        open(&seal, &[b"correct horse batterz"]),
        "the passphrase is not the one of this seal",
    );
}

#[test]
fn a_changed_register_of_the_tpm_is_named_and_the_other_provider_opens() {
    let home = Directory::new();
    let tpm = Swtpm::start();
    let mut seal = seal(home.path());
    seal.sources.tpm_device = Some(tpm.path());
    rotate(&seal, &[Choice::Tpm], Need::One).unwrap();
    assert!(open(&seal, &[]).unwrap());
    tpm.extend(7);
    let error = open(&seal, &[]).unwrap_err();
    assert!(matches!(error, SealError::Tpm(_)), "{error}");
    assert!(error.to_string().contains("PCR"), "{error}");
    // Sealed to what the registers say now, with a passphrase for the next update of the firmware.
    rotate(&seal, &[Choice::Tpm, Choice::Passphrase], Need::One).unwrap();
    assert!(open(&seal, &[]).unwrap());
    tpm.extend(7);
    assert!(!open(&seal, &[]).unwrap());
    assert!(open(&seal, &[PASSPHRASE]).unwrap());
}

#[test]
fn every_flipped_byte_is_named() {
    let home = Directory::new();
    let seal = seal(home.path());
    rotate(&seal, &[Choice::KeyFile, Choice::Passphrase], Need::One).unwrap();
    let whole = std::fs::read(&seal.envelope).unwrap();
    for place in 0..whole.len() {
        for mask in [1, 0x20, 0x80] {
            let mut damaged = whole.clone();
            damaged[place] ^= mask;
            std::fs::write(&seal.envelope, &damaged).unwrap();
            let error = open(&seal, &[PASSPHRASE]).unwrap_err();
            let named = matches!(error, SealError::Altered { .. } | SealError::Newer { .. });
            assert!(named, "byte {place}: {error}");
        }
    }
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&seal.envelope, &whole[..length]).unwrap();
        let error = open(&seal, &[]).unwrap_err();
        assert!(matches!(error, SealError::Altered { .. }), "{error}");
    }
}

/// Whoever computes the digest anew still does not get past what the wrapping binds.
#[test]
fn a_rewritten_envelope_is_named() {
    let home = Directory::new();
    let seal = seal(home.path());
    rotate(&seal, &[Choice::KeyFile, Choice::Shares], Need::One).unwrap();
    let whole = std::fs::read_to_string(&seal.envelope).unwrap();
    let changed = whole.replace("\"threshold\": 2", "\"threshold\": 3");
    assert_ne!(whole, changed);
    let digest_at = changed.find("\"digest\": \"").unwrap() + "\"digest\": \"".len();
    let blank = format!("{}{}", &changed[..digest_at], &changed[digest_at + 64..]);
    let mut digest =
        strongroom_crypto::digest::Digest::new(strongroom_crypto::digest::Hash::Sha256).unwrap();
    digest.update(blank.as_bytes()).unwrap();
    let digits: String = digest
        .finish()
        .unwrap()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let forged = format!(
        "{}{digits}{}",
        &changed[..digest_at],
        &changed[digest_at + 64..]
    );
    std::fs::write(&seal.envelope, forged).unwrap();
    let error = open(&seal, &[]).unwrap_err().to_string();
    assert!(error.contains("the secret is right"), "{error}");
}

#[test]
fn a_new_store_is_sealed_as_the_configuration_says() {
    let home = Directory::new();
    let mut seal = seal(home.path());
    let file = home.join("passphrase");
    std::fs::write(&file, PASSPHRASE).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    seal.sources.passphrase_file = Some(file);
    seal.wanted = Some(Wanted {
        kinds: vec![Kind::KeyFile, Kind::Passphrase],
        need: Need::All,
    });
    let key = |opening| match opening {
        Opening::Open(key) => SecretBytes::with(&key, <[u8]>::to_vec),
        Opening::Sealed(_) => panic!("sealed"),
    };
    let made = key(seal.open(StoreState::Absent).unwrap());
    assert_eq!(key(seal.open(StoreState::Present).unwrap()), made);
    seal.sources.passphrase_file = None;
    assert!(matches!(
        seal.open(StoreState::Present).unwrap(),
        Opening::Sealed(_)
    ));
    // Shares cannot be made where nobody sees them.
    let other = Directory::new();
    let mut seal = self::seal(other.path());
    seal.wanted = Some(Wanted {
        kinds: vec![Kind::Shares],
        need: Need::One,
    });
    let error = seal.open(StoreState::Absent).unwrap_err().to_string();
    assert!(
        error.contains("strongroom seal rotate --to shares"),
        "{error}"
    );
    assert!(!other.join("root.seal").exists());
}

#[test]
fn a_given_root_key_is_installed_and_what_was_there_is_kept() {
    let home = Directory::new();
    let seal = seal(home.path());
    let key = |seal: &Seal| match seal.open(StoreState::Present).unwrap() {
        Opening::Open(key) => key.with(<[u8]>::to_vec),
        Opening::Sealed(_) => panic!("sealed"),
    };
    // Nothing there: the root key itself, as a first start has it.
    seal.install(&root()).unwrap();
    assert!(!seal.envelope.exists());
    assert_eq!(key(&seal), [0x5a; 32]);
    seal.install(&root()).unwrap();
    assert!(!seal.envelope.exists());
    // The key of another store there: it becomes the key of an envelope, and still opens the other store.
    let key_file = std::fs::read(home.join("root.key")).unwrap();
    let other = SecretBytes::copy_from(&[0x11; 32]).unwrap();
    seal.install(&other).unwrap();
    assert_eq!(key(&seal), [0x11; 32]);
    assert_eq!(std::fs::read(home.join("root.key")).unwrap(), key_file);
    // An envelope there: kept under the name of its root key.
    let first = std::fs::read(&seal.envelope).unwrap();
    let third = SecretBytes::copy_from(&[0x33; 32]).unwrap();
    seal.install(&third).unwrap();
    assert_eq!(key(&seal), [0x33; 32]);
    let text = String::from_utf8(first.clone()).unwrap();
    let id = text.split("\"root_key\": \"").nth(1).unwrap();
    let kept = home.join(&format!("root.seal.{}", &id[..8]));
    assert_eq!(std::fs::read(kept).unwrap(), first);
    // Back to what root.key holds itself.
    seal.install(&root()).unwrap();
    assert_eq!(key(&seal), [0x5a; 32]);
}

#[test]
fn what_still_opens_the_store_is_shown_and_destroyed_on_demand() {
    let home = Directory::new();
    let seal = seal(home.path());
    seal.install(&root()).unwrap();
    let rotate = |destroy| {
        let targets = vec![target(home.path(), Choice::KeyFile)];
        seal.rotate(&root(), targets, Need::One, destroy, &mut |_| {})
            .unwrap()
            .seal
    };
    let root_key = home.join("root.key");
    assert_eq!(
        rotate(false).left_over.items(),
        [root_key.display().to_string()]
    );
    assert!(rotate(true).left_over.items().is_empty());
    assert!(!root_key.exists());
    assert!(open(&seal, &[]).unwrap());
    // And the root key itself is no key for its own envelope.
    seal.rotate(
        &SecretBytes::copy_from(&[0x5a; 32]).unwrap(),
        vec![Target::KeyFile(home.write_key("same.key", 0x5a))],
        Need::One,
        false,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(open(&seal, &[]).unwrap());
}

impl Directory {
    fn write_key(&self, name: &str, byte: u8) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, [byte; 32]).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        path
    }
}

/// Killed after each step: the seal opens, the old one or the new one, and rotating again works.
#[test]
fn a_kill_between_the_steps_of_a_rotation_leaves_a_seal_that_opens() {
    let steps = [
        (Step::SecretsMade, false),
        (Step::DraftWritten, false),
        (Step::Verified, false),
        (Step::InPlace, true),
        (Step::OldDestroyed, true),
    ];
    for (step, new) in steps {
        let home = Directory::new();
        let seal = seal(home.path());
        seal.install(&root()).unwrap();
        rotate(&seal, &[Choice::Passphrase], Need::One).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "envelope::child_that_is_killed_while_it_rotates",
                "--nocapture",
            ])
            .env(HOME_OF_CHILD, home.path())
            .env(STEP_OF_CHILD, format!("{step:?}"))
            .status()
            .unwrap();
        assert!(!status.success(), "{step:?} was not reached");
        assert_eq!(home.join("root.key").exists(), step != Step::OldDestroyed);
        // The old one wants its passphrase, the new one has its key file.
        assert_eq!(open(&seal, &[]).unwrap(), new, "{step:?}");
        assert!(open(&seal, &[PASSPHRASE]).unwrap(), "{step:?}");
        rotate(&seal, &[Choice::KeyFile], Need::One).unwrap();
        assert!(open(&seal, &[]).unwrap(), "{step:?}");
    }
}

#[test]
fn child_that_is_killed_while_it_rotates() {
    let Some(home) = std::env::var_os(HOME_OF_CHILD) else {
        return;
    };
    let step = std::env::var(STEP_OF_CHILD).unwrap();
    let seal = seal(home.as_ref());
    let targets = vec![target(home.as_ref(), Choice::KeyFile)];
    seal.rotate(&root(), targets, Need::One, true, &mut |done| {
        if format!("{done:?}") == step {
            let kill = format!("kill -KILL {}", std::process::id());
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
    })
    .unwrap();
}

/// Stores of before there were envelopes, written down as they were made then.
#[test]
fn stores_of_before_open_as_ever() {
    let home = Directory::new();
    let seal = seal(home.path());
    let private = |name: &str, content: &str| {
        let path = home.write(name, content);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        path
    };
    private(
        "root.key",
        &format!("strongroom root key v1\n{}\n", "5a".repeat(32)),
    );
    assert!(open(&seal, &[]).unwrap());

    let path = private("passphrase", "correct horse battery\n");
    private(
        "root.salt",
        "{\"format\":1,\"derivation\":\"argon2id\",\"memory_kib\":64,\"passes\":1,\"lanes\":1,\"salt\":\"73616c7473616c7473616c7473616c74\"}\n",
    );
    let direct = SealProvider::PassphraseFile {
        path,
        salt: home.join("root.salt"),
        cost: seal.sources.cost,
    };
    let seal = Seal { direct, ..seal };
    let Opening::Open(key) = seal.open(StoreState::Present).unwrap() else {
        panic!("sealed");
    };
    let digits: String = key.with(|key| key.iter().map(|byte| format!("{byte:02x}")).collect());
    assert_eq!(digits, KEY_OF_BEFORE);
}

/// By another implementation: `argon2 saltsaltsaltsalt -id -t 1 -k 64 -p 1 -l 32 -r`.
const KEY_OF_BEFORE: &str = "40e285d621bbd063a1657ef56e44c6a08370f73a928ca162ad42d042d3310552";
const HOME_OF_CHILD: &str = "STRONGROOMD_TEST_HOME_OF_CHILD";
const STEP_OF_CHILD: &str = "STRONGROOMD_TEST_STEP_OF_CHILD";
