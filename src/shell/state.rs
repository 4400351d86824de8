//! What outlives the process: for each volume which unit it was, and whether the last run ended cleanly.
//!
//! One JSON file per volume in `state_dir`, replaced as a whole. A lock file keeps a second daemon away
//! from the same directory: it would log in with the same ISIDs and end the first one's sessions.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::scsi::reservation::{ReservationKey, ReservationType};
use crate::volume::RememberedKey;

/// The state directory cannot be used; names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A system call failed.
    #[error("{path}: {error}; `state_dir` must be a directory that the daemon can write to")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Another daemon has it.
    #[error(
        "{path}: another iiblockdaemon uses this state directory; stop it, or give this one a `state_dir` of its own"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file is not what we wrote.
    #[error(
        "{path}: not a state file of this program: {error}; restore it, or remove it once nothing of the last run \
         can still be under way at the target: the volume's logical unit is then pinned anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        error: serde_json::Error,
    },
}

/// What is kept of one volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeState {
    /// Canonical identifier of its unit, once one was admitted.
    pub wwid: Option<String>,
    /// Logical block size in bytes of that unit.
    pub block_size: u32,
    /// Blocks of that unit.
    pub blocks: u64,
    /// What that unit was used through: target, portal and LUN of each path.
    #[serde(default)]
    pub places: Vec<String>,
    /// Where another unit was found that has its identifiers: target, portal and LUN of each path.
    #[serde(default)]
    pub distrusted: Vec<String>,
    /// The last run drained, flushed and logged out; its sessions cannot execute anything any more.
    pub clean: bool,
    /// The paths' sessions of this run, and of the runs before it that did not end cleanly either: ISID,
    /// target and portal of each. Only a login with the same ends what such a session left behind.
    #[serde(default)]
    pub sessions: Vec<String>,
    /// Its reservation key, if one was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<KeyState>,
}

/// What is kept of a volume's reservation key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyState {
    /// The key, as `0x` and 16 hexadecimal digits.
    pub key: String,
    /// Each path has one of its own, made of that one.
    pub per_path: bool,
    /// The name of the type of the reservation that we made.
    pub reserved: Option<String>,
    /// Somebody else took the registration away.
    pub preempted: bool,
}

impl From<RememberedKey> for KeyState {
    fn from(known: RememberedKey) -> Self {
        Self {
            key: known.key.to_string(),
            per_path: known.per_path,
            reserved: known.reserved.map(|kind| kind.name().to_owned()),
            preempted: known.preempted,
        }
    }
}

impl KeyState {
    /// The same for the volume; `None` if it makes no sense.
    #[must_use]
    pub fn remembered(&self) -> Option<RememberedKey> {
        let digits = self.key.strip_prefix("0x")?;
        let key = u64::from_str_radix(digits, 16)
            .ok()
            .filter(|key| *key != 0)?;
        let reserved = self.reserved.as_deref();
        Some(RememberedKey {
            key: ReservationKey(key),
            per_path: self.per_path,
            reserved: reserved.and_then(ReservationType::from_name),
            preempted: self.preempted,
        })
    }
}

impl VolumeState {
    /// The state of a run that begins, with these sessions; and whether a session of a run that did not
    /// end cleanly is none of them, so that it cannot be fenced.
    #[must_use]
    pub fn begin(&self, sessions: Vec<String>) -> (Self, bool) {
        let left = self
            .sessions
            .iter()
            .filter(|session| !self.clean && !sessions.contains(session));
        let left: Vec<String> = left.cloned().collect();
        let orphaned = !left.is_empty();
        let sessions = sessions.into_iter().chain(left).collect();
        let state = Self {
            clean: false,
            sessions,
            ..self.clone()
        };
        (state, orphaned)
    }
}

/// The state directory, held by this process.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    /// Makes the directory if there is none, and takes its lock.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| StateError::Io { path, error }
        };
        fs::create_dir_all(path).map_err(failed(path))?;
        let name = path.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&name)
            .map_err(failed(&name))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateError::Locked { path: name }),
            Err((_, errno)) => Err(StateError::Io {
                path: name,
                error: errno.into(),
            }),
        }
    }

    fn file(&self, volume: &str) -> PathBuf {
        self.path.join(format!("volume-{volume}.json"))
    }

    /// What is known of a volume; `None` if it was never in use.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn load(&self, volume: &str) -> Result<Option<VolumeState>, StateError> {
        let path = self.file(volume);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| StateError::Damaged { path, error }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::Io { path, error }),
        }
    }

    /// Replaces what is known of a volume; on stable storage when it returns.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn store(&self, volume: &str, state: &VolumeState) -> Result<(), StateError> {
        let path = self.file(volume);
        let replace = || -> io::Result<()> {
            let new = path.with_extension("json.new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            serde_json::to_writer(&mut file, state)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        replace().map_err(|error| StateError::Io {
            path: path.clone(),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_kept_away_until_the_first_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        assert!(matches!(
            StateDir::open(dir.path()),
            Err(StateError::Locked { .. })
        ));
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_session_of_a_path_that_was_removed_is_remembered_until_a_run_ends_cleanly() {
        let sessions = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (first, orphaned) = VolumeState::default().begin(sessions(&["a", "b"]));
        assert!(!orphaned);
        let (second, orphaned) = first.begin(sessions(&["b", "c"]));
        assert!(orphaned, "a cannot be fenced any more");
        assert_eq!(second.sessions, ["b", "c", "a"]);
        let (_, orphaned) = second.begin(sessions(&["a", "b", "c"]));
        assert!(!orphaned, "it is back");
        let clean = VolumeState {
            clean: true,
            ..second
        };
        let (last, orphaned) = clean.begin(sessions(&["c"]));
        assert!(!orphaned && !last.clean);
        assert_eq!(last.sessions, ["c"]);
    }

    #[test]
    fn what_was_stored_is_loaded_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.load("db").unwrap(), None);
        let kept = VolumeState {
            wwid: Some("naa.6001405f2d3c4b5a".into()),
            block_size: 512,
            blocks: 8,
            places: vec!["iqn.x:t 10.0.1.1:3260 0".into()],
            distrusted: vec!["iqn.x:t 10.0.2.1:3260 0".into()],
            clean: true,
            reservation: Some(KeyState::from(RememberedKey {
                reserved: Some(ReservationType::WriteExclusiveRegistrantsOnly),
                ..RememberedKey::new(ReservationKey(0x1234_0000), true)
            })),
            sessions: vec!["800102030405 iqn.2003-01.com.example:array1 10.0.1.10:3260".into()],
        };
        state.store("db", &kept).unwrap();
        let loaded = state.load("db").unwrap();
        let key = loaded.as_ref().and_then(|known| known.reservation.as_ref());
        let key = key.and_then(KeyState::remembered).unwrap();
        assert_eq!((key.key, key.per_path), (ReservationKey(0x1234_0000), true));
        assert_eq!(loaded, Some(kept));
        fs::write(dir.path().join("volume-db.json"), "{").unwrap();
        let error = state.load("db").unwrap_err().to_string();
        assert!(error.contains("volume-db.json"), "{error}");
    }
}
