//! What Intel says on a platform: its certificate's extension, TCB info, and the identity of the quoting enclave.
//!
//! What lives here: the levels, as Intel's "PCK Certificate and CRL Profile" and its provisioning service describe them.
//! What must never live here: signatures.
//! Who calls it: `dcap`.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, SequenceRef};
use der::{DateTime, Decode, Reader, SliceReader};
use serde_json::Value;

use super::quote::{Body, Enclave, Machine, Quote};
use crate::certificate::{Certificate, in_time};
use crate::json::{self, Members};
use crate::{Collateral, EVIDENCE_BYTES_MAX, Kind, Refusal};

const WHAT: &str = "the certificate of the platform (PCK)";
const TCB_INFO: &str = "TCB info";
const IDENTITY: &str = "identity of the quoting enclave";

const EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
const TCB: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2");
const PCE_SVN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.17");
const PCE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.3");
const FMSPC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.4");
const COMPONENTS: usize = 16;

/// A platform, as its certificate describes it.
pub(super) struct Platform {
    components: [u16; COMPONENTS],
    pce_svn: u16,
    pce_id: [u8; 2],
    pub(super) fmspc: [u8; 6],
}

impl Platform {
    pub(super) fn read(leaf: &Certificate) -> Result<Self, Refusal> {
        let malformed = || Refusal::Malformed {
            what: WHAT,
            why: "Intel's extension is not there, or cannot be read",
        };
        let rows = rows(leaf.extension(EXTENSION).ok_or_else(malformed)?);
        let rows = rows.ok_or_else(malformed)?;
        let row = |wanted: ObjectIdentifier| {
            let found = rows.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| *value).ok_or_else(malformed)
        };
        let tcb = self::rows_of(row(TCB)?).ok_or_else(malformed)?;
        let level = |wanted: ObjectIdentifier| {
            let found = tcb.iter().find(|(name, _)| *name == wanted);
            let value = found.and_then(|(_, value)| value.decode_as::<u16>().ok());
            value.ok_or_else(malformed)
        };
        let mut components = [0; COMPONENTS];
        for (number, component) in (1..).zip(components.iter_mut()) {
            *component = level(TCB.push_arc(number).map_err(|_| malformed())?)?;
        }
        let bytes = |value: AnyRef<'_>| {
            let octets = value
                .decode_as::<&OctetStringRef>()
                .map_err(|_| malformed())?;
            Ok::<_, Refusal>(octets.as_bytes().to_vec())
        };
        Ok(Self {
            components,
            pce_svn: level(PCE_SVN)?,
            pce_id: bytes(row(PCE_ID)?)?.try_into().map_err(|_| malformed())?,
            fmspc: bytes(row(FMSPC)?)?.try_into().map_err(|_| malformed())?,
        })
    }
}

type Rows<'a> = Vec<(ObjectIdentifier, AnyRef<'a>)>;

/// A sequence of pairs of a name and a value.
fn rows(der: &[u8]) -> Option<Rows<'_>> {
    pairs(<&SequenceRef>::from_der(der).ok()?.as_bytes())
}

fn rows_of(value: AnyRef<'_>) -> Option<Rows<'_>> {
    pairs(value.value())
}

fn pairs(inside: &[u8]) -> Option<Rows<'_>> {
    let mut reader = SliceReader::new(inside).ok()?;
    let mut rows = Vec::new();
    while !reader.is_finished() {
        let pair = reader.decode::<&SequenceRef>().ok()?;
        let mut pair = SliceReader::new(pair.as_bytes()).ok()?;
        rows.push((pair.decode().ok()?, pair.decode().ok()?));
        if !pair.is_finished() {
            return None;
        }
    }
    Some(rows)
}

/// How Intel judges a platform of that state.
pub(super) struct Status {
    pub(super) name: &'static str,
    pub(super) advisories: Vec<String>,
    /// When the state was the newest; as Intel writes it.
    pub(super) date: String,
}

/// The names, from good to bad in the first part of each.
const UP_TO_DATE: &str = "UpToDate";
const OUT_OF_DATE: &str = "OutOfDate";
const CONFIGURATION_NEEDED: &str = "ConfigurationNeeded";
const HARDENING_NEEDED: &str = "SWHardeningNeeded";
const BOTH_NEEDED: &str = "ConfigurationAndSWHardeningNeeded";
const OUT_OF_DATE_AND_CONFIGURATION: &str = "OutOfDateConfigurationNeeded";
const STATUSES: [&str; 6] = [
    UP_TO_DATE,
    OUT_OF_DATE,
    CONFIGURATION_NEEDED,
    HARDENING_NEEDED,
    BOTH_NEEDED,
    OUT_OF_DATE_AND_CONFIGURATION,
];

