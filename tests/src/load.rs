//! Crowds of clients, honest and hostile, against a daemon of their own.
//!
//! What lives here: clients that speak the frames of the socket themselves, since no process has a thousand modules; what they do; and
//! what is measured meanwhile.
//! What must never live here: judgement of a single request; that is the suite's.
//! Who calls it: the program `load`, which `cargo xtask soak` and `cargo xtask fuzz` run, and the suite for short runs.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "any other answer is the wrong one"
)]

pub mod application;
pub mod client;
pub mod daemon;
pub mod frames;
pub mod fuzz;
pub mod latency;
pub mod shared;
pub mod soak;

/// Random numbers that are the same for the same seed (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// A stream of its own for each pair.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut noise = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        noise.draw();
        noise
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number below a bound, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.draw().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
