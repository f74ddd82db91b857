//! *What lives here:* the tests of `random.rs`. *What must never live here:* what several tests share (`session/operation/rig.rs`). *Who
//! calls it:* the test runner.

use super::*;
use crate::session::operation::rig::{Rig, data, done};

#[test]
fn random_bytes_differ_and_are_bounded() {
    let rig = Rig::new();
    let desk = &rig.desk();
    done(seed(desk, b"a seed"));
    let [one, other] = [32, 32].map(|bytes| data(generate(desk, bytes)));
    assert_ne!(one, other);
    assert!(data(generate(desk, 0)).is_empty());
    assert_eq!(data(generate(desk, 100_000)).len(), 100_000);
    for bytes in [
        crate::limits::Limits::default().random_bytes_max + 1,
        u64::MAX,
    ] {
        assert_eq!(generate(desk, bytes).unwrap_err(), Error::ArgumentsBad);
    }
}
