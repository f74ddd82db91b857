//! Oracle Transparent Data Encryption with a keystore of the kind HSM (docs/tde/oracle.md).

use std::fs;
use std::os::unix::fs::symlink;

use cryptoki_sys::*;
use strongroom_tests::hsm::module_path;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, Rv, Session, USER_PIN, Way, Workplace, digits, not_on_softhsm, pattern, template,
};

use super::{ask_all, both_cbc, finds_nothing, open_keystore, processes, secret_key};
use crate::keys;
use crate::second::Second;

/// The first byte of a key's name says AES-256, the other 16 are the key's id.
fn key_name(id: u64) -> String {
    format!("06{}", digits(&pattern(id, 16)))
}

fn key_label(id: u64) -> String {
    format!("ORACLE.TDE.HSM.MK.{}", key_name(id))
}

/// The data object beside a key: its label has the digits of the digits of the name.
fn beside_label(id: u64) -> String {
    format!(
        "ORACLE.SECURITY.KM.ENCRYPTION.{}",
        digits(key_name(id).as_bytes())
    )
}

/// What the data object holds: numbers, and bytes that end no string.
fn beside_value(id: u64) -> Vec<u8> {
    [&[0, 1, 0, 0, 0xff][..], &pattern(id + 1_000, 600), &[0, 0]].concat()
}

/// ADMINISTER KEY MANAGEMENT SET KEY: a master key, and the data object that tells of it.
fn set_key(session: &Session<'_>, id: u64) -> CK_OBJECT_HANDLE {
    let label = key_label(id);
    let wanted = template! { CKA_LABEL => label.as_str() };
    finds_nothing(session, &wanted);
    let key = session
        .generate(CKM_AES_KEY_GEN, &keys::master_key(&label))
        .unwrap();
    session
        .create(&template! {
            CKA_CLASS => CKO_DATA,
            CKA_TOKEN => true,
            CKA_PRIVATE => true,
            CKA_LABEL => beside_label(id),
            CKA_VALUE => beside_value(id),
        })
        .unwrap();
    key
}

/// A table key as the data dictionary keeps it, and back.
fn enciphered(
    session: &Session<'_>,
    key: CK_OBJECT_HANDLE,
    way: &Mechanism,
    table: &[u8],
) -> Vec<u8> {
    let kept = session
        .run_by_the_book(Way::Encrypt, way.clone(), key, table)
        .unwrap();
    assert_ne!(kept, table);
    kept
}

fn deciphered(
    session: &Session<'_>,
    key: CK_OBJECT_HANDLE,
    way: &Mechanism,
    kept: &[u8],
) -> Vec<u8> {
    session
        .run_by_the_book(Way::Decrypt, way.clone(), key, kept)
        .unwrap()
}

#[test]
fn the_library_works_wherever_oracle_looks_for_it_and_whatever_it_is_called() {
    let place = Workplace::open();
    set_key(&place.user(), 1);
    let root = place.hsm.home.join("opt/oracle/extapi/64");
    let convention = root.join("hsm/strongroom/0.1.0");
    let parameter = root.join("pkcs11/okv/21.8");
    for directory in [&convention, &parameter] {
        fs::create_dir_all(directory).unwrap();
    }
    let copied = convention.join("libstrongroom_pkcs11.so");
    fs::copy(module_path(), &copied).unwrap();
    // Oracle takes the one lib*.so that lies there, whatever its name.
    let renamed = parameter.join("liborapkcs.so");
    fs::copy(module_path(), &renamed).unwrap();
    let linked = root.join("libhsm.so");
    symlink(module_path(), &linked).unwrap();
    for library in [copied, renamed, linked] {
        let mut process = Second::start_with(&place.hsm, &library);
        assert_eq!(process.ask("open suite"), "ok", "{}", library.display());
        assert_eq!(process.ask(&format!("login user {USER_PIN}")), "ok");
        let find = format!("find {}", key_label(1));
        assert_eq!(process.ask(&find), "ok 1", "{}", library.display());
        assert_eq!(process.ask("finalize"), "ok");
    }
}

