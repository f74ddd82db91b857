//! Commands: the question that reaches the daemon, what is shown, and the exit code.

use strongroom_wire::admin::{AdminAnswer, AuditReport};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec::List;

use crate::bench::{Directory, daemon, object, run, status, token};

fn list<T>(items: Vec<T>) -> List<T, { strongroom_wire::response::ANSWER_ITEMS_MAX }> {
    List::new(items).unwrap()
}

#[test]
fn status_has_stable_names_as_json_and_words_as_text() {
    let home = Directory::new();
    let asked = daemon(&home, AdminAnswer::Status(Box::new(status())));
    let answer = run(&home, &["status", "--json"], "");
    assert_eq!((answer.code, asked.recv().unwrap().as_str()), (0, "Status"));
    let json = answer.json();
    assert_eq!(json["memory_locking"], "memfd_secret");
    assert_eq!(json["uptime_seconds"], 3_700);
    assert_eq!(json["config"], serde_json::Value::Null);
    assert_eq!(json["jail"]["seccomp"], true);
    // The daemon that is imitated here does not know of limits.
    assert_eq!(json["limits"], serde_json::json!([]));
    assert_eq!(json.as_object().unwrap().len(), 25);

    let home = Directory::new();
    let _asked = daemon(&home, AdminAnswer::Status(Box::new(status())));
    let text = run(&home, &["status"], "").text;
    assert!(text.contains("running for 1 h 1 min"), "{text}");
    assert!(
        text.contains("memfd_secret, 1.5 MiB of 64.0 MiB in use"),
        "{text}"
    );
    assert!(
        text.contains("seccomp, Landlock 7, no capabilities"),
        "{text}"
    );
}

#[test]
fn tokens_are_listed_and_cannot_paint_the_terminal() {
    let home = Directory::new();
    let asked = daemon(&home, AdminAnswer::Tokens(list(vec![token()])));
    let text = run(&home, &["token", "list"], "").text;
    assert_eq!(asked.recv().unwrap(), "TokenList");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("SLOT  LABEL"), "{text}");
    assert!(lines[1].contains("00112233  set"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");

    let home = Directory::new();
    let _asked = daemon(&home, AdminAnswer::Tokens(list(vec![token()])));
    let json = run(&home, &["token", "list", "--json"], "").json();
    assert_eq!(json[0]["serial_number"], "00112233");
    assert_eq!(json[0]["user_pin_locked"], false);
}

#[test]
fn pins_come_from_files_and_from_standard_input() {
    let home = Directory::new();
    let so = home.write("so", "so pin\n");
    let asked = daemon(&home, AdminAnswer::Tokens(list(vec![token()])));
    let arguments = [
        "token",
        "create",
        "t",
        "--so-pin-file",
        so.to_str().unwrap(),
        "--pin-file",
        "-",
    ];
    let answer = run(&home, &arguments, "user pin\nrest");
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(asked.recv().unwrap(), "create t so pin Some(\"user pin\")");
    assert!(
        !answer.text.contains("so pin:") && !answer.text.contains("user pin\n"),
        "{answer:?}"
    );

    let home = Directory::new();
    let asked = daemon(&home, AdminAnswer::Tokens(list(vec![token()])));
    run(
        &home,
        &[
            "token",
            "create",
            "t",
            "--so-pin-file",
            "-",
            "--pin-file",
            "-",
        ],
        "first\nsecond\n",
    );
    assert_eq!(asked.recv().unwrap(), "create t first Some(\"second\")");
}

#[test]
fn a_generated_pin_is_shown_once() {
    let home = Directory::new();
    let asked = daemon(&home, AdminAnswer::Tokens(list(vec![token()])));
    let answer = run(
        &home,
        &[
            "token",
            "create",
            "t",
            "--generate-so-pin",
            "--no-pin",
            "--json",
        ],
        "",
    );
    let pin = answer.json()["so_pin"].as_str().unwrap().to_owned();
    assert_eq!(asked.recv().unwrap(), format!("create t {pin} None"));
    assert_eq!(pin.len(), 32);
    assert_eq!(answer.json()["token"]["slot"], 0);
}

#[test]
fn without_a_terminal_nothing_is_guessed() {
    for arguments in [
        &["token", "create", "t", "--no-pin"][..],
        &["token", "create", "t", "--generate-so-pin"],
    ] {
        let home = Directory::new();
        let _asked = daemon(&home, AdminAnswer::Done);
        let answer = run(&home, arguments, "");
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.error.contains("there is no terminal"), "{answer:?}");
    }
    let home = Directory::new();
    let asked = daemon(&home, AdminAnswer::Done);
    let answer = run(&home, &["token", "delete", "t", "--yes"], "");
    assert_eq!((answer.code, answer.text.as_str()), (0, "token deleted\n"));
    assert_eq!(asked.recv().unwrap(), "TokenDelete { token: \"t\" }");
}

