//! AES modes over the bare block cipher of RustCrypto.
//!
//! What lives here: ECB, CBC, CTR, GCM, CMAC, key wrap; short and slow.
//! What must never live here: keys of the module.
//! Who calls it: the tests of AES and of wrapping.

use aes::cipher::common::InnerInit as _;
use aes::cipher::{Block, BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes128, Aes192, Aes256};

/// An AES key of any size.
pub enum Aes {
    /// 128 bits.
    Small(Box<Aes128>),
    /// 192 bits.
    Middle(Box<Aes192>),
    /// 256 bits.
    Large(Box<Aes256>),
}

impl Aes {
    /// From 16, 24 or 32 bytes.
    ///
    /// # Panics
    /// For another length.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        match key.len() {
            16 => Self::Small(Box::new(Aes128::new_from_slice(key).expect("16 bytes"))),
            24 => Self::Middle(Box::new(Aes192::new_from_slice(key).expect("24 bytes"))),
            32 => Self::Large(Box::new(Aes256::new_from_slice(key).expect("32 bytes"))),
            other => panic!("AES has no keys of {other} bytes"),
        }
    }

    /// One block.
    #[must_use]
    pub fn block(&self, input: [u8; 16]) -> [u8; 16] {
        let mut block = Block::<Aes128>::from(input);
        match self {
            Self::Small(key) => key.encrypt_block(&mut block),
            Self::Middle(key) => key.encrypt_block(&mut block),
            Self::Large(key) => key.encrypt_block(&mut block),
        }
        block.into()
    }

    /// One block back.
    #[must_use]
    pub fn block_back(&self, input: [u8; 16]) -> [u8; 16] {
        let mut block = Block::<Aes128>::from(input);
        match self {
            Self::Small(key) => key.decrypt_block(&mut block),
            Self::Middle(key) => key.decrypt_block(&mut block),
            Self::Large(key) => key.decrypt_block(&mut block),
        }
        block.into()
    }

    /// ECB of whole blocks.
    #[must_use]
    pub fn ecb(&self, input: &[u8]) -> Vec<u8> {
        input
            .chunks_exact(16)
            .flat_map(|chunk| self.block(array(chunk)))
            .collect()
    }

    /// CBC of whole blocks.
    #[must_use]
    pub fn cbc(&self, iv: &[u8], input: &[u8]) -> Vec<u8> {
        let mut last = array(iv);
        let mut output = Vec::new();
        for chunk in input.chunks_exact(16) {
            last = self.block(xor(array(chunk), last));
            output.extend(last);
        }
        output
    }

    /// CBC back.
    #[must_use]
    pub fn cbc_back(&self, iv: &[u8], input: &[u8]) -> Vec<u8> {
        let mut last = array(iv);
        let mut output = Vec::new();
        for chunk in input.chunks_exact(16) {
            output.extend(xor(self.block_back(array(chunk)), last));
            last = array(chunk);
        }
        output
    }

    /// CBC with the padding of PKCS#7.
    #[must_use]
    pub fn cbc_pad(&self, iv: &[u8], input: &[u8]) -> Vec<u8> {
        let fill = 16 - input.len() % 16;
        self.cbc(iv, &[input, vec![fill as u8; fill].as_slice()].concat())
    }

    /// CBC with padding, back; none when the padding is bad.
    #[must_use]
    pub fn cbc_pad_back(&self, iv: &[u8], input: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.cbc_back(iv, input);
        let fill = usize::from(*plain.last()?);
        let good = (1..=16).contains(&fill)
            && plain[plain.len() - fill..]
                .iter()
                .all(|byte| usize::from(*byte) == fill);
        plain.truncate(plain.len() - if good { fill } else { 0 });
        good.then_some(plain)
    }

    /// CTR of SP 800-38A, the low `bits` of the block counting.
    #[must_use]
    pub fn ctr(&self, bits: u32, start: [u8; 16], input: &[u8]) -> Vec<u8> {
        let mask = if bits == 128 {
            u128::MAX
        } else {
            (1 << bits) - 1
        };
        let mut counter = u128::from_be_bytes(start);
        let mut output = Vec::new();
        for chunk in input.chunks(16) {
            let stream = self.block(counter.to_be_bytes());
            output.extend(chunk.iter().zip(stream).map(|(left, right)| left ^ right));
            counter = counter & !mask | counter.wrapping_add(1) & mask;
        }
        output
    }

    /// GCM of SP 800-38D: ciphertext and the whole tag.
    #[must_use]
    pub fn gcm(&self, iv: &[u8], aad: &[u8], input: &[u8]) -> (Vec<u8>, [u8; 16]) {
        let subkey = u128::from_be_bytes(self.block([0; 16]));
        let first = match <[u8; 12]>::try_from(iv) {
            Ok(short) => u128::from_be_bytes(array(&[short.as_slice(), &[0, 0, 0, 1]].concat())),
            Err(_) => ghash(subkey, &[], iv),
        };
        let count = |block: u128| {
            let low = (block as u32).wrapping_add(1);
            block >> 32 << 32 | u128::from(low)
        };
        let output = self.ctr(32, count(first).to_be_bytes(), input);
        let mark = self.block(first.to_be_bytes());
        let tag = xor(ghash(subkey, aad, &output).to_be_bytes(), mark);
        (output, tag)
    }

    /// CMAC of SP 800-38B.
    #[must_use]
    pub fn cmac(&self, input: &[u8]) -> [u8; 16] {
        let double = |value: u128| value << 1 ^ if value >> 127 == 1 { 0x87 } else { 0 };
        let one = double(u128::from_be_bytes(self.block([0; 16])));
        let whole = !input.is_empty() && input.len().is_multiple_of(16);
        let split = if whole {
            input.len() - 16
        } else {
            input.len() / 16 * 16
        };
        let mut last = input[split..].to_vec();
        if !whole {
            last.push(0x80);
            last.resize(16, 0);
        }
        let subkey = if whole { one } else { double(one) };
        let chained = self.cbc(&[0; 16], &input[..split]);
        let before = chained.last_chunk::<16>().copied().unwrap_or_default();
        self.block(xor(xor(array(&last), subkey.to_be_bytes()), before))
    }

    /// Key wrap of RFC 3394.
    ///
    /// # Panics
    /// When the length is no multiple of 8.
    #[must_use]
    pub fn kw(&self, input: &[u8]) -> Vec<u8> {
        let mut output = vec![0; input.len() + 8];
        match self {
            Self::Small(key) => {
                aes_kw::AesKw::inner_init(key.as_ref().clone()).wrap_key(input, &mut output)
            }
            Self::Middle(key) => {
                aes_kw::AesKw::inner_init(key.as_ref().clone()).wrap_key(input, &mut output)
            }
            Self::Large(key) => {
                aes_kw::AesKw::inner_init(key.as_ref().clone()).wrap_key(input, &mut output)
            }
        }
        .expect("a multiple of eight bytes");
        output
    }

    /// Key wrap with padding of RFC 5649.
    ///
    /// # Panics
    /// When the input is empty.
    #[must_use]
    pub fn kwp(&self, input: &[u8]) -> Vec<u8> {
        let mut output = vec![0; input.len().div_ceil(8) * 8 + 8];
        match self {
            Self::Small(key) => {
                aes_kw::AesKwp::inner_init(key.as_ref().clone()).wrap_key(input, &mut output)
            }
            Self::Middle(key) => {
                aes_kw::AesKwp::inner_init(key.as_ref().clone()).wrap_key(input, &mut output)
            }
            Self::Large(key) => {
                aes_kw::AesKwp::inner_init(key.as_ref().clone()).wrap_key(input, &mut output)
            }
        }
        .expect("a key of bytes");
        output
    }

    /// Key wrap with padding, back.
    #[must_use]
    pub fn kwp_back(&self, input: &[u8]) -> Option<Vec<u8>> {
        let mut output = vec![0; input.len()];
        let plain = match self {
            Self::Small(key) => {
                aes_kw::AesKwp::inner_init(key.as_ref().clone()).unwrap_key(input, &mut output)
            }
            Self::Middle(key) => {
                aes_kw::AesKwp::inner_init(key.as_ref().clone()).unwrap_key(input, &mut output)
            }
            Self::Large(key) => {
                aes_kw::AesKwp::inner_init(key.as_ref().clone()).unwrap_key(input, &mut output)
            }
        };
        plain.ok().map(<[u8]>::to_vec)
    }
}

