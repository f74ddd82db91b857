//! `pg_vault_tde`, an extension of PostgreSQL: data keys under AES key wrap of a key in the token (docs/tde/README.md).

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::rv::refused;
use strongroom_tests::{USER_PIN, Workplace, not_on_softhsm, pattern, template};

use super::secret_key;
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
        CKA_LABEL => "pg-tde-kek",
        CKA_VALUE => &value,
    };
    session.create(&kek).unwrap();
    let kek = secret_key(&session, "pg-tde-kek");
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
