//! Release policies: what a key demands of the place that it leaves to (grammar 1.0.0).
//!
//! What lives here: the grammar with its bounds, and the decision with its trace.
//! What must never live here: whether claims are true (statement).
//! Who calls it: the rules of attributes when a policy is set, the chapter of releases when a key is to leave.
//!
//! ```json
//! {"version":"1.0.0",
//!  "anyOf":[{"authority":"https://attest.example",
//!            "allOf":[{"claim":"x-ms-attestation-type","equals":"sevsnpvm"},
//!                     {"anyOf":[{"claim":"x-ms-runtime.vm.zone","equals":1},{"claim":"test","equals":true}]}]}]}
//! ```

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::hex;

use super::text::authority_form;

/// A policy that was read and is within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    entries: Vec<Entry>,
}

/// What one authority must say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// In its one form.
    authority: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// A claim, and the text of its value.
    Claim {
        name: String,
        equals: String,
    },
    Any(Vec<Self>),
    All(Vec<Self>),
}

/// What a policy says of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The entry that permits, counted from 0; none refuses.
    pub entry: Option<usize>,
    /// How it came to that, for the journal: names of claims and whether they are as demanded, never their values.
    pub trace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(alias = "Version")]
    version: String,
    #[serde(rename = "anyOf", alias = "anyof", alias = "AnyOf")]
    any_of: Vec<WrittenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    #[serde(alias = "Authority")]
    authority: String,
    #[serde(rename = "anyOf", alias = "anyof", alias = "AnyOf", default)]
    any_of: Option<Vec<WrittenCondition>>,
    #[serde(rename = "allOf", alias = "allof", alias = "AllOf", default)]
    all_of: Option<Vec<WrittenCondition>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCondition {
    #[serde(alias = "Claim", default)]
    claim: Option<String>,
    #[serde(alias = "Equals", default)]
    equals: Option<Value>,
    #[serde(rename = "anyOf", alias = "anyof", alias = "AnyOf", default)]
    any_of: Option<Vec<Self>>,
    #[serde(rename = "allOf", alias = "allof", alias = "AllOf", default)]
    all_of: Option<Vec<Self>>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(format!(
                "the policy has {} bytes; {POLICY_BYTES_MAX} are the most",
                bytes.len()
            ));
        }
        // What stands twice is refused here too: serde's structures take each member once, whichever of its spellings it has.
        let written: Written = serde_json::from_slice(bytes)
            .map_err(|error| format!("the policy is none of grammar 1.0.0: {error}"))?;
        if !matches!(written.version.as_str(), "1.0.0" | "1.0") {
            return Err("the version of the policy is not 1.0.0".to_owned());
        }
        if written.any_of.is_empty() {
            return Err(
                "the policy's list anyOf is empty: nothing would ever be released".to_owned(),
            );
        }
        let mut room = CONDITIONS_MAX;
        let entries = written
            .any_of
            .into_iter()
            .map(|entry| Entry::taken(entry, &mut room))
            .collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// SHA-256 of a policy as it stands in its key, in hexadecimal.
    ///
    /// # Errors
    /// When the primitive fails.
    pub fn hash(bytes: &[u8]) -> Result<String, strongroom_crypto::Error> {
        Ok(hex::shown(digest(Hash::Sha256, bytes)?.as_ref()))
    }

    /// Whether an authority is named at all.
    #[must_use]
    pub fn names(&self, authority: &str) -> bool {
        let authority = authority_form(authority);
        let named = |entry: &Entry| Some(&entry.authority) == authority.as_ref();
        self.entries.iter().any(named)
    }

    /// Whether what an authority says is enough.
    #[must_use]
    pub fn decide(&self, authority: &str, claims: &Value) -> Decision {
        let authority = authority_form(authority);
        let mut trace = String::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if Some(&entry.authority) != authority.as_ref() {
                let _ = write!(trace, "[{index}] another authority; ");
                continue;
            }
            let _ = write!(trace, "[{index}] ");
            let fits = entry.condition.fits(claims, &mut trace);
            let _ = write!(trace, " -> {}; ", if fits { "permits" } else { "refuses" });
            if fits {
                return Decision {
                    entry: Some(index),
                    trace: shortened(trace),
                };
            }
        }
        Decision {
            entry: None,
            trace: shortened(trace),
        }
    }
}

impl Entry {
    fn taken(written: WrittenEntry, room: &mut usize) -> Result<Self, String> {
        let authority = authority_form(&written.authority)
            .ok_or_else(|| format!("the authority {:?} is no URL", written.authority))?;
        let condition = lists(written.any_of, written.all_of, 1, room)?.ok_or(
            "an authority of the policy has neither anyOf nor allOf, so it would demand nothing",
        )?;
        Ok(Self {
            authority,
            condition,
        })
    }
}

