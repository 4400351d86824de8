//! Foreign processes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::wait_for;

/// A started program. Dropping it kills it.
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with its output appended to `NAME.log` in `folder`.
    pub(crate) fn start(folder: &Path, name: &str, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle of the log"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.into(),
            child,
            log,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // A process that is gone already has nothing to hear.
        let _ = signal::kill(Pid::from_raw(pid), signal);
    }

    /// Whether it ended, without waiting.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits until it ends by itself.
    pub(crate) fn finish(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, limit, || self.ended())
    }

    /// What it has written so far, standard output and error together.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Processor time that it has used, user and system, from /proc.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("its stat");
        let after_name = stat.rsplit(')').next().expect("fields after the name");
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|t| t.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            println!("--- {} said last:\n{}", self.name, &log[from..]);
        }
    }
}

/// A command that runs in a network namespace, under the process id that it has.
pub(crate) fn within(namespace: Option<&str>, program: impl AsRef<OsStr>) -> Command {
    let Some(namespace) = namespace else {
        return Command::new(program);
    };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Runs a program to its end.
///
/// # Panics
/// If it does not end within a minute.
pub(crate) fn output(command: &Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut limited = Command::new("timeout");
    limited
        .arg("--kill-after=5")
        .arg("60")
        .arg(&name)
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(key, value);
        }
    }
    let output = limited
        .stdin(Stdio::null())
        .output()
        .expect("timeout of coreutils");
    assert!(
        output.status.code() != Some(124),
        "{name} did not end within a minute"
    );
    output
}

/// What a program printed on standard output.
///
/// # Panics
/// If it fails; shows everything that it said.
pub(crate) fn success(command: &Command) -> String {
    let output = output(command);
    let (out, err) = both(&output);
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{out}{err}",
        output.status
    );
    out
}

/// What a program said, standard output and error, when it failed.
///
/// # Panics
/// If it succeeds.
pub(crate) fn failure(command: &Command) -> String {
    let output = output(command);
    let (out, err) = both(&output);
    assert!(
        !output.status.success(),
        "{command:?} succeeded:\n{out}{err}"
    );
    out + &err
}

fn both(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
