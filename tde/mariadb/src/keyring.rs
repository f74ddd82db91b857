//! Keys by id and version.
//!
//! What lives here: which versions the token has, data keys made in the token and kept there wrapped (the keys way), and the use of a key
//! for blocks (the pages way). Names: the master key of id 1, version 2 is `PREFIX-1-2`, its data key a data object of the same label.
//! What must never live here: C, and how pages are cut into blocks.
//! Who calls it: `plugin`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::abi::cryptoki::{Cipher, Handle, Library, Meaning, Reach, Refused, Template};
use crate::abi::log;
use crate::abi::memory::{KEY_BYTES, KeyMemory, Place};
use crate::pages::Blocks;
use crate::settings::{Mode, Settings};
use crate::token::{Token, Trouble, Visit};

/// What our data objects say as CKA_APPLICATION.
const APPLICATION: &str = "strongroom-mariadb";
/// First byte of a wrapped data key: nonce of 12 bytes, then AES-256-GCM of the key with the label as additional data.
const FORMAT: u8 = 1;
/// A new version is seen after at most this; the server asks for the latest version with every page.
const FRESH: Duration = Duration::from_secs(1);
/// How much longer it takes when the token did not answer.
const PAUSE: Duration = Duration::from_secs(9);

/// The keys of this server.
pub(crate) struct Keyring {
    settings: Settings,
    token: Token,
    latest: RwLock<BTreeMap<u32, Latest>>,
    /// Held by the one thread that asks for new versions.
    asking: Mutex<()>,
    data: RwLock<Data>,
    /// What the log says about each label at the moment, so that it says it once.
    complaints: Mutex<BTreeMap<String, String>>,
}

#[derive(Clone, Copy)]
struct Latest {
    version: Option<u32>,
    asked: Instant,
}

struct Data {
    memory: KeyMemory,
    places: BTreeMap<(u32, u32), Place>,
}

/// What the token has of a data key.
enum Stored {
    Key(Zeroizing<Vec<u8>>),
    NoMaster,
    NoData,
    Several,
    Strange(String),
}

fn unpoisoned<G>(answer: Result<G, PoisonError<G>>) -> G {
    // What these locks guard is replaced as a whole, so a panic elsewhere leaves it in order.
    answer.unwrap_or_else(PoisonError::into_inner)
}

impl Keyring {
    /// A keyring behind a loaded module; nothing is asked yet.
    pub(crate) fn new(library: Library, settings: Settings) -> Result<Self, String> {
        let memory = KeyMemory::map().ok_or("no memory for data keys")?;
        if settings.mode == Mode::Keys && !memory.is_locked() {
            log::warning(
                "the memory of the data keys cannot be locked and may reach the swap; raise LimitMEMLOCK",
            );
        }
        Ok(Self {
            token: Token::new(library, settings.clone()),
            settings,
            latest: RwLock::new(BTreeMap::new()),
            asking: Mutex::new(()),
            data: RwLock::new(Data {
                memory,
                places: BTreeMap::new(),
            }),
            complaints: Mutex::new(BTreeMap::new()),
        })
    }

    /// At the start: opens every data key that is there.
    pub(crate) fn open_all(&self) -> Result<usize, Trouble> {
        let versions = self.catalogue()?;
        let mut known = 0;
        for (id, version) in versions {
            match self.settings.mode {
                Mode::Pages => known += 1,
                Mode::Keys => match self.open(id, version) {
                    Ok(true) => known += 1,
                    // A new version: its data key is made when the server asks for it.
                    Ok(false) => {}
                    Err(trouble) => self.complain(id, version, &trouble),
                },
            }
        }
        Ok(known)
    }

    /// The latest version of a key.
    pub(crate) fn latest(&self, id: u32) -> Option<u32> {
        let known = match self.known(id) {
            Ok(version) => return version,
            Err(known) => known,
        };
        let asking = match known {
            // Somebody asks already; nobody waits for a rotation.
            Some(_) => self.asking.try_lock().ok(),
            None => Some(unpoisoned(self.asking.lock())),
        };
        if asking.is_none() {
            return known;
        }
        // Somebody may have asked while this thread waited for its turn.
        let known = match self.known(id) {
            Ok(version) => return version,
            Err(known) => known,
        };
        let latest = match known {
            Some(version) => self.newer_or_same(id, version),
            None => Latest {
                version: self.newest(id).unwrap_or_else(|trouble| {
                    self.complain(id, 0, &trouble);
                    None
                }),
                asked: Instant::now(),
            },
        };
        unpoisoned(self.latest.write()).insert(id, latest);
        latest.version
    }

