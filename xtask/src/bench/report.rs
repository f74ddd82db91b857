//! The tables for people: on standard output, and `docs/benchmarks.md`.
//!
//! What lives here: words and tables.
//! What must never live here: a measurement.
//! Who calls it: `bench`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::goals::goal;
use super::limit::Bound;
use super::peers::Outcome;
use super::reasons::reason;
use super::rounds::{Crowd, Plan, Row};

const METHOD: &str = "\
Each case is one operation as an application pays for it, through the C interface of the module: `C_SignInit` and `C_Sign`, unwrap and
destroy, open and close, logout and login; a cold start is a whole process that loads the module, logs in, finds its key, signs once and
ends. Keys are durable objects of the token unless the case says otherwise. One result of each case is checked before the clock runs.

Both modules are measured by the same program, `p11measure` in `benches/`, in processes of their own, in alternating rounds: SoftHSM,
ours, ours, SoftHSM. Times are medians (p50) of the rounds' medians, in microseconds; `p99` is the time within which 99 of 100 of our
operations ended, the median of the rounds. The ratio says how many times ours does what SoftHSM does in the same time: the median of the
ratios within each round, so above 1 ours is faster. A `~` marks cases whose rounds differ by more than a quarter. The goal is the ratio
that we want; a `✗` beside it says that it is not reached.

The daemon runs with its usual settings: the audit records, PINs cost what they cost, keys lie in locked memory. SoftHSM has a token
directory of its own for each token; those that are only searched lie in memory, because filling them on a disk takes it minutes.";

const LIMIT: &str = "\
A key in another process costs at least the primitive and the way there and back. The limit of an operation is the primitive of AWS-LC
called directly with a prepared key, one round trip of 64 bytes between two processes over a Unix socket with blocking reads, and 5 µs for
all else: PKCS#11, policy, audit. Primitive and round trip are measured in the same run, before and after the rounds; the lower counts. An
operation can be below its limit where its request travels through shared memory and nobody sleeps. Deriving a key is two requests, for
the key is destroyed again, and has the limit of one.";

/// The whole document.
pub(super) fn document(
    machine: &[(&str, String)],
    plan: Plan,
    rows: &[Row],
    bounds: &[Bound],
) -> String {
    let mut text = "\
# Benchmarks

Strongroom against SoftHSM, measured by `cargo xtask bench`, which writes this page.

## Machine

| | |
|---|---|
"
    .to_owned();
    for (what, which) in machine {
        let _ = writeln!(text, "| {what} | {which} |");
    }
    let _ = write!(
        text,
        "\n## Method\n\n{METHOD}\n\n{} rounds of {} s each.\n",
        plan.rounds, plan.seconds
    );
    text.push_str("\n![Latency by case, both modules](benchmarks/latency.svg)\n");
    text.push_str("\n![Throughput by threads, both modules](benchmarks/throughput.svg)\n");
    text.push_str(&limits(bounds));
    text.push_str("\n## All cases\n");
    text.push_str(&table(rows));
    text.push_str(&lost(rows));
    text.push_str(&behind(rows));
    text.push_str(&without_ratio(rows));
    text
}

/// All rows, a table for each group.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for group in rows.chunk_by(|one, other| heading(one) == heading(other)) {
        let Some(first) = group.first() else {
            continue;
        };
        // Goals and slow operations are for one session.
        let (unit, [slow, title, line]) = match first.crowd {
            Crowd::Alone => ("µs", [" p99 |", " goal |", "---:|---:|"]),
            Crowd::Threads(_) | Crowd::Processes(_) => ("operations/s", ["", "", ""]),
        };
        let _ = write!(
            text,
            "\n### {}\n\n| case | SoftHSM, {unit} | ours, {unit} |{slow} ratio |{title}\n|---|---:|---:|---:|{line}\n",
            heading(first)
        );
        for row in group {
            let ratio = row.ratio.map_or_else(|| "–".to_owned(), number);
            let noisy = if row.noisy { "~" } else { "" };
            let _ = write!(
                text,
                "| {} | {} | {} |{} {noisy}{ratio} |",
                row.case.name,
                cell(row, &row.softhsm),
                cell(row, &row.ours),
                slow_cell(row)
            );
            text.push_str(&match (row.crowd, goal(&row.key())) {
                (Crowd::Alone, Some(goal)) if is_behind(row, goal) => format!(" {goal} ✗ |\n"),
                (Crowd::Alone, Some(goal)) => format!(" {goal} |\n"),
                (Crowd::Alone, None) => " – |\n".to_owned(),
                (Crowd::Threads(_) | Crowd::Processes(_), _) => "\n".to_owned(),
            });
        }
    }
    text
}

