//! Is the target there? Its silence on one path, judged with the other paths as the control group.
//!
//! Whether the network is there is asked apart from that (`network.rs`): a target that takes long to answer
//! is no dead path. A ping (NOP-Out) goes out when the session has been quiet for a while, sooner when
//! answers are due. While it is unanswered:
//!
//! | for | and | verdict |
//! | --- | --- | --- |
//! | half of `network` | | `Suspect`: new commands go elsewhere, the other paths are pinged |
//! | `network`, and three times what the other path takes | another path has answered a ping that was sent after this path had become suspect, and not only just now | `Lost`: this path is what is sick |
//! | `target`, and three times what another path takes | another path is usable | `Lost` |
//! | less than `command` | no other path is usable, or all are silent or slow | `Suspect`: the target is what is sick, or there is nothing better |
//! | `command` | | `Lost`: what waits for the path must not wait for ever |
//!
//! When a ping was *sent* counts, not when its answer came: where all answers come ten seconds late, the
//! first path to be answered says nothing about the others.
//!
//! Any byte that arrives ends the silence: a ping may wait a while behind a long transfer.

use crate::sabotage::{self, Feature};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::iscsi::session::Session;

use super::{Path, State};

/// A path's detection times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detect {
    /// Silence of one path while others answer: the path is lost.
    pub network: Duration,
    /// Silence of a target that others need not contradict.
    pub target: Duration,
    /// A command without progress is aborted.
    pub command: Duration,
}

/// A quiet session without tasks is pinged so often.
const IDLE_PING: Duration = Duration::from_secs(1);

/// A path whose answer takes so many times as long as another one's is what is slow, not the target.
const SLOWER: u32 = 3;

/// What the volume's other paths show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// Of those that are usable without reserve, the one that had the newest ping answered.
    pub witness: Option<Witness>,
    /// Whether any of them may carry I/O without reserve.
    pub usable: bool,
    /// Whether any of them may carry I/O, be it on probation.
    pub any: bool,
}

/// How a path answers that others are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    /// When the newest ping was sent that the target answered.
    pub asked: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// The oldest ping that is not answered yet.
    pub waiting: Option<Instant>,
    /// The longest that an answer took of late, and when it came.
    pub longest: Option<(Duration, Instant)>,
}

impl Witness {
    /// How long an answer takes on this path now, at least. What took long is remembered for as long again:
    /// of paths that were slow together one is well first, and the others' answers are still on their way.
    fn takes(self, now: Instant) -> Duration {
        let waits = self
            .waiting
            .map(|since| now.saturating_duration_since(since));
        let longest = self.longest.filter(|&(took, at)| now <= at + took);
        let longest = longest.map_or(self.took, |(took, _)| took);
        waits.unwrap_or_default().max(self.took).max(longest)
    }
}

/// When the session's silence was judged last, and since when others contradict it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    pub(super) checked: Instant,
    contradicted: Option<Instant>,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            checked: now,
            contradicted: None,
        }
    }

    /// Notes what others show at `now`.
    fn note(&mut self, now: Instant, contradicted: bool) {
        self.checked = now;
        self.contradicted = contradicted.then(|| self.contradicted.unwrap_or(now));
    }
}

/// What the silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Well,
    Suspect,
    Lost(&'static str),
}

impl Detect {
    pub(super) fn suspect_after(&self) -> Duration {
        self.network / 2
    }

    /// A suspicion, and what is due, is looked after so often.
    pub(super) fn watch_interval(&self) -> Duration {
        self.network / 8
    }

    /// A session in full-feature phase is pinged after so much quiet.
    fn ping_after(&self, busy: bool) -> Duration {
        if busy {
            self.watch_interval().min(IDLE_PING)
        } else {
            IDLE_PING
        }
    }

    /// Whether a ping is due: quiet since `heard`, none outstanding.
    pub(super) fn ping_due(&self, now: Instant, heard: Instant, busy: bool) -> bool {
        heard + self.ping_after(busy) <= now
    }

