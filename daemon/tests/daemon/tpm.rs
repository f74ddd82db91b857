//! Secrets sealed by a TPM: against swtpm, with tpm2-tools as the judge, and against things that are no TPM.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use strongroomd::seal::tpm::{PcrSelection, TpmAddress, TpmBlob, TpmError, seal, unseal};

use crate::bench::{Directory, start_memory};

/// A TPM in software, with a state of its own.
pub(crate) struct Swtpm {
    process: Child,
    directory: Directory,
}

impl Swtpm {
    pub(crate) fn start() -> Self {
        start_memory();
        let directory = Directory::new();
        std::fs::create_dir(directory.join("state")).unwrap();
        let argument = |kind: &str, name: &str| format!("{kind}{}", directory.join(name).display());
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.args(["--server", &argument("type=unixio,path=", "tpm")]);
        command.args(["--ctrl", &argument("type=unixio,path=", "tpm.ctrl")]);
        command.args(["--tpmstate", &argument("dir=", "state")]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command
            .spawn()
            .expect("the package swtpm is missing (tests/APT_PACKAGES)");
        let swtpm = Self { process, directory };
        let start = Instant::now();
        while UnixStream::connect(swtpm.path()).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "swtpm does not start"
            );
            thread::yield_now();
        }
        swtpm
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("tpm")
    }

    fn address(&self) -> TpmAddress {
        TpmAddress::new(self.path())
    }

    /// What a tool of tpm2-tools says.
    fn tool(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(name)
            .arg("-T")
            .arg(format!("swtpm:path={}", self.path().display()))
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .expect("the package tpm2-tools is missing (tests/APT_PACKAGES)");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?}: {told}");
        output.stdout
    }

    pub(crate) fn extend(&self, pcr: u8) {
        let value = "5a".repeat(32);
        self.tool("tpm2_pcrextend", &[&format!("{pcr}:sha256={value}")]);
    }

    /// Whatever we loaded is gone again.
    fn assert_empty(&self) {
        for kind in ["handles-transient", "handles-loaded-session"] {
            let handles = self.tool("tpm2_getcap", &[kind]);
            assert_eq!(String::from_utf8_lossy(&handles), "", "{kind}");
        }
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SECRET: [u8; 32] = *b"thirty-two bytes of a secret key";

fn opened(address: &TpmAddress, blob: &TpmBlob) -> Vec<u8> {
    unseal(address, blob).unwrap().with(<[u8]>::to_vec)
}

fn refused(address: &TpmAddress, blob: &TpmBlob) -> TpmError {
    unseal(address, blob).map(|_| ()).unwrap_err()
}

fn part(blob: &TpmBlob, name: &str) -> Vec<u8> {
    let json = serde_json::to_value(blob).unwrap();
    let digits = json[name].as_str().unwrap();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn what_is_sealed_opens_on_the_same_tpm() {
    let tpm = Swtpm::start();
    let all: Vec<u8> = (0..24).collect();
    for (pcrs, secret) in [
        (PcrSelection::default(), &SECRET[..]),
        (PcrSelection::new(&[11, 4, 7]).unwrap(), &[0; 1]),
        (PcrSelection::new(&all).unwrap(), &[0xa5; 128]),
    ] {
        let blob = seal(&tpm.address(), secret, &pcrs).unwrap();
        let text = serde_json::to_string(&blob).unwrap();
        let read: TpmBlob = serde_json::from_str(&text).unwrap();
        assert_eq!(read, blob);
        assert_eq!(read.pcrs(), &pcrs);
        for _ in 0..3 {
            assert_eq!(opened(&tpm.address(), &read), secret);
        }
        tpm.assert_empty();
    }
    for length in [0, 129] {
        let refused = seal(&tpm.address(), &vec![1; length], &PcrSelection::default());
        assert!(matches!(refused, Err(TpmError::SecretLength)));
    }
}

/// What we made is what the standard says: other people's tools open it, under a policy that they compute.
#[test]
fn tpm2_tools_open_what_we_sealed() {
    let tpm = Swtpm::start();
    tpm.extend(7);
    let blob = seal(
        &tpm.address(),
        &SECRET,
        &PcrSelection::new(&[1, 7]).unwrap(),
    )
    .unwrap();
    for name in ["public", "private"] {
        let content = part(&blob, name);
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        std::fs::write(tpm.directory.join(name), [&length[..], &content].concat()).unwrap();
    }
    let attributes =
        "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
    let primary = ["-C", "o", "-G", "ecc", "-a", attributes, "-c", "primary"];
    tpm.tool("tpm2_createprimary", &primary);
    tpm.tool("tpm2_flushcontext", &["-t"]);
    let object = [
        "-C", "primary", "-u", "public", "-r", "private", "-c", "object",
    ];
    tpm.tool("tpm2_load", &object);
    tpm.tool("tpm2_flushcontext", &["-t"]);
    let secret = tpm.tool("tpm2_unseal", &["-c", "object", "-p", "pcr:sha256:1,7"]);
    assert_eq!(secret, SECRET);
    tpm.tool("tpm2_flushcontext", &["-t"]);
}

#[test]
fn a_changed_register_refuses_and_is_named() {
    let tpm = Swtpm::start();
    let blob = seal(
        &tpm.address(),
        &SECRET,
        &PcrSelection::new(&[2, 7, 14]).unwrap(),
    )
    .unwrap();
    tpm.extend(8);
    assert_eq!(opened(&tpm.address(), &blob), SECRET, "8 is not among them");
    tpm.extend(7);
    let error = refused(&tpm.address(), &blob);
    assert!(matches!(&error, TpmError::PcrsChanged { changed } if *changed == [7]));
    assert!(
        error.to_string().contains("PCR 7 has another value"),
        "{error}"
    );
    tpm.extend(14);
    let error = refused(&tpm.address(), &blob);
    assert!(error.to_string().contains("PCR 7, 14 have"), "{error}");
    tpm.assert_empty();
    let again = seal(&tpm.address(), &SECRET, blob.pcrs()).unwrap();
    assert_eq!(opened(&tpm.address(), &again), SECRET);
}

#[test]
fn another_tpm_refuses_and_so_does_the_same_one_cleared() {
    let (tpm, other) = (Swtpm::start(), Swtpm::start());
    let blob = seal(&tpm.address(), &SECRET, &PcrSelection::default()).unwrap();
    assert!(matches!(
        refused(&other.address(), &blob),
        TpmError::OtherTpm
    ));
    other.assert_empty();
    assert_eq!(opened(&tpm.address(), &blob), SECRET);
    tpm.tool("tpm2_clear", &["-c", "p"]);
    assert!(matches!(refused(&tpm.address(), &blob), TpmError::OtherTpm));
    // Somebody who writes the name of the other primary key into the blob has won nothing.
    let theirs = seal(&other.address(), &SECRET, &PcrSelection::default()).unwrap();
    let mut json = serde_json::to_value(&blob).unwrap();
    json["primary"] = serde_json::to_value(&theirs).unwrap()["primary"].clone();
    let mixed: TpmBlob = serde_json::from_value(json).unwrap();
    assert!(matches!(
        refused(&other.address(), &mixed),
        TpmError::Damaged
    ));
    other.assert_empty();
}

#[test]
fn a_damaged_blob_is_an_error_with_a_name() {
    let tpm = Swtpm::start();
    let blob = seal(&tpm.address(), &SECRET, &PcrSelection::default()).unwrap();
    let json = serde_json::to_value(&blob).unwrap();
    for name in ["public", "private"] {
        let digits = json[name].as_str().unwrap();
        for at in (0..digits.len()).step_by(7) {
            let mut damaged = digits.as_bytes().to_vec();
            damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
            let mut json = json.clone();
            json[name] = String::from_utf8(damaged).unwrap().into();
            let damaged: TpmBlob = serde_json::from_value(json).unwrap();
            let error = refused(&tpm.address(), &damaged);
            assert!(matches!(error, TpmError::Damaged), "{name} {at}: {error}");
        }
        for digits in ["", "0", "zz", "+1", &"00".repeat(2000)] {
            let mut json = json.clone();
            json[name] = digits.into();
            let read: Result<TpmBlob, _> = serde_json::from_value(json);
            if let Ok(damaged) = read {
                assert_eq!(digits, "");
                let error = refused(&tpm.address(), &damaged);
                assert!(matches!(error, TpmError::Damaged), "{error}");
            }
        }
    }
    tpm.assert_empty();
    assert_eq!(opened(&tpm.address(), &blob), SECRET);
}

#[test]
fn the_password_of_an_owner_is_named() {
    let tpm = Swtpm::start();
    tpm.tool("tpm2_changeauth", &["-c", "o", "password"]);
    let error = seal(&tpm.address(), &SECRET, &PcrSelection::default()).unwrap_err();
    assert!(matches!(error, TpmError::OwnerPassword), "{error}");
    tpm.assert_empty();
}

#[test]
fn registers_are_numbers_up_to_23() {
    for numbers in [&[][..], &[24], &[7, 255]] {
        assert!(matches!(
            PcrSelection::new(numbers),
            Err(TpmError::Selection)
        ));
        assert!(serde_json::from_value::<PcrSelection>(numbers.into()).is_err());
    }
    let selection = PcrSelection::new(&[23, 0, 7, 7]).unwrap();
    assert_eq!(selection.numbers(), [0, 7, 23]);
    assert_eq!(selection.to_string(), "0, 7, 23");
    assert_eq!(PcrSelection::default().numbers(), [7]);
}

/// Everything between client and TPM, seen and changed frame by frame.
struct Interposer {
    directory: Directory,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Interposer {
    /// `change` gets the number of the exchange, whether it is an answer, and the frame.
    fn start(
        tpm: &Swtpm,
        mut change: impl FnMut(usize, bool, &mut Vec<u8>) + Send + 'static,
    ) -> Self {
        let directory = Directory::new();
        let listener = UnixListener::bind(directory.join("tpm")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (path, log) = (tpm.path(), Arc::clone(&seen));
        thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                let mut tpm = UnixStream::connect(&path).unwrap();
                for exchange in 0.. {
                    let Some(mut command) = frame(&mut client) else {
                        break;
                    };
                    change(exchange, false, &mut command);
                    tpm.write_all(&command).unwrap();
                    let Some(mut answer) = frame(&mut tpm) else {
                        break;
                    };
                    log.lock()
                        .unwrap()
                        .extend([command, answer.clone()].concat());
                    change(exchange, true, &mut answer);
                    if client.write_all(&answer).is_err() {
                        break;
                    }
                }
            }
        });
        Self { directory, seen }
    }

    fn address(&self) -> TpmAddress {
        TpmAddress::new(self.directory.join("tpm"))
    }
}

fn frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 10];
    stream.read_exact(&mut frame).ok()?;
    let length = u32::from_be_bytes(frame[2..6].try_into().unwrap());
    frame.resize(length.try_into().unwrap(), 0);
    stream.read_exact(&mut frame[10..]).ok()?;
    Some(frame)
}

