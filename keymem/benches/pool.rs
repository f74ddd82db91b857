//! The pool: what it costs to take secret memory and to give it back wiped.
//!
//! What lives here: sizes that keys and messages have.
//! What must never live here: keys.
//! Who calls it: `cargo bench --package strongroom-keymem`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that cannot go on ends; the macros of criterion write functions without documentation"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use strongroom_keymem::{Config, Locking, SecretBytes};

fn allocate_and_release(criterion: &mut Criterion) {
    // Unlocked where locking is not allowed: filled pages cost the same to take and to wipe.
    strongroom_keymem::start(&Config {
        bytes: Some(16 << 20),
        locking: Locking::DangerUnlockedAllowed,
    })
    .unwrap();
    let mut group = criterion.benchmark_group("keymem: allocate and release");
    for bytes in [32_u64, 1 << 10, 16 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(bytes));
        let length = usize::try_from(bytes).unwrap();
        group.bench_function(BenchmarkId::from_parameter(bytes), |bench| {
            bench.iter(|| black_box(SecretBytes::zeroed(black_box(length)).unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, allocate_and_release);
criterion_main!(benches);
