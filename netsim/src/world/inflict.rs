//! What faults do to the world, and how it is mended.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use iiblockdaemon::engine::LinkId;
use iiblockdaemon::ids::PathId;
use iiblockdaemon::nbd;
use iiblockdaemon::path::{PathState, Uplink};
use iiblockdaemon::volume::ReservationAsk;

use super::client::Client;
use super::impose::impose;
use super::{Fault, Planned, World, setup};
use crate::link::{End, Held, Hole};

/// What faults have made of a portal.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubled {
    pub(super) frozen: bool,
    pub(super) redirect: Option<(String, bool)>,
}

/// When the unit was reserved by another initiator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reserved {
    on: bool,
    /// When that was last so.
    until: Option<Instant>,
}

impl Reserved {
    fn set(&mut self, now: Instant, on: bool) {
        if self.on || on {
            self.until = Some(now);
        }
        self.on = on;
    }

    fn holds(&self) -> bool {
        self.on
    }

    /// Whether it was so at some time since `began`.
    pub(super) fn since(&self, began: Instant) -> bool {
        self.on || self.until.is_some_and(|until| until >= began)
    }
}

impl World {
    pub(super) fn break_things(&mut self) -> bool {
        let mut any = false;
        while self.next_fault().is_some_and(|at| at <= self.now) {
            let fault = self.knobs.faults[self.happened].fault.clone();
            self.happened += 1;
            any = true;
            self.note(|| format!("FAULT {fault}"));
            self.inflict(&fault);
        }
        any
    }

    fn inflict(&mut self, fault: &Fault) {
        let now = self.now;
        match *fault {
            Fault::Cut { .. }
            | Fault::Route { .. }
            | Fault::HalfOpen { .. }
            | Fault::HalfClose { .. }
            | Fault::Refuse { .. }
            | Fault::Hole { .. }
            | Fault::LargeHole { .. }
            | Fault::Carrier { .. }
            | Fault::Late { .. }
            | Fault::Heal { .. }
            | Fault::Slow { .. }
            | Fault::Bandwidth { .. }
            | Fault::Corrupt { .. }
            | Fault::Flap { .. } => self.inflict_on_net(fault),
            Fault::Freeze { .. }
            | Fault::Crash { .. }
            | Fault::Boot
            | Fault::Hang { .. }
            | Fault::Jam { .. }
            | Fault::EndJams
            | Fault::Pace { .. }
            | Fault::Window { .. }
            | Fault::Notice { .. }
            | Fault::Redirect { .. }
            | Fault::Misbehave { .. } => self.inflict_on_target(fault),
            Fault::Impostor { on: true, .. } if !self.copy_can_be_told() => {}
            Fault::Status { .. }
            | Fault::Grow { .. }
            | Fault::Reset
            | Fault::Attention { .. }
            | Fault::Reserve { .. }
            | Fault::Preempted
            | Fault::Access { .. }
            | Fault::Impostor { .. }
            | Fault::Capacity { .. }
            | Fault::Vanish { .. } => self.inflict_on_unit(fault),
            Fault::Ask(ask) => self.ask_reservation(ask),
            Fault::Kill => self.kill(),
            Fault::Reload(ref reload) => self.reload(reload),
            Fault::Replace { client } => {
                let export = self.engine.export_info();
                if let Some((client, export)) = self.clients.get_mut(client).zip(export) {
                    self.engine.detach(client.id);
                    let connection = nbd::Connection::new(&export, self.knobs.structured);
                    client.replace(self.engine.attach(connection), &mut self.oracle);
                }
            }
        }
        debug_assert!(self.now == now, "a fault takes no time");
    }

