//! Administration: what the `strongroom` command asks on its own socket.
//!
//! What lives here: administrative requests and answers.
//! What must never live here: anything an application may ask.
//! Who calls it: the command line writes requests, the daemon answers them.

mod seal;

use serde::{Deserialize, Serialize, Serializer};

pub use self::seal::{
    NewProvider, PCRS_MAX, SEAL_PROVIDERS_MAX, SEAL_SHARES_MAX, Seal, SealProvider,
};
use crate::ck::Rv;
use crate::codec::List;
use crate::import::{Destination, IMPORT_OBJECTS_MAX, Judgement};
use crate::rehearsal::{Act, State};
use crate::request::{KeyRelease, Template};
use crate::response::ANSWER_ITEMS_MAX;
use crate::secret::Secret;

/// An administrative request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdminRequest<'a> {
    /// How the daemon is.
    Status,
    /// All tokens.
    TokenList,
    /// Initialises a new token and, where given, its user PIN.
    TokenCreate {
        /// At most 32 bytes of UTF-8.
        #[serde(borrow)]
        label: &'a str,
        /// PIN of the security officer.
        so_pin: Secret<'a>,
        /// PIN of the user.
        user_pin: Option<Secret<'a>>,
    },
    /// Destroys a token with all its objects.
    TokenDelete {
        /// Label or serial number; must name exactly one token.
        token: &'a str,
    },
    /// Objects of a token, without any value.
    ObjectList {
        /// Label or serial number.
        token: &'a str,
    },
    /// One object with all its attributes that may be revealed.
    ObjectShow {
        /// Label or serial number of the token.
        token: &'a str,
        /// `CKA_UNIQUE_ID`, `CKA_LABEL`, or `CKA_ID` in hexadecimal; must name exactly one object.
        object: &'a str,
    },
    /// The last lines of the audit journal.
    AuditTail {
        /// How many.
        lines: u32,
    },
    /// Checks the hash chain of the audit journal.
    AuditVerify,
    /// Reads the configuration again, as SIGHUP does.
    Reload,
    /// Stops the daemon, as SIGTERM does.
    Stop,
    /// Checks one part of the store, or the journal against it.
    Verify {
        /// Which.
        part: VerifyPart,
    },
    /// Gives a sealed daemon a secret: the passphrase, or one share.
    Unseal {
        /// As it was typed, without a line end.
        secret: Secret<'a>,
    },
    /// Lets a sealed daemon forget the secrets given so far.
    UnsealReset,
    /// What the seal is.
    SealShow,
    /// Seals the root key anew, for other providers or with other secrets. No object changes.
    SealRotate {
        /// One, or two of different kinds.
        providers: List<NewProvider<'a>, SEAL_PROVIDERS_MAX>,
        /// Whether all of them together are needed, instead of each alone.
        all: bool,
        /// Whether files that still open the store without the new seal are destroyed afterwards.
        destroy_old: bool,
    },
    /// Makes a backup for the holders of these keys. It is answered by more than one answer: `BackupBegun`, then `BackupPart` until all
    /// of the file was sent, then `BackupEnded`; `Refused` ends it anywhere.
    Backup {
        /// The lines of public keys; none asks for the keys of the configuration.
        recipients: List<&'a str, BACKUP_RECIPIENTS_MAX>,
    },
    /// Every bound with its value and how much of it is in use.
    Limits,
    /// Lets a token imitate hardware, or shows or ends that.
    Rehearse {
        /// Label or serial number; must name exactly one token.
        token: &'a str,
        /// What to do.
        act: Act,
    },
    /// A new daemon asks for the listening sockets, to take over. The old one serves on until it is told on the line that comes with them.
    Replace,
    /// Begins to bring objects in. Until the commit nobody sees anything of it, and nothing is stored; the end of the connection abandons it. A
    /// connection has one import at a time.
    ImportBegin {
        /// Where they come from, in words, for the audit: at most 256 bytes of one line.
        source: &'a str,
        /// Where they go.
        destination: Destination<'a>,
        /// Whether `CKA_LOCAL`, `CKA_ALWAYS_SENSITIVE`, `CKA_NEVER_EXTRACTABLE` and `CKA_KEY_GEN_MECHANISM` stand as the templates say. Otherwise they say
        /// the truth of a key that came from outside.
        keep_history: bool,
    },
    /// Some of the objects, each with all its attributes, the secret ones in clear. Answered by a judgement of each.
    ImportObjects {
        /// The next ones.
        objects: List<Template<'a>, IMPORT_OBJECTS_MAX>,
    },
    /// Everything that was judged good comes into being in one commit, or nothing does. Refused or not, the import is over.
    ImportCommit,
    /// Ends the import; nothing has happened.
    ImportAbandon,
    /// Registers an authority whose word releases keys.
    AuthorityAdd {
        /// Its name, a URL, as policies and statements write it.
        url: &'a str,
        /// What proves its word.
        trust: NewTrust<'a>,
    },
    /// All authorities.
    AuthorityList,
    /// Takes an authority away.
    AuthorityRemove {
        /// Its name.
        url: &'a str,
    },
    /// The root certificate of those who sign released keys, for their consumers to pin.
    ReleaseRoot,
    /// Releases a key at the word of the token's user.
    KeyRelease {
        /// Label or serial number; must name exactly one token.
        token: &'a str,
        /// The user's PIN.
        user_pin: Secret<'a>,
        /// `CKA_UNIQUE_ID`, `CKA_LABEL`, or `CKA_ID` in hexadecimal; must name exactly one key with a release policy.
        key: &'a str,
        /// How.
        release: KeyRelease<'a>,
    },
}

