//! Rows of the table, found by attribute and shape: every attribute of every template asks for its own.
//!
//! What lives here: the rows sorted, once, and the questions to them.
//! What must never live here: a rule.
//! Who calls it: whoever uses the table.

use std::sync::LazyLock;

use strongroom_wire::ck::AttributeType;

use super::{Form, Row, Shape, TABLE};

/// The rows of each shape by the place of its bit, ascending by attribute.
static OF_SHAPE: LazyLock<Vec<Vec<&'static Row>>> = LazyLock::new(|| {
    (0..u32::BITS)
        .map(|place| {
            let mut rows: Vec<&Row> = TABLE
                .iter()
                .filter(|row| row.shapes & (1 << place) != 0)
                .collect();
            rows.sort_by_key(|row| row.kind);
            rows
        })
        .collect()
});

/// The form of each attribute, ascending by attribute.
static FORMS: LazyLock<Vec<(AttributeType, Form)>> = LazyLock::new(|| {
    let mut forms: Vec<_> = TABLE.iter().map(|row| (row.kind, row.form)).collect();
    forms.sort_by_key(|(kind, _)| *kind);
    forms.dedup_by_key(|(kind, _)| *kind);
    forms
});

/// All rows of a shape, ascending by attribute.
#[must_use]
pub fn rows(shape: Shape) -> &'static [&'static Row] {
    OF_SHAPE
        .get(shape.bit().trailing_zeros() as usize)
        .map_or(&[], Vec::as_slice)
}

/// The row of an attribute for a shape; none when such objects have no such attribute.
#[must_use]
pub fn row(kind: AttributeType, shape: Shape) -> Option<&'static Row> {
    let rows = rows(shape);
    let place = rows.binary_search_by_key(&kind, |row| row.kind).ok()?;
    rows.get(place).copied()
}

/// The form of an attribute, which is the same in all its rows but for leading zeros; none when it is not known at all.
#[must_use]
pub fn form(kind: AttributeType) -> Option<Form> {
    let place = FORMS.binary_search_by_key(&kind, |(kind, _)| *kind).ok()?;
    FORMS.get(place).map(|(_, form)| *form)
}
