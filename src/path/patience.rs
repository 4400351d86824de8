//! How long an attempt to get at the target may take.
//!
//! A target may answer a login late: LIO ends the session that it replaces first, command by command. A black
//! hole answers never. Which of both it is cannot be seen, so each limit starts short and doubles with every
//! attempt in a row that it ended.

use std::time::{Duration, Instant};

use super::{Path, State};

/// Silence of a connected target that is asked for a login.
const LOGIN_SILENCE: Duration = Duration::from_secs(5);

/// An own attempt may take so long before a fence through a sibling goes first.
const BEFORE_FENCE: Duration = Duration::from_secs(1);

/// Each step of a fencer.
const FENCER_STEP: Duration = Duration::from_secs(5);

/// No limit grows beyond.
const LONGEST: Duration = Duration::from_secs(60);

/// Attempts in a row that a limit ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    silent_logins: u32,
    failed_fencers: u32,
}

impl Patience {
    /// The target answered a login of the path's own.
    pub(super) fn on_login(&mut self) {
        self.silent_logins = 0;
    }

    /// A fencer has ended, with success or without.
    pub(super) fn on_fencer(&mut self, passed: bool) {
        self.failed_fencers = if passed {
            0
        } else {
            self.failed_fencers.saturating_add(1)
        };
    }

    pub(super) fn before_fence(self) -> Duration {
        grown(BEFORE_FENCE, self.failed_fencers)
    }

    pub(super) fn fencer_step(self) -> Duration {
        grown(FENCER_STEP, self.failed_fencers)
    }

    fn login_silence(self) -> Duration {
        grown(LOGIN_SILENCE, self.silent_logins)
    }
}

fn grown(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(8)).min(LONGEST)
}

impl Path {
    /// When a login on which nothing is heard is given up; the limit of the whole login is the session's.
    pub(super) fn login_silent_at(&self) -> Option<Instant> {
        if !matches!(self.state, State::LoggingIn) {
            return None;
        }
        let last = self
            .heard()
            .map_or(self.since, |heard| heard.max(self.since));
        Some(last + self.patience.login_silence())
    }

    /// Gives up a login on which nothing is heard.
    pub(super) fn check_login(&mut self, now: Instant) {
        if self.login_silent_at().is_some_and(|at| at <= now) {
            let waited = self.patience.login_silence().as_secs();
            self.patience.silent_logins = self.patience.silent_logins.saturating_add(1);
            self.lose(
                now,
                &format!("connected, but no answer to the login for {waited} s"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_doubles_up_to_a_bound_and_falls_back_with_success() {
        let mut patience = Patience::default();
        let first = (patience.before_fence(), patience.fencer_step());
        patience.on_fencer(false);
        assert_eq!(
            (patience.before_fence(), patience.fencer_step()),
            (first.0 * 2, first.1 * 2)
        );
        for _ in 0..100 {
            patience.on_fencer(false);
        }
        assert_eq!(patience.fencer_step(), LONGEST);
        patience.on_fencer(true);
        assert_eq!((patience.before_fence(), patience.fencer_step()), first);
    }
}