    /// What it means that a ping is unanswered and nothing else was heard either since `last`. Others have
    /// contradicted that since `contradicted`.
    fn judge(
        &self,
        now: Instant,
        last: Instant,
        peers: Peers,
        contradicted: Option<Instant>,
    ) -> Judgement {
        let silent = now.saturating_duration_since(last);
        if silent < self.suspect_after() {
            return Judgement::Well;
        }
        // After a while in which all were silent, one path is heard first.
        let for_long = contradicted.is_some_and(|since| since + self.watch_interval() * 3 <= now);
        if silent >= self.network && for_long {
            return Judgement::Lost(if self.answers_sooner(now, last, peers) {
                "silent while another path answers"
            } else {
                "silent for the target timeout"
            });
        }
        if silent >= self.command {
            return Judgement::Lost("silent for the command timeout");
        }
        Judgement::Suspect
    }

    /// Whether others show that this path, which is silent since `last`, is what is sick.
    fn is_contradicted(&self, now: Instant, last: Instant, peers: Peers) -> bool {
        let silent = now.saturating_duration_since(last);
        // Not every target answers pings.
        let slower = peers
            .witness
            .is_none_or(|witness| silent >= witness.takes(now).saturating_mul(SLOWER));
        peers.usable && (self.answers_sooner(now, last, peers) || silent >= self.target && slower)
    }

    /// Whether another path answers pings much sooner than this one.
    fn answers_sooner(&self, now: Instant, last: Instant, peers: Peers) -> bool {
        let silent = now.saturating_duration_since(last);
        peers.witness.is_some_and(|witness| {
            witness.asked >= last + self.suspect_after()
                && silent >= witness.takes(now).saturating_mul(SLOWER)
        })
    }

    /// When to look next after a probe that was sent at `asked`.
    pub(super) fn next_probe_check(&self, checked: Instant, asked: Instant) -> Instant {
        let first = asked + self.suspect_after();
        first.max(checked + self.watch_interval())
    }

    /// When the judgement may change next after the one at `checked`, or a ping is due.
    pub(super) fn next_check(
        &self,
        checked: Instant,
        pinged: Option<Instant>,
        heard: Instant,
        busy: bool,
    ) -> Deadline {
        let Some(pinged) = pinged else {
            return Deadline::new(heard + self.ping_after(busy), "ping");
        };
        let last = pinged.max(heard);
        let steps = [
            self.suspect_after(),
            self.network,
            self.target,
            self.command,
        ];
        let step = steps
            .into_iter()
            .map(|step| last + step)
            .filter(|&at| at > checked)
            .min();
        // While it is suspect, what the others show may change at any time.
        let watch = checked + self.watch_interval();
        let suspect = checked >= last + self.suspect_after();
        match step {
            Some(at) if !suspect || at < watch => Deadline::new(at, "unanswered ping"),
            Some(_) | None => Deadline::new(watch, "silent path"),
        }
    }
}

impl Path {
    /// Whether others are to be pinged, to see whether it is this path that is silent.
    #[must_use]
    pub fn wants_witness(&self, now: Instant) -> bool {
        match self.state {
            State::Suspect => true,
            State::Probation {
                asked: Some(asked), ..
            } => asked + self.config.detect.suspect_after() <= now,
            State::Down { .. }
            | State::Connecting { .. }
            | State::LoggingIn
            | State::Probing
            | State::Probation { asked: None, .. }
            | State::Ready
            | State::Disabled { .. }
            | State::Stopped => false,
        }
    }

    /// Whether a probe of the probation that was sent at `asked` will not be answered.
    pub(super) fn probe_is_lost(&self, now: Instant, asked: Instant) -> bool {
        let detect = &self.config.detect;
        asked + detect.command <= now
            || asked + detect.network <= now
                && detect.is_contradicted(now, asked, self.surroundings.peers)
    }

