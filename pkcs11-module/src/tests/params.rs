//! Tests of mechanism parameters.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::CK_GCM_MESSAGE_PARAMS;

use strongroom_wire::ck::MechanismType as M;

use super::*;

/// Takes a structure apart, told with a length.
fn taken<T>(kind: M, parameter: &mut T, length: usize) -> String {
    taken_raw(
        kind,
        ptr::from_mut(parameter).cast(),
        u64::try_from(length).unwrap(),
    )
}

fn taken_raw(kind: M, parameter: *mut c_void, length: u64) -> String {
    let mut mechanism = CK_MECHANISM {
        mechanism: kind.0,
        pParameter: parameter,
        ulParameterLen: length,
    };
    // SAFETY: the tests pass memory of their own, of the length they tell, or a length that is refused.
    let alleged = unsafe { Alleged::new(&raw mut mechanism) };
    let copied = Mechanism::copy(alleged).unwrap();
    format!("{:?}", copied.wire().parameter)
}

#[test]
fn no_mechanism_cancels_or_is_refused() {
    // SAFETY: NULL.
    let null = unsafe { Alleged::new(ptr::null_mut()) };
    assert!(Mechanism::copy_or_cancel(null).unwrap().is_none());
    assert_eq!(Mechanism::copy(null).err(), Some(Rv::ARGUMENTS_BAD));
}

#[test]
fn bytes_and_nothing() {
    assert_eq!(taken_raw(M::AES_CBC, ptr::null_mut(), 0), "None");
    assert_eq!(
        taken_raw(M::AES_GCM, ptr::without_provenance_mut(8), 0),
        "None"
    );
    assert_eq!(taken(M::AES_CBC, &mut [1_u8, 2], 2), "Bytes([1, 2])");
    assert_eq!(taken(M::VENDOR_DEFINED, &mut [3_u8], 1), "Bytes([3])");
    assert_eq!(taken_raw(M::AES_CBC, ptr::null_mut(), 16), "Malformed");
    // Refused before it is read.
    assert_eq!(
        taken_raw(M::AES_CBC, ptr::without_provenance_mut(8), (64 << 10) + 1),
        "Malformed"
    );
    assert_eq!(
        taken_raw(M::AES_CBC, ptr::without_provenance_mut(8), u64::MAX),
        "Malformed"
    );
}

#[test]
fn gcm_to_wrap_has_a_place_for_the_vector() {
    let (mut iv, mut aad) = ([1_u8; 2], [2_u8; 3]);
    let mut wrap = CK_GCM_WRAP_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 2,
        ulIvFixedBits: 5,
        ivGenerator: 3,
        pAAD: aad.as_mut_ptr(),
        ulAADLen: 3,
        ulTagBits: 96,
    };
    let told = "GcmWrap { iv: [1, 1], fixed_bits: 5, generator: CKG_GENERATE_RANDOM, aad: [2, 2, 2], tag_bits: 96 }";
    assert_eq!(taken(M::AES_GCM, &mut wrap, 56), told);
    let place = |wrap: &mut CK_GCM_WRAP_PARAMS, length| {
        let mut mechanism = CK_MECHANISM {
            mechanism: M::AES_GCM.0,
            pParameter: ptr::from_mut(wrap).cast(),
            ulParameterLen: length,
        };
        // SAFETY: memory of this test's own, of the length told or a shorter one.
        let alleged = unsafe { Alleged::new(&raw mut mechanism) };
        Mechanism::copy_to_wrap(alleged).unwrap()
    };
    let (_, room) = place(&mut wrap, 56);
    assert!(room.tag.is_none());
    let room = room.iv.unwrap();
    assert_eq!(room.bytes(), 2);
    room.write(0, &[8, 9]);
    assert_eq!(iv, [8, 9]);
    let (_, none) = place(&mut wrap, 48);
    assert!(none.iv.is_none(), "CK_GCM_PARAMS has none");
    // No vector where one is told of: malformed, and nothing is written.
    wrap.pIv = ptr::null_mut();
    let (mechanism, room) = place(&mut wrap, 56);
    assert!(room.iv.is_none());
    assert_eq!(format!("{:?}", mechanism.wire().parameter), "Malformed");
    // SAFETY: NULL.
    let null = unsafe { Alleged::new(ptr::null_mut()) };
    let refused = Mechanism::copy_to_wrap(null);
    assert_eq!(refused.err(), Some(Rv::ARGUMENTS_BAD));
}

