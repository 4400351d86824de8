//! Paths that are slow and not dead: put out of use, hedged, taken back. Each demand is shown to fail with the
//! feature switched off.

use std::path::Path;

use netsim::scenario::Scenario;
use netsim::world::Detail;

/// The demands that were not met; `policy` stands where the text has `POLICY`.
fn missed(text: &str, policy: &str) -> Vec<String> {
    let text = text.replace("POLICY", policy);
    let scenario = Scenario::parse(&text, Path::new("gray.toml")).unwrap_or_else(|m| panic!("{m}"));
    let played = scenario.play(Detail::Nothing).recording;
    let missed = played.criteria.iter().filter(|criterion| !criterion.passed);
    missed
        .map(|criterion| format!("{}: {}", criterion.demand, criterion.seen))
        .collect()
}

/// Passes with the feature, and misses what `off` says without it.
#[track_caller]
fn needs(text: &str, on: &str, off: &str, demand: &str) {
    assert_eq!(missed(text, on), Vec::<String>::new(), "{on}");
    let missed = missed(text, off);
    assert!(
        missed.iter().any(|missed| missed.contains(demand)),
        "{off}: {missed:?}"
    );
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
    why = ""
    back_within = "15s"
    [pass]
    failovers_max = 0
    ejections_min = 1
    ejections_max = 2
    kept = ["A", "B"]
"#;

#[test]
fn a_path_that_is_twenty_times_slower_is_out_of_use_within_two_seconds_and_back_within_fifteen() {
    for selector in ["round-robin", "queue-length", "service-time"] {
        needs(
            TWENTYFOLD,
            &format!("policy = {{ selector = \"{selector}\" }}"),
            &format!("policy = {{ selector = \"{selector}\", eject = false }}"),
            "ejected within",
        );
    }
    let off = "policy = { selector = \"round-robin\", eject = false }";
    let missed = missed(TWENTYFOLD, off);
    assert!(missed.iter().any(|missed| missed.contains("p99")));
}

const STRAGGLERS: &str = r#"
    about = "One of fifty answers of path A is some tenths of a second late."
    [[path]]
    [[path]]
    [daemon]
    POLICY
    [workload]
    lasts = "40s"
    reads = 100
    [[fault]]
    at = "10s"
    what = "stragglers 50/200ms"
    path = "A"
    for = "25s"
    [fault.pass]
    p999_factor = 6
    slowest_max = "100ms"
    [pass]
    failovers_max = 0
    ejections_max = 0
    hedges_min = 20
    hedges_max = 15
    kept = ["A", "B"]
"#;

#[test]
fn late_reads_are_answered_by_the_other_path() {
    needs(
        STRAGGLERS,
        "policy = { selector = \"round-robin\" }",
        "policy = { selector = \"round-robin\", hedge = \"off\" }",
        "p99.9",
    );
}