    /// What is known of the latest version: freshly, or from before.
    fn known(&self, id: u32) -> Result<Option<u32>, Option<u32>> {
        match unpoisoned(self.latest.read()).get(&id) {
            Some(known) if known.asked.elapsed() < FRESH => Ok(known.version),
            known => Err(known.and_then(|known| known.version)),
        }
    }

    fn newer_or_same(&self, id: u32, known: u32) -> Latest {
        match self.newer(id, known) {
            Ok(version) => Latest {
                version: Some(version),
                asked: Instant::now(),
            },
            Err(trouble) => {
                log::warning(&format!(
                    "new versions of key {id} are not seen at the moment: {trouble}"
                ));
                // A module may take its time before it says that its device is away, and the caller is in the middle of a page.
                Latest {
                    version: Some(known),
                    asked: Instant::now() + PAUSE,
                }
            }
        }
    }

    /// Versions above one that is known. One question, no waiting: the caller is in the middle of a page.
    fn newer(&self, id: u32, known: u32) -> Result<u32, Trouble> {
        let mut latest = known;
        while let Some(next) = latest.checked_add(1)
            && next != u32::MAX
        {
            let label = self.settings.label(id, next);
            let there = self
                .token
                .visit(Reach::Read, &mut |visit| visit.key(&label))?
                .is_some();
            if !there {
                break;
            }
            latest = next;
        }
        if latest != known {
            self.begin(id, latest)?;
        }
        Ok(latest)
    }

    fn newest(&self, id: u32) -> Result<Option<u32>, Trouble> {
        let versions = self.catalogue()?;
        let newest = versions.into_iter().filter(|(one, _)| *one == id).max();
        let Some((_, version)) = newest else {
            // The server asks for key 2 to see whether there is one, and takes key 1 otherwise.
            if id != TEMPORARY_KEY {
                let label = self.settings.label(id, 1);
                let what = format!("no AES key is labelled {label}, nor is there another version");
                self.complain(id, 0, &Trouble::Wrong(what));
            }
            return Ok(None);
        };
        self.begin(id, version)?;
        Ok(Some(version))
    }

    /// Before the server hears of a version, everything for it is ready.
    fn begin(&self, id: u32, version: u32) -> Result<(), Trouble> {
        if self.settings.mode == Mode::Keys && !self.open(id, version)? {
            self.make(id, version)?;
            if !self.open(id, version)? {
                return Err(self.absent(id, version));
            }
        }
        self.content(id, version);
        let label = self.settings.label(id, version);
        log::note(&format!("key {id} is in version {version} ({label})"));
        Ok(())
    }

    /// All ids and versions that the token has.
    fn catalogue(&self) -> Result<Vec<(u32, u32)>, Trouble> {
        self.token.insist(Reach::Read, &mut |visit| {
            let mut versions = Vec::new();
            for key in visit.session.find(&Template::keys())? {
                let label = match visit.session.label(key) {
                    // Deleted meanwhile.
                    Err(refused) if refused.meaning() == Meaning::Gone => continue,
                    label => label?,
                };
                versions.extend(label.and_then(|label| self.settings.parse_label(&label)));
            }
            Ok(versions)
        })
    }

    /// Whether a version of a key can be used; the data key is copied out where there is one.
    pub(crate) fn data_key(
        &self,
        id: u32,
        version: u32,
        out: Option<&mut [u8; KEY_BYTES]>,
    ) -> bool {
        let known = unpoisoned(self.data.read())
            .places
            .contains_key(&(id, version));
        if !known {
            let opened = self.open(id, version).and_then(|there| {
                if there {
                    Ok(())
                } else {
                    Err(self.absent(id, version))
                }
            });
            if let Err(trouble) = opened {
                self.complain(id, version, &trouble);
                return false;
            }
            self.content(id, version);
        }
        let data = unpoisoned(self.data.read());
        let Some(place) = data.places.get(&(id, version)) else {
            return false;
        };
        if let Some(out) = out {
            data.memory.copy_to(*place, out);
        }
        true
    }

    fn absent(&self, id: u32, version: u32) -> Trouble {
        let label = self.settings.label(id, version);
        Trouble::Wrong(format!(
            "the data key {label} is not in the token; restore the token from its backup"
        ))
    }

