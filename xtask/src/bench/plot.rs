//! The plots, as SVG.
//!
//! What lives here: a drawing of lines, dots and words, and the two plots made with it.
//! What must never live here: a measurement.
//! Who calls it: `bench`.
//!
//! A plotting library would bring more packages than these two pictures have parts.

use std::fmt::Write as _;

use super::peers::{Numbers, Outcome};
use super::report::number;
use super::rounds::{CROWDED, Crowd, Row};
use crate::svg::{self, escaped};

const SOFTHSM: &str = "#c2571a";
const OURS: &str = "#1a6fc2";
const GREY: &str = "#999";
const LIGHT: &str = "#e4e4e4";

/// A picture that grows.
struct Drawing {
    width: f64,
    height: f64,
    parts: String,
}

/// How a text stands at its point.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Drawing {
    const fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            parts: String::new(),
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let _ = writeln!(
            self.parts,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    fn dot(&mut self, at: (f64, f64), colour: &str, said: &str) {
        let _ = writeln!(
            self.parts,
            r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{colour}"><title>{}</title></circle>"#,
            at.0,
            at.1,
            escaped(said)
        );
    }

    fn text(&mut self, at: (f64, f64), anchor: Anchor, colour: &str, said: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.parts,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}" fill="{colour}">{}</text>"#,
            at.0,
            at.1,
            escaped(said)
        );
    }

    /// The two colours and what they stand for.
    fn legend(&mut self, at: (f64, f64)) {
        for (place, (colour, said)) in [(SOFTHSM, "SoftHSM"), (OURS, "Strongroom")]
            .into_iter()
            .enumerate()
        {
            let left = at.0 + place as f64 * 90.0;
            self.dot((left, at.1 - 4.0), colour, said);
            self.text((left + 8.0, at.1), Anchor::Start, "#222", said);
        }
    }

    fn finished(self, title: &str) -> String {
        svg::document((self.width, self.height), title, &self.parts)
    }
}

const fn numbers(outcome: &Outcome) -> Option<&Numbers> {
    match outcome {
        Outcome::Measured(numbers) => Some(numbers),
        Outcome::Lacks(_) | Outcome::Failed(_) => None,
    }
}

/// Time of one operation: a line for each case, a dot for each module, on a logarithmic scale.
pub(super) fn latency(rows: &[Row]) -> String {
    const LEFT: f64 = 200.0;
    const RIGHT: f64 = 880.0;
    const TOP: f64 = 60.0;
    const STEP: f64 = 15.0;
    let alone: Vec<&Row> = rows
        .iter()
        .filter(|row| row.crowd == Crowd::Alone)
        .collect();
    let groups = alone
        .chunk_by(|one, other| one.case.group == other.case.group)
        .count();
    let times = || {
        alone
            .iter()
            .flat_map(|row| [&row.softhsm, &row.ours])
            .filter_map(numbers)
            .map(|numbers| numbers.p50.max(1.0).log10())
    };
    // Whole decades around all times, in nanoseconds.
    let low = times().fold(f64::INFINITY, f64::min).min(3.0).floor();
    let high = times().fold(0.0, f64::max).max(low + 1.0).ceil();
    let place = |time: f64| LEFT + (RIGHT - LEFT) * (time.max(1.0).log10() - low) / (high - low);
    let bottom = TOP + STEP * (alone.len() + 2 * groups) as f64;
    let mut drawing = Drawing::new(RIGHT + 20.0, bottom + 20.0);
    let title = "Time of one operation (median), less is better";
    drawing.text((LEFT, 18.0), Anchor::Start, "#222", title);
    drawing.legend((LEFT + 400.0, 18.0));
    let mut decade = low;
    while decade <= high {
        let across = place(10_f64.powf(decade));
        drawing.line((across, TOP - 12.0), (across, bottom), LIGHT, 1.0);
        let said = decade_name(decade);
        drawing.text((across, TOP - 18.0), Anchor::Middle, "#555", &said);
        decade += 1.0;
    }
    let mut down = TOP;
    for group in alone.chunk_by(|one, other| one.case.group == other.case.group) {
        down += STEP;
        if let Some(first) = group.first() {
            let name = &first.case.group;
            drawing.text((LEFT - 8.0, down + 4.0), Anchor::End, GREY, name);
        }
        for row in group {
            down += STEP;
            let name = &row.case.name;
            drawing.text((LEFT - 8.0, down + 4.0), Anchor::End, "#222", name);
            let both = (numbers(&row.softhsm), numbers(&row.ours));
            if let (Some(softhsm), Some(ours)) = both {
                let ends = (place(softhsm.p50), place(ours.p50));
                drawing.line((ends.0, down), (ends.1, down), GREY, 1.0);
            }
            for (side, colour) in [(both.0, SOFTHSM), (both.1, OURS)] {
                if let Some(side) = side {
                    let said = format!("{name}: {} µs", number(side.p50 / 1_000.0));
                    drawing.dot((place(side.p50), down), colour, &said);
                }
            }
        }
        down += STEP;
    }
    drawing.finished(title)
}

