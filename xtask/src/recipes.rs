//! `cargo xtask recipes` and `cargo xtask readme`: documents whose commands are run as they stand there.
//!
//! What lives here: which pages there are, running two at a time, and telling how they went.
//! What must never live here: what happens to one page (`stage.rs`), and the pages (docs/recipes).
//! Who calls it: people, and `./test recipes readme`.

mod compare;
mod descendants;
mod page;
mod stage;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use page::{Kind, Page, Reading, RunsAs};
use stage::{Manner, Stage};

pub(crate) const USAGE: &str = "\
usage: cargo xtask recipes [--keep] [NAME...]
       cargo xtask readme

Run the commands of documents, in order, in a temporary directory, and compare what they say with what the document says.

  recipes   the pages of docs/recipes and docs/tde, or those that are named, each with a daemon and a token of its own; docs/recipes/README.md says
            what a page looks like. Ends with the line `recipes: N passed, M failed, K not run here`.
              --keep   leave the directories of pages that fail
  readme    the commands of README.md

The programs are those of the directory STRONGROOM_BIN_DIR; without it they are built for debugging.";

/// Where pages are; a directory that is not there has none.
const DIRECTORIES: [&str; 2] = ["docs/recipes", "docs/tde"];

/// Runs pages.
///
/// # Errors
/// That some failed; why, it has told.
pub(crate) fn run(root: &Path, options: &[&str]) -> Result<(), String> {
    if let ["--one", root, name, directory, programs] = options {
        return one(
            Path::new(root),
            name,
            Path::new(directory),
            Path::new(programs),
        );
    }
    let keep = options.contains(&"--keep");
    let names: Vec<&str> = options
        .iter()
        .copied()
        .filter(|word| *word != "--keep")
        .collect();
    if names.iter().any(|name| name.starts_with('-')) {
        return Err(USAGE.to_owned());
    }
    let mut pages = pages(root)?;
    if let Some(name) = names
        .iter()
        .find(|name| pages.iter().all(|page| page.name != **name))
    {
        return Err(format!(
            "there is no page {name} in {}",
            DIRECTORIES.join(" or ")
        ));
    }
    pages.retain(|page| names.is_empty() || names.contains(&page.name.as_str()));
    let tally = Tally::default();
    together(root, &pages, &tally, keep)?;
    let (passed, failed, not_run) = tally.numbers();
    println!("recipes: {passed} passed, {failed} failed, {not_run} not run here");
    if failed == 0 {
        Ok(())
    } else {
        Err("recipes do not do what they say".to_owned())
    }
}

/// Runs the commands of README.md.
///
/// # Errors
/// What went wrong.
pub(crate) fn readme(root: &Path) -> Result<(), String> {
    let scene = Scene::set(root)?;
    scene.perform(README).map_err(|report| {
        println!("{report}");
        "README.md does not do what it says".to_owned()
    })
}

/// All pages, in the order of their names.
fn pages(root: &Path) -> Result<Vec<Page>, String> {
    let mut names = BTreeSet::new();
    for directory in DIRECTORIES {
        let entries = match fs::read_dir(root.join(directory)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| format!("{directory}: {error}"))?,
        };
        for entry in entries {
            let file = entry
                .map_err(|error| format!("{directory}: {error}"))?
                .file_name();
            if let Some(name) = file.to_str().and_then(|name| name.strip_suffix(".md")) {
                names.insert(name.to_owned());
            }
        }
    }
    names.remove("README");
    let mut pages = Vec::new();
    for name in &names {
        let page = read(root, name)?;
        // A database that runs nowhere here has a page for people only: it names no packages.
        if path(root, name).starts_with(DIRECTORIES[0]) || !page.packages.is_empty() {
            pages.push(page);
        }
    }
    Ok(pages)
}

/// The path of a page: the first directory that has it.
fn path(root: &Path, name: &str) -> String {
    let place = |directory: &&str| root.join(directory).join(format!("{name}.md")).is_file();
    let directory = DIRECTORIES.iter().find(|directory| place(directory));
    format!("{}/{name}.md", directory.unwrap_or(&DIRECTORIES[0]))
}

