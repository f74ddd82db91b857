//! Rows of the table, found by attribute and shape: every attribute of every template asks for its own.
//!
//! What lives here: the rows sorted, once, and the questions to them.
//! What must never live here: a rule.
//! Who calls it: whoever uses the table.

use std::sync::LazyLock;

use strongroom_wire::ck::AttributeType;

use super::{Form, Preset, Row, Shape, TABLE};
use crate::attribute::{Attributes, Value};

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

/// What an object of each shape says when nobody says anything, by the place of the shape's bit. A preset of what is material would
/// stand before the material itself; it is filled in when the object is completed.
static PRESETS: LazyLock<Vec<Attributes>> = LazyLock::new(|| {
    let of_rows = |rows: &Vec<&Row>| {
        let open = rows.iter().filter(|row| !row.is_material());
        let presets = open.filter_map(|row| Some((row.kind, value(row.preset)?)));
        Attributes::new(presets.collect())
    };
    OF_SHAPE.iter().map(of_rows).collect()
});
static NO_PRESETS: LazyLock<Attributes> = LazyLock::new(Attributes::default);

fn value(preset: Preset) -> Option<Value> {
    match preset {
        Preset::Absent => None,
        Preset::False => Some(Value::Flag(false)),
        Preset::True => Some(Value::Flag(true)),
        Preset::Empty => Some(Value::Bytes(Box::default())),
        Preset::Number(number) => Some(Value::Number(number)),
    }
}

/// What an object of a shape says when nobody says anything.
#[must_use]
pub fn presets(shape: Shape) -> &'static Attributes {
    PRESETS
        .get(shape.bit().trailing_zeros() as usize)
        .unwrap_or(&NO_PRESETS)
}

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
