//! The operational negotiation: what we offer, what the target answers, what it offers itself.

use std::collections::BTreeMap;

use crate::iscsi::error::{Excerpt, PeerIncompatible, PeerMisbehaved, SessionError};
use crate::iscsi::keys::{Answer, IRRELEVANT, Key, LENGTH_RANGE, Proposal, Refusal, Text, Value};
use crate::iscsi::keys::{is_reserved_answer, name};
use crate::iscsi::session::config::{DigestChoice, Offer};

/// State of each negotiated key.
#[derive(Debug)]
pub(super) struct Negotiation {
    keys: BTreeMap<Key, Entry>,
    discovery: bool,
    max_recv_data_segment_length: u32,
}

#[derive(Debug)]
struct Entry {
    ours: Proposal,
    offered: bool,
    settled: Option<Settled>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    value: Value,
    /// What the target said, to recognise a mere repetition.
    said: Box<str>,
}

/// The values of the keys at the end.
pub(super) struct Outcome<'a>(&'a Negotiation);

impl Negotiation {
    /// What a session of this kind wants of each key. A discovery session has no digests: EMC VNX
    /// accepts CRC32C there and then drops the connection.
    pub(super) fn new(offer: &Offer, discovery: bool) -> Self {
        let length = |bytes: u32| bytes.clamp(*LENGTH_RANGE.start(), *LENGTH_RANGE.end());
        let max_burst = length(offer.max_burst_length);
        let digest = |choice| match choice {
            _ if discovery => vec!["None"],
            DigestChoice::None => vec!["None"],
            DigestChoice::Crc32c => vec!["CRC32C"],
            DigestChoice::PreferCrc32c => vec!["CRC32C", "None"],
            DigestChoice::PreferNone => vec!["None", "CRC32C"],
        };
        let seconds = |seconds: u16| Proposal::Number(u32::from(seconds.min(3600)));
        let keys = Key::ALL.into_iter().map(|key| {
            let ours = match key {
                Key::HeaderDigest => Proposal::List(digest(offer.header_digest)),
                Key::DataDigest => Proposal::List(digest(offer.data_digest)),
                Key::InitialR2T => Proposal::Bool(offer.initial_r2t),
                Key::ImmediateData => Proposal::Bool(offer.immediate_data),
                Key::MaxBurstLength => Proposal::Number(max_burst),
                // NetApp refuses a login with FirstBurstLength above MaxBurstLength even where
                // neither matters.
                Key::FirstBurstLength => {
                    Proposal::Number(length(offer.first_burst_length).min(max_burst))
                }
                Key::DefaultTime2Wait => seconds(offer.default_time2wait),
                Key::DefaultTime2Retain => seconds(offer.default_time2retain),
                Key::MaxOutstandingR2T => {
                    Proposal::Number(u32::from(offer.max_outstanding_r2t.max(1)))
                }
                Key::DataPDUInOrder | Key::DataSequenceInOrder => Proposal::Bool(true),
                Key::MaxConnections | Key::ISCSIProtocolLevel => Proposal::Number(1),
                Key::ErrorRecoveryLevel => Proposal::Number(0),
                Key::TaskReporting => Proposal::List(vec!["RFC3720"]),
                Key::IFMarker | Key::OFMarker | Key::IFMarkInt | Key::OFMarkInt => {
                    Proposal::Bool(false)
                }
            };
            let entry = Entry {
                ours,
                offered: false,
                settled: None,
            };
            (key, entry)
        });
        Self {
            keys: keys.collect(),
            discovery,
            max_recv_data_segment_length: length(offer.max_recv_data_segment_length),
        }
    }

    /// What we declare as the longest segment that we take.
    pub(super) fn max_recv_data_segment_length(&self) -> u32 {
        self.max_recv_data_segment_length
    }

    /// Appends what is still to be offered. Keys whose default is what we want and that some targets
    /// do not know are never offered, only answered.
    pub(super) fn offer(&mut self, text: &mut Text) {
        for (key, entry) in &mut self.keys {
            let silent = matches!(
                key,
                Key::TaskReporting
                    | Key::ISCSIProtocolLevel
                    | Key::IFMarker
                    | Key::OFMarker
                    | Key::IFMarkInt
                    | Key::OFMarkInt
            );
            let irrelevant = self.discovery && key.is_irrelevant_in_discovery();
            if !silent && !irrelevant && !entry.offered && entry.settled.is_none() {
                entry.offered = true;
                text.push(key.name(), &entry.ours);
            }
        }
        text.push(
            name::MAX_RECV_DATA_SEGMENT_LENGTH,
            self.max_recv_data_segment_length,
        );
    }

