//! Forms of output.

use strongroom_cli::output::{Rows, duration, printable, size};

#[test]
fn columns_are_aligned_and_end_without_blanks() {
    let mut rows = Rows::new(&["a", "long heading"]);
    rows.push(vec!["wide cell".into(), "x".into()]);
    rows.push(vec!["ä".into(), String::new()]);
    assert_eq!(rows.columns(), "A          LONG HEADING\nwide cell  x\nä\n");
    let table = rows.table();
    assert!(
        table.contains("wide cell") && table.contains("long heading"),
        "{table}"
    );
}

#[test]
fn sizes_and_times_are_short() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (64 << 20, "64.0 MiB"),
        (5 << 30, "5.0 GiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
    for (seconds, text) in [
        (0, "0 s"),
        (61, "1 min 1 s"),
        (3_600, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ] {
        assert_eq!(duration(seconds), text);
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    assert_eq!(
        printable("a\u{1b}[2Jb\n\u{9b}c"),
        "a\u{fffd}[2Jb\u{fffd}\u{fffd}c"
    );
}
