//! What is demanded of a world, and the course of a scenario.

use std::any::Any;
use std::fmt;
use std::time::{Duration, Instant};

use iiblockdaemon::nbd;
use iiblockdaemon::path::{PathState, PathStatus, SameBy};
use iiblockdaemon::volume::ReservationAsk;

use super::client::{Client, Ended};
use super::{Fault, Knobs, Planned, World, setup};
use crate::recording::Kind;
use crate::target::lun::WriteCache;
use crate::target::{Nexuses, Reinstatement};

/// The volume goes online within so long: nothing is broken before.
const ONLINE: Duration = Duration::from_secs(10);

/// Clients go on for so long after everything was mended.
const AFTERMATH: Duration = Duration::from_secs(2);

/// Once things are mended and no ghost can be left, everything is well within so long: the longest login that
/// began in time, the longest pause between attempts, and the longest probation.
const RECOVERY: Duration = Duration::from_secs(60);

/// A path that needs an administrator tries again after so long at the latest.
const DISABLED_RETRY: Duration = Duration::from_secs(65);

/// A command that is not answered is aborted within so long of its timeout, or its session is given up.
const ABORT: Duration = Duration::from_secs(6);

/// READ, then WRITE, WRITE SAME, UNMAP, SYNCHRONIZE CACHE.
const MEDIUM: [u8; 9] = [0x28, 0x88, 0x2a, 0x8a, 0x41, 0x93, 0x42, 0x35, 0x91];

/// How many of them only read.
const READS: usize = 2;

/// The target gives up a login that nobody goes on with before so long.
const HALF_LOGIN: Duration = Duration::from_secs(16);

/// A read over a volume with a path that is never broken takes no longer than detection and this.
const DETOUR: Duration = Duration::from_secs(2);

/// A key that a late REGISTER left is found within ten seconds.
const KEYS_LEFT: Duration = Duration::from_secs(15);

/// What is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A read returns only what some legal order of the writes allows.
    Content,
    /// Nothing is read from or written to a unit that is not the volume's.
    WrongUnit,
    /// No request fails: at the latest after the mending there is a path.
    Fails,
    /// Each request is answered once, in well-formed replies.
    Protocol,
    /// While a path is never broken, reads go on.
    Stalls,
    /// After the mending everything is answered and every path is ready again.
    Recovers,
    /// Nothing is left over: no ghost, no command, no session, no connection.
    Leaks,
    /// The initiator breaks no rule of RFC 7143.
    Breaches,
    /// The daemon logs no error.
    ErrorLogged,
    /// Time goes on.
    Spins,
    /// No assertion fails.
    Panics,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, since the beginning.
    pub at: Duration,
    /// The rule.
    pub rule: Rule,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} at {:.6} s: {}",
            self.rule,
            self.at.as_secs_f64(),
            self.what
        )
    }
}

impl World {
    pub(super) fn broken(&self, rule: Rule, what: String) -> Violation {
        let at = self.elapsed();
        Violation { at, rule, what }
    }

    pub(super) fn panicked(&self, panic: &(dyn Any + Send)) -> Violation {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        self.broken(Rule::Panics, text.unwrap_or("of unknown type").to_owned())
    }

    /// The whole scenario.
    pub(super) fn play(&mut self) -> Result<(), Violation> {
        self.turn()?;
        let limit = self.now + ONLINE;
        while self.online.is_none() {
            if self.now >= limit {
                return Err(self.broken(Rule::Recovers, "the volume does not go online".to_owned()));
            }
            self.step(limit)?;
        }
        self.run_for(self.knobs.trouble)?;
        self.mend();
        let mended = self.now;
        self.turn()?;
        self.run_for(AFTERMATH)?;
        self.note(|| "clients stop asking".to_owned());
        self.asking = false;
        let bound = self.knobs.quiesce.unwrap_or_default() + self.knobs.recovery();
        self.recover_by(mended + bound)?;
        self.recovery = self.now.saturating_duration_since(mended);
        self.note(|| "everything is well".to_owned());
        self.read_back()
    }

    fn recover_by(&mut self, limit: Instant) -> Result<(), Violation> {
        while let Err(why) = self.is_well() {
            if self.now >= limit {
                return Err(self.broken(Rule::Recovers, why));
            }
            self.step(limit)?;
        }
        Ok(())
    }

    fn run_for(&mut self, duration: Duration) -> Result<(), Violation> {
        let limit = self.now + duration;
        while self.now < limit {
            self.step(limit)?;
        }
        Ok(())
    }

