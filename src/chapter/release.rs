//! Releases: keys that leave to a proven place (docs/release.md; no chapter of the standard has them).
//!
//! What lives here: what a workload presents, the session's key that comes of it, and the two ways in which a key leaves for it: as
//! C_WrapKey's bytes, and in a signed envelope.
//! What must never live here: whether a statement is true and a policy satisfied ([`crate::release`]), permission ([`crate::policy`]).
//! Who calls it: the service; the chapters of objects and wrapping for what concerns releases.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::random;
use strongroom_crypto::wrap::WrapKey;
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::ck::{
    AttributeType as A, KeyType, MechanismType, ObjectClass, UNAVAILABLE_INFORMATION,
};
use strongroom_wire::request::{KeyRelease, ObjectHandle};

use super::objects::keep_newcomer;
use super::wrapping::outside_form;
use super::{Desk, Reply};
use crate::attribute::Value;
use crate::attribute::draft::unique_id;
use crate::attribute::table::{Shape, presets};
use crate::attribute::template::{Create, Template};
use crate::audit::Principal;
use crate::error::{Error, Result};
use crate::mechanism::WrapScheme;
use crate::object::{Object, OpenKey};
use crate::policy::{Grant, Release, authorize_release};
use crate::ports::{Measurer, Time};
use crate::release::attested::Presented;
use crate::release::envelope::{Content, Encryption};
use crate::release::register::{ReleaseSettings, patience};
use crate::release::text::encoded;
use crate::release::{Account, Attested, Refusal, Releases, Why, local, rules};
use crate::token::Newcomer;
use crate::vault::Vault;

/// What releases need besides a session.
pub struct Releasing<'s> {
    /// What the daemon remembers of them.
    pub releases: &'s Releases,
    /// How the operator wants them.
    pub settings: &'s ReleaseSettings,
    /// Where authorities and signers are kept.
    pub vault: &'s Vault,
    /// Now.
    pub now: Time,
    /// What the journal will be told.
    pub account: &'s RefCell<Option<Box<Account>>>,
    /// Who asks.
    pub who: &'s Principal,
    /// What measures who asks.
    pub measurer: &'s dyn Measurer,
}

impl fmt::Debug for Releasing<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Releasing(for process {})", self.who.pid)
    }
}

impl Releasing<'_> {
    /// Leaves an account for the journal, whatever came of it.
    fn tell(&self, mut account: Account, refusal: Option<&Refusal>) {
        account.refusal = refusal.map(|refusal| format!("{} {}", refusal.status(), refusal.words));
        *self.account.borrow_mut() = Some(Box::new(account));
    }
}

/// A statement that was presented in a session, and what it is good for there.
#[derive(Debug)]
pub struct Guest {
    /// The session's own.
    pub session: strongroom_wire::request::SessionHandle,
    /// What was proved.
    pub attested: Attested,
}

/// Whether a template of C_CreateObject presents a statement: a data object of the reserved application.
pub fn presents(template: &Template<'_, Create>) -> bool {
    let application = template.entry(A::APPLICATION).map(|entry| entry.bytes());
    template.number(A::CLASS) == Ok(Some(ObjectClass::DATA.0))
        && matches!(application, Some(Ok(bytes)) if bytes == APPLICATION)
}

/// C_CreateObject of a statement: verified, it becomes a public key of the session, trusted to wrap keys whose policy the statement
/// satisfies, and nothing else. `CKA_VALUE` is the statement, `CKA_OBJECT_ID` the nonce, `CKA_LABEL` the new key's label.
///
/// # Errors
/// [`Error::AttributeValueInvalid`] for a statement that is not believed; [`Error::UserNotLoggedIn`]; [`Error::TemplateInconsistent`].
pub fn present(desk: &Desk<'_>, template: &Template<'_, Create>) -> Result<Reply> {
    let text = |kind| template.entry(kind).map(|entry| entry.bytes()).transpose();
    let known = [
        A::CLASS,
        A::APPLICATION,
        A::VALUE,
        A::OBJECT_ID,
        A::LABEL,
        A::TOKEN,
        A::PRIVATE,
    ];
    if template
        .entries()
        .iter()
        .any(|entry| !known.contains(&entry.kind))
    {
        return Err(Error::AttributeTypeInvalid);
    }
    let says_yes = |kind| Ok::<_, Error>(text(kind)?.is_some_and(|flag| flag != [0]));
    if says_yes(A::TOKEN)? || says_yes(A::PRIVATE)? {
        return Err(Error::TemplateInconsistent);
    }
    let statement = text(A::VALUE)?.ok_or(Error::TemplateIncomplete)?;
    let nonce = match text(A::OBJECT_ID)? {
        None | Some([]) => None,
        Some(nonce) => Some(std::str::from_utf8(nonce).map_err(|_| Error::AttributeValueInvalid)?),
    };
    if !desk.session.sees_private() {
        return Err(Error::UserNotLoggedIn);
    }
    let presented = Presented {
        target: statement,
        nonce,
    };
    let attested = attest(desk, presented).map_err(|refusal| match refusal.why {
        Why::Failed => Error::DeviceError,
        Why::Throttled => Error::FunctionFailed,
        Why::Malformed | Why::Forbidden => Error::AttributeValueInvalid,
    })?;
    let label = text(A::LABEL)?.unwrap_or_default();
    let newcomer = guest_key(&attested, label)?;
    let handle = keep_newcomer(desk, newcomer)?;
    desk.session.seat.take_in(
        handle,
        Guest {
            session: desk.session.handle,
            attested,
        },
    );
    Ok(Reply::Object(handle))
}

