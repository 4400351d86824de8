//! What is wrong with a configuration: where, and what to do about it. No message contains a secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where in the file something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1; `None` if it concerns the whole file.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// The key's full name, e.g. `volume.db.paths[1].nic`; empty for the whole file.
    pub key: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is.
    pub place: Place,
    /// What it is, and what to do.
    pub problem: Problem,
}

impl fmt::Display for ConfigError {
    /// `LINE: KEY: what is wrong; what to do`, as far as there are a line and a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.place.line {
            write!(f, "{line}: ")?;
        }
        if !self.place.key.is_empty() {
            write!(f, "{}: ", self.place.key)?;
        }
        write!(f, "{}", self.problem)
    }
}

/// Every mistake of a file, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: PathBuf,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, mut errors: Vec<ConfigError>) -> Self {
        assert!(!errors.is_empty(), "no errors is no error");
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        // A mistake in a profile shows in every volume that uses it.
        errors.dedup();
        Self {
            file: file.to_owned(),
            errors,
        }
    }

    /// One mistake that concerns the whole file: that it cannot be read.
    #[must_use]
    pub fn of_file(file: &Path, problem: Problem) -> Self {
        let place = Place::default();
        Self::new(file, vec![ConfigError { place, problem }])
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The mistakes.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    /// A line each: `FILE:LINE: KEY: what is wrong; what to do`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let space = if error.place.line.is_some() { "" } else { " " };
            write!(f, "{newline}{}:{space}{error}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What is wrong. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum Problem {
    // The file and its syntax.
    #[error("cannot read the file: {}", of_system(*.0))]
    Unreadable(io::ErrorKind),
    #[error("the file is larger than {0} bytes")]
    FileTooLarge(usize),
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    #[error("not valid TOML at column {column}: {message}")]
    Syntax { column: usize, message: String },
    #[error("unknown key{}; known here: {}", did_you_mean(.suggestion.as_deref()), .known.join(", "))]
    UnknownKey {
        suggestion: Option<&'static str>,
        known: Vec<&'static str>,
    },
    #[error("expected {expected}, found {found}")]
    WrongType {
        expected: &'static str,
        found: &'static str,
    },
    #[error(
        "expected a list, found a single table; write [[volume]], with two brackets, before each volume"
    )]
    VolumeNotListed,
    #[error("missing; add a line like: {0}")]
    Missing(&'static str),

    // Single values.
    #[error(
        "\"{0}\" is no duration; write a whole number and a unit: \"700ms\", \"30s\", \"5m\", \"2h\""
    )]
    BadDuration(String),
    #[error(
        "\"{0}\" is no share of reads; write \"off\", or a number of percent: \"1%\", \"0.5%\""
    )]
    BadShare(String),
    #[error("\"{0}\" is no size; write a whole number and a unit: \"512B\", \"256KiB\", \"1MiB\"")]
    BadSize(String),
    #[error("{value} is out of range; it may be {min} to {max}")]
    OutOfRange {
        value: String,
        min: String,
        max: String,
    },
    #[error(
        "\"{value}\" is not possible{}; there are: {}",
        did_you_mean(.suggestion.as_deref()), quoted(.choices)
    )]
    UnknownChoice {
        value: String,
        suggestion: Option<&'static str>,
        choices: Vec<&'static str>,
    },
    #[error("\"{0}\" stands there twice; remove one")]
    ListedTwice(String),
    #[error("the list is empty; {0}")]
    EmptyList(&'static str),
    #[error(
        "\"{0}\" is no volume name; use 1 to 63 letters, digits, '.', '_' and '-', a letter or \
         digit first"
    )]
    BadVolumeName(String),
    #[error("\"{name}\" is no iSCSI name: {why}; write e.g. \"iqn.2026-11.com.example:db1\"")]
    BadIscsiName { name: String, why: &'static str },
    #[error(
        "\"{portal}\" is no portal: {why}; write \"10.0.1.10\", \"10.0.1.10:3260\", \
         \"[fe80::5%eth3]:3260\" or \"array.example.com\""
    )]
    BadPortal { portal: String, why: &'static str },
    #[error(
        "\"{0}\" is no name of a network interface: 1 to 15 bytes without space, '/' or ':' \
         (see: ip link)"
    )]
    BadNic(String),
    #[error("\"{0}\" is no IP address; write the address of a local interface, e.g. \"10.0.1.2\"")]
    BadSource(String),
    #[error("{0} is no LUN; use 0 to 16383, or the 64-bit form, e.g. 0x4001000000000000")]
    BadLun(String),
    #[error(
        "\"{0}\" is no identity; write \"naa.\" and 16 or 32 hexadecimal digits, \"eui.\" and \
         16, 24 or 32, or \"t10.\" and its text (see: iibadm discover)"
    )]
    BadWwid(String),
    #[error(
        "\"{0}\" is no reservation key; write \"0x\" and 1 to 16 hexadecimal digits, not all 0, e.g. \
         \"0x1a2b3c4d00000000\""
    )]
    BadReservationKey(String),
    #[error(
        "\"{0}\" is no place for an export; write \"unix:/absolute/path\" or \"tcp:address:port\""
    )]
    BadListen(String),
    #[error(
        "the path of a socket may have {max} bytes, this one has {found}; choose a shorter one"
    )]
    SocketPathTooLong { found: usize, max: usize },
    #[error("\"{0}\" is not an absolute path; begin it with '/'")]
    NotAbsolute(String),
    #[error("\"{0}\" is no name of a group (see: getent group)")]
    BadGroup(String),
    #[error("a CHAP user name has 1 to 255 bytes without control characters")]
    BadUsername,

    // Secrets and other files that are named.
    #[error(
        "the file that it names cannot be read: {}{}", of_system(*.error), base(.directory)
    )]
    FileUnreadable {
        error: io::ErrorKind,
        directory: PathBuf,
    },
    #[error("it does not name a regular file")]
    NotAFile,
    #[error("others than its owner may use the file (mode {0:04o}); run: chmod 600 on it")]
    SecretNotPrivate(u32),
    #[error(
        "the file belongs to user {owner}; it must belong to root or to user {us}, whom this \
         runs as: use chown"
    )]
    SecretOwner { owner: u32, us: u32 },
    #[error(
        "the secret has {0} bytes; at least 12 are needed (RFC 7143 12.1.3), without counting \
         the newline"
    )]
    SecretTooShort(usize),
    #[error("the secret has more than 256 bytes; is it the right file?")]
    SecretTooLong,
    #[error(
        "the secret begins or ends with a blank, or goes on in a second line; the file must have nothing \
         but the secret"
    )]
    SecretNotAlone,
    #[error(
        "the secret is the same in both directions; RFC 7143 12.1.3 forbids that: give the \
         target one of its own"
    )]
    EqualSecrets,
    #[error("the file has no line \"InitiatorName=iqn.…\"")]
    NoInitiatorName,

    // Contradictions.
    #[error(
        "\"{name}\" is not defined{}; add a section [{section}.{name}]",
        did_you_mean(.suggestion.as_deref())
    )]
    Undefined {
        section: &'static str,
        name: String,
        suggestion: Option<String>,
    },
    #[error("both this and {0} are given; remove one")]
    GivenTwice(&'static str),
    #[error("{0} is given without this; mutual CHAP needs both")]
    MutualIncomplete(&'static str),
    #[error("two volumes are named \"{0}\"; names are unique")]
    DuplicateVolume(String),
    #[error("this is the same path as {other}; paths differ in portal, nic, source, target or lun")]
    DuplicatePath { other: String },
    #[error("{other} is the same logical unit; one volume per LUN, or set shared = true in both")]
    DuplicateLun { other: String },
    #[error("{listen} is used by {other} already; choose another")]
    DuplicateListen { listen: String, other: String },
    #[error(
        "the session identifiers of this path and of {other} collide by chance; rename the volume"
    )]
    IsidCollision { other: String },
    #[error("{found} paths; at most {max} are possible")]
    TooManyPaths { found: usize, max: usize },
    #[error("{found} volumes; at most {max} are possible")]
    TooManyVolumes { found: usize, max: usize },
    #[error("{value} is above {limit_key} = {limit}; lower this or raise that")]
    Above {
        value: String,
        limit_key: &'static str,
        limit: String,
    },
    #[error("{value} is below {limit_key} = {limit}; raise this or lower that")]
    Below {
        value: String,
        limit_key: &'static str,
        limit: String,
    },
    #[error(
        "I/O would fail after {queue}, before a silent path is even given up (detect.network + \
         detect.target = {budget}); raise it, or write \"fail\""
    )]
    NoPathTooShort { queue: String, budget: String },
    #[error(
        "\"lun-reset\" is no fence without \"reinstate\": what a lost connection still delivers comes after the reset; \
         add \"reinstate\", or remove this"
    )]
    LunResetAlone,
    #[error("quiesce has no effect without \"quiesce\" in fence; add it there, or remove this")]
    QuiesceUnused,
    #[error(
        "\"preempt-abort\" cuts a lost path off by its reservation key, and the volume has none; add \
         reservation_key = \"0x…\" to the volume, or take \"preempt-abort\" out of its fence"
    )]
    FenceWithoutKey,
    #[error(
        "with \"preempt-abort\" in fence each path has a key of its own, whose low 16 bits are the path's \
         number; write a key that ends with 0000, e.g. \"{0}\""
    )]
    KeyOfPaths(String),
    #[error("by has an effect with \"round-robin\" only; remove it, or change the selector")]
    BalanceUnused,
    #[error("source {source_address} and portal {portal} are not of the same address family")]
    FamilyMismatch {
        source_address: String,
        portal: String,
    },
    #[error("the portal's scope is {scope}, the nic is {nic}; name one interface")]
    ScopeMismatch { scope: String, nic: String },
    #[error("a link-local portal needs its interface; write [fe80::…%eth3] or add nic = \"eth3\"")]
    ScopeMissing,
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}

/// The system's error as people know it.
fn of_system(error: io::ErrorKind) -> String {
    if error == io::ErrorKind::NotFound {
        return "no such file".to_owned();
    }
    error.to_string()
}

/// Where relative names start, if not where the program was started.
fn base(directory: &Path) -> String {
    if directory.as_os_str().is_empty() {
        return String::new();
    }
    format!("; relative names start at {}", directory.display())
}

fn quoted(choices: &[&str]) -> String {
    let choices: Vec<String> = choices
        .iter()
        .map(|choice| format!("\"{choice}\""))
        .collect();
    choices.join(", ")
}
