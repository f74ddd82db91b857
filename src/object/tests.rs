//! *What lives here:* the tests of the index against a model, of material and of open keys. *What must never live here:* what several
//! tests share (`service/rig.rs`). *Who calls it:* the test runner.

use std::collections::BTreeMap;

use strongroom_crypto::digest::Hash;
use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::{AttributeType as A, CertificateType};

use super::index::Index;
use super::open_key::{SecretKey, bare_point, point_of};
use super::*;
use crate::attribute::Value;
use crate::attribute::draft::{Asker, Draft, Implied};
use crate::attribute::samples::{SHAPES, created, point, point_der};
use crate::attribute::table::Shape;
use crate::attribute::template::Create;
use crate::error::Error;
use crate::service::rig::{Dice, bytes, number, sending, start, with};
use strongroom_crypto::block::BlockCipher;

fn plain_object(handle: u64, attributes: Vec<(A, Value)>) -> Arc<Object> {
    let attributes = Attributes::new(attributes);
    Arc::new(Object::new(
        ObjectHandle(handle),
        attributes,
        Place::Nowhere,
    ))
}

/// Attributes from so few values that many objects share them and some share all; some lack one.
fn random_attributes(dice: &mut Dice) -> Vec<(A, Value)> {
    let mut attributes = vec![number(A::CLASS, dice.roll(3))];
    for kind in [A::LABEL, A::ID, A::UNIQUE_ID, A::APPLICATION] {
        if dice.roll(4) > 0 {
            let values: [&[u8]; 4] = [b"", b"a", b"b", b"aa"];
            attributes.push(bytes(kind, dice.pick(&values)));
        }
    }
    attributes
}

#[test]
fn the_index_finds_what_a_walk_over_all_objects_finds() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let (mut index, mut model) = (Index::default(), BTreeMap::new());
        for _ in 0..600 {
            let handle = dice.roll(40);
            match dice.roll(4) {
                0 => {
                    let removed = index.remove(ObjectHandle(handle));
                    assert_eq!(removed.is_some(), model.remove(&handle).is_some());
                }
                1 => {
                    let object = plain_object(handle, random_attributes(&mut dice));
                    index.insert(object.clone());
                    model.insert(handle, object);
                }
                _ => {
                    let mut wanted = random_attributes(&mut dice);
                    wanted.retain(|_| dice.roll(2) == 0);
                    let also = |object: &Object| !object.handle.0.is_multiple_of(3);
                    let fits = |object: &Arc<Object>| {
                        let has = |(kind, value): &(A, Value)| {
                            object.attributes.value(*kind) == Some(value)
                        };
                        wanted.iter().all(has) && also(object)
                    };
                    let walked: Vec<_> = model
                        .values()
                        .filter(|o| fits(o))
                        .map(|o| o.handle)
                        .collect();
                    assert_eq!(
                        index.find(&wanted, &also),
                        walked,
                        "seed {seed}: {wanted:?}"
                    );
                }
            }
            assert_eq!(
                (index.len(), index.is_empty()),
                (model.len(), model.is_empty())
            );
        }
        let handles: Vec<u64> = index.iter().map(|object| object.handle.0).collect();
        assert_eq!(handles, model.keys().copied().collect::<Vec<_>>());
    }
}

#[test]
fn an_indexed_attribute_alleged_in_another_form_finds_nothing() {
    let mut index = Index::default();
    index.insert(plain_object(
        1,
        vec![number(A::CLASS, 4), bytes(A::LABEL, b"x")],
    ));
    for wanted in [
        (A::LABEL, Value::Flag(true)),
        (A::CLASS, Value::Numbers([4].into())),
        (A::CLASS, Value::Bytes(4u64.to_ne_bytes().into())),
    ] {
        assert_eq!(index.find(&[wanted], &|_| true), []);
    }
}

fn material(values: &[(A, &[u8])]) -> Material {
    start();
    let secret = |(kind, value): &(A, &[u8])| (*kind, SecretBytes::copy_from(value).unwrap());
    let values: Vec<_> = values.iter().map(secret).collect();
    Material::new(&values).unwrap()
}

