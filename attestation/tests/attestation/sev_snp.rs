//! AMD SEV-SNP: a real report of a Milan, and reports under roots of our own.
//!
//! What lives here: what holds, and what is refused.
//! What must never live here: how bytes are altered.
//! Who calls it: the runner of the tests.

use der::pem::LineEnding;
use sha2::{Digest, Sha256};
use strongroom_attestation::{Evidence, Kind, Proof, Refusal, Roots, Verified, verify};

use crate::altered;
use crate::forge::{NOW, Party, UNTIL, authority, extension, oid, tlv};

const REPORT: &[u8] = include_bytes!("../data/snp/report-milan.bin");
const VCEK: &[u8] = include_bytes!("../data/snp/vcek-milan.der");
const ASK: &str = include_str!("../data/snp/ask-milan.pem");
const ARK: &str = include_str!("../data/snp/ark-milan.pem");

fn der(pem: &str) -> Vec<u8> {
    der::pem::decode_vec(pem.as_bytes()).unwrap().1
}

fn evidence(report: &[u8], certificates: &[Vec<u8>], runtime: Option<&[u8]>) -> Evidence {
    Evidence {
        proof: Proof::SevSnp {
            report: report.to_vec(),
            certificates: certificates.to_vec(),
        },
        runtime: runtime.map(<[u8]>::to_vec),
    }
}

fn real(report: &[u8], certificates: &[Vec<u8>]) -> Result<Verified, Refusal> {
    let roots = Roots::parse(Kind::SevSnp, ARK.as_bytes()).unwrap();
    verify(&evidence(report, certificates, None), &roots, NOW)
}

#[test]
fn a_real_report_becomes_claims() {
    let claims = real(REPORT, &[VCEK.to_vec(), der(ASK)]).unwrap().claims;
    assert_eq!(claims["x-ms-attestation-type"], "sevsnpvm");
    assert_eq!(
        claims["x-ms-sevsnpvm-launchmeasurement"],
        "7a1e5c266c0108dbc9bb94fa9269513209 40915d0aafb42464bd88b579ea158d3e1a0dc39b2c60bd95b9c480cd81841f"
            .replace(' ', "")
    );
    assert_eq!(claims["x-ms-sevsnpvm-bootloader-svn"], 3);
    assert_eq!(claims["x-ms-sevsnpvm-tee-svn"], 0);
    assert_eq!(claims["x-ms-sevsnpvm-snpfw-svn"], 8);
    assert_eq!(claims["x-ms-sevsnpvm-microcode-svn"], 115);
    assert_eq!(claims["x-ms-sevsnpvm-is-debuggable"], false);
    assert_eq!(claims["x-ms-sevsnpvm-smt-allowed"], true);
    assert_eq!(claims["x-ms-sevsnpvm-migration-allowed"], false);
    assert_eq!(claims["x-ms-sevsnpvm-vmpl"], 0);
    assert_eq!(claims["sev-snp-product"], "Milan-B0");
    assert_eq!(claims["sev-snp-signer"], "vcek");
    assert_eq!(claims.get("x-ms-runtime"), None);
}

#[test]
fn amds_other_roots_can_be_pinned_and_do_not_vouch_for_this_chip() {
    for (generation, ark, ask) in [
        (
            "genoa",
            include_str!("../data/snp/ark-genoa.pem"),
            include_str!("../data/snp/ask-genoa.pem"),
        ),
        (
            "turin",
            include_str!("../data/snp/ark-turin.pem"),
            include_str!("../data/snp/ask-turin.pem"),
        ),
    ] {
        let roots = Roots::parse(Kind::SevSnp, ark.as_bytes()).unwrap();
        for chain in [vec![VCEK.to_vec(), der(ASK)], vec![VCEK.to_vec(), der(ask)]] {
            let refusal = verify(&evidence(REPORT, &chain, None), &roots, NOW);
            assert!(
                matches!(refusal, Err(Refusal::Untrusted { .. })),
                "{generation}"
            );
        }
    }
    // Another chip's key, of another generation.
    let turin = include_bytes!("../data/snp/vcek-turin.der").to_vec();
    assert!(matches!(
        real(REPORT, &[turin, der(ASK)]),
        Err(Refusal::Signature { .. })
    ));
}

