//! Files beside the configuration: secrets, and the initiator's name.
//!
//! A secret's file must belong to root or to the user that we run as, and nobody else may use it.
//! Its content counts without one trailing newline. No message has the content, nor the file's name:
//! a secret pasted where its file's name belongs is still a secret.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::Problem;
use crate::limits::{CONFIG_BYTES_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN};

/// A CHAP secret. Neither `Debug` nor anything else shows it, but [`SecretText::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Box<[u8]>);

impl SecretText {
    /// The secret itself, for the hash that proves that we know it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The secret in a file.
pub(super) fn load(name: &str, directory: &Path) -> Result<SecretText, Problem> {
    let mut file = open(name, directory)?;
    let metadata = metadata(&file, directory)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Problem::SecretNotPrivate(mode));
    }
    let us = nix::unistd::geteuid().as_raw();
    let owner = metadata.uid();
    if owner != 0 && owner != us {
        return Err(Problem::SecretOwner { owner, us });
    }
    // Room for a newline, and for one byte too many.
    let limit = SECRET_BYTES_MAX + 3;
    let content = read_at_most(&mut file, limit).map_err(|error| unreadable(&error, directory))?;
    let secret = without_newline(&content);
    match secret.len() {
        len if len < SECRET_BYTES_MIN => Err(Problem::SecretTooShort(len)),
        len if len > SECRET_BYTES_MAX => Err(Problem::SecretTooLong),
        _ => Ok(SecretText(secret.into())),
    }
}

/// The name in a file as open-iscsi writes it: `InitiatorName=iqn.…`, comments after `#`.
pub(super) fn load_initiator_name(name: &str, directory: &Path) -> Result<String, Problem> {
    let mut file = open(name, directory)?;
    metadata(&file, directory)?;
    let content =
        read_at_most(&mut file, CONFIG_BYTES_MAX).map_err(|error| unreadable(&error, directory))?;
    let text = String::from_utf8(content).map_err(|_| Problem::NotUtf8)?;
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "InitiatorName").then(|| value.trim().to_owned())
    });
    values.next().ok_or(Problem::NoInitiatorName)
}

/// The configuration file itself. It need not be a regular file: a pipe is fine.
pub(super) fn read_text(file: &Path) -> Result<String, Problem> {
    let unreadable = |error: io::Error| Problem::Unreadable(error.kind());
    let mut file = File::open(file).map_err(unreadable)?;
    let content = read_at_most(&mut file, CONFIG_BYTES_MAX + 1).map_err(unreadable)?;
    if content.len() > CONFIG_BYTES_MAX {
        return Err(Problem::FileTooLarge(CONFIG_BYTES_MAX));
    }
    String::from_utf8(content).map_err(|_| Problem::NotUtf8)
}

fn open(name: &str, directory: &Path) -> Result<File, Problem> {
    // Not to hang on a FIFO that nobody writes to.
    let nonblocking = nix::libc::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(directory.join(name));
    opened.map_err(|error| unreadable(&error, directory))
}

fn metadata(file: &File, directory: &Path) -> Result<Metadata, Problem> {
    let metadata = file
        .metadata()
        .map_err(|error| unreadable(&error, directory))?;
    if metadata.is_file() {
        Ok(metadata)
    } else {
        Err(Problem::NotAFile)
    }
}

fn unreadable(error: &io::Error, directory: &Path) -> Problem {
    Problem::FileUnreadable {
        error: error.kind(),
        directory: PathBuf::from(directory),
    }
}

fn read_at_most(file: &mut File, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

fn without_newline(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}
