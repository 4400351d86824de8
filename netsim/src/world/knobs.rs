//! Every knob of a scenario, drawn from one seed and printable.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use iiblockdaemon::iscsi::session::config::{DigestChoice, Offer};
use iiblockdaemon::path::{Detect, SameBy};
use iiblockdaemon::scsi::reservation::ReservationType;
use iiblockdaemon::volume::NoPath;
use policies::{PolicyKind, PolicySpec};

use super::{Asymmetry, Fault, Planned, Reload, faults};
use crate::link::End;
use crate::rng::Rng;
use crate::target::lun::WriteCache;
use crate::target::{Aborts, Nexuses, Orphans, Reinstatement, Resets, Wishes};

/// Requests come so thick.
#[derive(Clone, Debug)]
pub struct Load {
    /// NBD connections.
    pub clients: usize,
    /// Requests in flight per connection.
    pub depth: usize,
    /// Mean pause between two requests of a connection.
    pub think: Duration,
    /// Longest request in blocks.
    pub blocks_max: u64,
    /// Reads, writes, flushes, zeroes and trims per hundred requests.
    pub reads: u64,
    /// Trims and zeroes are asked for.
    pub zeroes: bool,
}

/// What the network is like while nothing is broken.
#[derive(Clone, Debug)]
pub struct Line {
    /// One way.
    pub latency: Duration,
    /// Added at random.
    pub jitter: Duration,
    /// Bytes per second of each direction of a connection; `None`: no limit.
    pub bandwidth: Option<NonZeroU64>,
    /// Bytes that one direction of a connection holds, before its sender has to wait.
    pub capacity: usize,
}

/// What a scenario by name may allow that a drawn one may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Requests may fail.
    pub failures: bool,
    /// The daemon may log errors.
    pub logged_errors: bool,
    /// So many paths need not be ready at the end.
    pub paths_lost: usize,
    /// Nothing is mended at the end.
    pub unmended: bool,
}

/// A scenario: what is built, what is asked of it, and what is broken when.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// Where all randomness comes from.
    pub seed: u64,
    /// The portal group of each path's portal.
    pub groups: Vec<u16>,
    /// Sessions per path.
    pub sessions: u16,
    /// The process that serves each path's portal; empty: one.
    pub processes: Vec<u16>,
    /// Logical block size.
    pub block_size: u32,
    /// Logical blocks of the unit.
    pub blocks: u64,
    /// Longest transfer that the unit takes, in blocks; 0: not said.
    pub transfer_blocks: u32,
    /// The unit knows FUA.
    pub fua: bool,
    /// The unit is thin.
    pub thin: bool,
    /// What a crash does to writes that were answered and not flushed.
    pub cache: WriteCache,
    /// Paths that the daemon's configuration does not have at the beginning.
    pub absent: Vec<usize>,
    /// The unit's identity is a vendor's default, which another unit has as well.
    pub default_identity: bool,
    /// The other unit has this one's identity and size, as a copy has.
    pub copied: bool,
    /// The units have persistent reservations.
    pub reservations: bool,
    /// How the daemon compares its paths' units.
    pub same_by: SameBy,
    /// Paths behind whose portals is another unit from the beginning.
    pub impostors: Vec<usize>,
    /// How long a command takes at the target.
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
    /// What the target wants.
    pub wishes: Wishes,
    /// What the initiator offers.
    pub offer: Offer,
    /// Detection times.
    pub detect: Detect,
    /// Limit of a login.
    pub login_timeout: Duration,
    /// Path selection.
    pub policy: PolicySpec,
    /// Rank or share of each path; empty: all the same.
    pub weights: Vec<u8>,
    /// Operator's tier of each path; all 0 if there are none.
    pub tiers: Vec<u8>,
    /// Access states at the target.
    pub asymmetry: Asymmetry,
    /// The daemon asks for access states.
    pub alua: bool,
    /// It asks for others where no active/optimized path is usable.
    pub activate: bool,
    /// What happens to requests while no path is usable.
    pub no_path: NoPath,
    /// Commands that the daemon keeps in flight on a path.
    pub commands_per_path: u32,
    /// Writes of unknown fate wait for their fence.
    pub shared: bool,
    /// A later login counts as a fence.
    pub reinstate: bool,
    /// The reservation key that the volume registers; 0: none.
    pub key: u64,
    /// What it reserves as soon as it is online.
    pub reserve: Option<ReservationType>,
    /// Lost paths are cut off by their keys.
    pub preempt_abort: bool,
    /// The unit can keep registrations without power.
    pub persistent: bool,
    /// Where nothing else helps, the daemon resets the unit.
    pub lun_reset: bool,
    /// A unit that grew is served with its new size.
    pub grow: bool,
    /// Ghosts are let go by time.
    pub quiesce: Option<Duration>,
    /// Requests.
    pub load: Load,
    /// The network.
    pub line: Line,
    /// The paths' own networks, where they differ; empty: all are `line`.
    pub lines: Vec<Line>,
    /// Structured replies were negotiated.
    pub structured: bool,
    /// The path that is never broken, if there is one; nor is the target then.
    pub spared: Option<usize>,
    /// How long things break; then everything is mended.
    pub trouble: Duration,
    /// What breaks when, in order.
    pub faults: Vec<Planned>,
    /// What is not demanded.
    pub allowed: Allowed,
}

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn one_of<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.index(of.len())]
}

