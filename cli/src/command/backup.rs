//! `strongroom backup` and `strongroom restore`.
//!
//! What lives here: asking the daemon for a backup and showing what came; calling the daemon's program for what needs a private key.
//! What must never live here: a key that opens a backup.
//! Who calls it: the commands.

mod file;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::codec::List;
use zeroize::Zeroizing;

use super::Bench;
use crate::arguments::{BackupArguments, BackupCommand, KeyArguments, RestoreArguments};
use crate::client::{Client, unexpected};
use crate::failure::Failure;
use crate::output::{self, Format};
use file::BackupFile;

pub(super) fn run(bench: Bench<'_>, arguments: &BackupArguments) -> Result<(), Failure> {
    match (&arguments.command, &arguments.file) {
        (
            Some(BackupCommand::Keygen {
                file,
                shares,
                passphrase_file,
            }),
            _,
        ) => {
            let mut flags = Flags::of(bench, "--backup-keygen", file)?;
            flags.add_text("--backup-shares", shares.as_deref());
            flags.add("--identity-passphrase-file", passphrase_file.as_deref());
            Err(flags.become_daemon_program())
        }
        (Some(BackupCommand::Verify { file, key }), _) => {
            let mut flags = Flags::of(bench, "--verify-backup", file)?;
            flags.add_key(key);
            Err(flags.become_daemon_program())
        }
        (None, Some(file)) => make(bench, file, arguments),
        (None, None) => Err(Failure::Usage("name the file to write".into())),
    }
}

pub(super) fn restore(bench: Bench<'_>, arguments: &RestoreArguments) -> Result<(), Failure> {
    let mut flags = Flags::of(bench, "--restore", &arguments.file)?;
    flags.add_key(&arguments.key);
    if arguments.replace_store {
        flags.flags.push("--replace-store".into());
    }
    Err(flags.become_daemon_program())
}

/// The daemon's program with flags: it alone holds keys, also when it does not serve.
struct Flags {
    program: PathBuf,
    flags: Vec<OsString>,
}

impl Flags {
    fn of(bench: Bench<'_>, work: &str, file: &Path) -> Result<Self, Failure> {
        let place = bench.find()?;
        let program = place.daemon_program(bench.environment).ok_or_else(|| {
            Failure::Failed(
                "the daemon's program, strongroomd, was not found beside this one, in the usual directories or in PATH; install it, or name it with STRONGROOM_DAEMON".into(),
            )
        })?;
        let mut flags = place.daemon_flags;
        flags.push(work.into());
        flags.push(file.into());
        if bench.format == Format::Json {
            flags.push("--json".into());
        }
        Ok(Self { program, flags })
    }

    fn add(&mut self, flag: &str, path: Option<&Path>) {
        if let Some(path) = path {
            self.flags.push(flag.into());
            self.flags.push(path.into());
        }
    }

    fn add_text(&mut self, flag: &str, text: Option<&str>) {
        self.add(flag, text.map(Path::new));
    }

    fn add_key(&mut self, key: &KeyArguments) {
        self.add("--identity", key.identity.as_deref());
        self.add("--identity-passphrase-file", key.passphrase_file.as_deref());
        self.add("--shares-file", key.shares_file.as_deref());
    }

    /// This process becomes that program, with the same terminal; what comes back is why it did not.
    fn become_daemon_program(self) -> Failure {
        let error = Command::new(&self.program).args(&self.flags).exec();
        Failure::file("run", &self.program, &error)
    }

    /// What it says, which may hold secrets.
    fn said(self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let output = Command::new(&self.program)
            .args(&self.flags)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::file("run", &self.program, &error))?;
        let said = Zeroizing::new(output.stdout);
        if output.status.success() {
            return Ok(said);
        }
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::Failed(error))
    }
}

