//! Bounds of the sockets: frames that dawdle, connections that are idle, greetings that are too long.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::frame::{self, Door};

use crate::bench::{Client, Directory, Running};

fn with_limits(limits: &str) -> (Directory, Running) {
    let home = Directory::new();
    home.write("strongroom.toml", &format!("[limits]\n{limits}\n"));
    let daemon = Running::start(home.path());
    (home, daemon)
}

/// Whether the daemon closes this connection within a minute.
fn ends(client: &mut Client) -> bool {
    let minute = Some(Duration::from_mins(1));
    client.socket.set_read_timeout(minute).unwrap();
    match client.socket.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_frame_that_dawdles_ends_its_connection_and_an_idle_one_stays() {
    let (_home, daemon) = with_limits("frame_seconds_max = 1");
    let mut idle = daemon.application().hello();
    let begin = Instant::now();
    let mut slow = daemon.application().hello();
    let header = frame::header(Door::Application, 1 << 20).unwrap();
    slow.socket.write_all(&header).unwrap();
    slow.socket.write_all(&[0; 100]).unwrap();
    assert!(ends(&mut slow));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert!(idle.is_served());
    // The time of a frame is no time of the next one.
    assert!(idle.is_served());
}

#[test]
fn idle_connections_end_but_for_the_last_of_their_application() {
    let (_home, daemon) = with_limits("idle_seconds_max = 1");
    // All of one process and instance, so one application.
    let mut clients: Vec<_> = (0..4).map(|_| daemon.application().hello()).collect();
    let begin = Instant::now();
    while daemon.status().connections > 2 {
        assert!(begin.elapsed() < Duration::from_mins(1), "they stay");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begin.elapsed() >= Duration::from_millis(900));
    // One of administration, which asks, and one that has all sessions.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(daemon.status().connections, 2);
    assert_eq!(daemon.status().applications, 1);
    let served = clients.iter_mut().filter_map(|client| {
        let frame = client.frame(&strongroom_wire::request::Request::SlotList);
        client.socket.write_all(&frame).ok()?;
        client.receive()
    });
    assert_eq!(served.count(), 1);
}

#[test]
fn a_long_greeting_or_frame_is_refused() {
    let (_home, daemon) = with_limits("frame_bytes_max = 4194304");
    let mut stranger = daemon.application();
    let header = frame::header(Door::Application, 65 << 10).unwrap();
    stranger.socket.write_all(&header).unwrap();
    assert!(ends(&mut stranger));
    let mut client = daemon.application().hello();
    assert!(client.is_served());
    let header = frame::header(Door::Application, (4 << 20) + 1).unwrap();
    client.socket.write_all(&header).unwrap();
    assert!(ends(&mut client));
}

#[test]
fn every_bound_is_listed_with_its_reason() {
    let (_home, daemon) = with_limits("connections_max = 77");
    let _client = daemon.application().hello();
    let AdminAnswer::Limits(limits) = daemon.admin().administer(&AdminRequest::Limits) else {
        panic!("no limits");
    };
    let find = |name: &str| {
        let mut all = limits.items().iter();
        all.find(|limit| limit.name == name).expect(name).clone()
    };
    let connections = find("connections_max");
    assert_eq!(
        (connections.value, connections.used, connections.peak),
        (77, Some(1), Some(1))
    );
    assert!(
        find("requests_at_once_per_user_max").value > 0,
        "what is in force"
    );
    assert_eq!(find("sessions_max").used, Some(0));
    assert!(limits.items().iter().all(|limit| limit.reason.len() > 20));
}
