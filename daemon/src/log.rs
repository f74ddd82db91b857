//! The daemon's log: lines on standard error.
//!
//! What lives here: one subscriber that writes a line an event, as text or as JSON, at a level that may change while it runs.
//! What must never live here: secrets; the audit (that is the journal, and it is complete where the log is not).
//! Who calls it: start-up sets it up, a reload changes the level, `tracing` macros reach it from everywhere.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Failures of the daemon.
    Error,
    /// And what was refused.
    Warn,
    /// And start, stop, reload.
    #[default]
    Info,
    /// And every connection.
    Debug,
}

impl Level {
    /// The names of an operator's vocabulary.
    pub const NAMES: [&'static str; 4] = ["error", "warn", "info", "debug"];

    const fn number(self) -> u8 {
        match self {
            Self::Error => 1,
            Self::Warn => 2,
            Self::Info => 3,
            Self::Debug => 4,
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            _ => Err(format!(
                "\"{text}\" is no log level; it is one of {}",
                Self::NAMES.join(", ")
            )),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "\"{text}\" is no log format; it is \"text\" or \"json\""
            )),
        }
    }
}

/// Starts logging. A second call changes the level only.
pub fn start(level: Level, format: Format) {
    set_level(level);
    let started = tracing::subscriber::set_global_default(Lines { format });
    if started.is_ok() {
        std::panic::set_hook(Box::new(record_panic));
    }
}

/// Changes the level.
pub fn set_level(level: Level) {
    LEVEL.store(level.number(), Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

/// A panic's text may quote what it compared, and that may be secret: only the place is told.
fn record_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(String::new, ToString::to_string);
    tracing::error!(place, "a defect of the daemon: please report it");
}

struct Lines {
    format: Format,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= filter()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter())
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        let line = match self.format {
            Format::Text => fields.text(*level),
            Format::Json => fields.json(*level),
        };
        // Nobody is left to be told when standard error is gone.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    // The daemon opens no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn filter() -> LevelFilter {
    match LEVEL.load(Ordering::Relaxed) {
        0 | 1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn text(&self, level: tracing::Level) -> String {
        let mut line = format!("{} {level:<5} {}", timestamp(), one_line(&self.message));
        for (name, value) in &self.rest {
            // Strings come quoted and escaped, so that a stranger's file name cannot pretend to be a line of its own.
            let _ = write!(line, " {name}={value}");
        }
        line.push('\n');
        line
    }

    fn json(self, level: tracing::Level) -> String {
        let mut object = Map::new();
        object.insert("time".into(), timestamp().into());
        object.insert(
            "level".into(),
            level.to_string().to_ascii_lowercase().into(),
        );
        object.insert("message".into(), self.message.into());
        object.extend(self.rest);
        let mut line = Value::Object(object).to_string();
        line.push('\n');
        line
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.rest.insert(name.into(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn timestamp() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    date_and_time(since.as_secs(), since.subsec_millis())
}

/// RFC 3339, UTC.
fn date_and_time(seconds: u64, milliseconds: u32) -> String {
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    let mut left = days;
    while left >= year_days(year) {
        left -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    for days_of_month in month_days(year) {
        if left < days_of_month {
            break;
        }
        left -= days_of_month;
        month += 1;
    }
    (year, month, left + 1)
}

const fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn year_days(year: u64) -> u64 {
    if leap(year) { 366 } else { 365 }
}

const fn month_days(year: u64) -> [u64; 12] {
    [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ]
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info.number());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date_and_time(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date_and_time(951_782_399, 7), "2000-02-28T23:59:59.007Z");
        assert_eq!(date_and_time(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(date_and_time(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_stranger_cannot_forge_a_line() {
        let mut fields = Fields {
            message: "refused".into(),
            rest: Map::new(),
        };
        fields
            .rest
            .insert("executable".into(), "/tmp/x\nERROR forged".into());
        assert_eq!(fields.text(tracing::Level::WARN).matches('\n').count(), 1);
    }
}
