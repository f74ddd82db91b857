//! The arguments: one definition for parser, help, completions and man pages.
//!
//! What lives here: names and help texts.
//! What must never live here: what a command does.
//! Who calls it: `main.rs`; the completions and man pages are made from it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use strongroom_wire::rehearsal::{Failure, Latency, Throttle};

use crate::output::Format;

mod backup;
mod release;
mod wrap;

pub use backup::{BackupArguments, BackupCommand, KeyArguments, RestoreArguments};
pub use release::{
    AuthorityArguments, AuthorityCommand, EncryptionName, KeyCommand, KeyCreateArguments,
    KeyReleaseArguments, NewKeyKind, ReleaseCommand, ReleaseOpenArguments,
};
pub use wrap::{KeyId, TokenArguments, UnwrapArguments, WrapArguments};

/// Administers Strongroom, an HSM in software. Asks the daemon, strongroomd, on its administration socket.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    about,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the daemon is not reachable."
)]
pub struct Arguments {
    /// Where the daemon is, and how to show what it says
    #[command(flatten)]
    pub place: PlaceArguments,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// How answers are shown.
    #[must_use]
    pub const fn format(&self) -> Format {
        if self.place.json {
            Format::Json
        } else {
            Format::Text
        }
    }
}

/// Arguments of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaceArguments {
    /// Show answers as JSON with stable names
    #[arg(long, global = true)]
    pub json: bool,
    /// The one directory of an installation made with strongroomd --home
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "system")]
    pub home: Option<PathBuf>,
    /// The system-wide installation instead of one's own
    #[arg(long, global = true)]
    pub system: bool,
    /// Socket for applications
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Socket for administration
    #[arg(long, global = true, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Set up: write a configuration with comments if there is none, start the daemon, optionally make a token
    Init(InitArguments),
    /// Show how the daemon is
    Status,
    /// Make, list and delete tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// List and show objects of a token, never a secret value
    #[command(subcommand)]
    Object(ObjectCommand),
    /// Register the authorities whose word releases keys
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Make keys that leave to proven places alone, and release them
    #[command(subcommand)]
    Key(KeyCommand),
    /// For the consumers of released keys
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Read and check the audit journal
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Give the sealed daemon a passphrase or one share, asked for without being shown
    Unseal(UnsealArguments),
    /// Show and change what opens the store
    #[command(subcommand)]
    Seal(SealCommand),
    /// Check every record of the store, and the journal; lists all that is wrong (strongroomd --verify does it while no daemon runs)
    Verify,
    /// Check the installation and say how to mend it
    Doctor(DoctorArguments),
    /// Measure what an application pays, through the installed PKCS#11 module
    Bench(BenchArguments),
    /// What `bench` runs in a process of its own for each module
    #[command(hide = true)]
    Measure(MeasureArguments),
    /// Wrap a secret (a data key, a passphrase) by a key of a token: from standard input to standard output
    Wrap(WrapArguments),
    /// Unwrap what `wrap` has wrapped
    Unwrap(UnwrapArguments),
    /// Back up the whole store while the daemon serves, into one file that only the holder of a private key opens
    Backup(BackupArguments),
    /// Restore a backup into an installation whose daemon does not run
    Restore(RestoreArguments),
    /// Let a token imitate hardware, so that applications meet latency, failures and removal in a test
    Rehearse(RehearseArguments),
    /// Bring tokens and keys in from elsewhere; see strongroom import --help
    #[command(disable_help_flag = true)]
    Import {
        /// For the program strongroom-import, which comes with the tools for those who change over
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENT"
        )]
        arguments: Vec<OsString>,
    },
    /// Let the daemon read its configuration again
    Reload,
    /// Stop the daemon
    Stop,
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands into a directory
    Man {
        /// The directory
        directory: Option<PathBuf>,
    },
}

/// Arguments of `init`.
#[derive(Clone, Debug, Args)]
pub struct InitArguments {
    /// Make a token with this label too
    #[arg(long, value_name = "LABEL")]
    pub token: Option<String>,
    /// PINs of that token
    #[command(flatten)]
    pub pins: PinArguments,
}

/// Commands for tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token
    Create {
        /// Its label, at most 32 bytes
        label: String,
        /// Its PINs
        #[command(flatten)]
        pins: PinArguments,
    },
    /// List all tokens
    List,
    /// Destroy a token with all its objects; nothing brings them back
    Delete {
        /// Its label or serial number
        token: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Where the PINs of a new token come from. Never the command line or the environment: other processes see both.
#[derive(Clone, Debug, Default, Args)]
#[command(group(ArgGroup::new("so_pin").args(["generate_so_pin", "so_pin_file"])))]
#[command(group(ArgGroup::new("user_pin").args(["pin_file", "no_pin"])))]
pub struct PinArguments {
    /// Make up the PIN of the security officer and show it once
    #[arg(long)]
    pub generate_so_pin: bool,
    /// File with the PIN of the security officer; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE")]
    pub so_pin_file: Option<PathBuf>,
    /// File with the PIN of the user; - is a line of standard input, after that of the security officer (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// Leave the user's PIN unset
    #[arg(long)]
    pub no_pin: bool,
}

/// Commands for objects.
#[derive(Clone, Debug, Subcommand)]
pub enum ObjectCommand {
    /// List the objects of a token
    List {
        /// Label or serial number of the token
        token: String,
    },
    /// Show an object with all attributes that may be revealed
    Show {
        /// Label or serial number of the token
        token: String,
        /// Unique id, label, or id in hexadecimal
        object: String,
    },
}

/// Commands for the audit.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Show the last lines
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u32,
    },
    /// Check the hash chain; exit code 1 when it is broken
    Verify,
}

