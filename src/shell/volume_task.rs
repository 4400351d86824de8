//! One volume's data path: its clients' and its paths' sockets around its [`Engine`], in one task.
//!
//! A turn: wait until some socket, timer or message is ready, reading sockets straight into their
//! buffers; give the engine what came; write what it wants written. Waiting decides nothing, deciding
//! awaits nothing.

mod change;
mod handle;
mod network;
mod reservation;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use smallvec::SmallVec;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Sleep;

use crate::engine::{Action, ClientId, Engine, LinkId};
use crate::ids::PathId;
use crate::iscsi::session::config::Entropy;
use crate::limits;
use crate::nbd::{self};
use crate::out_queue::OutQueue;

use super::clock;
use super::dial::{self, DialError, Source};
use super::moderation::Moderation;
use super::nbd_listen::ReadyClient;
use super::room::Rooms;
use super::stream::Stream;

pub use change::Changed;
use change::Sources;
pub use handle::{Ask, Found, Inbox, Stopped, VolumeHandle, channel};
use network::Network;
use reservation::Askers;
pub use reservation::Told;
use stop::{StopPhase, Stopping};

/// Vectored writes to one socket in one turn, so that no client and no path starves another.
const WRITES_PER_TURN: usize = 4;

/// The next turn when nothing at all is due.
const IDLE_TURN: Duration = Duration::from_secs(3600);

#[derive(Debug)]
enum Connection {
    Dialing(AbortHandle),
    Open { stream: Stream, input: BytesMut },
}

#[derive(Debug)]
struct Client {
    stream: Stream,
    input: BytesMut,
    peer: String,
    /// The socket was read since the engine saw the input, or there may be room again.
    fresh: bool,
}

type Dialed = (LinkId, u64, Result<tokio::net::TcpStream, DialError>);

/// See the module's documentation.
pub struct VolumeTask {
    engine: Engine,
    sources: Sources,
    links: BTreeMap<LinkId, (u64, Connection)>,
    clients: BTreeMap<ClientId, Client>,
    rooms: Rooms,
    dials: JoinSet<Dialed>,
    next_dial: u64,
    asks: mpsc::Receiver<Ask>,
    online: watch::Sender<Option<Found>>,
    span: tracing::Span,
    timer: Pin<Box<Sleep>>,
    network: Network,
    askers: Askers,
    stopping: Option<Stopping>,
}

/// What a turn found ready.
#[derive(Default)]
struct Ready {
    links: SmallVec<[(LinkId, io::Result<usize>); 4]>,
    clients: SmallVec<[(ClientId, io::Result<usize>); 4]>,
    dialed: Vec<Dialed>,
    asks: Vec<Ask>,
    writable: bool,
    timer: bool,
    orphaned: bool,
}

impl Ready {
    fn is_empty(&self) -> bool {
        self.links.is_empty()
            && self.clients.is_empty()
            && self.dialed.is_empty()
            && self.asks.is_empty()
            && !self.writable
            && !self.timer
            && !self.orphaned
    }
}

impl VolumeTask {
    /// The task for `engine`, whose paths' connections leave from `sources`; to be made and run in the
    /// runtime that is to carry it. Its log lines stand in `span`.
    #[must_use]
    pub fn new(engine: Engine, sources: Vec<Source>, inbox: Inbox, span: tracing::Span) -> Self {
        let Inbox { asks, online } = inbox;
        Self {
            engine,
            sources: (0..).map(PathId).zip(sources).collect(),
            links: BTreeMap::new(),
            clients: BTreeMap::new(),
            rooms: Rooms::default(),
            dials: JoinSet::new(),
            next_dial: 0,
            asks,
            online,
            span,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            network: Network::default(),
            askers: Askers::default(),
            stopping: None,
        }
    }

