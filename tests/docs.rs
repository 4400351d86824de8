//! The documentation equals the code: configuration keys with their defaults and bounds, the verdict table,
//! the comparison of the policies, the examples with what they print, and where
//! things stand.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes the generated tables anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "docs/examples.rs"]
mod examples;
#[path = "docs/keys.rs"]
mod keys;
#[path = "docs/places.rs"]
mod places;
#[path = "docs/policies.rs"]
mod policies;
#[path = "docs/scenarios.rs"]
mod scenarios;
#[path = "docs/verdicts.rs"]
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(page(name)).unwrap()
}
