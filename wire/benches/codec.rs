//! The codec: what it costs to put a request or an answer into bytes, and to take it out again.
//!
//! What lives here: a C_Sign and its answer.
//! What must never live here: transport.
//! Who calls it: `cargo bench --package strongroom-wire`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that cannot go on ends; the macros of criterion write functions without documentation"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec;
use strongroom_wire::request::{Output, Request, SessionHandle};
use strongroom_wire::response::{Answer, Body};
use strongroom_wire::secret::Secret;

fn request(criterion: &mut Criterion) {
    let request = Request::Sign {
        session: SessionHandle(7),
        data: Secret::new(&[7; 32]),
        output: Output::Capacity(256),
    };
    let mut bytes = Vec::with_capacity(256);
    criterion.bench_function("wire: encode a C_Sign", |bench| {
        bench.iter(|| {
            bytes.clear();
            codec::encode(black_box(&request), &mut bytes).unwrap();
        });
    });
    criterion.bench_function("wire: decode a C_Sign", |bench| {
        bench.iter(|| {
            black_box(codec::decode::<Request<'_>>(black_box(&bytes)).unwrap());
        });
    });
}

fn answer(criterion: &mut Criterion) {
    let answer = Answer {
        rv: Rv::OK,
        body: Body::Output {
            length: 64,
            data: Secret::new(&[7; 64]),
        },
    };
    let mut bytes = Vec::with_capacity(256);
    criterion.bench_function("wire: encode an answer of 64 bytes", |bench| {
        bench.iter(|| {
            bytes.clear();
            codec::encode(black_box(&answer), &mut bytes).unwrap();
        });
    });
    criterion.bench_function("wire: decode an answer of 64 bytes", |bench| {
        bench.iter(|| {
            black_box(codec::decode::<Answer<'_>>(black_box(&bytes)).unwrap());
        });
    });
}

criterion_group!(benches, request, answer);
criterion_main!(benches);
