//! `benches/ratios.toml`: the ratios that must not fall.
//!
//! What lives here: reading and writing the file.
//! What must never live here: the judgement; absolute times, which belong to one machine.
//! Who calls it: `bench`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::rounds::Row;

const FILE: &str = "benches/ratios.toml";
const HEAD: &str = "\
# How many times ours does what SoftHSM does in the same time, one row a case. `cargo xtask bench --check` fails when a measured ratio
# falls under 80 % of its row. Written by `cargo xtask bench --record`, and then lowered by hand where a busy machine or another processor
# shows less; docs/benchmarks.md has what a quiet one shows. A row that goes down needs a reason in the commit.

[ratios]
";

/// The recorded ratios.
pub(super) fn read(root: &Path) -> Result<BTreeMap<String, f64>, String> {
    match std::fs::read_to_string(root.join(FILE)) {
        Ok(text) => parse(&text).map_err(|error| format!("{FILE}: {error}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(format!("{FILE}: {error}")),
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let all: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let rows = all.get("ratios").and_then(toml::Value::as_table);
    let rows = rows.ok_or("there is no section [ratios]")?;
    rows.iter()
        .map(|(name, value)| match value.as_float() {
            Some(ratio) if ratio > 0.0 => Ok((name.clone(), ratio)),
            _ => Err(format!("{name} is no ratio")),
        })
        .collect()
}

/// Writes what was measured over what was recorded; the other rows stay.
pub(super) fn write(
    root: &Path,
    mut recorded: BTreeMap<String, f64>,
    rows: &[Row],
) -> Result<(), String> {
    for row in rows {
        if let Some(ratio) = row.ratio {
            recorded.insert(row.key(), ratio);
        }
    }
    std::fs::write(root.join(FILE), text(&recorded)).map_err(|error| format!("{FILE}: {error}"))
}

fn text(recorded: &BTreeMap<String, f64>) -> String {
    let mut text = HEAD.to_owned();
    for (name, ratio) in recorded {
        let ratio = three_digits(*ratio);
        // With a point even where nothing stands behind it: TOML tells floats from integers.
        let _ = writeln!(text, "\"{name}\" = {ratio:?}");
    }
    text
}

/// Rounded to three digits that mean something, however small: a hundredth is most of a ratio of 0.03.
fn three_digits(ratio: f64) -> f64 {
    // A rate of nothing must still leave a ratio that can be read.
    let ratio = ratio.max(0.000_001);
    format!("{ratio:.2e}").parse().unwrap_or(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (ratio, read) in [
            (1.25, 1.25),
            (3.0, 3.0),
            (0.012_345, 0.012_3),
            (6_335.4, 6_340.0),
            (0.0, 0.000_001),
        ] {
            let rows = BTreeMap::from([("a/2-threads".to_owned(), ratio)]);
            assert_eq!(parse(&text(&rows)).unwrap()["a/2-threads"], read);
        }
    }

    #[test]
    fn rows_of_two_decimals_are_read() {
        let rows = parse("[ratios]\n\"a\" = 4.00\n\"b\" = 0.01\n").unwrap();
        assert_eq!((rows["a"], rows["b"]), (4.0, 0.01));
    }

    #[test]
    fn a_wrong_file_is_refused() {
        for wrong in ["", "[ratios]\na = \"x\"\n", "[ratios]\na = 0.0\n"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
