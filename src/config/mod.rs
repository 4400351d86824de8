//! `multipath.toml`: typed, checked configuration.
