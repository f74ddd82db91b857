//! Frames: how one message stands on a stream socket.
//!
//! What lives here: the header of 12 bytes and its limits.
//! What must never live here: what the payload means, and any reading or writing of sockets.
//! Who calls it: both ends of both sockets.

use core::fmt;

/// The first four bytes of every frame of the application socket.
pub const MAGIC_APPLICATION: [u8; 4] = *b"SRap";
/// The first four bytes of every frame of the administration socket.
pub const MAGIC_ADMIN: [u8; 4] = *b"SRad";
/// The version of the protocol that this crate speaks; both ends must speak the same.
pub const VERSION: u16 = 2;
/// Length of a header in bytes: magic 4, version 2, reserved 2 (zero), payload length 4; little-endian.
pub const HEADER_BYTES: usize = 12;
/// Longest payload in bytes. One-shot operations on more data than this are refused by the module with `CKR_DATA_LEN_RANGE`.
pub const PAYLOAD_BYTES_MAX: usize = 72 << 20;
/// Longest run of data in one request or answer, in bytes: the payload less room for everything beside it.
pub const DATA_BYTES_MAX: usize = 64 << 20;

/// Which of the two sockets a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The socket for PKCS#11 applications.
    Application,
    /// The socket for administration.
    Admin,
}

impl Door {
    const fn magic(self) -> [u8; 4] {
        match self {
            Self::Application => MAGIC_APPLICATION,
            Self::Admin => MAGIC_ADMIN,
        }
    }
}

/// Why a header was refused. The connection is closed: after a bad header nothing that follows can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The first bytes are not ours: somebody speaks another protocol, or the wrong socket.
    Magic,
    /// The other end speaks this version.
    Version(u16),
    /// A reserved field is not zero.
    Reserved,
    /// The payload would have this many bytes.
    TooLong(u32),
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(
                out,
                "this is not the Strongroom protocol, or the wrong socket"
            ),
            Self::Version(version) => write!(
                out,
                "the other end speaks version {version} of the protocol, this one speaks {VERSION}; install both from the same release"
            ),
            Self::Reserved => write!(out, "a reserved field of the header is not zero"),
            Self::TooLong(length) => {
                write!(
                    out,
                    "a payload of {length} bytes is over the limit of {PAYLOAD_BYTES_MAX}"
                )
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// The header of a payload of `payload_bytes`.
///
/// # Errors
/// [`FrameError::TooLong`] when the payload is over [`PAYLOAD_BYTES_MAX`].
pub fn header(door: Door, payload_bytes: usize) -> Result<[u8; HEADER_BYTES], FrameError> {
    let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let mut bytes = [0; HEADER_BYTES];
    let (magic, rest) = bytes.split_at_mut(4);
    magic.copy_from_slice(&door.magic());
    let (version, rest) = rest.split_at_mut(2);
    version.copy_from_slice(&VERSION.to_le_bytes());
    let (_reserved, length_field) = rest.split_at_mut(2);
    length_field.copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Parses a header and tells the length of the payload that follows, in bytes.
///
/// # Errors
/// Every [`FrameError`]; the connection must then be closed.
pub fn parse_header(door: Door, bytes: [u8; HEADER_BYTES]) -> Result<usize, FrameError> {
    let [m0, m1, m2, m3, v0, v1, r0, r1, l0, l1, l2, l3] = bytes;
    if [m0, m1, m2, m3] != door.magic() {
        return Err(FrameError::Magic);
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    if [r0, r1] != [0, 0] {
        return Err(FrameError::Reserved);
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    match usize::try_from(length) {
        Ok(payload_bytes) if payload_bytes <= PAYLOAD_BYTES_MAX => Ok(payload_bytes),
        _ => Err(FrameError::TooLong(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_went() {
        for length in [0, 1, 4096, PAYLOAD_BYTES_MAX] {
            let bytes = header(Door::Application, length).unwrap();
            assert_eq!(parse_header(Door::Application, bytes), Ok(length));
            assert_eq!(parse_header(Door::Admin, bytes), Err(FrameError::Magic));
        }
    }

    #[test]
    fn lies_are_refused() {
        assert!(header(Door::Admin, PAYLOAD_BYTES_MAX + 1).is_err());
        let good = header(Door::Admin, 7).unwrap();
        let mut version = good;
        version[4] = 9;
        assert_eq!(
            parse_header(Door::Admin, version),
            Err(FrameError::Version(9))
        );
        let mut reserved = good;
        reserved[7] = 1;
        assert_eq!(
            parse_header(Door::Admin, reserved),
            Err(FrameError::Reserved)
        );
        let mut length = good;
        length[8..].fill(0xff);
        assert_eq!(
            parse_header(Door::Admin, length),
            Err(FrameError::TooLong(u32::MAX))
        );
    }
}