impl Knobs {
    /// Two paths of one portal group, a quiet network, no faults.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            groups: vec![1, 1],
            sessions: 1,
            processes: Vec::new(),
            block_size: 512,
            blocks: 128,
            transfer_blocks: 0,
            fua: true,
            thin: true,
            cache: WriteCache::Safe,
            absent: Vec::new(),
            default_identity: false,
            copied: false,
            reservations: true,
            same_by: SameBy::Reservation,
            impostors: Vec::new(),
            service_time: MILLI,
            queue_depth: 32,
            reinstatement: Reinstatement::Synchronous,
            orphans: Orphans::Terminate,
            nexuses: Nexuses::Remembered,
            aborts: Aborts::End,
            resets: Resets::Wait,
            wishes: Wishes::default(),
            offer: Offer::default(),
            detect: Detect {
                network: 700 * MILLI,
                target: 5 * SECOND,
                command: 30 * SECOND,
            },
            login_timeout: 30 * SECOND,
            policy: PolicySpec::preset(PolicyKind::RoundRobin),
            weights: Vec::new(),
            tiers: Vec::new(),
            asymmetry: Asymmetry::default(),
            alua: true,
            activate: false,
            no_path: NoPath::QueueForever,
            commands_per_path: 64,
            shared: false,
            reinstate: true,
            key: 0,
            reserve: None,
            preempt_abort: false,
            persistent: true,
            lun_reset: false,
            grow: true,
            quiesce: None,
            load: Load {
                clients: 2,
                depth: 4,
                think: 10 * MILLI,
                blocks_max: 16,
                reads: 45,
                zeroes: true,
            },
            line: Line {
                latency: MILLI / 5,
                jitter: MILLI / 10,
                bandwidth: None,
                capacity: 256 << 10,
            },
            lines: Vec::new(),
            structured: true,
            spared: None,
            trouble: 5 * SECOND,
            faults: Vec::new(),
            allowed: Allowed::default(),
        }
    }

    /// What a seed stands for.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed).stream("knobs");
        let mut knobs = Self::calm(seed);
        knobs.draw_target(&mut rng);
        knobs.draw_protocol(&mut rng);
        knobs.draw_daemon(&mut rng);
        knobs.draw_load(&mut rng);
        let last = knobs.groups.len() - 1;
        if last > 0 && Rng::new(seed).stream("absent").chance(1, 8) {
            knobs.absent = vec![last];
        }
        if Rng::new(seed).stream("sessions").chance(1, 8) {
            knobs.sessions = 2;
        }
        let mut rng = Rng::new(seed).stream("faults");
        knobs.trouble = SECOND * u32::try_from(rng.between(4, 20)).unwrap_or(10);
        knobs.spared = rng
            .chance(1, 3)
            .then_some(0)
            .filter(|_| knobs.groups.len() > 1);
        knobs.faults = faults::draw(&mut rng, &knobs);
        knobs.draw_copy();
        knobs.draw_management();
        // What was only told of is not there for good.
        let told_of = |planned: &Planned| matches!(planned.fault, Fault::Capacity { .. });
        knobs.grow = !knobs.faults.iter().any(told_of);
        knobs.draw_access();
        knobs.draw_reservation();
        knobs.draw_quiesce(&mut rng);
        knobs.draw_cache();
        knobs
    }

    fn draw_target(&mut self, rng: &mut Rng) {
        let paths = one_of(rng, &[1, 2, 2, 2, 2, 3, 3, 4]);
        let two_groups = rng.chance(1, 3);
        self.groups = (0..paths)
            .map(|path| if two_groups { 1 + path % 2 } else { 1 })
            .collect();
        if rng.chance(1, 4) {
            self.processes = (0..paths).map(|path| path / 2).collect();
            if rng.chance(1, 2) {
                self.processes = (0..paths).map(|path| path % 2).collect();
            }
        }
        self.block_size = one_of(rng, &[512, 512, 512, 4096]);
        self.blocks = one_of(rng, &[16, 64, 128, 512]);
        self.transfer_blocks = one_of(rng, &[0, 0, 8, 16]);
        self.fua = rng.chance(2, 3);
        self.thin = rng.chance(2, 3);
        self.service_time = one_of(rng, &[0, 1, 5, 20, 20, 100]) * MILLI;
        self.queue_depth = one_of(rng, &[1, 4, 32, 128]);
        self.reinstatement = one_of(
            rng,
            &[
                Reinstatement::Synchronous,
                Reinstatement::Synchronous,
                Reinstatement::Asynchronous,
                Reinstatement::Asynchronous,
                Reinstatement::Ignored,
            ],
        );
        self.orphans = match rng.below(6) {
            0 => Orphans::Terminate,
            1 => Orphans::ExecuteAfter(rng.duration_below(300 * MILLI)),
            _ => Orphans::ExecuteAfter(rng.duration_below(8 * SECOND)),
        };
    }

    fn draw_protocol(&mut self, rng: &mut Rng) {
        let digest = |rng: &mut Rng| {
            one_of(
                rng,
                &[DigestChoice::None, DigestChoice::None, DigestChoice::Crc32c],
            )
        };
        self.offer.header_digest = digest(rng);
        self.offer.data_digest = digest(rng);
        self.offer.immediate_data = rng.chance(2, 3);
        self.offer.initial_r2t = rng.chance(1, 3);
        self.offer.first_burst_length = one_of(rng, &[512, 4096, 64 << 10]);
        self.offer.max_recv_data_segment_length = one_of(rng, &[512, 4096, 256 << 10]);
        self.wishes.max_burst_length = one_of(rng, &[1024, 8192, 1 << 20]);
        self.wishes.first_burst_length = self.wishes.max_burst_length.min(64 << 10);
        self.wishes.max_recv_data_segment_length = one_of(rng, &[512, 8192, 256 << 10]);
        self.wishes.max_outstanding_r2t = one_of(rng, &[1, 1, 4]);
        self.offer.max_outstanding_r2t = one_of(rng, &[1, 4]);
        self.wishes.default_time2wait = one_of(rng, &[0, 2]);
        self.structured = rng.chance(2, 3);
        self.line = Line {
            latency: one_of(rng, &[50, 200, 1000, 5000]) * (MILLI / 1000),
            jitter: one_of(rng, &[0, 100, 2000]) * (MILLI / 1000),
            bandwidth: None,
            capacity: one_of(rng, &[1 << 10, 16 << 10, 256 << 10, 1 << 20]),
        };
        // A small window over a long line carries less than one large request in the time of a detection.
        if self.line.latency + self.line.jitter > MILLI / 2 {
            self.line.capacity = self.line.capacity.max(64 << 10);
        }
    }

    fn draw_daemon(&mut self, rng: &mut Rng) {
        self.detect = Detect {
            network: one_of(rng, &[300, 700, 1500]) * MILLI,
            target: one_of(rng, &[2, 5]) * SECOND,
            command: one_of(rng, &[3, 10, 30]) * SECOND,
        };
        self.login_timeout = one_of(rng, &[10, 30]) * SECOND;
        self.policy = PolicySpec::preset(one_of(rng, &PolicyKind::ALL));
        self.shared = rng.chance(1, 6);
        self.reinstate = self.reinstatement != Reinstatement::Ignored;
    }

    fn draw_load(&mut self, rng: &mut Rng) {
        self.load = Load {
            clients: one_of(rng, &[1, 2, 3, 4]),
            depth: one_of(rng, &[1, 2, 4, 16]),
            think: one_of(rng, &[5, 20, 60]) * MILLI,
            blocks_max: one_of(rng, &[1, 4, 16, 32]).min(self.blocks),
            reads: one_of(rng, &[10, 30, 45]),
            zeroes: rng.chance(1, 2),
        };
    }

    /// Whether a damaged PDU is found out, both ways.
    #[must_use]
    pub fn has_digests(&self) -> bool {
        let on = DigestChoice::Crc32c;
        self.offer.header_digest == on && self.offer.data_digest == on
    }

    /// The network of each path.
    pub(super) fn lines(&self) -> Vec<Line> {
        let own = |path| self.lines.get(path).unwrap_or(&self.line).clone();
        (0..self.groups.len()).map(own).collect()
    }

    /// Whatever is under way when things are mended has executed by then, or never will.
    #[must_use]
    pub fn last_ghost(&self) -> Duration {
        let late = match self.orphans {
            Orphans::Terminate => Duration::ZERO,
            Orphans::ExecuteAfter(delay) => delay,
        };
        let run_on = match self.aborts {
            Aborts::RunOn(longer) => longer,
            Aborts::End | Aborts::Refused => Duration::ZERO,
        };
        let reset = match self.resets {
            Resets::Early(longer) => longer,
            Resets::Wait => Duration::ZERO,
        };
        let late = late.max(run_on).max(reset);
        self.trouble + late + self.service_time * 64 + SECOND
    }

    /// Whether a login at the portal of one path reinstates sessions of the other's.
    #[must_use]
    pub fn share_sessions(&self, one: usize, other: usize) -> bool {
        let same = |of: &[u16]| of.get(one) == of.get(other);
        same(&self.groups) && same(&self.processes)
    }

    /// Behind some portal there is a copy of the unit for a while. The path that is never broken is what
    /// tells it from the unit.
    fn draw_copy(&mut self) {
        let mut rng = Rng::new(self.seed).stream("copy");
        let paths = self.groups.len() - 1;
        if self.spared.is_none() || paths == 0 || !rng.chance(1, 6) {
            return;
        }
        self.copied = true;
        let path = 1 + rng.index(paths);
        let at = rng.duration_below(self.trouble);
        let until = at + rng.duration_below(self.trouble - at);
        let reset = || Fault::Cut {
            path,
            end: End::Reset,
        };
        let swap = |on| Fault::Impostor { path, on };
        let faults = [
            (at, swap(true)),
            (at, reset()),
            (until, swap(false)),
            (until, reset()),
        ];
        let planned = faults.map(|(at, fault)| Planned { at, fault });
        self.faults.extend(planned);
        self.faults.sort_by_key(|planned| planned.at);
    }

    /// What task management does at the target, and whether the daemon resets the unit.
    fn draw_management(&mut self) {
        let mut rng = Rng::new(self.seed).stream("management");
        let longer = rng.duration_below(3 * SECOND);
        self.aborts = one_of(
            &mut rng,
            &[
                Aborts::End,
                Aborts::RunOn(longer),
                Aborts::RunOn(longer),
                Aborts::Refused,
            ],
        );
        self.resets = one_of(&mut rng, &[Resets::Wait, Resets::Early(longer)]);
        self.lun_reset = self.reinstate && rng.chance(1, 2);
        faults::manage(&mut rng, self);
    }

    fn draw_cache(&mut self) {
        let mut rng = Rng::new(self.seed).stream("cache");
        let (off, safe, volatile) = (WriteCache::Off, WriteCache::Safe, WriteCache::Volatile);
        self.cache = one_of(&mut rng, &[off, safe, volatile, volatile]);
    }

    fn draw_reservation(&mut self) {
        let mut rng = Rng::new(self.seed).stream("reservation");
        if !rng.chance(1, 4) {
            return;
        }
        self.key = 0x1a2b_3c4d_0000_0000;
        self.persistent = rng.chance(2, 3);
        let rest = Rng::new(self.seed).stream("nexuses").chance(1, 3);
        self.nexuses = [Nexuses::Remembered, Nexuses::PerSession][usize::from(rest)];
        // A lost session that its path's next login does not end would be registered again with it.
        let ends = self.reinstatement != Reinstatement::Ignored;
        self.preempt_abort = ends && rng.chance(1, 2);
        let kinds = ReservationType::ALL.into_iter();
        let kinds: Vec<_> = kinds.filter(|kind| !kind.is_for_one_nexus()).collect();
        self.reserve = rng.chance(3, 4).then(|| one_of(&mut rng, &kinds));
    }

    /// Where no fence is possible the quiesce time must be longer than a ghost lives; where one is, it may be
    /// missing, so that nothing but the fence protects.
    #[expect(clippy::wildcard_enum_match_arm, reason = "two faults of many")]
    fn draw_quiesce(&mut self, rng: &mut Rng) {
        let strays = |planned: &Planned| match planned.fault {
            Fault::Redirect {
                path, to: Some(to), ..
            } => to != path,
            Fault::Impostor { on, .. } => on,
            _ => false,
        };
        // A path that was removed is not there to fence what a killed daemon left behind on it.
        let has = |what: fn(&Fault) -> bool| self.faults.iter().any(|p| what(&p.fault));
        let forgotten = has(|fault| matches!(fault, Fault::Reload(Reload::Remove { .. })))
            && has(|fault| *fault == Fault::Kill);
        let needed = !self.reinstate || forgotten || self.faults.iter().any(strays);
        self.quiesce = (needed || rng.chance(1, 3)).then(|| self.last_ghost() + SECOND);
    }
}

