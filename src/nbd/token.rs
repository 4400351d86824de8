//! The right and the duty to answer one request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tracing::error;

/// What a reply needs to know of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    /// The client's name for the request.
    pub(super) cookie: u64,
    /// Which answer is expected.
    pub(super) kind: OwedKind,
    /// First byte of its range.
    pub(super) offset: u64,
    /// Length of its range.
    pub(super) length: u32,
    /// Payload bytes that it holds of the connection's budget.
    pub(super) held: u64,
}

/// Commands, as far as their replies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwedKind {
    /// A success carries data.
    Read {
        /// The client asked for one content chunk.
        unfragmented: bool,
    },
    /// A success is an error code of zero.
    Plain {
        /// ENOTSUP is an answer that the client asked for.
        fast_zero: bool,
    },
}

/// Shared by a connection and its tokens: whether one was dropped without an answer.
#[derive(Debug, Default)]
pub(super) struct Forgotten(AtomicBool);

impl Forgotten {
    /// # Panics
    /// If a token was dropped while its connection lived.
    pub(super) fn assert_none(&self) {
        let forgotten = self.0.load(Ordering::Relaxed);
        assert!(!forgotten, "an NBD request was dropped without an answer");
    }
}

/// A request that is not answered yet. It must go back to its [`super::Connection`]; dropping it while that
/// lives is a bug of ours, and the connection panics at its next turn. Once the connection is gone, it may be
/// dropped.
#[derive(Debug)]
#[must_use = "an NBD client waits for the answer"]
pub struct RequestToken {
    owner: Weak<Forgotten>,
    owed: Owed,
    answered: bool,
}

impl RequestToken {
    pub(super) fn new(owner: &Arc<Forgotten>, owed: Owed) -> Self {
        let owner = Arc::downgrade(owner);
        Self {
            owner,
            owed,
            answered: false,
        }
    }

    /// Gives up the token for what is owed.
    ///
    /// # Panics
    /// If the token belongs to another connection.
    pub(super) fn redeem(mut self, owner: &Arc<Forgotten>) -> Owed {
        self.answered = true;
        assert!(
            std::ptr::eq(self.owner.as_ptr(), Arc::as_ptr(owner)),
            "a reply went to another client's connection"
        );
        self.owed
    }
}

impl Drop for RequestToken {
    fn drop(&mut self) {
        if !self.answered
            && let Some(owner) = self.owner.upgrade()
        {
            error!(request = ?self.owed, "an NBD request was dropped without an answer");
            owner.0.store(true, Ordering::Relaxed);
        }
    }
}