#[test]
fn a_password_with_a_user_before_it_is_the_pin_as_a_whole_and_names_nobody() {
    const WHOLE: &str = "oracle_user:user-pin-1234";
    let place = Workplace::open();
    let session = place.public();
    // A token whose PIN is the password alone does not take the user off.
    let mut tries = 0;
    loop {
        tries += 1;
        match session.login(CKU_USER, WHOLE) {
            Err(Rv(CKR_PIN_INCORRECT)) => {}
            Err(Rv(CKR_PIN_LOCKED)) => break,
            other => panic!("{other:?}"),
        }
        if not_on_softhsm("it counts no tries") {
            break;
        }
        assert!(tries < 200, "each costs a try, so it is locked one day");
    }
    // The recipe: the PIN of the token is the whole of it.
    session.login(CKU_SO, strongroom_tests::SO_PIN).unwrap();
    session.init_pin(WHOLE).unwrap();
    session.logout().unwrap();
    let password = WHOLE.split_once(':').unwrap().1;
    for part in [password, "oracle_user", "ORACLE_USER:user-pin-1234"] {
        refused(part, session.login(CKU_USER, part), &[CKR_PIN_INCORRECT]);
    }
    session.login(CKU_USER, WHOLE).unwrap();
    assert_eq!(session.state().unwrap(), CKS_RW_USER_FUNCTIONS);
}

#[test]
fn set_key_makes_a_key_and_a_data_object_that_every_search_finds() {
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    // The first to open the keystore marks it; who comes later finds the mark.
    let mark = template! { CKA_CLASS => CKO_DATA, CKA_LABEL => "DATA_OBJECT_SUPPORTED_IDEN" };
    finds_nothing(&session, &mark);
    let marking = mark
        .clone()
        .with(CKA_TOKEN, true)
        .with(CKA_PRIVATE, true)
        .with(CKA_VALUE, &[1, 0, 0, 0]);
    let marked = session.create(&marking).unwrap();
    assert_eq!(session.find(&mark).unwrap(), [marked]);

    let key = set_key(&session, 1);
    set_key(&session, 2);
    let label = key_label(1);
    assert_eq!(key_name(1).len(), 34);
    assert_eq!(beside_label(1).len(), 98);
    let by_label = template! { CKA_LABEL => label.as_str() };
    let by_class = by_label.clone().with(CKA_CLASS, CKO_SECRET_KEY);
    let by_type = by_class.clone().with(CKA_KEY_TYPE, CKK_AES);
    let by_place = by_type.clone().with(CKA_TOKEN, true);
    let by_all = by_place
        .clone()
        .with(CKA_PRIVATE, true)
        .with(CKA_ENCRYPT, true)
        .with(CKA_VALUE_LEN, 32);
    for wanted in [by_label, by_class, by_type, by_place, by_all] {
        assert_eq!(session.find(&wanted).unwrap(), [key], "{wanted:?}");
    }
    for kind in [CKA_SENSITIVE, CKA_TOKEN, CKA_PRIVATE] {
        assert!(session.flag(key, kind).unwrap());
    }
    assert!(!session.flag(key, CKA_EXTRACTABLE).unwrap());
    assert_eq!(session.attribute(key, CKA_LABEL).unwrap(), label.as_bytes());
    refused(
        "the key's value",
        session.attribute(key, CKA_VALUE),
        &[CKR_ATTRIBUTE_SENSITIVE],
    );
    for id in [1, 2] {
        let wanted = template! { CKA_CLASS => CKO_DATA, CKA_LABEL => beside_label(id) };
        let found = session.find(&wanted).unwrap();
        assert_eq!(found.len(), 1);
        let value = session.attribute(found[0], CKA_VALUE).unwrap();
        assert_eq!(value, beside_value(id), "bytes, and no string");
    }
}

