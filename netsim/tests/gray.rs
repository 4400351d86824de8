//! Paths that are slow and not dead: put out of use, hedged, taken back. Each demand is shown to fail with
//! the feature switched off.

use std::path::Path;

use netsim::scenario::Scenario;
use netsim::world::Detail;

/// The demands that were not met; `policy` stands where the text has `POLICY`.
fn missed(text: &str, policy: &str) -> Vec<String> {
    let text = text.replace("POLICY", &format!("policy = {{ {policy} }}"));
    let scenario = Scenario::parse(&text, Path::new("gray.toml")).unwrap_or_else(|m| panic!("{m}"));
    let played = scenario.play(Detail::Nothing).recording;
    let missed = played.criteria.iter().filter(|criterion| !criterion.passed);
    missed
        .map(|criterion| format!("{}: {}", criterion.demand, criterion.seen))
        .collect()
}

/// Passes with the one, and misses each of `demands` with the other.
#[track_caller]
fn needs(text: &str, on: &str, off: &str, demands: &[&str]) {
    assert_eq!(missed(text, on), Vec::<String>::new(), "{on}");
    let missed = missed(text, off);
    for demand in demands {
        let is_missed = missed.iter().any(|missed| missed.contains(demand));
        assert!(is_missed, "{off}: {demand} is met; missed: {missed:?}");
    }
}

/// The text of a drill, its policy left open.
fn drill(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let file = folder.join(name).with_extension("toml");
    let text = std::fs::read_to_string(file).expect("a drill");
    let line = |line: &str| match line.starts_with("policy") {
        true => "POLICY\n".to_owned(),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

const ROUND_ROBIN: &str = "selector = \"round-robin\"";
const NO_EJECTION: &str = "selector = \"round-robin\", eject = false";
const NO_HEDGE: &str = "selector = \"round-robin\", hedge = \"off\"";

#[test]
fn the_drills_about_slow_paths_fail_without_ejection() {
    let slower = drill("11-slower-path");
    needs(
        &slower,
        ROUND_ROBIN,
        NO_EJECTION,
        &["ejected within", "p99"],
    );
    let lossy = drill("12-lossy-path");
    needs(
        &lossy,
        ROUND_ROBIN,
        NO_EJECTION,
        &["ejected within", "p99.9"],
    );
    let narrow = drill("13-narrow-path");
    needs(&narrow, ROUND_ROBIN, NO_EJECTION, &["p99", "throughput"]);
}

const TWENTYFOLD: &str = r#"
    about = "Path A becomes twenty times slower, and is well again."
    [[path]]
    [[path]]
    [daemon]
    POLICY
    [workload]
    lasts = "45s"
    [[fault]]
    at = "8s"
    what = "slow 20"
    path = "A"
    for = "15s"
    [fault.pass]
    settle = "2s"
    p99_factor = 2
    reaches = { state = "ejected", within = "1100ms" }
    back_within = "15s"
    [pass]
    failovers_max = 0
    ejections_min = 1
    ejections_max = 2
    kept = ["A", "B"]
"#;

#[test]
fn a_path_that_is_twenty_times_slower_is_out_of_use_within_two_seconds_and_back_within_fifteen() {
    let demands = ["ejected within", "p99"];
    needs(TWENTYFOLD, ROUND_ROBIN, NO_EJECTION, &demands);
}

const STRAGGLERS: &str = r#"
    about = "One of two hundred answers of path A is some tenths of a second late."
    [[path]]
    [[path]]
    [daemon]
    POLICY
    [workload]
    lasts = "40s"
    reads = 100
    [[fault]]
    at = "10s"
    what = "stragglers 200/200ms"
    path = "A"
    for = "25s"
    [fault.pass]
    p999_factor = 6
    slowest_max = "100ms"
    [pass]
    failovers_max = 0
    ejections_max = 0
    hedges_min = 5
    hedges_max = 10
    kept = ["A", "B"]
"#;

#[test]
fn late_reads_are_answered_by_the_other_path() {
    let demands = ["p99.9", "longest request", "hedged reads >= 5"];
    needs(STRAGGLERS, ROUND_ROBIN, NO_HEDGE, &demands);
}
