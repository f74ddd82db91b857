//! What the daemon has begun for a session, so that a daemon that was started anew can begin it again.
//!
//! What lives here: for each kind of operation whether the daemon has one, by which request it began, and whether it was given data since.
//! What must never live here: data; an operation that was given some cannot be begun again, and is over.
//! Who calls it: the entries, after each answer and when they tell the daemon of a session again.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "tables of the few requests that begin, feed or end something; all others do not"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use strongroom_wire::ck::{Rv, UserType, flag};
use strongroom_wire::codec;
use strongroom_wire::request::{Dual, Output, Request};

use crate::buffer::WipedBuffer;

/// Kinds of operation; a session has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Encrypt,
    Decrypt,
    Digest,
    Sign,
    SignRecover,
    Verify,
    VerifyRecover,
    VerifySignature,
    Find,
}

/// How one of them stands.
enum State {
    /// Begun by this request, encoded, and given nothing since.
    Fresh(WipedBuffer),
    /// It was given data, or has given some out: only the daemon that has it can go on.
    Fed,
    /// It was lost with its daemon, and nobody has been told.
    Lost,
}

/// What the daemon has begun for one session.
#[derive(Default)]
pub(crate) struct Remote {
    entries: Mutex<Vec<(What, State)>>,
    /// How many there are: mostly none, and then no lock is taken.
    count: AtomicUsize,
}

/// What a request does to an operation once it was answered.
enum Step {
    /// Begins it, or takes it back where there is no mechanism.
    Begin(What, Begin),
    /// Asks for all of it at once.
    Whole(What, Output),
    /// Gives it a part.
    Part(&'static [What], Output),
    /// Ends it.
    End(What, Output),
    /// Takes back those that a flag names.
    Cancel(u64),
    /// Lets the one that waits for it use its key.
    ContextLogin,
}

/// Whether a beginning is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    Anew,
    Back,
}

impl Remote {
    /// Notes what an answer means for what the daemon has. `rv` is none where no answer came.
    pub(crate) fn note(&self, request: &Request<'_>, rv: Option<Rv>) {
        let Some(step) = step(request) else {
            self.note_once(request, rv);
            return;
        };
        let (ok, short) = (rv == Some(Rv::OK), rv == Some(Rv::BUFFER_TOO_SMALL));
        match step {
            Step::Begin(what, Begin::Anew) if ok => self.begin(what, request),
            Step::Begin(what, Begin::Back) if ok => self.forget(what),
            // What was active before is as it was.
            Step::Begin(..) => {}
            Step::Whole(what, output) | Step::End(what, output) => {
                if !(short || ok && output == Output::Size) {
                    self.forget(what);
                }
            }
            // A search goes on after an error, until C_FindObjectsFinal.
            Step::Part(&[What::Find], _) => match rv {
                Some(Rv::OK) => self.put(What::Find, State::Fed),
                Some(_) => {}
                None => self.put(What::Find, State::Lost),
            },
            Step::Part(all, output) => {
                for what in all {
                    if ok && output != Output::Size {
                        self.put(*what, State::Fed);
                    } else if !ok && !short {
                        self.forget(*what);
                    }
                }
            }
            Step::Cancel(flags) if ok => {
                for (named, what) in BY_FLAG {
                    if flags & named != 0 {
                        self.forget(*what);
                    }
                }
            }
            // The login holds for this operation in this daemon only.
            Step::ContextLogin if ok => self.feed_all(),
            Step::Cancel(_) | Step::ContextLogin => {}
        }
    }

    /// Init and operation in one leave the operation active where only its length was told.
    fn note_once(&self, request: &Request<'_>, rv: Option<Rv>) {
        let (what, output) = match request {
            Request::SignOnce { output, .. } => (What::Sign, output),
            Request::EncryptOnce { output, .. } => (What::Encrypt, output),
            Request::DecryptOnce { output, .. } => (What::Decrypt, output),
            _ => return,
        };
        let told = rv == Some(Rv::OK) && *output == Output::Size;
        if (told || rv == Some(Rv::BUFFER_TOO_SMALL))
            && let Some(init) = init_of(request)
        {
            self.begin(what, &init);
        }
    }