#[test]
fn a_search_for_what_cannot_be_finds_nothing_and_is_no_error() {
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    set_key(&session, 1);
    let label = key_label(1);
    let unknown = CKA_VENDOR_DEFINED | 0x4f52;
    let absent = [
        template! { CKA_LABEL => key_label(2) },
        template! { CKA_LABEL => &label[..label.len() - 1] },
        template! { CKA_LABEL => format!("{label}\0") },
        template! { CKA_LABEL => label.to_lowercase() },
        template! { CKA_CLASS => CKO_DATA, CKA_LABEL => label.as_str() },
        template! { CKA_CLASS => CKO_VENDOR_DEFINED | 7, CKA_LABEL => label.as_str() },
        template! { CKA_LABEL => label.as_str(), CKA_APPLICATION => "Oracle" },
        template! { CKA_LABEL => label.as_str(), CKA_OBJECT_ID => &[6] },
        template! { CKA_CLASS => CKO_DATA, CKA_KEY_TYPE => CKK_AES },
        template! { CKA_CLASS => CKO_SECRET_KEY, CKA_MODULUS_BITS => 2048 },
        template! { unknown => "what is this", CKA_LABEL => label.as_str() },
        template! { unknown => "" },
        template! { CKA_LABEL => key_label(1), CKA_KEY_TYPE => CKK_DES3 },
        // Before the tablespaces had the same key as the tables.
        template! { CKA_LABEL => label.replace(".TDE.", ".TSE.") },
    ];
    for wanted in absent {
        finds_nothing(&session, &wanted);
    }
    assert_eq!(
        session
            .find(&template! { CKA_LABEL => label })
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn table_keys_are_encrypted_and_decrypted_by_the_master_key() {
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let key = set_key(&session, 1);
    for iv in [[0; 16], [0x5a; 16]] {
        let [whole, padded] = both_cbc(&iv);
        // Keys of AES-128, 192 and 256; with what else is kept beside them; and with a digest.
        for length in [16, 32, 48, 64, 512] {
            let table = pattern(length, length as usize);
            let kept = enciphered(&session, key, &whole, &table);
            assert_eq!(kept.len(), table.len());
            assert_eq!(deciphered(&session, key, &whole, &kept), table);
        }
        for length in [16, 24, 32, 33, 52, 1_000] {
            let table = pattern(length, length as usize);
            let kept = enciphered(&session, key, &padded, &table);
            assert_eq!(kept.len(), (table.len() / 16 + 1) * 16);
            assert_eq!(deciphered(&session, key, &padded, &kept), table);
            let pieces = session
                .run_in_pieces(Way::Decrypt, padded.clone(), key, &kept, 7)
                .unwrap();
            assert_eq!(pieces, table, "in pieces");
        }
        refused(
            "a table key of 24 bytes without padding",
            session.run(Way::Encrypt, whole, key, &[1; 24]),
            &[CKR_DATA_LEN_RANGE],
        );
        refused(
            "half a block",
            session.run(Way::Decrypt, padded, key, &[1; 24]),
            &[CKR_ENCRYPTED_DATA_LEN_RANGE],
        );
    }
}

#[test]
fn a_key_of_a_wallet_that_is_migrated_encrypts_as_the_wallet_did() {
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let value = pattern(77, 32);
    let template = keys::master_key(&key_label(7)).without(CKA_VALUE_LEN);
    let key = session.create(&template.with(CKA_VALUE, &value)).unwrap();
    let judge = Aes::new(&value);
    let iv = [0x11; 16];
    let [whole, padded] = both_cbc(&iv);
    let table = pattern(8, 32);
    assert_eq!(
        enciphered(&session, key, &whole, &table),
        judge.cbc(&iv, &table)
    );
    let kept = judge.cbc_pad(&iv, &table);
    assert_eq!(enciphered(&session, key, &padded, &table), kept);
    assert_eq!(deciphered(&session, key, &padded, &kept), table);
}

#[test]
fn table_keys_are_wrapped_and_unwrapped_where_the_master_key_may_do_that() {
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let template = keys::master_key(&key_label(9))
        .with(CKA_WRAP, true)
        .with(CKA_UNWRAP, true);
    let master = session.generate(CKM_AES_KEY_GEN, &template).unwrap();
    let value = pattern(9, 32);
    let table = keys::import_aes(&session, &value);
    let mut ways = vec![Mechanism::plain(CKM_AES_KEY_WRAP)];
    if !not_on_softhsm("no wrapping with CBC_PAD") {
        ways.push(Mechanism::bytes(CKM_AES_CBC_PAD, &[4; 16]));
    }
    for way in ways {
        let wrapped = session.wrap(way.clone(), master, table).unwrap();
        let readable = keys::readable_secret(CKK_AES);
        let back = session.unwrap(way, master, &wrapped, &readable).unwrap();
        assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), value);
    }
    refused(
        "the master key, wrapped",
        session.wrap(CKM_AES_KEY_WRAP, master, master),
        &[CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE],
    );
}

