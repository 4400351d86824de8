//! Scenarios by name: a file says what is built, what is asked of it, what breaks when, and what must hold.
//!
//! The format is described in `docs/scenarios.md`. Three steps, each in a file of its own: `raw` is the
//! file's mirror, `check` compares and makes the types below, and [`Scenario::play`] makes a world of them
//! (`build`, `plan`), plays it and judges it (`criteria`). The same file can be played over real sockets:
//! see [`crate::live`].
//!
//! - `order`: the words of a fault; `daemon`: the daemon's own keys;
//! - `files`: where scenarios are found; `mistake`: what is wrong with one;
//! - `measure`: what is read out of a recording.

mod build;
mod check;
mod criteria;
mod daemon;
mod files;
pub(crate) mod measure;
mod mistake;
mod order;
mod plan;
mod raw;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use iiblockdaemon::config;

use crate::link::Held;
use crate::recording::Recording;
use crate::target::lun::{Access, WriteCache};
use crate::target::{Aborts, Nexuses, Orphans, Reinstatement, Resets};
use crate::world::{self, Detail, Entry, Knobs, Line, Settings};

pub use criteria::{Seen, judge};
pub use daemon::Place;
pub use files::{find, load};
pub use mistake::{Mistake, Mistakes, Problem};
pub use order::{Order, OrderError};
pub use plan::Episode;

/// A scenario. Everything in it was checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Whether everything is mended when the workload ends.
    pub mend: bool,
    /// The logical unit.
    pub unit: Unit,
    /// The target.
    pub target: Target,
    /// The paths; at least one.
    pub paths: Vec<PathSpec>,
    /// The daemon's settings: one volume, with those paths.
    pub daemon: config::Config,
    /// `[daemon]` as the file has it.
    daemon_keys: toml::Table,
    /// What is asked for.
    pub workload: WorkloadSpec,
    /// What breaks, in the order of time.
    pub faults: Vec<FaultSpec>,
    /// What must hold for the whole run.
    pub pass: Pass,
}

/// The logical unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Logical block size.
    pub block_size: u32,
    /// Logical blocks.
    pub blocks: u64,
    /// Longest transfer in blocks; 0: not said.
    pub transfer_blocks: u32,
    /// It knows FUA.
    pub fua: bool,
    /// It is thin.
    pub thin: bool,
    /// What becomes of writes that were answered and not flushed when the target dies.
    pub cache: WriteCache,
    /// What its identity is worth.
    pub identity: Identity,
    /// It has persistent reservations.
    pub reservations: bool,
}

/// What a unit's identity is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// No other unit has it.
    #[default]
    Unique,
    /// It is a vendor's default, which the other unit has as well.
    Default,
    /// The other unit is a copy of this one, with its identity and size.
    Copied,
}

/// How the target behaves.
#[derive(Clone, Debug)]
pub struct Target {
    /// How long a command takes.
    pub service_time: Duration,
    /// Commands per session.
    pub queue_depth: u32,
    /// Session reinstatement.
    pub reinstatement: Reinstatement,
    /// Commands of dead sessions.
    pub orphans: Orphans,
    /// I_T nexuses.
    pub nexuses: Nexuses,
    /// ABORT TASK.
    pub aborts: Aborts,
    /// LOGICAL UNIT RESET.
    pub resets: Resets,
    /// Access states can be asked for.
    pub explicit: bool,
    /// Registrations of persistent reservations can outlive a crash.
    pub persistent: bool,
}

/// What became of the volume's reservation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// It is registered over every path.
    Registered,
    /// Somebody else removed it, the daemon knows, and nothing was registered since.
    Preempted,
}

