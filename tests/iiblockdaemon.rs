//! The daemon as a program: how it starts, and what it lives through, without any target.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Each takes some milliseconds.
const ATTEMPTS: u32 = 2000;

/// A daemon whose only portal refuses connections; killed when it is dropped.
struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    fn start(log: Stdio) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("multipath.toml");
        fs::write(&file, configuration(folder.path())).expect("the file is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_iiblockdaemon"));
        command.arg("--config").arg(&file).args(["--log", "debug"]);
        let child = command.stderr(log).spawn().expect("the daemon starts");
        Self { child, folder }
    }

    /// Whether `iibadm` gets an answer; asks again until the daemon has started.
    fn answers(&self) -> bool {
        let answer = (0..ATTEMPTS).find_map(|_| {
            let socket = self.folder.path().join("control.sock");
            let mut command = Command::new(env!("CARGO_BIN_EXE_iibadm"));
            let command = command.args(["status", "--socket"]).arg(socket);
            let output = command.output().expect("iibadm runs");
            let nobody = String::from_utf8_lossy(&output.stderr).starts_with("no daemon answers");
            (!nobody).then_some(output.status.code())
        });
        answer == Some(Some(3))
    }

    fn terminate(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it is our child");
        self.child.wait().expect("its end")
    }

    fn assert_lives_and_ends(mut self) {
        assert!(self.answers(), "it ended, or hangs");
        let ended = self.terminate();
        assert_eq!(ended.code(), Some(0), "{ended}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[daemon]\n\
         initiator_name = \"iqn.2026-11.com.example:alone\"\n\
         state_dir = \"{folder}/state\"\n\
         control = {{ socket = \"{folder}/control.sock\" }}\n\n\
         [[volume]]\n\
         name = \"db\"\n\
         target = \"iqn.2026-11.com.example:nobody\"\n\
         lun = 0\n\
         export = {{ nbd = \"unix:{folder}/db.sock\" }}\n\
         paths = [{{ portal = \"127.0.0.1:1\" }}]\n"
    )
}

/// The disk with the log is full, or whoever read the log has gone: no reason to stop serving.
#[test]
fn a_log_that_cannot_be_written_does_not_end_the_daemon() {
    let full = File::options().write(true).open("/dev/full");
    let (unread, pipe) = io::pipe().expect("a pipe");
    drop(unread);
    for log in [Stdio::from(full.expect("/dev/full")), Stdio::from(pipe)] {
        Daemon::start(log).assert_lives_and_ends();
    }
}

/// A pager, a terminal at Ctrl-S, a journal whose disk hangs.
#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    let (unread, pipe) = io::pipe().expect("a pipe");
    let mut other = pipe.try_clone().expect("another end");
    let filler = std::thread::spawn(move || while other.write_all(&[b'.'; 4096]).is_ok() {});
    Daemon::start(Stdio::from(pipe)).assert_lives_and_ends();
    drop(unread);
    filler.join().expect("it ends with the reader");
}
