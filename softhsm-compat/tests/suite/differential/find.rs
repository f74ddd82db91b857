//! Searching (PKCS#11 3.2, 5.7.7 to 5.7.9).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::keys::{data, import_aes};
use strongroom_tests::{Session, Workplace, call, template};

use super::scenario;

#[test]
fn searches_by_template() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        for (label, id) in [("one", b"\x01"), ("two", b"\x02"), ("two", b"\x03")] {
            let template = template! {
                CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_VALUE => &[9; 16], CKA_LABEL => label,
                CKA_ID => id, CKA_TOKEN => true, CKA_SENSITIVE => false, CKA_EXTRACTABLE => true
            };
            s.create(&template).expect("a key");
        }
        s.create(&data("one")).expect("an object");
        let rows = [
            ("nothing asked", template! {}),
            ("a class", template! { CKA_CLASS => CKO_SECRET_KEY }),
            ("a label", template! { CKA_LABEL => "one" }),
            (
                "a label and a class",
                template! { CKA_LABEL => "one", CKA_CLASS => CKO_DATA },
            ),
            ("an id", template! { CKA_ID => b"\x02" }),
            ("a label that is none", template! { CKA_LABEL => "three" }),
            ("an empty label", template! { CKA_LABEL => "" }),
            ("a class of nobody", template! { CKA_CLASS => 0x9999_u64 }),
            ("an attribute of nobody", template! { 0x9999_u64 => b"x" }),
            (
                "a vendor's attribute",
                template! { CKA_VENDOR_DEFINED | 5 => b"x" },
            ),
            ("what only some have", template! { CKA_ENCRYPT => true }),
            (
                "a boolean of two bytes",
                template! { CKA_TOKEN => b"\x01\x01" },
            ),
            ("a class of one byte", template! { CKA_CLASS => b"\x04" }),
            ("tokens only", template! { CKA_TOKEN => true }),
            (
                "a key's value that is not sensitive",
                template! { CKA_VALUE => &[9; 16] },
            ),
            (
                "one attribute twice",
                template! { CKA_LABEL => "one", CKA_LABEL => "one" },
            ),
            (
                "one attribute in two ways",
                template! { CKA_LABEL => "one", CKA_LABEL => "two" },
            ),
            ("the length of a value", template! { CKA_VALUE_LEN => 16 }),
            ("an application", template! { CKA_APPLICATION => "" }),
        ];
        for (name, template) in rows {
            t.step(name, || s.find(&template));
        }
    });
}

#[test]
fn the_sequence_of_a_search() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        for label in ["a", "b", "c"] {
            s.create(&data(label)).expect("an object");
        }
        let all = template! { CKA_CLASS => CKO_DATA };
        t.step("next before begin", || s.find_next(1));
        t.step("end before begin", || s.find_final());
        t.step("begin", || s.find_init(&all));
        t.step("begin again", || s.find_init(&all));
        t.step("next of two", || s.find_next(2));
        t.step("next of none", || {
            let (mut object, mut count) = (0, 7);
            call!(
                m,
                C_FindObjects(s.handle, &raw mut object, 0, &raw mut count)
            )
        });
        t.step("next, null pointer", || {
            let mut count = 0;
            call!(m, C_FindObjects(s.handle, null_mut(), 1, &raw mut count))
        });
        t.step("next, no count", || {
            let mut object = 0;
            call!(m, C_FindObjects(s.handle, &raw mut object, 1, null_mut()))
        });
        t.step("next of two more", || s.find_next(2));
        t.step("next at the end", || s.find_next(2));
        t.step("next at the end again", || s.find_next(2));
        t.step("end", || s.find_final());
        t.step("end again", || s.find_final());
        t.step("begin with a null template of one", || {
            call!(m, C_FindObjectsInit(s.handle, null_mut(), 1))
        });
        let _ = s.find_final();
        t.step("begin with a null template of none", || {
            call!(m, C_FindObjectsInit(s.handle, null_mut(), 0))
        });
        let _ = s.find_final();
        let none = Session {
            module: m,
            handle: 0xdead,
        };
        t.step("begin without session", || none.find_init(&all));
        t.step("next without session", || none.find_next(1));
        t.step("end without session", || none.find_final());
    });
}

#[test]
fn searches_beside_other_work() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let other = place.user();
        let first = s.create(&data("a")).expect("an object");
        s.create(&data("b")).expect("an object");
        let all = template! { CKA_CLASS => CKO_DATA };
        t.step("begin", || s.find_init(&all));
        t.step("another session's search meanwhile", || other.find(&all));
        t.handle("create meanwhile", || s.create(&data("c")));
        t.step("destroy meanwhile", || s.destroy(first));
        t.step("read meanwhile", || s.attribute(first, CKA_LABEL));
        t.step("all that is told", || {
            s.find_next(9).map(|list| list.len() <= 3)
        });
        let key = import_aes(&s, &[1; 16]);
        t.step("encrypt meanwhile", || {
            s.begin(strongroom_tests::Way::Encrypt, CKM_AES_ECB, key)
        });
        t.step("end", || s.find_final());
        t.step("after", || s.find(&all));
    });
}

#[test]
fn private_objects_are_not_found_without_login() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        for (label, private) in [("private", true), ("public", false)] {
            let template = data(label).with(CKA_PRIVATE, private).with(CKA_TOKEN, true);
            s.create(&template).expect("an object");
        }
        let all = template! { CKA_CLASS => CKO_DATA };
        t.step("as user", || s.find(&all));
        t.step("begin as user", || s.find_init(&all));
        s.logout().expect("C_Logout");
        t.step("next after logout", || {
            s.find_next(9).map(|list| list.len())
        });
        t.step("end after logout", || s.find_final());
        t.step("as nobody", || s.find(&all));
        t.step("private ones as nobody", || {
            s.find(&template! { CKA_PRIVATE => true })
        });
        s.login(CKU_SO, strongroom_tests::SO_PIN).expect("C_Login");
        t.step("as officer", || s.find(&all));
    });
}
