//! Is the network there? Asked of the kernel, apart from whether the target answers.
//!
//! What we send is acknowledged by the peer's TCP within a round trip or two, whether or not the program at
//! the far end is busy, frozen or waiting for a disk. So bytes that stay unacknowledged say that the network,
//! or the peer's kernel, is gone, and say nothing about the target:
//!
//! | without progress for | and | verdict |
//! | --- | --- | --- |
//! | half of `network` | | `Suspect`: new commands go elsewhere |
//! | `network` | another path may carry I/O | path lost |
//! | `target` | this path is the last one | path lost: a connection made anew finds the network when it is back, sooner than a retransmission does whose pauses have doubled to many seconds |
//!
//! Progress is that the number of acknowledged bytes grows. Acknowledgements without it do not count:
//! a path whose MTU shrank swallows large segments and carries small ones, which the peer confirms with SACK
//! (RFC 2018). A window that the peer has closed is no loss: nothing is under way then, and the probes of the
//! window are answered.
//!
//! On a long line, where a round trip takes a good part of `network`, that is stretched to two
//! retransmission timeouts (RFC 6298).
//!
//! The kernel is asked only while an answer is due or bytes are under way. A silent path with nothing under
//! way is given something: the ping (`health.rs`), whose bytes must be acknowledged.

use crate::sabotage::{self, Feature};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;

use super::health::{Detect, Judgement};
use super::{Action, Path, State};

/// What the kernel knows of a connection (Linux: `TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkView {
    /// Segments under way: sent, and not acknowledged.
    pub in_flight: u32,
    /// Those of them that the peer has, while something before them is missing.
    pub sacked: u32,
    /// Bytes that the peer acknowledged since the connection began.
    pub acked: u64,
    /// Since the last acknowledgement of anything.
    pub since_ack: Duration,
    /// Timeouts in a row of the oldest segment.
    pub timeouts: u32,
    /// Probes of a closed window in a row that nothing answered.
    pub probes: u32,
    /// Retransmissions since the connection began.
    pub retransmissions: u64,
    /// Smoothed round trip time, and its variation.
    pub round_trip: (Duration, Duration),
}

impl NetworkView {
    /// Something is under way that must be acknowledged.
    fn is_waiting(&self) -> bool {
        // One probe may be under way; the second says that the first was not answered.
        self.in_flight > 0 || self.probes > 1
    }

    /// Two retransmission timeouts.
    fn patience(&self) -> Duration {
        let (smoothed, variation) = self.round_trip;
        smoothed
            .saturating_add(variation.saturating_mul(4))
            .saturating_mul(2)
    }
}

/// How long bytes of a session have been under way without progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NetClock {
    /// There may be bytes under way since then; `None`: there are none.
    since: Option<Instant>,
    /// When the kernel was asked last.
    asked: Option<Instant>,
    /// When it answered last.
    looked: Option<Instant>,
    view: NetworkView,
    stalled: Option<Instant>,
}

impl NetClock {
    /// When to ask the kernel next.
    fn next(&self, detect: &Detect) -> Option<Instant> {
        let since = self.since?;
        let regular = self.asked.map_or(since, |asked| asked.max(since)) + detect.watch_interval();
        let steps = [detect.suspect_after(), detect.network, detect.target];
        let steps = self
            .stalled
            .map(|stalled| steps.map(|step| stalled + step))
            .into_iter()
            .flatten();
        steps
            .filter(|&at| self.asked.is_some_and(|asked| at > asked))
            .chain([regular])
            .min()
    }

    fn note(&mut self, now: Instant, view: NetworkView) {
        let progress = view.acked != self.view.acked;
        // What is under way left after the last look that saw nothing; progress was no later than the last
        // acknowledgement.
        let earliest = self.looked.max(self.since).unwrap_or(now);
        let acked_at = now.checked_sub(view.since_ack).unwrap_or(earliest);
        if !view.is_waiting() {
            self.stalled = None;
        } else if progress || self.stalled.is_none() {
            self.stalled = Some(acked_at.max(earliest).min(now));
        }
        (self.view, self.looked) = (view, Some(now));
    }

