//! Encoding and decoding of requests and answers, with bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::events::EventsReport;
use super::reload::ReloadReport;
use super::report::StatusReport;
use super::reservation::{ReservationDeed, ReservationReport};
use crate::limits::{
    CONTROL_LINE_MAX, CONTROL_REQUEST_MAX, CONTROL_TIMEOUT, RELOAD_TIMEOUT, RESERVATION_TIMEOUT,
};

/// Version of the protocol that this program speaks.
pub const VERSION: u32 = 1;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version that the client speaks.
    pub version: u32,
    /// What it wants.
    pub ask: Ask,
}

impl Request {
    /// In our version.
    #[must_use]
    pub fn new(ask: Ask) -> Self {
        Self {
            version: VERSION,
            ask,
        }
    }
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// The state of the daemon, with one volume or all.
    Status {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        volume: Option<String>,
    },
    /// What happened to the paths of a volume.
    Events {
        /// Which one.
        volume: String,
    },
    /// Use the preferred paths of a volume again, whatever its failback rule says.
    Failback {
        /// Which one.
        volume: String,
    },
    /// Read or change the reservations of a volume's LUN.
    Reservation {
        /// Which volume.
        volume: String,
        /// What is asked for.
        deed: ReservationDeed,
    },
    /// Read the configuration's file again, and take it over.
    Reload {
        /// Only tell what would change.
        #[serde(default)]
        dry_run: bool,
    },
}

impl Ask {
    /// How long the daemon may take for its answer.
    #[must_use]
    pub fn limit(&self) -> Duration {
        match self {
            Self::Status { .. } | Self::Events { .. } | Self::Failback { .. } => CONTROL_TIMEOUT,
            Self::Reload { .. } => RELOAD_TIMEOUT,
            Self::Reservation { .. } => RESERVATION_TIMEOUT,
        }
    }
}

/// What the daemon sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Ask::Status`].
    Status(StatusReport),
    /// To [`Ask::Events`].
    Events(EventsReport),
    /// To [`Ask::Failback`]: it is done.
    Done,
    /// To [`Ask::Reservation`].
    Reservation(ReservationReport),
    /// To [`Ask::Reload`].
    Reloaded(ReloadReport),
    /// Not done, and why.
    Refused(Refusal),
}

/// Why the daemon does not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The daemon is older or newer than the client.
    #[error(
        "the daemon speaks version {daemon} of the control protocol, this program speaks another; \
         use the iibadm that came with the daemon"
    )]
    Version {
        /// What the daemon speaks.
        daemon: u32,
    },
    /// The request makes no sense to the daemon.
    #[error("the daemon does not understand the request; use the iibadm that came with it")]
    NotUnderstood,
    /// There is no such volume.
    #[error("there is no volume \"{name}\"; there are: {}", known.join(", "))]
    NoSuchVolume {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The daemon is about to end, or has not come up yet.
    #[error("the daemon is starting or stopping; try again")]
    Busy,
    /// The configuration's file has mistakes.
    #[error("nothing was changed, for the file has mistakes:\n{}", mistakes.join("\n"))]
    Mistakes {
        /// All of them, a line each.
        mistakes: Vec<String>,
    },
    /// It was begun and not done; what could be undone of it was.
    #[error("not done: {why}")]
    NotDone {
        /// Why.
        why: String,
    },
    /// What is wanted cannot be had.
    #[error("nothing was changed: {why}")]
    NotPossible {
        /// Why, and what to do.
        why: String,
    },
}

/// Why a line is no request or no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Above [`CONTROL_REQUEST_MAX`] or [`CONTROL_LINE_MAX`].
    #[error("longer than the control protocol allows")]
    TooLong,
    /// The connection ended before the line did.
    #[error("the connection ended before the line was complete")]
    Incomplete,
    /// Not JSON, or JSON of another form.
    #[error("not in the form of the control protocol")]
    BadForm,
    /// Another version.
    #[error("version {0} of the control protocol, not {VERSION}")]
    Version(u32),
}

impl WireError {
    /// What the daemon answers to a request with this fault.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Version(_) => Refusal::Version { daemon: VERSION },
            Self::TooLong | Self::Incomplete | Self::BadForm => Refusal::NotUnderstood,
        }
    }
}

/// The version alone: it is read before anything that may differ between versions.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct AnswerLine {
    version: u32,
    answer: Answer,
}

