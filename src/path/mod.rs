//! One route to the LUN: its session, probing, health and reconnects.
//!
//! A path connects, logs in, probes what is there, has the volume judge that, and then carries commands
//! until its session is lost; then it connects again, for ever. It has two links: the *main* one carries
//! its session; the
//! *fencer* (`fencer.rs`) is a short-lived session of the same initiator port through a sibling path's
//! portal, which makes the target end the main session's tasks while this path's own portal is out of
//! reach.
//!
//! | state | new commands | leaves when |
//! | --- | --- | --- |
//! | `Down` | no | timer → `Connecting` |
//! | `Connecting` | no | TCP up → `LoggingIn`; fail → `Down` |
//! | `LoggingIn` | no | full feature → `Probing`; fail → `Down`; incompatible or refused for good → `Disabled` |
//! | `Probing` | no | the volume admits the unit → `Probation` or `Ready`; refuses it → `Disabled`; fail → `Down` |
//! | `Probation` | only if no path is `Ready` | probes good → `Ready`; any failure → `Down` |
//! | `Ready` | yes | silent → `Suspect`; unit may have changed → `Probing`; session gone → `Down` |
//! | `Suspect` | no | answer → `Ready`; lost → `Down` |
//! | `Disabled` | no | a slow timer → `Connecting`, in case that the reason was mended at the target |
//!
//! **Driver contract.** After any call that takes `now`, drain [`Path::poll_action`] and
//! [`Path::poll_message`], write what
//! [`Path::outgoing`] holds, and read [`Path::poll_timeout`]. Time never goes backwards.

mod access;
mod admission;
mod advice;
mod backoff;
mod courier;
mod escalation;
mod fencer;
mod fencing;
mod health;
mod journal;
mod lifecycle;
pub mod message;
mod network;
mod orders;
mod patience;
mod probe;
mod proof;
mod retire;
mod sameness;
mod status;
mod tasks;
#[cfg(test)]
mod tests;
mod timer;
mod transition;
mod uplink;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::ids::{Incarnation, Lun, PathId, PathNames, TaskId};
use crate::iscsi::name::PortalAddr;
use crate::iscsi::session::Session;
use crate::iscsi::session::config::{Entropy, SessionConfig, SessionKind};
use crate::out_queue::OutQueue;
use crate::task::Task;
use crate::units::Geometry;

use access::Access;
use backoff::Backoff;
use courier::Courier;
use escalation::Escalation;
pub(crate) use escalation::RESET_PAUSE;
use fencer::Fencer;
use fencing::{Drain, Place, Power};
use health::Silence;
pub use health::{Detect, Peers, Witness};
use journal::Journal;
pub use journal::PathEvent;
use message::Message;
use network::NetClock;
pub use network::NetworkView;
use patience::Patience;
use probe::{LargePings, Probe};
use proof::Proof;
use sameness::Sameness;
pub use sameness::{Basis, Matter, Question, SameBy, Testimony};
pub use status::{PathState, PathStatus};
use transition::Trouble;
pub use uplink::Uplink;
use uplink::UplinkClock;

/// A TCP connection is given up after so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A disabled path tries again after so long, doubling, in case that its reason was mended at the target.
const DISABLED_RETRY: Duration = Duration::from_secs(2);

/// A disabled path waits no longer than this.
const DISABLED_RETRY_MAX: Duration = Duration::from_secs(60);

/// Losses within so long of each other make a path's probation longer.
const FLAP_WINDOW: Duration = Duration::from_secs(60);

/// A path's settings.
#[derive(Clone, Debug)]
pub struct PathConfig {
    /// How it is called in logs and status: portal and NIC.
    pub name: String,
    /// Portal and NIC: sessions that have these in common reach the same portal in the same way.
    pub route: String,
    /// Where it leads.
    pub portal: PortalAddr,
    /// Its sessions.
    pub session: Arc<SessionConfig>,
    /// The logical unit behind the portal.
    pub lun: Lun,
    /// The target is asked for its ports' access states (ALUA).
    pub alua: bool,
    /// Most commands in flight, whatever the target's window.
    pub queue_depth: u32,
    /// Detection times.
    pub detect: Detect,
    /// How its unit is compared with that of the other paths.
    pub same_by: SameBy,
    /// Where nothing else helps, the logical unit may be reset.
    pub lun_reset: bool,
    /// Of its jitter.
    pub seed: u64,
}

