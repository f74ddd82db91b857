//! Why a case is slower than SoftHSM's.
//!
//! What lives here: one row for each kind of work whose reason is known.
//! What must never live here: a number; those are measured.
//! Who calls it: `report`.

/// Names of cases begin with the first; the second is why.
const REASONS: &[(&str, &str)] = &[
    (
        "session-open-close",
        "SoftHSM opens a session in the process of the application; here it is a request to another process, which must know the session to bind keys and logins to it.",
    ),
    (
        "sha256-",
        "A digest has no key. SoftHSM computes it where the data is; here the data goes to another process and the digest comes back.",
    ),
    (
        "random-",
        "Random bytes of SoftHSM come from a generator in the process of the application; here from the daemon, a request away.",
    ),
    (
        "aes-",
        "The data goes to another process and the result comes back: two copies more than in one process. Where the cipher itself runs at the speed of memory, or where little is computed with a key of the session, that is what is paid for keys that are not in the application.",
    ),
    ("hmac-", "A request goes to another process and back."),
    (
        "attribute-set",
        "A change is on the disk, sealed and counted in the census of the token, before it is answered. SoftHSM writes a file in place.",
    ),
    (
        "object-create-destroy",
        "Each change is on the disk, sealed and counted in the census of the token, before it is answered.",
    ),
    (
        "generate-",
        "Making a pair and destroying it are three requests, and the pair is put into the index of the session's objects.",
    ),
    (
        "rsa",
        "The way to another process and back weighs against a short operation; whether the arithmetic is slower, too, is not yet measured apart.",
    ),
    (
        "ecdsa-",
        "The way to another process and back weighs against a short operation; whether the arithmetic is slower, too, is not yet measured apart.",
    ),
    (
        "ed25519-",
        "The way to another process and back weighs against a short operation; whether the arithmetic is slower, too, is not yet measured apart.",
    ),
    (
        "ecdh-",
        "Deriving a key and destroying it are two requests.",
    ),
    (
        "find-",
        "A search is three requests to another process; among few objects that is more than looking at each of them.",
    ),
];

/// Said of a crowd on a machine that has fewer processors than sessions.
const CROWDED: &str = "Sessions share the processors with the daemon that works for them, and each wake-up of a process waits for one.";

/// Why a case of this name may be slower.
pub(super) fn reason(name: &str) -> &'static str {
    if name.contains('/') {
        return CROWDED;
    }
    REASONS
        .iter()
        .find(|(beginning, _)| name.starts_with(beginning))
        .map_or("Not yet known.", |(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_case_is_found_by_its_beginning() {
        assert!(reason("random-32").starts_with("Random"));
        assert_eq!(reason("ecdsa-p256-sign/2-threads"), CROWDED);
        assert_eq!(reason("something"), "Not yet known.");
    }
}
