//! What each feature is for: a scenario that passes with it, and without it misses the demand that it is
//! there for.

use std::path::Path;

use iiblockdaemon::sabotage::{self, Feature};
use netsim::scenario::Scenario;
use netsim::world::Detail;

/// The demands that were not met.
fn missed(scenario: &Scenario, without: Option<Feature>) -> Vec<String> {
    sabotage::leave_out(without);
    let recording = scenario.play(Detail::Nothing).recording;
    sabotage::leave_out(None);
    let missed = recording.criteria.iter().filter(|c| !c.passed);
    missed
        .map(|c| format!("{}: {}", c.demand, c.seen))
        .collect()
}

/// Without the feature the scenario misses a demand in which `demand` stands. `with` it, it misses none.
#[track_caller]
fn needs(feature: Feature, scenario: &Scenario, demand: &str) {
    let missed = missed(scenario, Some(feature));
    let named = missed.iter().any(|missed| missed.contains(demand));
    let name = &scenario.name;
    assert!(
        named,
        "{name} without {feature:?} meets \"{demand}\"; it misses {missed:?}"
    );
}

/// Seeds that a drill is played with beside its own.
const SEEDS: [u64; 4] = [1001, 2002, 3003, 4004];

/// Whatever the seed: with the feature the drill misses nothing, and without it that demand.
#[track_caller]
fn drill_needs_on_every_seed(feature: Feature, name: &str, demand: &str) {
    let drill = drill(name);
    for seed in [drill.seed].into_iter().chain(SEEDS) {
        let mut scenario = drill.clone();
        scenario.seed = seed;
        assert_eq!(
            missed(&scenario, None),
            Vec::<String>::new(),
            "seed {seed} with {feature:?}"
        );
        needs(feature, &scenario, demand);
    }
}

fn drill_text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let file = folder.join(name).with_extension("toml");
    std::fs::read_to_string(file).expect("a drill")
}

fn drill(name: &str) -> Scenario {
    let mut drill = parsed(&drill_text(name));
    name.clone_into(&mut drill.name);
    drill
}

