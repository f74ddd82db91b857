//! THE list of C functions.
//!
//! What lives here: one row per function of PKCS#11 3.2: name, arguments, since when, and which entry answers. The exported shells, the
//! three function lists and the table of names are made from the rows.
//! What must never live here: code beyond taking arguments in and writing results out; a second list of functions.
//! Who calls it: applications; `xtask` and the tests read [`FUNCTIONS`].
//!
//! A row begins with how the function is run: `free` before C_Initialize as well, `served` after it, `pending` after it with nothing
//! but CKR_FUNCTION_NOT_SUPPORTED, `legacy` after it with the answer the standard demands of parallel functions.

#![allow(non_snake_case, reason = "the names are those of the standard")]

use std::ffi::c_void;

use cryptoki_sys::{
    CK_ASYNC_DATA, CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FALSE, CK_FLAGS, CK_FUNCTION_LIST,
    CK_FUNCTION_LIST_3_0, CK_FUNCTION_LIST_3_2, CK_INFO, CK_INTERFACE, CK_MECHANISM,
    CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE,
    CK_SESSION_INFO, CK_SESSION_VALIDATION_FLAGS_TYPE, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO,
    CK_ULONG, CK_USER_TYPE, CK_UTF8CHAR, CK_VERSION,
};
use strongroom_wire::ck::{MechanismType, Rv, UserType};
use strongroom_wire::request::{Dual, ObjectHandle, SessionHandle, SlotId};

use super::caller::{Alleged, Argument, Array, In, Out, Place};
use super::params::Mechanism;
use super::template::{Template, Wanted};
use super::{arguments, guard, interfaces, layout};
use crate::entry::keys::{self, WrapOut};
use crate::entry::{cipher, digest, general, objects, random, sessions, sign, slots};
use crate::process::{self, Instance};

/// One function, for documentation and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The version of the standard that brought it.
    pub since: &'static str,
    /// What it does here.
    pub status: Status,
}

/// What a function does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// What the standard says.
    Served,
    /// It answers CKR_FUNCTION_NOT_SUPPORTED.
    Pending,
}

