//! Watches a daemon's paths through its control socket: their states, and what they carry.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use iiblockdaemon::control::report::{Duty, PathReport, PathState, StatusReport};
use iiblockdaemon::shell::control_client;
use tokio::task::JoinHandle;

use crate::clock;
use crate::recording::{Carried, PathRecord, REMOVED};

/// How often the daemon is asked. States that come and go in between are not seen.
const PERIOD: Duration = Duration::from_millis(20);

/// What was seen of one path.
#[derive(Debug, Default)]
struct Seen {
    portal: String,
    states: Vec<(Instant, String, String)>,
    /// Commands and bytes so far.
    counters: Vec<(Instant, u64, u64)>,
    /// Losses so far.
    losses: u64,
}

/// A watch over a running daemon; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Starts to watch on the current runtime. A daemon that does not answer is asked again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(control_socket: PathBuf) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(watch(control_socket, Arc::clone(&seen)));
        Self { seen, task }
    }

    /// What was seen of the path through each of `portals`, between two moments and per interval.
    #[must_use]
    pub fn paths(
        &self,
        portals: &[SocketAddr],
        (began, ended): (Instant, Instant),
        interval: Duration,
    ) -> Vec<PathRecord> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |portal: &SocketAddr| {
            let portal = portal.to_string();
            let path = seen.iter().find(|path| path.portal == portal);
            path.map(|path| path.record(began, ended, interval))
                .unwrap_or_default()
        };
        portals.iter().map(of).collect()
    }
}

async fn watch(socket: PathBuf, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let socket = socket.clone();
        let asked = tokio::task::spawn_blocking(move || control_client::status(&socket, None));
        if let Ok(Ok(report)) = asked.await {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut seen, clock::now(), &report);
        }
        clock::sleep_until(Some(clock::now() + PERIOD)).await;
    }
}

fn note(seen: &mut Vec<Seen>, now: Instant, report: &StatusReport) {
    let paths = report.volumes.iter().flat_map(|volume| &volume.paths);
    let mut told: Vec<&str> = Vec::new();
    for path in paths {
        let known = seen.iter().position(|seen| seen.portal == path.portal);
        let index = known.unwrap_or(seen.len());
        if known.is_none() {
            seen.push(Seen {
                portal: path.portal.clone(),
                ..Seen::default()
            });
        }
        let Some(seen) = seen.get_mut(index) else {
            continue;
        };
        // Several sessions of a path count as one path; its state is that of the first.
        if told.contains(&path.portal.as_str()) {
            seen.add(path);
        } else {
            seen.note(now, path);
        }
        told.push(&path.portal);
    }
    let gone = |seen: &&mut Seen| !told.contains(&seen.portal.as_str());
    seen.iter_mut().filter(gone).for_each(|seen| seen.end(now));
}

/// What a path that is ready is used for.
fn duty(duty: Duty) -> &'static str {
    match duty {
        Duty::InUse | Duty::SlowStart => "ready",
        Duty::Ejected => "ejected",
        Duty::HeldDown => "held-down",
        Duty::OnTrial => "on-trial",
    }
}

fn has_session(state: PathState) -> bool {
    matches!(
        state,
        PathState::Ready | PathState::Probation | PathState::Suspect | PathState::Probing
    )
}

impl Seen {
    fn note(&mut self, now: Instant, path: &PathReport) {
        let asked_before = self.counters.last().map(|seen| seen.0);
        let lost = path.losses > std::mem::replace(&mut self.losses, path.losses);
        self.counters.push((now, path.commands, path.bytes));
        // A path out of use says since when it has been so, which may be several states ago.
        let since = now.checked_sub(Duration::from_millis(path.since_ms));
        let since = since.unwrap_or(now);
        if let Some(before) = asked_before.filter(|_| lost && has_session(path.state)) {
            let why = "lost, and back before anybody looked".to_owned();
            self.states
                .push((since.max(before), "down".to_owned(), why));
        }
        // The answer was some time under way.
        let changed = asked_before.is_none_or(|before| since > before + PERIOD);
        let state = if path.state == PathState::Ready {
            duty(path.duty)
        } else {
            path.state.name()
        };
        if let Some(last) = self.states.last_mut()
            && last.1 == state
            && !changed
        {
            // The same stay in it, perhaps explained better by now.
            last.2.clone_from(&path.why);
            return;
        }
        let began = asked_before.map_or(since, |before| since.max(before));
        let state = (began, state.to_owned(), path.why.clone());
        self.states.push(state);
    }

