//! The audit: what was asked, by whom, and what was answered, as a chain of lines that nobody changes unseen.
//!
//! What lives here: the event, its line, the chain, and [`Recorded`], without which nothing is answered. What must never live
//! here: a secret, a label, or any value of an object. Who calls it: the service records every answer; administration verifies.
//!
//! # The line
//!
//! One JSON object a line, without spaces between its members, in this order; a member that does not apply is left out:
//!
//! ```json
//! {"seq":1,"time":"2026-11-22T10:36:47.123Z","uid":1000,"gid":1000,"pid":4711,"exe":"/usr/bin/nginx","function":"C_Sign",
//!  "slot":1,"session":7,"object":3,"object_id":"5f…","mechanism":"CKM_ECDSA","rv":"CKR_OK","generation":57,"prev":"<64 digits>",
//!  "hash":"<64 digits>"}
//! ```
//!
//! Where objects are brought in, `source`, `serial_number`, `new_token`, `keep_history`, `objects`, `refused`, `trusted` and `metadata` stand
//! before `rv`, each as far as it is known.
//!
//! Where a key is released or refused, `authority`, `statement`, `policy`, `entry`, `encrypted_to`, `encryption`, `trace` and `refusal` stand
//! before `rv`, each as far as it is known. `left` is false where a key was permitted to leave and did not: C_WrapKey was asked for the length alone, or
//! failed.
//!
//! `hash` is the SHA-256, in lower-case hexadecimal, of all bytes of the line before `,"hash":"`. `prev` is the `hash` of the line
//! before, 64 zeros in the first. `seq` counts from 1 without gaps. So a stranger checks a line with
//! `printf %s "${line%,\"hash\":*}" | sha256sum`, and the chain by comparing each `prev` (`jq -r .prev`) with the `hash` before it.
//!
//! `generation` says how far the store was when the line was written: a number that grows with every commit. It is there when it is not
//! what the line said that had one last, and at least every thousand lines. It never falls along the chain. A store that is behind it is an
//! older copy. When an operator accepts one all the same, that is the event `store.older_accepted`, with `store_generation` and
//! `journal_generation`.
//!
//! # After a crash
//!
//! A line that was cut off in its middle stays as it is. The next line is then the event `journal.recovered`, chained to the last
//! whole line; its `torn_lines` says how many cut lines precede it, and `torn` is the SHA-256 over their bytes, joined by line feeds.
//!
//! # What the chain proves
//!
//! Changing, removing, inserting or exchanging lines is found, with the number of the line. Cutting lines off the end is **not**
//! found from the journal alone, nor is a chain that was computed anew from some line on: whoever keeps a `hash` elsewhere finds
//! both. Signed heads are left to a later version.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_wire::admin::AuditReport;
use strongroom_wire::ck::{MechanismType, Rv};

pub use self::freshness::{Freshness, Older};
use self::line::{HASH_DIGITS, HashDigits, Line};
use crate::ports::{Clock, Journal, StoreError, Time};
use crate::release::Account;
use crate::vault::Generation;

mod freshness;
mod line;
#[cfg(test)]
mod tests;

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Every request.
    #[default]
    All,
    /// Logins, and what makes, changes or destroys tokens and objects.
    Management,
    /// Nothing.
    None,
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::All => "all",
            Self::Management => "management",
            Self::None => "none",
        })
    }
}

/// A word that is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the audit level is one of all, management, none")
    }
}

impl std::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        let all = [Self::All, Self::Management, Self::None];
        all.into_iter()
            .find(|level| level.to_string() == word)
            .ok_or(UnknownLevel)
    }
}

/// Who asked, as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process.
    pub pid: i32,
    /// Path of its program.
    pub executable: String,
    /// When its process was started, in ticks since the machine was, if that is known.
    pub started: Option<u64>,
}

