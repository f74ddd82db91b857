//! What protects keys: one-way attributes, usages, wrapping rules (PKCS#11 3.2, 4.7 to 4.10 and 5.18).

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, SO_PIN, Session, Template, Way, Workplace, not_on_softhsm, template,
};

use crate::keys;

const READ_ONLY: &[CK_RV] = &[CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT];

#[test]
fn sensitive_and_extractable_go_one_way() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_aes(&session, &[1; 16]);
    assert_eq!(session.attribute(key, CKA_VALUE).unwrap(), [1; 16]);
    session
        .set(key, &template! { CKA_SENSITIVE => true })
        .unwrap();
    refused(
        "the value",
        session.attribute(key, CKA_VALUE),
        &[CKR_ATTRIBUTE_SENSITIVE],
    );
    refused(
        "back",
        session.set(key, &template! { CKA_SENSITIVE => false }),
        READ_ONLY,
    );
    session
        .set(key, &template! { CKA_EXTRACTABLE => false })
        .unwrap();
    refused(
        "back",
        session.set(key, &template! { CKA_EXTRACTABLE => true }),
        READ_ONLY,
    );
    let key = keys::import_aes(&session, &[1; 16]);
    session
        .set(key, &template! { CKA_EXTRACTABLE => false })
        .unwrap();
    refused(
        "the value of a key that is not extractable",
        session.attribute(key, CKA_VALUE),
        &[CKR_ATTRIBUTE_SENSITIVE],
    );
    if not_on_softhsm("CKA_WRAP_WITH_TRUSTED cannot be set later") {
        return;
    }
    let key = keys::import_aes(&session, &[1; 16]);
    session
        .set(key, &template! { CKA_WRAP_WITH_TRUSTED => true })
        .unwrap();
    refused(
        "back",
        session.set(key, &template! { CKA_WRAP_WITH_TRUSTED => false }),
        READ_ONLY,
    );
}

#[test]
fn a_usage_that_is_not_set_is_refused() {
    let place = Workplace::open();
    let session = place.user();
    let no = &[CKR_KEY_FUNCTION_NOT_PERMITTED];
    let none = Template(
        keys::open_secret(CKK_AES)
            .0
            .into_iter()
            .map(|(kind, value)| match kind {
                CKA_ENCRYPT | CKA_DECRYPT | CKA_SIGN | CKA_VERIFY | CKA_WRAP | CKA_UNWRAP
                | CKA_DERIVE => (
                    kind,
                    strongroom_tests::template::IntoValue::into_value(false),
                ),
                _ => (kind, value),
            })
            .collect(),
    );
    let key = session.create(&none.with(CKA_VALUE, &[1; 32])).unwrap();
    let other = keys::import_aes(&session, &[2; 32]);
    refused("encrypt", session.begin(Way::Encrypt, CKM_AES_ECB, key), no);
    refused("decrypt", session.begin(Way::Decrypt, CKM_AES_ECB, key), no);
    refused("sign", session.begin(Way::Sign, CKM_AES_CMAC, key), no);
    refused("verify", session.verify_init(CKM_AES_CMAC, key), no);
    let wrap = session.wrap(CKM_AES_KEY_WRAP, key, other);
    refused("wrap", wrap, no);
    let unwrap = session.unwrap(
        CKM_AES_KEY_WRAP,
        key,
        &[0; 24],
        &keys::readable_secret(CKK_AES),
    );
    refused("unwrap", unwrap, no);
    let curve = Curve::P256;
    let scalar = curve.fixed_scalar(5);
    let template = keys::ec_private(curve, &scalar)
        .with(CKA_SIGN, false)
        .with(CKA_DERIVE, false);
    let private = session.create(&template).unwrap();
    refused("EC sign", session.begin(Way::Sign, CKM_ECDSA, private), no);
    let mechanism = Mechanism::ecdh(CKD_NULL, b"", &curve.point_of(&scalar));
    let derive = session.derive(
        mechanism,
        private,
        &keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 32),
    );
    refused("derive", derive, no);
    let public = keys::ec_public(curve, &curve.point_of(&scalar)).with(CKA_VERIFY, false);
    let public = session.create(&public).unwrap();
    refused("EC verify", session.verify_init(CKM_ECDSA, public), no);
}

