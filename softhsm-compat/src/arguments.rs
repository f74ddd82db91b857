//! The arguments of `strongroom import`: one definition for parser and help.
//!
//! What lives here: names and help texts.
//! What must never live here: what a door does.
//! Who calls it: `strongroom-import`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use strongroom_cli::arguments::PlaceArguments;
use strongroom_cli::output::Format;

/// Brings tokens and keys in from elsewhere. The source is read and never changed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "strongroom import",
    bin_name = "strongroom import",
    version,
    about,
    max_term_width = 100,
    after_help = "Exit codes: 0 everything was brought in, 1 refused or failed: nothing was changed, 2 wrong usage, \
                  3 the daemon is not reachable, 4 brought in, but some objects were refused (see the report)."
)]
pub struct Arguments {
    /// Where the daemon is, and how to show what it says
    #[command(flatten)]
    pub place: PlaceArguments,
    /// Where from
    #[command(subcommand)]
    pub door: Door,
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

/// Where from.
#[derive(Clone, Debug, Subcommand)]
pub enum Door {
    /// From SoftHSM's token directories: tokens with their objects, labels, serial numbers and PINs
    Softhsm(SofthsmArguments),
}

/// Arguments of every door.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ImportArguments {
    /// Let the daemon judge everything and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Fail, with nothing changed, when even one object is refused
    #[arg(long)]
    pub strict: bool,
    /// Keep what the source says of a key's past: CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_KEY_GEN_MECHANISM
    /// (default: they say that it came from outside)
    #[arg(long)]
    pub keep_history: bool,
}

/// Arguments of `softhsm`. PINs never come by the command line or the environment: other processes see both.
#[derive(Clone, Debug, Default, Args)]
#[command(group(ArgGroup::new("which").args(["token", "serial", "all"])))]
pub struct SofthsmArguments {
    /// SoftHSM's configuration file (default: as SoftHSM looks for it: $SOFTHSM2_CONF, then the user's, then the machine's)
    #[arg(long, value_name = "FILE", conflicts_with = "tokens")]
    pub conf: Option<PathBuf>,
    /// The directory of its tokens, without a configuration file
    #[arg(long, value_name = "DIR")]
    pub tokens: Option<PathBuf>,
    /// The token of this label
    #[arg(long, value_name = "LABEL")]
    pub token: Option<String>,
    /// The token of this serial number
    #[arg(long, value_name = "NUMBER")]
    pub serial: Option<String>,
    /// All tokens, one after the other; each comes whole or not at all
    #[arg(long)]
    pub all: bool,
    /// File with the PIN of the user; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// File with the PIN of the security officer, as it is in SoftHSM (default: ask)
    #[arg(long, value_name = "FILE", conflicts_with = "new_so_pin_file")]
    pub so_pin_file: Option<PathBuf>,
    /// File with a new PIN of the security officer, where the one in SoftHSM is not known
    #[arg(long, value_name = "FILE")]
    pub new_so_pin_file: Option<PathBuf>,
    /// How
    #[command(flatten)]
    pub import: ImportArguments,
}
