//! The assembly of one volume: NBD clients, the volume and its paths as one sans-IO machine.
//!
//! The shell and the simulator drive the same [`Engine`]: bytes, connections and time come in; bytes to
//! write, connections to make and connections to drop come out. Between an NBD request and its iSCSI
//! command there are only function calls.
//!
//! **Driver contract.** After any `on_*`, `handle_*`, `attach` or `detach`, call [`Engine::pump`]; then drain
//! [`Engine::poll_action`], write what every [`Engine::link_outgoing`] and [`Engine::client_outgoing`]
//! holds, and wait for input or [`Engine::poll_timeout`]. A client is read only while
//! [`Engine::client_wants_input`]. Time never goes backwards.

mod action;
mod groups;
mod network;
mod reload;
mod reservation;
mod sameness;
mod status;
mod stop;
mod surroundings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustc_hash::FxHashMap;

use crate::deadline::Deadline;
use crate::ids::{IoId, PathId, PathNames};
use crate::iscsi::session::config::Entropy;
use crate::nbd::{
    self, BlockSizes, Command, ExportFlags, ExportInfo, RequestFailure, RequestToken,
};
use crate::out_queue::OutQueue;
use crate::path::message::{Message, Order, TrimMethod, Unit};
use crate::path::{self, Link, Path, PathConfig};
use crate::units::Geometry;
use crate::volume::{Request, Volume, VolumeConfig};

pub use action::{Action, LinkId};
use groups::SessionGroups;
pub use reload::{Change, TooManyPaths};
pub use status::{EngineEvents, EngineStatus};
use stop::LastFlush;

/// One NBD client; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// How a volume is exported.
#[derive(Clone, Debug)]
pub struct ExportConfig {
    /// Export name.
    pub name: String,
    /// Writes are refused.
    pub read_only: bool,
}

struct Client {
    connection: nbd::Connection,
    closing: bool,
}

/// See the module's documentation.
pub struct Engine {
    export: ExportConfig,
    volume: Volume,
    paths: Vec<Path>,
    /// The configured paths, in their order.
    order: Vec<PathId>,
    /// Removed paths of which nothing is left; their numbers may be given away.
    gone: BTreeSet<PathId>,
    /// Those of them that the driver is still to be told of.
    farewells: Vec<PathId>,
    groups: SessionGroups,
    clients: BTreeMap<ClientId, Client>,
    /// Requests in the volume, with whom to answer.
    owners: FxHashMap<IoId, (ClientId, RequestToken)>,
    next_io: u64,
    next_client: u64,
    online: bool,
    /// No path carries anything.
    starved: bool,
    /// How many paths were used in this run.
    used: usize,
    /// How many led to another unit when they were last compared.
    distrusted: usize,
    /// What is served.
    size: Option<Geometry>,
    stopping: bool,
    last_flush: LastFlush,
    /// What requests took of late.
    usual: Duration,
    /// When the unit was reset last to free a fence.
    freed_at: Option<Instant>,
    actions: VecDeque<Action>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("export", &self.export)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A volume whose paths connect at once.
    #[must_use]
    pub fn new(
        now: Instant,
        export: ExportConfig,
        volume: VolumeConfig,
        paths: Vec<PathConfig>,
    ) -> Self {
        let mut groups = SessionGroups::new(paths.len());
        for (index, path) in paths.iter().enumerate() {
            let same = |other: &PathConfig| same_way(other, path);
            if let Some(first) = paths.iter().position(same) {
                groups.unite(path_id(first), path_id(index));
            }
        }
        let names = PathNames::new(paths.iter().map(|path| path.name.clone()));
        let paths = (0u16..).zip(paths).map(|(id, config)| {
            let mut path = Path::new(now, PathId(id), config);
            path.set_names(names.clone());
            path
        });
        let mut paths: Vec<Path> = paths.collect();
        let (unclean, distrusted) = (volume.unclean, volume.pin.distrusted.clone());
        if unclean {
            paths.iter_mut().for_each(Path::sweep_keys);
        }
        let mut volume = Volume::new(now, volume);
        volume.set_names(names);
        let mut engine = Self {
            export,
            volume,
            order: (0..paths.len()).map(path_id).collect(),
            gone: BTreeSet::new(),
            farewells: Vec::new(),
            paths,
            groups,
            clients: BTreeMap::new(),
            owners: FxHashMap::default(),
            next_io: 0,
            next_client: 0,
            online: false,
            starved: true,
            used: 0,
            distrusted: 0,
            size: None,
            stopping: false,
            last_flush: LastFlush::default(),
            usual: Duration::ZERO,
            freed_at: None,
            actions: VecDeque::new(),
        };
        engine.distrust(&distrusted);
        engine
    }

