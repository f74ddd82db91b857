//! Why a case is slower than SoftHSM's, or does not reach its goal.
//!
//! What lives here: one row for each kind of work whose reason is known.
//! What must never live here: a number of one run; those are measured.
//! Who calls it: `report`.

use super::goals::fits;

/// Cases by pattern, and why; the first that fits counts.
const REASONS: &[(&str, &str)] = &[
    (
        "rsa*-verify-*",
        "OpenSSL 3.0 and AWS-LC need about the same time for a public exponent of 65537. What is won is what SoftHSM does around it.",
    ),
    (
        "rsa2048-*",
        "OpenSSL 3.0 on a processor with AVX-512 IFMA is as fast at RSA-2048 as AWS-LC. SoftHSM loses only what it does around it.",
    ),
    (
        "rsa*",
        "Nearly all of it is the primitive of AWS-LC, and the ratio is that of the two libraries.",
    ),
    (
        "ecdsa-p384-sign",
        "AWS-LC inverts the scalar of P-384 and P-521 with generic Montgomery code.",
    ),
    (
        "ecdsa-p521-sign",
        "AWS-LC inverts the scalar of P-384 and P-521 with generic Montgomery code.",
    ),
    (
        "ecdsa-*",
        "Nearly all of it is the primitive of AWS-LC and one trip to the daemon; both libraries have assembler for the curve.",
    ),
    (
        "ed25519-*",
        "Nearly all of it is the primitive of AWS-LC and one trip to the daemon.",
    ),
    (
        "ecdh-*",
        "Deriving a key and destroying it are two trips to the daemon beside the primitive.",
    ),
    (
        "aes-kw-unwrap",
        "Unwrapping a key and destroying it are two trips to the daemon beside the primitive.",
    ),
    (
        "aes-kw-wrap",
        "One trip to the daemon, which is longer than the primitive.",
    ),
    (
        "aes-*-session",
        "SoftHSM has a key of the session in the memory of the application, opened. Here the data go to the daemon and come back.",
    ),
    (
        "aes-gcm-decrypt-16m",
        "Nothing is given out before the tag was right, so the data go whole, through fresh pages at both ends.",
    ),
    (
        "aes-*-16",
        "One trip to the daemon, which is longer than the primitive; SoftHSM has the key in the memory of the application.",
    ),
    (
        "aes-*-256",
        "One trip to the daemon, which is longer than the primitive; SoftHSM has the key in the memory of the application.",
    ),
    (
        "aes-cbc*-encrypt-*",
        "CBC encrypts one block after the other: 4 KiB take 4 to 5 µs in any library, and AWS-LC is no faster at it than OpenSSL.",
    ),
    (
        "aes-*",
        "The data go to the daemon and the result comes back: two copies more than in one process. Where the cipher runs at the speed of memory, the copies weigh as much as it does.",
    ),
    (
        "hmac-sha256-64",
        "One trip to the daemon, which is longer than the primitive.",
    ),
    (
        "hmac-*",
        "The hash takes most of it, and both libraries use the instructions of the processor for SHA-256.",
    ),
    (
        "sha256-*",
        "Computed in the module, as SoftHSM does. Both libraries use the instructions of the processor for SHA-256.",
    ),
    (
        "random-*",
        "The module hands out what it fetched ahead; long requests use that up, and then it is a trip to the daemon and a copy.",
    ),
    (
        "generate-aes256",
        "Making a key of the session and destroying it are two trips of 2.4 µs each, so nothing below 5 µs can be reached.",
    ),
    (
        "generate-*",
        "Making a pair and destroying both keys are three trips to the daemon beside the primitive.",
    ),
    (
        "session-open-close",
        "Answered in the module. Opening and closing a session is as little work in SoftHSM.",
    ),
    (
        "attributes-*",
        "Answered in the module, once the attributes were fetched.",
    ),
    (
        "attribute-set",
        "C_SetAttributeValue is on the disk, synced, before it is answered. SoftHSM 2.6.1 writes its file in place and never syncs it.",
    ),
    (
        "object-create-destroy",
        "Each change is on the disk, synced, before it is answered. SoftHSM 2.6.1 never syncs its files.",
    ),
    (
        "login-logout",
        "A login and a logout are two trips to the daemon, which compares the PIN each time.",
    ),
    (
        "coldstart-*",
        "A process loads the module, connects, logs in and finds its key; the login costs what comparing a PIN costs.",
    ),
    (
        "find-*",
        "A search is a trip to the daemon; among few objects that is more than looking at each of them.",
    ),
];

/// Said of a crowd on a machine that has fewer processors than sessions.
const CROWDED: &str = "Sessions share the processors with the daemon that works for them, and each wake-up of a process waits for one.";

/// Why a case of this name may be slower than SoftHSM or than its goal.
pub(super) fn reason(name: &str) -> &'static str {
    if name.contains('/') {
        return CROWDED;
    }
    REASONS
        .iter()
        .find(|(pattern, _)| fits(pattern, name))
        .map_or("Not yet known.", |(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_fits_is_the_reason() {
        assert!(reason("rsa2048-verify-pkcs").contains("65537"));
        assert!(reason("rsa2048-sign-pss").contains("IFMA"));
        assert!(reason("aes-gcm-decrypt-16m").contains("tag"));
        assert!(reason("aes-cbcpad-encrypt-4k").contains("CBC"));
        assert!(!reason("aes-cbc-decrypt-4k").contains("CBC"));
        assert!(reason("aes-gcm-encrypt-256-session").contains("session"));
        assert_eq!(reason("ecdsa-p256-sign/2-threads"), CROWDED);
        assert_eq!(reason("something"), "Not yet known.");
    }
}