    /// Runs until it was asked to stop, or every [`VolumeHandle`] is gone.
    pub async fn run(mut self) {
        let mut moderation = Moderation::new();
        loop {
            let ready = poll_fn(|context| self.poll_ready(context)).await;
            let _entered = self.span.clone().entered();
            let now = clock::now();
            let (orphaned, timer) = (ready.orphaned, ready.timer);
            self.apply(now, ready);
            self.engine.pump(now);
            self.settle(now);
            self.answer_askers();
            if self.advance_stop(now) || orphaned {
                return;
            }
            self.set_timer();
            if timer && self.engine.in_flight() == 0 {
                self.rooms.relax();
            }
            moderation.tell(self.engine.in_flight(), self.engine.usual_latency());
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Ready> {
        let mut ready = Ready::default();
        for (&id, (_, connection)) in &mut self.links {
            let Connection::Open { stream, input } = connection else {
                continue;
            };
            self.rooms.make(input);
            if let Poll::Ready(read) = stream.poll_read(context, input) {
                ready.links.push((id, read));
            }
            if !self.engine.link_outgoing(id).is_empty() {
                ready.writable |= stream.poll_write_ready(context).is_ready();
            }
        }
        for (&id, client) in &mut self.clients {
            if self.engine.client_wants_input(id) {
                self.rooms.make(&mut client.input);
                if let Poll::Ready(read) = client.stream.poll_read(context, &mut client.input) {
                    ready.clients.push((id, read));
                }
            }
            if self
                .engine
                .client_outgoing(id)
                .is_some_and(|queue| !queue.is_empty())
            {
                ready.writable |= client.stream.poll_write_ready(context).is_ready();
            }
        }
        while let Poll::Ready(Some(dialed)) = self.dials.poll_join_next(context) {
            ready.dialed.extend(dialed.ok());
        }
        while let Poll::Ready(ask) = self.asks.poll_recv(context) {
            match ask {
                Some(ask) => ready.asks.push(ask),
                None => {
                    ready.orphaned = true;
                    break;
                }
            }
        }
        ready.timer = self.timer.as_mut().poll(context).is_ready();
        if ready.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(ready)
        }
    }

    fn apply(&mut self, now: Instant, ready: Ready) {
        for ask in ready.asks {
            self.on_ask(now, ask);
        }
        for (link, dial, dialed) in ready.dialed {
            self.on_dialed(now, link, dial, dialed);
        }
        for (link, read) in ready.links {
            self.on_link_read(now, link, read);
        }
        for (client, read) in ready.clients {
            self.on_client_read(client, read);
        }
        if self
            .engine
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= now)
        {
            self.engine.handle_timeout(now);
        }
    }

    fn on_ask(&mut self, now: Instant, ask: Ask) {
        match ask {
            Ask::Attach(client) => self.on_attach(*client),
            Ask::Status(answer) => {
                // The asker may have gone; then nobody needs the answer.
                let _ = answer.send(self.engine.status(now));
            }
            Ask::Events(answer) => {
                // The same.
                let _ = answer.send(self.engine.events(now));
            }
            Ask::Failback(done) => {
                self.engine.fail_back(now);
                // The same.
                let _ = done.send(());
            }
            Ask::Reservation { ask, done } => self.on_reservation_ask(now, ask, done),
            Ask::Interfaces(interfaces) => self.on_interfaces(now, interfaces),
            Ask::Reconfigure {
                change,
                sources,
                done,
            } => self.on_reconfigure(now, *change, sources, done),
            Ask::Stop { limit, done } => {
                self.engine.begin_stop();
                let phase = StopPhase::Drain;
                self.stopping = Some(Stopping {
                    phase,
                    deadline: now + limit,
                    done,
                    drained: false,
                });
            }
        }
    }

