//! `netsim demo`, the first thing that a newcomer runs.

use std::process::Command;

use crate::support::lab::scratch;
use crate::support::process::Running;
use crate::support::program;

#[test]
fn the_demo_ends_with_zero_errors_and_zero_mismatches() {
    let folder = scratch();
    let mut command = Command::new(program("netsim"));
    let mut demo = Running::start(
        folder.path(),
        "demo",
        command.arg("demo").current_dir(folder.path()),
    );
    let status = demo.finish(std::time::Duration::from_secs(120));
    let said = demo.log();
    assert!(status.success(), "{status}\n{said}");
    for word in ["cut", "black", "heal", "0 errors", "0 mismatches"] {
        assert!(
            said.to_lowercase().contains(word),
            "no {word:?} in:\n{said}"
        );
    }
}
