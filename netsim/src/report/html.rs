//! The report as one web page: nothing in it comes from elsewhere, and nothing in it runs.

use std::fmt::Write as _;
use std::time::Duration;

use super::charts::{self, COLOURS};
use super::figures::{self, Latency, Phase, Tally};
use super::lanes;
use super::svg::{Size, escape};
use super::table::duration;
use crate::recording::Recording;

const STYLE: &str = include_str!("style.css");

/// A recording as one self-contained HTML page with pictures, for light and dark screens, wide and narrow.
#[must_use]
pub fn html(run: &Recording) -> String {
    let sections = [
        criteria(run),
        latency(run),
        throughput(run),
        states(run),
        events(run),
        percentiles(run),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}{}{}</main>\n</body>\n</html>\n",
        escape(&run.name),
        header(run),
        tiles(run),
        sections.concat(),
    )
}

fn header(run: &Recording) -> String {
    let (class, verdict) = match figures::verdict(run) {
        Some(true) => ("badge good", "passed"),
        Some(false) => ("badge bad", "failed"),
        None => ("badge", "no criteria"),
    };
    let time = if run.simulated {
        "virtual time"
    } else {
        "real time"
    };
    format!(
        "<header>\n<div class=\"title\"><h1>{}</h1><span class=\"{class}\">{verdict}</span></div>\n\
         <p>{}</p>\n<p class=\"facts\">seed {} &middot; {} of {time}</p>\n</header>\n",
        escape(&run.name),
        escape(&run.about),
        run.seed,
        duration(run.lasted),
    )
}

fn tiles(run: &Recording) -> String {
    let all = Tally::of(&run.ios);
    let latency = |pick: fn(Latency) -> Duration| or_dash(all.latency.map(pick));
    let tiles = [
        (grouped(all.ios), "I/Os answered"),
        (grouped(all.errors), "errors"),
        (duration(figures::longest_stall(run)), "longest stall"),
        (latency(|l| l.p50), "median latency"),
        (latency(|l| l.p999), "p99.9 latency"),
        (bytes_per_second(&all, run.lasted), "throughput"),
    ];
    let mut html = "<div class=\"tiles\">\n".to_owned();
    for (value, name) in tiles {
        let class = if name == "errors" && all.errors > 0 {
            " class=\"bad\""
        } else {
            ""
        };
        // Writing to a String does not fail.
        let _ = writeln!(html, "<div><b{class}>{value}</b><span>{name}</span></div>");
    }
    html + "</div>\n"
}

fn criteria(run: &Recording) -> String {
    if run.criteria.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for criterion in &run.criteria {
        let (class, word) = if criterion.passed {
            ("good", "\u{2713} passed")
        } else {
            ("bad", "\u{2717} failed")
        };
        let _ = writeln!(
            rows,
            "<tr><td class=\"words\">{}</td><td class=\"words\">{}</td><td class=\"{class}\">{word}</td></tr>",
            escape(&criterion.demand),
            escape(&criterion.seen),
        );
    }
    let head = "<tr><th class=\"words\">demanded</th><th class=\"words\">seen</th><th></th></tr>";
    section("Pass criteria", "", &table(head, &rows), "")
}

fn latency(run: &Recording) -> String {
    let pictures = both(|size| charts::latency(run, size));
    let legend = [
        ("<path class=\"median\" d=\"M0 6H12\"/>", "median"),
        (
            "<rect class=\"usual\" width=\"12\" height=\"12\"/>",
            "to p99",
        ),
        (
            "<rect class=\"tall\" width=\"12\" height=\"12\"/>",
            "to the longest",
        ),
        ("<path class=\"error\" d=\"M2 2l8 8m0 -8l-8 8\"/>", "error"),
        (
            "<rect class=\"silence\" width=\"12\" height=\"12\"/>",
            "requests waited, none was answered",
        ),
    ];
    let legend = legend.map(|(shape, name)| key(shape, name)).concat();
    section(
        "Latency",
        "Of what was asked at that time; logarithmic. Numbers are the events below.",
        &pictures,
        &legend,
    )
}

fn throughput(run: &Recording) -> String {
    let pictures = both(|size| charts::throughput(run, size));
    let mut legend = String::new();
    for (colour, path) in (0..COLOURS).cycle().zip(&run.paths) {
        let shape = format!("<rect class=\"p{colour}\" width=\"12\" height=\"12\"/>");
        legend.push_str(&key(&shape, &path.name));
    }
    section(
        "Carried per path",
        "One upon the other.",
        &pictures,
        &legend,
    )
}

