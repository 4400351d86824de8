//! `netsim` as a program: what it prints, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use netsim::fault::FAULTS;

fn netsim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netsim"));
    command.args(arguments);
    command
}

/// Ctrl-C and SIGTERM in the midst: it says so, and leaves no folder behind.
#[test]
fn a_demonstration_that_is_ended_early_leaves_nothing_behind() {
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = netsim(&["demo", "--phase", "1m", "--size", "1MiB"]);
        command
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut demo = command.spawn().expect("it starts");
        let mut said = BufReader::new(demo.stdout.take().expect("its output")).lines();
        let serves = |line: Result<String, _>| line.is_ok_and(|line| line.starts_with("export "));
        assert!(said.any(serves), "it did not start");
        let kill = format!("kill -{signal} {}", demo.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{kill}");
        let ended = demo.wait_with_output().expect("its end");
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "SIG{signal}: {complaint}");
        assert!(complaint.contains("ended early"), "{complaint}");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder").collect();
        assert!(left.is_empty(), "SIG{signal} left {left:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let drills = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let drills = drills.to_str().expect("a UTF-8 path");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = netsim(&["run", "--list", drills]);
    let ended = command.stdout(writer).output().expect("it runs");
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{complaint}");
    assert_eq!(complaint, "");
}

#[test]
fn the_help_on_faults_has_them_all() {
    let shown = netsim(&["fault", "--help"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).replace('\n', " ");
    for fault in FAULTS.split(", ") {
        assert!(shown.contains(fault), "no {fault:?} in {shown}");
    }
}

/// A mistyped `--control` must not cost a file.
#[test]
fn a_proxy_replaces_nothing_but_a_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("precious");
    fs::write(&file, "data").expect("a file");
    let name = file.to_str().expect("a UTF-8 path");
    let arguments = [
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "127.0.0.1:1",
        "--control",
        name,
    ];
    let ended = netsim(&arguments).output().expect("it runs");
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains(name), "{complaint}");
    assert_eq!(
        fs::read_to_string(&file).expect("it is still there"),
        "data"
    );
}