    /// Unwraps a data key; false when there is a master key without one.
    fn open(&self, id: u32, version: u32) -> Result<bool, Trouble> {
        if unpoisoned(self.data.read())
            .places
            .contains_key(&(id, version))
        {
            return Ok(true);
        }
        let label = self.settings.label(id, version);
        let stored = self
            .token
            .insist(Reach::Read, &mut |visit| stored(visit, &label))?;
        let wrong = |what: &str| Err(Trouble::Wrong(format!("the data key {label} {what}")));
        let key = match stored {
            Stored::Key(key) => key,
            Stored::NoData => return Ok(false),
            Stored::NoMaster => {
                return Err(Trouble::Wrong(format!(
                    "there is no AES key labelled {label}"
                )));
            }
            Stored::Several => return wrong("is there more than once"),
            Stored::Strange(what) => return wrong(&format!("cannot be unwrapped: {what}")),
        };
        let Ok(key) = <&[u8; KEY_BYTES]>::try_from(key.as_slice()) else {
            return wrong("has another length");
        };
        let mut data = unpoisoned(self.data.write());
        if !data.places.contains_key(&(id, version)) {
            let Some(place) = data.memory.keep(key) else {
                return wrong("has no room: too many versions");
            };
            data.places.insert((id, version), place);
        }
        Ok(true)
    }

    /// Makes a data key in the token and puts it there wrapped. Where two servers do so at once, each withdraws what it made when it
    /// sees another's, so that a key that is used was alone.
    fn make(&self, id: u32, version: u32) -> Result<(), Trouble> {
        let label = self.settings.label(id, version);
        let template = Template::data(APPLICATION).labelled(&label);
        let mut made = |visit: &Visit<'_>| {
            let session = &visit.session;
            if !session.find(&template)?.is_empty() {
                return Ok(true);
            }
            let Some(master) = visit.key(&label)? else {
                return Ok(true);
            };
            let wrapped = wrap(visit, master, &label)?;
            let own = session.create(&template.clone().holding(&wrapped))?;
            let alone = session.find(&template)? == [own];
            if !alone {
                session.destroy(own)?;
            }
            Ok(alone)
        };
        for round in 0..ROUNDS {
            if self.token.insist(Reach::Write, &mut made)? {
                log::note(&format!("the data key {label} is in the token"));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(u64::from(
                std::process::id() % 50 * round,
            )));
        }
        Err(Trouble::Wrong(format!(
            "several servers make the data key {label} at once"
        )))
    }

    /// A key of the pages way, for blocks; none when there is none.
    pub(crate) fn page_key(&self, id: u32, version: u32) -> PageKey<'_> {
        PageKey {
            ring: self,
            id,
            version,
            label: self.settings.label(id, version),
        }
    }

    /// Which way.
    pub(crate) const fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Ends the connection.
    pub(crate) fn end(&self) {
        self.token.end();
    }

    fn complaints(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        unpoisoned(self.complaints.lock())
    }

    /// Says what is wrong, once for as long as it is the same. What is wrong with the PIN was said when it was tried.
    pub(crate) fn complain(&self, id: u32, version: u32, trouble: &Trouble) {
        let text = trouble.to_string();
        let before = self
            .complaints()
            .insert(self.settings.label(id, version), text.clone());
        if before.as_ref() != Some(&text) && !matches!(trouble, Trouble::Pin(_)) {
            log::error(&format!("key {id} cannot be used: {text}"));
        }
    }

    fn content(&self, id: u32, version: u32) {
        let mut complaints = self.complaints();
        for version in [0, version] {
            complaints.remove(&self.settings.label(id, version));
        }
    }
}

/// Looks a data key up and unwraps it.
fn stored(visit: &Visit<'_>, label: &str) -> Result<Stored, Refused> {
    let session = &visit.session;
    let Some(master) = visit.key(label)? else {
        return Ok(Stored::NoMaster);
    };
    let found = session.find(&Template::data(APPLICATION).labelled(label))?;
    let object = match found.as_slice() {
        [] => return Ok(Stored::NoData),
        [one] => *one,
        _ => return Ok(Stored::Several),
    };
    let value = session.value(object)?.unwrap_or_default();
    let parts = match value.split_first() {
        Some((&FORMAT, rest)) => rest.split_first_chunk::<12>(),
        _ => None,
    };
    let Some((nonce, sealed)) = parts else {
        return Ok(Stored::Strange("its form is not known".to_owned()));
    };
    match session.decrypt(master, Cipher::Gcm(nonce, label.as_bytes()), sealed) {
        Ok(key) => Ok(Stored::Key(key)),
        Err(refused) if refused.meaning() == Meaning::Final || opens_its_own(visit, master) => {
            Ok(Stored::Strange(refused.to_string()))
        }
        Err(refused) => {
            visit.forget_keys();
            Err(refused)
        }
    }
}