    /// How it answers, for others to be compared with.
    #[must_use]
    pub fn witness(&self) -> Option<Witness> {
        let (asked, took) = self.pong?;
        Some(Witness {
            asked,
            took,
            waiting: self.session.as_ref().and_then(Session::oldest_ping),
            longest: self.longest_pong,
        })
    }

    /// A ping was answered.
    pub(super) fn on_pong(&mut self, now: Instant, rtt: Duration) {
        self.pong = now.checked_sub(rtt).map(|asked| (asked, rtt));
        let longer = |&(took, at): &(Duration, Instant)| rtt < took && now <= at + took;
        if !self.longest_pong.as_ref().is_some_and(longer) {
            self.longest_pong = Some((rtt, now));
        }
    }

    /// Asks the target for a sign of life unless one is due already.
    pub fn ping_if_quiet(&mut self, now: Instant) {
        if let Some(session) = self.session.as_mut().and_then(Session::full_feature)
            && session.oldest_ping().is_none()
        {
            session.ping(now);
            self.watch_network(now);
        }
    }

    /// Whether it has asked for a sign of life just now.
    #[must_use]
    pub fn has_pinged(&self, now: Instant) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.oldest_ping() == Some(now))
    }

    /// Asks for a sign of life before that is due, with another path that asks now, if this one does nothing
    /// either: a process that sleeps is woken once for both.
    pub fn ping_in_company(&mut self, now: Instant) {
        if !matches!(self.state, State::Ready) {
            return;
        }
        let Some(session) = &mut self.session else {
            return;
        };
        let rests = session
            .last_received()
            .is_some_and(|heard| heard + IDLE_PING / 2 <= now);
        let idle = session
            .full_feature()
            .is_some_and(|session| session.outstanding() == 0);
        if rests && idle {
            self.ping_if_quiet(now);
        }
    }

    pub(super) fn check_health(&mut self, now: Instant) {
        let (detect, peers) = (self.config.detect, self.surroundings.peers);
        self.silence.checked = now;
        let Some(session) = &mut self.session else {
            return;
        };
        let Some(heard) = session.last_received() else {
            return;
        };
        let Some(session) = session.full_feature() else {
            return;
        };
        let Some(pinged) = session.oldest_ping() else {
            self.silence.note(now, false);
            if detect.ping_due(now, heard, session.outstanding() > 0) {
                session.ping(now);
            }
            return;
        };
        // What arrives is a sign of life as well: an answer may stand in line behind a lot of data.
        let last = pinged.max(heard);
        let contradicted = detect.is_contradicted(now, last, peers);
        self.silence.note(now, contradicted);
        match detect.judge(now, last, peers, self.silence.contradicted) {
            _ if sabotage::is_without(Feature::PingClock) => {}
            Judgement::Well => {}
            Judgement::Suspect => {
                if matches!(self.state, State::Ready) {
                    self.enter(now, State::Suspect, "silent");
                }
            }
            Judgement::Lost(why) => self.lose(now, why),
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant serves as the origin of a test's time"
)]
mod tests {
    use super::*;

    const DETECT: Detect = Detect {
        network: Duration::from_millis(700),
        target: Duration::from_secs(5),
        command: Duration::from_secs(30),
    };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Others of which one was sent a ping at `asked` that was answered `took` later.
    fn witness(asked: Instant, took: Duration) -> Peers {
        Peers {
            witness: Some(Witness {
                asked,
                took,
                waiting: None,
                longest: None,
            }),
            usable: true,
            any: true,
        }
    }

    /// What is thought of a path that is silent since `t0`, at each time; others show what `peers` says.
    fn judgements(
        t0: Instant,
        times: impl IntoIterator<Item = u64>,
        peers: impl Fn(u64) -> Peers,
    ) -> Vec<Judgement> {
        let mut silence = Silence::new(t0);
        let judge = |millis| {
            let (now, peers) = (t0 + ms(millis), peers(millis));
            silence.note(now, DETECT.is_contradicted(now, t0, peers));
            DETECT.judge(now, t0, peers, silence.contradicted)
        };
        times.into_iter().map(judge).collect()
    }

