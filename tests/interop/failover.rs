//! Paths that die under a verifying load: zero errors, zero mismatches, and how long the longest stall was.

use std::time::Duration;

use crate::support::config::Volume;
use crate::support::daemon::Daemon;
use crate::support::lab::{Lab, scratch};
use crate::support::pause;
use crate::support::tgt::Tgtd;
use crate::support::tools::{Fio, nbd_uri, nbdcopy, qemu_io, random_file};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_cut_path_costs_no_error_and_comes_back() {
    for policy in ["failover", "round-robin"] {
        let mut lab = Lab::two_paths(512, &[&format!("policy = \"{policy}\"")]);
        let report = lab.under_load(&format!("cut, {policy}"), 10, |lab| {
            for cut in [0, 1] {
                lab.proxies[cut].fault("cut");
                lab.daemon.wait_lost(&lab.volume, cut, 5 * SECOND);
                lab.proxies[cut].fault("heal");
                lab.daemon.wait_path(&lab.volume, cut, "ready", 20 * SECOND);
                assert!(lab.proxies[cut].count("cut") > 0, "no connection was cut");
            }
        });
        assert!(report.longest < 2 * SECOND, "{report:?}");
    }
}

#[test]
fn a_black_holed_path_costs_no_error_and_comes_back() {
    for policy in ["failover", "round-robin"] {
        let mut lab = Lab::two_paths(512, &[&format!("policy = \"{policy}\"")]);
        let report = lab.under_load(&format!("black hole, {policy}"), 25, |lab| {
            for hole in [0, 1] {
                lab.proxies[hole].fault("blackhole");
                lab.daemon.wait_lost(&lab.volume, hole, 15 * SECOND);
                assert!(lab.proxies[hole].count("held") > 0, "nothing was swallowed");
                // What was swallowed arrives late: a ghost would write now.
                lab.proxies[hole].fault("heal");
                lab.daemon
                    .wait_path(&lab.volume, hole, "ready", 20 * SECOND);
            }
        });
        assert!(report.longest < 4 * SECOND, "{report:?}");
    }
}

#[test]
fn a_controller_that_freezes_and_thaws_harms_nothing() {
    // Two tgtd processes over one file are two controllers of one disk. What the frozen one holds, it
    // executes when it thaws: writes that a failover has long repeated on the other.
    let folder = scratch();
    let mut one = Tgtd::start(&folder.path().join("one"), "iqn.2026-11.test:disk", 1);
    let mut other = Tgtd::start(&folder.path().join("other"), "iqn.2026-11.test:disk", 1);
    let disk = folder.path().join("disk.img");
    std::fs::File::create(&disk)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    one.add_lun_over(&disk, 1, 512, "disk");
    other.add_lun_over(&disk, 1, 512, "disk");
    // They have no reservations in common, so a key that is registered at one is not seen at the other.
    let volume = Volume::over(&one, 1, &[one.portals()[0], other.portals()[0]])
        .with("policy = \"round-robin\"")
        .with("same_unit = \"blocks\"");
    let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
    daemon.wait_ready(&volume);
    let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
    let fio = Fio::start(folder.path(), &uri, "16k", 8, 25);
    for (frozen, controller) in [&one, &other].into_iter().enumerate() {
        pause(2 * SECOND);
        controller.freeze();
        daemon.wait_lost(&volume, frozen, 10 * SECOND);
        pause(2 * SECOND);
        controller.thaw();
        daemon.wait_path(&volume, frozen, "ready", 20 * SECOND);
    }
    fio.finish();
    daemon.assert_well();
}

#[test]
fn a_target_that_is_killed_and_restarted_costs_no_error() {
    // The second has a target that listens for a while before it knows its own name again.
    for gap in [Duration::ZERO, 2 * SECOND] {
        let mut lab = Lab::two_paths(512, &[]);
        let report = lab.under_load(&format!("restart, {gap:?} without targets"), 25, |lab| {
            lab.tgtd.kill();
            pause(SECOND);
            lab.tgtd.restart(gap);
            lab.daemon.wait_ready(&lab.volume);
        });
        assert!(
            report.longest >= SECOND,
            "the target was not gone: {report:?}"
        );
        assert!(report.longest < 15 * SECOND, "{report:?}");
    }
}

#[test]
fn both_paths_cut_for_twenty_seconds_cost_no_error() {
    let mut lab = Lab::two_paths(512, &[]);
    let report = lab.under_load("both cut for 20 s", 45, |lab| {
        lab.proxies.iter().for_each(|proxy| proxy.fault("cut"));
        pause(20 * SECOND);
        lab.proxies.iter().for_each(|proxy| proxy.fault("heal"));
        lab.daemon.wait_ready(&lab.volume);
    });
    assert!(
        report.longest >= 20 * SECOND,
        "the paths were not cut: {report:?}"
    );
    assert!(report.longest < 40 * SECOND, "{report:?}");
}

#[test]
fn a_frozen_target_costs_no_error() {
    let mut lab = Lab::two_paths(512, &[]);
    let report = lab.under_load("frozen for 3 s", 15, |lab| {
        lab.tgtd.freeze();
        pause(3 * SECOND);
        lab.tgtd.thaw();
    });
    // The request that waited longest may have been asked a moment after the target froze.
    assert!(
        report.longest >= Duration::from_millis(2_500),
        "the target was not frozen: {report:?}"
    );
    lab.daemon.wait_ready(&lab.volume);
}

#[test]
fn nbdcopy_does_not_notice_a_cut_path() {
    let lab = Lab::two_paths(4096, &[]);
    let random = random_file(lab.folder(), 3, 64);
    let (source, uri) = (random.to_str().unwrap().to_owned(), lab.uri());
    // Slow enough that the copy is under way when the path goes.
    lab.proxies
        .iter()
        .for_each(|proxy| proxy.fault("bandwidth 8MiB"));
    let copy = std::thread::spawn(move || nbdcopy(&source, &uri));
    pause(SECOND);
    assert!(!copy.is_finished(), "the copy was over before the cut");
    lab.proxies[0].fault("cut");
    copy.join().expect("nbdcopy");
    lab.proxies[1].fault("heal");
    let back = lab.folder().join("back.img");
    nbdcopy(&lab.uri(), back.to_str().unwrap());
    assert_eq!(
        std::fs::read(&random).unwrap(),
        std::fs::read(&back).unwrap()
    );
}

#[test]
fn qemu_io_does_not_notice_a_black_hole() {
    let mut lab = Lab::two_paths(512, &[]);
    qemu_io(&lab.uri(), &["write -P 0x11 0 16M"]);
    for (hole, pattern) in [(0, "0x22"), (1, "0x33")] {
        lab.proxies[hole].fault("blackhole");
        let (write, read) = (
            format!("write -P {pattern} 4M 4M"),
            format!("read -P {pattern} 4M 4M"),
        );
        qemu_io(
            &lab.uri(),
            &[
                &write,
                "flush",
                &read,
                "read -P 0x11 0 4M",
                "read -P 0x11 8M 8M",
            ],
        );
        lab.daemon.wait_lost(&lab.volume, hole, 15 * SECOND);
        lab.proxies[hole].fault("heal");
        lab.daemon
            .wait_path(&lab.volume, hole, "ready", 20 * SECOND);
    }
    lab.daemon.assert_well();
}

#[test]
fn latency_on_one_path_costs_no_error() {
    let mut lab = Lab::two_paths(512, &["policy = \"round-robin\""]);
    lab.under_load("20 ms latency on one path", 6, |lab| {
        lab.proxies[1].fault("latency 20ms");
    });
}
