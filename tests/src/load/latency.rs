//! How long things took.
//!
//! What lives here: a histogram of constant size, and its percentiles.
//! What must never live here: what was measured.
//! Who calls it: soak and fuzz.

use std::time::Duration;

/// Each power of two in so many parts: a percentile is right to 3 %.
const PARTS: usize = 32;
const BUCKETS: usize = 48 * PARTS;

/// Times, counted in buckets.
#[derive(Clone, Debug)]
pub struct Latency {
    buckets: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            longest: 0,
        }
    }
}

impl Latency {
    /// Counts one.
    pub fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += more;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time that this share of all did not exceed, in microseconds.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (upper_end(index).min(self.longest)) as f64 / 1e3;
            }
        }
        self.longest as f64 / 1e3
    }

    /// p50, p90, p99, p99.9 and the longest, in microseconds.
    #[must_use]
    pub fn summary(&self) -> [f64; 5] {
        [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| self.percentile(share))
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let power = nanoseconds.max(PARTS as u64).ilog2() as usize;
    // The five bits below the highest one.
    let part = (nanoseconds >> (power - 5)) as usize % PARTS;
    ((power - 5) * PARTS + part).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> u64 {
    let (power, part) = (bucket / PARTS + 5, bucket % PARTS);
    ((PARTS + part + 1) as u64) << (power - 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_few_hundredths() {
        let mut latency = Latency::default();
        for microseconds in 1..=10_000 {
            latency.add(Duration::from_micros(microseconds));
        }
        for (share, expected) in [(0.5, 5_000.0), (0.9, 9_000.0), (0.999, 9_990.0)] {
            let told = latency.percentile(share);
            assert!((told / expected - 1.0).abs() < 0.04, "{share}: {told}");
        }
        assert!((latency.percentile(1.0) - 10_000.0).abs() < 1e-9);
        assert_eq!(latency.count(), 10_000);
    }
}