#[test]
fn an_authority_between_is_no_root() {
    assert!(matches!(
        Roots::parse(Kind::SevSnp, ASK.as_bytes()),
        Err(Refusal::Signature { .. })
    ));
}

#[test]
fn every_bit_of_a_real_report_is_vouched_for() {
    let chain = [VCEK.to_vec(), der(ASK)];
    altered::every_bit_is_refused(REPORT, &|report| real(report, &chain));
    altered::every_length_is_refused(REPORT, &|report| real(report, &chain));
    altered::rubbish_is_refused(REPORT, &|report| real(report, &chain));
}

#[test]
fn every_byte_of_the_certificates_is_vouched_for() {
    let ask = der(ASK);
    let trial = |leaf: &[u8]| real(REPORT, &[leaf.to_vec(), ask.clone()]);
    // All bits of the chip's own certificate; one in each byte of the two that AMD makes for a generation, whose signatures are slow.
    altered::every_bit_is_refused(VCEK, &trial);
    let trial = |ask: &[u8]| real(REPORT, &[VCEK.to_vec(), ask.to_vec()]);
    altered::every_byte_is_refused(&ask, &trial);
    // A pinned root that was altered on its way to the administrator cannot be pinned.
    let trial = |root: &[u8]| {
        let roots = Roots::parse(Kind::SevSnp, root)?;
        let certificates = [VCEK.to_vec(), ask.clone()];
        verify(&evidence(REPORT, &certificates, None), &roots, NOW)
    };
    assert!(trial(&der(ARK)).is_ok());
    altered::every_byte_is_refused(&der(ARK), &trial);
    altered::every_length_is_refused(VCEK, &|leaf| real(REPORT, &[leaf.to_vec(), ask.clone()]));
}

/// A machine of our own.
struct Machine {
    root: Party,
    between: Party,
    chip: Party,
    report: Vec<u8>,
    /// Levels in the certificate: boot loader, TEE, SNP, microcode.
    levels: [u8; 4],
    fmc: Option<u8>,
    chip_id: Option<Vec<u8>>,
    until: &'static str,
}

const RUNTIME: &[u8] = br#"{"keys":[{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}],"client-payload":{"nonce":"MTIz"}}"#;

impl Machine {
    fn new() -> Self {
        let mut report = vec![0; 1184];
        report[0] = 3;
        // Policy: a reserved bit that is one.
        report[0x0a] = 2;
        report[0x34] = 1;
        report[0x50..0x70].copy_from_slice(&Sha256::digest(RUNTIME));
        report[0x90..0xc0].fill(0xab);
        report[0x180..0x188].copy_from_slice(&[4, 0, 0, 0, 0, 0, 22, 213]);
        report[0x188] = 0x19;
        report[0x1a0..0x1e0].fill(0x77);
        Self {
            root: Party::new("ARK-Test", 1),
            between: Party::new("SEV-Test", 2),
            chip: Party::new("SEV-VCEK", 3),
            report,
            levels: [4, 0, 22, 213],
            fmc: None,
            chip_id: Some(vec![0x77; 64]),
            until: UNTIL.0,
        }
    }

    fn leaf(&self) -> Vec<u8> {
        let number = |arc: &str, level: u8| {
            let zero: &[u8] = if level > 127 { &[0] } else { &[] };
            let arc = format!("1.3.6.1.4.1.3704.1.{arc}");
            extension(&arc, false, &tlv(2, &[zero, &[level]]))
        };
        let [bootloader, tee, snp, microcode] = self.levels;
        let mut extensions = vec![
            extension("1.3.6.1.4.1.3704.1.2", false, &tlv(0x16, &[b"Test"])),
            number("3.1", bootloader),
            number("3.2", tee),
            number("3.3", snp),
            number("3.8", microcode),
        ];
        extensions.extend(self.fmc.map(|level| number("3.9", level)));
        extensions.push(match &self.chip_id {
            Some(chip) => extension("1.3.6.1.4.1.3704.1.4", false, chip),
            None => extension("1.3.6.1.4.1.3704.1.5", false, &tlv(0x16, &[b"cloud"])),
        });
        let between = &self.between;
        between.certify_until(&self.chip, &extensions, self.until)
    }

