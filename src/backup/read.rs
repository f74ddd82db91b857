//! *What lives here:* reading a backup, checked from its first byte to its last. *What must never live here:* what is done with the
//! records. *Who calls it:* the daemon, when it restores a backup or checks one.
//!
//! Records are shown as they come, before the manifest was seen: whoever keeps them reads the file once to its end before, or keeps
//! them where they can be thrown away.

use strongroom_crypto::digest::{Digest, Hash};
use strongroom_crypto::hex;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::header::Header;
use super::key::Identity;
use super::stream::{Chunks, Place, header_mac};
use super::{
    BackupError, CHUNK_BYTES, DIGEST_BYTES, HEADER_BYTES_MAX, KEY_BYTES, MAC_BYTES, MAGIC, Source,
    TAG_BYTES,
};
use crate::ports::{RecordKey, RecordKind};

/// What was read to its end and is right.
#[derive(Debug)]
pub struct Whole {
    /// What anybody may know of it.
    pub header: Header,
    /// The key that opens the records.
    pub root_key: SecretBytes,
    /// What it holds.
    pub manifest: Manifest,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Records in all.
    pub records: u64,
    /// Records of each kind, in the order of [`RecordKind::ALL`].
    pub by_kind: [u64; RecordKind::ALL.len()],
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the whole file, in hexadecimal.
    pub digest: String,
}

/// Sees a record of a backup: its key and its sealed bytes.
pub type SeeRecord<'v> = dyn FnMut(RecordKey, &[u8]) -> Result<(), BackupError> + 'v;

/// The header, unproven.
///
/// # Errors
/// [`BackupError`] when there is none that this version reads.
pub fn read_header(source: &mut dyn Source) -> Result<Header, BackupError> {
    Ok(Front::read(source)?.header)
}

/// Reads the whole file without any key: the digest at its end finds damage, and keeps no forger out. Answers header, length and digest
/// of the whole file.
///
/// # Errors
/// [`BackupError::Digest`] when it is damaged.
pub fn check_digest(source: &mut dyn Source) -> Result<(Header, u64, String), BackupError> {
    let front = Front::read(source)?;
    let mut body = Body::new(source, &front.bytes)?;
    body.file.update(&front.mac)?;
    body.bytes += MAC_BYTES as u64;
    loop {
        let (place, length) = body.next()?;
        let sealed = body.buffer.get(..length).unwrap_or_default();
        body.file.update(sealed)?;
        if place == Place::Last {
            let (bytes, digest) = body.end(length)?;
            return Ok((front.header, bytes, digest));
        }
        body.consume(length);
    }
}

/// Reads the whole file and shows each record, in the order of their keys.
///
/// # Errors
/// [`BackupError`] names what is wrong, and where. Records may have been shown before.
pub fn open(
    source: &mut dyn Source,
    identity: &Identity,
    see: &mut SeeRecord<'_>,
) -> Result<Whole, BackupError> {
    let front = Front::read(source)?;
    let file_key = front.header.file_key(identity)?;
    if header_mac(&file_key, &front.bytes)? != front.mac {
        return Err(BackupError::HeaderChanged);
    }
    let mut chunks = Chunks::new(&file_key, front.mac)?;
    let mut content = Content::new()?;
    let mut body = Body::new(source, &front.bytes)?;
    body.file.update(&front.mac)?;
    body.bytes += MAC_BYTES as u64;
    loop {
        let (place, length) = body.next()?;
        let sealed = match place {
            Place::Inner => body.buffer.get(..length),
            // For a diagnosis the end may have to be seen otherwise than as chunk and digest.
            Place::Last if length < TAG_BYTES => {
                return Err(BackupError::CutOff {
                    after: chunks.count(),
                });
            }
            Place::Last => body.buffer.get(..length),
        }
        .unwrap_or_default();
        if let Err(error) = chunks.open(place, sealed, &mut content.waiting) {
            return Err(body.better_named(error, place, &mut chunks)?);
        }
        body.file.update(sealed)?;
        content.take(see)?;
        if place == Place::Last {
            let (bytes, digest) = body.end(length)?;
            return content.end(front.header, bytes, digest);
        }
        body.consume(length);
    }
}

/// Everything before the chunks.
struct Front {
    header: Header,
    /// Magic, length and header as they stand in the file: what the MAC is over.
    bytes: Vec<u8>,
    mac: [u8; MAC_BYTES],
}

