//! The state of the daemon, as the control socket tells it and `iibadm status --json` prints it.
//!
//! Names of fields and states are an interface: scripts read them. A field may be added; removing one or
//! changing its meaning needs a new version of the protocol. Durations are in the unit of their
//! name; counters count since the daemon's start.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reservation::KeyReport;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The process.
    pub daemon: DaemonReport,
    /// Its volumes, in the order of the configuration.
    pub volumes: Vec<VolumeReport>,
}

impl StatusReport {
    /// The worst state of a volume; `None` without volumes.
    #[must_use]
    pub fn worst(&self) -> Option<VolumeState> {
        self.volumes.iter().map(|volume| volume.state).max()
    }
}

/// The process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonReport {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// For how long it has been running.
    pub uptime_ms: u64,
    /// Our iSCSI name.
    pub initiator_name: String,
}

/// How a volume is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// Served, all paths ready.
    Serving,
    /// Served, some paths not ready.
    Degraded,
    /// No path has shown the LUN yet; clients cannot use it yet.
    Starting,
    /// Being stopped: no new requests.
    Stopping,
    /// No path is usable; I/O waits. Also before the LUN was ever seen, if only an administrator can mend
    /// the paths.
    NoPath,
    /// No path is usable, and the time that I/O may wait is over: it fails.
    Failing,
}

impl VolumeState {
    /// Its name in JSON and text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::NoPath => "no-path",
            Self::Failing => "failing",
        }
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What makes sure that a lost session executes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceLevel {
    /// Any lost path's session can be reinstated over another path.
    Reinstatement,
    /// A lost path is cut off by its reservation key; by reinstatement first, where that is proven.
    PreemptAbort,
    /// Some paths' sessions can; the others' only once that path itself is back, or by time.
    PartlyReinstatement,
    /// A session can be reinstated only once its own path is back; until then, time.
    OwnPathOnly,
    /// Time alone.
    Quiesce,
    /// Nothing: overlapping writes wait until the lost path is back.
    None,
}

impl FenceLevel {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Reinstatement => "reinstatement over another path",
            Self::PreemptAbort => "PREEMPT AND ABORT of a lost path's key",
            Self::PartlyReinstatement => "reinstatement, for some paths only over themselves",
            Self::OwnPathOnly => "reinstatement over the same path only",
            Self::Quiesce => "time alone, an assumption",
            Self::None => "none",
        }
    }
}

/// What shows that a path leads to the volume's LUN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SameReport {
    /// `first` (others are compared with it), `reservation`, `blocks` or `identifiers`.
    pub by: String,
    /// In words.
    pub why: String,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: VolumeState,
    /// Size in bytes, once known.
    pub size_bytes: Option<u64>,
    /// Logical block size in bytes, once known.
    pub block_size: Option<u32>,
    /// Identity of its LUN, once known.
    pub wwid: Option<String>,
    /// What fences lost sessions.
    pub fence: FenceLevel,
    /// Its reservation key, if it has one.
    #[serde(default)]
    pub reservation: Option<KeyReport>,
    /// Where a command that hangs holds that up, the LUN may be reset.
    #[serde(default)]
    pub lun_reset: bool,
    /// Its policy, in words.
    pub policy: String,
    /// Writes are refused.
    pub read_only: bool,
    /// Where it is served.
    pub exports: Vec<String>,
    /// NBD clients that are connected.
    pub clients: u64,
    /// Those of them that know a smaller size than the LUN has by now: they are told the new one when they
    /// connect again.
    #[serde(default)]
    pub clients_behind: u64,
    /// Requests that were not answered yet.
    pub ios_in_progress: u64,
    /// Commands that wait for a path or for a slot of one.
    pub commands_queued: u64,
    /// Writes that wait for an overlapping one or for a fence.
    pub writes_held: u64,
    /// Writes of lost sessions that the target may still execute.
    pub ghosts: u64,
    /// For how long no path has been usable; absent while one is.
    pub no_path_ms: Option<u64>,
    /// For how long all paths have been answering far more slowly than they used to.
    #[serde(default)]
    pub slow_ms: Option<u64>,
    /// What it did.
    pub totals: VolumeTotals,
    /// Its paths, in the order of the configuration.
    pub paths: Vec<PathReport>,
}

