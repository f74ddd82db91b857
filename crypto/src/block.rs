//! What lives here: block ciphers (AES: FIPS 197; DES and triple DES: FIPS 46-3, SP 800-67) in the modes
//! ECB, CBC and, for AES, CTR (SP 800-38A), with or without the padding of PKCS #7.
//!
//! What must never live here: authenticated modes (`gcm.rs`) and key wrap (`wrap.rs`).
//!
//! Who calls it: the token, for its encrypt and decrypt chapters and for wrapping by CBC.

use std::fmt;
use std::sync::Arc;

use strongroom_keymem::{SecretBytes, SecretVec};

use crate::error::Error;
use crate::ffi::{aes, des};

/// A block cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockCipher {
    /// AES with 128, 192 or 256 bits.
    Aes,
    /// DES, triple DES with two keys or with three: which one is said by the length of the key.
    Des,
}

impl BlockCipher {
    /// How long a block is.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Aes => aes::BLOCK_BYTES,
            Self::Des => des::BLOCK_BYTES,
        }
    }
}

/// A key of a block cipher with both schedules prepared. The bytes of the key itself are not kept.
pub struct BlockKey {
    schedules: Arc<Schedules>,
    cipher: BlockCipher,
}

impl BlockKey {
    /// Prepares a key: of AES 16, 24 or 32 bytes; of DES 8, 16 or 24, whose parity bits are not looked at.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::Memory`].
    pub fn new(cipher: BlockCipher, key: &[u8]) -> Result<Self, Error> {
        let schedules = match cipher {
            BlockCipher::Aes => Schedules::Aes(aes::Schedules::new(key)?),
            BlockCipher::Des => Schedules::Des(des::Schedules::new(key)?),
        };
        Ok(Self {
            schedules: Arc::new(schedules),
            cipher,
        })
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlockKey({:?})", self.cipher)
    }
}

/// The first three bytes of a block of zeros, encrypted: the check value of a key. For AES cheaper than a prepared key used once.
///
/// # Errors
/// As [`BlockKey::new`].
pub fn check_value(cipher: BlockCipher, key: &[u8]) -> Result<[u8; 3], Error> {
    match cipher {
        BlockCipher::Aes => {
            let [a, b, c, ..] = aes::Schedule::encrypting(key)?.encrypted(&[0; aes::BLOCK_BYTES]);
            Ok([a, b, c])
        }
        BlockCipher::Des => {
            let mut block = [0; des::BLOCK_BYTES];
            let zeros = block;
            des::Schedules::new(key)?.ecb(Direction::Encrypt, &zeros, &mut block)?;
            let [a, b, c, ..] = block;
            Ok([a, b, c])
        }
    }
}

/// The schedules of a key.
enum Schedules {
    Aes(aes::Schedules),
    Des(des::Schedules),
}

impl Schedules {
    fn ecb(&self, direction: Direction, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Aes(schedules) => schedules.ecb(direction, input, out),
            Self::Des(schedules) => schedules.ecb(direction, input, out),
        }
    }

    fn cbc(
        &self,
        direction: Direction,
        chain: &mut Chain,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        match (self, chain) {
            (Self::Aes(schedules), Chain::Aes(chain)) => {
                schedules.cbc(direction, chain, input, out)
            }
            (Self::Des(schedules), Chain::Des(chain)) => {
                schedules.cbc(direction, chain, input, out)
            }
            _ => Err(Error::Internal),
        }
    }

    fn ctr(
        &self,
        counter: &mut [u8; aes::BLOCK_BYTES],
        keystream: &mut [u8; aes::BLOCK_BYTES],
        used: &mut u32,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        match self {
            Self::Aes(schedules) => schedules.ctr(counter, keystream, used, input, out),
            Self::Des(_) => Err(Error::Internal),
        }
    }
}

/// The block that the next one is chained to.
enum Chain {
    Aes([u8; aes::BLOCK_BYTES]),
    Des([u8; des::BLOCK_BYTES]),
}