/// Verifies what is presented, and tells the journal.
fn attest(desk: &Desk<'_>, presented: Presented<'_>) -> std::result::Result<Attested, Refusal> {
    let releasing = &desk.releasing;
    let outcome = verified(desk, presented).and_then(|attested| {
        releasing.releases.use_once(
            releasing.vault,
            &attested,
            releasing.settings,
            releasing.now,
        )?;
        Ok(attested)
    });
    match &outcome {
        Ok(attested) => releasing.tell(attested.account(), None),
        Err(refusal) => releasing.tell(Account::default(), Some(refusal)),
    }
    outcome
}

/// By an authority that is registered, or by the daemon's own, which then looks at the process that asks.
fn verified(desk: &Desk<'_>, presented: Presented<'_>) -> std::result::Result<Attested, Refusal> {
    let releasing = &desk.releasing;
    let (now, patience) = (releasing.now, patience(desk.limits));
    let Some(runtime) = local::runtime_in(presented.target)? else {
        let authorities = releasing.releases.authorities();
        return Attested::verify(presented, &authorities, patience, now);
    };
    if !releasing.settings.local {
        return Err(local::unmeasured(
            "release.local is not switched on in the daemon's configuration",
        ));
    }
    let measured = releasing.measurer.measure(releasing.who);
    let measured = measured.map_err(|why| local::unmeasured(&why))?;
    let statement = local::statement(runtime, releasing.who, &measured, patience, now)?;
    Attested::of(statement, presented.nonce)
}

/// The public key that a statement names, as an object of the session.
fn guest_key(attested: &Attested, label: &[u8]) -> Result<Newcomer> {
    let key = &attested.key().key;
    let mut attributes = presets(Shape::RsaPublic).clone();
    for (flag, value) in [
        (A::TOKEN, false),
        (A::PRIVATE, false),
        (A::MODIFIABLE, false),
        (A::COPYABLE, false),
        (A::ENCRYPT, false),
        (A::VERIFY, false),
        (A::VERIFY_RECOVER, false),
        (A::DERIVE, false),
        (A::LOCAL, false),
        (A::WRAP, true),
        (A::TRUSTED, true),
    ] {
        attributes.set(flag, Value::Flag(value));
    }
    for (number, value) in [
        (A::CLASS, ObjectClass::PUBLIC_KEY.0),
        (A::KEY_TYPE, KeyType::RSA.0),
        (A::MODULUS_BITS, key.bits() as u64),
        (A::KEY_GEN_MECHANISM, UNAVAILABLE_INFORMATION),
    ] {
        attributes.set(number, Value::Number(value));
    }
    for (kind, bytes) in [
        (A::LABEL, label.to_vec()),
        (A::ID, attested.key().kid.as_bytes().to_vec()),
        (A::MODULUS, key.modulus().to_vec()),
        (A::PUBLIC_EXPONENT, key.public_exponent()?),
        (A::PUBLIC_KEY_INFO, key.to_spki_der()?),
    ] {
        attributes.set(kind, Value::Bytes(bytes.into()));
    }
    attributes.set(
        A::ALLOWED_MECHANISMS,
        Value::Numbers([MechanismType::RSA_AES_KEY_WRAP.0].into()),
    );
    attributes.set(A::UNIQUE_ID, unique_id()?);
    let key = strongroom_crypto::rsa::RsaPublicKey::from_components(
        key.modulus(),
        &key.public_exponent()?,
    )?;
    Ok(Newcomer {
        attributes,
        material: None,
        open: Some(Arc::new(OpenKey::RsaPublic(key))),
    })
}