#[test]
fn the_secret_does_not_travel_in_the_clear() {
    let tpm = Swtpm::start();
    let between = Interposer::start(&tpm, |_, _, _| {});
    let blob = seal(&between.address(), &SECRET, &PcrSelection::default()).unwrap();
    assert_eq!(opened(&between.address(), &blob), SECRET);
    let seen = between.seen.lock().unwrap();
    assert!(seen.len() > 2000, "it saw everything: {}", seen.len());
    for piece in SECRET.windows(4) {
        assert!(!seen.windows(4).any(|bytes| bytes == piece));
    }
}

/// Whoever changes a bit between the TPM and us gets an error, and never a wrong secret.
#[test]
fn what_is_changed_on_the_way_is_noticed() {
    let tpm = Swtpm::start();
    let blob = seal(&tpm.address(), &SECRET, &PcrSelection::default()).unwrap();
    let (mut forged, mut others) = (0, 0);
    for target in 0..12 {
        for (answers, at) in [(true, 12), (true, 24), (true, 60), (false, 40), (false, 70)] {
            let between = Interposer::start(&tpm, move |exchange, answer, frame| {
                if exchange == target && answer == answers && at < frame.len() {
                    frame[at] ^= 0x20;
                }
            });
            let address = between.address().with_patience(Duration::from_secs(10));
            let outcome = unseal(&address, &blob);
            // A changed handle cannot be removed by us.
            for kind in ["-t", "-l", "-s"] {
                tpm.tool("tpm2_flushcontext", &[kind]);
            }
            match outcome {
                Ok(secret) => assert!(secret.equals_in_constant_time(&SECRET)),
                Err(TpmError::Forged) => forged += 1,
                Err(_) => others += 1,
            }
        }
    }
    assert!(forged > 5 && others > 5, "{forged} {others}");
}

