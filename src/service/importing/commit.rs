//! The end of an import: everything that was judged good comes into being in one commit, or nothing does.
//!
//! What lives here: the way from what was staged to that commit.
//! What must never live here: the commit itself (token, vault).
//! Who calls it: imports.

use std::sync::Arc;

use strongroom_crypto::hex;
use strongroom_keymem::SecretBytes;
use strongroom_wire::admin::AdminAnswer;
use strongroom_wire::ck::Rv;

use super::record::Facts;
use super::{Arrival, Import, Refusal, Target, serial_taken};
use crate::error::Error;
use crate::limits::Limits;
use crate::service::Service;
use crate::token::{Token, seal_into};
use crate::vault::{DraftToken, NewToken, SealedBatch, Stash, Stashed, VaultError};

impl Service {
    /// The one commit. The answer says how the token stands now.
    pub(super) fn commit_import(
        &self,
        import: Import,
        facts: &mut Facts,
    ) -> Result<AdminAnswer, Refusal> {
        let (token, digest) = self.committed(import).map_err(|Refusal { rv, reason }| {
            let reason = format!("nothing was brought in: {reason}");
            Refusal { rv, reason }
        })?;
        let token = self.token_line(&token);
        facts.committed(&token, digest);
        Ok(AdminAnswer::Imported {
            token,
            objects: facts.objects.unwrap_or(0),
        })
    }

    fn committed(&self, import: Import) -> Result<(Arc<Token>, String), Refusal> {
        let limits = self.settings.read().limits;
        self.has_room(&import, 0, &limits)?;
        let Import {
            target,
            stash,
            arrivals,
            digest,
            place,
            ..
        } = import;
        let digest = digest.finish().map_err(|error| Refusal::of(error.into()))?;
        let digest = hex::shown(digest.as_ref());
        let token = match target {
            Target::New {
                label,
                serial_number,
                so_pin,
                user_pin,
            } => so_pin.with(|so_pin| {
                let made = |user_pin: Option<&[u8]>| {
                    let new = NewToken {
                        label,
                        serial_number: serial_number.clone(),
                        so_pin,
                        user_pin,
                    };
                    self.make_with(&new, &stash, &arrivals, &limits)
                };
                match &user_pin {
                    Some(user_pin) => user_pin.with(|user_pin| made(Some(user_pin))),
                    None => made(None),
                }
            })?,
            Target::There(token, realm) => {
                if !arrivals.is_empty() {
                    let (attributes, secrets): (Vec<_>, Vec<_>) = arrivals
                        .into_iter()
                        .map(|arrival| (arrival.attributes, arrival.secret))
                        .unzip();
                    let secret_of =
                        |at: usize| secret_in(&stash, secrets.get(at).and_then(Option::as_ref));
                    token
                        .bring(&realm, attributes, &secret_of, &limits)
                        .map_err(Refusal::of)?;
                }
                token
            }
        };
        drop(place);
        Ok((token, digest))
    }

    /// Makes a token with its objects. All is sealed while nothing is locked; only where another token was made meanwhile once more, when no
    /// further one can be.
    fn make_with(
        &self,
        new: &NewToken<'_>,
        stash: &Stash,
        arrivals: &[Arrival],
        limits: &Limits,
    ) -> Result<Arc<Token>, Refusal> {
        let seal = || -> Result<(DraftToken, SealedBatch), Error> {
            let draft = self.vault.draft_token(new)?;
            let mut batch = draft.batch();
            for arrival in arrivals {
                let secret = secret_in(stash, arrival.secret.as_ref())?;
                seal_into(&mut batch, &arrival.attributes, secret.as_ref())?;
            }
            let batch = batch.finish();
            Ok((draft, batch))
        };
        let mut sealed = seal().map_err(Refusal::of)?;
        let _making = self.making.lock();
        self.may_make_a_token(limits)?;
        if sealed.0.number() != self.vault.next_token() {
            sealed = seal().map_err(Refusal::of)?;
        }
        let (draft, batch) = sealed;
        let token = match self.vault.add_token(draft, Some(batch)) {
            Ok(Some(token)) => token,
            Ok(None) => return Err(Refusal::of(Error::GeneralError)),
            Err(VaultError::SerialNumberTaken(serial)) => {
                return Err(Refusal::new(Rv::ARGUMENTS_BAD, serial_taken(&serial)));
            }
            Err(error) => return Err(Refusal::of(error.into())),
        };
        let token = self.take_in(token, limits);
        token.map_err(|error| Refusal::of(error.into()))
    }
}

fn secret_in(stash: &Stash, stashed: Option<&Stashed>) -> Result<Option<SecretBytes>, Error> {
    Ok(stashed.map(|stashed| stash.open(stashed)).transpose()?)
}
