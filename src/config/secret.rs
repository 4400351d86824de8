//! Files beside the configuration: secrets, and the initiator's name.
//!
//! A secret's file must belong to root or to the user that we run as, and nobody else may use it.
//! Its content counts without one trailing newline. No message has the content, nor the file's name:
//! a secret pasted where its file's name belongs is still a secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::error::Problem;
use crate::limits::{CONFIG_BYTES_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN};

/// The files that a configuration names. The shell gives them, the check touches none itself.
pub trait Files {
    /// A file's properties and its first `limit` bytes; no bytes if it is no regular file.
    ///
    /// # Errors
    /// Of what kind the system's error was.
    fn read(&self, file: &Path, limit: usize) -> Result<FileContent, io::ErrorKind>;

    /// The user id that we run as.
    fn user(&self) -> u32;
}

/// What is to know of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent {
    /// It is neither directory nor pipe nor device.
    pub regular: bool,
    /// Permission bits.
    pub mode: u32,
    /// User id of its owner.
    pub owner: u32,
    /// What is in it. Perhaps a secret: `Debug` does not show it.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a file with mode {:04o} of user {}",
            self.mode, self.owner
        )
    }
}

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

/// The secret in a file that the command line names, by the same rules as in the configuration.
///
/// # Errors
/// Why it is none; without its content.
pub fn secret_file(files: &dyn Files, file: &str) -> Result<SecretText, Problem> {
    let path = Path::new("");
    Directory { path, files }.secret(file)
}

/// The directory that relative names start at, with its files.
#[derive(Clone, Copy)]
pub(super) struct Directory<'a> {
    pub(super) path: &'a Path,
    pub(super) files: &'a dyn Files,
}

impl Directory<'_> {
    /// The secret in a file.
    pub(super) fn secret(self, name: &str) -> Result<SecretText, Problem> {
        // Room for a newline, and for one byte too many.
        let content = self.read(name, SECRET_BYTES_MAX + 3)?;
        let mode = content.mode & 0o7777;
        if mode & 0o077 != 0 {
            return Err(Problem::SecretNotPrivate(mode));
        }
        let (owner, us) = (content.owner, self.files.user());
        if owner != 0 && owner != us {
            return Err(Problem::SecretOwner { owner, us });
        }
        let secret = without_newline(&content.bytes);
        match secret.len() {
            len if len < SECRET_BYTES_MIN => Err(Problem::SecretTooShort(len)),
            len if len > SECRET_BYTES_MAX => Err(Problem::SecretTooLong),
            _ if has_company(secret) => Err(Problem::SecretNotAlone),
            _ => Ok(SecretText(secret.into())),
        }
    }

    /// The name in a file as open-iscsi writes it: `InitiatorName=iqn.…`, comments after `#`.
    pub(super) fn initiator_name(self, name: &str) -> Result<String, Problem> {
        let content = self.read(name, CONFIG_BYTES_MAX)?;
        let text = String::from_utf8(content.bytes).map_err(|_| Problem::NotUtf8)?;
        let mut values = text.lines().filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == "InitiatorName").then(|| value.trim().to_owned())
        });
        values.next().ok_or(Problem::NoInitiatorName)
    }

    fn read(self, name: &str, limit: usize) -> Result<FileContent, Problem> {
        let read = self.files.read(&self.path.join(name), limit);
        let content = read.map_err(|error| Problem::FileUnreadable {
            error,
            directory: PathBuf::from(self.path),
        })?;
        if content.regular {
            Ok(content)
        } else {
            Err(Problem::NotAFile)
        }
    }
}

/// Whether an editor or a copy has left something beside a secret that people can type. A secret of random
/// bytes may have such bytes anywhere.
fn has_company(secret: &[u8]) -> bool {
    let typed = |c: char| !c.is_control() || c.is_whitespace();
    std::str::from_utf8(secret).is_ok_and(|text| {
        text.chars().all(typed) && (text.trim() != text || text.contains(['\n', '\r']))
    })
}

fn without_newline(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}
