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
    /// Identifiers alone say which unit is the volume's.
    SamenessUnchecked,
    /// A LOGICAL UNIT RESET passes for a fence of all lost sessions, whatever their connections still
    /// deliver.
    ResetAloneIsAFence,
    /// What the target calls aborted is taken not to execute any more.
    AbortIsAFence,
}

impl Sabotage {
    /// All.
    pub const ALL: [Self; 13] = [
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
        Self::SamenessUnchecked,
        Self::ResetAloneIsAFence,
        Self::AbortIsAFence,
    ];
}

/// A feature that is left out on purpose: the proof that a drill needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// The kernel's view of what was sent and not acknowledged.
    NetworkClock,
    /// What the silence of pings says.
    PingClock,
    /// What the system says of carriers, NICs, addresses and routes.
    Uplink,
    /// A path is identified again when its unit may have changed.
    Recheck,
    /// Paths that are lost again and again are held back.
    FlapDamping,
    /// A path that was lost shows that it is as good as the others.
    Trial,
    /// And carries little at first.
    SlowStart,
    /// What has waited for a path goes out at a measured rate.
    PacedDrain,
    /// A unit that has grown is served with its new size.
    Growth,
    /// Paths hurry when none is left.
    Hurry,
    /// A path that comes back is registered with the volume's reservation key before it is used.
    Registration,
    /// A path has no more commands in flight than its target bears.
    Window,
    /// A command waits in the volume until a path has room for it.
    LateBinding,
    /// What happened is written down.
    Journal,
}

#[cfg(feature = "sabotage")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Sabotage>> = const { std::cell::Cell::new(None) };
    static LEFT_OUT: std::cell::Cell<Option<Feature>> = const { std::cell::Cell::new(None) };
}

/// Leaves that feature out, or none, in everything that this test does from now on.
#[cfg(feature = "sabotage")]
pub fn leave_out(feature: Option<Feature>) {
    LEFT_OUT.set(feature);
}

/// Whether the feature is left out.
#[cfg(feature = "sabotage")]
pub(crate) fn is_without(feature: Feature) -> bool {
    LEFT_OUT.get() == Some(feature)
}

/// Whether the feature is left out: it is not.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn is_without(_: Feature) -> bool {
    false
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