macro_rules! functions {
    ($make:ident) => { $make! { at;
"2.40" {
    free C_Initialize(arguments: *mut c_void) => {
        arguments::refuse_bad(arguments)?;
        process::initialise()
    };
    free C_Finalize(reserved: *mut c_void) => {
        arguments::refuse_reserved(reserved)?;
        process::finalise()
    };
    served C_GetInfo(info: *mut CK_INFO) => tell_information(at, info, VERSION_3_2);
    free C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) => interfaces::function_list(list);
    served C_GetSlotList(with_token: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) => {
        let array = Array::new(slots, count)?;
        let slots = slots::list(at, with_token != CK_FALSE)?;
        array.deliver(slots.iter().map(|slot| slot.0))
    };
    served C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) => {
        let place = info.required()?;
        tell(place, layout::slot(&slots::slot(at, SlotId(slot))?))
    };
    served C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) => {
        let place = info.required()?;
        tell(place, layout::token(&slots::token(at, SlotId(slot))?))
    };
    served C_GetMechanismList(slot: CK_SLOT_ID, mechanisms: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG) => {
        let array = Array::new(mechanisms, count)?;
        let mechanisms = slots::mechanisms(at, SlotId(slot))?;
        array.deliver(mechanisms.iter().map(|entry| entry.kind.0))
    };
    served C_GetMechanismInfo(slot: CK_SLOT_ID, kind: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO) => {
        let place = info.required()?;
        tell(place, layout::mechanism(&slots::mechanism(at, SlotId(slot), MechanismType(kind))?))
    };
    served C_InitToken(slot: CK_SLOT_ID, pin: *mut CK_UTF8CHAR, pin_bytes: CK_ULONG, label: *mut CK_UTF8CHAR) => {
        let label = arguments::label(label)?;
        slots::init_token(at, SlotId(slot), &pin_of(pin, pin_bytes)?, label)
    };
    served C_InitPIN(session: CK_SESSION_HANDLE, pin: *mut CK_UTF8CHAR, pin_bytes: CK_ULONG) =>
        slots::init_pin(at, SessionHandle(session), &pin_of(pin, pin_bytes)?);
    served C_SetPIN(session: CK_SESSION_HANDLE, old: *mut CK_UTF8CHAR, old_bytes: CK_ULONG,
        new: *mut CK_UTF8CHAR, new_bytes: CK_ULONG) =>
        slots::set_pin(at, SessionHandle(session), &pin_of(old, old_bytes)?, &pin_of(new, new_bytes)?);
    served C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify: CK_NOTIFY,
        session: *mut CK_SESSION_HANDLE) => {
        let place = session.required()?;
        tell(place, sessions::open(at, SlotId(slot), flags)?.0)
    };
    served C_CloseSession(session: CK_SESSION_HANDLE) => sessions::close(at, SessionHandle(session));
    served C_CloseAllSessions(slot: CK_SLOT_ID) => sessions::close_all(at, SlotId(slot));
    served C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) => {
        let place = info.required()?;
        tell(place, layout::session(&sessions::session(at, SessionHandle(session))?))
    };
    pending C_GetOperationState(session: CK_SESSION_HANDLE, state: *mut CK_BYTE, state_bytes: *mut CK_ULONG);
    pending C_SetOperationState(session: CK_SESSION_HANDLE, state: *mut CK_BYTE, state_bytes: CK_ULONG,
        encryption_key: CK_OBJECT_HANDLE, authentication_key: CK_OBJECT_HANDLE);
    served C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, pin_bytes: CK_ULONG) =>
        sessions::login(at, SessionHandle(session), UserType(user), &pin_of(pin, pin_bytes)?);
    served C_Logout(session: CK_SESSION_HANDLE) => sessions::logout(at, SessionHandle(session));
    served C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        object: *mut CK_OBJECT_HANDLE) => {
        let place = object.required()?;
        let template = Template::copy(template, count)?;
        tell(place, objects::create(at, SessionHandle(session), template.wire())?.0)
    };
    served C_CopyObject(session: CK_SESSION_HANDLE, source: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG, object: *mut CK_OBJECT_HANDLE) => {
        let place = object.required()?;
        let template = Template::copy(template, count)?;
        tell(place, objects::copy(at, SessionHandle(session), ObjectHandle(source), template.wire())?.0)
    };
    served C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) =>
        objects::destroy(at, SessionHandle(session), ObjectHandle(object));
    served C_GetObjectSize(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, size: *mut CK_ULONG) => {
        let place = size.required()?;
        tell(place, objects::size(at, SessionHandle(session), ObjectHandle(object))?)
    };
    served C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG) => {
        let wanted = Wanted::read(template, count)?;
        let (session, object) = (SessionHandle(session), ObjectHandle(object));
        objects::attribute_value(at, session, object, &wanted)
    };
    served C_SetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG) => {
        let template = Template::copy(template, count)?;
        objects::set_attribute_value(at, SessionHandle(session), ObjectHandle(object), template.wire())
    };
    served C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) =>
        objects::find_init(at, SessionHandle(session), Template::copy(template, count)?.wire());
    served C_FindObjects(session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, max: CK_ULONG,
        count: *mut CK_ULONG) => {
        let array = Array::with_room(objects, max, count)?;
        let found = objects::find(at, SessionHandle(session), max)?;
        array.deliver(found.iter().map(|object| object.0))
    };
    served C_FindObjectsFinal(session: CK_SESSION_HANDLE) => objects::find_final(at, SessionHandle(session));
    served C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        cipher::encrypt_init(at, SessionHandle(session), mechanism, ObjectHandle(key))
    };
    served C_Encrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::encrypt(at, SessionHandle(session), &data_beside(data, data_bytes, &out)?, out)
    };
    served C_EncryptUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::encrypt_update(at, SessionHandle(session), &data_beside(part, part_bytes, &out)?, out)
    };
    served C_EncryptFinal(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) =>
        cipher::encrypt_final(at, SessionHandle(session), Out::new(output, output_bytes)?);
    served C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        cipher::decrypt_init(at, SessionHandle(session), mechanism, ObjectHandle(key))
    };
    served C_Decrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::decrypt(at, SessionHandle(session), &encrypted_beside(data, data_bytes, &out)?, out)
    };
    served C_DecryptUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::decrypt_update(at, SessionHandle(session), &encrypted_beside(part, part_bytes, &out)?, out)
    };
    served C_DecryptFinal(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) =>
        cipher::decrypt_final(at, SessionHandle(session), Out::new(output, output_bytes)?);
    served C_DigestInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        digest::init(at, SessionHandle(session), mechanism.as_ref())
    };
    served C_Digest(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        digest::digest(at, SessionHandle(session), &data_beside(data, data_bytes, &out)?, out)
    };
    served C_DigestUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG) =>
        digest::update(at, SessionHandle(session), &data_of(part, part_bytes)?);
    served C_DigestKey(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) =>
        digest::key(at, SessionHandle(session), ObjectHandle(key));
    served C_DigestFinal(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) =>
        digest::finish(at, SessionHandle(session), Out::new(output, output_bytes)?);
    served C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        sign::sign_init(at, SessionHandle(session), mechanism, ObjectHandle(key))
    };
    served C_Sign(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_bytes: CK_ULONG,
        signature: *mut CK_BYTE, signature_bytes: *mut CK_ULONG) => {
        let out = Out::new(signature, signature_bytes)?;
        sign::sign(at, SessionHandle(session), &data_beside(data, data_bytes, &out)?, out)
    };
    served C_SignUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG) =>
        sign::sign_update(at, SessionHandle(session), &data_of(part, part_bytes)?);
    served C_SignFinal(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, signature_bytes: *mut CK_ULONG) =>
        sign::sign_final(at, SessionHandle(session), Out::new(signature, signature_bytes)?);
    served C_SignRecoverInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        let mechanism = mechanism.as_ref().map(Mechanism::wire);
        sign::sign_recover_init(at, SessionHandle(session), mechanism, ObjectHandle(key))
    };
    served C_SignRecover(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_bytes: CK_ULONG,
        signature: *mut CK_BYTE, signature_bytes: *mut CK_ULONG) => {
        let out = Out::new(signature, signature_bytes)?;
        sign::sign_recover(at, SessionHandle(session), &data_beside(data, data_bytes, &out)?, out)
    };
    served C_VerifyInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        sign::verify_init(at, SessionHandle(session), mechanism, ObjectHandle(key))
    };
    served C_Verify(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_bytes: CK_ULONG,
        signature: *mut CK_BYTE, signature_bytes: CK_ULONG) => {
        let (data, signature) = (data_of(data, data_bytes)?, signature_of(signature, signature_bytes)?);
        sign::verify(at, SessionHandle(session), &data, &signature)
    };
    served C_VerifyUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG) =>
        sign::verify_update(at, SessionHandle(session), &data_of(part, part_bytes)?);
    served C_VerifyFinal(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, signature_bytes: CK_ULONG) =>
        sign::verify_final(at, SessionHandle(session), &signature_of(signature, signature_bytes)?);
    served C_VerifyRecoverInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        let mechanism = mechanism.as_ref().map(Mechanism::wire);
        sign::verify_recover_init(at, SessionHandle(session), mechanism, ObjectHandle(key))
    };
    served C_VerifyRecover(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, signature_bytes: CK_ULONG,
        data: *mut CK_BYTE, data_bytes: *mut CK_ULONG) => {
        let out = Out::new(data, data_bytes)?;
        sign::verify_recover(at, SessionHandle(session), &signature_of(signature, signature_bytes)?, out)
    };
    served C_DigestEncryptUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::dual_update(at, SessionHandle(session), Dual::DigestEncrypt, &data_beside(part, part_bytes, &out)?, out)
    };
    served C_DecryptDigestUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::dual_update(at, SessionHandle(session), Dual::DecryptDigest, &data_beside(part, part_bytes, &out)?, out)
    };
    served C_SignEncryptUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::dual_update(at, SessionHandle(session), Dual::SignEncrypt, &data_beside(part, part_bytes, &out)?, out)
    };
    served C_DecryptVerifyUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let out = Out::new(output, output_bytes)?;
        cipher::dual_update(at, SessionHandle(session), Dual::DecryptVerify, &data_beside(part, part_bytes, &out)?, out)
    };
    served C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) => {
        let place = key.required()?;
        let (mechanism, template) = (Mechanism::copy(mechanism)?, Template::copy(template, count)?);
        tell(place, keys::generate(at, SessionHandle(session), mechanism.wire(), template.wire())?.0)
    };
    served C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM,
        public_template: *mut CK_ATTRIBUTE, public_count: CK_ULONG, private_template: *mut CK_ATTRIBUTE,
        private_count: CK_ULONG, public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE) => {
        let (public_place, private_place) = (public_key.required()?, private_key.required()?);
        let mechanism = Mechanism::copy(mechanism)?;
        let public = Template::copy(public_template, public_count)?;
        let private = Template::copy(private_template, private_count)?;
        let session = SessionHandle(session);
        let pair = keys::generate_pair(at, session, mechanism.wire(), public.wire(), private.wire())?;
        public_place.put(pair.0.0);
        tell(private_place, pair.1.0)
    };
    served C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, wrapping_key: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE, output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let wrapped = Out::new(output, output_bytes)?;
        let (mechanism, places) = Mechanism::copy_to_wrap(mechanism)?;
        let (by, key, out) = (ObjectHandle(wrapping_key), ObjectHandle(key), WrapOut { wrapped, places });
        keys::wrap(at, SessionHandle(session), mechanism.wire(), by, key, out)
    };
    served C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, unwrapping_key: CK_OBJECT_HANDLE,
        wrapped: *mut CK_BYTE, wrapped_bytes: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        key: *mut CK_OBJECT_HANDLE) => {
        let place = key.required()?;
        let (mechanism, template) = (Mechanism::copy(mechanism)?, Template::copy(template, count)?);
        let wrapped = In::copy(wrapped, wrapped_bytes, Rv::WRAPPED_KEY_LEN_RANGE)?;
        let (session, by) = (SessionHandle(session), ObjectHandle(unwrapping_key));
        tell(place, keys::unwrap(at, session, mechanism.wire(), by, &wrapped, template.wire())?.0)
    };
    served C_DeriveKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, base_key: CK_OBJECT_HANDLE,
        template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) => {
        // A mechanism may make keys of its own kind and none for this place; none of ours does.
        let place = key.required()?;
        let (mechanism, template) = (Mechanism::copy(mechanism)?, Template::copy(template, count)?);
        let (session, base) = (SessionHandle(session), ObjectHandle(base_key));
        tell(place, keys::derive(at, session, mechanism.wire(), base, template.wire())?.0)
    };
    served C_SeedRandom(session: CK_SESSION_HANDLE, seed: *mut CK_BYTE, seed_bytes: CK_ULONG) =>
        random::seed(at, SessionHandle(session), &In::copy(seed, seed_bytes, Rv::ARGUMENTS_BAD)?);
    served C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, random_bytes: CK_ULONG) => {
        let room = random.room(random_bytes)?;
        random::generate(at, SessionHandle(session), room.bytes(), |offset, piece| room.write(offset, piece))
    };
    legacy C_GetFunctionStatus(session: CK_SESSION_HANDLE);
    legacy C_CancelFunction(session: CK_SESSION_HANDLE);
    served C_WaitForSlotEvent(flags: CK_FLAGS, slot: *mut CK_SLOT_ID, reserved: *mut c_void) => {
        arguments::refuse_reserved(reserved)?;
        let place = slot.required()?;
        tell(place, general::wait_for_slot_event(at, flags)?.0)
    };
}
"3.0" {
    free C_GetInterfaceList(list: *mut CK_INTERFACE, count: *mut CK_ULONG) => interfaces::list(list, count);
    free C_GetInterface(name: *mut CK_UTF8CHAR, version: *mut CK_VERSION, interface: *mut *mut CK_INTERFACE,
        flags: CK_FLAGS) =>
        interfaces::find(name, version, interface, flags);
    served C_LoginUser(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, pin_bytes: CK_ULONG,
        username: *mut CK_UTF8CHAR, username_bytes: CK_ULONG) => {
        let pin = pin_of(pin, pin_bytes)?;
        let username = In::copy(username, username_bytes, Rv::ARGUMENTS_BAD)?;
        sessions::login_user(at, SessionHandle(session), UserType(user), &pin, &username)
    };
    served C_SessionCancel(session: CK_SESSION_HANDLE, flags: CK_FLAGS) =>
        sessions::cancel(at, SessionHandle(session), flags);
    pending C_MessageEncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    pending C_EncryptMessage(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        associated: *mut CK_BYTE, associated_bytes: CK_ULONG, plain: *mut CK_BYTE, plain_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG);
    pending C_EncryptMessageBegin(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        associated: *mut CK_BYTE, associated_bytes: CK_ULONG);
    pending C_EncryptMessageNext(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        part: *mut CK_BYTE, part_bytes: CK_ULONG, output: *mut CK_BYTE, output_bytes: *mut CK_ULONG, flags: CK_FLAGS);
    pending C_MessageEncryptFinal(session: CK_SESSION_HANDLE);
    pending C_MessageDecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    pending C_DecryptMessage(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        associated: *mut CK_BYTE, associated_bytes: CK_ULONG, encrypted: *mut CK_BYTE, encrypted_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG);
    pending C_DecryptMessageBegin(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        associated: *mut CK_BYTE, associated_bytes: CK_ULONG);
    pending C_DecryptMessageNext(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        part: *mut CK_BYTE, part_bytes: CK_ULONG, output: *mut CK_BYTE, output_bytes: *mut CK_ULONG, flags: CK_FLAGS);
    pending C_MessageDecryptFinal(session: CK_SESSION_HANDLE);
    pending C_MessageSignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    pending C_SignMessage(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        data: *mut CK_BYTE, data_bytes: CK_ULONG, signature: *mut CK_BYTE, signature_bytes: *mut CK_ULONG);
    pending C_SignMessageBegin(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG);
    pending C_SignMessageNext(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        data: *mut CK_BYTE, data_bytes: CK_ULONG, signature: *mut CK_BYTE, signature_bytes: *mut CK_ULONG);
    pending C_MessageSignFinal(session: CK_SESSION_HANDLE);
    pending C_MessageVerifyInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    pending C_VerifyMessage(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        data: *mut CK_BYTE, data_bytes: CK_ULONG, signature: *mut CK_BYTE, signature_bytes: CK_ULONG);
    pending C_VerifyMessageBegin(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG);
    pending C_VerifyMessageNext(session: CK_SESSION_HANDLE, parameter: *mut c_void, parameter_bytes: CK_ULONG,
        data: *mut CK_BYTE, data_bytes: CK_ULONG, signature: *mut CK_BYTE, signature_bytes: CK_ULONG);
    pending C_MessageVerifyFinal(session: CK_SESSION_HANDLE);
}
"3.2" {
    pending C_EncapsulateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public_key: CK_OBJECT_HANDLE,
        template: *mut CK_ATTRIBUTE, count: CK_ULONG, output: *mut CK_BYTE, output_bytes: *mut CK_ULONG,
        key: *mut CK_OBJECT_HANDLE);
    pending C_DecapsulateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, private_key: CK_OBJECT_HANDLE,
        template: *mut CK_ATTRIBUTE, count: CK_ULONG, encapsulated: *mut CK_BYTE, encapsulated_bytes: CK_ULONG,
        key: *mut CK_OBJECT_HANDLE);
    served C_VerifySignatureInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE,
        signature: *mut CK_BYTE, signature_bytes: CK_ULONG) => {
        let mechanism = Mechanism::copy_or_cancel(mechanism)?;
        let mechanism = mechanism.as_ref().map(Mechanism::wire);
        let signature = signature_of(signature, signature_bytes)?;
        sign::verify_signature_init(at, SessionHandle(session), mechanism, ObjectHandle(key), &signature)
    };
    served C_VerifySignature(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_bytes: CK_ULONG) =>
        sign::verify_signature(at, SessionHandle(session), &data_of(data, data_bytes)?);
    served C_VerifySignatureUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, part_bytes: CK_ULONG) =>
        sign::verify_signature_update(at, SessionHandle(session), &data_of(part, part_bytes)?);
    served C_VerifySignatureFinal(session: CK_SESSION_HANDLE) =>
        sign::verify_signature_final(at, SessionHandle(session));
    served C_GetSessionValidationFlags(session: CK_SESSION_HANDLE, kind: CK_SESSION_VALIDATION_FLAGS_TYPE,
        flags: *mut CK_FLAGS) => {
        let place = flags.required()?;
        tell(place, sessions::validation_flags(at, SessionHandle(session), kind)?)
    };
    pending C_AsyncComplete(session: CK_SESSION_HANDLE, function: *mut CK_UTF8CHAR, result: *mut CK_ASYNC_DATA);
    pending C_AsyncGetID(session: CK_SESSION_HANDLE, function: *mut CK_UTF8CHAR, id: *mut CK_ULONG);
    pending C_AsyncJoin(session: CK_SESSION_HANDLE, function: *mut CK_UTF8CHAR, id: CK_ULONG, data: *mut CK_BYTE,
        data_bytes: CK_ULONG);
    served C_WrapKeyAuthenticated(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM,
        wrapping_key: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, associated: *mut CK_BYTE, associated_bytes: CK_ULONG,
        output: *mut CK_BYTE, output_bytes: *mut CK_ULONG) => {
        let wrapped = Out::new(output, output_bytes)?;
        let (mechanism, places) = Mechanism::copy_to_wrap_authenticated(mechanism)?;
        let associated = In::copy(associated, associated_bytes, Rv::ARGUMENTS_BAD)?;
        let (by, key, out) = (ObjectHandle(wrapping_key), ObjectHandle(key), WrapOut { wrapped, places });
        keys::wrap_authenticated(at, SessionHandle(session), mechanism.wire(), by, key, &associated, out)
    };
    served C_UnwrapKeyAuthenticated(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM,
        unwrapping_key: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, wrapped_bytes: CK_ULONG, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG, associated: *mut CK_BYTE, associated_bytes: CK_ULONG, key: *mut CK_OBJECT_HANDLE) => {
        let place = key.required()?;
        let (mechanism, tag) = Mechanism::copy_to_unwrap_authenticated(mechanism)?;
        let template = Template::copy(template, count)?;
        let wrapped = In::copy_and(wrapped, wrapped_bytes, Rv::WRAPPED_KEY_LEN_RANGE, &tag)?;
        let associated = In::copy(associated, associated_bytes, Rv::ARGUMENTS_BAD)?;
        let (session, by, template) = (SessionHandle(session), ObjectHandle(unwrapping_key), template.wire());
        tell(place, keys::unwrap_authenticated(at, session, mechanism.wire(), by, &wrapped, template, &associated)?.0)
    };
}
    } };
}

