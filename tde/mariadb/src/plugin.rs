//! What the server asks, in Rust.
//!
//! What lives here: the one keyring of the process, its start and end, and the answers.
//! What must never live here: C; pointers are slices by now.
//! Who calls it: `abi::server`.

use std::sync::{Arc, PoisonError, RwLock};

use crate::abi::cryptoki::Library;
use crate::abi::log;
use crate::abi::memory::KEY_BYTES;
use crate::keyring::Keyring;
use crate::pages::{BLOCK, Direction, Ending, Stream};
use crate::settings::{Mode, Said, Settings};
use crate::token::Trouble;

static RING: RwLock<Option<Arc<Keyring>>> = RwLock::new(None);

fn ring() -> Option<Arc<Keyring>> {
    RING.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set_ring(ring: Option<Arc<Keyring>>) -> Option<Arc<Keyring>> {
    let mut place = RING.write().unwrap_or_else(PoisonError::into_inner);
    core::mem::replace(&mut place, ring)
}

/// Starts. A setting that is wrong is an error; a token that is away is none, because it may come back, and the server asks again.
pub(crate) fn start(said: &Said) -> Option<Mode> {
    let begun = Settings::parse(said).and_then(|settings| {
        let library = Library::load(&settings.module)?;
        Keyring::new(library, settings)
    });
    let ring = match begun {
        Ok(ring) => ring,
        Err(what) => {
            log::error(&what);
            return None;
        }
    };
    match ring.open_all() {
        Ok(known) => log::note(&format!(
            "ready, the {} way, with {known} keys",
            match ring.mode() {
                Mode::Keys => "keys",
                Mode::Pages => "pages",
            }
        )),
        // Said when it was tried.
        Err(Trouble::Pin(_)) => {}
        Err(trouble) => log::error(&format!("no key can be used yet: {trouble}")),
    }
    let mode = ring.mode();
    set_ring(Some(Arc::new(ring)));
    Some(mode)
}

/// Ends.
pub(crate) fn end() {
    if let Some(ring) = set_ring(None) {
        ring.end();
    }
}

/// The latest version of a key.
pub(crate) fn latest(id: u32) -> Option<u32> {
    ring()?.latest(id)
}

/// What the server is given as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// Written, or would be: so many bytes.
    Key(usize),
    /// The buffer is too small for so many.
    TooSmall(usize),
    /// There is none.
    None,
}

/// A key. In the pages way it is no secret: the server derives from it a number for each table, which goes into the nonce.
pub(crate) fn key(id: u32, version: u32, out: Option<&mut [u8]>) -> Given {
    let Some(ring) = ring() else {
        return Given::None;
    };
    match (ring.mode(), out) {
        (Mode::Keys, None) => given(ring.data_key(id, version, None), KEY_BYTES),
        (Mode::Keys, Some(out)) => match out.first_chunk_mut::<KEY_BYTES>() {
            None => Given::TooSmall(KEY_BYTES),
            Some(out) => given(ring.data_key(id, version, Some(out)), KEY_BYTES),
        },
        (Mode::Pages, out) => {
            if !ring.page_key(id, version).exists() {
                return Given::None;
            }
            if let Some(out) = out {
                let Some(out) = out.first_chunk_mut::<BLOCK>() else {
                    return Given::TooSmall(BLOCK);
                };
                *out = *NO_SECRET;
            }
            Given::Key(BLOCK)
        }
    }
}

const fn given(there: bool, length: usize) -> Given {
    if there {
        Given::Key(length)
    } else {
        Given::None
    }
}

/// A stream of the pages way and its key.
pub(crate) struct Context {
    ring: Arc<Keyring>,
    id: u32,
    version: u32,
    stream: Stream,
}

impl Context {
    /// Begins. The number of the table (`key`) and the server's counter make the nonce.
    pub(crate) fn begin(
        direction: Direction,
        ending: Ending,
        (id, version): (u32, u32),
        key: &[u8],
        iv: &[u8],
    ) -> Option<Self> {
        let mut nonce = [0; BLOCK];
        for part in [key, iv] {
            for (place, byte) in nonce.iter_mut().zip(part) {
                *place ^= byte;
            }
        }
        Some(Self {
            ring: ring()?,
            id,
            version,
            stream: Stream::new(direction, ending, nonce),
        })
    }

    /// More data.
    pub(crate) fn update(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let key = self.ring.page_key(self.id, self.version);
        self.stream.update(&key, data)
    }

    /// The end.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        let key = self.ring.page_key(self.id, self.version);
        self.stream.finish(&key)
    }
}

/// 16 bytes, as the server's own key derivation wants them.
const NO_SECRET: &[u8; BLOCK] = b"strongroom-pages";
