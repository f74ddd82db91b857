//! Tests of what callers allege.

use super::*;

fn alleged<T>(pointer: *mut T) -> Alleged<T> {
    // SAFETY: every test passes NULL or memory of its own, of the length it tells.
    unsafe { Alleged::new(pointer) }
}

fn null<T>() -> Alleged<T> {
    alleged(std::ptr::null_mut())
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_read() {
    // A pointer that leads nowhere: reading it would end the test.
    let nowhere = alleged(std::ptr::without_provenance_mut::<u8>(8));
    let refused = |length| In::copy(nowhere, length, Rv::DATA_LEN_RANGE).err();
    assert_eq!(refused(u64::MAX), Some(Rv::ARGUMENTS_BAD));
    assert_eq!(refused(1 << 63), Some(Rv::ARGUMENTS_BAD));
    assert_eq!(
        refused(u64::try_from(isize::MAX).unwrap()),
        Some(Rv::DATA_LEN_RANGE)
    );
    assert_eq!(
        refused(u64::try_from(DATA_BYTES_MAX).unwrap() + 1),
        Some(Rv::DATA_LEN_RANGE)
    );
    assert_eq!(
        In::copy(nowhere, 0, Rv::DATA_LEN_RANGE).unwrap().public(),
        b""
    );
    assert_eq!(nowhere.room(u64::MAX).err(), Some(Rv::ARGUMENTS_BAD));
}

#[test]
fn null_with_a_length_is_refused() {
    assert_eq!(
        In::copy(null(), 1, Rv::DATA_LEN_RANGE).err(),
        Some(Rv::ARGUMENTS_BAD)
    );
    assert!(In::copy(null(), 0, Rv::DATA_LEN_RANGE).is_ok());
    assert_eq!(null::<u64>().read(), Err(Rv::ARGUMENTS_BAD));
    assert_eq!(null::<u64>().required().err(), Some(Rv::ARGUMENTS_BAD));
    assert_eq!(Out::new(null(), null()).err(), Some(Rv::ARGUMENTS_BAD));
    assert_eq!(
        Array::<u64>::new(null(), null()).err(),
        Some(Rv::ARGUMENTS_BAD)
    );
    let mut count = 0;
    let array = Array::<u64>::with_room(null(), 3, alleged(&raw mut count));
    assert_eq!(array.err(), Some(Rv::ARGUMENTS_BAD));
}

#[test]
fn bytes_are_copied() {
    let mut bytes = *b"plaintext";
    let copy = In::copy(alleged(bytes.as_mut_ptr()), 9, Rv::DATA_LEN_RANGE).unwrap();
    bytes.fill(0);
    assert_eq!(copy.public(), b"plaintext");
    assert_eq!(copy.secret().expose(), b"plaintext");
}

/// Delivers four bytes into a buffer of a capacity, or NULL, and tells what the caller sees.
fn deliver(
    buffer: Option<u64>,
    rv: Rv,
    length: u64,
    data: &[u8],
) -> (Result<(), Rv>, u64, [u8; 8]) {
    let mut bytes = [0xee; 8];
    let mut told = buffer.unwrap_or(77);
    let start = if buffer.is_some() {
        bytes.as_mut_ptr()
    } else {
        std::ptr::null_mut()
    };
    let out = Out::new(alleged(start), alleged(&raw mut told)).unwrap();
    let wanted = buffer.map_or(Output::Size, Output::Capacity);
    assert_eq!(out.wanted(), wanted);
    (out.deliver(rv, length, data), told, bytes)
}

#[test]
fn the_output_rule() {
    let untouched = [0xee; 8];
    let filled = [1, 2, 3, 4, 0xee, 0xee, 0xee, 0xee];
    let data = [1, 2, 3, 4];
    // The size is asked: the length alone.
    assert_eq!(deliver(None, Rv::OK, 4, b""), (Ok(()), 4, untouched));
    // It fits.
    assert_eq!(deliver(Some(8), Rv::OK, 4, &data), (Ok(()), 4, filled));
    assert_eq!(deliver(Some(4), Rv::OK, 4, &data), (Ok(()), 4, filled));
    // It does not fit: the length all the same.
    let short = (Err(Rv::BUFFER_TOO_SMALL), 4, untouched);
    assert_eq!(deliver(Some(3), Rv::BUFFER_TOO_SMALL, 4, b""), short);
    // Another error: nothing.
    let refused = (Err(Rv::KEY_HANDLE_INVALID), 8, untouched);
    assert_eq!(deliver(Some(8), Rv::KEY_HANDLE_INVALID, 4, b""), refused);
    // A daemon that does not keep to the capacity, or to the length it tells: nothing is written.
    assert_eq!(
        deliver(Some(3), Rv::OK, 4, &data),
        (Err(Rv::DEVICE_ERROR), 3, untouched)
    );
    assert_eq!(
        deliver(Some(8), Rv::OK, 8, &data),
        (Err(Rv::DEVICE_ERROR), 8, untouched)
    );
    // An absurd capacity is the caller's word; only what came is written.
    assert_eq!(
        deliver(Some(u64::MAX), Rv::OK, 4, &data),
        (Ok(()), 4, filled)
    );
}

#[test]
fn lists_tell_their_count() {
    let items = [5_u64, 6, 7];
    let mut room = [0_u64; 3];
    for (capacity, outcome, first) in [(2, Err(Rv::BUFFER_TOO_SMALL), 0), (3, Ok(()), 5)] {
        let mut count = capacity;
        let array = Array::new(alleged(room.as_mut_ptr()), alleged(&raw mut count)).unwrap();
        assert_eq!(array.deliver(items.iter().copied()), outcome);
        assert_eq!((count, room[0]), (3, first));
    }
    let mut count = 99;
    let array = Array::new(null(), alleged(&raw mut count)).unwrap();
    assert_eq!(array.deliver(items.iter().copied()), Ok(()));
    assert_eq!((count, room), (3, items));
}

#[test]
fn nothing_needs_to_be_aligned() {
    let mut bytes = [0_u8; 24];
    // SAFETY: one byte into an array of 24.
    let crooked = unsafe { bytes.as_mut_ptr().add(1) }.cast::<u64>();
    let crooked = alleged(crooked);
    crooked
        .element(1)
        .required()
        .unwrap()
        .put(0x0102_0304_0506_0708);
    assert_eq!(crooked.element(1).read(), Ok(0x0102_0304_0506_0708));
    assert_eq!(crooked.read(), Ok(0));
}

#[test]
fn a_room_is_never_left() {
    let mut bytes = [0_u8; 4];
    let room = alleged(bytes.as_mut_ptr()).room(3).unwrap();
    room.write(1, &[1, 2]);
    room.write(2, &[9, 9]);
    room.write(usize::MAX, &[9]);
    assert_eq!((room.bytes(), bytes), (3, [0, 1, 2, 0]));
}
