//! Clients that mean harm: each loses its own connection, and nobody else notices.

use std::io::{Read, Write};
use std::net::Shutdown;

use strongroom_wire::frame::{self, Door, HEADER_BYTES, PAYLOAD_BYTES_MAX};
use strongroom_wire::request::{Output, Request, SessionHandle};
use strongroom_wire::secret::Secret;

use crate::bench::{Client, Directory, Running};

fn header(payload_bytes: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = frame::header(Door::Application, 0).unwrap();
    bytes[8..].copy_from_slice(&payload_bytes.to_le_bytes());
    bytes
}

/// Whether the daemon has closed this connection.
fn is_closed(client: &mut Client) -> bool {
    let mut byte = [0];
    // Closed with bytes unread shows as a reset.
    matches!(client.socket.read(&mut byte), Ok(0) | Err(_))
}

#[test]
fn wrong_frames_close_their_own_connection_only() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let mut good = daemon.application().hello();
    let maximum = u32::try_from(PAYLOAD_BYTES_MAX).unwrap();
    let mut wrong_version = header(0);
    wrong_version[4] = 99;
    let openings: [Vec<u8>; 7] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        frame::header(Door::Admin, 0).unwrap().to_vec(),
        header(maximum + 1).to_vec(),
        header(u32::MAX).to_vec(),
        wrong_version.to_vec(),
        [header(4).as_slice(), &[0xff; 4]].concat(),
    ];
    for opening in openings {
        // As a first frame, and after a greeting.
        for mut client in [daemon.application(), daemon.application().hello()] {
            client.socket.write_all(&opening).unwrap();
            assert!(is_closed(&mut client), "{opening:x?}");
        }
        assert!(good.is_served());
    }
    let mut rude = daemon.application();
    rude.send(&Request::SlotList);
    assert!(is_closed(&mut rude), "the first frame must be a greeting");
    assert!(good.is_served());
}

#[test]
fn half_frames_and_lying_lengths_cost_nothing() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let mut good = daemon.application().hello();
    let maximum = u32::try_from(PAYLOAD_BYTES_MAX).unwrap();
    let liars: Vec<Client> = (0..16)
        .map(|_| {
            let mut liar = daemon.application().hello();
            liar.socket.write_all(&header(maximum)).unwrap();
            liar.socket.write_all(&[1; 100]).unwrap();
            liar
        })
        .collect();
    assert!(good.is_served());
    // 16 times 72 MiB were announced; the daemon has 4 MiB.
    let status = daemon.status();
    assert!(status.memory_bytes_used < 3 << 20, "{status:?}");
    for liar in &liars {
        liar.socket.shutdown(Shutdown::Write).unwrap();
    }
    for mut liar in liars {
        assert!(is_closed(&mut liar));
    }
    let mut admin = daemon.admin();
    while admin.status().connections > 2 {}
    assert!(good.is_served());
}

#[test]
fn frames_may_come_in_any_pieces() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let mut client = daemon.application().hello();
    let request = client.frame(&Request::SlotList);
    for byte in &request {
        client.socket.write_all(&[*byte]).unwrap();
    }
    assert!(client.receive().is_some());
    client
        .socket
        .write_all(&[request.as_slice(), &request, &request].concat())
        .unwrap();
    for _ in 0..3 {
        assert!(client.receive().is_some());
    }
    // Sizes around every step of the buffer; the session does not exist, so the answer is short.
    for size in [
        4_000,
        4_085,
        4_097,
        32_768,
        65_530,
        65_537,
        200_000,
        3 << 20,
        20 << 20,
    ] {
        let data = vec![0x5a; size];
        client.send(&Request::Encrypt {
            session: SessionHandle(1),
            data: Secret::new(&data),
            output: Output::Size,
        });
        assert!(client.receive().is_some(), "{size}");
    }
    assert!(client.is_served());
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let mut patient = daemon.application().hello();
    let mut silent = daemon.application();
    let mut slow = daemon.application();
    let start = std::time::Instant::now();
    slow.socket.write_all(&header(10)[..7]).unwrap();
    assert!(is_closed(&mut silent));
    assert!(is_closed(&mut slow));
    assert!((4..10).contains(&start.elapsed().as_secs()));
    assert!(patient.is_served());
}
