//! Two operations with one part, and signatures that come before their data (PKCS#11 3.2, 5.15 and 5.16).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::rv::refused;
use strongroom_tests::{Rv, Way, Workplace, call, not_on_softhsm, pattern, template};

#[test]
fn what_is_digested_is_the_plaintext_both_ways() {
    let place = Workplace::open();
    if not_on_softhsm("C_DigestEncryptUpdate is not supported") {
        return;
    }
    let session = place.user();
    let key = session
        .generate(CKM_AES_KEY_GEN, &template! { CKA_VALUE_LEN => 32_u64 })
        .unwrap();
    let (module, handle) = (session.module, session.handle);
    let mut data = pattern(3, 64);
    let mut sealed = vec![0_u8; 64];
    let mut length = 0;

    session.begin(Way::Encrypt, CKM_AES_ECB, key).unwrap();
    session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
    // A length, and too small a buffer, reach neither operation.
    let sized = call!(
        module,
        C_DigestEncryptUpdate(handle, data.as_mut_ptr(), 64, null_mut(), &raw mut length)
    );
    assert_eq!((sized, length), (Rv(CKR_OK), 64));
    length = 63;
    let small = call!(
        module,
        C_DigestEncryptUpdate(
            handle,
            data.as_mut_ptr(),
            64,
            sealed.as_mut_ptr(),
            &raw mut length
        )
    );
    assert_eq!((small, length), (Rv(CKR_BUFFER_TOO_SMALL), 64));
    let whole = call!(
        module,
        C_DigestEncryptUpdate(
            handle,
            data.as_mut_ptr(),
            64,
            sealed.as_mut_ptr(),
            &raw mut length
        )
    );
    assert_eq!((whole, length), (Rv(CKR_OK), 64));
    let (rv, _, digest) = session.finish(Way::Digest, Some(32));
    assert_eq!((rv, digest), (Rv(CKR_OK), Hash::Sha256.of(&data)));
    session.finish(Way::Encrypt, Some(16)).0.ok().unwrap();
    assert_eq!(
        session.run(Way::Decrypt, CKM_AES_ECB, key, &sealed),
        Ok(data.clone())
    );

    session.begin(Way::Decrypt, CKM_AES_ECB, key).unwrap();
    session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
    let mut opened = vec![0_u8; 64];
    let both = call!(
        module,
        C_DecryptDigestUpdate(
            handle,
            sealed.as_mut_ptr(),
            64,
            opened.as_mut_ptr(),
            &raw mut length
        )
    );
    assert_eq!((both, &opened), (Rv(CKR_OK), &data));
    let (rv, _, digest) = session.finish(Way::Digest, Some(32));
    assert_eq!((rv, digest), (Rv(CKR_OK), Hash::Sha256.of(&data)));
    session.finish(Way::Decrypt, Some(16)).0.ok().unwrap();
    let idle = call!(
        module,
        C_DecryptDigestUpdate(
            handle,
            sealed.as_mut_ptr(),
            64,
            opened.as_mut_ptr(),
            &raw mut length
        )
    );
    refused(
        "without operations",
        idle.ok(),
        &[CKR_OPERATION_NOT_INITIALIZED],
    );
}