impl Chain {
    fn new(cipher: BlockCipher, iv: &[u8]) -> Result<Self, Error> {
        let wrong = |_| Error::ParameterInvalid;
        Ok(match cipher {
            BlockCipher::Aes => Self::Aes(iv.try_into().map_err(wrong)?),
            BlockCipher::Des => Self::Des(iv.try_into().map_err(wrong)?),
        })
    }
}

/// Encrypt or decrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From plaintext to ciphertext.
    Encrypt,
    /// From ciphertext to plaintext.
    Decrypt,
}

/// How the blocks hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode<'a> {
    /// Each block by itself. Shows which blocks are equal; offered because wrapping needs it.
    Ecb,
    /// Cipher block chaining over whole blocks.
    Cbc {
        /// The initialisation vector, as long as a block.
        iv: &'a [u8],
    },
    /// Cipher block chaining with PKCS #7 padding.
    CbcPad {
        /// The initialisation vector, as long as a block.
        iv: &'a [u8],
    },
    /// Counter mode, of AES only.
    Ctr {
        /// The first counter block.
        counter_block: &'a [u8; 16],
        /// How many low bits of the block count, 1 to 128; the others never change.
        counter_bits: u32,
    },
}

/// A running encryption or decryption.
pub struct Cipher {
    schedules: Arc<Schedules>,
    block_bytes: usize,
    direction: Direction,
    chaining: Chaining,
    /// The input that does not fill a block yet, or that padding holds back: at most one block.
    pending: SecretBytes,
    pending_bytes: usize,
    finished: bool,
}

enum Chaining {
    Ecb,
    Cbc(Chain),
    CbcPad(Chain),
    Ctr(Counter),
}

impl Cipher {
    /// Starts an operation.
    ///
    /// # Errors
    /// [`Error::ParameterInvalid`] when the counter bits are not 1 to 128 or the vector is not as long as a block;
    /// [`Error::Unsupported`] for counter mode of another cipher than AES; [`Error::Memory`].
    pub fn new(key: &BlockKey, mode: Mode<'_>, direction: Direction) -> Result<Self, Error> {
        let chaining = match mode {
            Mode::Ecb => Chaining::Ecb,
            Mode::Cbc { iv } => Chaining::Cbc(Chain::new(key.cipher, iv)?),
            Mode::CbcPad { iv } => Chaining::CbcPad(Chain::new(key.cipher, iv)?),
            Mode::Ctr { .. } if key.cipher != BlockCipher::Aes => return Err(Error::Unsupported),
            Mode::Ctr {
                counter_block,
                counter_bits,
            } => Chaining::Ctr(Counter::new(counter_block, counter_bits)?),
        };
        Ok(Self {
            schedules: Arc::clone(&key.schedules),
            block_bytes: key.cipher.block_bytes(),
            direction,
            chaining,
            pending: SecretBytes::zeroed(key.cipher.block_bytes())?,
            pending_bytes: 0,
            finished: false,
        })
    }

    /// Takes more input and appends what comes out.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the counter would repeat; [`Error::Memory`].
    pub fn update(&mut self, input: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        if self.finished {
            return Err(Error::Internal);
        }
        if let Chaining::Ctr(counter) = &mut self.chaining {
            return counter.run(&self.schedules, &mut self.pending, input, out);
        }
        self.update_blocks(input, out)
    }

    /// Ends the operation and appends the rest.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the input was not a multiple of the block; [`Error::DataInvalid`]
    /// when the padding is wrong; [`Error::Memory`].
    pub fn finish(&mut self, out: &mut SecretVec) -> Result<(), Error> {
        if std::mem::replace(&mut self.finished, true) {
            return Err(Error::Internal);
        }
        match (&self.chaining, self.direction) {
            (Chaining::Ctr(_), _) => Ok(()),
            (Chaining::CbcPad(_), Direction::Encrypt) => self.finish_padding(out),
            (Chaining::CbcPad(_), Direction::Decrypt) => self.finish_unpadding(out),
            (Chaining::Ecb | Chaining::Cbc(_), _) if self.pending_bytes == 0 => Ok(()),
            (Chaining::Ecb | Chaining::Cbc(_), _) => Err(Error::DataLength),
        }
    }

