//! The interfaces: which function list is handed out under which name and version (PKCS#11 3.2, 5.4.5 and 5.4.6).
//!
//! What lives here: C_GetFunctionList, C_GetInterfaceList, C_GetInterface.
//! What must never live here: the lists themselves; they come from the table.
//! Who calls it: the table of functions.

use std::ffi::{CStr, c_void};
use std::ptr;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_INTERFACE, CK_ULONG, CK_VERSION};
use strongroom_wire::ck::Rv;

use super::caller::{Alleged, Array};
use super::functions::{LIST_2_40, LIST_3_0, LIST_3_2};
use crate::guise::Guise;

/// The one name of the standard.
const NAME: &CStr = c"PKCS 11";

/// What every interface can do: nothing beyond the functions. CKF_INTERFACE_FORK_SAFE promises that a child keeps sessions and logins
/// of its parent (PKCS#11 3.2, 5.4.5); here a child is another application to the daemon and starts with C_Initialize, so the flag is
/// not claimed, although a fork does no harm.
const FLAGS: CK_ULONG = 0;

/// The interfaces, the default first: the newest.
struct Interfaces([CK_INTERFACE; 3]);

// SAFETY: the pointers within lead to constants that live as long as the module, and nothing is written through them.
unsafe impl Sync for Interfaces {}

static INTERFACES: Interfaces = Interfaces([
    interface(ptr::from_ref(&LIST_3_2).cast()),
    interface(ptr::from_ref(&LIST_3_0).cast()),
    interface(ptr::from_ref(&LIST_2_40).cast()),
]);

/// The versions of the interfaces, in the same order.
const VERSIONS: [(u8, u8); 3] = [(3, 2), (3, 0), (2, 40)];

const fn interface(list: *const c_void) -> CK_INTERFACE {
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut().cast(),
        pFunctionList: list.cast_mut(),
        flags: FLAGS,
    }
}

/// C_GetFunctionList: always 2.40, since several callers refuse a list that says more.
pub(super) fn function_list(place: Alleged<*mut CK_FUNCTION_LIST>) -> Result<(), Rv> {
    place.required()?.put(ptr::from_ref(&LIST_2_40).cast_mut());
    Ok(())
}

/// Those that are offered. SoftHSM 2.6 is a module of version 2.40, and who loads one in its place must not begin to speak 3.x.
fn offered() -> impl Iterator<Item = (&'static CK_INTERFACE, (u8, u8))> {
    let old = Guise::is_worn();
    let all = INTERFACES.0.iter().zip(VERSIONS);
    all.filter(move |(_, version)| !old || *version == (2, 40))
}

/// C_GetInterfaceList.
pub(super) fn list(interfaces: Alleged<CK_INTERFACE>, count: Alleged<CK_ULONG>) -> Result<(), Rv> {
    let offered: Vec<_> = offered().map(|(interface, _)| *interface).collect();
    Array::new(interfaces, count)?.deliver(offered.into_iter())
}

/// C_GetInterface. No name means the default, no version the newest of a name. The standard has no value of its own for an
/// interface that does not exist; CKR_ARGUMENTS_BAD is what other modules say.
pub(super) fn find(
    name: Alleged<u8>,
    version: Alleged<CK_VERSION>,
    place: Alleged<*mut CK_INTERFACE>,
    flags: CK_ULONG,
) -> Result<(), Rv> {
    let place = place.required()?;
    if flags & !FLAGS != 0 || !(name.is_null() || is_our_name(name)?) {
        return Err(Rv::ARGUMENTS_BAD);
    }
    let wanted = if version.is_null() {
        None
    } else {
        Some(version.read()?)
    };
    let fits = |(major, minor): (u8, u8)| {
        wanted.is_none_or(|wanted| (wanted.major, wanted.minor) == (major, minor))
    };
    let found = offered()
        .find(|(_, version)| fits(*version))
        .ok_or(Rv::ARGUMENTS_BAD)?
        .0;
    place.put(ptr::from_ref(found).cast_mut());
    Ok(())
}

/// Compares byte by byte with the final zero, so that nothing is read behind the first difference.
fn is_our_name(name: Alleged<u8>) -> Result<bool, Rv> {
    for (index, expected) in NAME.to_bytes_with_nul().iter().enumerate() {
        if name.element(index).read()? != *expected {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
#[path = "../tests/interfaces.rs"]
mod tests;
