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
# falls under 80 % of its row. Written by `cargo xtask bench --record`; a row that goes down needs a reason in the commit.

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
        // A ratio that rounds to nothing must still be one.
        let ratio = ratio.max(0.01);
        let _ = writeln!(text, "\"{name}\" = {ratio:.2}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let rows = BTreeMap::from([("a/2-threads".to_owned(), 1.25), ("b".to_owned(), 0.000_1)]);
        let again = parse(&text(&rows)).unwrap();
        assert_eq!(again["a/2-threads"], 1.25);
        assert_eq!(again["b"], 0.01);
    }

    #[test]
    fn a_wrong_file_is_refused() {
        for wrong in ["", "[ratios]\na = \"x\"\n", "[ratios]\na = 0.0\n"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
