//! Intel: real quotes of an enclave and of a machine, with the collateral of their time.
//!
//! What lives here: what holds, and what is refused.
//! What must never live here: how bytes are altered.
//! Who calls it: the runner of the tests.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use strongroom_attestation::{Collateral, Evidence, Kind, Proof, Refusal, Roots, Verified, verify};

use crate::altered;
use crate::forge::Party;

const ROOT: &[u8] = include_bytes!("../data/dcap/intel-root.der");
const SGX: &[u8] = include_bytes!("../data/dcap/sgx_quote");
const SGX_COLLATERAL: &[u8] = include_bytes!("../data/dcap/sgx_quote_collateral.json");
const TDX: &[u8] = include_bytes!("../data/dcap/tdx_quote");
const TDX_COLLATERAL: &[u8] = include_bytes!("../data/dcap/tdx_quote_collateral.json");
/// 2025-06-20, a day of the collateral.
const THEN: u64 = 1_750_420_800;

/// Through the container, as it travels.
fn evidence(kind: Kind, quote: &[u8], collateral: &Value) -> Result<Evidence, Refusal> {
    let container = json!({
        "format": kind.name(),
        "quote": Base64UrlUnpadded::encode_string(quote),
        "collateral": collateral,
    });
    Evidence::parse(container.to_string().as_bytes())
}

struct Case {
    kind: Kind,
    quote: &'static [u8],
    collateral: Value,
}

fn cases() -> [Case; 2] {
    let case = |kind, quote, collateral| Case {
        kind,
        quote,
        collateral: serde_json::from_slice(collateral).unwrap(),
    };
    [
        case(Kind::Sgx, SGX, SGX_COLLATERAL),
        case(Kind::Tdx, TDX, TDX_COLLATERAL),
    ]
}

impl Case {
    fn judged(&self, now: u64) -> Result<Verified, Refusal> {
        let evidence = evidence(self.kind, self.quote, &self.collateral)?;
        verify(&evidence, &Roots::parse(self.kind, ROOT)?, now)
    }

    /// A trial of altered quotes.
    fn trial(&self) -> impl Fn(&[u8]) -> Result<Verified, Refusal> + Sync {
        let roots = Roots::parse(self.kind, ROOT).unwrap();
        let whole = evidence(self.kind, self.quote, &self.collateral).unwrap();
        move |quote| {
            let mut evidence = whole.clone();
            match &mut evidence.proof {
                Proof::Sgx { quote: one, .. } | Proof::Tdx { quote: one, .. } => {
                    *one = quote.to_vec();
                }
                Proof::SevSnp { .. } | Proof::Nitro { .. } | Proof::Tpm { .. } => unreachable!(),
            }
            verify(&evidence, &roots, THEN)
        }
    }
}

#[test]
fn real_quotes_become_claims() {
    let [sgx, tdx] = cases();
    let claims = sgx.judged(THEN).unwrap().claims;
    assert_eq!(claims["x-ms-attestation-type"], "sgx");
    assert_eq!(claims["x-ms-sgx-mrenclave"].as_str().unwrap().len(), 64);
    assert!(claims["x-ms-sgx-is-debuggable"].is_boolean());
    assert!(claims["x-ms-sgx-collateral"]["quotehash"].is_string());
    let claims = tdx.judged(THEN).unwrap().claims;
    assert_eq!(claims["x-ms-attestation-type"], "tdxvm");
    assert_eq!(claims["attester_tcb_status"], "UpToDate");
    assert_eq!(claims["attester_fmspc"], "b0c06f000000");
    assert_eq!(
        claims["tdx_tee_tcb_svn"],
        "06010300000000000000000000000000"
    );
    assert_eq!(claims["tdx_seamsvn"], 6);
    assert_eq!(claims["dbgstat"], "disabled");
    assert_eq!(claims["tdx_td_attributes_debug"], false);
    assert_eq!(claims["tdx_td_attributes_septve_disable"], true);
    assert_eq!(claims.get("x-ms-runtime"), None);
}

#[test]
fn a_platform_older_than_every_level_is_refused() {
    let case = Case {
        kind: Kind::Tdx,
        quote: include_bytes!("../data/dcap/tdx_quote_outdated"),
        collateral: serde_json::from_slice(include_bytes!(
            "../data/dcap/tdx_quote_outdated_collateral.json"
        ))
        .unwrap(),
    };
    // 2026-02-20, a day of this collateral. The quote is of version 5 and rightly signed; no level is as old as a part of the firmware.
    let refusal = case.judged(1_771_588_800).unwrap_err();
    let Refusal::Unsupported { what, why } = &refusal else {
        panic!("{refusal}");
    };
    assert_eq!(*what, "TCB info");
    assert!(why.contains("no level"));
    let trial = |quote: &[u8]| {
        let evidence = evidence(Kind::Tdx, quote, &case.collateral)?;
        verify(&evidence, &Roots::parse(Kind::Tdx, ROOT)?, 1_771_588_800)
    };
    for at in 0..500 {
        let mut altered = case.quote.to_vec();
        altered[at] ^= 1 << (at % 8);
        assert_ne!(trial(&altered), Err(refusal.clone()), "byte {at}");
    }
}

#[test]
fn collateral_is_of_its_time() {
    for case in cases() {
        for now in [0, THEN - 3_000_000, THEN + 3_000_000, u64::MAX] {
            let refusal = case.judged(now).unwrap_err();
            assert!(matches!(refusal, Refusal::Time { .. }), "{now}: {refusal}");
        }
    }
}

