//! What an engine wants done.

use std::fmt;

use crate::ids::PathId;
use crate::iscsi::name::PortalAddr;
use crate::path::Link;

use super::ClientId;

/// One TCP connection of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    /// The path.
    pub path: PathId,
    /// Which of its two connections.
    pub link: Link,
}

/// What the engine wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect; answer with [`super::Engine::on_connected`] or [`super::Engine::on_closed`]. Replaces what
    /// the link was before.
    Dial {
        /// The link.
        link: LinkId,
        /// The path whose NIC and source address are used.
        via: PathId,
        /// Where to.
        to: PortalAddr,
    },
    /// Drop the link's connection or the attempt to make one, abortively; nothing more is told of it.
    Hangup {
        /// The link.
        link: LinkId,
    },
    /// Tell what the kernel knows of the link's connection; answer with [`super::Engine::on_network`].
    Observe {
        /// The link.
        link: LinkId,
    },
    /// Close the client's connection; what it was promised has been written, or it broke the protocol.
    CloseClient {
        /// The client.
        client: ClientId,
    },
    /// The volume's unit was identified for the first time in this run: export it.
    Online,
    /// One more path than before was used in this run ([`super::Engine::used_paths`]), or others than before
    /// led to another unit ([`super::Engine::distrusted_paths`]): remember it.
    PathsUsed,
    /// The unit has grown: clients that connect from now on are told the new size.
    Resized,
    /// The reservation key, or what became of it, has changed: remember
    /// [`super::Engine::remembered_key`].
    KeyChanged,
    /// A removed path is logged out, and nothing that it left behind can execute any more.
    PathGone {
        /// The path.
        path: PathId,
    },
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link {
            Link::Main => write!(f, "path {}", self.path),
            Link::Fencer => write!(f, "fencer of path {}", self.path),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { link, via, to } if link.path == *via => write!(f, "{link} dials {to}"),
            Self::Dial { link, via, to } => write!(f, "{link} dials {to} over path {via}"),
            Self::Hangup { link } => write!(f, "{link} hangs up"),
            Self::Observe { link } => write!(f, "{link} looks at the network"),
            Self::CloseClient { client } => write!(f, "client {} is closed", client.0),
            Self::Online => f.write_str("the unit is exported"),
            Self::PathsUsed => f.write_str("what is to be remembered of the paths is new"),
            Self::Resized => f.write_str("the unit has grown"),
            Self::KeyChanged => f.write_str("the reservation key has changed"),
            Self::PathGone { path } => write!(f, "path {path} is gone"),
        }
    }
}