/// One request and its outcome.
#[derive(Clone, Debug)]
pub struct Event<'e> {
    /// Who asked.
    pub who: &'e Principal,
    /// What: the name of the function, or of the administrative request ("admin.token_create").
    pub function: &'e str,
    /// Whether it logs in, makes, changes or destroys something.
    pub management: bool,
    /// On which slot.
    pub slot: Option<u64>,
    /// In which session.
    pub session: Option<u64>,
    /// On which object: its handle.
    pub object: Option<u64>,
    /// Its `CKA_UNIQUE_ID`; of a backup or a restore, the id that stands in the header of the file.
    pub object_id: Option<&'e str>,
    /// By which mechanism.
    pub mechanism: Option<MechanismType>,
    /// What is brought in from elsewhere, where that is what was asked.
    pub import: Option<&'e ImportFacts<'e>>,
    /// What was found about a release, where one is asked for.
    pub release: Option<&'e Account>,
    /// What is answered.
    pub rv: Rv,
}

/// What the journal says of objects that are brought in: from where, whereto, how many, and a hash by which they are known again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportFacts<'e> {
    /// Where they come from, as the importer says.
    pub source: Option<&'e str>,
    /// The serial number of the token they go to; empty when that is not chosen yet.
    pub serial_number: Option<&'e str>,
    /// Whether the token is made for them.
    pub new_token: Option<bool>,
    /// Whether what they say of their history is kept.
    pub keep_history: Option<bool>,
    /// How many there are.
    pub objects: Option<u64>,
    /// How many were refused.
    pub refused: Option<u64>,
    /// How many are trusted (`CKA_TRUSTED`): nobody but the security officer could make them so.
    pub trusted: Option<u64>,
    /// SHA-256 over what is stored of them that is no secret, one after the other.
    pub metadata: Option<&'e str>,
}

/// An answer whose event is in the journal, or need not be. The audit makes it and nobody else, so an answer without a line
/// cannot be sent by mistake.
///
/// ```compile_fail,E0423
/// use strongroom::audit::Recorded;
/// fn unrecorded(answer: u64) -> Recorded<u64> {
///     Recorded(answer)
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Recorded<T>(T);

impl<T> Recorded<T> {
    /// The answer.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// The writer of the journal.
pub struct Audit {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    level: Level,
    /// How far the store is.
    generation: Generation,
    chain: Mutex<Chain>,
}

struct Chain {
    head: Head,
    /// The generation that a line of this process said last; 0 before.
    said: u64,
    /// An append failed: the journal may hold the line, a part of it or nothing.
    uncertain: bool,
    /// The line in the making; kept for its room.
    line: Line,
}

/// The last whole line.
#[derive(Clone, Copy)]
struct Head {
    sequence: u64,
    hash: HashDigits,
}

impl Audit {
    /// Goes on where the journal ends. With [`Level::None`] the journal is not touched.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read, or its last whole line was changed.
    pub fn open(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        level: Level,
        generation: Generation,
    ) -> Result<Self, StoreError> {
        let mut chain = Chain {
            head: Head::default(),
            said: 0,
            uncertain: false,
            line: Line::new(),
        };
        if level != Level::None {
            chain.recover(&*journal, &*clock)?;
        }
        Ok(Self {
            journal,
            clock,
            level,
            generation,
            chain: Mutex::new(chain),
        })
    }

    /// Compares the store with what the journal has seen of it.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub fn freshness(&self) -> Result<Freshness, StoreError> {
        if self.level == Level::None {
            return Ok(Freshness::NotRecorded);
        }
        freshness::compare(&*self.journal, self.generation.get())
    }

    /// Records that an older store was accepted. Whatever the level asks for: nobody shall find less in the journal than was there.
    ///
    /// # Errors
    /// [`StoreError`]; then it may not be used.
    pub fn record_older_accepted(&self, older: &Older) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.chain
            .lock()
            .append(&*self.journal, now, None, |line| line.older_accepted(older))
    }

    /// What is recorded.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Asks before something is changed whether a line could tell of it: a full disk then refuses the change, not its answer.
    ///
    /// # Errors
    /// [`StoreError`]; nothing may then be done.
    pub fn make_room(&self) -> Result<(), StoreError> {
        if self.level == Level::None {
            return Ok(());
        }
        self.journal.make_room()
    }

    /// Records an event, where the level asks for it, and lets the answer go.
    ///
    /// # Errors
    /// [`StoreError`]; nothing may then be answered but that failure.
    pub fn record<T>(&self, event: &Event<'_>, answer: T) -> Result<Recorded<T>, StoreError> {
        let wanted = match self.level {
            Level::All => true,
            Level::Management => event.management,
            Level::None => false,
        };
        if wanted {
            let mut chain = self.chain.lock();
            if chain.uncertain {
                chain.recover(&*self.journal, &*self.clock)?;
            }
            // Inside the lock, so that times ascend with the sequence.
            let now = self.clock.now();
            // And the generation, so that it never falls.
            let generation = Some(self.generation.get());
            chain.append(&*self.journal, now, generation, |line| line.event(event))?;
        }
        Ok(Recorded(answer))
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Audit({})", self.level)
    }
}

