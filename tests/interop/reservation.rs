//! Persistent reservations on tgt, which takes every session for a nexus of its own.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::config;
use crate::support::daemon::Daemon;
use crate::support::lab::Lab;
use crate::support::process::output;
use crate::support::tools::{nbd_uri, qemu_io};
use crate::support::{pause, wait_for};

const SECOND: Duration = Duration::from_secs(1);
const KEY: &str = "0x1a2b3c4d5e6f7081";
const FOREIGN: &str = "0x00000000000000f0";
const KIND: &str = "write-exclusive-registrants-only";

/// `iibadm reservation` with JSON, which must succeed.
fn reservation(daemon: &Daemon, action: &[&str]) -> Value {
    let arguments = [&["reservation", "v1"], action, &["--json"]].concat();
    let said = daemon.iibadm(&arguments);
    assert!(said.ok, "{action:?}: {}", said.text);
    serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text))
}

fn refused(daemon: &Daemon, action: &[&str]) -> String {
    let said = daemon.iibadm(&[&["reservation", "v1"], action].concat());
    assert!(!said.ok, "{action:?}: {}", said.text);
    said.text
}

fn states(report: &Value) -> Vec<&str> {
    let paths = report["paths"].as_array().expect("paths");
    paths
        .iter()
        .filter_map(|path| path["state"].as_str())
        .collect()
}

/// Another host with the same LUN over tgt's first portal: another name, another daemon.
fn another_host(lab: &Lab) -> (Daemon, String) {
    let folder = lab.folder().join("foreign");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut volume = lab.volume.clone().with("shared = true");
    volume.paths.truncate(1);
    volume.paths[0].portal = lab.tgtd.portals()[0];
    let file = config::write(&folder, std::slice::from_ref(&volume));
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let text = text.replace("iqn.2026-11.test:initiator", "iqn.2026-11.test:stranger");
    let mut daemon = Daemon::launch_with(&folder, &file, &text);
    daemon.wait_serving(&volume);
    daemon.wait_ready(&volume);
    let uri = nbd_uri(&volume.socket(&folder), &volume.name);
    (daemon, uri)
}

#[test]
fn a_reserved_unit_keeps_strangers_out_and_a_path_that_comes_back_in() {
    let mut lab = Lab::two_paths(512, &["policy = \"round-robin\""]);
    let said = refused(&lab.daemon, &["reserve", KIND]);
    assert!(said.contains("no key is registered"), "{said}");
    let report = reservation(&lab.daemon, &["register", KEY]);
    assert_eq!(states(&report), ["registered"; 2], "{report:#}");
    let said = refused(&lab.daemon, &["reserve", "write-exclusive"]);
    assert!(said.contains("registrants-only"), "{said}");
    let report = reservation(&lab.daemon, &["reserve", KIND]);
    assert_eq!(report["reservation"]["kind"], KIND, "{report:#}");

    let (stranger, uri) = another_host(&lab);
    qemu_io(&uri, &["read 0 64k"]);
    let mut write = Command::new("qemu-io");
    let write = output(write.args(["-f", "raw", "-c", "write -P 7 63M 4k", &uri]));
    let text = String::from_utf8_lossy(&write.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&write.stderr);
    assert!(
        text.contains("error"),
        "the stranger's write must fail: {text}"
    );

    // The path that holds the reservation comes back as another nexus: unregistered, as tgt sees it.
    let report = lab.under_load("reserved, cut", 12, |lab| {
        for cut in [0, 1] {
            lab.proxies[cut].fault("cut");
            lab.daemon.wait_lost(&lab.volume, cut, 5 * SECOND);
            lab.proxies[cut].fault("heal");
            lab.daemon.wait_path(&lab.volume, cut, "ready", 20 * SECOND);
        }
        pause(SECOND);
    });
    assert!(report.longest < 2 * SECOND, "{report:?}");
    let report = reservation(&lab.daemon, &["show"]);
    assert_eq!(states(&report), ["registered"; 2], "{report:#}");
    assert_eq!(report["reservation"]["kind"], KIND, "{report:#}");

    let report = reservation(&lab.daemon, &["release"]);
    assert!(report["reservation"].is_null(), "{report:#}");
    qemu_io(&uri, &["write -P 7 63M 4k"]);
    let report = reservation(&lab.daemon, &["unregister"]);
    assert!(report["key"].is_null(), "{report:#}");
    drop(stranger);
    lab.daemon.assert_well();
}

#[test]
fn a_volume_that_is_preempted_says_so_and_stays_out_over_a_restart() {
    let mut lab = Lab::two_paths(512, &[]);
    reservation(&lab.daemon, &["register", KEY]);
    reservation(&lab.daemon, &["reserve", KIND]);
    let (stranger, uri) = another_host(&lab);
    reservation(&stranger, &["register", FOREIGN]);
    let report = reservation(&stranger, &["preempt", KEY]);
    assert_eq!(report["reservation"]["key"], FOREIGN, "{report:#}");
    qemu_io(&uri, &["write -P 9 0 4k"]);

    let own = lab.uri();
    let mut write = Command::new("qemu-io");
    output(write.args(["-f", "raw", "-c", "write -P 1 0 4k", &own]));
    let preempted = |lab: &Lab| {
        let status = lab.daemon.status();
        status["volumes"][0]["reservation"]["preempted"] == true
    };
    wait_for("the preemption in status", 5 * SECOND, || {
        preempted(&lab).then_some(())
    });
    assert!(lab.daemon.status_text().contains("PREEMPTED"));
    qemu_io(&uri, &["read -P 9 0 4k"]);

    let status = lab.daemon.terminate();
    assert!(status.code().is_some(), "{status}");
    lab.daemon = Daemon::start(lab.folder(), std::slice::from_ref(&lab.volume));
    lab.daemon.wait_ready(&lab.volume);
    assert!(preempted(&lab), "it is remembered");
    let report = reservation(&lab.daemon, &["register", KEY]);
    assert_eq!(states(&report), ["registered"; 2], "{report:#}");
    let report = reservation(&lab.daemon, &["clear"]);
    assert_eq!(report["registered"], serde_json::json!([]), "{report:#}");
    drop(stranger);
}
