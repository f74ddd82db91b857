//! The calendar: from milliseconds to dates, as attributes and the token's clock have them.
//!
//! What lives here: [`Date`] and the conversion (the proleptic Gregorian calendar, UTC).
//! What must never live here: a clock; time comes from [`crate::ports::Clock`].
//! Who calls it: policy, token information, audit.

use crate::ports::Time;

/// A day, as `CK_DATE` has it. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Full year.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// A moment taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its day.
    pub date: Date,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 to 999.
    pub millisecond: u32,
}

impl Date {
    /// Parses the 8 digits of `CK_DATE`; none when they name no day. An empty date is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 8 || !bytes.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = |part: &[u8]| {
            part.iter()
                .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
        };
        let (year, rest) = bytes.split_at(4);
        let (month, day) = rest.split_at(2);
        let date = Self {
            year: number(year),
            month: number(month),
            day: number(day),
        };
        ((1..=12).contains(&date.month) && (1..=31).contains(&date.day)).then_some(date)
    }
}

impl Date {
    /// Its first second, since 1970-01-01T00:00:00Z; days before count as that one.
    #[must_use]
    pub fn seconds(self) -> u64 {
        // Years that begin in March, as below.
        let year = u64::from(self.year) - u64::from(self.month <= 2 && self.year > 0);
        let month = u64::from(self.month + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + u64::from(self.day.saturating_sub(1));
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
        days.saturating_sub(719_468) * 86_400
    }
}

impl Moment {
    /// Year, month, day, hour, minute and second in 14 digits, as certificates have them (RFC 5280, 4.1.2.5.2).
    #[must_use]
    pub fn digits(&self) -> String {
        let Self {
            date,
            hour,
            minute,
            second,
            ..
        } = self;
        let Date { year, month, day } = date;
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }
}

impl From<Time> for Moment {
    /// Counts days in years that begin in March, so that the leap day comes last.
    fn from(time: Time) -> Self {
        let of_day = u32::try_from(time.0 % 86_400_000).unwrap_or(0);
        let days = time.0 / 86_400_000 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            date: Date {
                year: small(year),
                month: small(month),
                day: small(day),
            },
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1_000 % 60,
            millisecond: of_day % 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (time, year, month, day) in [
            (0, 1970, 1, 1),
            (951_782_399_999, 2000, 2, 28),
            (951_782_400_000, 2000, 2, 29),
            (951_868_800_000, 2000, 3, 1),
            (4_107_542_400_000, 2100, 3, 1),
            (1_795_343_807_123, 2026, 11, 22),
        ] {
            let moment = Moment::from(Time(time));
            assert_eq!(moment.date, Date { year, month, day }, "{time}");
            assert_eq!(moment.date.seconds(), time / 86_400_000 * 86_400, "{time}");
        }
        let moment = Moment::from(Time(1_795_343_807_123));
        assert_eq!(moment.digits(), "20261122103647");
        assert_eq!(
            (
                moment.hour,
                moment.minute,
                moment.second,
                moment.millisecond
            ),
            (10, 36, 47, 123)
        );
    }

    #[test]
    fn dates_parse_or_not() {
        assert_eq!(
            Date::parse(b"20261122"),
            Some(Date {
                year: 2026,
                month: 11,
                day: 22
            })
        );
        for wrong in [&b""[..], b"2026112", b"20261322", b"20260100", b"2026112x"] {
            assert_eq!(Date::parse(wrong), None);
        }
    }
}