/// Answers everything with the same bytes, then says nothing more or hangs up.
fn fake(answer: Vec<u8>, hang_up: bool) -> (Directory, TpmAddress) {
    start_memory();
    let directory = Directory::new();
    let listener = UnixListener::bind(directory.join("tpm")).unwrap();
    thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((mut client, _)) = listener.accept() {
            while frame(&mut client).is_some() {
                let _ = client.write_all(&answer);
                if hang_up {
                    break;
                }
            }
            if !hang_up {
                held.push(client);
            }
        }
    });
    let address = TpmAddress::new(directory.join("tpm"));
    (directory, address.with_patience(Duration::from_millis(300)))
}

fn head(tag: u16, length: u32, code: u32) -> Vec<u8> {
    let (tag, length, code) = (tag.to_be_bytes(), length.to_be_bytes(), code.to_be_bytes());
    [&tag[..], &length, &code].concat()
}

#[test]
fn answers_that_are_none_are_errors_and_nobody_waits_for_ever() {
    let zeros = |length: u32| [head(0x8002, length, 0), vec![0; length as usize - 10]].concat();
    for (answer, hang_up) in [
        (vec![], true),
        (vec![], false),
        (vec![0; 5], true),
        (vec![0; 5], false),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), true),
        (vec![0xff; 5000], false),
        (head(0x8002, 0, 0), false),
        (head(0x8002, 9, 0), false),
        (head(0x8002, u32::MAX, 0), false),
        (head(0x8002, 4097, 0), false),
        (head(0x8002, 4096, 0), true),
        (head(0x8001, 10, 0), false),
        (head(0x8002, 10, 0), false),
        (zeros(11), false),
        (zeros(200), false),
        (zeros(4096), false),
        ([zeros(200), vec![1; 3]].concat(), false),
    ] {
        let (_directory, address) = fake(answer.clone(), hang_up);
        let error = seal(&address, &SECRET, &PcrSelection::default()).unwrap_err();
        assert!(
            matches!(
                error,
                TpmError::Garbled(_) | TpmError::Silent { .. } | TpmError::Io { .. }
            ),
            "{answer:?}: {error}"
        );
    }
}