    fn chain(&self) -> Vec<Vec<u8>> {
        vec![self.leaf(), self.root.certify(&self.between, &authority(0))]
    }

    fn signed(&self) -> Vec<u8> {
        let mut report = self.report.clone();
        let signature = self.chip.sign(&report[..0x2a0]);
        for (number, at) in signature.chunks(48).zip([0x2a0, 0x2a0 + 72]) {
            let little: Vec<u8> = number.iter().rev().copied().collect();
            report[at..at + 48].copy_from_slice(&little);
        }
        report
    }

    fn judged(&self, runtime: Option<&[u8]>, now: u64) -> Result<Verified, Refusal> {
        let roots = Roots::parse(Kind::SevSnp, &self.root.root())?;
        let evidence = evidence(&self.signed(), &self.chain(), runtime);
        verify(&evidence, &roots, now)
    }
}

#[test]
fn a_runtime_is_bound_by_its_digest() {
    let mut machine = Machine::new();
    let verified = machine.judged(Some(RUNTIME), NOW).unwrap();
    let runtime = verified.runtime.unwrap();
    assert_eq!(runtime["keys"][0]["use"], "enc");
    assert_eq!(verified.claims["x-ms-runtime"], runtime);
    assert_eq!(verified.claims["x-ms-sevsnpvm-microcode-svn"], 213);
    assert_eq!(machine.judged(None, NOW).unwrap().runtime, None);
    altered::every_bit_is_refused(RUNTIME, &|runtime| machine.judged(Some(runtime), NOW));
    machine.report[0x70] = 1;
    assert!(matches!(
        machine.judged(Some(RUNTIME), NOW),
        Err(Refusal::Binding { .. })
    ));
}

#[test]
fn debug_and_privilege_level_are_claims() {
    let mut machine = Machine::new();
    machine.report[0x0a] |= 1 << 3;
    machine.report[0x30] = 2;
    let claims = machine.judged(None, NOW).unwrap().claims;
    assert_eq!(claims["x-ms-sevsnpvm-is-debuggable"], true);
    assert_eq!(claims["x-ms-sevsnpvm-vmpl"], 2);
}

#[test]
fn time_is_that_of_the_caller() {
    let mut machine = Machine::new();
    assert!(machine.judged(None, UNTIL.1).is_ok());
    for now in [0, crate::forge::FROM.1 - 1, UNTIL.1 + 1, u64::MAX] {
        assert!(matches!(
            machine.judged(None, now),
            Err(Refusal::Time { .. })
        ));
    }
    machine.until = "231101000000Z";
    let refusal = machine.judged(None, NOW).unwrap_err();
    assert!(
        matches!(
            refusal,
            Refusal::Time {
                until: 1_698_796_800,
                ..
            }
        ),
        "{refusal}"
    );
}

#[test]
fn roots_and_chains_of_others_are_refused() {
    let machine = Machine::new();
    let stranger = Party::new("ARK-Test", 9);
    let roots = |party: &Party| Roots::parse(Kind::SevSnp, &party.root()).unwrap();
    let whole = evidence(&machine.signed(), &machine.chain(), None);
    assert!(verify(&whole, &roots(&machine.root), NOW).is_ok());
    assert!(matches!(
        verify(&whole, &roots(&stranger), NOW),
        Err(Refusal::Untrusted { .. })
    ));
    // The leaf alone, the order changed, an authority that signs itself, none at all.
    let chain = machine.chain();
    for wrong in [
        vec![chain[0].clone()],
        vec![chain[1].clone(), chain[0].clone()],
        vec![chain[0].clone(), machine.between.root()],
        vec![],
        vec![chain[0].clone(); 20],
    ] {
        let evidence = evidence(&machine.signed(), &wrong, None);
        assert!(verify(&evidence, &roots(&machine.root), NOW).is_err());
    }
}

