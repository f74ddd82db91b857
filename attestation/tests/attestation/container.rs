//! The container: its bounds and its form.
//!
//! What lives here: what is read, and what is refused before any hardware is asked about.
//! What must never live here: verdicts on hardware.
//! Who calls it: the runner of the tests.

use serde_json::{Value, json};
use strongroom_attestation::{EVIDENCE_BYTES_MAX, Evidence, Kind, Pcr, PcrBank, Proof, Refusal};

fn parse(value: &Value) -> Result<Evidence, Refusal> {
    Evidence::parse(value.to_string().as_bytes())
}

fn forms() -> Vec<Value> {
    vec![
        json!({"format": "sev-snp", "report": "AQI", "certificates": ["AQI", "Aw"], "runtime": "e30"}),
        json!({"format": "nitro", "document": "AQI", "runtime": "e30"}),
        json!({
            "format": "tpm", "attest": "AQI", "signature": "AQI", "runtime": "e30", "certificates": ["AQI"],
            "pcrs": {"sha256": {"7": "00".repeat(32)}, "sha384": {"23": "ff".repeat(48)}},
        }),
    ]
}

#[test]
fn every_form_is_read() {
    for (form, kind) in forms().iter().zip([Kind::SevSnp, Kind::Nitro, Kind::Tpm]) {
        let evidence = parse(form).unwrap();
        assert_eq!(evidence.kind(), kind);
        assert_eq!(evidence.runtime.as_deref(), Some(&b"{}"[..]));
        if let Proof::Tpm { pcrs, .. } = evidence.proof {
            let pcr = |bank, index, value: Vec<u8>| Pcr { bank, index, value };
            assert_eq!(
                pcrs,
                [
                    pcr(PcrBank::Sha256, 7, vec![0; 32]),
                    pcr(PcrBank::Sha384, 23, vec![0xff; 48]),
                ]
            );
        }
    }
    let snp = parse(&json!({"format": "sev-snp", "report": "AQI", "certificates": []})).unwrap();
    assert_eq!(snp.runtime, None);
    for kind in Kind::ALL {
        assert_eq!(Kind::named(kind.name()), Some(kind));
    }
    assert_eq!(Kind::named("SEV-SNP"), None);
}

#[test]
fn what_is_missing_strange_or_ill_written_is_refused() {
    for form in forms() {
        let members: Vec<String> = form.as_object().unwrap().keys().cloned().collect();
        for name in &members {
            let mut lacking = form.clone();
            lacking.as_object_mut().unwrap().remove(name);
            let optional = name == "runtime" || (name == "certificates" && form["format"] == "tpm");
            assert_eq!(parse(&lacking).is_ok(), optional, "{name} of {form}");
            for wrong in [json!(7), json!(null), json!("="), json!("A"), json!([7])] {
                let mut changed = form.clone();
                changed[name] = wrong;
                assert!(parse(&changed).is_err(), "{changed}");
            }
        }
        let mut more = form.clone();
        more["own"] = json!(1);
        assert!(parse(&more).is_err());
    }
    for pcrs in [
        json!({"sha1": {}}),
        json!({"sha256": {"07": "00".repeat(32)}}),
        json!({"sha256": {"+7": "00".repeat(32)}}),
        json!({"sha256": {"256": "00".repeat(32)}}),
        json!({"sha256": {"7": "00".repeat(31)}}),
        json!({"sha384": {"7": "00".repeat(32)}}),
        json!({"sha256": {"7": 0}}),
    ] {
        let mut form = forms()[2].clone();
        form["pcrs"] = pcrs;
        assert!(parse(&form).is_err(), "{form}");
    }
}

#[test]
fn a_container_is_bounded() {
    let of = |length: usize| {
        let form = json!({"format": "nitro", "document": "A".repeat(length)}).to_string();
        (form.len(), Evidence::parse(form.as_bytes()))
    };
    let frame = of(0).0;
    let fits = (EVIDENCE_BYTES_MAX - frame) / 4 * 4;
    assert!(of(fits).1.is_ok());
    assert!(matches!(of(fits + 4).1, Err(Refusal::TooLarge { .. })));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        Evidence::parse(deep.as_bytes()),
        Err(Refusal::TooLarge { .. })
    ));
    let many = json!({"format": "sev-snp", "report": "", "certificates": vec!["AQI"; 13]});
    assert!(matches!(parse(&many), Err(Refusal::TooLarge { .. })));
    let form = forms()[2].to_string();
    for end in 0..form.len() {
        assert!(Evidence::parse(&form.as_bytes()[..end]).is_err());
    }
}

#[test]
fn what_stands_twice_is_refused_wherever_it_is() {
    let twice = |text: &str| match Evidence::parse(text.as_bytes()) {
        Err(Refusal::Malformed { why, .. }) => why == "an object has a member twice",
        _ => false,
    };
    for form in forms() {
        for name in form.as_object().unwrap().keys() {
            let mut text = form.to_string();
            text.insert_str(1, &format!(r#""{name}":{},"#, form[name]));
            assert!(twice(&text), "{text}");
        }
    }
    let register = "00".repeat(32);
    let form = forms()[2].to_string();
    for (place, member) in [
        (r#""sha256":{"#, format!(r#""7":"{register}","#)),
        (r#""sha256":{"#, format!(r#""\u0037":"{register}","#)),
        (r#""pcrs":{"#, r#""sha256":{},"#.to_owned()),
    ] {
        let at = form.find(place).unwrap() + place.len();
        let mut text = form.clone();
        text.insert_str(at, &member);
        assert!(twice(&text), "{text}");
    }
}

#[test]
fn refusals_quote_nothing_of_the_evidence() {
    let secret = "c2VjcmV0";
    for form in [
        json!({"format": secret}),
        json!({"format": "nitro", "document": "AQI", secret: 1}),
        json!({"format": "tpm", "attest": "AQI", "signature": "AQI", "pcrs": {secret: {}}}),
    ] {
        let refusal = parse(&form).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains(secret));
    }
}
