//! JSON of strangers.
//!
//! What lives here: the one reader of it, a parser with bounds over it, and members that must be there in a kind.
//! What must never live here: what the members mean.
//! Who calls it: `container`, `runtime`, and the collateral of Intel; the token, for statements, pinned keys and what is measured.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_core::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::Refusal;

/// Levels of nesting; Intel's collateral has seven.
const DEPTH_MAX: usize = 16;

/// Parses a document of bounded size and depth.
pub(crate) fn parse(bytes: &[u8], bytes_max: usize, what: &'static str) -> Result<Value, Refusal> {
    if bytes.len() > bytes_max {
        return Err(Refusal::TooLarge {
            what,
            max: bytes_max,
        });
    }
    if depth(bytes) > DEPTH_MAX {
        return Err(Refusal::TooLarge {
            what,
            max: DEPTH_MAX,
        });
    }
    unambiguous(bytes).map_err(|error| Refusal::Malformed {
        what,
        // serde_json tells its own faults from those that a visitor finds.
        why: if error.is_data() {
            "an object has a member twice"
        } else {
            "not a document in JSON"
        },
    })
}

/// Reads one document whose objects have each member once. What stands in an object twice could be read by one program as the first and by
/// another as the last, so it is refused instead of chosen from (RFC 8259, 4; RFC 7515, 4). serde_json bounds how deep it nests.
///
/// # Errors
///
/// When it is none, something follows it, or an object anywhere in it has a member twice (an error of data, for serde_json).
pub fn unambiguous(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Unambiguous.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Any value whose objects have each member once.
struct Unambiguous;

impl<'de> DeserializeSeed<'de> for Unambiguous {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(Self)? {
            all.push(one);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(Self)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has a member twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

/// How deep brackets nest, outside of strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// An object of a document, and the document's name for refusals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'v> {
    members: &'v Map<String, Value>,
    what: &'static str,
}

impl<'v> Members<'v> {
    pub(crate) fn of(value: &'v Value, what: &'static str) -> Result<Self, Refusal> {
        let members = value.as_object().ok_or(Refusal::Malformed {
            what,
            why: "an object was expected",
        })?;
        Ok(Self { members, what })
    }

    pub(crate) const fn malformed(&self, why: &'static str) -> Refusal {
        Refusal::Malformed {
            what: self.what,
            why,
        }
    }

    /// Nothing but these may be there.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        let strange = self
            .members
            .keys()
            .any(|name| !names.contains(&name.as_str()));
        if strange {
            return Err(self.malformed("it has a member that its format does not know"));
        }
        Ok(())
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'v Value> {
        self.members.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'v str, Refusal> {
        self.value(name)
            .and_then(Value::as_str)
            .ok_or_else(|| self.malformed("a member that must be text is not there"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.value(name)
            .and_then(Value::as_u64)
            .ok_or_else(|| self.malformed("a member that must be a whole number is not there"))
    }

    pub(crate) fn list(&self, name: &str) -> Result<&'v [Value], Refusal> {
        self.value(name)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .ok_or_else(|| self.malformed("a member that must be a list is not there"))
    }

    pub(crate) fn members(&self, name: &str) -> Result<Self, Refusal> {
        let value = self
            .value(name)
            .ok_or_else(|| self.malformed("a member that must be an object is not there"))?;
        Self::of(value, self.what)
    }

    /// All members.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'v String, &'v Value)> {
        self.members.iter()
    }

    /// Bytes written in base64url without padding.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        self.decoded(self.text(name)?)
    }

    /// The same, of a text that is not a member.
    pub(crate) fn decoded(&self, text: &str) -> Result<Vec<u8>, Refusal> {
        Base64UrlUnpadded::decode_vec(text)
            .map_err(|_| self.malformed("a member is not base64url without padding"))
    }

    /// Bytes written in hexadecimal, of a length that is known.
    pub(crate) fn hex<const N: usize>(&self, name: &str) -> Result<[u8; N], Refusal> {
        crate::read::unhex(self.text(name)?)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| self.malformed("a member is not hexadecimal of the right length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_depth_are_bounded() {
        let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert!(parse(&nested(DEPTH_MAX), 100, "test").is_ok());
        assert!(matches!(
            parse(&nested(DEPTH_MAX + 1), 100, "test"),
            Err(Refusal::TooLarge { .. })
        ));
        assert!(parse(&nested(4), 8, "test").is_ok());
        assert!(parse(&nested(4), 7, "test").is_err());
        assert!(parse(br#"{"a":"[[[[[[[[[[[[[[[[[[[\"[[[["}"#, 100, "test").is_ok());
    }

    #[test]
    fn members_are_there_in_their_kind() {
        let value = parse(br#"{"t":"AQI","n":7,"l":[1],"o":{}}"#, 100, "test").expect("JSON");
        let all = Members::of(&value, "test").expect("an object");
        assert_eq!(all.bytes("t"), Ok(vec![1, 2]));
        assert_eq!(all.number("n"), Ok(7));
        assert_eq!(all.list("l").map(<[Value]>::len), Ok(1));
        assert!(all.members("o").is_ok());
        assert!(all.text("n").is_err() && all.number("t").is_err() && all.list("o").is_err());
        assert!(all.bytes("missing").is_err() && all.decoded("AQI=").is_err());
        assert!(all.only(&["t", "n", "l", "o"]).is_ok() && all.only(&["t", "n", "l"]).is_err());
    }

    #[test]
    fn what_is_unambiguous_is_read_as_it_stands() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 0.5, "\u00e9", {"a": {}}], "b": {"a": 1}} "#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(unambiguous(text.as_bytes()).unwrap(), plain);
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused_wherever_it_is() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "b": 2, "\u0061": 3}"#,
            r#"{"deep": {"x": [0, {"y": {"a": 1, "a": 2}}]}}"#,
            r#"[{"": 1, "": 2}]"#,
        ] {
            let said = unambiguous(text.as_bytes()).unwrap_err().to_string();
            assert!(said.contains("a member twice"), "{text}: {said}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = [vec![b'['; 200], vec![b']'; 200]].concat();
        for text in [
            b"".as_slice(),
            b"{",
            b"{} {}",
            b"{\"a\":}",
            b"1e999",
            b"\xff",
            &deep,
        ] {
            assert!(unambiguous(text).is_err());
        }
    }
}
