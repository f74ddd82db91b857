//! Tests of the table.

use super::*;

#[test]
fn the_table_has_every_function_of_the_standard_once() {
    assert_eq!(FUNCTIONS.len(), 104);
    let since = |version| FUNCTIONS.iter().filter(|one| one.since == version).count();
    assert_eq!((since("2.40"), since("3.0"), since("3.2")), (68, 24, 12));
    let mut names: Vec<_> = FUNCTIONS.iter().map(|one| one.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 104);
    assert!(names.iter().all(|name| name.starts_with("C_")));
    let pending = FUNCTIONS
        .iter()
        .filter(|one| one.status == Status::Pending)
        .count();
    assert_eq!(pending, 27);
}

#[test]
fn no_list_has_a_hole() {
    // A list is its version, padded to a word, and one pointer for each function.
    assert_eq!(size_of::<CK_FUNCTION_LIST>(), 69 * 8);
    assert_eq!(size_of::<CK_FUNCTION_LIST_3_0>(), 93 * 8);
    assert_eq!(size_of::<CK_FUNCTION_LIST_3_2>(), 105 * 8);
    let words = |list: *const u64, count: usize| {
        (1..count).for_each(|index| {
            // SAFETY: the sizes were compared above.
            let place = unsafe { list.add(index) };
            // SAFETY: as above.
            assert_ne!(unsafe { place.read() }, 0, "{}", FUNCTIONS[index - 1].name);
        });
    };
    words((&raw const LIST_2_40).cast(), 69);
    words((&raw const LIST_3_0).cast(), 93);
    words((&raw const LIST_3_2).cast(), 105);
}

#[test]
fn nothing_is_served_before_it_is_initialised() {
    // No unit test of this crate calls C_Initialize: the state is that of the process, so `tests/host.rs` does.
    let not_initialised = Rv::CRYPTOKI_NOT_INITIALIZED.0;
    let null = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: numbers only.
    assert_eq!(unsafe { C_Logout(1) }, not_initialised);
    // SAFETY: numbers only.
    assert_eq!(unsafe { C_GetFunctionStatus(1) }, not_initialised);
    // SAFETY: numbers only.
    assert_eq!(unsafe { C_MessageSignFinal(1) }, not_initialised);
    // SAFETY: NULL is allowed.
    assert_eq!(unsafe { C_Finalize(null) }, not_initialised);
    // SAFETY: a count of this test's own.
    let listed = unsafe { C_GetSlotList(1, std::ptr::null_mut(), &raw mut count) };
    assert_eq!(listed, not_initialised);
    // SAFETY: a count of this test's own.
    let listed = unsafe { C_GetInterfaceList(std::ptr::null_mut(), &raw mut count) };
    assert_eq!((listed, count), (0, 3));
}
