//! General functions (PKCS#11 3.2, 5.4) and those of old times (5.21).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::{Hsm, Rv, Workplace, call};

use super::scenario;

/// `C_Initialize` with these arguments.
fn initialize(
    hsm: &Hsm,
    module: &strongroom_tests::Module,
    mut arguments: CK_C_INITIALIZE_ARGS,
) -> Rv {
    for (name, value) in hsm.environment() {
        // SAFETY: a scenario has a process of its own, in which nobody else reads the environment.
        unsafe { std::env::set_var(name, value) };
    }
    call!(module, C_Initialize((&raw mut arguments).cast()))
}

const NOTHING: CK_C_INITIALIZE_ARGS = CK_C_INITIALIZE_ARGS {
    CreateMutex: None,
    DestroyMutex: None,
    LockMutex: None,
    UnlockMutex: None,
    flags: 0,
    pReserved: null_mut(),
};

unsafe extern "C" fn create(mutex: CK_VOID_PTR_PTR) -> CK_RV {
    static PLACE: u8 = 0;
    // SAFETY: the module gives a place to write the mutex to.
    unsafe { *mutex = (&raw const PLACE).cast_mut().cast() };
    CKR_OK
}

unsafe extern "C" fn one_mutex(_: CK_VOID_PTR) -> CK_RV {
    CKR_OK
}

#[test]
fn initialize_takes_arguments() {
    scenario(|t| {
        let hsm = Hsm::start();
        let module = hsm.load();
        let full = CK_C_INITIALIZE_ARGS {
            CreateMutex: Some(create),
            DestroyMutex: Some(one_mutex),
            LockMutex: Some(one_mutex),
            UnlockMutex: Some(one_mutex),
            ..NOTHING
        };
        let rows = [
            ("nothing at all", NOTHING),
            (
                "OS locking",
                CK_C_INITIALIZE_ARGS {
                    flags: CKF_OS_LOCKING_OK,
                    ..NOTHING
                },
            ),
            (
                "OS locking, no threads",
                CK_C_INITIALIZE_ARGS {
                    flags: CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS,
                    ..NOTHING
                },
            ),
            (
                "four functions and OS locking",
                CK_C_INITIALIZE_ARGS {
                    flags: CKF_OS_LOCKING_OK,
                    ..full
                },
            ),
            ("four functions alone", full),
            (
                "three functions of four",
                CK_C_INITIALIZE_ARGS {
                    UnlockMutex: None,
                    ..full
                },
            ),
            (
                "something reserved",
                CK_C_INITIALIZE_ARGS {
                    pReserved: (&raw const hsm).cast_mut().cast(),
                    ..NOTHING
                },
            ),
        ];
        for (name, arguments) in rows {
            t.step(name, || initialize(&hsm, &module, arguments));
            t.step(format!("finalize after {name}"), || module.finalize());
        }
        t.step("a null pointer", || call!(module, C_Initialize(null_mut())));
    });
}

#[test]
fn initialize_and_finalize_twice() {
    scenario(|t| {
        let hsm = Hsm::start();
        let module = hsm.load();
        t.step("finalize before", || module.finalize());
        hsm.initialize(&module);
        t.step("initialize again", || module.initialize());
        let mut place = 0u8;
        t.step("finalize with an argument", || {
            call!(module, C_Finalize((&raw mut place).cast()))
        });
        t.step("finalize", || module.finalize());
        t.step("finalize again", || module.finalize());
        t.step("initialize anew", || module.initialize());
        t.step("finalize anew", || module.finalize());
    });
}

#[test]
fn before_initialize_nothing_is_answered() {
    scenario(|t| {
        let hsm = Hsm::start();
        let module = hsm.load();
        let m = &module;
        t.step("C_GetInfo", || m.info().map(|_| ()));
        t.step("C_GetSlotList", || m.slots());
        t.step("C_GetSlotInfo", || m.slot_info(0).map(|_| ()));
        t.step("C_GetTokenInfo", || m.token_info(0).map(|_| ()));
        t.step("C_GetMechanismList", || m.mechanisms(0));
        t.step("C_InitToken", || m.init_token(0, "1234", "x"));
        t.step("C_CloseAllSessions", || m.close_all(0));
        t.step("C_WaitForSlotEvent", || m.slot_event());
        let s = strongroom_tests::Session {
            module: m,
            handle: 1,
        };
        t.step("C_OpenSession", || {
            strongroom_tests::Session::open_rw(m, 0).map(|_| ())
        });
        t.step("C_CloseSession", || s.close());
        t.step("C_GetSessionInfo", || s.state());
        t.step("C_Login", || s.login(CKU_USER, "1234"));
        t.step("C_Logout", || s.logout());
        t.step("C_InitPIN", || s.init_pin("1234"));
        t.step("C_SetPIN", || s.set_pin("1234", "12345"));
        t.step("C_DestroyObject", || s.destroy(1));
        t.step("C_FindObjects", || s.find_next(1));
        t.step("C_GenerateRandom", || s.random(8));
        t.step("C_SeedRandom", || s.seed(b"seed"));
        t.step("C_GetFunctionStatus", || call!(m, C_GetFunctionStatus(1)));
        t.step("C_CancelFunction", || call!(m, C_CancelFunction(1)));
    });
}

