//! A ledger of what a daemon has answered, and the check of what is there after its end.
//!
//! What lives here: work that changes a token, one answer after the other, and what must, may and must not be there afterwards.
//! What must never live here: how the daemon ends.
//! Who calls it: the tests that kill it or let its disk fail.

use std::collections::BTreeMap;

use cryptoki_sys::*;
use strongroom_tests::{
    Hsm, Module, Rv, SO_PIN, Session, USER_PIN, Way, pattern, product, template,
};

use crate::keys;

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    /// It has this value.
    Data(Vec<u8>),
    /// It encrypts zeros to this.
    Key(Vec<u8>),
    /// It was asked for, or asked away, and nothing was answered.
    Doubtful,
}

/// What was answered to one worker.
#[derive(Debug)]
pub struct Ledger {
    name: String,
    facts: BTreeMap<String, Fact>,
    made: u64,
    /// Requests that were answered.
    pub answers: u64,
}

impl Ledger {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            facts: BTreeMap::new(),
            made: 0,
            answers: 0,
        }
    }

    /// One more change of the token.
    pub fn work(&mut self, session: &Session<'_>) -> Result<(), Rv> {
        self.made += 1;
        match self.made % 5 {
            0 => self.rename(session),
            1 | 3 => self.create(session),
            2 => self.generate(session),
            _ if self.facts.len() > 12 || self.made.is_multiple_of(2) => self.destroy(session),
            _ => self.create(session),
        }?;
        self.answers += 1;
        Ok(())
    }

    fn label(&self) -> String {
        format!("{} {}", self.name, self.made)
    }

    fn create(&mut self, session: &Session<'_>) -> Result<(), Rv> {
        let label = self.label();
        let value = pattern(self.made, 10 + (self.made as usize * 700) % 9000);
        self.facts.insert(label.clone(), Fact::Doubtful);
        session.create(
            &keys::data(&label)
                .with(CKA_VALUE, value.as_slice())
                .with(CKA_TOKEN, true)
                .with(CKA_PRIVATE, self.made.is_multiple_of(2)),
        )?;
        self.facts.insert(label, Fact::Data(value));
        Ok(())
    }

    fn generate(&mut self, session: &Session<'_>) -> Result<(), Rv> {
        let label = self.label();
        self.facts.insert(label.clone(), Fact::Doubtful);
        let key = session.generate(
            CKM_AES_KEY_GEN,
            &keys::protected_aes()
                .with(CKA_TOKEN, true)
                .with(CKA_LABEL, label.as_str()),
        )?;
        let sealed = encrypted(session, key)?;
        self.facts.insert(label, Fact::Key(sealed));
        Ok(())
    }

    fn rename(&mut self, session: &Session<'_>) -> Result<(), Rv> {
        let Some((old, fact)) = self.oldest() else {
            return self.create(session);
        };
        let new = self.label();
        let object = found(session, &old)?;
        self.facts.insert(old.clone(), Fact::Doubtful);
        self.facts.insert(new.clone(), Fact::Doubtful);
        session.set(object, &template! { CKA_LABEL => new.as_str() })?;
        self.facts.remove(&old);
        self.facts.insert(new, fact);
        Ok(())
    }

    fn destroy(&mut self, session: &Session<'_>) -> Result<(), Rv> {
        let Some((old, _)) = self.oldest() else {
            return self.create(session);
        };
        let object = found(session, &old)?;
        self.facts.insert(old.clone(), Fact::Doubtful);
        session.destroy(object)?;
        self.facts.remove(&old);
        Ok(())
    }

    fn oldest(&self) -> Option<(String, Fact)> {
        let certain = self
            .facts
            .iter()
            .filter(|(_, fact)| **fact != Fact::Doubtful);
        let number = |label: &str| label.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok());
        certain
            .min_by_key(|(label, _)| number(label))
            .map(|(label, fact)| (label.clone(), fact.clone()))
    }

    /// After an error that was answered: nothing has changed, so nothing is in doubt.
    pub fn was_refused(&mut self, session: &Session<'_>) {
        let new = self.label();
        let all = everything(session);
        for label in self.doubtful() {
            let object = all.get(&label);
            if label == new {
                assert!(object.is_none(), "{label} was refused and is there");
                self.facts.remove(&label);
            } else {
                let object = object.unwrap_or_else(|| panic!("{label} was to stay"));
                let fact = look(session, *object, &label);
                self.facts.insert(label, fact);
            }
        }
    }

    fn doubtful(&self) -> Vec<String> {
        let doubtful = self
            .facts
            .iter()
            .filter(|(_, fact)| **fact == Fact::Doubtful);
        doubtful.map(|(label, _)| label.clone()).collect()
    }

    /// How many objects must be there.
    pub fn certain(&self) -> usize {
        self.facts.len() - self.doubtful().len()
    }
}

