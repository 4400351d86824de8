use std::time::Duration;

use super::figures::{self, Tally};
use super::svg::{escape, nice_step};
use super::{html, json, text};
use crate::recording::{Carried, Criterion, Io, Kind, Mark, PathRecord, Recording};
use crate::rng::Rng;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn io(asked: Duration, took: Duration) -> Io {
    Io {
        asked,
        took,
        kind: Kind::Read,
        bytes: 4096,
        failed: false,
    }
}

/// Two reads, a cut, a failed write.
fn small() -> Recording {
    Recording {
        name: "small".to_owned(),
        about: "One path, one fault.".to_owned(),
        seed: 7,
        simulated: true,
        lasted: 2 * S,
        interval: S,
        ios: vec![
            io(Duration::ZERO, 2 * MS),
            io(500 * MS, 4 * MS),
            Io {
                kind: Kind::Write,
                failed: true,
                ..io(900 * MS, 600 * MS)
            },
        ],
        paths: vec![PathRecord {
            name: "a".to_owned(),
            states: vec![
                (Duration::ZERO, "ready".to_owned(), String::new()),
                (S, "down".to_owned(), "connection reset".to_owned()),
            ],
            carried: vec![Carried {
                commands: 2,
                bytes: 8192,
            }],
        }],
        marks: vec![Mark {
            at: S,
            what: "cut a".to_owned(),
        }],
        journal: Vec::new(),
        stalls: vec![4 * MS, 600 * MS],
        criteria: vec![Criterion {
            demand: "no errors".to_owned(),
            seen: "1".to_owned(),
            passed: false,
        }],
    }
}

/// One request after the other for 30 s; nothing is answered for most of the ninth second.
fn large_ios() -> Vec<Io> {
    let mut rng = Rng::new(1);
    let mut ios = Vec::new();
    let mut asked = Duration::ZERO;
    while asked < 30 * S {
        let mut took = Duration::from_micros(200 + rng.below(400));
        if rng.chance(1, 100) {
            took *= 8;
        }
        if (8 * S..8 * S + 700 * MS).contains(&asked) {
            took = 8 * S + 900 * MS - asked;
        }
        ios.push(Io {
            failed: rng.chance(1, 2000),
            kind: [Kind::Read, Kind::Write, Kind::Flush, Kind::Zero][rng.index(4)],
            ..io(asked, took)
        });
        asked += Duration::from_micros(1500 + rng.below(3000));
    }
    ios.sort_by_key(|io| io.asked + io.took);
    ios
}

fn large_paths() -> Vec<PathRecord> {
    let path = |name: &str, states: &[(u32, &str, &str)]| PathRecord {
        name: name.to_owned(),
        states: states
            .iter()
            .map(|(at, state, why)| (*at * 100 * MS, (*state).to_owned(), (*why).to_owned()))
            .collect(),
        carried: (0..300u32)
            .map(|at| Carried {
                commands: 10,
                bytes: if (80..150).contains(&at) && name == "a" {
                    0
                } else {
                    9_000_000 + u64::from(at % 7) * 300_000
                },
            })
            .collect(),
    };
    vec![
        path(
            "a",
            &[
                (0, "connecting", ""),
                (1, "probing", "logged in"),
                (2, "ready", "same LUN"),
                (85, "suspect", "no answer for 350 ms"),
                (89, "down", "nothing acknowledged for 700 ms"),
                (150, "connecting", "retry"),
                (152, "probation", "same LUN"),
                (170, "ready", "3 probes good"),
            ],
        ),
        path(
            "b",
            &[
                (0, "ready", ""),
                (200, "down", "reset by peer"),
                (240, "ready", "again"),
            ],
        ),
        path(
            "controller-two",
            &[(0, "ready", ""), (280, "disabled", "<another LUN>")],
        ),
    ]
}