    fn on_attach(&mut self, client: ReadyClient) {
        if self.clients.len() >= limits::NBD_CLIENTS_MAX || self.stopping.is_some() {
            let clients = self.clients.len();
            tracing::warn!(peer = client.peer, clients, "NBD client turned away");
            return;
        }
        let stream = match client.socket.watch() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(peer = client.peer, %error, "NBD client cannot be served");
                return;
            }
        };
        let connection = nbd::Connection::new(&client.export, client.structured_replies);
        let id = self.engine.attach(connection);
        tracing::info!(peer = client.peer, "NBD client attached");
        let fresh = !client.leftover.is_empty();
        let entry = Client {
            stream,
            input: client.leftover,
            peer: client.peer,
            fresh,
        };
        self.clients.insert(id, entry);
    }

    fn on_dialed(
        &mut self,
        now: Instant,
        link: LinkId,
        dial: u64,
        dialed: Result<tokio::net::TcpStream, DialError>,
    ) {
        let current = self
            .links
            .get(&link)
            .is_some_and(|(number, _)| *number == dial);
        match dialed {
            Ok(stream) if current => {
                let mut random = [0; 32];
                if let Err(error) = getrandom::fill(&mut random) {
                    self.links.remove(&link);
                    self.engine
                        .on_closed(now, link, &format!("no random bytes: {error}"));
                    return;
                }
                self.note_way(link, &stream);
                let open = Connection::Open {
                    stream: Stream::Tcp(stream),
                    input: BytesMut::new(),
                };
                self.links.insert(link, (dial, open));
                self.engine.on_connected(now, link, Entropy::new(random));
                self.judge_uplink(now, link.path);
            }
            Ok(stream) => dial::close_abortively(stream),
            Err(error) if current => {
                self.links.remove(&link);
                self.engine.on_closed(now, link, &error.to_string());
            }
            Err(_) => {}
        }
    }

    fn on_link_read(&mut self, now: Instant, link: LinkId, read: io::Result<usize>) {
        let why = match read {
            Ok(0) => "closed by the target".to_owned(),
            Ok(_) => {
                if let Some((_, Connection::Open { input, .. })) = self.links.get_mut(&link) {
                    self.engine.handle_link_bytes(now, link, input);
                }
                return;
            }
            Err(error) => error.to_string(),
        };
        self.links.remove(&link);
        self.engine.on_closed(now, link, &why);
    }

    fn on_client_read(&mut self, id: ClientId, read: io::Result<usize>) {
        let why = match read {
            Ok(0) => "closed by the client".to_owned(),
            Ok(_) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.fresh = true;
                }
                return;
            }
            Err(error) => error.to_string(),
        };
        self.drop_client(id, &why);
    }

    fn drop_client(&mut self, id: ClientId, why: &str) {
        self.engine.detach(id);
        if let Some(client) = self.clients.remove(&id) {
            tracing::info!(peer = client.peer, why, "NBD client gone");
        }
    }

    /// Feeds clients, carries news, acts and writes until nothing more is to be done without waiting.
    fn settle(&mut self, now: Instant) {
        loop {
            self.feed_clients();
            self.engine.pump(now);
            let acted = self.act(now);
            let (wrote, broke) = self.write(now);
            if acted || broke {
                self.engine.pump(now);
                continue;
            }
            // Room that a write made may let a client's waiting input pass.
            let waiting = self
                .clients
                .iter_mut()
                .any(|(_, client)| !client.input.is_empty() && client.fresh);
            if !(wrote && waiting) {
                break;
            }
        }
    }

    fn feed_clients(&mut self) {
        for (&id, client) in &mut self.clients {
            if std::mem::take(&mut client.fresh) {
                self.engine.handle_client_bytes(id, &mut client.input);
            }
        }
    }

    fn act(&mut self, now: Instant) -> bool {
        let mut acted = false;
        while let Some(action) = self.engine.poll_action() {
            acted = true;
            match action {
                Action::Dial { link, via, to } => {
                    self.next_dial += 1;
                    let (number, source) = (self.next_dial, self.source(via));
                    let abort = self
                        .dials
                        .spawn(async move { (link, number, dial::dial(&to, &source).await) });
                    self.replace_link(link, Some((number, Connection::Dialing(abort))));
                }
                Action::Hangup { link } => self.replace_link(link, None),
                Action::Observe { link } => self.observe(now, link),
                Action::CloseClient { client } => self.drop_client(client, "finished"),
                Action::Online | Action::PathsUsed | Action::Resized | Action::KeyChanged => {
                    self.publish();
                }
                Action::PathGone { path } => {
                    self.sources.remove(&path);
                    self.forget_way(path);
                    self.publish();
                }
            }
        }
        if acted {
            self.engine.pump(now);
        }
        acted
    }

    fn source(&self, path: PathId) -> Source {
        self.sources.get(&path).cloned().unwrap_or_default()
    }

    fn replace_link(&mut self, link: LinkId, new: Option<(u64, Connection)>) {
        let old = match new {
            Some(new) => self.links.insert(link, new),
            None => self.links.remove(&link),
        };
        match old {
            Some((_, Connection::Dialing(abort))) => abort.abort(),
            Some((
                _,
                Connection::Open {
                    stream: Stream::Tcp(stream),
                    ..
                },
            )) => {
                dial::close_abortively(stream);
            }
            Some((_, Connection::Open { .. })) | None => {}
        }
    }

    /// Writes what there is; whether anything was written, and whether a socket broke.
    fn write(&mut self, now: Instant) -> (bool, bool) {
        let mut wrote = false;
        let mut broken_links = Vec::new();
        for (&id, (_, connection)) in &mut self.links {
            let Connection::Open { stream, .. } = connection else {
                continue;
            };
            match write_some(stream, self.engine.link_outgoing(id)) {
                Ok(some) => wrote |= some,
                Err(error) => broken_links.push((id, error)),
            }
        }
        let mut broken_clients = Vec::new();
        for (&id, client) in &mut self.clients {
            let Some(queue) = self.engine.client_outgoing(id) else {
                continue;
            };
            match write_some(&client.stream, queue) {
                Ok(some) => {
                    wrote |= some;
                    client.fresh |= some && !client.input.is_empty();
                }
                Err(error) => broken_clients.push((id, error)),
            }
        }
        let broke = !broken_links.is_empty() || !broken_clients.is_empty();
        for (link, error) in broken_links {
            self.links.remove(&link);
            self.engine.on_closed(now, link, &error.to_string());
        }
        for (client, error) in broken_clients {
            self.drop_client(client, &error.to_string());
        }
        (wrote, broke)
    }

    /// The timer may fire early, which costs a turn, never late.
    fn set_timer(&mut self) {
        let stop = self.stopping.as_ref().map(|stopping| stopping.deadline);
        let due = self.engine.poll_timeout().map(|deadline| deadline.at);
        let due = due.into_iter().chain(stop).min();
        // A timer that has fired and is not set again would fire in every turn.
        let due = due.unwrap_or_else(|| clock::now() + IDLE_TURN);
        let due = tokio::time::Instant::from_std(due);
        if self.timer.is_elapsed() || due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
    }
}

/// Writes what the socket takes now, within the turn's share; whether it took anything.
fn write_some(stream: &Stream, queue: &mut OutQueue) -> io::Result<bool> {
    let mut wrote = false;
    for _ in 0..WRITES_PER_TURN {
        if queue.is_empty() {
            break;
        }
        match stream.try_write(queue) {
            Ok(_) => wrote = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(wrote)
}
