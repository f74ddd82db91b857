//! From samples to a tree.
//!
//! What lives here: reading what `perf script` prints, and adding stacks that are the same.
//! What must never live here: a colour or a size.
//! Who calls it: `flame`.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::name;

/// The tree of each process, by its number.
pub(super) type Processes = BTreeMap<u32, Frame>;

/// Whose code a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Owner {
    /// Strongroom, and the program that measures it.
    Ours,
    AwsLc,
    /// The standard library, packages of others, libc.
    #[default]
    Library,
    Kernel,
}

/// A function as called by those above it in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) owner: Owner,
    /// Samples in it and in what it called.
    pub(super) samples: u64,
    /// What it called, by name.
    pub(super) called: BTreeMap<String, Self>,
}

impl Frame {
    fn add(&mut self, stack: &[(String, Owner)]) {
        self.samples += 1;
        if let Some(((name, owner), rest)) = stack.split_first() {
            let called = self.called.entry(name.clone()).or_default();
            called.owner = *owner;
            called.add(rest);
        }
    }
}

/// A line of a stack.
struct Line {
    address: u64,
    symbol: String,
    is_inlined: bool,
    /// Whether the program or library is Strongroom's.
    is_ours: bool,
}

/// Reads what `perf script -F pid,ip,sym,dso` prints: for each sample the number of a process, then a line for each frame, the
/// innermost first, then an empty line.
pub(super) fn fold(lines: impl BufRead) -> io::Result<Processes> {
    let mut processes = Processes::new();
    let mut process = None;
    let mut stack = Vec::new();
    for line in lines.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let text = line.trim();
        if text.is_empty() {
            if let Some(process) = process.take() {
                add(&mut processes, process, &stack);
            }
            stack.clear();
        } else if process.is_none() {
            process = Some(text.parse().map_err(io::Error::other)?);
        } else {
            stack.extend(parse(text));
        }
    }
    if let Some(process) = process {
        add(&mut processes, process, &stack);
    }
    Ok(processes)
}

/// `ADDRESS SYMBOL (FILE)`, or `(inlined)` instead of the file.
fn parse(text: &str) -> Option<Line> {
    let (address, rest) = text.split_once(' ')?;
    let (symbol, place) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    Some(Line {
        address: u64::from_str_radix(address, 16).ok()?,
        symbol: symbol.to_owned(),
        is_inlined: place == "inlined)",
        is_ours: place
            .rsplit('/')
            .next()
            .is_some_and(|file| file.contains("strongroom")),
    })
}

fn add(processes: &mut Processes, process: u32, lines: &[Line]) {
    let mut stack: Vec<(String, Owner)> = Vec::new();
    for group in lines.chunk_by(|one, other| one.address == other.address) {
        for (symbol, owner) in in_order(group) {
            let Some(name) = name::short(symbol) else {
                continue;
            };
            // A closure has the name of the function it stands in.
            if stack.last().is_none_or(|(last, _)| *last != name) {
                stack.push((name, owner));
            }
        }
    }
    stack.reverse();
    processes.entry(process).or_default().add(&stack);
}

/// The functions at one address, the innermost first: what was inlined, then the function itself. perf may print the function
/// before what was inlined into it, and then once more, by its bare name, behind.
fn in_order(group: &[Line]) -> Vec<(&str, Owner)> {
    let itself = group.iter().find(|line| !line.is_inlined);
    let owner = itself.map_or(Owner::Library, owner);
    let mut inlined: Vec<&Line> = group.iter().filter(|line| line.is_inlined).collect();
    let begins_with_itself = group.first().is_some_and(|line| !line.is_inlined);
    if begins_with_itself {
        inlined.pop();
    }
    inlined
        .into_iter()
        .chain(itself)
        .map(|line| (line.symbol.as_str(), owner))
        .collect()
}

/// What was inlined belongs to the one it was inlined into: that is whose code runs.
fn owner(line: &Line) -> Owner {
    // The upper half of the addresses is the kernel's.
    let is_kernel = line.address >> 63 == 1;
    let path = line.symbol.trim_start_matches(['<', '&']);
    let is_rust = line.symbol.contains("::");
    if is_kernel {
        Owner::Kernel
    } else if ["strongroom", "p11measure", "C_"]
        .iter()
        .any(|begin| path.starts_with(begin))
    {
        Owner::Ours
    } else if line.is_ours && !is_rust {
        // What is C in our programs is AWS-LC; its functions that no other file sees have no prefix.
        Owner::AwsLc
    } else {
        Owner::Library
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "
 7 
\tffffffff81589475 do_syscall_64 ([kernel.kallsyms])
\t          10aba4 __send (/lib/libc.so.6)
\t          3a9f07 strongroomd::a::{{closure}} (/x/strongroomd)
\t          3a9f01 strongroomd::a (/x/strongroomd)
\t           891f4 start_thread (/lib/libc.so.6)

 7 
\t          3a9f02 strongroomd::a (/x/strongroomd)
\t          3a9f02 inner<b<c>> (inlined)
\t          3a9f02 outer (inlined)
\t          3a9f02 a (inlined)

 8 
\t            1234 std::b::inlined (inlined)
\t            1234 std::c::itself (/x/p11measure)

 9 
\t            1234 aead_seal (/x/strongroomd)
\t            1235 aws_lc_0_47_0_EVP_seal (/x/libstrongroom_pkcs11.so)
\t            1236 C_Encrypt (/x/libstrongroom_pkcs11.so)
\t            1237 memcpy (/x/strongroom-place/libc.so.6)
";

    fn paths(frame: &Frame, before: &str, out: &mut Vec<String>) {
        for (name, called) in &frame.called {
            let path = format!("{before}/{name}");
            out.push(format!("{path} {} {:?}", called.samples, called.owner));
            paths(called, &path, out);
        }
    }

    fn folded(text: &str, process: u32) -> Vec<String> {
        let mut out = Vec::new();
        paths(&fold(text.as_bytes()).unwrap()[&process], "", &mut out);
        out
    }

    #[test]
    fn stacks_are_added_from_the_outermost_inwards() {
        assert_eq!(fold(SCRIPT.as_bytes()).unwrap()[&7].samples, 2);
        assert_eq!(
            folded(SCRIPT, 7),
            [
                "/strongroomd::a 2 Ours",
                "/strongroomd::a/__send 1 Library",
                "/strongroomd::a/__send/do_syscall_64 1 Kernel",
                "/strongroomd::a/outer 1 Ours",
                "/strongroomd::a/outer/inner 1 Ours",
            ]
        );
    }

    #[test]
    fn what_was_inlined_stands_in_the_function_also_when_perf_says_so_first() {
        assert_eq!(
            folded(SCRIPT, 8),
            [
                "/std::c::itself 1 Library",
                "/std::c::itself/std::b::inlined 1 Library",
            ]
        );
    }

    #[test]
    fn the_c_code_in_our_programs_is_aws_lc() {
        assert_eq!(
            folded(SCRIPT, 9),
            [
                "/memcpy 1 Library",
                "/memcpy/C_Encrypt 1 Ours",
                "/memcpy/C_Encrypt/AWS-LC EVP_seal 1 AwsLc",
                "/memcpy/C_Encrypt/AWS-LC EVP_seal/aead_seal 1 AwsLc",
            ]
        );
    }

    #[test]
    fn something_else_than_stacks_is_an_error() {
        assert!(fold(&b"no number\n"[..]).is_err());
    }
}
