//! The report for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::figures::{self, Latency, Phase, Tally};
use super::table::{align, duration};
use crate::recording::Recording;

/// A recording for a terminal: the verdict, what happened after each fault, latencies, path states.
#[must_use]
pub fn text(run: &Recording) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "{}: {}", one_line(&run.name), verdict(run));
    if !run.about.is_empty() {
        let _ = writeln!(text, "{}", one_line(&run.about));
    }
    let _ = writeln!(text, "{}\n", facts(run));
    for criterion in &run.criteria {
        let mark = if criterion.passed { "pass" } else { "FAIL" };
        let (demand, seen) = (one_line(&criterion.demand), one_line(&criterion.seen));
        let _ = writeln!(text, "{mark}  {demand}: {seen}");
    }
    if !run.criteria.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{}", phases(run));
    let _ = write!(text, "{}", latencies(run));
    let _ = write!(text, "{}", states(run));
    text
}

fn verdict(run: &Recording) -> &'static str {
    match figures::verdict(run) {
        Some(true) => "passed",
        Some(false) => "FAILED",
        None => "nothing was demanded",
    }
}

fn facts(run: &Recording) -> String {
    let time = if run.simulated { "virtual" } else { "real" };
    let all = Tally::of(&run.ios);
    format!(
        "seed {}, {} of {time} time, {} I/Os, {} errors, longest stall {}",
        run.seed,
        duration(run.lasted),
        all.ios,
        all.errors,
        duration(figures::longest_stall(run))
    )
}

fn phases(run: &Recording) -> String {
    const HEAD: [&str; 8] = [
        "event",
        "at",
        "I/Os",
        "MB/s",
        "longest stall",
        "p50",
        "longest I/O",
        "errors",
    ];
    let phases = figures::phases(run);
    let rows: Vec<_> = phases.iter().map(phase_row).collect();
    align(&HEAD.map(str::to_owned), &rows)
}

fn phase_row(phase: &Phase<'_>) -> [String; 8] {
    let latency = phase.tally.latency;
    [
        one_line(phase.what()),
        format!("{:.3} s", phase.begins.as_secs_f64()),
        phase.tally.ios.to_string(),
        megabytes(&phase.tally, phase.lasts()),
        duration(phase.stall),
        or_dash(latency.map(|l| l.p50)),
        or_dash(latency.map(|l| l.max)),
        phase.tally.errors.to_string(),
    ]
}

fn latencies(run: &Recording) -> String {
    const HEAD: [&str; 7] = ["latency", "I/Os", "errors", "p50", "p99", "p99.9", "max"];
    let row = |name: &str, tally: &Tally| {
        let of = |pick: fn(Latency) -> Duration| or_dash(tally.latency.map(pick));
        [
            name.to_owned(),
            tally.ios.to_string(),
            tally.errors.to_string(),
            of(|l| l.p50),
            of(|l| l.p99),
            of(|l| l.p999),
            of(|l| l.max),
        ]
    };
    let kinds = figures::kinds(run);
    let mut rows: Vec<_> = kinds
        .iter()
        .map(|(kind, tally)| row(figures::kind_name(*kind), tally))
        .collect();
    rows.push(row("all", &Tally::of(&run.ios)));
    align(&HEAD.map(str::to_owned), &rows)
}

fn states(run: &Recording) -> String {
    let mut text = String::new();
    for path in run.paths.iter().filter(|path| !path.states.is_empty()) {
        let _ = writeln!(text, "\npath {}", one_line(&path.name));
        for (at, state, why) in &path.states {
            let between = if why.is_empty() { "" } else { "  " };
            let (state, why) = (one_line(state), one_line(why));
            let _ = writeln!(text, "{:>10.3} s  {state}{between}{why}", at.as_secs_f64());
        }
    }
    text
}

fn megabytes(tally: &Tally, time: Duration) -> String {
    tally
        .rate(time)
        .map_or_else(|| "-".to_owned(), |rate| format!("{:.1}", rate / 1e6))
}

fn or_dash(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), duration)
}

/// Names and reasons come from files and peers: none of them breaks a table or a terminal.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}
