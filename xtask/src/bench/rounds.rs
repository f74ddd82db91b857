//! Alternating rounds, and what they come to.
//!
//! What lives here: the order of the runs, medians, and a row for each case.
//! What must never live here: processes; text for people.
//! Who calls it: `bench`.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use super::peers::{Case, Numbers, Outcome, Peers, Side};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rounds: u32,
    pub(super) seconds: f64,
}

/// How many work at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    Alone,
    Threads(u32),
    Processes(u32),
}

/// One line of the comparison: medians over the rounds.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) case: Case,
    pub(super) crowd: Crowd,
    pub(super) softhsm: Outcome,
    pub(super) ours: Outcome,
    /// How many times ours does what SoftHSM does in the same time: the median of the rounds' ratios.
    pub(super) ratio: Option<f64>,
    /// Whether the rounds of a side differ by more than a quarter.
    pub(super) noisy: bool,
}

/// Cases that are measured with several threads and processes, too: one of each weight.
pub(super) const CROWDED: &[&str] = &[
    "rsa2048-sign-pkcs",
    "ecdsa-p256-sign",
    "ecdsa-p256-verify",
    "hmac-sha256-64",
    "aes-gcm-encrypt-4k",
    "aes-gcm-decrypt-64k",
];

impl Row {
    /// Its name in `benches/ratios.toml`.
    pub(super) fn key(&self) -> String {
        match self.crowd {
            Crowd::Alone => self.case.name.clone(),
            Crowd::Threads(number) => format!("{}/{number}-threads", self.case.name),
            Crowd::Processes(number) => format!("{}/{number}-processes", self.case.name),
        }
    }

    /// Why there is no ratio.
    pub(super) fn why(&self) -> String {
        for (who, outcome) in [("SoftHSM", &self.softhsm), ("ours", &self.ours)] {
            match outcome {
                Outcome::Lacks(why) => return format!("{who} lacks it ({why})"),
                Outcome::Failed(why) => return format!("{who} failed ({why})"),
                Outcome::Measured(_) => {}
            }
        }
        "no ratio".to_owned()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let side = |outcome: &Outcome| match outcome {
            Outcome::Measured(numbers) => json!({
                "p10_ns": numbers.p10,
                "p50_ns": numbers.p50,
                "p99_ns": numbers.p99,
                "operations_per_second": numbers.rate,
            }),
            Outcome::Lacks(why) => json!({ "unsupported": why }),
            Outcome::Failed(why) => json!({ "failed": why }),
        };
        json!({
            "case": self.key(),
            "group": self.case.group,
            "softhsm": side(&self.softhsm),
            "ours": side(&self.ours),
            "ratio": self.ratio,
            "noisy": self.noisy,
        })
    }
}

/// Measures cases: alone all, in crowds those that [`CROWDED`] names.
pub(super) fn measure(
    peers: &Peers,
    cases: &[Case],
    crowds: &[Crowd],
    plan: Plan,
) -> Result<Vec<Row>, String> {
    let mut batches = Vec::new();
    for crowd in crowds {
        match crowd {
            Crowd::Alone => {
                let together =
                    |one: &Case, other: &Case| one.token == other.token && one.group == other.group;
                let groups = cases.chunk_by(together);
                batches.extend(groups.map(|group| (*crowd, group.iter().collect::<Vec<_>>())));
            }
            Crowd::Threads(_) | Crowd::Processes(_) => {
                let crowded = cases
                    .iter()
                    .filter(|case| CROWDED.contains(&case.name.as_str()));
                batches.extend(crowded.map(|case| (*crowd, vec![case])));
            }
        }
    }
    let mut rows = Vec::new();
    for (number, (crowd, batch)) in batches.iter().enumerate() {
        if let Some(first) = batch.first() {
            progress(&format!("{}/{} {}", number + 1, batches.len(), first.name));
        }
        rows.extend(alternate(peers, *crowd, batch, plan)?);
    }
    progress("");
    Ok(rows)
}