#[test]
fn a_key_of_the_wrong_kind_is_refused() {
    let place = Workplace::open();
    let session = place.user();
    let aes = keys::import_aes(&session, &[1; 32]);
    let generic = keys::import_secret(&session, CKK_GENERIC_SECRET, &[1; 32]);
    let (ec_public, ec_private) = keys::ec_pair(&session, Curve::P256);
    let data = session.create(&keys::data("no key")).unwrap();
    let kind = &[CKR_KEY_TYPE_INCONSISTENT];
    refused(
        "AES with a generic secret",
        session.begin(Way::Encrypt, CKM_AES_ECB, generic),
        kind,
    );
    refused(
        "CMAC with a generic secret",
        session.begin(Way::Sign, CKM_AES_CMAC, generic),
        kind,
    );
    let either = &[CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED];
    if not_on_softhsm("it looks at the kind of a key late, or never") {
        return;
    }
    refused(
        "RSA with an EC key",
        session.begin(Way::Sign, CKM_RSA_PKCS, ec_private),
        either,
    );
    refused(
        "ECDSA with an AES key",
        session.begin(Way::Sign, CKM_ECDSA, aes),
        either,
    );
    refused(
        "signing with a public key",
        session.begin(Way::Sign, CKM_ECDSA, ec_public),
        either,
    );
    let handle = &[CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID];
    let any = &[
        CKR_KEY_HANDLE_INVALID,
        CKR_OBJECT_HANDLE_INVALID,
        CKR_KEY_TYPE_INCONSISTENT,
        CKR_KEY_FUNCTION_NOT_PERMITTED,
    ];
    refused(
        "with no key at all",
        session.begin(Way::Encrypt, CKM_AES_ECB, 0),
        handle,
    );
    refused(
        "with a number",
        session.begin(Way::Encrypt, CKM_AES_ECB, 0xdead_beef),
        handle,
    );
    refused(
        "with a data object",
        session.begin(Way::Encrypt, CKM_AES_ECB, data),
        any,
    );
    refused(
        "an unknown mechanism",
        session.begin(Way::Encrypt, 0x7fff_fff0, aes),
        &[CKR_MECHANISM_INVALID],
    );
    refused(
        "a mechanism of another function",
        session.begin(Way::Encrypt, CKM_SHA256, aes),
        &[CKR_MECHANISM_INVALID],
    );
}

#[test]
fn allowed_mechanisms_bind() {
    let place = Workplace::open();
    let session = place.user();
    let only = |list: &[CK_MECHANISM_TYPE]| {
        let template = keys::open_secret(CKK_AES)
            .with(CKA_VALUE, &[1; 32])
            .with(CKA_ALLOWED_MECHANISMS, list);
        session.create(&template).unwrap()
    };
    let key = only(&[CKM_AES_CBC, CKM_AES_CMAC]);
    let iv = Mechanism::bytes(CKM_AES_CBC, &[0; 16]);
    session.run(Way::Encrypt, iv, key, &[0; 16]).unwrap();
    session.run(Way::Sign, CKM_AES_CMAC, key, b"x").unwrap();
    let no = &[CKR_MECHANISM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED];
    refused("ECB", session.begin(Way::Encrypt, CKM_AES_ECB, key), no);
    let other = keys::import_aes(&session, &[2; 32]);
    if !not_on_softhsm("it asks for the list in no wrapping") {
        refused("key wrap", session.wrap(CKM_AES_KEY_WRAP, key, other), no);
    }
    let read = session.attribute(key, CKA_ALLOWED_MECHANISMS).unwrap();
    let mut list: Vec<u64> = read
        .chunks_exact(8)
        .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()))
        .collect();
    list.sort_unstable();
    assert_eq!(list, [CKM_AES_CBC, CKM_AES_CMAC]);
    if not_on_softhsm("an empty list allows everything") {
        return;
    }
    let none = only(&[]);
    refused(
        "anything with an empty list",
        session.begin(Way::Encrypt, CKM_AES_ECB, none),
        no,
    );
    refused(
        "anything with an empty list",
        session.begin(Way::Sign, CKM_AES_CMAC, none),
        no,
    );
}

