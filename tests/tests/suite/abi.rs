//! The C boundary, tried by a C program (`tests/c/abi.c`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom_tests::hsm::{Product, module_path, under_test};
use strongroom_tests::{USER_PIN, Workplace, tool};

/// Compiles a program of `tests/c` into a directory.
fn compiled(name: &str, directory: &Path) -> PathBuf {
    tool::require("cc");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("c")
        .join(name)
        .with_extension("c");
    let program = directory.join(name);
    tool::succeed(
        Command::new("cc")
            .args([
                "-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o",
            ])
            .arg(&program)
            .arg(source)
            .arg("-ldl"),
    );
    program
}

#[test]
fn the_c_boundary() {
    let place = Workplace::open();
    place.module.finalize().unwrap();
    let program = compiled("abi", &place.hsm.home);
    let mut command = place.hsm.command(program);
    command.arg(module_path()).args(["suite", USER_PIN]);
    if under_test() == Product::SoftHsm {
        command.arg("softhsm");
    }
    let ran = tool::run(&mut command, b"");
    let said = String::from_utf8_lossy(&ran.out).into_owned();
    let failed: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("not ok"))
        .collect();
    let good = said.lines().filter(|line| line.starts_with("ok ")).count();
    println!("{good} checks passed");
    assert!(
        failed.is_empty(),
        "{} failed:\n{}\n--\n{}",
        failed.len(),
        failed.join("\n"),
        place.hsm.log()
    );
    let last: Vec<&str> = said.lines().rev().take(12).collect();
    assert!(
        said.lines().last() == Some("done"),
        "it ended early; the last lines, last first:\n{last:#?}\n{}",
        ran.said.lines().last().unwrap_or_default()
    );
    let _ = fs::metadata(&place.hsm.home);
}
