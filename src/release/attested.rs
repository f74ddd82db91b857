//! What a verified statement is good for: one key to encrypt to, and the policies that it satisfies.
//!
//! What lives here: the nonce, the encryption key of a statement, and the decision for one key.
//! What must never live here: a key of the token.
//! Who calls it: the chapter of releases.

use serde_json::Value;

use super::Refusal;
use super::account::Account;
use super::authority::Authority;
use super::jwk::{EncryptionKey, encryption_key};
use super::policy::Policy;
use super::statement::{Patience, Statement};
use super::text::{encoded, standard};
use crate::ports::Time;

/// A place that an authority has described, and the key it can decrypt with.
#[derive(Debug)]
pub struct Attested {
    statement: Statement,
    key: EncryptionKey,
}

/// What somebody presents.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'p> {
    /// The statement.
    pub target: &'p [u8],
    /// What must stand in it, so that it is known to be fresh.
    pub nonce: Option<&'p str>,
}

impl Attested {
    /// Verifies what is presented.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn verify(
        presented: Presented<'_>,
        authorities: &[Authority],
        patience: Patience,
        now: Time,
    ) -> Result<Self, Refusal> {
        let statement = Statement::verify(presented.target, authorities, patience, now)?;
        Self::of(statement, presented.nonce)
    }

    /// What a statement is good for that was verified already.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn of(statement: Statement, nonce: Option<&str>) -> Result<Self, Refusal> {
        if let Some(nonce) = nonce
            && !has_nonce(&statement.claims, nonce)
        {
            return Err(Refusal::forbidden(
                "the nonce stands neither in nonce nor in x-ms-runtime.client-payload.nonce of the statement",
            ));
        }
        // Only here: what lies deeper, as in x-ms-isolation-tee, belongs to somebody else.
        let runtime = statement.claims.get("x-ms-runtime").unwrap_or(&Value::Null);
        let key = encryption_key(runtime).map_err(Refusal::forbidden)?;
        Ok(Self { statement, key })
    }

    /// Whose word it is.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.statement.authority
    }

    /// The key to encrypt to.
    #[must_use]
    pub const fn key(&self) -> &EncryptionKey {
        &self.key
    }

    /// By which the statement is known again.
    #[must_use]
    pub fn id(&self) -> (&str, &str) {
        (&self.statement.authority.url, &self.statement.id)
    }

    /// The first moment at which it holds no more.
    #[must_use]
    pub const fn expires(&self) -> Time {
        self.statement.expires
    }

    /// What the journal is told of it.
    #[must_use]
    pub fn account(&self) -> Account {
        Account {
            authority: Some(self.statement.authority.url.clone()),
            statement: Some(self.statement.id.clone()),
            key: Some(self.key.thumbprint.clone()),
            ..Account::default()
        }
    }

    /// Whether a key with this policy may leave to this place now; the account tells how that was found.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn satisfies(
        &self,
        policy: &[u8],
        now: Time,
        account: &mut Account,
    ) -> Result<(), Refusal> {
        account.policy = Some(Policy::hash(policy)?);
        if now >= self.statement.expires {
            return Err(Refusal::forbidden("the statement holds no more"));
        }
        let policy = Policy::parse(policy).map_err(Refusal::forbidden)?;
        if !policy.names(&self.statement.authority.url) {
            return Err(Refusal::forbidden(
                "the issuer of the statement is no authority of the key's release policy",
            ));
        }
        let decision = policy.decide(&self.statement.authority.url, &self.statement.claims);
        account.entry = decision.entry.and_then(|entry| u64::try_from(entry).ok());
        account.trace = Some(decision.trace);
        match decision.entry {
            Some(_) => Ok(()),
            None => Err(Refusal::forbidden(
                "the statement does not meet the key's release policy",
            )),
        }
    }
}

/// A nonce stands in one of two places: as it is, or in base64.
fn has_nonce(claims: &Value, nonce: &str) -> bool {
    let plain = claims.get("nonce").and_then(Value::as_str);
    let deep = claims
        .pointer("/x-ms-runtime/client-payload/nonce")
        .and_then(Value::as_str);
    plain == Some(nonce)
        || deep.is_some_and(|deep| {
            deep == standard(nonce.as_bytes()) || deep == encoded(nonce.as_bytes())
        })
}
