//! An Intel of our own: platforms, quoting enclaves, quotes and collateral that no hardware made.
//!
//! What lives here: one description of all of it, and what is written and signed by that description.
//! What must never live here: what holds and what is refused.
//! Who calls it: `dcap_forged`.

use der::pem::LineEnding;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strongroom_attestation::{Collateral, Evidence, Kind, Proof, Refusal, Roots, Verified, verify};

use crate::forge::{NOW, Party, UNTIL, authority, extension, oid, tlv};

/// Serial numbers of certificates.
pub(crate) const AUTHORITY: u8 = 3;
pub(crate) const PLATFORM: u8 = 4;
pub(crate) const PUBLISHER: u8 = 5;

const SGX: &str = "1.2.840.113741.1.13.1";

/// A name with a key on P-256, as Intel's signers have.
pub(crate) struct Signatory(SigningKey);

impl Signatory {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    fn point(&self) -> Vec<u8> {
        let point = self.0.verifying_key().to_sec1_point(false);
        point.as_bytes()[1..].to_vec()
    }

    fn public(&self) -> Vec<u8> {
        let kind = tlv(
            0x30,
            &[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")],
        );
        tlv(0x30, &[&kind, &tlv(3, &[&[0, 4], &self.point()])])
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }
}

/// All that can be said otherwise. Whatever is not changed is as it should be.
#[derive(Clone)]
pub(crate) struct Making {
    pub(crate) kind: Kind,
    pub(crate) version: u16,
    /// Whether version 5 describes its machine as one of TDX 1.5.
    pub(crate) later_machine: bool,
    pub(crate) runtime: Option<Vec<u8>>,
    pub(crate) report_data: [u8; 64],
    pub(crate) td_attributes: u64,
    pub(crate) seam_attributes: u64,
    pub(crate) seam_signer: u8,
    /// Security level and major version of the TDX module.
    pub(crate) module: [u8; 2],
    pub(crate) service: [u8; 48],
    pub(crate) enclave_attributes: u8,
    /// Every level of the platform, and that of its provisioning enclave.
    pub(crate) levels: (u8, u8),
    pub(crate) quoting_svn: u16,
    pub(crate) quoting_product: u16,
    pub(crate) quoting_signer: u8,
    pub(crate) quoting_attributes: u8,
    pub(crate) quoting_miscselect: u8,
    /// Whether the quoting enclave vouches for the key.
    pub(crate) vouched: bool,
    /// Who signs the report of the quoting enclave.
    pub(crate) platform_seed: u8,
    pub(crate) publisher: &'static str,
    pub(crate) publisher_extensions: Vec<Vec<u8>>,
    pub(crate) root_revokes: Vec<u8>,
    pub(crate) authority_revokes: Vec<u8>,
    pub(crate) lists_until: &'static str,
    /// Who signs the CRL of platforms.
    pub(crate) list_seed: u8,
    pub(crate) tcb_info: Value,
    pub(crate) identity: Value,
}

const PLATFORM_SEED: u8 = 54;
const AUTHORITY_SEED: u8 = 52;

impl Making {
    /// What is in order, and the newest.
    pub(crate) fn new(kind: Kind, version: u16) -> Self {
        let (id, quoting) = if kind == Kind::Tdx {
            ("TDX", "TD_QE")
        } else {
            ("SGX", "QE")
        };
        Self {
            kind,
            version,
            later_machine: false,
            runtime: None,
            report_data: [0; 64],
            td_attributes: 1 << 28,
            seam_attributes: 0,
            seam_signer: 0,
            module: [6, 1],
            service: [0; 48],
            enclave_attributes: 5,
            levels: (9, 9),
            quoting_svn: 8,
            quoting_product: 1,
            quoting_signer: 0x8c,
            quoting_attributes: 0x11,
            quoting_miscselect: 0,
            vouched: true,
            platform_seed: PLATFORM_SEED,
            publisher: "Intel SGX TCB Signing",
            publisher_extensions: signs(),
            root_revokes: Vec::new(),
            authority_revokes: Vec::new(),
            lists_until: UNTIL.0,
            list_seed: AUTHORITY_SEED,
            tcb_info: tcb_info(id),
            identity: identity(quoting),
        }
    }

    /// With a runtime that the hardware vouches for.
    pub(crate) fn bound(mut self, runtime: &[u8]) -> Self {
        self.report_data[..32].copy_from_slice(&Sha256::digest(runtime));
        self.runtime = Some(runtime.to_vec());
        self
    }

