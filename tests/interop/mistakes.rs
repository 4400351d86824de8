//! What an administrator gets wrong: one message that says what to do, and the rest goes on.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::config::{Auth, Volume};
use crate::support::daemon::Daemon;
use crate::support::lab::scratch;
use crate::support::process::failure;
use crate::support::tgt::{Account, Tgtd};
use crate::support::tools::{nbd_uri, qemu_io};
use crate::support::{fresh_address, pause, program, wait_for};

/// Starts the daemon with one good volume and a `bad` one. The good one must serve; the log must have one
/// warning with all of `words`, and one only even after some retries.
fn goes_on_without(tgtd: &Tgtd, folder: &std::path::Path, bad: Volume, words: &[&str]) -> Daemon {
    let good = Volume::of(tgtd, 1).named("good");
    let mut daemon = Daemon::launch(folder, &[good.clone(), bad]);
    daemon.wait_serving(&good);
    qemu_io(
        &nbd_uri(&good.socket(folder), "good"),
        &["write -P 1 0 64k", "read -P 1 0 64k"],
    );
    let words: Vec<&str> = [" WARN ", "bad"].iter().chain(words).copied().collect();
    daemon.wait_log(&words);
    pause(Duration::from_secs(7));
    let log = daemon.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .collect();
    assert_eq!(lines.len(), 1, "said more than once:\n{}", lines.join("\n"));
    daemon.assert_well();
    daemon
}

fn tgtd_with_lun(folder: &std::path::Path) -> Tgtd {
    let mut tgtd = Tgtd::start(folder, "iqn.2026-11.test:mistakes", 2);
    tgtd.add_lun(1, 512, 8);
    tgtd
}

#[test]
fn a_wrong_chap_secret_is_named_and_the_rest_goes_on() {
    let folder = scratch();
    let tgtd = tgtd_with_lun(folder.path());
    let own = Account {
        user: "db1",
        secret: "twelve-letters",
    };
    let mut locked = Tgtd::start(folder.path(), "iqn.2026-11.test:locked", 1);
    locked.add_lun(1, 512, 8);
    locked.require_chap(own, None);
    let mut bad = Volume::of(&locked, 1).named("bad");
    bad.auth = Some(Auth {
        own: Account {
            secret: "not-the-secret",
            ..own
        },
        target: None,
    });
    let daemon = goes_on_without(
        &tgtd,
        folder.path(),
        bad,
        &["bad", "authentication", "secret"],
    );
    assert!(
        !daemon.log().contains("not-the-secret"),
        "the log has the secret"
    );
}

#[test]
fn an_unreachable_portal_is_named_and_the_other_path_serves() {
    let folder = scratch();
    let tgtd = tgtd_with_lun(folder.path());
    let nobody = fresh_address();
    let volume = Volume::over(&tgtd, 1, &[tgtd.portals()[0], nobody]);
    let daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
    let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
    qemu_io(&uri, &["write -P 1 0 64k", "read -P 1 0 64k"]);
    daemon.wait_log(&[&nobody.to_string(), "refused"]);
    let status = daemon.status_text();
    assert!(
        status.contains(&nobody.to_string()) && status.contains("refused"),
        "{status}"
    );
}

#[test]
fn a_wrong_lun_is_named_and_the_rest_goes_on() {
    let folder = scratch();
    let tgtd = tgtd_with_lun(folder.path());
    let bad = Volume::of(&tgtd, 9).named("bad");
    let portal = tgtd.portals()[0].to_string();
    let daemon = goes_on_without(
        &tgtd,
        folder.path(),
        bad,
        &["no logical unit", "lun", &portal],
    );
    let status = daemon.status_text();
    assert!(status.contains("no logical unit"), "{status}");
}

#[test]
fn a_wrong_target_name_is_named_and_the_rest_goes_on() {
    let folder = scratch();
    let tgtd = tgtd_with_lun(folder.path());
    let mut bad = Volume::of(&tgtd, 1).named("bad");
    bad.target = "iqn.2026-11.test:absent".into();
    bad.paths.truncate(1);
    let portal = tgtd.portals()[0].to_string();
    goes_on_without(
        &tgtd,
        folder.path(),
        bad,
        &["target not found", "correct `target`", &portal],
    );
}

#[test]
fn a_path_to_another_lun_is_refused_and_both_are_named() {
    let folder = scratch();
    let mut tgtd = tgtd_with_lun(folder.path());
    let other = tgtd.add_lun(2, 512, 8);
    let mut volume = Volume::of(&tgtd, 1);
    volume.paths[1].lun = Some(2);
    let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
    daemon.wait_path(&volume, 0, "ready", Duration::from_secs(10));
    daemon.wait_path(&volume, 1, "disabled", Duration::from_secs(10));
    let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
    qemu_io(&uri, &["write -P 0x77 0 8M", "flush"]);
    let touched = fs::read(&other).unwrap().iter().any(|byte| *byte != 0);
    assert!(!touched, "the other LUN was written");
    daemon.wait_log(&[&tgtd.name_of(1), &tgtd.name_of(2)]);
    daemon.assert_well();
}

