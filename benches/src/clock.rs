//! The clock: operations by time, and what the times come to.
//!
//! What lives here: warming up, the timed loop, and percentiles.
//! What must never live here: a call of PKCS#11.
//! Who calls it: `main.rs`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cases::Operation;
use crate::module::Outcome;

/// Few operations say nothing, however long they take.
const OPERATIONS_MIN: usize = 5;
/// As many times are kept; more say nothing new.
const OPERATIONS_MAX: usize = 4_000_000;

/// Times of single operations, in nanoseconds, and how long all took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    nanoseconds: Vec<u64>,
    /// Operations a second, of all threads together.
    operations_per_second: f64,
}

impl Times {
    /// Those of several threads that worked at the same time.
    pub(crate) fn together(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for one in all {
            sum.nanoseconds.extend(one.nanoseconds);
            sum.operations_per_second += one.operations_per_second;
        }
        sum.nanoseconds.sort_unstable();
        sum
    }

    fn percentile(&self, percent: usize) -> u64 {
        let place = self.nanoseconds.len().saturating_sub(1) * percent / 100;
        self.nanoseconds.get(place).copied().unwrap_or(0)
    }

    /// What is reported.
    pub(crate) fn json(&self) -> Value {
        json!({
            "status": "ok",
            "p10_ns": self.percentile(10),
            "p50_ns": self.percentile(50),
            "p99_ns": self.percentile(99),
            "operations_per_second": self.operations_per_second,
            "operations": self.nanoseconds.len(),
        })
    }
}

/// A quarter of the time that is measured afterwards: caches, open keys and the trust of spinning ends settle.
pub(crate) fn warm_up(operation: &mut Operation<'_>, time: Duration) -> Outcome<()> {
    let begin = Instant::now();
    loop {
        operation()?;
        if begin.elapsed() >= time / 4 {
            return Ok(());
        }
    }
}

/// Runs an operation again and again for a time.
pub(crate) fn run(operation: &mut Operation<'_>, time: Duration) -> Outcome<Times> {
    let mut nanoseconds = Vec::with_capacity(1 << 16);
    let begin = Instant::now();
    let mut last = begin;
    loop {
        operation()?;
        let now = Instant::now();
        let one = now.duration_since(last).as_nanos();
        nanoseconds.push(u64::try_from(one).unwrap_or(u64::MAX));
        last = now;
        let done = nanoseconds.len();
        if done >= OPERATIONS_MAX || (done >= OPERATIONS_MIN && now - begin >= time) {
            break;
        }
    }
    let operations_per_second = nanoseconds.len() as f64 / (last - begin).as_secs_f64();
    Ok(Times::together(vec![Times {
        nanoseconds,
        operations_per_second,
    }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_threads() {
        let one = |nanoseconds: &[u64]| Times {
            nanoseconds: nanoseconds.to_vec(),
            operations_per_second: 10.0,
        };
        let all = Times::together(vec![one(&[5, 1, 4]), one(&[3, 2])]).json();
        assert_eq!(all["p50_ns"], 3);
        assert_eq!(all["p10_ns"], 1);
        assert_eq!(all["p99_ns"], 4);
        assert_eq!(all["operations_per_second"], 20.0);
        assert_eq!(all["operations"], 5);
    }

    #[test]
    fn a_loop_runs_a_few_times_at_least_and_ends_at_a_failure() {
        let mut count = 0;
        let mut operation: Operation<'_> = Box::new(|| {
            count += 1;
            Ok(())
        });
        let times = run(&mut operation, Duration::ZERO).unwrap();
        assert_eq!(times.nanoseconds.len(), OPERATIONS_MIN);
        let mut failing: Operation<'_> =
            Box::new(|| Err(crate::module::Failure::Wrong("no".to_owned())));
        assert!(run(&mut failing, Duration::ZERO).is_err());
    }
}
