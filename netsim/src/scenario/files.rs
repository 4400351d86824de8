//! Finding and reading scenario files.

use std::fs;
use std::path::{Path, PathBuf};

use super::Scenario;
use super::mistake::{Mistake, Mistakes, Problem};

/// The scenario files that `path` means: itself, or those of a folder, in the order of their names.
///
/// # Errors
/// If it cannot be read.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, Mistakes> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error: std::io::Error| mistake(path, &error);
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let entries: Vec<fs::DirEntry> = entries.collect::<Result<_, _>>().map_err(unreadable)?;
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    Ok(files)
}

/// Reads and checks a file.
///
/// # Errors
/// Every mistake in it.
pub fn load(file: &Path) -> Result<Scenario, Mistakes> {
    let text = fs::read_to_string(file).map_err(|error| mistake(file, &error))?;
    Scenario::parse(&text, file)
}

fn mistake(file: &Path, error: &std::io::Error) -> Mistakes {
    let mistake = Mistake {
        line: None,
        key: String::new(),
        problem: Problem::Unreadable(error.kind()),
    };
    Mistakes::new(file, vec![mistake])
}