/// Whether a key may leave under a wrapping key at all, and as a release: a key with a policy leaves to those that were attested in this
/// session, and they get no other key. Answers the grant of a release, or none where none is asked; with it, [`leaves`] lets the key go.
///
/// # Errors
/// [`Error::KeyNotWrappable`] and what [`authorize_release`] says.
pub fn way_out(
    desk: &Desk<'_>,
    wrapping: &Object,
    target: &Arc<Object>,
) -> Result<Option<Grant<Release>>> {
    match (
        desk.session.seat.guest(wrapping.handle),
        rules::policy_of(target),
    ) {
        (None, None) => Ok(None),
        (Some(guest), Some(_)) if guest.session == desk.session.handle => {
            permitted(desk, &guest.attested, target).map(Some)
        }
        _ => Err(Error::KeyNotWrappable),
    }
}

/// Asks for a release, and tells the journal. No key has left yet.
fn permitted(desk: &Desk<'_>, attested: &Attested, target: &Arc<Object>) -> Result<Grant<Release>> {
    let releasing = &desk.releasing;
    let mut account = attested.account();
    let still = releasing
        .releases
        .believes(attested.authority(), releasing.settings);
    let asked = if still {
        authorize_release(
            desk.session,
            target.clone(),
            attested,
            releasing.now,
            &mut account,
        )
    } else {
        let words = "the authority of the statement is not registered any more";
        Err((Error::KeyNotWrappable, Refusal::forbidden(words)))
    };
    match asked {
        Ok(grant) => {
            account.withheld = true;
            releasing.tell(account, None);
            Ok(grant)
        }
        Err((error, refusal)) => {
            releasing.tell(account, Some(&refusal));
            Err(error)
        }
    }
}

/// Lets a key leave that may: it counts among those of this minute, and the journal is told. Who asks for a length alone does not come here.
///
/// # Errors
/// [`Error::FunctionFailed`] when there were too many.
pub fn leaves(desk: &Desk<'_>, _permitted: &Grant<Release>) -> Result<()> {
    let releasing = &desk.releasing;
    let told = releasing.account.borrow_mut().take();
    let account = Account {
        withheld: false,
        ..told.map(|told| *told).unwrap_or_default()
    };
    let admitted = releasing.releases.admit(desk.limits, releasing.now);
    releasing.tell(account, admitted.as_ref().err());
    admitted.map_err(|_| Error::FunctionFailed)
}

/// Releases a key in an envelope (docs/release-format.md).
///
/// # Errors
/// [`Error::DataInvalid`] for what cannot be read, [`Error::ActionProhibited`] for a statement that is not believed, and what asking says.
pub fn release_key(desk: &Desk<'_>, key: ObjectHandle, asked: &KeyRelease<'_>) -> Result<Reply> {
    let target = desk.key(key)?;
    if !desk.session.sees_private() {
        return Err(Error::UserNotLoggedIn);
    }
    if rules::policy_of(&target).is_none() {
        return Err(Error::KeyUnextractable);
    }
    let encryption = Encryption::named(asked.encryption).ok_or(Error::ArgumentsBad)?;
    let presented = Presented {
        target: asked.statement,
        nonce: asked.nonce,
    };
    let attested = attest(desk, presented).map_err(|refusal| match refusal.why {
        Why::Malformed => Error::DataInvalid,
        Why::Forbidden => Error::ActionProhibited,
        Why::Throttled => Error::FunctionFailed,
        Why::Failed => Error::DeviceError,
    })?;
    let grant = permitted(desk, &attested, &target)?;
    leaves(desk, &grant)?;
    if let Some(account) = desk.releasing.account.borrow_mut().as_mut() {
        account.encryption = Some(encryption.name());
    }
    let envelope = enveloped(desk, &grant, &attested, encryption, asked)?;
    let mut data = SecretVec::new();
    data.push_slice(envelope.as_bytes())?;
    Ok(Reply::Output {
        length: data.len() as u64,
        data: Some(data),
    })
}

fn enveloped(
    desk: &Desk<'_>,
    grant: &Grant<Release>,
    attested: &Attested,
    encryption: Encryption,
    asked: &KeyRelease<'_>,
) -> Result<String> {
    let releasing = &desk.releasing;
    let object = grant.object();
    let public = public_members(object, grant.key())?;
    let state = desk.session.token().state(desk.limits);
    let host = host_of(
        &state.label,
        &state.serial_number,
        &releasing.settings.domain,
    );
    let name = name_of(object);
    let (address, version) = (format!("https://{host}/keys/{name}"), object.unique_id());
    let key_id = format!("{address}/{version}");
    let plain = outside_form(desk, object, WrapScheme::RsaAes)?;
    let ciphertext = encrypted(attested, encryption, &plain)?;
    let content = Content {
        asked: if asked.versioned { &key_id } else { &address },
        key_id: &key_id,
        public,
        attributes: attributes_of(object),
        policy: rules::policy_of(object).unwrap_or_default(),
        immutable: rules::is_immutable(&object.attributes),
        encryption,
        target: &attested.key().kid,
        nonce: asked.nonce,
        ciphertext: ciphertext.expose(),
    };
    let failed = |refusal: Refusal| {
        let account = releasing.account.borrow_mut().take();
        releasing.tell(
            account.map(|account| *account).unwrap_or_default(),
            Some(&refusal),
        );
        Error::DeviceError
    };
    let signer = releasing
        .releases
        .signer(releasing.vault, &state.serial_number, &host, releasing.now)
        .map_err(failed)?;
    signer.sign(&content).map_err(failed)
}

