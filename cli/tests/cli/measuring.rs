//! `strongroom bench`: what is refused before anything is measured. The real module is measured by the tests of the whole product.

use crate::bench::{Directory, run};

#[test]
fn wrong_numbers_are_refused() {
    let home = Directory::new();
    for arguments in [
        &["bench"][..],
        &["bench", "--token", "t", "--seconds", "0"],
        &["bench", "--token", "t", "--threads", "0"],
        &["bench", "--token", "t", "--module-token", "u"],
        &["bench", "--token", "t", "--pin", "1234"],
    ] {
        assert_eq!(run(&home, arguments, "").code, 2, "{arguments:?}");
    }
}

#[test]
fn without_a_terminal_the_pin_comes_from_a_file() {
    let home = Directory::new();
    let module = home.write("module.so", "no library");
    let module = module.to_str().unwrap();
    let answer = run(
        &home,
        &["bench", "--token", "t", "--own-module", module],
        "",
    );
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.error.contains("--pin-file"), "{answer:?}");
}

#[test]
fn what_is_no_module_is_told() {
    let home = Directory::new();
    let module = home.write("module.so", "no library");
    let module = module.to_str().unwrap();
    let answer = run(
        &home,
        &[
            "bench",
            "--token",
            "t",
            "--own-module",
            module,
            "--pin-file",
            "-",
        ],
        "1234\n",
    );
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.error.contains(module), "{answer:?}");
    assert!(!answer.error.contains("1234"), "{answer:?}");
}