#[test]
fn who_may_not_certify_is_no_authority() {
    let machine = Machine::new();
    let roots = Roots::parse(Kind::SevSnp, &machine.root.root()).unwrap();
    let judged = |extensions: &[Vec<u8>]| {
        let chain = [
            machine.leaf(),
            machine.root.certify(&machine.between, extensions),
        ];
        verify(&evidence(&machine.signed(), &chain, None), &roots, NOW)
    };
    assert!(judged(&authority(0)).is_ok());
    assert!(judged(&[]).is_err());
    assert!(judged(&authority(0)[..1]).is_ok());
    // Only digital signatures.
    let usage = extension("2.5.29.15", true, &[3, 2, 7, 0x80]);
    assert!(judged(&[authority(0)[0].clone(), usage]).is_err());
    // A critical extension that nobody knows, and the same one uncritical; one that is there twice.
    let unknown = |critical| [authority(0), vec![extension("1.2.3.4", critical, &[5, 0])]].concat();
    assert!(matches!(
        judged(&unknown(true)),
        Err(Refusal::Unsupported { .. })
    ));
    assert!(judged(&unknown(false)).is_ok());
    assert!(judged(&[authority(0), authority(0)].concat()).is_err());
    // A root whose path may not be so long: with a second authority between.
    let second = Party::new("SEV-Second", 5);
    let chain = [
        second.certify(&machine.chip, &[]),
        machine.between.certify(&second, &authority(0)),
        machine.root.certify(&machine.between, &authority(0)),
    ];
    let evidence = evidence(&machine.signed(), &chain, None);
    assert!(matches!(
        verify(&evidence, &roots, NOW),
        Err(Refusal::Untrusted { .. })
    ));
}

#[test]
fn the_certificate_is_of_this_chip_and_this_firmware() {
    let wrong = |change: fn(&mut Machine)| {
        let mut machine = Machine::new();
        change(&mut machine);
        machine.judged(None, NOW)
    };
    assert!(wrong(|_| {}).is_ok());
    for (name, change) in [
        ("bootloader", (|m| m.levels[0] = 5) as fn(&mut Machine)),
        ("tee", |m| m.levels[1] = 1),
        ("snp", |m| m.levels[2] = 21),
        ("microcode", |m| m.levels[3] = 212),
        ("fmc", |m| m.fmc = Some(0)),
        ("another chip", |m| m.chip_id = Some(vec![0x78; 64])),
        ("a chip in part", |m| m.chip_id = Some(vec![0x77; 8])),
        ("no chip", |m| m.chip_id = Some(vec![])),
        ("a provider's key", |m| m.chip_id = None),
        ("a masked chip", |m| {
            m.chip_id = Some(vec![0; 64]);
            m.report[0x1a0..0x1e0].fill(0);
        }),
        ("says VLEK", |m| m.report[0x48] = 1 << 2),
        ("says no key", |m| m.report[0x48] = 7 << 2),
        ("a new family", |m| m.report[0x188] = 0x1a),
    ] {
        let refusal = wrong(change).expect_err(name);
        assert!(
            matches!(refusal, Refusal::Mismatch { .. }),
            "{name}: {refusal}"
        );
    }
    let refusal = wrong(|m| m.report[0x34] = 2).unwrap_err();
    assert!(matches!(refusal, Refusal::Unsupported { .. }));
    for version in [0, 1, 6, 255] {
        let mut machine = Machine::new();
        machine.report[0] = version;
        let refusal = machine.judged(None, NOW).unwrap_err();
        assert!(matches!(refusal, Refusal::Unsupported { .. }));
    }
}

#[test]
fn keys_of_providers_and_of_the_fifth_generation_are_known() {
    let mut machine = Machine::new();
    machine.chip_id = None;
    machine.report[0x48] = 1 << 2;
    let claims = machine.judged(None, NOW).unwrap().claims;
    assert_eq!(claims["sev-snp-signer"], "vlek");

    let mut machine = Machine::new();
    machine.fmc = Some(1);
    machine.chip_id = Some(vec![0x77; 8]);
    machine.report[0x1a8..0x1e0].fill(0);
    machine.report[0x188] = 0x1a;
    machine.report[0x180..0x188].copy_from_slice(&[1, 4, 0, 22, 0, 0, 0, 213]);
    let claims = machine.judged(None, NOW).unwrap().claims;
    assert_eq!(claims["sev-snp-fmc-svn"], 1);
    assert_eq!(claims["x-ms-sevsnpvm-bootloader-svn"], 4);
    assert_eq!(claims["x-ms-sevsnpvm-snpfw-svn"], 22);
}

