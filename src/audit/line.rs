//! A line of the journal in the making.
//!
//! What lives here: the bytes of a line: its members, numbers, strings, times and hashes, written by hand into a buffer that is kept,
//! because every answer waits for its line. The format is described in the audit's documentation.
//! What must never live here: the chain, and what a request says of itself.
//! Who calls it: the audit.

use std::sync::LazyLock;

use strongroom_crypto::digest::{Hash, digest};
use strongroom_wire::ck::{MechanismType, Rv};

use super::{Event, GENERATION, ImportFacts, OWN, Older, PREVIOUS, Principal, failed};
use crate::calendar::{Date, Moment};
use crate::ports::{StoreError, Time};
use crate::release::Account;

/// How many digits a hash has.
pub(super) const HASH_DIGITS: usize = 64;

/// A SHA-256 in lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashDigits([u8; HASH_DIGITS]);

impl HashDigits {
    /// What the first line names as the hash before it.
    pub(super) const ZERO: Self = Self([b'0'; HASH_DIGITS]);

    /// Of these bytes.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the crypto library fails.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, StoreError> {
        let value = digest(Hash::Sha256, bytes)
            .map_err(|_| failed("SHA-256 failed, so the line of the journal has no hash"))?;
        let mut digits = [0; HASH_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(value.as_ref()) {
            pair[0] = HEXADECIMAL[usize::from(byte >> 4)];
            pair[1] = HEXADECIMAL[usize::from(byte & 15)];
        }
        Ok(Self(digits))
    }