/// Several thousand requests, three paths, six events.
fn large() -> Recording {
    let mark = |at: u32, what: &str| Mark {
        at: at * 100 * MS,
        what: what.to_owned(),
    };
    Recording {
        name: "black-hole-then-cut".to_owned(),
        about: "Three paths; one goes silent, then another is reset.".to_owned(),
        seed: 42,
        simulated: true,
        lasted: 30 * S,
        interval: 100 * MS,
        ios: large_ios(),
        paths: large_paths(),
        marks: vec![
            mark(80, "black hole on a"),
            mark(150, "heal a"),
            mark(200, "cut b (RST)"),
            mark(202, "latency 20ms on a"),
            mark(240, "heal b"),
        ],
        journal: Vec::new(),
        stalls: vec![3 * MS, 890 * MS, 2 * MS, 40 * MS, 25 * MS, 2 * MS],
        criteria: vec![
            Criterion {
                demand: "no I/O error".to_owned(),
                seen: "3 errors".to_owned(),
                passed: false,
            },
            Criterion {
                demand: "longest stall <= 2 s".to_owned(),
                seen: "890 ms".to_owned(),
                passed: true,
            },
        ],
    }
}

/// A recording whose every text wants to be markup.
fn hostile() -> Recording {
    let nasty = "</title><script>alert(1)</script>\"'&\u{1b}[2J".to_owned();
    let mut run = large();
    run.name = nasty.clone();
    run.about = nasty.clone();
    for path in &mut run.paths {
        path.name = nasty.clone();
        for (_, state, why) in &mut path.states {
            *state = nasty.clone();
            *why = nasty.clone();
        }
    }
    for mark in &mut run.marks {
        mark.what = nasty.clone();
    }
    for criterion in &mut run.criteria {
        criterion.demand = nasty.clone();
        criterion.seen = nasty.clone();
    }
    run
}

/// The tags of a page that are opened and never closed, or closed in the wrong order.
fn unbalanced(page: &str) -> Vec<String> {
    let mut open = Vec::new();
    let mut wrong = Vec::new();
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name: String = tag.chars().take_while(|c| !c.is_whitespace()).collect();
        if tag.ends_with('/') || ["!doctype", "meta"].contains(&name.as_str()) {
            continue;
        }
        match name.strip_prefix('/') {
            None => open.push(name),
            Some(name) if open.last().is_some_and(|top| top == name) => {
                open.pop();
            }
            Some(name) => wrong.push(name.to_owned()),
        }
    }
    wrong.extend(open);
    wrong
}

#[test]
fn the_text_says_what_happened_after_each_fault() {
    let expected = "\
small: FAILED
One path, one fault.
seed 7, 2.00 s of virtual time, 3 I/Os, 1 errors, longest stall 600 ms

FAIL  no errors: 1

event       at  I/Os  MB/s  longest stall     p50  longest I/O  errors
-----  -------  ----  ----  -------------  ------  -----------  ------
start  0.000 s     2   0.0         4.0 ms  2.0 ms       4.0 ms       0
cut a  1.000 s     1   0.0         600 ms  600 ms       600 ms       1

latency  I/Os  errors     p50     p99   p99.9     max
-------  ----  ------  ------  ------  ------  ------
read        2       0  2.0 ms  4.0 ms  4.0 ms  4.0 ms
write       1       1  600 ms  600 ms  600 ms  600 ms
all         3       1  4.0 ms  600 ms  600 ms  600 ms

path a
     0.000 s  ready
     1.000 s  down  connection reset
";
    assert_eq!(text(&small()), expected);
}

