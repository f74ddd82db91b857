//! Rehearsals in words: what the operator writes, and what is shown.
//!
//! What lives here: the small language of times, distributions and failures, the profiles, and the way back to words.
//! What must never live here: what a plan does; the token knows.
//! Who calls it: the arguments, and `strongroom rehearse`.

use strongroom_wire::ck::Rv;
use strongroom_wire::rehearsal::{Distribution, FUNCTIONS, Failure, Latency, Plan, Throttle, When};

/// `[FUNCTION=]DISTRIBUTION`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn latency(text: &str) -> Result<Latency, String> {
    let (function, distribution) = match text.split_once('=') {
        Some((name, rest)) if name == "*" || name.starts_with("C_") => (function(name)?, rest),
        _ => (None, text),
    };
    Ok(Latency {
        function,
        distribution: distribution_of(distribution)?,
    })
}

/// `FUNCTION=WHEN:CKR_…`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn failure(text: &str) -> Result<Failure, String> {
    const FORM: &str = "write FUNCTION=WHEN:CKR_…, for example C_Sign=0.01:CKR_DEVICE_ERROR, C_Login=nth(3):CKR_PIN_LOCKED or *=every(100):CKR_FUNCTION_FAILED";
    let (name, rest) = text.split_once('=').ok_or(FORM)?;
    let (when, rv) = rest.rsplit_once(':').ok_or(FORM)?;
    let number = |inner: &str| {
        let number: Option<u64> = inner.parse().ok();
        number
            .filter(|number| *number > 0)
            .ok_or_else(|| format!("\"{inner}\" is no number of a call, from 1 on"))
    };
    let when = if let Some(inner) = within(when, "nth") {
        When::Nth(number(inner)?)
    } else if let Some(inner) = within(when, "every") {
        When::Every(number(inner)?)
    } else {
        let rate: Option<f64> = when.parse().ok();
        let rate = rate.filter(|rate| (0.0..=1.0).contains(rate));
        When::Rate(rate.ok_or_else(|| {
            format!("\"{when}\" is no rate from 0 to 1, nor nth(N), nor every(N)")
        })?)
    };
    Ok(Failure {
        function: function(name)?,
        when,
        rv: return_value(rv)?,
    })
}

/// `PER_SECOND[:CKR_…]`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn throttle(text: &str) -> Result<Throttle, String> {
    let (number, rv) = match text.split_once(':') {
        Some((number, rv)) => (number, Some(return_value(rv)?)),
        None => (text, None),
    };
    let per_second: Option<f64> = number.trim_end_matches("/s").parse().ok();
    per_second
        .filter(|number| (0.001..=1e9).contains(number))
        .map(|per_second| Throttle { per_second, rv })
        .ok_or_else(|| {
            format!("\"{number}\" is no number of operations in a second, from 0.001 to 1e9")
        })
}

fn function(name: &str) -> Result<Option<String>, String> {
    match name {
        "*" => Ok(None),
        known if FUNCTIONS.contains(&known) => Ok(Some(known.to_owned())),
        other => Err(format!(
            "\"{other}\" is no function that concerns a token; write for example C_Sign, or * for all"
        )),
    }
}

fn return_value(name: &str) -> Result<Rv, String> {
    let found = Rv::ALL.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, Rv::OK)) => Err("CKR_OK is no failure".to_owned()),
        Some((_, rv)) => Ok(*rv),
        None => Err(format!(
            "\"{name}\" is no return value of PKCS#11; write for example CKR_DEVICE_ERROR"
        )),
    }
}

/// What stands between the brackets behind a word.
fn within<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.strip_prefix(word)?
        .strip_prefix('(')?
        .strip_suffix(')')
}

