//! PINs: from the command line, or asked for twice.
//!
//! What lives here: the question, with a star for each character.
//! What must never live here: a PIN that outlives its use.
//! Who calls it: the actions that need a PIN.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;

use cryptoki::types::AuthPin;
use strongroom_cli::system::SilentTerminal;
use zeroize::Zeroizing;

use crate::{Refused, complain, print};

/// Whose PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    SecurityOfficer,
    User,
}

/// A PIN of a length that is allowed: the given one, or one that is asked for.
pub(crate) fn pin(
    given: Option<&Zeroizing<String>>,
    whose: Whose,
) -> Result<Zeroizing<String>, Refused> {
    if let Some(pin) = given
        && fits(pin)
    {
        return Ok(pin.clone());
    }
    let (heading, name, failed) = match whose {
        Whose::SecurityOfficer => ("SO PIN", "SO PIN", "Could not get SO PIN"),
        Whose::User => ("User PIN", "user PIN", "Could not get user PIN"),
    };
    loop {
        print(&format!(
            "=== {heading} ({PIN_BYTES_MIN}-{PIN_BYTES_MAX} characters) ===\n"
        ));
        let ask = |verb: &str| {
            asked(&format!("Please {verb} {name}: ")).map_err(|_| Refused::error(failed))
        };
        let first = ask("enter")?;
        if !fits(&first) {
            complain(&["ERROR: The length of the PIN is out of range.".into()]);
            continue;
        }
        if *first == *ask("reenter")? {
            return Ok(first);
        }
        complain(&["ERROR: The entered PINs are not equal.".into()]);
    }
}

/// For the module.
pub(crate) fn auth_pin(pin: &Zeroizing<String>) -> AuthPin {
    AuthPin::from(pin.as_str().to_owned())
}

fn fits(pin: &str) -> bool {
    (PIN_BYTES_MIN..=PIN_BYTES_MAX).contains(&pin.len())
}

/// One line of the terminal at standard input.
fn asked(prompt: &str) -> io::Result<Zeroizing<String>> {
    print(prompt);
    let mut terminal = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut typed = Zeroizing::new(Vec::with_capacity(PIN_BYTES_MAX + 1));
    {
        let input = terminal.try_clone()?;
        let _silent = SilentTerminal::new(&input)?;
        let mut byte = Zeroizing::new([0_u8]);
        while terminal.read(&mut *byte)? == 1 && *byte != *b"\n" {
            if byte[0] == CONTROL_C {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if typed.len() < PIN_BYTES_MAX {
                typed.push(byte[0]);
                print("*");
                io::stdout().flush()?;
            }
        }
    }
    print("\n");
    String::from_utf8(typed.to_vec())
        .map(Zeroizing::new)
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

const PIN_BYTES_MIN: usize = 4;
const PIN_BYTES_MAX: usize = 255;
const CONTROL_C: u8 = 3;
