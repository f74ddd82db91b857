//! Files of keys, block by block.
//!
//! What lives here: what was found in files, with names and identifiers, and the reader of PEM and DER.
//! What must never live here: a connection to the daemon.
//! Who calls it: the doors for files.

use std::collections::BTreeSet;

use strongroom_cli::failure::Failure;
use strongroom_keymem::SecretVec;
use strongroom_wire::ck::ObjectClass;

use super::ber;
use super::certificate::Certificate;
use super::error::FileError;
use super::key;
use super::material::{Description, PrivateKey, PublicKey};
use super::password::{self, Password};
use super::pem::{self, Block};
use crate::opened::Opened;

/// What was found so far.
#[derive(Default)]
pub struct Findings {
    /// Objects, and where each stood.
    pub objects: Vec<(String, Opened)>,
    /// What is there and cannot be brought in, and why.
    pub refused: Vec<(String, String)>,
    /// What else is to be said.
    pub notes: Vec<String>,
    /// Whether public keys are left out that belong to private ones.
    pub without_public_keys: bool,
    /// What the caller wants the first key or certificate to be called, and everything that belongs to it.
    pub label: Option<String>,
    /// Its `CKA_ID`.
    pub id: Option<Vec<u8>>,
    /// The identifier of that first one, as it is computed.
    first: Option<Vec<u8>>,
    /// Public keys that are there already.
    public_keys: BTreeSet<Vec<u8>>,
}

/// Asks for the password of a file, when one is needed.
pub type Ask<'a> = dyn FnMut() -> Result<Password, Failure> + 'a;

/// Why a file was not read.
#[derive(Debug)]
pub enum ReadError {
    /// What is wrong with the file.
    File(FileError),
    /// There was no password to be had.
    Unanswered(Failure),
}

impl From<FileError> for ReadError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl Findings {
    /// Takes a private key, and the public one that belongs to it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn private_key(
        &mut self,
        source: &str,
        key: &PrivateKey<'_>,
        known: &Description,
        public_usage: Option<Description>,
    ) -> Result<(), FileError> {
        let public = key.public();
        let computed = match &public {
            Some(public) => public.id()?,
            None => Vec::new(),
        };
        let (description, id) = self.described(known, &computed);
        self.objects
            .push((source.into(), key.object(&description, &id)?));
        let Some(public) = public.filter(|_| !self.without_public_keys) else {
            return Ok(());
        };
        let described = Description {
            usage: public_usage.unwrap_or_else(|| known.clone()).usage,
            ..description
        };
        self.add_public(source, &public, &described, &id, computed)
    }

    /// Takes a public key.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn public_key(
        &mut self,
        source: &str,
        key: &PublicKey<'_>,
        known: &Description,
    ) -> Result<(), FileError> {
        let computed = key.id()?;
        let (description, id) = self.described(known, &computed);
        self.add_public(source, key, &description, &id, computed)
    }

    /// Takes a certificate.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn certificate(
        &mut self,
        source: &str,
        der: &[u8],
        known: &Description,
    ) -> Result<(), FileError> {
        let certificate = Certificate::parse(der)?;
        let computed = certificate.id()?;
        let is_of_another = self.first.as_ref().is_some_and(|first| *first != computed);
        let mut known = known.clone();
        // Those of the chain are told apart by whom they are for.
        if let Some(name) = certificate
            .common_name()
            .filter(|_| is_of_another && known.id.is_none())
        {
            known.label = name;
        }
        let (description, id) = self.described(&known, &computed);
        self.objects
            .push((source.into(), certificate.object(&description, &id)?));
        Ok(())
    }

    /// What the caller wants goes to whatever comes first and to what belongs to it; all else is called as the file says.
    fn described(&mut self, known: &Description, computed: &[u8]) -> (Description, Vec<u8>) {
        let mut description = known.clone();
        let first = self.first.get_or_insert_with(|| computed.to_vec());
        if first == computed {
            if let Some(label) = &self.label {
                description.label.clone_from(label);
            }
            if let Some(id) = &self.id {
                description.id = Some(id.clone());
            }
        }
        let id = description.id.clone().unwrap_or_else(|| computed.to_vec());
        (description, id)
    }

    fn add_public(
        &mut self,
        source: &str,
        key: &PublicKey<'_>,
        description: &Description,
        id: &[u8],
        computed: Vec<u8>,
    ) -> Result<(), FileError> {
        if self.public_keys.insert(computed) {
            self.objects
                .push((source.into(), key.object(description, id)?));
        }
        Ok(())
    }

    /// How many objects there are of a class.
    #[must_use]
    pub fn count(&self, class: ObjectClass) -> usize {
        let number = class.0.to_ne_bytes();
        let is = |object: &Opened| {
            object.value(strongroom_wire::ck::AttributeType::CLASS) == Some(number.as_slice())
        };
        self.objects.iter().filter(|(_, object)| is(object)).count()
    }
}

/// Reads a file of PEM blocks, or one key or certificate in DER.
///
/// # Errors
/// [`ReadError`]; what cannot be brought in and is not damaged is among the findings.
pub fn read(
    file: &[u8],
    name: &str,
    label: &str,
    ask: &mut Ask<'_>,
    findings: &mut Findings,
) -> Result<(), ReadError> {
    let known = Description {
        label: label.into(),
        ..Description::default()
    };
    let blocks = match pem::is_text(file) {
        true => pem::blocks(file)?,
        false => vec![binary(file)?],
    };
    if blocks.is_empty() {
        return Err(NOTHING.into());
    }
    let several = blocks.len() > 1;
    for block in &blocks {
        let source = match several {
            true => format!("{name}, line {}", block.line),
            false => name.to_owned(),
        };
        match block_read(block, &source, &known, ask, findings) {
            Err(ReadError::File(FileError::Unsupported(why))) => {
                findings.refused.push((source, why))
            }
            other => other?,
        }
    }
    Ok(())
}

