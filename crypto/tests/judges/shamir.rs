//! Shares of secrets before the textbook: Lagrange over tables of logarithms, and base 32 by big numbers.

use strongroom_crypto::Error;
use strongroom_crypto::shamir::{Share, ShareError, combine, split};
use strongroom_keymem::SecretBytes;

use crate::{noise, ready};

/// What a share says, read from its line by somebody who knows the form only.
#[derive(Clone, PartialEq, Debug)]
struct Told {
    group: Vec<u8>,
    threshold: u8,
    index: u8,
    value: Vec<u8>,
}

fn text(share: &Share) -> String {
    String::from_utf8(share.to_text().unwrap().expose().to_vec()).unwrap()
}

fn told(line: &str) -> Told {
    let fields: Vec<&str> = line.split(' ').collect();
    let [prefix, group, threshold, index, value, checksum] = fields[..] else {
        panic!("{line}");
    };
    assert_eq!(prefix, "strongroom-share-1");
    assert_eq!(checksum.len(), 8);
    Told {
        group: from_base32(group),
        threshold: threshold.parse().unwrap(),
        index: index.parse().unwrap(),
        value: from_base32(value),
    }
}

fn from_base32(symbols: &str) -> Vec<u8> {
    let bits: String = symbols
        .chars()
        .filter(|symbol| *symbol != '-')
        .map(|symbol| format!("{:05b}", ALPHABET.find(symbol).unwrap()))
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

/// Powers of the generator 3 and their logarithms.
fn tables() -> (Vec<u8>, Vec<usize>) {
    let (mut powers, mut logarithms) = (vec![0_u8; 255], vec![0_usize; 256]);
    let mut power = 1_u16;
    for (exponent, place) in powers.iter_mut().enumerate() {
        *place = u8::try_from(power).unwrap();
        logarithms[usize::from(power)] = exponent;
        power ^= power << 1;
        if power > 0xff {
            power ^= 0x11b;
        }
    }
    (powers, logarithms)
}

/// The shared bytes by Lagrange's formula at zero.
fn interpolated(shares: &[Told]) -> Vec<u8> {
    let (powers, logarithms) = tables();
    let mut sum = vec![0_u8; shares[0].value.len()];
    for share in shares {
        let mut weight = 0_usize;
        for other in shares.iter().filter(|other| other.index != share.index) {
            weight += logarithms[usize::from(other.index)] + 255
                - logarithms[usize::from(other.index ^ share.index)];
        }
        for (sum, byte) in sum.iter_mut().zip(&share.value) {
            if *byte != 0 {
                *sum ^= powers[(weight + logarithms[usize::from(*byte)]) % 255];
            }
        }
    }
    sum
}

fn subsets(count: usize, size: usize) -> Vec<Vec<usize>> {
    (0_u32..1 << count)
        .filter(|set| set.count_ones() as usize == size)
        .map(|set| (0..count).filter(|place| set >> place & 1 == 1).collect())
        .collect()
}

fn parsed(lines: &[String], chosen: &[usize]) -> Vec<Share> {
    let share = |place: &usize| Share::parse(lines[*place].as_bytes()).unwrap();
    chosen.iter().map(share).collect()
}

fn shared(secret: &[u8], threshold: u8, count: u8) -> Vec<String> {
    ready();
    let secret = SecretBytes::copy_from(secret).unwrap();
    let shares = split(&secret, threshold, count).unwrap();
    shares.iter().map(text).collect()
}

#[test]
fn every_subset_gives_the_secret_back_to_us_and_to_the_judge() {
    for (threshold, count, length) in [(2_u8, 2_u8, 1), (2, 3, 32), (3, 5, 32), (5, 8, 64)] {
        let secret = noise(u64::from(count), length);
        let lines = shared(&secret, threshold, count);
        let told: Vec<Told> = lines.iter().map(|line| told(line)).collect();
        for chosen in subsets(usize::from(count), usize::from(threshold)) {
            let ours = combine(&parsed(&lines, &chosen)).unwrap();
            assert!(ours.equals_in_constant_time(&secret), "{chosen:?}");
            let picked: Vec<Told> = chosen.iter().map(|place| told[*place].clone()).collect();
            assert_eq!(interpolated(&picked)[..length], secret, "{chosen:?}");
        }
        // In any order, and with more than needed.
        let mut all = parsed(&lines, &(0..usize::from(count)).collect::<Vec<_>>());
        all.reverse();
        assert!(combine(&all).unwrap().equals_in_constant_time(&secret));
    }
    let secret = noise(9, 32);
    let lines = shared(&secret, 16, 32);
    let last: Vec<usize> = (16..32).collect();
    let ours = combine(&parsed(&lines, &last)).unwrap();
    assert!(ours.equals_in_constant_time(&secret));
}

/// With one share too few the judge can complete the set to any secret: what is missing decides alone.
#[test]
fn a_share_too_few_fits_every_secret() {
    let lines = shared(b"A", 3, 3);
    let mut told: Vec<Told> = lines.iter().map(|line| told(line)).collect();
    let mut possible = [0; 256];
    for byte in 0..=255 {
        told[2].value[0] = byte;
        possible[usize::from(interpolated(&told)[0])] += 1;
    }
    assert_eq!(possible, [1; 256]);
}

#[test]
fn what_cannot_be_shared_is_refused() {
    ready();
    let secret = SecretBytes::copy_from(&[1; 32]).unwrap();
    for (threshold, count) in [(1, 1), (0, 3), (1, 3), (3, 2), (17, 20), (2, 33)] {
        let refused = split(&secret, threshold, count).map(|_| ());
        assert_eq!(refused, Err(Error::ParameterInvalid), "{threshold}/{count}");
    }
    for length in [0, 65] {
        let secret = SecretBytes::zeroed(length).unwrap();
        let refused = split(&secret, 2, 3).map(|_| ());
        assert_eq!(refused, Err(Error::DataLength), "{length}");
    }
}

#[test]
fn shares_that_do_not_belong_together_are_named() {
    let lines = shared(&[7; 32], 3, 5);
    let others = shared(&[7; 32], 3, 5);
    let refused = |shares: &[Share]| combine(shares).map(|_| ()).unwrap_err();
    let few = parsed(&lines, &[0, 3]);
    let expected = ShareError::TooFew {
        present: 2,
        needed: 3,
    };
    assert_eq!(refused(&few), expected);
    assert!(matches!(refused(&[]), ShareError::TooFew { .. }));
    let twice = parsed(&lines, &[0, 3, 3]);
    assert_eq!(refused(&twice), ShareError::Twice { index: 4 });
    let mut mixed = parsed(&lines, &[0, 1]);
    mixed.extend(parsed(&others, &[4]));
    assert_eq!(refused(&mixed), ShareError::OtherGroup { index: 5 });
}

/// A share changed by somebody who knows how to make the checksum anew: an error, and not another secret.
#[test]
fn a_forged_share_gives_no_secret() {
    let lines = shared(&[7; 32], 2, 2);
    let fields: Vec<&str> = lines[1].split(' ').collect();
    let value_at = lines[1].find(fields[4]).unwrap();
    let mut found = 0;
    for changed in 0..fields[4].len() {
        let mut forged = lines[1].clone().into_bytes();
        let place = &mut forged[value_at + changed];
        if *place == b'-' {
            continue;
        }
        *place = if *place == b'7' { b'8' } else { b'7' };
        let forged = String::from_utf8(forged).unwrap();
        let forged = format!(
            "{} {}",
            forged.rsplit_once(' ').unwrap().0,
            checksum(&forged)
        );
        let shares = [
            Share::parse(lines[0].as_bytes()).unwrap(),
            Share::parse(forged.as_bytes()).unwrap(),
        ];
        assert_eq!(
            combine(&shares).map(|_| ()).unwrap_err(),
            ShareError::Forged
        );
        found += 1;
    }
    assert_eq!(found, 64);
}

/// The checksum of a line by another SHA-256.
fn checksum(line: &str) -> String {
    use sha2::Digest as _;
    let symbols: String = line.rsplit_once(' ').unwrap().0.to_uppercase();
    let symbols = symbols.replace([' ', '-'], "");
    let digest = sha2::Sha256::digest(symbols.as_bytes());
    let bits: String = digest.iter().map(|byte| format!("{byte:08b}")).collect();
    let symbol = |at: usize| {
        let value = usize::from_str_radix(&bits[5 * at..5 * at + 5], 2).unwrap();
        char::from(ALPHABET.as_bytes()[value])
    };
    let all: String = (0..7).map(symbol).collect();
    format!("{}-{}", &all[..4], &all[4..])
}

#[test]
fn the_checksum_is_that_of_the_judge() {
    for line in shared(&noise(3, 33), 2, 4) {
        assert_eq!(line.rsplit_once(' ').unwrap().1, checksum(&line));
    }
}

#[test]
fn every_mistyped_character_is_found_and_named() {
    let line = &shared(&noise(1, 32), 2, 2)[0];
    let start = "strongroom-share-1 ".len();
    let (mut block, mut character) = (1, 0);
    for at in start..line.len() {
        let own = line.as_bytes()[at];
        if own == b'-' || own == b' ' {
            (block, character) = (block + 1, 0);
            continue;
        }
        character += 1;
        for other in ALPHABET.bytes().filter(|other| *other != own) {
            let mut typed = line.clone().into_bytes();
            typed[at] = other;
            let found = Share::parse(&typed).map(|_| ()).unwrap_err();
            assert_eq!(found, ShareError::Mistyped { block, character });
        }
        let mut typed = line.clone().into_bytes();
        typed[at] = b'U';
        let found = Share::parse(&typed).map(|_| ()).unwrap_err();
        if at + 8 < line.len() {
            assert_eq!(found, ShareError::Character { block, character });
        }
        typed.remove(at);
        assert_eq!(
            Share::parse(&typed).map(|_| ()).unwrap_err(),
            ShareError::Damaged
        );
    }
    for at in 0..start - 1 {
        let mut typed = line.clone().into_bytes();
        typed[at] = if typed[at] == b'x' { b'y' } else { b'x' };
        assert!(Share::parse(&typed).is_err(), "{at}");
    }
}

#[test]
fn lines_are_read_as_people_type_them() {
    for line in shared(&noise(2, 32), 2, 9) {
        let same = told(&line);
        let zero = line.split_at(18).1;
        for typed in [
            format!("  {}\r\n", line.to_lowercase()),
            line.replace(['-', ' '], ""),
            line.replace('-', " - "),
            format!("strongroom-share-1{}", zero.replace('0', "o")),
            format!("STRONGROOM-SHARE-1{}", zero.replace('1', "l")),
            format!("strongroom share 1\n{}", zero.replace('1', "I")),
        ] {
            let share = Share::parse(typed.as_bytes()).unwrap();
            assert_eq!(told(&text(&share)), same, "{typed}");
        }
        for (typed, error) in [
            ("", ShareError::NoShare),
            ("strongroom root key v1", ShareError::NoShare),
            ("strongroom-share-2 0000", ShareError::Version),
            ("strongroom-share-1", ShareError::Damaged),
            ("strongroom-share-1 0000", ShareError::Damaged),
        ] {
            let found = Share::parse(typed.as_bytes()).map(|_| ()).unwrap_err();
            assert_eq!(found, error, "{typed}");
        }
        assert!(Share::parse(line.repeat(50).as_bytes()).is_err());
        assert!(Share::parse(&[0xff; 4000]).is_err());
    }
}

#[test]
fn debug_and_errors_show_nothing_of_a_share() {
    let line = &shared(&[0xaa; 32], 2, 2)[0];
    let share = Share::parse(line.as_bytes()).unwrap();
    assert_eq!(format!("{share:?}"), "Share(1, 2 needed)");
    let mut typed = line.clone();
    typed.pop();
    let error = Share::parse(typed.as_bytes()).unwrap_err().to_string();
    for block in line.split([' ', '-']).filter(|block| block.len() == 4) {
        assert!(!error.contains(block), "{error}");
    }
}

const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