/// Makes the exported shell of each row.
macro_rules! shells {
    ($at:ident; $($since:literal { $($kind:ident $name:ident($($argument:ident: $type:ty),* $(,)?) $(=> $body:expr)?;)* })*) => {$($(
        #[doc = concat!("`", stringify!($name), "` of PKCS#11 ", $since, ".")]
        ///
        /// # Safety
        /// Each pointer is NULL or leads to memory of the length that the standard demands, until the function returns.
        #[unsafe(no_mangle)]
        #[allow(unused_variables, reason = "not every row uses every argument of its prototype")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            $(
                // SAFETY: the caller of a C function of the standard promises what `Alleged::new` asks (PKCS#11 3.2, 5.1).
                let $argument = unsafe { Argument::take($argument) };
            )*
            shell!($kind $at $($body)?)
        }
    )*)*};
}

/// How a row is run.
macro_rules! shell {
    (free $at:ident $body:expr) => {
        guard::free(|| $body)
    };
    (served $at:ident $body:expr) => {
        guard::served(|$at: &Instance| $body)
    };
    (pending $at:ident) => {
        guard::served(|_| Err(Rv::FUNCTION_NOT_SUPPORTED))
    };
    (legacy $at:ident) => {
        guard::served(|_| Err(Rv::FUNCTION_NOT_PARALLEL))
    };
}

