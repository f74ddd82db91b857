//! Mechanisms: what each number stands for.
//!
//! What lives here: [`table`], one row for each mechanism, [`choice`], which of them may be used, and [`params`], which turns an alleged parameter into a scheme's own.
//! What must never live here: the primitives (crypto), or who may use them (policy).
//! Who calls it: policy, the chapters of operations and keys.

pub mod choice;
pub mod params;
pub mod table;

pub use choice::Mechanisms;
pub use table::{
    CipherScheme, DeriveScheme, GenerateScheme, Row, Scheme, SignScheme, Use, WrapScheme, row, rows,
};
