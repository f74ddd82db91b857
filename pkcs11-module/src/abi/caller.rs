//! What a stranger alleges: pointers, lengths, buffers.
//!
//! What lives here: the one door between the caller's memory and the module: `Alleged`, `In`, `Out`, `Array`, and the output rule.
//! What must never live here: a pointer that is kept after the call, or one read before its length is bounded.
//! Who calls it: the table of functions; `template.rs` and `params.rs` for what lies behind further pointers.

use cryptoki_sys::{CK_BYTE, CK_NOTIFY, CK_ULONG};
use strongroom_wire::ck::Rv;
use strongroom_wire::frame::DATA_BYTES_MAX;
use strongroom_wire::request::Output;
use strongroom_wire::secret::Secret;

use crate::buffer::{NoMemory, WipedBuffer};

// The attributes of the protocol carry numbers of 8 bytes.
const _: () = assert!(
    size_of::<CK_ULONG>() == 8,
    "the module is for 64-bit systems"
);

impl From<NoMemory> for Rv {
    fn from(NoMemory: NoMemory) -> Self {
        Self::HOST_MEMORY
    }
}

/// An argument of a C function, taken into the module.
pub(crate) trait Argument {
    /// What the module makes of it.
    type Taken;

    /// Takes it.
    ///
    /// # Safety
    /// A pointer must fulfil what [`Alleged::new`] asks.
    unsafe fn take(self) -> Self::Taken;
}

impl Argument for CK_ULONG {
    type Taken = Self;
    unsafe fn take(self) -> Self {
        self
    }
}

impl Argument for CK_BYTE {
    type Taken = Self;
    unsafe fn take(self) -> Self {
        self
    }
}

/// The callback of C_OpenSession. Tokens need not call it (PKCS#11 3.2, 5.6.1), and this one never does.
impl Argument for CK_NOTIFY {
    type Taken = ();
    unsafe fn take(self) {}
}

impl<T> Argument for *mut T {
    type Taken = Alleged<T>;
    unsafe fn take(self) -> Alleged<T> {
        // SAFETY: passed on to the caller.
        unsafe { Alleged::new(self) }
    }
}

/// A pointer that a caller handed in. It may be NULL and need not be aligned. Holding one proves nothing but that the caller of the
/// C function promised memory behind it for the length of this call (PKCS#11 3.2, 5.1).
pub(crate) struct Alleged<T>(*mut T);

// By hand: a pointer is copied whatever it leads to.
impl<T> Clone for Alleged<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Alleged<T> {}

impl<T> Alleged<T> {
    /// Takes a pointer in.
    ///
    /// # Safety
    /// Until the C function returns, the pointer is NULL, or there is memory behind it for as many `T` as the module reads or
    /// writes, which nobody changes meanwhile, which is what the arguments or fields beside it say. Every pattern of bytes is a value of `T`. The same holds for
    /// the pointers within a `T`.
    pub(crate) const unsafe fn new(pointer: *mut T) -> Self {
        Self(pointer)
    }

    /// Whether it is NULL.
    pub(crate) const fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The same pointer to something else, for arguments that the standard leaves untyped.
    ///
    /// # Safety
    /// What [`Alleged::new`] asks must hold for the new type.
    pub(crate) const unsafe fn cast<U>(self) -> Alleged<U> {
        Alleged(self.0.cast())
    }
}

#[cfg(test)]
impl<T> Alleged<T> {
    /// Memory of a test's own, as long as it is told.
    pub(crate) const fn of_cells(cells: &'static [std::cell::Cell<T>]) -> Self {
        Self(cells.as_ptr().cast_mut().cast())
    }

    /// NULL.
    pub(crate) const fn null() -> Self {
        Self(std::ptr::null_mut())
    }
}

impl<T: Copy> Alleged<T> {
    /// Reads one value; NULL is `CKR_ARGUMENTS_BAD`.
    pub(crate) fn read(self) -> Result<T, Rv> {
        if self.is_null() {
            return Err(Rv::ARGUMENTS_BAD);
        }
        // SAFETY: not NULL, so `new` promises memory behind it and that its bytes are a value; no alignment is assumed.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The place of a later value of the same array.
    pub(crate) const fn element(self, index: usize) -> Self {
        if self.is_null() {
            self
        } else {
            Self(self.0.wrapping_add(index))
        }
    }

    /// A place that must be there, for what the function makes.
    pub(crate) fn required(self) -> Result<Place<T>, Rv> {
        if self.is_null() {
            Err(Rv::ARGUMENTS_BAD)
        } else {
            Ok(Place(self))
        }
    }

    /// Bytes to copy out of it: NULL with a length, or a length no object has, is `CKR_ARGUMENTS_BAD`.
    fn refuse_hostile(self, length: CK_ULONG) -> Result<usize, Rv> {
        let bytes = isize::try_from(length)
            .map_err(|_| Rv::ARGUMENTS_BAD)?
            .unsigned_abs();
        if self.is_null() && bytes > 0 {
            Err(Rv::ARGUMENTS_BAD)
        } else {
            Ok(bytes)
        }
    }
}

impl Alleged<u8> {
    /// Copies bytes out of it; more than `bytes_max` are refused with `over` before any is read.
    pub(crate) fn copy(
        self,
        length: CK_ULONG,
        bytes_max: usize,
        over: Rv,
    ) -> Result<WipedBuffer, Rv> {
        let bytes = self.refuse_hostile(length)?;
        if bytes > bytes_max {
            return Err(over);
        }
        let mut copy = WipedBuffer::zeroed(bytes)?;
        if bytes > 0 {
            let target = copy.bytes_mut().as_mut_ptr();
            // SAFETY: the source is not NULL, so `new` promises memory of the length told beside it; the target has that length
            // and is memory of our own, so the two do not overlap.
            unsafe { target.copy_from_nonoverlapping(self.0, bytes) };
        }
        Ok(copy)
    }