    /// None when these are not 64 lower-case digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes().try_into().ok()?;
        text.bytes()
            .all(|digit| HEXADECIMAL.contains(&digit))
            .then_some(Self(digits))
    }

    /// As text.
    pub(super) fn as_str(&self) -> &str {
        // Digits only, so it never falls back.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A line, and the room for the next one.
#[derive(Debug)]
pub(super) struct Line {
    bytes: Vec<u8>,
    timestamp: Timestamp,
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            timestamp: Timestamp::new(),
        }
    }

    /// All bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a line; the one before is gone.
    pub(super) fn begin(&mut self, sequence: u64, now: Time) {
        self.bytes.clear();
        self.text("{\"seq\":");
        self.number(sequence);
        self.text(",\"time\":\"");
        self.bytes.extend_from_slice(self.timestamp.at(now));
        self.text("\"");
    }

    /// The members of an event.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        let Principal {
            uid,
            gid,
            pid,
            executable,
            started: _,
        } = event.who;
        self.text(",\"uid\":");
        self.number(u64::from(*uid));
        self.text(",\"gid\":");
        self.number(u64::from(*gid));
        self.text(if *pid < 0 { ",\"pid\":-" } else { ",\"pid\":" });
        self.number(u64::from(pid.unsigned_abs()));
        self.text(",\"exe\":");
        self.string(executable);
        self.text(",\"function\":");
        self.string(event.function);
        let numbers = [
            (",\"slot\":", event.slot),
            (",\"session\":", event.session),
            (",\"object\":", event.object),
        ];
        for (member, number) in numbers {
            if let Some(number) = number {
                self.text(member);
                self.number(number);
            }
        }
        if let Some(identity) = event.object_id {
            self.text(",\"object_id\":");
            self.string(identity);
        }
        if let Some(mechanism) = event.mechanism {
            self.text(",\"mechanism\":\"");
            match mechanism_name(mechanism) {
                Some(name) => self.text(name),
                // Without a name it writes itself as a number.
                None => self.text(&mechanism.to_string()),
            }
            self.text("\"");
        }
        if let Some(import) = event.import {
            self.import(import);
        }
        if let Some(release) = event.release {
            self.release(release);
        }
        self.return_value(event.rv);
    }

    /// The members that say what is brought in.
    fn import(&mut self, import: &ImportFacts<'_>) {
        let words = [
            (",\"source\":", import.source),
            (",\"serial_number\":", import.serial_number),
        ];
        let flags = [
            (",\"new_token\":", import.new_token),
            (",\"keep_history\":", import.keep_history),
        ];
        let numbers = [
            (",\"objects\":", import.objects),
            (",\"refused\":", import.refused),
            (",\"trusted\":", import.trusted),
        ];
        for (member, word) in words {
            if let Some(word) = word {
                self.text(member);
                self.string(word);
            }
        }
        for (member, flag) in flags {
            if let Some(flag) = flag {
                self.text(member);
                self.text(if flag { "true" } else { "false" });
            }
        }
        for (member, number) in numbers {
            if let Some(number) = number {
                self.text(member);
                self.number(number);
            }
        }
        if let Some(hash) = import.metadata {
            self.text(",\"metadata\":");
            self.string(hash);
        }
    }

    /// The members that say how a release was decided.
    fn release(&mut self, release: &Account) {
        let words = [
            (",\"authority\":", release.authority.as_deref()),
            (",\"statement\":", release.statement.as_deref()),
            (",\"policy\":", release.policy.as_deref()),
            (",\"encrypted_to\":", release.key.as_deref()),
            (",\"encryption\":", release.encryption),
            (",\"trace\":", release.trace.as_deref()),
            (",\"refusal\":", release.refusal.as_deref()),
        ];
        for (member, word) in words {
            if let Some(word) = word {
                self.text(member);
                self.string(word);
            }
        }
        if let Some(entry) = release.entry {
            self.text(",\"entry\":");
            self.number(entry);
        }
        if release.withheld {
            self.text(",\"left\":false");
        }
    }

    /// The members of the event that explains torn lines.
    pub(super) fn recovered(&mut self, explanation: &str) {
        self.text(explanation);
        self.return_value(Rv::OK);
    }

    /// The members of the event that an older store was accepted.
    pub(super) fn older_accepted(&mut self, older: &Older) {
        self.text(",\"function\":\"store.older_accepted\",\"store_generation\":");
        self.number(older.store);
        self.text(",\"journal_generation\":");
        self.number(older.journal);
        self.return_value(Rv::OK);
    }

    /// How far the store is. The last member before the chain.
    pub(super) fn generation(&mut self, generation: u64) {
        self.text(GENERATION);
        self.number(generation);
    }

    /// Chains the line to the one before, and ends it; answers its hash.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the crypto library fails.
    pub(super) fn end(&mut self, previous: &HashDigits) -> Result<HashDigits, StoreError> {
        self.text(PREVIOUS);
        self.text(previous.as_str());
        self.text("\"");
        let hash = HashDigits::of(&self.bytes)?;
        self.text(OWN);
        self.text(hash.as_str());
        self.text("\"}");
        Ok(hash)
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn return_value(&mut self, rv: Rv) {
        self.text(",\"rv\":\"");
        match rv.name() {
            Some(name) => self.text(name),
            None => self.text(&rv.to_string()),
        }
        self.text("\"");
    }

    fn number(&mut self, mut number: u64) {
        // u64::MAX has 20 digits.
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = digit(number);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&digits[first..]);
    }

    /// A string of JSON (RFC 8259, 7), in its quotation marks. What must be escaped is ASCII, so bytes do.
    fn string(&mut self, text: &str) {
        self.text("\"");
        if text.bytes().any(must_be_escaped) {
            for byte in text.bytes() {
                self.string_byte(byte);
            }
        } else {
            self.text(text);
        }
        self.text("\"");
    }

    fn string_byte(&mut self, byte: u8) {
        match byte {
            b'"' | b'\\' => self.bytes.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let digit = |nibble| HEXADECIMAL[usize::from(nibble)];
                self.text("\\u00");
                self.bytes
                    .extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            _ => self.bytes.push(byte),
        }
    }
}

fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

