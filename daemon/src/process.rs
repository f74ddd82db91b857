//! Processes of clients: what `/proc` tells of one.
//!
//! What lives here: reading and understanding `/proc/PID/stat`, `/proc/PID/cgroup` and `/proc/PID/exe`.
//! What must never live here: who may see it; the jail splits off who looks.
//! Who calls it: the listener, the measurer.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};
use strongroom::ports::Program;

use crate::system;

/// When a process was started, in ticks since the machine was, if it is there.
pub(crate) fn started(process: i32) -> Option<u64> {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    start_in(&state)
}

/// proc_pid_stat(5), field 22. The second field is a name that may have blanks and parentheses in it.
fn start_in(state: &str) -> Option<u64> {
    let (_, behind_the_name) = state.rsplit_once(')')?;
    behind_the_name
        .split_ascii_whitespace()
        .nth(22 - 3)?
        .parse()
        .ok()
}

/// The unit of the machine's systemd that a process belongs to.
pub(crate) fn unit(process: i32) -> Option<String> {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    unit_in(&groups).map(str::to_owned)
}

/// cgroups(7), /proc/PID/cgroup: systemd's own hierarchy, or the one of cgroups v2. A unit's group stands below slices only; what is
/// deeper belongs to the unit, which may name it as it likes.
fn unit_in(groups: &str) -> Option<&str> {
    let path_in = |wanted: &str| {
        groups.lines().find_map(|line| {
            let (_, hierarchy) = line.split_once(':')?;
            let (name, path) = hierarchy.split_once(':')?;
            (name == wanted).then_some(path)
        })
    };
    let group = path_in("name=systemd")
        .or_else(|| path_in(""))?
        .strip_prefix('/')?
        .split('/')
        .find(|group| !group.ends_with(".slice"))?;
    // systemd.syntax: a name that the kernel might take for its own file has a line before it.
    let name = group.strip_prefix('_').unwrap_or(group);
    let (stem, kind) = name.rsplit_once('.')?;
    let known = ["service", "scope", "socket", "mount", "swap"];
    (!stem.is_empty() && known.contains(&kind)).then_some(name)
}

/// The program that a process runs, with the hash of its file.
///
/// # Errors
/// Why it cannot be told, in words.
pub(crate) fn program(process: u32) -> Result<Program, String> {
    let link = format!("/proc/{process}/exe");
    let seen = |error: io::Error| format!("its program cannot be seen: {error}");
    let before = std::fs::read_link(&link).map_err(seen)?;
    let file = File::open(&link)
        .map_err(|error| format!("its program cannot be read by the daemon's user: {error}"))?;
    if system::is_told_by_others(&file).map_err(seen)? {
        return Err("its program lies on a file system that another program or machine provides, so its content may change at any time".into());
    }
    let sha256 = hash_of(file, PROGRAM_BYTES_MAX)?;
    if std::fs::read_link(&link).map_err(seen)? != before {
        return Err("it started another program meanwhile".into());
    }
    let path = std::str::from_utf8(before.as_os_str().as_bytes())
        .map_err(|_| "the path of its program is no UTF-8".to_owned())?;
    Ok(Program {
        path: without_mark(path).to_owned(),
        sha256,
    })
}

fn hash_of(file: impl Read, bytes_max: u64) -> Result<[u8; 32], String> {
    // One byte more tells that there is more.
    let mut file = file.take(bytes_max + 1);
    let mut hash = Sha256::new();
    let mut room = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let count = match file.read(&mut room) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("its program cannot be read: {error}")),
        };
        hash.update(&room[..count]);
        bytes += count as u64;
    }
    if bytes > bytes_max {
        return Err(format!("its program has more than {} MiB", bytes_max >> 20));
    }
    Ok(hash.finalize().into())
}

/// A path without what the kernel writes behind that of a file which was removed or replaced since (proc_pid_exe(5)).
pub(crate) fn without_mark(path: &str) -> &str {
    path.strip_suffix(" (deleted)").unwrap_or(path)
}

/// Programs of servers have some hundred megabytes at most.
const PROGRAM_BYTES_MAX: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_found_whatever_its_name_is() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(start_in(&format!("42 (a name) {rest}")), Some(777));
        assert_eq!(start_in(&format!("42 (a) S (9) {rest}")), Some(777));
        assert_eq!(start_in("42 (cut) S 1 2"), None);
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(started(own).unwrap() > 0);
        assert_eq!(started(-1), None);
    }

    #[test]
    fn a_unit_is_what_stands_below_slices_and_nothing_that_it_names_itself() {
        for (groups, unit) in [
            ("0::/system.slice/app.service\n", Some("app.service")),
            (
                "0::/system.slice/app.service/own.service\n",
                Some("app.service"),
            ),
            (
                "0::/a.slice/a-b.slice/app@1.service\n",
                Some("app@1.service"),
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/evil.service\n",
                Some("user@1000.service"),
            ),
            (
                "0::/user.slice/user-0.slice/session-3.scope\n",
                Some("session-3.scope"),
            ),
            ("0::/init.scope\n", Some("init.scope")),
            ("0::/system.slice/_cpu.service\n", Some("cpu.service")),
            (
                "12:cpu:/other.service\n1:name=systemd:/system.slice/app.service\n0::/x\n",
                Some("app.service"),
            ),
            ("1:name=systemd:/\n0::/system.slice/app.service\n", None),
            ("0::/docker/0123abcd\n", None),
            ("0::/../app.service\n", None),
            ("0::/.service\n", None),
            ("0::/\n", None),
            ("4:memory:/system.slice/app.service\n", None),
            ("", None),
        ] {
            assert_eq!(unit_in(groups), unit, "{groups}");
        }
    }

    #[test]
    fn a_program_is_hashed_as_a_whole_and_not_without_end() {
        let of = |text: &str| Some(Sha256::digest(text).to_vec());
        let got = |text: &str, most| hash_of(text.as_bytes(), most).ok().map(Vec::from);
        assert_eq!(got("abc", 3), of("abc"));
        assert_eq!(got("", 3), of(""));
        assert_eq!(got("abcd", 3), None);
        let own = program(std::process::id()).unwrap();
        let path = std::env::current_exe().unwrap();
        assert_eq!(own.path, path.to_str().unwrap());
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(own.sha256[..], Sha256::digest(bytes)[..]);
    }
}