fn parsed(text: &str) -> Scenario {
    let scenario = Scenario::parse(text, Path::new("features.toml"));
    scenario.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// That all drills pass is shown by `scenarios.rs`.
#[track_caller]
fn drill_needs(feature: Feature, name: &str, demand: &str) {
    needs(feature, &drill(name), demand);
}

#[track_caller]
fn text_needs(feature: Feature, text: &str, demand: &str) {
    let scenario = parsed(text);
    assert_eq!(
        missed(&scenario, None),
        Vec::<String>::new(),
        "with {feature:?}"
    );
    needs(feature, &scenario, demand);
}

#[test]
fn each_way_to_notice_a_loss_has_a_drill_that_needs_it() {
    drill_needs(Feature::Uplink, "01-carrier-lost", "stall <= 100 ms");
    drill_needs(Feature::NetworkClock, "04-egress-lost", "not acknowledged");
    drill_needs(
        Feature::NetworkClock,
        "14-mtu-black-hole",
        "because \"MTU\"",
    );
    drill_needs(Feature::PingClock, "09-frozen-target", "because \"silent\"");
}

#[test]
fn what_changes_at_the_target_is_noticed_by_identifying_it_again() {
    drill_needs(Feature::Recheck, "23-unit-vanishes", "share of its paths");
    drill_needs(Feature::Recheck, "26-capacity", "because \"shrank\"");
    drill_needs(Feature::Growth, "26-capacity", "exported size at the end");
}

/// A path that is reset every five seconds is not used any more after the third time.
#[test]
fn paths_that_are_lost_again_and_again_are_held_back() {
    let text = r#"
about = "Path A is reset every five seconds."
seed = 1
[[path]]
[[path]]
[daemon]
policy = "round-robin"
[workload]
lasts = "45s"
pause = "10ms"
[[fault]]
at = "3s"
what = "reset"
path = "A"
times = 8
every = "5s"
pass = { stall_max = "1s", reaches = { state = "held-down", within = "14s" } }
[pass]
failovers_max = 3
"#;
    text_needs(Feature::FlapDamping, text, "paths lost <= 3");
    text_needs(Feature::FlapDamping, text, "held-down");
}

/// The target takes every session for another nexus: one that is not registered meets conflicts.
#[test]
fn a_path_that_comes_back_is_registered_before_it_is_used() {
    drill_needs_on_every_seed(
        Feature::Registration,
        "27-registered-path-returns",
        "failed requests <= 0",
    );
}

/// The portal takes less than its sessions' windows say: what is refused is asked again later and later.
#[test]
fn a_path_has_no_more_in_flight_than_its_target_bears() {
    drill_needs_on_every_seed(Feature::Window, "30-shallow-queue", "p99");
}

/// What a frozen path holds is what was in flight on it, not what could have gone another way.
#[test]
fn a_command_waits_in_the_volume_until_a_path_has_room() {
    drill_needs_on_every_seed(Feature::LateBinding, "09-frozen-for-moments", "stall");
}

#[test]
fn where_each_connection_is_limited_several_sessions_carry_more() {
    let drill = drill_text("07-connection-limited");
    for seed in SEEDS {
        let missed = |sessions: u32| {
            let sessions = drill.replace("sessions = 2", &format!("sessions = {sessions}"));
            let scenario = parsed(&sessions.replace("seed = 7", &format!("seed = {seed}")));
            assert_eq!(scenario.seed, seed);
            missed(&scenario, None)
        };
        for sessions in 2..=4 {
            assert_eq!(missed(sessions), Vec::<String>::new(), "seed {seed}");
        }
        let one = missed(1);
        let slow = one.iter().any(|missed| missed.contains("bytes per second"));
        assert!(slow, "seed {seed}: {one:?}");
    }
}

/// Cause, conclusion, what was done about it, and how long that took.
#[test]
fn the_journal_tells_what_happened() {
    let demand = "the journal of path A tells of it";
    drill_needs_on_every_seed(Feature::Journal, "09-frozen-target", demand);
    drill_needs(Feature::Journal, "03-blackhole-both-ways", demand);
    drill_needs(Feature::Journal, "11-slower-path", demand);
    drill_needs(Feature::Journal, "21-no-path-for-a-while", demand);
}

#[test]
fn what_has_waited_for_a_path_goes_out_at_a_measured_rate() {
    drill_needs(
        Feature::PacedDrain,
        "21-no-path-for-a-while",
        "peak after its end",
    );
}

/// A path is lost, and comes back slow: it shows so before anything of the clients' goes there.
#[test]
fn a_path_that_comes_back_worse_than_before_is_not_used() {
    let text = r#"
about = "Path A is lost and comes back slow."
seed = 1
[[path]]
[[path]]
[daemon]
policy = "round-robin"
[workload]
lasts = "16s"
pause = "5ms"
[[fault]]
at = "4s"
what = "cut"
path = "A"
for = "1s"
[[fault]]
at = "5s"
what = "latency 30ms"
path = "A"
for = "8s"
pass = { share_max = 0, slowest_max = "50ms" }
"#;
    text_needs(Feature::Trial, text, "longest request");
}

/// What a path that came back carries grows for ten seconds.
#[test]
fn a_path_that_came_back_carries_little_at_first() {
    let text = r#"
about = "Path A is lost and comes back."
seed = 1
[[path]]
[[path]]
[daemon]
policy = "round-robin"
[workload]
lasts = "12s"
pause = "5ms"
[[fault]]
at = "4s"
what = "cut"
path = "A"
for = "1s"
[[fault]]
at = "7s"
what = "latency 1us"
path = "A"
for = "2s"
pass = { share_max = 30 }
[[fault]]
at = "9s"
what = "latency 1us"
path = "A"
for = "1s"
"#;
    text_needs(Feature::SlowStart, text, "share of its paths");
}

/// While no path is left each is tried more often than beside others.
#[test]
fn when_no_path_is_left_nothing_waits_for_a_backoff() {
    let text = r#"
about = "Path A is away for long, then B as well; A comes back."
seed = 1
[[path]]
[[path]]
[workload]
lasts = "70s"
pause = "20ms"
[[fault]]
at = "4s"
what = "cut"
path = "A"
for = "56s"
[[fault]]
at = "60s"
what = "cut"
path = "B"
for = "8s"
pass = { stall_max = "500ms" }
"#;
    text_needs(Feature::Hurry, text, "stall");
}
