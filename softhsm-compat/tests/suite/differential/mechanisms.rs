//! The list of mechanisms and what is told of each (PKCS#11 3.2, 5.5.5 and 5.5.6).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::{Workplace, call};

use super::names::{MECHANISM_FLAGS, flags};
use super::scenario;

macro_rules! mechanisms {
    ($($name:ident)*) => { const ALL: &[(CK_MECHANISM_TYPE, &str)] = &[$(($name, stringify!($name))),*]; };
}

// Every mechanism that SoftHSM 2.6.1 lists.
mechanisms! {
    CKM_RSA_PKCS_KEY_PAIR_GEN CKM_RSA_PKCS CKM_RSA_X_509 CKM_MD5_RSA_PKCS CKM_SHA1_RSA_PKCS CKM_RSA_PKCS_OAEP CKM_SHA224_RSA_PKCS
    CKM_SHA256_RSA_PKCS CKM_SHA384_RSA_PKCS CKM_SHA512_RSA_PKCS CKM_RSA_PKCS_PSS CKM_SHA1_RSA_PKCS_PSS CKM_SHA224_RSA_PKCS_PSS
    CKM_SHA256_RSA_PKCS_PSS CKM_SHA384_RSA_PKCS_PSS CKM_SHA512_RSA_PKCS_PSS CKM_DSA_PARAMETER_GEN CKM_DSA_KEY_PAIR_GEN CKM_DSA
    CKM_DSA_SHA1 CKM_DSA_SHA224 CKM_DSA_SHA256 CKM_DSA_SHA384 CKM_DSA_SHA512 CKM_DH_PKCS_KEY_PAIR_GEN CKM_DH_PKCS_PARAMETER_GEN
    CKM_DH_PKCS_DERIVE CKM_EC_KEY_PAIR_GEN CKM_ECDSA CKM_ECDH1_DERIVE CKM_EDDSA CKM_EC_EDWARDS_KEY_PAIR_GEN CKM_GENERIC_SECRET_KEY_GEN
    CKM_DES_KEY_GEN CKM_DES2_KEY_GEN CKM_DES3_KEY_GEN CKM_DES_ECB CKM_DES_CBC CKM_DES_CBC_PAD CKM_DES_ECB_ENCRYPT_DATA
    CKM_DES_CBC_ENCRYPT_DATA CKM_DES3_ECB CKM_DES3_CBC CKM_DES3_CBC_PAD CKM_DES3_ECB_ENCRYPT_DATA CKM_DES3_CBC_ENCRYPT_DATA CKM_DES3_CMAC
    CKM_AES_KEY_GEN CKM_AES_ECB CKM_AES_CBC CKM_AES_CBC_PAD CKM_AES_CTR CKM_AES_GCM CKM_AES_KEY_WRAP CKM_AES_KEY_WRAP_PAD
    CKM_AES_ECB_ENCRYPT_DATA CKM_AES_CBC_ENCRYPT_DATA CKM_AES_CMAC CKM_MD5 CKM_SHA_1 CKM_SHA224 CKM_SHA256 CKM_SHA384 CKM_SHA512
    CKM_MD5_HMAC CKM_SHA_1_HMAC CKM_SHA224_HMAC CKM_SHA256_HMAC CKM_SHA384_HMAC CKM_SHA512_HMAC
}

#[test]
fn what_is_told_of_mechanisms() {
    scenario(|t| {
        let place = Workplace::open();
        for (number, name) in ALL {
            let info = place.module.mechanism_info(place.slot, *number);
            t.step(format!("{name} flags"), || {
                info.map(|info| flags(info.flags, MECHANISM_FLAGS))
            });
            t.step(format!("{name} sizes"), || {
                info.map(|info| format!("{} to {}", info.ulMinKeySize, info.ulMaxKeySize))
            });
        }
    });
}

#[test]
fn the_list_of_mechanisms() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let slot = place.slot;
        let list = m.mechanisms(slot).expect("C_GetMechanismList");
        let mut count: CK_ULONG = 1;
        let mut room = [0; 1];
        t.step("none but known ones", || {
            list.iter()
                .all(|one| ALL.iter().any(|(number, _)| number == one))
        });
        t.step("each has an info", || {
            list.iter().all(|one| m.mechanism_info(slot, *one).is_ok())
        });
        t.step("room for one", || {
            call!(
                m,
                C_GetMechanismList(slot, room.as_mut_ptr(), &raw mut count)
            )
        });
        t.step("told then", || count as usize == list.len());
        t.step("null pointers", || {
            call!(m, C_GetMechanismList(slot, null_mut(), null_mut()))
        });
        t.step("a mechanism of nobody", || {
            m.mechanism_info(slot, 0x9999).map(|_| ())
        });
        t.step("an info, null pointer", || {
            call!(m, C_GetMechanismInfo(slot, CKM_AES_CBC, null_mut()))
        });
    });
}
