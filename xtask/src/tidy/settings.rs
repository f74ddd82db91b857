//! `xtask/tidy.toml`: what may be longer or larger than the rule, and by how much.
//!
//! What lives here: reading and writing the file, and the ratchet: an allowance may shrink and may not grow.
//! What must never live here: measuring.
//! Who calls it: `tidy`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::Finding;
use super::sizes::{FILE_LINES_MAX, FUNCTION_LINES_MAX, Sizes};

const FILE: &str = "xtask/tidy.toml";

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Files that are flat tables, each with its reason; they may be of any length.
    pub(super) tables: BTreeMap<String, String>,
    /// Packages that a program of ours is made of, at most.
    pub(super) packages: BTreeMap<String, usize>,
    /// Files that are longer than the rule, with their length.
    pub(super) file_lines: BTreeMap<String, usize>,
    /// Functions that are longer than the rule, with their length.
    pub(super) function_lines: BTreeMap<String, usize>,
}

/// Allowances that could be smaller.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lowered(Vec<(&'static str, String, usize)>);

impl Lowered {
    /// As findings, for those who do not want the file changed.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let tell = |(section, name, now): &(&str, String, usize)| {
            let what =
                format!("[{section}] \"{name}\" is down to {now}; run: cargo xtask tidy --lower");
            Finding::in_file(FILE, what)
        };
        self.0.iter().map(tell).collect()
    }
}

impl Settings {
    /// Reads the file.
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(root.join(FILE)).map_err(|error| format!("{FILE}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("{FILE}: {error}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let all: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut settings = Self::default();
        for (section, rows) in &all {
            let rows = rows
                .as_table()
                .ok_or_else(|| format!("{section} is no section"))?;
            for (name, value) in rows {
                settings
                    .put(section, name, value)
                    .ok_or_else(|| format!("[{section}] {name} is wrong"))?;
            }
        }
        Ok(settings)
    }

    fn put(&mut self, section: &str, name: &str, value: &toml::Value) -> Option<()> {
        if section == "tables" {
            let reason = value.as_str().filter(|reason| !reason.is_empty())?;
            self.tables.insert(name.to_owned(), reason.to_owned());
            return Some(());
        }
        let number = usize::try_from(value.as_integer()?).ok()?;
        self.section(section)?.insert(name.to_owned(), number);
        Some(())
    }

    fn section(&mut self, name: &str) -> Option<&mut BTreeMap<String, usize>> {
        match name {
            "packages" => Some(&mut self.packages),
            "file_lines" => Some(&mut self.file_lines),
            "function_lines" => Some(&mut self.function_lines),
            _ => None,
        }
    }

    /// Holds what was measured against what is allowed. What is too large becomes a finding; what could be smaller comes back.
    pub(super) fn judge(
        &mut self,
        sizes: &Sizes,
        counts: &BTreeMap<String, usize>,
        findings: &mut Vec<Finding>,
    ) -> Lowered {
        let mut lowered = Lowered::default();
        let lines = |max: usize| {
            move |now: usize| format!("has {now} lines; at most {max} are readable at once")
        };
        let rows: [(&'static str, _, _, &dyn Fn(usize) -> String); 3] = [
            (
                "file_lines",
                &self.file_lines,
                &sizes.files,
                &lines(FILE_LINES_MAX),
            ),
            (
                "function_lines",
                &self.function_lines,
                &sizes.functions,
                &lines(FUNCTION_LINES_MAX),
            ),
            ("packages", &self.packages, counts, &|now| {
                format!(
                    "is made of {now} packages of others, more than {FILE} allows; a new one needs a reason"
                )
            }),
        ];
        for (section, allowed, measured, tell) in rows {
            for (name, now) in measured {
                match allowed.get(name) {
                    Some(most) if now == most => {}
                    Some(most) if now < most => lowered.0.push((section, name.clone(), *now)),
                    _ => findings.push(Finding::in_file(name, tell(*now))),
                }
            }
            let gone = allowed.keys().filter(|name| !measured.contains_key(*name));
            lowered
                .0
                .extend(gone.map(|name| (section, name.clone(), 0)));
        }
        lowered
    }

    /// Writes the file with smaller allowances; those of zero go away.
    pub(super) fn write(&mut self, root: &Path, lowered: &Lowered) -> Result<(), String> {
        for (section, name, now) in &lowered.0 {
            if let Some(rows) = self.section(section) {
                rows.insert(name.clone(), *now);
                rows.retain(|_, most| *most > 0);
            }
        }
        std::fs::write(root.join(FILE), self.text()).map_err(|error| format!("{FILE}: {error}"))
    }

    fn text(&self) -> String {
        let mut text = String::from(HEAD);
        text.push_str(
            "\n# Flat tables: one row a thing, of any length. Each with its reason.\n[tables]\n",
        );
        for (name, reason) in &self.tables {
            let _ = writeln!(text, "\"{name}\" = \"{reason}\"");
        }
        let sections = [
            (
                "packages",
                "Packages of others that a program is made of (cargo tree, without tests, build scripts and macros).",
                &self.packages,
            ),
            ("file_lines", "Files over 600 lines.", &self.file_lines),
            (
                "function_lines",
                "Functions over 70 lines.",
                &self.function_lines,
            ),
        ];
        for (section, comment, rows) in sections {
            let _ = writeln!(text, "\n# {comment}\n[{section}]");
            for (name, most) in rows {
                let _ = writeln!(text, "\"{name}\" = {most}");
            }
        }
        text
    }
}

const HEAD: &str = "\
# Exceptions of `cargo xtask tidy`. Numbers are a ratchet: they go down (`cargo xtask tidy --lower` writes them), and up only
# with a reason in the commit.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, number: usize) -> BTreeMap<String, usize> {
        BTreeMap::from([(name.to_owned(), number)])
    }

    #[test]
    fn the_ratchet_holds_in_one_direction() {
        let mut settings = Settings {
            packages: one("daemon", 40),
            ..Settings::default()
        };
        let mut findings = Vec::new();
        let same = settings.judge(&Sizes::default(), &one("daemon", 40), &mut findings);
        assert!(findings.is_empty() && same.findings().is_empty());
        let less = settings.judge(&Sizes::default(), &one("daemon", 39), &mut findings);
        assert!(findings.is_empty() && less.findings().len() == 1);
        settings.judge(&Sizes::default(), &one("daemon", 41), &mut findings);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn an_exception_that_is_not_needed_any_more_is_reported() {
        let mut settings = Settings {
            function_lines: one("a.rs::b", 90),
            ..Settings::default()
        };
        let mut findings = Vec::new();
        let lowered = settings.judge(&Sizes::default(), &BTreeMap::new(), &mut findings);
        assert_eq!(lowered.findings().len(), 1);
    }

    #[test]
    fn a_new_long_function_is_found() {
        let sizes = Sizes {
            functions: one("a.rs::b", 71),
            ..Sizes::default()
        };
        let mut findings = Vec::new();
        Settings::default().judge(&sizes, &BTreeMap::new(), &mut findings);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn the_file_reads_back_as_it_is_written() {
        let settings = Settings {
            tables: BTreeMap::from([("a.rs".to_owned(), "a table".to_owned())]),
            packages: one("daemon", 40),
            file_lines: one("b.rs", 700),
            function_lines: one("b.rs::c", 80),
        };
        assert_eq!(Settings::parse(&settings.text()), Ok(settings));
        assert!(Settings::parse("[tables]\n\"a.rs\" = \"\"\n").is_err());
        assert!(Settings::parse("[other]\na = 1\n").is_err());
    }
}
