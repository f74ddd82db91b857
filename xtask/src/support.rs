//! SUPPORT.md: what the module does, made from the tables that it does it by.
//!
//! What lives here: turning rows of functions, mechanisms and attributes into text.
//! What must never live here: a statement of its own; what tables cannot say stands in `SUPPORT.template.md`.
//! Who calls it: `cargo xtask support`, and `tidy` to see whether the file is in step.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::path::Path;

use strongroom::attribute::table::{self as attribute, Preset, Shape};
use strongroom::mechanism;
use strongroom_pkcs11::abi::functions::{FUNCTIONS, Status};
use strongroom_wire::ck::flag;

const TEMPLATE: &str = include_str!("../SUPPORT.template.md");
const FILE: &str = "SUPPORT.md";

/// The text of SUPPORT.md.
#[must_use]
pub(crate) fn text() -> String {
    TEMPLATE
        .replace("{{functions}}", functions().trim_end())
        .replace("{{mechanisms}}", mechanisms().trim_end())
        .replace("{{attributes}}", attributes().trim_end())
}

/// Writes SUPPORT.md.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    std::fs::write(root.join(FILE), text()).map_err(|error| format!("{FILE}: {error}"))
}

/// Says so when SUPPORT.md lags behind.
#[must_use]
pub(crate) fn difference(root: &Path) -> Option<String> {
    let written = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    (written != text()).then(|| "is not what the tables say; run: cargo xtask support".to_owned())
}

fn functions() -> String {
    let mut out = String::new();
    let mut versions: Vec<&str> = Vec::new();
    for function in FUNCTIONS {
        if !versions.contains(&function.since) {
            versions.push(function.since);
        }
    }
    for since in versions {
        let of = |status| {
            let names = FUNCTIONS
                .iter()
                .filter(|one| one.since == since && one.status == status);
            names
                .map(|one| format!("`{}`", one.name))
                .collect::<Vec<_>>()
        };
        let (served, pending) = (of(Status::Served), of(Status::Pending));
        let _ = writeln!(out, "### Since {since}\n");
        let _ = writeln!(out, "Served ({}): {}.\n", served.len(), listed(&served));
        let _ = writeln!(out, "Pending ({}): {}.\n", pending.len(), listed(&pending));
    }
    out
}

fn mechanisms() -> String {
    let mut out =
        String::from("| mechanism | key types | key sizes | functions |\n|---|---|---|---|\n");
    for row in mechanism::rows() {
        let types: Vec<String> = row.key_types.iter().map(|one| format!("`{one}`")).collect();
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            row.kind,
            listed(&types),
            sizes(row.sizes),
            listed(&uses(row.flags()))
        );
    }
    out
}

fn sizes((least, most): (u64, u64)) -> String {
    match (least, most) {
        (0, 0) => "none".to_owned(),
        _ if least == most => least.to_string(),
        _ => format!("{least} to {most}"),
    }
}

fn uses(flags: u64) -> Vec<String> {
    const USES: &[(u64, &str)] = &[
        (flag::ENCRYPT, "encrypt"),
        (flag::DECRYPT, "decrypt"),
        (flag::DIGEST, "digest"),
        (flag::SIGN, "sign"),
        (flag::SIGN_RECOVER, "sign-recover"),
        (flag::VERIFY, "verify"),
        (flag::VERIFY_RECOVER, "verify-recover"),
        (flag::GENERATE, "generate"),
        (flag::GENERATE_KEY_PAIR, "generate pair"),
        (flag::WRAP, "wrap"),
        (flag::UNWRAP, "unwrap"),
        (flag::DERIVE, "derive"),
    ];
    USES.iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

fn attributes() -> String {
    let mut out =
        String::from("| attribute | objects | when nobody says | rules |\n|---|---|---|---|\n");
    let mut told = BTreeSet::new();
    for row in attribute::TABLE {
        if !told.insert(row.kind) {
            continue;
        }
        for row in attribute::TABLE.iter().filter(|one| one.kind == row.kind) {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                row.kind,
                listed(&shapes(row.shapes)),
                preset(row.preset),
                listed(&rules(row.rules))
            );
        }
    }
    out
}

