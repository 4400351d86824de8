//! The states of a path, and the one function that changes them and says so.
//!
//! What is logged: INFO for every state that a path enters with news for an administrator, WARN when it
//! goes out of use or a human is needed. While it is out of use each reason is said once, however often
//! the path tries; the rest is DEBUG.

use std::collections::BTreeSet;
use std::time::Instant;

use super::message::{Message, Standing};
use super::{Path, State};

/// Reasons that are remembered as said; more than that and the log repeats itself.
const REASONS_MAX: usize = 16;

/// Why a path is out of use, and since when.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    pub(super) since: Instant,
    said: BTreeSet<String>,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Down { .. } => "Down",
            Self::Connecting { .. } => "Connecting",
            Self::LoggingIn => "LoggingIn",
            Self::Probing => "Probing",
            Self::Probation { .. } => "Probation",
            Self::Ready => "Ready",
            Self::Suspect => "Suspect",
            Self::Disabled { .. } => "Disabled",
            Self::Stopped => "Stopped",
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Probation { .. } => Standing::Probation,
            Self::Ready => Standing::Ready,
            // A path in use that is identified again has commands in flight, which may finish.
            Self::Suspect | Self::Probing => Standing::Suspect,
            Self::Down { .. }
            | Self::Connecting { .. }
            | Self::LoggingIn
            | Self::Disabled { .. }
            | Self::Stopped => Standing::Unusable,
        }
    }

    /// The table of the parent module's documentation.
    fn may_become(&self, next: &Self) -> bool {
        match next {
            Self::Down { .. } | Self::Disabled { .. } | Self::Stopped => true,
            Self::Connecting { .. } => matches!(self, Self::Down { .. } | Self::Disabled { .. }),
            Self::LoggingIn => matches!(self, Self::Connecting { .. }),
            Self::Probing => matches!(
                self,
                Self::LoggingIn
                    | Self::Probing
                    | Self::Probation { .. }
                    | Self::Ready
                    | Self::Suspect
            ),
            Self::Probation { .. } => matches!(self, Self::Probing),
            Self::Ready => {
                matches!(self, Self::Probing | Self::Probation { .. } | Self::Suspect)
            }
            Self::Suspect => matches!(self, Self::Ready),
        }
    }
}

impl Path {
    /// The one function that makes transitions.
    pub(super) fn enter(&mut self, now: Instant, next: State, why: &str) {
        let (from, to) = (self.state.name(), next.name());
        assert!(
            self.state.may_become(&next),
            "no transition from {from} to {to}"
        );
        let (before, after) = (self.state.standing(), next.standing());
        self.state = next;
        self.since = now;
        why.clone_into(&mut self.why);
        self.announce(now, from, to);
        if before != after && self.admitted {
            let incarnation = self.incarnation;
            self.messages.push_back(Message::Standing {
                incarnation,
                standing: after,
            });
        }
    }

    fn announce(&mut self, now: Instant, from: &'static str, to: &'static str) {
        let (path, incarnation, why) = (&self.config.name, self.incarnation, &self.why);
        match self.state {
            State::Connecting { .. } | State::LoggingIn => {}
            State::Probing if !self.admitted => {}
            State::Down { .. } | State::Disabled { .. } if self.trouble.is_some() => {
                self.journal.repeat(now, incarnation, to, why);
            }
            State::Down { .. }
            | State::Disabled { .. }
            | State::Probing
            | State::Probation { .. }
            | State::Ready
            | State::Suspect
            | State::Stopped => self.journal.note(now, incarnation, to, why),
        }
        match self.state {
            _ if self.quiet => {
                tracing::debug!(%path, %incarnation, from, to, why, "path");
            }
            State::Down { .. } | State::Disabled { .. } => {
                let first = self.trouble.is_none();
                let trouble = self.trouble.get_or_insert_with(|| Trouble {
                    why: String::new(),
                    since: now,
                    said: BTreeSet::new(),
                });
                why.clone_into(&mut trouble.why);
                let news = trouble.said.len() < REASONS_MAX && trouble.said.insert(why.clone());
                let human = matches!(self.state, State::Disabled { .. });
                if news && human {
                    tracing::warn!(%path, %incarnation, from, to, why, "path needs an administrator");
                } else if first {
                    tracing::warn!(%path, %incarnation, from, to, why, "path out of use; it is tried again");
                } else if news {
                    tracing::info!(%path, %incarnation, from, to, why, "path");
                } else {
                    tracing::debug!(%path, %incarnation, from, to, why, "path");
                }
            }
            State::Ready | State::Probation { .. } => {
                self.trouble = None;
                tracing::info!(%path, %incarnation, from, to, why, "path");
            }
            State::Suspect | State::Stopped => {
                tracing::info!(%path, %incarnation, from, to, why, "path");
            }
            State::Probing if self.admitted => {
                tracing::info!(%path, %incarnation, from, to, why, "path");
            }
            State::Connecting { .. } | State::LoggingIn | State::Probing => {
                tracing::debug!(%path, %incarnation, from, to, why, "path");
            }
        }
    }

    /// Since when, and why, for the administrator: a path that is out of use is so since it went out of
    /// use, for the reason of its last attempt.
    pub(super) fn explanation(&self) -> (Instant, &str) {
        match &self.trouble {
            Some(trouble) if !matches!(self.state, State::Stopped) => (trouble.since, &trouble.why),
            Some(_) | None => (self.since, &self.why),
        }
    }
}
