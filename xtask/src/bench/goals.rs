//! How many times ours should do what SoftHSM does in the same time.
//!
//! What lives here: the goals by case, and how patterns of cases are matched.
//! What must never live here: what was measured, or why a goal is not reached.
//! Who calls it: `report` and `reasons`.

/// Cases by pattern; the first that fits counts. Cases without a row have no goal, and neither have crowds.
const GOALS: &[(&str, f64)] = &[
    ("rsa*-verify-*", 1.4),
    ("rsa2048-*", 2.7),
    ("rsa3072-*", 3.0),
    ("rsa4096-*", 4.0),
    ("ecdsa-p256-sign", 3.0),
    ("ecdsa-p256-verify", 1.5),
    ("ecdsa-p384-sign", 9.0),
    ("ecdsa-p384-verify", 3.0),
    ("ecdsa-p521-sign", 2.8),
    ("ecdsa-p521-verify", 2.5),
    ("ed25519-sign", 12.0),
    ("ed25519-verify", 4.0),
    ("ecdh-p256-derive", 2.5),
    ("ecdh-p384-derive", 6.0),
    ("aes-kw-wrap", 10.0),
    ("aes-kw-unwrap", 8.0),
    ("hmac-sha256-64", 8.0),
    ("hmac-sha256-4k", 3.0),
    ("aes-*-16", 8.0),
    ("aes-*-256", 8.0),
    ("aes-*-4k", 5.0),
    ("aes-cbc*-encrypt-64k", 2.0),
    ("aes-ctr-encrypt-64k", 2.6),
    ("aes-gcm-encrypt-64k", 4.0),
    ("aes-cbc*-encrypt-1m", 3.0),
    ("aes-ctr-encrypt-1m", 6.0),
    ("aes-gcm-encrypt-1m", 10.0),
    ("aes-cbc*-encrypt-16m", 4.0),
    ("aes-ctr-encrypt-16m", 7.0),
    ("aes-gcm-encrypt-16m", 10.0),
    ("aes-*-decrypt-64k", 6.0),
    ("aes-*-decrypt-1m", 10.0),
    ("aes-*-decrypt-16m", 10.0),
    ("sha256-64", 2.0),
    ("sha256-4k", 1.3),
    ("sha256-1m", 1.2),
    ("random-32", 8.0),
    ("random-4k", 1.0),
    ("generate-aes256", 11.0),
    ("generate-p256", 4.0),
    ("generate-p384", 10.0),
    ("session-open-close", 1.4),
    ("attributes-*", 40.0),
    ("object-create-destroy", 2.3),
    ("attribute-set", 1.0),
    ("login-logout", 16.0),
    ("coldstart-*", 2.0),
];

/// The goal of a case; a crowd's name, with its slash, has none.
pub(super) fn goal(name: &str) -> Option<f64> {
    if name.contains('/') {
        return None;
    }
    let fitting = GOALS.iter().find(|(pattern, _)| fits(pattern, name));
    fitting.map(|(_, ratio)| *ratio)
}

/// Whether a name has this pattern, in which a star stands for any letters.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((beginning, rest)) => name.strip_prefix(beginning).is_some_and(|left| {
            (0..=left.len()).any(|at| left.get(at..).is_some_and(|left| fits(rest, left)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        assert!(fits("rsa*-verify-*", "rsa2048-verify-pkcs"));
        assert!(fits("aes-*", "aes-"));
        assert!(!fits("aes-*-16", "aes-gcm-encrypt-16m"));
        assert!(!fits("aes", "aes-"));
        assert!(!fits("a*b", "xab"));
    }

    #[test]
    fn the_first_row_that_fits_is_the_goal() {
        for (name, ratio) in [
            ("rsa2048-verify-pkcs", Some(1.4)),
            ("rsa2048-decrypt-oaep", Some(2.7)),
            ("aes-cbcpad-encrypt-64k", Some(2.0)),
            ("aes-cbcpad-decrypt-64k", Some(6.0)),
            ("aes-ecb-encrypt-64k", None),
            ("aes-gcm-encrypt-256-session", None),
            ("find-10", None),
            ("ecdsa-p256-sign/2-threads", None),
            ("attributes-public-4", Some(40.0)),
        ] {
            assert_eq!(goal(name), ratio, "{name}");
        }
    }
}
