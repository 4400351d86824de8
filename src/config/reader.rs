//! TOML with places: typed access to a parsed file that reports instead of failing.
//!
//! A [`Section`] remembers which keys were asked for, so that what is left when it is finished is
//! unknown. A [`Field`] tells a key that is absent from one whose mistake was reported already, so
//! that one mistake gives one message.

use std::fmt::Display;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, Problem};

/// Collects mistakes, and knows where lines begin.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    pub(super) errors: Vec<ConfigError>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let newlines = text.match_indices('\n');
        let line_starts = [0].into_iter().chain(newlines.map(|(at, _)| at + 1));
        Self {
            text,
            line_starts: line_starts.collect(),
            errors: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, place: &Place, problem: Problem) {
        let place = place.clone();
        self.errors.push(ConfigError { place, problem });
    }

    /// Drops what is missing only because its key is misspelt: one mistake, one message.
    pub(super) fn forget_what_typos_explain(&mut self) {
        let meant = |error: &ConfigError| {
            let Problem::UnknownKey { suggestion, .. } = &error.problem else {
                return None;
            };
            let suggestion = (*suggestion)?;
            let section = error.place.key.rsplit_once('.').map(|(section, _)| section);
            Some(match section {
                Some(section) => format!("{section}.{suggestion}"),
                None => suggestion.to_owned(),
            })
        };
        let meant: Vec<String> = self.errors.iter().filter_map(meant).collect();
        self.errors.retain(|error| {
            let key = &error.place.key;
            let explained = meant.iter().any(|meant| {
                let inside = key.strip_prefix(meant.as_str());
                inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            !(explained && matches!(error.problem, Problem::Missing(_)))
        });
    }

    /// The place of byte `offset` in the text.
    pub(super) fn place(&self, offset: usize, key: impl Into<String>) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index));
        let before = start.and_then(|start| self.text.get(*start..offset));
        Place {
            line: Some(line),
            column: before.map(|before| before.chars().count() + 1),
            key: key.into(),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// What the file says of one key.
#[derive(Clone, Debug, Default)]
pub(super) enum Field<T> {
    /// Nothing.
    #[default]
    Absent,
    /// Something wrong, which was reported.
    Broken,
    /// This.
    Given(Given<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Broken => None,
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(|given| &given.value)
    }

    pub(super) fn place(&self) -> Option<&Place> {
        self.given().map(|given| &given.place)
    }

    pub(super) fn into_given(self) -> Option<Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Broken => None,
        }
    }

    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Broken => Field::Broken,
            Self::Given(Given { value, place }) => Field::Given(Given {
                value: f(value),
                place,
            }),
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }
}

impl<T: Clone> Field<T> {
    /// What holds if `self` has precedence over `lower`. A broken value hides the lower one.
    pub(super) fn over(&self, lower: &Self) -> Self {
        if self.is_absent() {
            lower.clone()
        } else {
            self.clone()
        }
    }
}

/// A value that was not read yet.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    value: &'a DeValue<'a>,
    pub(super) place: Place,
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    pub(super) place: Place,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>) -> Self {
        Self {
            table,
            place: Place::default(),
            known: Vec::new(),
        }
    }

    fn child_key(&self, name: impl Display) -> String {
        if self.place.key.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.place.key)
        }
    }

    /// Where a key that is missing here would be: at the section's head.
    pub(super) fn place_of(&self, name: &'static str) -> Place {
        Place {
            key: self.child_key(name),
            ..self.place.clone()
        }
    }

    /// The value of a known key.
    pub(super) fn item(&mut self, name: &'static str, report: &Report<'_>) -> Option<Item<'a>> {
        self.known.push(name);
        let (key, value) = self.table.get_key_value(name)?;
        Some(Item {
            value: value.get_ref(),
            place: report.place(key.span().start, self.child_key(name)),
        })
    }

    /// All values, where the keys are names that the user chose.
    pub(super) fn named_items(&self, report: &Report<'_>) -> Vec<(String, Item<'a>)> {
        let items = self.table.iter().map(|(key, value)| {
            let name = key.get_ref().to_string();
            let place = report.place(key.span().start, self.child_key(&name));
            let value = value.get_ref();
            (name, Item { value, place })
        });
        items.collect()
    }

    pub(super) fn text(&mut self, name: &'static str, report: &mut Report<'_>) -> Field<String> {
        self.parsed(name, report, |text| Ok(text.to_owned()))
    }

    /// A string that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        report: &mut Report<'_>,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Field<T> {
        self.item(name, report)
            .map_or(Field::Absent, |item| item.parsed(report, parse))
    }

    pub(super) fn flag(&mut self, name: &'static str, report: &mut Report<'_>) -> Field<bool> {
        let Some(item) = self.item(name, report) else {
            return Field::Absent;
        };
        let DeValue::Boolean(value) = item.value else {
            return item.wrong_type("true or false", report);
        };
        item.given(*value)
    }

    /// An unsigned integer that `check` accepts.
    pub(super) fn integer<T>(
        &mut self,
        name: &'static str,
        report: &mut Report<'_>,
        check: impl FnOnce(u64) -> Result<T, Problem>,
    ) -> Field<T> {
        let Some(item) = self.item(name, report) else {
            return Field::Absent;
        };
        let DeValue::Integer(integer) = item.value else {
            return item.wrong_type("a number", report);
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix());
        let checked = number.map_err(|_| Problem::OutOfRange {
            value: integer.to_string(),
            min: "0".to_owned(),
            max: u64::MAX.to_string(),
        });
        item.result(report, checked.and_then(check))
    }

    /// A table of its own; empty if absent, `None` if it is no table.
    pub(super) fn section(&mut self, name: &'static str, report: &mut Report<'_>) -> Option<Self> {
        self.item(name, report)?.section(report)
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, report: &mut Report<'_>) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if !self.known.contains(&name) {
                let place = report.place(key.span().start, self.child_key(name));
                let problem = Problem::UnknownKey {
                    suggestion: nearest(name, &self.known),
                    known: self.known.clone(),
                };
                report.add(&place, problem);
            }
        }
    }
}