    /// Copies bytes into `room` and tells how many, if they fit it.
    pub(crate) fn copy_short(self, length: CK_ULONG, room: &mut [u8]) -> Result<Option<usize>, Rv> {
        let bytes = self.refuse_hostile(length)?;
        if bytes > room.len() {
            return Ok(None);
        }
        if bytes > 0 {
            // SAFETY: the source is not NULL, so `new` promises memory of the length told beside it; the room is as long, and memory of our
            // own, so the two do not overlap.
            unsafe { room.as_mut_ptr().copy_from_nonoverlapping(self.0, bytes) };
        }
        Ok(Some(bytes))
    }

    /// A buffer whose length is an argument, to be filled whole.
    pub(crate) fn room(self, length: CK_ULONG) -> Result<Room, Rv> {
        Ok(Room {
            start: self,
            bytes: self.refuse_hostile(length)?,
        })
    }

    /// Writes bytes to it. Nothing is written to NULL.
    pub(crate) fn fill(self, bytes: &[u8]) {
        if !self.is_null() {
            // SAFETY: not NULL, so `new` promises memory; the callers of this function compare the length first. The bytes are
            // the module's own, so the two do not overlap.
            unsafe { self.0.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
    }
}

/// A pointer that is not NULL, to write one value to.
#[derive(Clone, Copy)]
pub(crate) struct Place<T>(Alleged<T>);

impl<T: Copy> Place<T> {
    /// Writes the value.
    pub(crate) fn put(self, value: T) {
        // SAFETY: not NULL, as `required` saw to, so `Alleged::new` promises memory; no alignment is assumed.
        unsafe { self.0.0.write_unaligned(value) };
    }
}

/// A buffer to be filled whole, piece by piece.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    start: Alleged<u8>,
    bytes: usize,
}

impl Room {
    /// Its length.
    pub(crate) const fn bytes(self) -> usize {
        self.bytes
    }

    /// Writes a piece. One that does not fit is left out.
    pub(crate) fn write(self, offset: usize, piece: &[u8]) {
        if offset
            .checked_add(piece.len())
            .is_some_and(|end| end <= self.bytes)
        {
            self.start.element(offset).fill(piece);
        }
    }
}

/// Bytes that the caller passed in.
pub(crate) struct In(Held);

enum Held {
    /// Copied, and wiped after use.
    Copied(WipedBuffer),
    /// Where the caller has them: copied once, on their way to the daemon, which judges its own copy.
    There(Alleged<u8>, usize),
}

impl In {
    /// Bytes of a test's own.
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let mut copy = WipedBuffer::new();
        copy.extend(bytes).unwrap();
        Self(Held::Copied(copy))
    }

    /// Copies the bytes; more than one request carries are refused with `over`.
    pub(crate) fn copy(bytes: Alleged<u8>, length: CK_ULONG, over: Rv) -> Result<Self, Rv> {
        let copy = bytes.copy(length, DATA_BYTES_MAX, over)?;
        Ok(Self(Held::Copied(copy)))
    }

    /// Copies the bytes, and others behind them.
    pub(crate) fn copy_and(
        bytes: Alleged<u8>,
        length: CK_ULONG,
        over: Rv,
        tail: &[u8],
    ) -> Result<Self, Rv> {
        let mut copy = bytes.copy(length, DATA_BYTES_MAX, over)?;
        copy.extend(tail)?;
        Ok(Self(Held::Copied(copy)))
    }

    /// Takes the bytes where they are, for a function with this output; copies them where both share memory, which the standard allows
    /// (PKCS#11 3.2, 5.8: plaintext and ciphertext can be in the same place).
    pub(crate) fn beside(
        bytes: Alleged<u8>,
        length: CK_ULONG,
        over: Rv,
        out: &Out,
    ) -> Result<Self, Rv> {
        if out.shares(bytes, length) {
            Self::copy(bytes, length, over)
        } else {
            Self::there(bytes, length, over)
        }
    }

    /// Takes the bytes where they are, for a function without an output.
    pub(crate) fn there(bytes: Alleged<u8>, length: CK_ULONG, over: Rv) -> Result<Self, Rv> {
        let length = bytes.refuse_hostile(length)?;
        if length > DATA_BYTES_MAX {
            return Err(over);
        }
        Ok(Self(Held::There(bytes, length)))
    }

