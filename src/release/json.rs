//! JSON of strangers, in which each object has each member once.
//!
//! What lives here: the one reader of it. What stands in an object twice could be read by one program as the first and by another as the last, so
//! it is refused instead of chosen from (RFC 8259, 4; RFC 7515, 4).
//! What must never live here: what the members mean.
//! Who calls it: statements, the keys of authorities, policies.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

/// Reads one document. serde_json bounds how deep it nests.
///
/// # Errors
/// When it is none, something follows it, or an object anywhere in it has a member twice.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Error> {
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
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is none"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
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
            // Its name is not said: it is a stranger's, and may be anything.
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has a member twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unambiguous_is_read_as_it_stands() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 0.5, "\u00e9", {"a": {}}], "b": {"a": 1}} "#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), plain);
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused_wherever_it_is() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "b": 2, "\u0061": 3}"#,
            r#"{"deep": {"x": [0, {"y": {"a": 1, "a": 2}}]}}"#,
            r#"[{"": 1, "": 2}]"#,
        ] {
            let said = parse(text.as_bytes()).unwrap_err().to_string();
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
            assert!(parse(text).is_err());
        }
    }
}
