//! Bringing objects in from elsewhere, all or nothing.
//!
//! What lives here: where objects go, and what is said of each.
//! What must never live here: what may be taken; the token judges that.
//! Who calls it: importers write these through administration, the daemon answers them.

use serde::{Deserialize, Serialize};

use crate::ck::Rv;
use crate::secret::Secret;

/// Most objects of one request.
pub const IMPORT_OBJECTS_MAX: usize = 256;
/// Longest name of a source in bytes.
pub const IMPORT_SOURCE_BYTES_MAX: usize = 256;

/// Where objects go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Destination<'a> {
    /// A token that is made for them, with its PINs, in the same commit.
    NewToken {
        /// At most 32 bytes of UTF-8.
        #[serde(borrow)]
        label: &'a str,
        /// At most 16 bytes of printable ASCII, without a space at either end; without one the token gets a random one.
        serial_number: Option<&'a str>,
        /// PIN of the security officer.
        so_pin: Secret<'a>,
        /// PIN of the user.
        user_pin: Option<Secret<'a>>,
    },
    /// A token that is there.
    Token {
        /// Label or serial number; must name exactly one token.
        token: &'a str,
        /// PIN of its user.
        user_pin: Secret<'a>,
    },
}

/// What is said of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Why it is not taken: what `C_CreateObject` would have given, and why in words, with the name of the attribute. It is left out; the others
    /// can be committed.
    pub refused: Option<(Rv, String)>,
    /// One sentence for each attribute that is not taken as it stood.
    pub changed: Vec<String>,
}
