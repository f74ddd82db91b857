//! Sessions and logins (PKCS#11 3.2, 5.6).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::keys::import_aes;
use strongroom_tests::{Hsm, SO_PIN, Session, USER_PIN, Way, Workplace, call, template};

use super::names::state;
use super::scenario;

const RW: CK_FLAGS = CKF_SERIAL_SESSION | CKF_RW_SESSION;

#[test]
fn sessions_are_opened() {
    scenario(|t| {
        let place = Workplace::open();
        let (m, slot) = (&place.module, place.slot);
        let open = |flags| Session::open(m, slot, flags).map(|session| session.handle);
        t.handle("read-only", || open(CKF_SERIAL_SESSION));
        t.handle("read-write", || open(RW));
        t.handle("parallel", || open(0));
        t.handle("parallel, read-write", || open(CKF_RW_SESSION));
        t.handle("a flag of nobody", || open(RW | 0x1000));
        t.step("no place for the handle", || {
            call!(m, C_OpenSession(slot, RW, null_mut(), None, null_mut()))
        });
        let mut handle = 0;
        let mut word = 0u64;
        t.step("with an application's pointer", || {
            call!(
                m,
                C_OpenSession(slot, RW, (&raw mut word).cast(), None, &raw mut handle)
            )
        });
        let count = || {
            m.token_info(slot)
                .map(|info| format!("{} of {}", info.ulRwSessionCount, info.ulSessionCount))
        };
        t.step("read-write of all", count);
        t.step("close all", || m.close_all(slot));
        t.step("after closing", count);
        t.step("close all again", || m.close_all(slot));
        t.step("close one of them", || {
            Session { module: m, handle }.close()
        });
        t.step("info of one of them", || {
            state(&Session { module: m, handle })
        });
        t.step("close the session 0", || {
            Session {
                module: m,
                handle: 0,
            }
            .close()
        });
        t.step("info, null pointer", || {
            let s = place.public();
            call!(m, C_GetSessionInfo(s.handle, null_mut()))
        });
    });
}

#[test]
fn many_sessions() {
    scenario(|t| {
        let place = Workplace::open();
        let (m, slot) = (&place.module, place.slot);
        t.step("a thousand", || {
            (0..1000)
                .filter(|_| Session::open_ro(m, slot).is_ok())
                .count()
        });
        t.step("told", || {
            m.token_info(slot).map(|info| info.ulSessionCount as usize)
        });
        t.step("close all", || m.close_all(slot));
        t.step("told after", || {
            m.token_info(slot).map(|info| info.ulSessionCount as usize)
        });
    });
}

#[test]
fn states_of_sessions() {
    scenario(|t| {
        let place = Workplace::open();
        let (m, slot) = (&place.module, place.slot);
        let rw = Session::open_rw(m, slot).expect("a session");
        t.step("read-write", || state(&rw));
        t.step("login of the officer", || rw.login(CKU_SO, SO_PIN));
        t.step("read-write, officer", || state(&rw));
        t.step("a read-only session beside the officer", || {
            Session::open_ro(m, slot).map(|_| ())
        });
        let other = Session::open_rw(m, slot).expect("a session");
        t.step("another read-write, officer", || state(&other));
        t.step("logout through the other", || other.logout());
        t.step("read-write after logout", || state(&rw));
        let ro = Session::open_ro(m, slot).expect("a session");
        t.step("read-only", || state(&ro));
        t.step("the officer beside a read-only session", || {
            rw.login(CKU_SO, SO_PIN)
        });
        t.step("the officer through a read-only session", || {
            ro.login(CKU_SO, SO_PIN)
        });
        t.step("the user through a read-only session", || {
            ro.login(CKU_USER, USER_PIN)
        });
        t.step("read-only, user", || state(&ro));
        t.step("read-write, user", || state(&rw));
        t.step("error of the device", || {
            rw.info().map(|info| info.ulDeviceError as usize)
        });
        t.step("close all", || m.close_all(slot));
        let s = Session::open_rw(m, slot).expect("a session");
        t.step("closing all logs out", || state(&s));
    });
}

