//! The flame graph as SVG.
//!
//! What lives here: places, colours and texts of boxes.
//! What must never live here: a script; the picture must show in any viewer.
//! Who calls it: `flame`.

use std::fmt::Write as _;

use super::fold::{Frame, Owner};
use crate::svg::{self, escaped};

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW: f64 = 16.0;
const HEADING: f64 = 26.0;
/// Of the monospaced font.
const LETTER_WIDTH: f64 = 6.7;
/// Fewer letters say nothing.
const LETTERS_MIN: usize = 3;
/// Frames with less than this share of their process are left out: nobody could see them.
const SHARE_MIN: f64 = 0.001;

/// Draws trees, each with a heading, one above the other.
pub(super) fn draw(title: &str, trees: &[(&str, &Frame)]) -> String {
    let mut parts = String::new();
    heading(&mut parts, (MARGIN, 20.0), 15, title);
    legend(&mut parts);
    let mut top = 52.0;
    for (who, tree) in trees {
        let said = format!("{who}: {} samples", tree.samples);
        heading(&mut parts, (MARGIN, top + 16.0), 13, &said);
        let rows = rows(tree, tree.samples);
        let bottom = top + HEADING + ROW * rows as f64;
        parts.push_str("<g font-family=\"monospace\">\n");
        let unit = (WIDTH - 2.0 * MARGIN) / tree.samples.max(1) as f64;
        let whole = Whole {
            samples: tree.samples,
            unit,
        };
        whole.boxes(&mut parts, tree, (MARGIN, bottom));
        parts.push_str("</g>\n");
        top = bottom + HEADING;
    }
    svg::document((WIDTH, top), title, &parts)
}

fn heading(parts: &mut String, at: (f64, f64), size: u32, said: &str) {
    let _ = writeln!(
        parts,
        r#"<text x="{}" y="{}" font-size="{size}">{}</text>"#,
        at.0,
        at.1,
        escaped(said)
    );
}

fn legend(parts: &mut String) {
    let owners = [
        (Owner::Ours, "Strongroom and the measuring program"),
        (Owner::AwsLc, "AWS-LC"),
        (Owner::Library, "other libraries"),
        (Owner::Kernel, "kernel"),
    ];
    let mut left = MARGIN;
    for (owner, said) in owners {
        let _ = writeln!(
            parts,
            r#"<rect x="{left}" y="30" width="12" height="12" fill="{}"/><text x="{}" y="40">{said}</text>"#,
            colour(owner),
            left + 16.0
        );
        left += 40.0 + 6.0 * said.len() as f64;
    }
}

const fn colour(owner: Owner) -> &'static str {
    match owner {
        Owner::Ours => "#8fbce6",
        Owner::AwsLc => "#a5d6a0",
        Owner::Library => "#d9d2c3",
        Owner::Kernel => "#f2b27a",
    }
}

/// Rows of what is shown below a frame.
fn rows(frame: &Frame, whole: u64) -> usize {
    let shown = frame.called.values().filter(|one| is_shown(one, whole));
    shown.map(|one| 1 + rows(one, whole)).max().unwrap_or(0)
}

fn is_shown(frame: &Frame, whole: u64) -> bool {
    share(frame, whole) >= SHARE_MIN
}

fn share(frame: &Frame, whole: u64) -> f64 {
    frame.samples as f64 / whole.max(1) as f64
}

/// All samples of a process, and how wide one is.
struct Whole {
    samples: u64,
    unit: f64,
}