#[test]
fn after_a_rekey_old_keys_are_found_and_table_keys_move_to_the_new_one() {
    const TABLES: u64 = 20;
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let way = Mechanism::bytes(CKM_AES_CBC_PAD, &[0; 16]);
    let table = |number: u64| pattern(500 + number, 32);
    let first = set_key(&session, 1);
    let mut dictionary: Vec<Vec<u8>> = (0..TABLES)
        .map(|number| enciphered(&session, first, &way, &table(number)))
        .collect();
    for new in 2..=5 {
        set_key(&session, new);
        let [old, new] = [new - 1, new].map(|id| secret_key(&session, &key_label(id)));
        for kept in &mut dictionary {
            let clear = deciphered(&session, old, &way, kept);
            *kept = enciphered(&session, new, &way, &clear);
        }
    }
    let last = secret_key(&session, &key_label(5));
    for (number, kept) in (0..).zip(&dictionary) {
        assert_eq!(deciphered(&session, last, &way, kept), table(number));
        let with_first = session.run(Way::Decrypt, way.clone(), first, kept);
        assert_ne!(with_first, Ok(table(number)), "they moved");
    }
    let all = template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES };
    assert_eq!(session.find(&all).unwrap().len(), 5, "no key ever goes");
}

#[test]
fn many_server_processes_work_at_once_and_see_each_others_keys_at_once() {
    const PROCESSES: usize = 8;
    let place = Workplace::open();
    set_key(&place.user(), 1);
    let mut servers = processes(&place.hsm, PROCESSES);
    let table = digits(&pattern(3, 32));
    let mut label = key_label(1);
    for round in 0..PROCESSES {
        let kept = ask_all(&mut servers, &format!("encrypt {label} {table}"));
        assert!(kept[0].starts_with("ok "), "{kept:?}");
        assert!(kept.iter().all(|other| *other == kept[0]), "{kept:?}");
        let decrypt = kept[0].replace("ok ", &format!("decrypt {label} "));
        let clear = ask_all(&mut servers, &decrypt);
        assert!(clear.iter().all(|other| *other == format!("ok {table}")));
        // Another one does SET KEY; the very next call of every other finds it.
        label = key_label(10 + round as u64);
        let find = format!("find {label}");
        assert_eq!(ask_all(&mut servers, &find), vec!["ok 0"; PROCESSES]);
        assert_eq!(servers[round].ask(&format!("generate {label}")), "ok");
        assert_eq!(ask_all(&mut servers, &find), vec!["ok 1"; PROCESSES]);
    }
    // One that ends, or is killed, takes nothing with it.
    servers.pop().unwrap().kill();
    assert_eq!(servers[0].ask("logout"), "ok");
    let find = format!("find {label}");
    assert_eq!(servers[0].ask(&find), "ok 0", "a private object");
    assert_eq!(
        servers[1].ask(&find),
        "ok 1",
        "logins are each process's own"
    );
}

#[test]
fn a_server_that_forks_without_exec_has_children_that_initialise_anew() {
    let place = Workplace::open();
    if not_on_softhsm(
        "C_Initialize in a child is refused, unless library.reset_on_fork says otherwise",
    ) {
        return;
    }
    set_key(&place.user(), 1);
    let label = key_label(1);
    let table = digits(&pattern(3, 32));
    let mut listener = processes(&place.hsm, 1).remove(0);
    let kept = listener.ask(&format!("encrypt {label} {table}"));
    let decrypt = kept.replace("ok ", &format!("decrypt {label} "));
    for id in 2..5 {
        let child = format!("in-child suite {USER_PIN}");
        assert_eq!(
            listener.ask(&format!("{child} {decrypt}")),
            format!("ok {table}")
        );
        let new = key_label(id);
        assert_eq!(listener.ask(&format!("{child} generate {new}")), "ok");
        // The parent's session and login are as they were.
        assert_eq!(listener.ask(&format!("find {new}")), "ok 1");
        assert_eq!(listener.ask(&decrypt), format!("ok {table}"));
    }
}

