//! Intel: quotes of SGX enclaves and of TDX machines.
//!
//! What lives here: the order of the checks, and the claims.
//! What must never live here: the layout of a quote, and what Intel publishes about platforms.
//! Who calls it: `verify`.

mod platform;
mod quote;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::platform::Platform;
use self::quote::{Body, Enclave, Machine, Quote};
use crate::certificate::{Certificate, Revocations};
use crate::key::{Algorithm, EcdsaForm, Key};
use crate::read::hex;
use crate::runtime::{self, Field};
use crate::{Collateral, Kind, Refusal, Roots, Verified, chain, pem};

const QUOTE: &str = "quote";
const PLATFORM: &str = "the certificate of the platform (PCK)";
const SIGNER: &str = "the certificate of the signer of collateral";

/// Verifies a quote with its collateral.
pub(crate) fn verify(
    kind: Kind,
    bytes: &[u8],
    collateral: &Collateral,
    runtime: Option<&[u8]>,
    roots: &Roots,
    now: u64,
) -> Result<Verified, Refusal> {
    let quote = Quote::read(bytes)?;
    if quote.kind() != kind {
        return Err(Refusal::Mismatch {
            what: "the kind of the quote",
            with: "the format of the evidence",
        });
    }
    let leaf = attested(&quote)?;
    let certificates = pem::certificates(quote.certificates, chain::CERTIFICATES_MAX);
    let certificates = certificates.unwrap_or_default();
    let (_, others) = chain::leaf_first(&certificates, PLATFORM)?;
    trusted(&leaf, &others, collateral, roots, now)?;
    let signed = |text: &str, signature: &[u8], issuers: &str, what| {
        published(text, signature, issuers, what, collateral, roots, now)
    };
    signed(
        &collateral.tcb_info,
        &collateral.tcb_info_signature,
        &collateral.tcb_info_issuer_chain,
        "TCB info",
    )?;
    signed(
        &collateral.qe_identity,
        &collateral.qe_identity_signature,
        &collateral.qe_identity_issuer_chain,
        "identity of the quoting enclave",
    )?;
    let platform = Platform::read(&leaf)?;
    let status = platform::judge(&platform, &quote, collateral, now)?;
    let field = Field {
        bytes: quote.body.report_data(),
        length: 64,
        name: "the report data of the quote (the first 32 of 64 bytes, zeros behind)",
    };
    let runtime = runtime::bound(runtime, field)?;
    let mut claims = match &quote.body {
        Body::Enclave(enclave) => enclave_claims(enclave, bytes, collateral),
        Body::Machine(machine) => machine_claims(machine),
    };
    claims["attester_tcb_status"] = status.name.into();
    claims["attester_advisory_ids"] = status.advisories.clone().into();
    claims["attester_fmspc"] = hex(&platform.fmspc).into();
    claims["attester_tcb_date"] = status.date.into();
    Ok(runtime::with_claims(claims, runtime))
}

/// From the quote to the platform: its key signed the body, the quoting enclave vouches for the key, the platform for the enclave.
fn attested(quote: &Quote<'_>) -> Result<Certificate, Refusal> {
    let refused = |what| Err(Refusal::Signature { what });
    let signs = |key: &Key, message: &[u8], signature: &[u8]| {
        key.verifies(Algorithm::EcdsaSha256, EcdsaForm::Fixed, message, signature)
    };
    let key = Key::p256(&[&[4], quote.key].concat());
    if !key.is_some_and(|key| signs(&key, quote.signed, quote.signature)) {
        return refused(QUOTE);
    }
    let mut vouching = Sha256::digest([quote.key, quote.authentication].concat()).to_vec();
    vouching.resize(64, 0);
    if quote.quoting.report_data != vouching {
        return Err(Refusal::Mismatch {
            what: "the key of the quote",
            with: "what the quoting enclave vouches for",
        });
    }
    let certificates = pem::certificates(quote.certificates, chain::CERTIFICATES_MAX);
    let certificates = certificates.ok_or(Refusal::Malformed {
        what: PLATFORM,
        why: "the quote does not carry a chain in PEM",
    })?;
    let (leaf, _) = chain::leaf_first(&certificates, PLATFORM)?;
    if !matches!(leaf.key, Key::P256(_))
        || !signs(&leaf.key, quote.quoting_signed, quote.quoting_signature)
    {
        return refused("the report of the quoting enclave");
    }
    Ok(leaf)
}

/// The platform's certificate is Intel's and nothing on the way was revoked.
fn trusted(
    leaf: &Certificate,
    others: &[Certificate],
    collateral: &Collateral,
    roots: &Roots,
    now: u64,
) -> Result<(), Refusal> {
    if !leaf.may_state() {
        return Err(Refusal::Unsupported {
            what: PLATFORM,
            why: "it is not of a signer of reports",
        });
    }
    let path = chain::to_root(leaf, others, roots, now, PLATFORM)?;
    let [_, authority, root] = path.as_slice() else {
        return Err(Refusal::Untrusted { what: PLATFORM });
    };
    Revocations::parse(&collateral.pck_crl, "the platform's CRL")?
        .spare(leaf, authority, now, PLATFORM)?;
    Revocations::parse(&collateral.root_ca_crl, "the root's CRL")?.spare(
        authority,
        root,
        now,
        "the authority of the platform",
    )
}

