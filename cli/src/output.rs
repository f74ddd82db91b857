//! How answers are shown: tables for people, columns for pipes, JSON for programs.
//!
//! What lives here: the three forms, and short words for sizes and times.
//! What must never live here: what is shown; a command knows that.
//! Who calls it: every command.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON with stable names.
    Json,
    /// For people.
    Text,
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Rows {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Rows {
    /// No rows yet.
    #[must_use]
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// One more row; as many cells as headings.
    pub fn push(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// With lines around, at most as wide as the terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(width) = crate::system::terminal_width() {
            table.set_width(width);
        }
        table.set_header(&self.headings);
        table.add_rows(&self.rows);
        format!("{table}\n")
    }

    /// Aligned columns, two blanks apart, without lines: for pipes.
    #[must_use]
    pub fn columns(&self) -> String {
        let headings: Vec<String> = self
            .headings
            .iter()
            .map(|heading| heading.to_uppercase())
            .collect();
        let all: Vec<&[String]> = std::iter::once(headings.as_slice())
            .chain(self.rows.iter().map(Vec::as_slice))
            .collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                all.iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in all {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Shows rows as fits the place they go to.
///
/// # Errors
/// [`Failure`] when standard output is gone.
pub fn show_rows(rows: &Rows) -> Result<(), Failure> {
    show(&if io::stdout().is_terminal() {
        rows.table()
    } else {
        rows.columns()
    })
}

/// Shows a value as JSON.
///
/// # Errors
/// [`Failure`] when standard output is gone.
pub fn show_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Failed(format!("cannot write the answer as JSON: {error}")))?;
    show(&format!("{text}\n"))
}

/// One line that is written over, on a terminal only.
pub fn progress(text: &str) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // Whether it is seen changes nothing.
        let _ = write!(terminal, "\r\x1b[K{}", printable(text));
        let _ = terminal.flush();
    }
}

/// Shows text as it is.
///
/// # Errors
/// [`Failure`] when standard output is gone.
pub fn show(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other
            .map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Labels are chosen by applications: control characters must not reach the terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Bytes in the largest unit that leaves a number of at least one.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if bytes >= unit {
            let tenths = bytes / (unit / 10).max(1);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// Seconds in the two largest units.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Yes or no.
#[must_use]
pub fn yes_no(is: bool) -> String {
    if is { "yes".into() } else { "no".into() }
}