/// One path.
#[derive(Clone, Debug)]
pub struct PathSpec {
    /// Its name.
    pub name: String,
    /// Portal group of its portal.
    pub group: u16,
    /// Which process of the target serves its portal.
    pub process: u16,
    /// Its rank or share.
    pub weight: u8,
    /// The access state of its portal, unless a fault changes it.
    pub access: Access,
    /// The daemon's configuration has it from the beginning.
    pub configured: bool,
    /// Behind its portal is another unit.
    pub impostor: bool,
    /// Its network.
    pub line: Line,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct WorkloadSpec {
    /// Clients ask so long, from when the volume is online.
    pub lasts: Duration,
    /// NBD connections.
    pub clients: usize,
    /// Requests in flight per connection.
    pub depth: usize,
    /// Mean pause between two requests of a connection.
    pub pause: Duration,
    /// Longest request in blocks.
    pub blocks_max: u64,
    /// Reads in a hundred requests.
    pub reads: u64,
    /// Zeroes and trims are asked for.
    pub zeroes: bool,
}

/// One fault.
#[derive(Clone, Debug)]
pub struct FaultSpec {
    /// When it begins, since the volume is online.
    pub at: Duration,
    /// What it is.
    pub order: Order,
    /// On which paths.
    pub paths: Vec<usize>,
    /// How long it lasts; `None`: to the workload's end.
    pub lasts: Option<Duration>,
    /// How often.
    pub times: u32,
    /// From one beginning to the next.
    pub every: Duration,
    /// What becomes of the bytes that it held.
    pub held: Held,
    /// The daemon's settings from then on, for [`Order::Reload`].
    pub reload: Option<Box<NewSettings>>,
    /// What must hold.
    pub pass: FaultPass,
}

/// Other settings of the daemon.
#[derive(Clone, Debug)]
pub struct NewSettings {
    /// What of them a running daemon takes over.
    pub settings: Settings,
    /// All of its keys from then on.
    keys: toml::Table,
}

/// What must hold for one fault; its window goes from its beginning to that of the next.
#[derive(Clone, Debug, Default)]
pub struct FaultPass {
    /// Longest time in which requests waited and none was answered.
    pub stall_max: Option<Duration>,
    /// Longest request of its window.
    pub slowest_max: Option<Duration>,
    /// Its paths are lost within so long.
    pub lost_within: Option<Duration>,
    /// The reason that is given for the loss, or for the state that is reached, has this text.
    pub why: Option<String>,
    /// Its paths are ready again so long after its end.
    pub back_within: Option<Duration>,
    /// Its paths reach a state within so long.
    pub reaches: Option<(String, Duration)>,
    /// The figures below count from so long after its beginning, to its end.
    pub settle: Duration,
    /// 99 of 100 requests take at most so many times as long as before the first fault.
    pub p99_factor: Option<f64>,
    /// 999 of 1000 do.
    pub p999_factor: Option<f64>,
    /// Bytes per second, in percent of those before the first fault.
    pub throughput_min: Option<u64>,
    /// Commands in any fifth of a second after its end, in percent of those before the first fault.
    pub peak_max: Option<u64>,
    /// Percent of the commands that its paths carry.
    pub share_max: Option<u64>,
    /// What the journal says from its beginning on, one after another: parts of its lines.
    pub told: Vec<String>,
    /// The first error comes after so long, and by then.
    pub first_error: Option<(Duration, Duration)>,
}

/// What must hold for the whole run.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Longest time in which requests waited and none was answered.
    pub stall_max: Option<Duration>,
    /// Longest request.
    pub slowest_max: Option<Duration>,
    /// Requests that may fail.
    pub errors_max: u64,
    /// Requests that must fail.
    pub errors_min: Option<u64>,
    /// The daemon may log errors.
    pub log_errors: bool,
    /// Once the workload is over and all is mended, everything is well within so long.
    pub ready_within: Option<Duration>,
    /// Paths that are ready at the end; `None`: all.
    pub paths_ready: Option<usize>,
    /// Losses of paths in use.
    pub failovers_max: Option<u64>,
    /// Losses of paths in use: the proof that a fault was one.
    pub failovers_min: Option<u64>,
    /// Sessions that the target gave.
    pub logins_max: Option<u64>,
    /// Commands that were issued again.
    pub retries_max: Option<u64>,
    /// Fences that laid ghosts.
    pub fenced_min: Option<u64>,
    /// Sessions whose ghosts were let go by time.
    pub quiesced_max: Option<u64>,
    /// Writes of dead sessions that the target executed late: the proof that there were ghosts.
    pub late_writes_min: Option<u64>,
    /// Paths are put out of use for being worse than their peers so often at most.
    pub ejections_max: Option<u64>,
    /// And so often at least.
    pub ejections_min: Option<u64>,
    /// Of 1000 reads so many may be sent on a second path.
    pub hedges_max: Option<u64>,
    /// So many reads at least are sent on a second path.
    pub hedges_min: Option<u64>,
    /// ABORT TASKs that the target is asked for.
    pub aborts_max: Option<u64>,
    /// So many at least.
    pub aborts_min: Option<u64>,
    /// LOGICAL UNIT RESETs that the daemon asks for.
    pub resets_max: Option<u64>,
    /// So many at least.
    pub resets_min: Option<u64>,
    /// Bytes per second, read and written, while clients ask.
    pub rate_min: Option<u64>,
    /// Bytes that a client which connects at the end is told of.
    pub size: Option<u64>,
    /// What becomes of the reservation key.
    pub registration: Option<Registration>,
    /// Paths that are never lost.
    pub kept: Vec<usize>,
}

/// A scenario that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// What was seen, with the criteria.
    pub recording: Recording,
    /// Line by line, as far as it was asked for.
    pub timeline: Vec<Entry>,
}

impl Played {
    /// Whether every criterion was met.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.recording
            .criteria
            .iter()
            .all(|criterion| criterion.passed)
    }
}

impl Scenario {
    /// Checks the text of a file. `file` stands in messages and lends its name to a scenario without one.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Mistakes> {
        check::check(text, file)
    }

    /// The world that it describes.
    #[must_use]
    pub fn knobs(&self) -> Knobs {
        build::knobs(self)
    }

    /// Plays it in virtual time.
    #[must_use]
    pub fn play(&self, detail: Detail) -> Played {
        let (outcome, mut recording) = world::record(&self.knobs(), detail);
        self.inscribe(&mut recording, outcome.summary.online);
        let seen = Seen::of_world(&outcome);
        recording.criteria = judge(self, &recording, &seen);
        Played {
            recording,
            timeline: outcome.timeline,
        }
    }

    /// The file that an administrator would write for the daemon: as it is after the reloads that come
    /// before `at`.
    #[must_use]
    pub fn multipath_toml(&self, place: &Place, at: Duration) -> String {
        let reloads = self.faults.iter().filter(|fault| fault.at <= at);
        let reload = reloads
            .filter_map(|fault| fault.reload.as_ref())
            .next_back();
        let keys = reload.map_or(&self.daemon_keys, |reload| &reload.keys);
        daemon::multipath_toml(keys, place)
    }

    /// What stands in every recording of it. The volume went online at `online`.
    pub fn inscribe(&self, recording: &mut Recording, online: Duration) {
        recording.name.clone_from(&self.name);
        recording.about.clone_from(&self.about);
        recording.seed = self.seed;
        for (record, path) in recording.paths.iter_mut().zip(&self.paths) {
            record.name = format!("path {}", path.name);
        }
        recording.marks = plan::marks(self, online);
        recording.stalls = measure::stalls(&recording.ios, &recording.marks);
    }
}

/// Bytes per second.
type Rate = NonZeroU64;
