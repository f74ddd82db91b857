//! Where the daemon is looked for.

use std::path::Path;

use strongroom_cli::arguments::PlaceArguments;
use strongroom_cli::place::{Environment, Place};

use crate::bench::Directory;

#[test]
fn arguments_come_before_environment_before_file_before_defaults() {
    let home = Directory::new();
    let directory = home.path().to_str().unwrap();
    let by_environment = Environment::of_pairs(&[("STRONGROOM_HOME", directory)]);
    let place = Place::find(&PlaceArguments::default(), &by_environment).unwrap();
    assert_eq!(place.admin_socket, home.join("admin.sock"));

    home.write(
        "strongroom.toml",
        "admin_socket = \"/from/file\"\nsocket_mode = \"0660\"\n[store]\npath = \"/x\"\n",
    );
    let place = Place::find(&PlaceArguments::default(), &by_environment).unwrap();
    assert_eq!(place.admin_socket, Path::new("/from/file"));

    let environment = Environment::of_pairs(&[
        ("STRONGROOM_HOME", directory),
        ("STRONGROOM_ADMIN_SOCKET", "/from/environment"),
    ]);
    let place = Place::find(&PlaceArguments::default(), &environment).unwrap();
    assert_eq!(place.admin_socket, Path::new("/from/environment"));

    let arguments = PlaceArguments {
        admin_socket: Some("/from/flag".into()),
        ..PlaceArguments::default()
    };
    let place = Place::find(&arguments, &environment).unwrap();
    assert_eq!(place.admin_socket, Path::new("/from/flag"));
    assert_eq!(place.daemon_flags, ["--admin-socket", "/from/flag"]);
}

#[test]
fn a_home_by_flag_and_a_broken_file_are_understood() {
    let home = Directory::new();
    home.write("strongroom.toml", "admin_socket = ");
    let arguments = PlaceArguments {
        home: Some(home.path().into()),
        ..PlaceArguments::default()
    };
    let environment = Environment::of_pairs(&[("STRONGROOM_ADMIN_SOCKET", "/elsewhere")]);
    let place = Place::find(&arguments, &environment).unwrap();
    assert_eq!(place.admin_socket, home.join("admin.sock"));
    assert!(place.config_error.is_some());
    assert!(Place::find(&PlaceArguments::default(), &Environment::of_pairs(&[])).is_err());
}
