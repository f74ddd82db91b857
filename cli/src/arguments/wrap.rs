//! The arguments of wrap and unwrap.
//!
//! What lives here: names and help texts.
//! What must never live here: what a command does.
//! Who calls it: the arguments.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args};

/// Arguments of `wrap`.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("which").args(["key", "id"]).required(true).multiple(true)))]
#[command(
    after_help = "The key is a private AES key of the token that may encrypt and decrypt. At most 65536 bytes are wrapped. \
                  docs/tde/wrap-format.md describes what is written."
)]
pub struct WrapArguments {
    /// Label of the key; it must be the only one of that label, or --id says which
    #[arg(long, value_name = "LABEL")]
    pub key: Option<String>,
    /// CKA_ID of the key
    #[arg(long, value_name = "HEX")]
    pub id: Option<KeyId>,
    /// The token, the PIN, the files
    #[command(flatten)]
    pub at: TokenArguments,
}

/// Arguments of `unwrap`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "What was wrapped names its key, so data that an older key of the same label wrapped are unwrapped by that one, as long as \
                  it is in the token."
)]
pub struct UnwrapArguments {
    /// Refuse what was wrapped by a key of another label
    #[arg(long, value_name = "LABEL")]
    pub key: Option<String>,
    /// Refuse what was wrapped by a key of another CKA_ID
    #[arg(long, value_name = "HEX")]
    pub id: Option<KeyId>,
    /// The token, the PIN, the files
    #[command(flatten)]
    pub at: TokenArguments,
}

/// Where the key is, and where the data come from and go to. The PIN never stands on the command line or in the environment: other processes see both.
#[derive(Clone, Debug, Args)]
pub struct TokenArguments {
    /// Label of the token
    #[arg(long, value_name = "LABEL")]
    pub token: String,
    /// File with the PIN of the token's user; - is a line of standard input, where --in is given (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// Read this file (default: standard input)
    #[arg(long = "in", value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Write this file, for its owner alone, whole or not at all (default: standard output)
    #[arg(long = "out", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The PKCS#11 module, of any vendor (default: Strongroom's, from the usual directories)
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,
}

/// A CKA_ID, written in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(pub Vec<u8>);

impl FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
            .collect();
        match digits {
            Some(digits) if !digits.is_empty() && digits.len().is_multiple_of(2) => Ok(Self(
                digits
                    .chunks(2)
                    .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
                    .collect(),
            )),
            _ => Err("pairs of hexadecimal digits, as in 01 or a0ff".into()),
        }
    }
}