    /// Paths that the unit was used through in this run.
    #[must_use]
    pub fn used_paths(&self) -> Vec<PathId> {
        self.volume.used_paths()
    }

    /// The logical unit, once a path was admitted.
    #[must_use]
    pub fn unit(&self) -> Option<&Unit> {
        self.volume.unit().map(AsRef::as_ref)
    }

    /// What NBD clients are told, once the unit is known.
    #[must_use]
    pub fn export_info(&self) -> Option<ExportInfo> {
        let unit = self.unit()?;
        let features = &unit.features;
        let block_size = unit.geometry.block_size();
        let preferred = features.preferred_bytes.max(block_size);
        let block_sizes = BlockSizes::new(block_size, preferred)
            .or_else(|| BlockSizes::new(block_size, block_size.max(4096)))?;
        Some(ExportInfo {
            name: self.export.name.clone(),
            description: unit.identity.to_string(),
            size: unit.geometry.bytes(),
            block_sizes,
            flags: ExportFlags {
                read_only: self.export.read_only || features.write_protected,
                rotational: features.rotational,
                can_multi_conn: true,
                fua: true,
                flush: true,
                trim: features.trim != TrimMethod::None,
                write_zeroes: true,
                fast_zero: false,
            },
        })
    }

    /// A client that finished its handshake.
    pub fn attach(&mut self, connection: nbd::Connection) -> ClientId {
        let id = ClientId(self.next_client);
        self.next_client += 1;
        self.clients.insert(
            id,
            Client {
                connection,
                closing: false,
            },
        );
        id
    }

    /// The client's connection is gone. Its requests run to their end; their answers are dropped.
    pub fn detach(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// Bytes of a client arrived, or there is room again for what was left of them.
    pub fn handle_client_bytes(&mut self, client: ClientId, input: &mut BytesMut) {
        let Some(entry) = self.clients.get_mut(&client) else {
            return;
        };
        if let Err(error) = entry.connection.handle_bytes(input) {
            tracing::warn!(?client, %error, "NBD client broke the protocol");
            self.clients.remove(&client);
            self.actions.push_back(Action::CloseClient { client });
        }
    }

    /// Whether the client is to be read.
    #[must_use]
    pub fn client_wants_input(&self, client: ClientId) -> bool {
        !self.stopping
            && self.volume.accepts()
            && self
                .clients
                .get(&client)
                .is_some_and(|entry| entry.connection.wants_input())
    }

    /// Bytes of payload that the client is sure to send next.
    #[must_use]
    pub fn client_expected_input(&self, client: ClientId) -> usize {
        self.clients
            .get(&client)
            .map_or(0, |entry| entry.connection.expected_input())
    }

    /// What is to be written to a client.
    pub fn client_outgoing(&mut self, client: ClientId) -> Option<&mut OutQueue> {
        self.clients
            .get_mut(&client)
            .map(|entry| entry.connection.outgoing())
    }

    /// The connection that was asked for is there.
    pub fn on_connected(&mut self, now: Instant, link: LinkId, entropy: Entropy) {
        self.path_mut(link.path)
            .on_connected(now, link.link, entropy);
    }

    /// The link's connection is gone, or could not be made.
    pub fn on_closed(&mut self, now: Instant, link: LinkId, why: &str) {
        self.path_mut(link.path).on_closed(now, link.link, why);
    }

    /// Bytes arrived on a link.
    pub fn handle_link_bytes(&mut self, now: Instant, link: LinkId, input: &mut BytesMut) {
        self.path_mut(link.path).handle_bytes(now, link.link, input);
    }

    /// What is to be written on a link.
    pub fn link_outgoing(&mut self, link: LinkId) -> &mut OutQueue {
        self.path_mut(link.path).outgoing(link.link)
    }

    /// What a request took of late, a mean that forgets.
    #[must_use]
    pub fn usual_latency(&self) -> Duration {
        self.usual
    }

    /// Requests of clients that are not answered yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.owners.len()
    }