#[test]
fn logins() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.public();
        t.step("logout of nobody", || s.logout());
        t.step("user, wrong PIN", || s.login(CKU_USER, "wrong-pin"));
        t.step("user, PIN of no bytes", || s.login(CKU_USER, ""));
        t.step("user, PIN too long", || s.login(CKU_USER, &"1".repeat(300)));
        t.step("user, null pointer", || {
            call!(m, C_Login(s.handle, CKU_USER, null_mut(), 8))
        });
        t.step("user, null pointer of no bytes", || {
            call!(m, C_Login(s.handle, CKU_USER, null_mut(), 0))
        });
        t.step("a user of no type", || s.login(77, USER_PIN));
        t.step("context specific without operation", || {
            s.login(CKU_CONTEXT_SPECIFIC, USER_PIN)
        });
        t.step("no session", || {
            Session {
                module: m,
                handle: 0xdead,
            }
            .login(CKU_USER, USER_PIN)
        });
        t.step("user", || s.login(CKU_USER, USER_PIN));
        t.step("user again", || s.login(CKU_USER, USER_PIN));
        t.step("user again with a wrong PIN", || {
            s.login(CKU_USER, "wrong-pin")
        });
        t.step("officer beside the user", || s.login(CKU_SO, SO_PIN));
        t.step("context specific beside the user", || {
            s.login(CKU_CONTEXT_SPECIFIC, USER_PIN)
        });
        let other = place.public();
        t.step("user through another session", || {
            other.login(CKU_USER, USER_PIN)
        });
        t.step("logout", || s.logout());
        t.step("logout again", || s.logout());
        t.step("officer", || s.login(CKU_SO, SO_PIN));
        t.step("officer again", || s.login(CKU_SO, SO_PIN));
        t.step("user beside the officer", || s.login(CKU_USER, USER_PIN));
        t.step("officer, logout", || s.logout());
        t.step("logout, no session", || {
            Session {
                module: m,
                handle: 0xdead,
            }
            .logout()
        });
    });
}

#[test]
fn the_user_without_a_pin() {
    scenario(|t| {
        let hsm = Hsm::start();
        let m = &hsm.module();
        let free = m.free_slot().expect("a free slot");
        m.init_token(free, SO_PIN, "fresh").expect("C_InitToken");
        let slot = m.slot_labelled("fresh").expect("the token");
        let s = Session::open_rw(m, slot).expect("a session");
        t.step("user", || s.login(CKU_USER, USER_PIN));
        t.step("user, PIN of no bytes", || s.login(CKU_USER, ""));
        t.step("change a PIN that is none", || {
            s.set_pin(USER_PIN, "user-pin-5678")
        });
        t.step("context specific", || {
            s.login(CKU_CONTEXT_SPECIFIC, USER_PIN)
        });
    });
}

#[test]
fn a_key_that_wants_a_login_each_time() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = strongroom_tests::judge::rsa::RsaPrivate::fixed(2048);
        let private = key
            .template()
            .with(CKA_SIGN, true)
            .with(CKA_ALWAYS_AUTHENTICATE, true);
        let key = t.handle("a key that wants it", || s.create(&private));
        let sign = || s.one_shot(Way::Sign, b"data", Some(256)).0;
        t.step("begin", || s.begin(Way::Sign, CKM_RSA_PKCS, key));
        t.step("sign without it", sign);
        t.step("begin again", || s.begin(Way::Sign, CKM_RSA_PKCS, key));
        t.step("a wrong PIN", || s.login(CKU_CONTEXT_SPECIFIC, "wrong-pin"));
        t.step("the right PIN", || s.login(CKU_CONTEXT_SPECIFIC, USER_PIN));
        t.step("sign with it", sign);
        t.step("begin a third time", || {
            s.begin(Way::Sign, CKM_RSA_PKCS, key)
        });
        t.step("sign a second time", sign);
    });
}

#[test]
fn objects_after_logout_and_close() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let data = |label: &str, token: bool, private: bool| {
            template! { CKA_CLASS => CKO_DATA, CKA_LABEL => label, CKA_TOKEN => token, CKA_PRIVATE => private }
        };
        let names = [
            "session public",
            "session private",
            "token public",
            "token private",
        ];
        let handles: Vec<_> = names
            .iter()
            .map(|name| {
                let template = data(name, name.starts_with("token"), name.ends_with("private"));
                t.handle(format!("create {name}"), || s.create(&template))
            })
            .collect();
        let key = import_aes(&s, &[7; 16]);
        let other = place.public();
        let seen = |t: &mut super::transcript::Transcript, when: &str| {
            for (name, handle) in names.iter().zip(&handles) {
                t.step(format!("{when}: {name}"), || {
                    other.attribute(*handle, CKA_LABEL)
                });
            }
            let all = template! { CKA_CLASS => CKO_DATA };
            t.step(format!("{when}: found"), || other.find(&all));
        };
        seen(t, "user");
        t.step("begin to encrypt", || {
            s.begin(Way::Encrypt, CKM_AES_ECB, key)
        });
        t.step("logout", || s.logout());
        t.step("encrypt after logout", || {
            s.one_shot(Way::Encrypt, &[1; 16], Some(32)).0
        });
        t.step("begin after logout", || {
            s.begin(Way::Encrypt, CKM_AES_ECB, key)
        });
        seen(t, "after logout");
        t.step("login again", || s.login(CKU_USER, USER_PIN));
        seen(t, "after a second login");
        t.step("close", || s.close());
        seen(t, "after closing");
        t.step("close all", || m.close_all(place.slot));
        t.step("read with a closed session", || {
            other.attribute(handles[2], CKA_LABEL)
        });
    });
}

