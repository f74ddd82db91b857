//! What a command said, held against what the page says it does.
//!
//! What lives here: the one comparison, in which `…` stands for what varies.
//! What must never live here: reading pages or running commands.
//! Who calls it: `stage.rs`.

/// Stands for any characters of a line, and alone on a line for any lines.
const ANY: char = '…';

/// Where they part: the first line expected that was not said, or, when all were, the first line said that was not expected.
pub(super) fn difference(expected: &str, said: &str) -> Option<String> {
    let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
    let said: Vec<&str> = said.lines().map(str::trim_end).collect();
    let reach = reach(&expected, &said);
    if reach == expected.len() && fits(&expected, &said) {
        return None;
    }
    Some(match expected.get(reach) {
        Some(line) => format!("expected, and not said: {line}"),
        None => "more was said than expected".to_owned(),
    })
}

/// Whether the lines fit, one by one, `…` alone being any lines.
fn fits(expected: &[&str], said: &[&str]) -> bool {
    glob(
        expected,
        said,
        |line| is_any(line),
        |line, other| line_fits(line, other),
    )
}

/// How many of the expected lines can be found at the beginning of what was said.
fn reach(expected: &[&str], said: &[&str]) -> usize {
    let beginning = |count: &usize| {
        let wanted = &expected[..*count];
        (0..=said.len()).any(|most| fits(wanted, &said[..most]))
    };
    (0..=expected.len()).rev().find(beginning).unwrap_or(0)
}

fn is_any(line: &str) -> bool {
    line.trim() == "…"
}

fn line_fits(expected: &str, said: &str) -> bool {
    let expected: Vec<char> = expected.chars().collect();
    let said: Vec<char> = said.chars().collect();
    glob(
        &expected,
        &said,
        |one| *one == ANY,
        |one, other| one == other,
    )
}

/// Matching with wildcards: goes back to the last wildcard only, which is enough.
fn glob<T>(
    pattern: &[T],
    said: &[T],
    any: impl Fn(&T) -> bool,
    same: impl Fn(&T, &T) -> bool,
) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while place < said.len() {
        match pattern.get(at) {
            Some(one) if any(one) => {
                back = Some((at, place));
                at += 1;
            }
            Some(one) if same(one, &said[place]) => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((wildcard, from)) = back else {
                    return false;
                };
                back = Some((wildcard, from + 1));
                (at, place) = (wildcard + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_fits() {
        assert_eq!(difference("a\nb\n", "a\nb  \n"), None);
        assert_eq!(difference("", ""), None);
    }

    #[test]
    fn what_varies_may_vary() {
        assert_eq!(difference("id … of …\n", "id 17 of 20\n"), None);
        assert_eq!(difference("a\n…\nz\n", "a\nb\nc\nz\n"), None);
        assert_eq!(difference("…\nz\n…\n", "z\n"), None);
        assert_eq!(difference("…ab\n…\nend\n", "abab\nend\nend\n"), None);
    }

    #[test]
    fn the_first_line_that_is_missing_is_named() {
        let told = difference("a\n…\nc\nd\n", "a\nb\nc\n").expect("a difference");
        assert_eq!(told, "expected, and not said: d");
        let told = difference("a\nx …\n", "a\ny 1\n").expect("a difference");
        assert_eq!(told, "expected, and not said: x …");
    }

    #[test]
    fn what_was_not_expected_is_noticed() {
        assert_eq!(
            difference("a\n", "a\nb\n").as_deref(),
            Some("more was said than expected")
        );
        assert!(difference("", "a\n").is_some());
    }
}