/// Reads the status of the platform out of collateral whose signatures were verified.
pub(super) fn judge(
    platform: &Platform,
    quote: &Quote<'_>,
    collateral: &Collateral,
    now: u64,
) -> Result<Status, Refusal> {
    let document = |text: &str, what| json::parse(text.as_bytes(), EVIDENCE_BYTES_MAX, what);
    let tcb = document(&collateral.tcb_info, TCB_INFO)?;
    let tcb = Members::of(&tcb, TCB_INFO)?;
    let identity = document(&collateral.qe_identity, IDENTITY)?;
    let identity = Members::of(&identity, IDENTITY)?;
    current(&tcb, TCB_INFO, now)?;
    current(&identity, IDENTITY, now)?;
    let (id, quoting) = match quote.kind() {
        Kind::Tdx => ("TDX", "TD_QE"),
        Kind::SevSnp | Kind::Sgx | Kind::Nitro | Kind::Tpm => ("SGX", "QE"),
    };
    let is = |all: &Members<'_>, name: &str, version: u64| {
        Ok::<_, Refusal>(all.text("id")? == name && all.number("version")? == version)
    };
    if !is(&tcb, id, 3)? || !is(&identity, quoting, 2)? {
        return Err(Refusal::Mismatch {
            what: "the kind or version of the collateral",
            with: "the quote",
        });
    }
    if tcb.hex::<6>("fmspc")? != platform.fmspc || tcb.hex::<2>("pceId")? != platform.pce_id {
        return Err(Refusal::Mismatch {
            what: "the platform that the TCB info is for",
            with: "the certificate of the platform",
        });
    }
    let enclave = quoting_level(&identity, &quote.quoting)?;
    let machine = match &quote.body {
        Body::Machine(machine) => Some(&**machine),
        Body::Enclave(_) => None,
    };
    let mut status = platform_level(&tcb, platform, machine)?;
    let module = machine
        .map(|machine| module_level(&tcb, machine))
        .transpose()?;
    for other in module.flatten().into_iter().chain([enclave]) {
        status.name = converge(status.name, other.name);
        for advisory in other.advisories {
            if !status.advisories.contains(&advisory) {
                status.advisories.push(advisory);
            }
        }
    }
    Ok(status)
}

