//! *What lives here:* the tests of `rehearsal.rs`: rates, distributions, numbers of calls, throttle. *What must never live here:* a
//! token; those tests stand with the service. *Who calls it:* the test runner.

use strongroom_wire::rehearsal::{Latency, Throttle};

use super::*;

const NOW: Duration = Duration::from_secs(7);

fn failing(function: Option<&str>, when: When) -> Plan {
    Plan {
        failures: vec![Failure {
            function: function.map(str::to_owned),
            when,
            rv: Rv::DEVICE_ERROR,
        }],
        ..Plan::default()
    }
}

fn slow(function: Option<&str>, distribution: Distribution) -> Latency {
    Latency {
        function: function.map(str::to_owned),
        distribution,
    }
}

/// The numbers of the calls of C_Sign that fail, of so many.
fn failures(plan: Plan, calls: u64) -> Vec<u64> {
    let rehearsal = Rehearsal::begin(plan).unwrap();
    (1..=calls)
        .filter(|_| rehearsal.judge(&["C_Sign"], NOW).refused.is_some())
        .collect()
}

#[test]
fn a_rate_is_kept_and_a_seed_repeats_it() {
    for rate in [0.001, 0.01, 0.25, 0.9] {
        let plan = failing(Some("C_Sign"), When::Rate(rate));
        let failed = failures(plan.clone(), 40_000);
        // Five standard deviations of the binomial distribution.
        let bound = 5.0 * (40_000.0 * rate * (1.0 - rate)).sqrt();
        let count = failed.len() as f64;
        assert!((count - 40_000.0 * rate).abs() < bound, "{rate}: {count}");
        assert_eq!(failures(plan.clone(), 40_000), failed);
        let other = Plan { seed: 1, ..plan };
        assert_ne!(failures(other, 40_000), failed);
    }
    assert!(failures(failing(None, When::Rate(0.0)), 1000).is_empty());
    assert_eq!(failures(failing(None, When::Rate(1.0)), 1000).len(), 1000);
}

#[test]
fn calls_are_counted_for_each_function_and_for_all() {
    assert_eq!(failures(failing(Some("C_Sign"), When::Nth(3)), 9), [3]);
    assert_eq!(
        failures(failing(Some("C_Sign"), When::Every(3)), 9),
        [3, 6, 9]
    );
    assert!(failures(failing(Some("C_Verify"), When::Every(1)), 9).is_empty());
    let rehearsal = Rehearsal::begin(failing(None, When::Nth(2))).unwrap();
    assert_eq!(rehearsal.judge(&["C_Sign"], NOW).refused, None);
    let second = rehearsal.judge(&["C_Verify"], NOW).refused;
    assert_eq!(second, Some(Rv::DEVICE_ERROR));
}

#[test]
fn the_fate_of_a_call_does_not_depend_on_other_functions() {
    let plan = || failing(Some("C_Sign"), When::Rate(0.3));
    let alone = failures(plan(), 100);
    let rehearsal = Rehearsal::begin(plan()).unwrap();
    let beside: Vec<u64> = (1..=100)
        .filter(|number| {
            for _ in 0..number % 3 {
                assert_eq!(rehearsal.judge(&["C_Verify"], NOW).refused, None);
            }
            rehearsal.judge(&["C_Sign"], NOW).refused.is_some()
        })
        .collect();
    assert_eq!(beside, alone);
}

#[test]
fn two_functions_in_one_request_both_have_their_rules() {
    let plan = Plan {
        latencies: vec![
            slow(None, Distribution::Constant(10)),
            slow(Some("C_Sign"), Distribution::Constant(500)),
        ],
        ..failing(Some("C_SignInit"), When::Nth(2))
    };
    let rehearsal = Rehearsal::begin(plan).unwrap();
    let both = ["C_SignInit", "C_Sign"];
    let first = rehearsal.judge(&both, NOW);
    assert_eq!(
        (first.wait, first.refused),
        (Duration::from_micros(510), None)
    );
    let second = rehearsal.judge(&both, NOW);
    assert_eq!(second.refused, Some(Rv::DEVICE_ERROR));
    assert_eq!(
        second.wait,
        Duration::from_micros(10),
        "nothing follows a failure"
    );
    let calls = rehearsal.calls();
    let told: Vec<_> = calls
        .iter()
        .map(|one| (one.function.as_str(), one.calls, one.failed))
        .collect();
    assert_eq!(told, [("C_Sign", 1, 0), ("C_SignInit", 2, 1)]);
}