    /// Long after the last ghost, the disk holds what was acknowledged, and nothing is left over.
    fn read_back(&mut self) -> Result<(), Violation> {
        let hung = self.target.statistics();
        let hangs = hung.hung + hung.jammed > 0;
        let aborted = if hangs {
            self.knobs.detect.command + ABORT
        } else {
            HALF_LOGIN
        };
        let ghosts = self.knobs.last_ghost() + Duration::from_secs(1);
        self.run_for(ghosts.max(HALF_LOGIN).max(aborted))?;
        let (now, blocks) = (self.now, self.knobs.blocks);
        if let Some(client) = self.clients.first_mut() {
            let line = client.read(now, &mut self.oracle, 0, blocks);
            self.note(|| line);
        }
        self.turn()?;
        self.recover_by(self.now + RECOVERY)?;
        // Reads may be under way that were answered over another path meanwhile.
        let limit = self.now + self.knobs.detect.command;
        while self.is_carrying() && self.now < limit {
            self.step(limit)?;
        }
        // Answers to pings are on their way.
        self.run_for(Duration::from_millis(100))?;
        if self.registrations_left().is_some() {
            self.run_for(KEYS_LEFT)?;
        }
        self.nothing_is_left()
    }

    /// Whether everything is answered and every path is in use.
    fn is_well(&self) -> Result<(), String> {
        if let Some((client, (cookie, began))) = self
            .clients
            .iter()
            .find_map(|client| Some((client.id.0, client.oldest()?)))
        {
            let since = self.now.saturating_duration_since(began);
            return Err(format!(
                "client {client} io {cookie} is not answered for {since:?}"
            ));
        }
        let status = self.engine.status(self.now);
        let mut lost = status
            .paths
            .iter()
            .filter(|path| path.state != PathState::Ready);
        if let Some(path) = lost.nth(self.knobs.allowed.paths_lost) {
            return Err(format!("{} is {:?}: {}", path.name, path.state, path.why));
        }
        if let Some(path) = status.paths.iter().find(|path| path.removing) {
            return Err(format!("{} was removed and is not gone", path.name));
        }
        if status.volume.ghosts > 0 {
            return Err(format!("{} ghosts are not fenced", status.volume.ghosts));
        }
        Ok(())
    }

    fn is_carrying(&self) -> bool {
        let status = self.engine.status(self.now);
        status.volume.routes.iter().any(|route| route.in_flight > 0)
    }

    /// The wrong unit is never used; but it may be read to find out that it is another one.
    pub(super) fn check_impostor(&mut self) {
        let Some(unit) = self.target.unit(setup::IMPOSTOR) else {
            return;
        };
        let compares = !self.knobs.reservations || self.knobs.same_by == SameBy::Blocks;
        let used = MEDIUM
            .iter()
            .skip(if compares { READS } else { 0 })
            .map(|opcode| unit.executed(*opcode))
            .sum::<u64>();
        if used > 0 && self.violation.is_none() {
            let what = format!("{used} commands were carried out on another unit");
            self.violation = Some(self.broken(Rule::WrongUnit, what));
        }
    }

    /// Registrations that nobody will remove. A path that is gone, or that is redirected elsewhere, cannot
    /// remove what it left; nor what a session registers that its target lets live on, or that was the
    /// nexus itself.
    fn registrations_left(&mut self) -> Option<usize> {
        let strays = |planned: &Planned| {
            let fault = &planned.fault;
            matches!(fault, Fault::Reload(_) | Fault::Redirect { .. })
        };
        let ends = self.knobs.reinstatement != Reinstatement::Ignored
            && self.knobs.nexuses == Nexuses::Remembered;
        let kept = ends && self.knobs.key == 0 && !self.knobs.faults.iter().any(strays);
        let left = self.target.unit(0)?.registrations();
        (kept && left > 0).then_some(left)
    }

    fn nothing_is_left(&mut self) -> Result<(), Violation> {
        let registered = self.registrations_left();
        let status = self.engine.status(self.now);
        let volume = &status.volume;
        let leaks = |what: String| Err(self.broken(Rule::Leaks, what));
        if volume.ios + volume.queued + volume.waiting + volume.ghosts > 0 {
            return leaks(format!("in the volume: {volume:?}"));
        }
        if self.is_carrying() {
            return leaks(format!("commands in flight: {:?}", volume.routes));
        }
        let ready = |path: &&PathStatus| path.state == PathState::Ready;
        let paths = status.paths.iter().filter(ready).count();
        let sessions = self.target.sessions().count();
        if sessions != paths {
            return leaks(format!(
                "{sessions} sessions at the target for {paths} paths"
            ));
        }
        let own: usize = status.paths.iter().map(|path| path.own_commands).sum();
        if self.target.outstanding() > own + volume.errands {
            return leaks(format!(
                "{} commands at the target",
                self.target.outstanding()
            ));
        }
        // A target's end alone, without a session over it, is its kernel's to end one day.
        let wires = self.net.wires.values().filter(|wire| wire.link.is_some());
        let wires: Vec<_> = wires.map(|wire| (wire.link, wire.connection)).collect();
        if wires.len() > paths {
            return leaks(format!("connections for {paths} paths: {wires:?}"));
        }
        if let Some(left) = registered {
            return leaks(format!("{left} reservation keys at the target"));
        }
        match self.target.breaches().first() {
            Some(breach) => Err(self.broken(Rule::Breaches, breach.to_string())),
            None => Ok(()),
        }
    }

