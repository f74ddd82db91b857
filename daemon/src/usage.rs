//! Every bound with its value, and how much of it is in use.
//!
//! What lives here: the list of the token, completed by the bounds of the sockets.
//! What must never live here: the bounds themselves.
//! Who calls it: administration.

use strongroom_wire::admin::{AdminAnswer, LimitLine};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec::List;

use crate::config::Bounds;
use crate::daemon::Daemon;

/// Answers [`strongroom_wire::admin::AdminRequest::Limits`].
#[must_use]
pub fn limits(daemon: &Daemon) -> AdminAnswer {
    let mut lines = daemon.service.usage();
    let bounds = daemon.configuration().bounds;
    let (connections, connections_peak, of_user) = daemon.connections.of_applications();
    let [application, user, pins] = daemon.turns.counts();
    let (bytes, bytes_peak, bytes_of_user, bytes_of_application) = daemon.turns.loaded();
    for (bound, value) in Bounds::LISTED.iter().zip(bounds.values()) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let in_force = |(most, now, peak): (usize, usize, usize)| {
            (number(most), Some(number(now)), Some(number(peak)))
        };
        let (value, used, peak) = match bound.name {
            "connections_max" => (
                value,
                Some(number(connections)),
                Some(number(connections_peak)),
            ),
            "connections_per_user_max" => (value, Some(number(of_user)), None),
            "requests_at_once_per_application_max" => in_force(application),
            "requests_at_once_per_user_max" => in_force(user),
            "pins_at_once_max" => in_force(pins),
            "large_frame_bytes_max" => (value, Some(number(bytes)), Some(number(bytes_peak))),
            "large_frame_bytes_per_user_max" => (value, Some(number(bytes_of_user)), None),
            "large_frame_bytes_per_application_max" => {
                (value, Some(number(bytes_of_application)), None)
            }
            _ => (value, None, None),
        };
        lines.push(LimitLine {
            name: bound.name.to_owned(),
            value,
            used,
            peak,
            reason: bound.reason.trim().to_owned(),
        });
    }
    List::new(lines).map_or_else(
        || AdminAnswer::Refused {
            rv: Rv::DEVICE_MEMORY,
            reason: "there is too much to list".to_owned(),
        },
        AdminAnswer::Limits,
    )
}