    /// Acts on what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        // What the paths decide depends on what was lost: news come first.
        self.pump(now);
        for index in 0..self.paths.len() {
            let surroundings = self.surroundings(index);
            self.paths[index].set_surroundings(surroundings);
            self.paths[index].handle_timeout(now);
        }
        if self.paths.iter().any(|path| path.wants_witness(now)) {
            for path in self.paths.iter_mut().filter(|path| path.is_ready()) {
                path.ping_if_quiet(now);
            }
        }
        if self.paths.iter().any(|path| path.has_pinged(now)) {
            for path in &mut self.paths {
                path.ping_in_company(now);
            }
        }
        self.free_fences(now);
        self.volume.handle_timeout(now);
    }

    /// The preferred paths are used again, whatever the failback rule says.
    pub fn fail_back(&mut self, now: Instant) {
        self.volume.fail_back(now);
    }

    /// When [`Engine::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&mut self) -> Option<Deadline> {
        self.paths
            .iter_mut()
            .map(Path::poll_timeout)
            .fold(self.volume.poll_timeout(), Deadline::earlier)
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Numbers of all places, those that are free too.
    fn ids(&self) -> impl Iterator<Item = PathId> + use<> {
        (0..self.paths.len()).map(path_id)
    }

    fn path(&self, path: PathId) -> &Path {
        &self.paths[usize::from(path.0)]
    }

    fn path_mut(&mut self, path: PathId) -> &mut Path {
        &mut self.paths[usize::from(path.0)]
    }

    /// Carries news between clients, volume and paths until there are none.
    pub fn pump(&mut self, now: Instant) {
        loop {
            let mut news = self.carry_messages(now);
            news |= self.carry_testimony(now);
            news |= self.carry_requests(now);
            news |= self.dispatch(now);
            news |= self.carry_replies();
            news |= self.let_go(now);
            news |= self.preempt_lost(now);
            if !news {
                break;
            }
        }
        for index in 0..self.paths.len() {
            if self.volume.wants_fence(path_id(index)) {
                let surroundings = self.surroundings(index);
                self.paths[index].fence_early(now, surroundings);
            }
        }
        self.heed_starvation(now);
        self.carry_actions();
        self.tell_of_key();
        self.say_farewell();
        self.close_finished();
        if self.volume.unit().is_some() {
            if !std::mem::replace(&mut self.online, true) {
                self.actions.push_back(Action::Online);
            }
            let size = self.volume.unit().map(|unit| unit.geometry);
            let before = std::mem::replace(&mut self.size, size);
            if before.is_some() && before != size {
                self.actions.push_back(Action::Resized);
            }
            let used = self.volume.used_paths().len();
            if used > std::mem::replace(&mut self.used, used) {
                self.actions.push_back(Action::PathsUsed);
            }
        }
    }

    fn carry_messages(&mut self, now: Instant) -> bool {
        let mut news = false;
        for index in 0..self.paths.len() {
            while let Some(message) = self.paths[index].poll_message() {
                news = true;
                let identified = matches!(message, Message::Identified { .. });
                let reset = matches!(message, Message::UnitReset { .. });
                self.volume.handle_message(now, path_id(index), message);
                if identified {
                    let surroundings = self.surroundings(index);
                    self.paths[index].set_surroundings(surroundings);
                }
                if reset {
                    self.paths
                        .iter_mut()
                        .for_each(|path| path.on_unit_was_reset(now));
                }
            }
            if let Some((sibling, shared)) = self.paths[index].take_proven() {
                self.groups.learn(path_id(index), sibling, shared);
                let surroundings = self.surroundings(index);
                self.paths[index].on_proof_known(now, surroundings);
            }
        }
        while let Some((path, order)) = self.volume.poll_order() {
            news = true;
            // Another path may have gone into use since this one was identified: it can serve for the proof.
            let surroundings = self.surroundings(usize::from(path.0));
            self.path_mut(path).set_surroundings(surroundings);
            if matches!(order, Order::Admit | Order::AdmitIfProven) {
                let written = self.volume.last_written();
                self.path_mut(path).tell_written(written);
            }
            self.path_mut(path).order(now, order);
        }
        news
    }

    fn carry_requests(&mut self, now: Instant) -> bool {
        let Some(geometry) = self.volume.unit().map(|unit| unit.geometry) else {
            return false;
        };
        let mut news = false;
        for (&client, entry) in &mut self.clients {
            while self.volume.accepts() {
                let Some(request) = entry.connection.poll_request() else {
                    break;
                };
                news = true;
                match convert(request.command, geometry) {
                    Ok(asked) => {
                        let io = next_id(&mut self.next_io);
                        self.owners.insert(io, (client, request.token));
                        self.volume.request(now, io, asked);
                    }
                    Err(failure) => entry.connection.reply(request.token, Err(failure)),
                }
            }
        }
        news
    }

    fn dispatch(&mut self, now: Instant) -> bool {
        for (index, path) in self.paths.iter_mut().enumerate() {
            self.volume.set_slots(path_id(index), path.free_slots());
        }
        self.volume.dispatch(now);
        let mut news = false;
        while let Some(submission) = self.volume.poll_submission() {
            news = true;
            let path = self.path_mut(submission.path);
            assert_eq!(
                path.incarnation(),
                submission.incarnation,
                "volume and path agree on the session"
            );
            path.submit(now, submission.task);
        }
        news | self.volume.has_orders()
    }

    fn carry_replies(&mut self) -> bool {
        let mut news = false;
        while let Some(reply) = self.volume.poll_reply() {
            news = true;
            self.usual = self.usual * 15 / 16 + reply.latency / 16;
            let Some((client, token)) = self.owners.remove(&reply.io) else {
                self.last_flush.on_reply(&reply);
                continue;
            };
            let Some(entry) = self.clients.get_mut(&client) else {
                if reply.tells_of_loss {
                    self.volume.loss_was_not_heard();
                }
                continue;
            };
            let block_size = self
                .volume
                .unit()
                .map_or(1, |unit| unit.geometry.block_size());
            let result = reply.result.map_err(|error| {
                let failure = RequestFailure::new(
                    error.errno,
                    "the logical unit refused the request, or no path was left in time",
                );
                match error.lba {
                    Some(lba) => failure.at(lba * u64::from(block_size)),
                    None => failure,
                }
            });
            entry.connection.reply(token, result);
        }
        news
    }

    fn carry_actions(&mut self) {
        for index in 0..self.paths.len() {
            let own = path_id(index);
            while let Some(action) = self.paths[index].poll_action() {
                self.actions.push_back(match action {
                    path::Action::Dial { link, via, to } => {
                        let portal = &self.paths[usize::from(via.0)].config().portal;
                        let to = to.unwrap_or_else(|| portal.clone());
                        Action::Dial {
                            link: LinkId { path: own, link },
                            via,
                            to,
                        }
                    }
                    path::Action::Hangup { link } => Action::Hangup {
                        link: LinkId { path: own, link },
                    },
                    path::Action::Observe => Action::Observe {
                        link: LinkId {
                            path: own,
                            link: Link::Main,
                        },
                    },
                });
            }
        }
    }

    /// Tells of the paths that are gone, after all that they still wanted.
    fn say_farewell(&mut self) {
        let gone = self.farewells.drain(..);
        self.actions
            .extend(gone.map(|path| Action::PathGone { path }));
    }

    /// Closes clients that said goodbye and have their answers.
    fn close_finished(&mut self) {
        for (&client, entry) in &mut self.clients {
            if !entry.closing && entry.connection.is_finished() {
                entry.closing = true;
                self.actions.push_back(Action::CloseClient { client });
            }
        }
    }
}