/// PKCS#11 3.2, 6.1.23, `CKM_RSA_AES_KEY_WRAP`, with a temporary key of 256 bits.
fn encrypted(
    attested: &Attested,
    encryption: Encryption,
    plain: &SecretBytes,
) -> Result<SecretVec> {
    let temporary = SecretBytes::filled_by(32, |bytes| random::fill(bytes).map_err(Error::from))?;
    let hash = encryption.hash();
    let mut out = SecretVec::new();
    let sealed = temporary.with(|aes| attested.key().key.encrypt_oaep(hash, hash, &[], aes))?;
    out.push_slice(&sealed)?;
    let wrap = temporary.with(WrapKey::new)?;
    plain.with(|plain| wrap.kwp_wrap(plain, &mut out))?;
    Ok(out)
}

/// What is public of a key, as members of a JSON Web Key (RFC 7517, 7518, 8037), and what it may do.
fn public_members(object: &Object, key: &OpenKey) -> Result<Json> {
    let mut members = match key {
        OpenKey::Secret(_) => json!({"kty": "oct-HSM"}),
        OpenKey::RsaPrivate(key) => {
            let (n, e) =
                crate::release::jwk::rsa_members(&key.public()?).ok_or(Error::GeneralError)?;
            json!({"kty": "RSA-HSM", "n": n, "e": e})
        }
        OpenKey::EcPrivate(key) => ec_members(key)?,
        OpenKey::Ed25519Private(key) => {
            json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public().bytes())})
        }
        _ => return Err(Error::KeyTypeInconsistent),
    };
    let operations: Vec<&str> = [
        (A::ENCRYPT, "encrypt"),
        (A::DECRYPT, "decrypt"),
        (A::SIGN, "sign"),
        (A::VERIFY, "verify"),
        (A::WRAP, "wrapKey"),
        (A::UNWRAP, "unwrapKey"),
        (A::DERIVE, "deriveKey"),
    ]
    .into_iter()
    .filter(|(flag, _)| object.is(*flag))
    .map(|(_, name)| name)
    .collect();
    if let Some(members) = members.as_object_mut() {
        members.insert("key_ops".to_owned(), Json::from(operations));
    }
    Ok(members)
}

fn ec_members(key: &EcPrivateKey) -> Result<Json> {
    let curve = match key.curve() {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
        Curve::P521 => "P-521",
        Curve::Secp256k1 => "P-256K",
        Curve::P224 => return Err(Error::KeyTypeInconsistent),
    };
    // SEC 1, 2.3.3: 4, then both coordinates.
    let coordinates = key.point().get(1..).unwrap_or_default();
    let (x, y) = coordinates
        .split_at_checked(key.curve().field_bytes())
        .ok_or(Error::GeneralError)?;
    Ok(json!({"kty": "EC-HSM", "crv": curve, "x": encoded(x), "y": encoded(y)}))
}

fn attributes_of(object: &Object) -> Json {
    let mut members = json!({"enabled": true, "exportable": true});
    for (kind, name) in [(A::START_DATE, "nbf"), (A::END_DATE, "exp")] {
        let date = object
            .attributes
            .bytes(kind)
            .and_then(crate::calendar::Date::parse);
        if let (Some(date), Some(members)) = (date, members.as_object_mut()) {
            members.insert(name.to_owned(), Json::from(date.seconds()));
        }
    }
    members
}

/// The host that a token would be in a cloud: its label, as far as a name of a host allows it, or its serial number.
fn host_of(label: &[u8], serial: &str, domain: &str) -> String {
    let label = String::from_utf8_lossy(label);
    let label: String = label
        .trim_end()
        .chars()
        .map(|sign| match sign.to_ascii_lowercase() {
            sign @ ('a'..='z' | '0'..='9') => sign,
            _ => '-',
        })
        .collect();
    let label = label.trim_matches('-');
    let name = if label.is_empty() { serial } else { label };
    format!("{name}.{domain}")
}

/// The name of a key in its address: its label, with what does not belong into a URL as `%XX` (RFC 3986, 2.1); its id without one.
fn name_of(object: &Object) -> String {
    let label = object.attributes.bytes(A::LABEL).unwrap_or_default();
    if label.is_empty() {
        return object.unique_id().to_owned();
    }
    label
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// `CKA_APPLICATION` of a data object that is a statement.
pub const APPLICATION: &[u8] = b"strongroom-release";

#[cfg(test)]
mod tests;
