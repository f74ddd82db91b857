//! Arguments of what concerns the release of keys.
//!
//! What lives here: names and help texts.
//! What must never live here: what a command does.
//! Who calls it: the arguments.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::KeyId;

/// Commands for authorities.
#[derive(Clone, Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Register an authority: its statements release keys whose policies name it. Nothing is ever fetched from it
    Add(AuthorityArguments),
    /// List all authorities
    List,
    /// Take an authority away; what it has attested releases no more
    Remove {
        /// Its name, a URL
        url: String,
    },
}

/// Arguments of `authority add`.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("trust").args(["keys", "certificates", "hardware"]).required(true)))]
pub struct AuthorityArguments {
    /// Its name, a URL, as release policies and its statements (iss) write it
    pub url: String,
    /// File with its public keys: a JSON Web Key Set, or one key
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// File with certificates in PEM, one of which vouches for the signers of its statements
    #[arg(long, value_name = "FILE")]
    pub certificates: Option<PathBuf>,
    /// It is hardware of this kind: sev-snp, tdx, sgx, nitro or tpm
    #[arg(long, value_name = "KIND", requires = "roots")]
    pub hardware: Option<String>,
    /// File with the roots of that hardware: certificates in PEM or DER, of TPMs also attestation keys
    #[arg(long, value_name = "FILE", requires = "hardware")]
    pub roots: Option<PathBuf>,
}

/// Commands for keys with release policies.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key that a release policy lets out to places that its authorities describe, and nobody else
    Create(KeyCreateArguments),
    /// Release a key to a place that an authority describes, in a signed envelope
    Release(KeyReleaseArguments),
}

/// Arguments of `key create`.
#[derive(Clone, Debug, Args)]
pub struct KeyCreateArguments {
    /// Label of the token
    pub hsm: String,
    /// Label of the key
    pub label: String,
    /// What kind of key
    #[arg(long, value_enum)]
    pub kind: NewKeyKind,
    /// File with its release policy, JSON
    #[arg(long, value_name = "FILE")]
    pub release_policy: PathBuf,
    /// Let nobody ever change the policy
    #[arg(long)]
    pub immutable: bool,
    /// Its CKA_ID
    #[arg(long, value_name = "HEX")]
    pub id: Option<KeyId>,
    /// File with the PIN of the token's user (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// The PKCS#11 module (default: Strongroom's, from the usual directories)
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,
}

/// Kinds of keys that `key create` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NewKeyKind {
    /// A secret key of AES, 256 bits
    #[value(name = "aes-256")]
    Aes256,
    /// A pair of RSA, 2048 bits
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// A pair of RSA, 3072 bits
    #[value(name = "rsa-3072")]
    Rsa3072,
    /// A pair of RSA, 4096 bits
    #[value(name = "rsa-4096")]
    Rsa4096,
    /// A pair on P-256
    #[value(name = "ec-p256")]
    EcP256,
    /// A pair on P-384
    #[value(name = "ec-p384")]
    EcP384,
    /// A pair on P-521
    #[value(name = "ec-p521")]
    EcP521,
}

/// Arguments of `key release`.
#[derive(Clone, Debug, Args)]
pub struct KeyReleaseArguments {
    /// Label or serial number of the token
    pub hsm: String,
    /// Unique id, label, or id in hexadecimal of the key
    pub key: String,
    /// File with the attestation token, a statement of a registered authority; - is standard input
    #[arg(long, value_name = "FILE")]
    pub token: PathBuf,
    /// What must stand in the statement, so that it is known to be fresh
    #[arg(long)]
    pub nonce: Option<String>,
    /// How the key is encrypted
    #[arg(long, value_enum, default_value_t = EncryptionName::CkmRsaAesKeyWrap)]
    pub enc: EncryptionName,
    /// Address the key with its version
    #[arg(long)]
    pub versioned: bool,
    /// File with the PIN of the token's user (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// File for the envelope (default: standard output)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How a released key is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncryptionName {
    /// OAEP with SHA-1, as the clouds do it when nobody says
    #[value(name = "CKM_RSA_AES_KEY_WRAP")]
    CkmRsaAesKeyWrap,
    /// OAEP with SHA-256
    #[value(name = "RSA_AES_KEY_WRAP_256")]
    RsaAesKeyWrap256,
    /// OAEP with SHA-384
    #[value(name = "RSA_AES_KEY_WRAP_384")]
    RsaAesKeyWrap384,
}

/// Commands for the consumers of released keys.
#[derive(Clone, Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Print the root certificate of those who sign released keys, in PEM: what consumers pin
    Root,
    /// Verify the envelope of a released key, and unwrap the key into a token
    Open(Box<ReleaseOpenArguments>),
}

/// Arguments of `release open`. The daemon that released the key is not asked.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("which").args(["kek", "kek_id"]).required(true).multiple(true)))]
#[command(
    after_help = "Nothing comes into the token unless the envelope is signed for its host under the pinned root; and a key whose public half \
                  is not the one that was signed for is destroyed again. docs/release-format.md describes the envelope."
)]
pub struct ReleaseOpenArguments {
    /// The certificate of the root, in PEM or DER: what strongroom release root prints where the key is released
    #[arg(long, value_name = "FILE")]
    pub root: PathBuf,
    /// The host that the signer's certificate must name (default: that of the key's address)
    #[arg(long)]
    pub host: Option<String>,
    /// The nonce that was sent with the request
    #[arg(long)]
    pub nonce: Option<String>,
    /// Label of the private RSA key in the token that the released one is encrypted to
    #[arg(long, value_name = "LABEL")]
    pub kek: Option<String>,
    /// CKA_ID of that key
    #[arg(long, value_name = "HEX")]
    pub kek_id: Option<KeyId>,
    /// Label of the new key (default: the name that it was released under)
    #[arg(long)]
    pub label: Option<String>,
    /// Let the new key be wrapped by others, and so leave the token
    #[arg(long)]
    pub extractable: bool,
    /// Label of the token
    #[arg(long, value_name = "LABEL")]
    pub token: String,
    /// File with the PIN of the token's user; - is a line of standard input, where --in is given (default: ask)
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// File with the envelope: the compact JWS, or {"value": "…"} (default: standard input)
    #[arg(long = "in", value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The PKCS#11 module, of any vendor (default: Strongroom's, from the usual directories)
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,
}
