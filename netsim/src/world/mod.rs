//! A world in virtual time: the daemon's real cores, simulated links, a simulated target, and nothing else.
//!
//! [`run`] plays one scenario ([`Knobs`]): the real [`Engine`], driven as the shell drives it; NBD clients
//! that speak the wire; the [`crate::link`] model; a [`Target`]. No runtime, no thread, no clock: time is a
//! number that jumps to whatever is due next, so a minute of trouble takes milliseconds. Everything is drawn
//! from the seed and visited in a fixed order: a seed gives the same timeline on every machine.
//!
//! A scenario has two phases. While things break, *safety* is demanded: no read returns what no legal order
//! allows, nothing is answered twice, no request fails. Then everything is mended, and *liveness* is demanded
//! within a bound: all requests answered, all paths ready, no ghost, no session or task left over.
//!
//! - `knobs`, `fault`, `faults`, `asymmetry`: what a seed stands for; `inflict`, `impose`: what faults do;
//! - `net`, `receipts`: connections over routes that can be broken, and what their kernels know of them;
//! - `reload`: the daemon's configuration changes;
//! - `client`: the NBD clients; `log`: what the daemon logs;
//! - `record`: what was seen, for reports and pass criteria;
//! - `turn`: one turn of everything; `judge`: what is demanded.

mod asymmetry;
mod client;
mod fault;
mod faults;
mod impose;
mod inflict;
mod judge;
mod knobs;
mod log;
mod net;
mod receipts;
mod record;
mod reload;
mod setup;
#[cfg(test)]
mod tests;
mod turn;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use iiblockdaemon::engine::Engine;
use iiblockdaemon::ids::PathId;
use iiblockdaemon::volume::{Pin, RememberedKey, VolumeStatus};
use tracing::level_filters::LevelFilter;

pub use asymmetry::Asymmetry;
pub use fault::{Fault, Notice, Planned};
pub use impose::impose;
pub use judge::{Rule, Violation};
pub use knobs::{Allowed, Knobs, Line, Load};
pub use reload::{Reload, Settings};
pub use setup::{portal, target_at};

use client::Client;
use inflict::{Reserved, Troubled};
use log::Log;
use net::Net;
use record::Recorder;

use crate::clock;
use crate::oracle::Oracle;
use crate::recording::Recording;
use crate::rng::Rng;
use crate::target::lun::WriteCache;
use crate::target::{Nexuses, Target};

/// How much of a scenario is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing: for speed.
    Nothing,
    /// One line per event, and what the daemon logs at INFO.
    Events,
    /// The same with every PDU, as it is queued at its sender.
    Pdus,
    /// The same with everything that the daemon logs.
    Everything,
}

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Time since the beginning.
    pub at: Duration,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.6}  {}", self.at.as_secs_f64(), self.what)
    }
}

/// What happened in a scenario: the proof that something did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests answered.
    pub ios: u64,
    /// Blocks that reads returned and that were judged.
    pub blocks_checked: u64,
    /// Sessions that the target gave.
    pub logins: u64,
    /// Sessions that a later login ended.
    pub reinstated: u64,
    /// Commands of dead sessions that executed late.
    pub executed_late: u64,
    /// Fences that laid ghosts.
    pub fenced: u64,
    /// Sessions whose ghosts were let go by time.
    pub quiesced: u64,
    /// Commands that were issued again.
    pub retries: u64,
    /// Reads that clients asked for.
    pub reads: u64,
    /// Reads that were sent on a second path.
    pub hedges: u64,
    /// Times that a path was put out of use for being worse than its peers.
    pub ejections: u64,
    /// ABORT TASKs that the target was asked for.
    pub aborts: u64,
    /// LOGICAL UNIT RESETs that the daemon asked for.
    pub resets: u64,
    /// Bytes that arrived for reads which another path had answered.
    pub wasted_bytes: u64,
    /// The longest request.
    pub slowest: Duration,
    /// From the mending until everything was well.
    pub recovery: Duration,
    /// Virtual time that passed.
    pub elapsed: Duration,
    /// When the volume went online; faults count from there.
    pub online: Duration,
    /// Bytes that a client which connected at the end would be told of.
    pub size: u64,
    /// The volume's reservation key at the end.
    pub key: Option<RememberedKey>,
    /// Registrations of the daemon's nexuses at the unit at the end.
    pub registrations: usize,
}