/// Makes the table of names.
macro_rules! table {
    ($at:ident; $($since:literal { $($kind:ident $name:ident($($arguments:tt)*) $(=> $body:expr)?;)* })*) => {
        /// Every function, in the order of the function lists.
        pub const FUNCTIONS: &[Function] = &[$($(
            Function { name: stringify!($name), since: $since, status: status!($kind) },
        )*)*];
    };
}

macro_rules! status {
    (pending) => {
        Status::Pending
    };
    ($other:ident) => {
        Status::Served
    };
}

/// Makes the three function lists.
macro_rules! lists {
    ($at:ident;
     "2.40" { $($kind_a:ident $a:ident($($arguments_a:tt)*) $(=> $body_a:expr)?;)* }
     "3.0" { $($kind_b:ident $b:ident($($arguments_b:tt)*) $(=> $body_b:expr)?;)* }
     "3.2" { $($kind_c:ident $c:ident($($arguments_c:tt)*) $(=> $body_c:expr)?;)* }) => {
        /// The list of C_GetFunctionList. Its C_GetInfo says 2.40 as well.
        pub(super) static LIST_2_40: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            C_GetInfo: Some(information_2_40),
            ..CK_FUNCTION_LIST { version: VERSION_2_40, $($a: Some($a),)* }
        };
        /// The list of the interface 3.0.
        pub(super) static LIST_3_0: CK_FUNCTION_LIST_3_0 =
            CK_FUNCTION_LIST_3_0 { version: VERSION_3_0, $($a: Some($a),)* $($b: Some($b),)* };
        /// The list of the interface 3.2.
        pub(super) static LIST_3_2: CK_FUNCTION_LIST_3_2 = CK_FUNCTION_LIST_3_2 {
            version: VERSION_3_2, $($a: Some($a),)* $($b: Some($b),)* $($c: Some($c),)*
        };
    };
}

