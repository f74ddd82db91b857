//! The rehearsal of a token: what happens to each call while it imitates hardware.
//!
//! What lives here: the plan worked out for the call that is made now: how long it waits, and whether it fails.
//! What must never live here: the waiting (the daemon), and anything of a token that does not rehearse.
//! Who calls it: the service, before a request is carried out.
//!
//! Chance is worked out from the seed, the function and the number of its call, so a run that makes the same calls has the same fate,
//! however its threads fall.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_wire::ck::Rv;
use strongroom_wire::rehearsal::{Calls, Distribution, FUNCTIONS, Failure, Plan, When};

/// A rehearsal that goes on.
#[derive(Debug)]
pub struct Rehearsal {
    plan: Plan,
    score: Mutex<Score>,
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Score {
    functions: BTreeMap<&'static str, Count>,
    /// Calls of all functions.
    all: u64,
    /// When the next operation may begin.
    free_at: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    calls: u64,
    failed: u64,
    waited: Duration,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// How long it waits.
    pub wait: Duration,
    /// What it is answered instead of being carried out.
    pub refused: Option<Rv>,
}

impl Rehearsal {
    /// Begins one.
    ///
    /// # Errors
    /// What is wrong with the plan.
    pub fn begin(plan: Plan) -> Result<Self, String> {
        check(&plan)?;
        Ok(Self {
            plan,
            score: Mutex::default(),
        })
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What happens to a call that is made of these functions, one after the other; nothing follows one that fails.
    #[must_use]
    pub fn judge(&self, functions: &[&'static str], now: Duration) -> Fate {
        let mut score = self.score.lock();
        let mut fate = Fate::default();
        for function in functions {
            let one = self.judge_one(&mut score, function, now);
            fate.wait = (fate.wait + one.wait).min(LONGEST);
            fate.refused = one.refused;
            if fate.refused.is_some() {
                break;
            }
        }
        fate
    }

    fn judge_one(&self, score: &mut Score, function: &'static str, now: Duration) -> Fate {
        score.all += 1;
        let all = score.all;
        let count = score.functions.entry(function).or_default();
        count.calls += 1;
        let number = count.calls;
        let chance = Chance {
            seed: self.plan.seed,
            function,
            number,
        };
        let mut wait = self.latency(function, &chance);
        let mut refused = self.failure(function, number, all, &chance);
        if refused.is_none()
            && let Some(throttle) = self.plan.throttle
            && is_operation(function)
        {
            let spacing = seconds(1.0 / throttle.per_second);
            let row = score.free_at.saturating_sub(now);
            match throttle.rv {
                Some(rv) if !row.is_zero() => refused = Some(rv),
                _ => {
                    score.free_at = score.free_at.max(now) + spacing;
                    wait += row;
                }
            }
        }
        let count = score.functions.entry(function).or_default();
        count.waited += wait;
        count.failed += u64::from(refused.is_some());
        Fate { wait, refused }
    }

    fn latency(&self, function: &str, chance: &Chance<'_>) -> Duration {
        let latencies = &self.plan.latencies;
        let own = |name: Option<&str>| {
            let mut rules = latencies.iter().rev();
            rules.find(|rule| rule.function.as_deref() == name)
        };
        let rule = own(Some(function)).or_else(|| own(None));
        rule.map_or(Duration::ZERO, |rule| sample(rule.distribution, chance))
    }

    fn failure(&self, function: &str, number: u64, all: u64, chance: &Chance<'_>) -> Option<Rv> {
        let fits = |(place, rule): &(usize, &Failure)| {
            let number = match rule.function.as_deref() {
                Some(name) if name == function => number,
                Some(_) => return false,
                None => all,
            };
            match rule.when {
                When::Rate(rate) => chance.draw(FAILURES + *place as u64) < rate,
                When::Nth(nth) => number == nth,
                When::Every(every) => number.is_multiple_of(every),
            }
        };
        let mut rules = self.plan.failures.iter().enumerate();
        rules.find(fits).map(|(_, rule)| rule.rv)
    }

    /// What was called so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Calls> {
        let score = self.score.lock();
        let each = score.functions.iter().map(|(function, count)| Calls {
            function: (*function).to_owned(),
            calls: count.calls,
            failed: count.failed,
            waited_microseconds: u64::try_from(count.waited.as_micros()).unwrap_or(u64::MAX),
        });
        each.collect()
    }
}

/// Whether a function works with a key, or makes one: what hardware is slow at and what is throttled.
fn is_operation(function: &str) -> bool {
    const OPERATIONS: [&str; 17] = [
        "C_Decrypt",
        "C_DecryptFinal",
        "C_DeriveKey",
        "C_Encrypt",
        "C_EncryptFinal",
        "C_GenerateKey",
        "C_GenerateKeyPair",
        "C_Sign",
        "C_SignFinal",
        "C_SignRecover",
        "C_UnwrapKey",
        "C_UnwrapKeyAuthenticated",
        "C_Verify",
        "C_VerifyFinal",
        "C_VerifySignature",
        "C_WrapKey",
        "C_WrapKeyAuthenticated",
    ];
    OPERATIONS.contains(&function)
}

/// The chance of one call.
struct Chance<'f> {
    seed: u64,
    function: &'f str,
    number: u64,
}

impl Chance<'_> {
    /// A number over 0 and under 1, another one for each `purpose`.
    fn draw(&self, purpose: u64) -> f64 {
        let mut mixed = mix(self.seed ^ 0x7374_726f_6e67_726f);
        for byte in self.function.bytes() {
            mixed = mix(mixed ^ u64::from(byte));
        }
        mixed = mix(mixed ^ self.number);
        mixed = mix(mixed ^ purpose);
        let high = u32::try_from(mixed >> 32).unwrap_or(0);
        (f64::from(high) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    /// A number of the standard normal distribution (Box and Muller).
    fn normal(&self) -> f64 {
        let (radius, angle) = (self.draw(LATENCY), self.draw(LATENCY + 1));
        (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
    }
}

/// The finaliser of SplitMix64: each bit of the result depends on each of the number.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What the draws of a call are for.
const LATENCY: u64 = 0;
const FAILURES: u64 = 16;

fn sample(distribution: Distribution, chance: &Chance<'_>) -> Duration {
    let of = |microseconds: u64| Duration::from_micros(microseconds).as_secs_f64();
    let time = match distribution {
        Distribution::Constant(time) => of(time),
        Distribution::Uniform(from, to) => of(from) + (of(to) - of(from)) * chance.draw(LATENCY),
        Distribution::Normal(mean, deviation) => of(mean) + of(deviation) * chance.normal(),
        Distribution::LogNormal(median, sigma) => of(median) * (sigma * chance.normal()).exp(),
        Distribution::Pareto(least, shape) => of(least) / chance.draw(LATENCY).powf(1.0 / shape),
        Distribution::Percentiles(median, p99) => {
            let sigma = (of(p99) / of(median)).ln() / NORMAL_P99;
            of(median) * (sigma * chance.normal()).exp()
        }
    };
    seconds(time)
}

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

/// A time, never negative and never so long that a test seems to hang for ever.
fn seconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time.max(0.0)).map_or(LONGEST, |time| time.min(LONGEST))
}

/// Longest wait of a call.
const LONGEST: Duration = Duration::from_mins(10);

fn check(plan: &Plan) -> Result<(), String> {
    for latency in &plan.latencies {
        known(latency.function.as_deref())?;
        check_distribution(latency.distribution)?;
    }
    for failure in &plan.failures {
        known(failure.function.as_deref())?;
        if failure.rv == Rv::OK {
            return Err("CKR_OK is no failure".to_owned());
        }
        let right = match failure.when {
            When::Rate(rate) => (0.0..=1.0).contains(&rate),
            When::Nth(number) | When::Every(number) => number > 0,
        };
        if !right {
            return Err(
                "a failure has a rate from 0 to 1, or the number of a call, from 1 on".to_owned(),
            );
        }
    }
    let fast = |throttle: &strongroom_wire::rehearsal::Throttle| {
        !(throttle.per_second >= 0.001 && throttle.per_second <= 1e9)
    };
    if plan.throttle.as_ref().is_some_and(fast) {
        return Err("a throttle lets from 0.001 to 1e9 operations through in a second".to_owned());
    }
    if plan
        .throttle
        .is_some_and(|throttle| throttle.rv == Some(Rv::OK))
    {
        return Err("CKR_OK is no failure".to_owned());
    }
    Ok(())
}

fn known(function: Option<&str>) -> Result<(), String> {
    match function {
        Some(name) if !FUNCTIONS.contains(&name) => Err(format!(
            "{name:?} is no function of PKCS#11 that concerns a token and reaches the daemon; write for example C_Sign, or * for all"
        )),
        _ => Ok(()),
    }
}

fn check_distribution(distribution: Distribution) -> Result<(), String> {
    let positive = |shape: f64| shape.is_finite() && shape > 0.0;
    let right = match distribution {
        Distribution::Constant(_) | Distribution::Normal(..) => true,
        Distribution::Uniform(from, to) => from <= to,
        Distribution::LogNormal(median, shape) | Distribution::Pareto(median, shape) => {
            median > 0 && positive(shape)
        }
        Distribution::Percentiles(median, p99) => median > 0 && median <= p99,
    };
    if right {
        Ok(())
    } else {
        Err(format!(
            "{distribution:?} is no distribution: bounds and percentiles ascend, shapes are over 0"
        ))
    }
}

#[cfg(test)]
mod tests;
