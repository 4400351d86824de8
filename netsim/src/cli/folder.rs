//! A folder of our own.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A folder of our own, gone at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn create(name: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("netsim-{name}-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "left behind");
        }
    }
}