/// One page.
fn read(root: &Path, name: &str) -> Result<Page, String> {
    let path = path(root, name);
    let text = fs::read_to_string(root.join(&path)).map_err(|error| format!("{path}: {error}"))?;
    Page::read(name, &text, Reading::Recipe).map_err(|what| format!("{path}: {what}"))
}

/// What `--one` does: runs a page in this process, which adopts whatever the page leaves behind.
fn one(root: &Path, name: &str, directory: &Path, programs: &Path) -> Result<(), String> {
    let root = &std::path::absolute(root).map_err(|error| error.to_string())?;
    if name == README {
        let text = fs::read_to_string(root.join("README.md")).map_err(|error| error.to_string())?;
        let page = Page::read(name, &text, Reading::Document)?;
        let stage = Stage {
            page: &page,
            path: "README.md".to_owned(),
            before: &[],
            directory,
            programs,
            manner: Manner::Readme(root),
        };
        return stage.perform();
    }
    let page = read(root, name)?;
    let before = read(root, "README")?;
    let stage = Stage {
        page: &page,
        path: path(root, name),
        before: &before.steps,
        directory,
        programs,
        manner: Manner::Recipe,
    };
    stage.perform()
}

/// What pages have come to.
#[derive(Default)]
struct Tally {
    passed: AtomicUsize,
    failed: AtomicUsize,
    not_run: AtomicUsize,
    /// Reports are told one at a time.
    telling: Mutex<()>,
}

impl Tally {
    fn tell(&self, counter: &AtomicUsize, text: &str) {
        let _turn = self.telling.lock();
        counter.fetch_add(1, Ordering::Relaxed);
        println!("   {text}");
    }

    fn numbers(&self) -> (usize, usize, usize) {
        let number = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (
            number(&self.passed),
            number(&self.failed),
            number(&self.not_run),
        )
    }
}

/// Two at a time: servers wait more than they work.
fn together(root: &Path, pages: &[Page], tally: &Tally, keep: bool) -> Result<(), String> {
    let mut scene = Scene::set(root)?;
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            attend(&scene, page, tally);
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    scene.keep = keep && tally.numbers().1 > 0;
    if scene.keep {
        println!("   left in {}", scene.directory.display());
    }
    Ok(())
}

fn attend(scene: &Scene, page: &Page, tally: &Tally) {
    let name = &page.name;
    for reason in &page.not_run {
        tally.tell(&tally.not_run, &format!("{name}: not run here: {reason}"));
    }
    if !page.steps.iter().any(|step| step.kind == Kind::Run) {
        if page.not_run.is_empty() {
            tally.tell(
                &tally.failed,
                &format!("{name}: FAILED: no commands are on the page"),
            );
        }
        return;
    }
    if page.runs_as == RunsAs::Root && !rustix::process::geteuid().is_root() {
        return tally.tell(
            &tally.not_run,
            &format!("{name}: not run here: it needs root"),
        );
    }
    if let Some(command) = page.runs_where.iter().find(|command| !succeeds(command)) {
        return tally.tell(
            &tally.not_run,
            &format!("{name}: not run here: it needs `{command}` to succeed"),
        );
    }
    let missing = missing(&page.packages);
    if !missing.is_empty() {
        let missing = missing.join(" ");
        return tally.tell(
            &tally.failed,
            &format!("{name}: FAILED: missing, apt-get install {missing}"),
        );
    }
    let begun = Instant::now();
    match scene.perform(name) {
        Ok(()) => {
            let seconds = begun.elapsed().as_secs_f32();
            tally.tell(&tally.passed, &format!("{name}: good, {seconds:.1} s"));
        }
        Err(report) => tally.tell(&tally.failed, &format!("{name}: FAILED: {report}")),
    }
}