/// PKCS#11 3.2, 6.13.3: `CK_GCM_MESSAGE_PARAMS` for the authenticated functions, as long as `CK_GCM_PARAMS`.
#[test]
fn gcm_for_authenticated_wrapping_has_places_for_vector_and_tag() {
    let (mut iv, mut tag) = ([1_u8; 2], [2_u8; 3]);
    let mut message = CK_GCM_MESSAGE_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 2,
        ulIvFixedBits: 5,
        ivGenerator: 3,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 20,
    };
    let told = "GcmWrap { iv: [1, 1], fixed_bits: 5, generator: CKG_GENERATE_RANDOM, aad: [], tag_bits: 20 }";
    let alleged = |message: &mut CK_GCM_MESSAGE_PARAMS, length| {
        let mechanism = Box::leak(Box::new(CK_MECHANISM {
            mechanism: M::AES_GCM.0,
            pParameter: ptr::from_mut(message).cast(),
            ulParameterLen: length,
        }));
        // SAFETY: memory of this test's own, of the length told or a shorter one.
        unsafe { Alleged::new(ptr::from_mut(mechanism)) }
    };
    let wraps = |message: &mut CK_GCM_MESSAGE_PARAMS, length| {
        Mechanism::copy_to_wrap_authenticated(alleged(message, length)).unwrap()
    };
    let unwraps = |message: &mut CK_GCM_MESSAGE_PARAMS| {
        Mechanism::copy_to_unwrap_authenticated(alleged(message, 48)).unwrap()
    };
    let shown = |mechanism: &Mechanism| format!("{:?}", mechanism.wire().parameter);
    let (mechanism, places) = wraps(&mut message, 48);
    assert_eq!(shown(&mechanism), told);
    places.iv.unwrap().write(0, &[8, 9]);
    places.tag.unwrap().write(0, &[5, 6, 7]);
    assert_eq!((iv, tag), ([8, 9], [5, 6, 7]));
    let (mechanism, tag) = unwraps(&mut message);
    assert_eq!(shown(&mechanism), told.replace("1, 1", "8, 9"));
    assert_eq!(tag, [5, 6, 7]);
    // A parameter of another length, a tag that is too long, and no place for it.
    assert_eq!(shown(&wraps(&mut message, 56).0), "Malformed");
    for (tag_bits, start) in [
        (129, message.pTag),
        (u64::MAX, message.pTag),
        (8, ptr::null_mut()),
    ] {
        let mut wrong = CK_GCM_MESSAGE_PARAMS {
            ulTagBits: tag_bits,
            pTag: start,
            ..message
        };
        let (mechanism, places) = wraps(&mut wrong, 48);
        assert_eq!(shown(&mechanism), "Malformed");
        assert!(places.iv.is_none() && places.tag.is_none());
        let (mechanism, tag) = unwraps(&mut wrong);
        assert_eq!((shown(&mechanism).as_str(), tag.len()), ("Malformed", 0));
    }
}

#[test]
fn gcm_in_both_layouts() {
    let (mut iv, mut aad) = ([1_u8; 2], [2_u8; 3]);
    let mut new = CK_GCM_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 2,
        ulIvBits: 16,
        pAAD: aad.as_mut_ptr(),
        ulAADLen: 3,
        ulTagBits: 128,
    };
    let told = "Gcm { iv: [1, 1], aad: [2, 2, 2], tag_bits: 128 }";
    assert_eq!(taken(M::AES_GCM, &mut new, 48), told);
    let mut old = GcmWithoutIvBits {
        iv: iv.as_mut_ptr(),
        iv_bytes: 2,
        aad: aad.as_mut_ptr(),
        aad_bytes: 3,
        tag_bits: 128,
    };
    assert_eq!(taken(M::AES_GCM, &mut old, 40), told);
    assert_eq!(taken(M::AES_GCM, &mut new, 47), "Malformed");
    new.pIv = ptr::null_mut();
    assert_eq!(
        taken(M::AES_GCM, &mut new, 48),
        "Malformed",
        "no vector, but a length"
    );
    new.ulIvLen = 0;
    new.ulAADLen = u64::MAX;
    assert_eq!(taken(M::AES_GCM, &mut new, 48), "Malformed");
}