#[test]
fn material_gives_back_what_was_put_in() {
    let values: [(A, &[u8]); 3] = [
        (A::VALUE, b"value"),
        (A::PRIME_1, b""),
        (A::PRIME_2, &[7; 300]),
    ];
    let made = material(&values);
    let copy = made.duplicate().unwrap();
    let stored = made.sealed_form().duplicate().unwrap();
    for material in [made, copy, Material::parse(stored).unwrap()] {
        for (kind, wanted) in values {
            material.with(kind, |value| assert_eq!(value, Some(wanted)));
            material.with_all(|all| assert_eq!(all.value(kind), Some(wanted)));
            assert_eq!(material.length(kind), Some(wanted.len()));
        }
        assert_eq!(material.length(A::MODULUS), None);
        assert_eq!((material.len(), material.is_empty()), (3 * 12 + 305, false));
    }
    assert!(material(&[]).is_empty());
}

#[test]
fn material_that_is_not_whole_is_not_taken() {
    let made = material(&[(A::VALUE, b"value"), (A::PRIME_1, b"prime")]);
    let whole = made.sealed_form().with(<[u8]>::to_vec);
    let first = 12 + b"value".len();
    for length in 0..whole.len() {
        let cut = SecretBytes::copy_from(&whole[..length]).unwrap();
        let outcome = Material::parse(cut).map(|_| ());
        let wanted = if [0, first].contains(&length) {
            Ok(())
        } else {
            Err(Error::DeviceError)
        };
        assert_eq!(outcome, wanted, "{length} bytes");
    }
    let mut lying = whole;
    lying[11] = 0xff;
    let outcome = Material::parse(SecretBytes::copy_from(&lying).unwrap());
    assert_eq!(outcome.map(|_| ()), Err(Error::DeviceError));
}

#[test]
fn points_are_taken_with_and_without_their_der() {
    let curve = strongroom_crypto::ec::Curve::P256;
    let compressed = [&[2][..], &point()[1..33]].concat();
    for (sent, wanted) in [
        (point(), Some(point())),
        (point_der(), Some(point())),
        (compressed.clone(), Some(compressed.clone())),
        ([&[4, 33][..], &compressed].concat(), Some(compressed)),
        ([&[4, 0x81, 65][..], &point()].concat(), Some(point())),
        ([&[4, 64][..], &point()].concat(), None),
        ([&[4, 65][..], &point(), &[0]].concat(), None),
        ([&[3, 65][..], &point()].concat(), None),
        (vec![4], None),
        (vec![], None),
    ] {
        assert_eq!(
            point_of(curve, &sent).ok(),
            wanted.as_deref(),
            "{sent:02x?}"
        );
    }
    assert_eq!(
        bare_point(&[4; 32], &[32]),
        Some(&[4; 32][..]),
        "raw although it looks like DER"
    );
}

/// An object and its material as C_CreateObject makes them.
fn made(shape: Shape, more: &[(A, Value)]) -> (Object, Option<Material>) {
    let draft = sending(&with(&created(shape), more), |sent| {
        let template = crate::attribute::template::Template::<Create>::parse(&sent).unwrap();
        Draft::parse(&template, Implied::default(), Asker::Other).unwrap()
    });
    let material = draft.material().unwrap();
    (
        Object::new(ObjectHandle(1), draft.into_attributes(), Place::Nowhere),
        material,
    )
}

#[test]
fn keys_open_and_nothing_else_does() {
    for shape in SHAPES {
        let (object, material) = made(shape, &[]);
        let opened = OpenKey::open(&object.attributes, material.as_ref());
        assert_eq!(opened.is_ok(), object.is_key(), "{shape:?}");
        let Ok(key) = opened else { continue };
        let size = match shape {
            Shape::RsaPublic | Shape::RsaPrivate => 2048,
            Shape::CurvePublic | Shape::EcPrivate => 256,
            Shape::Secret => 32,
            Shape::DesSecret => 24,
            Shape::DsaPublic | Shape::DsaPrivate => 1024,
            Shape::DhPublic | Shape::DhPrivate => 2048,
            _ => 255,
        };
        assert_eq!(key.size(), size, "{shape:?}");
        let secret = if matches!(shape, Shape::Secret | Shape::DesSecret) {
            Ok(())
        } else {
            Err(Error::KeyTypeInconsistent)
        };
        assert_eq!(key.secret().map(|_| ()), secret);
        if shape.is_secret_holder() {
            let outcome = OpenKey::open(&object.attributes, None).map(|_| ());
            assert_eq!(
                outcome,
                Err(Error::KeyHandleInvalid),
                "{shape:?} without its values"
            );
        }
    }
}

