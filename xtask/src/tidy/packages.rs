//! Packages: who may depend on whom, and how many there are.
//!
//! What lives here: the laws of the house about dependencies, read from the manifests, and the count of `cargo tree`.
//! What must never live here: rules about source code.
//! Who calls it: `tidy`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::Finding;

/// What a manifest says about dependencies of the product; those of tests are free.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    /// Its path.
    path: String,
    /// Names of packages.
    dependencies: BTreeSet<String>,
}

/// A package of ours and those of ours that it may depend on.
const LAWS: &[(&str, &[&str])] = &[
    ("wire/Cargo.toml", &[]),
    ("keymem/Cargo.toml", &[]),
    ("ring/Cargo.toml", &[]),
    // It parses what strangers say about themselves: no key, and nothing that leads to one, is near.
    ("attestation/Cargo.toml", &[]),
    ("crypto/Cargo.toml", &["strongroom-keymem"]),
    (
        "Cargo.toml",
        &[
            "strongroom-wire",
            "strongroom-keymem",
            "strongroom-crypto",
            "strongroom-attestation",
        ],
    ),
    (
        "pkcs11-module/Cargo.toml",
        &["strongroom-wire", "strongroom-ring", "strongroom-crypto"],
    ),
    ("cli/Cargo.toml", &["strongroom-wire", "strongroom-crypto"]),
    // An application of PKCS#11 like any other.
    ("tde/mariadb/Cargo.toml", &[]),
    (
        "daemon/Cargo.toml",
        &[
            "strongroom",
            "strongroom-wire",
            "strongroom-keymem",
            "strongroom-crypto",
            "strongroom-ring",
        ],
    ),
];

/// A package of others and a manifest that may name it; no other manifest may.
const DOORS: &[(&str, &str)] = &[
    ("aws-lc-sys", "crypto/Cargo.toml"),
    ("argon2", "crypto/Cargo.toml"),
    ("x509-cert", "attestation/Cargo.toml"),
    ("p256", "attestation/Cargo.toml"),
    ("p384", "attestation/Cargo.toml"),
    ("rsa", "attestation/Cargo.toml"),
    ("redb", "daemon/Cargo.toml"),
    ("cryptoki-sys", "pkcs11-module/Cargo.toml"),
    ("cryptoki-sys", "tde/mariadb/Cargo.toml"),
];

/// Packages that nothing of the product depends on, and why.
const BANNED: &[(&str, &str)] = &[
    ("tokio", "blocking threads serve here (docs/decisions)"),
    ("async-std", "blocking threads serve here (docs/decisions)"),
    ("bincode", "not maintained (RUSTSEC-2025-0141)"),
    ("openssl-sys", "one crypto library (docs/decisions)"),
    ("ring", "one crypto library (docs/decisions)"),
];

/// Reads the manifests of the product.
pub(super) fn manifests(root: &Path) -> Result<Vec<Manifest>, String> {
    let read = |(path, _): &(&str, _)| {
        let text =
            std::fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
        parse(path, &text)
    };
    LAWS.iter().map(read).collect()
}