impl Front {
    fn read(source: &mut dyn Source) -> Result<Self, BackupError> {
        let mut bytes = vec![0; MAGIC.len() + 4];
        if fill(source, &mut bytes)? < MAGIC.len() || !bytes.starts_with(MAGIC) {
            return Err(other_magic(&bytes));
        }
        let length = bytes
            .last_chunk::<4>()
            .map_or(0, |length| u32::from_be_bytes(*length));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > HEADER_BYTES_MAX {
            return Err(BackupError::Header(
                "its length is none that a header has, so it was changed".into(),
            ));
        }
        let start = bytes.len();
        bytes.resize(start + length, 0);
        let (_, text) = bytes.split_at_mut(start);
        let cut = || BackupError::CutOff { after: 0 };
        if fill(source, text)? < length {
            return Err(cut());
        }
        let header = Header::parse(text)?;
        let mut mac = [0; MAC_BYTES];
        if fill(source, &mut mac)? < MAC_BYTES {
            return Err(cut());
        }
        Ok(Self { header, bytes, mac })
    }
}

/// A newer format says so in its first line.
fn other_magic(bytes: &[u8]) -> BackupError {
    bytes
        .strip_prefix(b"strongroom backup ")
        .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .map_or(BackupError::NotABackup, BackupError::FormatNewer)
}

/// Chunks and digest: so much is read ahead that the last chunk is known as such.
struct Body<'s> {
    source: &'s mut dyn Source,
    buffer: Vec<u8>,
    file: Digest,
    bytes: u64,
}

impl<'s> Body<'s> {
    fn new(source: &'s mut dyn Source, front: &[u8]) -> Result<Self, BackupError> {
        let mut file = Digest::new(Hash::Sha256)?;
        file.update(front)?;
        Ok(Self {
            source,
            buffer: Vec::with_capacity(AHEAD_BYTES),
            file,
            bytes: front.len() as u64,
        })
    }

    /// Where the next chunk stands and how long it is; it lies at the front of the buffer.
    fn next(&mut self) -> Result<(Place, usize), BackupError> {
        let have = self.buffer.len();
        self.buffer.resize(AHEAD_BYTES, 0);
        let (_, room) = self.buffer.split_at_mut(have);
        let got = fill(&mut *self.source, room)?;
        self.buffer.truncate(have + got);
        if self.buffer.len() == AHEAD_BYTES {
            Ok((Place::Inner, CHUNK_BYTES))
        } else {
            Ok((Place::Last, self.buffer.len().saturating_sub(DIGEST_BYTES)))
        }
    }

    fn consume(&mut self, length: usize) {
        self.buffer.drain(..length);
        self.bytes += length as u64;
    }

    /// Compares the digest behind the last chunk; answers length and digest of the whole file.
    fn end(mut self, last_chunk: usize) -> Result<(u64, String), BackupError> {
        let own = self.buffer.get(last_chunk..).unwrap_or_default();
        if self.file.duplicate()?.finish()?.as_ref() != own {
            return Err(BackupError::Digest);
        }
        self.file.update(own)?;
        self.bytes += self.buffer.len() as u64;
        let digest = self.file.finish()?;
        Ok((self.bytes, hex::shown(digest.as_ref())))
    }

    /// A file that was cut off has no digest at its end: what was taken for one may be the rest of a chunk.
    fn better_named(
        &self,
        error: BackupError,
        place: Place,
        chunks: &mut Chunks,
    ) -> Result<BackupError, BackupError> {
        if place == Place::Inner || self.buffer.len() < CHUNK_BYTES {
            return Ok(error);
        }
        let after = chunks.count() + 1;
        let whole = self.buffer.get(..CHUNK_BYTES).unwrap_or_default();
        let mut scratch = SecretVec::new();
        match chunks.open(Place::Inner, whole, &mut scratch) {
            Ok(()) => Ok(BackupError::CutOff { after }),
            Err(BackupError::Memory) => Err(BackupError::Memory),
            Err(_) => Ok(error),
        }
    }
}

/// The plaintext: root key, records, manifest.
struct Content {
    /// What was opened and not understood yet.
    waiting: SecretVec,
    root_key: Option<SecretBytes>,
    digest: Digest,
    last: Option<RecordKey>,
    by_kind: [u64; RecordKind::ALL.len()],
    /// What the manifest says, once it was there.
    manifest: Option<(u64, [u8; DIGEST_BYTES])>,
}

impl Content {
    fn new() -> Result<Self, BackupError> {
        Ok(Self {
            waiting: SecretVec::with_capacity(CHUNK_BYTES)?,
            root_key: None,
            digest: Digest::new(Hash::Sha256)?,
            last: None,
            by_kind: [0; RecordKind::ALL.len()],
            manifest: None,
        })
    }