#[test]
fn another_disk_under_the_same_name_is_refused() {
    // Two hosts that run tgt give different disks the same default names.
    let folder = scratch();
    let mut here = Tgtd::start(folder.path(), "iqn.2026-11.test:here", 1);
    let mut there = Tgtd::start(folder.path(), "iqn.2026-11.test:there", 1);
    let disks = [
        folder.path().join("here.img"),
        folder.path().join("there.img"),
    ];
    for (tgtd, disk) in [(&mut here, &disks[0]), (&mut there, &disks[1])] {
        fs::write(disk, vec![0; 8 << 20]).unwrap();
        tgtd.add_nameless_lun_over(disk, 1, 512);
    }
    let mut volume = Volume::over(&here, 1, &[here.portals()[0], there.portals()[0]]);
    volume.paths[1].target = Some(there.target().into());
    let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
    wait_for("a disabled path", Duration::from_secs(15), || {
        let disabled = daemon
            .paths(&volume)
            .iter()
            .filter(|path| path["state"] == "disabled")
            .count();
        (disabled == 1).then_some(())
    });
    daemon.wait_log(&["WARN", "default identifier"]);
    let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
    qemu_io(&uri, &["write -P 0x77 0 8M", "flush"]);
    let written = disks.map(|disk| {
        fs::read(disk)
            .unwrap()
            .iter()
            .filter(|byte| **byte != 0)
            .count()
    });
    assert!(
        written == [8 << 20, 0] || written == [0, 8 << 20],
        "{written:?}"
    );
    daemon.assert_well();
}

/// Two hosts that run tgt export different disks under equal names that look like nobody else's: a cloned
/// array. The second path is refused, with what is to be done; by reservation key, then by blocks.
#[test]
fn a_copy_with_equal_identifiers_is_refused_and_named() {
    for same_unit in ["reservation", "blocks"] {
        let folder = scratch();
        let mut here = Tgtd::start(folder.path(), "iqn.2026-11.test:array", 1);
        let mut there = Tgtd::start(&folder.path().join("there"), "iqn.2026-11.test:array", 1);
        let disks = [
            folder.path().join("here.img"),
            folder.path().join("there.img"),
        ];
        for (tgtd, disk, byte) in [(&mut here, &disks[0], 1), (&mut there, &disks[1], 2)] {
            let block: Vec<u8> = (0..512).map(|at| byte + u8::from(at == 9)).collect();
            fs::write(disk, block.repeat(16 << 10)).unwrap();
            tgtd.add_lun_over(disk, 1, 512, "cloned");
        }
        let volume = Volume::over(&here, 1, &[here.portals()[0], there.portals()[0]])
            .with(&format!("same_unit = \"{same_unit}\""));
        let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
        wait_for("a disabled path", Duration::from_secs(15), || {
            let paths = daemon.paths(&volume);
            let disabled = paths.iter().filter(|path| path["state"] == "disabled");
            (disabled.count() == 1).then_some(())
        });
        daemon.wait_log(&["WARN", "different logical unit with the same identifiers"]);
        let status = daemon.status_text();
        let portal = daemon
            .paths(&volume)
            .iter()
            .position(|path| path["state"] == "disabled")
            .map(|path| [&here, &there][path].portals()[0].to_string())
            .unwrap();
        assert!(
            status.contains(&portal) && status.contains("same_unit"),
            "{status}"
        );
        let uri = nbd_uri(&volume.socket(folder.path()), &volume.name);
        qemu_io(&uri, &["write -P 0x77 0 8M", "flush"]);
        let written = disks.map(|disk| {
            let bytes = fs::read(disk).unwrap();
            bytes.iter().filter(|byte| **byte == 0x77).count()
        });
        assert!(
            written == [8 << 20, 0] || written == [0, 8 << 20],
            "{same_unit}: {written:?}"
        );
        daemon.assert_well();
    }
}

#[test]
fn two_portals_of_one_unit_are_proven_to_be_by_a_key() {
    let folder = scratch();
    let tgtd = tgtd_with_lun(folder.path());
    let volume = Volume::of(&tgtd, 1);
    let mut daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
    daemon.wait_ready(&volume);
    let by = |path: &serde_json::Value| path["same"]["by"].as_str().unwrap_or("?").to_owned();
    let mut by: Vec<String> = daemon.paths(&volume).iter().map(by).collect();
    by.sort_unstable();
    assert_eq!(by, ["first", "reservation"]);
    let status = daemon.status_text();
    assert!(
        status.contains("1 path the same by reservation key"),
        "{status}"
    );
    daemon.assert_well();
}

#[test]
fn three_mistakes_in_the_configuration_are_reported_at_once() {
    let folder = scratch();
    let file = folder.path().join("multipath.toml");
    let text = "[daemon]\ninitiator_nam = \"iqn.2026-11.test:me\"\n\n[[volume]]\nname = \"db\"\n\
                target = \"not-a-name\"\nlun = 1\nexport = { nbd = \"unix:/run/x.sock\" }\n\
                no_path = { queue = \"5 parsecs\" }\npaths = [{ portal = \"10.0.1.10\" }]\n";
    fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let check = failure(Command::new(program("iibadm")).args(["config", "check", name]));
    let start = failure(Command::new(program("iiblockdaemon")).args(["--config", name]));
    for said in [check, start] {
        for (line, words) in [
            (2, ["initiator_nam", "initiator_name"]),
            (6, ["target", "not-a-name"]),
            (9, ["no_path", "5 parsecs"]),
        ] {
            let place = format!("multipath.toml:{line}");
            let one = said.lines().find(|text| text.contains(&place));
            let one = one.unwrap_or_else(|| panic!("nothing for {place} in:\n{said}"));
            assert!(words.iter().all(|word| one.contains(word)), "{one}");
        }
    }
}
