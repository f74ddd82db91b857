//! Certificates of every kind, good and bad, made by OpenSSL.
//!
//! What lives here: roots, what they certify, and the chain of an envelope.
//! What must never live here: what a test expects.
//! Who calls it: the tests of released keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64ct::{Base64, Encoding as _};

use crate::attest::Authority;
use crate::tool::succeed;

/// A key with its certificate.
pub struct Certified {
    directory: PathBuf,
    name: String,
    /// Its key, which signs what it is told to.
    pub key: Authority,
}

/// What a certificate says.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'w> {
    /// `/CN=…`, or `/` for nobody.
    pub subject: &'w str,
    /// Extensions in the words of OpenSSL, a line each.
    pub extensions: &'w str,
    /// The first and the last second, `YYYYMMDDhhmmssZ`.
    pub validity: (&'w str, &'w str),
}

/// What authorities are.
pub const AUTHORITY: &str = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign";
/// From the past into the future.
pub const USUAL: (&str, &str) = ("20200101000000Z", "20490101000000Z");

impl Certified {
    /// A root that signs itself.
    ///
    /// # Panics
    /// When OpenSSL does not make it.
    #[must_use]
    pub fn root(directory: &Path, name: &str) -> Self {
        let wish = Wish {
            subject: &format!("/CN={name}"),
            extensions: AUTHORITY,
            validity: USUAL,
        };
        Self::made(directory, name, &wish, None)
    }

    /// Another one, certified by this one.
    ///
    /// # Panics
    /// When OpenSSL does not make it.
    #[must_use]
    pub fn certifies(&self, name: &str, wish: &Wish<'_>) -> Self {
        Self::made(&self.directory, name, wish, Some(self))
    }

    fn made(directory: &Path, name: &str, wish: &Wish<'_>, issuer: Option<&Self>) -> Self {
        let this = Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            key: Authority::new(directory, name),
        };
        let request = this.file("csr");
        let mut command = Command::new("openssl");
        command.args(["req", "-new", "-subj", wish.subject, "-key"]);
        succeed(command.arg(this.key.private()).arg("-out").arg(&request));
        let configuration = this.file("cnf");
        fs::write(&configuration, this.configuration(wish)).expect("a file");
        fs::write(this.file("index"), "").expect("a file");
        let mut command = Command::new("openssl");
        command.args(["ca", "-batch", "-notext", "-config"]);
        command.arg(&configuration).arg("-in").arg(&request);
        let (first, last) = wish.validity;
        command.args(["-startdate", first, "-enddate", last]);
        match issuer {
            None => command
                .arg("-selfsign")
                .arg("-keyfile")
                .arg(this.key.private()),
            Some(issuer) => command
                .arg("-cert")
                .arg(issuer.pem())
                .arg("-keyfile")
                .arg(issuer.key.private()),
        };
        succeed(command.arg("-out").arg(this.pem()));
        this
    }

    fn configuration(&self, wish: &Wish<'_>) -> String {
        format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={}\nnew_certs_dir={}\ndefault_md=sha256\npolicy=p\nrand_serial=yes\n\
             unique_subject=no\nx509_extensions=x\n[p]\ncommonName=optional\n[x]\n{}\n",
            self.file("index").display(),
            self.directory.display(),
            wish.extensions
        )
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", self.name))
    }

    /// The file of its certificate.
    #[must_use]
    pub fn pem(&self) -> PathBuf {
        self.file("crt")
    }

    /// Its certificate as a header has it: DER in base64 with padding.
    ///
    /// # Panics
    /// When OpenSSL does not read it.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut command = Command::new("openssl");
        command.args(["x509", "-outform", "DER", "-in"]);
        Base64::encode_string(&succeed(command.arg(self.pem())).out)
    }
}
