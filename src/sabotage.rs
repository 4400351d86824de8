//! Defects on purpose: the proof that the simulator's oracle bites.
//!
//! Without the feature `sabotage` (which only netsim's tests ask for) the question whether a rule is
//! broken has the constant answer `false`, and nothing of this is in the program.

/// A safety rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Writes do not wait for ghosts.
    GhostRuleOff,
    /// A fence is reported at the login, before its barrier.
    FenceAtLogin,
    /// What is known to have been sent is called `Unsent`.
    SentCalledUnsent,
    /// A write of unknown fate is acknowledged without being tried again.
    LostWriteAcknowledged,
    /// Ghosts are let go long before the quiesce time.
    QuiesceTooShort,
    /// A fence of one session of a path passes for one of those that follow, too.
    StaleFence,
    /// A flush is acknowledged at once.
    FlushNotWaiting,
    /// Any logical unit is taken for the volume's.
    IdentityUnchecked,
    /// A login through any portal passes for a fence, whether it shares sessions or not.
    ForeignFence,
    /// Writes that are late are sent on a second path, as reads are.
    HedgedWrites,
}

impl Sabotage {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::GhostRuleOff,
        Self::FenceAtLogin,
        Self::SentCalledUnsent,
        Self::LostWriteAcknowledged,
        Self::QuiesceTooShort,
        Self::StaleFence,
        Self::FlushNotWaiting,
        Self::IdentityUnchecked,
        Self::ForeignFence,
        Self::HedgedWrites,
    ];
}

#[cfg(feature = "sabotage")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Sabotage>> = const { std::cell::Cell::new(None) };
}

/// Breaks that rule, or none, in everything that this test does from now on.
#[cfg(feature = "sabotage")]
pub fn set(sabotage: Option<Sabotage>) {
    ACTIVE.set(sabotage);
}

/// Whether the rule is broken.
#[cfg(feature = "sabotage")]
pub(crate) fn is(sabotage: Sabotage) -> bool {
    ACTIVE.get() == Some(sabotage)
}

/// Whether the rule is broken: it is not.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn is(_: Sabotage) -> bool {
    false
}