/// The mechanism's name. There are hundreds, so they are sorted once, where `MechanismType::name` looks at one after the other.
fn mechanism_name(mechanism: MechanismType) -> Option<&'static str> {
    static NAMES: LazyLock<Vec<(MechanismType, &'static str)>> = LazyLock::new(|| {
        let mut names: Vec<_> = MechanismType::ALL
            .iter()
            .map(|(name, number)| (*number, *name))
            .collect();
        // Stable: of several names for one number the first counts, as everywhere.
        names.sort_by_key(|(number, _)| *number);
        names.dedup_by_key(|(number, _)| *number);
        names
    });
    let place = NAMES
        .binary_search_by_key(&mechanism, |(number, _)| *number)
        .ok()?;
    Some(NAMES[place].1)
}

/// A time as RFC 3339 has it, in UTC, with milliseconds. All but the milliseconds stays as it is for a second.
#[derive(Debug)]
struct Timestamp {
    text: [u8; 24],
    /// Which second since 1970 the text says; none at first.
    second: Option<u64>,
}

impl Timestamp {
    fn new() -> Self {
        Self {
            text: *b"0000-00-00T00:00:00.000Z",
            second: None,
        }
    }

    fn at(&mut self, now: Time) -> &[u8] {
        let second = now.0 / 1_000;
        if self.second != Some(second) {
            self.second = Some(second);
            let Moment {
                date,
                hour,
                minute,
                second,
                millisecond: _,
            } = now.into();
            let Date { year, month, day } = date;
            for (end, digits, number) in [
                (4, 4, year),
                (7, 2, month),
                (10, 2, day),
                (13, 2, hour),
                (16, 2, minute),
                (19, 2, second),
            ] {
                write_digits(&mut self.text[end - digits..end], u64::from(number));
            }
        }
        write_digits(&mut self.text[20..23], now.0 % 1_000);
        &self.text
    }
}

/// Decimal digits, as many as there are places, padded with zeros.
fn write_digits(places: &mut [u8], mut number: u64) {
    for place in places.iter_mut().rev() {
        *place = digit(number);
        number /= 10;
    }
}

/// The last decimal digit.
fn digit(number: u64) -> u8 {
    HEXADECIMAL[usize::try_from(number % 10).unwrap_or_default()]
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new();
        write(&mut line);
        String::from_utf8(line.bytes).unwrap()
    }

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        let known = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_343_807_123, "2026-11-22T10:36:47.123Z"),
            // The same second, and back by less than one.
            (1_795_343_807_999, "2026-11-22T10:36:47.999Z"),
            (1_795_343_807_000, "2026-11-22T10:36:47.000Z"),
            (1_795_343_806_999, "2026-11-22T10:36:46.999Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ];
        let mut kept = Timestamp::new();
        for (milliseconds, text) in known {
            assert_eq!(kept.at(Time(milliseconds)), text.as_bytes());
            assert_eq!(Timestamp::new().at(Time(milliseconds)), text.as_bytes());
        }
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 99, 100, 4711, u64::MAX - 1, u64::MAX] {
            assert_eq!(written(|line| line.number(number)), number.to_string());
        }
    }

    #[test]
    fn strings_are_what_json_reads_back() {
        let all: String = (0..=0x17f).filter_map(char::from_u32).collect();
        for text in [
            "",
            "/usr/bin/nginx",
            "é\u{1f600}",
            "\"",
            "a\\",
            "\0\n",
            &all,
        ] {
            let json = written(|line| line.string(text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(!json.contains('\n'));
        }
    }

    #[test]
    fn every_mechanism_has_its_name() {
        for (_, number) in MechanismType::ALL {
            assert_eq!(mechanism_name(*number), number.name());
        }
        assert_eq!(mechanism_name(MechanismType(0x8000_4711)), None);
    }

    #[test]
    fn hashes_parse_or_not() {
        let digits = "0123456789abcdef".repeat(4);
        assert_eq!(HashDigits::parse(&digits).unwrap().as_str(), digits);
        for wrong in ["", &digits[1..], &digits.to_uppercase(), &"g".repeat(64)] {
            assert_eq!(HashDigits::parse(wrong), None);
        }
    }
}
