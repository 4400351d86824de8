//! Start, stop, crash, redirect.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::config::Volume;
use crate::support::daemon::Daemon;
use crate::support::lab::{Lab, scratch};
use crate::support::tgt::Tgtd;
use crate::support::tools::{nbd_uri, qemu_io};
use crate::support::wait_for;

#[test]
fn sigterm_drains_logs_out_and_ends_well() {
    let mut lab = Lab::two_paths(512, &[]);
    qemu_io(&lab.uri(), &["write -P 0x42 0 1M"]);
    assert_eq!(lab.tgtd.sessions(), 2);
    let status = lab.daemon.terminate();
    assert!(status.success(), "{status}\n{}", lab.daemon.log());
    assert_eq!(lab.tgtd.sessions(), 0, "a session was not logged out");
    qemu_io(&lab.tgtd.url(1), &["read -P 0x42 0 1M"]);
}

/// SIGTERM while no path is there: `iibadm status` says that it is being stopped, and the first path that
/// comes back takes what was asked and the flush, though it has not proven itself yet.
#[test]
fn a_stop_can_be_watched_and_flushes_over_the_first_path_that_is_back() {
    let mut lab = Lab::two_paths(512, &[]);
    for proxy in &lab.proxies {
        proxy.fault("cut");
    }
    let uri = lab.uri();
    let write = std::thread::spawn(move || qemu_io(&uri, &["write -P 3 0 64k"]));
    let volume = |lab: &Lab| lab.daemon.status()["volumes"][0].clone();
    let asked = || (volume(&lab)["ios_in_progress"] == 1).then_some(());
    wait_for("the write", Duration::from_secs(10), asked);
    lab.daemon.signal(Signal::SIGTERM);
    let stopping = || (volume(&lab)["state"] == "stopping").then_some(());
    wait_for("the stop", Duration::from_secs(10), stopping);
    lab.proxies[0].fault("heal");
    write.join().expect("it was written");
    let status = lab.daemon.terminate();
    let log = lab.daemon.log();
    assert!(status.success(), "{status}\n{log}");
    assert!(!log.contains("the flush at the end"), "{log}");
    qemu_io(&lab.tgtd.url(1), &["read -P 3 0 64k"]);
}

#[test]
fn a_killed_daemon_serves_again_after_a_restart() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:restart", 2);
    tgtd.add_lun(1, 512, 8);
    let volume = Volume::of(&tgtd, 1);
    let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
    for round in 0..2 {
        // Dropping kills with SIGKILL: the socket file and the sessions stay behind.
        let daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
        daemon.wait_ready(&volume);
        let pattern = format!("write -P {} 0 1M", round + 1);
        qemu_io(&uri, &[&pattern]);
    }
    qemu_io(&tgtd.url(1), &["read -P 2 0 1M"]);
}

#[test]
fn the_volume_comes_up_with_one_path_and_the_other_joins() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:late", 1);
    let image = tgtd.add_lun(1, 512, 8);
    let mut second = Tgtd::start(&folder.path().join("second"), "iqn.2026-11.test:late", 1);
    second.add_lun_over(&image, 1, 512, "late");
    tgtd.remove_lun(1);
    tgtd.add_lun_over(&image, 1, 512, "late");
    let volume = Volume::over(&tgtd, 1, &[tgtd.portals()[0], second.portals()[0]])
        .with("same_unit = \"blocks\"");
    second.kill();
    let daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
    let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
    qemu_io(&uri, &["write -P 5 0 1M"]);
    second.restart(Duration::ZERO);
    daemon.wait_path(&volume, 1, "ready", Duration::from_secs(30));
    tgtd.kill();
    qemu_io(
        &uri,
        &["read -P 5 0 1M", "write -P 6 0 1M", "read -P 6 0 1M"],
    );
}

#[test]
fn a_redirected_login_is_followed() {
    let folder = scratch();
    let mut front = Tgtd::start(folder.path(), "iqn.2026-11.test:moved", 1);
    let mut back = Tgtd::start(&folder.path().join("back"), "iqn.2026-11.test:moved", 1);
    back.add_lun(1, 512, 8);
    let there = back.portals()[0];
    front.set("RedirectAddress", &there.ip().to_string());
    front.set("RedirectPort", &there.port().to_string());
    for reason in ["Temporary", "Permanent"] {
        front.set("RedirectReason", reason);
        let volume = Volume::of(&front, 1);
        let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
        let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
        qemu_io(&uri, &["write -P 7 0 64k", "read -P 7 0 64k"]);
        assert_eq!((front.sessions(), back.sessions()), (0, 1));
        daemon.terminate();
    }
}

#[test]
fn a_redirect_without_end_is_bounded_and_named() {
    let folder = scratch();
    let mut front = Tgtd::start(folder.path(), "iqn.2026-11.test:loop", 1);
    front.add_lun(1, 512, 8);
    let here = front.portals()[0];
    front.set("RedirectAddress", &here.ip().to_string());
    front.set("RedirectPort", &here.port().to_string());
    front.set("RedirectReason", "Temporary");
    let volume = Volume::of(&front, 1);
    let mut daemon = Daemon::launch(folder.path(), std::slice::from_ref(&volume));
    daemon.wait_log(&["redirect"]);
    daemon.assert_well();
}

#[test]
fn a_client_that_vanishes_in_mid_write_harms_nobody() {
    let mut lab = Lab::two_paths(512, &[]);
    let fio = crate::support::tools::Fio::start(lab.folder(), &lab.uri(), "64k", 8, 30);
    crate::support::pause(Duration::from_secs(2));
    drop(fio);
    // What it had asked for is carried out first.
    let gone = || (lab.daemon.status()["volumes"][0]["clients"] == 0).then_some(());
    wait_for("the client gone", Duration::from_secs(10), gone);
    qemu_io(&lab.uri(), &["write -P 9 0 1M", "read -P 9 0 1M"]);
    lab.daemon.assert_well();
    let settled = || (lab.tgtd.sessions() == 2).then_some(());
    wait_for("both sessions alive", Duration::from_secs(1), settled);
}
