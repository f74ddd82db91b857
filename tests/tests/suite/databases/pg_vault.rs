//! `pg_vault_tde`, an extension of PostgreSQL: data keys under AES key wrap of a key in the token (docs/tde/README.md).

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::rv::refused;
use strongroom_tests::{USER_PIN, Workplace, not_on_softhsm, pattern, template};

use super::{ask_all, processes, secret_key};
use crate::keys;

#[test]
fn data_keys_are_wrapped_under_the_kek_and_unwrapped_again() {
    let place = Workplace::open();
    let session = super::open_keystore(&place.module, "suite", USER_PIN);
    let value = pattern(1, 32);
    let kek = template! {
        CKA_CLASS => CKO_SECRET_KEY,
        CKA_KEY_TYPE => CKK_AES,
        CKA_TOKEN => true,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => true,
        CKA_EXTRACTABLE => false,
        CKA_WRAP => true,
        CKA_UNWRAP => true,
        CKA_ENCRYPT => false,
        CKA_DECRYPT => false,
        CKA_LABEL => "pg_vault_tde_kek.v1",
        CKA_VALUE => &value,
    };
    session.create(&kek).unwrap();
    let kek = secret_key(&session, "pg_vault_tde_kek.v1");
    for length in [16, 32, 64] {
        // A key of AES-128, of AES-256, and a pair for XTS.
        let data_key = pattern(length, length as usize);
        let clear = keys::import_secret(&session, CKK_GENERIC_SECRET, &data_key);
        let wrapped = session.wrap(CKM_AES_KEY_WRAP, kek, clear).unwrap();
        assert_eq!(wrapped, Aes::new(&value).kw(&data_key));
        session.destroy(clear).unwrap();
        let readable = keys::readable_secret(CKK_GENERIC_SECRET);
        let back = session
            .unwrap(CKM_AES_KEY_WRAP, kek, &wrapped, &readable)
            .unwrap();
        assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), data_key);
        session.destroy(back).unwrap();
        if not_on_softhsm("a damaged key is a general error") {
            continue;
        }
        let mut damaged = wrapped;
        damaged[9] ^= 1;
        refused(
            "a damaged data key",
            session.unwrap(CKM_AES_KEY_WRAP, kek, &damaged, &readable),
            &[CKR_WRAPPED_KEY_INVALID],
        );
    }
}

#[test]
fn a_rotation_makes_the_next_generation_which_every_backend_sees_and_keeps_the_old_ones() {
    let place = Workplace::open();
    let session = super::open_keystore(&place.module, "suite", USER_PIN);
    let mut backends = processes(&place.hsm, 3);
    let label = |generation: u8| format!("pg_vault_tde_kek.v{generation}");
    let readable = keys::readable_secret(CKK_GENERIC_SECRET);
    let data_key = pattern(7, 32);
    let clear = keys::import_secret(&session, CKK_GENERIC_SECRET, &data_key);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for generation in 1..=4 {
        let find = format!("find {}", label(generation));
        assert_eq!(ask_all(&mut backends, &find), ["ok 0"; 3]);
        let kek = keys::master_key(&label(generation))
            .with(CKA_ENCRYPT, false)
            .with(CKA_DECRYPT, false)
            .with(CKA_WRAP, true)
            .with(CKA_UNWRAP, true)
            .with(CKA_MODIFIABLE, false);
        let kek = session.generate(CKM_AES_KEY_GEN, &kek).unwrap();
        assert_eq!(ask_all(&mut backends, &find), ["ok 1"; 3]);
        refused(
            "another name for a generation",
            session.set(kek, &template! { CKA_LABEL => "current" }),
            &[CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY],
        );
        // The data key is opened with the generation before, and wrapped by this one.
        let from = match kept.last() {
            Some(before) => {
                let old = secret_key(&session, &label(generation - 1));
                session
                    .unwrap(CKM_AES_KEY_WRAP, old, before, &readable)
                    .unwrap()
            }
            None => clear,
        };
        kept.push(session.wrap(CKM_AES_KEY_WRAP, kek, from).unwrap());
    }
    for (generation, wrapped) in (1..).zip(&kept) {
        let kek = secret_key(&session, &label(generation));
        let back = session
            .unwrap(CKM_AES_KEY_WRAP, kek, wrapped, &readable)
            .unwrap();
        assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), data_key);
    }
}
