//! What lives here: arithmetic in the field of 256 elements, with the polynomial of AES (FIPS 197, 4.2), in a time that depends on nothing.
//!
//! What must never live here: tables, and branches or indexes that a value decides: which cache line is read would tell it.
//!
//! Who calls it: the sharing of secrets.

use std::hint::black_box;

/// The product.
pub(super) fn product(one: u8, other: u8) -> u8 {
    let (mut shifted, mut sum) = (one, 0);
    for bit in 0..8 {
        sum ^= shifted & mask((other >> bit) & 1);
        shifted = (shifted << 1) ^ (REDUCTION & mask(shifted >> 7));
    }
    sum
}

/// The inverse, which is the 254th power; of zero it is zero.
pub(super) fn inverse(value: u8) -> u8 {
    // 254 is 0b1111_1110: all squares but the first power, multiplied.
    let (mut square, mut power) = (value, 1);
    for _ in 0..7 {
        square = product(square, square);
        power = product(power, square);
    }
    power
}

/// The polynomial with these coefficients, the highest first, at one place.
pub(super) fn polynomial_at(place: u8, coefficients: impl Iterator<Item = u8>) -> u8 {
    coefficients.fold(0, |sum, coefficient| product(sum, place) ^ coefficient)
}

/// All ones for one, all zeros for zero. The barrier keeps the compiler from making a branch of it.
fn mask(bit: u8) -> u8 {
    black_box(0_u8.wrapping_sub(bit))
}

/// x⁸ + x⁴ + x³ + x + 1 without its highest power.
const REDUCTION: u8 = 0x1b;

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, 4.2: {57} · {83} = {c1}, and {57} · {13} = {fe}.
    #[test]
    fn the_examples_of_the_standard() {
        assert_eq!(product(0x57, 0x83), 0xc1);
        assert_eq!(product(0x57, 0x13), 0xfe);
        assert_eq!(product(0x53, 0xca), 1);
        assert_eq!(inverse(0x53), 0xca);
    }

    #[test]
    fn every_value_but_zero_has_its_inverse() {
        assert_eq!(inverse(0), 0);
        for value in 1..=255 {
            assert_eq!(product(value, inverse(value)), 1, "{value}");
        }
    }

    /// Each secret byte can have led to what one share, or two of three, show, and each in as many ways as any other.
    #[test]
    fn a_share_too_few_tells_nothing() {
        for secret in 0..=255 {
            let mut seen = [false; 256];
            for coefficient in 0..=255_u8 {
                let share = polynomial_at(7, [coefficient, secret].into_iter());
                assert!(!std::mem::replace(&mut seen[usize::from(share)], true));
            }
        }
        for secret in [0, 1, 0x53, 0xff] {
            let mut seen = vec![false; 1 << 16];
            for coefficients in 0..=u16::MAX {
                let [third, second] = coefficients.to_be_bytes();
                let share = |place| polynomial_at(place, [third, second, secret].into_iter());
                let pair = usize::from(u16::from_be_bytes([share(1), share(9)]));
                assert!(!std::mem::replace(&mut seen[pair], true));
            }
        }
    }
}
