//! Negotiated keys and the rules by which they are settled (RFC 7143 6.2 and 13).

use std::ops::RangeInclusive;

use super::{LENGTH_RANGE, NOT_UNDERSTOOD, REJECT};

/// The keys that are settled by an offer and an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of RFC 7143 section 13")]
pub enum Key {
    HeaderDigest,
    DataDigest,
    MaxConnections,
    InitialR2T,
    ImmediateData,
    MaxBurstLength,
    FirstBurstLength,
    DefaultTime2Wait,
    DefaultTime2Retain,
    MaxOutstandingR2T,
    DataPDUInOrder,
    DataSequenceInOrder,
    ErrorRecoveryLevel,
    TaskReporting,
    ISCSIProtocolLevel,
    IFMarker,
    OFMarker,
    IFMarkInt,
    OFMarkInt,
}

/// How two numbers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The smaller one.
    Minimum,
    /// The larger one.
    Maximum,
}

/// How a key is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The answer is the first value of the offered list that the responder accepts.
    List,
    /// Yes if both say yes.
    And,
    /// Yes if one says yes.
    Or,
    /// A number in a range.
    Number(Combine, RangeInclusive<u32>),
    /// A key of RFC 3720 that is gone: the answer is this constant (RFC 7143 13.25).
    Obsolete(&'static str),
}

/// What a key was settled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Yes or No.
    Bool(bool),
    /// A number.
    Number(u32),
    /// One value of a list.
    Choice(&'static str),
}

/// What one side wants of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Yes or No.
    Bool(bool),
    /// A number.
    Number(u32),
    /// Acceptable values, the best first.
    List(Vec<&'static str>),
}

/// Why an answer cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The value is not legal for the key.
    Illegal,
    /// The value is legal, but the offer does not permit it.
    OutsideOffer,
}

/// What to answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This value holds, and is the answer.
    Settled(Value),
    /// This reserved word is the answer, and the default holds.
    Constant(&'static str),
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::HeaderDigest,
        Self::DataDigest,
        Self::MaxConnections,
        Self::InitialR2T,
        Self::ImmediateData,
        Self::MaxBurstLength,
        Self::FirstBurstLength,
        Self::DefaultTime2Wait,
        Self::DefaultTime2Retain,
        Self::MaxOutstandingR2T,
        Self::DataPDUInOrder,
        Self::DataSequenceInOrder,
        Self::ErrorRecoveryLevel,
        Self::TaskReporting,
        Self::ISCSIProtocolLevel,
        Self::IFMarker,
        Self::OFMarker,
        Self::IFMarkInt,
        Self::OFMarkInt,
    ];

    /// The key on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeaderDigest => "HeaderDigest",
            Self::DataDigest => "DataDigest",
            Self::MaxConnections => "MaxConnections",
            Self::InitialR2T => "InitialR2T",
            Self::ImmediateData => "ImmediateData",
            Self::MaxBurstLength => "MaxBurstLength",
            Self::FirstBurstLength => "FirstBurstLength",
            Self::DefaultTime2Wait => "DefaultTime2Wait",
            Self::DefaultTime2Retain => "DefaultTime2Retain",
            Self::MaxOutstandingR2T => "MaxOutstandingR2T",
            Self::DataPDUInOrder => "DataPDUInOrder",
            Self::DataSequenceInOrder => "DataSequenceInOrder",
            Self::ErrorRecoveryLevel => "ErrorRecoveryLevel",
            Self::TaskReporting => "TaskReporting",
            Self::ISCSIProtocolLevel => "iSCSIProtocolLevel",
            Self::IFMarker => "IFMarker",
            Self::OFMarker => "OFMarker",
            Self::IFMarkInt => "IFMarkInt",
            Self::OFMarkInt => "OFMarkInt",
        }
    }

    /// The key with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Its rule.
    #[must_use]
    pub fn rule(self) -> Rule {
        use Combine::{Maximum, Minimum};
        match self {
            Self::HeaderDigest | Self::DataDigest | Self::TaskReporting => Rule::List,
            Self::ImmediateData => Rule::And,
            Self::InitialR2T | Self::DataPDUInOrder | Self::DataSequenceInOrder => Rule::Or,
            Self::MaxConnections | Self::MaxOutstandingR2T => Rule::Number(Minimum, 1..=65535),
            Self::MaxBurstLength | Self::FirstBurstLength => Rule::Number(Minimum, LENGTH_RANGE),
            Self::DefaultTime2Wait => Rule::Number(Maximum, 0..=3600),
            Self::DefaultTime2Retain => Rule::Number(Minimum, 0..=3600),
            Self::ErrorRecoveryLevel => Rule::Number(Minimum, 0..=2),
            Self::ISCSIProtocolLevel => Rule::Number(Minimum, 0..=31),
            Self::IFMarker | Self::OFMarker => Rule::Obsolete("No"),
            Self::IFMarkInt | Self::OFMarkInt => Rule::Obsolete(REJECT),
        }
    }

    /// The value that holds if the key is not negotiated.
    #[must_use]
    pub const fn default_value(self) -> Value {
        match self {
            Self::HeaderDigest | Self::DataDigest => Value::Choice("None"),
            Self::TaskReporting => Value::Choice("RFC3720"),
            Self::InitialR2T
            | Self::ImmediateData
            | Self::DataPDUInOrder
            | Self::DataSequenceInOrder => Value::Bool(true),
            Self::MaxConnections | Self::MaxOutstandingR2T | Self::ISCSIProtocolLevel => {
                Value::Number(1)
            }
            Self::MaxBurstLength => Value::Number(262_144),
            Self::FirstBurstLength => Value::Number(65_536),
            Self::DefaultTime2Wait => Value::Number(2),
            Self::DefaultTime2Retain => Value::Number(20),
            Self::ErrorRecoveryLevel => Value::Number(0),
            Self::IFMarker | Self::OFMarker | Self::IFMarkInt | Self::OFMarkInt => {
                Value::Bool(false)
            }
        }
    }

    /// Whether the key has no meaning in a discovery session (RFC 7143 section 13, "Irrelevant
    /// when: SessionType=Discovery").
    #[must_use]
    pub const fn is_irrelevant_in_discovery(self) -> bool {
        matches!(
            self,
            Self::MaxConnections
                | Self::InitialR2T
                | Self::ImmediateData
                | Self::MaxBurstLength
                | Self::FirstBurstLength
                | Self::MaxOutstandingR2T
                | Self::DataPDUInOrder
                | Self::DataSequenceInOrder
                | Self::TaskReporting
        )
    }
}

