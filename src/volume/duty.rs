//! Is a path that could be used in use? What the volume itself decides of it: ejection, hold-down, trial,
//! slow start.
//!
//! ```text
//!            found gray: 5 s, doubling to 5 min
//!   on duty ────────────────────────────────────▶ out ──── time is over ───▶ on trial
//!      ▲                                           ▲                            │
//!      │ 10 s later                back from a loss, flapping                   │ passed
//!      │                                                                        ▼
//!      └──────────────────────────────────── rising (slow start) ◀──────────────┘
//!                                  found gray: out again
//! ```
//!
//! A path that is back from a loss goes on trial as well. A flapping one is held down first: each loss is a
//! penalty of 1000, each ejection one of 500, with a half-life of a minute; from 2500 on the path is out
//! until it is below 1000, for ten minutes at most (the shape of RFC 2439). Whatever is out is still the last
//! resort: it is used while no other path is, and at once.

use crate::sabotage::{self, Feature};
use std::fmt;
use std::time::{Duration, Instant};

use super::trial::{Trial, WHOLE_PAUSE};

/// The first ejection lasts so long; it doubles with each further one.
const EJECTION: Duration = Duration::from_secs(5);

/// No ejection is longer.
const EJECTION_MAX: Duration = Duration::from_secs(300);

/// So much time without one forgives an ejection.
const FORGIVEN: Duration = Duration::from_secs(300);

/// From the first command to full use.
const SLOW_START: Duration = Duration::from_secs(10);

/// All commands, in the unit of [`Duty::share`].
pub(super) const WHOLE: u32 = 10_000;

/// What a slow start begins with: one of sixteen.
const FIRST_SHARE: u32 = WHOLE / 16;

const LOSS_PENALTY: f32 = 1000.0;
const EJECTION_PENALTY: f32 = 500.0;
const HALF_LIFE: Duration = Duration::from_secs(60);
const SUPPRESS: f32 = 2500.0;
const REUSE: f32 = 1000.0;

/// Paths that are lost within so long of each other are lost together.
const TOGETHER: Duration = Duration::from_secs(5);

/// Ten half-lives above [`REUSE`]: ten minutes.
const PENALTY_MAX: f32 = REUSE * 1024.0;

/// Why a path is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutCause {
    /// It was slower than its peers, or failed more commands.
    Gray,
    /// It was lost too often.
    Flapping,
}

/// Whether a path is in use, as far as the volume decides that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DutyStatus {
    /// It is.
    On,
    /// It is, with few commands at a time so far.
    Rising,
    /// Only if no other path is, for so long.
    Out {
        /// Why.
        cause: OutCause,
        /// From now on.
        left: Duration,
    },
    /// Only if no other path is; reads show whether it may be.
    OnTrial {
        /// Reads answered in time.
        answered: u32,
        /// Of so many.
        of: u32,
    },
}

impl DutyStatus {
    /// In a word, for the journal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "in use",
            Self::Rising => "slow start",
            Self::Out {
                cause: OutCause::Gray,
                ..
            } => "ejected",
            Self::Out {
                cause: OutCause::Flapping,
                ..
            } => "held down",
            Self::OnTrial { .. } => "on trial",
        }
    }
}

impl fmt::Display for DutyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::On | Self::Rising => Ok(()),
            Self::Out { left, .. } => write!(f, " for {:.1}s", left.as_secs_f32()),
            Self::OnTrial { answered, of } => write!(f, ", {answered} of {of} reads"),
        }
    }
}

#[derive(Debug)]
enum State {
    On,
    Rising { since: Instant },
    Out { until: Instant, cause: OutCause },
    OnTrial(Box<Trial>),
}

/// Times are a tenth longer or shorter, each by chance: volumes whose paths became slow for one reason must
/// not give them up, and try them, in step. Seeded, so that a run can be repeated.
#[derive(Debug)]
struct Jitter(Option<u64>);

