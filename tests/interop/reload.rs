//! The configuration changes while the daemon runs, under a verifying load.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::config::{self, Volume};
use crate::support::daemon::Daemon;
use crate::support::lab::{Lab, scratch};
use crate::support::tgt::Tgtd;
use crate::support::tools::{nbd_uri, qemu_io};
use crate::support::{pause, wait_for};

const SECOND: Duration = Duration::from_secs(1);

/// The names of the paths that the daemon has, removed ones included as long as they are there.
fn paths(lab: &Lab) -> Vec<String> {
    let paths = lab.daemon.paths(&lab.volume);
    let name = |path: &serde_json::Value| path["portal"].as_str().unwrap_or("?").to_owned();
    paths.iter().map(name).collect()
}

#[test]
fn paths_are_added_and_removed_under_load_and_a_bad_file_changes_nothing() {
    let mut lab = Lab::two_paths(512, &["policy = \"round-robin\""]);
    let both = lab.volume.clone();
    let [first, second] = [0, 1].map(|path| lab.proxies[path].portal().to_string());
    let report = lab.under_load("reload", 12, |lab| {
        let mut one = both.clone();
        one.paths.truncate(1);
        let said = lab.daemon.reload(lab.folder(), std::slice::from_ref(&one));
        let removed = format!("path {second} removed");
        assert!(said.ok && said.text.contains(&removed), "{}", said.text);
        let gone = || (paths(lab) == [first.clone()]).then_some(());
        wait_for("the second path gone", 5 * SECOND, gone);
        assert_eq!(lab.tgtd.sessions(), 1, "it was logged out");

        pause(SECOND);
        let said = lab.daemon.reload(lab.folder(), std::slice::from_ref(&both));
        assert!(said.ok && said.text.contains(&format!("path {second} added")));
        lab.daemon.wait_path(&both, 1, "ready", 5 * SECOND);

        pause(SECOND);
        let mut other = both.clone();
        other.paths.remove(0);
        let said = lab
            .daemon
            .reload(lab.folder(), std::slice::from_ref(&other));
        assert!(said.ok && said.text.contains(&format!("path {first} removed")));
        let gone = || (paths(lab) == [second.clone()]).then_some(());
        wait_for("the first path gone", 5 * SECOND, gone);

        // Two mistakes: both are told, and nothing happens.
        let mut bad = both.clone().with("polcy = \"failover\"");
        bad.more.push("no_path = \"sometimes\"".into());
        let said = lab.daemon.reload(lab.folder(), std::slice::from_ref(&bad));
        assert!(!said.ok && said.text.contains("nothing was changed"));
        for word in ["polcy", "sometimes", "multipath.toml:"] {
            assert!(said.text.contains(word), "no {word:?} in {}", said.text);
        }
        assert_eq!(paths(lab), std::slice::from_ref(&second));

        // The same by signal, which only the log answers.
        config::write(lab.folder(), std::slice::from_ref(&both));
        lab.daemon.signal(Signal::SIGHUP);
        lab.daemon
            .wait_log(&["configuration changed", &first, "added"]);
        lab.daemon.wait_path(&both, 0, "ready", 5 * SECOND);
    });
    assert!(report.longest < SECOND, "{report:?}");
    let retries = &lab.daemon.status()["volumes"][0]["totals"]["retries"];
    assert_eq!(*retries, 0, "a path that is drained fails nothing");
    let status = lab.daemon.terminate();
    assert!(status.success(), "{status}");
    assert_eq!(lab.tgtd.sessions(), 0);
}

#[test]
fn volumes_are_added_removed_and_moved_to_another_socket() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:more", 2);
    tgtd.add_lun(1, 512, 8);
    tgtd.add_lun(2, 512, 8);
    let (one, two) = (Volume::of(&tgtd, 1), Volume::of(&tgtd, 2));
    let uri = |volume: &Volume| nbd_uri(&volume.socket(folder.path()), &volume.name);
    let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&one));
    qemu_io(&uri(&one), &["write -P 1 0 1M"]);

    let said = daemon.reload(folder.path(), &[one.clone(), two.clone()]);
    assert!(
        said.ok && said.text.contains("v2: volume added"),
        "{}",
        said.text
    );
    daemon.wait_serving(&two);
    qemu_io(&uri(&two), &["write -P 2 0 1M"]);

    let said = daemon.reload(folder.path(), std::slice::from_ref(&two));
    assert!(said.ok && said.text.contains("v1: volume removed"));
    assert!(!one.socket(folder.path()).exists(), "its socket is gone");
    assert_eq!(tgtd.sessions(), 2, "only the other volume's are left");
    qemu_io(&uri(&two), &["read -P 2 0 1M"]);

    // A volume that takes over the name of a socket which another one has had.
    let text =
        fs::read_to_string(config::write(folder.path(), std::slice::from_ref(&one))).unwrap();
    let text = text.replace("v1.sock", "v2.sock");
    fs::write(folder.path().join("multipath.toml"), text).unwrap();
    let said = daemon.reload_file();
    assert!(said.ok, "{}", said.text);
    let socket = two.socket(folder.path());
    qemu_io(&nbd_uri(&socket, &one.name), &["read -P 1 0 1M"]);
    daemon.assert_well();
}

#[test]
fn what_would_change_is_shown_and_what_needs_a_restart_is_told() {
    let mut lab = Lab::two_paths(512, &[]);
    let policy = |lab: &Lab| lab.daemon.status()["volumes"][0]["policy"].to_string();
    let before = policy(&lab);
    assert!(!before.contains("queue-length"));
    let changed = lab.volume.clone().with("policy = \"queue-length\"");
    config::write(lab.folder(), std::slice::from_ref(&changed));
    let file = lab.folder().join("multipath.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/state\"", "/other-state\"")).unwrap();
    let said = lab.daemon.iibadm(&["reload", "--dry-run"]);
    assert!(said.ok && said.text.contains("would be changed"));
    assert_eq!(policy(&lab), before, "nothing was changed");
    let said = lab.daemon.reload_file();
    assert!(said.ok && said.text.contains("state_dir"), "{}", said.text);
    assert!(said.text.contains("NEEDS A RESTART"), "{}", said.text);
    assert!(policy(&lab).contains("queue-length"));
    lab.daemon.assert_well();
}
