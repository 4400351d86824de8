//! The arrangement: the initiator's host and the target's, two cables between them.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::namespace::{self, Namespace, Nic};
use crate::probe::Probe;
use crate::support::config::Volume;
use crate::support::daemon::Daemon;
use crate::support::lab::scratch;
use crate::support::tgt::Tgtd;
use crate::support::{now, pause};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The initiator's NICs.
pub(crate) const HERE: [Nic; 2] = [
    Nic {
        name: "here0",
        address: "10.77.0.1/24",
    },
    Nic {
        name: "here1",
        address: "10.77.1.1/24",
    },
];

/// The target's NICs.
pub(crate) const THERE: [Nic; 2] = [
    Nic {
        name: "there0",
        address: "10.77.0.2/24",
    },
    Nic {
        name: "there1",
        address: "10.77.1.2/24",
    },
];

/// How many tgtd serve the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controllers {
    /// One, with both portals.
    One,
    /// Two over one file, with one portal each and the same identifiers.
    Two,
}

/// Dropped in this order: clients first, the folder last.
pub(crate) struct NetLab {
    pub(crate) daemon: Daemon,
    pub(crate) tgtds: Vec<Tgtd>,
    pub(crate) here: Namespace,
    pub(crate) there: Namespace,
    pub(crate) volume: Volume,
    folder: TempDir,
}

/// Whether there can be one here; says so if not.
pub(crate) fn possible() -> bool {
    let missing = namespace::missing();
    if let Some(why) = &missing {
        println!("skipped: no network namespaces here: {why}");
    }
    missing.is_none()
}

impl NetLab {
    /// Two paths, both ready, with default settings.
    pub(crate) fn new(controllers: Controllers) -> Self {
        let (here, there) = (Namespace::new("here"), Namespace::new("there"));
        for (nic, peer) in HERE.into_iter().zip(THERE) {
            here.join(nic, &there, peer);
        }
        let folder = scratch();
        let portals = THERE.map(|nic| {
            let (address, _) = nic.address.split_once('/').expect("a length");
            SocketAddrV4::new(address.parse().expect("an address"), 3260)
        });
        let disk = folder.path().join("disk.img");
        let file = std::fs::File::create(&disk).expect("a disk");
        file.set_len(64 << 20).expect("room for it");
        let shares: Vec<&[SocketAddrV4]> = match controllers {
            Controllers::One => vec![&portals],
            Controllers::Two => portals.chunks(1).collect(),
        };
        let tgtds: Vec<Tgtd> = shares
            .into_iter()
            .enumerate()
            .map(|(number, portals)| {
                let folder = folder.path().join(format!("controller-{number}"));
                let target = "iqn.2026-11.test:disk";
                let mut tgtd = Tgtd::start_in(&folder, target, portals, Some(there.name()));
                tgtd.add_lun_over(&disk, 1, 512, "disk");
                tgtd
            })
            .collect();
        let mut volume = Volume::over(&tgtds[0], 1, &portals);
        if controllers == Controllers::Two {
            // Two processes have no reservations in common.
            volume = volume.with("same_unit = \"blocks\"");
        }
        for (path, nic) in volume.paths.iter_mut().zip(HERE) {
            path.nic = Some(nic.name.to_owned());
        }
        let volumes = std::slice::from_ref(&volume);
        let mut daemon = Daemon::launch_in(folder.path(), volumes, Some(here.name()));
        daemon.wait_serving(&volume);
        daemon.wait_ready(&volume);
        Self {
            daemon,
            tgtds,
            here,
            there,
            volume,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn probe(&self) -> Probe {
        let socket = self.volume.socket(self.folder());
        let probe = Probe::start(&socket, &self.volume.name);
        pause(SECOND);
        probe
    }

    /// The path that carries the most: a fault of another one would prove nothing.
    pub(crate) fn busy_path(&self) -> usize {
        busy_path(&self.daemon, &self.volume)
    }
}

/// The path of the volume that carries the most now.
pub(crate) fn busy_path(daemon: &Daemon, volume: &Volume) -> usize {
    let commands = || -> Vec<u64> {
        let paths = daemon.paths(volume);
        let count = |path: &serde_json::Value| path["commands"].as_u64().expect("a count");
        paths.iter().map(count).collect()
    };
    let before = commands();
    pause(Duration::from_millis(300));
    let carried = commands()
        .into_iter()
        .zip(before)
        .map(|(now, then)| now - then);
    let busiest = carried.enumerate().max_by_key(|(_, carried)| *carried);
    busiest.expect("a path").0
}

/// Waits until a path is ready again; how long that took.
pub(crate) fn until_ready(daemon: &Daemon, volume: &Volume, path: usize) -> Duration {
    let began = now();
    daemon.wait_path(volume, path, "ready", 30 * SECOND);
    began.elapsed()
}
