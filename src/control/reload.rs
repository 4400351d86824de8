//! What a reload of the configuration changed, and its text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::render::printable;

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadEffect {
    /// At once.
    Now,
    /// With each path's next login.
    NextLogin,
    /// For clients that connect from now on.
    NewClients,
    /// With the daemon's next start.
    Restart,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadChange {
    /// The volume that it concerns; absent: the daemon.
    pub volume: Option<String>,
    /// What is different.
    pub what: String,
    /// When it takes effect.
    pub effect: ReloadEffect,
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The file.
    pub file: String,
    /// Nothing was done: this is what would have been.
    pub dry_run: bool,
    /// What is different.
    pub changes: Vec<ReloadChange>,
    /// What of it could not be done.
    pub problems: Vec<String>,
}

impl fmt::Display for ReloadChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let volume = self.volume.as_deref().unwrap_or("daemon");
        write!(f, "{}: {}", printable(volume), printable(&self.what))?;
        f.write_str(match self.effect {
            ReloadEffect::Now => "",
            ReloadEffect::NextLogin => " (from each path's next login on)",
            ReloadEffect::NewClients => " (for clients that connect from now on)",
            ReloadEffect::Restart => " (NEEDS A RESTART: not changed)",
        })
    }
}

impl ReloadReport {
    /// For a terminal, ending with a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.changes.is_empty() {
            lines.push(format!("{}: nothing has changed", printable(&self.file)));
        } else if self.dry_run {
            lines.push(format!("{}: would be changed:", printable(&self.file)));
        } else {
            lines.push(format!("{}: changed:", printable(&self.file)));
        }
        lines.extend(self.changes.iter().map(|change| format!("  {change}")));
        if !self.problems.is_empty() {
            lines.push("not done:".to_owned());
        }
        let problems = self.problems.iter();
        lines.extend(problems.map(|problem| format!("  {}", printable(problem))));
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_a_line_that_says_when_it_takes_effect() {
        let change = |volume: Option<&str>, what: &str, effect| ReloadChange {
            volume: volume.map(str::to_owned),
            what: what.to_owned(),
            effect,
        };
        let mut report = ReloadReport {
            file: "m.toml".to_owned(),
            dry_run: false,
            changes: vec![
                change(None, "state_dir: \"/a\" -> \"/b\"", ReloadEffect::Restart),
                change(Some("db"), "path 10.0.3.10:3260 added", ReloadEffect::Now),
                change(Some("db"), "other credentials", ReloadEffect::NextLogin),
            ],
            problems: vec!["volume db: full".to_owned()],
        };
        assert_eq!(
            report.text(),
            "m.toml: changed:\n  \
             daemon: state_dir: \"/a\" -> \"/b\" (NEEDS A RESTART: not changed)\n  \
             db: path 10.0.3.10:3260 added\n  \
             db: other credentials (from each path's next login on)\n\
             not done:\n  volume db: full\n"
        );
        report.changes.clear();
        report.problems.clear();
        assert_eq!(report.text(), "m.toml: nothing has changed\n");
    }
}
