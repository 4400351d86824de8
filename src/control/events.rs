//! What happened to a volume and its paths, and its text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::human::millis;
use super::render::printable;

/// What happened to the paths of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReport {
    /// The volume's name.
    pub volume: String,
    /// What happened to it as a whole, oldest first; the oldest may be forgotten.
    #[serde(default)]
    pub events: Vec<VolumeEvent>,
    /// Its paths, in the order of the configuration.
    pub paths: Vec<PathEvents>,
}

/// Something that happened to a volume once, or several times in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeEvent {
    /// How long ago it happened first.
    pub ago_ms: u64,
    /// How long ago it happened last.
    pub last_ago_ms: u64,
    /// How often.
    pub times: u32,
    /// How long it took, if it took time; the last of several.
    pub took_ms: Option<u64>,
    /// What it was.
    pub what: String,
    /// What was seen, concluded and done.
    pub why: String,
}

/// What happened to a path; the oldest may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathEvents {
    /// As the log names it.
    pub name: String,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// Something that happened once, or several times alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// How long ago it happened first.
    pub ago_ms: u64,
    /// How long ago it happened last.
    pub last_ago_ms: u64,
    /// How often.
    pub times: u32,
    /// The session, or the attempt at one; the last of several.
    pub incarnation: u32,
    /// A state that was entered, or a deed.
    pub what: String,
    /// What was seen and concluded.
    pub why: String,
}

impl EventsReport {
    /// The report of those paths only whose name has `part` in it.
    #[must_use]
    pub fn only(mut self, part: &str) -> Self {
        self.events.clear();
        self.paths.retain(|path| path.name.contains(part));
        self
    }

    /// For a terminal, ending with a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        if !self.events.is_empty() {
            let _ = writeln!(out, "{}", printable(&self.volume));
        }
        for event in &self.events {
            let took = event
                .took_ms
                .map(|took| format!(", after {}", millis(took)));
            let _ = writeln!(
                out,
                "  {:>7} ago  {:<14}  {}{}{}",
                millis(event.ago_ms),
                printable(&event.what),
                printable(&event.why),
                took.unwrap_or_default(),
                again(event.times, event.last_ago_ms)
            );
        }
        for path in &self.paths {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{}: {}",
                printable(&self.volume),
                printable(&path.name)
            );
            for event in &path.events {
                let _ = writeln!(
                    out,
                    "  {:>7} ago  session {:<4} {:<14}  {}{}",
                    millis(event.ago_ms),
                    event.incarnation,
                    printable(&event.what),
                    printable(&event.why),
                    again(event.times, event.last_ago_ms)
                );
            }
        }
        out
    }
}

fn again(times: u32, last_ago_ms: u64) -> String {
    if times < 2 {
        return String::new();
    }
    format!(" ({times} times, last {} ago)", millis(last_ago_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_line_and_repetitions_are_counted() {
        let event = |what: &str, why: &str, times| Event {
            ago_ms: 65_000,
            last_ago_ms: 1_200,
            times,
            incarnation: 7,
            what: what.into(),
            why: why.into(),
        };
        let report = EventsReport {
            volume: "db".into(),
            events: vec![VolumeEvent {
                ago_ms: 64_000,
                last_ago_ms: 64_000,
                times: 1,
                took_ms: Some(2_100),
                what: "path back".into(),
                why: "12 requests waited".into(),
            }],
            paths: vec![
                PathEvents {
                    name: "10.0.1.10:3260 via eth1".into(),
                    events: vec![
                        event("suspect", "silent", 1),
                        event("down", "refused\u{1b}", 40),
                    ],
                },
                PathEvents {
                    name: "10.0.2.10:3260 via eth2".into(),
                    events: Vec::new(),
                },
            ],
        };
        let text = report.text();
        let first = "db\n    1m04s ago  path back       12 requests waited, after 2.1s\n";
        assert!(text.starts_with(first), "{text}");
        let text = report.only("eth1").text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "db: 10.0.1.10:3260 via eth1");
        assert!(lines[1].contains("1m05s ago") && lines[1].ends_with("silent"));
        assert!(lines[2].ends_with("(40 times, last 1.2s ago)"));
        assert!(!text.contains('\u{1b}'), "nothing reaches the terminal raw");
    }
}
