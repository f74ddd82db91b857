//! Rehearsals in words: what is understood, what is refused, and that every profile is right.

use strongroom_cli::rehearsal::{PROFILES, Profile, described, failure, latency, throttle};
use strongroom_wire::ck::Rv;
use strongroom_wire::rehearsal::{Distribution as D, When};

#[test]
fn distributions_are_understood() {
    for (text, function, wanted) in [
        ("5ms", None, D::Constant(5_000)),
        ("*=300us", None, D::Constant(300)),
        ("C_Sign=1.5s", Some("C_Sign"), D::Constant(1_500_000)),
        ("uniform(1ms, 2ms)", None, D::Uniform(1_000, 2_000)),
        (
            "C_Login=normal(1s,100ms)",
            Some("C_Login"),
            D::Normal(1_000_000, 100_000),
        ),
        ("lognormal(2ms,0.5)", None, D::LogNormal(2_000, 0.5)),
        ("pareto(1ms,1.2)", None, D::Pareto(1_000, 1.2)),
        ("p50=3ms,p99=40ms", None, D::Percentiles(3_000, 40_000)),
        (
            "C_Sign=p50=3ms,p99=40ms",
            Some("C_Sign"),
            D::Percentiles(3_000, 40_000),
        ),
        ("2min", None, D::Constant(120_000_000)),
    ] {
        let rule = latency(text).unwrap();
        assert_eq!(rule.function.as_deref(), function, "{text}");
        assert_eq!(rule.distribution, wanted, "{text}");
    }
    for wrong in [
        "",
        "5",
        "ms",
        "5 parsecs",
        "-5ms",
        "C_Sing=5ms",
        "uniform(1ms)",
        "pareto(1ms,0)",
        "p50=3ms",
        "normal(1ms,x)",
    ] {
        assert!(latency(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn failures_and_throttles_are_understood() {
    let rule = failure("C_Sign=0.01:CKR_DEVICE_ERROR").unwrap();
    assert_eq!((rule.when, rule.rv), (When::Rate(0.01), Rv::DEVICE_ERROR));
    let rule = failure("C_Login=nth(3):CKR_PIN_LOCKED").unwrap();
    assert_eq!((rule.when, rule.rv), (When::Nth(3), Rv::PIN_LOCKED));
    let rule = failure("*=every(100):CKR_FUNCTION_FAILED").unwrap();
    assert_eq!((rule.function, rule.when), (None, When::Every(100)));
    for wrong in [
        "C_Sign",
        "C_Sign=1",
        "C_Sign=2:CKR_DEVICE_ERROR",
        "C_Sign=0.1:CKR_OK",
        "C_Sign=0.1:CKR_NONE",
        "C_Sign=nth(0):CKR_DEVICE_ERROR",
    ] {
        assert!(failure(wrong).is_err(), "{wrong}");
    }
    assert_eq!(throttle("50").unwrap().rv, None);
    let rule = throttle("0.5/s:CKR_DEVICE_MEMORY").unwrap();
    assert_eq!(rule.rv, Some(Rv::DEVICE_MEMORY));
    assert!(throttle("0").is_err() && throttle("many").is_err());
}

#[test]
fn every_profile_is_right_and_described() {
    for profile in PROFILES {
        let plan = Profile::named(profile.name).unwrap().plan().unwrap();
        let text = format!("{:?}", described(&plan));
        assert!(text.contains(profile.name), "{text}");
        assert!(!plan.latencies.is_empty());
    }
    assert!(Profile::named("no-such").unwrap_err().contains("usb-token"));
}