#[test]
fn info_of_the_library() {
    scenario(|t| {
        let hsm = Hsm::start();
        let module = hsm.module();
        t.step("C_GetInfo, null pointer", || {
            call!(module, C_GetInfo(null_mut()))
        });
        let info = module.info().expect("C_GetInfo");
        t.step("version of Cryptoki", || {
            format!(
                "{}.{}",
                info.cryptokiVersion.major, info.cryptokiVersion.minor
            )
        });
        t.step("manufacturer", || {
            strongroom_tests::module::text(&info.manufacturerID)
        });
        t.step("description", || {
            strongroom_tests::module::text(&info.libraryDescription)
        });
        t.step("flags", || info.flags as usize);
        t.step("blank padded", || {
            !info.manufacturerID.contains(&0) && !info.libraryDescription.contains(&0)
        });
    });
}

#[test]
fn lists_of_functions() {
    scenario(|t| {
        let hsm = Hsm::start();
        let module = hsm.load();
        let list = module.table();
        t.step("version of the list", || {
            format!("{}.{}", list.version.major, list.version.minor)
        });
        t.step("asked again", || {
            call!(module, C_GetFunctionList(null_mut()))
        });
        t.step("C_GetInterface is there", || {
            module.symbol(c"C_GetInterface").is_some()
        });
        t.step("an interface of 3.0", || module.interface(3, 0).is_some());
        t.step("an interface of 3.2", || module.interface(3, 2).is_some());
        for name in [
            c"C_Initialize",
            c"C_Sign",
            c"C_WaitForSlotEvent",
            c"C_GetFunctionList",
        ] {
            let text = name.to_string_lossy().into_owned();
            t.step(format!("exported: {text}"), || {
                module.symbol(name).is_some()
            });
        }
    });
}

#[test]
fn functions_of_old_times() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        t.step("C_GetFunctionStatus", || {
            call!(m, C_GetFunctionStatus(s.handle))
        });
        t.step("C_CancelFunction", || call!(m, C_CancelFunction(s.handle)));
        t.step("C_GetFunctionStatus, no session", || {
            call!(m, C_GetFunctionStatus(0xdead))
        });
        t.step("C_CancelFunction, no session", || {
            call!(m, C_CancelFunction(0xdead))
        });
        t.step("C_WaitForSlotEvent without waiting", || m.slot_event());
        t.step("C_WaitForSlotEvent, null pointer", || {
            call!(
                m,
                C_WaitForSlotEvent(CKF_DONT_BLOCK, null_mut(), null_mut())
            )
        });
        let mut length: CK_ULONG = 0;
        t.step("C_GetOperationState, nothing active", || {
            call!(
                m,
                C_GetOperationState(s.handle, null_mut(), &raw mut length)
            )
        });
        s.begin(strongroom_tests::Way::Digest, CKM_SHA256, 0)
            .expect("C_DigestInit");
        t.step("C_GetOperationState of a digest", || {
            call!(
                m,
                C_GetOperationState(s.handle, null_mut(), &raw mut length)
            )
        });
        let mut state = [0u8; 16];
        t.step("C_SetOperationState", || {
            call!(
                m,
                C_SetOperationState(s.handle, state.as_mut_ptr(), 16, 0, 0)
            )
        });
    });
}

#[test]
fn random_numbers() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.public();
        t.step("32 bytes", || s.random(32));
        t.step("no bytes", || s.random(0));
        t.step("100000 bytes", || s.random(100_000));
        t.step("two differ", || s.random(32) != s.random(32));
        t.step("null pointer", || {
            call!(m, C_GenerateRandom(s.handle, null_mut(), 16))
        });
        t.step("null pointer, no bytes", || {
            call!(m, C_GenerateRandom(s.handle, null_mut(), 0))
        });
        t.step("seed", || s.seed(b"a seed of some bytes"));
        t.step("seed of no bytes", || s.seed(b""));
        t.step("seed, null pointer", || {
            call!(m, C_SeedRandom(s.handle, null_mut(), 16))
        });
        let none = strongroom_tests::Session {
            module: m,
            handle: 0xdead,
        };
        t.step("no session", || none.random(8));
        t.step("seed, no session", || none.seed(b"seed"));
    });
}