fn array(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("a block")
}

fn xor(left: [u8; 16], right: [u8; 16]) -> [u8; 16] {
    core::array::from_fn(|index| left[index] ^ right[index])
}

/// GHASH of additional data and ciphertext, bit by bit.
fn ghash(subkey: u128, aad: &[u8], text: &[u8]) -> u128 {
    let mut sum = 0;
    let mut take = |bytes: &[u8]| {
        for chunk in bytes.chunks(16) {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            sum = multiplied(sum ^ u128::from_be_bytes(block), subkey);
        }
    };
    take(aad);
    take(text);
    let lengths = (aad.len() as u128 * 8) << 64 | (text.len() as u128 * 8);
    take(&lengths.to_be_bytes());
    sum
}

fn multiplied(left: u128, right: u128) -> u128 {
    let mut product = 0;
    let mut shifted = right;
    for bit in (0..128).rev() {
        if left >> bit & 1 == 1 {
            product ^= shifted;
        }
        shifted = shifted >> 1 ^ if shifted & 1 == 1 { 0xe1 << 120 } else { 0 };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn gcm_as_in_its_first_description() {
        // McGrew and Viega, test cases 4 and 6: the latter has an initialisation vector of 60 bytes.
        let key = Aes::new(&hex("feffe9928665731c6d6a8f9467308308"));
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let (_, tag) = key.gcm(&hex("cafebabefacedbaddecaf888"), &aad, &plain);
        assert_eq!(tag.to_vec(), hex("5bc94fbc3221a5db94fae95ae7121a47"));
        let iv = hex(
            "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
        );
        let (_, tag) = key.gcm(&iv, &aad, &plain);
        assert_eq!(tag.to_vec(), hex("619cc5aefffe0bfa462af43c1699d050"));
    }

    #[test]
    fn cmac_as_in_rfc_4493() {
        let key = Aes::new(&hex("2b7e151628aed2a6abf7158809cf4f3c"));
        assert_eq!(
            key.cmac(b"").to_vec(),
            hex("bb1d6929e95937287fa37d129b756746")
        );
        let message =
            hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411");
        assert_eq!(
            key.cmac(&message).to_vec(),
            hex("dfa66747de9ae63030ca32611497c827")
        );
        assert_eq!(
            key.cmac(&message[..16]).to_vec(),
            hex("070a16b46b4d4144f79bdd9dd04a287c")
        );
    }
}
