//! Ten thousand objects: what grows with their number and what must not.
//!
//! Times are printed; asserted are ratios within one run, because machines differ.

use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::{Session, Workplace, template};

use crate::keys;

const MANY: usize = 10_000;

fn fill(session: &Session<'_>, from: usize, to: usize) {
    for number in from..to {
        let template = keys::data(&format!("object {number}"))
            .with(CKA_TOKEN, true)
            .with(CKA_APPLICATION, format!("application {}", number % 10));
        session.create(&template).unwrap();
    }
}

/// The time of an undisturbed search by label among what there is: the fastest tenth, because other tests run beside this one.
fn time_of_find(session: &Session<'_>, label: &str) -> Duration {
    let mut times: Vec<Duration> = (0..201)
        .map(|_| {
            let begin = Instant::now();
            let found = session.find(&template! { CKA_LABEL => label }).unwrap();
            let time = begin.elapsed();
            assert_eq!(found.len(), 1);
            time
        })
        .collect();
    times.sort_unstable();
    times[20]
}

#[test]
fn searching_by_label_does_not_slow_down_with_ten_thousand_objects() {
    if strongroom_tests::not_on_softhsm("it takes minutes") {
        return;
    }
    let mut place = Workplace::open();
    let session = place.user();
    fill(&session, 0, 10);
    let few = time_of_find(&session, "object 7");
    let begin = Instant::now();
    fill(&session, 10, MANY);
    println!("making {} token objects: {:?}", MANY - 10, begin.elapsed());
    // Other tests run beside this one: one quiet moment of three is enough.
    let many = (0..3)
        .map(|_| time_of_find(&session, "object 7007"))
        .min()
        .unwrap();
    println!("find by label: {few:?} among 10, {many:?} among {MANY}");
    assert!(
        many < few * 3,
        "find by label: {few:?} among 10, {many:?} among {MANY}"
    );
    let begin = Instant::now();
    let all = session.find(&template! { CKA_TOKEN => true }).unwrap();
    println!("listing all of them: {:?}", begin.elapsed());
    assert_eq!(all.len(), MANY);
    let attribute = session.attribute(all[MANY / 2], CKA_LABEL).unwrap();
    assert!(attribute.starts_with(b"object "));
    place.module.finalize().unwrap();
    place.hsm.stop_daemon();
    let begin = Instant::now();
    place.hsm.start_daemon();
    place.hsm.initialize(&place.module);
    place.slot = place.module.slot_labelled("suite").unwrap();
    let session = place.user();
    assert_eq!(
        session
            .find(&template! { CKA_LABEL => "object 9999" })
            .unwrap()
            .len(),
        1
    );
    let time = begin.elapsed();
    println!("restart to the first answer with {MANY} objects: {time:?}");
    assert!(
        time < Duration::from_secs(20),
        "far beyond what a start may take: {time:?}"
    );
}

#[test]
fn many_sessions_and_session_objects_come_and_go() {
    let place = Workplace::open();
    let keep = place.user();
    for round in 0..5 {
        let sessions: Vec<Session<'_>> = (0..200).map(|_| place.public()).collect();
        for session in &sessions {
            let label = format!("of a session {round}");
            session.create(&keys::data(&label)).unwrap();
        }
        let label = format!("of a session {round}");
        assert_eq!(
            keep.find(&template! { CKA_LABEL => label.as_str() })
                .unwrap()
                .len(),
            200
        );
        for session in &sessions {
            session.close().unwrap();
        }
        assert!(
            keep.find(&template! { CKA_LABEL => label.as_str() })
                .unwrap()
                .is_empty()
        );
    }
}