impl Default for Head {
    /// Before the first line.
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: HashDigits::ZERO,
        }
    }
}

impl Chain {
    /// Finds the last whole line, and records torn ones behind it.
    fn recover(&mut self, journal: &dyn Journal, clock: &dyn Clock) -> Result<(), StoreError> {
        let (head, torn) = last_whole_line(journal)?;
        self.head = head;
        if !torn.is_empty() {
            let explanation = explanation_of(&torn)?;
            self.append(journal, clock.now(), None, |line| {
                line.recovered(&explanation);
            })?;
        }
        self.uncertain = false;
        Ok(())
    }

    fn append(
        &mut self,
        journal: &dyn Journal,
        now: Time,
        generation: Option<u64>,
        members: impl FnOnce(&mut Line),
    ) -> Result<(), StoreError> {
        let Self {
            head,
            said,
            uncertain,
            line,
        } = self;
        let sequence = head.sequence + 1;
        line.begin(sequence, now);
        members(line);
        let again = sequence.is_multiple_of(freshness::SAID_EVERY);
        let generation = generation.filter(|now| *now > 0 && (now != said || again));
        if let Some(generation) = generation {
            line.generation(generation);
        }
        let hash = line.end(&head.hash)?;
        *uncertain = true;
        journal.append(line.bytes())?;
        *uncertain = false;
        *said = generation.unwrap_or(*said);
        *head = Head { sequence, hash };
        Ok(())
    }
}

/// The last whole line, and the torn ones behind it.
fn last_whole_line(journal: &dyn Journal) -> Result<(Head, Vec<Vec<u8>>), StoreError> {
    let mut asked = 4;
    loop {
        let mut lines = journal.tail(asked)?;
        let whole = lines.iter().rposition(|line| Parsed::of(line).is_some());
        if whole.is_none() && lines.len() == asked {
            // Torn lines only, so far: crash upon crash.
            asked *= 4;
            continue;
        }
        let torn = lines.split_off(whole.map_or(0, |whole| whole + 1));
        let Some(parsed) = lines.last().and_then(|line| Parsed::of(line)) else {
            return Ok((Head::default(), torn));
        };
        if !parsed.hash_fits()? {
            return Err(failed(
                "the last line of the journal was changed: its hash does not fit; set the journal aside and start a new one",
            ));
        }
        return Ok((
            Head {
                sequence: parsed.sequence,
                hash: parsed.hash,
            },
            torn,
        ));
    }
}

/// Checks the chain of a journal, from its first line to its last.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn verify(journal: &dyn Journal) -> Result<AuditReport, StoreError> {
    let mut check = Check::default();
    let mut outcome = Ok(());
    journal.read(&mut |line| {
        outcome = check.see(line);
        outcome.is_ok() && check.broken.is_none()
    })?;
    outcome?;
    if check.broken.is_none() && !check.torn.is_empty() {
        check.broken = Some((check.first_torn, NOT_WHOLE.into()));
    }
    let Check {
        lines,
        head,
        broken,
        generation,
        ..
    } = check;
    Ok(AuditReport {
        lines,
        head: head.hash.as_str().to_owned(),
        broken,
        generation,
    })
}

/// Compares a store of this generation with what a journal has seen of it.
///
/// # Errors
/// [`StoreError`] when the journal cannot be read.
pub fn compare(journal: &dyn Journal, store: u64) -> Result<Freshness, StoreError> {
    freshness::compare(journal, store)
}

/// The last lines, oldest first.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub fn tail(journal: &dyn Journal, lines: usize) -> Result<Vec<String>, StoreError> {
    let lines = journal.tail(lines)?;
    Ok(lines
        .iter()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect())
}

#[derive(Default)]
struct Check {
    lines: u64,
    head: Head,
    /// Torn lines that no whole line has explained yet.
    torn: Vec<Vec<u8>>,
    first_torn: u64,
    broken: Option<(u64, String)>,
    /// The newest one that a line says.
    generation: Option<u64>,
}