    #[test]
    fn a_path_silent_alone_is_lost_after_the_network_time() {
        let t0 = Instant::now();
        let prompt = |millis: u64| witness(t0 + ms(millis - 10), ms(1));
        let seen = judgements(t0, [349, 350, 437, 699, 700], prompt);
        assert_eq!(
            seen,
            [
                Judgement::Well,
                Judgement::Suspect,
                Judgement::Suspect,
                Judgement::Suspect,
                Judgement::Lost("silent while another path answers")
            ]
        );
    }

    #[test]
    fn a_peer_heard_only_just_before_it_froze_too_is_no_contradiction() {
        let t0 = Instant::now();
        let frozen = |_| witness(t0 + ms(3), ms(1));
        let seen = judgements(t0, [700, 2_000, 4_999], frozen);
        assert_eq!(seen, [Judgement::Suspect; 3]);
    }

    #[test]
    fn where_all_answers_come_late_no_path_is_lost() {
        let t0 = Instant::now();
        for late in [10_000, 8_000, 6_000] {
            // The other path's ping was sent before this one's, or a good while after it.
            for later in [0, 300, 900] {
                let peers = |_| witness(t0 + ms(later), ms(late));
                let seen = judgements(t0, [late + later], peers);
                assert_eq!(seen, [Judgement::Suspect], "{late} {later}");
            }
            // It answered promptly before, and was heard by a late answer to something else.
            let waiting = |_| Peers {
                witness: Some(Witness {
                    asked: t0,
                    took: ms(1),
                    waiting: Some(t0 + ms(80)),
                    longest: None,
                }),
                usable: true,
                any: true,
            };
            assert_eq!(judgements(t0, [late], waiting), [Judgement::Suspect]);
        }
    }

    #[test]
    fn of_paths_that_were_slow_together_one_is_well_first_and_the_others_have_as_long() {
        let t0 = Instant::now();
        let recovered = |millis: u64| Peers {
            witness: Some(Witness {
                longest: Some((ms(10_000), t0)),
                ..witness(t0 + ms(millis - 10), ms(1)).witness.unwrap()
            }),
            ..witness(t0, ms(1))
        };
        let seen = judgements(t0, [700, 5_000, 9_900], recovered);
        assert_eq!(seen, [Judgement::Suspect; 3]);
        let seen = judgements(t0, [10_001, 10_300], recovered);
        assert!(matches!(seen[1], Judgement::Lost(_)), "and no longer");
    }

    #[test]
    fn of_paths_that_were_silent_together_one_is_heard_first() {
        let t0 = Instant::now();
        let first = |_| witness(t0 + ms(9_999), ms(1));
        let seen = judgements(t0, [10_000, 10_100, 10_250], first);
        assert_eq!(seen, [Judgement::Suspect; 3]);
        let seen = judgements(t0, [10_000, 10_300], first);
        assert!(matches!(seen[1], Judgement::Lost(_)));
    }

    #[test]
    fn the_last_path_is_never_lost_on_suspicion() {
        let t0 = Instant::now();
        let alone = |_| Peers {
            usable: false,
            ..witness(t0 + ms(9_000), ms(1))
        };
        assert_eq!(
            judgements(t0, [9_500, 29_999], alone),
            [Judgement::Suspect; 2]
        );
        let nobody = |_| Peers::default();
        assert_eq!(judgements(t0, [29_999], nobody), [Judgement::Suspect]);
    }

    #[test]
    fn a_judged_session_is_checked_again_within_a_bound() {
        let t0 = Instant::now();
        let mut now = t0;
        for _ in 0..20 {
            let next = DETECT.next_check(now, Some(t0), t0, true).at;
            assert!(next > now && next <= now + DETECT.target);
            now = next;
        }
    }
}
