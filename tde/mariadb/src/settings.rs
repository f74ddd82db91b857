//! What the operator wants.
//!
//! What lives here: the system variables as values, and what is wrong with them, in words for the server's log.
//! What must never live here: C; and never the PIN: the variables name its file, because everybody may read variables.
//! Who calls it: `abi::server` hands in the texts, `plugin` takes the result.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

/// How pages are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The server encrypts, with data keys that lie in its memory and wrapped in the token.
    Keys,
    /// The token encrypts; the server has no key.
    Pages,
}

/// The variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The PKCS#11 module.
    pub(crate) module: PathBuf,
    /// Label of the token.
    pub(crate) token: String,
    /// The file with the PIN of the user.
    pub(crate) pin_file: PathBuf,
    /// Which way.
    pub(crate) mode: Mode,
    /// What labels begin with.
    pub(crate) prefix: String,
    /// How long a call waits for a token that does not answer.
    pub(crate) patience: Duration,
}

/// The variables as the server has them; empty where nobody said anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) module: String,
    pub(crate) token: String,
    pub(crate) pin_file: String,
    pub(crate) mode: String,
    pub(crate) prefix: String,
    pub(crate) wait_seconds: u32,
}

impl Settings {
    /// Judges the variables.
    pub(crate) fn parse(said: &Said) -> Result<Self, String> {
        let path = |name: &str, text: &str| {
            if Path::new(text).is_absolute() {
                Ok(PathBuf::from(text))
            } else {
                Err(format!(
                    "{name} must be set to an absolute path, and is \"{text}\""
                ))
            }
        };
        if said.token.is_empty() || said.token.len() > 32 {
            return Err("strongroom_token must be set to the label of the token".to_owned());
        }
        let plain = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
        if said.prefix.is_empty() || said.prefix.len() > 64 || !said.prefix.chars().all(plain) {
            return Err(
                "strongroom_key_prefix takes 1 to 64 letters, digits and -_. only".to_owned(),
            );
        }
        if said.prefix.ends_with("-pages") {
            return Err("strongroom_key_prefix must not end in -pages: such labels are those of the pages way".to_owned());
        }
        Ok(Self {
            module: path("strongroom_module", &said.module)?,
            token: said.token.clone(),
            pin_file: path("strongroom_pin_file", &said.pin_file)?,
            mode: match said.mode.as_str() {
                "keys" => Mode::Keys,
                "pages" => Mode::Pages,
                other => {
                    return Err(format!(
                        "strongroom_mode is keys or pages, and not \"{other}\""
                    ));
                }
            },
            prefix: said.prefix.clone(),
            patience: Duration::from_secs(said.wait_seconds.into()),
        })
    }

    /// What the labels of this way begin with. The ways never share a key, so a server that is started the wrong way finds no key,
    /// instead of reading noise.
    pub(crate) fn stem(&self) -> String {
        match self.mode {
            Mode::Keys => format!("{}-", self.prefix),
            Mode::Pages => format!("{}-pages-", self.prefix),
        }
    }

    /// The label of a version of a key.
    pub(crate) fn label(&self, id: u32, version: u32) -> String {
        format!("{}{id}-{version}", self.stem())
    }

    /// Id and version that a label names.
    pub(crate) fn parse_label(&self, label: &str) -> Option<(u32, u32)> {
        let (id, version) = label.strip_prefix(&self.stem())?.split_once('-')?;
        let number = |text: &str| {
            let canonical = !text.starts_with('0') && text.bytes().all(|one| one.is_ascii_digit());
            text.parse::<u32>()
                .ok()
                .filter(|number| canonical && *number != u32::MAX)
        };
        Some((number(id)?, number(version)?))
    }
}

/// Which state of a file it was: another one is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, i64, i64, u64);

/// The stamp of a file; none when there is no such file.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp(
        about.ino(),
        about.ctime(),
        about.ctime_nsec(),
        about.len(),
    ))
}

/// Reads the PIN: the first line of the file.
pub(crate) fn pin(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let wrong = |what: &str| format!("the PIN file {} {what}", path.display());
    let file = fs::File::open(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let about = file
        .metadata()
        .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if about.mode() & 0o027 != 0 {
        return Err(wrong(
            "may be read or changed by others; chmod 0600, or 0640 for the server's group",
        ));
    }
    // Room for everything at once: a vector that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(PIN_FILE_BYTES_MAX + 1));
    file.take(PIN_FILE_BYTES_MAX as u64)
        .read_to_end(&mut text)
        .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let end = text
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
        .unwrap_or(text.len());
    text.truncate(end);
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    Ok(text)
}

/// A PIN has at most 255 bytes; the rest is room for line ends.
const PIN_FILE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn said() -> Said {
        Said {
            module: "/usr/lib/x.so".to_owned(),
            token: "db".to_owned(),
            pin_file: "/etc/pin".to_owned(),
            mode: "keys".to_owned(),
            prefix: "mariadb".to_owned(),
            wait_seconds: 60,
        }
    }

    #[test]
    fn each_wrong_variable_is_named() {
        let wrong = |spoil: &dyn Fn(&mut Said)| {
            let mut said = said();
            spoil(&mut said);
            Settings::parse(&said).unwrap_err()
        };
        assert!(wrong(&|said| said.module.clear()).contains("strongroom_module"));
        assert!(wrong(&|said| said.pin_file = "pin".to_owned()).contains("strongroom_pin_file"));
        assert!(wrong(&|said| said.token.clear()).contains("strongroom_token"));
        assert!(wrong(&|said| said.mode = "both".to_owned()).contains("strongroom_mode"));
        assert!(wrong(&|said| said.prefix = "a b".to_owned()).contains("strongroom_key_prefix"));
        assert!(
            wrong(&|said| said.prefix = "a-pages".to_owned()).contains("strongroom_key_prefix")
        );
    }

    #[test]
    fn labels_are_read_back_and_the_ways_do_not_meet() {
        let keys = Settings::parse(&said()).unwrap();
        let pages = Settings::parse(&Said {
            mode: "pages".to_owned(),
            ..said()
        })
        .unwrap();
        assert_eq!(keys.label(1, 2), "mariadb-1-2");
        assert_eq!(pages.label(1, 2), "mariadb-pages-1-2");
        assert_eq!(keys.parse_label("mariadb-1-2"), Some((1, 2)));
        assert_eq!(keys.parse_label("mariadb-pages-1-2"), None);
        assert_eq!(pages.parse_label("mariadb-1-2"), None);
        for strange in [
            "mariadb-01-2",
            "mariadb-1-",
            "mariadb-1-2-3",
            "mariadb-1-4294967295",
            "mariadb-0-1",
            "x-1-2",
        ] {
            assert_eq!(keys.parse_label(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_pin_file_is_private_and_its_first_line_counts() {
        let path = std::env::temp_dir().join(format!("strongroom-pin-{}", std::process::id()));
        fs::write(&path, "1234\nrest\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(pin(&path).unwrap().as_slice(), b"1234");
        let before = stamp(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(pin(&path).unwrap_err().contains("by others"));
        assert_ne!(stamp(&path), before);
        fs::remove_file(&path).unwrap();
        assert!(pin(&path).unwrap_err().contains("cannot be read"));
    }
}
