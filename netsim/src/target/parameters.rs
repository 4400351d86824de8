//! The operational keys, negotiated as a target does it (RFC 7143 6.2, 13).
//!
//! Deliberately written without the initiator's negotiation rules: a mistake in those would be
//! invisible if both sides shared it.

use iiblockdaemon::iscsi::digest::Digests;

use super::config::{DigestWish, Wishes};

const REJECT: &str = "Reject";
const LENGTHS: std::ops::RangeInclusive<u64> = 512..=16_777_215;

/// What holds for a session, from the defaults on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Digests of the full feature phase.
    pub digests: Digests,
    /// No data without an R2T.
    pub initial_r2t: bool,
    /// Data within the command PDU.
    pub immediate_data: bool,
    /// Unsolicited data of one command, immediate data included.
    pub first_burst_length: u32,
    /// Data of one R2T, or of one Data-In sequence.
    pub max_burst_length: u32,
    /// R2Ts outstanding per command.
    pub max_outstanding_r2t: u32,
    /// What the initiator accepts in one data segment.
    pub initiator_segment_length: u32,
    /// Seconds to wait after a logout.
    pub time2wait: u16,
    /// Seconds that a lost session's state is kept.
    pub time2retain: u16,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            digests: Digests::default(),
            initial_r2t: true,
            immediate_data: true,
            first_burst_length: 65536,
            max_burst_length: 262_144,
            max_outstanding_r2t: 1,
            initiator_segment_length: 8192,
            time2wait: 2,
            time2retain: 20,
        }
    }
}

/// What a key calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This value is the answer.
    Value(String),
    /// The key was a declaration: nothing is answered.
    None,
    /// The value is not acceptable and the session cannot be without.
    Fatal,
}

impl Parameters {
    /// Takes one operational key of the initiator's.
    pub(super) fn take(
        &mut self,
        wishes: &Wishes,
        discovery: bool,
        key: &str,
        value: &str,
    ) -> Answer {
        let answer = |value: &str| Answer::Value(value.to_owned());
        if discovery && is_about_data(key) {
            return answer("Irrelevant");
        }
        match key {
            "HeaderDigest" => digest(wishes.header_digest, value, &mut self.digests.header),
            "DataDigest" => digest(wishes.data_digest, value, &mut self.digests.data),
            "InitialR2T" => yes_no(
                value,
                |offer| offer || wishes.initial_r2t,
                &mut self.initial_r2t,
            ),
            "ImmediateData" => yes_no(
                value,
                |offer| offer && wishes.immediate_data,
                &mut self.immediate_data,
            ),
            "MaxRecvDataSegmentLength" => match number(value, LENGTHS) {
                Some(length) => {
                    self.initiator_segment_length = length;
                    Answer::None
                }
                None => answer(REJECT),
            },
            "MaxBurstLength" => lesser(
                value,
                LENGTHS,
                wishes.max_burst_length,
                &mut self.max_burst_length,
            ),
            "FirstBurstLength" => lesser(
                value,
                LENGTHS,
                wishes.first_burst_length,
                &mut self.first_burst_length,
            ),
            "MaxOutstandingR2T" => {
                let ours = wishes.max_outstanding_r2t;
                lesser(value, 1..=65535, ours, &mut self.max_outstanding_r2t)
            }
            "DefaultTime2Wait" => match number(value, 0..=3600) {
                Some(offer) => {
                    let settled = offer.max(wishes.default_time2wait);
                    self.time2wait = u16::try_from(settled).unwrap_or(u16::MAX);
                    answer(&settled.to_string())
                }
                None => answer(REJECT),
            },
            "DefaultTime2Retain" => match number(value, 0..=3600) {
                Some(offer) => {
                    let settled = offer.min(wishes.default_time2retain);
                    self.time2retain = u16::try_from(settled).unwrap_or(u16::MAX);
                    answer(&settled.to_string())
                }
                None => answer(REJECT),
            },
            // One connection, in order, error recovery level 0: that is what this target does.
            "MaxConnections" => answer(number(value, 1..=65535).map_or(REJECT, |_| "1")),
            "ErrorRecoveryLevel" => answer(number(value, 0..=2).map_or(REJECT, |_| "0")),
            "DataPDUInOrder" | "DataSequenceInOrder" => yes_no(value, |_| true, &mut true),
            "TaskReporting" => {
                let offered = value.split(',').any(|kind| kind == "RFC3720");
                answer(if offered { "RFC3720" } else { REJECT })
            }
            "iSCSIProtocolLevel" => answer(
                number(value, 0..=31).map_or(REJECT, |level| if level == 0 { "0" } else { "1" }),
            ),
            "IFMarker" | "OFMarker" => answer("No"),
            "IFMarkInt" | "OFMarkInt" => answer(REJECT),
            _ => answer("NotUnderstood"),
        }
    }

    /// What holds once the negotiation is over.
    pub(super) fn settle(&mut self) {
        self.first_burst_length = self.first_burst_length.min(self.max_burst_length);
    }

    /// Bytes that may come without an R2T, immediate data included.
    pub(super) fn unsolicited_length(&self) -> u32 {
        self.first_burst_length
    }
}

