//! Stores of every format that ever was, with their keys: they open for ever. One file for each format; none is ever made anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::{Hsm, Session, Way, not_on_softhsm, template};

use crate::ledger::{verified, verified_at_rest};

const USER_PIN: &str = "1234";

#[test]
fn a_store_of_format_1_opens_with_all_that_is_in_it() {
    if not_on_softhsm("a store of ours") {
        return;
    }
    let mut hsm = Hsm::at_rest();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for (from, to) in [
        ("format-1.redb", "store.redb"),
        ("format-1.key", "root.key"),
    ] {
        let to = hsm.home.join(to);
        fs::copy(data.join(from), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    }
    verified_at_rest(&hsm, "as it was made");
    hsm.start_daemon();
    let module = hsm.module();
    let slot = module.slot_labelled("fixture").expect("its token");
    let flags = module.token_info(slot).unwrap().flags;
    assert_ne!(flags & CKF_USER_PIN_COUNT_LOW, 0, "a wrong PIN was tried");
    let session = Session::open_rw(&module, slot).unwrap();
    session.login(CKU_USER, USER_PIN).unwrap();
    let one = |class: CK_OBJECT_CLASS, label: &str| {
        let found = session
            .find(&template! { CKA_CLASS => class, CKA_LABEL => label })
            .unwrap();
        assert_eq!(found.len(), 1, "{label}");
        found[0]
    };
    for label in ["public", "private"] {
        let value = session.attribute(one(CKO_DATA, label), CKA_VALUE).unwrap();
        assert_eq!(value, format!("{label} value").into_bytes());
    }
    let sealed = session
        .run(
            Way::Encrypt,
            CKM_AES_ECB,
            one(CKO_SECRET_KEY, "secret"),
            &[3; 32],
        )
        .unwrap();
    assert_eq!(sealed, Aes::new(&[b'k'; 16]).ecb(&[3; 32]));
    let (private, public) = (one(CKO_PRIVATE_KEY, "pair"), one(CKO_PUBLIC_KEY, "pair"));
    let signature = session
        .run(Way::Sign, CKM_ECDSA_SHA256, private, b"still the same key")
        .unwrap();
    session
        .verify(CKM_ECDSA_SHA256, public, b"still the same key", &signature)
        .unwrap();
    verified(&hsm, "opened");
    module.finalize().unwrap();
}