    fn stalled_for(&self, now: Instant) -> Option<Duration> {
        self.stalled
            .map(|since| now.saturating_duration_since(since))
    }

    fn judge(&self, now: Instant, detect: &Detect, last_path: bool) -> Judgement {
        let Some(stalled) = self.stalled_for(now) else {
            return Judgement::Well;
        };
        let limit = detect.network.max(self.view.patience()).min(detect.target);
        let deadline = if last_path { detect.target } else { limit };
        if stalled >= deadline {
            Judgement::Lost(self.cause())
        } else if stalled >= limit / 2 {
            Judgement::Suspect
        } else {
            Judgement::Well
        }
    }

    fn cause(&self) -> &'static str {
        if self.view.sacked > 0 && self.view.timeouts > 0 {
            "large segments are lost, small ones pass: the MTU of the way is smaller than that of its ends"
        } else if self.view.in_flight == 0 {
            "the network is silent: probes of the target's closed window are not answered"
        } else {
            "the network is silent: what was sent is not acknowledged"
        }
    }
}

impl Path {
    /// What was asked for with [`Action::Observe`].
    pub fn on_network(&mut self, now: Instant, view: NetworkView) {
        if sabotage::is_without(Feature::NetworkClock) {
            return;
        }
        if self.session.is_none() {
            return;
        }
        self.network.note(now, view);
        if !view.is_waiting() && !self.awaits_answers() {
            self.network.since = None;
        }
        let last_path = self.admitted && !self.surroundings.peers.any;
        match self.network.judge(now, &self.config.detect, last_path) {
            Judgement::Well => self.trust_again(now),
            Judgement::Suspect => {
                if matches!(self.state, State::Ready) {
                    self.enter(now, State::Suspect, "what was sent is not acknowledged");
                }
            }
            Judgement::Lost(cause) => {
                self.note_network(now);
                self.lose(now, cause);
            }
        }
    }

    /// Whether what was sent is acknowledged, as far as is known.
    pub(super) fn is_reached(&self, now: Instant) -> bool {
        let stalled = self.network.stalled_for(now);
        stalled.is_none_or(|stalled| stalled < self.config.detect.suspect_after())
            && !self.uplink.is_down()
    }

    /// Looks at the network from now on, if something may be under way.
    pub(super) fn watch_network(&mut self, now: Instant) {
        if self.network.since.is_none() && self.awaits_answers() {
            self.network.since = Some(now);
        }
    }

    pub(super) fn network_deadline(&self) -> Option<Deadline> {
        self.session.as_ref()?;
        let at = self.network.next(&self.config.detect)?;
        Some(Deadline::new(at, "look at the network"))
    }

    /// Asks the kernel, if it is time to.
    pub(super) fn check_network(&mut self, now: Instant) {
        if self
            .network_deadline()
            .is_some_and(|deadline| deadline.at <= now)
        {
            self.network.asked = Some(now);
            self.actions.push_back(Action::Observe);
        }
    }

    /// Whether the target owes an answer, be it to the login, or the socket has not taken everything.
    fn awaits_answers(&mut self) -> bool {
        let logging_in = matches!(self.state, State::LoggingIn);
        let Some(session) = &mut self.session else {
            return false;
        };
        if logging_in || !session.outgoing().is_empty() {
            return true;
        }
        session
            .full_feature()
            .is_some_and(|session| session.outstanding() > 0 || session.oldest_ping().is_some())
    }

    /// The evidence, for `iibadm why` and the log.
    fn note_network(&mut self, now: Instant) {
        let view = self.network.view;
        let stalled = self.network.stalled_for(now).unwrap_or_default();
        let what = format!(
            "{} segments not acknowledged for {} ms, {} timeouts in a row, last acknowledgement {} ms ago",
            view.in_flight,
            stalled.as_millis(),
            view.timeouts,
            view.since_ack.as_millis()
        );
        self.journal.repeat(now, self.incarnation, "network", &what);
        tracing::debug!(path = %self.config.name, ?view, ?stalled, "the network does not carry what is sent");
    }
}
