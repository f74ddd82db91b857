//! The numbers of the TPM's protocol that are used here.
//!
//! What lives here: constants of the TPM 2.0 Library, Part 2 (Structures), under the names of the standard.
//! What must never live here: anything that is done with them.
//! Who calls it: the client of the TPM.

pub(super) const TPM_ST_NO_SESSIONS: u16 = 0x8001;
pub(super) const TPM_ST_SESSIONS: u16 = 0x8002;

pub(super) const TPM_CC_CREATE_PRIMARY: u32 = 0x131;
pub(super) const TPM_CC_CREATE: u32 = 0x153;
pub(super) const TPM_CC_LOAD: u32 = 0x157;
pub(super) const TPM_CC_UNSEAL: u32 = 0x15e;
pub(super) const TPM_CC_FLUSH_CONTEXT: u32 = 0x165;
pub(super) const TPM_CC_START_AUTH_SESSION: u32 = 0x176;
pub(super) const TPM_CC_PCR_READ: u32 = 0x17e;
pub(super) const TPM_CC_POLICY_PCR: u32 = 0x17f;

pub(super) const TPM_RH_OWNER: u32 = 0x4000_0001;
pub(super) const TPM_RH_NULL: u32 = 0x4000_0007;
pub(super) const TPM_RS_PW: u32 = 0x4000_0009;

pub(super) const TPM_ALG_AES: u16 = 0x0006;
pub(super) const TPM_ALG_KEYEDHASH: u16 = 0x0008;
pub(super) const TPM_ALG_SHA256: u16 = 0x000b;
pub(super) const TPM_ALG_NULL: u16 = 0x0010;
pub(super) const TPM_ALG_ECC: u16 = 0x0023;
pub(super) const TPM_ALG_CFB: u16 = 0x0043;
pub(super) const TPM_ECC_NIST_P256: u16 = 0x0003;

pub(super) const TPM_SE_HMAC: u8 = 0x00;
pub(super) const TPM_SE_POLICY: u8 = 0x01;

pub(super) const TPMA_SESSION_CONTINUE: u8 = 0x01;
pub(super) const TPMA_SESSION_DECRYPT: u8 = 0x20;
pub(super) const TPMA_SESSION_ENCRYPT: u8 = 0x40;
pub(super) const TPMA_SESSION_AUDIT: u8 = 0x80;

pub(super) const TPMA_OBJECT_FIXED_TPM: u32 = 1 << 1;
pub(super) const TPMA_OBJECT_FIXED_PARENT: u32 = 1 << 4;
pub(super) const TPMA_OBJECT_SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
pub(super) const TPMA_OBJECT_USER_WITH_AUTH: u32 = 1 << 6;
pub(super) const TPMA_OBJECT_NO_DA: u32 = 1 << 10;
pub(super) const TPMA_OBJECT_RESTRICTED: u32 = 1 << 16;
pub(super) const TPMA_OBJECT_DECRYPT: u32 = 1 << 17;

pub(super) const TPM_RC_INITIALIZE: u32 = 0x100;
pub(super) const TPM_RC_PCR_CHANGED: u32 = 0x128;
pub(super) const TPM_RC_AUTH_FAIL: u32 = 0x08e;
pub(super) const TPM_RC_POLICY_FAIL: u32 = 0x09d;
pub(super) const TPM_RC_BAD_AUTH: u32 = 0x0a2;
pub(super) const TPM_RC_YIELDED: u32 = 0x908;
pub(super) const TPM_RC_TESTING: u32 = 0x90a;
pub(super) const TPM_RC_LOCKOUT: u32 = 0x921;
pub(super) const TPM_RC_RETRY: u32 = 0x922;
