//! *What lives here:* the tests of the daemon's own word. *What must never live here:* a session. *Who calls it:* the test runner.

use super::*;
use crate::ports::Program;
use crate::service::rig::{NOW, principal, start};

const PATIENCE: Patience = Patience { seconds_max: 3600 };

fn container(more: &[(&str, Value)]) -> Vec<u8> {
    let mut all = json!({"format": "local", "runtime": encoded(b"{\"keys\":[]}")});
    for (name, value) in more {
        all[*name] = value.clone();
    }
    all.to_string().into_bytes()
}

#[test]
fn what_is_presented_to_be_measured_has_a_format_and_a_runtime() {
    assert_eq!(
        runtime_in(&container(&[])).unwrap(),
        Some(json!({"keys": []}))
    );
    let spaced = [b"\n ", container(&[]).as_slice()].concat();
    assert!(runtime_in(&spaced).unwrap().is_some());
    for other in [
        b"a.b.c".to_vec(),
        b"".to_vec(),
        b"{".to_vec(),
        b"[\"local\"]".to_vec(),
        br#"{"format":"local","runtime":"e30","runtime":"e30"}"#.to_vec(),
        container(&[("format", json!("tpm"))]),
        container(&[("format", json!(null))]),
        container(&[("padding", json!("x".repeat(STATEMENT_BYTES_MAX)))]),
    ] {
        assert_eq!(runtime_in(&other), Ok(None));
    }
    for bad in [
        container(&[("more", json!(1))]),
        container(&[("runtime", json!(null))]),
        container(&[("runtime", json!("e30="))]),
        container(&[("runtime", json!(encoded(b"[]")))]),
        container(&[("runtime", json!(encoded(b"{")))]),
        container(&[("runtime", json!(encoded(br#"{"keys":[],"keys":[]}"#)))]),
    ] {
        let refusal = runtime_in(&bad).unwrap_err();
        assert_eq!(refusal.why, Why::Malformed, "{refusal}");
    }
}

#[test]
fn what_was_measured_becomes_claims_and_nothing_else_does() {
    start();
    let runtime = json!({"keys": [], "local-uid": 0, "iss": "https://other.example"});
    let measured = Measurement {
        program: Some(Program {
            path: "/usr/bin/guest".into(),
            sha256: [0xab; 32],
        }),
        unit: Some("guest.service".into()),
    };
    let who = principal(5);
    let told = statement(runtime.clone(), &who, &measured, PATIENCE, NOW).unwrap();
    assert_eq!(
        told.claims,
        json!({
            "iss": "local:",
            "x-ms-attestation-type": "local",
            "x-ms-runtime": runtime,
            "local-executable": "/usr/bin/guest",
            "local-executable-sha256": "ab".repeat(32),
            "local-uid": 1000,
            "local-gid": 1000,
            "local-unit": "guest.service",
        })
    );
    assert_eq!(told.authority, Authority::local());
    assert_eq!(told.expires, Time(NOW.0 + 300_000));
    let nothing = Measurement::default();
    let again = statement(json!({}), &who, &nothing, Patience { seconds_max: 7 }, NOW).unwrap();
    let names: Vec<_> = again.claims.as_object().unwrap().keys().collect();
    assert!(
        !names
            .iter()
            .any(|name| name.starts_with("local-executable"))
    );
    assert!(!names.iter().any(|name| *name == "local-unit"));
    assert_eq!(again.expires, Time(NOW.0 + 7_000));
    assert_ne!(again.id, told.id, "each look is a statement of its own");
}

#[test]
fn nobody_else_is_called_as_the_daemon_is() {
    for name in ["local:", "LOCAL:", "local:/"] {
        let refusal = Authority::with_keys(name, &super::super::rig::key_set()).unwrap_err();
        assert!(refusal.contains("release.local"), "{refusal}");
    }
}
