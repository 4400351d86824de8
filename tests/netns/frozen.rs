//! The target fails behind a network that is well: its kernel acknowledges, its process is frozen.

use std::time::Duration;

use crate::lab::{Controllers, NetLab, SECOND, possible, until_ready};
use crate::support::{now, pause};
use crate::table::{explain, note, within};

#[test]
fn one_controller_of_two_frozen() {
    if !possible() {
        return;
    }
    let what = "target process frozen behind one path of two";
    within(what, SECOND, || {
        let mut lab = NetLab::new(Controllers::Two);
        let probe = lab.probe();
        let path = lab.busy_path();
        probe.longest();
        lab.tgtds[path].freeze();
        lab.daemon.wait_lost(&lab.volume, path, 10 * SECOND);
        pause(2 * SECOND);
        let longest = probe.longest();
        // What it holds, it executes now: a ghost would write.
        lab.tgtds[path].thaw();
        until_ready(&lab.daemon, &lab.volume, path);
        probe.finish();
        lab.daemon.assert_well();
        explain(longest, SECOND, &lab.daemon);
        longest
    });
}

#[test]
fn frozen_behind_all_paths_costs_no_session() {
    if !possible() {
        return;
    }
    let mut lab = NetLab::new(Controllers::One);
    let probe = lab.probe();
    let sessions = |lab: &NetLab| -> Vec<u64> {
        let paths = lab.daemon.paths(&lab.volume);
        let losses = |path: &serde_json::Value| path["losses"].as_u64().expect("a count");
        paths.iter().map(losses).collect()
    };
    let before = sessions(&lab);
    probe.longest();
    lab.tgtds[0].freeze();
    pause(10 * SECOND);
    lab.tgtds[0].thaw();
    let thawed = now();
    for path in 0..2 {
        until_ready(&lab.daemon, &lab.volume, path);
    }
    let ready = thawed.elapsed();
    pause(SECOND);
    let longest = probe.longest();
    assert_eq!(sessions(&lab), before, "a session was torn down");
    let bound = Duration::from_millis(10_500);
    note(
        "target process frozen behind all paths for 10 s",
        bound,
        longest,
    );
    assert!(longest >= 9 * SECOND, "it was not frozen: {longest:?}");
    assert!(longest <= bound, "{longest:?}");
    assert!(ready <= 2 * SECOND, "{ready:?}");
    probe.finish();
    lab.daemon.assert_well();
}