    /// Exactly how many bytes an update with that much input appends.
    #[must_use]
    pub fn update_length(&self, input_bytes: usize) -> usize {
        match self.chaining {
            Chaining::Ctr(_) => input_bytes,
            Chaining::Ecb | Chaining::Cbc(_) | Chaining::CbcPad(_) => {
                self.ready_bytes(self.pending_bytes.saturating_add(input_bytes))
            }
        }
    }

    /// How many bytes an update with that much input and the end after it append at most; exact unless
    /// padding is removed.
    #[must_use]
    pub fn output_bound(&self, input_bytes: usize) -> usize {
        let total = self.pending_bytes.saturating_add(input_bytes);
        match (&self.chaining, self.direction) {
            (Chaining::Ctr(_), _) => input_bytes,
            // Padding adds one byte to a whole block.
            (Chaining::CbcPad(_), Direction::Encrypt) => {
                (total - total % self.block_bytes).saturating_add(self.block_bytes)
            }
            // Padding takes one byte to a whole block away.
            (Chaining::CbcPad(_), Direction::Decrypt) => total.saturating_sub(1),
            (Chaining::Ecb | Chaining::Cbc(_), _) => total,
        }
    }

    /// How much of `total` bytes can go out before the end is known.
    fn ready_bytes(&self, total: usize) -> usize {
        let usable = match (&self.chaining, self.direction) {
            // The last block may be padding: it stays until the end.
            (Chaining::CbcPad(_), Direction::Decrypt) => total.saturating_sub(1),
            _ => total,
        };
        usable - usable % self.block_bytes
    }

    fn update_blocks(&mut self, input: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        let ready = self.ready_bytes(self.pending_bytes + input.len());
        let mut rest = input;
        if ready > 0 {
            let produced = out.grow(ready)?;
            let (first, following) = produced.split_at_mut(if self.pending_bytes > 0 {
                self.block_bytes
            } else {
                0
            });
            if !first.is_empty() {
                let (head, tail) = rest.split_at(self.block_bytes - self.pending_bytes);
                self.hold(head);
                self.pending_bytes = 0;
                let Self {
                    schedules,
                    direction,
                    chaining,
                    pending,
                    ..
                } = self;
                pending.with(|block| chaining.run(schedules, *direction, block, first))?;
                rest = tail;
            }
            let (now, later) = rest.split_at(following.len());
            self.chaining
                .run(&self.schedules, self.direction, now, following)?;
            rest = later;
        }
        self.hold(rest);
        Ok(())
    }

    /// Keeps input for later; the caller knows that it fits.
    fn hold(&mut self, input: &[u8]) {
        let start = self.pending_bytes;
        let end = start + input.len();
        self.pending
            .with_mut(|block| block[start..end].copy_from_slice(input));
        self.pending_bytes = end;
    }

    fn finish_padding(&mut self, out: &mut SecretVec) -> Result<(), Error> {
        let start = self.pending_bytes;
        // RFC 5652, 6.3: every padding byte says how many there are; a full block when none is needed.
        let padding = u8::try_from(self.block_bytes - start).map_err(|_| Error::Internal)?;
        let Self {
            schedules,
            direction,
            chaining,
            pending,
            block_bytes,
            ..
        } = self;
        let produced = out.grow(*block_bytes)?;
        pending.with_mut(|block| {
            block[start..].fill(padding);
            chaining.run(schedules, *direction, block, produced)
        })
    }

    fn finish_unpadding(&mut self, out: &mut SecretVec) -> Result<(), Error> {
        if self.pending_bytes != self.block_bytes {
            return Err(Error::DataLength);
        }
        let mut plain = SecretBytes::zeroed(self.block_bytes)?;
        let Self {
            schedules,
            direction,
            chaining,
            pending,
            ..
        } = self;
        pending.with(|block| {
            plain.with_mut(|plain| chaining.run(schedules, *direction, block, plain))
        })?;
        plain.with(|plain| {
            let kept = unpadded_bytes(plain).ok_or(Error::DataInvalid)?;
            Ok(out.push_slice(&plain[..kept])?)
        })
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cipher({:?})", self.direction)
    }
}

