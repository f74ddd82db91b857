//! `strongroom wrap` and `unwrap`: what is refused before a token is asked. Tokens are met by the tests of the whole product.

use crate::bench::{Directory, run};

#[test]
fn wrong_usage_is_refused() {
    let home = Directory::new();
    for arguments in [
        &["wrap", "--token", "t"][..],
        &["wrap", "--key", "k"],
        &["unwrap", "--key", "k"],
        &["wrap", "--token", "t", "--key", "k", "--pin", "1234"],
        &["wrap", "--token", "t", "--id", "1"],
        &["wrap", "--token", "t", "--id", "0g"],
        &["wrap", "--token", "t", "--id", ""],
        &["wrap", "--token", "t", "--key", "k", "--pin-file", "-"],
        &["unwrap", "--token", "t", "--pin-file", "-"],
    ] {
        assert_eq!(run(&home, arguments, "").code, 2, "{arguments:?}");
    }
}

#[test]
fn what_is_not_wrapped_is_refused_without_a_token() {
    let home = Directory::new();
    let module = home.write("module.so", "no library");
    let module = module.to_str().unwrap();
    let unwrap = ["unwrap", "--token", "t", "--module", module];
    for (input, word) in [
        ("", "nothing in standard input"),
        ("-----BEGIN CMS-----", "first line"),
        ("strongroom wrap 1\n\u{1}", "cut off"),
    ] {
        let answer = run(&home, &unwrap, input);
        assert_eq!((answer.code, answer.text.as_str()), (1, ""), "{answer:?}");
        assert!(answer.error.contains(word), "{answer:?}");
    }
}

#[test]
fn what_is_no_module_is_told_and_the_secret_is_not() {
    let home = Directory::new();
    let module = home.write("module.so", "no library");
    let module = module.to_str().unwrap();
    let arguments = ["wrap", "--token", "t", "--id", "a0FF", "--module", module];
    let answer = run(&home, &arguments, "a data key");
    assert_eq!((answer.code, answer.text.as_str()), (1, ""), "{answer:?}");
    assert!(answer.error.contains(module), "{answer:?}");
    assert!(!answer.error.contains("a data key"), "{answer:?}");
}
