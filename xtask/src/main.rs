//! Chores of the project, run as `cargo xtask`.
//!
//! What lives here: the commands and their exit codes.
//! What must never live here: a chore itself.
//! Who calls it: people, and `./test`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]

mod bench;
mod crash;
mod divergences;
mod flame;
mod load;
mod package;
mod recipes;
mod source;
mod support;
mod svg;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  tidy              check the rules of the house; see xtask/src/tidy/
  tidy --lower      the same, and write smaller allowances into xtask/tidy.toml
  support           write SUPPORT.md from the tables
  support --check   say whether SUPPORT.md is what the tables say
  divergences       write docs/divergences.md from softhsm-compat/divergences.toml
  divergences --check
                    say whether it is what the rows say
  bench [OPTION...] measure ours against SoftHSM and write docs/benchmarks.md; see bench --help
  flame --case NAME [--seconds S] OUT.svg
                    draw where the daemon and a client spend the time of one case; see flame --help
  crash --rounds N  kill the daemon under load, N times, and compare what is there with what was answered
  package [OPTION...]
                    make the Debian package; see package --help
  recipes [NAME...] run the pages of docs/recipes and compare what their commands say; see recipes --help
  readme            run the commands of README.md
  soak [OPTION...]  a thousand connections for an hour: no error, flat memory, latencies; see soak --help
  fuzz [OPTION...]  ten million spoiled frames, while an honest client works; see fuzz --help";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The manifest lies one level below the root of the repository.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let outcome = match words.as_slice() {
        ["tidy"] => tell(tidy::run(&root, tidy::Slack::Report)),
        ["tidy", "--lower"] => tell(tidy::run(&root, tidy::Slack::Lower)),
        ["support"] => support::write(&root),
        ["support", "--check"] => {
            support::difference(&root).map_or(Ok(()), |what| Err(format!("SUPPORT.md {what}")))
        }
        ["divergences"] => divergences::write(&root),
        ["divergences", "--check"] => divergences::difference(&root)
            .map_or(Ok(()), |what| Err(format!("docs/divergences.md {what}"))),
        ["bench", "--help"] => {
            println!("{}", bench::USAGE);
            Ok(())
        }
        ["bench", options @ ..] => bench::run(&root, options),
        ["crash", options @ ..] => crash::run(&root, options),
        ["package", "--help"] => {
            println!("{}", package::USAGE);
            Ok(())
        }
        ["package", options @ ..] => package::run(&root, options),
        ["flame", "--help"] => {
            println!("{}", flame::USAGE);
            Ok(())
        }
        ["flame", options @ ..] => flame::run(&root, options),
        ["recipes" | "readme", "--help"] => {
            println!("{}", recipes::USAGE);
            Ok(())
        }
        ["recipes", options @ ..] => recipes::run(&root, options),
        ["readme"] => recipes::readme(&root),
        ["soak" | "fuzz", "--help"] => {
            println!("{}", load::USAGE);
            Ok(())
        }
        [command @ ("soak" | "fuzz"), options @ ..] => load::run(&root, command, options),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn tell(findings: Result<Vec<tidy::Finding>, String>) -> Result<(), String> {
    let findings = findings?;
    for finding in &findings {
        println!("{}: {}", finding.place, finding.what);
    }
    match findings.len() {
        0 => {
            println!("tidy: nothing to find fault with");
            Ok(())
        }
        number => Err(format!("{number} findings")),
    }
}