fn states(run: &Recording) -> String {
    let pictures = both(|size| lanes::lanes(run, size));
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (_, state, _) in run.paths.iter().flat_map(|path| &path.states) {
        if seen.iter().all(|(_, name)| name != state) {
            seen.push((lanes::class(state), state));
        }
    }
    let mut legend = String::new();
    for (class, state) in seen {
        let shape = format!("<rect class=\"{class}\" width=\"12\" height=\"12\"/>");
        legend.push_str(&key(&shape, state));
    }
    let note = "Point at a stretch to see why it began.";
    section("Path states", note, &pictures, &legend)
}

fn events(run: &Recording) -> String {
    let mut rows = String::new();
    let mut number = 0;
    for phase in figures::phases(run) {
        let mut badge = String::new();
        if phase.mark.is_some() {
            number += 1;
            badge = format!("<span class=\"number\">{number}</span>");
        }
        rows.push_str(&event_row(&phase, &badge));
    }
    let head = "<tr><th>event</th><th>at</th><th>longest stall</th><th>errors</th><th>longest I/O</th><th>p50</th>\
                <th>p99</th><th>I/Os</th><th>throughput</th><th>lasted</th></tr>";
    let note = "Each row counts what was answered from that event to the next.";
    section("Stalls and errors per event", note, &table(head, &rows), "")
}

fn event_row(phase: &Phase<'_>, badge: &str) -> String {
    let latency = |pick: fn(Latency) -> Duration| or_dash(phase.tally.latency.map(pick));
    format!(
        "<tr><td class=\"words\">{badge}{}</td><td>{:.3} s</td><td>{}</td>{}<td>{}</td><td>{}</td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        escape(phase.what()),
        phase.begins.as_secs_f64(),
        duration(phase.stall),
        errors_cell(phase.tally.errors),
        latency(|l| l.max),
        latency(|l| l.p50),
        latency(|l| l.p99),
        grouped(phase.tally.ios),
        bytes_per_second(&phase.tally, phase.lasts()),
        duration(phase.lasts()),
    )
}

fn percentiles(run: &Recording) -> String {
    let kinds = figures::kinds(run);
    let all = Tally::of(&run.ios);
    let named = kinds
        .iter()
        .map(|(kind, tally)| (figures::kind_name(*kind), tally));
    let mut rows = String::new();
    for (name, tally) in named.chain([("all", &all)]) {
        let latency = |pick: fn(Latency) -> Duration| or_dash(tally.latency.map(pick));
        let _ = writeln!(
            rows,
            "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>{}</tr>",
            grouped(tally.ios),
            bytes_per_second(tally, run.lasted),
            latency(|l| l.p50),
            latency(|l| l.p99),
            latency(|l| l.p999),
            latency(|l| l.max),
            errors_cell(tally.errors),
        );
    }
    let head = "<tr><th>requests</th><th>I/Os</th><th>throughput</th><th>p50</th><th>p99</th><th>p99.9</th><th>max</th>\
                <th>errors</th></tr>";
    section("Latency percentiles", "", &table(head, &rows), "")
}

/// The picture in both sizes; empty if there is nothing to draw.
fn both(draw: impl Fn(Size) -> Option<String>) -> String {
    Size::BOTH.into_iter().filter_map(draw).collect()
}

fn section(title: &str, note: &str, content: &str, legend: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    let mut html = format!("<section>\n<h2>{title}</h2>\n");
    if !note.is_empty() {
        let _ = writeln!(html, "<p class=\"note\">{note}</p>");
    }
    html.push_str(content);
    if !legend.is_empty() {
        let _ = writeln!(html, "<div class=\"legend\">{legend}</div>");
    }
    html + "</section>\n"
}

fn table(head: &str, rows: &str) -> String {
    format!("<div class=\"scroll\"><table>\n{head}\n{rows}</table></div>\n")
}

fn key(shape: &str, name: &str) -> String {
    let name = escape(name);
    format!("<span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\">{shape}</svg>{name}</span>\n")
}

fn errors_cell(errors: u64) -> String {
    match errors {
        0 => "<td>0</td>".to_owned(),
        errors => format!("<td class=\"bad\">{}</td>", grouped(errors)),
    }
}

fn bytes_per_second(tally: &Tally, time: Duration) -> String {
    tally.rate(time).map_or_else(
        || "-".to_owned(),
        |rate| match rate {
            1e9.. => format!("{:.2} GB/s", rate / 1e9),
            1e6.. => format!("{:.1} MB/s", rate / 1e6),
            _ => format!("{:.1} kB/s", rate / 1e3),
        },
    )
}

fn or_dash(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), duration)
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
