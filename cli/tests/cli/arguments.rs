//! Arguments: what is taken, what is refused, and what is made from their definition.

use clap::{CommandFactory, Parser};
use strongroom_cli::arguments::{Arguments, Command, TokenCommand};

use crate::bench::{Directory, run};

fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("strongroom").chain(arguments.iter().copied()))
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn flags_of_the_place_may_stand_anywhere() {
    let parsed = parse(&["token", "list", "--json", "--home", "/h"]).unwrap();
    assert!(parsed.place.json);
    assert!(matches!(parsed.command, Command::Token(TokenCommand::List)));
    assert!(parse(&["--json", "--admin-socket", "/s", "status"]).is_ok());
}

#[test]
fn contradictions_and_pins_on_the_command_line_are_refused() {
    for arguments in [
        &[
            "token",
            "create",
            "t",
            "--generate-so-pin",
            "--so-pin-file",
            "f",
        ][..],
        &["token", "create", "t", "--no-pin", "--pin-file", "f"],
        &["token", "create", "t", "--so-pin", "1234"],
        &["token", "create", "t", "--pin", "1234"],
        &["--home", "/h", "--system", "status"],
        &["audit", "tail", "-n", "many"],
        &[],
    ] {
        assert_eq!(
            parse(arguments).unwrap_err().exit_code(),
            2,
            "{arguments:?}"
        );
    }
}

#[test]
fn completions_know_the_commands() {
    let home = Directory::new();
    for shell in ["bash", "zsh", "fish"] {
        let answer = run(&home, &["completions", shell], "");
        assert_eq!(answer.code, 0);
        for word in ["doctor", "generate-so-pin", "verify"] {
            assert!(answer.text.contains(word), "{shell} {word}");
        }
    }
}

#[test]
fn manual_pages_are_made_for_all_commands() {
    let home = Directory::new();
    let page = run(&home, &["man"], "").text;
    assert!(
        page.contains(".TH strongroom 1") && page.contains("Exit codes"),
        "{page}"
    );
    assert_eq!(
        run(&home, &["man", home.path().to_str().unwrap()], "").code,
        0
    );
    for name in [
        "strongroom.1",
        "strongroom-token-create.1",
        "strongroom-audit-verify.1",
    ] {
        assert!(home.join(name).exists(), "{name}");
    }
}
