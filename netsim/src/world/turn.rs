//! One turn: everything that is due now happens, and what follows from it at the same instant.

use std::time::Instant;

use iiblockdaemon::engine::Action;
use iiblockdaemon::ids::PathId;
use iiblockdaemon::iscsi::name::PortalAddr;
use iiblockdaemon::iscsi::session::config::Entropy;

use super::judge::{Rule, Violation};
use super::net::{self, Dialed};
use super::{Detail, World, setup};
use crate::link::{Delivery, End};

/// More rounds in one instant, and somebody is running in circles.
const ROUNDS_MAX: u32 = 20_000;

impl World {
    /// Jumps to what is due next, at most to `limit`, and lets it happen.
    pub(super) fn step(&mut self, limit: Instant) -> Result<(), Violation> {
        let next = self.next_event().map_or(limit, |next| next.min(limit));
        self.now = self.now.max(next);
        self.turn()
    }

    fn next_event(&mut self) -> Option<Instant> {
        let engine = self.engine.poll_timeout().map(|deadline| deadline.at);
        let target = self.target.poll_timeout().map(|deadline| deadline.at);
        let fault = self.next_fault();
        let clients = self.clients.iter().filter(|_| self.asking);
        let client = clients.filter_map(|client| client.poll_timeout()).min();
        let net = self.net.poll_timeout();
        [engine, target, fault, client, net]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn next_fault(&self) -> Option<Instant> {
        let online = self.online?;
        let planned = self.knobs.faults.get(self.happened)?;
        Some(online + planned.at)
    }

    pub(super) fn turn(&mut self) -> Result<(), Violation> {
        let mut rounds = 0;
        loop {
            let mut news = self.break_things();
            news |= self.connect();
            news |= self.deliver();
            news |= self.timers();
            news |= self.clients_ask();
            self.engine.pump(self.now);
            news |= self.act();
            news |= self.write();
            self.net.sweep();
            if self.impostors {
                self.check_impostor();
            }
            self.drain_log();
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if !news {
                self.record();
                return Ok(());
            }
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return Err(self.broken(Rule::Spins, "it runs in circles".to_owned()));
            }
        }
    }

    pub(super) fn drain_log(&mut self) {
        for (level, line) in self.log.take() {
            let allowed = self.knobs.allowed.logged_errors;
            if level == tracing::Level::ERROR && !allowed && self.violation.is_none() {
                self.violation = Some(self.broken(Rule::ErrorLogged, line.clone()));
            }
            self.note(|| format!("{level:<5}{line}"));
        }
    }

    // ---- connections

    fn connect(&mut self) -> bool {
        let now = self.now;
        let due = |wire: &net::Wire| wire.dial.is_some_and(|dial| dial.due <= now);
        let wires = self.net.wires.iter().filter(|(_, wire)| due(wire));
        let ids: Vec<u64> = wires.map(|(id, _)| *id).collect();
        let mut any = false;
        for id in ids {
            let dialed = self.net.dialed(now, id);
            any |= dialed != Dialed::Waits;
            let Some(wire) = self.net.wires.get_mut(&id) else {
                continue;
            };
            let (path, portal, link) = (wire.route, wire.portal, wire.link);
            let Some(link) = link else { continue };
            match dialed {
                Dialed::Waits => {}
                Dialed::Refused => {
                    wire.link = None;
                    self.note(|| format!("{link} is refused at the portal of path {path}"));
                    self.engine.on_closed(now, link, "connection refused");
                }
                Dialed::Connected => {
                    let connection = self.target.connect(now, portal);
                    wire.connection = Some(connection);
                    self.note(|| format!("{link} is connected: connection {}", connection.0));
                    let mut random = [0; 32];
                    self.rng.fill(&mut random);
                    self.engine.on_connected(now, link, Entropy::new(random));
                }
            }
        }
        any
    }

    fn deliver(&mut self) -> bool {
        let ids: Vec<u64> = self.net.wires.keys().copied().collect();
        let mut any = false;
        for id in ids {
            any |= self.deliver_to_target(id);
            any |= self.deliver_to_initiator(id);
        }
        any
    }

    fn deliver_to_target(&mut self, id: u64) -> bool {
        let now = self.now;
        let Some(wire) = self.net.wires.get_mut(&id) else {
            return false;
        };
        let mut any = false;
        while wire.target_has_room() {
            let Some(delivery) = wire.pipes.to_target().poll_deliver(now) else {
                break;
            };
            any = true;
            match delivery {
                Delivery::Data(data) if wire.connection.is_some() => {
                    wire.at_target.extend_from_slice(&data);
                    wire.acknowledge(now);
                }
                // Nobody is there: the kernel answers with a reset.
                Delivery::Data(_) => wire.pipes.to_initiator().push_end(now, End::Reset),
                Delivery::End(_) => wire.ended_at_target = true,
            }
        }
        let Some(connection) = wire.connection else {
            return any;
        };
        if self.target.is_logged_in(connection) && !wire.logged_in {
            self.net.logged_in(now, id);
        }
        let Some(wire) = self.net.wires.get_mut(&id) else {
            return any;
        };
        let reads = self.target.wants_input(connection);
        if reads && wire.is_unlooked_at() {
            any = true;
            self.target
                .handle_bytes(now, connection, &mut wire.at_target);
            wire.looked_at = wire.at_target.len();
        }
        if wire.ended_at_target && (reads || self.target.is_over(connection).is_some()) {
            wire.connection = None;
            self.target.disconnect(now, connection);
            // Its kernel says so, if there is anyone to be told.
            wire.pipes.to_initiator().push_end(now, End::Fin);
            self.note(|| {
                format!(
                    "connection {} has ended, says the network to the target",
                    connection.0
                )
            });
        }
        any
    }

