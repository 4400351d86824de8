//! The usual arrangement: tgt with one LUN behind two proxied portals, and the daemon.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::config::Volume;
use super::daemon::Daemon;
use super::proxy::Proxy;
use super::tgt::Tgtd;
use super::tools::{Fio, FioReport, nbd_uri};
use super::{pause, program};

/// A folder of a test's own.
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("iib-")
        .tempdir()
        .expect("a temporary folder")
}

/// Dropped in this order: clients first, the folder last.
pub(crate) struct Lab {
    pub(crate) daemon: Daemon,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) tgtd: Tgtd,
    pub(crate) volume: Volume,
    folder: TempDir,
}

impl Lab {
    /// Two proxied paths, both ready, to a LUN of 64 MiB; `more` are lines of the volume's table.
    pub(crate) fn two_paths(block: u32, more: &[&str]) -> Self {
        let folder = scratch();
        let mut tgtd = Tgtd::start(folder.path(), "iqn.2026-11.test:lab", 2);
        tgtd.add_lun(1, block, 64);
        let proxies: Vec<Proxy> = tgtd
            .portals()
            .iter()
            .map(|portal| Proxy::start(folder.path(), *portal))
            .collect();
        let portals: Vec<SocketAddrV4> = proxies.iter().map(Proxy::portal).collect();
        let mut volume = Volume::over(&tgtd, 1, &portals);
        for line in more {
            volume = volume.with(line);
        }
        let daemon = Daemon::start(folder.path(), std::slice::from_ref(&volume));
        daemon.wait_ready(&volume);
        Self {
            daemon,
            proxies,
            tgtd,
            volume,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The volume's NBD address.
    pub(crate) fn uri(&self) -> String {
        nbd_uri(&self.volume.socket(self.folder()), &self.volume.name)
    }

    /// Runs a verifying load, two seconds of it before `event` and the rest after, and asserts that nothing
    /// failed. The longest stall is noted in `interop-stalls.txt` beside the programs.
    pub(crate) fn under_load(
        &mut self,
        name: &str,
        rest: u64,
        event: impl FnOnce(&mut Self),
    ) -> FioReport {
        // Both sessions must carry what is to be cut: four I/Os in flight at 16 KiB reach every selector.
        let fio = Fio::start(self.folder(), &self.uri(), "16k", 8, rest + 2);
        pause(Duration::from_secs(2));
        event(self);
        let report = fio.finish();
        self.daemon.assert_well();
        let line = format!(
            "{name}: longest stall {} ms, {report:?}\n",
            report.longest.as_millis()
        );
        print!("{line}");
        note(&line);
        report
    }
}

/// Keeps a figure beyond the test's own output.
fn note(line: &str) {
    use std::io::Write as _;
    let file = program("iiblockdaemon").with_file_name("interop-stalls.txt");
    if let Ok(mut file) = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file)
    {
        let _ = file.write_all(line.as_bytes());
    }
}
