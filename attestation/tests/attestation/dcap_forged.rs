//! Intel: what no sample of real hardware shows, by an Intel of our own.
//!
//! What lives here: what holds, and what is refused.
//! What must never live here: how quotes are written.
//! Who calls it: the runner of the tests.

use serde_json::{Value, json};
use strongroom_attestation::{Kind, Proof, Refusal, Roots, Verified, verify};

use crate::altered;
use crate::forge::{NOW, Party, authority, extension};
use crate::forge_intel::{AUTHORITY, Making, PLATFORM, PUBLISHER, signs};

const RUNTIME: &[u8] =
    br#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}],"client-payload":{"nonce":"AA"}}"#;

/// Every form of quote there is.
fn forms() -> Vec<Making> {
    let later = Making {
        later_machine: true,
        ..Making::new(Kind::Tdx, 5)
    };
    let mut forms: Vec<_> = [
        (Kind::Sgx, 3),
        (Kind::Sgx, 4),
        (Kind::Sgx, 5),
        (Kind::Tdx, 4),
        (Kind::Tdx, 5),
    ]
    .map(|(kind, version)| Making::new(kind, version))
    .into();
    forms.push(later);
    forms
}

/// Something said otherwise.
type Change = fn(&mut Making);

fn with(mut making: Making, change: impl FnOnce(&mut Making)) -> Result<Verified, Refusal> {
    change(&mut making);
    making.judged()
}

#[test]
fn the_runtime_is_bound_in_every_form() {
    for form in forms() {
        let name = format!("{:?} {} {}", form.kind, form.version, form.later_machine);
        let bound = form.clone().bound(RUNTIME);
        let verified = bound.judged().unwrap_or_else(|why| panic!("{name}: {why}"));
        let runtime: Value = serde_json::from_slice(RUNTIME).unwrap();
        assert_eq!(verified.claims["x-ms-runtime"], runtime, "{name}");
        assert_eq!(verified.runtime, Some(runtime), "{name}");
        assert_eq!(verified.claims["attester_tcb_status"], "UpToDate", "{name}");
        let advisories = &verified.claims["attester_advisory_ids"];
        assert!(advisories.as_array().is_some_and(|all| !all.is_empty()));
        // Nothing was vouched for, another runtime, and something behind the digest.
        for refused in [
            with(form.clone(), |making| {
                making.runtime = Some(RUNTIME.to_vec());
            }),
            with(bound.clone(), |making| {
                making.runtime = Some(b"{}".to_vec())
            }),
            with(bound.clone(), |making| making.report_data[63] = 1),
        ] {
            assert!(matches!(refused, Err(Refusal::Binding { .. })), "{name}");
        }
    }
}

#[test]
fn quotes_without_version_or_kind_that_is_known_are_refused() {
    for (kind, version) in [
        (Kind::Sgx, 2),
        (Kind::Sgx, 6),
        (Kind::Tdx, 3),
        (Kind::Tdx, 6),
    ] {
        let refused = Making::new(kind, version).judged();
        assert!(
            matches!(refused, Err(Refusal::Unsupported { .. })),
            "{kind:?} {version}"
        );
    }
}

#[test]
fn debug_modes_and_services_are_claims() {
    let claims = |making: Making| making.judged().unwrap().claims;
    let sgx = Making::new(Kind::Sgx, 3);
    assert_eq!(claims(sgx.clone())["x-ms-sgx-is-debuggable"], false);
    let debug = with(sgx, |making| making.enclave_attributes = 7).unwrap();
    assert_eq!(debug.claims["x-ms-sgx-is-debuggable"], true);
    assert_eq!(debug.claims["x-ms-sgx-product-id"], 7);
    assert_eq!(debug.claims["x-ms-sgx-svn"], 3);
    let tdx = Making::new(Kind::Tdx, 4);
    assert_eq!(claims(tdx.clone())["dbgstat"], "disabled");
    assert_eq!(claims(tdx.clone()).get("tdx_mrservicetd"), None);
    // The whole first byte is of what makes a machine untrusted; its first bit is debugging proper.
    for bit in 0..8 {
        let debug = with(tdx.clone(), |making| making.td_attributes |= 1 << bit).unwrap();
        assert_eq!(debug.claims["dbgstat"], "enabled");
        assert_eq!(debug.claims["tdx_td_attributes_debug"], bit == 0);
    }
    for (bit, name) in [
        (28, "septve_disable"),
        (29, "migratable"),
        (30, "protection_keys"),
        (31, "key_locker"),
        (63, "perfmon"),
    ] {
        let one = with(tdx.clone(), |making| making.td_attributes = 1 << bit).unwrap();
        for other in [
            "septve_disable",
            "migratable",
            "protection_keys",
            "key_locker",
            "perfmon",
        ] {
            let claim = format!("tdx_td_attributes_{other}");
            assert_eq!(one.claims[&claim], name == other, "{claim} of {bit}");
        }
    }
    let later = forms().pop().unwrap();
    let later = with(later, |making| making.service = [0xab; 48]).unwrap();
    assert_eq!(later.claims["tdx_mrservicetd"], "ab".repeat(48));
    assert_eq!(later.claims["tdx_tee_tcb_svn2"], "08".repeat(16));
    assert_eq!(later.claims["tdx_mrtd"], "22".repeat(48));
}