#[test]
fn what_may_leave_wrapped() {
    let place = Workplace::open();
    let session = place.user();
    let wrapping = keys::import_aes(&session, &[1; 32]);
    let fixed = session
        .generate(CKM_AES_KEY_GEN, &keys::protected_aes())
        .unwrap();
    refused(
        "a key that is not extractable",
        session.wrap(CKM_AES_KEY_WRAP, wrapping, fixed),
        &[CKR_KEY_UNEXTRACTABLE],
    );
    let bound = session
        .create(
            &keys::open_secret(CKK_AES)
                .with(CKA_VALUE, &[2; 32])
                .with(CKA_WRAP_WITH_TRUSTED, true),
        )
        .unwrap();
    let not_trusted = &[
        CKR_KEY_NOT_WRAPPABLE,
        CKR_WRAPPING_KEY_HANDLE_INVALID,
        CKR_KEY_FUNCTION_NOT_PERMITTED,
    ];
    let wrap = session.wrap(CKM_AES_KEY_WRAP, wrapping, bound);
    refused("under a key that is not trusted", wrap, not_trusted);
    if !not_on_softhsm("to it a data object is a key that is not extractable") {
        let data = session.create(&keys::data("x")).unwrap();
        refused(
            "a data object",
            session.wrap(CKM_AES_KEY_WRAP, wrapping, data),
            &[
                CKR_KEY_HANDLE_INVALID,
                CKR_KEY_NOT_WRAPPABLE,
                CKR_OBJECT_HANDLE_INVALID,
            ],
        );
    }
    refused(
        "under no key",
        session.wrap(CKM_AES_KEY_WRAP, 0xdead_beef, wrapping),
        &[CKR_WRAPPING_KEY_HANDLE_INVALID],
    );
    refused(
        "from under no key",
        session.unwrap(
            CKM_AES_KEY_WRAP,
            0xdead_beef,
            &[0; 24],
            &keys::readable_secret(CKK_AES),
        ),
        &[CKR_UNWRAPPING_KEY_HANDLE_INVALID],
    );
}

#[test]
fn only_the_officer_trusts() {
    let place = Workplace::open();
    let session = place.user();
    let template = keys::open_secret(CKK_AES)
        .with(CKA_VALUE, &[1; 32])
        .with(CKA_TOKEN, true)
        .with(CKA_LABEL, "trusted");
    refused(
        "CKA_TRUSTED by the user",
        session.create(&template.clone().with(CKA_TRUSTED, true)),
        &[
            CKR_ATTRIBUTE_READ_ONLY,
            CKR_TEMPLATE_INCONSISTENT,
            CKR_USER_NOT_LOGGED_IN,
        ],
    );
    let key = session.create(&template.with(CKA_PRIVATE, false)).unwrap();
    refused(
        "CKA_TRUSTED by the user",
        session.set(key, &template! { CKA_TRUSTED => true }),
        &[CKR_ATTRIBUTE_READ_ONLY, CKR_USER_NOT_LOGGED_IN],
    );
    session.logout().unwrap();
    session.login(CKU_SO, SO_PIN).unwrap();
    let found = session.find(&template! { CKA_LABEL => "trusted" }).unwrap();
    if not_on_softhsm("CKA_TRUSTED cannot be set later") {
        return;
    }
    session
        .set(found[0], &template! { CKA_TRUSTED => true })
        .expect("CKA_TRUSTED by the officer");
    session.logout().unwrap();
    let session = place.user();
    let wrapping = session.find(&template! { CKA_LABEL => "trusted" }).unwrap()[0];
    assert_eq!(session.flag(wrapping, CKA_TRUSTED), Ok(true));
    let bound = keys::open_secret(CKK_AES)
        .with(CKA_VALUE, &[2; 32])
        .with(CKA_WRAP_WITH_TRUSTED, true);
    let bound = session.create(&bound).unwrap();
    session
        .wrap(CKM_AES_KEY_WRAP, wrapping, bound)
        .expect("under a trusted key");
}