impl Chaining {
    /// Runs whole blocks.
    fn run(
        &mut self,
        schedules: &Schedules,
        direction: Direction,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        match self {
            Self::Ecb => schedules.ecb(direction, input, out),
            Self::Cbc(chain) | Self::CbcPad(chain) => schedules.cbc(direction, chain, input, out),
            Self::Ctr(_) => Err(Error::Internal),
        }
    }
}

/// A counter of which only the low bits count.
struct Counter {
    block: [u8; aes::BLOCK_BYTES],
    /// The high bits, which stay.
    prefix: u128,
    /// The bits that count.
    mask: u128,
    /// Bytes of the current keystream block that are spent.
    used: u32,
    /// Bytes until the counter would repeat.
    bytes_left: u128,
}

impl Counter {
    fn new(block: &[u8; aes::BLOCK_BYTES], bits: u32) -> Result<Self, Error> {
        if !(1..=128).contains(&bits) {
            return Err(Error::ParameterInvalid);
        }
        let mask = u128::MAX >> (128 - bits);
        // Sixteen bytes for each value of the counter; from 124 bits on more than can ever be given.
        let bytes_left = 1_u128
            .checked_shl(bits + 4)
            .filter(|_| bits < 124)
            .unwrap_or(u128::MAX);
        let prefix = u128::from_be_bytes(*block) & !mask;
        Ok(Self {
            block: *block,
            prefix,
            mask,
            used: 0,
            bytes_left,
        })
    }

    /// Encrypts or decrypts, which is the same; `keystream` holds the block in use.
    fn run(
        &mut self,
        schedules: &Schedules,
        keystream: &mut SecretBytes,
        input: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), Error> {
        // SP 800-38A, appendix B: a counter value is never used twice under one key.
        self.bytes_left = self
            .bytes_left
            .checked_sub(input.len() as u128)
            .ok_or(Error::DataLength)?;
        let mut produced = out.grow(input.len())?;
        let mut rest = input;
        while !rest.is_empty() {
            let bytes = self.bytes_until_wrap(rest.len());
            let (now, later) = rest.split_at(bytes);
            let (to, following) = produced.split_at_mut(bytes);
            keystream.with_mut(|stream| {
                let stream =
                    <&mut [u8; aes::BLOCK_BYTES]>::try_from(stream).map_err(|_| Error::Internal)?;
                schedules.ctr(&mut self.block, stream, &mut self.used, now, to)
            })?;
            // AWS-LC counts in all 128 bits: a carry out of the low ones is undone here.
            let counted = u128::from_be_bytes(self.block) & self.mask;
            self.block = (self.prefix | counted).to_be_bytes();
            (rest, produced) = (later, following);
        }
        Ok(())
    }

    /// How many of `wanted` bytes can be made before the low bits wrap around.
    fn bytes_until_wrap(&self, wanted: usize) -> usize {
        let blocks = (self.mask - (u128::from_be_bytes(self.block) & self.mask)).saturating_add(1);
        let left_over = u128::from(self.used.wrapping_neg() % 16);
        let bytes = blocks.saturating_mul(16).saturating_add(left_over);
        usize::try_from(bytes).map_or(wanted, |bytes| bytes.min(wanted))
    }
}

/// How much of a block is not PKCS #7 padding, looking at every byte whatever the answer; that the
/// padding was wrong is then told to the caller, who asked for this mode.
fn unpadded_bytes(block: &[u8]) -> Option<usize> {
    let padding = *block.last()?;
    let mut wrong = u8::from(padding == 0) | u8::from(usize::from(padding) > block.len());
    for (distance, byte) in block.iter().rev().enumerate() {
        let within = u8::from(distance < usize::from(padding)).wrapping_neg();
        wrong |= within & (byte ^ padding);
    }
    if wrong == 0 {
        block.len().checked_sub(usize::from(padding))
    } else {
        None
    }
}
