//! The file's mirror: what is written, with its places; nothing compared with anything.

use serde::Deserialize;
use toml::Spanned;

/// A value that may be missing, and where it stands.
pub(super) type Given<T> = Option<Spanned<T>>;
pub(super) type Text = Given<String>;
pub(super) type Number = Given<u64>;
pub(super) type Flag = Option<bool>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: Text,
    pub(super) about: Text,
    pub(super) seed: Option<u64>,
    pub(super) mend: Flag,
    #[serde(default)]
    pub(super) unit: Unit,
    #[serde(default)]
    pub(super) target: Target,
    #[serde(default)]
    pub(super) line: Line,
    #[serde(default)]
    pub(super) path: Vec<Spanned<Path>>,
    #[serde(default)]
    pub(super) daemon: toml::Table,
    #[serde(default)]
    pub(super) workload: Workload,
    #[serde(default)]
    pub(super) fault: Vec<Spanned<Fault>>,
    #[serde(default)]
    pub(super) pass: Pass,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unit {
    pub(super) block_size: Text,
    pub(super) size: Text,
    pub(super) largest_transfer: Text,
    pub(super) fua: Flag,
    pub(super) thin: Flag,
    pub(super) cache: Text,
    pub(super) identity: Text,
    pub(super) reservations: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub(super) service_time: Text,
    pub(super) queue_depth: Number,
    pub(super) reinstatement: Text,
    pub(super) orphans: Text,
    pub(super) nexuses: Text,
    pub(super) aborts: Text,
    pub(super) resets: Text,
    pub(super) access: Text,
    pub(super) keeps_registrations: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) latency: Text,
    pub(super) jitter: Text,
    pub(super) bandwidth: Text,
    pub(super) window: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Path {
    pub(super) name: Text,
    pub(super) group: Number,
    pub(super) process: Number,
    pub(super) weight: Number,
    pub(super) access: Text,
    pub(super) configured: Flag,
    pub(super) unit: Text,
    pub(super) latency: Text,
    pub(super) jitter: Text,
    pub(super) bandwidth: Text,
    pub(super) window: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) lasts: Text,
    pub(super) clients: Number,
    pub(super) depth: Number,
    pub(super) pause: Text,
    pub(super) largest: Text,
    pub(super) reads: Number,
    pub(super) zeroes: Flag,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) at: Text,
    pub(super) what: Text,
    pub(super) path: Given<Paths>,
    #[serde(rename = "for")]
    pub(super) lasts: Text,
    pub(super) times: Number,
    pub(super) every: Text,
    pub(super) held: Text,
    #[serde(default)]
    pub(super) daemon: toml::Table,
    #[serde(default)]
    pub(super) pass: FaultPass,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Paths {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultPass {
    pub(super) stall_max: Text,
    pub(super) slowest_max: Text,
    pub(super) lost_within: Text,
    pub(super) back_within: Text,
    pub(super) reaches: Option<Reaches>,
    pub(super) why: Text,
    pub(super) settle: Text,
    pub(super) p99_factor: Given<f64>,
    pub(super) p999_factor: Given<f64>,
    pub(super) throughput_min: Number,
    pub(super) peak_max: Number,
    pub(super) share_max: Number,
    #[serde(default)]
    pub(super) told: Vec<String>,
    pub(super) first_error: Option<FirstError>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reaches {
    pub(super) state: Text,
    pub(super) within: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstError {
    pub(super) after: Text,
    pub(super) by: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pass {
    pub(super) stall_max: Text,
    pub(super) slowest_max: Text,
    pub(super) errors_max: Number,
    pub(super) errors_min: Number,
    pub(super) log_errors: Flag,
    pub(super) ready_within: Text,
    pub(super) paths_ready: Number,
    pub(super) failovers_max: Number,
    pub(super) failovers_min: Number,
    pub(super) logins_max: Number,
    pub(super) retries_max: Number,
    pub(super) fenced_min: Number,
    pub(super) quiesced_max: Number,
    pub(super) late_writes_min: Number,
    pub(super) ejections_max: Number,
    pub(super) ejections_min: Number,
    pub(super) hedges_max: Number,
    pub(super) hedges_min: Number,
    pub(super) aborts_max: Number,
    pub(super) aborts_min: Number,
    pub(super) resets_max: Number,
    pub(super) resets_min: Number,
    pub(super) rate_min: Text,
    pub(super) size: Text,
    pub(super) registration: Text,
    pub(super) kept: Given<Vec<String>>,
}
