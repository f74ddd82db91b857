//! Names of functions, short enough for a box.
//!
//! What lives here: what a symbol is called in a flame graph, and which are left out.
//! What must never live here: a sample.
//! Who calls it: `fold`.

/// Last parts of names that every stack has and that tell nothing: how threads, `main` and closures are called.
const NOISE: &[&str] = &[
    "__libc_start_call_main",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__rust_begin_short_backtrace",
    "_start",
    "call_once",
    "catch_unwind",
    "clone3",
    "do_call",
    "lang_start",
    "lang_start_internal",
    "main",
    "start_thread",
    "thread_start",
];

/// The short name of a symbol; none when it tells nothing.
pub(super) fn short(symbol: &str) -> Option<String> {
    if let Some(rest) = without_aws_lc(symbol) {
        return Some(format!("AWS-LC {rest}"));
    }
    let path = without_generics(symbol.split("@@").next().unwrap_or(symbol));
    let parts: Vec<&str> = path
        .split("::")
        .filter(|part| !part.is_empty() && *part != "_" && !part.starts_with('{') && !is_hash(part))
        .map(|part| part.split('{').next().unwrap_or(part))
        .collect();
    let last = parts.last()?;
    // `main` of C calls only that of Rust, whose name has a crate before it.
    let is_noise = NOISE.contains(last) && !(*last == "main" && parts.len() > 1);
    (!is_noise && *last != "[unknown]").then(|| parts.join("::"))
}

/// A symbol of AWS-LC without its prefix, which holds the version.
fn without_aws_lc(symbol: &str) -> Option<&str> {
    let rest = symbol.strip_prefix("aws_lc_")?;
    let rest = rest.strip_prefix("fips_").unwrap_or(rest);
    Some(rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_'))
}

/// `h` and sixteen digits, which tell two copies of one function apart.
fn is_hash(part: &str) -> bool {
    part.len() == 17
        && part
            .strip_prefix('h')
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A path without what stands in angle brackets, but for the type whose method it is.
fn without_generics(symbol: &str) -> String {
    let mut path = String::new();
    let mut rest = symbol;
    while let Some(open) = rest.find('<') {
        let (before, inside_and_rest) = rest.split_at(open);
        let inside_bytes = bracket(inside_and_rest);
        let inside = inside_and_rest.get(1..inside_bytes).unwrap_or_default();
        let is_first = path.is_empty() && before.is_empty();
        if let Some(implementation) = inside.strip_prefix("impl ") {
            // The module of the implementation says less than the type.
            path = own_type(implementation.rsplit(" for ").next().unwrap_or_default());
        } else if is_first {
            path = own_type(inside);
        } else {
            path.push_str(before);
        }
        rest = inside_and_rest.get(inside_bytes + 1..).unwrap_or_default();
    }
    path.push_str(rest);
    path
}

/// `A` of `&mut A as B`, without generics.
fn own_type(inside: &str) -> String {
    let mut depth = 0_u32;
    let mut end = inside.len();
    for (place, letter) in inside.char_indices() {
        match letter {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && inside.get(place..).is_some_and(|s| s.starts_with(" as ")) => {
                end = place;
                break;
            }
            _ => {}
        }
    }
    let mut own = inside.get(..end).unwrap_or(inside);
    for mark in ["&", "mut ", "dyn "] {
        own = own.trim_start_matches(mark);
    }
    without_generics(own)
}

/// The place of the bracket that closes the first; the end when none does.
fn bracket(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut before = ' ';
    for (place, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            // The arrow of a function's type closes nothing.
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return place;
        }
        before = letter;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened() {
        for (long, expected) in [
            ("a::b::c::h0123456789abcdef", "a::b::c"),
            ("a::b::{{closure}}", "a::b"),
            ("a::{impl#3}::b::{closure#0}", "a::b"),
            ("ask<core::result::Result<u64, fn() -> x::Y>, z>", "ask"),
            ("a::Vec::<u8>::push", "a::Vec::push"),
            ("<&mut a::B<T> as c::D<E>>::f", "a::B::f"),
            ("<a::B as c::D>::f::<g>", "a::B::f"),
            ("<dyn a::B as c::D>::f", "a::B::f"),
            (
                "s::_::<impl x::S for s::r::Request>::ser",
                "s::r::Request::ser",
            ),
            ("s::admin::<impl s::Service>::named", "s::Service::named"),
            ("aws_lc_0_47_0_SHA256_Update", "AWS-LC SHA256_Update"),
            ("do_syscall_64", "do_syscall_64"),
            ("p11measure::main", "p11measure::main"),
        ] {
            assert_eq!(short(long).as_deref(), Some(expected), "{long}");
        }
    }

    #[test]
    fn noise_is_left_out() {
        for noise in [
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "<alloc::boxed::Box<dyn core::ops::FnOnce<()>> as core::ops::FnOnce<()>>::call_once",
            "std::panic::catch_unwind::<a::{closure#0}, isize>",
            "{closure#1}<a::b, ()>",
            "main",
            "__libc_start_main@@GLIBC_2.34",
            "[unknown]",
        ] {
            assert_eq!(short(noise), None, "{noise}");
        }
    }

    #[test]
    fn brackets_that_do_not_close_do_no_harm() {
        assert_eq!(short("a<b<c").as_deref(), Some("a"));
        assert_eq!(short("<"), None);
    }
}
