//! *What lives here:* the tests of `reveal.rs`. *What must never live here:* what several tests share. *Who calls it:* the test runner.

use std::sync::Arc;

use strongroom_keymem::SecretBytes;
use strongroom_wire::request::ObjectHandle;

use super::*;
use crate::attribute::Attributes;
use crate::attribute::samples::{SHAPES, class_and_type};
use crate::attribute::table::{MATERIAL, TABLE};
use crate::error::Error;
use crate::object::Place;
use crate::service::rig::start;

const SECRET: &[u8] = b"SECRETSECRETSECR";

/// An object of a shape whose every material attribute has a value.
fn object(shape: table::Shape, sensitive: bool, extractable: bool) -> (Object, Arc<Material>) {
    start();
    let mut attributes = Attributes::new(class_and_type(shape));
    attributes.set(AttributeType::SENSITIVE, Value::Flag(sensitive));
    attributes.set(AttributeType::EXTRACTABLE, Value::Flag(extractable));
    let values: Vec<_> = TABLE
        .iter()
        .filter(|row| row.shapes & shape.bit() != 0 && row.is_material())
        .map(|row| (row.kind, SecretBytes::copy_from(SECRET).unwrap()))
        .collect();
    let material = Arc::new(Material::new(&values).unwrap());
    let place = Place::Memory(material.clone());
    (Object::new(ObjectHandle(1), attributes, place), material)
}

#[test]
fn guarded_values_are_revealed_only_of_keys_neither_sensitive_nor_unextractable() {
    for shape in SHAPES {
        for (sensitive, extractable) in [(true, true), (true, false), (false, false), (false, true)]
        {
            let (object, material) = object(shape, sensitive, extractable);
            for row in TABLE
                .iter()
                .filter(|row| row.shapes & shape.bit() != 0 && row.is_material())
            {
                let fetched = std::cell::Cell::new(false);
                let revealed = reveal(&object, row.kind, &|| {
                    fetched.set(true);
                    Ok(Some(material.clone()))
                });
                let open = row.has(MATERIAL) || (!sensitive && extractable);
                match revealed.unwrap() {
                    Revealed::Secret(bytes) if open => assert_eq!(bytes.expose(), SECRET),
                    Revealed::Sensitive if !open => {}
                    other => panic!("{} of {shape:?}: {other:?}", row.kind),
                }
                // What may not be shown is not even opened.
                assert_eq!(fetched.get(), open, "{} of {shape:?}", row.kind);
            }
        }
    }
}

#[test]
fn an_object_says_what_it_has_and_nothing_of_other_shapes() {
    let (object, material) = object(table::Shape::Secret, false, true);
    let ask = |kind| reveal(&object, kind, &|| Ok(Some(material.clone()))).unwrap();
    assert!(matches!(
        ask(AttributeType::CLASS),
        Revealed::Open(Value::Number(4))
    ));
    for kind in [
        AttributeType::MODULUS,
        AttributeType::PRIVATE_EXPONENT,
        AttributeType::LABEL,
        AttributeType(0x8000_0001),
    ] {
        assert!(matches!(ask(kind), Revealed::TypeInvalid), "{kind}");
    }
}

#[test]
fn a_value_that_is_not_there_is_not_revealed() {
    let (object, _) = object(table::Shape::RsaPrivate, false, true);
    let empty = Arc::new(Material::new(&[]).unwrap());
    for material in [Some(empty), None] {
        let revealed = reveal(&object, AttributeType::PRIME_1, &|| Ok(material.clone()));
        assert!(matches!(revealed.unwrap(), Revealed::TypeInvalid));
    }
    let failing = || Err::<Option<Arc<Material>>, _>(Error::DeviceError);
    let failed = reveal(&object, AttributeType::PRIME_1, &failing).unwrap_err();
    assert_eq!(failed, Error::DeviceError);
}

#[test]
fn what_is_revealed_shows_nothing_when_it_is_printed() {
    let (object, material) = object(table::Shape::Secret, false, true);
    let revealed = reveal(&object, AttributeType::VALUE, &|| {
        Ok(Some(material.clone()))
    });
    let shown = format!("{:?} {object:?} {material:?}", revealed.unwrap());
    assert!(
        !shown.contains("SECRET") && !shown.contains("83, 69, 67"),
        "{shown}"
    );
}
