//! What a session has begun, as far as the module knows.
//!
//! What lives here: for each kind of operation whether the daemon has one, and what it last agreed to.
//! What must never live here: asking; the entries do.
//! Who calls it: the entries for signatures, ciphers and digests.
//!
//! An Init function that says what the last one of its kind said, with nothing changed since, would be agreed to again. So it is not asked:
//! it travels with the data. Only the first operation with a key costs two trips.

use strongroom_wire::ck::MechanismType;
use strongroom_wire::request::ObjectHandle;

use crate::abi::Mechanism;
use crate::stamp::Stamp;

/// The kinds of operation that can travel with their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// C_SignInit and C_Sign.
    Sign,
    /// C_VerifyInit and C_Verify.
    Verify,
    /// C_EncryptInit and C_Encrypt.
    Encrypt,
    /// C_DecryptInit and C_Decrypt.
    Decrypt,
}

/// All operations of a session. A new session has none.
#[derive(Default)]
pub(crate) struct Operations {
    sign: Place,
    verify: Place,
    encrypt: Place,
    decrypt: Place,
    /// A digest, which needs no key.
    pub(crate) digest: Digest,
}

/// The place of one kind.
#[derive(Default)]
pub(crate) struct Place {
    /// What is active.
    pub(crate) active: Active,
    /// What the daemon agreed to last.
    agreed: Option<Agreed>,
}

/// What is active of one kind.
#[derive(Default)]
#[allow(
    clippy::large_enum_variant,
    reason = "it is filled and emptied with each operation: a box would be an allocation each time"
)]
pub(crate) enum Active {
    /// Nothing, neither here nor in the daemon.
    #[default]
    Nothing,
    /// Begun here, and the daemon not told.
    Begun(Mechanism, ObjectHandle),
    /// The daemon has one, or it is not known whether it has.
    Elsewhere,
}

/// What the daemon agreed to.
pub(crate) struct Agreed {
    mechanism: Mechanism,
    key: ObjectHandle,
    at: Stamp,
    /// Length of a signature by it, in bytes, once one was made.
    signature_bytes: Option<u64>,
}

/// The digest of a session.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Digest {
    /// None is active.
    #[default]
    Nothing,
    /// Begun here.
    Begun(MechanismType),
    /// As [`Active::Elsewhere`].
    Elsewhere,
}

impl Operations {
    /// The place of a kind.
    pub(crate) const fn place(&mut self, kind: Kind) -> &mut Place {
        match kind {
            Kind::Sign => &mut self.sign,
            Kind::Verify => &mut self.verify,
            Kind::Encrypt => &mut self.encrypt,
            Kind::Decrypt => &mut self.decrypt,
        }
    }

    /// Forgets everything, and tells how many operations had been begun here.
    pub(crate) fn forget(&mut self) -> usize {
        let all = std::mem::take(self);
        let keyed = [&all.sign, &all.verify, &all.encrypt, &all.decrypt]
            .into_iter()
            .filter(|place| matches!(place.active, Active::Begun(..)))
            .count();
        keyed + usize::from(matches!(all.digest, Digest::Begun(_)))
    }

    /// The operations begun here: each leaves, and counts as the daemon's from now on.
    pub(crate) fn take_begun(
        &mut self,
    ) -> (Vec<(Kind, Mechanism, ObjectHandle)>, Option<MechanismType>) {
        let mut begun = Vec::new();
        for kind in [Kind::Sign, Kind::Verify, Kind::Encrypt, Kind::Decrypt] {
            let active = &mut self.place(kind).active;
            if matches!(active, Active::Begun(..))
                && let Active::Begun(mechanism, key) = std::mem::replace(active, Active::Elsewhere)
            {
                begun.push((kind, mechanism, key));
            }
        }
        let digest = match self.digest {
            Digest::Begun(kind) => {
                self.digest = Digest::Elsewhere;
                Some(kind)
            }
            Digest::Nothing | Digest::Elsewhere => None,
        };
        (begun, digest)
    }
}

impl Place {
    /// Whether the daemon, asked now, would agree to begin this.
    pub(crate) fn would_agree(
        &self,
        mechanism: &Mechanism,
        key: ObjectHandle,
        now: Option<Stamp>,
    ) -> bool {
        matches!(self.active, Active::Nothing)
            && self.agreed.as_ref().is_some_and(|agreed| {
                Some(agreed.at) == now && agreed.key == key && agreed.mechanism.is_like(mechanism)
            })
    }

    /// The daemon has agreed to an operation, and has it now.
    pub(crate) fn agree(&mut self, mechanism: Mechanism, key: ObjectHandle, at: Option<Stamp>) {
        self.active = Active::Elsewhere;
        self.agreed = at.map(|at| Agreed {
            mechanism,
            key,
            at,
            signature_bytes: None,
        });
    }

    /// What is active goes to the daemon; until it is known what came of it, the daemon may have one.
    pub(crate) const fn give_up(&mut self) -> Active {
        std::mem::replace(&mut self.active, Active::Elsewhere)
    }

    /// The operation has ended well; its output was a signature of this length, or none.
    pub(crate) fn end(&mut self, signature_bytes: Option<u64>) {
        self.active = Active::Nothing;
        if let (Some(agreed), Some(_)) = (&mut self.agreed, signature_bytes) {
            agreed.signature_bytes = signature_bytes;
        }
    }

    /// Something went wrong: the daemon is asked again.
    pub(crate) fn doubt(&mut self) {
        self.active = Active::Elsewhere;
        self.agreed = None;
    }

    /// Length of the signature of what was begun here, if one was made before.
    pub(crate) fn signature_bytes(&self) -> Option<u64> {
        let begun = matches!(self.active, Active::Begun(..));
        let agreed = self.agreed.as_ref().filter(|_| begun)?;
        agreed.signature_bytes
    }
}
