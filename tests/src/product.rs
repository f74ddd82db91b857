//! Where the programs under test are, and building them when nobody has.
//!
//! What lives here: `bin_dir`, and one build for all test processes of a run.
//! What must never live here: anything that runs the programs.
//! Who calls it: `hsm.rs`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a directory that holds `strongroomd`, `strongroom`, `libstrongroom_pkcs11.so` and `libstrongroom_mariadb.so`; nothing is built then.
const ENV_BIN_DIR: &str = "STRONGROOM_BIN_DIR";

/// The directory of the programs.
pub fn bin_dir() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| match std::env::var_os(ENV_BIN_DIR) {
        Some(directory) => PathBuf::from(directory),
        None => built(),
    })
}

/// Builds the product with the profile this test runs in, once a run.
fn built() -> PathBuf {
    // target/<profile>/deps/suite-0123456789abcdef
    let test = std::env::current_exe().expect("the path of this program");
    let profile_dir = match test.parent() {
        Some(deps) if deps.ends_with("deps") => deps.parent().expect("the profile directory"),
        Some(other) => other,
        None => panic!("{} has no directory", test.display()),
    };
    let lock = lock_file(profile_dir);
    let stamp = profile_dir.join(".strongroom-suite-run");
    // cargo nextest runs a process for each test and gives all of one run the same id; asking cargo hundreds of times costs more
    // than the tests. Without nextest this process is the whole run.
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_default();
    let fresh = !run.is_empty() && fs::read_to_string(&stamp).is_ok_and(|text| text == run);
    if !fresh {
        build(profile_dir);
        let mut file = File::create(&stamp).expect("the stamp of the build");
        file.write_all(run.as_bytes())
            .expect("the stamp of the build");
    }
    drop(lock);
    profile_dir.to_path_buf()
}

fn build(profile_dir: &Path) {
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => panic!("{} has no name", profile_dir.display()),
    };
    let target = profile_dir.parent().expect("the target directory");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--profile", profile])
        .args([
            "-p",
            "strongroomd",
            "-p",
            "strongroom-pkcs11",
            "-p",
            "strongroom-cli",
            "-p",
            "strongroom-mariadb",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("CARGO_TARGET_DIR", target)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the product does not build; see above");
}

fn lock_file(directory: &Path) -> File {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join(".strongroom-suite-lock"))
        .expect("a lock file");
    file.lock().expect("the lock of the build");
    file
}