functions!(shells);
functions!(table);
functions!(lists);

const VERSION_2_40: CK_VERSION = CK_VERSION {
    major: 2,
    minor: 40,
};
const VERSION_3_0: CK_VERSION = CK_VERSION { major: 3, minor: 0 };
const VERSION_3_2: CK_VERSION = CK_VERSION { major: 3, minor: 2 };

/// C_GetInfo of the 2.40 list: callers compare its version with that of the list they use, and refuse a difference.
unsafe extern "C" fn information_2_40(info: *mut CK_INFO) -> CK_RV {
    // SAFETY: as in the shells.
    let info = unsafe { Argument::take(info) };
    guard::served(|at| tell_information(at, info, VERSION_2_40))
}

fn tell_information(at: &Instance, info: Alleged<CK_INFO>, version: CK_VERSION) -> Result<(), Rv> {
    let version = match at.guise() {
        Some(_) => VERSION_2_40,
        None => version,
    };
    tell(
        info.required()?,
        layout::info(&general::information(at), version),
    )
}

/// Writes the result, and with it CKR_OK. The place comes first: it is judged before the token does anything.
#[allow(clippy::unnecessary_wraps, reason = "the last line of a row")]
fn tell<T: Copy>(place: Place<T>, value: T) -> Result<(), Rv> {
    place.put(value);
    Ok(())
}

fn data_of(data: Alleged<u8>, length: CK_ULONG) -> Result<In, Rv> {
    In::there(data, length, Rv::DATA_LEN_RANGE)
}

fn data_beside(data: Alleged<u8>, length: CK_ULONG, out: &Out) -> Result<In, Rv> {
    In::beside(data, length, Rv::DATA_LEN_RANGE, out)
}

fn encrypted_beside(data: Alleged<u8>, length: CK_ULONG, out: &Out) -> Result<In, Rv> {
    In::beside(data, length, Rv::ENCRYPTED_DATA_LEN_RANGE, out)
}

fn signature_of(signature: Alleged<u8>, length: CK_ULONG) -> Result<In, Rv> {
    In::copy(signature, length, Rv::SIGNATURE_LEN_RANGE)
}

fn pin_of(pin: Alleged<u8>, length: CK_ULONG) -> Result<In, Rv> {
    In::copy(pin, length, Rv::PIN_LEN_RANGE)
}

#[cfg(test)]
#[path = "../tests/functions.rs"]
mod tests;
