//! The runner of pages, held against pages made for it.
//!
//! What lives here: pages that are right, wrong in each way, or leave servers behind.
//! What must never live here: recipes, and the real daemon; a program that does nothing stands in for it.
//! Who calls it: cargo test.

#![allow(clippy::expect_used, reason = "a test that cannot begin fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A repository with one page.
struct Room(PathBuf);

impl Room {
    fn with(name: &str, page: &str) -> Self {
        let root = std::env::temp_dir().join(format!("recipes-test.{name}.{}", std::process::id()));
        for directory in ["docs/recipes", "programs", "stage"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        let write = |path: &str, text: &str| fs::write(root.join(path), text).expect("a file");
        write("docs/recipes/README.md", "```sh\nexport BEFORE=here\n```\n");
        write("docs/recipes/page.md", page);
        write("programs/strongroomd", "#!/bin/sh\nexit 0\n");
        let program = root.join("programs/strongroomd");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("its rights");
        Self(root)
    }

    fn run(&self) -> Output {
        let mut child = self.begin();
        let open_meanwhile = child.stdin.take();
        let output = child.wait_with_output().expect("xtask");
        drop(open_meanwhile);
        output
    }

    fn begin(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["recipes", "--one"])
            .arg(&self.0)
            .arg("page")
            .args([self.0.join("stage"), self.0.join("programs")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xtask")
    }

    /// Whether the process ended whose id the page wrote into this file.
    fn is_gone(&self, file: &str) -> bool {
        let path = self.0.join("stage/work").join(file);
        let id = fs::read_to_string(path).expect("the id of a process");
        !Path::new("/proc").join(id.trim()).exists()
    }

    /// Runs it and tells what was wrong.
    fn report(&self) -> String {
        let output = self.run();
        assert!(!output.status.success(), "the page was thought right");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_page_that_is_right_passes() {
    let page = "```ini file=conf/a\n[$BEFORE]\n```\n```sh\nvalue=$BEFORE\ncat conf/a\n```\n\
                ```output\n[$BEFORE]\n```\n```sh\necho \"$value $PORT\" >&2\n```\n```output\nhere …\n```\n";
    let output = Room::with("right", page).run();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn another_output_is_told_with_its_line() {
    let report = Room::with("other", "```sh\necho a\n```\n\n```output\nb\n```\n").report();
    assert!(
        report.contains("docs/recipes/page.md:5: expected, and not said: b"),
        "{report}"
    );
    assert!(report.contains("It said:\na\n"), "{report}");
}

#[test]
fn a_command_that_fails_is_told_with_its_block_and_what_was_logged() {
    let page = "```sh\ntrue\n```\n```sh\necho why >server.log\nfalse\necho not reached\n```\n";
    let report = Room::with("fails", page).report();
    assert!(
        report.contains("docs/recipes/page.md:4: a command failed"),
        "{report}"
    );
    assert!(report.contains("The end of server.log:\n  why"), "{report}");
    assert!(!report.contains("not reached"), "{report}");
}

#[test]
fn servers_are_ended_also_those_that_left_and_those_that_do_not_listen() {
    for (name, ending) in [("left-good", "true"), ("left-bad", "false")] {
        // One in another session whose parent is gone, and one that ignores the question.
        let page = format!(
            "```sh\n(setsid sh -c 'echo $$ >one; sleep 600' >/dev/null 2>&1 &)\n\
             (sh -c 'trap \"\" TERM; echo $$ >two; exec sleep 600' >/dev/null 2>&1 &)\n\
             until [ -s one ] && [ -s two ]; do sleep 0.02; done\n{ending}\n```\n"
        );
        let room = Room::with(name, &page);
        assert_eq!(room.run().status.success(), ending == "true");
        assert!(room.is_gone("one") && room.is_gone("two"), "{name}");
    }
}

#[test]
fn who_interrupts_a_run_leaves_no_server_behind() {
    let page = "```sh\necho $$ >one\nsleep 600\n```\n";
    let room = Room::with("interrupted", page);
    let mut child = room.begin();
    let file = room.0.join("stage/work/one");
    while !fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) {
        std::thread::yield_now();
    }
    // What an ended runner does to it.
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("xtask");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(report.contains("page.md:1: interrupted"), "{report}");
    assert!(room.is_gone("one"));
}