impl Rule {
    /// As the originator: the value that an answer settles.
    ///
    /// # Errors
    /// If the value is not legal, or not one that the offer permits.
    pub fn accept(&self, offer: &Proposal, answer: &str) -> Result<Value, Refusal> {
        match (self, offer) {
            (Self::List, Proposal::List(offered)) => offered
                .iter()
                .find(|value| **value == answer)
                .map(|value| Value::Choice(value))
                .ok_or(Refusal::OutsideOffer),
            (Self::And | Self::Or, Proposal::Bool(offered)) => {
                let answer = parse_bool(answer).ok_or(Refusal::Illegal)?;
                let decided = *offered == matches!(self, Self::Or);
                if decided && answer != *offered {
                    return Err(Refusal::OutsideOffer);
                }
                Ok(Value::Bool(answer))
            }
            (Self::Number(combine, range), Proposal::Number(offered)) => {
                let answer = parse_number(answer).ok_or(Refusal::Illegal)?;
                if !range.contains(&answer) {
                    return Err(Refusal::Illegal);
                }
                if combine.of(*offered, answer) != answer {
                    return Err(Refusal::OutsideOffer);
                }
                Ok(Value::Number(answer))
            }
            (Self::Obsolete(constant), _) if *constant == answer => Ok(Value::Bool(false)),
            _ => Err(Refusal::Illegal),
        }
    }

    /// As the responder: what to answer to an offer, wanting `ours`.
    #[must_use]
    pub fn answer(&self, ours: &Proposal, offer: &str) -> Answer {
        let settled = match (self, ours) {
            (Self::List, Proposal::List(accepted)) => offer
                .split(',')
                .find_map(|value| accepted.iter().find(|ours| **ours == value))
                .map(|value| Value::Choice(value)),
            (Self::And, Proposal::Bool(ours)) => parse_bool(offer).map(|b| Value::Bool(b && *ours)),
            (Self::Or, Proposal::Bool(ours)) => parse_bool(offer).map(|b| Value::Bool(b || *ours)),
            (Self::Number(combine, range), Proposal::Number(ours)) => parse_number(offer)
                .filter(|number| range.contains(number))
                .map(|number| Value::Number(combine.of(*ours, number))),
            (Self::Obsolete(constant), _) => return Answer::Constant(constant),
            _ => None,
        };
        settled.map_or(Answer::Constant(REJECT), Answer::Settled)
    }

    /// As the originator: whether the offer alone decides, so that an answer may be left out.
    #[must_use]
    pub fn decided_by(&self, offer: &Proposal) -> Option<Value> {
        match (self, offer) {
            (Self::And, Proposal::Bool(false)) => Some(Value::Bool(false)),
            (Self::Or, Proposal::Bool(true)) => Some(Value::Bool(true)),
            _ => None,
        }
    }
}

impl Combine {
    fn of(self, a: u32, b: u32) -> u32 {
        match self {
            Self::Minimum => a.min(b),
            Self::Maximum => a.max(b),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("Yes"),
            Self::Bool(false) => f.write_str("No"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Choice(value) => f.write_str(value),
        }
    }
}

impl std::fmt::Display for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => Value::Bool(*value).fmt(f),
            Self::Number(number) => Value::Number(*number).fmt(f),
            Self::List(values) => f.write_str(&values.join(",")),
        }
    }
}

/// Whether an answer is one of the reserved words that settle nothing (RFC 7143 6.2).
pub(crate) fn is_reserved_answer(value: &str) -> bool {
    [REJECT, super::IRRELEVANT, NOT_UNDERSTOOD].contains(&value)
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "Yes" => Some(true),
        "No" => Some(false),
        _ => None,
    }
}

/// A number in decimal or, after `0x` or `0X`, in hexadecimal form (RFC 7143 6.1).
#[must_use]
pub fn parse_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let all_digits = digits.chars().all(|c| c.is_digit(radix));
    u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| all_digits)
}

#[cfg(test)]
mod tests;
