//! Databases that encrypt at rest and cannot be installed here: their calls, as far as they are published, played one after the other.
//!
//! What lives here: a file for each database, and what they have in common: opening the keystore, looking for a key.
//! What must never live here: a database that runs here; `mariadb.rs` has one. What is known and what is inferred stands in docs/tde.
//! Who calls it: `main.rs`.

use cryptoki_sys::*;
use strongroom_tests::{
    Hsm, Mechanism, Module, Session, Template, USER_PIN, not_on_softhsm, template,
};

use crate::second::Second;

mod db2;
mod oracle;
mod pg_vault;
mod sqlserver;
mod vault;

/// What SoftHSM is spared.
const LOGINS_AT_ONCE: &str = "logins of several processes at once fail with CKR_GENERAL_ERROR";

/// The two ways of enciphering a key that none of these databases' papers decides between. The vector is the same for both.
fn both_cbc(iv: &[u8; 16]) -> [Mechanism; 2] {
    [CKM_AES_CBC, CKM_AES_CBC_PAD].map(|kind| Mechanism::bytes(kind, iv))
}

/// A process opens the keystore: it looks at the module, takes the token by its label, and logs in with the PIN.
fn open_keystore<'m>(module: &'m Module, label: &str, pin: &str) -> Session<'m> {
    assert_eq!(module.info().unwrap().cryptokiVersion.major, 2);
    let slot = module.slot_labelled(label).expect("the token");
    assert_ne!(
        module.slot_info(slot).unwrap().flags & CKF_TOKEN_PRESENT,
        0,
        "the token is there"
    );
    for wanted in [CKM_AES_KEY_GEN, CKM_AES_CBC, CKM_AES_CBC_PAD] {
        assert!(module.mechanisms(slot).unwrap().contains(&wanted));
        let info = module.mechanism_info(slot, wanted).unwrap();
        assert!(info.ulMinKeySize <= 32 && info.ulMaxKeySize >= 32);
    }
    let session = Session::open_rw(module, slot).expect("C_OpenSession");
    session.login(CKU_USER, pin).expect("C_Login");
    session
}

/// The one secret key of a label.
fn secret_key(session: &Session<'_>, label: &str) -> CK_OBJECT_HANDLE {
    let wanted = template! { CKA_CLASS => CKO_SECRET_KEY, CKA_LABEL => label };
    match session.find(&wanted).unwrap()[..] {
        [key] => key,
        ref other => panic!("{} keys labelled {label}", other.len()),
    }
}

/// A search that must find nothing, and be no error.
#[track_caller]
fn finds_nothing(session: &Session<'_>, wanted: &Template) {
    let found = session.find(wanted);
    assert_eq!(found, Ok(Vec::new()), "{wanted:?}");
}

/// Processes of one database, each with the keystore open; they come all at once.
fn processes(hsm: &Hsm, count: usize) -> Vec<Second> {
    let mut all: Vec<Second> = (0..count).map(|_| Second::start(hsm)).collect();
    for command in ["open suite".to_owned(), format!("login user {USER_PIN}")] {
        let answers = if not_on_softhsm(LOGINS_AT_ONCE) {
            all.iter_mut().map(|one| one.ask(&command)).collect()
        } else {
            ask_all(&mut all, &command)
        };
        assert_eq!(answers, vec!["ok"; count], "{command}");
    }
    all
}

/// Asks all processes the same at the same time; their answers.
fn ask_all(processes: &mut [Second], command: &str) -> Vec<String> {
    processes
        .iter_mut()
        .for_each(|process| process.send(command));
    processes.iter_mut().map(Second::answer).collect()
}
