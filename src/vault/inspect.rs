//! *What lives here:* looking at a whole store and naming all that is wrong with it, where opening a vault stops at the first.
//! *What must never live here:* a change of anything. *Who calls it:* `strongroom verify`, through the service while the daemon runs,
//! and the daemon's `--verify` while it does not.
//!
//! Public records and a token's own are opened. Private ones are opened where a PIN has opened their realm; else their stamps are
//! counted in the census, which finds every change of them but does not prove that they open.

use std::sync::Arc;

use strongroom_keymem::{SecretBytes, SecretVec};

use super::census::{Census, Entries, Sums, Versions};
use super::draft::read_own;
use super::hierarchy::{self, TokenKeys};
use super::pin::Tries;
use super::seal::{self, Stamp};
use super::token::TokenBody;
use super::{REGISTER_KEY, Realm, Register, RegisterBody, Vault, VaultError, name, removed};
use crate::ports::{RecordKey, RecordKind, Store};

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Records seen.
    pub records: u64,
    /// Records whose seal was opened.
    pub opened: u64,
    /// Private records that were not opened, because nobody has logged in: of these stamp and census were compared.
    pub closed: u64,
    /// The part of the vault's generation that was found here.
    pub generation: u64,
    /// What is wrong: which record, and what may have happened to it.
    pub findings: Vec<String>,
}

impl Inspected {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.opened += other.opened;
        self.closed += other.closed;
        self.generation = self.generation.saturating_add(other.generation);
        self.findings.extend(other.findings);
    }

    fn found(&mut self, error: VaultError) {
        let what = match error {
            VaultError::Tampered { what } => what,
            other => other.to_string(),
        };
        if !self.findings.contains(&what) && self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        }
    }
}

/// A vault that is looked at without being opened.
pub struct ClosedVault {
    store: Arc<dyn Store>,
    root: SecretBytes,
}

impl ClosedVault {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, root: SecretBytes) -> Self {
        Self { store, root }
    }

    /// Looks at the vault record, and at which tokens have records; answers the tokens.
    #[must_use]
    pub fn inspect(&self) -> (Inspected, Vec<u64>) {
        let (inspected, register) = inspect_vault(&self.store, &self.root);
        (
            inspected,
            register.map_or_else(Vec::new, |register| numbers(&register)),
        )
    }

    /// Looks at all records of a token.
    #[must_use]
    pub fn inspect_token(&self, token: u64) -> Inspected {
        let (_, register) = inspect_vault(&self.store, &self.root);
        let serial = register.and_then(|register| {
            let mut tokens = register.body.tokens.into_iter();
            tokens.find(|(number, _)| *number == token)
        });
        let keys = match serial {
            Some((_, serial)) => TokenKeys::new(&self.root, token, &serial),
            None => Err(VaultError::NoSuchToken(token)),
        };
        match keys {
            Ok(keys) => TokenInspection::new(&self.store, &keys, None).run(None),
            Err(error) => failed(error),
        }
    }
}

impl std::fmt::Debug for ClosedVault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ClosedVault")
    }
}

impl Vault {
    /// As [`ClosedVault::inspect`], while the vault is in use.
    #[must_use]
    pub fn inspect(&self) -> (Inspected, Vec<u64>) {
        // No token comes or goes meanwhile.
        let held = self.register.lock();
        let (mut inspected, register) = inspect_vault(&self.store, &self.root);
        if register.is_some_and(|register| register.version != held.version) {
            inspected.found(behind_our_back("the vault record"));
        }
        (inspected, numbers(&held))
    }

    /// As [`ClosedVault::inspect_token`]; changes of the token wait meanwhile. What this process knows of the token is compared too, so
    /// that a token put back as a whole under a running daemon is found.
    #[must_use]
    pub fn inspect_token(&self, token: u64) -> Inspected {
        let found = self.tokens.read().get(&token).cloned();
        let Some(token) = found else {
            return failed(VaultError::NoSuchToken(token));
        };
        let writer = match token.writing() {
            Ok(writer) => writer,
            Err(error) => return failed(error),
        };
        let realm = token.realm_key().ok();
        let inspection = TokenInspection::new(&self.store, &token.keys, realm);
        let books = token.books.read();
        inspection.run(Some((&books.entries, writer.census_version)))
    }
}

