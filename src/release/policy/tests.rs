//! *What lives here:* the tests of policies: what is one, and what it decides. *What must never live here:* tokens. *Who calls it:* the
//! test runner.

use serde_json::json;

use super::*;

const URL: &str = "https://attest.example";

fn policy(value: &Value) -> Result<Policy, String> {
    Policy::parse(value.to_string().as_bytes())
}

fn demanding(condition: &Value) -> Policy {
    policy(&json!({"version": "1.0.0", "anyOf": [{"authority": URL, "allOf": [condition]}]}))
        .unwrap()
}

fn permits(condition: &Value, claims: &Value) -> bool {
    demanding(condition).decide(URL, claims).entry.is_some()
}

#[test]
fn values_are_compared_by_their_text() {
    for (equals, claim, fits) in [
        (json!("true"), json!(true), true),
        (json!(true), json!("true"), true),
        (json!(true), json!(true), true),
        (json!(true), json!("True"), false),
        (json!(false), json!(true), false),
        (json!(7), json!("7"), true),
        (json!("7"), json!(7), true),
        (json!(7), json!(8), false),
        (json!("a"), json!("A"), false),
        (json!("a"), json!(["a"]), false),
        (json!("null"), Value::Null, false),
    ] {
        let condition = json!({"claim": "c", "equals": equals});
        assert_eq!(
            permits(&condition, &json!({"c": claim})),
            fits,
            "{equals} {claim}"
        );
    }
}