/// A scenario's end.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first broken rule.
    pub violation: Option<Violation>,
    /// As far as [`Detail`] asked for it.
    pub timeline: Vec<Entry>,
    /// What happened.
    pub summary: Summary,
}

/// The volume that the knobs describe, with all its paths, which nothing is known of and which nobody drives.
#[must_use]
pub fn engine(now: Instant, knobs: &Knobs) -> Engine {
    let last = setup::LastRun::default();
    setup::engine(now, knobs, &World::configured(knobs), last, Pin::default())
}

thread_local! {
    static PLAYING: Cell<u64> = const { Cell::new(0) };
}

/// For a panic that ends the program: which scenario it was.
#[must_use]
pub fn last_words() -> String {
    format!("panic while playing seed {}", PLAYING.get())
}

/// Plays one scenario.
#[must_use]
pub fn run(knobs: &Knobs, detail: Detail) -> Outcome {
    play(knobs, detail, None).0
}

/// Plays one scenario and records it: its requests, what its paths carried and their states.
#[must_use]
pub fn record(knobs: &Knobs, detail: Detail) -> (Outcome, Recording) {
    let recorder = Recorder::new(knobs.groups.len());
    let (outcome, recorder) = play(knobs, detail, Some(recorder));
    let recording = recorder.map(Recorder::finish).unwrap_or_default();
    (outcome, recording)
}

fn play(knobs: &Knobs, detail: Detail, recorder: Option<Recorder>) -> (Outcome, Option<Recorder>) {
    let level = match detail {
        Detail::Nothing => LevelFilter::ERROR,
        Detail::Events => LevelFilter::INFO,
        Detail::Pdus | Detail::Everything => LevelFilter::TRACE,
    };
    let log = Log::new(level, detail);
    tracing::subscriber::with_default(log.clone(), || {
        PLAYING.set(knobs.seed);
        let mut world = World::new(knobs.clone(), detail, log);
        world.recorder = recorder;
        let violation = catch_unwind(AssertUnwindSafe(|| world.play()));
        let violation = violation
            .unwrap_or_else(|panic| Err(world.panicked(panic.as_ref())))
            .err();
        world.drain_log();
        world.count_registrations();
        world.record_journal();
        let summary = world.summary();
        let outcome = Outcome {
            violation,
            timeline: world.timeline,
            summary,
        };
        (outcome, world.recorder)
    })
}

/// See the module's documentation.
struct World {
    knobs: Knobs,
    detail: Detail,
    log: Log,
    recorder: Option<Recorder>,
    timeline: Vec<Entry>,
    began: Instant,
    now: Instant,
    rng: Rng,
    engine: Engine,
    /// The paths that the daemon's configuration has.
    configured: Vec<usize>,
    /// Which path of the world the daemon's numbers stand for.
    ids: BTreeMap<PathId, usize>,
    /// The paths whose sessions the daemon has written down.
    sessions: BTreeSet<usize>,
    /// What the daemon wrote down of the unit.
    pin: Pin,
    /// And of its reservation key.
    key: Option<RememberedKey>,
    /// Questions about reservations so far.
    asked: u64,
    registrations: usize,
    target: Target,
    net: Net,
    clients: Vec<Client>,
    oracle: Oracle,
    /// When the volume went online: faults count from there.
    online: Option<Instant>,
    /// How many of the faults have happened.
    happened: usize,
    troubled: Vec<Troubled>,
    reserved: Reserved,
    /// Some portal leads to a wrong unit for a while.
    impostors: bool,
    /// When the target crashed.
    crashed: Vec<Instant>,
    /// When a flush failed, as one does after a crash.
    losses_told: Vec<Instant>,
    /// Clients ask.
    asking: bool,
    ios: u64,
    /// Fences, and expired quiesce times, of daemons that were killed.
    fenced: (u64, u64),
    /// Sessions of killed daemons that ended before they could be told of a power loss.
    doubts: u64,
    /// Commands that they issued again.
    retries: u64,
    slowest: Duration,
    recovery: Duration,
    violation: Option<Violation>,
}

