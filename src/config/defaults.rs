//! The built-in value of every key that has one, and where it comes from.
//!
//! The one place: the check reads these, the documentation is generated from these.

use std::time::Duration;

use policies::{Balance, Failback, Hedge, PolicyKind, PolicySpec, Tiers};

use super::{Alua, ChapAlgorithm, Detect, DigestChoice, Iscsi, NoPath, Resize, SameUnit};

/// The configuration itself, if the command line does not name another.
pub const CONFIG_FILE: &str = "/etc/iiblockdaemon/multipath.toml";

/// `daemon.state_dir`: the file system hierarchy's place for state of a service.
pub const STATE_DIR: &str = "/var/lib/iiblockdaemon";

/// `daemon.control.socket`: systemd's `RuntimeDirectory=iiblockdaemon`.
pub const CONTROL_SOCKET: &str = "/run/iiblockdaemon/control.sock";

/// `path.weight`
pub const WEIGHT: u8 = 1;

/// `path.tier`
pub const TIER: u8 = 0;

/// `alua`: what the target says is followed; to change it is a decision that concerns every host.
pub const ALUA: Alua = Alua::Follow;

/// `shared`: one writer is the usual case; true costs the fence's time for each indeterminate write.
pub const SHARED: bool = false;

/// `export.read_only`
pub const READ_ONLY: bool = false;

/// `auth.algorithms`: strongest first. A target picks the first that it knows (RFC 7143 12.1.3);
/// many know MD5 only.
pub const ALGORITHMS: [ChapAlgorithm; 4] = [
    ChapAlgorithm::Sha3_256,
    ChapAlgorithm::Sha256,
    ChapAlgorithm::Sha1,
    ChapAlgorithm::Md5,
];

/// `auth.allow_none`: a target that suddenly asks for no proof is not the one that was configured.
pub const ALLOW_NONE: bool = false;

/// `policy`: the path that is expected to answer soonest. `round-robin` is no default: one slow path of
/// several holds all up.
pub const POLICY: PolicySpec = PolicySpec {
    selector: PolicyKind::LatencyAware,
    balance: Balance::Ios,
    tiers: Tiers::Alua,
    failback: Failback::DEFAULT,
    hedge: Hedge::DEFAULT,
    eject: true,
};

/// `no_path`: longer than the restart of an array's controller or of a switch, short enough that a
/// file system on top hears of a disaster the same day.
pub const NO_PATH: NoPath = NoPath::Queue(Duration::from_secs(5 * 60));

/// `fence` contains `"reinstate"`: the protocol's own fence (RFC 7143 6.3.5).
pub const FENCE_REINSTATE: bool = true;

/// `fence` contains `"preempt-abort"`: it takes a reservation key.
pub const FENCE_PREEMPT_ABORT: bool = false;

/// `fence` contains `"quiesce"`.
pub const FENCE_QUIESCE: bool = true;

/// `quiesce`: above the 30 s that a SCSI stack gives a command before it aborts it, with a half on top.
pub const QUIESCE: Duration = Duration::from_secs(45);

/// `detect`. Network: TCP's first retransmission comes after 200 ms or so, the second after 600 ms;
/// who did not answer two of them is away. Target: open-iscsi's ping timeout. Command: the Linux
/// SCSI disk timeout.
pub const DETECT: Detect = Detect {
    network: Duration::from_millis(700),
    target: Duration::from_secs(5),
    command: Duration::from_secs(30),
};

/// `same_unit`: the only proof there is, and it takes three commands; what has no reservations falls back.
pub const SAME_UNIT: SameUnit = SameUnit::Reservation;

/// `resize`: who enlarges a LUN wants to use it.
pub const RESIZE: Resize = Resize::Grow;

/// `sessions`: one connection carries what one NIC can, but for long lines and 25 Gbit/s and more.
pub const SESSIONS: u16 = 1;

/// `stop_timeout`: a command's 30 s, and a flush after it; below systemd's 90 s before SIGKILL.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// `iscsi`. Lengths: 256 KiB segments and first bursts, 1 MiB bursts, which spare a round trip for all
/// usual writes; a target negotiates them down. Digests off, as everywhere: TCP's checksum and the
/// NIC's are there; on for networks that cannot be trusted to carry bytes. Four outstanding R2T cover
/// the largest command of 4 MiB. Depth 128: open-iscsi's `cmds_max`.
pub const ISCSI: Iscsi = Iscsi {
    header_digest: DigestChoice::None,
    data_digest: DigestChoice::None,
    max_recv_data_segment_length: 256 << 10,
    first_burst_length: 256 << 10,
    max_burst_length: 1 << 20,
    immediate_data: true,
    initial_r2t: false,
    max_outstanding_r2t: 4,
    queue_depth: 128,
};