#[test]
fn the_template_of_a_wrapping_key_chooses_what_it_wraps() {
    let place = Workplace::open();
    if not_on_softhsm("it compares sealed labels with plain ones") {
        return;
    }
    let session = place.user();
    let wanted = template! { CKA_KEY_TYPE => CKK_AES, CKA_LABEL => "for wrapping" };
    let wrapping = session
        .create(
            &keys::open_secret(CKK_AES)
                .with(CKA_VALUE, &[1; 32])
                .with(CKA_WRAP_TEMPLATE, wanted),
        )
        .unwrap();
    let target = |label: &str| {
        let template = keys::open_secret(CKK_AES)
            .with(CKA_VALUE, &[2; 32])
            .with(CKA_LABEL, label);
        session.create(&template).unwrap()
    };
    session
        .wrap(CKM_AES_KEY_WRAP, wrapping, target("for wrapping"))
        .unwrap();
    refused(
        "a key that does not match",
        session.wrap(CKM_AES_KEY_WRAP, wrapping, target("another")),
        &[CKR_KEY_HANDLE_INVALID],
    );
}

#[test]
fn the_template_of_an_unwrapping_key_shapes_what_comes_out() {
    let place = Workplace::open();
    if not_on_softhsm("it compares sealed labels with plain ones") {
        return;
    }
    let session = place.user();
    let forced =
        template! { CKA_SENSITIVE => true, CKA_EXTRACTABLE => false, CKA_LABEL => "forced" };
    let key = session
        .create(
            &keys::open_secret(CKK_AES)
                .with(CKA_VALUE, &[1; 32])
                .with(CKA_UNWRAP_TEMPLATE, forced),
        )
        .unwrap();
    let target = keys::import_aes(&session, &[2; 32]);
    let wrapped = session.wrap(CKM_AES_KEY_WRAP, key, target).unwrap();
    let plain =
        template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_TOKEN => false };
    let out = session
        .unwrap(CKM_AES_KEY_WRAP, key, &wrapped, &plain)
        .unwrap();
    assert_eq!(session.flag(out, CKA_SENSITIVE), Ok(true));
    assert_eq!(session.flag(out, CKA_EXTRACTABLE), Ok(false));
    assert_eq!(session.attribute(out, CKA_LABEL).unwrap(), b"forced");
    for conflict in [
        plain.clone().with(CKA_SENSITIVE, false),
        plain.clone().with(CKA_EXTRACTABLE, true),
        plain.clone().with(CKA_LABEL, "other"),
    ] {
        refused(
            "a template that conflicts",
            session.unwrap(CKM_AES_KEY_WRAP, key, &wrapped, &conflict),
            &[CKR_TEMPLATE_INCONSISTENT],
        );
    }
    session
        .unwrap(
            CKM_AES_KEY_WRAP,
            key,
            &wrapped,
            &plain.with(CKA_SENSITIVE, true),
        )
        .expect("a template that agrees");
}

#[test]
fn the_template_of_a_deriving_key_shapes_what_comes_out() {
    let place = Workplace::open();
    if not_on_softhsm("CKA_DERIVE_TEMPLATE came with 3.0") {
        return;
    }
    let session = place.user();
    let curve = Curve::P256;
    let scalar = curve.fixed_scalar(9);
    let forced = template! { CKA_SENSITIVE => true, CKA_EXTRACTABLE => false };
    let base = session
        .create(&keys::ec_private(curve, &scalar).with(CKA_DERIVE_TEMPLATE, forced))
        .unwrap();
    let mechanism = Mechanism::ecdh(CKD_NULL, b"", &curve.point_of(&curve.fixed_scalar(10)));
    let plain = template! {
        CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_GENERIC_SECRET, CKA_VALUE_LEN => 32, CKA_TOKEN => false,
    };
    let out = session.derive(mechanism.clone(), base, &plain).unwrap();
    assert_eq!(session.flag(out, CKA_SENSITIVE), Ok(true));
    assert_eq!(session.flag(out, CKA_EXTRACTABLE), Ok(false));
    refused(
        "a template that conflicts",
        session.derive(mechanism, base, &plain.with(CKA_SENSITIVE, false)),
        &[CKR_TEMPLATE_INCONSISTENT],
    );
}