    pub(crate) fn judged(&self) -> Result<Verified, Refusal> {
        let root = Party::new("Intel SGX Root CA", 51).root();
        verify(&self.evidence(), &Roots::parse(self.kind, &root)?, NOW)
    }

    /// Everything, signed.
    pub(crate) fn evidence(&self) -> Evidence {
        let root = Party::new("Intel SGX Root CA", 51);
        let platforms = Party::new("Intel SGX PCK Platform CA", AUTHORITY_SEED);
        let platform = Signatory::new(PLATFORM_SEED);
        let certificate = platforms.certify_key(
            ("Intel SGX PCK Certificate", &platform.public(), PLATFORM),
            &[signs(), vec![extension(SGX, false, &self.platform())]].concat(),
            UNTIL.0,
        );
        let between = root.certify_key(
            (platforms.name, &platforms.public(), AUTHORITY),
            &authority(0),
            UNTIL.0,
        );
        let chain = pem(&[certificate, between, root.root()]);
        let publisher = Signatory::new(55);
        let signer = root.certify_key(
            (self.publisher, &publisher.public(), PUBLISHER),
            &self.publisher_extensions,
            UNTIL.0,
        );
        let issuers = pem(&[signer, root.root()]);
        let lister = Party::new("Intel SGX PCK Platform CA", self.list_seed);
        let (tcb_info, qe_identity) = (self.tcb_info.to_string(), self.identity.to_string());
        let collateral = Box::new(Collateral {
            root_ca_crl: root.revoke(&self.root_revokes, self.lists_until),
            pck_crl: lister.revoke(&self.authority_revokes, self.lists_until),
            tcb_info_issuer_chain: issuers.clone(),
            tcb_info_signature: publisher.sign(tcb_info.as_bytes()),
            tcb_info,
            qe_identity_issuer_chain: issuers,
            qe_identity_signature: publisher.sign(qe_identity.as_bytes()),
            qe_identity,
        });
        let quote = self.quote(&chain);
        Evidence {
            proof: if self.kind == Kind::Tdx {
                Proof::Tdx { quote, collateral }
            } else {
                Proof::Sgx { quote, collateral }
            },
            runtime: self.runtime.clone(),
        }
    }

    /// Intel's extension of the platform's certificate.
    fn platform(&self) -> Vec<u8> {
        let row = |arc: &str, value: &[u8]| tlv(0x30, &[&oid(&format!("{SGX}{arc}")), value]);
        let mut levels: Vec<Vec<u8>> = (1..=16)
            .map(|number| row(&format!(".2.{number}"), &[2, 1, self.levels.0]))
            .collect();
        levels.push(row(".2.17", &[2, 1, self.levels.1]));
        tlv(
            0x30,
            &[
                &row(".2", &tlv(0x30, &[&levels.concat()])),
                &row(".3", &[4, 2, 0, 0]),
                &row(".4", &[4, 6, 0xb0, 0xc0, 0x6f, 0, 0, 0]),
            ],
        )
    }

    fn quote(&self, chain: &str) -> Vec<u8> {
        let tee: u32 = if self.kind == Kind::Tdx { 0x81 } else { 0 };
        let intel = [
            0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f,
            0x06, 0x07,
        ];
        let (body, described_as) = if self.kind == Kind::Tdx {
            (self.machine(), if self.later_machine { 3 } else { 2 })
        } else {
            let says = [0, self.enclave_attributes, 0x11];
            (enclave(says, [7, 3], &self.report_data), 1)
        };
        let described = match self.version {
            5 => [&[described_as, 0][..], &sized(&body)].concat(),
            _ => body,
        };
        let version = self.version.to_le_bytes();
        let header = [
            &version[..],
            &[2, 0],
            &tee.to_le_bytes(),
            &[0; 4],
            &intel,
            &[0; 20],
        ];
        let signed = [&header.concat()[..], &described].concat();
        let authentication = [0x5a; 32];
        let key = Signatory::new(56);
        let mut vouching = [0; 64];
        if self.vouched {
            let digest = Sha256::digest([&key.point()[..], &authentication].concat());
            vouching[..32].copy_from_slice(&digest);
        }
        let quoting = enclave(
            [
                self.quoting_miscselect,
                self.quoting_attributes,
                self.quoting_signer,
            ],
            [self.quoting_product, self.quoting_svn],
            &vouching,
        );
        let report = [
            &quoting[..],
            &Signatory::new(self.platform_seed).sign(&quoting),
            &[32, 0],
            &authentication,
            &[5, 0],
            &sized(chain.as_bytes()),
        ]
        .concat();
        let report = match self.version {
            3 => report,
            _ => [&[6, 0][..], &sized(&report)].concat(),
        };
        let all = [&key.sign(&signed)[..], &key.point(), &report].concat();
        [signed, sized(&all)].concat()
    }

