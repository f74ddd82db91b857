//! The cipher of the pages way.
//!
//! What lives here: cutting what the server hands in, in pieces of any length, into whole blocks for the token, with output as long as
//! input. The mode is AES-CBC with an encrypted nonce (NIST SP 800-38A, appendix C): the nonce goes ahead as block 0, so that one call
//! encrypts a page. A last piece of less than a block is added to E(last block), which is what CFB does there. No state stays in the token
//! between two calls: each is a C_Encrypt of its own that can be repeated with another session.
//! What must never live here: keys, and where the token is.
//! Who calls it: `plugin`.
//!
//! Counter mode would do without the tail, and is wrong here: InnoDB counts the log, CTR counts blocks, and a page that is written again
//! a little later would meet the key stream of its former self.

/// Encrypts and decrypts whole blocks of 16 bytes with one key. None means that the key is not to be had.
pub(crate) trait Blocks {
    /// Each block by itself.
    fn encrypt_each(&self, blocks: &[u8]) -> Option<Vec<u8>>;
    /// Chained (CBC).
    fn encrypt_chain(&self, iv: &[u8; BLOCK], blocks: &[u8]) -> Option<Vec<u8>>;
    /// The reverse.
    fn decrypt_chain(&self, iv: &[u8; BLOCK], blocks: &[u8]) -> Option<Vec<u8>>;
}

/// Which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

/// What to do with a last piece that is no whole block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Output is as long as input.
    Same,
    /// Filled up as PKCS #7 says.
    Padded,
}

/// One stream of data under way.
#[derive(Debug)]
pub(crate) struct Stream {
    direction: Direction,
    ending: Ending,
    nonce: [u8; BLOCK],
    /// The last block of ciphertext; none before the first.
    last: Option<[u8; BLOCK]>,
    /// E(last), where it came along.
    mask: Option<[u8; BLOCK]>,
    held: Vec<u8>,
}

impl Stream {
    /// Begins one.
    pub(crate) const fn new(direction: Direction, ending: Ending, nonce: [u8; BLOCK]) -> Self {
        Self {
            direction,
            ending,
            nonce,
            last: None,
            mask: None,
            held: Vec::new(),
        }
    }

    /// Takes more data; answers what is ready.
    pub(crate) fn update(&mut self, key: &dyn Blocks, data: &[u8]) -> Option<Vec<u8>> {
        self.held.extend_from_slice(data);
        let mut whole = self.held.len() / BLOCK * BLOCK;
        if self.direction == Direction::Decrypt
            && self.ending == Ending::Padded
            && whole == self.held.len()
        {
            // The last block has the padding, and this may be the last.
            whole = whole.saturating_sub(BLOCK);
        }
        let rest = self.held.split_off(whole);
        let ready = core::mem::replace(&mut self.held, rest);
        let mut out = Vec::with_capacity(ready.len());
        for piece in ready.chunks(PIECE_BYTES) {
            out.extend(match self.direction {
                Direction::Encrypt => self.encrypt(key, piece)?,
                Direction::Decrypt => self.decrypt(key, piece)?,
            });
        }
        Some(out)
    }

    /// Ends it; answers the rest.
    pub(crate) fn finish(mut self, key: &dyn Blocks) -> Option<Vec<u8>> {
        let mut rest = core::mem::take(&mut self.held);
        match (self.ending, self.direction) {
            (Ending::Same, _) if rest.is_empty() => Some(rest),
            (Ending::Same, _) => {
                let mask = self.tail_mask(key)?;
                for (byte, mask) in rest.iter_mut().zip(mask) {
                    *byte ^= mask;
                }
                Some(rest)
            }
            (Ending::Padded, Direction::Encrypt) => {
                let padding = BLOCK - rest.len();
                rest.resize(BLOCK, u8::try_from(padding).ok()?);
                self.encrypt(key, &rest)
            }
            (Ending::Padded, Direction::Decrypt) => {
                let mut block =
                    self.decrypt(key, <&[u8; BLOCK]>::try_from(rest.as_slice()).ok()?)?;
                let padding = usize::from(*block.last()?);
                let kept = BLOCK.checked_sub(padding)?;
                let filled = block
                    .get(kept..)?
                    .iter()
                    .all(|byte| usize::from(*byte) == padding);
                block.truncate(kept);
                (padding > 0 && filled).then_some(block)
            }
        }
    }

