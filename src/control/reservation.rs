//! Persistent reservations of a volume's LUN, and their text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::render::printable;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReservationDeed {
    /// The state alone.
    Show,
    /// Register a key over every path.
    Register {
        /// `0x` and up to 16 hexadecimal digits.
        key: String,
    },
    /// Remove our registrations.
    Unregister,
    /// Reserve the LUN.
    Reserve {
        /// The name of the type.
        kind: String,
    },
    /// Release our reservation.
    Release,
    /// Remove another host's registrations, and take over its reservation.
    Preempt {
        /// Its key.
        key: String,
        /// Abort its commands as well.
        #[serde(default)]
        abort: bool,
    },
    /// Remove everybody's registrations, and the reservation.
    Clear,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationReport {
    /// The volume's name.
    pub volume: String,
    /// Its key, if it has one.
    pub key: Option<KeyReport>,
    /// The reservation that is held, by whomever.
    pub reservation: Option<HeldReport>,
    /// The keys that the target knows, one for each registered nexus; absent if it did not tell.
    pub registered: Option<Vec<String>>,
    /// Its paths, in the order of the configuration.
    pub paths: Vec<RegistrationReport>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// A volume's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    /// The key.
    pub key: String,
    /// Each path has one of its own, made of that one.
    pub per_path: bool,
    /// The type of the reservation that we made, if we made one.
    pub reserved: Option<String>,
    /// Somebody else removed our registration: nothing is registered before an administrator says so.
    pub preempted: bool,
    /// Paths that are up and registered.
    #[serde(default)]
    pub registered: u64,
}

/// A reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldReport {
    /// The holder's key; 0 where every registered nexus holds it.
    pub key: String,
    /// The name of its type.
    pub kind: String,
}

/// A path's registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationReport {
    /// As the log names it.
    pub name: String,
    /// The key that is meant for it.
    pub key: Option<String>,
    /// Whether it is registered.
    pub state: RegistrationState,
    /// Why it is not; empty if there is nothing to say.
    pub why: String,
}

/// Whether a path is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationState {
    /// With the volume's key.
    Registered,
    /// It is up, and not registered.
    NotRegistered,
    /// It is not up: it is registered before it is used.
    Down,
}

impl RegistrationState {
    fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::NotRegistered => "not registered",
            Self::Down => "down",
        }
    }
}

impl KeyReport {
    /// In a line.
    #[must_use]
    pub fn text(&self) -> String {
        let key = printable(&self.key);
        if self.preempted {
            return format!(
                "key {key}: OUR REGISTRATION WAS PREEMPTED by somebody else (iibadm reservation)"
            );
        }
        let own = if self.per_path { ", one per path" } else { "" };
        let reserved = self.reserved.as_deref().map(printable);
        let reserved = reserved.map_or(String::new(), |kind| format!(", reserved: {kind}"));
        format!("key {key}{own}{reserved}")
    }
}

impl ReservationReport {
    /// For a terminal, ending with a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{}:\n", printable(&self.volume));
        let mut line = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {name:<12} {value}");
        };
        let own = self.key.as_ref().map(KeyReport::text);
        line("ours", own.as_deref().unwrap_or("no key"));
        let held = self.reservation.as_ref().map(|held| {
            let (kind, key) = (printable(&held.kind), printable(&held.key));
            format!("{kind}, held by {key}")
        });
        line("reservation", held.as_deref().unwrap_or("none"));
        let keys = match &self.registered {
            None => "the target did not tell".to_owned(),
            Some(keys) if keys.is_empty() => "nobody".to_owned(),
            Some(keys) => counted(keys),
        };
        line("registered", &keys);
        for path in &self.paths {
            let key = path.key.as_deref().map(printable).unwrap_or_default();
            let why = match path.why.as_str() {
                "" => String::new(),
                why => format!(": {}", printable(why)),
            };
            let value = format!("{} {key}{why}", path.state.name());
            line(&printable(&path.name), value.trim_end());
        }
        for note in &self.notes {
            line("note", &printable(note));
        }
        out
    }
}

/// Each key once, with how often it is there.
fn counted(keys: &[String]) -> String {
    let mut sorted = keys.to_vec();
    sorted.sort();
    let mut parts: Vec<String> = Vec::new();
    for same in sorted.chunk_by(|a, b| a == b) {
        let key = same.first().map(|key| printable(key)).unwrap_or_default();
        parts.push(match same.len() {
            1 => key,
            times => format!("{key} ({times} times)"),
        });
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_like_this() {
        let key = "0x1a2b3c4d00000000".to_owned();
        let path = |name: &str, state, why: &str| RegistrationReport {
            name: name.to_owned(),
            key: Some(key.clone()),
            state,
            why: why.to_owned(),
        };
        let mut report = ReservationReport {
            volume: "db".to_owned(),
            key: Some(KeyReport {
                key: key.clone(),
                per_path: false,
                reserved: Some("write-exclusive-registrants-only".to_owned()),
                preempted: false,
                registered: 1,
            }),
            reservation: Some(HeldReport {
                key: key.clone(),
                kind: "write-exclusive-registrants-only".to_owned(),
            }),
            registered: Some(vec![key.clone(), "0x7".to_owned(), key.clone()]),
            paths: vec![
                path("10.0.1.10:3260", RegistrationState::Registered, ""),
                path("10.0.2.10:3260", RegistrationState::Down, "refused\u{1b}"),
            ],
            notes: vec!["nothing was reserved".to_owned()],
        };
        assert_eq!(
            report.text(),
            "db:\n  \
             ours         key 0x1a2b3c4d00000000, reserved: write-exclusive-registrants-only\n  \
             reservation  write-exclusive-registrants-only, held by 0x1a2b3c4d00000000\n  \
             registered   0x1a2b3c4d00000000 (2 times), 0x7\n  \
             10.0.1.10:3260 registered 0x1a2b3c4d00000000\n  \
             10.0.2.10:3260 down 0x1a2b3c4d00000000: refused\u{fffd}\n  \
             note         nothing was reserved\n"
        );
        report.key.as_mut().unwrap().preempted = true;
        assert!(report.text().contains("WAS PREEMPTED"));
    }
}
