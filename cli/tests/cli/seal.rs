//! The seal: where secrets come from, what reaches the daemon, and what a person is told.

use strongroom_wire::admin::{AdminAnswer, Seal, SealProvider};
use strongroom_wire::codec::List;

use crate::bench::{Directory, daemon, run};

fn seal(sealed: bool, given: u32) -> Box<Seal> {
    let shares = SealProvider {
        kind: "shares".into(),
        shown: "2 of 3 shares".into(),
        given,
        needed: 2,
        total: 3,
    };
    Box::new(Seal {
        sealed,
        file: Some("/data/root.seal".into()),
        root_key_id: Some("00ff".into()),
        all: false,
        providers: List::new(vec![shares]).unwrap(),
        left_over: List::new(vec!["/data/root.key".into()]).unwrap(),
    })
}

#[test]
fn a_secret_comes_from_a_file_standard_input_or_a_descriptor_and_progress_is_told() {
    let home = Directory::new();
    let file = home.write("share", "strongroom-share-1 X\n");
    let asked = daemon(&home, AdminAnswer::Seal(seal(true, 1)));
    let sources = [
        (&["--file", file.to_str().unwrap()][..], ""),
        (&["--file", "-"], "strongroom-share-1 X\nrest"),
        (&["--fd", "0"], "strongroom-share-1 X\n"),
    ];
    for (source, input) in sources {
        let answer = run(&home, &[&["unseal"][..], source].concat(), input);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert_eq!(
            answer.text,
            "1 of 2 shares\nsealed: waits for 2 of 3 shares (1 of 2 given)\n"
        );
        assert_eq!(asked.recv().unwrap(), "SealShow");
        assert_eq!(asked.recv().unwrap(), "unseal strongroom-share-1 X");
    }
    let json = run(&home, &["unseal", "--reset", "--json"], "").json();
    assert_eq!(asked.recv().unwrap(), "UnsealReset");
    assert_eq!(json["providers"][0]["given"], 1);
}

#[test]
fn without_a_terminal_or_a_sealed_daemon_nothing_is_asked() {
    let home = Directory::new();
    let _asked = daemon(&home, AdminAnswer::Seal(seal(true, 0)));
    let answer = run(&home, &["unseal"], "");
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.error.contains("there is no terminal"), "{answer:?}");
    let home = Directory::new();
    let _asked = daemon(&home, AdminAnswer::Seal(seal(false, 2)));
    let answer = run(&home, &["unseal", "--file", "-"], "x\n");
    assert_eq!(answer.code, 1);
    assert!(answer.error.contains("not sealed"), "{answer:?}");
}

#[test]
fn the_seal_is_shown_with_what_still_opens_the_store() {
    let home = Directory::new();
    let _asked = daemon(&home, AdminAnswer::Seal(seal(false, 0)));
    let text = run(&home, &["seal", "show"], "").text;
    assert!(text.contains("2 of 3 shares  2 of 3"), "{text}");
    assert!(text.contains("careful: /data/root.key"), "{text}");
    let json = run(&home, &["seal", "show", "--json"], "").json();
    assert_eq!(json["root_key_id"], "00ff");
}

#[test]
fn a_rotation_asks_for_what_is_written_and_shows_the_shares_once() {
    let home = Directory::new();
    let shares = vec!["strongroom-share-1 A".into(), "strongroom-share-1 B".into()];
    let shares = List::new(shares).unwrap();
    let asked = daemon(
        &home,
        AdminAnswer::SealRotated {
            seal: seal(false, 0),
            shares,
        },
    );
    let arguments = [
        "seal", "rotate", "--to", "shares", "2/3", "--to", "key-file", "/k",
    ];
    let answer = run(&home, &[&arguments[..], &["--need", "all"]].concat(), "");
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.text.matches("strongroom-share-1 A\n").count(), 1);
    let request = asked.recv().unwrap();
    assert!(
        request.contains("Shares { threshold: 2, count: 3 }"),
        "{request}"
    );
    assert!(request.contains("KeyFile { path: \"/k\" }"), "{request}");
    assert!(request.contains("all: true"), "{request}");

    let rotate = [
        "seal",
        "rotate",
        "--to",
        "passphrase",
        "--passphrase-file",
        "-",
    ];
    let answer = run(&home, &rotate, "correct horse battery\n");
    assert_eq!(answer.code, 0, "{answer:?}");
    // The secret has no debug output; its length shows that it came whole.
    let request = asked.recv().unwrap();
    assert!(
        request.contains("Passphrase { secret: Secret(21 bytes) }"),
        "{request}"
    );
}