    /// Whole blocks. A block of zeros goes along behind them: what it becomes is E(last), which the end needs.
    fn encrypt(&mut self, key: &dyn Blocks, blocks: &[u8]) -> Option<Vec<u8>> {
        let mut out = match &self.last {
            None => {
                let mut out =
                    key.encrypt_chain(&ZEROS, &[self.nonce.as_slice(), blocks, &ZEROS].concat())?;
                out.drain(..BLOCK.min(out.len()));
                out
            }
            Some(last) => key.encrypt_chain(last, &[blocks, &ZEROS].concat())?,
        };
        if out.len() != blocks.len() + BLOCK {
            return None;
        }
        self.mask = Some(*out.last_chunk()?);
        out.truncate(blocks.len());
        self.last = Some(*out.last_chunk()?);
        Some(out)
    }

    fn decrypt(&mut self, key: &dyn Blocks, blocks: &[u8]) -> Option<Vec<u8>> {
        let last: [u8; BLOCK] = *blocks.last_chunk()?;
        let iv = match self.last {
            Some(before) => {
                self.mask = None;
                before
            }
            None => {
                let both = key.encrypt_each(&[self.nonce, last].concat())?;
                self.mask = Some(*both.get(BLOCK..)?.first_chunk()?);
                *both.first_chunk()?
            }
        };
        let out = key.decrypt_chain(&iv, blocks)?;
        self.last = Some(last);
        (out.len() == blocks.len()).then_some(out)
    }

    fn tail_mask(&self, key: &dyn Blocks) -> Option<[u8; BLOCK]> {
        match (self.mask, self.last) {
            (Some(mask), _) => Some(mask),
            (None, Some(last)) => key.encrypt_each(&last)?.first_chunk().copied(),
            // Less than a block in all: the encrypted nonce stands for the last block.
            (None, None) => {
                let both = key.encrypt_chain(&ZEROS, &[self.nonce, ZEROS].concat())?;
                both.last_chunk().copied()
            }
        }
    }
}

/// How long data become that are filled up: what the server wants to know for its buffers.
pub(crate) const fn padded_length(length: u32) -> u32 {
    (length / 16 + 1).saturating_mul(16)
}

