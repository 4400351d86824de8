//! Access states in a world in virtual time: what the drills 18 to 20 do not show.

use std::path::Path;

use netsim::recording::Recording;
use netsim::scenario::Scenario;
use netsim::world::Detail;

fn play(text: &str) -> Recording {
    let scenario = Scenario::parse(text, Path::new("alua.toml")).expect("a scenario");
    scenario.play(Detail::Nothing).recording
}

/// The demands that were not met.
fn missed(recording: &Recording) -> Vec<String> {
    let criteria = recording.criteria.iter();
    let missed = criteria.filter(|criterion| !criterion.passed);
    missed
        .map(|criterion| format!("{}: {}", criterion.demand, criterion.seen))
        .collect()
}

/// The optimized controller falls silent; the other one is in standby until somebody asks for it.
fn lost_controller(alua: &str) -> String {
    format!(
        r#"
        about = "The optimized controller falls silent."
        [target]
        access = "explicit"
        [[path]]
        [[path]]
        access = "standby"
        [daemon]
        alua = "{alua}"
        [workload]
        lasts = "20s"
        [[fault]]
        at = "4s"
        what = "cut"
        path = "A"
        for = "12s"
        pass = {{ stall_max = "1s", slowest_max = "1s" }}
        "#
    )
}

#[test]
fn where_configured_the_target_is_asked_to_make_the_last_group_active_and_else_not() {
    let asked = play(&lost_controller("explicit"));
    assert_eq!(missed(&asked), [] as [&str; 0]);
    let waited = missed(&play(&lost_controller("follow")));
    let stalled = waited
        .iter()
        .any(|missed| missed.contains(": stall <= 1.00 s: 12"));
    assert!(stalled, "{waited:?}");
}

/// A path that was lost comes back; one that only rested is used at once, without the proof of `failback`.
#[test]
fn a_group_that_is_optimized_again_is_used_at_once_whatever_the_failback_rule() {
    let recording = play(
        r#"
        about = "A's group goes through a transition to standby and comes back; B is slower all the time."
        [[path]]
        [[path]]
        access = "non-optimized"
        [daemon]
        policy = { selector = "failover", failback = "manual" }
        [workload]
        lasts = "20s"
        [[fault]]
        at = "4s"
        what = "access transitioning"
        path = "A"
        for = "2s"
        pass = { stall_max = "200ms", settle = "100ms", share_max = 0 }
        [[fault]]
        at = "6s"
        what = "access standby"
        path = "A"
        for = "4s"
        pass = { stall_max = "200ms", settle = "100ms", share_max = 0 }
        # Changes nothing: the proof that B carries nothing any more.
        [[fault]]
        at = "10s"
        what = "access non-optimized"
        path = "B"
        pass = { settle = "2100ms", share_max = 0 }
        [pass]
        failovers_max = 0
        "#,
    );
    assert_eq!(missed(&recording), [] as [&str; 0]);
}

/// Without states that a path has read, the refusals alone lead the way.
#[test]
fn a_daemon_that_ignores_the_states_still_loses_no_request_to_a_refusal() {
    let recording = play(
        r#"
        about = "A is in standby for a while, and nobody asks."
        [[path]]
        [[path]]
        [daemon]
        alua = "ignore"
        [workload]
        lasts = "20s"
        [[fault]]
        at = "4s"
        what = "access standby"
        path = "A"
        for = "8s"
        pass = { stall_max = "500ms" }
        "#,
    );
    assert_eq!(missed(&recording), [] as [&str; 0]);
}
