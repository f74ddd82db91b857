//! Keys that administration releases.
//!
//! What lives here: how long one waits for its turn.
//! What must never live here: a decision; the token makes it.
//! Who calls it: connections of the administration socket.

use strongroom::audit::Principal;
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::codec;

use super::encode;
use super::import::{ADMINISTRATION, waited};
use crate::backup::Asker;
use crate::frames::{End, Outgoing};

/// Answers a request to release a key; false when the payload is another one.
///
/// # Errors
/// [`End`]: the connection must be closed.
pub fn served(asker: &Asker<'_>, payload: &[u8], outgoing: &mut Outgoing) -> Result<bool, End> {
    let Ok(request) = codec::decode::<AdminRequest<'_>>(payload) else {
        return Ok(false);
    };
    let (daemon, principal) = (asker.daemon, asker.principal);
    let Some(asked) = daemon.service.asked_to_release(principal, &request) else {
        return Ok(false);
    };
    waited(asker, asked.wait())?;
    let Principal { uid, pid, .. } = *principal;
    let place = daemon.turns.place(uid, pid, ADMINISTRATION);
    let pin_turn = place.pin_turn();
    let answer = daemon
        .service
        .release(principal, asked)
        .map_err(|_| End::Refused)?;
    drop(pin_turn);
    if let AdminAnswer::Refused { rv, .. } = &answer {
        tracing::warn!(%rv, "the release of a key was refused");
    } else {
        tracing::info!("a key was released");
    }
    encode(&answer, outgoing.begin()?).map_err(|_| End::Refused)?;
    outgoing.send(asker.admitted.socket())?;
    Ok(true)
}
