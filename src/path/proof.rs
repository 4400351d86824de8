//! Whether a sibling's portal shares its sessions with this path's.
//!
//! A path that joins tries it, before it carries anything, *there and back*:
//!
//! 1. There: with its session up, the fencer logs in through the sibling's portal with the same initiator
//!    port. Where the portals share their sessions, that ends the path's session (RFC 7143 6.3.5).
//! 2. Back: the fencer stays, and the path logs in over its own portal again. That ends the fencer's session.
//!
//! A connection that the network closed at the right moment looks the same, and a link that flaps does that
//! again and again. But the two connections take different ways: no single failing link closes first the one,
//! then the other, each at the other one's login, and leaves the sibling's own session alone.

use std::time::{Duration, Instant};

use crate::ids::{Incarnation, PathId};

use super::fencer::Fencer;
use super::{Path, State, Surroundings};

/// Proofs in a row that may decide nothing; the portals then count as not sharing their sessions.
const PROOFS_MAX: u32 = 3;

/// After a login the target has so long to end the session of the same initiator port.
const PROOF_TIMEOUT: Duration = Duration::from_millis(1500);

/// The path has so long to log in again.
const BACK_TIMEOUT: Duration = Duration::from_secs(10);

/// The sibling's session and the path's own must be alive for so long afterwards: what closes all connections
/// of a link or a machine proves nothing.
const SETTLE: Duration = Duration::from_millis(250);

/// What a proof has seen so far.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) via: PathId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    There {
        /// The main session that is to end.
        incarnation: Incarnation,
        main_closed: bool,
        /// Until when it may, once the fencer is in.
        deadline: Option<Instant>,
    },
    Back {
        main_in: bool,
        fencer_closed: bool,
        deadline: Instant,
    },
}

impl Proof {
    /// One through `via`, about the main session `incarnation`.
    pub(super) fn new(via: PathId, incarnation: Incarnation) -> Self {
        let stage = Stage::There {
            incarnation,
            main_closed: false,
            deadline: None,
        };
        Self { via, stage }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::There { deadline, .. } => deadline,
            Stage::Back { deadline, .. } => Some(deadline),
        }
    }

    /// Whether the end of the main session is part of it.
    pub(super) fn ended_main(&self) -> bool {
        matches!(
            self.stage,
            Stage::There {
                main_closed: true,
                ..
            }
        )
    }

    fn is_on_its_way_back(&self) -> bool {
        matches!(self.stage, Stage::Back { .. })
    }

    /// Both ways are seen to end the other's session: now it must last.
    fn settle(&mut self, now: Instant) {
        if let Stage::Back {
            main_in: true,
            fencer_closed: true,
            deadline,
        } = &mut self.stage
        {
            *deadline = now + SETTLE;
        }
    }
}

impl Path {
    /// Whether it may log in over its own portal: a fencer would be ended by that.
    pub(super) fn may_connect(&self) -> bool {
        let back = self.proof.as_ref().is_some_and(Proof::is_on_its_way_back);
        self.fencer.is_none() || back
    }

    /// The target ended the main session: part of a proof, if the sibling's login was on its way by then.
    pub(super) fn ended_by_target(&mut self) {
        let asked = self.fencer.as_ref().is_some_and(Fencer::has_asked);
        let current = self.incarnation;
        if let Some(Proof { stage, .. }) = &mut self.proof
            && let Stage::There {
                incarnation,
                main_closed,
                ..
            } = stage
        {
            *main_closed |= asked && self.session.is_some() && *incarnation == current;
        }
    }

    /// The fencer's connection was closed: part of a proof, if the path's own login was on its way by then.
    pub(super) fn fencer_ended_by_target(&mut self) {
        let asked = self.session.is_some();
        if let Some(Proof { stage, .. }) = &mut self.proof
            && let Stage::Back { fencer_closed, .. } = stage
        {
            *fencer_closed |= asked;
        }
    }

    /// The fencer has logged in.
    pub(super) fn on_fencer_in(&mut self, now: Instant) {
        if let Some(Proof { stage, .. }) = &mut self.proof
            && let Stage::There { deadline, .. } = stage
        {
            *deadline = Some(now + PROOF_TIMEOUT);
        }
    }

    /// The path has logged in.
    pub(super) fn on_main_in(&mut self, now: Instant) {
        let Some(proof) = &mut self.proof else { return };
        if let Stage::Back {
            main_in, deadline, ..
        } = &mut proof.stage
        {
            *main_in = true;
            *deadline = now + PROOF_TIMEOUT;
            proof.settle(now);
        }
    }