fn numbers(register: &Register) -> Vec<u64> {
    let tokens = register.body.tokens.iter();
    tokens.map(|(number, _)| *number).collect()
}

fn failed(error: VaultError) -> Inspected {
    let mut inspected = Inspected::default();
    inspected.found(error);
    inspected
}

fn behind_our_back(what: &str) -> VaultError {
    VaultError::Tampered {
        what: format!("{what} was changed, removed or put back under the running daemon"),
    }
}

/// The vault record, and the tokens that have records.
fn inspect_vault(store: &Arc<dyn Store>, root: &SecretBytes) -> (Inspected, Option<Register>) {
    let mut inspected = Inspected::default();
    let register = match store.record(REGISTER_KEY) {
        Ok(Some(sealed)) => Register::open(root, sealed),
        Ok(None) => Err(removed(REGISTER_KEY)),
        Err(error) => Err(error.into()),
    };
    match register {
        Ok(register) => {
            inspected.records += 1;
            inspected.opened += 1;
            inspected.generation = register.version;
            strangers(store, &register.body, &mut inspected);
            (inspected, Some(register))
        }
        Err(error) => {
            inspected.found(error);
            (inspected, None)
        }
    }
}

/// Records of tokens that the vault record does not have, and records where none belongs.
fn strangers(store: &Arc<dyn Store>, register: &RegisterBody, inspected: &mut Inspected) {
    for kind in RecordKind::ALL {
        let tokens = match store.tokens(kind) {
            Ok(tokens) => tokens,
            Err(error) => {
                inspected.found(error.into());
                continue;
            }
        };
        for token in tokens {
            let of_vault = kind == RecordKind::Vault && token == 0;
            let known = register.tokens.iter().any(|(number, _)| *number == token);
            if !of_vault && !known {
                inspected.found(super::unknown_token(token));
            }
            let of_objects = matches!(kind, RecordKind::Metadata | RecordKind::Material);
            let single = known || of_vault;
            if single && !of_objects {
                let seen = store.scan(kind, token, &mut |object, _| {
                    let key = RecordKey {
                        kind,
                        token,
                        object,
                    };
                    if object != 0 {
                        let what =
                            format!("{} is there a second time, at place {object}", name(key));
                        inspected.found(VaultError::Tampered { what });
                    }
                    true
                });
                if let Err(error) = seen {
                    inspected.found(error.into());
                }
            }
        }
    }
}

/// One look at a token.
struct TokenInspection<'t> {
    store: &'t Arc<dyn Store>,
    keys: &'t TokenKeys,
    realm: Option<Arc<SecretBytes>>,
    inspected: Inspected,
    sums: Sums,
    public: Vec<(u64, Versions)>,
    private: Vec<(u64, Versions)>,
}

impl<'t> TokenInspection<'t> {
    fn new(
        store: &'t Arc<dyn Store>,
        keys: &'t TokenKeys,
        realm: Option<Arc<SecretBytes>>,
    ) -> Self {
        Self {
            store,
            keys,
            realm,
            inspected: Inspected::default(),
            sums: Sums::default(),
            public: Vec::new(),
            private: Vec::new(),
        }
    }

    /// `known` is what a running daemon knows: the objects, and the version of the census.
    fn run(mut self, known: Option<(&Entries, u64)>) -> Inspected {
        self.own::<TokenBody>(RecordKind::Token);
        self.own::<Tries>(RecordKind::Tries);
        self.objects(RecordKind::Metadata);
        self.objects(RecordKind::Material);
        let entries = Entries::new(
            std::mem::take(&mut self.public),
            std::mem::take(&mut self.private),
        );
        let census = read_own::<Census>(self.store, self.keys, RecordKind::Census);
        match census {
            Ok((census, stamp)) => {
                self.inspected.records += 1;
                self.inspected.opened += 1;
                self.inspected.generation = stamp.version;
                self.compare(&census, &entries);
                if known.is_some_and(|(_, version)| version != stamp.version) {
                    let what = name(self.key(RecordKind::Census, 0));
                    self.inspected.found(behind_our_back(&what));
                }
            }
            Err(error) => self.inspected.found(error),
        }
        if let Some((known, _)) = known {
            self.compare_known(known, &entries);
        }
        self.inspected
    }