fn parse(path: &str, text: &str) -> Result<Manifest, String> {
    let all: toml::Table = toml::from_str(text).map_err(|error| format!("{path}: {error}"))?;
    let names = |key: &str| {
        let section = all.get(key).and_then(toml::Value::as_table);
        section
            .map(|rows| rows.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let dependencies = names("dependencies")
        .into_iter()
        .chain(names("build-dependencies"))
        .collect();
    Ok(Manifest {
        path: path.to_owned(),
        dependencies,
    })
}

/// Dependencies against the laws.
pub(super) fn broken_laws(manifests: &[Manifest]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in manifests {
        let allowed = LAWS
            .iter()
            .find(|(path, _)| *path == manifest.path)
            .map_or(&[][..], |(_, names)| names);
        for name in &manifest.dependencies {
            let name = name.as_str();
            if name.starts_with("strongroom") && !allowed.contains(&name) {
                let what = format!("depends on {name}; of ours it may depend on {allowed:?} only");
                findings.push(Finding::in_file(&manifest.path, what));
            }
            let doors: Vec<&str> = DOORS
                .iter()
                .filter(|(one, _)| *one == name)
                .map(|(_, door)| *door)
                .collect();
            if !doors.is_empty() && !doors.contains(&manifest.path.as_str()) {
                let what = format!("depends on {name}; only {} may", doors.join(" and "));
                findings.push(Finding::in_file(&manifest.path, what));
            }
            if let Some((_, why)) = BANNED.iter().find(|(one, _)| *one == name) {
                findings.push(Finding::in_file(
                    &manifest.path,
                    format!("depends on {name}: {why}"),
                ));
            }
        }
    }
    findings
}

/// How many packages of others each of these is made of.
pub(super) fn counts<'n>(
    root: &Path,
    names: impl Iterator<Item = &'n String>,
) -> Result<BTreeMap<String, usize>, String> {
    let mut counts = BTreeMap::new();
    for name in names {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal,no-proc-macro",
                "--prefix",
                "none",
                "--no-dedupe",
                "--package",
                name,
            ])
            .current_dir(root)
            .output()
            .map_err(|error| format!("cargo tree: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "cargo tree: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        counts.insert(
            name.clone(),
            count(&String::from_utf8_lossy(&output.stdout)),
        );
    }
    Ok(counts)
}

fn count(tree: &str) -> usize {
    // A package is its name and version; what stands behind is where it came from.
    let package = |line: &str| {
        line.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    tree.lines()
        .map(package)
        .filter(|name| !name.is_empty() && !name.starts_with("strongroom"))
        .collect::<BTreeSet<_>>()
        .len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, dependency: &str) -> usize {
        let text = format!("[package]\nname = \"x\"\n[dependencies]\n{dependency} = \"1\"\n");
        broken_laws(&[parse(path, &text).expect("a manifest")]).len()
    }

    #[test]
    fn the_laws_of_the_house_hold() {
        assert_eq!(findings("wire/Cargo.toml", "strongroom-keymem"), 1);
        assert_eq!(findings("keymem/Cargo.toml", "strongroom-wire"), 1);
        assert_eq!(findings("attestation/Cargo.toml", "strongroom-crypto"), 1);
        assert_eq!(findings("attestation/Cargo.toml", "strongroom-keymem"), 1);
        assert_eq!(findings("Cargo.toml", "strongroom-attestation"), 0);
        assert_eq!(
            findings("pkcs11-module/Cargo.toml", "strongroom-attestation"),
            1
        );
        assert_eq!(findings("crypto/Cargo.toml", "strongroom-wire"), 1);
        assert_eq!(findings("crypto/Cargo.toml", "strongroom-keymem"), 0);
        assert_eq!(findings("pkcs11-module/Cargo.toml", "strongroom"), 1);
        assert_eq!(findings("pkcs11-module/Cargo.toml", "strongroom-wire"), 0);
        assert_eq!(findings("Cargo.toml", "strongroomd"), 1);
        assert_eq!(findings("tde/mariadb/Cargo.toml", "strongroom-wire"), 1);
    }

    #[test]
    fn a_library_has_one_door() {
        assert_eq!(findings("daemon/Cargo.toml", "aws-lc-sys"), 1);
        assert_eq!(findings("crypto/Cargo.toml", "aws-lc-sys"), 0);
        assert_eq!(findings("Cargo.toml", "redb"), 1);
        assert_eq!(findings("crypto/Cargo.toml", "rsa"), 1);
        assert_eq!(findings("attestation/Cargo.toml", "rsa"), 0);
        assert_eq!(findings("Cargo.toml", "cryptoki-sys"), 1);
        assert_eq!(findings("tde/mariadb/Cargo.toml", "cryptoki-sys"), 0);
    }

    #[test]
    fn banned_packages_are_found() {
        assert_eq!(findings("daemon/Cargo.toml", "tokio"), 1);
        assert_eq!(findings("wire/Cargo.toml", "bincode"), 1);
    }

    #[test]
    fn tests_may_depend_on_what_they_like() {
        let text = "[dev-dependencies]\ntokio = \"1\"\n";
        assert!(broken_laws(&[parse("wire/Cargo.toml", text).expect("a manifest")]).is_empty());
    }

    #[test]
    fn a_package_counts_once() {
        assert_eq!(
            count("strongroom v1.0.0 (/x)\na v1.0.0\nb v2.0.0\nb v2.0.0 (*)\nb v3.0.0\n\n"),
            3
        );
    }
}
