//! Chapter random numbers (PKCS#11 3.2, 5.20).
//!
//! What lives here: seeding and generating: short runs out of what was fetched ahead, long runs in pieces.
//! What must never live here: a generator; randomness comes from the daemon.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{Request, SessionHandle};
use strongroom_wire::response::Body;

use super::{ask, done};
use crate::abi::In;
use crate::prefetched::RUN_BYTES_MAX;
use crate::process::Instance;

/// Longest run of random bytes asked for at once: other callers need not wait behind a gigabyte.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// C_SeedRandom. What was fetched before does not depend on the seed, so it is thrown away.
pub(crate) fn seed(at: &Instance, session: SessionHandle, seed: &In) -> Result<(), Rv> {
    at.prefetched.forget();
    done(
        at,
        &Request::SeedRandom {
            session,
            seed: seed.secret(),
        },
    )
}

/// C_GenerateRandom: hands each piece to `write` with its offset. Nothing at all is asked for as well, so that the session is judged.
pub(crate) fn generate(
    at: &Instance,
    session: SessionHandle,
    bytes: usize,
    write: impl Fn(usize, &[u8]),
) -> Result<(), Rv> {
    if (1..=RUN_BYTES_MAX).contains(&bytes) && !at.client.stamps.asks_always() {
        at.sessions.get(session)?;
        return at.prefetched.take(
            bytes,
            |room| {
                fetch(at, session, room.len(), |piece| {
                    room.copy_from_slice(piece);
                })
            },
            |run| write(0, run),
        );
    }
    let mut offset = 0_usize;
    loop {
        let piece = bytes.saturating_sub(offset).min(PIECE_BYTES_MAX);
        fetch(at, session, piece, |bytes| write(offset, bytes))?;
        offset = offset.saturating_add(piece);
        if offset >= bytes {
            return Ok(());
        }
    }
}

/// Asks for exactly so many bytes.
fn fetch(
    at: &Instance,
    session: SessionHandle,
    bytes: usize,
    see: impl FnOnce(&[u8]),
) -> Result<(), Rv> {
    let wanted = u64::try_from(bytes).map_err(|_| Rv::ARGUMENTS_BAD)?;
    let request = Request::GenerateRandom {
        session,
        bytes: wanted,
    };
    ask(at, &request, Rv::DEVICE_REMOVED, |body| {
        let Body::Output { data, .. } = body else {
            return None;
        };
        let whole = data.len() == bytes;
        whole.then(|| see(data.expose()))
    })
}