/// Whether a key opens what it has just sealed. Then a refusal is about the data, whatever its code: SoftHSM answers a wrong tag with
/// `CKR_GENERAL_ERROR`, as other modules answer when they are in trouble.
fn opens_its_own(visit: &Visit<'_>, master: Handle) -> bool {
    let nonce = &mut [0; 12];
    let session = &visit.session;
    let cipher = |nonce| Cipher::Gcm(nonce, OWN);
    session.random(nonce).is_ok()
        && session
            .encrypt(master, cipher(nonce), OWN)
            .and_then(|sealed| session.decrypt(master, cipher(nonce), &sealed))
            .is_ok_and(|opened| opened.as_slice() == OWN)
}

/// A new data key, wrapped. It is there in clear for the time of two calls, in memory that is wiped.
fn wrap(visit: &Visit<'_>, master: Handle, label: &str) -> Result<Vec<u8>, Refused> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let mut nonce = [0; 12];
    visit.session.random(key.as_mut_slice())?;
    visit.session.random(&mut nonce)?;
    let cipher = Cipher::Gcm(&nonce, label.as_bytes());
    let sealed = visit.session.encrypt(master, cipher, key.as_slice())?;
    Ok([&[FORMAT], nonce.as_slice(), &sealed].concat())
}

/// A key of the pages way.
pub(crate) struct PageKey<'r> {
    ring: &'r Keyring,
    id: u32,
    version: u32,
    label: String,
}

impl PageKey<'_> {
    /// Whether there is such a key.
    pub(crate) fn exists(&self) -> bool {
        let label = &self.label;
        let found = self
            .ring
            .token
            .insist(Reach::Read, &mut |visit| visit.key(label));
        match found {
            Ok(Some(_)) => true,
            Ok(None) => {
                self.missing();
                false
            }
            Err(trouble) => {
                self.ring.complain(self.id, self.version, &trouble);
                false
            }
        }
    }

    fn missing(&self) {
        let what = format!("there is no AES key labelled {}", self.label);
        self.ring
            .complain(self.id, self.version, &Trouble::Wrong(what));
    }

    fn run(
        &self,
        work: impl Fn(&Visit<'_>, Handle) -> Result<Vec<u8>, Refused>,
    ) -> Option<Vec<u8>> {
        let answer = self.ring.token.insist(Reach::Read, &mut |visit| {
            let Some(key) = visit.key(&self.label)? else {
                return Ok(None);
            };
            match work(visit, key) {
                // Deleted, or made anew under another handle: looked for once more.
                Err(refused) if refused.meaning() == Meaning::Gone => {
                    visit.forget_keys();
                    match visit.key(&self.label)? {
                        Some(key) => work(visit, key).map(Some),
                        None => Ok(None),
                    }
                }
                answer => answer.map(Some),
            }
        });
        match answer {
            Ok(Some(out)) => {
                return Some(out);
            }
            Ok(None) => self.missing(),
            Err(trouble) => self.ring.complain(self.id, self.version, &trouble),
        }
        None
    }
}

impl Blocks for PageKey<'_> {
    fn encrypt_each(&self, blocks: &[u8]) -> Option<Vec<u8>> {
        self.run(|visit, key| visit.session.encrypt(key, Cipher::Ecb, blocks))
    }

    fn encrypt_chain(&self, iv: &[u8; 16], blocks: &[u8]) -> Option<Vec<u8>> {
        self.run(|visit, key| visit.session.encrypt(key, Cipher::Cbc(iv), blocks))
    }

    fn decrypt_chain(&self, iv: &[u8; 16], blocks: &[u8]) -> Option<Vec<u8>> {
        self.run(|visit, key| {
            let out = visit.session.decrypt(key, Cipher::Cbc(iv), blocks)?;
            Ok(out.to_vec())
        })
    }
}

/// What is sealed to see whether a key works. It is no label, so that it never stands for a data key.
const OWN: &[u8] = b"\0strongroom-mariadb";
/// The id that the server prefers for temporary files.
const TEMPORARY_KEY: u32 = 2;
/// How often a data key is made anew because another server made one.
const ROUNDS: u32 = 8;
