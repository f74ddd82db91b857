//! A sealed HSM, seen by an application that is there all along, by a stranger's tool, and by the operator.

use std::fs;
use std::process::Output;

use cryptoki_sys::*;
use strongroom_tests::hsm::module_path;
use strongroom_tests::module::text;
use strongroom_tests::{
    Hsm, Rv, Session, Template, USER_PIN, Way, Workplace, not_on_softhsm, product, template,
};

use crate::keys;

const PASSPHRASE: &str = "correct horse battery";

fn strongroom(hsm: &Hsm, arguments: &[&str]) -> Output {
    let mut command = hsm.command(product::bin_dir().join("strongroom"));
    command.arg("--home").arg(&hsm.home).args(arguments);
    command.output().expect("strongroom runs")
}

fn succeed(hsm: &Hsm, arguments: &[&str]) -> String {
    let output = strongroom(hsm, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn write(hsm: &Hsm, name: &str, content: &str) -> String {
    let path = hsm.home.join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// What pkcs11-tool shows of the slots; it must end by itself.
fn slots_by_pkcs11_tool(hsm: &Hsm) -> String {
    let mut tool = hsm.command("timeout");
    tool.args(["30", "pkcs11-tool", "--list-slots", "--module"]);
    let output = tool.arg(module_path()).output().expect("pkcs11-tool runs");
    assert_ne!(output.status.code(), Some(124), "pkcs11-tool hangs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn labelled(label: &str) -> Template {
    template![CKA_LABEL => label]
}

#[test]
fn an_application_goes_on_when_the_seal_is_opened() {
    let mut place = Workplace::open();
    if not_on_softhsm("no seal") {
        return;
    }
    let key = {
        let session = place.user();
        let wanted = keys::protected_aes()
            .with(CKA_TOKEN, true)
            .with(CKA_LABEL, "kept");
        session.generate(CKM_AES_KEY_GEN, &wanted).unwrap();
        session.find(&labelled("kept")).unwrap()[0]
    };
    let sealed = place
        .user()
        .run(Way::Encrypt, CKM_AES_ECB, key, &[1; 16])
        .unwrap();
    let passphrase = write(&place.hsm, "passphrase", PASSPHRASE);
    let before = fs::read(place.hsm.home.join("store.redb")).unwrap();
    let rotated = ["seal", "rotate", "--to", "passphrase", "--passphrase-file"];
    let said = succeed(
        &place.hsm,
        &[&rotated[..], &[&passphrase, "--destroy-old"]].concat(),
    );
    assert!(!said.contains("careful"), "{said}");
    assert_eq!(
        fs::read(place.hsm.home.join("store.redb")).unwrap(),
        before,
        "not a byte of the store changes"
    );
    place.hsm.stop_daemon();
    place.hsm.start_daemon();

    let info = place.module.token_info(place.slot).unwrap();
    assert_eq!(info.flags & CKF_TOKEN_INITIALIZED, 0);
    assert_eq!(text(&info.label), "");
    assert!(!place.module.mechanisms(place.slot).unwrap().is_empty());
    let refused = Session::open_rw(&place.module, place.slot).map(|session| session.handle);
    assert_eq!(refused, Err(Rv(CKR_DEVICE_ERROR)));
    let refused = place.module.init_token(place.slot, "12345678", "mine");
    assert_eq!(refused, Err(Rv(CKR_DEVICE_ERROR)));
    let shown = slots_by_pkcs11_tool(&place.hsm);
    assert!(shown.contains("uninitialized"), "{shown}");
    let status = succeed(&place.hsm, &["status"]);
    assert!(status.contains("waits for passphrase"), "{status}");

    let wrong = write(&place.hsm, "wrong", "wrong horse battery");
    let output = strongroom(&place.hsm, &["unseal", "--file", &wrong]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is not the one of this seal"), "{said}");
    assert_eq!(
        succeed(&place.hsm, &["unseal", "--file", &passphrase]),
        "unsealed\n"
    );

    // The same application, without C_Finalize.
    let begin = std::time::Instant::now();
    let session = loop {
        match Session::open_rw(&place.module, place.slot) {
            Ok(session) => break session,
            Err(code) => assert!(begin.elapsed().as_secs() < 20, "{code:?}"),
        }
    };
    match session.login(CKU_USER, USER_PIN) {
        Err(code) if code.0 != CKR_USER_ALREADY_LOGGED_IN => panic!("{code:?}"),
        _ => {}
    }
    let key = session.find(&labelled("kept")).unwrap()[0];
    assert_eq!(
        session.run(Way::Encrypt, CKM_AES_ECB, key, &[1; 16]),
        Ok(sealed)
    );
    assert!(slots_by_pkcs11_tool(&place.hsm).contains("suite"));
}