#[test]
fn what_is_no_authority_cannot_be_pinned() {
    let machine = Machine::new();
    for (name, bytes) in [
        ("nothing", vec![]),
        ("rubbish", vec![0x30; 700]),
        ("a leaf", machine.leaf()),
        ("a key", machine.root.public()),
        ("an empty PEM", b"-----BEGIN CERTIFICATE-----\n".to_vec()),
        (
            "a private key",
            b"-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n".to_vec(),
        ),
    ] {
        assert!(Roots::parse(Kind::SevSnp, &bytes).is_err(), "{name}");
    }
    let two = format!("{ARK}\n{}", include_str!("../data/snp/ark-genoa.pem"));
    let roots = Roots::parse(Kind::SevSnp, two.as_bytes()).unwrap();
    assert_eq!(roots.kind(), Kind::SevSnp);
    let chain = [VCEK.to_vec(), der(ASK)];
    assert!(verify(&evidence(REPORT, &chain, None), &roots, NOW).is_ok());
    // Roots of one kind do not serve another.
    let roots = Roots::parse(Kind::Nitro, ARK.as_bytes()).unwrap();
    assert!(matches!(
        verify(&evidence(REPORT, &chain, None), &roots, NOW),
        Err(Refusal::Mismatch { .. })
    ));
    assert!(Roots::parse(Kind::SevSnp, &oid("1.2.3")).is_err());
}

/// Pinned together: the root and lists of revoked certificates.
fn with_lists(machine: &Machine, lists: &[Vec<u8>]) -> Result<Roots, Refusal> {
    let block = |label, der: &[u8]| der::pem::encode_string(label, LineEnding::LF, der).unwrap();
    let mut text = block("CERTIFICATE", &machine.root.root());
    for list in lists {
        text += &block("X509 CRL", list);
    }
    Roots::parse(Kind::SevSnp, text.as_bytes())
}

#[test]
fn a_pinned_list_refuses_what_was_revoked() {
    let machine = Machine::new();
    let judged = |lists: &[Vec<u8>], now| {
        let whole = evidence(&machine.signed(), &machine.chain(), None);
        verify(&whole, &with_lists(&machine, lists)?, now)
    };
    let (root, between) = (&machine.root, &machine.between);
    let others = Party::new("ARK-Other", 8);
    let spares = [
        root.revoke(&[7, 8], UNTIL.0),
        between.revoke(&[], UNTIL.0),
        others.revoke(&[0], "230201000000Z"),
    ];
    assert!(judged(&spares, NOW).is_ok());
    // Serial numbers of zero, as AMD has them: that of the chip, and that of the authority between.
    for revokes in [between.revoke(&[1, 0], UNTIL.0), root.revoke(&[0], UNTIL.0)] {
        let refusal = judged(&[spares[0].clone(), revokes], NOW).unwrap_err();
        assert!(matches!(refusal, Refusal::Revoked { .. }), "{refusal}");
    }
    // An old list spares nobody, and neither does one that another has signed in its name.
    let old = root.revoke(&[7], "230201000000Z");
    assert!(matches!(judged(&[old], NOW), Err(Refusal::Time { .. })));
    for forger in [Party::new("ARK-Test", 9), Party::new("SEV-Test", 9)] {
        let forged = forger.revoke(&[], UNTIL.0);
        assert!(matches!(
            judged(&[forged], NOW),
            Err(Refusal::Signature { .. })
        ));
    }
    // At registration already, where the root is there; and a list alone pins nobody.
    let forged = Party::new("ARK-Test", 9).revoke(&[], UNTIL.0);
    assert!(with_lists(&machine, &[forged]).is_err());
    let list = der::pem::encode_string("X509 CRL", LineEnding::LF, &spares[0]).unwrap();
    assert!(Roots::parse(Kind::SevSnp, list.as_bytes()).is_err());
    let cut = spares[0][..40].to_vec();
    assert!(with_lists(&machine, &[cut]).is_err());
}
