use std::path::Path;
use std::time::Duration;

use super::*;
use crate::fault::PathState;
use crate::link::Hole;
use crate::recording::{Io, Kind, Mark, PathRecord};
use crate::world::{Fault, Planned};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

const LEAST: &str = "
about = \"As little as there can be.\"
[[path]]
[[path]]
[workload]
lasts = \"20s\"
";

fn parse(text: &str) -> Result<Scenario, Mistakes> {
    Scenario::parse(text, Path::new("dir/least.toml"))
}

/// The least file and more of it.
fn with(more: &str) -> Scenario {
    parse(&format!("{LEAST}{more}")).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn mistakes(more: &str) -> String {
    parse(&format!("{LEAST}{more}")).unwrap_err().to_string()
}

#[test]
fn the_least_file_takes_its_name_from_the_file_and_letters_for_its_paths() {
    let scenario = with("");
    assert_eq!(scenario.name, "least");
    let names: Vec<&str> = scenario.paths.iter().map(|path| &*path.name).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!((scenario.seed, scenario.unit.blocks), (1, 128));
    assert!(scenario.mend);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
    let text = mistakes("[pass]\nstall = \"2s\"\n");
    assert!(
        text.starts_with("dir/least.toml:8: stall: unknown field"),
        "{text}"
    );
    assert!(text.contains("`stall_max`"), "{text}");
}

#[test]
fn several_mistakes_are_told_at_once_each_with_line_and_key() {
    let text = mistakes(
        "[[fault]]\nat = \"2\"\nwhat = \"explode\"\npath = \"A\"\n\
         [[fault]]\nat = \"2s\"\nwhat = \"cut\"\npath = \"C\"\nfor = \"30s\"\n\
         [[fault]]\nat = \"2s\"\nwhat = \"reset\"\n\
         [pass]\nkept = [\"X\"]\nready_within = \"soon\"\n",
    );
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "dir/least.toml:8: fault[0].at: \"2\": unknown unit",
        "dir/least.toml:9: fault[0].what: \"explode\" is no fault",
        "dir/least.toml:11: fault[1]: it ends after the workload, which lasts 20.00 s",
        "dir/least.toml:14: fault[1].path: \"C\" is not possible; there are: A, B, all",
        "dir/least.toml:18: fault[2].path: \"reset\" is done to a path",
        "dir/least.toml:20: pass.kept: \"X\" is not possible",
        "dir/least.toml:21: pass.ready_within: \"soon\" does not begin with a whole number",
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn the_daemons_keys_are_checked_by_the_daemon() {
    let scenario = with("[daemon]\npolicy = \"round-robin\"\ndetect = { network = \"1s\" }\n");
    assert_eq!(scenario.daemon.volumes[0].detect.network, S);
    let text = mistakes("[daemon]\npolicy = \"round-robin\"\ndetect = { network = \"1ms\" }\n");
    assert!(
        text.starts_with("dir/least.toml:9: daemon.detect.network: 1ms is out of range"),
        "{text}"
    );
    let text = mistakes("[daemon]\npolicies = \"round-robin\"\n");
    assert!(text.contains("did you mean \"policy\""), "{text}");
}

#[test]
fn faults_of_one_path_add_up_and_each_ends_by_itself() {
    let scenario = with(
        "[[fault]]\nat = \"2s\"\nwhat = \"latency 5ms\"\npath = \"B\"\nfor = \"10s\"\n\
         [[fault]]\nat = \"4s\"\nwhat = \"blackhole to-target\"\npath = \"all\"\nfor = \"1s\"\ntimes = 2\n\
         every = \"3s\"\nheld = \"drop\"\n",
    );
    let of_b = |planned: Planned| {
        let Fault::Route { path: 1, state } = planned.fault else {
            return None;
        };
        Some((planned.at, *state))
    };
    let states: Vec<(Duration, PathState)> =
        scenario.planned().into_iter().filter_map(of_b).collect();
    let seen: Vec<(u64, Hole, Duration)> = states
        .iter()
        .map(|(at, state)| (at.as_secs(), state.to_target.hole, state.to_target.latency))
        .collect();
    let (open, holed) = (Hole::None, Hole::All);
    let expected = [
        (2, open, 5 * MS),
        (4, holed, 5 * MS),
        (5, open, 5 * MS),
        (7, holed, 5 * MS),
        (8, open, 5 * MS),
        (12, open, Duration::ZERO),
    ];
    assert_eq!(seen, expected);
    assert_eq!(states[2].1.held, Held::Drop);
    let marks = plan::marks(&scenario, S);
    assert_eq!(marks[0].what, "latency 5000us on path B");
    assert_eq!(marks[1].at, 5 * S);
    assert_eq!(marks.last().unwrap().at, 21 * S);
}

fn io(asked: Duration, took: Duration) -> Io {
    Io {
        asked,
        took,
        kind: Kind::Read,
        bytes: 1000,
        failed: false,
    }
}

#[test]
fn a_stall_is_the_time_without_an_answer_while_requests_wait() {
    let ios = [
        io(Duration::ZERO, 2 * MS),
        // Idle until here.
        io(100 * MS, 3 * MS),
        io(101 * MS, 9 * MS),
        io(200 * MS, 500 * MS),
    ];
    let marks = [Mark {
        at: 250 * MS,
        what: String::new(),
    }];
    assert_eq!(measure::stalls(&ios, &marks), [50 * MS, 500 * MS]);
    assert_eq!(measure::stalls(&ios[..3], &marks), [7 * MS, Duration::ZERO]);
}

#[test]
fn a_path_is_lost_when_its_session_is_and_only_once_until_it_was_ready_again() {
    let state = |at: u32, state: &str, why: &str| (at * S, state.to_owned(), why.to_owned());
    let path = PathRecord {
        states: vec![
            state(0, "connecting", ""),
            state(1, "ready", ""),
            state(2, "suspect", "silent"),
            state(3, "down", "silent while another path answers"),
            state(4, "connecting", ""),
            state(5, "probing", ""),
            state(6, "down", "refused"),
            state(7, "ready", ""),
            state(8, "probing", "attention"),
            state(9, "ready", ""),
        ],
        ..PathRecord::default()
    };
    assert_eq!(
        measure::losses(&path),
        [(3 * S, "silent while another path answers")]
    );
    assert_eq!(measure::reaches(&path, "ready", 3 * S).unwrap().0, 7 * S);
    assert_eq!(measure::reaches(&path, "ready", 9 * S).unwrap().0, 9 * S);
    assert!(measure::reaches(&path, "disabled", S).is_none());
    assert!(measure::ready_at_end(&path));
}

#[test]
fn ninety_nine_of_a_hundred_requests_stay_below_p99() {
    let ios: Vec<Io> = (1..=100).map(|n| io(S, n * MS)).collect();
    let window = measure::Window { from: S, to: 2 * S };
    assert_eq!(measure::quantile(&ios, window, 990), 99 * MS);
    assert_eq!(measure::throughput(&ios, window), 100_000);
}
