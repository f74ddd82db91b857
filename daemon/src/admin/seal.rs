//! Administration of the seal.
//!
//! What lives here: what is shown of it, and its rotation.
//! What must never live here: a share outside of locked memory.
//! Who calls it: the administration.

use strongroom::audit::Principal;
use strongroom::service::Malformed;
use strongroom::sink::Locked;
use strongroom_keymem::SecretVec;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, NewProvider, SEAL_SHARES_MAX};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec::{self, List};
use strongroom_wire::secret::Secret;

use super::encode;
use crate::daemon::Daemon;
use crate::seal::tpm::PcrSelection;
use crate::seal::{Need, Rotated, SealError, Sources, Target};

/// What the seal is.
pub(super) fn show(daemon: &Daemon) -> AdminAnswer {
    let seal = &daemon.configuration().seal;
    match daemon.service.with_root_key(|root| seal.report(root)) {
        Ok(report) => AdminAnswer::Seal(Box::new(report)),
        Err(error) => refused(Rv::DEVICE_ERROR, error.to_string()),
    }
}

/// Seals the root key anew, and appends the recorded answer.
pub(super) fn rotate(
    daemon: &Daemon,
    principal: &Principal,
    request: &AdminRequest<'_>,
    out: &mut SecretVec,
) -> Result<(), Malformed> {
    let (answer, shares) = match rotated(daemon, request) {
        Ok(rotated) => {
            tracing::info!("the root key was sealed anew; the old seal is no longer in force");
            let seal = Box::new(rotated.seal);
            let shares = List::default();
            (AdminAnswer::SealRotated { seal, shares }, rotated.shares)
        }
        Err(error) => {
            tracing::warn!("the root key was not sealed anew: {error}");
            let reason = format!("the seal is as it was: {error}");
            (refused(Rv::FUNCTION_FAILED, reason), Vec::new())
        }
    };
    let answer = daemon
        .service
        .administer(principal, request, Some(answer))?;
    encode(&answer, out)?;
    if shares.is_empty() {
        return Ok(());
    }
    // The answer ends with the count of its shares, 0, one byte; in its place come the shares, which never leave locked memory.
    out.truncate(out.len().saturating_sub(1));
    let shares = shares
        .iter()
        .map(|share| Secret::new(share.expose()))
        .collect();
    let shares = List::<_, SEAL_SHARES_MAX>::new(shares).ok_or(Malformed)?;
    codec::encode(&shares, &mut Locked(out)).map_err(|_| Malformed)
}

fn rotated(daemon: &Daemon, request: &AdminRequest<'_>) -> Result<Rotated, SealError> {
    let AdminRequest::SealRotate {
        providers,
        all,
        destroy_old,
    } = request
    else {
        return Err(SealError::Unfit("nothing to rotate".into()));
    };
    let seal = &daemon.configuration().seal;
    let targets = providers
        .items()
        .iter()
        .map(|provider| target(provider, &seal.sources))
        .collect::<Result<Vec<_>, _>>()?;
    let need = if *all { Need::All } else { Need::One };
    daemon
        .service
        .with_root_key(|root| seal.rotate(root, targets, need, *destroy_old, &mut |_| {}))
}

fn target(provider: &NewProvider<'_>, sources: &Sources) -> Result<Target, SealError> {
    Ok(match provider {
        NewProvider::KeyFile { path } if !path.starts_with('/') => {
            return Err(SealError::Unfit(format!(
                "the key file {path} is relative; name the whole path"
            )));
        }
        NewProvider::KeyFile { path } => Target::KeyFile(path.into()),
        NewProvider::Passphrase { secret } => {
            let mut passphrase = SecretVec::new();
            passphrase.push_slice(secret.expose())?;
            Target::Passphrase(passphrase)
        }
        NewProvider::Credential { name } => Target::Credential((*name).into()),
        NewProvider::Tpm { pcrs } if pcrs.items().is_empty() => {
            Target::Tpm(sources.tpm_pcrs.clone())
        }
        NewProvider::Tpm { pcrs } => Target::Tpm(PcrSelection::new(pcrs.items())?),
        NewProvider::Shares { threshold, count } => Target::Shares {
            threshold: *threshold,
            count: *count,
        },
    })
}

fn refused(rv: Rv, reason: String) -> AdminAnswer {
    AdminAnswer::Refused { rv, reason }
}