/// Both sides in turn, and the other way round in every second round, so that a disturbance hits both alike.
fn alternate(peers: &Peers, crowd: Crowd, batch: &[&Case], plan: Plan) -> Result<Vec<Row>, String> {
    let run = |side: Side| match crowd {
        Crowd::Alone => peers.measure(side, batch, plan.seconds, 1),
        Crowd::Threads(number) => peers.measure(side, batch, plan.seconds, number),
        Crowd::Processes(number) => batch
            .iter()
            .map(|case| peers.measure_processes(side, case, plan.seconds, number))
            .collect(),
    };
    let mut rounds: Vec<(Vec<Outcome>, Vec<Outcome>)> = Vec::new();
    for round in 0..plan.rounds {
        rounds.push(if round.is_multiple_of(2) {
            let softhsm = run(Side::SoftHsm)?;
            (softhsm, run(Side::Ours)?)
        } else {
            let ours = run(Side::Ours)?;
            (run(Side::SoftHsm)?, ours)
        });
    }
    let row = |(place, case): (usize, &&Case)| {
        let of = |side: &Vec<Outcome>| {
            let missing = || Outcome::Failed("not measured".to_owned());
            side.get(place).cloned().unwrap_or_else(missing)
        };
        let softhsm = rounds.iter().map(|(side, _)| of(side)).collect();
        let ours = rounds.iter().map(|(_, side)| of(side)).collect();
        row((*case).clone(), crowd, softhsm, ours)
    };
    Ok(batch.iter().enumerate().map(row).collect())
}

fn row(case: Case, crowd: Crowd, softhsm: Vec<Outcome>, ours: Vec<Outcome>) -> Row {
    let speed = |numbers: &Numbers| match crowd {
        // One session is disturbed least in its median; several are asked for what they get done.
        Crowd::Alone => 1.0 / numbers.p50.max(1.0),
        Crowd::Threads(_) | Crowd::Processes(_) => numbers.rate,
    };
    let speeds = |side: &[Outcome]| -> Vec<Option<f64>> {
        let one = |outcome: &Outcome| match outcome {
            Outcome::Measured(numbers) => Some(speed(numbers)),
            Outcome::Lacks(_) | Outcome::Failed(_) => None,
        };
        side.iter().map(one).collect()
    };
    let (theirs, own) = (speeds(&softhsm), speeds(&ours));
    let pairs = theirs.iter().zip(&own);
    let ratios: Option<Vec<f64>> = pairs
        .map(|(theirs, own)| Some((*own)? / (*theirs)?))
        .collect();
    let differ = |speeds: &[Option<f64>]| {
        let known = || speeds.iter().flatten().copied();
        known().fold(0.0, f64::max) > 1.25 * known().fold(f64::INFINITY, f64::min)
    };
    let noisy = differ(&theirs) || differ(&own);
    Row {
        case,
        crowd,
        softhsm: summary(softhsm),
        ours: summary(ours),
        ratio: ratios.and_then(median),
        noisy,
    }
}

/// The medians of a side; a single failure is what is told.
fn summary(outcomes: Vec<Outcome>) -> Outcome {
    let mut all = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Measured(numbers) => all.push(numbers),
            Outcome::Lacks(_) | Outcome::Failed(_) => return outcome,
        }
    }
    let of = |part: fn(&Numbers) -> f64| median(all.iter().map(part).collect()).unwrap_or(0.0);
    Outcome::Measured(Numbers {
        p10: of(|numbers| numbers.p10),
        p50: of(|numbers| numbers.p50),
        p99: of(|numbers| numbers.p99),
        rate: of(|numbers| numbers.rate),
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// One line that is written over, on a terminal only; nothing clears it.
fn progress(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        // A terminal that is gone does not end the measurement.
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(p50: f64, rate: f64) -> Outcome {
        Outcome::Measured(Numbers {
            p50,
            rate,
            ..Numbers::default()
        })
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds() {
        // The second round was disturbed on one side only.
        let theirs = vec![took(200.0, 1.0), took(900.0, 1.0), took(220.0, 1.0)];
        let ours = vec![took(100.0, 4.0), took(100.0, 4.0), took(110.0, 4.0)];
        let alone = row(Case::default(), Crowd::Alone, theirs.clone(), ours.clone());
        assert_eq!(alone.ratio, Some(2.0));
        assert!(alone.noisy);
        assert_eq!(alone.softhsm, took(220.0, 1.0));
        let crowd = row(Case::default(), Crowd::Threads(2), theirs, ours);
        assert_eq!(crowd.ratio, Some(4.0));
        assert!(!crowd.noisy);
    }

    #[test]
    fn what_one_side_lacks_has_no_ratio() {
        let lacks = Outcome::Lacks("x".to_owned());
        let row = row(
            Case::default(),
            Crowd::Alone,
            vec![lacks.clone()],
            vec![took(1.0, 1.0)],
        );
        assert_eq!((row.ratio, row.softhsm.clone()), (None, lacks));
        assert_eq!(row.why(), "SoftHSM lacks it (x)");
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }
}