impl Knobs {
    fn show_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "  key {:#018x}, reserves {:?}, preempt-abort {}, unit keeps registrations {}, nexuses {:?}",
            self.key, self.reserve, self.preempt_abort, self.persistent, self.nexuses
        )
    }
}

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = &self.groups;
        writeln!(f, "seed {}", self.seed)?;
        writeln!(
            f,
            "  paths {} in portal groups {groups:?}, not configured {:?}, processes {:?}, spared {:?}",
            groups.len(),
            self.absent,
            self.processes,
            self.spared
        )?;
        writeln!(
            f,
            "  unit {} blocks of {}, transfer {}, fua {}, thin {}, cache {:?}, service {:?}, queue {}",
            self.blocks,
            self.block_size,
            self.transfer_blocks,
            self.fua,
            self.thin,
            self.cache,
            self.service_time,
            self.queue_depth
        )?;
        writeln!(
            f,
            "  target reinstatement {:?}, orphans {:?}, aborts {:?}, resets {:?}, reservations {}, \
             the other unit is a copy {}, {:?}",
            self.reinstatement,
            self.orphans,
            self.aborts,
            self.resets,
            self.reservations,
            self.copied,
            self.wishes
        )?;
        writeln!(
            f,
            "  access {:?}; daemon asks {}, activates {}, tiers {:?}",
            self.asymmetry, self.alua, self.activate, self.tiers
        )?;
        writeln!(
            f,
            "  daemon {}, {} sessions per path, grow {}, shared {}, reinstate {}, lun-reset {}, quiesce {:?}, login {:?}, {:?}",
            self.policy,
            self.sessions,
            self.grow,
            self.shared,
            self.reinstate,
            self.lun_reset,
            self.quiesce,
            self.login_timeout,
            self.detect
        )?;
        self.show_key(f)?;
        writeln!(f, "  offer {:?}", self.offer)?;
        writeln!(f, "  load {:?}, structured {}", self.load, self.structured)?;
        writeln!(f, "  line {:?}", self.line)?;
        writeln!(f, "  trouble for {:?}:", self.trouble)?;
        for planned in &self.faults {
            writeln!(
                f,
                "    {:>9.3} s  {}",
                planned.at.as_secs_f64(),
                planned.fault
            )?;
        }
        Ok(())
    }
}
