//! `cargo xtask bench`: ours against SoftHSM, on one machine at one time.
//!
//! What lives here: the options, and the way from a build to the documents.
//! What must never live here: how an operation is measured; that is `benches/`.
//! Who calls it: people, and `./test benchmarks`.

mod goals;
mod limit;
mod machine;
pub(crate) mod peers;
mod plot;
mod ratios;
mod reasons;
mod report;
mod rounds;

use std::collections::BTreeMap;
use std::path::Path;

use regex_lite::Regex;

use limit::{Bound, Floor};
use peers::{Case, Peers};
use report::number;
use rounds::{Crowd, Plan, Row};

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [OPTION...]

Builds the release, measures it and SoftHSM in alternating rounds, and writes docs/benchmarks.md with its plots. SoftHSM's module is
looked for at /usr/lib/softhsm/libsofthsm2.so; SOFTHSM2_MODULE names another place.

  --short          few cases, less than a minute; prints the table instead of writing the document
  --check          fail when a ratio falls under 80 % of that in benches/ratios.toml, or when an operation takes 25 % longer than its limit:
                   the primitive alone, a round trip over a socket, and 5 µs
  --record         write the ratios into benches/ratios.toml
  --only REGEX     cases whose names match; prints the table
  --large          search among 100,000 objects, too: filling takes long
  --rounds N       rounds of each case (default 5; 3 with --short)
  --seconds S      time of a case in a round (default 0.2; 0.15 with --short)
  --json           print the rows as JSON";

/// A measured ratio may fall to this share of the recorded one.
const RATIO_SHARE_MIN: f64 = 0.8;
/// How often a case that fell under it is measured again; the best counts, because machines have neighbours.
const TRIES_MORE: u32 = 3;

struct Options {
    short: bool,
    check: bool,
    record: bool,
    only: Option<Regex>,
    large: bool,
    rounds: Option<u32>,
    seconds: Option<f64>,
    json: bool,
}

/// Runs the comparison.
///
/// # Errors
/// What could not be done, or which ratios fell.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let options = parse(words)?;
    let plan = Plan {
        rounds: options.rounds.unwrap_or(if options.short { 3 } else { 5 }),
        seconds: options
            .seconds
            .unwrap_or(if options.short { 0.15 } else { 0.2 }),
    };
    let peers = Peers::start(root)?;
    let cases = chosen(&peers, &options)?;
    if cases.is_empty() {
        return Err("no case of this name".to_owned());
    }
    let crowds: &[Crowd] = if options.short {
        &[Crowd::Alone]
    } else {
        &[
            Crowd::Alone,
            Crowd::Threads(2),
            Crowd::Threads(4),
            Crowd::Processes(4),
        ]
    };
    let before = Floor::measure(&peers, &cases, plan)?;
    let mut rows = rounds::measure(&peers, &cases, crowds, plan)?;
    let floor = before.lower(&Floor::measure(&peers, &cases, plan)?);
    let recorded = ratios::read(root)?;
    let mut fallen = Vec::new();
    if options.check {
        fallen = try_again(&peers, &cases, &mut rows, &recorded, plan)?;
    }
    let mut bounds = floor.bounds(&rows);
    if options.check {
        for bound in &mut bounds {
            if bound.is_checked(options.short) {
                fallen.extend(try_limit_again(&peers, &cases, bound, plan)?);
            }
        }
    }
    tell(root, &peers, &options, plan, &rows, &bounds)?;
    if options.record {
        ratios::write(root, recorded, &rows)?;
    }
    if fallen.is_empty() {
        Ok(())
    } else {
        Err(fallen.join("\n"))
    }
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let mut options = Options {
        short: false,
        check: false,
        record: false,
        only: None,
        large: false,
        rounds: None,
        seconds: None,
        json: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("{word} needs a value\n{USAGE}"))
        };
        let wrong = |value: &str| format!("{word} {value} is wrong");
        match *word {
            "--short" => options.short = true,
            "--check" => options.check = true,
            "--record" => options.record = true,
            "--large" => options.large = true,
            "--json" => options.json = true,
            "--only" => {
                let regex = value()?;
                options.only =
                    Some(Regex::new(regex).map_err(|error| format!("--only {regex}: {error}"))?);
            }
            "--rounds" => {
                let text = value()?;
                let rounds = text
                    .parse()
                    .ok()
                    .filter(|rounds| (1..=100).contains(rounds));
                options.rounds = Some(rounds.ok_or_else(|| wrong(text))?);
            }
            "--seconds" => {
                let text = value()?;
                let seconds = text
                    .parse()
                    .ok()
                    .filter(|seconds| (0.01..=60.0).contains(seconds));
                options.seconds = Some(seconds.ok_or_else(|| wrong(text))?);
            }
            _ => return Err(format!("{word} is no option\n{USAGE}")),
        }
    }
    Ok(options)
}

