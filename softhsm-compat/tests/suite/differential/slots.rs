//! Slots and tokens (PKCS#11 3.2, 5.5).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::module::text;
use strongroom_tests::{Hsm, Module, SO_PIN, Session, USER_PIN, Workplace, call, template};

use super::names::{SLOT_FLAGS, TOKEN_FLAGS, flags};
use super::scenario;

/// The flags of a token by name, but for those that never change.
fn token_flags(module: &Module, slot: CK_SLOT_ID) -> String {
    const NEVER_CHANGE: CK_FLAGS =
        CKF_RNG | CKF_RESTORE_KEY_NOT_NEEDED | CKF_CLOCK_ON_TOKEN | CKF_DUAL_CRYPTO_OPERATIONS;
    match module.token_info(slot) {
        Ok(info) => flags(info.flags & !NEVER_CHANGE, TOKEN_FLAGS),
        Err(code) => code.name(),
    }
}

#[test]
fn slot_lists_keep_the_rule_of_lengths() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        for (name, present) in [("all", CK_FALSE), ("with token", CK_TRUE)] {
            let mut count: CK_ULONG = 0;
            t.step(format!("{name}: the size"), || {
                call!(m, C_GetSlotList(present, null_mut(), &raw mut count))
            });
            t.step(format!("{name}: how many"), || count as usize);
            let mut room = [0; 8];
            let mut short: CK_ULONG = 1;
            t.step(format!("{name}: room for one"), || {
                call!(m, C_GetSlotList(present, room.as_mut_ptr(), &raw mut short))
            });
            t.step(format!("{name}: told then"), || short as usize);
            let mut none: CK_ULONG = 0;
            t.step(format!("{name}: room for none"), || {
                call!(m, C_GetSlotList(present, room.as_mut_ptr(), &raw mut none))
            });
            let mut much: CK_ULONG = 8;
            t.step(format!("{name}: room for eight"), || {
                call!(m, C_GetSlotList(present, room.as_mut_ptr(), &raw mut much))
            });
            t.step(format!("{name}: told at last"), || much as usize);
        }
        t.step("null pointers", || {
            call!(m, C_GetSlotList(CK_FALSE, null_mut(), null_mut()))
        });
    });
}

#[test]
fn slot_and_token_information() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let info = m.slot_info(place.slot).expect("C_GetSlotInfo");
        t.step("slot flags", || flags(info.flags, SLOT_FLAGS));
        t.step("slot manufacturer", || text(&info.manufacturerID));
        t.step("slot description is blank padded", || {
            !info.slotDescription.contains(&0)
        });
        let info = m.token_info(place.slot).expect("C_GetTokenInfo");
        t.step("token flags", || flags(info.flags, TOKEN_FLAGS));
        t.step("label", || text(&info.label));
        t.step("manufacturer", || text(&info.manufacturerID));
        t.step("model", || text(&info.model));
        t.step("digits of the serial number", || {
            text(&info.serialNumber).len()
        });
        t.step("PIN lengths", || {
            format!("{} to {}", info.ulMinPinLen, info.ulMaxPinLen)
        });
        t.step("sessions at most", || {
            (info.ulMaxSessionCount as i64).to_string()
        });
        t.step("read-write sessions at most", || {
            (info.ulMaxRwSessionCount as i64).to_string()
        });
        t.step("public memory", || {
            (info.ulTotalPublicMemory as i64).to_string()
        });
        t.step("private memory", || {
            (info.ulFreePrivateMemory as i64).to_string()
        });
        t.step("the time is 16 digits", || {
            info.utcTime.iter().all(u8::is_ascii_digit)
        });
        t.step("null pointer for the slot", || {
            call!(m, C_GetSlotInfo(place.slot, null_mut()))
        });
        t.step("null pointer for the token", || {
            call!(m, C_GetTokenInfo(place.slot, null_mut()))
        });
    });
}

#[test]
fn a_slot_that_is_none() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let slot = 0xdead_beef;
        t.step("C_GetSlotInfo", || m.slot_info(slot).map(|_| ()));
        t.step("C_GetTokenInfo", || m.token_info(slot).map(|_| ()));
        t.step("C_GetMechanismList", || m.mechanisms(slot));
        t.step("C_GetMechanismInfo", || {
            m.mechanism_info(slot, CKM_AES_CBC).map(|_| ())
        });
        t.step("C_InitToken", || m.init_token(slot, SO_PIN, "x"));
        t.step("C_OpenSession", || Session::open_rw(m, slot).map(|_| ()));
        t.step("C_CloseAllSessions", || m.close_all(slot));
    });
}