/// Whether both reach the same portal of the same target in the same way.
fn same_way(one: &PathConfig, other: &PathConfig) -> bool {
    one.route == other.route && one.session.kind == other.session.kind
}

fn path_id(index: usize) -> PathId {
    PathId(u16::try_from(index).expect("paths are bounded by PATHS_MAX"))
}

fn next_id(last: &mut u64) -> IoId {
    *last += 1;
    IoId(*last)
}

/// A request in blocks. The NBD side checked alignment and end already.
fn convert(command: Command, geometry: Geometry) -> Result<Request, RequestFailure> {
    let range = |offset, length: u64| {
        geometry
            .range(offset, length)
            .map_err(|error| RequestFailure::new(crate::errno::IoErrno::Inval, error.to_string()))
    };
    Ok(match command {
        Command::Read { offset, length } => Request::Read {
            range: range(offset, u64::from(length))?,
        },
        Command::Write { offset, data, fua } => Request::Write {
            range: range(offset, data.len() as u64)?,
            data,
            fua,
        },
        Command::Flush => Request::Flush,
        Command::Trim {
            offset,
            length,
            fua,
        } => Request::Trim {
            range: range(offset, u64::from(length))?,
            fua,
        },
        Command::WriteZeroes {
            offset,
            length,
            fua,
            may_unmap,
            fast: _,
        } => Request::WriteZeroes {
            range: range(offset, u64::from(length))?,
            may_unmap,
            fua,
        },
    })
}