impl Whole {
    /// The boxes of what a frame called, standing on its upper edge, the widest first.
    fn boxes(&self, parts: &mut String, frame: &Frame, corner: (f64, f64)) {
        let mut called: Vec<(&String, &Frame)> = frame
            .called
            .iter()
            .filter(|(_, one)| is_shown(one, self.samples))
            .collect();
        called.sort_by_key(|(_, one)| std::cmp::Reverse(one.samples));
        let (mut left, top) = (corner.0, corner.1 - ROW);
        for (name, one) in called {
            let width = one.samples as f64 * self.unit;
            let _ = write!(
                parts,
                r#"<g><title>{} ({} samples, {:.1} %)</title><rect x="{left:.1}" y="{top:.0}" width="{:.1}" height="15" fill="{}"/>"#,
                escaped(name),
                one.samples,
                100.0 * share(one, self.samples),
                // A line of white keeps neighbours apart.
                (width - 0.5).max(0.3),
                colour(one.owner)
            );
            if let Some(text) = fit(name, width) {
                let _ = write!(
                    parts,
                    r#"<text x="{:.1}" y="{:.0}">{}</text>"#,
                    left + 3.0,
                    top + 11.0,
                    escaped(&text)
                );
            }
            parts.push_str("</g>\n");
            self.boxes(parts, one, (left, top));
            left += width;
        }
    }
}

/// As much of a name as a box can hold: the whole, or its last parts, or the beginning of the last.
fn fit(name: &str, width: f64) -> Option<String> {
    let letters = (0..name.len())
        .take_while(|count| (*count + 1) as f64 * LETTER_WIDTH + 4.0 <= width)
        .count();
    let mut rest = name;
    while rest.chars().count() > letters {
        let Some((_, shorter)) = rest.split_once("::") else {
            let cut: String = rest.chars().take(letters.saturating_sub(1)).collect();
            return (letters >= LETTERS_MIN).then(|| format!("{cut}…"));
        };
        rest = shorter;
    }
    Some(rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(samples: u64, called: &[(&str, Frame)]) -> Frame {
        Frame {
            samples,
            owner: Owner::Ours,
            called: called
                .iter()
                .map(|(name, one)| ((*name).to_owned(), one.clone()))
                .collect(),
        }
    }

    #[test]
    fn each_frame_is_a_box_with_its_share() {
        let tree = frame(1000, &[("a<b", frame(250, &[("deep", frame(125, &[]))]))]);
        let text = draw("t & u", &[("one", &tree), ("two", &tree)]);
        assert_eq!(text.matches("<g><title>").count(), 4);
        assert!(text.contains("<title>a&lt;b (250 samples, 25.0 %)</title>"));
        assert!(text.contains("<title>deep (125 samples, 12.5 %)</title>"));
        assert!(text.contains(">one: 1000 samples</text>"));
        assert!(text.contains("t &amp; u") && !text.contains("<script"));
    }

    #[test]
    fn what_was_called_stands_upon_its_caller() {
        let tree = frame(100, &[("below", frame(100, &[("above", frame(50, &[]))]))]);
        let text = draw("t", &[("one", &tree)]);
        let number = |name: &str, mark: &str| -> f64 {
            let line = text.lines().find(|line| line.contains(name)).unwrap();
            let rest = line.split_once(mark).unwrap().1;
            rest.split_once('"').unwrap().0.parse().unwrap()
        };
        let apart = number("<title>below", "y=\"") - number("<title>above", "y=\"");
        assert!((apart - ROW).abs() < 1e-9);
        let (wide, half) = (
            number("<title>below", "width=\""),
            number("<title>above", "width=\""),
        );
        assert!((wide / half - 2.0).abs() < 0.01, "{wide} {half}");
    }

    #[test]
    fn what_nobody_could_see_is_left_out() {
        let tree = frame(
            10_000,
            &[("small", frame(9, &[])), ("enough", frame(10, &[]))],
        );
        let text = draw("t", &[("one", &tree)]);
        assert!(text.contains("enough") && !text.contains("small"));
    }

    #[test]
    fn a_text_is_cut_to_its_box() {
        let name = "strongroom::chapter::sign";
        let letters = |count: f64| count * LETTER_WIDTH + 4.5;
        assert_eq!(fit(name, letters(25.0)).as_deref(), Some(name));
        assert_eq!(fit(name, letters(24.0)).as_deref(), Some("chapter::sign"));
        assert_eq!(fit(name, letters(4.0)).as_deref(), Some("sign"));
        assert_eq!(fit(name, letters(3.0)).as_deref(), Some("si…"));
        assert_eq!(fit(name, letters(2.0)), None);
    }
}