impl<'a> Item<'a> {
    pub(super) fn given<T>(self, value: T) -> Field<T> {
        let place = self.place;
        Field::Given(Given { value, place })
    }

    fn result<T>(self, report: &mut Report<'_>, result: Result<T, Problem>) -> Field<T> {
        match result {
            Ok(value) => self.given(value),
            Err(problem) => self.broken(report, problem),
        }
    }

    pub(super) fn broken<T>(&self, report: &mut Report<'_>, problem: Problem) -> Field<T> {
        report.add(&self.place, problem);
        Field::Broken
    }

    fn wrong_type<T>(&self, expected: &'static str, report: &mut Report<'_>) -> Field<T> {
        let found = type_name(self.value);
        self.broken(report, Problem::WrongType { expected, found })
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// A string that `parse` understands.
    pub(super) fn parsed<T>(
        self,
        report: &mut Report<'_>,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Field<T> {
        let DeValue::String(text) = self.value else {
            return self.wrong_type("a string in quotes", report);
        };
        self.result(report, parse(text))
    }

    /// The elements of a list; `None` (and reported) if it is none.
    pub(super) fn list(&self, report: &mut Report<'_>) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value else {
            let _reported: Field<()> = self.wrong_type("a list", report);
            return None;
        };
        let element = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| Self {
            value: value.get_ref(),
            place: report.place(value.span().start, format!("{}[{index}]", self.place.key)),
        };
        Some(array.iter().enumerate().map(element).collect())
    }

    /// A table; `None` (and reported) if it is none.
    pub(super) fn section(self, report: &mut Report<'_>) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.value else {
            let _reported: Field<()> = self.wrong_type("a table", report);
            return None;
        };
        Some(Section {
            table,
            place: self.place,
            known: Vec::new(),
        })
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The choice that `word` was probably meant to be.
pub(super) fn nearest<S: AsRef<str> + Clone>(word: &str, choices: &[S]) -> Option<S> {
    let score = |choice: &S| strsim::normalized_damerau_levenshtein(word, choice.as_ref());
    let near = choices.iter().map(|choice| (score(choice), choice));
    let (_, choice) = near
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(choice.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\n\nä = ö\n";
        let report = Report::new(text);
        let at = |offset| {
            let place = report.place(offset, "");
            (place.line, place.column)
        };
        assert_eq!(at(0), (Some(1), Some(1)));
        assert_eq!(at(1), (Some(1), Some(2)));
        assert_eq!(at(2), (Some(2), Some(1)));
        assert_eq!(at(3), (Some(3), Some(1)));
        assert_eq!(at(text.find('ö').unwrap()), (Some(3), Some(5)));
        assert_eq!(at(text.len()), (Some(4), Some(1)));
        assert_eq!(at(usize::MAX), (Some(4), None));
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["portal", "nic", "source", "weight"];
        assert_eq!(nearest("protal", &known), Some("portal"));
        assert_eq!(nearest("wieght", &known), Some("weight"));
        assert_eq!(nearest("hedge", &known), None);
    }
}