#[test]
fn refusals_have_names() {
    let refusal = |code| {
        let (_directory, address) = fake(head(0x8001, 10, code), false);
        seal(&address, &SECRET, &PcrSelection::default()).unwrap_err()
    };
    assert!(matches!(refusal(0x921), TpmError::Lockout));
    assert!(matches!(refusal(0x100), TpmError::NotStarted));
    assert!(matches!(refusal(0x9a2), TpmError::OwnerPassword));
    let error = refusal(0x185);
    assert!(matches!(error, TpmError::Refused { code: 0x185, .. }));
    assert!(error.to_string().contains("TPM2_CreatePrimary"), "{error}");
    // One that says "again" for ever.
    assert!(matches!(refusal(0x922), TpmError::Refused { .. }));
}

#[test]
fn what_is_no_tpm_is_named() {
    start_memory();
    let directory = Directory::new();
    let error = |path: &Path| {
        let address = TpmAddress::new(path).with_patience(Duration::from_millis(300));
        seal(&address, &SECRET, &PcrSelection::default()).unwrap_err()
    };
    assert!(matches!(
        error(&directory.join("none")),
        TpmError::Absent { .. }
    ));
    let file = directory.write("file", "");
    assert!(matches!(error(&file), TpmError::NoDevice { .. }));
    assert!(matches!(error(directory.path()), TpmError::NoDevice { .. }));
    // A device, and no TPM: what is written vanishes and nothing comes.
    assert!(matches!(
        error(Path::new("/dev/null")),
        TpmError::Garbled(_)
    ));
    let dead = directory.join("dead");
    drop(UnixListener::bind(&dead).unwrap());
    assert!(matches!(error(&dead), TpmError::Absent { .. }));
}

#[test]
fn a_tpm_in_use_is_not_waited_for_without_end() {
    let tpm = Swtpm::start();
    let address = tpm.address().with_patience(Duration::from_millis(300));
    // swtpm serves one connection, has room for few that wait, and then lets connect wait.
    let holders: Vec<UnixStream> = (0..2)
        .map(|_| UnixStream::connect(tpm.path()).unwrap())
        .collect();
    for _ in 0..3 {
        let error = seal(&address, &SECRET, &PcrSelection::default()).unwrap_err();
        assert!(matches!(error, TpmError::Silent { .. }), "{error}");
    }
    drop(holders);
    let blob = seal(&tpm.address(), &SECRET, &PcrSelection::default()).unwrap();
    assert_eq!(opened(&tpm.address(), &blob), SECRET);
}
