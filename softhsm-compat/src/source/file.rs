//! SoftHSM's file store: a file for each object.
//!
//! What lives here: the form of these files. All numbers have 8 bytes, most significant first. A file begins with a number that
//! grows with every write; then come attributes, each as its number, the number of its kind, and its value.
//! What must never live here: what an attribute means.
//! Who calls it: `source`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::{
    Attributes, Damaged, Identity, OBJECT_ATTRIBUTES_MAX, OBJECT_BYTES_MAX, SourceError,
    StoredToken, StoredValue, names_in, whole,
};

/// The file that says what the token is.
pub(super) const TOKEN_FILE: &str = "token.object";

/// Reads a token.
pub(super) fn token(directory: &Path) -> Result<StoredToken, SourceError> {
    let before = generation(directory);
    let path = directory.join(TOKEN_FILE);
    let identity = read(&path)
        .and_then(|bytes| parse(&bytes).map_err(str::to_owned))
        .and_then(|attributes| Identity::of(&attributes))
        .map_err(|why| SourceError::Malformed { path, why })?;
    let (mut objects, mut damaged) = (Vec::new(), Vec::new());
    let is_object = |name: &String| name.ends_with(".object") && name != TOKEN_FILE;
    for name in names_in(directory)?.into_iter().filter(is_object) {
        let parsed =
            read(&directory.join(&name)).and_then(|bytes| parse(&bytes).map_err(str::to_owned));
        let object = match parsed {
            Ok(attributes) => whole(name, attributes),
            Err(why) => Err(Damaged { name, why }),
        };
        match object {
            Ok(object) => objects.push(object),
            Err(one) => damaged.push(one),
        }
    }
    // Whoever adds or removes an object changes this number, so an equal one says that what was read belongs together.
    if generation(directory) != before {
        return Err(SourceError::Changed {
            path: directory.into(),
        });
    }
    Ok(identity.with(directory, objects, damaged))
}

/// The token's own running number; none in a token that never had an object.
fn generation(directory: &Path) -> Option<Zeroizing<Vec<u8>>> {
    read(&directory.join("generation")).ok()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let io_error = |error: std::io::Error| format!("it cannot be read: {error}");
    let file = File::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    let room = usize::try_from(length.min(OBJECT_BYTES_MAX)).unwrap_or(0);
    // One byte more than the file has, so that the buffer does not move and leave a copy.
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(OBJECT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    if bytes.len() as u64 > OBJECT_BYTES_MAX {
        return Err(format!("it is longer than {OBJECT_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// Parses a file.
pub(super) fn parse(bytes: &[u8]) -> Result<Attributes, &'static str> {
    if bytes.is_empty() {
        return Err("it is empty: it was being written, or its writing was interrupted");
    }
    let mut reader = Reader { rest: bytes };
    let _generation = reader.number()?;
    reader.attributes(Level::Object)
}

/// Where an attribute stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Object,
    Array,
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, length: u64) -> Result<&'b [u8], &'static str> {
        let length = usize::try_from(length).map_err(|_| CUT)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let bytes = self.take(8)?.try_into().map_err(|_| CUT)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn attributes(&mut self, level: Level) -> Result<Attributes, &'static str> {
        let mut attributes = Attributes::new();
        while !self.rest.is_empty() {
            let kind = self.number()?;
            let value = self.value(level)?;
            if attributes.insert(kind, value).is_some() {
                return Err("it has an attribute twice");
            }
            if attributes.len() > OBJECT_ATTRIBUTES_MAX {
                return Err("it has too many attributes");
            }
        }
        Ok(attributes)
    }

    fn value(&mut self, level: Level) -> Result<StoredValue, &'static str> {
        match self.number()? {
            1 => Ok(StoredValue::Boolean(self.take(1)? != [0])),
            2 => self.number().map(StoredValue::Number),
            3 => {
                let length = self.number()?;
                let bytes = self.take(length)?.to_vec();
                Ok(StoredValue::Bytes(Zeroizing::new(bytes)))
            }
            4 if level == Level::Object => {
                let length = self.number()?;
                let mut inner = Reader {
                    rest: self.take(length)?,
                };
                inner.attributes(Level::Array).map(StoredValue::Attributes)
            }
            5 => self.mechanisms().map(StoredValue::Mechanisms),
            _ => Err("it has an attribute of an unknown kind"),
        }
    }

    fn mechanisms(&mut self) -> Result<Vec<u64>, &'static str> {
        // A count is an allegation: the bytes are taken first.
        let length = self.number()?.checked_mul(8).ok_or(CUT)?;
        let mut inner = Reader {
            rest: self.take(length)?,
        };
        let mut types = Vec::with_capacity(inner.rest.len() / 8);
        while !inner.rest.is_empty() {
            types.push(inner.number()?);
        }
        Ok(types)
    }
}

const CUT: &str =
    "it ends in the middle of an attribute: it was being written, or its writing was interrupted";