#[test]
fn nested_templates_are_read_by_two_levels_of_buffers() {
    let place = Workplace::open();
    if not_on_softhsm("nested templates cannot be read") {
        return;
    }
    let session = place.user();
    let inner = template! { CKA_SENSITIVE => true, CKA_LABEL => "inner" };
    let template = keys::open_secret(CKK_AES)
        .with(CKA_VALUE, &[1; 32])
        .with(CKA_UNWRAP_TEMPLATE, inner);
    let key = session.create(&template).unwrap();
    let (code, reads) = session.read(key, &[(CKA_UNWRAP_TEMPLATE, None)]);
    assert_eq!(code.ok(), Ok(()));
    assert_eq!(reads[0].length as usize, 2 * size_of::<CK_ATTRIBUTE>());
    let mut label = [0_u8; 16];
    let mut flag = [0_u8; 1];
    let mut nested = [
        CK_ATTRIBUTE {
            type_: 0,
            pValue: label.as_mut_ptr().cast(),
            ulValueLen: 16,
        },
        CK_ATTRIBUTE {
            type_: 0,
            pValue: flag.as_mut_ptr().cast(),
            ulValueLen: 1,
        },
    ];
    // Which of both comes first is the token's choice: both buffers take either in a second try.
    let mut outer = CK_ATTRIBUTE {
        type_: CKA_UNWRAP_TEMPLATE,
        pValue: nested.as_mut_ptr().cast(),
        ulValueLen: size_of_val(&nested) as CK_ULONG,
    };
    let code = read_raw(&session, key, &mut outer);
    if code.0 == CKR_BUFFER_TOO_SMALL {
        nested[0] = CK_ATTRIBUTE {
            type_: 0,
            pValue: flag.as_mut_ptr().cast(),
            ulValueLen: 1,
        };
        nested[1] = CK_ATTRIBUTE {
            type_: 0,
            pValue: label.as_mut_ptr().cast(),
            ulValueLen: 16,
        };
        outer.ulValueLen = size_of_val(&nested) as CK_ULONG;
        assert_eq!(read_raw(&session, key, &mut outer).ok(), Ok(()));
    } else {
        assert_eq!(code.ok(), Ok(()));
    }
    let mut kinds = [nested[0].type_, nested[1].type_];
    kinds.sort_unstable();
    assert_eq!(kinds, [CKA_LABEL, CKA_SENSITIVE]);
    assert_eq!((&label[..5], flag), (b"inner".as_slice(), [1]));
}

fn read_raw(
    session: &Session<'_>,
    key: CK_OBJECT_HANDLE,
    outer: &mut CK_ATTRIBUTE,
) -> strongroom_tests::Rv {
    strongroom_tests::call!(
        session.module,
        C_GetAttributeValue(session.handle, key, &raw mut *outer, 1)
    )
}

#[test]
fn a_key_may_not_be_used_before_its_start_or_after_its_end() {
    let place = Workplace::open();
    if not_on_softhsm("it keeps dates and does not look at them") {
        return;
    }
    let session = place.user();
    for (what, kind, date) in [
        ("not yet", CKA_START_DATE, "20980101"),
        ("no longer", CKA_END_DATE, "20200101"),
    ] {
        let key = session
            .generate(CKM_AES_KEY_GEN, &keys::protected_aes().with(kind, date))
            .unwrap_or_else(|code| panic!("{what}: {code:?}"));
        refused(
            what,
            session.begin(Way::Encrypt, CKM_AES_ECB, key),
            &[CKR_KEY_FUNCTION_NOT_PERMITTED],
        );
    }
}