/// Whether this machine allows what a page needs.
fn succeeds(command: &str) -> bool {
    let status = Command::new("bash")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The packages that are not installed; none where nobody can tell.
fn missing(packages: &[String]) -> Vec<&str> {
    let absent = |package: &&String| {
        let output = Command::new("dpkg-query")
            .args(["-W", "-f=${db:Status-Status}", package])
            .output();
        output.is_ok_and(|output| output.stdout != b"installed")
    };
    packages.iter().filter(absent).map(String::as_str).collect()
}

/// Where pages are run.
struct Scene {
    root: PathBuf,
    directory: PathBuf,
    programs: PathBuf,
    keep: bool,
}

impl Scene {
    fn set(root: &Path) -> Result<Self, String> {
        let from = match std::env::var_os("STRONGROOM_BIN_DIR") {
            Some(directory) => PathBuf::from(directory),
            None => build(root)?,
        };
        let directory = std::env::temp_dir().join(format!("recipes.{}", std::process::id()));
        let programs = directory.join("programs");
        fs::create_dir_all(&programs).map_err(|error| at(&programs, &error))?;
        let scene = Self {
            root: root.to_owned(),
            directory,
            programs,
            keep: false,
        };
        open(&scene.directory)?;
        open(&scene.programs)?;
        // Copied, because the user that root becomes for some pages need not see where they are.
        let names = [
            "strongroomd",
            "strongroom",
            "libstrongroom_pkcs11.so",
            "libstrongroom_mariadb.so",
        ];
        for name in names {
            let file = scene.programs.join(name);
            fs::copy(from.join(name), &file).map_err(|error| at(&from.join(name), &error))?;
            open(&file)?;
        }
        Ok(scene)
    }

    /// Runs a page in a process of its own; the error is its report.
    fn perform(&self, name: &str) -> Result<(), String> {
        let directory = self.directory.join(name);
        fs::create_dir(&directory).map_err(|error| at(&directory, &error))?;
        open(&directory)?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        // Its standard input stays open as long as this process lives, and it is no member of the terminal's group: an interrupted
        // run ends its servers as well.
        let mut child = Command::new(program)
            .args(["recipes", "--one"])
            .arg(&self.root)
            .arg(name)
            .args([&directory, &self.programs])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        let open_as_long_as_this = child.stdin.take();
        let output = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        drop(open_as_long_as_this);
        if output.status.success() {
            return Ok(());
        }
        let report = String::from_utf8_lossy(&output.stderr);
        Err(report.strip_prefix("xtask: ").unwrap_or(&report).to_owned())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !self.keep {
            // A server may be writing its last line; what stays is in the directory for such things.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn build(root: &Path) -> Result<PathBuf, String> {
    let packages = [
        "strongroomd",
        "strongroom-cli",
        "strongroom-pkcs11",
        "strongroom-mariadb",
    ];
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(["build", "--quiet", "--locked"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let status = command
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("the build failed".to_owned());
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("debug"))
}

/// Everybody may enter, run and read; only the owner may write.
fn open(path: &Path) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The name of the README among the pages.
const README: &str = "README-of-the-project";

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn text(path: &str) -> String {
        fs::read_to_string(root().join(path)).expect(path)
    }

    #[test]
    fn every_page_can_be_read_and_is_in_the_list() {
        let list = text("docs/recipes/README.md");
        let pages = pages(&root()).expect("pages");
        assert!(!pages.is_empty());
        for page in pages {
            let name = &page.name;
            assert!(
                list.contains(&format!("[{name}](")),
                "{name} is not in the list"
            );
        }
    }

    #[test]
    fn every_package_of_a_page_is_one_that_the_tests_install() {
        let listed = text("tests/APT_PACKAGES");
        for page in pages(&root()).expect("pages") {
            for package in &page.packages {
                let found = listed.lines().any(|line| line == package);
                assert!(
                    found,
                    "{}: {package} is not in tests/APT_PACKAGES",
                    page.name
                );
            }
        }
    }

    #[test]
    fn the_readme_has_commands() {
        let page = Page::read("README", &text("README.md"), Reading::Document).expect("a page");
        assert!(page.steps.len() > 3);
    }
}
