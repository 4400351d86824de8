//! What a volume has been told and has said: all that its future depends on.

use super::step::{Input, Write, Writes};
use super::{PATHS, WRITES_MAX};

/// A path as its volume knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KnownPath {
    pub(super) up: bool,
    pub(super) in_flight: Writes,
    /// Lost sessions that were not fenced yet, oldest first, with what may still be executed.
    pub(super) lost: Vec<Writes>,
    /// How often it gave up each write.
    gave_up: [u8; WRITES_MAX + 1],
}

/// See the module's documentation. Equal for two histories that differ only in numbers of tasks and
/// sessions, or in the order in which commands were sent: slots never run out, so that order is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Known {
    pub(super) asked: Write,
    /// Executed as far as the volume knows.
    pub(super) answered: Writes,
    pub(super) acknowledged: Writes,
    pub(super) paths: [KnownPath; PATHS],
    /// Which path gave up a write last: where its next attempt does not go if there is another.
    avoided: [Option<usize>; WRITES_MAX + 1],
    /// The volume's own figures, for more certainty: what waits for a path, what for a range, ghosts.
    pub(super) figures: [usize; 3],
}

impl Known {
    /// All that may come, in a world of so many writes and of a target that could do anything.
    pub(super) fn inputs(&self, writes: usize) -> Vec<Input> {
        let mut inputs = Vec::new();
        if usize::from(self.asked) < writes {
            inputs.push(Input::Ask);
        }
        for (number, path) in self.paths.iter().enumerate() {
            inputs.extend((0..path.lost.len()).map(|upto| Input::Fence(number, upto)));
            if !path.up {
                inputs.push(Input::Return(number));
                continue;
            }
            inputs.extend(path.in_flight.iter().map(|w| Input::Answer(number, w)));
            for reached in path.in_flight.subsets() {
                inputs.push(Input::Lose(number, reached));
                inputs.extend(reached.iter().map(|w| Input::GiveUp(number, w, reached)));
            }
        }
        inputs
    }

    /// The same with the paths exchanged.
    pub(super) fn mirrored(&self) -> Self {
        let mut mirrored = self.clone();
        mirrored.paths.reverse();
        for path in mirrored.avoided.iter_mut().flatten() {
            *path = 1 - *path;
        }
        mirrored
    }

    pub(super) fn note_given_up(&mut self, path: usize, write: Write) {
        self.paths[path].gave_up[usize::from(write)] += 1;
        self.avoided[usize::from(write)] = Some(path);
    }
}

/// What a volume did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// Writes that it acknowledged.
    pub(super) acknowledged: Writes,
}
