use std::path::Path as FilePath;

use super::super::tests::{USUAL, no_secrets};
use super::*;

const FILE: &str = "/etc/iiblockdaemon/multipath.toml";

fn effective(text: &str) -> Effective {
    match Effective::parse(text, FilePath::new(FILE), &no_secrets()) {
        Ok(effective) => effective,
        Err(errors) => panic!("{errors}"),
    }
}

/// What is told of a change of the usual file.
fn changed(change: impl FnOnce(&str) -> String) -> (Vec<String>, Diff) {
    let diff = diff(&effective(USUAL), effective(&change(USUAL)));
    let told = diff.changes.iter().map(|change| {
        let volume = change.volume.as_deref().unwrap_or("daemon");
        format!("{volume}: {} ({})", change.what, change.effect)
    });
    (told.collect(), diff)
}

#[test]
fn the_same_values_written_otherwise_are_no_change() {
    let (told, diff) = changed(|text| {
        let text = text.replace("10.0.1.10", "10.0.1.10:3260");
        format!("# a comment\n{text}\n[defaults]\nno_path = {{ queue = \"300s\" }}\n")
    });
    assert_eq!(told, [] as [String; 0]);
    assert!(diff.is_empty());
}

#[test]
fn each_value_says_when_it_takes_effect() {
    let (told, _) = changed(|text| {
        format!(
            "{text}policy = \"round-robin\"\nno_path = \"fail\"\niscsi.queue_depth = 7\n\
             iscsi.header_digest = \"crc32c\"\n"
        )
        .replace("db.sock\" }", "db.sock\", read_only = true }")
    });
    assert_eq!(
        told,
        [
            "db: export.read_only: false -> true (for new clients)",
            "db: policy: { selector = \"latency-aware\", tiers = \"alua\", failback = \"30s\", hedge = \"1%\", \
             eject = true } -> { selector = \"round-robin\", by = \"ios\", tiers = \"alua\", \
             failback = \"30s\", hedge = \"1%\", eject = true } (now)",
            "db: no_path: { queue = \"5m\" } -> \"fail\" (now)",
            "db: iscsi.header_digest: \"none\" -> \"crc32c\" (at each path's next login)",
            "db: iscsi.queue_depth: 128 -> 7 (now)",
        ]
    );
}

#[test]
fn paths_are_added_removed_and_reweighed_by_their_routes() {
    let (told, _) = changed(|text| {
        text.replace("10.0.2.10", "10.0.3.10")
            .replace("\"eth1\"", "\"eth1\", weight = 3, tier = 2")
    });
    assert_eq!(
        told,
        [
            "db: path 10.0.2.10:3260 via eth2 removed (now)",
            "db: path 10.0.1.10:3260 via eth1: weight 1 -> 3 (now)",
            "db: path 10.0.1.10:3260 via eth1: tier 0 -> 2 (now)",
            "db: path 10.0.3.10:3260 via eth2 added (now)",
        ]
    );
}

#[test]
fn whether_access_states_are_asked_for_counts_from_the_next_login() {
    let (told, _) = changed(|text| format!("{text}alua = \"explicit\"\n"));
    assert_eq!(told, ["db: alua: \"follow\" -> \"explicit\" (now)"]);
    let (told, _) = changed(|text| format!("{text}alua = \"ignore\"\n"));
    let expected = "db: alua: \"follow\" -> \"ignore\" (at each path's next login)";
    assert_eq!(told, [expected]);
}

#[test]
fn another_lun_is_other_paths() {
    let (told, _) = changed(|text| text.replace("lun    = 1", "lun = 2"));
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told.iter().all(|line| line.contains("path ")), "{told:#?}");
}

#[test]
fn what_needs_a_restart_is_told_and_blocks_nothing() {
    let (told, diff) = changed(|text| {
        let text = text.replace("example:db1", "example:db2");
        format!("{text}wwid = \"naa.6001405f2d3c4b5a\"\nquiesce = \"50s\"\n")
    });
    assert_eq!(
        told,
        [
            "daemon: initiator_name: \"iqn.2026-11.com.example:db1\" -> \
             \"iqn.2026-11.com.example:db2\" (NEEDS A RESTART)",
            "db: quiesce: \"45s\" -> \"50s\" (now)",
            "db: wwid: (none) -> \"naa.6001405f2d3c4b5a\" (NEEDS A RESTART)",
        ]
    );
    let (running, runs) = (effective(USUAL).config, &diff.effective.config);
    assert_eq!(runs.daemon, running.daemon);
    assert_eq!(runs.volumes[0].wwid, None);
    assert_eq!(
        runs.volumes[0].paths, running.volumes[0].paths,
        "their ISIDs as well"
    );
    // It is told again until the daemon is restarted.
    let text = USUAL.replace("example:db1", "example:db2");
    let again = super::diff(&diff.effective, effective(&text));
    assert_eq!(again.changes[0].effect, Effect::Restart);
}

#[test]
fn a_volume_with_another_name_is_another_volume() {
    let (told, _) = changed(|text| text.replace("\"db\"", "\"database\""));
    assert_eq!(
        told,
        ["db: volume removed (now)", "database: volume added (now)"]
    );
}

#[test]
fn a_secret_that_changed_in_its_file_is_noticed_and_not_shown() {
    let text = format!(
        "{}auth = \"a\"\n[auth.a]\nusername = \"db1\"\nsecret_file = \"a.secret\"\n",
        USUAL
    );
    let parse = |secret: &str| {
        let files = super::super::tests::secret("a.secret", secret);
        Effective::parse(&text, FilePath::new(FILE), &files).unwrap()
    };
    let diff = diff(&parse("correct horse"), parse("battery staple"));
    let told: Vec<String> = diff.changes.iter().map(|c| c.what.to_string()).collect();
    assert_eq!(told, ["other credentials"]);
}