fn chosen(peers: &Peers, options: &Options) -> Result<Vec<Case>, String> {
    let is_wanted = |case: &Case| {
        (case.short || !options.short)
            && (options.large || case.name != "find-100000")
            && options
                .only
                .as_ref()
                .is_none_or(|only| only.is_match(&case.name))
    };
    Ok(peers.cases()?.into_iter().filter(is_wanted).collect())
}

/// Measures again what fell under its recorded ratio, and keeps the best. Answers what stays under it.
fn try_again(
    peers: &Peers,
    cases: &[Case],
    rows: &mut [Row],
    recorded: &BTreeMap<String, f64>,
    plan: Plan,
) -> Result<Vec<String>, String> {
    let mut fallen = Vec::new();
    for row in rows {
        let key = row.key();
        let Some(recorded) = recorded.get(&key) else {
            continue;
        };
        let least = recorded * RATIO_SHARE_MIN;
        let mut tries = 0;
        while row.ratio.is_none_or(|ratio| ratio < least) && tries < TRIES_MORE {
            tries += 1;
            let only: Vec<Case> = cases
                .iter()
                .filter(|case| case.name == row.case.name)
                .cloned()
                .collect();
            let again = rounds::measure(peers, &only, &[row.crowd], plan)?;
            for better in again {
                if better.ratio > row.ratio {
                    *row = better;
                }
            }
        }
        match row.ratio {
            Some(ratio) if ratio >= least => {}
            Some(ratio) => fallen.push(format!(
                "{key}: the ratio fell to {}; {} is recorded, and {} is the least",
                number(ratio),
                number(*recorded),
                number(least)
            )),
            None => fallen.push(format!("{key}: {}", row.why())),
        }
    }
    Ok(fallen)
}

/// Measures a case that is beyond its limit again, with its primitive, and keeps the best. Answers what is wrong if it stays beyond.
fn try_limit_again(
    peers: &Peers,
    cases: &[Case],
    bound: &mut Bound,
    plan: Plan,
) -> Result<Option<String>, String> {
    let only: Vec<Case> = cases
        .iter()
        .filter(|case| case.name == bound.case)
        .cloned()
        .collect();
    let mut tries = 0;
    while bound.share() > limit::SHARE_MAX && tries < TRIES_MORE {
        tries += 1;
        // Both at the same time, so that a machine that is slow now is slow for both.
        let rows = rounds::measure(peers, &only, &[Crowd::Alone], plan)?;
        let again = Floor::measure(peers, &only, plan)?.bounds(&rows);
        for better in again {
            if better.share() < bound.share() {
                *bound = better;
            }
        }
    }
    let is_beyond = bound.share() > limit::SHARE_MAX;
    Ok(is_beyond.then(|| {
        format!(
            "{}: takes {} times its limit; {} times is the most",
            bound.case,
            number(bound.share()),
            limit::SHARE_MAX
        )
    }))
}

#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
fn tell(
    root: &Path,
    peers: &Peers,
    options: &Options,
    plan: Plan,
    rows: &[Row],
    bounds: &[Bound],
) -> Result<(), String> {
    if options.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        let limits: Vec<_> = bounds.iter().map(Bound::json).collect();
        println!("{}", serde_json::json!({ "rows": rows, "limits": limits }));
        return Ok(());
    }
    if options.short || options.only.is_some() {
        println!("{}{}", report::table(rows), report::limits(bounds));
        return Ok(());
    }
    let place = root.join("docs/benchmarks");
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    write(&place.join("latency.svg"), plot::latency(rows))?;
    write(&place.join("throughput.svg"), plot::throughput(rows))?;
    let machine = machine::describe(peers)?;
    write(
        &root.join("docs/benchmarks.md"),
        report::document(&machine, plan, rows, bounds),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_and_wrong_ones_refused() {
        let options = parse(&["--short", "--only", "^rsa", "--rounds", "7"]).unwrap();
        assert!(options.short && !options.check);
        assert_eq!(options.rounds, Some(7));
        assert!(options.only.unwrap().is_match("rsa2048-sign-pkcs"));
        for wrong in [
            &["--shorter"][..],
            &["--rounds"],
            &["--rounds", "0"],
            &["--seconds", "x"],
            &["--only", "("],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