    pub(super) fn go_online(&mut self) {
        let Some(export) = self.engine.export_info() else {
            return;
        };
        for client in &mut self.clients {
            let connection = nbd::Connection::new(&export, self.knobs.structured);
            client.reconnect(self.engine.attach(connection), &mut self.oracle);
        }
        if self.online.is_some() {
            return;
        }
        self.online = Some(self.now);
        self.asking = true;
        if let Some(kind) = self.knobs.reserve {
            self.ask_reservation(ReservationAsk::Reserve { kind });
        }
        for _ in 0..self.knobs.load.clients {
            let connection = nbd::Connection::new(&export, self.knobs.structured);
            let id = self.engine.attach(connection);
            self.clients
                .push(Client::new(self.now, id, export.flags.trim, &self.knobs));
        }
    }

    /// While another initiator holds the unit, requests may fail. After a crash that may have lost what was
    /// acknowledged a flush fails, and so do those that are under way at that time.
    fn may_fail(&mut self, ended: &Ended) -> bool {
        let began = self.now - ended.took;
        if self.knobs.allowed.failures || self.reserved.since(began) {
            return true;
        }
        if ended.kind != Kind::Flush || self.knobs.cache == WriteCache::Off {
            return false;
        }
        if self.losses_told.last().is_some_and(|told| began <= *told) {
            return true;
        }
        self.losses_told.push(self.now);
        // A path that comes back while no other is in use may tell of the same crash again.
        // And one that a client was to be told that had died is told to another.
        // With two sessions each tells of it.
        let again = self.crashed.len() * self.knobs.groups.len() * 2;
        let replaced = |planned: &&Planned| matches!(planned.fault, Fault::Replace { .. });
        let replaced = self.knobs.faults.iter().filter(replaced).count();
        // And where a session ended before its first answers arrived, nobody knows what they said.
        let doubts = self.engine.status(self.now).volume.counters.doubts;
        let doubts = (self.doubts + doubts).min(self.target.untold());
        self.losses_told.len() <= again + replaced + usize::try_from(doubts).unwrap_or(usize::MAX)
    }

    /// A request was answered.
    pub(super) fn on_ended(&mut self, client: usize, ended: Ended) {
        self.ios += 1;
        let excused = ended.error.is_some() && self.may_fail(&ended);
        self.slowest = self.slowest.max(ended.took);
        let cookie = ended.cookie;
        self.note(|| match ended.error {
            None => format!("client {client} io {cookie} done in {:?}", ended.took),
            Some(error) => format!("client {client} io {cookie} FAILED with {error}"),
        });
        self.record_io(&ended);
        let violation = if ended.broken > 0 {
            let all = self.oracle.violations().iter().map(ToString::to_string);
            let what = all.collect::<Vec<_>>().join("; ");
            Some((
                Rule::Content,
                format!("client {client} io {cookie}: {what}"),
            ))
        } else if let Some(error) = ended.error.filter(|_| !excused) {
            Some((
                Rule::Fails,
                format!("client {client} io {cookie} failed with {error}"),
            ))
        } else if self.asking && ended.kind == Kind::Read && ended.took > self.knobs.patience() {
            let took = ended.took;
            Some((
                Rule::Stalls,
                format!("client {client} io {cookie}, a read, took {took:?}"),
            ))
        } else {
            None
        };
        if let Some((rule, what)) = violation
            && self.violation.is_none()
        {
            self.violation = Some(self.broken(rule, what));
        }
    }
}

impl Knobs {
    /// How long after the mending everything is well. A path that met a wrong unit looks again after a
    /// minute at the latest.
    fn recovery(&self) -> Duration {
        let wrong = |planned: &Planned| {
            let fault = &planned.fault;
            matches!(fault, Fault::Impostor { .. } | Fault::Capacity { .. })
        };
        match self.faults.iter().any(wrong) {
            true => RECOVERY + DISABLED_RETRY,
            false => RECOVERY,
        }
    }

    /// How long a read may take.
    fn patience(&self) -> Duration {
        let slow = |planned: &Planned| {
            let fault = &planned.fault;
            matches!(fault, Fault::Slow { .. } | Fault::Bandwidth { .. })
        };
        let hangs = |planned: &Planned| {
            let fault = &planned.fault;
            matches!(fault, Fault::Hang { .. } | Fault::Jam { .. })
        };
        let hung = match self.faults.iter().any(hangs) {
            true => (self.detect.command + ABORT) * 2,
            false => Duration::ZERO,
        };
        if self.spared.is_none()
            || self.queue_depth < 32
            || self.line.capacity < 64 << 10
            || self.faults.iter().any(slow)
        {
            return Duration::MAX;
        }
        // A full queue of commands one after the other, then a detection, and all that again.
        let requests = self.load.clients * self.load.depth * 8;
        let queue = self.service_time * u32::try_from(requests).unwrap_or(u32::MAX);
        self.detect.network * 3 + DETOUR + queue * 2 + hung
    }
}