#[test]
fn a_token_that_is_not_initialised() {
    scenario(|t| {
        let hsm = Hsm::start();
        let m = &hsm.module();
        let free = m.free_slot().expect("a free slot");
        t.step("flags", || token_flags(m, free));
        let info = m.token_info(free).expect("C_GetTokenInfo");
        t.step("label", || text(&info.label));
        t.step("slot flags", || {
            m.slot_info(free).map(|info| flags(info.flags, SLOT_FLAGS))
        });
        t.step("mechanisms are told", || {
            m.mechanisms(free).map(|list| !list.is_empty())
        });
        t.step("a session", || Session::open_rw(m, free).map(|_| ()));
        t.step("close all sessions", || m.close_all(free));
    });
}

#[test]
fn a_token_is_made() {
    scenario(|t| {
        let hsm = Hsm::start();
        let m = &hsm.module();
        let free = m.free_slot().expect("a free slot");
        t.step("a PIN too short", || m.init_token(free, "123", "token"));
        t.step("a PIN of no bytes", || m.init_token(free, "", "token"));
        t.step("a PIN too long", || {
            m.init_token(free, &"1".repeat(256), "token")
        });
        t.step("no PIN", || {
            let mut label = [b' '; 32];
            call!(m, C_InitToken(free, null_mut(), 8, label.as_mut_ptr()))
        });
        t.step("no label", || {
            call!(
                m,
                C_InitToken(
                    free,
                    SO_PIN.as_ptr().cast_mut(),
                    SO_PIN.len() as CK_ULONG,
                    null_mut()
                )
            )
        });
        t.step("as it should be", || m.init_token(free, SO_PIN, "token"));
        let slot = m.slot_labelled("token").expect("the token");
        t.step("flags", || token_flags(m, slot));
        t.step("slots now", || m.slots());
        let s = Session::open_rw(m, slot).expect("a session");
        t.step("login of the user", || s.login(CKU_USER, USER_PIN));
        t.step("init PIN as nobody", || s.init_pin(USER_PIN));
        t.step("login of the officer", || s.login(CKU_SO, SO_PIN));
        t.step("init PIN too short", || s.init_pin("123"));
        t.step("init PIN too long", || s.init_pin(&"1".repeat(256)));
        t.step("init PIN of no bytes", || s.init_pin(""));
        t.step("init PIN, null pointer", || {
            call!(m, C_InitPIN(s.handle, null_mut(), 8))
        });
        t.step("init PIN", || s.init_pin(USER_PIN));
        t.step("init PIN once more", || s.init_pin("another-1234"));
        t.step("flags at the end", || token_flags(m, slot));
        t.step("logout", || s.logout());
        t.step("the first PIN", || s.login(CKU_USER, USER_PIN));
        t.step("the second PIN", || s.login(CKU_USER, "another-1234"));
    });
}

#[test]
fn a_token_is_made_again() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let object = template! { CKA_CLASS => CKO_DATA, CKA_TOKEN => true, CKA_LABEL => "kept", CKA_PRIVATE => false };
        t.handle("an object", || s.create(&object));
        t.step("with a session open", || {
            m.init_token(place.slot, SO_PIN, "again")
        });
        m.close_all(place.slot).expect("C_CloseAllSessions");
        t.step("with a wrong PIN", || {
            m.init_token(place.slot, "wrong-pin-123", "again")
        });
        t.step("flags after the wrong PIN", || token_flags(m, place.slot));
        t.step("with the user's PIN", || {
            m.init_token(place.slot, USER_PIN, "again")
        });
        t.step("with the right PIN", || {
            m.init_token(place.slot, SO_PIN, "again")
        });
        t.step("flags then", || token_flags(m, place.slot));
        t.step("the label then", || {
            m.token_info(place.slot)
                .map_or_else(|code| code.name(), |info| text(&info.label))
        });
        let s = place.public();
        t.step("objects then", || {
            s.find(&template! { CKA_LABEL => "kept" })
        });
        t.step("the user's PIN then", || s.login(CKU_USER, USER_PIN));
        t.step("the officer's PIN then", || s.login(CKU_SO, SO_PIN));
    });
}