/// What proves an authority's word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NewTrust<'a> {
    /// Public keys: a JSON Web Key Set, or one key (RFC 7517).
    Keys(#[serde(borrow)] &'a str),
    /// Certificates in DER, one of which vouches for the signer.
    Certificates(List<Secret<'a>, AUTHORITY_CERTIFICATES_MAX>),
    /// The roots of a kind of hardware, whose evidence stands in a statement's place.
    Hardware {
        /// `sev-snp`, `tdx`, `sgx`, `nitro` or `tpm`.
        kind: &'a str,
        /// Certificates in PEM or DER; of TPMs also attestation keys.
        roots: Secret<'a>,
    },
}

/// Most certificates of one authority.
pub const AUTHORITY_CERTIFICATES_MAX: usize = 32;

/// An authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorityLine {
    /// Its name.
    pub url: String,
    /// What proves its word, in one word: `keys`, `certificates`, `hardware`.
    pub trust: String,
    /// The same for people.
    pub about: String,
    /// SHA-256 of what is pinned, in hexadecimal.
    pub pinned: String,
}

/// A part of a check. The parts follow each other, so that none takes long and somebody can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyPart {
    /// The vault record, and which tokens there are.
    Vault,
    /// All records of one token, by its number.
    Token(u64),
    /// The chain of the journal, and how far it has seen the store.
    Journal,
}

/// Most recipients of one backup.
pub const BACKUP_RECIPIENTS_MAX: usize = 32;