/// What Intel publishes is signed by a certificate right below the root.
fn published(
    text: &str,
    signature: &[u8],
    issuers: &str,
    what: &'static str,
    collateral: &Collateral,
    roots: &Roots,
    now: u64,
) -> Result<(), Refusal> {
    let certificates = pem::certificates(issuers, chain::CERTIFICATES_MAX);
    let certificates = certificates.ok_or(Refusal::Malformed {
        what: SIGNER,
        why: "it is not PEM",
    })?;
    let (leaf, others) = chain::leaf_first(&certificates, SIGNER)?;
    let verifies = leaf.key.verifies(
        Algorithm::EcdsaSha256,
        EcdsaForm::Fixed,
        text.as_bytes(),
        signature,
    );
    if !verifies || !leaf.may_state() {
        return Err(Refusal::Signature { what });
    }
    let path = chain::to_root(&leaf, &others, roots, now, SIGNER)?;
    let [_, root] = path.as_slice() else {
        return Err(Refusal::Untrusted { what: SIGNER });
    };
    // A platform's certificate is never right below the root; Intel's signer is, and has this name.
    if !leaf.is_named("Intel SGX TCB Signing") {
        return Err(Refusal::Unsupported {
            what: SIGNER,
            why: "it is not of Intel's signer of TCB info",
        });
    }
    Revocations::parse(&collateral.root_ca_crl, "the root's CRL")?.spare(&leaf, root, now, SIGNER)
}

fn enclave_claims(enclave: &Enclave<'_>, quote: &[u8], collateral: &Collateral) -> Value {
    let digest = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    json!({
        "x-ms-attestation-type": "sgx",
        "x-ms-sgx-is-debuggable": enclave.attributes[0] & 2 != 0,
        "x-ms-sgx-product-id": enclave.product,
        "x-ms-sgx-mrsigner": hex(enclave.mrsigner),
        "x-ms-sgx-mrenclave": hex(enclave.mrenclave),
        "x-ms-sgx-svn": enclave.svn,
        "x-ms-sgx-report-data": hex(enclave.report_data),
        "x-ms-sgx-config-id": hex(enclave.config_id),
        "x-ms-sgx-config-svn": enclave.config_svn,
        "x-ms-sgx-isv-extended-product-id": hex(enclave.extended_product),
        "x-ms-sgx-isv-family-id": hex(enclave.family),
        "x-ms-sgx-collateral": {
            "qeidcertshash": digest(collateral.qe_identity_issuer_chain.as_bytes()),
            "qeidcrlhash": digest(&collateral.root_ca_crl),
            "qeidhash": digest(collateral.qe_identity.as_bytes()),
            "quotehash": digest(quote),
            "tcbinfocertshash": digest(collateral.tcb_info_issuer_chain.as_bytes()),
            "tcbinfocrlhash": digest(&collateral.pck_crl),
            "tcbinfohash": digest(collateral.tcb_info.as_bytes()),
        },
    })
}

fn machine_claims(machine: &Machine<'_>) -> Value {
    let attributes = u64::from_le_bytes(machine.td_attributes);
    let bit = |bit: u32| attributes >> bit & 1 == 1;
    let [rtmr0, rtmr1, rtmr2, rtmr3] = machine.rtmrs.map(hex);
    // "Intel TDX Module ABI", ATTRIBUTES: any bit of the first byte (TUD) makes the machine untrusted.
    let untrusted = machine.td_attributes[0] != 0;
    let mut claims = json!({
        "x-ms-attestation-type": "tdxvm",
        "dbgstat": if untrusted { "enabled" } else { "disabled" },
        "tdx_mrtd": hex(machine.mrtd),
        "tdx_mrseam": hex(machine.mrseam),
        "tdx_mrsignerseam": hex(machine.mrsignerseam),
        "tdx_mrconfigid": hex(machine.mrconfigid),
        "tdx_mrowner": hex(machine.mrowner),
        "tdx_mrownerconfig": hex(machine.mrownerconfig),
        "tdx_rtmr0": rtmr0,
        "tdx_rtmr1": rtmr1,
        "tdx_rtmr2": rtmr2,
        "tdx_rtmr3": rtmr3,
        "tdx_report_data": hex(machine.report_data),
        "tdx_seam_attributes": hex(&machine.seam_attributes),
        "tdx_seamsvn": machine.tee_tcb_svn[0],
        "tdx_tee_tcb_svn": hex(&machine.tee_tcb_svn),
        "tdx_xfam": hex(&machine.xfam),
        "tdx_td_attributes": hex(&machine.td_attributes),
        "tdx_td_attributes_debug": bit(0),
        "tdx_td_attributes_septve_disable": bit(28),
        "tdx_td_attributes_migratable": bit(29),
        "tdx_td_attributes_protection_keys": bit(30),
        "tdx_td_attributes_key_locker": bit(31),
        "tdx_td_attributes_perfmon": bit(63),
    });
    if let Some(later) = &machine.later {
        claims["tdx_tee_tcb_svn2"] = hex(later.tee_tcb_svn).into();
        claims["tdx_mrservicetd"] = hex(later.mrservicetd).into();
    }
    claims
}
