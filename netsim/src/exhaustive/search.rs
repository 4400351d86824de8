//! The search: depth first, each state once.

use std::collections::HashSet;
use std::fmt;
use std::time::Instant;

use super::machine::{Machine, StateId};
use super::step::Step;
use super::target::Target;
use super::{SmallWorld, WRITES_MAX};

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Different states of the world.
    pub states: u64,
    /// Steps tried, those that led to a known state included.
    pub transitions: u64,
    /// States in which nothing is left to happen.
    pub ends: u64,
    /// Different states of the volume.
    pub volume_states: u64,
    /// The first broken rule; the search ends with it.
    pub violation: Option<Violation>,
}

/// A broken rule and how the world came to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was broken.
    pub what: String,
    /// Every step from the beginning.
    pub steps: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number:>3}. {step}")?;
        }
        f.write_str(&self.what)
    }
}

/// Tries everything that can happen in that world. `origin` is the volume's first moment.
///
/// # Panics
/// If the world is not small.
#[must_use]
pub fn explore(small: &SmallWorld, origin: Instant) -> Explored {
    assert!(small.writes.len() <= WRITES_MAX, "a small world");
    let mut search = Search {
        small,
        machine: Machine::new(small, origin),
        seen: HashSet::new(),
        way: Vec::new(),
        explored: Explored::default(),
    };
    let beginning = State {
        volume: 0,
        target: Target::new(small),
    };
    search.enter(beginning, false);
    search.explored.volume_states = search.machine.len() as u64;
    search.explored
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    volume: StateId,
    target: Target,
}

struct Search<'a> {
    small: &'a SmallWorld,
    machine: Machine<'a>,
    seen: HashSet<State>,
    /// Steps so far, as a spectator calls the paths.
    way: Vec<Step>,
    explored: Explored,
}

impl Search<'_> {
    /// Goes on from a state; `exchanged`: it calls the paths the other way round than a spectator.
    fn enter(&mut self, state: State, exchanged: bool) {
        if !self.seen.insert(state) {
            return;
        }
        self.explored.states += 1;
        let known = self.machine.known(state.volume);
        let inputs = self.machine.inputs(state.volume);
        let steps = state.target.steps(&known, &inputs);
        if steps.is_empty() {
            self.explored.ends += 1;
            self.check(state.target.check_end(self.small, &known));
        }
        for step in steps {
            self.way
                .push(if exchanged { step.mirrored() } else { step });
            self.take(state, exchanged, step);
            if self.explored.violation.is_some() {
                return;
            }
            self.way.pop();
        }
    }

    fn take(&mut self, mut state: State, exchanged: bool, step: Step) {
        let done = state.target.take(self.small, step);
        if !self.check(done) {
            return;
        }
        let Step::Input(input) = step else {
            self.explored.transitions += 1;
            return self.enter(state, exchanged);
        };
        for edge in self.machine.edges(state.volume, input).iter() {
            self.explored.transitions += 1;
            let edge = match edge {
                Ok(edge) => edge,
                Err(what) => {
                    self.check(Err(what.clone()));
                    return;
                }
            };
            for write in edge.output.acknowledged.iter() {
                let early = state.target.check_acknowledged(self.small, write);
                if !self.check(early) {
                    return;
                }
            }
            let target = if edge.exchanged {
                state.target.mirrored()
            } else {
                state.target
            };
            let volume = edge.to;
            self.enter(State { volume, target }, exchanged != edge.exchanged);
            if self.explored.violation.is_some() {
                return;
            }
        }
    }

    /// Whether the rule holds; if not, this is the end.
    fn check(&mut self, rule: Result<(), String>) -> bool {
        let Err(what) = rule else {
            return true;
        };
        let steps = self.way.iter().map(Step::to_string).collect();
        self.explored
            .violation
            .get_or_insert(Violation { what, steps });
        false
    }
}