/// Bytes of a block of AES.
pub(crate) const BLOCK: usize = 16;
const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// Bytes in one call: a page of 64 KiB goes in two, and no module has trouble with this much.
const PIECE_BYTES: usize = 32 << 10;

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A permutation of blocks that is no cipher, and counts its calls.
    #[derive(Default)]
    struct Toy(Cell<u32>);

    impl Toy {
        fn forth(block: &[u8]) -> Vec<u8> {
            let mut out = [0; BLOCK];
            for (at, byte) in block.iter().enumerate() {
                out[(at * 5 + 3) % BLOCK] = byte.wrapping_mul(167).wrapping_add(at as u8 * 15 + 7);
            }
            out.to_vec()
        }

        fn back(block: &[u8]) -> Vec<u8> {
            let unit = (0..=255_u8).find(|one| one.wrapping_mul(167) == 1).unwrap();
            (0..BLOCK)
                .map(|at| {
                    let byte = block[(at * 5 + 3) % BLOCK];
                    byte.wrapping_sub(at as u8 * 15 + 7).wrapping_mul(unit)
                })
                .collect()
        }

        fn called(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    fn added(one: &[u8], other: &[u8]) -> Vec<u8> {
        one.iter()
            .zip(other)
            .map(|(one, other)| one ^ other)
            .collect()
    }

    impl Blocks for Toy {
        fn encrypt_each(&self, blocks: &[u8]) -> Option<Vec<u8>> {
            self.called();
            Some(blocks.chunks(BLOCK).flat_map(Self::forth).collect())
        }

        fn encrypt_chain(&self, iv: &[u8; BLOCK], blocks: &[u8]) -> Option<Vec<u8>> {
            self.called();
            assert!(blocks.len().is_multiple_of(BLOCK));
            let mut last = iv.to_vec();
            let mut out = Vec::new();
            for block in blocks.chunks(BLOCK) {
                last = Self::forth(&added(block, &last));
                out.extend_from_slice(&last);
            }
            Some(out)
        }

        fn decrypt_chain(&self, iv: &[u8; BLOCK], blocks: &[u8]) -> Option<Vec<u8>> {
            self.called();
            assert!(blocks.len().is_multiple_of(BLOCK));
            let mut last = iv.as_slice();
            let mut out = Vec::new();
            for block in blocks.chunks(BLOCK) {
                out.extend(added(&Self::back(block), last));
                last = block;
            }
            Some(out)
        }
    }

    fn run(direction: Direction, ending: Ending, data: &[u8], step: usize) -> Vec<u8> {
        let key = Toy::default();
        let mut stream = Stream::new(direction, ending, [9; BLOCK]);
        let mut out = Vec::new();
        for piece in data.chunks(step.max(1)) {
            let ready = stream.update(&key, piece).unwrap();
            // The server's buffer for a piece has the length of that piece filled up, and two blocks for the end.
            assert!(ready.len() <= padded_length(piece.len() as u32) as usize);
            out.extend(ready);
        }
        let rest = stream.finish(&key).unwrap();
        assert!(rest.len() <= 2 * BLOCK);
        out.extend(rest);
        out
    }

    #[test]
    fn every_length_in_pieces_of_every_size_comes_back() {
        let data: Vec<u8> = (0..200_u8).collect();
        for length in 0..data.len() {
            let data = &data[..length];
            for ending in [Ending::Same, Ending::Padded] {
                let sealed = run(Direction::Encrypt, ending, data, length);
                match ending {
                    Ending::Same => assert_eq!(sealed.len(), length),
                    Ending::Padded => {
                        assert_eq!(sealed.len(), padded_length(length as u32) as usize)
                    }
                }
                for step in [1, 7, 15, 16, 17, 33, 200] {
                    assert_eq!(
                        run(Direction::Encrypt, ending, data, step),
                        sealed,
                        "{length} by {step}"
                    );
                    assert_eq!(
                        run(Direction::Decrypt, ending, &sealed, step),
                        data,
                        "{length} by {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn large_data_go_in_several_calls() {
        let data = vec![3; 3 * PIECE_BYTES + 5];
        let sealed = run(Direction::Encrypt, Ending::Same, &data, data.len());
        assert_eq!(sealed, run(Direction::Encrypt, Ending::Same, &data, 1000));
        assert_eq!(
            run(Direction::Decrypt, Ending::Same, &sealed, data.len()),
            data
        );
    }

    #[test]
    fn a_page_costs_one_call_to_write_and_two_to_read() {
        let page = [5; 16_338];
        let key = Toy::default();
        let mut stream = Stream::new(Direction::Encrypt, Ending::Same, [1; BLOCK]);
        let mut sealed = stream.update(&key, &page).unwrap();
        sealed.extend(stream.finish(&key).unwrap());
        assert_eq!((sealed.len(), key.0.get()), (page.len(), 1));
        let mut stream = Stream::new(Direction::Decrypt, Ending::Same, [1; BLOCK]);
        assert!(stream.update(&key, &sealed).is_some() && stream.finish(&key).is_some());
        assert_eq!(key.0.get(), 3);
    }

    #[test]
    fn spoiled_padding_is_told() {
        let key = Toy::default();
        for padding in [0, 17, 255] {
            let mut block = [4; BLOCK];
            block[BLOCK - 1] = padding;
            let mut stream = Stream::new(Direction::Encrypt, Ending::Same, [2; BLOCK]);
            let sealed = stream.update(&key, &block).unwrap();
            let mut stream = Stream::new(Direction::Decrypt, Ending::Padded, [2; BLOCK]);
            assert_eq!(stream.update(&key, &sealed), Some(Vec::new()));
            assert_eq!(stream.finish(&key), None);
        }
        let stream = Stream::new(Direction::Decrypt, Ending::Padded, [2; BLOCK]);
        assert_eq!(stream.finish(&key), None);
    }

    #[test]
    fn a_key_that_is_gone_is_an_error_and_not_output() {
        struct Gone;
        impl Blocks for Gone {
            fn encrypt_each(&self, _: &[u8]) -> Option<Vec<u8>> {
                None
            }
            fn encrypt_chain(&self, _: &[u8; BLOCK], _: &[u8]) -> Option<Vec<u8>> {
                None
            }
            fn decrypt_chain(&self, _: &[u8; BLOCK], _: &[u8]) -> Option<Vec<u8>> {
                None
            }
        }
        let mut stream = Stream::new(Direction::Encrypt, Ending::Same, [0; BLOCK]);
        assert_eq!(stream.update(&Gone, &[1; 40]), None);
        let mut stream = Stream::new(Direction::Encrypt, Ending::Same, [0; BLOCK]);
        assert_eq!(stream.update(&Gone, &[1; 4]), Some(Vec::new()));
        assert_eq!(stream.finish(&Gone), None);
    }
}
