//! What a job does step by step: deeds over paths, and decisions on what was read.

use crate::ids::PathId;
use crate::scsi::cdb::{Command, ReserveIn, ReserveOut};
use crate::scsi::reservation::{ReservationKey, ReservationType};

use super::enrol::read;

/// What is asked for (`iibadm reservation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationAsk {
    /// Nothing but the state.
    Show,
    /// Register this key over every path that is up, and over the others when they come back.
    Register {
        /// The volume's key.
        key: ReservationKey,
    },
    /// Remove our registrations.
    Unregister,
    /// Reserve the unit.
    Reserve {
        /// So.
        kind: ReservationType,
    },
    /// Release our reservation.
    Release,
    /// Remove the registrations of another host's key, and take over its reservation.
    Preempt {
        /// That key.
        key: ReservationKey,
        /// Abort its tasks as well.
        abort: bool,
    },
    /// Remove everybody's registrations, and the reservation.
    Clear,
}

/// One step of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this over this path.
    Do(PathId, Deed),
    /// The reservation was not to be had: by whom is it held?
    JudgeConflict(ReservationType),
    /// What is held was read: release it if it is ours.
    JudgeRelease,
    /// It was released over all our nexuses: is it?
    JudgeReleased(ReservationType),
    /// The keys were read: find one that nobody has, and take our own reservation over with it.
    TakeOver(ReservationType, ReservationKey),
    /// What is held was read: preempt.
    JudgePreempt { victim: ReservationKey, abort: bool },
    /// What was asked for is done: from now on it holds.
    Commit,
}

/// A command over one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Capabilities,
    /// Whatever was registered before; 0: nothing any more.
    Register(ReservationKey),
    /// The same; what comes after does not depend on it.
    Restore(ReservationKey),
    Reserve(ReservationType),
    Release(ReservationType),
    Preempt {
        victim: ReservationKey,
        kind: ReservationType,
        abort: bool,
    },
    Clear,
    ReadKeys,
    ReadReservation,
}

impl Deed {
    /// Its command, and the key that is acted on.
    pub(super) fn command(self) -> (Command, ReservationKey) {
        let out = Command::PersistentReserveOut;
        let none = ReservationKey(0);
        match self {
            Self::Capabilities => (read(ReserveIn::ReportCapabilities), none),
            Self::Register(key) | Self::Restore(key) => {
                (out(ReserveOut::RegisterAndIgnoreExistingKey), key)
            }
            Self::Reserve(kind) => (out(ReserveOut::Reserve(kind)), none),
            Self::Release(kind) => (out(ReserveOut::Release(kind)), none),
            Self::Preempt {
                victim,
                kind,
                abort: true,
            } => (out(ReserveOut::PreemptAndAbort(kind)), victim),
            Self::Preempt { victim, kind, .. } => (out(ReserveOut::Preempt(kind)), victim),
            Self::Clear => (out(ReserveOut::Clear), none),
            Self::ReadKeys => (read(ReserveIn::ReadKeys), none),
            Self::ReadReservation => (read(ReserveIn::ReadReservation), none),
        }
    }

    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Capabilities => "REPORT CAPABILITIES",
            Self::Register(ReservationKey(0)) => "removal of the registration",
            Self::Register(_) | Self::Restore(_) => "REGISTER",
            Self::Reserve(_) => "RESERVE",
            Self::Release(_) => "RELEASE",
            Self::Preempt { abort: true, .. } => "PREEMPT AND ABORT",
            Self::Preempt { .. } => "PREEMPT",
            Self::Clear => "CLEAR",
            Self::ReadKeys => "READ KEYS",
            Self::ReadReservation => "READ RESERVATION",
        }
    }
}
