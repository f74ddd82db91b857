//! How near an operation comes to what it costs at the least.
//!
//! What lives here: the limit: the primitive alone, one round trip over a socket, and an allowance; both measured in the same run.
//! What must never live here: how a primitive is measured; that is `crypto/examples/primitives.rs`.
//! Who calls it: `bench` and `report`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::peers::{Case, Outcome, Peers};
use super::rounds::{Crowd, Plan, Row};

/// What everything but the primitive and the trip may cost, in nanoseconds.
pub(super) const ALLOWANCE_NS: f64 = 5_000.0;
/// A case may take so many times its limit before `--check` fails: one that lies at the limit must not fail by noise.
pub(super) const SHARE_MAX: f64 = 1.25;
/// What `--check` looks at in a short measurement.
const CHECKED_SHORT: &[&str] = &["ecdsa-p256-sign", "ed25519-sign"];
/// The name of the trip among the primitives.
const ROUND_TRIP: &str = "socket-round-trip";

/// What there is without us, in nanoseconds by case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Floor {
    primitives: BTreeMap<String, f64>,
    round_trip: f64,
}

/// A case beside its limit, in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) case: String,
    pub(super) primitive: f64,
    pub(super) round_trip: f64,
    pub(super) ours: f64,
}

impl Floor {
    /// Measures the primitives of these cases; cases that are more than a primitive have none.
    pub(super) fn measure(peers: &Peers, cases: &[Case], plan: Plan) -> Result<Self, String> {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        Self::parse(&peers.primitives(&names, plan.seconds)?)
    }

    fn parse(lines: &[String]) -> Result<Self, String> {
        let mut primitives = BTreeMap::new();
        for line in lines {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            match (value["case"].as_str(), value["p50_ns"].as_f64()) {
                (Some(case), Some(time)) => primitives.insert(case.to_owned(), time),
                _ => return Err(format!("primitives: {line}")),
            };
        }
        let round_trip = primitives.remove(ROUND_TRIP);
        Ok(Self {
            round_trip: round_trip.ok_or("primitives: no round trip")?,
            primitives,
        })
    }

    /// The lower of two measurements: what disturbs a primitive only adds to it.
    pub(super) fn lower(mut self, other: &Self) -> Self {
        self.round_trip = self.round_trip.min(other.round_trip);
        for (case, time) in &mut self.primitives {
            *time = other.primitives.get(case).map_or(*time, |it| time.min(*it));
        }
        self
    }

    /// Those rows that have a limit, in their order.
    pub(super) fn bounds(&self, rows: &[Row]) -> Vec<Bound> {
        let bound = |row: &Row| match (&row.ours, row.crowd) {
            (Outcome::Measured(numbers), Crowd::Alone) => Some(Bound {
                case: row.case.name.clone(),
                primitive: *self.primitives.get(&row.case.name)?,
                round_trip: self.round_trip,
                ours: numbers.p50,
            }),
            _ => None,
        };
        rows.iter().filter_map(bound).collect()
    }
}

impl Bound {
    pub(super) fn limit(&self) -> f64 {
        self.primitive + self.round_trip + ALLOWANCE_NS
    }

    pub(super) fn holds(&self) -> bool {
        self.ours <= self.limit()
    }

    /// Ours as a share of the limit.
    pub(super) fn share(&self) -> f64 {
        self.ours / self.limit()
    }

    pub(super) fn is_checked(&self, short: bool) -> bool {
        !short || CHECKED_SHORT.contains(&self.case.as_str())
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "case": self.case,
            "primitive_ns": self.primitive,
            "round_trip_ns": self.round_trip,
            "limit_ns": self.limit(),
            "ours_ns": self.ours,
            "holds": self.holds(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::Numbers;
    use super::*;

    fn floor(primitive: f64, round_trip: f64) -> Floor {
        let lines = [
            format!("{{\"case\": \"ed25519-sign\", \"p50_ns\": {primitive}}}"),
            format!("{{\"case\": \"socket-round-trip\", \"p50_ns\": {round_trip}}}"),
        ];
        Floor::parse(&lines).unwrap()
    }

    fn row(name: &str, crowd: Crowd, p50: f64) -> Row {
        Row {
            case: Case {
                name: name.to_owned(),
                ..Case::default()
            },
            crowd,
            softhsm: Outcome::Failed("x".to_owned()),
            ours: Outcome::Measured(Numbers {
                p50,
                ..Numbers::default()
            }),
            ratio: None,
            noisy: false,
        }
    }

    #[test]
    fn the_limit_is_the_primitive_a_trip_and_the_allowance() {
        let rows = [
            row("ed25519-sign", Crowd::Alone, 30_000.0),
            // No primitive, and not alone: neither has a limit.
            row("find-10", Crowd::Alone, 1.0),
            row("ed25519-sign", Crowd::Threads(2), 1.0),
        ];
        let bounds = floor(15_000.0, 10_000.0).bounds(&rows);
        assert_eq!(bounds.len(), 1);
        assert_eq!(bounds[0].limit(), 30_000.0);
        assert!(bounds[0].holds());
        assert!(!floor(14_999.0, 10_000.0).bounds(&rows)[0].holds());
    }

    #[test]
    fn the_lower_of_two_measurements_counts() {
        let lower = floor(10.0, 4.0).lower(&floor(9.0, 5.0));
        assert_eq!(lower, floor(9.0, 4.0));
    }

    #[test]
    fn lines_without_a_trip_or_a_number_are_refused() {
        for wrong in ["{\"case\": \"x\", \"p50_ns\": 1.0}", "x", "{}"] {
            assert!(Floor::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_short_measurement_checks_two_signatures() {
        let rows = [row("ed25519-sign", Crowd::Alone, 1.0)];
        let mut bound = floor(1.0, 1.0).bounds(&rows).remove(0);
        assert!(bound.is_checked(true) && bound.is_checked(false));
        bound.case = "rsa2048-sign-pkcs".to_owned();
        assert!(!bound.is_checked(true) && bound.is_checked(false));
    }
}