impl Jitter {
    /// Permille from 900 to 1100; 1000 without a seed. SplitMix64 (Steele, Lea, Flood 2014).
    fn permille(&mut self) -> u32 {
        let Some(state) = &mut self.0 else {
            return WHOLE_PAUSE;
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let drawn = u32::try_from((z ^ (z >> 31)) % 201).unwrap_or(0);
        WHOLE_PAUSE - 100 + drawn
    }

    fn of(&mut self, time: Duration) -> Duration {
        time * self.permille() / WHOLE_PAUSE
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Duty {
    jitter: Jitter,
    state: State,
    /// Ejections that are not forgiven.
    ejections: u32,
    /// When one of them is forgiven next.
    forgiven_at: Option<Instant>,
    penalty: f32,
    /// When `penalty` was right.
    penalty_at: Option<Instant>,
    /// When it was punished for a loss last.
    lost_at: Option<Instant>,
}

impl Duty {
    /// In use; times vary if there is a seed.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self {
            jitter: Jitter(seed),
            state: State::On,
            ejections: 0,
            forgiven_at: None,
            penalty: 0.0,
            penalty_at: None,
            lost_at: None,
        }
    }

    /// Not to be used while another path is.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.state, State::Out { .. } | State::OnTrial(_))
    }

    /// Is it out for being gray?
    pub(super) fn is_ejected(&self) -> bool {
        let gray = OutCause::Gray;
        matches!(self.state, State::Out { cause, .. } if cause == gray)
    }

    pub(super) fn is_on_trial(&self) -> bool {
        matches!(self.state, State::OnTrial(_))
    }

    /// Is its slow start under way?
    pub(super) fn is_rising(&self) -> bool {
        matches!(self.state, State::Rising { .. })
    }

    pub(super) fn trial_mut(&mut self) -> Option<&mut Trial> {
        match &mut self.state {
            State::OnTrial(trial) => Some(trial),
            State::On | State::Rising { .. } | State::Out { .. } => None,
        }
    }

    /// It is gray: for how long it is out.
    pub(super) fn eject(&mut self, now: Instant) -> Duration {
        self.forgive(now);
        let time = EJECTION.saturating_mul(1 << self.ejections.min(16));
        self.ejections += 1;
        self.forgiven_at = Some(now + FORGIVEN);
        self.punish(now, EJECTION_PENALTY);
        let (flapping, hold) = (OutCause::Flapping, self.hold_down());
        let (cause, time) = match hold.filter(|hold| *hold > time) {
            Some(hold) => (flapping, hold),
            None => (OutCause::Gray, time.min(EJECTION_MAX)),
        };
        let time = self.jitter.of(time);
        let until = now + time;
        self.state = State::Out { until, cause };
        time
    }

    /// Its session was lost; whether it was in use then. What fails while it is out is no further loss.
    pub(super) fn on_loss(&mut self, now: Instant, in_use: bool) {
        if in_use {
            self.punish(now, LOSS_PENALTY);
            self.lost_at = Some(now);
        }
        // What is left of an ejection stays.
        if !matches!(self.state, State::Out { .. }) {
            self.state = State::On;
        }
    }

    /// All other paths are lost as well: it was not to blame, if it was lost just now.
    pub(super) fn pardon(&mut self, now: Instant) {
        let recent = |at: &mut Instant| now.saturating_duration_since(*at) <= TOGETHER;
        if self.lost_at.take_if(recent).is_some() {
            self.penalty = (self.penalty - LOSS_PENALTY).max(0.0);
        }
    }

    /// It is ready again after a loss, and another path is in use: it has to wait or to show itself first.
    pub(super) fn on_return(&mut self, now: Instant) {
        self.punish(now, 0.0);
        let before = match self.state {
            State::Out { until, cause } => (until, cause),
            State::On | State::Rising { .. } | State::OnTrial(_) => (now, OutCause::Flapping),
        };
        let held = self.hold_down().map_or(before, |hold| {
            (now + self.jitter.of(hold), OutCause::Flapping)
        });
        let (until, cause) = if held.0 > before.0 { held } else { before };
        self.state = if until > now {
            State::Out { until, cause }
        } else {
            State::OnTrial(Box::new(Trial::new(now, self.jitter.permille())))
        };
    }