#[test]
fn what_nobody_may_do_without_login() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.public();
        let data = |token: bool, private: bool| {
            template! { CKA_CLASS => CKO_DATA, CKA_LABEL => "d", CKA_TOKEN => token, CKA_PRIVATE => private }
        };
        let aes = |private: bool| {
            template! { CKA_VALUE_LEN => 16, CKA_TOKEN => false, CKA_PRIVATE => private }
        };
        t.handle("a private session object", || s.create(&data(false, true)));
        t.handle("a private token object", || s.create(&data(true, true)));
        t.handle("a public session object", || s.create(&data(false, false)));
        t.handle("a public token object", || s.create(&data(true, false)));
        t.handle("generate a private key", || {
            s.generate(CKM_AES_KEY_GEN, &aes(true))
        });
        t.handle("generate a public key", || {
            s.generate(CKM_AES_KEY_GEN, &aes(false))
        });
        t.handle("generate without a word", || {
            s.generate(CKM_AES_KEY_GEN, &template! { CKA_VALUE_LEN => 16 })
        });
        t.handle("create without a word", || {
            s.create(&template! { CKA_CLASS => CKO_DATA, CKA_LABEL => "d" })
        });
        t.step("digest", || s.run(Way::Digest, CKM_SHA256, 0, b"abc"));
        t.step("random", || s.random(4));
    });
}

#[test]
fn the_officer_and_objects() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.public();
        s.login(CKU_SO, SO_PIN).expect("C_Login");
        let data = |token: bool, private: bool| {
            template! { CKA_CLASS => CKO_DATA, CKA_LABEL => "d", CKA_TOKEN => token, CKA_PRIVATE => private }
        };
        t.handle("a private object", || s.create(&data(false, true)));
        t.handle("a public object", || s.create(&data(true, false)));
        t.handle("generate a private key", || {
            s.generate(
                CKM_AES_KEY_GEN,
                &template! { CKA_VALUE_LEN => 16, CKA_PRIVATE => true },
            )
        });
        t.handle("generate a public key", || {
            s.generate(
                CKM_AES_KEY_GEN,
                &template! { CKA_VALUE_LEN => 16, CKA_PRIVATE => false },
            )
        });
        let certificate = template! {
            CKA_CLASS => CKO_CERTIFICATE, CKA_CERTIFICATE_TYPE => CKC_X_509, CKA_SUBJECT => b"\x30\x00",
            CKA_VALUE => b"\x30\x00", CKA_PRIVATE => false, CKA_TRUSTED => true
        };
        t.handle("a trusted certificate", || s.create(&certificate));
        s.logout().expect("C_Logout");
        s.login(CKU_USER, USER_PIN).expect("C_Login");
        t.handle("a trusted certificate as user", || s.create(&certificate));
    });
}

#[test]
fn read_only_sessions() {
    scenario(|t| {
        let place = Workplace::open();
        let rw = place.user();
        let data = |token: bool| {
            template! { CKA_CLASS => CKO_DATA, CKA_LABEL => "d", CKA_TOKEN => token, CKA_PRIVATE => false }
        };
        let kept = rw.create(&data(true)).expect("a token object");
        let fleeting = rw.create(&data(false)).expect("a session object");
        let ro = Session::open_ro(&place.module, place.slot).expect("a session");
        let aes = |token: bool| template! { CKA_VALUE_LEN => 16, CKA_TOKEN => token };
        t.handle("create a token object", || ro.create(&data(true)));
        t.handle("create a session object", || ro.create(&data(false)));
        t.handle("generate a token key", || {
            ro.generate(CKM_AES_KEY_GEN, &aes(true))
        });
        t.handle("generate a session key", || {
            ro.generate(CKM_AES_KEY_GEN, &aes(false))
        });
        t.handle("copy to a token object", || {
            ro.copy(fleeting, &template! { CKA_TOKEN => true })
        });
        t.handle("copy a token object to the session", || {
            ro.copy(kept, &template! { CKA_TOKEN => false })
        });
        t.handle("copy a token object as it is", || {
            ro.copy(kept, &template! {})
        });
        t.step("change a token object", || {
            ro.set(kept, &template! { CKA_LABEL => "e" })
        });
        t.step("change a session object", || {
            ro.set(fleeting, &template! { CKA_LABEL => "e" })
        });
        t.step("destroy a token object", || ro.destroy(kept));
        t.step("destroy a session object", || ro.destroy(fleeting));
    });
}