/// What a volume did since the daemon's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeTotals {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Flush requests.
    pub flushes: u64,
    /// Trim and write-zeroes requests.
    pub trims: u64,
    /// Bytes asked to be read.
    pub read_bytes: u64,
    /// Bytes asked to be written.
    pub written_bytes: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Commands that were sent again, on another path or the same one.
    pub retries: u64,
    /// Fences that ended ghosts for sure.
    pub fenced: u64,
    /// Lost sessions whose ghosts were let go by time alone.
    pub quiesced: u64,
    /// The longest time from a request to its answer.
    pub slowest_ms: u64,
    /// Reads that were late and sent on a second path.
    #[serde(default)]
    pub hedges: u64,
    /// Those that the second path answered first.
    #[serde(default)]
    pub hedges_won: u64,
    /// Those that the first path answered first.
    #[serde(default)]
    pub hedges_wasted: u64,
    /// Bytes that arrived for reads which another path had answered.
    #[serde(default)]
    pub wasted_bytes: u64,
    /// ABORT TASKs sent.
    #[serde(default)]
    pub aborts: u64,
    /// Those of them for commands that hung while later ones were answered.
    #[serde(default)]
    pub overtaken: u64,
    /// LOGICAL UNIT RESETs sent.
    #[serde(default)]
    pub lun_resets: u64,
}

/// The states of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathState {
    /// Carries I/O.
    Ready,
    /// Carries I/O only if no path is ready; proves itself.
    Probation,
    /// No new I/O: silent for too long.
    Suspect,
    /// Identity, size and access state are being read.
    Probing,
    /// iSCSI login.
    LoggingIn,
    /// TCP connect.
    Connecting,
    /// Waits for its next attempt.
    Down,
    /// Waits for a human.
    Disabled,
    /// Ended for good.
    Stopped,
}

impl PathState {
    /// Its name in JSON and text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Probation => "probation",
            Self::Suspect => "suspect",
            Self::Probing => "probing",
            Self::LoggingIn => "logging-in",
            Self::Connecting => "connecting",
            Self::Down => "down",
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A port's access to the LUN (ALUA).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessReport {
    /// Its target port group.
    pub port_group: u16,
    /// The group's state, as the standard names it: `active/optimized`, `standby`, …
    pub state: String,
    /// The target prefers the group.
    pub preferred: bool,
}

/// Whether a path that is ready is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// It is.
    #[default]
    InUse,
    /// With few commands at a time: it came back a moment ago.
    SlowStart,
    /// Only if no other path is: it was slower than its peers, or failed more commands.
    Ejected,
    /// Only if no other path is: it was lost too often.
    HeldDown,
    /// Only if no other path is: it shows by reads whether it is as fast as its peers.
    OnTrial,
}

