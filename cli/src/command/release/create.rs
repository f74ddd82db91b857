//! `strongroom key create`.
//!
//! What lives here: making a key that a release policy lets out, through the PKCS#11 module as any application does.
//! What must never live here: what a policy is; the token judges it.
//! Who calls it: the commands of releases.

use std::fs;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType};
use strongroom_wire::ck;

use crate::arguments::{KeyCreateArguments, NewKeyKind};
use crate::command::wrap::prepared;
use crate::command::wrap::token::{Token, failure};
use crate::command::{Bench, tell_done};
use crate::failure::Failure;
use crate::{output, pin};

/// Runs `key create`.
pub(super) fn run(bench: Bench<'_>, arguments: &KeyCreateArguments) -> Result<(), Failure> {
    let module = prepared(
        bench,
        None,
        arguments.pin_file.as_deref(),
        arguments.module.as_deref(),
    )?;
    let path = &arguments.release_policy;
    let policy = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let token = Token::open_to_write(&module, &arguments.hsm, || {
        pin::existing(arguments.pin_file.as_deref())
    })?;
    make(&token, arguments, policy).map_err(|error| {
        failure(
            &format!(
                "the key was not made; a policy is JSON as docs/release.md describes it ({})",
                path.display()
            ),
            &error,
        )
    })?;
    token.close();
    tell_done(
        bench.format,
        &format!(
            "the key \"{}\" is in token \"{}\"",
            output::printable(&arguments.label),
            output::printable(&arguments.hsm)
        ),
    )
}

fn make(
    token: &Token,
    arguments: &KeyCreateArguments,
    policy: Vec<u8>,
) -> Result<(), cryptoki::error::Error> {
    let label = Attribute::Label(arguments.label.as_bytes().to_vec());
    let id = arguments.id.as_ref().map(|id| Attribute::Id(id.0.clone()));
    let named = || {
        [Attribute::Token(true), label.clone()]
            .into_iter()
            .chain(id.clone())
    };
    let ours = |kind: ck::AttributeType| AttributeType::VendorDefined(kind.0);
    let immutable = vec![u8::from(arguments.immutable)];
    let mut secret: Vec<Attribute> = named().collect();
    secret.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::VendorDefined((ours(ck::AttributeType::STRONGROOM_RELEASE_POLICY), policy)),
        Attribute::VendorDefined((
            ours(ck::AttributeType::STRONGROOM_RELEASE_POLICY_IMMUTABLE),
            immutable,
        )),
    ]);
    let public = |more: Attribute| -> Vec<Attribute> { named().chain([more]).collect() };
    let session = &token.session;
    let pair = |mechanism, more| {
        session
            .generate_key_pair(&mechanism, &public(more), &secret)
            .map(|_| ())
    };
    let rsa = |bits: u64| {
        pair(
            Mechanism::RsaPkcsKeyPairGen,
            Attribute::ModulusBits(bits.into()),
        )
    };
    let curve = |parameters: &[u8]| {
        pair(
            Mechanism::EccKeyPairGen,
            Attribute::EcParams(parameters.to_vec()),
        )
    };
    match arguments.kind {
        NewKeyKind::Aes256 => {
            secret.push(Attribute::ValueLen(32.into()));
            session
                .generate_key(&Mechanism::AesKeyGen, &secret)
                .map(|_| ())
        }
        NewKeyKind::Rsa2048 => rsa(2048),
        NewKeyKind::Rsa3072 => rsa(3072),
        NewKeyKind::Rsa4096 => rsa(4096),
        NewKeyKind::EcP256 => curve(P256),
        NewKeyKind::EcP384 => curve(P384),
        NewKeyKind::EcP521 => curve(P521),
    }
}

/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