fn distribution_of(text: &str) -> Result<Distribution, String> {
    let text = text.trim();
    let two = |inner: &str| -> Result<(u64, u64), String> {
        let (one, other) = pair(inner)?;
        Ok((microseconds(one)?, microseconds(other)?))
    };
    let shaped = |inner: &str| -> Result<(u64, f64), String> {
        let (time, shape) = pair(inner)?;
        let shape: Option<f64> = shape.parse().ok();
        let shape = shape.filter(|shape| shape.is_finite() && *shape > 0.0);
        let shape = shape.ok_or_else(|| format!("{text}: the second is a number over 0"))?;
        Ok((microseconds(time)?, shape))
    };
    if let Some(inner) = within(text, "uniform") {
        let (from, to) = two(inner)?;
        return Ok(Distribution::Uniform(from, to));
    }
    if let Some(inner) = within(text, "normal") {
        let (mean, deviation) = two(inner)?;
        return Ok(Distribution::Normal(mean, deviation));
    }
    if let Some(inner) = within(text, "lognormal") {
        let (median, sigma) = shaped(inner)?;
        return Ok(Distribution::LogNormal(median, sigma));
    }
    if let Some(inner) = within(text, "pareto") {
        let (least, shape) = shaped(inner)?;
        return Ok(Distribution::Pareto(least, shape));
    }
    if let Some(rest) = text.strip_prefix("p50=") {
        let (median, p99) = pair(rest)?;
        let p99 = p99.strip_prefix("p99=");
        let p99 = p99.ok_or_else(|| format!("{text}: write p50=3ms,p99=40ms"))?;
        return Ok(Distribution::Percentiles(
            microseconds(median)?,
            microseconds(p99)?,
        ));
    }
    microseconds(text).map(Distribution::Constant)
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    let (one, other) = text
        .split_once(',')
        .ok_or_else(|| format!("\"{text}\": two values with a comma are wanted"))?;
    Ok((one.trim(), other.trim()))
}

/// A time with its unit, in microseconds.
fn microseconds(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 4] = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("min", 6e7)];
    let wrong = || format!("\"{text}\" is no time; write for example 300us, 5ms, 1.5s or 2min");
    let unit_at = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let time = number * factor / 1e6;
    let time = std::time::Duration::try_from_secs_f64(time).map_err(|_| wrong())?;
    u64::try_from(time.as_micros()).map_err(|_| wrong())
}

/// The profiles: name, what it imitates, and its plan as the options that would make it.
///
/// The figures are made up, in the order of magnitude that such devices have; measure your own and write them in their place.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "network-hsm",
        about: "an appliance in the same data centre: some milliseconds, now and then many, a failure in ten thousand calls",
        latencies: &[
            "p50=1ms,p99=12ms",
            "C_Sign=p50=3ms,p99=30ms",
            "C_Decrypt=p50=3ms,p99=30ms",
            "C_GenerateKeyPair=p50=120ms,p99=900ms",
        ],
        failures: &["*=0.0001:CKR_DEVICE_ERROR"],
        sessions_max: Some(1024),
        throttle: Some("2000"),
        room: None,
    },
    Profile {
        name: "usb-token",
        about: "a smart card behind USB: signatures take a third of a second, few sessions, little room",
        latencies: &[
            "normal(15ms,3ms)",
            "C_Sign=normal(320ms,40ms)",
            "C_Decrypt=normal(350ms,40ms)",
            "C_GenerateKeyPair=lognormal(6s,0.6)",
            "C_Login=normal(250ms,30ms)",
        ],
        failures: &[],
        sessions_max: Some(16),
        throttle: None,
        room: Some(32),
    },
    Profile {
        name: "far-cloud-hsm",
        about: "a service in another region: a long way, a long tail, and a bound on calls that refuses",
        latencies: &["p50=35ms,p99=250ms"],
        failures: &["*=0.001:CKR_DEVICE_ERROR"],
        sessions_max: Some(256),
        throttle: Some("100:CKR_FUNCTION_FAILED"),
        room: None,
    },
    Profile {
        name: "failing-hsm",
        about: "a device at the end of its life: slow now and then, and one call in fifty fails",
        latencies: &["pareto(500us,1.2)"],
        failures: &[
            "C_Sign=0.02:CKR_DEVICE_ERROR",
            "C_OpenSession=0.02:CKR_SESSION_COUNT",
            "*=0.01:CKR_FUNCTION_FAILED",
        ],
        sessions_max: None,
        throttle: None,
        room: None,
    },
];

