//! Both ends, in two threads of one process, with a socket pair for the bell.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap is the failed assertion"
)]

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use strongroom_ring::spin::{LONGEST_FOR_ANSWERS, Spin};
use strongroom_ring::{
    ANSWER_BYTES_MAX, Answer, Bell, ClientEnd, REQUEST_BYTES_MAX, ServerEnd, Waited,
};

fn ends() -> (ServerEnd, ClientEnd) {
    let (server, descriptor) = ServerEnd::create().unwrap();
    let client = ClientEnd::open(descriptor.as_fd()).unwrap();
    (server, client)
}

/// Serves until the socket ends: each answer is the request reversed, after a pause that the request asks for in its first byte.
fn serve(mut ring: ServerEnd, mut socket: UnixStream) {
    let mut bell = [0; 1];
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
        let mut request = vec![0; ring.request_bytes().unwrap()];
        ring.take(&mut request);
        let pause = u64::from(request.first().copied().unwrap_or(0));
        if pause > 0 {
            thread::sleep(Duration::from_micros(pause));
        }
        request.reverse();
        let mut writer = ring.writer();
        assert!(writer.append(&request));
        let written = writer.written();
        if ring.answer(Some(written)) == Bell::Ring {
            socket.write_all(&[0]).unwrap();
        }
    }
}

fn ask(ring: &mut ClientEnd, socket: &mut UnixStream, spin: &mut Spin, request: &[u8]) -> Vec<u8> {
    if publish(ring, request) == Bell::Ring {
        socket.write_all(&[0]).unwrap();
    }
    let mut bell = [0; 1];
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
    let answer = ring.look(bytes).to_vec();
    ring.wipe(request.len(), bytes);
    answer
}

fn publish(ring: &mut ClientEnd, request: &[u8]) -> Bell {
    let mut writer = ring.writer();
    // In two parts, as messages are written.
    let (head, rest) = request.split_at(request.len() / 2);
    assert!(writer.append(head) && writer.append(rest));
    let written = writer.written();
    ring.ask(written)
}

#[test]
fn every_request_has_its_answer_whoever_sleeps() {
    let (server, mut client) = ends();
    let (here, mut there) = UnixStream::pair().unwrap();
    let serving = thread::spawn(move || serve(server, here));
    let mut spin = Spin::new(LONGEST_FOR_ANSWERS);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..20_000_u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Now and then one end or the other is slow enough for the other to fall asleep.
        let pause = if random.is_multiple_of(97) { 90 } else { 0 };
        if random.is_multiple_of(89) {
            thread::sleep(Duration::from_micros(80));
        }
        let mut request = vec![pause];
        request.extend_from_slice(&round.to_le_bytes());
        request.resize(9 + usize::try_from(random % 700).unwrap(), 7);
        let mut expected = request.clone();
        expected.reverse();
        assert_eq!(
            ask(&mut client, &mut there, &mut spin, &request),
            expected,
            "round {round}"
        );
    }
    drop(there);
    serving.join().unwrap();
}

#[test]
fn the_largest_fit_and_larger_ones_are_told() {
    let (mut server, mut client) = ends();
    let request: Vec<u8> = (0..REQUEST_BYTES_MAX)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let _ = publish(&mut client, &request);
    assert!(
        !client.writer().append(&[0; REQUEST_BYTES_MAX + 1]),
        "more does not fit"
    );
    assert!(server.has_request());
    let mut taken = vec![0; server.request_bytes().unwrap()];
    server.take(&mut taken);
    assert!(taken == request);
    assert!(!server.writer().append(&vec![1; ANSWER_BYTES_MAX + 1]));
    let _ = server.answer(None);
    assert!(client.has_answer());
    assert_eq!(client.answer(), Answer::OnSocket);
}

#[test]
fn what_was_asked_and_answered_is_wiped() {
    let (mut server, mut client) = ends();
    let _ = publish(&mut client, b"secret request");
    let mut taken = [0; 14];
    server.take(&mut taken);
    assert_eq!(&taken, b"secret request");
    assert!(server.writer().append(b"secret answer"));
    let _ = server.answer(Some(13));
    assert_eq!(client.look(13), b"secret answer");
    client.wipe(14, 13);
    assert_eq!(client.look(13), [0; 13]);
    server.take(&mut taken);
    assert_eq!(taken, [0; 14]);
}

#[test]
fn what_a_long_message_took_is_given_back() {
    let (mut server, mut client) = ends();
    let long = vec![7; 3 << 20];
    let _ = publish(&mut client, &long);
    let mut taken = vec![0; long.len()];
    server.take(&mut taken);
    assert!(taken == long);
    client.wipe(long.len(), 0);
    let mut again = vec![1; long.len()];
    server.take(&mut again);
    assert!(again.iter().all(|byte| *byte == 0));
    // The memory serves on.
    let _ = publish(&mut client, &long);
    server.take(&mut again);
    assert!(again == long);
}

#[test]
fn memory_of_another_form_is_refused() {
    let file = std::fs::File::open("/dev/zero").unwrap();
    assert!(ClientEnd::open(file.as_fd()).is_err());
}

/// Whoever counts ahead would keep the daemon at work for as many requests, also when he is gone.
#[test]
fn a_client_that_counts_ahead_is_refused() {
    let (mut server, mut client) = ends();
    let _ = publish(&mut client, b"one");
    assert_eq!(server.request_bytes(), Some(3));
    let _ = publish(&mut client, b"one more");
    assert_eq!(server.wait(), Waited::There);
    assert_eq!(server.request_bytes(), None);
}

#[test]
fn a_bell_that_comes_late_is_waited_past() {
    let (server, mut client) = ends();
    let (mut here, mut there) = UnixStream::pair().unwrap();
    // Rung for an answer that the client had seen while it spun.
    here.write_all(&[0]).unwrap();
    let serving = thread::spawn(move || serve(server, here));
    let mut spin = Spin::new(LONGEST_FOR_ANSWERS);
    // Slow enough for the client to fall asleep, and to meet that bell first.
    for _ in 0..3 {
        assert_eq!(
            ask(&mut client, &mut there, &mut spin, &[250, 1, 2]),
            vec![2, 1, 250]
        );
    }
    drop(there);
    serving.join().unwrap();
}
