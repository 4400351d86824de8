//! The volume as a machine with states: what it does in each of them is found out once.
//!
//! A volume cannot be copied. So a state is reached by playing the inputs that led to it first again, and
//! what an input does there is kept. That two histories with the same [`Known`] lead to the same state is
//! an assumption; one arrival in [`CONFIRMED_ONE_IN`] puts it to the test.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use iiblockdaemon::path::message::Unit;

use super::SmallWorld;
use super::host::{self, Host};
use super::known::{Known, Output};
use super::step::Input;

const CONFIRMED_ONE_IN: usize = 64;

/// A state of the volume.
pub(super) type StateId = u32;

/// What an input can lead to; one for each choice of paths that the volume had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) output: Output,
    pub(super) to: StateId,
    /// That state calls the paths the other way round.
    pub(super) exchanged: bool,
}

type Edges = Rc<[Result<Edge, String>]>;

/// Inputs from the beginning, with the paths that were chosen in each.
type History = Vec<(Input, Vec<usize>)>;

struct State {
    known: Rc<Known>,
    inputs: Rc<[Input]>,
    history: Rc<History>,
    /// The history calls the paths the other way round.
    exchanged: bool,
}

pub(super) struct Machine<'a> {
    small: &'a SmallWorld,
    unit: Arc<Unit>,
    origin: Instant,
    states: Vec<State>,
    by_known: HashMap<Rc<Known>, StateId>,
    edges: HashMap<(StateId, Input), Edges>,
    arrivals: usize,
}

impl<'a> Machine<'a> {
    /// The machine and its first state, 0.
    pub(super) fn new(small: &'a SmallWorld, origin: Instant) -> Self {
        let mut machine = Self {
            small,
            unit: Arc::new(host::unit()),
            origin,
            states: Vec::new(),
            by_known: HashMap::new(),
            edges: HashMap::new(),
            arrivals: 0,
        };
        let known = Host::new(small, &machine.unit, origin).known();
        machine.intern(&known, &History::new(), false);
        machine
    }

    pub(super) fn known(&self, state: StateId) -> Rc<Known> {
        Rc::clone(&self.states[state as usize].known)
    }

    /// All that may come in that state, of a target that could do anything.
    pub(super) fn inputs(&self, state: StateId) -> Rc<[Input]> {
        Rc::clone(&self.states[state as usize].inputs)
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// What that input can lead to from that state.
    pub(super) fn edges(&mut self, state: StateId, input: Input) -> Edges {
        if let Some(edges) = self.edges.get(&(state, input)) {
            return Rc::clone(edges);
        }
        let State {
            history, exchanged, ..
        } = &self.states[state as usize];
        let (history, exchanged) = (Rc::clone(history), *exchanged);
        let edges = self.play(&history, exchanged, input);
        self.edges.insert((state, input), Rc::clone(&edges));
        edges
    }

    /// Plays a history and then the input, in every way that the volume may choose.
    fn play(&mut self, history: &History, exchanged: bool, input: Input) -> Edges {
        let input = if exchanged { input.mirrored() } else { input };
        let mut edges = Vec::new();
        let mut scripts = vec![Vec::new()];
        while let Some(script) = scripts.pop() {
            let mut host = Host::new(self.small, &self.unit, self.origin);
            for (input, choices) in history {
                let outcome = host.take(*input, choices);
                outcome.expect("the same inputs lead to the same state");
            }
            let outcome = host.take(input, &script);
            let made = host.choices();
            let choices: Vec<usize> = made.iter().map(|choice| choice.taken).collect();
            for (place, choice) in made.iter().enumerate().skip(script.len()) {
                let before = &choices[..place];
                scripts.extend((1..choice.of).map(|other| [before, &[other]].concat()));
            }
            edges.push(outcome.map(|output| {
                let mut history = history.clone();
                history.push((input, choices));
                self.arrive(&host.known(), history, exchanged, output)
            }));
        }
        edges.into()
    }

    fn arrive(&mut self, known: &Known, history: History, exchanged: bool, output: Output) -> Edge {
        let known = if exchanged {
            known.mirrored()
        } else {
            known.clone()
        };
        let mirrored = known.mirrored();
        let again = mirrored < known;
        let known = if again { mirrored } else { known };
        let (to, is_new) = self.intern(&known, &history, exchanged != again);
        self.arrivals += 1;
        if !is_new && self.arrivals.is_multiple_of(CONFIRMED_ONE_IN) {
            self.confirm(to, &history, exchanged != again);
        }
        Edge {
            output,
            to,
            exchanged: again,
        }
    }

    /// The state's number, and whether it is new.
    fn intern(&mut self, known: &Known, history: &History, exchanged: bool) -> (StateId, bool) {
        if let Some(&state) = self.by_known.get(known) {
            return (state, false);
        }
        let state = StateId::try_from(self.states.len()).expect("fewer states than memory");
        let known = Rc::new(known.clone());
        self.by_known.insert(Rc::clone(&known), state);
        self.states.push(State {
            inputs: known.inputs(self.small.writes.len()).into(),
            known,
            history: Rc::new(history.clone()),
            exchanged,
        });
        (state, true)
    }

    /// Another history to the same state: everything must go on the same way.
    fn confirm(&mut self, state: StateId, history: &History, exchanged: bool) {
        for input in self.inputs(state).iter() {
            let first = self.edges(state, *input);
            let other = self.play(history, exchanged, *input);
            let same = first.len() == other.len() && other.iter().all(|edge| first.contains(edge));
            assert!(
                same,
                "two histories of one state differ in what {input} does"
            );
        }
    }
}