impl Check {
    fn see(&mut self, line: &[u8]) -> Result<(), StoreError> {
        self.lines += 1;
        let Some(parsed) = Parsed::of(line) else {
            if self.torn.is_empty() {
                self.first_torn = self.lines;
            }
            self.torn.push(line.to_vec());
            return Ok(());
        };
        if !self.torn_are_explained(&parsed)? {
            self.broken = Some((self.first_torn, NOT_WHOLE.into()));
            return Ok(());
        }
        self.torn.clear();
        let fault = if !parsed.hash_fits()? {
            Some("its hash does not fit its bytes: it was changed")
        } else if parsed.sequence != self.head.sequence + 1 {
            Some(
                "its number does not follow the one before: lines were removed, inserted or exchanged",
            )
        } else if parsed.previous != self.head.hash {
            Some("it does not name the hash of the line before: that one was exchanged")
        } else if parsed.generation() < self.generation && parsed.generation().is_some() {
            Some(
                "the store was of an earlier generation than at a line before: an older store was used, and nobody said so",
            )
        } else {
            None
        };
        match fault {
            Some(fault) => self.broken = Some((self.lines, fault.into())),
            None => {
                self.generation = parsed.generation().or(self.generation);
                self.head = Head {
                    sequence: parsed.sequence,
                    hash: parsed.hash,
                };
            }
        }
        Ok(())
    }

    fn torn_are_explained(&self, parsed: &Parsed<'_>) -> Result<bool, StoreError> {
        if self.torn.is_empty() {
            return Ok(true);
        }
        // Inside a JSON string a quotation mark is escaped, so this cannot be part of a value.
        Ok(parsed.body.contains(&explanation_of(&self.torn)?))
    }
}

/// The members by which a line explains the torn ones before it.
fn explanation_of(torn: &[Vec<u8>]) -> Result<String, StoreError> {
    let lines = torn.len();
    let hash = HashDigits::of(&torn.join(&b'\n'))?;
    Ok(format!(
        ",{RECOVERED},\"torn_lines\":{lines},\"torn\":\"{}\"",
        hash.as_str()
    ))
}

/// A line that has its beginning and its end, so it was written whole.
struct Parsed<'l> {
    /// What the hash covers.
    body: &'l str,
    /// What stands before `prev`.
    members: &'l str,
    sequence: u64,
    previous: HashDigits,
    hash: HashDigits,
}

impl<'l> Parsed<'l> {
    fn of(line: &'l [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (body, hash) = split_hash(line.strip_suffix("\"}")?, OWN)?;
        let (members, previous) = split_hash(body.strip_suffix('"')?, PREVIOUS)?;
        let (sequence, _) = members
            .strip_prefix("{\"seq\":")?
            .split_once(",\"time\":\"")?;
        let canonical = !sequence.starts_with(['0', '+']);
        let sequence = sequence.parse().ok().filter(|_| canonical)?;
        Some(Self {
            body,
            members,
            sequence,
            previous,
            hash,
        })
    }

    /// The generation, if the line says one. A string's quotation mark is escaped, so this cannot be part of a value.
    fn generation(&self) -> Option<u64> {
        let (_, number) = self.members.rsplit_once(GENERATION)?;
        number.parse().ok()
    }

    fn hash_fits(&self) -> Result<bool, StoreError> {
        Ok(HashDigits::of(self.body.as_bytes())? == self.hash)
    }
}

/// Splits `…member<64 digits>`.
fn split_hash<'l>(text: &'l str, member: &str) -> Option<(&'l str, HashDigits)> {
    let (rest, hash) = text.split_at_checked(text.len().checked_sub(HASH_DIGITS)?)?;
    Some((rest.strip_suffix(member)?, HashDigits::parse(hash)?))
}

fn failed(what: &str) -> StoreError {
    StoreError::Failed(what.into())
}

const PREVIOUS: &str = ",\"prev\":\"";
const OWN: &str = ",\"hash\":\"";
const GENERATION: &str = ",\"generation\":";
const RECOVERED: &str = "\"function\":\"journal.recovered\"";
const NOT_WHOLE: &str =
    "it is not whole, and no recovery after a crash is recorded behind it: it was cut or changed";
