//! Statements: what an authority says of a place, verified.
//!
//! What lives here: reading a compact JWS (RFC 7515), whose signature, issuer and times are right, and evidence of hardware in its stead.
//! What must never live here: what a key demands (policy); a look at `jku` or any other address.
//! Who calls it: attested.

use serde_json::Value;
use strongroom_attestation::{Evidence, Roots, unambiguous};
use strongroom_crypto::digest::{Hash, digest};

use super::authority::{Authority, Signed, Trust};
use super::jwk::Algorithm;
use super::text::{authority_form, decoded, encoded, standard_decoded};
use super::{Refusal, Why};
use crate::ports::Time;

/// What is believed of a place.
#[derive(Debug)]
pub struct Statement {
    /// The authority whose word it is.
    pub authority: Authority,
    /// What it says.
    pub claims: Value,
    /// The first moment at which it holds no more.
    pub expires: Time,
    /// By which it is known again: `jti`, or the SHA-256 of it all.
    pub id: String,
}

/// How long statements may hold.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// At most so many seconds after they were issued, or after now where they do not say when.
    pub seconds_max: u64,
}

impl Statement {
    /// Verifies what is presented: a compact JWS, or evidence of hardware, an object of JSON.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn verify(
        presented: &[u8],
        authorities: &[Authority],
        patience: Patience,
        now: Time,
    ) -> Result<Self, Refusal> {
        if presented.trim_ascii_start().first() == Some(&b'{') {
            Self::of_evidence(presented, authorities, patience, now)
        } else {
            Self::signed(presented, authorities, patience, now)
        }
    }

    /// Evidence has no end of its own, so it is good for some minutes: that it is fresh, only its nonce shows.
    fn of_evidence(
        container: &[u8],
        authorities: &[Authority],
        patience: Patience,
        now: Time,
    ) -> Result<Self, Refusal> {
        let evidence =
            Evidence::parse(container).map_err(|why| Refusal::malformed(why.to_string()))?;
        let name = evidence.kind().name();
        let mut refused = None;
        for authority in authorities {
            let Trust::Hardware { kind, roots } = &authority.trust else {
                continue;
            };
            if kind != name {
                continue;
            }
            let verified = Roots::parse(evidence.kind(), roots)
                .and_then(|roots| strongroom_attestation::verify(&evidence, &roots, now.0 / 1000));
            match verified {
                Ok(verified) => {
                    let seconds = patience.seconds_max.min(EVIDENCE_SECONDS);
                    return Ok(Self {
                        authority: authority.clone(),
                        claims: verified.claims,
                        expires: Time(now.0.saturating_add(seconds.saturating_mul(1000))),
                        id: encoded(digest(Hash::Sha256, container)?.as_ref()),
                    });
                }
                Err(why) => refused = Some(why.to_string()),
            }
        }
        Err(Refusal::forbidden(refused.unwrap_or_else(|| {
            format!("no registered authority has roots of {name}")
        })))
    }

    fn signed(
        token: &[u8],
        authorities: &[Authority],
        patience: Patience,
        now: Time,
    ) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(token)
            .ok()
            .filter(|text| text.len() <= STATEMENT_BYTES_MAX)
            .ok_or_else(|| {
                Refusal::malformed(format!(
                    "the statement is no text of at most {STATEMENT_BYTES_MAX} bytes"
                ))
            })?
            .trim();
        let parts: Vec<&str> = text.split('.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            return Err(Refusal::malformed(
                "the statement is no compact JWS: it has not three parts",
            ));
        };
        let header = object(header, "header")?;
        let claims = object(payload, "payload")?;
        let signature = decoded(signature)
            .ok_or_else(|| Refusal::malformed("the statement's signature is no base64url"))?;
        let authority = authority_of(&claims, authorities)?;
        let message = &text[..text.len() - parts[2].len() - 1];
        verify_signature(authority, &header, message.as_bytes(), &signature, now)?;
        let expires = holds(&claims, patience, now)?;
        let id = match claims.get("jti").and_then(Value::as_str) {
            Some(id) if id.len() <= ID_BYTES_MAX => id.to_owned(),
            _ => encoded(digest(Hash::Sha256, text.as_bytes())?.as_ref()),
        };
        Ok(Self {
            authority: authority.clone(),
            claims,
            expires,
            id,
        })
    }
}