#[test]
fn flags_after_wrong_pins() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.public();
        for round in ["first", "second", "third"] {
            t.step(format!("the user's {round} wrong PIN"), || {
                s.login(CKU_USER, "wrong-pin")
            });
            t.step(format!("flags after the user's {round}"), || {
                token_flags(m, place.slot)
            });
        }
        t.step("the officer's wrong PIN", || s.login(CKU_SO, "wrong-pin"));
        t.step("flags after the officer's", || token_flags(m, place.slot));
        t.step("the right PIN", || s.login(CKU_USER, USER_PIN));
        t.step("flags after the right PIN", || token_flags(m, place.slot));
        t.step("logout", || s.logout());
        t.step("the officer's right PIN", || s.login(CKU_SO, SO_PIN));
        t.step("flags at the end", || token_flags(m, place.slot));
    });
}

#[test]
fn many_wrong_pins() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.public();
        for _ in 0..12 {
            let _ = s.login(CKU_USER, "wrong-pin");
        }
        t.step("flags after twelve wrong PINs", || {
            token_flags(m, place.slot)
        });
        t.step("the right PIN", || s.login(CKU_USER, USER_PIN));
        let _ = s.logout();
        t.step("login of the officer", || s.login(CKU_SO, SO_PIN));
        t.step("a new PIN of the user", || s.init_pin(USER_PIN));
        t.step("logout", || s.logout());
        t.step("the new PIN", || s.login(CKU_USER, USER_PIN));
        t.step("flags then", || token_flags(m, place.slot));
    });
}

#[test]
fn pins_are_changed() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.public();
        let set = |old: &str, new: &str| s.set_pin(old, new);
        t.step("public session: the user's PIN", || {
            set(USER_PIN, "user-pin-5678")
        });
        t.step("public session: the officer's PIN", || {
            set(SO_PIN, "so-pin-5678")
        });
        t.step("the old PIN", || s.login(CKU_USER, USER_PIN));
        t.step("the new PIN", || s.login(CKU_USER, "user-pin-5678"));
        t.step("user: a wrong old PIN", || set("wrong-pin", USER_PIN));
        t.step("user: too short", || set("user-pin-5678", "123"));
        t.step("user: too long", || set("user-pin-5678", &"1".repeat(256)));
        t.step("user: no new PIN", || set("user-pin-5678", ""));
        t.step("user: no old PIN", || set("", USER_PIN));
        t.step("user: the same PIN", || {
            set("user-pin-5678", "user-pin-5678")
        });
        t.step("user: another PIN", || set("user-pin-5678", USER_PIN));
        t.step("user: null pointers", || {
            call!(m, C_SetPIN(s.handle, null_mut(), 4, null_mut(), 4))
        });
        t.step("user: the longest PIN", || set(USER_PIN, &"1".repeat(255)));
        t.step("user: the shortest PIN", || set(&"1".repeat(255), "1234"));
        t.step("user: a PIN with NUL", || set("1234", "12\x0034"));
        t.step("user: back", || set("12\x0034", USER_PIN));
        t.step("init PIN as user", || s.init_pin(USER_PIN));
        t.step("logout", || s.logout());
        t.step("login of the officer", || s.login(CKU_SO, SO_PIN));
        t.step("officer: the user's PIN", || set(USER_PIN, "user-pin-5678"));
        t.step("officer: another PIN", || set(SO_PIN, "so-pin-5678"));
        t.step("logout of the officer", || s.logout());
        t.step("the officer's new PIN", || s.login(CKU_SO, "so-pin-5678"));
        t.step("logout again", || s.logout());
        let ro = Session::open_ro(m, place.slot).expect("a session");
        t.step("read-only session: change", || {
            ro.set_pin(USER_PIN, "user-pin-5678")
        });
        t.step("read-only session: login", || ro.login(CKU_USER, USER_PIN));
        t.step("read-only session, user: change", || {
            ro.set_pin(USER_PIN, "user-pin-5678")
        });
        t.step("read-only session: init PIN", || ro.init_pin(USER_PIN));
    });
}
