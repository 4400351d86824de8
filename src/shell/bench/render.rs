//! Measurements as people and as programs read them.

use super::Report;

/// Longest bar of a histogram.
const BAR: f64 = 40.0;

/// JSON, one measurement after the other.
///
/// # Panics
/// Never: a report is always representable.
#[must_use]
pub fn json(reports: &[Report]) -> String {
    let mut text =
        serde_json::to_string_pretty(reports).expect("a report is representable as JSON");
    text.push('\n');
    text
}

/// A few lines with the figures, then the histogram.
#[must_use]
pub fn text(report: &Report) -> String {
    let Report {
        what,
        direction,
        pattern,
        block_bytes,
        depth,
        ..
    } = report;
    let block = crate::config::show_size(*block_bytes);
    let mut text = format!("{what}: {pattern} {direction}s of {block}, {depth} in flight\n");
    text.push_str(&format!(
        "  {} I/Os in {:.1} s: {:.0} I/Os per second, {:.1} MB/s\n",
        report.ios,
        report.elapsed_s,
        report.iops,
        report.bytes_per_s / 1e6
    ));
    if let Some(latency) = &report.latency_s {
        text.push_str(&format!(
            "  latency: mean {}, p50 {}, p90 {}, p99 {}, p99.9 {}, longest {}\n",
            time(latency.mean),
            time(latency.p50),
            time(latency.p90),
            time(latency.p99),
            time(latency.p999),
            time(latency.most)
        ));
    }
    let most = report.histogram.iter().map(|row| row.ios).max();
    for row in &report.histogram {
        let share = row.ios as f64 / report.ios as f64;
        let length = (BAR * row.ios as f64 / most.unwrap_or(1) as f64).round();
        let bar: String = (0..40)
            .take_while(|at| f64::from(*at) < length)
            .map(|_| '#')
            .collect();
        let line = format!(
            "    up to {:>8}  {:>6.2} %  {bar}",
            time(row.up_to_s),
            share * 100.0
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if let Some(error) = &report.error {
        text.push_str(&format!("  ended early: {error}\n"));
    }
    text
}

/// In the unit that suits it, with three digits.
pub(super) fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}
