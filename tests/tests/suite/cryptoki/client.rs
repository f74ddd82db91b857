//! One whole journey with a client library that others wrote.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use strongroom_tests::hsm::module_path;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::{Hsm, SO_PIN, USER_PIN};

#[test]
fn a_client_of_others_initialises_signs_encrypts_and_leaves() {
    let hsm = Hsm::start();
    // Puts the environment in place; the client loads the module itself.
    let own = hsm.module();
    own.finalize().unwrap();
    let client = Pkcs11::new(module_path()).expect("the module loads");
    client
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .expect("C_Initialize");
    let slot = client.get_slots_with_token().expect("slots")[0];
    client
        .init_token(slot, &AuthPin::new(SO_PIN.into()), "by cryptoki")
        .expect("C_InitToken");
    let slot = client
        .get_slots_with_token()
        .expect("slots")
        .into_iter()
        .find(|slot| {
            client
                .get_token_info(*slot)
                .is_ok_and(|info| info.label() == "by cryptoki")
        })
        .expect("the token");
    let session = client.open_rw_session(slot).expect("C_OpenSession");
    session
        .login(UserType::So, Some(&AuthPin::new(SO_PIN.into())))
        .expect("the officer");
    session
        .init_pin(&AuthPin::new(USER_PIN.into()))
        .expect("C_InitPIN");
    session.logout().expect("C_Logout");
    session
        .login(UserType::User, Some(&AuthPin::new(USER_PIN.into())))
        .expect("the user");
    let curve = Curve::P256;
    let (public, private) = session
        .generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &[
                Attribute::EcParams(curve.parameters().to_vec()),
                Attribute::Verify(true),
                Attribute::Token(true),
            ],
            &[
                Attribute::Sign(true),
                Attribute::Sensitive(true),
                Attribute::Token(true),
            ],
        )
        .expect("C_GenerateKeyPair");
    let digest = Hash::Sha256.of(b"a message");
    let signature = session
        .sign(&Mechanism::Ecdsa, private, &digest)
        .expect("C_Sign");
    session
        .verify(&Mechanism::Ecdsa, public, &digest, &signature)
        .expect("C_Verify");
    let attributes = session
        .get_attributes(public, &[AttributeType::EcPoint])
        .expect("the point");
    let Attribute::EcPoint(point) = &attributes[0] else {
        panic!("not a point: {attributes:?}");
    };
    assert!(curve.ecdsa_is_good(&curve.point(point), &digest, &signature));
    let key = session
        .generate_key(
            &Mechanism::AesKeyGen,
            &[
                Attribute::ValueLen(32.into()),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
            ],
        )
        .expect("C_GenerateKey");
    let sealed = session
        .encrypt(&Mechanism::AesCbcPad([1; 16]), key, b"plain")
        .expect("C_Encrypt");
    assert_eq!(
        session
            .decrypt(&Mechanism::AesCbcPad([1; 16]), key, &sealed)
            .expect("C_Decrypt"),
        b"plain"
    );
    let found = session
        .find_objects(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::EC),
        ])
        .expect("C_FindObjects");
    assert_eq!(found, [private]);
    session.destroy_object(private).expect("C_DestroyObject");
    session.close().expect("C_CloseSession");
    client.finalize().expect("C_Finalize");
}
