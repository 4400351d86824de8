//! Which policy: names and parts, as `multipath.toml` says them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The selectors that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// [`crate::failover`]
    Failover,
    /// [`crate::round_robin`]
    RoundRobin,
    /// [`crate::queue_length`]
    QueueLength,
    /// [`crate::service_time`]
    ServiceTime,
    /// [`crate::historical`]
    HistoricalServiceTime,
    /// [`crate::latency_aware`]
    LatencyAware,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Failover,
        Self::RoundRobin,
        Self::QueueLength,
        Self::ServiceTime,
        Self::HistoricalServiceTime,
        Self::LatencyAware,
    ];

    /// Its name in the configuration and in status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::RoundRobin => "round-robin",
            Self::QueueLength => "queue-length",
            Self::ServiceTime => "service-time",
            Self::HistoricalServiceTime => "historical-service-time",
            Self::LatencyAware => "latency-aware",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for PolicyKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name() == text)
            .ok_or_else(|| ParseError::UnknownSelector(text.to_owned()))
    }
}

/// What round-robin shares out evenly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// Numbers of I/Os.
    #[default]
    Ios,
    /// Bytes; a command without data counts as one small block.
    Bytes,
}

impl Balance {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Ios, Self::Bytes];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Bytes => "bytes",
        }
    }
}

impl FromStr for Balance {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut all = Self::ALL.into_iter();
        all.find(|balance| balance.name() == text)
            .ok_or_else(|| ParseError::UnknownBalance(text.to_owned()))
    }
}

/// When a better path, or a path of a better tier, that *came back* is taken again.
///
/// A path that never failed needs no proof: at start the preferred path is taken as soon as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failback {
    /// At once.
    Immediate,
    /// When it has been usable for this long without a break.
    After(Duration),
    /// When the operator says so, or when nothing else is left.
    Manual,
}

impl Failback {
    /// dm-multipath leaves it manual and its users set `immediate`, which lets a flapping path drag
    /// all I/O along; half a minute of proven health is between the two.
    pub const DEFAULT: Self = Self::After(Duration::from_secs(30));
}

impl Default for Failback {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which paths compete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tiers {
    /// Those with the best access state ([`crate::tier`]).
    #[default]
    Alua,
    /// Those with the smallest number of the operator's.
    Explicit,
    /// All.
    Single,
}

impl Tiers {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Alua, Self::Explicit, Self::Single];

    /// Its name in the configuration and in status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alua => "alua",
            Self::Explicit => "explicit",
            Self::Single => "single",
        }
    }
}

impl FromStr for Tiers {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut all = Self::ALL.into_iter();
        all.find(|tiers| tiers.name() == text)
            .ok_or_else(|| ParseError::UnknownTiers(text.to_owned()))
    }
}

/// Which path is preferred, and when one that came back is again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Preference {
    /// What makes a tier.
    pub tiers: Tiers,
    /// When to go back.
    pub failback: Failback,
}

impl From<Failback> for Preference {
    /// By access states.
    fn from(failback: Failback) -> Self {
        Self {
            tiers: Tiers::Alua,
            failback,
        }
    }
}

/// How many reads may be sent on a second path when they are late, of ten thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hedge(pub u16);

impl Hedge {
    /// None.
    pub const OFF: Self = Self(0);

    /// One of a hundred: enough for the tail of all paths that are well, too little to load a target.
    pub const DEFAULT: Self = Self(100);

    /// The most that can be configured, one of ten.
    pub const MAX: Self = Self(1000);
}

impl Default for Hedge {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Hedge {
    /// As the configuration says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match (whole, hundredths) {
            (0, 0) => f.write_str("off"),
            (_, 0) => write!(f, "{whole}%"),
            (_, tenths) if tenths % 10 == 0 => write!(f, "{whole}.{}%", tenths / 10),
            _ => write!(f, "{whole}.{hundredths:02}%"),
        }
    }
}

/// A whole policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicySpec {
    /// Who wins inside the best tier.
    pub selector: PolicyKind,
    /// What is shared out; only `round-robin` looks at it.
    pub balance: Balance,
    /// What makes a tier.
    pub tiers: Tiers,
    /// When to go back.
    pub failback: Failback,
    /// Late reads are sent twice.
    pub hedge: Hedge,
    /// A path that is slower than its peers is put out of use.
    pub eject: bool,
}