    /// What to answer a request that goes on with an operation that was lost: its caller is told once, and it is over. A search is over with
    /// C_FindObjectsFinal, which has nothing left to do.
    pub(crate) fn answer_lost(&self, request: &Request<'_>) -> Option<Rv> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let needed = match step(request) {
            Some(Step::Whole(what, _) | Step::End(what, _)) => &[what][..],
            Some(Step::Part(all, _)) => all,
            _ => return None,
        };
        let mut entries = self.lock();
        let lost =
            |entry: &(What, State)| needed.contains(&entry.0) && matches!(entry.1, State::Lost);
        if !entries.iter().any(lost) {
            return None;
        }
        if !matches!(request, Request::FindObjects { .. }) {
            entries.retain(|entry| !lost(entry));
            self.count.store(entries.len(), Ordering::Relaxed);
        }
        let over = matches!(request, Request::FindObjectsFinal { .. });
        Some(if over { Rv::OK } else { Rv::DEVICE_ERROR })
    }

    /// Begins again, in a daemon that knows nothing, what can be begun again; the rest is lost. `ask` begins one, and answers whether that was
    /// agreed to, or its own failure, with which this ends.
    pub(crate) fn begin_again<E>(
        &self,
        mut ask: impl FnMut(&Request<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        for (_, state) in self.lock().iter_mut() {
            let agreed = match state {
                State::Fresh(begun) => match codec::decode::<Request<'_>>(begun.bytes()) {
                    Ok(begun) => ask(&begun)?,
                    Err(_) => false,
                },
                State::Fed | State::Lost => false,
            };
            if !agreed {
                *state = State::Lost;
            }
        }
        Ok(())
    }

    fn begin(&self, what: What, request: &Request<'_>) {
        let mut begun = WipedBuffer::new();
        let state = match codec::encode(request, &mut begun) {
            Ok(()) => State::Fresh(begun),
            Err(_) => State::Fed,
        };
        let mut entries = self.lock();
        entries.retain(|(known, _)| *known != what);
        entries.push((what, state));
        self.count.store(entries.len(), Ordering::Relaxed);
    }

    fn forget(&self, what: What) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut entries = self.lock();
        entries.retain(|(known, _)| *known != what);
        self.count.store(entries.len(), Ordering::Relaxed);
    }

    fn put(&self, what: What, new: State) {
        if let Some((_, state)) = self.lock().iter_mut().find(|(known, _)| *known == what) {
            *state = new;
        }
    }

    fn feed_all(&self) {
        for (_, state) in self.lock().iter_mut() {
            *state = State::Fed;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(What, State)>> {
        // Nothing under this lock can leave an entry half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which operations C_SessionCancel names by which flag.
const BY_FLAG: &[(u64, What)] = &[
    (flag::ENCRYPT, What::Encrypt),
    (flag::DECRYPT, What::Decrypt),
    (flag::DIGEST, What::Digest),
    (flag::SIGN, What::Sign),
    (flag::SIGN_RECOVER, What::SignRecover),
    (flag::VERIFY, What::Verify),
    (flag::VERIFY, What::VerifySignature),
    (flag::VERIFY_RECOVER, What::VerifyRecover),
    (flag::FIND_OBJECTS, What::Find),
];

/// Output of what has none: something is always done.
const DONE: Output = Output::Capacity(0);

/// What a request does to an operation; none for those that have nothing to do with one, or begin and end it at once.
#[rustfmt::skip]
const fn step(request: &Request<'_>) -> Option<Step> {
    use Request as R;
    use What as W;
    Some(match request {
        R::EncryptInit { mechanism, .. } => Step::Begin(W::Encrypt, begin(mechanism.is_some())),
        R::DecryptInit { mechanism, .. } => Step::Begin(W::Decrypt, begin(mechanism.is_some())),
        R::DigestInit { mechanism, .. } => Step::Begin(W::Digest, begin(mechanism.is_some())),
        R::SignInit { mechanism, .. } => Step::Begin(W::Sign, begin(mechanism.is_some())),
        R::SignRecoverInit { mechanism, .. } => Step::Begin(W::SignRecover, begin(mechanism.is_some())),
        R::VerifyInit { mechanism, .. } => Step::Begin(W::Verify, begin(mechanism.is_some())),
        R::VerifyRecoverInit { mechanism, .. } => Step::Begin(W::VerifyRecover, begin(mechanism.is_some())),
        R::VerifySignatureInit { mechanism, .. } => Step::Begin(W::VerifySignature, begin(mechanism.is_some())),
        R::FindObjectsInit { .. } => Step::Begin(W::Find, Begin::Anew),
        R::Encrypt { output, .. } => Step::Whole(W::Encrypt, *output),
        R::Decrypt { output, .. } => Step::Whole(W::Decrypt, *output),
        R::Digest { output, .. } => Step::Whole(W::Digest, *output),
        R::Sign { output, .. } => Step::Whole(W::Sign, *output),
        R::SignRecover { output, .. } => Step::Whole(W::SignRecover, *output),
        R::Verify { .. } => Step::Whole(W::Verify, DONE),
        R::VerifyRecover { output, .. } => Step::Whole(W::VerifyRecover, *output),
        R::VerifySignature { .. } => Step::Whole(W::VerifySignature, DONE),
        R::EncryptUpdate { output, .. } => Step::Part(&[W::Encrypt], *output),
        R::DecryptUpdate { output, .. } => Step::Part(&[W::Decrypt], *output),
        R::DigestUpdate { .. } | R::DigestKey { .. } => Step::Part(&[W::Digest], DONE),
        R::SignUpdate { .. } => Step::Part(&[W::Sign], DONE),
        R::VerifyUpdate { .. } => Step::Part(&[W::Verify], DONE),
        R::VerifySignatureUpdate { .. } => Step::Part(&[W::VerifySignature], DONE),
        R::DualUpdate { dual, output, .. } => Step::Part(both(*dual), *output),
        R::FindObjects { .. } => Step::Part(&[W::Find], DONE),
        R::EncryptFinal { output, .. } => Step::End(W::Encrypt, *output),
        R::DecryptFinal { output, .. } => Step::End(W::Decrypt, *output),
        R::DigestFinal { output, .. } => Step::End(W::Digest, *output),
        R::SignFinal { output, .. } => Step::End(W::Sign, *output),
        R::VerifyFinal { .. } => Step::End(W::Verify, DONE),
        R::VerifySignatureFinal { .. } => Step::End(W::VerifySignature, DONE),
        R::FindObjectsFinal { .. } => Step::End(W::Find, DONE),
        R::SessionCancel { flags, .. } => Step::Cancel(*flags),
        R::Login { user, .. } | R::LoginUser { user, .. } if user.0 == UserType::CONTEXT_SPECIFIC.0 => Step::ContextLogin,
        _ => return None,
    })
}

const fn begin(has_mechanism: bool) -> Begin {
    if has_mechanism {
        Begin::Anew
    } else {
        Begin::Back
    }
}

const fn both(dual: Dual) -> &'static [What] {
    match dual {
        Dual::DigestEncrypt => &[What::Digest, What::Encrypt],
        Dual::DecryptDigest => &[What::Decrypt, What::Digest],
        Dual::SignEncrypt => &[What::Sign, What::Encrypt],
        Dual::DecryptVerify => &[What::Decrypt, What::Verify],
    }
}

/// The Init alone of a request that is Init and operation in one.
fn init_of<'r>(request: &Request<'r>) -> Option<Request<'r>> {
    Some(match request {
        Request::SignOnce {
            session,
            mechanism,
            key,
            ..
        } => Request::SignInit {
            session: *session,
            mechanism: Some(mechanism.clone()),
            key: *key,
        },
        Request::EncryptOnce {
            session,
            mechanism,
            key,
            ..
        } => Request::EncryptInit {
            session: *session,
            mechanism: Some(mechanism.clone()),
            key: *key,
        },
        Request::DecryptOnce {
            session,
            mechanism,
            key,
            ..
        } => Request::DecryptInit {
            session: *session,
            mechanism: Some(mechanism.clone()),
            key: *key,
        },
        _ => return None,
    })
}