/// Whether a row was measured and does not reach its goal.
fn is_behind(row: &Row, goal: f64) -> bool {
    row.ratio.is_some_and(|ratio| ratio < goal)
}

/// What each operation may take, and takes; nothing when no row has a limit.
pub(super) fn limits(bounds: &[Bound]) -> String {
    if bounds.is_empty() {
        return String::new();
    }
    let mut text = format!("\n## Against the limit\n\n{LIMIT}\n\n");
    text.push_str(
        "| case | primitive, µs | round trip, µs | limit, µs | ours, µs | holds |\n|---|---:|---:|---:|---:|---|\n",
    );
    for bound in bounds {
        let time = |nanoseconds: f64| number(nanoseconds / 1_000.0);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            bound.case,
            time(bound.primitive),
            time(bound.round_trip),
            time(bound.limit()),
            time(bound.ours),
            if bound.holds() { "yes" } else { "no" }
        );
    }
    text
}

fn heading(row: &Row) -> String {
    match row.crowd {
        Crowd::Alone => row.case.group.clone(),
        Crowd::Threads(number) => format!("{number} threads of one process"),
        Crowd::Processes(number) => format!("{number} processes"),
    }
}

fn cell(row: &Row, outcome: &Outcome) -> String {
    match (outcome, row.crowd) {
        (Outcome::Measured(numbers), Crowd::Alone) => {
            let time = number(numbers.p50 / 1_000.0);
            match row.case.bytes {
                Some(bytes) if bytes >= 4_096 => {
                    let mebibytes = bytes as f64 / f64::from(1 << 20);
                    let rate = mebibytes * 1e9 / numbers.p50.max(1.0);
                    format!("{time} ({} MiB/s)", number(rate))
                }
                _ => time,
            }
        }
        (Outcome::Measured(numbers), Crowd::Threads(_) | Crowd::Processes(_)) => {
            number(numbers.rate)
        }
        (Outcome::Lacks(_), _) => "not there".to_owned(),
        (Outcome::Failed(_), _) => "failed".to_owned(),
    }
}

/// What 99 of 100 of our operations took at most; the column is there for one session only.
fn slow_cell(row: &Row) -> String {
    match (&row.ours, row.crowd) {
        (Outcome::Measured(numbers), Crowd::Alone) => {
            format!(" {} |", number(numbers.p99 / 1_000.0))
        }
        (Outcome::Lacks(_) | Outcome::Failed(_), Crowd::Alone) => " – |".to_owned(),
        (_, Crowd::Threads(_) | Crowd::Processes(_)) => String::new(),
    }
}

/// Where ours is slower, by reason.
fn lost(rows: &[Row]) -> String {
    let lost = |row: &Row| {
        let ratio = row.ratio.filter(|ratio| *ratio < 1.0)?;
        Some(number(ratio))
    };
    let text = "\n## Where SoftHSM is faster\n".to_owned();
    match by_reason(rows, lost) {
        Some(table) => format!("{text}\n| cases, with their ratios | reason |\n|---|---|\n{table}"),
        None => text + "\nNowhere in this run.\n",
    }
}

/// Where a goal is not reached, by reason; what SoftHSM does faster stands here again, with its goal.
fn behind(rows: &[Row]) -> String {
    let behind = |row: &Row| {
        let goal = goal(&row.key()).filter(|goal| is_behind(row, *goal))?;
        Some(format!("{} of {goal}", number(row.ratio?)))
    };
    let text = "\n## Behind the goals\n".to_owned();
    match by_reason(rows, behind) {
        Some(table) => {
            format!("{text}\n| cases, with their ratios and goals | reason |\n|---|---|\n{table}")
        }
        None => text + "\nNowhere in this run.\n",
    }
}

/// Rows of a table: the cases that `say` has a word for, together where they have the same reason.
fn by_reason(rows: &[Row], say: impl Fn(&Row) -> Option<String>) -> Option<String> {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Some(word) = say(row) {
            let key = row.key();
            let cases = by_reason.entry(reason(&key)).or_default();
            cases.push(format!("{key} ({word})"));
        }
    }
    let line = |(why, cases): (&&str, &Vec<String>)| format!("| {} | {why} |\n", cases.join(", "));
    (!by_reason.is_empty()).then(|| by_reason.iter().map(line).collect())
}

