//! The rows of `divergences.toml`: every difference between SoftHSM and us, with its reason.
//!
//! What lives here: reading the rows, what a row must say, and the judgement over two transcripts.
//! What must never live here: a difference that is allowed; it stands in the file.
//! Who calls it: `stage.rs`, and the test over the file itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::transcript::Step;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// Its rows.
    #[serde(default)]
    divergence: Vec<Row>,
}

/// One difference, or a family of one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// A short name, once in the file.
    id: String,
    /// What differs, in a sentence.
    what: String,
    /// What SoftHSM answers: a pattern with `*`, or several, with ` or ` between.
    softhsm: String,
    /// What we answer, likewise.
    ours: String,
    /// The section of PKCS#11 3.2 that speaks of it.
    section: String,
    /// Why it stays so.
    why: String,
    /// Where it shows: `scenario::step`, with `*` in the step.
    tests: Vec<String>,
}

/// The outcome of a step that a module did not come to.
const NOT_REACHED: &str = "(not reached)";

impl Rows {
    /// The rows of the file.
    ///
    /// # Panics
    /// When the file is not there or is no such file.
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("divergences.toml");
        let text = std::fs::read_to_string(&path).expect("divergences.toml");
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What is wrong about the rows themselves, given the names of all scenarios.
    pub fn faults(&self, scenarios: &BTreeSet<String>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut ids = BTreeSet::new();
        for row in &self.divergence {
            let mut say = |what: &str| faults.push(format!("{}: {what}", row.id));
            if !ids.insert(&row.id) {
                say("a second row of this id");
            }
            let words = [&row.id, &row.what, &row.softhsm, &row.ours, &row.why];
            if words.iter().any(|text| text.trim().is_empty()) {
                say("an empty field");
            }
            if !row
                .section
                .starts_with(|first: char| first.is_ascii_digit())
            {
                say("no section of the standard");
            }
            if row.softhsm.trim_matches('*').is_empty() || row.ours.trim_matches('*').is_empty() {
                say("an outcome that is anything says nothing");
            }
            if row.tests.is_empty() {
                say("no test shows it");
            }
            for test in &row.tests {
                let scenario = test.split_once("::").map(|(scenario, _)| scenario);
                if scenario.is_none_or(|name| !scenarios.contains(name)) {
                    say(&format!("there is no scenario of {test}"));
                }
            }
        }
        faults
    }

    /// Differences without a row, and rows of this scenario that match no difference.
    pub fn judge(&self, scenario: &str, theirs: &[Step], ours: &[Step]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut unused: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (row, step) in self.of(scenario) {
            unused.insert((&row.id, step));
        }
        for (step, (softhsm, ours)) in outcomes(theirs, ours) {
            if softhsm == ours {
                continue;
            }
            let fits = |(row, pattern): &(&Row, &str)| {
                matches(pattern, step)
                    && matches_one_of(&row.softhsm, softhsm)
                    && matches_one_of(&row.ours, ours)
            };
            let row = self.of(scenario).find(fits);
            match row {
                Some((row, pattern)) => {
                    unused.remove(&(row.id.as_str(), pattern));
                }
                None => faults.push(format!(
                    "DIFFERENCE {scenario}::{step}\n   softhsm {softhsm}\n   ours    {ours}"
                )),
            }
        }
        let unused = unused.into_iter();
        faults.extend(unused.map(|(id, step)| format!("UNUSED ROW {id}, {scenario}::{step}")));
        faults
    }

    fn of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = (&'a Row, &'a str)> {
        let places = |row: &'a Row| row.tests.iter().map(move |test| (row, test));
        let all = self.divergence.iter().flat_map(places);
        all.filter_map(move |(row, test)| match test.split_once("::") {
            Some((name, step)) if name == scenario => Some((row, step)),
            _ => None,
        })
    }
}