#[test]
fn a_secret_key_serves_every_hash_and_mode_that_it_can() {
    start();
    let key = SecretKey::new(SecretBytes::copy_from(&[1; 16]).unwrap());
    let tag = |hash| {
        key.with_hmac(hash, |key| Ok(std::ptr::from_ref(key).addr()))
            .unwrap()
    };
    let first = tag(Hash::Sha256);
    tag(Hash::Sha512);
    assert_eq!(tag(Hash::Sha256), first, "the one prepared first is kept");
    key.block(BlockCipher::Aes).unwrap();
    key.gcm().unwrap();
    key.cmac(BlockCipher::Aes).unwrap();
    // A key has one type; a mechanism of another finds nothing here that it could use.
    let other = key.block(BlockCipher::Des).map(|_| ());
    assert_eq!(other, Err(Error::KeyTypeInconsistent));
    key.wrap().unwrap();
    let odd = SecretKey::new(SecretBytes::copy_from(&[1; 15]).unwrap());
    assert!(odd.block(BlockCipher::Aes).is_err() && odd.gcm().is_err());
    assert!(odd.cmac(BlockCipher::Aes).is_err() && odd.wrap().is_err());
    odd.with_hmac(Hash::Sha1, |_| Ok(())).unwrap();
}

#[test]
fn what_an_object_says_of_itself() {
    let (certificate, _) = made(Shape::X509Certificate, &[]);
    assert_eq!(certificate.class(), ObjectClass::CERTIFICATE);
    assert_eq!(certificate.key_type(), None);
    let number = certificate.attributes.number(A::CERTIFICATE_TYPE);
    assert_eq!(number, Some(CertificateType::X_509.0));
    assert!(!certificate.is_key() && !certificate.is(A::SIGN) && certificate.is(A::COPYABLE));
    assert_eq!(certificate.unique_id(), "");
    let named = plain_object(1, vec![bytes(A::UNIQUE_ID, b"0123")]);
    assert_eq!(named.unique_id(), "0123");
    assert_eq!(named.class(), ObjectClass(u64::MAX));
}

#[test]
fn neither_objects_nor_keys_show_a_secret_when_they_are_printed() {
    let secret = b"SECRETSECRETSECRETSECRETSECRETSE";
    let (object, material) = made(Shape::Secret, &[bytes(A::VALUE, secret)]);
    let key = OpenKey::open(&object.attributes, material.as_ref()).unwrap();
    *object.open.lock() = Some(key.clone());
    let material = Arc::new(material.unwrap());
    let held = Object::new(
        ObjectHandle(1),
        Attributes::default(),
        Place::Memory(material.clone()),
    );
    let shown = format!("{object:?} {held:?} {key:?} {material:?}");
    assert!(
        !shown.contains("SECRET") && !shown.contains("83, 69, 67"),
        "{shown}"
    );
    for shape in SHAPES.into_iter().filter(|shape| shape.is_secret_holder()) {
        let (object, material) = made(shape, &[]);
        let key = OpenKey::open(&object.attributes, material.as_ref()).unwrap();
        let value = material.unwrap().with_all(|all| {
            let value = all
                .value(A::VALUE)
                .or_else(|| all.value(A::PRIME_1))
                .unwrap();
            format!("{:?}", &value[..8])
        });
        let shown = format!("{object:?} {key:?}");
        assert!(!shown.contains(value.trim_matches(['[', ']'])), "{shape:?}");
    }
}