    /// Nothing else is there to be used, or to compare it with.
    pub(super) fn release(&mut self) {
        self.state = State::On;
    }

    /// The trial is passed.
    pub(super) fn rise(&mut self, now: Instant) {
        self.state = match sabotage::is_without(Feature::SlowStart) {
            true => State::On,
            false => State::Rising { since: now },
        };
    }

    /// Moves on with time; whether anything changed.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        self.forgive(now);
        match self.state {
            State::Rising { since } if since + SLOW_START <= now => self.state = State::On,
            State::Out { until, .. } if until <= now => {
                let pace = self.jitter.permille();
                self.state = State::OnTrial(Box::new(Trial::new(now, pace)));
            }
            State::On | State::Rising { .. } | State::Out { .. } | State::OnTrial(_) => {
                return false;
            }
        }
        true
    }

    /// When time alone changes something next.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::On => None,
            State::Rising { since } => Some(*since + SLOW_START),
            State::Out { until, .. } => Some(*until),
            State::OnTrial(trial) => trial.due(),
        }
    }

    /// In its slow start: of ten thousand commands of all paths, and of its own room, so many.
    pub(super) fn share(&self, now: Instant) -> Option<u32> {
        let State::Rising { since } = self.state else {
            return None;
        };
        let passed = now.saturating_duration_since(since).min(SLOW_START);
        let whole = u32::try_from(SLOW_START.as_millis()).unwrap_or(u32::MAX);
        let passed = u32::try_from(passed.as_millis()).unwrap_or(whole);
        Some(FIRST_SHARE + (WHOLE - FIRST_SHARE) / 100 * passed / (whole / 100))
    }

    pub(super) fn status(&self, now: Instant) -> DutyStatus {
        match &self.state {
            State::On => DutyStatus::On,
            State::Rising { .. } => DutyStatus::Rising,
            State::Out { until, cause } => DutyStatus::Out {
                cause: *cause,
                left: until.saturating_duration_since(now),
            },
            State::OnTrial(trial) => DutyStatus::OnTrial {
                answered: trial.answered(),
                of: super::trial::PROBES,
            },
        }
    }

    fn forgive(&mut self, now: Instant) {
        while let Some(at) = self.forgiven_at.filter(|at| *at <= now) {
            self.ejections -= 1;
            self.forgiven_at = (self.ejections > 0).then_some(at + FORGIVEN);
        }
    }

    fn punish(&mut self, now: Instant, penalty: f32) {
        if sabotage::is_without(Feature::FlapDamping) {
            return;
        }
        let since = self.penalty_at.replace(now).unwrap_or(now);
        let lives = now.saturating_duration_since(since).as_secs_f32() / HALF_LIFE.as_secs_f32();
        self.penalty = (self.penalty * (-lives).exp2() + penalty).min(PENALTY_MAX);
    }

    /// For how long a path is held down that was punished so much by now.
    fn hold_down(&self) -> Option<Duration> {
        (self.penalty >= SUPPRESS).then(|| HALF_LIFE.mul_f32((self.penalty / REUSE).log2()))
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant serves as the origin of a test's time"
)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ejections_double_up_to_five_minutes_and_are_forgiven() {
        let mut now = Instant::now();
        let mut duty = Duty::new(None);
        let mut times = Vec::new();
        for _ in 0..9 {
            times.push(duty.eject(now).as_secs());
            assert!(duty.is_out());
            now += secs(100);
        }
        assert_eq!(times[..4], [5, 10, 20, 40]);
        assert!(times.iter().all(|&time| time <= 300));
        now += secs(3600);
        assert_eq!(duty.eject(now), secs(5), "an hour without one");
    }

    #[test]
    fn the_same_trouble_does_not_bring_paths_of_several_volumes_back_in_step() {
        let t0 = Instant::now();
        let times = |seed: u64| {
            let mut duty = Duty::new(Some(seed));
            let time = |n| duty.eject(t0 + secs(100) * n);
            (0..12).map(time).collect::<Vec<_>>()
        };
        assert_eq!(times(1), times(1));
        let (one, other) = (times(1), times(2));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
        let mut plain = Duty::new(None);
        for (n, time) in (0..).zip(&one) {
            let middle = plain.eject(t0 + secs(100) * n);
            assert!(
                *time >= middle * 9 / 10 && *time <= middle * 11 / 10,
                "{time:?} {middle:?}"
            );
        }
    }

    #[test]
    fn after_an_ejection_comes_a_trial_and_then_a_slow_start() {
        let t0 = Instant::now();
        let mut duty = Duty::new(None);
        duty.eject(t0);
        assert!(!duty.advance(t0 + secs(4)));
        assert!(duty.advance(t0 + secs(5)));
        assert!(duty.is_out() && duty.trial_mut().is_some());
        duty.rise(t0 + secs(7));
        assert!(!duty.is_out());
        assert_eq!(duty.share(t0 + secs(7)), Some(WHOLE / 16));
        let half = duty.share(t0 + secs(12)).unwrap();
        assert!((5_200..5_400).contains(&half), "{half}");
        assert!(duty.share(t0 + secs(16)).unwrap() < WHOLE);
        assert!(duty.advance(t0 + secs(17)));
        assert_eq!(duty.share(t0 + secs(17)), None);
    }

    #[test]
    fn a_single_loss_costs_a_trial_and_a_flapping_path_is_held_down_ever_longer() {
        let mut now = Instant::now();
        let mut duty = Duty::new(None);
        let mut held = Vec::new();
        for _ in 0..20 {
            duty.on_loss(now, true);
            duty.on_return(now);
            held.push(match duty.status(now) {
                DutyStatus::Out {
                    cause: OutCause::Flapping,
                    left,
                } => left.as_secs(),
                DutyStatus::OnTrial { .. } => 0,
                status @ (DutyStatus::On | DutyStatus::Rising | DutyStatus::Out { .. }) => {
                    panic!("{status:?}")
                }
            });
            now += secs(2);
        }
        assert_eq!(held[..2], [0, 0]);
        assert!(held[2] >= 60, "{held:?}");
        assert!(held[2..].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(held[19] < 300, "{held:?}");
    }

    #[test]
    fn no_hold_down_is_longer_than_ten_minutes() {
        let now = Instant::now();
        let mut duty = Duty::new(None);
        (0..1_000_000).for_each(|_| duty.on_loss(now, true));
        duty.on_return(now);
        let DutyStatus::Out { left, .. } = duty.status(now) else {
            panic!("held down");
        };
        assert_eq!(left.as_secs(), 600);
    }

    #[test]
    fn what_all_paths_lose_together_is_no_flapping() {
        let mut now = Instant::now();
        let mut duty = Duty::new(None);
        for _ in 0..50 {
            duty.on_loss(now, true);
            duty.pardon(now + secs(1));
            duty.pardon(now + secs(2));
            duty.on_return(now + secs(2));
            assert!(duty.trial_mut().is_some());
            now += secs(3);
        }
    }

    #[test]
    fn what_fails_while_the_path_is_out_does_not_hold_it_down_longer() {
        let mut now = Instant::now();
        let mut duty = Duty::new(None);
        for _ in 0..50 {
            duty.on_loss(now, false);
            duty.on_return(now);
            assert!(duty.trial_mut().is_some());
            now += secs(1);
        }
    }

    #[test]
    fn losses_an_hour_apart_are_no_flapping() {
        let mut now = Instant::now();
        let mut duty = Duty::new(None);
        for _ in 0..50 {
            duty.on_loss(now, true);
            duty.on_return(now);
            assert!(duty.trial_mut().is_some());
            now += secs(3600);
        }
    }

    #[test]
    fn an_ejection_outlives_a_loss() {
        let t0 = Instant::now();
        let mut duty = Duty::new(None);
        duty.eject(t0);
        duty.on_loss(t0 + secs(1), true);
        duty.on_return(t0 + secs(2));
        assert!(matches!(
            duty.status(t0 + secs(2)),
            DutyStatus::Out { left, .. } if left == secs(3)
        ));
    }
}