#[test]
fn every_bit_that_is_measured_or_signed_is_vouched_for() {
    for case in cases() {
        let trial = case.trial();
        // The body, the signatures and the report of the quoting enclave; the chain in PEM is behind.
        let pem = case
            .quote
            .windows(10)
            .position(|window| window == b"-----BEGIN")
            .unwrap();
        let (front, chain) = case.quote.split_at(pem);
        let accepted = altered::accepted_flips(front, &|front| trial(&[front, chain].concat()));
        assert!(
            accepted.is_empty(),
            "{:?}",
            accepted.iter().map(|(bit, _)| *bit).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_chain_of_a_quote_may_change_in_its_last_certificate_alone() {
    for case in cases() {
        let trial = case.trial();
        let whole = trial(case.quote).unwrap();
        let mut at_last = 0;
        for (at, window) in case.quote.windows(10).enumerate() {
            if window == b"-----BEGIN" {
                at_last = at;
            }
        }
        let bits = 8 * case.quote.len();
        let flipped = (0..bits).filter(|bit| altered::thorough() || bit % 8 == (bit / 8) % 8);
        for (at, bit) in flipped.map(|bit| (bit / 8, bit % 8)) {
            let mut altered = case.quote.to_vec();
            altered[at] ^= 1 << bit;
            if let Ok(verified) = trial(&altered) {
                // The root in the quote is not used, the pinned one is; between blocks PEM has words and ends of lines.
                let text = case.quote[at].is_ascii_whitespace() || case.quote[at] == 0;
                assert!(at >= at_last || text, "byte {at}");
                // SHA-256 of the quote is a claim of SGX, and the one that may change.
                let mut claims = verified.claims;
                if case.kind == Kind::Sgx {
                    claims["x-ms-sgx-collateral"]["quotehash"] =
                        whole.claims["x-ms-sgx-collateral"]["quotehash"].clone();
                }
                assert_eq!(claims, whole.claims, "byte {at}");
            }
        }
    }
}

#[test]
fn pieces_and_rubbish_are_refused() {
    for case in cases() {
        let trial = case.trial();
        let signed = case.quote.len() - 1500;
        for end in (0..signed).step_by(3) {
            assert!(
                trial(&case.quote[..end]).is_err(),
                "accepted at {end} bytes"
            );
        }
        altered::rubbish_is_refused(&case.quote[..600], &trial);
        assert!(trial(&[case.quote, &[1]].concat()).is_err());
    }
}

#[test]
fn the_collateral_is_vouched_for() {
    for case in cases() {
        let whole = case.judged(THEN).unwrap();
        for name in [
            "tcb_info",
            "tcb_info_signature",
            "qe_identity",
            "qe_identity_signature",
            "root_ca_crl",
            "pck_crl",
        ] {
            let text = case.collateral[name].as_str().unwrap();
            // Another digit or letter, so that a text stays one.
            let step = if altered::thorough() { 1 } else { 7 };
            for at in (0..text.len()).step_by(step) {
                let mut altered = text.as_bytes().to_vec();
                altered[at] = if altered[at] == b'7' { b'8' } else { b'7' };
                let mut changed = Case {
                    collateral: case.collateral.clone(),
                    ..case
                };
                changed.collateral[name] = String::from_utf8(altered).unwrap().into();
                assert!(changed.judged(THEN).is_err(), "{name} at {at}");
            }
        }
        assert_eq!(case.judged(THEN), Ok(whole));
    }
}

#[test]
fn collateral_of_others_is_refused() {
    let [sgx, tdx] = cases();
    for (case, other) in [(&sgx, &tdx), (&tdx, &sgx)] {
        for names in [
            &["tcb_info", "tcb_info_signature", "tcb_info_issuer_chain"][..],
            &[
                "qe_identity",
                "qe_identity_signature",
                "qe_identity_issuer_chain",
            ],
            &["pck_crl"],
        ] {
            let mut changed = Case {
                collateral: case.collateral.clone(),
                ..*case
            };
            for name in names {
                changed.collateral[*name] = other.collateral[*name].clone();
            }
            if changed.collateral == case.collateral {
                continue;
            }
            // The CRL is one of the authority, which both platforms may share.
            let judged = changed.judged(THEN);
            assert!(judged.is_err() || names == ["pck_crl"], "{names:?}");
        }
        let wrong = evidence(other.kind, case.quote, &case.collateral).unwrap();
        assert!(matches!(
            verify(&wrong, &Roots::parse(other.kind, ROOT).unwrap(), THEN),
            Err(Refusal::Mismatch { .. })
        ));
        let whole = evidence(case.kind, case.quote, &case.collateral).unwrap();
        let stranger = Roots::parse(case.kind, &Party::new("x", 44).root()).unwrap();
        assert!(matches!(
            verify(&whole, &stranger, THEN),
            Err(Refusal::Untrusted { .. })
        ));
        // These quotes were asked for with something else than the digest of a runtime.
        let bound = Evidence {
            runtime: Some(b"{}".to_vec()),
            ..whole
        };
        assert!(matches!(
            verify(&bound, &Roots::parse(case.kind, ROOT).unwrap(), THEN),
            Err(Refusal::Binding { .. })
        ));
    }
}

#[test]
fn collateral_is_read_strictly() {
    let [sgx, _] = cases();
    for (name, value) in [
        ("tcb_info", Value::Null),
        ("tcb_info_signature", "00".into()),
        ("root_ca_crl", "zz".into()),
        ("own", "x".into()),
    ] {
        let mut collateral = sgx.collateral.clone();
        collateral[name] = value;
        assert!(evidence(Kind::Sgx, SGX, &collateral).is_err(), "{name}");
    }
    let whole = evidence(Kind::Sgx, SGX, &sgx.collateral).unwrap();
    let Proof::Sgx { collateral, .. } = whole.proof else {
        panic!("another kind");
    };
    let Collateral { tcb_info, .. } = *collateral;
    assert_eq!(sgx.collateral["tcb_info"], tcb_info);
}
