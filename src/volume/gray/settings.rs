//! What is done about paths that are slow, as it is configured.

/// What a path shares with others, and they may lose together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Number of its portal.
    pub portal: u16,
    /// Number of its NIC or source address.
    pub nic: u16,
}

/// What is done about paths that are slow, and about slow reads.
#[derive(Clone, Debug, Default)]
pub struct GrayConfig {
    /// A path that is slower than its peers is put out of use.
    pub eject: bool,
    /// A path that was lost shows that it is as good as the others before it is used beside them.
    pub prove: bool,
    /// Of ten thousand reads so many may be sent on a second path when they are late; 0: none.
    pub hedge: u32,
    /// What each path shares with others; empty: nothing.
    pub domains: Vec<Domain>,
    /// Of the jitter of the times for which a path is out; `None`: they do not vary.
    pub jitter: Option<u64>,
}