/// A part that is out of date makes the whole out of date.
fn converge(platform: &'static str, part: &str) -> &'static str {
    match (part, platform) {
        (OUT_OF_DATE, UP_TO_DATE | HARDENING_NEEDED | OUT_OF_DATE) => OUT_OF_DATE,
        (OUT_OF_DATE, _) => OUT_OF_DATE_AND_CONFIGURATION,
        _ => platform,
    }
}

fn current(all: &Members<'_>, what: &'static str, now: u64) -> Result<(), Refusal> {
    let time = |name| {
        let parsed = all.text(name)?.parse::<DateTime>();
        let parsed = parsed.map_err(|_| all.malformed("a time cannot be read"))?;
        Ok::<_, Refusal>(parsed.unix_duration().as_secs())
    };
    in_time(time("issueDate")?, time("nextUpdate")?, now, what)
}

/// The status of a level.
fn status(level: &Members<'_>) -> Result<Status, Refusal> {
    let name = level.text("tcbStatus")?;
    if name == "Revoked" {
        return Err(Refusal::Revoked {
            what: "the state of the platform's firmware or of its quoting enclave",
        });
    }
    let known = STATUSES.into_iter().find(|one| *one == name);
    let advisories = level.value("advisoryIDs").and_then(Value::as_array);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(Status {
        name: known.ok_or_else(|| level.malformed("a status of a level is not known"))?,
        advisories: advisories.into_iter().flatten().filter_map(text).collect(),
        date: level.text("tcbDate")?.to_owned(),
    })
}

/// The first level of the list, from the newest, that a state reaches.
fn first_level(
    all: &Members<'_>,
    reached: impl Fn(&Members<'_>) -> Result<bool, Refusal>,
    what: &'static str,
) -> Result<Status, Refusal> {
    for level in all.list("tcbLevels")? {
        let level = Members::of(level, what)?;
        if reached(&level.members("tcb")?)? {
            return status(&level);
        }
    }
    Err(Refusal::Unsupported {
        what,
        why: "it has no level for a state that old",
    })
}

fn quoting_level(identity: &Members<'_>, enclave: &Enclave<'_>) -> Result<Status, Refusal> {
    let masked = |value: &[u8], mask: &[u8], wanted: &[u8]| {
        value
            .iter()
            .zip(mask)
            .map(|(value, mask)| value & mask)
            .eq(wanted.iter().copied())
    };
    // A number that the document writes with its big end first.
    let mut miscselect = enclave.miscselect;
    miscselect.reverse();
    let same = masked(
        &miscselect,
        &identity.hex::<4>("miscselectMask")?,
        &identity.hex::<4>("miscselect")?,
    ) && masked(
        &enclave.attributes,
        &identity.hex::<16>("attributesMask")?,
        &identity.hex::<16>("attributes")?,
    ) && identity.hex::<32>("mrsigner")?.as_slice() == enclave.mrsigner
        && identity.number("isvprodid")? == u64::from(enclave.product);
    if !same {
        return Err(Refusal::Mismatch {
            what: "the quoting enclave of the quote",
            with: "the identity that Intel published",
        });
    }
    let reached = |tcb: &Members<'_>| Ok(tcb.number("isvsvn")? <= u64::from(enclave.svn));
    first_level(identity, reached, IDENTITY)
}

fn platform_level(
    tcb: &Members<'_>,
    platform: &Platform,
    machine: Option<&Machine<'_>>,
) -> Result<Status, Refusal> {
    let reached = |tcb: &Members<'_>| {
        let reaches = |name, state: &[u16], from: usize| {
            let components = tcb.list(name)?;
            if components.len() != COMPONENTS {
                return Err(tcb.malformed("a level has not 16 components"));
            }
            for (component, state) in components.iter().zip(state).skip(from) {
                if Members::of(component, TCB_INFO)?.number("svn")? > u64::from(*state) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if tcb.number("pcesvn")? > u64::from(platform.pce_svn)
            || !reaches("sgxtcbcomponents", &platform.components, 0)?
        {
            return Ok(false);
        }
        let Some(machine) = machine else {
            return Ok(true);
        };
        // The first two are the module's; from its major version 1 on it has levels of its own.
        let from = if machine.tee_tcb_svn[1] > 0 { 2 } else { 0 };
        let state = machine.tee_tcb_svn.map(u16::from);
        reaches("tdxtcbcomponents", &state, from)
    };
    first_level(tcb, reached, TCB_INFO)
}

/// The TDX module: it must be Intel's, and from major version 1 on it has a level.
fn module_level(tcb: &Members<'_>, machine: &Machine<'_>) -> Result<Option<Status>, Refusal> {
    let [svn, major, ..] = machine.tee_tcb_svn;
    let same = |module: &Members<'_>| {
        let mask = module.hex::<8>("attributesMask")?;
        let masked = machine.seam_attributes.iter().zip(mask);
        let attributes = masked.map(|(value, mask)| value & mask);
        let signer = module.hex::<48>("mrsigner")?;
        if signer.as_slice() == machine.mrsignerseam
            && attributes.eq(module.hex::<8>("attributes")?)
        {
            return Ok(());
        }
        Err(Refusal::Mismatch {
            what: "the TDX module of the quote",
            with: "the module that Intel published",
        })
    };
    if major == 0 {
        same(&tcb.members("tdxModule")?)?;
        return Ok(None);
    }
    let name = format!("TDX_{major:02X}");
    for module in tcb.list("tdxModuleIdentities")? {
        let module = Members::of(module, TCB_INFO)?;
        if module.text("id")?.eq_ignore_ascii_case(&name) {
            same(&module)?;
            let reached = |tcb: &Members<'_>| Ok(tcb.number("isvsvn")? <= u64::from(svn));
            return first_level(&module, reached, TCB_INFO).map(Some);
        }
    }
    Err(Refusal::Unsupported {
        what: TCB_INFO,
        why: "it does not know the TDX module of that version",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_part_makes_the_whole_old() {
        for (platform, part, whole) in [
            (UP_TO_DATE, UP_TO_DATE, UP_TO_DATE),
            (UP_TO_DATE, OUT_OF_DATE, OUT_OF_DATE),
            (HARDENING_NEEDED, OUT_OF_DATE, OUT_OF_DATE),
            (OUT_OF_DATE, UP_TO_DATE, OUT_OF_DATE),
            (
                CONFIGURATION_NEEDED,
                OUT_OF_DATE,
                OUT_OF_DATE_AND_CONFIGURATION,
            ),
            (BOTH_NEEDED, OUT_OF_DATE, OUT_OF_DATE_AND_CONFIGURATION),
            (BOTH_NEEDED, UP_TO_DATE, BOTH_NEEDED),
        ] {
            assert_eq!(converge(platform, part), whole, "{platform} and {part}");
        }
    }

    #[test]
    fn a_revoked_level_refuses_and_an_unknown_one_too() {
        let level = |status: &str| {
            let value = serde_json::json!({
                "tcbStatus": status, "tcbDate": "2024-03-13T00:00:00Z", "advisoryIDs": ["A"],
            });
            let level = Members::of(&value, "test").expect("an object");
            super::status(&level).map(|status| (status.name, status.advisories))
        };
        assert_eq!(level(OUT_OF_DATE), Ok((OUT_OF_DATE, vec!["A".to_owned()])));
        assert!(matches!(level("Revoked"), Err(Refusal::Revoked { .. })));
        assert!(matches!(level("Good"), Err(Refusal::Malformed { .. })));
    }
}