    /// Takes a pair of the target; gives the answer if it was an offer.
    pub(super) fn on_pair(&mut self, key: Key, said: &str) -> Result<Option<String>, SessionError> {
        let irrelevant = self.discovery && key.is_irrelevant_in_discovery();
        let Some(entry) = self.keys.get_mut(&key) else {
            return Ok(None);
        };
        if let Some(settled) = &entry.settled {
            return if *settled.said == *said || is_reserved_answer(said) {
                Ok(None)
            } else {
                Err(PeerMisbehaved::KeyRepeated(key.name()).into())
            };
        }
        let (value, answer) = if entry.offered {
            (accept(key, &entry.ours, said)?, None)
        } else if is_reserved_answer(said) {
            return Ok(None);
        } else if irrelevant {
            (key.default_value(), Some(IRRELEVANT.to_owned()))
        } else {
            match key.rule().answer(&entry.ours, said) {
                Answer::Settled(value) => (value, Some(value.to_string())),
                Answer::Constant(word) => (key.default_value(), Some(word.to_owned())),
            }
        };
        entry.settled = Some(Settled {
            value,
            said: said.into(),
        });
        Ok(answer)
    }

    /// The values that hold. What was not answered is what the offer decides, or the default.
    pub(super) fn outcome(&self) -> Outcome<'_> {
        Outcome(self)
    }
}

/// What the answer to an offer of ours settles. A reserved word leaves the
/// default, unless the offer alone decides.
fn accept(key: Key, ours: &Proposal, said: &str) -> Result<Value, SessionError> {
    let rule = key.rule();
    if is_reserved_answer(said) {
        return Ok(rule.decided_by(ours).unwrap_or_else(|| key.default_value()));
    }
    let refusal = match rule.accept(ours, said) {
        Ok(value) => return Ok(value),
        Err(refusal) => refusal,
    };
    let (key_name, value) = (key.name(), Excerpt::new(said));
    Err(match (key, refusal) {
        (Key::HeaderDigest | Key::DataDigest, _) if said == "None" => {
            PeerIncompatible::DigestRefused(key_name).into()
        }
        // Targets exist that answer with their own value; nothing depends on these two.
        (Key::DefaultTime2Wait | Key::DefaultTime2Retain, Refusal::OutsideOffer) => {
            let number = crate::iscsi::keys::parse_number(said);
            return Ok(number.map_or_else(|| key.default_value(), Value::Number));
        }
        (_, Refusal::Illegal) => PeerMisbehaved::IllegalValue {
            key: key_name,
            value,
        }
        .into(),
        (_, Refusal::OutsideOffer) => PeerMisbehaved::OutsideOffer {
            key: key_name,
            value,
        }
        .into(),
    })
}

impl Outcome<'_> {
    fn value(&self, key: Key) -> Value {
        let entry = self.0.keys.get(&key);
        let settled = entry.and_then(|entry| entry.settled.as_ref().map(|s| s.value));
        let decided = || {
            let offered = entry.filter(|entry| entry.offered)?;
            key.rule().decided_by(&offered.ours)
        };
        settled
            .or_else(decided)
            .unwrap_or_else(|| key.default_value())
    }

    pub(super) fn flag(&self, key: Key) -> bool {
        self.value(key) == Value::Bool(true)
    }

    pub(super) fn number(&self, key: Key) -> u32 {
        match self.value(key) {
            Value::Number(number) => number,
            Value::Bool(_) | Value::Choice(_) => 0,
        }
    }

    /// A number whose range fits 16 bits.
    pub(super) fn small(&self, key: Key) -> u16 {
        u16::try_from(self.number(key)).unwrap_or(u16::MAX)
    }

    /// Whether CRC32C was chosen.
    ///
    /// # Errors
    /// If it was not although nothing else was offered.
    pub(super) fn digest(&self, key: Key) -> Result<bool, PeerIncompatible> {
        let on = self.value(key) == Value::Choice("CRC32C");
        let entry = self.0.keys.get(&key);
        let demanded = entry.is_some_and(|e| e.ours == Proposal::List(vec!["CRC32C"]));
        if demanded && !on {
            return Err(PeerIncompatible::DigestRefused(key.name()));
        }
        Ok(on)
    }
}