fn object(part: &str, name: &str) -> Result<Value, Refusal> {
    let bytes = decoded(part)
        .ok_or_else(|| Refusal::malformed(format!("the statement's {name} is no base64url")))?;
    unambiguous(&bytes)
        .map_err(|error| Refusal::malformed(format!("the statement's {name} is no JSON: {error}")))
        .and_then(|value| match value {
            Value::Object(_) => Ok(value),
            _ => Err(Refusal::malformed(format!(
                "the statement's {name} is no object of JSON"
            ))),
        })
}

fn authority_of<'a>(
    claims: &Value,
    authorities: &'a [Authority],
) -> Result<&'a Authority, Refusal> {
    let issuer = claims
        .get("iss")
        .and_then(Value::as_str)
        .and_then(authority_form)
        .ok_or_else(|| Refusal::malformed("the statement does not say who issued it (iss)"))?;
    authorities
        .iter()
        .find(|authority| authority.url == issuer)
        .ok_or_else(|| Refusal::forbidden("the issuer of the statement is no registered authority"))
}

fn verify_signature(
    authority: &Authority,
    header: &Value,
    message: &[u8],
    signature: &[u8],
    now: Time,
) -> Result<(), Refusal> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    // RFC 7515, 4.1.11: an extension that must be understood, and none is.
    if header.get("crit").is_some() {
        return Err(Refusal::forbidden(
            "the statement's header has extensions that must be understood (crit)",
        ));
    }
    let algorithm_name = text("alg").unwrap_or_default();
    let algorithm = Algorithm::named(algorithm_name).ok_or_else(|| {
        Refusal::forbidden(
            "the statement's algorithm is none of RS, PS and ES with 256, 384 or 512",
        )
    })?;
    let chain = match header.get("x5c").and_then(Value::as_array) {
        None => Vec::new(),
        Some(links) => links
            .iter()
            .map(|link| link.as_str().and_then(standard_decoded))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Refusal::malformed("the statement's x5c is no list of certificates"))?,
    };
    let signed = Signed {
        algorithm,
        algorithm_name,
        kid: text("kid"),
        chain: &chain,
        message,
        signature,
    };
    authority.verify(&signed, now).map_err(Refusal::forbidden)
}

/// When it ends to hold, if it holds now. Clocks differ, so it may begin some minutes later than now; it never holds after its end.
fn holds(claims: &Value, patience: Patience, now: Time) -> Result<Time, Refusal> {
    let moment = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => milliseconds(value).map(Some).ok_or_else(|| {
            Refusal::malformed(format!("the statement's {name} is no number of seconds"))
        }),
    };
    let end = moment("exp")?.ok_or_else(|| {
        Refusal::forbidden("the statement has no end (exp): it would hold for ever")
    })?;
    let late = |begin: Option<u64>| begin.is_some_and(|begin| begin > now.0 + LEEWAY_MS);
    let issued = moment("iat")?;
    if late(moment("nbf")?) || late(issued) {
        return Err(Refusal::forbidden(
            "the statement does not hold yet (nbf, iat)",
        ));
    }
    let most = issued
        .unwrap_or(now.0)
        .saturating_add(patience.seconds_max.saturating_mul(1000));
    let end = end.min(most);
    if now.0 >= end {
        return Err(Refusal::forbidden(
            "the statement holds no more (exp, or older than limits.statement_seconds_max)",
        ));
    }
    Ok(Time(end))
}

/// Seconds, perhaps with a fraction (RFC 7519, 2, NumericDate).
fn milliseconds(value: &Value) -> Option<u64> {
    if let Some(seconds) = value.as_u64() {
        return seconds.checked_mul(1000);
    }
    let seconds = value
        .as_f64()
        .filter(|seconds| (0.0..1e12).contains(seconds))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 10^15 by the line above"
    )]
    Some((seconds * 1000.0) as u64)
}

/// Longest statement: those of services have ten kilobytes.
pub const STATEMENT_BYTES_MAX: usize = 256 << 10;
/// Longest `jti` that is kept.
const ID_BYTES_MAX: usize = 128;
/// How long evidence is good after it was presented: time to wrap a handful of keys.
pub const EVIDENCE_SECONDS: u64 = 5 * 60;
/// How far clocks may differ.
const LEEWAY_MS: u64 = 5 * 60 * 1000;

impl Refusal {
    /// The code that the service's clouds would answer, for those who read journals: 400, 403, 429 or 500.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self.why {
            Why::Malformed => 400,
            Why::Forbidden => 403,
            Why::Throttled => 429,
            Why::Failed => 500,
        }
    }
}
