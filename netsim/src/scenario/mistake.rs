//! What is wrong with a scenario file: where, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use iiblockdaemon::config;

use super::order::OrderError;
use crate::quantity::QuantityError;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1; `None` if it concerns the whole file.
    pub line: Option<usize>,
    /// The key's full name, e.g. `fault[1].at`; empty for the whole file.
    pub key: String,
    /// What it is, and what to do.
    pub problem: Problem,
}

/// What is wrong. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum Problem {
    #[error("cannot read the file: {0}")]
    Unreadable(std::io::ErrorKind),
    #[error("{0}")]
    Form(String),
    #[error("missing; add a line like: {0}")]
    Missing(&'static str),
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    #[error("{value} is out of range; it may be {min} to {max}")]
    OutOfRange {
        value: String,
        min: String,
        max: String,
    },
    #[error("\"{value}\" is not possible; there are: {}", .choices.join(", "))]
    Choice { value: String, choices: Vec<String> },
    #[error("\"{0}\" is no name; use 1 to 63 letters, digits, '.', '_' and '-'")]
    Name(String),
    #[error("two paths are named \"{0}\"; names are unique")]
    Twice(String),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("\"{0}\" is done to a path; add path = \"A\", or \"all\"")]
    NeedsPath(String),
    #[error("\"{0}\" is not done to a path; remove this")]
    TakesNoPath(String),
    #[error("\"{0}\" is over at once; remove this, or say times and every")]
    Momentary(String),
    #[error("{times} times for {lasts} each do not fit into every = {every}; raise that")]
    Overlap {
        times: u64,
        lasts: String,
        every: String,
    },
    #[error("{0} needs this as well")]
    Needs(&'static str),
    #[error("it ends after the workload, which lasts {0}; raise workload.lasts")]
    AfterTheEnd(String),
    #[error("only a \"reload\" changes the daemon's settings; remove this")]
    OnlyForReload,
    #[error("{0}")]
    Daemon(config::Problem),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.problem)
    }
}

/// Every mistake that was found, in the order of the lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// The file.
    pub file: PathBuf,
    /// The mistakes.
    pub all: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn new(file: &Path, mut all: Vec<Mistake>) -> Self {
        all.sort_by_key(|mistake| mistake.line);
        all.dedup();
        let file = file.to_owned();
        Self { file, all }
    }
}

impl fmt::Display for Mistakes {
    /// A line each: `FILE:LINE: KEY: what is wrong; what to do`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.all.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let space = if mistake.line.is_some() { "" } else { " " };
            write!(f, "{newline}{}:{space}{mistake}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