fn without_ratio(rows: &[Row]) -> String {
    let missing: Vec<&Row> = rows.iter().filter(|row| row.ratio.is_none()).collect();
    if missing.is_empty() {
        return String::new();
    }
    let mut text = "\n## What could not be compared\n\n".to_owned();
    for row in missing {
        let _ = writeln!(text, "- {}: {}", row.key(), row.why());
    }
    text
}

/// Three digits that mean something.
pub(super) fn number(value: f64) -> String {
    if value < 0.1 {
        return format!("{value:.3}");
    }
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::super::peers::{Case, Numbers};
    use super::*;

    fn row(name: &str, crowd: Crowd, ratio: Option<f64>) -> Row {
        let took = |p50| {
            Outcome::Measured(Numbers {
                p50,
                p99: 3.0 * p50,
                rate: 1_234_567.0,
                ..Numbers::default()
            })
        };
        Row {
            case: Case {
                name: name.to_owned(),
                group: "digests".to_owned(),
                bytes: Some(1 << 20),
                ..Case::default()
            },
            crowd,
            softhsm: ratio.map_or_else(|| Outcome::Lacks("x".to_owned()), |_| took(2e6)),
            ours: took(1e6),
            ratio,
            noisy: true,
        }
    }

    #[test]
    fn a_row_has_both_times_the_slow_ones_and_the_ratio() {
        let text = table(&[row("sha256-1m", Crowd::Alone, Some(2.0))]);
        let line =
            "| sha256-1m | 2,000 (500 MiB/s) | 1,000 (1,000 MiB/s) | 3,000 | ~2.00 | 1.2 |\n";
        assert!(text.contains(line), "{text}");
        let head = "| case | SoftHSM, µs | ours, µs | p99 | ratio | goal |\n|---|---:|---:|---:|---:|---:|\n";
        assert!(text.contains(head), "{text}");
        let text = table(&[row("sha256-1m", Crowd::Threads(2), Some(2.0))]);
        assert!(text.contains("### 2 threads of one process"), "{text}");
        assert!(!text.contains("p99"), "{text}");
        assert!(
            text.contains("| 1,234,567 | 1,234,567 | ~2.00 |\n"),
            "{text}"
        );
    }

    #[test]
    fn a_goal_that_is_not_reached_is_marked_and_has_a_reason() {
        let rows = [
            row("random-32", Crowd::Alone, Some(7.9)),
            row("random-4k", Crowd::Alone, Some(7.9)),
            row("rsa2048-sign-pkcs", Crowd::Threads(2), Some(0.5)),
            row("find-10", Crowd::Alone, Some(0.5)),
        ];
        let text = table(&rows);
        assert!(text.contains("| ~7.90 | 8 ✗ |\n"), "{text}");
        assert!(text.contains("| ~7.90 | 1 |\n"), "{text}");
        assert!(text.contains("| ~0.50 | – |\n"), "{text}");
        let text = behind(&rows);
        assert!(text.contains("| random-32 (7.90 of 8) | "), "{text}");
        for other in ["random-4k", "rsa2048", "find-10"] {
            assert!(!text.contains(other), "{text}");
        }
        assert!(behind(&rows[1..]).contains("Nowhere"));
    }

    #[test]
    fn a_bound_says_whether_it_holds() {
        let mut bound = Bound {
            case: "ed25519-sign".to_owned(),
            primitive: 15_000.0,
            round_trip: 10_000.0,
            ours: 29_900.0,
        };
        let line = "| ed25519-sign | 15.0 | 10.0 | 30.0 | 29.9 | yes |";
        assert!(limits(std::slice::from_ref(&bound)).contains(line));
        bound.ours = 31_000.0;
        assert!(limits(&[bound]).contains("| 31.0 | no |"));
        assert_eq!(limits(&[]), "");
    }

    #[test]
    fn what_is_lost_has_a_section_with_the_reason() {
        let rows = [
            row("random-32", Crowd::Alone, Some(0.5)),
            row("sha256-1m", Crowd::Alone, Some(2.0)),
        ];
        let text = lost(&rows);
        assert!(text.contains("| random-32 (0.50) | The module"), "{text}");
        assert!(!text.contains("sha256-1m"), "{text}");
        assert!(lost(&rows[1..]).contains("Nowhere"));
    }

    #[test]
    fn what_one_side_lacks_is_said() {
        let rows = [row("aes-kw-wrap", Crowd::Alone, None)];
        assert!(table(&rows).contains("| not there |"));
        assert!(without_ratio(&rows).contains("- aes-kw-wrap: SoftHSM lacks it (x)"));
    }

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (0.0123, "0.012"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
