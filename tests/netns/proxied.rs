//! What a proxy between initiator and target can do: connections end, bytes stall or come late. It
//! acknowledges everything, so that this is a frozen middlebox, not packet loss.

use std::time::Duration;

use crate::lab::{SECOND, busy_path, until_ready};
use crate::probe::Probe;
use crate::support::lab::Lab;
use crate::support::pause;
use crate::table::{explain, note, within};

fn probe(lab: &Lab) -> Probe {
    let socket = lab.volume.socket(lab.folder());
    let probe = Probe::start(&socket, &lab.volume.name);
    pause(SECOND);
    probe
}

/// Gives the order to the proxy of the busy path, and heals it; the longest stall.
fn stall(order: &str, bound: Duration) -> Duration {
    let mut lab = Lab::two_paths(512, &[]);
    let probe = probe(&lab);
    let path = busy_path(&lab.daemon, &lab.volume);
    probe.longest();
    lab.proxies[path].fault(order);
    lab.daemon.wait_lost(&lab.volume, path, 10 * SECOND);
    pause(SECOND);
    let longest = probe.longest();
    lab.proxies[path].fault("heal");
    until_ready(&lab.daemon, &lab.volume, path);
    probe.finish();
    lab.daemon.assert_well();
    explain(longest, bound, &lab.daemon);
    longest
}

#[test]
fn connections_that_end() {
    let bound = Duration::from_millis(50);
    within("connection reset (RST)", bound, || stall("cut", bound));
    within("connection closed (FIN)", bound, || stall("cut-fin", bound));
}

#[test]
fn bytes_that_stall() {
    for (what, order) in [
        ("bytes stalled both ways", "blackhole"),
        (
            "bytes stalled on their way to the target",
            "blackhole to-target",
        ),
        (
            "bytes stalled on their way from the target",
            "blackhole to-initiator",
        ),
    ] {
        within(what, SECOND, || stall(order, SECOND));
    }
}

#[test]
fn a_target_that_answers_ten_seconds_late_on_all_paths_costs_no_session() {
    let mut lab = Lab::two_paths(512, &[]);
    let probe = probe(&lab);
    let before = lab.tgtd.sessions();
    let losses = |lab: &Lab| -> Vec<u64> {
        let paths = lab.daemon.paths(&lab.volume);
        let losses = |path: &serde_json::Value| path["losses"].as_u64().expect("a count");
        paths.iter().map(losses).collect()
    };
    let lost = losses(&lab);
    probe.longest();
    for proxy in &lab.proxies {
        proxy.fault("latency 5s");
    }
    pause(25 * SECOND);
    let longest = probe.longest();
    assert_eq!(losses(&lab), lost, "a path was given up");
    assert_eq!(lab.tgtd.sessions(), before);
    // What a proxy still holds comes late on one path longer than on the other: that may cost a session.
    for proxy in &lab.proxies {
        proxy.fault("heal");
    }
    assert!(longest >= 9 * SECOND, "nothing was late: {longest:?}");
    let bound = 22 * SECOND;
    note(
        "target answers everything 10 s late on all paths",
        bound,
        longest,
    );
    assert!(longest <= bound, "{longest:?}");
    for path in 0..2 {
        until_ready(&lab.daemon, &lab.volume, path);
    }
    probe.finish();
    lab.daemon.assert_well();
}

#[test]
fn a_target_that_is_away_for_five_seconds() {
    within("target killed, started again after 5 s", 7 * SECOND, || {
        let mut lab = Lab::two_paths(512, &[]);
        let probe = probe(&lab);
        probe.longest();
        lab.tgtd.kill();
        pause(5 * SECOND);
        lab.tgtd.restart(Duration::ZERO);
        lab.daemon.wait_ready(&lab.volume);
        let longest = probe.longest();
        probe.finish();
        lab.daemon.assert_well();
        longest
    });
}
