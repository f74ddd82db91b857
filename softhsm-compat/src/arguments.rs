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
    /// From files of keys and certificates: PKCS #8, PKCS #1, SEC 1, X.509, in PEM or DER
    Pem(PemArguments),
    /// From PKCS #12 files, as OpenSSL, Java, NSS, browsers and Windows write them
    Pkcs12(BundleArguments),
    /// From JSON Web Keys, one or a set
    Jwk(JwkArguments),
    /// From any PKCS#11 module whose keys can be read or wrapped
    Pkcs11(Pkcs11Arguments),
    /// From an NSS database, as Firefox, Thunderbird, 389 Directory Server and curl have it
    Nss(NssArguments),
    /// The process in which a foreign module runs; it speaks with the importer that started it
    #[command(hide = true)]
    ForeignModule,
}

impl Door {
    /// How the import is to be done.
    #[must_use]
    pub const fn import(&self) -> ImportArguments {
        match self {
            Self::Softhsm(door) => door.import,
            Self::Pem(door) => door.into.import,
            Self::Pkcs12(door) => door.into.import,
            Self::Jwk(door) => door.into.import,
            Self::Pkcs11(door) => door.into.import,
            Self::Nss(door) => door.into.import,
            Self::ForeignModule => ImportArguments {
                dry_run: false,
                strict: false,
                keep_history: false,
            },
        }
    }
}

/// Where to, for the doors that bring objects into a token that is there.
#[derive(Clone, Debug, Args)]
pub struct IntoArguments {
    /// The token that they go to: its label or serial number
    #[arg(long, value_name = "TOKEN")]
    pub token: String,
    /// File with the PIN of its user; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// How
    #[command(flatten)]
    pub import: ImportArguments,
}

/// What objects from files are called.
#[derive(Clone, Debug, Default, Args)]
pub struct NameArguments {
    /// CKA_LABEL of the first key or certificate and of what belongs to it (default: what the file says, or the name of the file)
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// Its CKA_ID, in hexadecimal (default: what the file says, or the SHA-1 of the public key)
    #[arg(long, value_name = "HEX")]
    pub id: Option<String>,
    /// Leave out the public keys that belong to the private ones
    #[arg(long)]
    pub no_public_key: bool,
}

/// Arguments of `pem`.
#[derive(Clone, Debug, Args)]
pub struct PemArguments {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// File with the password of encrypted keys; - is a line of standard input for each (default: ask)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// What they are called
    #[command(flatten)]
    pub names: NameArguments,
    /// Where to
    #[command(flatten)]
    pub into: IntoArguments,
}

/// Arguments of `pkcs12`.
#[derive(Clone, Debug, Args)]
pub struct BundleArguments {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File with its password; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    pub password_file: Option<PathBuf>,
    /// The file has the empty password
    #[arg(long)]
    pub no_password: bool,
    /// What they are called
    #[command(flatten)]
    pub names: NameArguments,
    /// Where to
    #[command(flatten)]
    pub into: IntoArguments,
}

/// Arguments of `jwk`.
#[derive(Clone, Debug, Args)]
pub struct JwkArguments {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What they are called
    #[command(flatten)]
    pub names: NameArguments,
    /// Where to
    #[command(flatten)]
    pub into: IntoArguments,
}

/// Arguments of `pkcs11`.
#[derive(Clone, Debug, Args)]
pub struct Pkcs11Arguments {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub module: PathBuf,
    /// The token to read: its label or serial number (default: the only one that there is)
    #[arg(long, value_name = "TOKEN")]
    pub from_token: Option<String>,
    /// File with the PIN of its user; - is a line of standard input (default: ask, when it wants one)
    #[arg(long, value_name = "FILE")]
    pub from_pin_file: Option<PathBuf>,
    /// What the module is told when it is initialised, for modules that want a string there
    #[arg(long, value_name = "STRING")]
    pub parameters: Option<String>,
    /// Where to
    #[command(flatten)]
    pub into: IntoArguments,
}

/// Arguments of `nss`.
#[derive(Clone, Debug, Args)]
pub struct NssArguments {
    /// The directory with cert9.db and key4.db
    #[arg(long, value_name = "DIR")]
    pub database: PathBuf,
    /// File with its password; - is a line of standard input (default: ask, when it has one)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// NSS's own module (default: libsoftokn3.so, where the system keeps it)
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
    /// Where to
    #[command(flatten)]
    pub into: IntoArguments,
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