#[test]
fn the_json_has_the_documented_fields() {
    let report: serde_json::Value = serde_json::from_str(&json(&small())).unwrap();
    assert_eq!(report["format"], 1);
    assert_eq!(report["name"], "small");
    assert_eq!(report["seed"], 7);
    assert_eq!(report["simulated"], true);
    assert_eq!(report["lasted_s"], 2.0);
    assert_eq!(report["passed"], false);
    assert_eq!(report["criteria"][0]["demand"], "no errors");
    assert_eq!(report["longest_stall_s"], 0.6);
    assert_eq!(report["total"]["ios"], 3);
    assert_eq!(report["total"]["bytes"], 8192);
    assert_eq!(report["total"]["latency"]["max_s"], 0.6);
    assert_eq!(report["kinds"]["read"]["latency"]["p999_s"], 0.004);
    assert_eq!(report["kinds"].get("flush"), None);
    let cut = &report["phases"][1];
    assert_eq!(cut["what"], "cut a");
    assert_eq!(
        (&cut["begins_s"], &cut["ends_s"]),
        (&1.0.into(), &2.0.into())
    );
    assert_eq!(
        (&cut["errors"], &cut["longest_stall_s"]),
        (&1.into(), &0.6.into())
    );
    let path = &report["paths"][0];
    assert_eq!(path["states"][1]["since_s"], 1.0);
    assert_eq!(path["states"][1]["reason"], "connection reset");
    assert_eq!(path["interval_s"], 1.0);
    assert_eq!(path["carried"][0]["bytes"], 8192);
    assert_eq!(report["timeline"].as_array().unwrap().len(), 200);
    assert_eq!(report["timeline"][50]["ios"], 1);
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_runs_nothing() {
    let page = html(&large());
    for word in [
        "<script", "src=", "href=", "url(", "@import", "://", "onload",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("<style>"));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn the_page_shows_every_part_of_a_recording_that_has_it() {
    let page = html(&large());
    for part in [
        "Pass criteria",
        "latency over time",
        "what each path carried over time",
        "states of the paths over time",
        "Stalls and errors per event",
        "p99.9",
        "nothing answered for",
        "nothing acknowledged for 700 ms",
        "error at",
        "3: cut b (RST) at 20.00 s",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(unbalanced(&page), Vec::<String>::new());
}

#[test]
fn what_a_recording_lacks_is_left_out() {
    let empty = Recording::default();
    let page = html(&empty);
    for part in [
        "<svg class=\"wide\"",
        "Pass criteria",
        "Path states",
        "NaN",
        "inf",
    ] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(text(&empty).contains("nothing was demanded"));
    let report: serde_json::Value = serde_json::from_str(&json(&empty)).unwrap();
    assert!(report["passed"].is_null());
    assert!(report["total"]["latency"].is_null());
}

#[test]
fn no_text_of_a_recording_becomes_markup_or_reaches_the_terminal_raw() {
    let page = html(&hostile());
    assert!(page.contains("&lt;script&gt;"));
    assert!(!page.contains("<script"));
    assert_eq!(unbalanced(&page), Vec::<String>::new());
    assert_eq!(
        escape("<a b=\"'&\">\n"),
        "&lt;a b=&quot;&#39;&amp;&quot;&gt; "
    );
    for form in [page, text(&hostile()), json(&hostile())] {
        assert!(!form.contains('\u{1b}'));
    }
}

#[test]
fn a_percentile_is_a_value_that_was_seen() {
    let ios: Vec<Io> = (1..=1000).map(|n| io(Duration::ZERO, n * MS)).collect();
    let latency = Tally::of(&ios).latency.unwrap();
    let seen = [latency.p50, latency.p99, latency.p999, latency.max];
    assert_eq!(seen, [500 * MS, 990 * MS, 999 * MS, 1000 * MS]);
    let one = Tally::of(&ios[..1]).latency.unwrap();
    assert_eq!([one.p50, one.p999], [MS, MS]);
    assert_eq!(Tally::of(&[]).latency, None);
}

#[test]
fn a_request_belongs_to_the_phase_in_which_it_was_answered() {
    let phases = figures::phases(&small())
        .iter()
        .map(|phase| (phase.what().to_owned(), phase.tally.ios))
        .collect::<Vec<_>>();
    assert_eq!(phases, [("start".to_owned(), 2), ("cut a".to_owned(), 1)]);
}

#[test]
fn a_silence_is_a_time_in_which_requests_waited_and_none_was_answered() {
    let run = Recording {
        ios: vec![
            io(Duration::ZERO, 2 * MS),
            // Nobody asked for 98 ms, then two waited, and the first answer came after 30 ms.
            io(100 * MS, 30 * MS),
            io(110 * MS, 40 * MS),
            // Back to back.
            io(150 * MS, 5 * MS),
        ],
        ..Recording::default()
    };
    let silences = figures::silences(&run, 10 * MS);
    assert_eq!(silences, [(100 * MS, 130 * MS), (130 * MS, 150 * MS)]);
}

#[test]
fn steps_of_an_axis_are_round() {
    assert_eq!(nice_step(0.7), 1.0);
    assert_eq!(nice_step(2.0), 2.0);
    assert_eq!(nice_step(2.1), 5.0);
    assert_eq!(nice_step(60.0), 100.0);
    assert!((nice_step(0.003) - 0.005).abs() < 1e-12);
}
