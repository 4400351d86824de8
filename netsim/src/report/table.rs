//! The result of a workload as a table that a person reads, and the words that all reports share.

use std::fmt::Write as _;
use std::time::Duration;

use crate::meter::Phase;
use crate::workload::Report;

const HEAD: [&str; 8] = [
    "event",
    "seconds",
    "I/Os",
    "MB/s",
    "longest stall",
    "longest I/O",
    "errors",
    "mismatches",
];

/// One line per phase: what happened, how long nothing moved, what went wrong.
#[must_use]
pub fn table(phases: &[Phase]) -> String {
    let rows: Vec<[String; 8]> = phases.iter().map(row).collect();
    align(&HEAD.map(str::to_owned), &rows)
}

/// A head, a rule and rows; the first column to the left, the others to the right.
pub(crate) fn align<const N: usize>(head: &[String; N], rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in std::iter::once(head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    let rule = widths.map(|width| "-".repeat(width));
    for row in [head, &rule].into_iter().chain(rows) {
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a String does not fail.
            let _ = match index {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

fn row(phase: &Phase) -> [String; 8] {
    let lasted = phase.ended.map_or(Duration::ZERO, |end| end - phase.began);
    let megabytes_per_second = match lasted.as_millis() {
        0 => "-".to_owned(),
        millis => (u128::from(phase.bytes) / 1000 / millis).to_string(),
    };
    [
        phase.label.clone(),
        format!("{:.1}", lasted.as_secs_f64()),
        phase.ios.to_string(),
        megabytes_per_second,
        duration(phase.longest_stall),
        duration(phase.longest_io),
        phase.errors.to_string(),
        phase.mismatches.to_string(),
    ]
}

/// A duration in the unit that fits it.
#[must_use]
pub fn duration(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ ..1_000 => format!("{micros} us"),
        1_000..10_000 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{} ms", duration.as_millis()),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// The closing line, and what went wrong in full.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut text = format!(
        "{} I/Os, {} blocks checked, {} errors, {} mismatches\n",
        report.ios(),
        report.blocks_checked,
        report.error_count(),
        report.mismatches
    );
    for error in &report.errors {
        let _ = writeln!(text, "error: {error}");
    }
    for violation in &report.violations {
        let _ = writeln!(text, "mismatch: {violation}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{Ended, Meter};

    #[test]
    fn the_table_has_a_line_per_event_and_columns_that_line_up() {
        let t = crate::clock::now();
        let second = Duration::from_secs(1);
        let mut meter = Meter::new(t, "healthy");
        meter.began(t);
        let ended = Ended {
            bytes: 5_000_000,
            ..Ended::default()
        };
        meter.ended(t + second, t, ended);
        meter.mark(t + second, "cut path A");
        meter.finish(t + 2 * second);
        let expected = "\
event       seconds  I/Os  MB/s  longest stall  longest I/O  errors  mismatches
----------  -------  ----  ----  -------------  -----------  ------  ----------
healthy         1.0     1     5         1.00 s       1.00 s       0           0
cut path A      1.0     0     0           0 us         0 us       0           0
";
        assert_eq!(table(meter.phases()), expected);
    }

    #[test]
    fn durations_keep_the_digits_that_matter() {
        assert_eq!(duration(Duration::from_micros(999)), "999 us");
        assert_eq!(duration(Duration::from_micros(1_540)), "1.5 ms");
        assert_eq!(duration(Duration::from_micros(48_700)), "48 ms");
        assert_eq!(duration(Duration::from_millis(1_234)), "1.23 s");
    }
}