/// Waits of ten thousand calls, in microseconds, ascending.
fn waits(distribution: Distribution) -> Vec<u128> {
    let plan = Plan {
        latencies: vec![slow(None, distribution)],
        ..Plan::default()
    };
    let rehearsal = Rehearsal::begin(plan).unwrap();
    let mut all: Vec<_> = (0..10_000)
        .map(|_| rehearsal.judge(&["C_Sign"], NOW).wait.as_micros())
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn distributions_are_what_they_are_called() {
    let near = |value: u128, wanted: u128, what: &str| {
        assert!(
            value.abs_diff(wanted) * 10 <= wanted,
            "{what}: {value}, not {wanted}"
        );
    };
    let all = waits(Distribution::Uniform(1_000, 3_000));
    near(all[5_000], 2_000, "median, uniform");
    assert!(all[0] >= 1_000 && all[9_999] <= 3_000);
    let all = waits(Distribution::Normal(10_000, 1_000));
    near(all[5_000], 10_000, "mean, normal");
    near(all[8_413], 11_000, "one deviation above");
    let all = waits(Distribution::LogNormal(2_000, 0.5));
    near(all[5_000], 2_000, "median, log-normal");
    near(all[8_413], 3_297, "one sigma above");
    let all = waits(Distribution::Pareto(1_000, 2.0));
    assert!(all[0] >= 1_000);
    near(all[7_500], 2_000, "three quarters, Pareto");
    let all = waits(Distribution::Percentiles(3_000, 40_000));
    near(all[5_000], 3_000, "p50");
    assert!(
        (30_000..=52_000).contains(&all[9_900]),
        "p99: {}",
        all[9_900]
    );
    assert_eq!(waits(Distribution::Normal(0, 0))[9_999], 0);
}

#[test]
fn a_throttle_spaces_operations_or_refuses_them() {
    let plan = |rv| Plan {
        throttle: Some(Throttle {
            per_second: 10.0,
            rv,
        }),
        ..Plan::default()
    };
    let rehearsal = Rehearsal::begin(plan(None)).unwrap();
    let waits: Vec<_> = (0..3)
        .map(|_| rehearsal.judge(&["C_Sign"], NOW).wait.as_millis())
        .collect();
    assert_eq!(waits, [0, 100, 200]);
    assert!(
        rehearsal
            .judge(&["C_GetAttributeValue"], NOW)
            .wait
            .is_zero()
    );
    let later = NOW + Duration::from_secs(1);
    assert!(rehearsal.judge(&["C_Sign"], later).wait.is_zero());

    let rehearsal = Rehearsal::begin(plan(Some(Rv::DEVICE_MEMORY))).unwrap();
    let fates: Vec<_> = [0, 50, 100, 150]
        .map(|offset| NOW + Duration::from_millis(offset))
        .map(|now| rehearsal.judge(&["C_Sign"], now).refused)
        .into();
    let refused = Some(Rv::DEVICE_MEMORY);
    assert_eq!(fates, [None, refused, None, refused]);
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let wrong = [
        failing(Some("C_Sing"), When::Nth(1)),
        failing(None, When::Nth(0)),
        failing(None, When::Every(0)),
        failing(None, When::Rate(1.5)),
        failing(None, When::Rate(f64::NAN)),
        Plan {
            latencies: vec![slow(None, Distribution::Uniform(2, 1))],
            ..Plan::default()
        },
        Plan {
            latencies: vec![slow(None, Distribution::Pareto(1, 0.0))],
            ..Plan::default()
        },
        Plan {
            latencies: vec![slow(Some("C_Finalize"), Distribution::Constant(1))],
            ..Plan::default()
        },
        Plan {
            throttle: Some(Throttle {
                per_second: 0.0,
                rv: None,
            }),
            ..Plan::default()
        },
    ];
    for plan in wrong {
        assert!(Rehearsal::begin(plan.clone()).is_err(), "{plan:?}");
    }
}
