//! *What lives here:* the tests of `template.rs`. *What must never live here:* what several tests share. *Who calls it:* the test runner.

use strongroom_wire::ck::AttributeType as A;
use strongroom_wire::codec::List;
use strongroom_wire::secret::Secret;

use super::*;
use crate::attribute::samples::some;
use crate::attribute::table::TABLE;
use crate::service::rig::{bytes, inner, number, sending, yes};

fn parse(sent: &[(A, Value)]) -> Result<()> {
    sending(sent, |sent| Template::<Create>::parse(&sent).map(|_| ()))
}

/// One attribute with these bytes, whatever its form.
fn parse_raw(kind: A, value: &[u8]) -> Result<()> {
    let value = request::Value::Bytes(Secret::new(value));
    let sent = List::new(vec![Attribute { kind, value }]).unwrap();
    Template::<Create>::parse(&sent).map(|_| ())
}

#[test]
fn every_attribute_of_the_table_is_parsed_in_its_form_and_no_other() {
    for row in TABLE {
        let good = some(row.form);
        parse(&[(row.kind, good.clone())])
            .unwrap_or_else(|error| panic!("{}: {error:?}", row.kind));
        let wrong: &[&[u8]] = match row.form {
            Form::Flag => &[b"", b"ab"],
            Form::Number => &[b"", b"1234567", b"123456789"],
            Form::Date => &[b"2026112", b"20261322", b"tomorrow"],
            Form::Numbers => &[b"1234567", b"123456789"],
            Form::Template => &[b"x"],
            Form::Bytes | Form::BigInteger => &[],
        };
        for value in wrong {
            let outcome = parse_raw(row.kind, value);
            assert_eq!(outcome, Err(Error::AttributeValueInvalid), "{}", row.kind);
        }
        let array = inner(row.kind, &[number(A::VALUE_LEN, 16)]);
        assert_eq!(
            parse(&[array]).is_ok(),
            row.form == Form::Template,
            "{}",
            row.kind
        );
    }
}

#[test]
fn an_attribute_that_no_object_has_is_refused() {
    for kind in [A(0x8000_0001), A::MECHANISM_TYPE, A(u64::MAX)] {
        assert_eq!(
            parse_raw(kind, b"x"),
            Err(Error::AttributeTypeInvalid),
            "{kind}"
        );
    }
    let hidden = inner(A::WRAP_TEMPLATE, &[bytes(A(0x8000_0001), b"x")]);
    assert_eq!(parse(&[hidden]), Err(Error::AttributeTypeInvalid));
}

#[test]
fn an_attribute_may_come_twice_with_one_value_only() {
    let label = bytes(A::LABEL, b"label");
    parse(&[label.clone(), yes(A::TOKEN), label.clone()]).unwrap();
    let other = bytes(A::LABEL, b"labels");
    assert_eq!(parse(&[label, other]), Err(Error::TemplateInconsistent));
    let one = inner(A::WRAP_TEMPLATE, &[yes(A::EXTRACTABLE)]);
    parse(&[one.clone(), one.clone()]).unwrap();
    let other = inner(A::WRAP_TEMPLATE, &[yes(A::TOKEN)]);
    assert_eq!(parse(&[one, other]), Err(Error::TemplateInconsistent));
}

#[test]
fn an_array_holds_no_array_and_no_attribute_twice() {
    let nested = inner(A::UNWRAP_TEMPLATE, &[bytes(A::WRAP_TEMPLATE, b"")]);
    let twice = inner(A::UNWRAP_TEMPLATE, &[yes(A::SIGN), yes(A::SIGN)]);
    let malformed = inner(A::UNWRAP_TEMPLATE, &[bytes(A::SIGN, b"yes")]);
    for wrong in [nested, twice, malformed] {
        assert_eq!(parse(&[wrong]), Err(Error::AttributeValueInvalid));
    }
    parse(&[inner(A::UNWRAP_TEMPLATE, &[])]).unwrap();
    parse_raw(A::UNWRAP_TEMPLATE, b"").unwrap();
}

#[test]
fn a_value_has_a_largest_size() {
    parse_raw(A::LABEL, &vec![b'x'; ATTRIBUTE_BYTES_MAX]).unwrap();
    let outcome = parse_raw(A::LABEL, &vec![b'x'; ATTRIBUTE_BYTES_MAX + 1]);
    assert_eq!(outcome, Err(Error::AttributeValueInvalid));
}

#[test]
fn values_are_read_in_their_one_form() {
    for (form, sent, wanted) in [
        (Form::Flag, &[0][..], Value::Flag(false)),
        (Form::Flag, &[1], Value::Flag(true)),
        (Form::Flag, &[0xff], Value::Flag(true)),
        (Form::Number, &7u64.to_ne_bytes(), Value::Number(7)),
        (Form::Bytes, &[0, 1], Value::Bytes([0, 1].into())),
        (Form::BigInteger, &[0, 0, 1, 0], Value::Bytes([1, 0].into())),
        (Form::BigInteger, &[0, 0], Value::Bytes([].into())),
        (Form::Date, b"", Value::Bytes([].into())),
        (Form::Date, b"20260101", Value::Bytes((*b"20260101").into())),
        (Form::Numbers, b"", Value::Numbers([].into())),
    ] {
        assert_eq!(parse_value(form, sent).unwrap(), wanted);
    }
}

#[test]
fn a_template_shows_no_value_when_it_is_printed() {
    let key = bytes(A::VALUE, b"SECRETSECRETSECR");
    sending(&[key], |sent| {
        let template = Template::<Create>::parse(&sent).unwrap();
        let shown = format!("{sent:?} {template:?}");
        assert!(
            !shown.contains("SECRET") && !shown.contains("83, 69"),
            "{shown}"
        );
    });
}