/// Arguments of `unseal`. Never the command line or the environment: other processes see both.
#[derive(Clone, Debug, Default, Args)]
pub struct UnsealArguments {
    /// File with the passphrase or share; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE", conflicts_with = "fd")]
    pub file: Option<PathBuf>,
    /// Open descriptor to read it from, one line
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16))]
    pub fd: Option<u16>,
    /// Let the daemon forget what was given so far
    #[arg(long, conflicts_with_all = ["file", "fd"])]
    pub reset: bool,
}

/// Commands for the seal.
#[derive(Clone, Debug, Subcommand)]
pub enum SealCommand {
    /// Show what opens the store, without any secret
    Show,
    /// Seal the root key anew: for other providers, or with a new secret. No object changes, nobody is interrupted
    Rotate(RotateArguments),
}

/// Arguments of `seal rotate`.
#[derive(Clone, Debug, Args)]
pub struct RotateArguments {
    /// What shall open the store: key-file PATH, passphrase, credential NAME, tpm, or shares K/N; up to two of them
    #[arg(long, required = true, num_args = 1..=2, value_name = "PROVIDER")]
    pub to: Vec<String>,
    /// Of two providers: one of them opens the store, or it needs all
    #[arg(long, value_enum, default_value_t = Need::One)]
    pub need: Need,
    /// File with the new passphrase; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub passphrase_file: Option<PathBuf>,
    /// Open descriptor to read the new passphrase from, one line
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16))]
    pub passphrase_fd: Option<u16>,
    /// PCRs that the TPM binds the seal to (default: those of the configuration)
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..24))]
    pub pcrs: Vec<u8>,
    /// Destroy files that opened the store before there was an envelope, once the new seal stands
    #[arg(long)]
    pub destroy_old: bool,
}

/// How many providers are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Need {
    /// Each opens the store alone
    One,
    /// They open it together
    All,
}

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArguments {
    /// The PKCS#11 module to check (default: look in the usual directories)
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,
}

/// Arguments of `bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArguments {
    /// The token to work at, by its label; session keys are made there, and nothing stays
    #[arg(long, value_name = "LABEL")]
    pub token: String,
    /// File with the PIN of its user; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// Another PKCS#11 module to measure beside, with a token of the same label and PIN
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,
    /// Label of the token of the other module, when it is another
    #[arg(long, value_name = "LABEL", requires = "module")]
    pub module_token: Option<String>,
    /// Our module (default: look in the usual directories)
    #[arg(long, value_name = "PATH")]
    pub own_module: Option<PathBuf>,
    /// Time of each case
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// Sessions at the same time, each with a thread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

/// Arguments of `measure`.
#[derive(Clone, Debug, Args)]
pub struct MeasureArguments {
    /// The module
    #[arg(long)]
    pub module: PathBuf,
    /// Label of the token; the PIN comes as a line of standard input
    #[arg(long)]
    pub token: String,
    /// Time of each case
    #[arg(long, value_parser = seconds)]
    pub seconds: f64,
    /// Sessions at the same time
    #[arg(long)]
    pub threads: u16,
}

/// Arguments of `rehearse`.
#[derive(Clone, Debug, Default, Args)]
#[command(
    group(ArgGroup::new("act").args(["show", "off", "remove", "insert", "profiles"])),
    after_help = "Times: 300us, 5ms, 1.5s, 2min. Distributions: a time, uniform(A,B), normal(MEAN,DEVIATION), \
                  lognormal(MEDIAN,SIGMA), pareto(LEAST,SHAPE), p50=A,p99=B. A restart of the daemon ends every rehearsal."
)]
pub struct RehearseArguments {
    /// Its label or serial number
    pub token: Option<String>,
    /// Show how it rehearses; so does no option at all
    #[arg(long)]
    pub show: bool,
    /// End the rehearsal
    #[arg(long)]
    pub off: bool,
    /// Take the token out of its slot: its sessions end
    #[arg(long)]
    pub remove: bool,
    /// Put the token back
    #[arg(long)]
    pub insert: bool,
    /// List the profiles
    #[arg(long)]
    pub profiles: bool,
    /// Begin with the rules of a profile; further options come over them
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// How long calls take, of one function or of all; can be given several times
    #[arg(long, value_name = "[FUNCTION=]DISTRIBUTION", value_parser = crate::rehearsal::latency)]
    pub latency: Vec<Latency>,
    /// Which calls fail, and with what: C_Sign=0.01:CKR_DEVICE_ERROR, C_Login=nth(3):CKR_PIN_LOCKED, *=every(100):CKR_FUNCTION_FAILED
    #[arg(long, value_name = "FUNCTION=WHEN:CKR", value_parser = crate::rehearsal::failure)]
    pub fail: Vec<Failure>,
    /// Most sessions of all applications at the token
    #[arg(long, value_name = "N")]
    pub sessions: Option<u64>,
    /// Most operations in a second; those beyond wait, or are answered the return value
    #[arg(long, value_name = "PER_SECOND[:CKR]", value_parser = crate::rehearsal::throttle)]
    pub throttle: Option<Throttle>,
    /// Room for so many more token objects
    #[arg(long, value_name = "N", conflicts_with = "full")]
    pub room: Option<u64>,
    /// No room for any token object
    #[arg(long)]
    pub full: bool,
    /// Another run of chances; the same one repeats
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("from 0.01 to 3600".to_owned()),
    }
}
