//! Playing a scenario in a process of its own, and bringing two transcripts before the rows of `divergences.toml`.
//!
//! What lives here: `scenario`, which is the whole body of a test, and the child process that plays it.
//! What must never live here: what a right answer is; SoftHSM and the rows say so.
//! Who calls it: every scenario.

use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use strongroom_tests::product;

use super::rows::Rows;
use super::transcript::{self, Step, Transcript};

/// Which module: `softhsm` or `strongroom`. Unset: both, SoftHSM first, and the comparison.
const UNDER_TEST: &str = "HSM_UNDER_TEST";
/// The file that a playing process writes its transcript into.
const TRANSCRIPT: &str = "STRONGROOM_TRANSCRIPT";
/// No scenario takes a tenth of it; a module that hangs is an outcome as well.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a test process exits with that panicked.
const PANICKED: i32 = 101;

/// The body of a test: with `HSM_UNDER_TEST` set, plays the scenario on that module and prints its transcript; else plays it on SoftHSM,
/// then on ours, and fails where the two differ without a row, or where a row matches nothing any more.
///
/// # Panics
/// That is the failed test.
pub fn scenario<F: FnOnce(&mut Transcript)>(play: F) {
    // The path of the calling test, "suite::differential::chapter::name::{{closure}}".
    let place = std::any::type_name::<F>();
    let place = place.trim_end_matches("::{{closure}}");
    let test = place.split_once("::").map_or(place, |(_, rest)| rest);
    if std::env::var_os(UNDER_TEST).is_some() {
        let mut transcript = Transcript::begin(std::env::var_os(TRANSCRIPT).map(PathBuf::from));
        play(&mut transcript);
        return;
    }
    let theirs = transcript_of(test, "softhsm");
    let ours = transcript_of(test, "strongroom");
    let name = test.rsplit("::").next().unwrap_or(test);
    let faults = Rows::read().judge(name, &theirs, &ours);
    assert!(
        faults.is_empty(),
        "{name}: {} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Plays a test of this binary in a process of its own: modules keep state in globals, and one of them may crash.
fn transcript_of(test: &str, module: &str) -> Vec<Step> {
    let name = test.replace("::", "-");
    let base = std::env::temp_dir().join(format!("srd{}-{name}-{module}", std::process::id()));
    let (file, said) = (base.with_extension("steps"), base.with_extension("out"));
    let output = std::fs::File::create(&said).expect("a file for what the process says");
    let mut child = Command::new(std::env::current_exe().expect("the path of this program"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(UNDER_TEST, module)
        .env(TRANSCRIPT, &file)
        .env("STRONGROOM_BIN_DIR", product::bin_dir())
        // cargo nextest tells its children how to answer; this one is no child of it.
        .env_remove("NEXTEST_EXECUTION_MODE")
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .process_group(0)
        .spawn()
        .expect("the process of the scenario");
    let status = wait(&mut child);
    let mut text = String::new();
    let _ = std::fs::File::open(&said).and_then(|mut file| file.read_to_string(&mut text));
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    let _ = std::fs::remove_file(&said);
    let ending = match status.map(|status| (status.code(), status.signal())) {
        Some((Some(0), _)) => None,
        Some((Some(PANICKED), _)) => panic!("{test} does not play on {module}:\n{text}"),
        Some((Some(code), _)) => Some(format!("(the process exits with {code})")),
        Some((None, signal)) => Some(format!("(crash: signal {})", signal.unwrap_or_default())),
        None => Some("(hangs)".to_owned()),
    };
    if ending.is_some() {
        clear_away(&child);
    }
    let steps = transcript::parse(&written, ending.as_deref());
    assert!(
        !steps.is_empty(),
        "{test} plays no step on {module}:\n{text}"
    );
    steps
}

/// The exit status, or none when patience ended first.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("waiting works") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A process that crashed has left its daemon and its directory.
fn clear_away(child: &Child) {
    let pid = child.id();
    // SAFETY: the group was made for this child; nobody else is in it but what it started.
    unsafe { libc::kill(-(pid as i32), libc::SIGKILL) };
    for number in 0..4 {
        let _ = std::fs::remove_dir_all(format!("/tmp/sr{pid}-{number}"));
    }
}
