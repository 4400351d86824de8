//! What happened to a volume's paths, and its text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::human::millis;
use super::render::printable;

/// What happened to the paths of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReport {
    /// The volume's name.
    pub volume: String,
    /// Its paths, in the order of the configuration.
    pub paths: Vec<PathEvents>,
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
    /// The report with those paths only whose name has `part` in it.
    #[must_use]
    pub fn only(mut self, part: &str) -> Self {
        self.paths.retain(|path| path.name.contains(part));
        self
    }

    /// For a terminal, ending with a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
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
                    again(event)
                );
            }
        }
        out
    }
}

fn again(event: &Event) -> String {
    if event.times < 2 {
        return String::new();
    }
    format!(
        " ({} times, last {} ago)",
        event.times,
        millis(event.last_ago_ms)
    )
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
        let text = report.only("eth1").text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "db: 10.0.1.10:3260 via eth1");
        assert!(lines[1].contains("1m05s ago") && lines[1].ends_with("silent"));
        assert!(lines[2].ends_with("(40 times, last 1.2s ago)"));
        assert!(!text.contains('\u{1b}'), "nothing reaches the terminal raw");
    }
}
