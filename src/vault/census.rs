//! *What lives here:* the census of a token: counts and sums over all its records, by which a record that was removed, added or
//! rolled back is found at opening without opening the private ones. *What must never live here:* a key, or a record's content.
//! *Who calls it:* drafts change it, opening a token compares it.
//!
//! Each record stands for a term, HMAC-SHA256 under the census key over kind, realm, object, version and tag. The census keeps two
//! sums modulo 2^256 over all records: of the terms, and of the terms times the record's weight. The first finds that something
//! is wrong: nobody without the census key can choose records whose terms add up. The second tells where: when one record alone
//! is wrong, the second sum is wrong by the error of the first times the weight of that record.
//!
//! What a census cannot find is a whole token, census and all, put back to an earlier state. Nothing inside the file can: the
//! generation (`generation.rs`) is compared with what the journal has seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::seal::kind_byte;
use super::{Realm, VaultError, name};
use crate::ports::{RecordKey, RecordKind};

/// What the census record holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Census {
    /// The number of the next object. It only grows, so no number comes back.
    pub(super) next_object: u64,
    /// How many objects are public.
    pub(super) public: u64,
    /// How many objects are private.
    pub(super) private: u64,
    /// The sums over all records but the census itself.
    pub(super) sums: Sums,
}

impl Census {
    /// The census of nothing.
    pub(super) fn new() -> Self {
        Self {
            next_object: 1,
            public: 0,
            private: 0,
            sums: Sums::default(),
        }
    }

    /// How many objects a realm has.
    pub(super) fn counted(&mut self, realm: Realm) -> &mut u64 {
        match realm {
            Realm::Public => &mut self.public,
            Realm::Private => &mut self.private,
        }
    }

    /// Compares it with what was found, and names what is wrong.
    pub(super) fn compare(
        &self,
        token: u64,
        found: &Sums,
        entries: &Entries,
    ) -> Result<(), VaultError> {
        let counts = (entries.count(Realm::Public), entries.count(Realm::Private));
        if self.sums == *found && (self.public, self.private) == counts {
            return Ok(());
        }
        let culprit = self.culprit(token, found, entries);
        let what = match culprit {
            Some(key) => format!(
                "{} was changed, swapped, removed, added or rolled back (or the census of the token was)",
                name(key)
            ),
            None => format!(
                "several records of token {token} were changed, removed, added or rolled back"
            ),
        };
        Err(VaultError::Tampered { what })
    }

    /// The one record whose error explains both sums, if one alone does.
    fn culprit(&self, token: u64, found: &Sums, entries: &Entries) -> Option<RecordKey> {
        let plain = self.sums.plain.minus(found.plain);
        let weighted = self.sums.weighted.minus(found.weighted);
        let objects = (1..self.next_object).chain(entries.from(self.next_object));
        let of_objects = objects.flat_map(|object| {
            [RecordKind::Metadata, RecordKind::Material].map(|kind| RecordKey {
                kind,
                token,
                object,
            })
        });
        [RecordKind::Token, RecordKind::Tries]
            .into_iter()
            .map(|kind| RecordKey {
                kind,
                token,
                object: 0,
            })
            .chain(of_objects)
            .find(|key| plain != Term::default() && plain.times(weight(*key)) == weighted)
    }
}

/// The two sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    plain: Term,
    weighted: Term,
}

impl Sums {
    /// A record is there now.
    pub(super) fn add(&mut self, key: RecordKey, term: Term) {
        self.plain = self.plain.plus(term);
        self.weighted = self.weighted.plus(term.times(weight(key)));
    }

    /// The records of another sum are there too.
    pub(super) fn merge(&mut self, other: &Self) {
        self.plain = self.plain.plus(other.plain);
        self.weighted = self.weighted.plus(other.weighted);
    }

    /// A record is there no more.
    pub(super) fn subtract(&mut self, key: RecordKey, term: Term) {
        self.plain = self.plain.minus(term);
        self.weighted = self.weighted.minus(term.times(weight(key)));
    }
}

/// Different for every record of a token: kinds are numbers below 8.
fn weight(key: RecordKey) -> u64 {
    key.object
        .wrapping_mul(8)
        .wrapping_add(u64::from(kind_byte(key.kind)))
}

/// A number modulo 2^256, least significant limb first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Term([u64; 4]);

impl Term {
    /// Reads 32 bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (limbs, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let limbs: &[[u8; 8]; 4] = limbs.try_into().ok()?;
        Some(Self(limbs.map(u64::from_le_bytes)))
    }

    fn plus(self, other: Self) -> Self {
        let mut carry = 0_u128;
        let mut sum = self;
        for (limb, more) in sum.0.iter_mut().zip(other.0) {
            carry += u128::from(*limb) + u128::from(more);
            *limb = low(carry);
            carry >>= 64;
        }
        sum
    }

    fn minus(self, other: Self) -> Self {
        // a - b = a + !b + 1
        let complement = Self(other.0.map(|limb| !limb));
        self.plus(complement).plus(Self([1, 0, 0, 0]))
    }

    fn times(self, factor: u64) -> Self {
        let mut carry = 0_u128;
        let mut product = self;
        for limb in &mut product.0 {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = low(carry);
            carry >>= 64;
        }
        product
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low limb is what is wanted; the rest is carried"
)]
fn low(wide: u128) -> u64 {
    wide as u64
}

/// Which objects there are, and the versions of their records. It costs under 64 bytes an object.
#[derive(Default)]
pub(super) struct Entries {
    public: BTreeMap<u64, Versions>,
    private: BTreeMap<u64, Versions>,
}

/// The versions of an object's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Versions {
    /// Of the metadata, from 1.
    pub(super) metadata: u64,
    /// Of the material; 0 when there is none.
    pub(super) material: u64,
}

impl Entries {
    /// Takes lists that ascend by object.
    pub(super) fn new(public: Vec<(u64, Versions)>, private: Vec<(u64, Versions)>) -> Self {
        // Collecting a list packs the tree densely; inserting one by one would leave it half empty.
        Self {
            public: public.into_iter().collect(),
            private: private.into_iter().collect(),
        }
    }

    /// Where an object is.
    pub(super) fn find(&self, object: u64) -> Option<(Realm, Versions)> {
        let public = self
            .public
            .get(&object)
            .map(|versions| (Realm::Public, *versions));
        public.or_else(|| {
            self.private
                .get(&object)
                .map(|versions| (Realm::Private, *versions))
        })
    }

    /// Puts an object where it is now.
    pub(super) fn put(&mut self, object: u64, realm: Realm, versions: Versions) {
        self.remove(object);
        match realm {
            Realm::Public => self.public.insert(object, versions),
            Realm::Private => self.private.insert(object, versions),
        };
    }

    /// Forgets an object.
    pub(super) fn remove(&mut self, object: u64) {
        self.public.remove(&object);
        self.private.remove(&object);
    }

    /// How many objects a realm has.
    pub(super) fn count(&self, realm: Realm) -> u64 {
        let entries = match realm {
            Realm::Public => &self.public,
            Realm::Private => &self.private,
        };
        u64::try_from(entries.len()).unwrap_or(u64::MAX)
    }

    /// All objects.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Versions)> + '_ {
        self.public
            .iter()
            .chain(&self.private)
            .map(|(object, versions)| (*object, *versions))
    }

    /// The objects from this number on.
    fn from(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        self.public
            .range(first..)
            .chain(self.private.range(first..))
            .map(|(object, _)| *object)
    }
}
