//! Going into use: the volume's consent, the comparison of the unit, the proof of a session group, the
//! probation.

use std::time::{Duration, Instant};

use crate::task::Completion;

use super::fencer::{self, Purpose, Turn};
use super::proof::Proof;
use super::{Path, State};

/// Probes that a path which was lost must answer before it is `Ready` again.
const PROBATION_PROBES: u32 = 3;

/// The longest probation, for flapping paths.
const PROBATION_PROBES_MAX: u32 = 100;

/// Why a path is not used whose unit has an identifier like others.
const UNPROVEN: &str = "not proven to be the same logical unit: its identifier looks like a vendor's default, and no \
                        path in use shares its sessions with this one; give the logical unit an identifier of its own";

/// Between two probes of a probation.
const PROBATION_INTERVAL: Duration = Duration::from_millis(100);

impl Path {
    /// Whether its unit is taken for the volume's, and it only has to register its key or prove itself before
    /// it is used: others wait for it, to be compared with it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self.state, State::Probing) && self.sameness.is_taken()
    }

    /// The volume took the unit for its own, by its identifiers.
    pub(super) fn on_admitted(&mut self, now: Instant, if_proven: bool) {
        if matches!(self.state, State::Probing) && self.probe.is_none() {
            self.begin_comparison(now, if_proven);
        }
    }

    /// The unit is the volume's, as far as that can be shown.
    pub(super) fn go_on_admitted(&mut self, now: Instant, if_proven: bool) {
        self.report_power();
        let first = !self.admitted;
        self.proof_needed = if_proven && !self.surroundings.kin;
        if !self.proof_needed {
            self.report_barrier(now);
        }
        if first && self.proof.is_some() {
            self.held_up = true;
            return;
        }
        if first && let Some(via) = self.surroundings.proof_route {
            self.proof = Some(Proof::new(via, self.incarnation));
            self.held_up = true;
            return self.start_fencer(now, via, Purpose::Proof);
        }
        self.use_unless_unproven(now);
    }

    pub(super) fn use_unless_unproven(&mut self, now: Instant) {
        if std::mem::take(&mut self.proof_needed) {
            self.disable(now, UNPROVEN);
        } else {
            self.go_into_use(now);
        }
    }

    fn go_into_use(&mut self, now: Instant) {
        self.report_barrier(now);
        if self.waits_for_key() {
            return;
        }
        let first = !std::mem::replace(&mut self.admitted, true);
        if first {
            let group = self.place();
            self.groups.insert(self.incarnation, group);
            self.backoff.on_up(now);
            self.disabled = 0;
            self.fenced_last = false;
        }
        let interrupted = self.probation_left.take();
        // A barrier that was refused at the door is tried again while it proves itself.
        let owed = self.fence_owed && self.surroundings.wants_fence;
        self.tell_access();
        let owed = owed | self.access.take_proof_owed();
        self.clean_up(now);
        let proven = !first || self.last_loss.is_none();
        if proven && interrupted.is_none() && !owed {
            return self.enter(now, State::Ready, "identified");
        }
        let left = interrupted.unwrap_or_else(|| {
            PROBATION_PROBES
                .saturating_mul(1 << self.flaps.min(8))
                .min(PROBATION_PROBES_MAX)
        });
        self.enter(
            now,
            State::Probation {
                left,
                next: now,
                asked: None,
            },
            "identified; proving itself",
        );
    }

    /// A probe of the probation is due.
    pub(super) fn drive_probation(&mut self, now: Instant) {
        let State::Probation { left, next, asked } = &mut self.state else {
            return;
        };
        if asked.is_some() || *next > now {
            return;
        }
        *asked = Some(now);
        *next = now + PROBATION_INTERVAL;
        let last = *left == 1;
        self.send_probation(now, last);
    }

    /// A probe of the probation was answered.
    pub(super) fn on_probation_answer(&mut self, now: Instant, answer: Option<&Completion>) {
        let State::Probation { left, asked, .. } = &mut self.state else {
            return;
        };
        *asked = None;
        let attention = answer.and_then(fencer::unit_attention);
        match answer.map(fencer::turn) {
            None => return self.lose(now, "a probe of the probation failed"),
            Some(Turn::Attention) if attention.is_some_and(|a| a.says_access_changed()) => {
                self.read_access(now);
            }
            Some(Turn::Attention) => {
                return self.recheck(now, "a unit attention during the probation");
            }
            // It is asked again. A busy target is no reason to drop the commands that it works on.
            Some(Turn::NotNow) => {}
            Some(turn) => {
                *left -= 1;
                if turn == Turn::Refused && self.access.is_resting() {
                    self.access.owe_proof();
                }
                if turn == Turn::Taken && self.fence_owed {
                    self.passed_barrier = true;
                    self.report_barrier(now);
                }
            }
        }
        if let State::Probation { left, .. } = &mut self.state
            && *left == 0
            && self.access.take_proof_owed()
        {
            // What was refused while the port carried nothing proves nothing.
            *left = PROBATION_PROBES;
        }
        if matches!(self.state, State::Probation { left: 0, .. }) {
            self.enter(now, State::Ready, "probation passed");
        } else {
            self.drive_probation(now);
        }
    }
}