#[test]
fn what_was_revoked_is_refused() {
    for form in [Making::new(Kind::Sgx, 3), Making::new(Kind::Tdx, 4)] {
        // Numbers of others on the lists are of no matter.
        let spared = with(form.clone(), |making| {
            making.root_revokes = vec![1, PLATFORM];
            making.authority_revokes = vec![AUTHORITY, PUBLISHER];
        });
        assert!(spared.is_ok());
        for (root, authority) in [
            (vec![], vec![7, PLATFORM]),
            (vec![AUTHORITY], vec![]),
            (vec![PUBLISHER], vec![]),
        ] {
            let revoked = with(form.clone(), |making| {
                making.root_revokes = root;
                making.authority_revokes = authority;
            });
            assert!(matches!(revoked, Err(Refusal::Revoked { .. })));
        }
        let old = with(form.clone(), |making| making.lists_until = "231114000000Z");
        assert!(matches!(old, Err(Refusal::Time { .. })));
        let stranger = with(form.clone(), |making| making.list_seed = 99);
        assert!(matches!(stranger, Err(Refusal::Signature { .. })));
    }
}

#[test]
fn levels_of_platform_enclave_and_module_make_the_status() {
    // Levels of the platform, of the quoting enclave, of the module: the status, and where the advisories are from.
    let sgx = |platform, quoting| (Kind::Sgx, platform, quoting, [6, 1]);
    let tdx = |platform, quoting, module| (Kind::Tdx, platform, quoting, module);
    for ((kind, levels, quoting_svn, module), status, advisories) in [
        (sgx((9, 9), 8), "UpToDate", vec!["PLATFORM-9-9", "PART-8"]),
        (sgx((100, 9), 9), "UpToDate", vec!["PLATFORM-9-9", "PART-8"]),
        (
            sgx((9, 8), 8),
            "SWHardeningNeeded",
            vec!["PLATFORM-9-7", "PART-8"],
        ),
        (
            sgx((8, 9), 8),
            "ConfigurationNeeded",
            vec!["PLATFORM-7-7", "PART-8"],
        ),
        (sgx((9, 5), 8), "OutOfDate", vec!["PLATFORM-5-5", "PART-8"]),
        (sgx((9, 9), 7), "OutOfDate", vec!["PLATFORM-9-9", "PART-6"]),
        (sgx((9, 7), 7), "OutOfDate", vec!["PLATFORM-9-7", "PART-6"]),
        (
            sgx((7, 7), 6),
            "OutOfDateConfigurationNeeded",
            vec!["PLATFORM-7-7", "PART-6"],
        ),
        (
            tdx((9, 9), 8, [6, 1]),
            "UpToDate",
            vec!["PLATFORM-9-9", "PART-6", "PART-8"],
        ),
        (
            tdx((9, 9), 8, [5, 1]),
            "OutOfDate",
            vec!["PLATFORM-9-9", "PART-4", "PART-8"],
        ),
        // A module of the first major version is judged among the platform's components.
        (tdx((9, 9), 8, [9, 0]), "OutOfDate", vec![]),
    ] {
        let mut making = Making::new(kind, if kind == Kind::Tdx { 4 } else { 3 });
        (making.levels, making.quoting_svn, making.module) = (levels, quoting_svn, module);
        if module[1] == 0 {
            // Its second component is zero, which only such a level reaches.
            let level = &mut making.tcb_info["tcbLevels"][3];
            level["tcb"]["tdxtcbcomponents"][1]["svn"] = 0.into();
            level["advisoryIDs"] = json!([]);
            making.identity["tcbLevels"][0]["advisoryIDs"] = json!([]);
        }
        let claims = making.judged().unwrap().claims;
        let case = format!("{kind:?} {levels:?} {quoting_svn} {module:?}");
        assert_eq!(claims["attester_tcb_status"], status, "{case}");
        assert_eq!(claims["attester_advisory_ids"], json!(advisories), "{case}");
        assert_eq!(claims["attester_tcb_date"], "2023-08-09T00:00:00Z");
    }
}

