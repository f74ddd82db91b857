//! The ring: a request and its answer between two threads, with a socket pair as the bell.
//!
//! What lives here: round trips of three sizes; the answer is as long as the request.
//! What must never live here: what the bytes mean.
//! Who calls it: `cargo bench --package strongroom-ring`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark that cannot go on ends; the macros of criterion write functions without documentation"
)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use strongroom_ring::spin::{LONGEST_FOR_ANSWERS, Spin};
use strongroom_ring::{Answer, Bell, ClientEnd, ServerEnd, Waited};

/// Answers every request with its own bytes, until the socket ends.
fn serve(mut ring: ServerEnd, mut socket: UnixStream) {
    let mut bell = [0];
    let mut request = Vec::new();
    loop {
        if ring.wait() != Waited::There {
            match socket.read(&mut bell) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if !ring.has_request() {
                continue;
            }
        }
        request.resize(ring.request_bytes().unwrap(), 0);
        ring.take(&mut request);
        let mut writer = ring.writer();
        assert!(writer.append(&request));
        let written = writer.written();
        if ring.answer(Some(written)) == Bell::Ring {
            socket.write_all(&[0]).unwrap();
        }
    }
}

fn ask(ring: &mut ClientEnd, socket: &mut UnixStream, spin: &mut Spin, request: &[u8]) -> usize {
    let mut writer = ring.writer();
    assert!(writer.append(request));
    let written = writer.written();
    if ring.ask(written) == Bell::Ring {
        socket.write_all(&[0]).unwrap();
    }
    let mut bell = [0];
    while ring.wait(spin) != Waited::There {
        socket.read_exact(&mut bell).unwrap();
        // A late bell, for the answer before, is possible: then it waits on.
        if ring.has_answer() {
            break;
        }
    }
    let Answer::Here(bytes) = ring.answer() else {
        panic!("{:?}", ring.answer())
    };
    black_box(ring.look(bytes));
    ring.wipe(request.len(), bytes);
    bytes
}

fn round_trip(criterion: &mut Criterion) {
    let (server, descriptor) = ServerEnd::create().unwrap();
    let mut client = ClientEnd::open(descriptor.as_fd()).unwrap();
    let (here, mut there) = UnixStream::pair().unwrap();
    let serving = thread::spawn(move || serve(server, here));
    let mut spin = Spin::new(LONGEST_FOR_ANSWERS);
    let mut group = criterion.benchmark_group("ring: round trip");
    for bytes in [64_u64, 4 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(bytes));
        let request = vec![7; usize::try_from(bytes).unwrap()];
        group.bench_function(BenchmarkId::from_parameter(bytes), |bench| {
            bench.iter(|| ask(&mut client, &mut there, &mut spin, black_box(&request)));
        });
    }
    group.finish();
    drop(there);
    serving.join().unwrap();
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
