//! Checks of Strongroom's own files.
//!
//! What lives here: environment, configuration, files and their rights, sockets, the module.
//! What must never live here: the machine.
//! Who calls it: the doctor.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom_wire::paths;

use super::Check;
use crate::place::{Environment, Place};
use crate::system;

pub(super) fn environment(place: &Place, environment: &Environment) -> Check {
    let ours = [
        paths::ENV_SOCKET,
        paths::ENV_ADMIN_SOCKET,
        paths::ENV_CONFIG,
        paths::ENV_HOME,
        paths::ENV_DAEMON,
    ];
    let set: Vec<String> = ours
        .iter()
        .filter_map(|name| Some(format!("{name}={}", environment.path(name)?.display())))
        .collect();
    let directories = format!(
        "data in {}, sockets in {}",
        place.paths.data.display(),
        place.paths.runtime.display()
    );
    if set.is_empty() {
        Check::ok("environment", directories)
    } else {
        Check::ok("environment", format!("{directories}; {}", set.join(", ")))
    }
}

pub(super) fn configuration(place: &Place, environment: &Environment) -> Check {
    let name = "configuration";
    let file = place.config.display();
    if let Some(error) = &place.config_error {
        return Check::fail(
            name,
            format!("{file}: {error}"),
            "mend the file; strongroomd --check-config tells the line",
        );
    }
    let Some(program) = place.daemon_program(environment) else {
        return Check::warn(
            name,
            "the daemon's program, strongroomd, was not found, so the configuration is not checked",
            "install strongroomd, or name it with STRONGROOM_DAEMON",
        );
    };
    match Command::new(&program)
        .args(&place.daemon_flags)
        .arg("--check-config")
        .output()
    {
        Ok(output) if output.status.success() && place.config.exists() => {
            Check::ok(name, format!("{file} is right"))
        }
        Ok(output) if output.status.success() => {
            Check::ok(name, format!("none at {file}, so all is as usual"))
        }
        Ok(output) => Check::fail(
            name,
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            "mend the file",
        ),
        Err(error) => Check::fail(
            name,
            format!("{} cannot be started: {error}", program.display()),
            "install it again",
        ),
    }
}

pub(super) fn files(place: &Place) -> Vec<Check> {
    let mut checks = vec![private("data directory", &place.paths.data, 0o022, "go-w")];
    let key_file = place.paths.key_file();
    if key_file.exists() {
        checks.push(private("root key", &key_file, 0o077, "go-rwx"));
    }
    let store = place.paths.store();
    if store.exists() {
        checks.push(private("store", &store, 0o077, "go-rwx"));
    }
    checks
}

fn private(name: &'static str, path: &Path, forbidden: u32, change: &str) -> Check {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::warn(
            name,
            format!("{shown} is not there yet"),
            "the first start makes it: strongroom init",
        ),
        Err(error) => Check::warn(
            name,
            format!("{shown}: {error}"),
            "run the doctor as the daemon's user",
        ),
        Ok(state) if state.mode() & forbidden != 0 => Check::fail(
            name,
            format!("{shown} has mode {:04o}", state.mode() & 0o7777),
            format!("run: chmod {change} {shown}"),
        ),
        Ok(state) if ![0, system::effective_user()].contains(&state.uid()) => Check::warn(
            name,
            format!("{shown} belongs to user {}", state.uid()),
            "run the doctor as the daemon's user",
        ),
        Ok(_) => Check::ok(name, shown.to_string()),
    }
}

pub(super) fn sockets(place: &Place) -> Vec<Check> {
    vec![
        socket("socket", &place.socket),
        socket("admin socket", &place.admin_socket),
    ]
}

fn socket(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) => {
            return Check::fail(
                name,
                format!("{shown}: {error}"),
                "start the daemon: strongroom init",
            );
        }
        Ok(state) if !state.file_type().is_socket() => {
            return Check::fail(
                name,
                format!("{shown} is no socket"),
                "move it away and start the daemon",
            );
        }
        Ok(_) => {}
    }
    match strongroom_wire::socket::connect(path) {
        Ok(_) => Check::ok(name, format!("{shown} answers")),
        Err(error) => Check::fail(
            name,
            format!("{shown}: {error}"),
            "start the daemon: strongroom init",
        ),
    }
}

pub(super) fn module(named: Option<&Path>) -> Vec<Check> {
    let name = "module";
    let Some(path) = find_module(named) else {
        return vec![Check::warn(
            name,
            format!("{MODULE} is in none of the usual directories"),
            "install it, or name it with --module PATH",
        )];
    };
    let shown = path.display();
    vec![match fs::read(&path) {
        Err(error) => Check::fail(
            name,
            format!("{shown}: {error}"),
            "install the module again",
        ),
        Ok(bytes) if !is_shared_object(&bytes) => Check::fail(
            name,
            format!("{shown} is no shared object for this machine"),
            "install the module again",
        ),
        Ok(bytes) if !contains(&bytes, b"C_GetFunctionList\0") => Check::fail(
            name,
            format!("{shown} has no C_GetFunctionList"),
            "name the PKCS#11 module, not another library",
        ),
        Ok(_) => Check::ok(name, shown.to_string()),
    }]
}

/// The module that is named, or the first one in the usual directories.
#[must_use]
pub fn find_module(named: Option<&Path>) -> Option<PathBuf> {
    named
        .map(Path::to_path_buf)
        .or_else(|| usual_modules().into_iter().find(|path| path.is_file()))
}

fn usual_modules() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    if let Some(own) = std::env::current_exe()
        .ok()
        .as_deref()
        .and_then(Path::parent)
    {
        directories.push(own.into());
        directories.push(own.join("../lib"));
        directories.push(own.join("../lib/pkcs11"));
    }
    for library in ["/usr/lib", "/usr/lib64", "/usr/local/lib"] {
        directories.push(Path::new(library).join("pkcs11"));
        directories.push(library.into());
        // Debian keeps the libraries of each architecture in a directory of its own.
        let architectures = fs::read_dir(library).into_iter().flatten().flatten();
        directories.extend(architectures.map(|entry| entry.path().join("pkcs11")));
    }
    directories
        .into_iter()
        .map(|directory| directory.join(MODULE))
        .collect()
}

/// ELF, 64 bits, of this byte order, of type ET_DYN (elf(5)).
fn is_shared_object(bytes: &[u8]) -> bool {
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    let kind = bytes
        .get(16..18)
        .and_then(|kind| kind.try_into().ok())
        .map(u16::from_ne_bytes);
    bytes.starts_with(&[0x7f, b'E', b'L', b'F', 2, order]) && kind == Some(3)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

pub(super) fn p11_kit(environment: &Environment) -> Check {
    let own = environment
        .path("XDG_CONFIG_HOME")
        .or_else(|| Some(environment.path("HOME")?.join(".config")));
    let own = own.map(|config| config.join("pkcs11/modules"));
    let directories = ["/usr/share/p11-kit/modules", "/etc/pkcs11/modules"].map(PathBuf::from);
    for directory in directories.into_iter().chain(own) {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            if text
                .lines()
                .any(|line| line.trim_start().starts_with("module") && line.contains("strongroom"))
            {
                return Check::ok(
                    "p11-kit",
                    format!("registered in {}", entry.path().display()),
                );
            }
        }
    }
    Check::warn(
        "p11-kit",
        "not registered; applications that find modules through p11-kit do not see the tokens",
        format!("write \"module: {MODULE}\" into /etc/pkcs11/modules/strongroom.module"),
    )
}

const MODULE: &str = "libstrongroom_pkcs11.so";