/// One of a path's two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Carries the path's session.
    Main,
    /// Carries a fencing login through a sibling's portal.
    Fencer,
}

/// What a path wants done with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to `to` the way path `via` does, and answer with [`Path::on_connected`] or
    /// [`Path::on_closed`].
    Dial {
        /// Which connection.
        link: Link,
        /// The path whose NIC and source address are used.
        via: PathId,
        /// Where to; `None` is the configured portal of `via`.
        to: Option<PortalAddr>,
    },
    /// Drop the connection, or the attempt to make it, abortively.
    Hangup {
        /// Which connection.
        link: Link,
    },
    /// Tell what the kernel knows of the main connection, with [`Path::on_network`].
    Observe,
}

/// What the engine knows of the volume's other paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The control group of health judgements.
    pub peers: Peers,
    /// Writes of this path's lost sessions may still execute.
    pub wants_fence: bool,
    /// And others wait for that to end.
    pub holds_writes: bool,
    /// A usable path of the same session group, through which this path can be fenced.
    pub fence_route: Option<PathId>,
    /// It is proven that this path's portal shares its sessions with that of the path which found the
    /// unit first.
    pub kin: bool,
    /// The path through which this one's fencer works is lost.
    pub fencer_stranded: bool,
    /// A usable path of the same target and portal group, of which it is not known yet whether it is one.
    pub proof_route: Option<PathId>,
    /// No path of the volume carries anything.
    pub starved: bool,
    /// The best path to compare the unit with, and the next best.
    pub references: [Option<PathId>; 2],
    /// More than identifiers speaks for the first of them, or it was there first.
    pub reference_is_sure: bool,
    /// Some other path has been in use in its present session, or is about to be.
    pub others: bool,
}