/// Compares what is there with all ledgers, and settles what was in doubt: a request that was not answered has happened, or not.
pub fn check(session: &Session<'_>, ledgers: &mut [&mut Ledger], when: &str) {
    let mut all = everything(session);
    for ledger in ledgers {
        for label in ledger.doubtful() {
            match all.remove(&label) {
                Some(object) => {
                    let fact = look(session, object, &label);
                    ledger.facts.insert(label, fact);
                }
                None => {
                    ledger.facts.remove(&label);
                }
            }
        }
        for (label, fact) in &ledger.facts {
            let Some(object) = all.remove(label) else {
                // Just settled.
                let objects = session
                    .find(&template! { CKA_LABEL => label.as_str() })
                    .unwrap();
                assert_eq!(
                    objects.len(),
                    1,
                    "{when}: {label} was answered and is not there"
                );
                continue;
            };
            assert_eq!(
                look(session, object, label),
                *fact,
                "{when}: {label} is another"
            );
        }
    }
    assert!(
        all.is_empty(),
        "{when}: nobody has made {all:?}, or they were destroyed"
    );
}

/// All token objects by label; no label is there twice.
fn everything(session: &Session<'_>) -> BTreeMap<String, CK_OBJECT_HANDLE> {
    let mut all = BTreeMap::new();
    for object in session.find(&template! { CKA_TOKEN => true }).unwrap() {
        let label = session.attribute(object, CKA_LABEL).unwrap();
        let label = String::from_utf8(label).unwrap();
        assert!(
            all.insert(label.clone(), object).is_none(),
            "{label} is there twice"
        );
    }
    all
}

/// An object that is there is there whole.
fn look(session: &Session<'_>, object: CK_OBJECT_HANDLE, label: &str) -> Fact {
    let half = |code: Rv| -> Fact { panic!("{label} is half there: {code:?}") };
    match session.number(object, CKA_CLASS) {
        Ok(CKO_DATA) => session
            .attribute(object, CKA_VALUE)
            .map_or_else(half, Fact::Data),
        Ok(_) => encrypted(session, object).map_or_else(half, Fact::Key),
        Err(code) => half(code),
    }
}

fn encrypted(session: &Session<'_>, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, Rv> {
    session.run(Way::Encrypt, CKM_AES_ECB, key, &[0; 32])
}

fn found(session: &Session<'_>, label: &str) -> Result<CK_OBJECT_HANDLE, Rv> {
    let objects = session.find(&template! { CKA_LABEL => label })?;
    assert_eq!(objects.len(), 1, "{label} was answered");
    Ok(objects[0])
}

/// Wrong PINs of a token's user, counted.
#[derive(Debug, Default)]
pub struct Tries {
    /// Answered as wrong since the PIN was last set.
    pub wrong: u32,
}

/// Wrong tries until a user's PIN locks (`src/limits.rs`).
const TRIES_MAX: u32 = 10;

impl Tries {
    /// One wrong PIN. A locked one is not a try.
    pub fn make(&mut self, session: &Session<'_>) -> Result<(), Rv> {
        match session.login(CKU_USER, "wrong-pin") {
            Err(Rv(CKR_PIN_INCORRECT)) => {
                self.wrong += 1;
                Ok(())
            }
            Err(Rv(CKR_PIN_LOCKED)) => Ok(()),
            Ok(()) => panic!("a wrong PIN was right"),
            Err(other) => Err(other),
        }
    }

    /// The counter is not lower than the tries that were answered. Once they come near the bound, the officer sets the PIN again.
    pub fn check(&mut self, module: &Module, slot: CK_SLOT_ID, when: &str) {
        let flags = module.token_info(slot).unwrap().flags;
        let has = |flag| flags & flag != 0;
        let locked = has(CKF_USER_PIN_LOCKED);
        assert!(
            self.wrong == 0 || has(CKF_USER_PIN_COUNT_LOW) || locked,
            "{when}: {} wrong tries are forgotten",
            self.wrong
        );
        assert!(
            self.wrong < TRIES_MAX - 1 || has(CKF_USER_PIN_FINAL_TRY) || locked,
            "{when}: after {} wrong tries this is not the last",
            self.wrong
        );
        assert!(self.wrong < TRIES_MAX || locked, "{when}: not locked");
        // Exactly: as many tries more as are left lock it, and not one later.
        if self.wrong >= TRIES_MAX - 3 || locked {
            let session = Session::open_rw(module, slot).unwrap();
            let mut more = 0;
            while session.login(CKU_USER, "wrong-pin") != Err(Rv(CKR_PIN_LOCKED)) {
                more += 1;
                assert!(
                    self.wrong + more <= TRIES_MAX,
                    "{when}: {} tries, and {more} more, and still not locked",
                    self.wrong
                );
            }
            session.login(CKU_SO, SO_PIN).unwrap();
            session.init_pin(USER_PIN).unwrap();
            session.logout().unwrap();
            session.close().unwrap();
            self.wrong = 0;
        }
    }
}

/// `strongroom verify` finds nothing wrong.
pub fn verified(hsm: &Hsm, when: &str) {
    let output = hsm
        .command(product::bin_dir().join("strongroom"))
        .args(["--home".as_ref(), hsm.home.as_os_str(), "verify".as_ref()])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{when}: {said}");
    assert!(said.contains("nothing is wrong"), "{when}: {said}");
}

/// `strongroomd --verify`, while no daemon runs, finds nothing wrong either.
pub fn verified_at_rest(hsm: &Hsm, when: &str) {
    let output = hsm
        .command(product::bin_dir().join("strongroomd"))
        .args(["--home".as_ref(), hsm.home.as_os_str(), "--verify".as_ref()])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{when}: {said}");
}