fn decade_name(decade: f64) -> String {
    let (unit, below) = match decade {
        decade if decade < 3.0 => ("ns", 0.0),
        decade if decade < 6.0 => ("µs", 3.0),
        decade if decade < 9.0 => ("ms", 6.0),
        _ => ("s", 9.0),
    };
    format!("{:.0} {unit}", 10_f64.powf(decade - below))
}

/// Operations a second by threads: a panel for each case, from zero.
pub(super) fn throughput(rows: &[Row]) -> String {
    const COLUMNS: usize = 3;
    const PANEL: (f64, f64) = (300.0, 200.0);
    const PLOT: (f64, f64) = (210.0, 120.0);
    let lines = CROWDED.len().div_ceil(COLUMNS);
    let mut drawing = Drawing::new(PANEL.0 * COLUMNS as f64, 40.0 + PANEL.1 * lines as f64);
    let title = "Operations a second by threads, more is better";
    drawing.text((20.0, 20.0), Anchor::Start, "#222", title);
    drawing.legend((420.0, 20.0));
    for (number, name) in CROWDED.iter().enumerate() {
        let corner = (
            PANEL.0 * (number % COLUMNS) as f64 + 70.0,
            PANEL.1 * (number / COLUMNS) as f64 + 70.0,
        );
        panel(&mut drawing, corner, PLOT, rows, name);
    }
    drawing.finished(title)
}

fn panel(drawing: &mut Drawing, corner: (f64, f64), size: (f64, f64), rows: &[Row], name: &str) {
    let of = |threads: u32| {
        rows.iter().find(|row| {
            let crowd = match row.crowd {
                Crowd::Alone => 1,
                Crowd::Threads(number) => number,
                Crowd::Processes(_) => 0,
            };
            row.case.name == name && crowd == threads
        })
    };
    let rates = |side: fn(&Row) -> &Outcome| -> Vec<(u32, f64)> {
        [1, 2, 4]
            .into_iter()
            .filter_map(|threads| Some((threads, numbers(side(of(threads)?))?.rate)))
            .collect()
    };
    let sides = [
        (rates(|row| &row.softhsm), SOFTHSM),
        (rates(|row| &row.ours), OURS),
    ];
    let most = sides
        .iter()
        .flat_map(|(rates, _)| rates)
        .fold(1.0, |most: f64, (_, rate)| most.max(*rate));
    let place = |threads: u32, rate: f64| {
        let across = f64::from(threads - 1) / 3.0;
        (
            corner.0 + size.0 * across,
            corner.1 + size.1 * (1.0 - rate / most),
        )
    };
    let bottom = corner.1 + size.1;
    drawing.text((corner.0, corner.1 - 10.0), Anchor::Start, "#222", name);
    for (share, rate) in [(0.0, 0.0), (0.5, most / 2.0), (1.0, most)] {
        let down = bottom - size.1 * share;
        drawing.line((corner.0, down), (corner.0 + size.0, down), LIGHT, 1.0);
        let said = if rate == 0.0 {
            "0".to_owned()
        } else {
            number(rate)
        };
        drawing.text((corner.0 - 6.0, down + 4.0), Anchor::End, "#555", &said);
    }
    for threads in [1, 2, 4] {
        let at = (place(threads, 0.0).0, bottom + 15.0);
        drawing.text(at, Anchor::Middle, "#555", &threads.to_string());
    }
    for (rates, colour) in sides {
        for pair in rates.windows(2) {
            if let [from, to] = pair {
                drawing.line(place(from.0, from.1), place(to.0, to.1), colour, 1.5);
            }
        }
        for (threads, rate) in rates {
            let said = format!("{threads}: {}", number(rate));
            drawing.dot(place(threads, rate), colour, &said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::Case;
    use super::*;

    fn row(name: &str, crowd: Crowd) -> Row {
        let took = |p50| {
            Outcome::Measured(Numbers {
                p50,
                rate: 1e9 / p50,
                ..Numbers::default()
            })
        };
        Row {
            case: Case {
                name: name.to_owned(),
                group: "a<b".to_owned(),
                ..Case::default()
            },
            crowd,
            softhsm: took(20_000.0),
            ours: took(10_000.0),
            ratio: Some(2.0),
            noisy: false,
        }
    }

    #[test]
    fn both_modules_have_a_dot_for_each_case() {
        let rows = [row("x", Crowd::Alone), row("x", Crowd::Threads(2))];
        let text = latency(&rows);
        let dots = |colour: &str| {
            text.matches(&format!("r=\"3.5\" fill=\"{colour}\""))
                .count()
        };
        // One of each is the legend's.
        assert_eq!((dots(OURS), dots(SOFTHSM)), (2, 2));
        assert!(text.contains("a&lt;b") && !text.contains("a<b"));
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    }

    #[test]
    fn a_panel_has_a_dot_for_each_number_of_threads() {
        let name = CROWDED[0];
        let rows = [row(name, Crowd::Alone), row(name, Crowd::Threads(4))];
        let text = throughput(&rows);
        let dots = text.matches(&format!("r=\"3.5\" fill=\"{OURS}\"")).count();
        assert_eq!(dots, 3);
    }

    #[test]
    fn decades_have_names() {
        let names: Vec<String> = [2.0, 3.0, 5.0, 6.0, 9.0].map(decade_name).into();
        assert_eq!(names, ["100 ns", "1 µs", "100 µs", "1 ms", "1 s"]);
    }
}
