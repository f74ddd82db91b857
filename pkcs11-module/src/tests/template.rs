//! Tests of templates, both ways.

use std::ffi::c_void;
use std::ptr;

use strongroom_wire::ck::AttributeType as A;
use strongroom_wire::secret::Secret;

use super::*;

fn alleged<T>(pointer: *mut T) -> Alleged<T> {
    // SAFETY: every test passes NULL or memory of its own, of the length it tells.
    unsafe { Alleged::new(pointer) }
}

fn attribute<T>(kind: AttributeType, value: *mut T, length: u64) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: kind.0,
        pValue: value.cast::<c_void>(),
        ulValueLen: length,
    }
}

fn copy(attributes: &mut [CK_ATTRIBUTE]) -> Result<Template, Rv> {
    let count = u64::try_from(attributes.len()).unwrap();
    Template::copy(alleged(attributes.as_mut_ptr()), count)
}

const HUNDRED: u64 = 100;

#[test]
fn a_template_comes_over_whole() {
    let mut label = *b"label";
    let mut class = 3_u64;
    let mut nested = [attribute(A::CLASS, &raw mut class, 8)];
    let mut kinds = [1_u64, 2];
    let mut attributes = [
        attribute(A::LABEL, label.as_mut_ptr(), 5),
        attribute(A::WRAP_TEMPLATE, nested.as_mut_ptr(), 24),
        attribute(A::ALLOWED_MECHANISMS, kinds.as_mut_ptr(), 16),
        attribute(A::ENCAPSULATE_TEMPLATE, nested.as_mut_ptr(), 24),
        attribute::<u8>(A::ID, ptr::null_mut(), 0),
    ];
    let template = copy(&mut attributes).unwrap();
    let wire = template.wire();
    let shown: Vec<String> = wire
        .items()
        .iter()
        .map(|one| format!("{:?}", one.value))
        .collect();
    assert_eq!(shown[0], "Bytes(Secret(5 bytes))");
    assert!(
        shown[1].contains("CKA_CLASS") && shown[1].contains("Secret(8 bytes)"),
        "{}",
        shown[1]
    );
    assert_eq!(
        shown[2], "Bytes(Secret(16 bytes))",
        "an array of numbers is bytes"
    );
    assert!(shown[3].starts_with("Template"));
    assert_eq!(shown[4], "Bytes(Secret(0 bytes))");
    assert!(
        Template::copy(alleged(ptr::null_mut()), 0)
            .unwrap()
            .wire()
            .items()
            .is_empty()
    );
}

#[test]
fn an_unaligned_template_is_read() {
    let mut class = 4_u64;
    let mut bytes = [0_u8; 2 * 24 + 1];
    // SAFETY: one byte into an array with room for two attributes behind it.
    let crooked = unsafe { bytes.as_mut_ptr().add(1) }.cast::<CK_ATTRIBUTE>();
    for index in 0..2 {
        let place = alleged(crooked).element(index).required().unwrap();
        place.put(attribute(A::CLASS, &raw mut class, 8));
    }
    let template = Template::copy(alleged(crooked), 2).unwrap();
    let wire = template.wire();
    assert!(
        matches!(wire.items()[1].value, request::Value::Bytes(value) if value.expose() == 4_u64.to_ne_bytes())
    );
    let wanted = Wanted::read(alleged(crooked), 2).unwrap();
    let five = 5_u64.to_ne_bytes();
    let answers = [AttributeAnswer::TypeInvalid, AttributeAnswer::Open(&five)];
    assert_eq!(wanted.deliver(&answers), Err(Rv::ATTRIBUTE_TYPE_INVALID));
    assert_eq!(class, 5);
    assert_eq!(
        alleged(crooked).read().unwrap().ulValueLen,
        UNAVAILABLE_INFORMATION
    );
}