#[test]
fn what_stands_twice_makes_no_policy() {
    let claim = r#""claim":"c","equals":1"#;
    let whole = |version: &str, entry: &str, condition: &str| {
        Policy::parse(
            format!(r#"{{{version}"version":"1.0.0","anyOf":[{{{entry}"authority":"{URL}","allOf":[{{{condition}{claim}}}]}}]}}"#)
                .as_bytes(),
        )
    };
    whole("", "", "").unwrap();
    for said in [
        whole(r#""version":"1.0.0","#, "", ""),
        whole(r#""Version":"1.0.0","#, "", ""),
        whole(r#""anyOf":[],"#, "", ""),
        whole("", r#""authority":"https://other.example","#, ""),
        whole("", r#""allof":[],"#, ""),
        whole("", "", r#""claim":"d","#),
        whole("", "", r#""\u0063laim":"d","#),
        whole("", "", r#""equals":null,"#),
        whole("", "", r#""Equals":2,"#),
    ] {
        let said = said.unwrap_err();
        assert!(said.contains("duplicate field"), "{said}");
    }
}

#[test]
fn dots_walk_objects_and_nothing_else() {
    let condition = json!({"claim": "a.b.c", "equals": 1});
    assert!(permits(&condition, &json!({"a": {"b": {"c": 1}}})));
    for claims in [
        json!({"a.b.c": 1}),
        json!({"a": {"b.c": 1}}),
        json!({"a": [{"b": {"c": 1}}]}),
        json!({"a": {"b": 1}}),
        json!({}),
        json!([]),
    ] {
        assert!(!permits(&condition, &claims), "{claims}");
    }
    assert!(!permits(
        &json!({"claim": "a.0", "equals": 1}),
        &json!({"a": [1]})
    ));
}

#[test]
fn lists_nest_and_any_entry_of_the_authority_permits() {
    let written = json!({"version": "1.0.0", "anyOf": [
        {"authority": "https://other.example", "allOf": [{"claim": "x", "equals": 1}]},
        {"authority": URL, "allOf": [{"claim": "x", "equals": 2}, {"anyOf": [
            {"claim": "y", "equals": 3}, {"allOf": [{"claim": "z", "equals": 4}, {"claim": "w", "equals": 5}]}]}]},
        {"authority": "HTTPS://Attest.Example/", "anyOf": [{"claim": "v", "equals": 6}]},
    ]});
    let policy = policy(&written).unwrap();
    for (claims, entry) in [
        (json!({"x": 1}), None),
        (json!({"x": 2}), None),
        (json!({"x": 2, "y": 3}), Some(1)),
        (json!({"x": 2, "z": 4}), None),
        (json!({"x": 2, "z": 4, "w": 5}), Some(1)),
        (json!({"v": 6}), Some(2)),
    ] {
        assert_eq!(policy.decide(URL, &claims).entry, entry, "{claims}");
        assert_eq!(
            policy.decide("https://stranger.example", &claims).entry,
            None
        );
    }
    assert_eq!(
        policy
            .decide("https://other.example/", &json!({"x": 1}))
            .entry,
        Some(0)
    );
    assert!(policy.names("https://OTHER.example") && !policy.names("https://stranger.example"));
}

#[test]
fn the_trace_tells_names_and_never_values() {
    let condition =
        json!({"anyOf": [{"claim": "a", "equals": "demanded"}, {"claim": "b", "equals": 1}]});
    let decision = demanding(&condition).decide(URL, &json!({"a": "alleged"}));
    assert_eq!(
        decision.trace,
        "[0] allOf(anyOf(a=no b=missing)) -> refuses"
    );
    let long: Vec<Value> = (0..200)
        .map(|number| json!({"claim": format!("a-rather-long-claim-{number}"), "equals": 1}))
        .collect();
    let decision = demanding(&json!({"allOf": long})).decide(URL, &json!({}));
    assert!(decision.trace.len() <= TRACE_BYTES_MAX + 3);
}

#[test]
fn what_is_outside_of_the_grammar_is_no_policy() {
    let claim = json!({"claim": "c", "equals": 1});
    let entry = json!({"authority": URL, "anyOf": [claim]});
    for wrong in [
        json!({}),
        json!([]),
        json!({"version": "1.0.0"}),
        json!({"anyOf": [entry]}),
        json!({"version": "2.0", "anyOf": [entry]}),
        json!({"version": 1, "anyOf": [entry]}),
        json!({"version": "1.0.0", "anyOf": []}),
        json!({"version": "1.0.0", "allOf": [entry]}),
        json!({"version": "1.0.0", "anyOf": [entry], "more": 1}),
        json!({"version": "1.0.0", "anyOf": [{"authority": "attest", "anyOf": [claim]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL}]}),
        json!({"version": "1.0.0", "anyOf": [{"anyOf": [claim]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": []}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [claim], "allOf": [claim]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "c"}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"equals": 1}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "c", "greater": 1}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "c", "equals": [1]}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "c", "equals": {}}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "c", "equals": null}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "", "equals": 1}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "a..b", "equals": 1}]}]}),
        json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [{"claim": "c", "equals": 1, "anyOf": [claim]}]}]}),
    ] {
        assert!(policy(&wrong).is_err(), "{wrong}");
    }
    let twice = format!(r#"{{"version":"1.0.0","anyOf":[{entry}],"AnyOf":[{entry}]}}"#);
    assert!(Policy::parse(twice.as_bytes()).is_err());
}

#[test]
fn bounds_are_kept() {
    let claims = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|_| json!({"claim": "c", "equals": 1}))
            .collect()
    };
    let wide = |count| {
        policy(&json!({"version": "1.0", "anyOf": [{"authority": URL, "anyOf": claims(count)}]}))
    };
    assert!(wide(CONDITIONS_MAX).is_ok());
    assert!(wide(CONDITIONS_MAX + 1).is_err());
    let deep = |depth: usize| {
        let mut condition = json!({"claim": "c", "equals": 1});
        for _ in 1..depth {
            condition = json!({"allOf": [condition]});
        }
        policy(&json!({"version": "1.0.0", "anyOf": [{"authority": URL, "allOf": [condition]}]}))
    };
    assert!(deep(DEPTH_MAX).is_ok());
    assert!(deep(DEPTH_MAX + 1).is_err());
    let long = json!({"version": "1.0.0", "anyOf": [{"authority": URL, "anyOf": [
        {"claim": "c", "equals": "x".repeat(POLICY_BYTES_MAX)}]}]});
    assert!(policy(&long).is_err());
}
