//! iiblockdaemon and iibadm.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::config::{self, Volume};
use super::process::{Running, output, within};
use super::{program, wait_for};

/// What `iibadm` said, and whether it called that a success.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) text: String,
}

/// A running daemon.
pub(crate) struct Daemon {
    running: Running,
    folder: PathBuf,
}

impl Daemon {
    /// Starts it for these volumes, without waiting for any of them.
    pub(crate) fn launch(folder: &Path, volumes: &[Volume]) -> Self {
        Self::launch_in(folder, volumes, None)
    }

    /// Starts it with another text for its configuration's file.
    pub(crate) fn launch_with(folder: &Path, file: &Path, text: &str) -> Self {
        std::fs::write(file, text).expect("the configuration's file");
        Self::launch_file(folder, file, None)
    }

    /// The same, in a network namespace.
    pub(crate) fn launch_in(folder: &Path, volumes: &[Volume], namespace: Option<&str>) -> Self {
        let config = config::write(folder, volumes);
        Self::launch_file(folder, &config, namespace)
    }

    fn launch_file(folder: &Path, config: &Path, namespace: Option<&str>) -> Self {
        let mut command = within(namespace, program("iiblockdaemon"));
        command.arg("--config").arg(config).env("NO_COLOR", "1");
        let running = Running::start(folder, "iiblockdaemon", &mut command);
        Self {
            running,
            folder: folder.into(),
        }
    }

    /// Starts it and waits until every volume takes NBD clients.
    pub(crate) fn start(folder: &Path, volumes: &[Volume]) -> Self {
        let mut daemon = Self::launch(folder, volumes);
        for volume in volumes {
            daemon.wait_serving(volume);
        }
        daemon
    }

    /// Waits until an NBD client may connect to the volume.
    pub(crate) fn wait_serving(&mut self, volume: &Volume) {
        let socket = volume.socket(&self.folder);
        let what = format!("NBD service on {}", socket.display());
        wait_for(&what, Duration::from_secs(15), || {
            let ended = self.running.ended();
            assert!(
                ended.is_none(),
                "the daemon ended: {ended:?}\n{}",
                self.running.log()
            );
            UnixStream::connect(&socket).ok()
        });
    }

    pub(crate) fn log(&self) -> String {
        self.running.log()
    }

    /// Waits until its log has a line with all these words.
    pub(crate) fn wait_log(&self, words: &[&str]) -> String {
        let what = format!("a log line with {words:?} in:\n{}", self.log());
        wait_for(&what, Duration::from_secs(20), || {
            let log = self.log();
            log.lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(str::to_owned)
        })
    }

    /// `iibadm status`; every exit code that is an answer will do.
    fn ask(&self, more: &[&str]) -> String {
        let mut command = Command::new(program("iibadm"));
        command
            .arg("status")
            .args(more)
            .arg("--socket")
            .arg(self.folder.join("control.sock"));
        let output = output(&command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let answered = matches!(output.status.code(), Some(0 | 3 | 4));
        assert!(
            answered,
            "{command:?}: {output:?}\nthe daemon said:\n{}",
            self.log()
        );
        said
    }

    /// `iibadm status --json`.
    pub(crate) fn status(&self) -> Value {
        let text = self.ask(&["--json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// `iibadm status`, as people read it.
    pub(crate) fn status_text(&self) -> String {
        self.ask(&[])
    }

    /// One object per path of the volume, in the configuration's order.
    pub(crate) fn paths(&self, volume: &Volume) -> Vec<Value> {
        let status = self.status();
        let volumes = status["volumes"].as_array().cloned().unwrap_or_default();
        let found = volumes.iter().find(|v| v["name"] == volume.name.as_str());
        let found = found.unwrap_or_else(|| panic!("no volume {} in {status:#}", volume.name));
        found["paths"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| panic!("no paths in {status:#}"))
    }

    /// Waits until the path with this index is in this state (`ready`, `disabled`, …).
    pub(crate) fn wait_path(&self, volume: &Volume, path: usize, state: &str, limit: Duration) {
        self.wait_state(volume, path, limit, &format!("in state {state}"), |now| {
            now == state
        });
    }

    /// Waits until the path's session is given up. It then goes from `down` to `connecting` and on for as
    /// long as the path is broken, so that no single one of these states is to be waited for.
    pub(crate) fn wait_lost(&self, volume: &Volume, path: usize, limit: Duration) {
        self.wait_state(volume, path, limit, "given up", |now| {
            matches!(now, "down" | "connecting" | "logging-in" | "probing")
        });
    }

    fn wait_state(
        &self,
        volume: &Volume,
        path: usize,
        limit: Duration,
        wanted: &str,
        is: impl Fn(&str) -> bool,
    ) {
        let what = format!("path {path} of {} {wanted}", volume.name);
        wait_for(&what, limit, || {
            let paths = self.paths(volume);
            is(paths[path]["state"].as_str().unwrap_or_default()).then_some(())
        });
    }

    /// Waits until every path of the volume is `Ready`.
    pub(crate) fn wait_ready(&self, volume: &Volume) {
        for path in 0..volume.paths.len() {
            self.wait_path(volume, path, "ready", Duration::from_secs(30));
        }
    }

    /// Runs `iibadm` on it.
    pub(crate) fn iibadm(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(program("iibadm"));
        let socket = self.folder.join("control.sock");
        command.args(arguments).arg("--socket").arg(socket);
        let output = output(&command);
        let text = [output.stdout, output.stderr].concat();
        Said {
            ok: output.status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// Has it take over the file as it is.
    pub(crate) fn reload_file(&self) -> Said {
        self.iibadm(&["reload"])
    }

    /// Writes a file with these volumes and has it take that over.
    pub(crate) fn reload(&self, folder: &Path, volumes: &[Volume]) -> Said {
        config::write(folder, volumes);
        self.reload_file()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// SIGTERM, and its exit status.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.running.signal(Signal::SIGTERM);
        self.running.finish(Duration::from_secs(30))
    }

    /// Asserts that it runs and that no promise broke: no ERROR, no panic in its log.
    pub(crate) fn assert_well(&mut self) {
        assert_eq!(
            self.running.ended(),
            None,
            "the daemon ended:\n{}",
            self.running.log()
        );
        let log = self.log();
        let bad: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
            .collect();
        assert!(bad.is_empty(), "the daemon's log has:\n{}", bad.join("\n"));
    }
}