#[test]
fn hostile_counts_and_lengths_are_refused() {
    let nowhere = ptr::without_provenance_mut::<CK_ATTRIBUTE>(8);
    let refused = |count| Template::copy(alleged(nowhere), count).err();
    for count in [257, 1 << 32, u64::MAX] {
        assert_eq!(refused(count), Some(Rv::ARGUMENTS_BAD), "{count}");
        assert_eq!(
            Wanted::read(alleged(nowhere), count).err(),
            Some(Rv::ARGUMENTS_BAD)
        );
    }
    assert_eq!(
        Template::copy(alleged(ptr::null_mut()), 1).err(),
        Some(Rv::ARGUMENTS_BAD)
    );
    let length = |length| copy(&mut [attribute(A::LABEL, nowhere, length)]).err();
    assert_eq!(length(u64::MAX), Some(Rv::ARGUMENTS_BAD));
    assert_eq!(length(1 << 40), Some(Rv::ATTRIBUTE_VALUE_INVALID));
    assert_eq!(
        copy(&mut [attribute::<u8>(A::LABEL, ptr::null_mut(), 1)]).err(),
        Some(Rv::ARGUMENTS_BAD)
    );
    let nested = |length| copy(&mut [attribute(A::UNWRAP_TEMPLATE, nowhere, length)]).err();
    assert_eq!(nested(25), Some(Rv::ATTRIBUTE_VALUE_INVALID));
    assert_eq!(nested(257 * 24), Some(Rv::ARGUMENTS_BAD));
    assert_eq!(nested(u64::MAX - 15), Some(Rv::ARGUMENTS_BAD));
}

#[test]
fn all_attributes_together_are_bounded() {
    let mut megabytes = vec![0_u8; 40 << 20];
    let length = u64::try_from(megabytes.len()).unwrap();
    let one = attribute(A::VALUE, megabytes.as_mut_ptr(), length);
    assert!(copy(&mut [one]).is_ok());
    assert_eq!(
        copy(&mut [one, one]).err(),
        Some(Rv::ATTRIBUTE_VALUE_INVALID)
    );
}

#[test]
fn many_values_lie_beside_each_other_and_keep_their_bytes() {
    let mut values: Vec<Vec<u8>> = (0..100).map(|at| vec![at; usize::from(at) * 7]).collect();
    let mut attributes: Vec<CK_ATTRIBUTE> = values
        .iter_mut()
        .map(|value| {
            let length = u64::try_from(value.len()).unwrap();
            attribute(A::VALUE, value.as_mut_ptr(), length)
        })
        .collect();
    let template = copy(&mut attributes).unwrap();
    for (entry, value) in template.wire().items().iter().zip(&values) {
        let strongroom_wire::request::Value::Bytes(bytes) = &entry.value else {
            panic!("not bytes");
        };
        assert_eq!(bytes.expose(), value);
    }
    assert_eq!(template.wire().items().len(), values.len());
}

#[test]
fn an_array_within_an_array_is_refused() {
    let mut inner = [attribute::<u8>(A::WRAP_TEMPLATE, ptr::null_mut(), 0)];
    let outer = attribute(A::WRAP_TEMPLATE, inner.as_mut_ptr(), 24);
    assert_eq!(copy(&mut [outer]).err(), Some(Rv::ATTRIBUTE_VALUE_INVALID));
}

