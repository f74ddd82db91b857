//! A SoftHSM of its own for each test.
//!
//! What lives here: its directory, its configuration, and its module, which is Debian's.
//! What must never live here: anything of ours.
//! Who calls it: the tests of this package.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use cryptoki_sys::*;
use strongroom_tests::{Module, Session, USER_PIN};

/// Debian's module.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

static ENVIRONMENT: Mutex<()> = Mutex::new(());
static HOMES: AtomicU32 = AtomicU32::new(0);

/// A SoftHSM in a temporary directory, removed on drop.
pub struct Original {
    pub home: PathBuf,
}

impl Original {
    pub fn new() -> Self {
        let number = HOMES.fetch_add(1, Ordering::Relaxed);
        let home = PathBuf::from(format!("/tmp/so{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(home.join("tokens")).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            home.join("tokens").display()
        );
        fs::write(home.join("softhsm2.conf"), text).unwrap();
        Self { home }
    }

    pub fn conf(&self) -> PathBuf {
        self.home.join("softhsm2.conf")
    }

    pub fn tokens(&self) -> PathBuf {
        self.home.join("tokens")
    }

    /// Loads and initialises the module, as an instance of its own.
    pub fn module(&self) -> Module {
        let copy = self.home.join("libsofthsm2.so");
        fs::copy(MODULE, &copy).expect("softhsm2 is installed; see tests/APT_PACKAGES");
        let module = Module::load(&copy);
        let _guard = ENVIRONMENT.lock().unwrap();
        // SAFETY: under the lock that every writer of this variable holds; SoftHSM reads it in C_Initialize, below.
        unsafe { std::env::set_var("SOFTHSM2_CONF", self.conf()) };
        module.initialize().unwrap();
        module
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        if std::env::var_os("STRONGROOM_KEEP_HOMES").is_none() {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

/// A session in which the user is logged in.
pub fn user(module: &Module, slot: CK_SLOT_ID) -> Session<'_> {
    let session = Session::open_rw(module, slot).unwrap();
    session.login(CKU_USER, USER_PIN).unwrap();
    session
}

/// Every file below a directory: when it was changed, and what it holds.
pub fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            files.insert(path.clone(), (changed, fs::read(&path).unwrap()));
        }
    }
    files
}
