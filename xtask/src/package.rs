//! The Debian packages.
//!
//! What lives here: gathering programs, manual pages and completions in one directory, from which `cargo deb` makes the packages.
//! What must never live here: what the packages contain; that stands in `daemon/Cargo.toml`, in `softhsm-compat/Cargo.toml` for those who come
//! from SoftHSM, in `tde/mariadb/Cargo.toml`, and in the files of `packaging/`.
//! Who calls it: `cargo xtask package`, and `./test package`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use strongroomd::command_line::Arguments;

pub(crate) const USAGE: &str = "\
usage: cargo xtask package [--programs DIR] [--output DIR]

Makes the Debian packages by cargo deb (cargo install cargo-deb --locked).

  --programs DIR   take the programs from here (default: build them for release)
  --output DIR     write the packages into this directory (default: target/debian)";

/// Makes the packages; prints where they are.
pub(crate) fn run(root: &Path, options: &[&str]) -> Result<(), String> {
    let target = target(root);
    let mut programs = None;
    let mut output = target.join("debian");
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let value = rest.next().map(|value| absolute(value)).transpose()?;
        match (*option, value) {
            ("--programs", Some(directory)) => programs = Some(directory),
            ("--output", Some(directory)) => output = directory,
            _ => return Err(USAGE.into()),
        }
    }
    let programs = match programs {
        Some(directory) => directory,
        None => built(root, &target)?,
    };
    // `cargo deb` takes programs from a target directory, and so gets one with nothing else in it.
    let stage = target.join("package");
    gather(&programs, &stage.join("release"))?;
    pack(root, &stage, &output, "strongroomd")?;
    // A tree without that room has one package less.
    if root.join(SOFTHSM_ROOM).is_dir() {
        gather_for_softhsm(&programs, &stage.join("release"))?;
        pack(root, &stage, &output, SOFTHSM_CRATE)?;
    }
    if root.join(MARIADB_ROOM).is_dir() {
        gather_for_mariadb(&programs, &stage.join("release"))?;
        pack(root, &stage, &output, MARIADB_CRATE)?;
    }
    Ok(())
}

fn pack(root: &Path, stage: &Path, output: &Path, package: &str) -> Result<(), String> {
    run_command(
        Command::new("cargo")
            .current_dir(root)
            .env("CARGO_TARGET_DIR", stage)
            .args(["deb", "--package", package, "--no-build", "--no-dbgsym"])
            .arg("--output")
            .arg(output),
    )
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{path}: {error}"))
}

fn built(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let mut build = Command::new("cargo");
    build
        .current_dir(root)
        .args(["build", "--release", "--locked"]);
    build.args([
        "-p",
        "strongroomd",
        "-p",
        "strongroom-cli",
        "-p",
        "strongroom-pkcs11",
    ]);
    if root.join(SOFTHSM_ROOM).is_dir() {
        build.args(["-p", SOFTHSM_CRATE]);
    }
    if root.join(MARIADB_ROOM).is_dir() {
        build.args(["-p", MARIADB_CRATE]);
    }
    run_command(&mut build)?;
    Ok(target.join("release"))
}

fn gather(programs: &Path, stage: &Path) -> Result<(), String> {
    let manual = stage.join("man");
    let completions = stage.join("completions");
    for directory in [&manual, &completions] {
        // What an older version left must not get into the package.
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).map_err(|error| at(directory, &error))?;
    }
    // Debian names the directory of libraries after the machine.
    let library = format!("lib/{}/pkcs11/{MODULE}", machine()?);
    for (name, place) in [
        ("strongroomd", "strongroomd"),
        ("strongroom", "strongroom"),
        (MODULE, &library),
    ] {
        let (from, to) = (programs.join(name), stage.join(place));
        let directory = to.parent().unwrap_or(stage);
        fs::create_dir_all(directory).map_err(|error| at(directory, &error))?;
        fs::copy(&from, &to).map_err(|error| at(&from, &error))?;
    }
    let strongroom = programs.join("strongroom");
    run_command(Command::new(&strongroom).arg("man").arg(&manual))?;
    let page = manual.join("strongroomd.8");
    let mut text = Vec::new();
    clap_mangen::Man::new(Arguments::command())
        .section("8")
        .render(&mut text)
        .and_then(|()| fs::write(&page, text))
        .map_err(|error| at(&page, &error))?;
    // Policy wants them compressed, and `cargo deb` does that to single files only.
    run_command(Command::new("gzip").args(["-9nrf"]).arg(&manual))?;
    for (shell, file) in [
        ("bash", "strongroom"),
        ("zsh", "_strongroom"),
        ("fish", "strongroom.fish"),
    ] {
        let output = Command::new(&strongroom)
            .args(["completions", shell])
            .output()
            .map_err(|error| at(&strongroom, &error))?;
        let file = completions.join(file);
        fs::write(&file, output.stdout).map_err(|error| at(&file, &error))?;
    }
    Ok(())
}

/// The programs for those who come from SoftHSM, and the link that stands in its place. It leads to the module of the other package, and so
/// nowhere before both are installed.
fn gather_for_softhsm(programs: &Path, stage: &Path) -> Result<(), String> {
    for name in ["strongroom-softhsm2-util", "strongroom-import"] {
        let from = programs.join(name);
        fs::copy(&from, stage.join(name)).map_err(|error| at(&from, &error))?;
    }
    let all = stage.join("links");
    let _ = fs::remove_dir_all(&all);
    let directory = all.join(machine()?).join("strongroom/softhsm");
    fs::create_dir_all(&directory).map_err(|error| at(&directory, &error))?;
    let link = directory.join("libsofthsm2.so");
    std::os::unix::fs::symlink(Path::new("../../pkcs11").join(MODULE), &link)
        .map_err(|error| at(&link, &error))
}

/// The plug-in, under the name by which the server knows it.
fn gather_for_mariadb(programs: &Path, stage: &Path) -> Result<(), String> {
    let from = programs.join("libstrongroom_mariadb.so");
    fs::copy(&from, stage.join("strongroom_mariadb.so"))
        .map(|_| ())
        .map_err(|error| at(&from, &error))
}

fn machine() -> Result<String, String> {
    let output = Command::new("dpkg-architecture")
        .arg("-qDEB_HOST_MULTIARCH")
        .output()
        .map_err(|error| format!("dpkg-architecture, of the package dpkg-dev: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn run_command(command: &mut Command) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} failed"))
    }
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

const MODULE: &str = "libstrongroom_pkcs11.so";
const SOFTHSM_ROOM: &str = "softhsm-compat";
const SOFTHSM_CRATE: &str = "strongroom-softhsm";
const MARIADB_ROOM: &str = "tde/mariadb";
const MARIADB_CRATE: &str = "strongroom-mariadb";