    fn key(&self, kind: RecordKind, object: u64) -> RecordKey {
        RecordKey {
            kind,
            token: self.keys.token,
            object,
        }
    }

    fn own<T: for<'de> serde::Deserialize<'de>>(&mut self, kind: RecordKind) {
        match read_own::<T>(self.store, self.keys, kind) {
            Ok((_, stamp)) => {
                self.inspected.records += 1;
                self.inspected.opened += 1;
                self.count(self.key(kind, 0), &stamp);
            }
            Err(error) => self.inspected.found(error),
        }
    }

    fn count(&mut self, key: RecordKey, stamp: &Stamp) {
        match self.keys.term(key, stamp) {
            Ok(term) => self.sums.add(key, term),
            Err(error) => self.inspected.found(error),
        }
    }

    fn objects(&mut self, kind: RecordKind) {
        let store = Arc::clone(self.store);
        let seen = store.scan(kind, self.keys.token, &mut |object, sealed| {
            self.object(self.key(kind, object), sealed);
            true
        });
        if let Err(error) = seen {
            self.inspected.found(error.into());
        }
    }

    fn object(&mut self, key: RecordKey, sealed: &[u8]) {
        self.inspected.records += 1;
        let stamp = match Stamp::of(key, sealed) {
            Ok(stamp) => stamp,
            Err(error) => return self.inspected.found(error),
        };
        self.count(key, &stamp);
        let list = match stamp.realm {
            Realm::Public => &mut self.public,
            Realm::Private => &mut self.private,
        };
        let place = list.binary_search_by_key(&key.object, |(object, _)| *object);
        match (key.kind, place) {
            (RecordKind::Material, Ok(place)) => list[place].1.material = stamp.version,
            (RecordKind::Metadata, Err(_)) if key.object != 0 && stamp.version != 0 => list.push((
                key.object,
                Versions {
                    metadata: stamp.version,
                    material: 0,
                },
            )),
            _ => self.inspected.found(super::misfit(key)),
        }
        match self.open(key, stamp.realm, sealed) {
            Ok(true) => self.inspected.opened += 1,
            Ok(false) => self.inspected.closed += 1,
            Err(error) => self.inspected.found(error),
        }
    }

    /// Whether it was opened; it is not where its key is not here.
    fn open(&self, key: RecordKey, realm: Realm, sealed: &[u8]) -> Result<bool, VaultError> {
        let record_key = match (realm, &self.realm) {
            (Realm::Public, _) => self.keys.record_key(key)?,
            (Realm::Private, Some(realm)) => hierarchy::record_key(realm, key)?,
            (Realm::Private, None) => return Ok(false),
        };
        let mut plaintext = SecretVec::new();
        seal::open(&record_key, key, sealed, &mut plaintext).map(|_| true)
    }

    fn compare(&mut self, census: &Census, entries: &Entries) {
        let Err(VaultError::Tampered { what }) =
            census.compare(self.keys.token, &self.sums, entries)
        else {
            return;
        };
        // One wrong record is named by its seal already; the census would name it a second time.
        let named = self.inspected.findings.first();
        let alone = self.inspected.findings.len() == 1;
        let same = named.is_some_and(|named| {
            let record = named.split(" was ").next().unwrap_or_default();
            what.starts_with(record)
        });
        if !(alone && same) {
            self.inspected.found(VaultError::Tampered { what });
        }
    }

    /// What this process has written must be what is there.
    fn compare_known(&mut self, known: &Entries, entries: &Entries) {
        let mut differing: Vec<u64> = known
            .all()
            .chain(entries.all())
            .map(|(object, _)| object)
            .filter(|object| known.find(*object) != entries.find(*object))
            .collect();
        differing.sort_unstable();
        differing.dedup();
        for object in differing {
            let what = format!("object {object} of token {}", self.keys.token);
            self.inspected.found(behind_our_back(&what));
        }
    }
}

/// More would say nothing new, and an answer has bounds.
const FINDINGS_MAX: usize = 1000;