#[test]
fn objects_are_listed_and_shown() {
    let home = Directory::new();
    let _asked = daemon(
        &home,
        AdminAnswer::Objects {
            objects: list(vec![object()]),
            closed: 2,
        },
    );
    let text = run(&home, &["object", "list", "t"], "").text;
    assert!(text.contains("private_key  rsa   2048"), "{text}");
    assert!(text.contains("2 private objects are closed"), "{text}");

    let home = Directory::new();
    let attributes = list(vec![("CKA_SIGN".to_owned(), "true".to_owned())]);
    let asked = daemon(
        &home,
        AdminAnswer::Object {
            object: object(),
            attributes,
        },
    );
    let json = run(&home, &["object", "show", "t", "ca", "--json"], "").json();
    assert_eq!(
        asked.recv().unwrap(),
        "ObjectShow { token: \"t\", object: \"ca\" }"
    );
    assert_eq!(json["attributes"]["CKA_SIGN"], "true");
    assert_eq!(json["object"]["bits"], 2048);
}

#[test]
fn the_audit_is_shown_and_a_broken_one_is_a_failure() {
    let home = Directory::new();
    let lines = list(vec!["{\"n\":1}".to_owned(), "{\"n\":2}".to_owned()]);
    let asked = daemon(&home, AdminAnswer::Lines(lines));
    assert_eq!(
        run(&home, &["audit", "tail", "-n", "2"], "").text,
        "{\"n\":1}\n{\"n\":2}\n"
    );
    assert_eq!(asked.recv().unwrap(), "AuditTail { lines: 2 }");

    let report = |broken| {
        AdminAnswer::Audit(AuditReport {
            lines: 9,
            head: "abc".into(),
            broken,
            generation: Some(7),
        })
    };
    let home = Directory::new();
    let _asked = daemon(&home, report(None));
    let answer = run(&home, &["audit", "verify"], "");
    assert_eq!(
        (answer.code, answer.text.as_str()),
        (
            0,
            "the audit journal is whole: 9 lines, head abc, store generation 7\n"
        )
    );

    let home = Directory::new();
    let _asked = daemon(&home, report(Some((4, "the hash does not fit".into()))));
    let answer = run(&home, &["audit", "verify", "--json"], "");
    assert_eq!(answer.code, 1);
    assert_eq!(answer.json()["whole"], false);
    assert_eq!(answer.json()["broken"]["line"], 4);
    assert!(answer.error.contains("line 4"), "{answer:?}");
}

#[test]
fn a_refusal_names_its_reason_and_its_number() {
    let home = Directory::new();
    let refused = AdminAnswer::Refused {
        rv: Rv::PIN_LEN_RANGE,
        reason: "the PIN is too short".into(),
    };
    let _asked = daemon(&home, refused.clone());
    let answer = run(&home, &["reload"], "");
    assert_eq!(answer.code, 1);
    assert_eq!(
        answer.error,
        "strongroom: the PIN is too short (CKR_PIN_LEN_RANGE)\n"
    );

    let home = Directory::new();
    let _asked = daemon(&home, refused);
    let answer = run(&home, &["stop", "--json"], "");
    let error: serde_json::Value = serde_json::from_str(&answer.error).unwrap();
    assert_eq!(error["code"], 1);
}

#[test]
fn a_daemon_that_is_not_there_is_code_3_and_says_what_to_do() {
    let home = Directory::new();
    for arguments in [
        &["status"][..],
        &["token", "list"],
        &["stop"],
        &["audit", "verify"],
    ] {
        let answer = run(&home, arguments, "");
        assert_eq!(answer.code, 3, "{answer:?}");
        assert!(answer.error.contains("strongroom init"), "{answer:?}");
    }
}

#[test]
fn init_writes_a_configuration_once_and_starts_the_daemon() {
    let home = Directory::new();
    let _asked = daemon(&home, AdminAnswer::Done);
    let answer = run(&home, &["init", "--json"], "");
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.json()["config_written"], true);
    assert_eq!(answer.json()["daemon_started"], false);
    let text = std::fs::read_to_string(home.join("strongroom.toml")).unwrap();
    let parsed: toml::Table = toml::from_str(&text).unwrap();
    assert!(
        parsed
            .values()
            .all(|section| section.as_table().unwrap().is_empty()),
        "{text}"
    );
    // With every commented key in force it is still right TOML.
    let in_force: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.contains(" = ") => key,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let parsed: toml::Table = toml::from_str(&in_force).unwrap();
    assert_eq!(parsed["limits"]["connections_max"].as_integer(), Some(1024));

    // An own configuration stays, and a daemon that is not installed is named.
    let home = Directory::new();
    home.write("strongroom.toml", "daemon = \"/no/such/strongroomd\"\n");
    let answer = run(&home, &["init"], "");
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.error.contains("/no/such/strongroomd"), "{answer:?}");
    assert_eq!(
        std::fs::read_to_string(home.join("strongroom.toml")).unwrap(),
        "daemon = \"/no/such/strongroomd\"\n"
    );
}