/// A plan with a name.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it imitates.
    pub about: &'static str,
    latencies: &'static [&'static str],
    failures: &'static [&'static str],
    sessions_max: Option<u64>,
    throttle: Option<&'static str>,
    room: Option<u64>,
}

impl Profile {
    /// The one of that name.
    ///
    /// # Errors
    /// Names all there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = PROFILES.iter().find(|profile| profile.name == name);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
            format!(
                "there is no profile \"{name}\"; there are {}",
                names.join(", ")
            )
        })
    }

    /// Its plan.
    ///
    /// # Errors
    /// Where a profile is written wrongly; a test looks at all of them.
    pub fn plan(&self) -> Result<Plan, String> {
        Ok(Plan {
            name: Some(self.name.to_owned()),
            seed: 0,
            latencies: each(self.latencies, latency)?,
            failures: each(self.failures, failure)?,
            sessions_max: self.sessions_max,
            throttle: self.throttle.map(throttle).transpose()?,
            room: self.room,
        })
    }
}

fn each<T>(texts: &[&str], parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    texts.iter().map(|text| parse(text)).collect()
}

/// The plan in words, one rule a line: what it is about, and the rule.
#[must_use]
pub fn described(plan: &Plan) -> Vec<(String, String)> {
    let of = |function: &Option<String>| function.clone().unwrap_or_else(|| "*".to_owned());
    let mut lines = Vec::new();
    let mut add = |name: &str, text: String| lines.push((name.to_owned(), text));
    if let Some(name) = &plan.name {
        add("profile", name.clone());
    }
    add("seed", plan.seed.to_string());
    for rule in &plan.latencies {
        let text = format!("{} {}", of(&rule.function), shown(rule.distribution));
        add("latency", text);
    }
    for rule in &plan.failures {
        let when = match rule.when {
            When::Rate(rate) => format!("{} % of calls", rate * 100.0),
            When::Nth(number) => format!("call number {number}"),
            When::Every(number) => format!("each {number}th call"),
        };
        add(
            "failure",
            format!("{} {when}: {}", of(&rule.function), rule.rv),
        );
    }
    if let Some(most) = plan.sessions_max {
        add("sessions", format!("at most {most}"));
    }
    if let Some(throttle) = plan.throttle {
        let beyond = throttle
            .rv
            .map_or_else(|| "wait".to_owned(), |rv| format!("are refused: {rv}"));
        let text = format!(
            "{} operations a second; those beyond {beyond}",
            throttle.per_second
        );
        add("throttle", text);
    }
    if let Some(room) = plan.room {
        add("room", format!("for {room} token objects"));
    }
    lines
}

fn shown(distribution: Distribution) -> String {
    match distribution {
        Distribution::Constant(time) => time_shown(time),
        Distribution::Uniform(from, to) => {
            format!("{} to {}", time_shown(from), time_shown(to))
        }
        Distribution::Normal(mean, deviation) => format!(
            "normal, mean {}, deviation {}",
            time_shown(mean),
            time_shown(deviation)
        ),
        Distribution::LogNormal(median, sigma) => {
            format!("log-normal, median {}, sigma {sigma}", time_shown(median))
        }
        Distribution::Pareto(least, shape) => {
            format!("Pareto, least {}, shape {shape}", time_shown(least))
        }
        Distribution::Percentiles(median, p99) => {
            format!("p50 {}, p99 {}", time_shown(median), time_shown(p99))
        }
    }
}

/// Microseconds as a person reads them.
#[must_use]
pub fn time_shown(microseconds: u64) -> String {
    format!("{:?}", std::time::Duration::from_micros(microseconds)).replace('µ', "u")
}