    /// The bytes, for a field that may be secret.
    pub(crate) fn secret(&self) -> Secret<'_> {
        Secret::new(self.public())
    }

    /// The bytes, for a field that is public: signatures, wrapped keys, user names.
    pub(crate) fn public(&self) -> &[u8] {
        match &self.0 {
            Held::Copied(copy) => copy.bytes(),
            Held::There(_, 0) => &[],
            // SAFETY: not NULL where there are bytes, so `Alleged::new` promises memory of that length, which the caller leaves alone until
            // the function returns; the module writes to none that it shares with an output, as `beside` sees to.
            Held::There(start, length) => unsafe { std::slice::from_raw_parts(start.0, *length) },
        }
    }
}

/// The buffer and the length of an output of variable length.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    buffer: Alleged<u8>,
    length: Place<CK_ULONG>,
    capacity: CK_ULONG,
}

impl Out {
    /// Takes both in; the length must be there.
    pub(crate) fn new(buffer: Alleged<u8>, length: Alleged<CK_ULONG>) -> Result<Self, Rv> {
        // The length is not read when only the size is asked: callers leave it uninitialised.
        let place = length.required()?;
        let capacity = if buffer.is_null() { 0 } else { length.read()? };
        Ok(Self {
            buffer,
            length: place,
            capacity,
        })
    }

    /// Whether it has memory in common with these bytes.
    fn shares(&self, bytes: Alleged<u8>, length: CK_ULONG) -> bool {
        let span = |start: *mut u8, length: CK_ULONG| {
            let from = u64::try_from(start.addr()).unwrap_or(u64::MAX);
            from..from.saturating_add(length)
        };
        let (one, other) = (span(self.buffer.0, self.capacity), span(bytes.0, length));
        !self.buffer.is_null() && one.start < other.end && other.start < one.end
    }

    /// The part of it behind so many bytes.
    pub(crate) fn behind(self, bytes: u64) -> Self {
        let skipped = usize::try_from(bytes.min(self.capacity)).unwrap_or(0);
        Self {
            buffer: self.buffer.element(skipped),
            capacity: self.capacity.saturating_sub(bytes),
            ..self
        }
    }

    /// Tells the length of an output that was delivered in parts.
    pub(crate) fn told(self, length: u64) {
        self.length.put(length);
    }

    /// What the token is asked for.
    pub(crate) const fn wanted(&self) -> Output {
        if self.buffer.is_null() {
            Output::Size
        } else {
            Output::Capacity(self.capacity)
        }
    }

    /// The one output rule. PKCS#11 3.2, 5.2: the length is written whenever it is told, also when the buffer is too small.
    pub(crate) fn deliver(self, rv: Rv, length: u64, data: &[u8]) -> Result<(), Rv> {
        if rv != Rv::OK && rv != Rv::BUFFER_TOO_SMALL {
            return Err(rv);
        }
        if rv == Rv::OK && !self.buffer.is_null() {
            // A daemon that sends more than was asked for, or less than it says, is not believed.
            let sent = u64::try_from(data.len()).map_err(|_| Rv::DEVICE_ERROR)?;
            if sent != length || sent > self.capacity {
                return Err(Rv::DEVICE_ERROR);
            }
            self.buffer.fill(data);
        }
        self.length.put(length);
        if rv == Rv::OK { Ok(()) } else { Err(rv) }
    }
}

/// The buffer and the count of a list that the module knows whole (PKCS#11 3.2, 5.5: C_GetSlotList and its kin).
#[derive(Clone, Copy)]
pub(crate) struct Array<T> {
    items: Alleged<T>,
    count: Place<CK_ULONG>,
    capacity: CK_ULONG,
}

impl<T: Copy> Array<T> {
    /// Takes both in; the count must be there.
    pub(crate) fn new(items: Alleged<T>, count: Alleged<CK_ULONG>) -> Result<Self, Rv> {
        let place = count.required()?;
        let capacity = if items.is_null() { 0 } else { count.read()? };
        Ok(Self {
            items,
            count: place,
            capacity,
        })
    }

    /// As [`Array::new`], with the room told by an argument (C_FindObjects).
    pub(crate) fn with_room(
        items: Alleged<T>,
        capacity: CK_ULONG,
        count: Alleged<CK_ULONG>,
    ) -> Result<Self, Rv> {
        if items.is_null() && capacity > 0 {
            return Err(Rv::ARGUMENTS_BAD);
        }
        Ok(Self {
            items,
            count: count.required()?,
            capacity,
        })
    }

    /// Writes the count always, and the items if they fit or none if only the count is asked.
    pub(crate) fn deliver(self, items: impl ExactSizeIterator<Item = T>) -> Result<(), Rv> {
        let count = CK_ULONG::try_from(items.len()).map_err(|_| Rv::DEVICE_ERROR)?;
        self.count.put(count);
        if self.items.is_null() {
            return Ok(());
        }
        if count > self.capacity {
            return Err(Rv::BUFFER_TOO_SMALL);
        }
        for (index, item) in items.enumerate() {
            self.items.element(index).required()?.put(item);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "../tests/caller.rs"]
mod tests;
