//! Keys and certificates in files: `strongroom import pem`, `pkcs12` and `jwk`.
//!
//! What lives here: the formats, one module each, from the smallest to those made of others.
//! What must never live here: the daemon; what is read here becomes objects in clear, and nothing else.
//! Who calls it: the doors for files, and the door for modules, whose wrapped keys have the same forms.

pub mod ber;
pub mod certificate;
pub mod error;
pub mod jwk;
pub mod key;
pub mod material;
pub mod open;
pub mod password;
pub mod pem;
pub mod pkcs12;