/// One of the two lists, if there is one.
fn lists(
    any_of: Option<Vec<WrittenCondition>>,
    all_of: Option<Vec<WrittenCondition>>,
    depth: usize,
    room: &mut usize,
) -> Result<Option<Condition>, String> {
    let mut taken = |list: Vec<WrittenCondition>| {
        if list.is_empty() {
            return Err("a list of the policy is empty".to_owned());
        }
        if depth > DEPTH_MAX {
            return Err(format!(
                "the policy is deeper than {DEPTH_MAX} lists in each other"
            ));
        }
        list.into_iter()
            .map(|condition| Condition::taken(condition, depth + 1, room))
            .collect::<Result<Vec<_>, _>>()
    };
    match (any_of, all_of) {
        (Some(_), Some(_)) => Err("one place of the policy has both anyOf and allOf".to_owned()),
        (Some(any), None) => Ok(Some(Condition::Any(taken(any)?))),
        (None, Some(all)) => Ok(Some(Condition::All(taken(all)?))),
        (None, None) => Ok(None),
    }
}

impl Condition {
    fn taken(written: WrittenCondition, depth: usize, room: &mut usize) -> Result<Self, String> {
        *room = room
            .checked_sub(1)
            .ok_or_else(|| format!("the policy has more than {CONDITIONS_MAX} conditions"))?;
        let WrittenCondition {
            claim,
            equals,
            any_of,
            all_of,
        } = written;
        let list = lists(any_of, all_of, depth, room)?;
        match (claim, equals, list) {
            (None, None, Some(list)) => Ok(list),
            (Some(name), Some(value), None) => {
                let whole = !name.is_empty() && name.split('.').all(|part| !part.is_empty());
                if !whole {
                    return Err(format!("the claim name {name:?} has an empty part"));
                }
                let equals = scalar(&value).ok_or_else(|| {
                    format!("the claim {name:?} must equal a string, a number, true or false")
                })?;
                Ok(Self::Claim { name, equals })
            }
            _ => Err(
                "a condition of the policy is either a claim with equals, or one list anyOf or allOf"
                    .to_owned(),
            ),
        }
    }

    /// Whether claims are as demanded. All is looked at, so that the trace tells all.
    fn fits(&self, claims: &Value, trace: &mut String) -> bool {
        match self {
            Self::Claim { name, equals } => {
                let found = found(claims, name);
                let fits = found.as_ref() == Some(equals);
                let word = match (fits, found) {
                    (true, _) => "yes",
                    (false, Some(_)) => "no",
                    (false, None) => "missing",
                };
                let _ = write!(trace, "{name}={word}");
                fits
            }
            Self::Any(list) => joined(list, "anyOf", claims, trace) > 0,
            Self::All(list) => joined(list, "allOf", claims, trace) == list.len(),
        }
    }
}

/// How many conditions of a list hold.
fn joined(list: &[Condition], word: &str, claims: &Value, trace: &mut String) -> usize {
    let _ = write!(trace, "{word}(");
    let mut fitting = 0;
    for (index, condition) in list.iter().enumerate() {
        if index > 0 {
            trace.push(' ');
        }
        fitting += usize::from(condition.fits(claims, trace));
    }
    trace.push(')');
    fitting
}

/// The text of a claim's value, found along the dots; none where it is not there or is no scalar.
fn found(claims: &Value, name: &str) -> Option<String> {
    let mut place = claims;
    for part in name.split('.') {
        place = place.as_object()?.get(part)?;
    }
    scalar(place)
}

/// The text of a scalar: services store `true` as `"true"` and numbers as their digits, so that is how values are compared.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn shortened(mut trace: String) -> String {
    if trace.len() > TRACE_BYTES_MAX {
        let mut end = TRACE_BYTES_MAX;
        while !trace.is_char_boundary(end) {
            end -= 1;
        }
        trace.truncate(end);
        trace.push('…');
    }
    trace.truncate(trace.trim_end_matches([';', ' ']).len());
    trace
}

/// Longest policy in bytes: many times what services take.
pub const POLICY_BYTES_MAX: usize = 64 << 10;
/// Lists in each other: deeper than anybody reads.
const DEPTH_MAX: usize = 16;
/// Conditions in all: each is looked at for each release.
const CONDITIONS_MAX: usize = 256;
/// Longest trace: a line of the journal stays a line.
const TRACE_BYTES_MAX: usize = 2 << 10;

#[cfg(test)]
mod tests;
