//! iibadm: discovery, status, configuration.

use std::process::Command;

use crate::support::config;
use crate::support::lab::{Lab, scratch};
use crate::support::process::success;
use crate::support::program;
use crate::support::tgt::Tgtd;

#[test]
fn discovery_shows_targets_portals_and_luns_with_size_and_identity() {
    let folder = scratch();
    let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:found", 2);
    tgtd.add_lun(1, 512, 8);
    tgtd.add_lun(2, 4096, 16);
    let portal = tgtd.portals()[0].to_string();
    let said = success(Command::new(program("iibadm")).args([
        "discover",
        &portal,
        "--initiator-name",
        "iqn.2026-11.test:finder",
    ]));
    let names = [tgtd.name_of(1), tgtd.name_of(2)];
    let words = [
        tgtd.target(),
        &portal,
        "8 MiB",
        "16 MiB",
        "512",
        "4096",
        "[[volume]]",
        &names[0],
        &names[1],
    ];
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
    assert_eq!(tgtd.sessions(), 0, "discovery left a session behind");
}

#[test]
fn status_tells_what_every_path_is_doing() {
    let mut lab = Lab::two_paths(512, &[]);
    let status = lab.daemon.status();
    assert_eq!(
        status["volumes"].as_array().map(Vec::len),
        Some(1),
        "{status:#}"
    );
    let text = lab.daemon.status_text();
    for proxy in &lab.proxies {
        assert!(text.contains(&proxy.portal().to_string()), "{text}");
    }
    lab.daemon.assert_well();
}

#[test]
fn a_configuration_that_serves_passes_the_check() {
    let lab = Lab::two_paths(512, &[]);
    let file = config::write(&scratch_of(&lab), std::slice::from_ref(&lab.volume));
    success(
        Command::new(program("iibadm"))
            .args(["config", "check"])
            .arg(file),
    );
}

fn scratch_of(lab: &Lab) -> std::path::PathBuf {
    let folder = lab.folder().join("check");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