impl Duty {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::InUse => "in use",
            Self::SlowStart => "slow start",
            Self::Ejected => "ejected",
            Self::HeldDown => "held down",
            Self::OnTrial => "on trial",
        }
    }
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReport {
    /// As the log names it: portal, and what it is bound to.
    pub name: String,
    /// The target's address.
    pub portal: String,
    /// The interface that it is bound to.
    pub nic: Option<String>,
    /// The address that it starts from.
    pub source: Option<String>,
    /// The target's iSCSI name.
    pub target: String,
    /// The logical unit.
    pub lun: String,
    /// Its state.
    pub state: PathState,
    /// How its port reaches the LUN; absent where the target makes no difference between its ports, or none
    /// was told yet in this session.
    #[serde(default)]
    pub access: Option<AccessReport>,
    /// What shows that it leads to the volume's LUN, once it was used in this session.
    #[serde(default)]
    pub same: Option<SameReport>,
    /// Its tier under the policy: I/O goes to the smallest that is usable. Absent while its port carries
    /// nothing.
    #[serde(default)]
    pub tier: Option<u16>,
    /// Why it is in that state; empty if there is nothing to say.
    pub why: String,
    /// For how long.
    pub since_ms: u64,
    /// Number of its present or last session.
    pub incarnation: u32,
    /// A login that fences its lost session is under way over another path.
    pub fencing: bool,
    /// Whether the volume uses it while it is ready.
    #[serde(default)]
    pub duty: Duty,
    /// For how long it will not be used yet, while it is ejected or held down.
    #[serde(default)]
    pub out_ms: Option<u64>,
    /// Times that it was put out of use for being worse than its peers.
    #[serde(default)]
    pub ejections: u64,
    /// The configuration does not have it any more: it goes when it is not needed.
    #[serde(default)]
    pub removing: bool,
    /// Commands in flight.
    pub in_flight: u64,
    /// Commands answered.
    pub commands: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Commands that ended with an error for the client.
    pub errors: u64,
    /// Commands that it failed and that were sent again.
    pub retries: u64,
    /// Sessions that were lost while in use.
    pub losses: u64,
    /// ABORT TASKs sent.
    #[serde(default)]
    pub aborts: u64,
    /// LOGICAL UNIT RESETs sent.
    #[serde(default)]
    pub lun_resets: u64,
    /// Round trip of the last ping.
    pub last_rtt_us: Option<u64>,
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// One volume, one good path, one lost one.
    pub(crate) fn report() -> StatusReport {
        let good = PathReport {
            name: "10.0.1.10:3260 via eth1".to_owned(),
            portal: "10.0.1.10:3260".to_owned(),
            nic: Some("eth1".to_owned()),
            source: None,
            target: "iqn.2003-01.com.example:array1".to_owned(),
            lun: "1".to_owned(),
            state: PathState::Ready,
            access: None,
            same: None,
            tier: Some(0),
            why: String::new(),
            since_ms: 7_800_000,
            incarnation: 1,
            fencing: false,
            duty: Duty::InUse,
            out_ms: None,
            ejections: 0,
            removing: false,
            in_flight: 3,
            commands: 1001,
            bytes: 1001 * 4096,
            errors: 0,
            retries: 0,
            losses: 0,
            aborts: 0,
            lun_resets: 0,
            last_rtt_us: Some(180),
        };
        let lost = PathReport {
            name: "10.0.2.10:3260 via eth2".to_owned(),
            portal: "10.0.2.10:3260".to_owned(),
            nic: Some("eth2".to_owned()),
            state: PathState::Down,
            why: "connection refused".to_owned(),
            since_ms: 4_000,
            incarnation: 7,
            fencing: true,
            in_flight: 0,
            commands: 250,
            bytes: 1 << 20,
            retries: 4,
            losses: 6,
            aborts: 0,
            lun_resets: 0,
            last_rtt_us: None,
            ..good.clone()
        };
        StatusReport {
            daemon: DaemonReport {
                version: "0.1.0".to_owned(),
                pid: 4711,
                uptime_ms: 7_800_000,
                initiator_name: "iqn.2026-11.com.example:db1".to_owned(),
            },
            volumes: vec![volume(vec![good, lost])],
        }
    }

    fn volume(paths: Vec<PathReport>) -> VolumeReport {
        VolumeReport {
            name: "db".to_owned(),
            state: VolumeState::Degraded,
            size_bytes: Some(10 << 30),
            block_size: Some(512),
            wwid: Some("naa.6001405f2d3c4b5a69788796a5b4c3d2".to_owned()),
            fence: FenceLevel::Reinstatement,
            reservation: None,
            lun_reset: false,
            policy: "failover, failback after 30s".to_owned(),
            read_only: false,
            exports: vec!["unix:/run/iiblockdaemon/db.sock".to_owned()],
            clients: 1,
            clients_behind: 0,
            ios_in_progress: 3,
            commands_queued: 0,
            writes_held: 1,
            ghosts: 2,
            no_path_ms: None,
            slow_ms: None,
            totals: VolumeTotals {
                reads: 1000,
                writes: 1,
                flushes: 1,
                read_bytes: 1000 * 4096,
                written_bytes: 4096,
                retries: 4,
                slowest_ms: 812,
                ..VolumeTotals::default()
            },
            paths,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_states_are_those_of_the_json() {
        for state in [
            VolumeState::Serving,
            VolumeState::NoPath,
            VolumeState::Failing,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for state in [PathState::Ready, PathState::LoggingIn, PathState::Disabled] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
