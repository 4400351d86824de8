//! Is the target there? Its silence on one path, judged with the other paths as the control group.
//!
//! Whether the network is there is asked apart from that (`network.rs`): a target that takes long to answer is
//! no dead path. A ping (NOP-Out) goes out when the session has been quiet for a while, sooner when
//! answers are due. While it is unanswered:
//!
//! | for | and | verdict |
//! | --- | --- | --- |
//! | half of `network` | | `Suspect`: new commands go elsewhere, the other paths are pinged |
//! | `network`, and three times what the other path took | another path has answered a ping that was sent after this path had become suspect | `Lost`: this path is what is sick |
//! | `target`, and three times what another path took last | another path is usable | `Lost` |
//! | less than `command` | no other path is usable, or all are silent or slow | `Suspect`: the target is what is sick, or there is nothing better |
//! | `command` | | `Lost`: what waits for the path must not wait for ever |
//!
//! When a ping was *sent* counts, not when its answer came: where all answers come ten seconds late, the first
//! path to be answered says nothing about the others.
//!
//! Any byte that arrives ends the silence: a ping may wait a while behind a long transfer.

use std::time::{Duration, Instant};

use crate::deadline::Deadline;

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
    /// The newest ping that any of them had answered: when it was sent, and how long the answer took.
    pub answered: Option<(Instant, Duration)>,
    /// Whether any of them may carry I/O without reserve.
    pub usable: bool,
    /// Whether any of them may carry I/O, be it on probation.
    pub any: bool,
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

    /// What it means that a ping is unanswered and nothing else was heard either since `last`.
    pub(super) fn judge(&self, now: Instant, last: Instant, peers: Peers) -> Judgement {
        let silent = now.saturating_duration_since(last);
        if silent < self.suspect_after() {
            return Judgement::Well;
        }
        let slower = peers
            .answered
            .is_none_or(|(_, took)| silent >= took.saturating_mul(SLOWER));
        if self.is_contradicted(now, last, peers) {
            return Judgement::Lost("silent while another path answers");
        }
        if silent >= self.target && slower && peers.usable {
            return Judgement::Lost("silent for the target timeout");
        }
        if silent >= self.command {
            return Judgement::Lost("silent for the command timeout");
        }
        Judgement::Suspect
    }

    /// Whether another path answers, and what this one was asked at `last` is unanswered for long enough.
    pub(super) fn is_contradicted(&self, now: Instant, last: Instant, peers: Peers) -> bool {
        let silent = now.saturating_duration_since(last);
        peers.usable
            && silent >= self.network
            && peers.answered.is_some_and(|(asked, took)| {
                asked >= last + self.suspect_after() && silent >= took.saturating_mul(SLOWER)
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
        asked + detect.command <= now || detect.is_contradicted(now, asked, self.surroundings.peers)
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

    #[test]
    fn a_path_silent_alone_is_lost_after_the_network_time() {
        let t0 = Instant::now();
        let peers = |asked| Peers {
            answered: Some((t0 + ms(asked), ms(1))),
            usable: true,
            any: true,
        };
        assert_eq!(DETECT.judge(t0 + ms(349), t0, peers(340)), Judgement::Well);
        assert_eq!(
            DETECT.judge(t0 + ms(350), t0, peers(350)),
            Judgement::Suspect
        );
        assert_eq!(
            DETECT.judge(t0 + ms(699), t0, peers(690)),
            Judgement::Suspect
        );
        assert!(matches!(
            DETECT.judge(t0 + ms(700), t0, peers(360)),
            Judgement::Lost(_)
        ));
    }

    #[test]
    fn a_peer_heard_only_just_before_it_froze_too_is_no_contradiction() {
        let t0 = Instant::now();
        let peers = Peers {
            answered: Some((t0 + ms(3), ms(1))),
            usable: true,
            any: true,
        };
        assert_eq!(DETECT.judge(t0 + ms(4_999), t0, peers), Judgement::Suspect);
    }

    #[test]
    fn where_all_answers_come_late_no_path_is_lost() {
        let t0 = Instant::now();
        for late in [10_000, 8_000, 6_000] {
            let peers = |asked: u64| Peers {
                answered: Some((t0 + ms(asked), ms(late))),
                usable: true,
                any: true,
            };
            // The other path's ping was sent before this one's, or a good while after it.
            for (now, asked) in [(late, 0), (late + 300, 300), (late + 900, 900)] {
                let judgement = DETECT.judge(t0 + ms(now), t0, peers(asked));
                assert_eq!(judgement, Judgement::Suspect, "{late} {now} {asked}");
            }
        }
    }

    #[test]
    fn the_last_path_is_never_lost_on_suspicion() {
        let t0 = Instant::now();
        let alone = Peers {
            answered: Some((t0 + ms(9_000), ms(1))),
            ..Peers::default()
        };
        assert_eq!(DETECT.judge(t0 + ms(29_999), t0, alone), Judgement::Suspect);
        assert_eq!(
            DETECT.judge(t0 + ms(29_999), t0, Peers::default()),
            Judgement::Suspect
        );
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