fn make(bench: Bench<'_>, path: &Path, arguments: &BackupArguments) -> Result<(), Failure> {
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    let draft = BackupFile::create(path)?;
    let mut key_files = arguments.to.clone();
    let mut shares = None;
    if let Some(numbers) = &arguments.shares {
        let mut base = path.as_os_str().to_owned();
        base.push(".key");
        let mut flags = Flags::of(bench, "--backup-keygen", Path::new(&base))?;
        flags.add_text("--backup-shares", Some(numbers));
        shares = Some(flags.said()?);
        base.push(".pub");
        key_files.push(base.into());
    }
    let keys = key_files
        .iter()
        .map(|path| read_key(path))
        .collect::<Result<Vec<_>, _>>()?;
    let recipients = List::new(keys.iter().map(String::as_str).collect());
    let recipients = recipients
        .ok_or_else(|| Failure::Usage("a backup is made for 32 public keys at most".into()))?;
    client.send(&AdminRequest::Backup { recipients })?;
    let made = receive(&mut client, draft)?;
    tell(bench.format, path, &made)?;
    match shares {
        // Only now: shares of a backup that was not made would be kept for nothing.
        Some(shares) => io::stdout()
            .write_all(&shares)
            .map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}"))),
        None => Ok(()),
    }
}

fn read_key(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::file("read the public key", path, &error))?;
    if text.len() > KEY_FILE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "{} is too long for a public key",
            path.display()
        )));
    }
    Ok(text)
}

/// What was made and found right on the disk.
struct Made {
    id: String,
    recipients: Vec<String>,
    records: u64,
    bytes: u64,
    digest: String,
}

fn receive(client: &mut Client, mut draft: BackupFile) -> Result<Made, Failure> {
    let AdminAnswer::BackupBegun {
        id,
        records: all,
        recipients,
    } = client.next()?
    else {
        return Err(unexpected());
    };
    let mut progress = Progress::new();
    loop {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "no other answer belongs here"
        )]
        match client.next()? {
            AdminAnswer::BackupPart { records, bytes } => {
                draft.write(&bytes)?;
                progress.tell(records, all);
            }
            AdminAnswer::BackupEnded {
                records,
                bytes,
                digest,
            } => {
                progress.end();
                draft.put_in_place(bytes, &digest)?;
                return Ok(Made {
                    id,
                    recipients: recipients.into_items(),
                    records,
                    bytes,
                    digest,
                });
            }
            _ => return Err(unexpected()),
        }
    }
}

fn tell(format: Format, path: &Path, made: &Made) -> Result<(), Failure> {
    let Made {
        id,
        recipients,
        records,
        bytes,
        digest,
    } = made;
    match format {
        Format::Json => output::show_json(&serde_json::json!({
            "backup": id, "file": path, "records": records, "bytes": bytes, "digest": digest, "opens_with": recipients, "read_back": true,
        })),
        Format::Text => output::show(&format!(
            "backup {id}: {records} records, {}, in {}\n\
             opens with key {}\n\
             read back from the disk: its SHA-256 is what the daemon computed, {digest}\n\
             not checked: whether it opens; that needs the private key: strongroom backup verify {}\n",
            output::size(*bytes),
            path.display(),
            recipients.join(", or key "),
            path.display(),
        )),
    }
}

/// Tells a person who waits how far it is; a pipe is told nothing.
struct Progress {
    percent: Option<u64>,
}

impl Progress {
    fn new() -> Self {
        Self {
            percent: io::stderr().is_terminal().then_some(u64::MAX),
        }
    }

    fn tell(&mut self, done: u64, all: u64) {
        let percent = done.saturating_mul(100) / all.max(1);
        if self.percent.is_some_and(|told| told != percent) {
            self.percent = Some(percent);
            // Whoever does not see it misses nothing.
            let _ = write!(io::stderr(), "\r{done} of {all} records, {percent} %");
        }
    }

    fn end(&self) {
        if self.percent.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

const KEY_FILE_BYTES_MAX: usize = 4096;
