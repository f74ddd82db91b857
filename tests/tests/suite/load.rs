//! Crowds: short runs of what `cargo xtask soak` does for an hour and `cargo xtask fuzz` with ten million frames.

use std::time::Duration;

use strongroom_tests::load::frames::Spoiled;
use strongroom_tests::load::{fuzz, soak};
use strongroom_tests::not_on_softhsm;

#[test]
fn a_crowd_of_honest_applications_has_no_error_and_leaves_memory_flat() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let plan = soak::Plan {
        time: Duration::from_secs(8),
        connections: 200,
        sessions: 2_000,
        objects: 500,
        ..soak::Plan::default()
    };
    let report = soak::run(&plan, &|_| {}).unwrap();
    println!("{}", report.text());
    assert_eq!(report.faults, [""; 0]);
    assert_eq!(report.latencies.len(), 11, "every kind of work was done");
}

#[test]
fn two_hundred_thousand_spoiled_frames_do_not_disturb_the_honest_one() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let plan = fuzz::Plan {
        frames: 200_000,
        clients: 8,
        seed: 1,
    };
    let report = fuzz::run(&plan, &|_| {}).unwrap();
    println!("{}", report.text());
    assert_eq!(report.faults, [""; 0]);
    let tally = &report.tally;
    assert!(tally.frames() >= plan.frames);
    // They came far: many were carried out, and every way to spoil one was tried.
    assert!(tally.answers[&0] > plan.frames / 10);
    assert!(tally.answers.len() > 20, "{:?}", tally.answers);
    assert_eq!(tally.sent.len(), 9, "{:?}", tally.sent);
    assert!(tally.sent[&Spoiled::Shared] > 1_000);
    assert!(report.honest.count() > 100);
}