fn is_about_data(key: &str) -> bool {
    matches!(
        key,
        "MaxConnections"
            | "InitialR2T"
            | "ImmediateData"
            | "MaxBurstLength"
            | "FirstBurstLength"
            | "MaxOutstandingR2T"
            | "DataPDUInOrder"
            | "DataSequenceInOrder"
            | "TaskReporting"
    )
}

fn digest(wish: DigestWish, offer: &str, holds: &mut bool) -> Answer {
    let acceptable = |value: &&str| match wish {
        DigestWish::None => *value == "None",
        DigestWish::Crc32c => *value == "CRC32C",
        DigestWish::Either => *value == "None" || *value == "CRC32C",
    };
    match offer.split(',').find(acceptable) {
        Some(value) => {
            *holds = value == "CRC32C";
            Answer::Value(value.to_owned())
        }
        None if wish == DigestWish::Crc32c => Answer::Fatal,
        None => Answer::Value(REJECT.to_owned()),
    }
}

fn yes_no(offer: &str, settle: impl Fn(bool) -> bool, holds: &mut bool) -> Answer {
    let offer = match offer {
        "Yes" => true,
        "No" => false,
        _ => return Answer::Value(REJECT.to_owned()),
    };
    *holds = settle(offer);
    Answer::Value(if *holds { "Yes" } else { "No" }.to_owned())
}

fn lesser(offer: &str, range: std::ops::RangeInclusive<u64>, ours: u32, holds: &mut u32) -> Answer {
    match number(offer, range) {
        Some(offer) => {
            *holds = offer.min(ours);
            Answer::Value(holds.to_string())
        }
        None => Answer::Value(REJECT.to_owned()),
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    range
        .contains(&number)
        .then(|| u32::try_from(number).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(wishes: &Wishes, keys: &[(&str, &str)]) -> (Parameters, Vec<String>) {
        let mut parameters = Parameters::default();
        let mut answers = Vec::new();
        for (key, value) in keys {
            if let Answer::Value(answer) = parameters.take(wishes, false, key, value) {
                answers.push(format!("{key}={answer}"));
            }
        }
        parameters.settle();
        (parameters, answers)
    }

    #[test]
    fn each_key_is_settled_by_the_rule_of_rfc_7143_section_13() {
        let wishes = Wishes {
            first_burst_length: 1 << 20,
            max_burst_length: 128 << 10,
            initial_r2t: true,
            immediate_data: false,
            default_time2wait: 5,
            ..Wishes::default()
        };
        let (parameters, answers) = settle(
            &wishes,
            &[
                ("HeaderDigest", "CRC32C,None"),
                ("DataDigest", "None,CRC32C"),
                ("InitialR2T", "No"),
                ("ImmediateData", "Yes"),
                ("MaxRecvDataSegmentLength", "65536"),
                ("FirstBurstLength", "262144"),
                ("MaxBurstLength", "0x100000"),
                ("DefaultTime2Wait", "2"),
                ("MaxConnections", "8"),
                ("ErrorRecoveryLevel", "2"),
                ("X-com.example", "1"),
            ],
        );
        let expected = [
            "HeaderDigest=CRC32C",
            "DataDigest=None",
            "InitialR2T=Yes",
            "ImmediateData=No",
            "FirstBurstLength=262144",
            "MaxBurstLength=131072",
            "DefaultTime2Wait=5",
            "MaxConnections=1",
            "ErrorRecoveryLevel=0",
            "X-com.example=NotUnderstood",
        ];
        assert_eq!(answers, expected);
        assert!(parameters.digests.header && !parameters.digests.data);
        assert!(parameters.initial_r2t && !parameters.immediate_data);
        assert_eq!(parameters.initiator_segment_length, 65536);
        assert_eq!(parameters.first_burst_length, 131_072, "within a burst");
    }

    #[test]
    fn values_outside_their_range_are_rejected_and_the_default_holds() {
        let (parameters, answers) = settle(
            &Wishes::default(),
            &[
                ("MaxBurstLength", "511"),
                ("MaxOutstandingR2T", "0"),
                ("InitialR2T", "Maybe"),
                ("MaxRecvDataSegmentLength", "16777216"),
            ],
        );
        assert!(answers.iter().all(|answer| answer.ends_with("=Reject")));
        assert_eq!(answers.len(), 4);
        assert_eq!(parameters, Parameters::default());
    }

    #[test]
    fn a_required_digest_that_is_not_offered_is_fatal() {
        let wishes = Wishes {
            header_digest: DigestWish::Crc32c,
            ..Wishes::default()
        };
        let mut parameters = Parameters::default();
        let answer = parameters.take(&wishes, false, "HeaderDigest", "None");
        assert_eq!(answer, Answer::Fatal);
    }

    #[test]
    fn keys_about_data_are_irrelevant_in_a_discovery_session() {
        let mut parameters = Parameters::default();
        let answer = parameters.take(&Wishes::default(), true, "InitialR2T", "No");
        assert_eq!(answer, Answer::Value("Irrelevant".to_owned()));
    }
}
