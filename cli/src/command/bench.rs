//! `strongroom bench`.
//!
//! What lives here: the PIN, a process for each module, and the table of what they measured.
//! What must never live here: a call of PKCS#11; a module is loaded in `measure`, in a process of its own.
//! Who calls it: the commands.
//!
//! A process of its own for each module, because a module reads the environment when it is loaded, and because one that crashes must
//! not take the report with it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Bench;
use super::doctor::installation::find_module;
use crate::arguments::BenchArguments;
use crate::failure::Failure;
use crate::output::{self, Format, Rows};
use crate::pin::{self, Pin};

/// What one case came to with one module: a line that `measure` writes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measured {
    /// The case.
    pub(super) case: String,
    /// Half of the operations took at most so long, in nanoseconds; none when the module cannot do it.
    pub(super) p50_ns: Option<u64>,
    /// All but a hundredth took at most so long, in nanoseconds.
    pub(super) p99_ns: Option<u64>,
    /// Operations a second, of all threads together.
    pub(super) operations_per_second: Option<f64>,
    /// Why there are no numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// A row of the answer.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    ours: Measured,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<Measured>,
    /// How many times ours does what the other does in the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

pub(super) fn run(bench: Bench<'_>, arguments: &BenchArguments) -> Result<(), Failure> {
    let module = find_module(arguments.own_module.as_deref()).ok_or_else(|| {
        Failure::Failed(
            "the PKCS#11 module is in none of the usual directories; name it with --own-module"
                .into(),
        )
    })?;
    let pin = pin::existing(arguments.pin_file.as_deref())?;
    let place = bench.find()?;
    let mut own = Command::new(program()?);
    for (name, value) in place.for_module() {
        match value {
            Some(value) => own.env(name, value),
            None => own.env_remove(name),
        };
    }
    let ours = measured(own, arguments, &module, &arguments.token, &pin)?;
    let theirs = match &arguments.module {
        Some(other) => {
            let token = arguments
                .module_token
                .as_deref()
                .unwrap_or(&arguments.token);
            measured(Command::new(program()?), arguments, other, token, &pin)?
        }
        None => Vec::new(),
    };
    let lines: Vec<Line> = ours.into_iter().map(|ours| line(ours, &theirs)).collect();
    match bench.format {
        Format::Json => output::show_json(&serde_json::json!({
            "seconds": arguments.seconds,
            "threads": arguments.threads,
            "cases": lines,
        })),
        Format::Text => output::show_rows(&rows(&lines, arguments.module.is_some())),
    }
}

fn program() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::Failed(format!("cannot find this program: {error}")))
}

/// Lets a process of its own measure a module.
fn measured(
    mut command: Command,
    arguments: &BenchArguments,
    module: &Path,
    token: &str,
    pin: &Pin,
) -> Result<Vec<Measured>, Failure> {
    // Absolute, because a loader looks for a bare name elsewhere.
    let module =
        std::path::absolute(module).map_err(|error| Failure::file("find", module, &error))?;
    let broken = |error: io::Error| Failure::Failed(format!("cannot measure: {error}"));
    let mut child = command
        .arg("measure")
        .arg("--module")
        .arg(&module)
        .args(["--token", token])
        .args(["--seconds", &arguments.seconds.to_string()])
        .args(["--threads", &arguments.threads.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    if let Some(mut input) = child.stdin.take() {
        // A process that has ended already tells why by its exit code.
        let _ = input.write_all(pin.expose());
        let _ = input.write_all(b"\n");
    }
    let mut all = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(broken)?;
            let one: Measured = serde_json::from_str(&line)
                .map_err(|error| Failure::Failed(format!("cannot measure: {error}")))?;
            output::progress(&format!("{}: {}", module.display(), one.case));
            all.push(one);
        }
    }
    output::progress("");
    let status = child.wait().map_err(broken)?;
    if status.success() {
        Ok(all)
    } else {
        Err(Failure::Failed(format!(
            "{} could not be measured",
            module.display()
        )))
    }
}

fn line(ours: Measured, theirs: &[Measured]) -> Line {
    let other = theirs.iter().find(|other| other.case == ours.case).cloned();
    let rates = (
        ours.operations_per_second,
        other.as_ref().and_then(|other| other.operations_per_second),
    );
    let ratio = match rates {
        (Some(own), Some(other)) if other > 0.0 => Some(own / other),
        _ => None,
    };
    Line { ours, other, ratio }
}

fn rows(lines: &[Line], both: bool) -> Rows {
    let headings: &[&str] = if both {
        &[
            "case",
            "µs p50",
            "µs p99",
            "per second",
            "other µs p50",
            "other per second",
            "ratio",
        ]
    } else {
        &["case", "µs p50", "µs p99", "per second"]
    };
    let mut rows = Rows::new(headings);
    let rate = |one: &Measured| {
        one.operations_per_second
            .map_or_else(String::new, |rate| format!("{rate:.0}"))
    };
    for line in lines {
        let mut cells = vec![
            line.ours.case.clone(),
            time(&line.ours, line.ours.p50_ns),
            time(&line.ours, line.ours.p99_ns),
            rate(&line.ours),
        ];
        if both {
            let other = line.other.as_ref();
            cells.push(other.map_or_else(String::new, |other| time(other, other.p50_ns)));
            cells.push(other.map_or_else(String::new, rate));
            cells.push(
                line.ratio
                    .map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            );
        }
        rows.push(cells);
    }
    rows
}

/// Nanoseconds as microseconds, or why there are none.
fn time(one: &Measured, nanoseconds: Option<u64>) -> String {
    nanoseconds.map_or_else(
        || one.why.clone().unwrap_or_default(),
        |time| format!("{}.{:02}", time / 1_000, time % 1_000 / 10),
    )
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed unwrap is the failed assertion"
)]
mod tests {
    use super::*;

    fn took(case: &str, rate: Option<f64>) -> Measured {
        Measured {
            case: case.to_owned(),
            p50_ns: rate.map(|_| 12_345),
            p99_ns: rate.map(|_| 99_999),
            operations_per_second: rate,
            why: rate.is_none().then(|| "not there".to_owned()),
        }
    }

    #[test]
    fn a_ratio_is_of_the_same_case() {
        let theirs = [took("a", Some(50.0)), took("b", None)];
        assert_eq!(line(took("a", Some(100.0)), &theirs).ratio, Some(2.0));
        assert_eq!(line(took("b", Some(100.0)), &theirs).ratio, None);
        assert_eq!(line(took("c", Some(100.0)), &theirs).ratio, None);
    }

    #[test]
    fn rows_have_times_in_microseconds() {
        let lines = [
            line(took("a", Some(100.0)), &[]),
            line(took("b", None), &[]),
        ];
        let text = rows(&lines, false).columns();
        assert!(text.contains("12.34"), "{text}");
        assert!(text.contains("not there"), "{text}");
    }

    #[test]
    fn what_one_process_writes_the_other_reads() {
        let line = serde_json::to_string(&took("a", Some(1.5))).unwrap();
        let again: Measured = serde_json::from_str(&line).unwrap();
        assert_eq!(again.operations_per_second, Some(1.5));
    }
}
