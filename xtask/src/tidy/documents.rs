//! Documents that must be there.
//!
//! What lives here: the list, the check that SUPPORT.md and docs/divergences.md say what they are made from, and that a test named in a document exists.
//! What must never live here: rules about code.
//! Who calls it: `tidy`.

use std::path::Path;

use super::Finding;
use crate::divergences;
use crate::source::Source;
use crate::support;

const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "THREAT_MODEL.md",
    "SPECIFICATION.md",
    "SUPPORT.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "wire/PROTOCOL.md",
];

/// Documents that are missing, or that lag behind the code.
pub(super) fn missing(root: &Path) -> Vec<Finding> {
    let absent = DOCUMENTS
        .iter()
        .filter(|name| std::fs::metadata(root.join(name)).map_or(true, |state| state.len() == 0));
    let mut findings: Vec<Finding> = absent
        .map(|name| Finding::in_file(name, "is missing or empty"))
        .collect();
    findings.extend(support::difference(root).map(|what| Finding::in_file("SUPPORT.md", what)));
    let lag = divergences::difference(root);
    findings.extend(lag.map(|what| Finding::in_file("docs/divergences.md", what)));
    findings
}

/// Tests that documents name as `file.rs::test` and that are not there.
pub(super) fn absent_tests(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "THREAT_MODEL.md",
        "SPECIFICATION.md",
        "docs/prior-art-bugs.md",
    ] {
        let text = std::fs::read_to_string(root.join(name)).unwrap_or_default();
        findings.extend(absent_tests_in(name, &text, sources));
    }
    findings
}

fn absent_tests_in(document: &str, text: &str, sources: &[Source]) -> Vec<Finding> {
    let exists = |path: &str, test: &str| {
        let function = format!("fn {test}(");
        // A test that a macro makes stands in its file by name only.
        let row = format!("{test}:");
        let said = |file: &&Source| file.code.contains(&function) || file.code.contains(&row);
        sources
            .iter()
            .find(|file| file.path == path)
            .filter(said)
            .is_some()
    };
    let mut findings = Vec::new();
    for (line, words) in text.lines().enumerate() {
        for quoted in words.split('`').skip(1).step_by(2) {
            let Some((path, test)) = quoted.split_once(".rs::") else {
                continue;
            };
            if !exists(&format!("{path}.rs"), test) {
                findings.push(Finding::at_line(
                    document,
                    line,
                    format!("there is no test {quoted}"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_lacks_every_document() {
        let nowhere = Path::new("/nonexistent");
        assert!(missing(nowhere).len() > DOCUMENTS.len() - 1);
    }

    #[test]
    fn a_document_names_tests_that_exist() {
        let sources = [Source::parse("src/a.rs", "#[test]\nfn it_holds() {}\n")];
        let text =
            "It holds (`src/a.rs::it_holds`).\nSo does `src/a.rs::that` and `src/b.rs::it_holds`.";
        let findings = absent_tests_in("X.md", text, &sources);
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[0].place, "X.md:2");
    }
}
