//! The scenarios by name, in virtual time and over real sockets; and the proof that their demands can fail.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use iiblockdaemon::sabotage::{self, Sabotage};
use netsim::live;
use netsim::recording::Recording;
use netsim::scenario::{self, Scenario};
use netsim::world::Detail;

/// Seeds that are tried until a defect shows.
const SEARCH: u64 = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn files() -> Vec<PathBuf> {
    scenario::find(&folder()).expect("the folder of scenarios")
}

fn load(name: &str) -> Scenario {
    scenario::load(&folder().join(name).with_extension("toml")).expect("a scenario")
}

/// The demands that were not met.
fn missed(recording: &Recording) -> Vec<String> {
    let missed = recording
        .criteria
        .iter()
        .filter(|criterion| !criterion.passed);
    missed
        .map(|criterion| format!("{}: {}", criterion.demand, criterion.seen))
        .collect()
}

/// A seed beside each drill's own: what it demands is not a matter of luck.
const OTHER: u64 = 501;

#[test]
fn every_scenario_passes_in_virtual_time_with_its_seed_and_with_another() {
    let waiting = Mutex::new(files());
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(file) = { waiting.lock().unwrap().pop() } {
            let mut scenario =
                scenario::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            for seed in [scenario.seed, OTHER] {
                scenario.seed = seed;
                let missed = missed(&scenario.play(Detail::Nothing).recording);
                if !missed.is_empty() {
                    let name = &scenario.name;
                    let text = format!("{name}, seed {seed}:\n  {}", missed.join("\n  "));
                    failures.lock().unwrap().push(text);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "see each with `netsim run FILE --seed SEED --timeline`:\n{}",
        failures.join("\n")
    );
}

#[test]
fn a_scenario_gives_the_same_recording_every_time() {
    let scenario = load("06-old-segments-arrive");
    let once = scenario.play(Detail::Nothing).recording;
    let again = scenario.play(Detail::Nothing).recording;
    assert_eq!(once, again);
    let mut other = scenario;
    other.seed += 1;
    assert_ne!(once.ios, other.play(Detail::Nothing).recording.ios);
}

#[test]
fn a_demand_that_is_not_met_fails_and_is_the_one_that_is_named() {
    let text = r#"
        about = "A black hole that nobody may notice."
        [[path]]
        [[path]]
        [daemon]
        policy = "round-robin"
        [workload]
        lasts = "10s"
        [[fault]]
        at = "2s"
        what = "blackhole"
        path = "A"
        for = "4s"
        pass = { stall_max = "10ms", lost_within = "2s" }
        [pass]
        failovers_min = 1
    "#;
    let scenario = Scenario::parse(text, Path::new("impossible.toml")).unwrap();
    let played = scenario.play(Detail::Nothing);
    assert!(!played.passed());
    let missed = missed(&played.recording);
    let [only] = missed.as_slice() else {
        panic!("{missed:?}");
    };
    assert!(
        only.starts_with("blackhole both on path A: stall <= 10 ms: "),
        "{only}"
    );
}

/// The drills about a copy of the unit are worth their names: by identifiers alone it is used.
#[test]
fn without_the_comparison_the_drills_about_a_copy_fail() {
    for name in ["31-copy-of-the-unit", "32-copy-without-reservations"] {
        sabotage::set(Some(Sabotage::SamenessUnchecked));
        let played = load(name).play(Detail::Nothing);
        sabotage::set(None);
        let missed = missed(&played.recording);
        let used = |line: &String| line.contains("carried out on another unit");
        assert!(missed.iter().any(used), "{name}: {missed:?}");
    }
}

/// The drills about ghosts are worth their names: without its rule each loses a write.
#[test]
fn without_their_rules_the_drills_about_old_writes_fail() {
    for (defect, name) in [
        (Sabotage::GhostRuleOff, "06-old-segments-arrive"),
        (Sabotage::GhostRuleOff, "09-frozen-target"),
        (Sabotage::ResetAloneIsAFence, "06-reset-is-no-fence"),
        (Sabotage::AbortIsAFence, "16-hung-write-runs-on"),
    ] {
        let scenario = if defect == Sabotage::AbortIsAFence {
            larger_and_shorter(name)
        } else {
            load(name)
        };
        let lost = |seed| {
            let mut scenario = scenario.clone();
            scenario.seed = seed;
            let missed = missed(&scenario.play(Detail::Nothing).recording);
            missed
                .iter()
                .any(|missed| missed.starts_with("every read returns"))
        };
        sabotage::set(Some(defect));
        let found = (0..SEARCH).find(|seed| lost(*seed));
        println!("{name} without its rule loses a write with seed {found:?}");
        sabotage::set(None);
        assert!(
            found.is_some(),
            "{name} loses no write within {SEARCH} seeds"
        );
    }
}

/// A drill on a larger unit that ends sooner: nothing hides what was overwritten at the end.
fn larger_and_shorter(name: &str) -> Scenario {
    let file = folder().join(name).with_extension("toml");
    let text = std::fs::read_to_string(file).expect("the drill");
    let changed = text
        .replace("size = \"128KiB\"", "size = \"512KiB\"")
        .replace("times = 5", "times = 4")
        .replace("lasts = \"70s\"", "lasts = \"47s\"");
    assert_eq!(changed.len(), text.len());
    assert_ne!(changed, text);
    Scenario::parse(&changed, Path::new(name)).expect("a scenario as before")
}

/// Each is asked to prove itself against the other, though neither was in use when they were identified;
/// with a reservation key neither is for a moment longer.
#[test]
fn paths_that_come_up_at_the_same_instant_can_fence_each_other() {
    for key in ["", "reservation_key = \"0x1a2b3c4d5e6f7081\""] {
        let text = format!(
            r#"
            about = "Both paths are identified in the same instant."
            [line]
            jitter = "0ms"
            [[path]]
            [[path]]
            [daemon]
            policy = "round-robin"
            {key}
            [workload]
            lasts = "8s"
            [[fault]]
            at = "1s"
            what = "blackhole"
            path = "A"
            for = "6s"
            held = "drop"
            pass = {{ stall_max = "2s" }}
            [pass]
            fenced_min = 1
        "#
        );
        let scenario = Scenario::parse(&text, Path::new("same-instant.toml")).unwrap();
        let played = scenario.play(Detail::Nothing);
        let missed = missed(&played.recording);
        assert!(missed.is_empty(), "{key}: {missed:?}");
    }
}

/// A reset, a black hole, a frozen portal and a full target, over real sockets and with the real daemon.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_is_played_over_real_sockets() {
    let text = r#"
        about = "A little of everything that a proxy and a target can do."
        [[path]]
        [[path]]
        [daemon]
        policy = "round-robin"
        [workload]
        lasts = "5s"
        [[fault]]
        at = "500ms"
        what = "reset"
        path = "A"
        pass = { lost_within = "500ms" }
        [[fault]]
        at = "1s"
        what = "task-set-full 10"
        [[fault]]
        at = "2s"
        what = "blackhole"
        path = "B"
        for = "2s"
        held = "drop"
        pass = { lost_within = "2s", why = "silent" }
        [pass]
        stall_max = "2s"
        failovers_min = 2
        ready_within = "30s"
    "#;
    let scenario = Scenario::parse(text, Path::new("short.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let played = live::play(&scenario, folder.path()).await.unwrap();
    let recording = &played.recording;
    let missed = missed(recording);
    assert!(missed.is_empty(), "{missed:#?}\n{recording:#?}");
    assert!(!recording.simulated && recording.ios.len() > 100);
    assert!(recording.lasted.as_secs() >= 5);
}

/// Paths come and go, and settings change, under load and with the real daemon.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_changes_is_played_over_real_sockets() {
    let text = r#"
        about = "B is added, A is removed, the policy changes."
        [[path]]
        [[path]]
        configured = false
        [daemon]
        policy = "failover"
        [workload]
        lasts = "4s"
        [[fault]]
        at = "500ms"
        what = "add"
        path = "B"
        pass = { reaches = { state = "ready", within = "1s" } }
        [[fault]]
        at = "1500ms"
        what = "reload"
        daemon = { policy = "round-robin" }
        [[fault]]
        at = "2500ms"
        what = "remove"
        path = "A"
        pass = { settle = "200ms", share_max = 0 }
        [pass]
        stall_max = "500ms"
        retries_max = 0
        failovers_max = 0
        paths_ready = 1
        ready_within = "10s"
    "#;
    let scenario = Scenario::parse(text, Path::new("reload.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let played = live::play(&scenario, folder.path()).await.unwrap();
    let missed = missed(&played.recording);
    assert!(missed.is_empty(), "{missed:#?}\n{:#?}", played.recording);
}

#[tokio::test]
async fn what_makes_no_sense_over_real_sockets_is_refused_and_named() {
    let scenario = load("29-daemon-killed");
    let folder = tempfile::tempdir().unwrap();
    let error = live::play(&scenario, folder.path()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("29-daemon-killed cannot be played"),
        "{text}"
    );
    assert!(
        text.contains("\"kill-daemon\": the daemon lives in this process"),
        "{text}"
    );
}

fn documentation() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios.md");
    std::fs::read_to_string(file).expect("the documentation")
}

#[test]
fn the_documented_example_passes() {
    let text = documentation();
    let (_, example) = text.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let scenario = Scenario::parse(example, Path::new("example.toml")).unwrap();
    let missed = missed(&scenario.play(Detail::Nothing).recording);
    assert!(missed.is_empty(), "{missed:?}");
}

/// What is known is what the message about an unknown key lists.
#[test]
fn every_key_and_every_fault_is_documented() {
    let text = documentation();
    let least = "about = \"\"\n[workload]\nlasts = \"1s\"\n";
    let places = [
        "",
        "[unit]\n",
        "[target]\n",
        "[line]\n",
        "[[path]]\n",
        "[workload]\n",
        "[[fault]]\n",
        "[[fault]]\n[fault.pass]\n",
        "[[fault]]\n[fault.pass.reaches]\n",
        "[[fault]]\n[fault.pass.first_error]\n",
        "[pass]\n",
    ];
    let message = |file: &str| {
        Scenario::parse(file, Path::new("x.toml"))
            .unwrap_err()
            .to_string()
    };
    for place in places {
        let message = message(&format!("{place}no-such-key = 1\n"));
        let (_, known) = message.split_once("expected ").unwrap();
        for key in known.split('`').skip(1).step_by(2) {
            let documented = ["`KEY`", "`{ KEY", ", KEY }"];
            let documented = documented.map(|form| text.contains(&form.replace("KEY", key)));
            assert!(documented.contains(&true), "{place}{key}");
        }
    }
    let file = format!("{least}[[path]]\n[[fault]]\nat = \"0s\"\nwhat = \"nonsense\"\n");
    let message = message(&file);
    let (_, known) = message.split_once("no fault; ").unwrap();
    let lists = known.split([';', ':']).skip(1).step_by(2);
    let orders: Vec<&str> = lists
        .flat_map(|list| list.split(", "))
        .filter_map(|order| order.split_whitespace().next())
        .collect();
    assert!(orders.len() > 25, "{orders:?}");
    for order in orders {
        let documented = [format!("`{order}`"), format!("`{order} ")];
        assert!(documented.iter().any(|form| text.contains(form)), "{order}");
    }
}

/// The drills have the numbers of a list that is worked off one by one.
#[test]
fn there_are_33_drills() {
    let names = files().into_iter().map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name[..2].parse::<u32>().unwrap()
    });
    let numbers: std::collections::BTreeSet<u32> = names.collect();
    assert!(numbers.into_iter().eq(1..=33), "one or more of each");
}
