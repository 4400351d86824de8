//! The target: what it has executed, and what it may still execute.

use super::known::Known;
use super::step::{Input, Step, Write, Writes};
use super::{BLOCKS, Blocks, LOSSES_MAX, PATHS, SmallWorld};

/// Lost sessions of a path: one more if an earlier run left one.
const LOST_MAX: usize = LOSSES_MAX as usize + 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sessions {
    /// Of the commands in flight, those that were executed.
    executed: Writes,
    /// Of each lost session that was not fenced yet, oldest first: what may still be executed.
    lost: [Writes; LOST_MAX],
    lost_count: usize,
}

/// The target, and the bound on what the network may do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    disk: [Write; BLOCKS],
    losses_left: u8,
    paths: [Sessions; PATHS],
}

impl Target {
    pub(super) fn new(small: &SmallWorld) -> Self {
        let mut sessions = Sessions::default();
        if small.unclean {
            sessions.push_lost(Writes::only(0));
        }
        Self {
            disk: [0; BLOCKS],
            losses_left: small.losses.min(LOSSES_MAX),
            paths: [sessions; PATHS],
        }
    }

    /// The same with the paths exchanged.
    pub(super) fn mirrored(mut self) -> Self {
        self.paths.reverse();
        self
    }

    /// Everything that can happen now, where the volume may get these inputs.
    pub(super) fn steps(&self, known: &Known, inputs: &[Input]) -> Vec<Step> {
        let inputs = inputs.iter().filter(|input| self.allows(**input));
        let mut steps: Vec<Step> = inputs.copied().map(Step::Input).collect();
        for (number, (sessions, path)) in self.paths.iter().zip(&known.paths).enumerate() {
            let open = path.in_flight.without(sessions.executed);
            steps.extend(open.iter().map(|write| Step::Execute(number, write)));
            for (lost, writes) in sessions.lost().iter().enumerate() {
                for write in writes.iter() {
                    steps.push(Step::ExecuteLate(number, lost, write));
                    steps.push(Step::Drop(number, lost, write));
                }
            }
        }
        steps
    }

    /// Whether the target and the network can do that now.
    fn allows(&self, input: Input) -> bool {
        match input {
            Input::Ask | Input::Return(_) => true,
            Input::Answer(path, write) => self.paths[path].executed.has(write),
            Input::Lose(path, reached) | Input::GiveUp(path, _, reached) => {
                let executed = self.paths[path].executed;
                self.losses_left > 0 && executed.without(reached).is_empty()
            }
            Input::Fence(path, upto) => {
                let fenced = self.paths[path].lost().iter().take(upto + 1);
                fenced
                    .fold(Writes::default(), |all, lost| all.with(*lost))
                    .is_empty()
            }
        }
    }

    /// What the step does here.
    ///
    /// # Errors
    /// A block went back to an older write.
    pub(super) fn take(&mut self, small: &SmallWorld, step: Step) -> Result<(), String> {
        match step {
            Step::Input(input) => self.notice(input),
            Step::Execute(path, write) => {
                self.paths[path].executed.add(write);
                return self.execute(small, write);
            }
            Step::ExecuteLate(path, lost, write) => {
                self.paths[path].lost[lost].remove(write);
                return self.execute(small, write);
            }
            Step::Drop(path, lost, write) => self.paths[path].lost[lost].remove(write),
        }
        Ok(())
    }

    fn notice(&mut self, input: Input) {
        match input {
            Input::Ask | Input::Return(_) => {}
            Input::Answer(path, write) => self.paths[path].executed.remove(write),
            Input::Lose(path, reached) | Input::GiveUp(path, _, reached) => {
                self.losses_left -= 1;
                let sessions = &mut self.paths[path];
                if !reached.is_empty() {
                    sessions.push_lost(reached.without(sessions.executed));
                }
                sessions.executed = Writes::default();
            }
            Input::Fence(path, upto) => self.paths[path].remove_lost(upto + 1),
        }
    }

    fn execute(&mut self, small: &SmallWorld, write: Write) -> Result<(), String> {
        for (block, held) in self.disk.iter_mut().enumerate() {
            if !covers(small, write, block) {
                continue;
            }
            if *held > write {
                return Err(format!(
                    "block {block} went back from write {held} to write {write}"
                ));
            }
            *held = write;
        }
        Ok(())
    }

    /// A write was acknowledged.
    ///
    /// # Errors
    /// Too early.
    pub(super) fn check_acknowledged(
        &self,
        small: &SmallWorld,
        write: Write,
    ) -> Result<(), String> {
        for (block, held) in self.disk.iter().enumerate() {
            if covers(small, write, block) && *held < write {
                return Err(format!(
                    "write {write} is acknowledged, and block {block} never got it"
                ));
            }
        }
        let mut lost = self.paths.iter().flat_map(Sessions::lost);
        if small.shared && lost.any(|lost| lost.has(write)) {
            return Err(format!(
                "write {write} of a shared volume is acknowledged before its ghost is laid"
            ));
        }
        Ok(())
    }

    /// Nothing is left to happen.
    ///
    /// # Errors
    /// A write was never acknowledged, or is not there.
    pub(super) fn check_end(&self, small: &SmallWorld, known: &Known) -> Result<(), String> {
        let mut writes = 1..=known.asked;
        if let Some(write) = writes.find(|write| !known.acknowledged.has(*write)) {
            return Err(format!("write {write} is never acknowledged"));
        }
        for (block, held) in self.disk.iter().enumerate() {
            let mut younger = (1..=known.asked).rev();
            let last = younger.find(|write| covers(small, *write, block));
            if *held != last.unwrap_or(0) {
                return Err(format!(
                    "block {block} ends with write {held}, not the last one"
                ));
            }
        }
        Ok(())
    }
}

impl Sessions {
    fn lost(&self) -> &[Writes] {
        &self.lost[..self.lost_count]
    }

    fn push_lost(&mut self, at_target: Writes) {
        self.lost[self.lost_count] = at_target;
        self.lost_count += 1;
    }

    fn remove_lost(&mut self, count: usize) {
        self.lost.rotate_left(count);
        self.lost_count -= count;
        // What is not in use is always the same, so that equal targets are equal.
        self.lost[self.lost_count..].fill(Writes::default());
    }
}

fn covers(small: &SmallWorld, write: Write, block: usize) -> bool {
    let index = usize::from(write).checked_sub(1);
    // What an earlier run left behind covers everything.
    let blocks = index.map_or(Blocks::Both, |index| small.writes[index]);
    blocks.covers(block)
}