    fn machine(&self) -> Vec<u8> {
        let mut svn = [9; 16];
        svn[..2].copy_from_slice(&self.module);
        let machine = [
            &svn[..],
            &[0x11; 48],
            &[self.seam_signer; 48],
            &self.seam_attributes.to_le_bytes(),
            &self.td_attributes.to_le_bytes(),
            &[0xe7, 0, 0, 0, 0, 0, 0, 0],
            &[0x22; 48],
            &[0; 3 * 48],
            &[0x33; 4 * 48],
            &self.report_data,
        ]
        .concat();
        if self.later_machine {
            return [&machine[..], &[8; 16], &self.service].concat();
        }
        machine
    }
}

/// The report of an enclave: what it selects, its attributes, its signer; its product and level; what it says.
fn enclave(
    [miscselect, attributes, signer]: [u8; 3],
    [product, svn]: [u16; 2],
    says: &[u8],
) -> Vec<u8> {
    [
        &[9; 16][..],
        &[miscselect, 0, 0, 0],
        &[0; 28],
        &[attributes],
        &[0; 15],
        &[0x44; 32],
        &[0; 32],
        &[signer; 32],
        &[0; 96],
        &product.to_le_bytes(),
        &svn.to_le_bytes(),
        &[0; 60],
        says,
    ]
    .concat()
}

/// Bytes behind their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_le_bytes()[..], bytes].concat()
}

/// Extensions of one that signs statements: no authority, digitalSignature.
pub(crate) fn signs() -> Vec<Vec<u8>> {
    vec![
        extension("2.5.29.19", true, &[0x30, 0]),
        extension("2.5.29.15", true, &[3, 2, 7, 0x80]),
    ]
}

fn pem(certificates: &[Vec<u8>]) -> String {
    let one = |der: &Vec<u8>| der::pem::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap();
    certificates.iter().map(one).collect()
}

/// A level of a platform: its components, that of the provisioning enclave, and what Intel thinks of it.
fn level(component: u8, pce: u8, status: &str) -> Value {
    let components = vec![json!({ "svn": component }); 16];
    json!({
        "tcb": {"sgxtcbcomponents": components, "tdxtcbcomponents": components, "pcesvn": pce},
        "tcbDate": "2023-08-09T00:00:00Z",
        "tcbStatus": status,
        "advisoryIDs": [format!("PLATFORM-{component}-{pce}")],
    })
}

/// A level of an enclave or a module.
fn part(svn: u8, status: &str) -> Value {
    json!({
        "tcb": {"isvsvn": svn},
        "tcbDate": "2023-08-09T00:00:00Z",
        "tcbStatus": status,
        "advisoryIDs": [format!("PART-{svn}")],
    })
}

fn tcb_info(id: &str) -> Value {
    let module = json!({
        "mrsigner": "00".repeat(48),
        "attributes": "00".repeat(8),
        "attributesMask": "ff".repeat(8),
    });
    let mut first = module.clone();
    first["id"] = "TDX_01".into();
    first["tcbLevels"] = json!([
        part(6, "UpToDate"),
        part(4, "OutOfDate"),
        part(2, "Revoked")
    ]);
    json!({
        "id": id,
        "version": 3,
        "issueDate": "2023-11-01T00:00:00Z",
        "nextUpdate": "2023-12-01T00:00:00Z",
        "fmspc": "B0C06F000000",
        "pceId": "0000",
        "tdxModule": module,
        "tdxModuleIdentities": [first],
        "tcbLevels": [
            level(9, 9, "UpToDate"),
            level(9, 7, "SWHardeningNeeded"),
            level(7, 7, "ConfigurationNeeded"),
            level(5, 5, "OutOfDate"),
            level(3, 3, "Revoked"),
        ],
    })
}

fn identity(id: &str) -> Value {
    json!({
        "id": id,
        "version": 2,
        "issueDate": "2023-11-01T00:00:00Z",
        "nextUpdate": "2023-12-01T00:00:00Z",
        "miscselect": "00000000",
        "miscselectMask": "ffffffff",
        "attributes": "11".to_owned() + &"00".repeat(15),
        "attributesMask": "fbffffffffffffff0000000000000000",
        "mrsigner": "8c".repeat(32),
        "isvprodid": 1,
        "tcbLevels": [part(8, "UpToDate"), part(6, "OutOfDate"), part(4, "Revoked")],
    })
}
