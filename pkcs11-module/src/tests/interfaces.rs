//! Tests of the interfaces.

use super::*;

fn alleged<T>(pointer: *mut T) -> Alleged<T> {
    // SAFETY: every test passes NULL or memory of its own.
    unsafe { Alleged::new(pointer) }
}

/// Finds an interface, and tells the version that its list says.
fn version_of(name: Option<&CStr>, version: Option<(u8, u8)>, flags: u64) -> Result<(u8, u8), Rv> {
    let name = name.map_or(ptr::null_mut(), |name| name.as_ptr().cast_mut().cast());
    let mut wanted = version.map(|(major, minor)| CK_VERSION { major, minor });
    let wanted = wanted.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let mut found = ptr::null_mut::<CK_INTERFACE>();
    find(
        alleged(name),
        alleged(wanted),
        alleged(&raw mut found),
        flags,
    )?;
    let found = alleged(found).read()?;
    let list = alleged(found.pFunctionList.cast::<CK_VERSION>()).read()?;
    Ok((list.major, list.minor))
}

#[test]
fn the_newest_is_the_default() {
    assert_eq!(version_of(None, None, 0), Ok((3, 2)));
    assert_eq!(version_of(Some(NAME), None, 0), Ok((3, 2)));
}

#[test]
fn a_version_is_exact() {
    for version in VERSIONS {
        assert_eq!(version_of(Some(NAME), Some(version), 0), Ok(version));
        assert_eq!(version_of(None, Some(version), 0), Ok(version));
    }
    for version in [(2, 20), (3, 1), (4, 0), (0, 0)] {
        assert_eq!(
            version_of(Some(NAME), Some(version), 0),
            Err(Rv::ARGUMENTS_BAD)
        );
    }
}

#[test]
fn names_and_flags_are_exact() {
    for name in [c"PKCS 1", c"PKCS 111", c"pkcs 11", c"", c"Vendor"] {
        assert_eq!(
            version_of(Some(name), None, 0),
            Err(Rv::ARGUMENTS_BAD),
            "{name:?}"
        );
    }
    assert_eq!(
        version_of(None, None, 1),
        Err(Rv::ARGUMENTS_BAD),
        "fork safe"
    );
    let nowhere = find(
        alleged(ptr::null_mut()),
        alleged(ptr::null_mut()),
        alleged(ptr::null_mut()),
        0,
    );
    assert_eq!(nowhere, Err(Rv::ARGUMENTS_BAD));
    assert_eq!(
        function_list(alleged(ptr::null_mut())),
        Err(Rv::ARGUMENTS_BAD)
    );
}

#[test]
fn the_list_of_interfaces() {
    let mut count = 0;
    let null = alleged(ptr::null_mut());
    assert_eq!(list(null, alleged(ptr::null_mut())), Err(Rv::ARGUMENTS_BAD));
    assert_eq!((list(null, alleged(&raw mut count)), count), (Ok(()), 3));
    let mut room = [INTERFACES.0[0]; 3];
    count = 2;
    let first = alleged(room.as_mut_ptr());
    assert_eq!(
        (list(first, alleged(&raw mut count)), count),
        (Err(Rv::BUFFER_TOO_SMALL), 3)
    );
    assert_eq!(list(first, alleged(&raw mut count)), Ok(()));
    for (interface, version) in room.iter().zip(VERSIONS) {
        let told = alleged(interface.pFunctionList.cast::<CK_VERSION>())
            .read()
            .unwrap();
        assert_eq!((told.major, told.minor), version);
    }
}

#[test]
fn the_legacy_list_says_2_40() {
    let mut found = ptr::null_mut::<CK_FUNCTION_LIST>();
    function_list(alleged(&raw mut found)).unwrap();
    let list = alleged(found).read().unwrap();
    assert_eq!((list.version.major, list.version.minor), (2, 40));
}