impl World {
    fn new(knobs: Knobs, detail: Detail, log: Log) -> Self {
        let now = clock::now();
        let rng = Rng::new(knobs.seed);
        let configured = Self::configured(&knobs);
        let last = setup::LastRun::default();
        Self {
            engine: setup::engine(now, &knobs, &configured, last, Pin::default()),
            ids: (0..)
                .map(PathId)
                .zip(setup::numbered(&knobs, &configured))
                .collect(),
            sessions: configured.iter().copied().collect(),
            configured,
            pin: Pin::default(),
            key: None,
            asked: 0,
            registrations: 0,
            target: setup::target(&knobs),
            net: Net::new(knobs.lines(), rng.stream("net")),
            clients: Vec::new(),
            oracle: match knobs.cache {
                WriteCache::Volatile => Oracle::of_volatile(knobs.seed, 0),
                WriteCache::Off | WriteCache::Safe => Oracle::of_zeroed(knobs.seed, 0),
            },
            online: None,
            happened: 0,
            troubled: vec![Troubled::default(); knobs.groups.len()],
            reserved: Reserved::default(),
            impostors: knobs
                .faults
                .iter()
                .any(|planned| matches!(planned.fault, Fault::Impostor { .. })),
            crashed: Vec::new(),
            losses_told: Vec::new(),
            asking: false,
            ios: 0,
            fenced: (0, 0),
            doubts: 0,
            retries: 0,
            slowest: Duration::ZERO,
            recovery: Duration::ZERO,
            violation: None,
            recorder: None,
            timeline: Vec::new(),
            began: now,
            rng: rng.stream("world"),
            now,
            detail,
            log,
            knobs,
        }
    }

    fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.began)
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.detail != Detail::Nothing {
            let at = self.elapsed();
            self.timeline.push(Entry { at, what: what() });
        }
    }

    /// Remembers what this daemon counted.
    fn add_up(&mut self) {
        let volume = self.engine.status(self.now).volume;
        self.retries += retries(&volume);
        let volume = volume.counters;
        self.fenced.0 += volume.fenced;
        self.fenced.1 += volume.quiesced;
        self.doubts += volume.doubts;
    }

    /// What the unit knows of the daemon's registrations: those that still are somebody's.
    fn count_registrations(&mut self) {
        self.registrations = match self.knobs.nexuses {
            Nexuses::Remembered => self.target.unit(0).map_or(0, |unit| unit.registrations()),
            Nexuses::PerSession => self.target.registered(0),
        };
    }

    fn summary(&self) -> Summary {
        let target = self.target.statistics();
        let volume = self.engine.status(self.now).volume;
        let retries = self.retries + retries(&volume);
        let ejections = volume.routes.iter().map(|route| route.counters.ejections);
        let ejections = ejections.sum();
        let volume = volume.counters;
        Summary {
            ios: self.ios,
            blocks_checked: self.oracle.blocks_checked(),
            logins: target.logins,
            reinstated: target.reinstated,
            executed_late: target.executed_late,
            fenced: self.fenced.0 + volume.fenced,
            quiesced: self.fenced.1 + volume.quiesced,
            retries,
            reads: volume.reads,
            hedges: volume.hedges,
            ejections,
            aborts: target.aborts,
            resets: target.unit_resets,
            wasted_bytes: volume.wasted_bytes,
            slowest: self.slowest,
            recovery: self.recovery,
            elapsed: self.elapsed(),
            key: self.engine.remembered_key(),
            registrations: self.registrations,
            size: self.engine.export_info().map_or(0, |export| export.size),
            online: self
                .online
                .map_or(Duration::ZERO, |online| online - self.began),
        }
    }
}

/// Commands that a volume issued again.
fn retries(volume: &VolumeStatus) -> u64 {
    let routes = volume.routes.iter();
    routes.map(|route| route.counters.retries).sum()
}
