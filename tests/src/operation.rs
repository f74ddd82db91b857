//! Encrypt, decrypt, sign, verify, recover and digest: one shape, many functions.
//!
//! What lives here: the ways that turn bytes into bytes, in one call or in pieces, and the rules of output buffers as assertions.
//! What must never live here: expected results.
//! Who calls it: the tests of mechanisms and vectors.

use core::ptr::null_mut;

use cryptoki_sys::*;

use crate::call;
use crate::mechanism::Mechanism;
use crate::rv::Rv;
use crate::session::Session;

/// A kind of operation that has an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `C_Encrypt…`
    Encrypt,
    /// `C_Decrypt…`
    Decrypt,
    /// `C_Digest…`
    Digest,
    /// `C_Sign…`
    Sign,
    /// `C_SignRecover`
    SignRecover,
    /// `C_VerifyRecover`
    VerifyRecover,
}

/// Room for one-shot outputs beyond the length of the input: the largest signature and a block.
const AMPLE: usize = 2048;

impl Session<'_> {
    /// `C_…Init`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn begin(
        &self,
        way: Way,
        mechanism: impl Into<Mechanism>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<(), Rv> {
        let (module, session) = (self.module, self.handle);
        mechanism
            .into()
            .laid_out(|raw| match way {
                Way::Encrypt => call!(module, C_EncryptInit(session, raw, key)),
                Way::Decrypt => call!(module, C_DecryptInit(session, raw, key)),
                Way::Digest => call!(module, C_DigestInit(session, raw)),
                Way::Sign => call!(module, C_SignInit(session, raw, key)),
                Way::SignRecover => call!(module, C_SignRecoverInit(session, raw, key)),
                Way::VerifyRecover => call!(module, C_VerifyRecoverInit(session, raw, key)),
            })
            .ok()
    }

    /// The one-shot function with a buffer of `room` bytes, or a null buffer; tells code, reported length and buffer.
    pub fn one_shot(&self, way: Way, input: &[u8], room: Option<usize>) -> (Rv, usize, Vec<u8>) {
        let (module, session) = (self.module, self.handle);
        let data = input.as_ptr().cast_mut();
        let count = input.len() as CK_ULONG;
        let mut output = vec![0xa5; room.unwrap_or(0)];
        let mut length = output.len() as CK_ULONG;
        let buffer = if room.is_some() {
            output.as_mut_ptr()
        } else {
            null_mut()
        };
        let lengths = &raw mut length;
        let code = match way {
            Way::Encrypt => call!(module, C_Encrypt(session, data, count, buffer, lengths)),
            Way::Decrypt => call!(module, C_Decrypt(session, data, count, buffer, lengths)),
            Way::Digest => call!(module, C_Digest(session, data, count, buffer, lengths)),
            Way::Sign => call!(module, C_Sign(session, data, count, buffer, lengths)),
            Way::SignRecover => call!(module, C_SignRecover(session, data, count, buffer, lengths)),
            Way::VerifyRecover => {
                call!(
                    module,
                    C_VerifyRecover(session, data, count, buffer, lengths)
                )
            }
        };
        (code, length as usize, output)
    }

    /// `C_…Update` with a buffer of `room` bytes; ways without output ignore it.
    pub fn update(&self, way: Way, input: &[u8], room: Option<usize>) -> (Rv, usize, Vec<u8>) {
        let (module, session) = (self.module, self.handle);
        let data = input.as_ptr().cast_mut();
        let count = input.len() as CK_ULONG;
        let mut output = vec![0xa5; room.unwrap_or(0)];
        let mut length = output.len() as CK_ULONG;
        let buffer = if room.is_some() {
            output.as_mut_ptr()
        } else {
            null_mut()
        };
        let lengths = &raw mut length;
        let code = match way {
            Way::Encrypt => call!(
                module,
                C_EncryptUpdate(session, data, count, buffer, lengths)
            ),
            Way::Decrypt => call!(
                module,
                C_DecryptUpdate(session, data, count, buffer, lengths)
            ),
            Way::Digest => {
                length = 0;
                call!(module, C_DigestUpdate(session, data, count))
            }
            Way::Sign => {
                length = 0;
                call!(module, C_SignUpdate(session, data, count))
            }
            Way::SignRecover | Way::VerifyRecover => panic!("recovery has no parts"),
        };
        (code, length as usize, output)
    }

    /// `C_…Final`.
    pub fn finish(&self, way: Way, room: Option<usize>) -> (Rv, usize, Vec<u8>) {
        let (module, session) = (self.module, self.handle);
        let mut output = vec![0xa5; room.unwrap_or(0)];
        let mut length = output.len() as CK_ULONG;
        let buffer = if room.is_some() {
            output.as_mut_ptr()
        } else {
            null_mut()
        };
        let lengths = &raw mut length;
        let code = match way {
            Way::Encrypt => call!(module, C_EncryptFinal(session, buffer, lengths)),
            Way::Decrypt => call!(module, C_DecryptFinal(session, buffer, lengths)),
            Way::Digest => call!(module, C_DigestFinal(session, buffer, lengths)),
            Way::Sign => call!(module, C_SignFinal(session, buffer, lengths)),
            Way::SignRecover | Way::VerifyRecover => panic!("recovery has no parts"),
        };
        (code, length as usize, output)
    }

    /// Init and one call with ample room.
    ///
    /// # Errors
    /// What the module answers.
    pub fn run(
        &self,
        way: Way,
        mechanism: impl Into<Mechanism>,
        key: CK_OBJECT_HANDLE,
        input: &[u8],
    ) -> Result<Vec<u8>, Rv> {
        self.begin(way, mechanism, key)?;
        let (code, length, mut output) = self.one_shot(way, input, Some(input.len() + AMPLE));
        code.ok()?;
        output.truncate(length);
        Ok(output)
    }

    /// Init, one update for each `piece` bytes, final.
    ///
    /// # Errors
    /// What the module answers.
    pub fn run_in_pieces(
        &self,
        way: Way,
        mechanism: impl Into<Mechanism>,
        key: CK_OBJECT_HANDLE,
        input: &[u8],
        piece: usize,
    ) -> Result<Vec<u8>, Rv> {
        self.begin(way, mechanism, key)?;
        let mut result = Vec::new();
        for part in input.chunks(piece) {
            let (code, length, output) = self.update(way, part, Some(input.len() + AMPLE));
            code.ok()?;
            result.extend_from_slice(&output[..length]);
        }
        let (code, length, output) = self.finish(way, Some(input.len() + AMPLE));
        code.ok()?;
        result.extend_from_slice(&output[..length]);
        Ok(result)
    }

    /// One-shot with every rule of output buffers asserted; tells the output. `exact` is whether the length told before must be
    /// the length that comes (decryption with padding may tell an upper bound: PKCS#11 3.2, 5.2).
    ///
    /// # Errors
    /// What the module answers to init or to the final, well-formed call.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn run_by_the_book(
        &self,
        way: Way,
        mechanism: impl Into<Mechanism>,
        key: CK_OBJECT_HANDLE,
        input: &[u8],
    ) -> Result<Vec<u8>, Rv> {
        self.begin(way, mechanism, key)?;
        let (code, told, _) = self.one_shot(way, input, None);
        code.ok()?;
        if told > 0 {
            let (code, again, untouched) = self.one_shot(way, input, Some(0));
            // A decryption may learn only now that the output is empty.
            if code.0 == CKR_OK {
                assert_eq!(again, 0, "{way:?}: nothing fits in no room");
                return Ok(Vec::new());
            }
            assert_eq!(
                code,
                Rv(CKR_BUFFER_TOO_SMALL),
                "{way:?}: a buffer of no bytes"
            );
            assert!(
                again > 0 && again <= told,
                "{way:?}: told {told}, then {again}"
            );
            assert!(untouched.is_empty());
            let (code, third, _) = self.one_shot(way, input, Some(again - 1));
            if code.0 == CKR_OK {
                assert!(third < again, "{way:?}: an upper bound may shrink only");
                panic!("{way:?}: the length {again} of a short buffer was not needed: {third}");
            }
            assert_eq!(
                code,
                Rv(CKR_BUFFER_TOO_SMALL),
                "{way:?}: one byte short of {again}"
            );
        }
        let (code, length, output) = self.one_shot(way, input, Some(told + 7));
        code.ok()?;
        assert!(
            length <= told,
            "{way:?}: {length} bytes came, {told} were told"
        );
        assert!(
            output[length..].iter().all(|byte| *byte == 0xa5),
            "{way:?}: bytes behind the output were written"
        );
        let (code, ..) = self.one_shot(way, input, Some(told + 7));
        assert_eq!(
            code,
            Rv(CKR_OPERATION_NOT_INITIALIZED),
            "{way:?}: the operation is over"
        );
        Ok(output[..length].to_vec())
    }

    /// `C_VerifyInit`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn verify_init(
        &self,
        mechanism: impl Into<Mechanism>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<(), Rv> {
        mechanism
            .into()
            .laid_out(|raw| call!(self.module, C_VerifyInit(self.handle, raw, key)).ok())
    }

    /// `C_VerifyInit` and `C_Verify`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn verify(
        &self,
        mechanism: impl Into<Mechanism>,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> Result<(), Rv> {
        self.verify_init(mechanism, key)?;
        call!(
            self.module,
            C_Verify(
                self.handle,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                signature.as_ptr().cast_mut(),
                signature.len() as CK_ULONG,
            )
        )
        .ok()
    }

    /// `C_VerifyInit`, updates, `C_VerifyFinal`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn verify_in_pieces(
        &self,
        mechanism: impl Into<Mechanism>,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
        piece: usize,
    ) -> Result<(), Rv> {
        self.verify_init(mechanism, key)?;
        for part in data.chunks(piece) {
            let length = part.len() as CK_ULONG;
            call!(
                self.module,
                C_VerifyUpdate(self.handle, part.as_ptr().cast_mut(), length)
            )
            .ok()?;
        }
        let length = signature.len() as CK_ULONG;
        call!(
            self.module,
            C_VerifyFinal(self.handle, signature.as_ptr().cast_mut(), length)
        )
        .ok()
    }
}