impl PolicySpec {
    /// What all selectors have in common.
    #[must_use]
    pub fn preference(&self) -> Preference {
        Preference {
            tiers: self.tiers,
            failback: self.failback,
        }
    }

    /// The preset that carries a selector's name.
    #[must_use]
    pub fn preset(selector: PolicyKind) -> Self {
        Self {
            selector,
            balance: Balance::default(),
            tiers: Tiers::default(),
            failback: Failback::default(),
            hedge: Hedge::default(),
            eject: true,
        }
    }
}

impl fmt::Display for PolicySpec {
    /// One line for status: `round-robin by bytes, failback after 30s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.selector)?;
        if self.selector == PolicyKind::RoundRobin {
            write!(f, " by {}", self.balance.name())?;
        }
        match self.tiers {
            Tiers::Alua => {}
            Tiers::Explicit => f.write_str(", tiers explicit")?,
            Tiers::Single => f.write_str(", tiers single")?,
        }
        match self.failback {
            Failback::Immediate => f.write_str(", failback immediate")?,
            Failback::After(time) => write!(f, ", failback after {time:?}")?,
            Failback::Manual => f.write_str(", failback manual")?,
        }
        write!(f, ", hedge {}", self.hedge)?;
        if !self.eject {
            f.write_str(", no ejection")?;
        }
        Ok(())
    }
}

impl FromStr for PolicySpec {
    type Err = ParseError;

    /// From a preset's name.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self::preset)
    }
}

/// Why a text names no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// No selector or preset has this name.
    UnknownSelector(String),
    /// Nothing to balance by has this name.
    UnknownBalance(String),
    /// Nothing that makes tiers has this name.
    UnknownTiers(String),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSelector(text) => {
                write!(f, "no policy \"{text}\": there are")?;
                for (index, kind) in PolicyKind::ALL.into_iter().enumerate() {
                    let before = match index {
                        0 => " ",
                        _ if index + 1 == PolicyKind::ALL.len() => " and ",
                        _ => ", ",
                    };
                    write!(f, "{before}\"{kind}\"")?;
                }
                Ok(())
            }
            Self::UnknownTiers(text) => write!(
                f,
                "no tiers \"{text}\": there are \"alua\", \"explicit\" and \"single\""
            ),
            Self::UnknownBalance(text) => {
                write!(
                    f,
                    "cannot balance by \"{text}\": there are \"ios\" and \"bytes\""
                )
            }
        }
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_kind() {
        for kind in PolicyKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.name().parse(), Ok(PolicySpec::preset(kind)));
        }
        for balance in Balance::ALL {
            assert_eq!(balance.name().parse(), Ok(balance));
        }
        for tiers in Tiers::ALL {
            assert_eq!(tiers.name().parse(), Ok(tiers));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_choices() {
        let error = "fastest".parse::<PolicySpec>().unwrap_err().to_string();
        assert_eq!(
            error,
            "no policy \"fastest\": there are \"failover\", \"round-robin\", \"queue-length\", \
             \"service-time\", \"historical-service-time\" and \"latency-aware\""
        );
    }

    #[test]
    fn a_spec_is_shown_in_one_line() {
        let mut spec = PolicySpec::preset(PolicyKind::RoundRobin);
        assert_eq!(
            spec.to_string(),
            "round-robin by ios, failback after 30s, hedge 1%"
        );
        spec.selector = PolicyKind::Failover;
        spec.failback = Failback::Manual;
        assert_eq!(spec.to_string(), "failover, failback manual, hedge 1%");
        spec.tiers = Tiers::Explicit;
        assert_eq!(
            spec.to_string(),
            "failover, tiers explicit, failback manual, hedge 1%"
        );
        (spec.hedge, spec.eject) = (Hedge(25), false);
        assert_eq!(
            spec.to_string(),
            "failover, tiers explicit, failback manual, hedge 0.25%, no ejection"
        );
        let shown = [0, 5, 50, 150, 1000].map(|share| Hedge(share).to_string());
        assert_eq!(shown, ["off", "0.05%", "0.5%", "1.5%", "10%"]);
    }
}