/// A request as a line, with its newline.
#[must_use]
pub fn encode_request(request: &Request) -> Vec<u8> {
    line(request)
}

/// An answer as a line, with its newline.
#[must_use]
pub fn encode_answer(answer: Answer) -> Vec<u8> {
    line(&AnswerLine {
        version: VERSION,
        answer,
    })
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Our types have no maps with odd keys and no failing `Serialize`.
    let mut line = serde_json::to_vec(value).expect("a report is always representable as JSON");
    line.push(b'\n');
    line
}

/// The request in a line, its newline included.
///
/// # Errors
/// Too long, cut off, not JSON, or another version.
pub fn decode_request(line: &[u8]) -> Result<Request, WireError> {
    decode(line, CONTROL_REQUEST_MAX)
}

/// The answer in a line, its newline included.
///
/// # Errors
/// Too long, cut off, not JSON, or another version.
pub fn decode_answer(line: &[u8]) -> Result<Answer, WireError> {
    decode::<AnswerLine>(line, CONTROL_LINE_MAX).map(|line| line.answer)
}

fn decode<'a, T: Deserialize<'a>>(line: &'a [u8], limit: usize) -> Result<T, WireError> {
    if line.len() > limit {
        return Err(WireError::TooLong);
    }
    let line = line.strip_suffix(b"\n").ok_or(WireError::Incomplete)?;
    let versioned: Versioned = serde_json::from_slice(line).map_err(|_| WireError::BadForm)?;
    if versioned.version != VERSION {
        return Err(WireError::Version(versioned.version));
    }
    serde_json::from_slice(line).map_err(|_| WireError::BadForm)
}

#[cfg(test)]
mod tests {
    use super::super::report::samples::report;
    use super::*;

    #[test]
    fn a_request_survives_the_wire_in_this_form() {
        let request = Request::new(Ask::Status {
            volume: Some("db".to_owned()),
        });
        let line = encode_request(&request);
        let expected: &[u8] = b"{\"version\":1,\"ask\":{\"status\":{\"volume\":\"db\"}}}\n";
        assert_eq!(line, expected);
        assert_eq!(decode_request(&line), Ok(request));
        let all = b"{\"version\":1,\"ask\":{\"status\":{}}}\n";
        let all = decode_request(all).map(|request| request.ask);
        assert_eq!(all, Ok(Ask::Status { volume: None }));
    }

    #[test]
    fn an_answer_survives_the_wire_on_one_line() {
        for answer in [
            Answer::Status(report()),
            Answer::Refused(Refusal::Busy),
            Answer::Refused(Refusal::NoSuchVolume {
                name: "a\nb".to_owned(),
                known: vec!["db".to_owned()],
            }),
        ] {
            let line = encode_answer(answer.clone());
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(decode_answer(&line), Ok(answer));
        }
    }

    #[test]
    fn another_version_is_told_apart_from_nonsense() {
        let newer = b"{\"version\":2,\"ask\":{\"teleport\":{}}}\n";
        assert_eq!(decode_request(newer), Err(WireError::Version(2)));
        for bad in [
            &b"\n"[..],
            b"{}\n",
            b"[]\n",
            b"status\n",
            b"{\"version\":1}\n",
            b"{\"version\":1,\"ask\":{\"teleport\":{}}}\n",
            b"{\"version\":1,\"ask\":{\"status\":{\"volum\":\"db\"}}}\n",
            b"\xff\n",
        ] {
            assert_eq!(decode_request(bad), Err(WireError::BadForm), "{bad:?}");
        }
        assert_eq!(
            decode_request(b"{\"version\":1"),
            Err(WireError::Incomplete)
        );
        let long = vec![b' '; CONTROL_REQUEST_MAX + 1];
        assert_eq!(decode_request(&long), Err(WireError::TooLong));
        let deep = [vec![b'['; 60_000], b"\n".to_vec()].concat();
        assert_eq!(
            decode_request(&deep),
            Err(WireError::BadForm),
            "no stack overflow"
        );
    }

    #[test]
    fn a_fault_of_the_request_is_answered() {
        assert_eq!(
            WireError::Version(9).refusal(),
            Refusal::Version { daemon: VERSION }
        );
        assert_eq!(WireError::BadForm.refusal(), Refusal::NotUnderstood);
    }
}
