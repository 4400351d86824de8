//! What is taken for a loss, and what is not: scenarios in virtual time.

use std::path::Path;

use netsim::scenario::Scenario;
use netsim::world::Detail;

/// Plays a scenario of two paths, of which `rest` says what is done to them and what must hold.
fn play(rest: &str) {
    let text = format!(
        "about = \"Two paths.\"\n[[path]]\n[[path]]\n[daemon]\npolicy = \"round-robin\"\n{rest}"
    );
    judge(&text);
}

fn judge(text: &str) {
    for seed in 1..=5 {
        let mut scenario = Scenario::parse(text, Path::new("detection.toml"))
            .unwrap_or_else(|mistakes| panic!("{mistakes}"));
        scenario.seed = seed;
        let played = scenario.play(Detail::Nothing);
        let criteria = &played.recording.criteria;
        let missed: Vec<String> = criteria
            .iter()
            .filter(|criterion| !criterion.passed)
            .map(|criterion| format!("{}: {}", criterion.demand, criterion.seen))
            .collect();
        assert!(missed.is_empty(), "seed {seed}: {missed:#?}");
    }
}

#[test]
fn one_path_that_answers_ten_seconds_late_is_lost_within_a_second() {
    play(
        r#"
        [workload]
        lasts = "20s"
        [[fault]]
        at = "3s"
        what = "late 10s"
        path = "A"
        for = "8s"
        pass = { stall_max = "1s", lost_within = "1s", why = "silent while another path answers" }
        [pass]
        failovers_max = 1
        kept = ["B"]
        "#,
    );
}

#[test]
fn a_target_that_is_frozen_behind_all_paths_costs_no_session() {
    play(
        r#"
        [workload]
        lasts = "30s"
        [[fault]]
        at = "3s"
        what = "freeze"
        path = "all"
        for = "10s"
        pass = { stall_max = "10500ms" }
        [pass]
        failovers_max = 0
        "#,
    );
}

#[test]
fn a_target_that_is_frozen_behind_one_path_costs_a_second() {
    play(
        r#"
        [workload]
        lasts = "20s"
        [[fault]]
        at = "3s"
        what = "freeze"
        path = "A"
        for = "8s"
        pass = { stall_max = "1s", slowest_max = "1s", lost_within = "1s", why = "silent while another path answers" }
        [pass]
        failovers_max = 1
        kept = ["B"]
        "#,
    );
}

#[test]
fn after_a_black_hole_around_all_paths_the_network_is_found_again_within_seconds() {
    play(
        r#"
        [workload]
        lasts = "60s"
        [[fault]]
        at = "3s"
        what = "blackhole"
        path = "all"
        for = "25s"
        held = "drop"
        pass = { stall_max = "29s", back_within = "6s" }
        "#,
    );
}

#[test]
fn a_single_path_whose_network_is_away_for_twenty_seconds_is_back_soon_after() {
    judge(
        r#"
        about = "One path."
        [[path]]
        [workload]
        lasts = "50s"
        [[fault]]
        at = "3s"
        what = "blackhole"
        path = "A"
        for = "20s"
        held = "drop"
        pass = { stall_max = "23500ms", back_within = "5s" }
        "#,
    );
}

#[test]
fn the_last_path_is_not_given_up_for_two_seconds_without_a_network() {
    judge(
        r#"
        about = "One path."
        [[path]]
        [workload]
        lasts = "20s"
        [[fault]]
        at = "3s"
        what = "blackhole"
        path = "A"
        for = "2s"
        pass = { stall_max = "3s" }
        [pass]
        failovers_max = 0
        "#,
    );
}

#[test]
fn the_last_path_survives_a_short_loss_of_its_carrier_and_not_a_long_one() {
    for (lasts, failovers) in [("500ms", 0), ("5s", 1)] {
        judge(&format!(
            r#"
            about = "One path."
            [[path]]
            [workload]
            lasts = "20s"
            [[fault]]
            at = "3s"
            what = "no-carrier"
            path = "A"
            for = "{lasts}"
            pass = {{ stall_max = "5500ms", back_within = "1s" }}
            [pass]
            failovers_max = {failovers}
            failovers_min = {failovers}
            "#
        ));
    }
}

#[test]
fn when_all_carriers_are_lost_and_come_back_nothing_waits_for_a_backoff() {
    play(
        r#"
        [workload]
        lasts = "90s"
        [[fault]]
        at = "3s"
        what = "no-carrier"
        path = "all"
        for = "60s"
        # The path that comes second has 16 probes to answer, ten a second.
        pass = { stall_max = "60500ms", back_within = "2s" }
        "#,
    );
}

#[test]
fn a_target_that_is_away_for_five_seconds_is_found_again_within_another_one() {
    play(
        r#"
        [unit]
        cache = "off"
        [workload]
        lasts = "30s"
        [[fault]]
        at = "3s"
        what = "crash"
        for = "5s"
        pass = { stall_max = "6200ms" }
        "#,
    );
}

#[test]
fn large_segments_lost_on_their_way_from_the_target_are_noticed() {
    play(
        r#"
        [workload]
        lasts = "30s"
        largest = "8KiB"
        [[fault]]
        at = "3s"
        what = "large-hole 1400"
        path = "A"
        for = "15s"
        held = "drop"
        pass = { stall_max = "1500ms", lost_within = "1500ms" }
        [pass]
        failovers_max = 1
        kept = ["B"]
        "#,
    );
}
