//! Whether a sibling's portal shares its sessions with this path's (`fencer.rs` says how that is tried).

use std::time::Instant;

use super::fencer::Fencer;
use super::{Path, State};

/// Proofs in a row that may decide nothing; the portals then count as not sharing their sessions.
const PROOFS_MAX: u32 = 3;

impl Path {
    /// The target ended the main session: a proof, if the sibling's login was on its way by then.
    pub(super) fn ended_by_target(&mut self) {
        let asked = self.fencer.as_ref().is_some_and(Fencer::has_asked);
        if let Some(proof) = &mut self.proof {
            proof.main_closed |=
                asked && self.session.is_some() && proof.incarnation == self.incarnation;
        }
    }

    /// A proof that decides nothing is made again with the next session; not for ever.
    pub(super) fn abandon_proof(&mut self) {
        let Some(proof) = self.proof.take() else {
            return;
        };
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

    /// Whether a proof is decided.
    pub(super) fn judge_proof(&mut self, now: Instant) {
        let Some(proof) = &self.proof else { return };
        let proven = proof.fencer_in && proof.main_closed;
        let refuted = !proven && proof.deadline.is_some_and(|at| at <= now);
        if !proven && !refuted {
            return;
        }
        let via = proof.via;
        self.proof = None;
        self.undecided = 0;
        self.proven = Some((via, proven));
        let why = if proven {
            "a login through the sibling's portal ended this session"
        } else {
            "the portals do not share their sessions"
        };
        self.journal.note(now, self.incarnation, "proof", why);
        if proven {
            tracing::info!(path = %self.config.name, sibling = %self.names.of(via), "a login through the sibling's portal ended this session");
        } else {
            tracing::info!(path = %self.config.name, sibling = %self.names.of(via), "portals do not share their sessions: only its own portal can fence this path");
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