fn block_read(
    block: &Block,
    source: &str,
    known: &Description,
    ask: &mut Ask<'_>,
    findings: &mut Findings,
) -> Result<(), ReadError> {
    let der = block.der.expose();
    if block.encrypted_text {
        return Err(unsupported(
            "it is encrypted in the way of old OpenSSL, which guards a password badly; convert it: openssl pkcs8 -topk8 -in OLD -out NEW",
        ));
    }
    let key = match block.label.as_str() {
        "PRIVATE KEY" => key::private_key(der)?,
        "ENCRYPTED PRIVATE KEY" => {
            let clear = encrypted_key(der, &mut || ask().map_err(ReadError::Unanswered))?;
            // A wrong password may open to something else.
            key::private_key_info(clear.expose()).map_err(|_| FileError::Password)?;
            let key = key::private_key(clear.expose())?;
            return Ok(findings.private_key(source, &key, known, None)?);
        }
        "RSA PRIVATE KEY" => key::rsa_private(der)?,
        "EC PRIVATE KEY" => key::ec_private(der, None)?,
        "DSA PRIVATE KEY" => key::dsa_private(der)?,
        "PUBLIC KEY" => return Ok(findings.public_key(source, &key::public_key(der)?, known)?),
        "RSA PUBLIC KEY" => {
            return Ok(findings.public_key(source, &key::rsa_public(der)?, known)?);
        }
        "CERTIFICATE" | "X509 CERTIFICATE" => return Ok(findings.certificate(source, der, known)?),
        "TRUSTED CERTIFICATE" => {
            // OpenSSL's words of trust follow the certificate.
            let certificate = ber::Reader::of(der).element()?;
            findings.notes.push(format!(
                "{source}: the trust that OpenSSL keeps with a certificate is not brought in"
            ));
            return Ok(findings.certificate(source, certificate.whole, known)?);
        }
        // They stand before a key that says the same.
        "EC PARAMETERS" => return Ok(()),
        "OPENSSH PRIVATE KEY" => {
            return Err(unsupported(
                "it is a key in OpenSSH's own form; convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY",
            ));
        }
        "PKCS7" | "CMS" => {
            return Err(unsupported(
                "certificates in PKCS #7 are not read here; convert it: openssl pkcs7 -print_certs -in OLD -out NEW",
            ));
        }
        other => {
            let why = format!("a block \"{other}\" is neither key nor certificate");
            return Err(FileError::Unsupported(why).into());
        }
    };
    Ok(findings.private_key(source, &key, known, None)?)
}

/// Opens an `EncryptedPrivateKeyInfo`.
///
/// # Errors
/// [`ReadError`].
pub fn encrypted_key(
    der: &[u8],
    ask: &mut dyn FnMut() -> Result<Password, ReadError>,
) -> Result<SecretVec, ReadError> {
    let what = "an encrypted private key is not a sequence";
    let mut parts = ber::single(der, ber::SEQUENCE, what)?.elements();
    let algorithm = parts.expect(ber::SEQUENCE, "an encrypted private key has no algorithm")?;
    let encrypted = parts.octets("an encrypted private key has no value")?;
    let password = ask()?;
    Ok(password::decrypted(algorithm, &encrypted, &password)?)
}

/// What a file without a text form holds is told by its form.
fn binary(file: &[u8]) -> Result<Block, FileError> {
    let mut elements = ber::single(file, ber::SEQUENCE, "neither PEM nor DER")
        .map_err(|error| match file.first() {
            Some(&ber::SEQUENCE) => error,
            _ => NOTHING,
        })?
        .elements();
    let mut tags = [0; 3];
    for tag in &mut tags {
        if !elements.is_at_end() {
            *tag = elements.element()?.tag;
        }
    }
    let label = match tags {
        [ber::INTEGER, ber::SEQUENCE, ber::OCTET_STRING] => "PRIVATE KEY",
        [ber::INTEGER, ber::OCTET_STRING, _] => "EC PRIVATE KEY",
        [ber::INTEGER, ber::INTEGER, ber::INTEGER] => "RSA PRIVATE KEY",
        [ber::INTEGER, ber::INTEGER, 0] => "RSA PUBLIC KEY",
        [ber::INTEGER, ber::SEQUENCE, ber::SEQUENCE | 0] => {
            return Err(FileError::Unsupported(
                "it is a PKCS #12 file: use strongroom import pkcs12".into(),
            ));
        }
        [ber::SEQUENCE, ber::SEQUENCE, ber::BIT_STRING] => "CERTIFICATE",
        [ber::SEQUENCE, ber::OCTET_STRING, 0] => "ENCRYPTED PRIVATE KEY",
        [ber::SEQUENCE, ber::BIT_STRING, 0] => "PUBLIC KEY",
        _ => return Err(NOTHING),
    };
    let mut der = SecretVec::with_capacity(file.len())?;
    der.push_slice(file)?;
    Ok(Block {
        label: label.into(),
        encrypted_text: false,
        line: 1,
        der,
    })
}

fn unsupported(why: &str) -> ReadError {
    FileError::Unsupported(why.into()).into()
}

const NOTHING: FileError =
    FileError::Malformed("there is neither a key nor a certificate in it, in PEM or in DER");