    /// A copy has the unit's identity: the first path that comes up may lead to it. It is told from the unit
    /// by the path that is never broken, once that one is in use.
    fn copy_can_be_told(&self) -> bool {
        let Some(spared) = self.knobs.spared.filter(|_| self.knobs.copied) else {
            return true;
        };
        let name = format!("path {spared}");
        let status = self.engine.status(self.now);
        let mut paths = status.paths.iter();
        paths.any(|path| path.name == name && path.state == PathState::Ready)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are no faults of the net"
    )]
    fn inflict_on_net(&mut self, fault: &Fault) {
        let now = self.now;
        let net = &mut self.net;
        match *fault {
            Fault::Cut { path, end } => net.cut(now, path, end),
            Fault::Route { path, ref state } => net.set_state(now, path, state),
            Fault::HalfOpen { path } => {
                let wires = net.wires_of(path).filter(|wire| wire.dial.is_none());
                let gone: Vec<LinkId> = wires
                    .filter_map(|wire| {
                        wire.half_open = true;
                        if let Some(connection) = wire.connection {
                            self.target.forsake(connection);
                        }
                        wire.link.take()
                    })
                    .collect();
                for link in gone {
                    self.engine.on_closed(now, link, "reset by the network");
                }
            }
            Fault::HalfClose { path, direction } => {
                for wire in net.wires_of(path).filter(|wire| wire.dial.is_none()) {
                    if direction.includes_to_initiator() {
                        wire.pipes.to_initiator().push_end(now, End::Fin);
                    }
                    if direction.includes_to_target() {
                        wire.pipes.to_target().push_end(now, End::Fin);
                    }
                }
            }
            Fault::Refuse { path, on } => net.routes[path].refusing = on,
            Fault::Hole { path, direction } => net.set_hole(now, path, direction, Hole::All),
            Fault::LargeHole {
                path,
                direction,
                larger_than,
            } => net.set_hole(now, path, direction, Hole::LargerThan(larger_than)),
            Fault::Carrier { path, lost } => self.set_carrier(path, lost),
            Fault::Late { path, by } => net.set_late(now, path, by),
            Fault::Heal { path, held } => net.mend(now, path, Duration::ZERO, held),
            Fault::Slow { path, by } => net.slow(now, path, by),
            Fault::Bandwidth {
                path,
                bytes_per_second,
            } => {
                net.limit(now, path, NonZeroU64::new(bytes_per_second));
            }
            Fault::Corrupt { path, one_in } => {
                net.corrupt(now, path, NonZeroU64::new(one_in));
            }
            Fault::Flap {
                path,
                down,
                up,
                times,
            } => self.flap(path, (down, up), times),
            _ => {}
        }
    }

    /// Both the network and the daemon's host know of it.
    fn set_carrier(&mut self, path: usize, lost: bool) {
        self.net.set_unplugged(self.now, path, lost);
        self.tell_uplink(path);
    }

    /// The daemon's host tells of the path's own end of the network.
    pub(super) fn tell_uplink(&mut self, path: usize) {
        let uplink = match self.net.routes[path].unplugged {
            true => Uplink::Down("its NIC has no carrier"),
            false => Uplink::Up,
        };
        for (id, _) in self.ids.iter().filter(|(_, known)| **known == path) {
            self.engine.on_uplink(self.now, *id, uplink);
        }
    }

    /// Plans what flapping consists of.
    fn flap(&mut self, path: usize, (down, up): (Duration, Duration), times: u32) {
        let Some(online) = self.online else { return };
        let began = self.now.saturating_duration_since(online);
        let end = End::Reset;
        for n in 0..times {
            let at = began + (down + up) * n;
            self.plan(at, Fault::Refuse { path, on: true });
            self.plan(at, Fault::Cut { path, end });
            self.plan(at + down, Fault::Refuse { path, on: false });
        }
    }

    /// Plans a fault while others happen; `at` counts as in [`Planned::at`].
    fn plan(&mut self, at: Duration, fault: Fault) {
        let faults = &mut self.knobs.faults;
        let later = faults.iter().skip(self.happened).position(|p| p.at > at);
        let index = later.map_or(faults.len(), |later| self.happened + later);
        faults.insert(index, Planned { at, fault });
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are no faults of the world"
    )]
    fn inflict_on_target(&mut self, fault: &Fault) {
        let now = self.now;
        match *fault {
            Fault::Freeze { path, on } => {
                self.troubled[path].frozen = on;
                self.set_portal(path);
            }
            Fault::Crash { .. } => self.crash(),
            Fault::Boot => self.net.away = false,
            Fault::Redirect {
                path,
                to,
                permanent,
            } => {
                self.troubled[path].redirect = to.map(|to| (setup::portal(to), permanent));
                self.set_portal(path);
            }
            _ => impose(&mut self.target, now, fault),
        }
        debug_assert!(self.now == now, "a fault takes no time");
    }

    /// What was in flight, and in the volatile cache, is lost; of the latter the disk may have written some.
    fn crash(&mut self) {
        let now = self.now;
        self.net.away = true;
        let crashes = self.crashed.len() as u64;
        let mut rng = self.rng.stream_indexed("crash", crashes);
        let share = rng.below(4);
        self.target.restart(now, |_| rng.below(4) < share);
        self.crashed.push(now);
        self.oracle.crashes();
        for wire in self.net.wires.values_mut() {
            if wire.connection.take().is_some() {
                wire.pipes.to_initiator().push_end(now, End::Reset);
            }
        }
    }

    fn inflict_on_unit(&mut self, fault: &Fault) {
        impose(&mut self.target, self.now, fault);
        if let Fault::Reserve { on, .. } = *fault {
            self.reserved.set(self.now, on);
        }
        if *fault == Fault::Preempted {
            self.reserved.set(self.now, true);
        }
    }

    /// The administrator asks.
    pub(super) fn ask_reservation(&mut self, ask: ReservationAsk) {
        self.asked += 1;
        self.engine.ask_reservation(self.now, self.asked, ask);
    }

    /// What he is told.
    pub(super) fn hear_of_reservations(&mut self) -> bool {
        let mut any = false;
        while let Some((_, answer)) = self.engine.poll_reservation() {
            any = true;
            self.note(|| match &answer {
                Ok(status) => format!("the administrator is told: {status:?}"),
                Err(why) => format!("the administrator is refused: {why}"),
            });
        }
        any
    }

    /// The initiator closes a connection.
    pub(super) fn hang_up(&mut self, link: LinkId) {
        if let Some(connection) = self.net.hang_up(self.now, link) {
            self.target.forsake(connection);
        }
    }

    /// The daemon's kernel closes its sockets. The next daemon knows that the last run did not end cleanly.
    fn kill(&mut self) {
        let links = self.net.wires.values().filter_map(|wire| wire.link);
        for link in links.collect::<Vec<_>>() {
            self.hang_up(link);
        }
        self.add_up();
        if let Some(unit) = self.engine.unit() {
            self.pin.remembered = Some((unit.identity.wwid(), unit.geometry));
        }
        if !self.crashed.is_empty() {
            self.oracle.server_dies();
        }
        let last = setup::LastRun {
            unclean: true,
            orphaned: self.leaves_orphans(),
            key: self.key,
        };
        let (configured, pin) = (&self.configured, self.pin.clone());
        self.engine = setup::engine(self.now, &self.knobs, configured, last, pin);
        let numbered = setup::numbered(&self.knobs, configured);
        self.ids = (0..).map(PathId).zip(numbered).collect();
        self.sessions.extend(configured.iter().copied());
        for path in 0..self.knobs.groups.len() {
            self.tell_uplink(path);
        }
        self.clients.iter_mut().for_each(Client::pause);
    }

    /// The portal behaves as the faults say.
    fn set_portal(&mut self, path: usize) {
        let behaviour = setup::portal_behaviour(&self.knobs, &self.troubled[path]);
        self.target.set_portal(path, behaviour);
    }

    /// Everything that was broken is mended.
    pub(super) fn mend(&mut self) {
        self.happened = self.knobs.faults.len();
        if self.knobs.allowed.unmended {
            return;
        }
        self.note(|| "everything is mended".to_owned());
        self.target.end_jams(self.now);
        self.net.away = false;
        self.mend_unit();
        for path in 0..self.knobs.groups.len() {
            let held = if self.rng.chance(1, 2) {
                Held::Release
            } else {
                Held::Drop
            };
            self.net.mend(self.now, path, Duration::ZERO, held);
            self.net.routes[path].refusing = false;
            self.net.set_late(self.now, path, Duration::ZERO);
            self.set_carrier(path, false);
            self.troubled[path] = Troubled::default();
            self.set_portal(path);
            self.target.close_window(path, false);
            let impostor = self.knobs.impostors.contains(&path);
            self.target
                .set_impostor(path, impostor.then_some(setup::IMPOSTOR));
            self.target.clear_trouble(path);
        }
    }

    fn mend_unit(&mut self) {
        let now = self.now;
        let Some(unit) = self.target.unit(0) else {
            return;
        };
        if self.reserved.holds() {
            unit.reserve_elsewhere(None);
            self.reserved.set(now, false);
        }
        for path in 0..self.knobs.groups.len() {
            let group = setup::access_group(path);
            let initial = self.knobs.asymmetry.at_the_end(path);
            if unit.access(group).is_some_and(|access| access != initial) {
                unit.set_access(group, initial);
            }
            unit.mend(setup::relative_port(path));
        }
    }
}
