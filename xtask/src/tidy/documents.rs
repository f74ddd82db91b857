//! Documents that must be there.
//!
//! What lives here: the list, and the check that SUPPORT.md says what the tables say.
//! What must never live here: rules about code.
//! Who calls it: `tidy`.

use std::path::Path;

use super::Finding;
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
}