    /// A further session of it, of the same report.
    fn add(&mut self, path: &PathReport) {
        if let Some((_, commands, bytes)) = self.counters.last_mut() {
            *commands += path.commands;
            *bytes += path.bytes;
        }
    }

    /// The configuration does not have it any more.
    fn end(&mut self, now: Instant) {
        if self.states.last().is_none_or(|last| last.1 != REMOVED) {
            let why = "not in the configuration".to_owned();
            self.states.push((now, REMOVED.to_owned(), why));
        }
    }

    fn record(&self, began: Instant, ended: Instant, interval: Duration) -> PathRecord {
        let mut carried = Vec::new();
        let (mut at, mut before) = (began, self.counters_at(began));
        while at < ended {
            at += interval;
            let after = self.counters_at(at);
            carried.push(Carried {
                commands: after.0.saturating_sub(before.0),
                bytes: after.1.saturating_sub(before.1),
            });
            before = after;
        }
        let mut states: Vec<(Duration, String, String)> = Vec::new();
        for (since, state, why) in self.states.iter().filter(|state| state.0 < ended) {
            let since = since.saturating_duration_since(began);
            // What was before the beginning is over, but for the last.
            if since.is_zero() {
                states.clear();
            }
            states.push((since, state.clone(), why.clone()));
        }
        PathRecord {
            states,
            carried,
            ..PathRecord::default()
        }
    }

    /// The counters at a moment, in proportion between the two times at which they were seen.
    fn counters_at(&self, at: Instant) -> (u64, u64) {
        let index = self.counters.partition_point(|seen| seen.0 <= at);
        let after = self.counters.get(index);
        let before = index.checked_sub(1).and_then(|i| self.counters.get(i));
        let (Some(before), Some(after)) = (before, after) else {
            return before.or(after).map_or((0, 0), |seen| (seen.1, seen.2));
        };
        let share = (at - before.0).as_nanos();
        let whole = (after.0 - before.0).as_nanos().max(1);
        let between = |before: u64, after: u64| {
            let grown = u128::from(after.saturating_sub(before)) * share / whole;
            before + u64::try_from(grown).unwrap_or(0)
        };
        (between(before.1, after.1), between(before.2, after.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_a_path_carried_is_shared_out_over_the_intervals() {
        let t = clock::now();
        let seen = Seen {
            counters: vec![(t, 10, 100), (t + 20 * MS, 30, 500), (t + 30 * MS, 30, 500)],
            ..Seen::default()
        };
        let record = seen.record(t, t + 30 * MS, 10 * MS);
        let carried = |commands, bytes| Carried { commands, bytes };
        assert_eq!(
            record.carried,
            [carried(10, 200), carried(10, 200), carried(0, 0)]
        );
    }

    #[test]
    fn states_begin_when_they_began_and_the_one_at_the_start_counts() {
        let t = clock::now();
        let state = |at: u32, name: &str| (t + at * MS, name.to_owned(), String::new());
        let seen = Seen {
            states: vec![
                state(0, "connecting"),
                state(5, "ready"),
                state(40, "down"),
                state(90, "connecting"),
            ],
            ..Seen::default()
        };
        let record = seen.record(t + 10 * MS, t + 80 * MS, 10 * MS);
        let expected = [
            (Duration::ZERO, "ready".to_owned(), String::new()),
            (30 * MS, "down".to_owned(), String::new()),
        ];
        assert_eq!(record.states, expected);
    }
}
