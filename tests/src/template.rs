//! Templates as lists of values that own their bytes.
//!
//! What lives here: `Template`, the macro `template!`, and the laying out as `CK_ATTRIBUTE`s.
//! What must never live here: which attributes belong together; the tests say so.
//! Who calls it: every test.

use cryptoki_sys::*;

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes as C lays them out.
    Bytes(Vec<u8>),
    /// An array of attributes.
    Nested(Template),
}

/// A list of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub Vec<(CK_ATTRIBUTE_TYPE, Value)>);

impl Template {
    /// With one attribute replaced, or added.
    #[must_use]
    pub fn with(mut self, kind: CK_ATTRIBUTE_TYPE, value: impl IntoValue) -> Self {
        self.0.retain(|(present, _)| *present != kind);
        self.0.push((kind, value.into_value()));
        self
    }

    /// With all attributes of `other` replaced or added.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (kind, value) in &other.0 {
            self.0.retain(|(present, _)| present != kind);
            self.0.push((*kind, value.clone()));
        }
        self
    }

    /// Without one attribute.
    #[must_use]
    pub fn without(mut self, kind: CK_ATTRIBUTE_TYPE) -> Self {
        self.0.retain(|(present, _)| *present != kind);
        self
    }

    /// Calls `action` with the C array; nested arrays live as long as the call.
    pub fn laid_out<T>(&self, action: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> T) -> T {
        let mut nested: Vec<Vec<CK_ATTRIBUTE>> = Vec::new();
        for (_, value) in &self.0 {
            nested.push(match value {
                Value::Bytes(_) => Vec::new(),
                Value::Nested(inner) => inner.0.iter().map(|(k, v)| flat(*k, v)).collect(),
            });
        }
        let mut array: Vec<CK_ATTRIBUTE> = self
            .0
            .iter()
            .zip(&mut nested)
            .map(|((kind, value), inner)| match value {
                Value::Bytes(_) => flat(*kind, value),
                Value::Nested(_) => CK_ATTRIBUTE {
                    type_: *kind,
                    pValue: inner.as_mut_ptr().cast(),
                    ulValueLen: (inner.len() * size_of::<CK_ATTRIBUTE>()) as CK_ULONG,
                },
            })
            .collect();
        let count = array.len() as CK_ULONG;
        action(array.as_mut_ptr(), count)
    }
}

fn flat(kind: CK_ATTRIBUTE_TYPE, value: &Value) -> CK_ATTRIBUTE {
    let Value::Bytes(bytes) = value else {
        panic!("an array of attributes within an array of attributes");
    };
    CK_ATTRIBUTE {
        type_: kind,
        pValue: bytes.as_ptr().cast_mut().cast(),
        ulValueLen: bytes.len() as CK_ULONG,
    }
}

/// What can stand right of `=>` in `template!`.
pub trait IntoValue {
    /// As C lays it out.
    fn into_value(self) -> Value;
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}
impl IntoValue for u64 {
    fn into_value(self) -> Value {
        Value::Bytes(self.to_ne_bytes().to_vec())
    }
}
impl IntoValue for bool {
    fn into_value(self) -> Value {
        Value::Bytes(vec![u8::from(self)])
    }
}
impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::Bytes(self.as_bytes().to_vec())
    }
}
impl IntoValue for String {
    fn into_value(self) -> Value {
        Value::Bytes(self.into_bytes())
    }
}
impl IntoValue for &[u8] {
    fn into_value(self) -> Value {
        Value::Bytes(self.to_vec())
    }
}
impl<const N: usize> IntoValue for &[u8; N] {
    fn into_value(self) -> Value {
        Value::Bytes(self.to_vec())
    }
}
impl IntoValue for Vec<u8> {
    fn into_value(self) -> Value {
        Value::Bytes(self)
    }
}
impl IntoValue for &Vec<u8> {
    fn into_value(self) -> Value {
        Value::Bytes(self.clone())
    }
}
impl IntoValue for &[CK_MECHANISM_TYPE] {
    fn into_value(self) -> Value {
        Value::Bytes(
            self.iter()
                .flat_map(|number| number.to_ne_bytes())
                .collect(),
        )
    }
}
impl IntoValue for Template {
    fn into_value(self) -> Value {
        Value::Nested(self)
    }
}

/// `template! { CKA_CLASS => CKO_SECRET_KEY, CKA_TOKEN => true }`.
#[macro_export]
macro_rules! template {
    ($($kind:expr => $value:expr),* $(,)?) => {
        $crate::Template(vec![$(($kind, $crate::template::IntoValue::into_value($value))),*])
    };
}