/// An administrative answer: what was asked for, or why not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// Done; nothing to tell.
    Done,
    /// Answers `Status`.
    Status(Box<Status>),
    /// Answers `TokenList` and `TokenCreate`.
    Tokens(List<Token, ANSWER_ITEMS_MAX>),
    /// Answers `ObjectList`.
    Objects {
        /// Those that can be read now.
        objects: List<Object, ANSWER_ITEMS_MAX>,
        /// How many private objects stay closed until the token's user has logged in once since the daemon's start.
        closed: u64,
    },
    /// Answers `ObjectShow`: the object and its attributes as (name, shown value).
    Object {
        /// The object in short.
        object: Object,
        /// Name of the attribute, and its value as a person reads it.
        attributes: List<(String, String), ANSWER_ITEMS_MAX>,
    },
    /// Answers `AuditTail`: lines of JSON, oldest first.
    Lines(List<String, ANSWER_ITEMS_MAX>),
    /// Answers `AuditVerify`.
    Audit(AuditReport),
    /// It was refused.
    Refused {
        /// The return value that a PKCS#11 function would have given.
        rv: Rv,
        /// What was tried, what is wrong, what to do.
        reason: String,
    },
    /// Answers `Verify`.
    Verified(Verified),
    /// Answers `Unseal`, `UnsealReset` and `SealShow`.
    Seal(Box<Seal>),
    /// Answers `SealRotate`.
    SealRotated {
        /// The new seal.
        seal: Box<Seal>,
        /// Its shares, if it has some: shown this once. Last, so that the daemon appends them from locked memory.
        shares: List<String, SEAL_SHARES_MAX>,
    },
    /// Begins the answer to `Backup`.
    BackupBegun {
        /// Random, of this backup alone.
        id: String,
        /// How many records it will hold.
        records: u64,
        /// Whom it is made for, in short.
        recipients: List<String, BACKUP_RECIPIENTS_MAX>,
    },
    /// The next bytes of the file.
    BackupPart {
        /// How many records are in what was sent so far.
        records: u64,
        /// The bytes.
        #[serde(serialize_with = "owned_bytes")]
        bytes: Vec<u8>,
    },
    /// The file was sent to its end.
    BackupEnded {
        /// Records in it.
        records: u64,
        /// Length of the file.
        bytes: u64,
        /// SHA-256 of the file, in hexadecimal.
        digest: String,
    },
    /// Answers `Limits`.
    Limits(List<LimitLine, ANSWER_ITEMS_MAX>),
    /// Answers `Rehearse`.
    Rehearsal(Box<State>),
    /// Answers `Replace`; with it come three descriptors: the socket for applications, that for administration, and the line.
    Handover {
        /// Whether the daemon has made the files of the sockets, and not a service manager: then the new one removes them some day.
        owns_files: bool,
    },
    /// Answers `ImportObjects`: one for each object, in order.
    ImportJudged(List<Judgement, IMPORT_OBJECTS_MAX>),
    /// Answers `ImportCommit`.
    Imported {
        /// The token, as it stands now.
        token: Token,
        /// How many objects were brought in.
        objects: u64,
    },
    /// Answers `AuthorityList`.
    Authorities(List<AuthorityLine, ANSWER_ITEMS_MAX>),
    /// Answers `ReleaseRoot`: a certificate in DER.
    Certificate(#[serde(serialize_with = "owned_bytes")] Vec<u8>),
    /// Answers `KeyRelease`.
    Released {
        /// A compact JWS (RFC 7515).
        envelope: String,
    },
}

/// As one run: the derived form would go byte by byte, which is the same on the wire and many times slower.
fn owned_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// What the check of one part found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Numbers of the tokens; of the part `Vault` only.
    pub tokens: Vec<u64>,
    /// Records seen.
    pub records: u64,
    /// Records whose seal was opened.
    pub opened: u64,
    /// Private records of tokens at which nobody has logged in: compared with their census, not opened.
    pub closed: u64,
    /// This part's share of the generation.
    pub generation: u64,
    /// What was not checked, and why.
    pub notes: Vec<String>,
    /// What is wrong.
    pub findings: Vec<String>,
}

impl Verified {
    /// Takes another part in.
    pub fn add(&mut self, part: Self) {
        self.tokens.extend(part.tokens);
        self.records += part.records;
        self.opened += part.opened;
        self.closed += part.closed;
        self.generation += part.generation;
        self.notes.extend(part.notes);
        self.findings.extend(part.findings);
    }

    /// The report for programs.
    #[must_use]
    pub fn summary(&self) -> VerifiedSummary<'_> {
        VerifiedSummary {
            sound: self.findings.is_empty(),
            tokens: self.tokens.len(),
            records: self.records,
            opened: self.opened,
            closed: self.closed,
            generation: self.generation,
            notes: &self.notes,
            findings: &self.findings,
        }
    }

    /// The report for people.
    #[must_use]
    pub fn report(&self) -> String {
        let Self {
            records,
            opened,
            closed,
            generation,
            ..
        } = self;
        let mut lines = vec![format!(
            "{} tokens, {records} records, generation {generation}: {opened} records opened",
            self.tokens.len()
        )];
        if *closed > 0 {
            lines.push(format!(
                "{closed} private records were compared with their census and not opened, because their user has not logged in"
            ));
        }
        lines.extend(self.notes.iter().cloned());
        lines.extend(self.findings.iter().map(|what| format!("WRONG: {what}")));
        lines.push(match self.findings.len() {
            0 => "nothing is wrong".into(),
            1 => "1 thing is wrong; keep the files as evidence, and restore a backup".into(),
            many => {
                format!("{many} things are wrong; keep the files as evidence, and restore a backup")
            }
        });
        lines.join("\n")
    }
}