#[test]
fn a_heartbeat_and_the_keystore_outlive_the_daemon() {
    let mut place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let key = set_key(&session, 1);
    let way = Mechanism::bytes(CKM_AES_CBC_PAD, &[0; 16]);
    let table = pattern(3, 32);
    let kept = enciphered(&session, key, &way, &table);
    let mut servers = processes(&place.hsm, 2);
    let (module, slot) = (place.module, place.slot);
    let session = Session {
        module: &module,
        handle: session.handle,
    };
    for round in 0..4 {
        for _ in 0..50 {
            let info = module.token_info(slot).unwrap();
            assert_ne!(info.flags & CKF_TOKEN_INITIALIZED, 0);
            assert_eq!(session.state().unwrap(), CKS_RW_USER_FUNCTIONS);
            let wanted = template! { CKA_LABEL => key_label(1) };
            assert_eq!(session.find(&wanted).unwrap(), [key], "round {round}");
        }
        assert_eq!(deciphered(&session, key, &way, &kept), table);
        let find = format!("find {}", key_label(1));
        assert_eq!(ask_all(&mut servers, &find), ["ok 1", "ok 1"]);
        if round % 2 == 0 {
            place.hsm.stop_daemon();
        } else {
            place.hsm.kill_daemon();
        }
        place.hsm.start_daemon();
    }
}

#[test]
fn a_daemon_killed_under_the_hands_of_server_processes_costs_each_the_call_in_flight_at_most() {
    const CALLS: usize = 400;
    let mut place = Workplace::open();
    set_key(&place.user(), 1);
    let mut servers = processes(&place.hsm, 4);
    let label = key_label(1);
    let table = digits(&pattern(3, 32));
    let encrypt = format!("encrypt {label} {table}");
    let kept = servers[0].ask(&encrypt);
    assert!(kept.starts_with("ok "), "{kept}");
    for _ in 0..3 {
        // The calls are on their way before the daemon goes, and after it.
        for server in &mut servers {
            (0..CALLS).for_each(|_| server.send(&encrypt));
        }
        assert_eq!(servers[0].answer(), kept, "they are at work");
        place.hsm.kill_daemon();
        place.hsm.start_daemon();
        for (number, server) in servers.iter_mut().enumerate() {
            let calls = usize::from(number == 0)..CALLS;
            let mut other: Vec<String> = calls.map(|_| server.answer()).collect();
            other.retain(|answer| *answer != kept);
            // An answer that never came is told as such: the call is made again by who made it, because who else knows what it did?
            assert!(other.len() <= 1, "process {number}: {other:?}");
            assert!(
                other.iter().all(|answer| answer == "CKR_DEVICE_ERROR"),
                "{other:?}"
            );
        }
    }
}

#[test]
fn the_other_functions_of_oracles_own_small_provider_answer() {
    const NEW_PIN: &str = "another-pin-5678";
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let key = set_key(&session, 1);
    assert_eq!(session.info().unwrap().slotID, place.slot);
    assert_ne!(session.object_size(key).unwrap(), 0);
    // A tag of a key is an attribute that may be changed.
    let tagged = template! { CKA_ID => "tag of the key" };
    session.set(key, &tagged).unwrap();
    assert_eq!(session.find(&tagged).unwrap(), [key]);
    refused(
        "a key that becomes extractable",
        session.set(key, &template! { CKA_EXTRACTABLE => true }),
        &[CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT],
    );
    let label = key_label(2);
    let copy = session
        .copy(key, &template! { CKA_LABEL => label.as_str() })
        .unwrap();
    let way = Mechanism::bytes(CKM_AES_CBC_PAD, &[0; 16]);
    let kept = enciphered(&session, key, &way, &[7; 32]);
    assert_eq!(deciphered(&session, copy, &way, &kept), [7; 32]);
    session.destroy(copy).unwrap();
    finds_nothing(&session, &template! { CKA_LABEL => label });
    // ALTER KEYSTORE PASSWORD.
    session.set_pin(USER_PIN, NEW_PIN).unwrap();
    place.module.close_all(place.slot).unwrap();
    let session = place.public();
    refused(
        "the old password",
        session.login(CKU_USER, USER_PIN),
        &[CKR_PIN_INCORRECT],
    );
    session.login(CKU_USER, NEW_PIN).unwrap();
    let key = secret_key(&session, &key_label(1));
    assert_eq!(deciphered(&session, key, &way, &kept), [7; 32]);
}
