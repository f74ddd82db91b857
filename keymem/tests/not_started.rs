//! Before the start nothing is given out, and nothing breaks.

use strongroom_keymem::{
    Config, Locking, OutOfMemory, SecretBytes, SecretVec, StartError, allocate, contains, start,
    status,
};

#[test]
fn nothing_is_given_out_before_the_start() {
    assert_eq!(status(), None);
    assert_eq!(allocate(16), None);
    let local = 1_u8;
    assert!(!contains(&raw const local));
    assert_eq!(SecretBytes::zeroed(1).err(), Some(OutOfMemory));
    assert_eq!(SecretBytes::zeroed(0).unwrap().len(), 0);
    let mut buffer = SecretVec::new();
    assert_eq!(buffer.push_slice(b"x"), Err(OutOfMemory));
    assert_eq!(buffer.push_slice(b""), Ok(()));
    assert_eq!((buffer.len(), buffer.capacity()), (0, 0));

    let config = Config {
        bytes: Some(1),
        locking: Locking::DangerUnlockedAllowed,
    };
    assert!(matches!(
        start(&config),
        Err(StartError::BudgetOutOfRange { bytes: 1 })
    ));
    assert_eq!(status(), None);
    assert!(OutOfMemory.to_string().contains("not started"));
}
