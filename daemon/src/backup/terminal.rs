//! The terminal of a person who restores.
//!
//! What lives here: asking without showing what is typed.
//! What must never live here: what is asked for.
//! Who calls it: whoever needs a passphrase or a share.

use std::fs::File;
use std::io::{self, Write};

use strongroom_keymem::SecretVec;

/// The terminal, where somebody sits at it.
pub(super) struct Terminal(File);

impl Terminal {
    /// None when standard input is no terminal.
    pub(super) fn open() -> Option<Self> {
        None
    }

    /// What is typed up to Enter; none when it was given up.
    pub(super) fn ask(&mut self, prompt: &str) -> io::Result<Option<SecretVec>> {
        self.tell(prompt)?;
        Ok(None)
    }

    /// Shows a text.
    pub(super) fn tell(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }
}
