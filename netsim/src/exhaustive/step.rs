//! What can happen in a small world.

use std::fmt;

/// Number of a write, from 1 in the order of asking; 0 is what was there before.
pub(super) type Write = u8;

/// A set of writes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Writes(u8);

impl Writes {
    pub(super) fn only(write: Write) -> Self {
        Self(1 << write)
    }

    pub(super) fn has(self, write: Write) -> bool {
        self.0 & Self::only(write).0 != 0
    }

    pub(super) fn add(&mut self, write: Write) {
        *self = self.with(Self::only(write));
    }

    pub(super) fn remove(&mut self, write: Write) {
        *self = self.without(Self::only(write));
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Write> {
        (0..8).filter(move |write| self.has(*write))
    }

    pub(super) fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.0).filter(move |set| set & !self.0 == 0).map(Self)
    }
}

/// Something that the volume notices. Paths are 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input {
    /// The client asks for its next write.
    Ask,
    /// The answer to an executed command arrives.
    Answer(usize, Write),
    /// The session is lost; of the commands in flight, these had reached the target.
    Lose(usize, Writes),
    /// A command ends without a status and may still be executing: its session is given up.
    GiveUp(usize, Write, Writes),
    /// The path is back, with a new session.
    Return(usize),
    /// Lost sessions of the path, up to this one of those that were not fenced yet, are fenced.
    Fence(usize, usize),
}

impl Input {
    /// The same with the paths exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Ask => self,
            Self::Answer(path, write) => Self::Answer(1 - path, write),
            Self::Lose(path, reached) => Self::Lose(1 - path, reached),
            Self::GiveUp(path, write, reached) => Self::GiveUp(1 - path, write, reached),
            Self::Return(path) => Self::Return(1 - path),
            Self::Fence(path, upto) => Self::Fence(1 - path, upto),
        }
    }
}

/// Something that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The volume notices.
    Input(Input),
    /// The target executes a command of a session.
    Execute(usize, Write),
    /// The target executes a command of a lost session.
    ExecuteLate(usize, usize, Write),
    /// A command of a lost session will never be executed.
    Drop(usize, usize, Write),
}

impl Step {
    /// The same with the paths exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Input(input) => Self::Input(input.mirrored()),
            Self::Execute(path, write) => Self::Execute(1 - path, write),
            Self::ExecuteLate(path, lost, write) => Self::ExecuteLate(1 - path, lost, write),
            Self::Drop(path, lost, write) => Self::Drop(1 - path, lost, write),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask => f.write_str("the client asks for its next write"),
            Self::Answer(path, write) => write!(f, "path {path}: write {write} is answered"),
            Self::Lose(path, reached) => {
                write!(f, "path {path}: lost; the target has {}", List(*reached))
            }
            Self::GiveUp(path, write, reached) => write!(
                f,
                "path {path}: write {write} ends without a status, given up; the target has {}",
                List(*reached)
            ),
            Self::Return(path) => write!(f, "path {path}: back"),
            Self::Fence(path, upto) => write!(f, "path {path}: fenced up to lost session {upto}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(input) => input.fmt(f),
            Self::Execute(path, write) => write!(f, "path {path}: write {write} is executed"),
            Self::ExecuteLate(path, lost, write) => {
                write!(
                    f,
                    "path {path}: write {write} of lost session {lost} is executed late"
                )
            }
            Self::Drop(path, lost, write) => {
                write!(
                    f,
                    "path {path}: write {write} of lost session {lost} is dropped"
                )
            }
        }
    }
}

struct List(Writes);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let mut between = "";
        for write in self.0.iter() {
            write!(f, "{between}write {write}")?;
            between = ", ";
        }
        Ok(())
    }
}