fn shapes(bits: u32) -> Vec<String> {
    const SHAPES: &[(Shape, &str)] = &[
        (Shape::Data, "data"),
        (Shape::X509Certificate, "X.509 certificate"),
        (Shape::AttributeCertificate, "attribute certificate"),
        (Shape::WtlsCertificate, "WTLS certificate"),
        (Shape::RsaPublic, "RSA public"),
        (Shape::CurvePublic, "EC public"),
        (Shape::DsaPublic, "DSA public"),
        (Shape::DhPublic, "DH public"),
        (Shape::RsaPrivate, "RSA private"),
        (Shape::EcPrivate, "EC private"),
        (Shape::EdwardsPrivate, "Edwards private"),
        (Shape::MontgomeryPrivate, "Montgomery private"),
        (Shape::DsaPrivate, "DSA private"),
        (Shape::DhPrivate, "DH private"),
        (Shape::Secret, "secret key"),
        (Shape::DesSecret, "DES key"),
        (Shape::DsaParameters, "DSA parameters"),
        (Shape::DhParameters, "DH parameters"),
    ];
    const CERTIFICATE: &[Shape] = &[
        Shape::X509Certificate,
        Shape::AttributeCertificate,
        Shape::WtlsCertificate,
    ];
    const PUBLIC: &[Shape] = &[
        Shape::RsaPublic,
        Shape::CurvePublic,
        Shape::DsaPublic,
        Shape::DhPublic,
    ];
    const SECRET: &[Shape] = &[Shape::Secret, Shape::DesSecret];
    const PRIVATE: &[Shape] = &[
        Shape::RsaPrivate,
        Shape::EcPrivate,
        Shape::EdwardsPrivate,
        Shape::MontgomeryPrivate,
        Shape::DsaPrivate,
        Shape::DhPrivate,
    ];
    const GROUPS: &[(&[Shape], &str)] = &[
        (CERTIFICATE, "certificates"),
        (PUBLIC, "public keys"),
        (PRIVATE, "private keys"),
        (SECRET, "secret keys"),
    ];
    if SHAPES.iter().all(|(shape, _)| bits & shape.bit() != 0) {
        return vec!["all".to_owned()];
    }
    let mut left = bits;
    let mut names = Vec::new();
    for (group, name) in GROUPS {
        let all = group.iter().fold(0, |all, shape| all | shape.bit());
        if left & all == all {
            names.push((*name).to_owned());
            left &= !all;
        }
    }
    names.extend(
        SHAPES
            .iter()
            .filter(|(shape, _)| left & shape.bit() != 0)
            .map(|(_, name)| (*name).to_owned()),
    );
    names
}

fn preset(preset: Preset) -> String {
    match preset {
        Preset::Absent => "not there, or computed".to_owned(),
        Preset::False => "`CK_FALSE`".to_owned(),
        Preset::True => "`CK_TRUE`".to_owned(),
        Preset::Empty => "empty".to_owned(),
        Preset::Number(number) => number.to_string(),
    }
}

fn rules(bits: u32) -> Vec<String> {
    const RULES: &[(u32, &str)] = &[
        (attribute::CREATE_NEEDS, "needed by create"),
        (attribute::CREATE_REFUSES, "refused by create"),
        (attribute::GENERATE_NEEDS, "needed by generate"),
        (attribute::GENERATE_REFUSES, "refused by generate"),
        (attribute::UNWRAP_REFUSES, "refused by unwrap"),
        (
            attribute::GUARDED,
            "secret: shown only when not sensitive and extractable",
        ),
        (attribute::CHANGEABLE, "changeable"),
        (attribute::COPY_CHANGES, "changeable in a copy"),
        (
            attribute::OFFICER_SETS,
            "set to true by the security officer only",
        ),
        (attribute::STAYS_TRUE, "once true, for ever"),
        (attribute::STAYS_FALSE, "once false, for ever"),
        (attribute::COMPUTED, "computed"),
    ];
    RULES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

fn listed<T: Display>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_every_table_is_told() {
        let text = text();
        for function in FUNCTIONS {
            assert!(
                text.contains(&format!("`{}`", function.name)),
                "{}",
                function.name
            );
        }
        for row in mechanism::rows() {
            assert!(
                text.contains(&format!("| `{}` |", row.kind)),
                "{}",
                row.kind
            );
        }
        for row in attribute::TABLE {
            assert!(
                text.contains(&format!("| `{}` |", row.kind)),
                "{}",
                row.kind
            );
        }
        assert!(!text.contains("{{"), "a placeholder is left");
    }

    #[test]
    fn a_file_that_lags_behind_is_found() {
        assert!(difference(Path::new("/nonexistent")).is_some());
    }

    #[test]
    fn groups_of_objects_have_one_name() {
        let public = [
            Shape::RsaPublic,
            Shape::CurvePublic,
            Shape::DsaPublic,
            Shape::DhPublic,
        ];
        let public = public.iter().fold(0, |all, shape| all | shape.bit());
        let all = public | Shape::Secret.bit();
        assert_eq!(shapes(all), ["public keys", "secret key"]);
    }
}