#[test]
fn revoked_levels_and_those_below_all_are_refused() {
    let revoked = |kind, change: Change| {
        let refused = with(Making::new(kind, 4), change);
        assert!(
            matches!(refused, Err(Refusal::Revoked { .. })),
            "{refused:?}"
        );
    };
    revoked(Kind::Sgx, |making| making.levels = (4, 9));
    revoked(Kind::Sgx, |making| making.levels = (9, 3));
    revoked(Kind::Sgx, |making| making.quoting_svn = 5);
    revoked(Kind::Tdx, |making| making.module = [3, 1]);
    let unknown = |kind, change: Change| {
        let refused = with(Making::new(kind, 4), change);
        assert!(
            matches!(refused, Err(Refusal::Unsupported { .. })),
            "{refused:?}"
        );
    };
    unknown(Kind::Sgx, |making| making.levels = (2, 9));
    unknown(Kind::Sgx, |making| making.levels = (9, 2));
    unknown(Kind::Sgx, |making| making.quoting_svn = 3);
    unknown(Kind::Tdx, |making| making.module = [1, 1]);
    unknown(Kind::Tdx, |making| making.module = [6, 2]);
    unknown(Kind::Tdx, |making| making.module = [9, 0]);
}

#[test]
fn collateral_must_be_for_this_platform_enclave_and_module() {
    let both: [(&str, Change); 12] = [
        ("platform", |m| m.tcb_info["fmspc"] = "B0C06F000001".into()),
        ("provisioning", |m| m.tcb_info["pceId"] = "0001".into()),
        ("version", |m| m.tcb_info["version"] = 2.into()),
        ("kind", |m| m.tcb_info["id"] = "TDX2".into()),
        ("identity's version", |m| m.identity["version"] = 1.into()),
        ("identity's kind", |m| m.identity["id"] = "QVE".into()),
        ("signer", |m| m.quoting_signer = 0x8d),
        ("product", |m| m.quoting_product = 2),
        ("debugging", |m| m.quoting_attributes = 0x13),
        ("production", |m| m.quoting_attributes = 0x10),
        ("selection", |m| m.quoting_miscselect = 1),
        ("key", |m| m.vouched = false),
    ];
    for form in [Making::new(Kind::Sgx, 3), Making::new(Kind::Tdx, 4)] {
        for (name, change) in both {
            let refused = with(form.clone(), change);
            assert!(
                matches!(refused, Err(Refusal::Mismatch { .. })),
                "{name}: {refused:?}"
            );
        }
        // Collateral of the other kind.
        let other = if form.kind == Kind::Tdx {
            Making::new(Kind::Sgx, 3)
        } else {
            Making::new(Kind::Tdx, 4)
        };
        for change in [
            &(|m: &mut Making| m.tcb_info = other.tcb_info.clone()) as &dyn Fn(&mut Making),
            &|m| m.identity = other.identity.clone(),
        ] {
            let refused = with(form.clone(), change);
            assert!(matches!(refused, Err(Refusal::Mismatch { .. })));
        }
    }
    let machine: [(&str, Change); 4] = [
        ("signer", |m| m.seam_signer = 1),
        ("attributes", |m| m.seam_attributes = 1),
        ("signer of the first", |m| {
            (m.seam_signer, m.module) = (1, [9, 0])
        }),
        ("attributes of the first", |m| {
            (m.seam_attributes, m.module) = (1, [9, 0]);
        }),
    ];
    for (name, change) in machine {
        let mut form = Making::new(Kind::Tdx, 4);
        // So that the first module's level is reached, and its identity is asked.
        for level in form.tcb_info["tcbLevels"].as_array_mut().unwrap() {
            level["tcb"]["tdxtcbcomponents"][1]["svn"] = 0.into();
        }
        assert!(form.judged().is_ok());
        let refused = with(form, change);
        assert!(
            matches!(refused, Err(Refusal::Mismatch { .. })),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn collateral_has_its_days() {
    for name in ["tcb_info", "identity"] {
        for (member, day) in [
            ("issueDate", "2023-11-15T00:00:00Z"),
            ("nextUpdate", "2023-11-14T22:13:19Z"),
        ] {
            let refused = with(Making::new(Kind::Tdx, 4), |making| {
                let document = match name {
                    "identity" => &mut making.identity,
                    _ => &mut making.tcb_info,
                };
                document[member] = day.into();
            });
            assert!(
                matches!(refused, Err(Refusal::Time { .. })),
                "{name} {member}"
            );
        }
    }
}

#[test]
fn signers_must_be_those_that_intel_made_for_it() {
    let form = Making::new(Kind::Sgx, 3);
    let refused = with(form.clone(), |making| making.platform_seed = 57);
    assert!(matches!(refused, Err(Refusal::Signature { .. })));
    // Another certificate right below the root; an authority; one that may not sign statements.
    let refused = with(form.clone(), |making| {
        making.publisher = "Intel SGX Something"
    });
    assert!(matches!(refused, Err(Refusal::Unsupported { .. })));
    for extensions in [
        authority(0),
        vec![extension("2.5.29.15", true, &[3, 2, 5, 0x20])],
    ] {
        let refused = with(form.clone(), |making| {
            making.publisher_extensions = extensions;
        });
        assert!(matches!(refused, Err(Refusal::Signature { .. })));
    }
    let fine = with(form, |making| making.publisher_extensions = signs());
    assert!(fine.is_ok());
}

#[test]
fn a_certificate_has_so_many_extensions_and_none_twice() {
    let judged = |more: u8| {
        with(Making::new(Kind::Sgx, 3), |making| {
            let one = |arc| extension(&format!("1.2.3.{arc}"), false, &[]);
            making.publisher_extensions.extend((0..more).map(one));
        })
    };
    assert!(judged(30).is_ok());
    assert!(matches!(judged(31), Err(Refusal::TooLarge { max: 32, .. })));
    let twice = with(Making::new(Kind::Sgx, 3), |making| {
        making.publisher_extensions.extend(signs());
    });
    assert!(matches!(twice, Err(Refusal::Malformed { .. })));
    let strange = with(Making::new(Kind::Sgx, 3), |making| {
        making
            .publisher_extensions
            .push(extension("1.2.3.4", true, &[]));
    });
    assert!(matches!(strange, Err(Refusal::Unsupported { .. })));
}

#[test]
fn a_level_of_a_status_that_is_not_known_is_refused() {
    for change in [
        (|m: &mut Making| m.tcb_info["tcbLevels"][0]["tcbStatus"] = "Fine".into())
            as fn(&mut Making),
        |m| m.identity["tcbLevels"][0]["tcbStatus"] = "Fine".into(),
        |m| m.tcb_info["tdxModuleIdentities"][0]["tcbLevels"][0]["tcbStatus"] = "Fine".into(),
        |m| m.tcb_info["tcbLevels"][0]["tcb"]["sgxtcbcomponents"] = json!([]),
        |m| m.tcb_info["tcbLevels"][0]["tcb"]["tdxtcbcomponents"] = json!([{"svn": 0}]),
        |m| m.tcb_info["tcbLevels"] = json!({}),
    ] {
        let refused = with(Making::new(Kind::Tdx, 4), change);
        assert!(matches!(refused, Err(Refusal::Malformed { .. })));
    }
}

/// Trials of altered quotes, everything else as it should be.
fn trial(
    making: &Making,
) -> (
    Vec<u8>,
    impl Fn(&[u8]) -> Result<Verified, Refusal> + Sync + use<>,
) {
    let root = Party::new("Intel SGX Root CA", 51).root();
    let roots = Roots::parse(making.kind, &root).unwrap();
    let whole = making.evidence();
    let (Proof::Tdx { quote, .. } | Proof::Sgx { quote, .. }) = &whole.proof else {
        panic!("another kind");
    };
    let quote = quote.clone();
    let judged = move |altered: &[u8]| {
        let mut evidence = whole.clone();
        if let Proof::Tdx { quote, .. } | Proof::Sgx { quote, .. } = &mut evidence.proof {
            *quote = altered.to_vec();
        }
        verify(&evidence, &roots, NOW)
    };
    (quote, judged)
}

#[test]
fn every_bit_of_the_body_of_the_fifth_version_is_vouched_for() {
    let (quote, judged) = trial(&forms().pop().unwrap());
    assert!(judged(&quote).is_ok());
    // A header, what is described and how long it is, and a machine of TDX 1.5: where this version differs from the others.
    let (body, rest) = quote.split_at(48 + 6 + 648);
    altered::every_bit_is_refused(body, &|body| judged(&[body, rest].concat()));
}

#[test]
fn every_piece_of_a_quote_is_refused_and_zeros_behind_it_are_of_no_matter() {
    for form in forms() {
        let (quote, judged) = trial(&form);
        for end in 0..quote.len() {
            assert!(judged(&quote[..end]).is_err(), "accepted at {end} bytes");
        }
        assert!(judged(&[&quote[..], &[0, 0, 1]].concat()).is_err());
        let mut padded = judged(&[&quote[..], &[0, 0, 0]].concat()).unwrap();
        let whole = judged(&quote).unwrap();
        // The digest of the quote as it came is a claim, and the only one that zeros change.
        if form.kind == Kind::Sgx {
            let hash = &whole.claims["x-ms-sgx-collateral"]["quotehash"];
            assert_ne!(&padded.claims["x-ms-sgx-collateral"]["quotehash"], hash);
            padded.claims["x-ms-sgx-collateral"]["quotehash"] = hash.clone();
        }
        assert_eq!(padded, whole);
    }
}
