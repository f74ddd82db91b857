//! The bounds that an operator may set: `[limits]` of the configuration file.
//!
//! What lives here: the bounds of the sockets with their reasons, the keys, and the refusal of values that make no sense.
//! What must never live here: the bounds of the token; those stand in `strongroom::limits`.
//! Who calls it: the configuration file.

use serde::Deserialize;
use strongroom::bounds;
use strongroom::limits::{Bound, Limits};
use strongroom_wire::frame::PAYLOAD_BYTES_MAX;

bounds! {
    /// Bounds of the sockets.
    Bounds;
    /// Connections of applications in all. Each costs a thread, two descriptors and some 8 KiB of locked memory.
    connections_max: usize = 1024, 1 => 1 << 20;
    /// Connections of one user, so that no user can keep the others out.
    connections_per_user_max: usize = 768, 1 => 1 << 20;
    /// Requests of one application worked on at once; its further ones wait for these. 0 is twice the processors.
    requests_at_once_per_application_max: usize = 0, 0 => 65_536;
    /// Requests of one user worked on at once, in all processes of the user. 0 is four times the processors.
    requests_at_once_per_user_max: usize = 0, 0 => 65_536;
    /// PINs stretched at once (Argon2id, 16 MiB and some ten milliseconds each), one of each user. 0 is as many as processors.
    pins_at_once_max: usize = 0, 0 => 4_096;
    /// Longest payload of a frame in bytes; a longer one ends its connection. The usual value is the longest of the protocol.
    frame_bytes_max: usize = PAYLOAD_BYTES_MAX, 4 << 20 => PAYLOAD_BYTES_MAX as u64;
    /// How long a frame that has begun may take to be whole, in seconds: half a frame holds memory.
    frame_seconds_max: u64 = 60, 1 => 86_400;
    /// Bytes in all of frames over 64 KiB that are coming or being worked on; the next ones wait.
    large_frame_bytes_max: usize = 1 << 30, PAYLOAD_BYTES_MAX as u64 + 64 => 1 << 40;
    /// The same of one user, so that others need not wait.
    large_frame_bytes_per_user_max: usize = 512 << 20, PAYLOAD_BYTES_MAX as u64 + 64 => 1 << 40;
    /// The same of one application, so that what it began and never sends is in nobody else's way.
    large_frame_bytes_per_application_max: usize = 256 << 20, PAYLOAD_BYTES_MAX as u64 + 64 => 1 << 40;
    /// Seconds after which an idle connection is closed, if its application has another one: sessions stay. 0 is never, because an idle
    /// connection costs little and a new one costs a millisecond.
    idle_seconds_max: u64 = 0, 0 => 31_536_000;
}

/// Makes the section: a key for each bound, and the two structures with what was written in their places.
macro_rules! section {
    ($($limit:ident)+; $($bound:ident)+) => {
        /// `[limits]`: names are those of the bounds themselves.
        #[derive(Clone, Copy, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[allow(missing_docs, reason = "each is documented where the bound is")]
        pub struct LimitsSection {
            $(pub $limit: Option<u64>,)+
            $(pub $bound: Option<u64>,)+
        }

        impl LimitsSection {
            /// The bounds of the token.
            #[must_use]
            pub fn limits(&self) -> Limits {
                let mut limits = Limits::default();
                $(if let Some(value) = self.$limit.and_then(|value| value.try_into().ok()) {
                    limits.$limit = value;
                })+
                limits
            }

            /// The bounds of the sockets.
            #[must_use]
            pub fn bounds(&self) -> Bounds {
                let mut bounds = Bounds::default();
                $(if let Some(value) = self.$bound.and_then(|value| value.try_into().ok()) {
                    bounds.$bound = value;
                })+
                bounds
            }

            fn written(&self) -> Vec<(&'static str, Option<u64>)> {
                vec![
                    $((stringify!($limit), self.$limit),)+
                    $((stringify!($bound), self.$bound),)+
                ]
            }
        }
    };
}

section! {
    sessions_per_application_max sessions_max session_objects_max token_objects_max user_tries_max so_tries_max open_keys_max
    pin_bytes_min wrong_pin_delay_ms wrong_pins_per_minute_max logins_per_minute_max tokens_max search_results_max random_bytes_max
    held_data_bytes_max ticket_seconds_max rsa_bits_min imports_max import_objects_max import_bytes_max
    releases_per_minute_max statement_seconds_max;
    connections_max connections_per_user_max requests_at_once_per_application_max requests_at_once_per_user_max pins_at_once_max
    frame_bytes_max frame_seconds_max large_frame_bytes_max large_frame_bytes_per_user_max
    large_frame_bytes_per_application_max idle_seconds_max
}

impl LimitsSection {
    /// Refuses a value out of its range. A bound of zero, where it does not mean none, would lock everybody out, for ever in the case of
    /// the tries.
    ///
    /// # Errors
    /// What is wrong, why there is such a bound, and what to write.
    pub fn check(&self) -> Result<(), String> {
        let listed = || Limits::LISTED.iter().chain(Bounds::LISTED);
        for (name, written) in self.written() {
            let Some(value) = written else { continue };
            let Some(bound) = listed().find(|bound| bound.name == name) else {
                continue;
            };
            if !(bound.least..=bound.most).contains(&value) {
                return Err(out_of_range(bound, value));
            }
        }
        Ok(())
    }
}

fn out_of_range(bound: &Bound, value: u64) -> String {
    let Bound {
        name,
        least,
        most,
        reason,
    } = bound;
    let zero = if value == 0 {
        "; 0 would lock everybody out"
    } else {
        ""
    };
    format!(
        "limits.{name} = {value} is out of its range, {least} to {most}{zero}; leave the key away for the usual value.{reason}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_has_a_key_and_every_key_a_bound() {
        let keys: Vec<_> = LimitsSection::default()
            .written()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let bounds: Vec<_> = Limits::LISTED
            .iter()
            .chain(Bounds::LISTED)
            .map(|bound| bound.name)
            .collect();
        assert_eq!(keys, bounds);
    }

    #[test]
    fn usual_values_are_in_range_and_those_outside_are_refused_with_the_reason() {
        let usual = [Limits::default().values(), Bounds::default().values()].concat();
        for (bound, value) in Limits::LISTED.iter().chain(Bounds::LISTED).zip(usual) {
            assert!((bound.least..=bound.most).contains(&value), "{bound:?}");
            assert!(bound.reason.len() > 30, "{bound:?}");
            for wrong in [bound.least.checked_sub(1), bound.most.checked_add(1)] {
                let Some(wrong) = wrong else { continue };
                let text = format!("{} = {wrong}", bound.name);
                let section: LimitsSection = toml::from_str(&text).unwrap();
                let refused = section.check().unwrap_err();
                assert!(refused.contains(bound.reason), "{refused}");
            }
        }
    }
}