#[test]
fn counter_and_numbers() {
    let mut counter = CK_AES_CTR_PARAMS {
        ulCounterBits: 32,
        cb: [9; 16],
    };
    let told = taken(M::AES_CTR, &mut counter, 24);
    assert!(
        told.starts_with("Counter { bits: 32, block: [9, 9"),
        "{told}"
    );
    assert_eq!(taken(M::AES_CTR, &mut counter, 16), "Malformed");
    assert_eq!(taken(M::SHA256_HMAC_GENERAL, &mut 16_u64, 8), "Number(16)");
    assert_eq!(taken(M::SHA256_HMAC_GENERAL, &mut 16_u64, 4), "Malformed");
}

#[test]
fn every_general_mac_of_the_standard_takes_a_number() {
    let modern = |kind: M| {
        kind.0 >= 0x1000 || (0x22..0x80).contains(&kind.0) || kind.0 >= 0x2b0 && kind.0 < 0x2e0
    };
    for (name, kind) in M::ALL.iter().filter(|(_, kind)| modern(*kind)) {
        assert_eq!(
            has_length_parameter(*kind),
            name.ends_with("_GENERAL"),
            "{name}"
        );
        assert_eq!(
            has_pss_parameter(*kind),
            name.ends_with("RSA_PKCS_PSS"),
            "{name}"
        );
    }
}

#[test]
fn rsa_parameters() {
    let mut label = [5_u8; 2];
    let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: M::SHA256.0,
        mgf: Mgf::MGF1_SHA1.0,
        source: OaepSource::DATA_SPECIFIED.0,
        pSourceData: label.as_mut_ptr().cast(),
        ulSourceDataLen: 2,
    };
    let told = taken(M::RSA_PKCS_OAEP, &mut oaep, 40);
    assert!(
        told.contains("hash: CKM_SHA256") && told.contains("label: [5, 5]"),
        "{told}"
    );
    assert_eq!(taken(M::RSA_PKCS_OAEP, &mut oaep, 39), "Malformed");
    let mut wrap = CK_RSA_AES_KEY_WRAP_PARAMS {
        ulAESKeyBits: 256,
        pOAEPParams: &raw mut oaep,
    };
    let told = taken(M::RSA_AES_KEY_WRAP, &mut wrap, 16);
    assert!(
        told.contains("aes_bits: 256") && told.contains("label: [5, 5]"),
        "{told}"
    );
    wrap.pOAEPParams = ptr::null_mut();
    assert_eq!(taken(M::RSA_AES_KEY_WRAP, &mut wrap, 16), "Malformed");
    let mut pss = CK_RSA_PKCS_PSS_PARAMS {
        hashAlg: M::SHA384.0,
        mgf: Mgf::MGF1_SHA384.0,
        sLen: 48,
    };
    let told = taken(M::SHA384_RSA_PKCS_PSS, &mut pss, 24);
    assert!(told.contains("salt_bytes: 48"), "{told}");
    assert_eq!(taken(M::RSA_PKCS_PSS, &mut pss, 8), "Malformed");
}

#[test]
fn curve_parameters() {
    let mut point = [4_u8; 65];
    let mut ecdh = CK_ECDH1_DERIVE_PARAMS {
        kdf: Kdf::NULL.0,
        ulSharedDataLen: 0,
        pSharedData: ptr::null_mut(),
        ulPublicDataLen: 65,
        pPublicData: point.as_mut_ptr(),
    };
    let told = taken(M::ECDH1_DERIVE, &mut ecdh, 40);
    assert!(told.contains("shared: [], point: [4, 4"), "{told}");
    ecdh.ulPublicDataLen = 1 << 62;
    assert_eq!(taken(M::ECDH1_DERIVE, &mut ecdh, 40), "Malformed");
    let mut eddsa = CK_EDDSA_PARAMS {
        phFlag: 1,
        ulContextDataLen: 1,
        pContextData: point.as_mut_ptr(),
    };
    let told = taken(M::EDDSA, &mut eddsa, 24);
    assert_eq!(told, "Eddsa { prehash: true, context: [4] }");
    assert_eq!(taken_raw(M::EDDSA, ptr::null_mut(), 0), "None");
}