    fn deliver_to_initiator(&mut self, id: u64) -> bool {
        let now = self.now;
        let Some(wire) = self.net.wires.get_mut(&id) else {
            return false;
        };
        let (mut any, mut over) = (false, None);
        while let Some(delivery) = wire.pipes.to_initiator().poll_deliver(now) {
            any = true;
            match delivery {
                Delivery::Data(data) if wire.link.is_some() => {
                    wire.at_initiator.extend_from_slice(&data);
                }
                Delivery::Data(_) if wire.half_open => {}
                Delivery::Data(_) => wire.pipes.to_target().push_end(now, End::Reset),
                Delivery::End(end) => over = Some(end),
            }
        }
        let Some(link) = wire.link.filter(|_| any) else {
            return any;
        };
        if !wire.at_initiator.is_empty() {
            self.engine
                .handle_link_bytes(now, link, &mut wire.at_initiator);
        }
        if let Some(end) = over {
            wire.link = None;
            self.note(|| format!("{link} has ended ({end:?}), says the network to the daemon"));
            let why = match end {
                End::Fin => "closed by the target",
                End::Reset => "connection reset",
            };
            self.engine.on_closed(now, link, why);
        }
        any
    }

    fn timers(&mut self) -> bool {
        let now = self.now;
        let due = |at: Option<iiblockdaemon::deadline::Deadline>| at.is_some_and(|at| at.at <= now);
        let mut any = false;
        if due(self.target.poll_timeout()) {
            any = true;
            self.target.handle_timeout(now);
        }
        if due(self.engine.poll_timeout()) {
            any = true;
            self.engine.handle_timeout(now);
        }
        any
    }

    /// Which path of the world it is.
    pub(super) fn route(&self, path: PathId) -> usize {
        let known = self.ids.get(&path).copied();
        known.expect("the daemon uses the numbers of its paths")
    }

    /// Which portal is meant: that of `via`, or where a redirect points.
    fn portal_of(&self, via: PathId, to: &PortalAddr) -> usize {
        let (mut portals, to) = (0..self.knobs.groups.len(), to.to_string());
        let named = portals.find(|path| setup::portal(*path) == to);
        named.unwrap_or_else(|| self.route(via))
    }

    fn act(&mut self) -> bool {
        let mut any = false;
        while let Some(action) = self.engine.poll_action() {
            any = true;
            let looks = matches!(action, Action::Observe { .. });
            if self.detail == Detail::Everything || self.detail != Detail::Nothing && !looks {
                self.note(|| action.to_string());
            }
            match action {
                Action::Dial { link, via, to } => {
                    self.hang_up(link);
                    let portal = self.portal_of(via, &to);
                    self.net.dial(self.now, link, self.route(via), portal);
                }
                Action::Hangup { link } => self.hang_up(link),
                Action::Observe { link } => {
                    if let Some(view) = self.net.view(self.now, link) {
                        self.engine.on_network(self.now, link, view);
                    }
                }
                Action::CloseClient { client } => {
                    let what = format!("the daemon closes {client:?}");
                    self.violation = Some(self.broken(Rule::Protocol, what));
                }
                Action::Online => self.go_online(),
                Action::PathsUsed | Action::Resized => {}
                Action::KeyChanged => self.key = self.engine.remembered_key(),
                Action::PathGone { path } => self.path_gone(path),
            }
        }
        any | self.hear_of_reservations()
    }

    fn write(&mut self) -> bool {
        let now = self.now;
        let mut any = false;
        while self.target.poll_woken().is_some() {}
        for wire in self.net.wires.values_mut() {
            if let Some(link) = wire.link.filter(|_| wire.dial.is_none()) {
                any |= net::write(now, self.engine.link_outgoing(link), wire.pipes.to_target());
            }
            let Some(connection) = wire.connection else {
                continue;
            };
            let mut written = true;
            if let Some(queue) = self.target.outgoing(connection) {
                any |= net::write(now, queue, wire.pipes.to_initiator());
                written = queue.is_empty();
            }
            let end = match self.target.is_over(connection) {
                Some(true) => End::Reset,
                Some(false) if written => End::Fin,
                _ => continue,
            };
            any = true;
            wire.connection = None;
            wire.pipes.to_initiator().push_end(now, end);
            self.target.disconnect(now, connection);
        }
        any |= self.write_to_clients();
        any
    }

    // ---- clients

    fn clients_ask(&mut self) -> bool {
        let mut any = false;
        let mut lines = Vec::new();
        for client in &mut self.clients {
            if self.asking {
                any |= client.ask(self.now, &mut self.oracle, |line| lines.push(line));
            }
            if self.engine.client_wants_input(client.id) {
                any |= client.hand_over();
            }
            if std::mem::take(&mut client.fresh) {
                self.engine
                    .handle_client_bytes(client.id, &mut client.unread);
            }
        }
        lines.into_iter().for_each(|line| self.note(|| line));
        any
    }

    fn write_to_clients(&mut self) -> bool {
        let now = self.now;
        let mut any = false;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let Some(queue) = self.engine.client_outgoing(client.id) else {
                continue;
            };
            if queue.is_empty() {
                continue;
            }
            any = true;
            client.input.extend_from_slice(&queue.take_all());
            client.fresh |= !client.unread.is_empty();
            let mut ended = Vec::new();
            let taken = client.take_replies(now, &mut self.oracle, |end| ended.push(end));
            for end in ended {
                self.on_ended(index, end);
            }
            if let Err(error) = taken {
                self.violation = Some(self.broken(Rule::Protocol, error.to_string()));
            }
        }
        any
    }
}