/// A check as `--json` has it; it does not travel.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct VerifiedSummary<'v> {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// How many tokens there are.
    pub tokens: usize,
    /// Records seen.
    pub records: u64,
    /// Records whose seal was opened.
    pub opened: u64,
    /// Private records that were compared with their census only.
    pub closed: u64,
    /// How far the store is.
    pub generation: u64,
    /// What was not checked, and why.
    pub notes: &'v [String],
    /// What is wrong.
    pub findings: &'v [String],
}

/// One bound.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LimitLine {
    /// Its key under `[limits]` in the configuration.
    pub name: String,
    /// The value in force.
    pub value: u64,
    /// How much of it is in use now, by the one who uses most; none where nothing can be counted.
    pub used: Option<u64>,
    /// Most ever in use since the daemon's start, where that is counted.
    pub peak: Option<u64>,
    /// What it is for.
    pub reason: String,
}

/// How the daemon is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Socket of the applications.
    pub socket: String,
    /// Socket of administration.
    pub admin_socket: String,
    /// The store's file.
    pub store: String,
    /// The audit journal's file.
    pub journal: String,
    /// Configuration file in force, if any.
    pub config: Option<String>,
    /// How the root key is sealed.
    pub seal: String,
    /// What is recorded: all, management or none.
    pub audit_level: String,
    /// Locked memory: memfd_secret, mlock or unlocked.
    pub memory_locking: String,
    /// Locked memory in all, in bytes.
    pub memory_bytes_total: u64,
    /// Of which in use.
    pub memory_bytes_used: u64,
    /// Most ever in use.
    pub memory_bytes_peak: u64,
    /// Applications connected.
    pub applications: u64,
    /// Connections open.
    pub connections: u64,
    /// Sessions open.
    pub sessions: u64,
    /// Initialised tokens.
    pub tokens: u64,
    /// Token objects, open and closed.
    pub objects: u64,
    /// Requests answered since start.
    pub requests: u64,
    /// What fences the daemon in.
    pub jail: Jail,
    /// Tokens that imitate hardware for tests.
    pub rehearsing: u64,
    /// Whether it waits for secrets of its seal, and answers nothing else.
    pub sealed: bool,
    /// What it waits for, in words.
    pub sealed_until: Option<String>,
}

/// The walls around the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// Whether its system calls are filtered.
    pub seccomp: bool,
    /// The version of Landlock that limits its files; 0 when the kernel has none.
    pub landlock: u32,
    /// The capabilities that it has, one bit each (capabilities(7)).
    pub capabilities: u64,
    /// Whether it is root.
    pub root: bool,
}

/// A token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its slot.
    pub slot: u64,
    /// Label, without padding.
    pub label: String,
    /// Serial number.
    pub serial_number: String,
    /// Whether the user's PIN is set.
    pub user_pin_initialized: bool,
    /// Whether the user's PIN is locked.
    pub user_pin_locked: bool,
    /// Whether the security officer's PIN is locked.
    pub so_pin_locked: bool,
    /// Whether the private realm has been opened since the daemon's start.
    pub open: bool,
    /// Token objects, open and closed.
    pub objects: u64,
    /// Sessions open.
    pub sessions: u64,
    /// Whether it imitates hardware for tests.
    pub rehearses: bool,
}

/// A token object in short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Object {
    /// `CKA_UNIQUE_ID`.
    pub unique_id: String,
    /// Name of the class (`CKO_…`).
    pub class: String,
    /// Name of the key type (`CKK_…`), for keys.
    pub key_type: Option<String>,
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID` in hexadecimal.
    pub id: String,
    /// Size of a key in bits, where it has one.
    pub bits: Option<u64>,
    /// Short names of the flags that are set: private, sensitive, extractable, sign, …
    pub flags: Vec<String>,
}

/// What a check of the audit journal found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditReport {
    /// Lines checked.
    pub lines: u64,
    /// Hash of the last one, in hexadecimal.
    pub head: String,
    /// The first line that does not fit, counted from 1, and why; none when the chain is whole.
    pub broken: Option<(u64, String)>,
    /// How far the store was at the newest line that says it. Kept elsewhere with `head`, it shows a store and a journal that were put
    /// back together.
    pub generation: Option<u64>,
}
