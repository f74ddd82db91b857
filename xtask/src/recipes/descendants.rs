//! The processes that a page has started, also those that left it.
//!
//! What lives here: becoming their new parent, finding them, ending them one by one by their ids.
//! What must never live here: ending anything that is no descendant of this process.
//! Who calls it: `stage.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{self, Pid, Signal, WaitOptions};

/// From now on a descendant whose parent ends becomes a child of this process: a server that goes into the background stays in sight.
pub(super) fn adopt() -> Result<(), String> {
    process::set_child_subreaper(Some(process::getpid())).map_err(|error| format!("prctl: {error}"))
}

/// Ends all descendants: asks first, insists after a while.
pub(super) fn end_all() {
    for (signal, patience) in [
        (Signal::TERM, Duration::from_secs(3)),
        (Signal::KILL, Duration::from_secs(10)),
    ] {
        let begun = Instant::now();
        let mut asked = Vec::new();
        loop {
            bury();
            let alive = descendants();
            if alive.is_empty() {
                return;
            }
            for pid in alive {
                // Those that appear meanwhile are asked as well; nobody is asked twice.
                if !asked.contains(&pid) {
                    asked.push(pid);
                    // It may be gone by now, and that is all that is wanted.
                    let _ = process::kill_process(pid, signal);
                }
            }
            if begun.elapsed() > patience {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Takes note of children that have ended, so that they go away.
fn bury() {
    while let Ok(Some(_)) = process::wait(WaitOptions::NOHANG) {}
}

/// The ids of all descendants.
fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for id in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let Ok(state) = fs::read_to_string(format!("/proc/{id}/stat")) else {
            continue;
        };
        if let Some(parent) = parent(&state) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = Vec::new();
    let mut rest = vec![process::getpid().as_raw_nonzero().get()];
    while let Some(id) = rest.pop() {
        let mine = children.remove(&id).unwrap_or_default();
        rest.extend(&mine);
        found.extend(mine.into_iter().filter_map(Pid::from_raw));
    }
    found
}

/// The parent's id in a line of /proc/ID/stat; the name before it may hold anything, parentheses too.
fn parent(state: &str) -> Option<i32> {
    let (_, rest) = state.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (nginx: worker) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) Z 3) S 9 12 12 0"), Some(9));
        assert_eq!(parent("12 nothing"), None);
    }

    #[test]
    fn a_child_is_a_descendant_and_the_parent_is_none() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        let id = Pid::from_child(&child);
        let found = descendants();
        child.kill().expect("its end");
        child.wait().expect("its end");
        assert!(found.contains(&id));
        assert!(!found.contains(&process::getpid()));
    }
}
