//! PEM (RFC 7468).
//!
//! What lives here: the blocks of a text and their bytes.
//! What must never live here: what is in them.
//! Who calls it: `roots`, and the collateral and quotes of Intel, which carry chains as text.

/// A block: its label and its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) bytes: Vec<u8>,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// All blocks of a text; `None` if one is not well written, or more than `max` are there. What stands between blocks is skipped.
pub(crate) fn blocks(text: &str, max: usize) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        let from = &rest[start..];
        let foot = from.find(END)? + END.len();
        let end = foot + from[foot..].find(DASHES)? + DASHES.len();
        let (label, bytes) = der::pem::decode_vec(&from.as_bytes()[..end]).ok()?;
        if blocks.len() == max {
            return None;
        }
        blocks.push(Block {
            label: label.to_owned(),
            bytes,
        });
        rest = &from[end..];
    }
    Some(blocks)
}

/// The certificates of a text that holds nothing else.
pub(crate) fn certificates(text: &str, max: usize) -> Option<Vec<Vec<u8>>> {
    let blocks = blocks(text, max)?;
    let only = blocks.iter().all(|block| block.label == "CERTIFICATE");
    only.then(|| blocks.into_iter().map(|block| block.bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_and_bounded() {
        let one = "-----BEGIN A-----\nAQID\n-----END A-----\n";
        let two = format!("words\n{one}more words\n{one}\0");
        let found = blocks(&two, 2).expect("two blocks");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].bytes, [1, 2, 3]);
        assert_eq!(found[1].label, "A");
        assert_eq!(blocks(&two, 1), None);
        assert_eq!(certificates(one, 2), None);
        assert_eq!(blocks("-----BEGIN A-----\nAQID\n", 2), None);
        assert_eq!(blocks("-----BEGIN A-----\nAQID\n-----END B-----", 2), None);
        assert_eq!(blocks("nothing", 2), Some(Vec::new()));
    }
}
