//! Single values: durations, sizes, numbers, names and choices, with their places.

use std::time::Duration;

use toml::Spanned;

use super::super::mistake::{Mistake, Problem};
use super::super::raw::{Number, Text};
use super::super::{PathSpec, Rate};
use crate::quantity::{parse_duration, parse_size};
use crate::report::duration;

pub(super) const MILLI: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Collects mistakes.
#[derive(Debug)]
pub(super) struct Checker<'t> {
    pub(super) text: &'t str,
    pub(super) mistakes: Vec<Mistake>,
}

/// The line of a byte.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    1 + before.matches('\n').count()
}

impl<'t> Checker<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            mistakes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, at: Option<usize>, key: &str, problem: Problem) {
        self.mistakes.push(Mistake {
            line: at.map(|at| line_at(self.text, at)),
            key: key.to_owned(),
            problem,
        });
    }

    /// A mistake of form: the file is not read any further.
    pub(super) fn form(&mut self, error: &toml::de::Error) {
        let at = error.span().map(|span| span.start);
        let line = at.and_then(|at| {
            let start = self.text.get(..at)?.rfind('\n').map_or(0, |at| at + 1);
            self.text.get(start..)?.lines().next()
        });
        let key = line
            .and_then(|line| line.split_once('='))
            .map_or("", |(key, _)| key.trim());
        self.add(at, key, Problem::Form(error.message().to_owned()));
    }

    pub(super) fn name(&mut self, key: &str, given: &Spanned<String>) -> String {
        let name = given.get_ref();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 63 || !name.chars().all(legal) {
            self.add(Some(given.span().start), key, Problem::Name(name.clone()));
        }
        name.clone()
    }

    pub(super) fn maybe(&mut self, key: &str, given: &Text) -> Option<Duration> {
        let given = given.as_ref()?;
        match parse_duration(given.get_ref()) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.add(Some(given.span().start), key, error.into());
                None
            }
        }
    }

    pub(super) fn duration(&mut self, key: &str, given: &Text, default: Duration) -> Duration {
        self.maybe(key, given).unwrap_or(default)
    }

    pub(super) fn duration_in(
        &mut self,
        key: &str,
        given: &Text,
        default: Duration,
        (min, max): (Duration, Duration),
    ) -> Duration {
        let value = self.duration(key, given, default);
        if value < min || value > max {
            let problem = Problem::OutOfRange {
                value: duration(value),
                min: duration(min),
                max: duration(max),
            };
            self.add(given.as_ref().map(|given| given.span().start), key, problem);
        }
        value
    }

    pub(super) fn size(&mut self, key: &str, given: &Text) -> Option<u64> {
        let given = given.as_ref()?;
        match parse_size(given.get_ref()) {
            Ok(size) => Some(size),
            Err(error) => {
                self.add(Some(given.span().start), key, error.into());
                None
            }
        }
    }

    pub(super) fn bytes<T: TryFrom<u64>>(&mut self, key: &str, given: &Text, default: T) -> T {
        let Some(size) = self.size(key, given) else {
            return default;
        };
        size.try_into().unwrap_or(default)
    }

    pub(super) fn bytes_in(
        &mut self,
        key: &str,
        given: &Text,
        default: u64,
        (min, max): (u64, u64),
    ) -> u64 {
        let size = self.size(key, given).unwrap_or(default);
        if given.is_some() && !(min..=max).contains(&size) {
            let problem = Problem::OutOfRange {
                value: format!("{size}B"),
                min: format!("{min}B"),
                max: format!("{max}B"),
            };
            self.add(given.as_ref().map(|given| given.span().start), key, problem);
        }
        size
    }

    pub(super) fn rate(&mut self, key: &str, given: &Text) -> Option<Rate> {
        let size = self.size(key, given)?;
        if size == 0 {
            let problem = Problem::OutOfRange {
                value: "0".to_owned(),
                min: "1B".to_owned(),
                max: "1TB".to_owned(),
            };
            self.add(given.as_ref().map(|given| given.span().start), key, problem);
        }
        Rate::new(size)
    }

    pub(super) fn small<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        given: &Number,
        default: T,
        (min, max): (u64, u64),
    ) -> T {
        let Some(given) = given else {
            return default;
        };
        let value = *given.get_ref();
        let small = T::try_from(value)
            .ok()
            .filter(|_| (min..=max).contains(&value));
        if small.is_none() {
            let problem = Problem::OutOfRange {
                value: value.to_string(),
                min: min.to_string(),
                max: max.to_string(),
            };
            self.add(Some(given.span().start), key, problem);
        }
        small.unwrap_or(default)
    }

    /// The first choice is the default.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, given: &Text, choices: &[(&str, T)]) -> T {
        let (_, default) = choices[0];
        let Some(given) = given else {
            return default;
        };
        let found = choices.iter().find(|(name, _)| name == given.get_ref());
        if found.is_none() {
            let problem = Problem::Choice {
                value: given.get_ref().clone(),
                choices: choices.iter().map(|(name, _)| (*name).to_owned()).collect(),
            };
            self.add(Some(given.span().start), key, problem);
        }
        found.map_or(default, |(_, value)| *value)
    }

    pub(super) fn paths_named(
        &mut self,
        at: usize,
        key: &str,
        names: &[String],
        paths: &[PathSpec],
    ) -> Vec<usize> {
        let mut found = Vec::new();
        for name in names {
            match paths.iter().position(|path| path.name == *name) {
                Some(path) => found.push(path),
                None if name == "all" => found.extend(0..paths.len()),
                None => {
                    let choices = paths.iter().map(|path| path.name.clone());
                    let problem = Problem::Choice {
                        value: name.clone(),
                        choices: choices.chain(["all".to_owned()]).collect(),
                    };
                    self.add(Some(at), key, problem);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