/// Both outcomes of every step that either module came to.
fn outcomes<'s>(theirs: &'s [Step], ours: &'s [Step]) -> BTreeMap<&'s str, (&'s str, &'s str)> {
    let mut all: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for step in theirs {
        all.insert(&step.name, (&step.outcome, NOT_REACHED));
    }
    for step in ours {
        all.entry(&step.name)
            .or_insert((NOT_REACHED, NOT_REACHED))
            .1 = &step.outcome;
    }
    all
}

fn matches_one_of(patterns: &str, text: &str) -> bool {
    patterns.split(" or ").any(|pattern| matches(pattern, text))
}

/// Whether a text is the pattern, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(head) else {
        return false;
    };
    loop {
        if matches(rest, left) {
            return true;
        }
        let Some(next) = left.chars().next() else {
            return false;
        };
        left = &left[next.len_utf8()..];
    }
}

/// The names of all scenarios: the tests of this binary's chapters.
fn scenarios() -> BTreeSet<String> {
    let me = std::env::current_exe().expect("the path of this program");
    let listed = std::process::Command::new(me)
        .args(["differential::", "--list", "--format", "terse"])
        .output()
        .expect("the list of tests");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let last = |path: &str| path.rsplit("::").next().map(str::to_owned);
    names.filter_map(last).collect()
}

#[test]
fn every_row_has_a_section_a_reason_and_a_scenario() {
    let rows = Rows::read();
    assert!(!rows.divergence.is_empty(), "the file has rows");
    let faults = rows.faults(&scenarios());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[divergence]]
        id = "a"
        what = "A."
        softhsm = "CKR_OK*"
        ours = "CKR_ARGUMENTS_BAD or CKR_DATA_INVALID"
        section = "5.1"
        why = "Because."
        tests = ["s::one*"]
    "#;

    fn steps(rows: &[(&str, &str)]) -> Vec<Step> {
        let step = |(name, outcome): &(&str, &str)| Step {
            name: (*name).to_owned(),
            outcome: (*outcome).to_owned(),
        };
        rows.iter().map(step).collect()
    }

    fn faults(theirs: &[(&str, &str)], ours: &[(&str, &str)]) -> Vec<String> {
        let rows: Rows = toml::from_str(GOOD).unwrap();
        rows.judge("s", &steps(theirs), &steps(ours))
    }

    #[test]
    fn a_difference_needs_a_row_and_a_row_a_difference() {
        let (theirs, ours) = ([("one a", "CKR_OK: 3")], [("one a", "CKR_DATA_INVALID")]);
        assert_eq!(faults(&theirs, &ours), Vec::<String>::new());
        let other = faults(&theirs, &[("one a", "CKR_GENERAL_ERROR")]);
        assert_eq!(other.len(), 2, "{other:?}");
        let same = faults(&[("one a", "CKR_OK")], &[("one a", "CKR_OK")]);
        assert_eq!(same, ["UNUSED ROW a, s::one*"]);
        let lost = faults(&[("two", "CKR_OK")], &[]);
        assert_eq!(lost.len(), 2, "{lost:?}");
    }

    #[test]
    fn a_row_without_section_reason_or_scenario_is_refused() {
        let known: BTreeSet<String> = ["s".to_owned()].into();
        let read = |text: &str| toml::from_str::<Rows>(text);
        assert_eq!(read(GOOD).unwrap().faults(&known), Vec::<String>::new());
        for (from, to) in [
            ("\"5.1\"", "\"\""),
            ("\"Because.\"", "\" \""),
            ("CKR_OK*", "*"),
            ("s::one*", "t::one"),
            ("\"s::one*\"", ""),
        ] {
            let spoiled = read(&GOOD.replace(from, to)).unwrap();
            assert_eq!(spoiled.faults(&known).len(), 1, "{to}");
        }
        assert!(read(&GOOD.replace("why = \"Because.\"", "")).is_err());
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*", "", true),
            ("ab", "abc", false),
            ("*b*", "abc", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
