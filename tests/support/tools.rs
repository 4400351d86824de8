//! Foreign NBD clients and iSCSI initiators.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::{Running, success};

/// The address of an export on a unix socket, as libnbd, qemu and fio take it.
pub(crate) fn nbd_uri(socket: &Path, export: &str) -> String {
    format!("nbd+unix:///{export}?socket={}", socket.display())
}

/// qemu-io: each command in order, on an `nbd+unix:` or `iscsi:` address; fails on a pattern mismatch.
pub(crate) fn qemu_io(url: &str, commands: &[&str]) -> String {
    let mut command = Command::new("qemu-io");
    command.args(["-f", "raw"]);
    for one in commands {
        command.args(["-c", one]);
    }
    let said = success(command.arg(url));
    assert!(!said.contains("failed"), "{said}");
    said
}

/// qemu-img: copies one address or file to another.
pub(crate) fn qemu_img_copy(from: &str, to: &str) {
    success(Command::new("qemu-img").args(["convert", "-n", "-f", "raw", "-O", "raw", from, to]));
}

/// qemu-img: asserts that two addresses or files have the same bytes.
pub(crate) fn qemu_img_compare(one: &str, other: &str) {
    success(Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "raw", one, other]));
}

/// nbdcopy: one address or file to another, with several connections if the server allows.
pub(crate) fn nbdcopy(from: &str, to: &str) {
    success(Command::new("nbdcopy").args(["--flush", from, to]));
}

/// nbdinfo: what the server says of the export.
pub(crate) fn nbdinfo(uri: &str) -> Value {
    let text = success(Command::new("nbdinfo").args(["--json", uri]));
    let mut info: Value = serde_json::from_str(&text).expect("nbdinfo's JSON");
    info["exports"][0].take()
}

/// libnbd's Python shell, connected as `h`; fails if the script raises.
pub(crate) fn nbdsh(uri: &str, script: &str) -> String {
    // Debian's Python, for it has the module.
    success(Command::new("/usr/bin/python3").args(["-m", "nbd", "-u", uri, "-c", script]))
}

/// A file of pseudo-random bytes that are not equal to those of another seed.
pub(crate) fn random_file(folder: &Path, seed: u64, mebibytes: usize) -> PathBuf {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = words.take((mebibytes << 20) / 8).flatten().collect();
    let file = folder.join(format!("random-{seed}.img"));
    std::fs::write(&file, bytes).expect("a file of random bytes");
    file
}

/// A verifying fio job in the background: random writes, each read back and its checksum compared.
pub(crate) struct Fio {
    running: Running,
    report: PathBuf,
    seconds: u64,
}

/// What fio saw.
#[derive(Debug)]
pub(crate) struct FioReport {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// The longest time that one request took.
    pub(crate) longest: Duration,
}

impl Fio {
    /// Starts a job of so many seconds over the first 64 MiB of the export.
    pub(crate) fn start(folder: &Path, uri: &str, block: &str, depth: u32, seconds: u64) -> Self {
        let report = folder.join("fio.json");
        let _ = std::fs::remove_file(&report);
        let mut command = Command::new("fio");
        command
            .current_dir(folder)
            .args([
                "--name=verify",
                // Else the job is a process of its own, which outlives a killed fio.
                "--thread",
                "--ioengine=nbd",
                "--rw=randwrite",
                "--size=64M",
            ])
            .args([
                "--verify=crc32c",
                "--verify_backlog=256",
                "--verify_fatal=1",
            ])
            .args([
                "--serialize_overlap=1",
                "--time_based",
                "--output-format=json",
            ])
            .arg(format!("--uri={uri}"))
            .arg(format!("--bs={block}"))
            .arg(format!("--iodepth={depth}"))
            .arg(format!("--runtime={seconds}"))
            .arg(format!("--output={}", report.display()));
        Self {
            running: Running::start(folder, "fio", &mut command),
            report,
            seconds,
        }
    }

    /// Waits for its end and asserts zero errors and zero mismatches.
    pub(crate) fn finish(mut self) -> FioReport {
        let status = self.running.finish(Duration::from_secs(self.seconds + 120));
        assert!(
            status.success(),
            "fio failed ({status}):\n{}",
            self.running.log()
        );
        let text = std::fs::read_to_string(&self.report).expect("fio's report");
        // Notes may stand before the object.
        let start = text.find('{').expect("a JSON object");
        let report: Value = serde_json::from_str(&text[start..]).expect("fio's JSON");
        let job = &report["jobs"][0];
        assert_eq!(job["error"], 0, "{job:#}");
        let number = |path: &str| {
            job.pointer(path)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        };
        let nanoseconds = number("/read/lat_ns/max").max(number("/write/lat_ns/max"));
        let report = FioReport {
            reads: number("/read/total_ios"),
            writes: number("/write/total_ios"),
            longest: Duration::from_nanos(nanoseconds),
        };
        assert!(
            report.reads > 0 && report.writes > 0,
            "nothing was verified: {report:?}"
        );
        report
    }
}