fn deliver(attributes: &mut [CK_ATTRIBUTE], answers: &[AttributeAnswer<'_>]) -> Result<(), Rv> {
    let count = u64::try_from(attributes.len()).unwrap();
    Wanted::read(alleged(attributes.as_mut_ptr()), count)?.deliver(answers)
}

#[test]
fn every_attribute_that_can_be_told_is_told() {
    let mut label = [0_u8; 8];
    let mut short = [7_u8; 2];
    let mut attributes = [
        attribute(A::VALUE, label.as_mut_ptr(), 8),
        attribute(A::LABEL, label.as_mut_ptr(), 8),
        attribute(A::ID, short.as_mut_ptr(), 2),
        attribute::<u8>(A::SUBJECT, ptr::null_mut(), HUNDRED),
        attribute(A::MODULUS, label.as_mut_ptr(), 8),
    ];
    let value = AttributeAnswer::Open(b"abcd");
    let answers = [
        AttributeAnswer::Sensitive,
        value.clone(),
        value.clone(),
        value,
        AttributeAnswer::TypeInvalid,
    ];
    assert_eq!(
        deliver(&mut attributes, &answers),
        Err(Rv::ATTRIBUTE_SENSITIVE)
    );
    let lengths = attributes.map(|one| one.ulValueLen);
    let none = UNAVAILABLE_INFORMATION;
    assert_eq!(lengths, [none, 4, none, 4, none]);
    assert_eq!((&label[..5], short), (&b"abcd\0"[..], [7, 7]));
}

#[test]
fn of_several_failures_the_one_without_remedy_is_told() {
    let mut short = [0_u8; 1];
    let one = attribute(A::ID, short.as_mut_ptr(), 1);
    let long = AttributeAnswer::Open(b"long");
    let outcome = |second| deliver(&mut [one, one], &[long.clone(), second]);
    assert_eq!(outcome(long.clone()), Err(Rv::BUFFER_TOO_SMALL));
    assert_eq!(
        outcome(AttributeAnswer::TypeInvalid),
        Err(Rv::ATTRIBUTE_TYPE_INVALID)
    );
    assert_eq!(
        outcome(AttributeAnswer::Sensitive),
        Err(Rv::ATTRIBUTE_SENSITIVE)
    );
    assert_eq!(
        deliver(&mut [one], &[]),
        Err(Rv::DEVICE_ERROR),
        "one answer each"
    );
}

#[test]
fn arrays_of_attributes_take_three_calls() {
    let flat = |kind, value| FlatAttribute {
        kind,
        value: Secret::new(value),
    };
    let items = vec![flat(A::LABEL, b"abc"), flat(A::ID, b"12345")];
    let answer = [AttributeAnswer::Template(List::new(items).unwrap())];
    // First the number of elements.
    let mut outer = [attribute::<u8>(A::WRAP_TEMPLATE, ptr::null_mut(), 0)];
    assert_eq!(deliver(&mut outer, &answer), Ok(()));
    assert_eq!(outer[0].ulValueLen, 48);
    // Too few of them.
    let mut inner = [attribute::<u8>(A::CLASS, ptr::null_mut(), 0); 2];
    outer = [attribute(A::WRAP_TEMPLATE, inner.as_mut_ptr(), 24)];
    assert_eq!(deliver(&mut outer, &answer), Err(Rv::BUFFER_TOO_SMALL));
    assert_eq!(outer[0].ulValueLen, UNAVAILABLE_INFORMATION);
    // Then the lengths; types are set.
    outer = [attribute(A::WRAP_TEMPLATE, inner.as_mut_ptr(), 48)];
    assert_eq!(deliver(&mut outer, &answer), Ok(()));
    assert_eq!(
        inner.map(|one| (one.type_, one.ulValueLen)),
        [(A::LABEL.0, 3), (A::ID.0, 5)]
    );
    // Then the values, one of which does not fit.
    let (mut label, mut id) = ([0_u8; 3], [0_u8; 4]);
    inner = [
        attribute(A::CLASS, label.as_mut_ptr(), 3),
        attribute(A::CLASS, id.as_mut_ptr(), 4),
    ];
    outer = [attribute(A::WRAP_TEMPLATE, inner.as_mut_ptr(), 48)];
    assert_eq!(deliver(&mut outer, &answer), Err(Rv::BUFFER_TOO_SMALL));
    assert_eq!(
        (&label, inner[1].ulValueLen),
        (b"abc", UNAVAILABLE_INFORMATION)
    );
}
