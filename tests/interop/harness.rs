//! The harness against itself, without our programs: what fails here is not ours.

use std::process::Command;
use std::time::Duration;

use iiblockdaemon::shell::config_file;

use crate::support::config::{self, Auth, Volume};
use crate::support::lab::scratch;
use crate::support::process::{Running, success};
use crate::support::tgt::{Account, Tgtd};
use crate::support::tools::{Fio, nbd_uri, qemu_img_compare, qemu_img_copy, qemu_io, random_file};
use crate::support::wait_for;

#[test]
fn tgt_serves_both_block_sizes_on_two_portals_and_comes_back_as_it_was() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:harness", 2);
    tgtd.add_lun(1, 512, 8);
    tgtd.add_lun(2, 4096, 8);
    for restart in [false, true] {
        if restart {
            tgtd.restart(Duration::ZERO);
        }
        for portal in tgtd.portals() {
            for (lun, block) in [(1, "512"), (2, "4096")] {
                let url = format!("iscsi://{portal}/{}/{lun}", tgtd.target());
                let said = success(Command::new("iscsi-readcapacity16").arg(url));
                let length = format!("LOGICAL BLOCK LENGTH IN BYTES:{block}\n");
                assert!(said.contains(&length), "{said}");
                assert!(said.contains("Total size:8388608"), "{said}");
            }
        }
    }
}

#[test]
fn the_answer_of_tgt_to_send_targets_names_the_asked_portal_only() {
    let folder = scratch();
    let tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:harness", 2);
    for portal in tgtd.portals() {
        let said = success(Command::new("iscsi-ls").arg(format!("iscsi://{portal}")));
        assert_eq!(
            said.trim(),
            format!("Target:{} Portal:{portal},1", tgtd.target())
        );
    }
}

#[test]
fn the_configurations_of_these_tests_are_ones_that_the_daemon_takes() {
    let folder = scratch();
    let tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:harness", 2);
    let mut volume = Volume::of(&tgtd, 2)
        .with("policy = \"round-robin\"")
        .with("iscsi = { header_digest = \"crc32c\", initial_r2t = true, first_burst_length = \"16KiB\" }");
    let own = Account {
        user: "db1",
        secret: "twelve-letters",
    };
    let target = Account {
        user: "array1",
        secret: "other-letters",
    };
    volume.auth = Some(Auth {
        own,
        target: Some(target),
    });
    let file = config::write(folder.path(), &[volume, Volume::of(&tgtd, 1)]);
    let config = config_file::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.volumes.len(), 2);
}

#[test]
fn luns_have_the_names_that_they_were_given() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:harness", 1);
    tgtd.add_lun(1, 512, 8);
    tgtd.add_lun(2, 512, 8);
    assert_ne!(tgtd.name_of(1), tgtd.name_of(2));
    for lun in [1, 2] {
        let mut command = Command::new("iscsi-inq");
        let said = success(command.args(["-e", "1", "-c", "131"]).arg(tgtd.url(lun)));
        assert!(said.contains(&tgtd.name_of(lun)), "{said}");
    }
}

#[test]
fn tgt_demands_the_secrets_that_it_was_given() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:harness", 1);
    tgtd.add_lun(1, 512, 8);
    let own = Account {
        user: "db1",
        secret: "twelve-letters",
    };
    let target = Account {
        user: "array1",
        secret: "other-letters",
    };
    tgtd.require_chap(own, Some(target));
    tgtd.assert_refuses_strangers();
    let url = format!(
        "iscsi://{}%{}@{}/{}/1?target_user={}&target_password={}",
        own.user,
        own.secret,
        tgtd.portals()[0],
        tgtd.target(),
        target.user,
        target.secret
    );
    success(Command::new("iscsi-inq").arg(url));
}

#[test]
fn fio_verifies_through_a_foreign_server_and_sees_a_frozen_target_as_a_stall() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:harness", 1);
    let image = tgtd.add_lun(1, 512, 64);
    let socket = folder.path().join("nbd.sock");
    let mut command = Command::new("qemu-nbd");
    command
        .args(["-t", "-e", "4", "-f", "raw", "-x", "v1", "-k"])
        .arg(&socket)
        .arg(tgtd.url(1));
    let server = Running::start(folder.path(), "qemu-nbd", &mut command);
    wait_for("qemu-nbd's socket", Duration::from_secs(10), || {
        socket.exists().then_some(())
    });
    let uri = nbd_uri(&socket, "v1");

    let random = random_file(folder.path(), 1, 64);
    qemu_img_copy(random.to_str().unwrap(), &uri);
    qemu_img_compare(random.to_str().unwrap(), &tgtd.url(1));
    qemu_img_compare(random.to_str().unwrap(), image.to_str().unwrap());

    let fio = Fio::start(folder.path(), &uri, "4k", 8, 4);
    crate::support::pause(Duration::from_secs(1));
    tgtd.freeze();
    crate::support::pause(Duration::from_millis(1500));
    tgtd.thaw();
    let report = fio.finish();
    // On a busy machine the request that waited longest was asked a while after the target froze.
    assert!(report.longest >= Duration::from_secs(1), "{report:?}");
    assert!(server.processor_time() > Duration::ZERO);
    qemu_io(&uri, &["write -P 0x5a 0 4k", "read -P 0x5a 0 4k"]);
}

#[test]
#[should_panic(expected = "Pattern verification failed")]
fn a_wrong_pattern_is_noticed() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:harness", 1);
    tgtd.add_lun(1, 512, 8);
    qemu_io(&tgtd.url(1), &["write -P 0x5a 0 4k", "read -P 0x5b 0 4k"]);
}