    /// Understands as much as there is.
    fn take(&mut self, see: &mut SeeRecord<'_>) -> Result<(), BackupError> {
        let mut taken = 0;
        loop {
            let rest = self.waiting.expose().get(taken..).unwrap_or_default();
            let length = match (&self.root_key, &self.manifest, rest.first()) {
                (_, _, None) => break,
                (None, _, _) => KEY_BYTES,
                (_, Some(_), Some(_)) => return Err(wrong("something follows its manifest")),
                (_, None, Some(0)) => MANIFEST_BYTES,
                (_, None, Some(_)) => match rest.first_chunk::<ENTRY_BYTES>() {
                    Some(front) => entry_length(front)?,
                    None => break,
                },
            };
            let Some(piece) = rest.get(..length) else {
                break;
            };
            if self.root_key.is_none() {
                self.root_key = Some(SecretBytes::copy_from(piece)?);
                self.digest.update(piece)?;
            } else if let Some((front, sealed)) = piece.split_first_chunk::<ENTRY_BYTES>()
                && front[0] != 0
            {
                self.digest.update(piece)?;
                let key = key_of(front)?;
                if self.last.is_some_and(|last| last >= key) {
                    return Err(wrong("its records are not in order"));
                }
                self.last = Some(key);
                self.by_kind[key.kind as usize - 1] += 1;
                see(key, sealed)?;
            } else {
                self.manifest = Some(manifest_of(piece, &mut self.digest)?);
            }
            taken += length;
        }
        let length = self.waiting.len();
        self.waiting.expose_mut().copy_within(taken.., 0);
        self.waiting.truncate(length - taken);
        Ok(())
    }

    fn end(self, header: Header, bytes: u64, digest: String) -> Result<Whole, BackupError> {
        let (Some(root_key), Some((records, content))) = (self.root_key, self.manifest) else {
            return Err(wrong("its manifest is missing"));
        };
        let counted: u64 = self.by_kind.iter().sum();
        if records != counted || records != header.records {
            return Err(wrong("its manifest counts other records"));
        }
        if self.digest.finish()?.as_ref() != content {
            return Err(wrong("its manifest is of another content"));
        }
        let manifest = Manifest {
            records,
            by_kind: self.by_kind,
            bytes,
            digest,
        };
        Ok(Whole {
            header,
            root_key,
            manifest,
        })
    }
}

fn entry_length(front: &[u8; ENTRY_BYTES]) -> Result<usize, BackupError> {
    let length = front
        .last_chunk::<4>()
        .map_or(0, |length| u32::from_be_bytes(*length));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > RECORD_BYTES_MAX {
        return Err(wrong("a record is longer than any that is written"));
    }
    Ok(ENTRY_BYTES + length)
}

fn key_of(front: &[u8; ENTRY_BYTES]) -> Result<RecordKey, BackupError> {
    let number = |at: usize| {
        let bytes = front
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok());
        u64::from_be_bytes(bytes.unwrap_or_default())
    };
    let kind = RecordKind::of(front[0])
        .ok_or_else(|| wrong("a record is of a kind that this version does not know"))?;
    Ok(RecordKey {
        kind,
        token: number(1),
        object: number(9),
    })
}

/// The number of records and the digest of everything before it, which the number belongs to.
fn manifest_of(
    piece: &[u8],
    content: &mut Digest,
) -> Result<(u64, [u8; DIGEST_BYTES]), BackupError> {
    let (counted, digest) = piece.split_at(MANIFEST_BYTES - DIGEST_BYTES);
    content.update(counted)?;
    let records = counted
        .last_chunk::<8>()
        .map_or(0, |records| u64::from_be_bytes(*records));
    Ok((records, digest.try_into().map_err(|_| wrong("no digest"))?))
}

fn wrong(what: &str) -> BackupError {
    BackupError::Content(what.into())
}

/// Reads until the room is full or the source is at its end; answers how much.
fn fill(source: &mut dyn Source, room: &mut [u8]) -> Result<usize, BackupError> {
    let mut filled = 0;
    while filled < room.len() {
        let (_, rest) = room.split_at_mut(filled);
        match source.read(rest)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// One byte more than the longest last chunk with its digest.
const AHEAD_BYTES: usize = CHUNK_BYTES + DIGEST_BYTES + 1;
/// Kind, token, object, length.
const ENTRY_BYTES: usize = 1 + 8 + 8 + 4;
/// Zero in the place of a kind, number of records, digest.
const MANIFEST_BYTES: usize = 1 + 8 + DIGEST_BYTES;
/// Longest record: what is kept of attributes takes four mebibytes at most, sealed and encoded.
const RECORD_BYTES_MAX: usize = 64 << 20;
