//! The examples pass the checks that a user's files meet, and the README shows them as they are.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use iiblockdaemon::config::defaults;
use iiblockdaemon::shell::config_file;

const EXAMPLE: &str = "docs/examples/multipath.toml";
const UNIT: &str = "docs/examples/iiblockdaemon.service";

#[test]
fn the_example_is_without_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("multipath.toml");
    fs::write(&file, super::text(EXAMPLE)).unwrap();
    for (name, secret) in [
        ("array1.secret", "our-own-secret"),
        ("array1.target.secret", "the-array's-secret"),
    ] {
        let path = folder.path().join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        writeln!(options.open(path).unwrap(), "{secret}").unwrap();
    }
    let config = config_file::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.volumes[0].paths.len(), 2);
    let auth = config.volumes[0].auth.as_ref().unwrap();
    assert!(auth.target.is_some(), "the example shows mutual CHAP");
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    assert!(super::text("README.md").contains(&super::text(EXAMPLE)));
}

#[test]
fn the_unit_starts_the_daemon_with_the_usual_file_and_gives_it_time_to_stop() {
    let unit = super::text(UNIT);
    let start = format!("iiblockdaemon --config {}\n", defaults::CONFIG_FILE);
    assert!(unit.contains(&start), "no {start:?}");
    let limit = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let limit = limit.and_then(|text| text.strip_suffix('s')).unwrap();
    let limit: u64 = limit.parse().unwrap();
    assert!(limit > defaults::STOP_TIMEOUT.as_secs());
    for (directory, of) in [
        ("RuntimeDirectory", defaults::CONTROL_SOCKET),
        ("StateDirectory", defaults::STATE_DIR),
    ] {
        assert!(unit.contains(&format!("\n{directory}=iiblockdaemon\n")));
        assert!(of.contains("/iiblockdaemon"), "{of}");
    }
}