#[derive(Debug)]
enum State {
    Down {
        retry_at: Instant,
    },
    Connecting {
        deadline: Instant,
    },
    LoggingIn,
    Probing,
    Probation {
        left: u32,
        next: Instant,
        asked: Option<Instant>,
    },
    Ready,
    Suspect,
    Disabled {
        retry_at: Instant,
    },
    Stopped,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Path {
    id: PathId,
    /// For the log.
    names: PathNames,
    config: PathConfig,
    /// The sessions' settings as they were given; those in use may offer less.
    given: Arc<SessionConfig>,
    /// It is removed as soon as it is not needed any more.
    retiring: bool,
    state: State,
    since: Instant,
    why: String,
    trouble: Option<Trouble>,
    journal: Journal,
    /// What happens now is no trouble.
    quiet: bool,
    incarnation: Incarnation,
    session: Option<Session>,
    probe: Option<Probe>,
    /// Nothing of earlier sessions is executing, if this is the machine that they were with.
    passed_barrier: bool,
    /// The login of this session was not reported as a fence yet.
    fence_owed: bool,
    /// When its barrier was tried last by a path in use.
    barrier_tried: Instant,
    /// When the target was last heard in an earlier session.
    heard_before: Option<Instant>,
    /// The unit was presented to the volume in this incarnation and admitted.
    admitted: bool,
    power: Power,
    surroundings: Surroundings,
    fencer: Option<Fencer>,
    /// The last attempt after a loss was a fencing one: the next is a main one.
    fenced_last: bool,
    proof: Option<Proof>,
    /// The volume admitted this session's unit, and the proof is all that is waited for.
    held_up: bool,
    /// Without a proof the path must not be used.
    proof_needed: bool,
    access: Access,
    courier: Courier,
    sameness: Sameness,
    /// A result of a proof for the engine: the sibling, and whether both are of one session group.
    proven: Option<(PathId, bool)>,
    redirect: Option<PortalAddr>,
    redirects: u32,
    /// The target wants a pause before the next login (Time2Wait).
    not_before: Option<Instant>,
    backoff: Backoff,
    patience: Patience,
    /// Times in a row that the path was disabled.
    disabled: u32,
    /// When the last attempt to connect began.
    attempted: Instant,
    last_loss: Option<Instant>,
    flaps: u32,
    /// What was left of a probation that a look at the unit interrupted.
    probation_left: Option<u32>,
    /// Commands that are aborted, and what follows if that does not help.
    escalation: Escalation,
    /// A barrier after aborts of writes.
    drain: Drain,
    /// What the engine did about a fence that was held up, last.
    freed_at: Option<Instant>,
    next_probe_task: u64,
    /// The path's own command whose answer is due; there is one at a time.
    own: Option<TaskId>,
    /// The same, while the target's command window has no place for it.
    unsent: Option<Task>,
    stopping: Option<Instant>,
    /// The target asked for a logout: no new commands, and when at the latest.
    draining: Option<Instant>,
    /// A logout was sent.
    logging_out: bool,
    messages: VecDeque<Message>,
    actions: VecDeque<Action>,
    /// Pings of full size.
    large_pings: LargePings,
    /// When the newest ping was sent that the target answered, and how long that took.
    pong: Option<(Instant, Duration)>,
    /// The longest that one took of late, and when that was.
    longest_pong: Option<(Duration, Instant)>,
    /// Whether the network carries what is sent.
    network: NetClock,
    /// Whether its own end of the network is there.
    uplink: UplinkClock,
    silence: Silence,
    /// Of the unit as last identified.
    geometry: Option<Geometry>,
    /// Portal group of each session that was in use and may not be fenced yet: only a login in the same group
    /// reinstates it (RFC 7143 6.3.5).
    groups: BTreeMap<Incarnation, Place>,
    /// Where the portal redirected this session to.
    redirected: Option<PortalAddr>,
    /// No fence through a sibling before this: the last one failed.
    fence_after: Option<Instant>,
    /// Proofs in a row that decided nothing.
    undecided: u32,
    idle: OutQueue,
}

impl Path {
    /// A path that connects at once.
    #[must_use]
    pub fn new(now: Instant, id: PathId, config: PathConfig) -> Self {
        Self {
            id,
            names: PathNames::default(),
            state: State::Down { retry_at: now },
            since: now,
            why: "starting".to_owned(),
            trouble: None,
            journal: Journal::default(),
            quiet: false,
            incarnation: Incarnation::default(),
            session: None,
            probe: None,
            passed_barrier: false,
            fence_owed: false,
            barrier_tried: now,
            heard_before: None,
            admitted: false,
            power: Power::default(),
            surroundings: Surroundings::default(),
            fencer: None,
            fenced_last: false,
            proof: None,
            held_up: false,
            proof_needed: false,
            access: Access::default(),
            courier: Courier::default(),
            sameness: Sameness::new(&config.session, config.seed),
            proven: None,
            redirect: None,
            redirects: 0,
            not_before: None,
            backoff: Backoff::new(config.seed),
            patience: Patience::default(),
            disabled: 0,
            attempted: now,
            last_loss: None,
            flaps: 0,
            probation_left: None,
            escalation: Escalation::default(),
            drain: Drain::default(),
            freed_at: None,
            next_probe_task: 0,
            own: None,
            unsent: None,
            stopping: None,
            draining: None,
            logging_out: false,
            messages: VecDeque::new(),
            actions: VecDeque::new(),
            large_pings: LargePings::default(),
            pong: None,
            longest_pong: None,
            network: NetClock::default(),
            uplink: UplinkClock::default(),
            silence: Silence::new(now),
            geometry: None,
            groups: BTreeMap::new(),
            redirected: None,
            fence_after: None,
            undecided: 0,
            idle: OutQueue::new(),
            given: Arc::clone(&config.session),
            retiring: false,
            config,
        }
    }

    /// What log lines call it and its siblings.
    pub fn set_names(&mut self, names: PathNames) {
        self.names = names;
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &PathConfig {
        &self.config
    }

    fn target_name(&self) -> String {
        match &self.config.session.kind {
            SessionKind::Normal { target } => target.to_string(),
            SessionKind::Discovery => String::new(),
        }
    }

    /// Its present or last session.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// When the target was last heard in this session.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        self.session.as_ref().and_then(Session::last_received)
    }

    /// The path through which its fencer works, or a proof, if there is one.
    #[must_use]
    pub fn fencer_via(&self) -> Option<PathId> {
        let proof = || self.proof.as_ref().map(|proof| proof.via);
        self.fencer.as_ref().map(|fencer| fencer.via).or_else(proof)
    }

