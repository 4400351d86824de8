//! What a simulated target is made of, and what can be changed while it runs.

use std::time::Duration;

use iiblockdaemon::iscsi::chap::{ChapAlgorithm, Secret};
use iiblockdaemon::iscsi::error::LoginStatus;
use iiblockdaemon::iscsi::name::IscsiName;

/// One portal: where initiators are told to find it, and its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalConfig {
    /// `address:port` as SendTargets gives it; a proxied portal names its proxy.
    pub address: String,
    /// Target portal group tag. Sessions of one name may be reinstated within a group only.
    pub group: u16,
}

/// Who may log in.
#[derive(Clone, Debug)]
pub struct TargetAuth {
    /// Name of the initiator (CHAP_N).
    pub user: String,
    /// Its secret.
    pub secret: Secret,
    /// Algorithms that the target accepts.
    pub algorithms: Vec<ChapAlgorithm>,
    /// Name and secret with which the target proves itself, if it is asked to.
    pub mutual: Option<(String, Secret)>,
}

/// What a target wants of a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestWish {
    /// It has none.
    None,
    /// It insists on CRC32C.
    Crc32c,
    /// Whichever the initiator names first.
    #[default]
    Either,
}

/// What a target wants of each key that is negotiated (RFC 7143 section 13).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 7143 section 13")]
pub struct Wishes {
    pub header_digest: DigestWish,
    pub data_digest: DigestWish,
    pub initial_r2t: bool,
    pub immediate_data: bool,
    pub max_recv_data_segment_length: u32,
    pub first_burst_length: u32,
    pub max_burst_length: u32,
    pub max_outstanding_r2t: u32,
    pub default_time2wait: u32,
    pub default_time2retain: u32,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            header_digest: DigestWish::Either,
            data_digest: DigestWish::Either,
            initial_r2t: false,
            immediate_data: true,
            max_recv_data_segment_length: 256 << 10,
            first_burst_length: 256 << 10,
            max_burst_length: 1 << 20,
            max_outstanding_r2t: 1,
            default_time2wait: 2,
            default_time2retain: 0,
        }
    }
}

/// A target: what does not change while it runs.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// Its name.
    pub name: IscsiName,
    /// TargetAlias, if it has one.
    pub alias: Option<String>,
    /// Its portals.
    pub portals: Vec<PortalConfig>,
    /// Which of several processes serves each portal, as with two tgtd over one disk: they know nothing
    /// of each other's sessions, whatever the portal groups are called. Empty: one process.
    pub processes: Vec<u16>,
    /// The target port group (ALUA) of each portal; empty: its portal group.
    pub access_groups: Vec<u16>,
    /// Who may log in; `None`: everybody.
    pub auth: Option<TargetAuth>,
    /// What it wants of the negotiated keys.
    pub wishes: Wishes,
    /// Commands per session: the CmdSN window.
    pub queue_depth: u32,
    /// Whether the last Data-In carries the status, or a SCSI Response follows it.
    pub status_in_data: bool,
    /// Seed of challenges, tags and first sequence numbers.
    pub seed: u64,
}

impl TargetConfig {
    /// A target with default wishes and no portal yet.
    #[must_use]
    pub fn new(name: IscsiName) -> Self {
        Self {
            name,
            alias: None,
            portals: Vec::new(),
            processes: Vec::new(),
            access_groups: Vec::new(),
            auth: None,
            wishes: Wishes::default(),
            queue_depth: 128,
            status_in_data: true,
            seed: 0,
        }
    }
}

/// What a login with the name of a session that still exists does (RFC 7143 6.3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reinstatement {
    /// The old session ends, and the login is answered once nothing of it can execute any more, as
    /// LIO does.
    #[default]
    Synchronous,
    /// The old session ends and the login is answered at once; what had reached the disk runs on,
    /// as tgt does. Only an ORDERED command waits for it.
    Asynchronous,
    /// Not honoured: both sessions live.
    Ignored,
}

/// What becomes of the commands of a session that ended, as far as they were complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// They never execute.
    #[default]
    Terminate,
    /// They execute so much later: ghosts.
    ExecuteAfter(Duration),
}

/// What ABORT TASK does to a write that has reached the backing store, or hangs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aborts {
    /// It never executes.
    #[default]
    End,
    /// It is called aborted and executes all the same: so much later, or when its time comes.
    RunOn(Duration),
    /// The function is refused.
    Refused,
}

/// What LOGICAL UNIT RESET does to writes that have reached the backing store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resets {
    /// They have ended, one way or the other, when it is answered.
    #[default]
    Wait,
    /// It is answered at once. They run on: what was stuck so much longer.
    Early(Duration),
}

/// What is one I_T nexus to the target, and so what a registration of persistent reservations belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nexuses {
    /// The initiator's name and ISID at a portal group, whatever sessions come and go (SPC-5 5.14.4).
    #[default]
    Remembered,
    /// One session. Who comes back is not registered; what was registered over the session before stays
    /// behind without anybody, as with tgt.
    PerSession,
}

/// What can be changed while a target runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// ABORT TASK.
    pub aborts: Aborts,
    /// LOGICAL UNIT RESET.
    pub resets: Resets,
    /// Session reinstatement.
    pub reinstatement: Reinstatement,
    /// Commands of dead sessions.
    pub orphans: Orphans,
    /// I_T nexuses.
    pub nexuses: Nexuses,
    /// Every login is refused with this.
    pub refuse_logins: Option<LoginStatus>,
    /// The target pings its initiators so often; `None`: never.
    pub ping_interval: Option<Duration>,
}

/// What can be changed of one portal while the target runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortalBehaviour {
    /// Nothing is read, executed or answered; connections are still accepted by the kernel.
    pub frozen: bool,
    /// How long each command takes.
    pub service_time: Duration,
    /// Logins are sent elsewhere: to this address, for good or for now.
    pub redirect: Option<(String, bool)>,
}
