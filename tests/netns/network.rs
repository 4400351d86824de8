//! The network fails: packets, carrier, address, NIC, MTU.

use std::time::Duration;

use crate::lab::{Controllers, HERE, NetLab, SECOND, THERE, possible, until_ready};
use crate::namespace::Drops;
use crate::support::pause;
use crate::table::{explain, note, within};

const LOST: Duration = SECOND;
const TOLD: Duration = Duration::from_millis(100);

/// How long a path may take from the end of its fault until it is ready.
const BACK: Duration = Duration::from_secs(8);

/// Breaks the busy path under the probe and mends it; the longest stall.
fn stall(
    (what, bound): (&str, Duration),
    break_it: impl Fn(&NetLab, usize),
    mend: impl Fn(&NetLab, usize),
    cause: &str,
) -> Duration {
    let mut lab = NetLab::new(Controllers::One);
    let probe = lab.probe();
    let path = lab.busy_path();
    probe.longest();
    break_it(&lab, path);
    lab.daemon.wait_lost(&lab.volume, path, 10 * SECOND);
    pause(2 * SECOND);
    let longest = probe.longest();
    let log = lab.daemon.log();
    assert!(log.contains(cause), "no {cause:?} in:\n{log}");
    mend(&lab, path);
    let back = until_ready(&lab.daemon, &lab.volume, path);
    note(&format!("{what}, mended: ready again"), BACK, back);
    assert!(back <= BACK, "{back:?}");
    probe.finish();
    lab.daemon.assert_well();
    explain(longest, bound, &lab.daemon);
    longest
}

#[test]
fn packets_lost_both_ways() {
    if !possible() {
        return;
    }
    let what = "packets lost both ways";
    within(what, LOST, || {
        let break_it = |lab: &NetLab, path: usize| {
            lab.here.drop_at(HERE[path], Drops::All);
            lab.there.drop_at(THERE[path], Drops::All);
        };
        let mend = |lab: &NetLab, path: usize| {
            assert!(lab.there.dropped(THERE[path]) > 0, "nothing was lost");
            lab.here.heal(HERE[path]);
            lab.there.heal(THERE[path]);
        };
        stall((what, LOST), break_it, mend, "not acknowledged")
    });
}

#[test]
fn packets_lost_on_their_way_to_the_target() {
    if !possible() {
        return;
    }
    let what = "packets lost on their way to the target";
    within(what, LOST, || {
        let break_it = |lab: &NetLab, path: usize| lab.there.drop_at(THERE[path], Drops::AllButArp);
        let mend = |lab: &NetLab, path: usize| {
            assert!(lab.there.dropped(THERE[path]) > 0, "nothing was lost");
            lab.there.heal(THERE[path]);
        };
        stall((what, LOST), break_it, mend, "not acknowledged")
    });
}

#[test]
fn packets_lost_on_their_way_from_the_target() {
    if !possible() {
        return;
    }
    let what = "packets lost on their way from the target";
    within(what, LOST, || {
        let break_it = |lab: &NetLab, path: usize| lab.here.drop_at(HERE[path], Drops::AllButArp);
        let mend = |lab: &NetLab, path: usize| {
            assert!(lab.here.dropped(HERE[path]) > 0, "nothing was lost");
            lab.here.heal(HERE[path]);
        };
        stall((what, LOST), break_it, mend, "path out of use")
    });
}

#[test]
fn large_packets_lost_on_their_way_to_the_target() {
    if !possible() {
        return;
    }
    let what = "packets above 1400 bytes lost both ways (path MTU)";
    within(what, LOST, || {
        let break_it = |lab: &NetLab, path: usize| {
            lab.there.drop_at(THERE[path], Drops::Large);
            lab.here.drop_at(HERE[path], Drops::Large);
        };
        let mend = |lab: &NetLab, path: usize| {
            assert!(lab.there.dropped(THERE[path]) > 0, "nothing was lost");
            lab.there.heal(THERE[path]);
            lab.here.heal(HERE[path]);
        };
        stall((what, LOST), break_it, mend, "path out of use")
    });
}

#[test]
fn carrier_lost() {
    if !possible() {
        return;
    }
    let what = "carrier lost";
    within(what, TOLD, || {
        let break_it = |lab: &NetLab, path: usize| {
            lab.there.ip(&format!("link set {} down", THERE[path].name));
        };
        let mend = |lab: &NetLab, path: usize| {
            lab.there.ip(&format!("link set {} up", THERE[path].name));
        };
        stall((what, TOLD), break_it, mend, "its NIC has no carrier")
    });
}

#[test]
fn address_removed() {
    if !possible() {
        return;
    }
    let what = "address removed";
    within(what, TOLD, || {
        let break_it = |lab: &NetLab, path: usize| {
            let nic = HERE[path];
            lab.here
                .ip(&format!("addr del {} dev {}", nic.address, nic.name));
        };
        let mend = |lab: &NetLab, path: usize| lab.here.add_address(HERE[path]);
        stall((what, TOLD), break_it, mend, "its source address is gone")
    });
}

#[test]
fn nic_removed() {
    if !possible() {
        return;
    }
    let what = "NIC removed";
    within(what, TOLD, || {
        let break_it =
            |lab: &NetLab, path: usize| lab.here.ip(&format!("link del {}", HERE[path].name));
        let mend = |lab: &NetLab, path: usize| lab.here.join(HERE[path], &lab.there, THERE[path]);
        stall((what, TOLD), break_it, mend, "its NIC is gone")
    });
}
