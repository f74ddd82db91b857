//! Templates of attributes.
//!
//! What lives here: `Template` and its laying out as the C array.
//! What must never live here: which attributes a case uses.
//! Who calls it: the cases.

use cryptoki_sys::*;

/// Attributes with values that it owns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template(Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>);

impl Template {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// With bytes.
    #[must_use]
    pub(crate) fn bytes(mut self, kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Self {
        self.0.push((kind, value.to_vec()));
        self
    }

    /// With a number.
    #[must_use]
    pub(crate) fn number(self, kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// With flags that are all on.
    #[must_use]
    pub(crate) fn on(self, kinds: &[CK_ATTRIBUTE_TYPE]) -> Self {
        kinds
            .iter()
            .fold(self, |all, kind| all.bytes(*kind, &[CK_TRUE]))
    }

    /// With flags that are all off.
    #[must_use]
    pub(crate) fn off(self, kinds: &[CK_ATTRIBUTE_TYPE]) -> Self {
        kinds
            .iter()
            .fold(self, |all, kind| all.bytes(*kind, &[CK_FALSE]))
    }

    /// The value of an attribute.
    pub(crate) fn value(&self, wanted: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(kind, _)| *kind == wanted)?;
        Some(value)
    }

    /// The same with room for so many bytes in each value.
    pub(crate) fn make_room(&mut self, bytes: usize) {
        for (_, value) in &mut self.0 {
            value.resize(bytes, 0);
        }
    }

    /// Calls `action` with the C array, which lives as long as the call; nothing is written there.
    pub(crate) fn laid_out<T>(&self, action: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> T) -> T {
        let row = |(kind, value): &(CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: value.as_ptr().cast_mut().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let mut rows: Vec<CK_ATTRIBUTE> = self.0.iter().map(row).collect();
        action(rows.as_mut_ptr(), rows.len() as CK_ULONG)
    }

    /// The same, to be written: afterwards each value is as long as the module says.
    pub(crate) fn filled<E>(
        &mut self,
        action: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> Result<(), E>,
    ) -> Result<(), E> {
        let row = |(kind, value): &mut (CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let mut rows: Vec<CK_ATTRIBUTE> = self.0.iter_mut().map(row).collect();
        action(rows.as_mut_ptr(), rows.len() as CK_ULONG)?;
        for ((_, value), row) in self.0.iter_mut().zip(rows) {
            // CK_UNAVAILABLE_INFORMATION is longer than anything and leaves the value empty.
            let written = usize::try_from(row.ulValueLen).unwrap_or(usize::MAX);
            value.truncate(if written > value.len() { 0 } else { written });
        }
        Ok(())
    }
}