    /// The main session is over, or the attempt at one.
    pub(super) fn on_main_lost(&mut self) {
        let decides_nothing = self.proof.as_ref().is_some_and(|proof| match proof.stage {
            Stage::There { main_closed, .. } => !main_closed,
            Stage::Back { .. } => self.session.is_some(),
        });
        if decides_nothing {
            self.abandon_proof();
        }
    }

    /// The fencer is over.
    pub(super) fn on_fencer_gone(&mut self, now: Instant) {
        match &mut self.proof {
            Some(Proof {
                stage:
                    Stage::Back {
                        fencer_closed: true,
                        ..
                    },
                ..
            }) => {
                if let Some(proof) = &mut self.proof {
                    proof.settle(now);
                }
            }
            Some(_) => {
                self.abandon_proof();
                self.use_if_proof_held_it_up(now);
            }
            None => {}
        }
    }

    /// A proof that decides nothing is made again with the next session; not for ever.
    fn abandon_proof(&mut self) {
        let Some(proof) = self.proof.take() else {
            return;
        };
        self.end_fencer();
        self.undecided += 1;
        if self.undecided >= PROOFS_MAX {
            self.undecided = 0;
            self.proven = Some((proof.via, false));
        }
    }

    /// A proof must not keep the only path that is left out of use, least of all one through a sibling
    /// that is lost.
    pub(super) fn give_proof_up(&mut self, now: Instant) {
        if self.held_up && self.proof.is_some() && !self.surroundings.peers.usable {
            self.end_fencer();
            self.use_if_proof_held_it_up(now);
        }
    }

    /// The sibling is lost: whatever ended with it proves nothing.
    pub(super) fn give_up_proof_through_lost_sibling(&mut self, now: Instant) {
        if self.proof.is_some() {
            self.abandon_proof();
            self.use_if_proof_held_it_up(now);
        }
    }

    /// Whether a proof is decided, or half of it.
    pub(super) fn judge_proof(&mut self, now: Instant) {
        let Some(proof) = &mut self.proof else { return };
        match proof.stage {
            Stage::There {
                main_closed: true,
                deadline: Some(_),
                ..
            } => {
                proof.stage = Stage::Back {
                    main_in: false,
                    fencer_closed: false,
                    deadline: now + BACK_TIMEOUT,
                };
                if let State::Down { retry_at } = &mut self.state {
                    *retry_at = now;
                }
            }
            Stage::There {
                deadline: Some(at), ..
            } if at <= now => self.decide_proof(now, false),
            Stage::Back {
                main_in,
                fencer_closed,
                deadline,
            } if deadline <= now => {
                if main_in {
                    self.decide_proof(now, fencer_closed);
                } else {
                    self.abandon_proof();
                }
            }
            Stage::There { .. } | Stage::Back { .. } => {}
        }
    }

    fn decide_proof(&mut self, now: Instant, shared: bool) {
        let Some(Proof { via, .. }) = self.proof.take() else {
            return;
        };
        if let Some(fencer) = &mut self.fencer {
            fencer.log_out(now);
        }
        self.undecided = 0;
        self.proven = Some((via, shared));
        let (path, sibling) = (&self.config.name, self.names.of(via));
        let why = if shared {
            tracing::info!(%path, %sibling, "logins through the sibling's portal and this one end each other's sessions");
            "logins through the sibling's portal and this one end each other's sessions"
        } else {
            tracing::info!(%path, %sibling, "portals do not share their sessions: only its own portal can fence this path");
            "the portals do not share their sessions"
        };
        self.journal.note(now, self.incarnation, "proof", why);
        if !shared {
            self.use_if_proof_held_it_up(now);
        }
    }

    /// What its proof has shown is known to the other paths now.
    pub fn on_proof_known(&mut self, now: Instant, surroundings: Surroundings) {
        self.surroundings = surroundings;
        self.proof_needed &= !self.surroundings.kin;
        if self.proof.is_none() {
            self.use_if_proof_held_it_up(now);
        }
    }

    /// Goes into use if the volume admitted the unit of this session and only a proof was waited for.
    pub(super) fn use_if_proof_held_it_up(&mut self, now: Instant) {
        if matches!(self.state, State::Probing) && std::mem::take(&mut self.held_up) {
            self.use_unless_unproven(now);
        }
    }
}