    /// Whether it takes new commands without reserve.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Whether its port carries nothing now, says the target (ALUA).
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.access.is_resting()
    }

    /// Whether it may carry commands where no path is ready.
    #[must_use]
    pub fn is_on_probation(&self) -> bool {
        matches!(self.state, State::Probation { .. })
    }

    /// Whether it has been in use in its present session.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// Whether the path waits for an answer that others can confirm to be missing.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        matches!(self.state, State::Suspect)
    }

    /// After [`Path::stop`]: whether it is logged out.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped) && self.fencer.is_none()
    }

    /// What the engine knows of the others; tell it before [`Path::handle_timeout`].
    pub fn set_surroundings(&mut self, surroundings: Surroundings) {
        self.surroundings = surroundings;
    }

    /// The result of a proof, once: the sibling, and whether a login through it ends this path's session.
    pub fn take_proven(&mut self) -> Option<(PathId, bool)> {
        self.proven.take()
    }

    /// What is to be written on a link.
    pub fn outgoing(&mut self, link: Link) -> &mut OutQueue {
        let session = match link {
            Link::Main => self.session.as_mut(),
            Link::Fencer => self.fencer.as_mut().and_then(Fencer::session_mut),
        };
        match session {
            Some(session) => session.outgoing(),
            None => &mut self.idle,
        }
    }

    /// The connection that was asked for is there.
    pub fn on_connected(&mut self, now: Instant, link: Link, entropy: Entropy) {
        self.sameness.stir(&entropy);
        let session = Session::new(now, Arc::clone(&self.config.session), entropy);
        match link {
            Link::Main if matches!(self.state, State::Connecting { .. }) => {
                self.session = Some(session);
                self.network = NetClock::default();
                self.enter(now, State::LoggingIn, "connected");
                self.watch_network(now);
            }
            Link::Main => self.actions.push_back(Action::Hangup { link }),
            Link::Fencer => match &mut self.fencer {
                Some(fencer) => fencer.on_connected(now, session),
                None => self.actions.push_back(Action::Hangup { link }),
            },
        }
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, now: Instant, link: Link, input: &mut BytesMut) {
        match link {
            Link::Main => {
                let Some(session) = &mut self.session else {
                    return;
                };
                if let Err(error) = session.handle_bytes(now, input) {
                    return self.on_session_error(now, &error);
                }
                self.drain_session(now);
            }
            Link::Fencer => {
                if let Some(fencer) = &mut self.fencer {
                    fencer.handle_bytes(now, input, self.config.lun);
                    self.after_fencer(now);
                }
            }
        }
    }

    /// The connection is gone, or could not be made.
    pub fn on_closed(&mut self, now: Instant, link: Link, why: &str) {
        match link {
            Link::Main => {
                self.ended_by_target();
                self.large_pings.on_closed();
                let error = self.session.as_ref().and_then(Session::on_closed);
                if self.proof.as_ref().is_some_and(Proof::ended_main) {
                    self.lose_quietly(
                        now,
                        "ended by a login through a sibling's portal, to learn that it does",
                    );
                } else if let Some(error) = error {
                    self.on_session_error(now, &error);
                } else if self.session.is_some() || matches!(self.state, State::Connecting { .. }) {
                    self.lose(now, why);
                }
                self.judge_proof(now);
            }
            Link::Fencer => {
                self.fencer_ended_by_target();
                if let Some(fencer) = &mut self.fencer {
                    fencer.on_closed(why);
                    self.after_fencer(now);
                }
            }
        }
    }

    /// Commands that it can take now.
    #[must_use]
    pub fn free_slots(&mut self) -> u32 {
        let usable = matches!(self.state, State::Ready | State::Probation { .. });
        if !usable
            || self.unsent.is_some()
            || self.access.waits()
            || self.courier.waits()
            || self.drain.waits()
            || self.draining.is_some()
            || self.logging_out
        {
            return 0;
        }
        let depth = self.config.queue_depth;
        self.session
            .as_mut()
            .and_then(Session::full_feature)
            .map_or(0, |session| {
                let used = u32::try_from(session.outstanding()).unwrap_or(u32::MAX);
                session.free_slots().min(depth.saturating_sub(used))
            })
    }

    /// The next wish.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next news for the volume.
    pub fn poll_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }
}
