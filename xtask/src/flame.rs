//! `cargo xtask flame`: where the time of one case goes, as a picture.
//!
//! What lives here: the options, and the way from a case through `perf` to the file.
//! What must never live here: how a case works; that is `benches/`.
//! Who calls it: people.

mod fold;
mod name;
mod picture;

use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::peers::{Case, Peers, Side};
use fold::Frame;

pub(crate) const USAGE: &str = "\
usage: cargo xtask flame --case NAME [--seconds S] OUT.svg

Builds the release, starts a daemon of its own and a client that runs one case, records both with perf, and draws a flame graph of each.
p11measure --list tells the cases. Needs perf (Debian: apt install linux-perf).

  --case NAME   what the client does
  --seconds S   time that is recorded (default 5)";

/// How often a second a running thread is looked at.
const SAMPLES_A_SECOND: &str = "2000";
/// The client runs longer than what is recorded, because perf takes a moment to begin. Seconds.
const SECONDS_MORE: f64 = 10.0;
/// Less than this says nothing about shares of a percent.
const SAMPLES_MIN: u64 = 100;

struct Options {
    case: String,
    seconds: f64,
    out: PathBuf,
}

/// Records and draws.
///
/// # Errors
/// What could not be done, and what to install when perf is missing.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let options = parse(words)?;
    // Before a build that takes minutes.
    said_by_perf(Command::new("perf").arg("--version"))?;
    let peers = Peers::ours(root)?;
    let cases = peers.cases()?;
    let case = cases
        .iter()
        .find(|case| case.name == options.case)
        .ok_or_else(|| format!("there is no case {}", options.case))?;
    let (daemon, client) = record(&peers, case, options.seconds)?;
    let title = format!("Strongroom, {}: where the time goes", case.name);
    let picture = picture::draw(&title, &[("the daemon", &daemon), ("the client", &client)]);
    std::fs::write(&options.out, picture)
        .map_err(|error| format!("{}: {error}", options.out.display()))
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let (mut case, mut seconds, mut out) = (None, 5.0, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("{word} needs a value\n{USAGE}"))
        };
        match *word {
            "--case" => case = Some((*value()?).to_owned()),
            "--seconds" => {
                let text = value()?;
                seconds = text
                    .parse()
                    .ok()
                    .filter(|seconds| (0.1..=60.0).contains(seconds))
                    .ok_or_else(|| format!("--seconds {text} is wrong"))?;
            }
            word if word.starts_with('-') || out.is_some() => {
                return Err(format!("{word} is no option\n{USAGE}"));
            }
            word => out = Some(PathBuf::from(word)),
        }
    }
    match (case, out) {
        (Some(case), Some(out)) => Ok(Options { case, seconds, out }),
        _ => Err(USAGE.to_owned()),
    }
}

/// The frames of the daemon and of a client while the case runs.
fn record(peers: &Peers, case: &Case, seconds: f64) -> Result<(Frame, Frame), String> {
    let daemon = peers.daemon_process().ok_or("there is no daemon")?;
    let mut client = peers.start_waiting(Side::Ours, case, seconds + SECONDS_MORE)?;
    if !client.is_ready() {
        return Err(format!("{}: {:?}", case.name, client.outcome()?));
    }
    client.begin()?;
    let file = peers.directory().join("perf.data");
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "-g", "--call-graph", "dwarf"])
        .args(["-F", SAMPLES_A_SECOND])
        .args(["--pid", &format!("{daemon},{}", client.process())])
        .arg("--output")
        .arg(&file)
        // It records for as long as this runs.
        .args(["--", "sleep", &seconds.to_string()]);
    said_by_perf(&mut perf)?;
    let process = client.process();
    // What it measured under perf is of no use.
    drop(client);
    let mut frames = script(&file)?;
    let mut of = |process, who| {
        let frame: Frame = frames.remove(&process).unwrap_or_default();
        if frame.samples < SAMPLES_MIN {
            let samples = frame.samples;
            return Err(format!(
                "only {samples} samples of {who}; take more --seconds"
            ));
        }
        Ok(frame)
    };
    Ok((of(daemon, "the daemon")?, of(process, "the client")?))
}

/// Runs perf.
fn said_by_perf(perf: &mut Command) -> Result<(), String> {
    let output = perf.stdin(Stdio::null()).output().map_err(perf_missing)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "perf ended with {}; root may record always, others where kernel.perf_event_paranoid is 1 or less:\n{}",
        output.status,
        said.trim()
    ))
}

fn perf_missing(error: std::io::Error) -> String {
    if error.kind() == ErrorKind::NotFound {
        "perf is not there; install it (Debian: apt install linux-perf)".to_owned()
    } else {
        format!("perf: {error}")
    }
}

/// What perf recorded, by process.
fn script(file: &Path) -> Result<fold::Processes, String> {
    let mut perf = Command::new("perf")
        .args(["script", "-F", "pid,ip,sym,dso", "--input"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It complains of each library without debug information.
        .stderr(Stdio::null())
        .spawn()
        .map_err(perf_missing)?;
    let output = perf.stdout.take().ok_or("no output of perf")?;
    let frames = fold::fold(BufReader::new(output));
    let status = perf
        .wait()
        .map_err(|error| format!("perf script: {error}"))?;
    if !status.success() {
        return Err(format!("perf script ended with {status}"));
    }
    frames.map_err(|error| format!("perf script: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_and_wrong_ones_refused() {
        let options = parse(&["--case", "random-32", "--seconds", "2", "a.svg"]).unwrap();
        assert_eq!(options.case, "random-32");
        assert!((options.seconds - 2.0).abs() < 1e-9);
        assert_eq!(options.out, Path::new("a.svg"));
        for wrong in [
            &["a.svg"][..],
            &["--case", "x"],
            &["--case"],
            &["--case", "x", "a.svg", "b.svg"],
            &["--case", "x", "--seconds", "0", "a.svg"],
            &["--case", "x", "--fast", "a.svg"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_lacks_perf_is_told_what_to_install() {
        let error = Command::new("/nonexistent/perf").output().unwrap_err();
        assert!(perf_missing(error).contains("linux-perf"));
    }

    #[test]
    fn what_perf_complains_of_is_told() {
        let mut shell = Command::new("sh");
        let said = said_by_perf(shell.args(["-c", "echo no permission >&2; exit 3"]));
        assert!(said.unwrap_err().ends_with("no permission"));
    }
}
