//! The keys that may stand in a volume, in a profile and in `[defaults]`.

use std::time::Duration;

use policies::{Balance, Failback, PolicyKind, PolicySpec, Tiers};

use super::super::error::{Place, Problem};
use super::super::reader::{Field, Report, Section};
use super::super::{Alua, DigestChoice, NoPath, Resize, SameUnit, defaults, values};
use super::read_list;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: Duration = seconds(3600);
const DAY: Duration = seconds(24 * 3600);

/// Length keys (RFC 7143 13.12 to 13.14): 512 to 2^24-1.
const LENGTH_MIN: u32 = 512;
const LENGTH_MAX: u32 = (1 << 24) - 1;

/// Commands in flight per path: no more than a volume can have at all.
const QUEUE_DEPTH_MAX: u16 = 1024;
const _: () = assert!(QUEUE_DEPTH_MAX as usize <= crate::limits::VOLUME_IOS_MAX);

/// Names of the digest choices.
const DIGESTS: [(&str, DigestChoice); 4] = [
    ("none", DigestChoice::None),
    ("crc32c", DigestChoice::Crc32c),
    ("prefer-crc32c", DigestChoice::PreferCrc32c),
    ("prefer-none", DigestChoice::PreferNone),
];

/// Sessions of one path: beyond this, what is slow is something else.
const SESSIONS_MAX: u16 = 8;
const _: () = assert!(SESSIONS_MAX as usize <= crate::limits::PATHS_MAX);

/// What may show that two paths lead to one LUN.
const SAME_UNITS: [(&str, SameUnit); 3] = [
    ("reservation", SameUnit::Reservation),
    ("blocks", SameUnit::Blocks),
    ("identifiers", SameUnit::Identifiers),
];

/// What may become of a LUN that has grown.
const RESIZES: [(&str, Resize); 2] = [("grow", Resize::Grow), ("never", Resize::Never)];

/// Names of the fences.
const FENCES: [(&str, FenceKind); 4] = [
    ("reinstate", FenceKind::Reinstate),
    ("preempt-abort", FenceKind::PreemptAbort),
    ("lun-reset", FenceKind::LunReset),
    ("quiesce", FenceKind::Quiesce),
];

/// What may be made of access states.
const ALUA: [(&str, Alua); 3] = [
    ("follow", Alua::Follow),
    ("explicit", Alua::Explicit),
    ("ignore", Alua::Ignore),
];

/// See [`super::super::Fence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FenceKind {
    Reinstate,
    PreemptAbort,
    LunReset,
    Quiesce,
}

/// What the list `fence` has.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Fences {
    pub(in super::super) reinstate: bool,
    pub(in super::super) preempt_abort: bool,
    pub(in super::super) lun_reset: bool,
    pub(in super::super) quiesce: bool,
}

/// The keys.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tuning {
    pub(in super::super) shared: Field<bool>,
    pub(in super::super) policy: Field<PolicySpec>,
    pub(in super::super) alua: Field<Alua>,
    pub(in super::super) no_path: Field<NoPath>,
    pub(in super::super) fence: Field<Fences>,
    pub(in super::super) quiesce: Field<Duration>,
    pub(in super::super) stop_timeout: Field<Duration>,
    pub(in super::super) resize: Field<Resize>,
    pub(in super::super) same_unit: Field<SameUnit>,
    pub(in super::super) sessions: Field<u16>,
    pub(in super::super) detect: Detect,
    pub(in super::super) iscsi: Iscsi,
}

/// `detect = { … }`
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Detect {
    pub(in super::super) network: Field<Duration>,
    pub(in super::super) target: Field<Duration>,
    pub(in super::super) command: Field<Duration>,
}

/// `iscsi = { … }`
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Iscsi {
    pub(in super::super) header_digest: Field<DigestChoice>,
    pub(in super::super) data_digest: Field<DigestChoice>,
    pub(in super::super) max_recv_data_segment_length: Field<u32>,
    pub(in super::super) first_burst_length: Field<u32>,
    pub(in super::super) max_burst_length: Field<u32>,
    pub(in super::super) immediate_data: Field<bool>,
    pub(in super::super) initial_r2t: Field<bool>,
    pub(in super::super) max_outstanding_r2t: Field<u16>,
    pub(in super::super) queue_depth: Field<u16>,
}

impl Tuning {
    /// Out of a section that has nothing else.
    pub(in super::super) fn read_alone(mut section: Section<'_>, report: &mut Report<'_>) -> Self {
        let tuning = Self::read(&mut section, report);
        section.finish(report);
        tuning
    }

    /// Out of a section that has other keys too.
    pub(in super::super) fn read(section: &mut Section<'_>, report: &mut Report<'_>) -> Self {
        let to_an_hour = || values::duration_in(seconds(1), HOUR);
        let fences = read_list(section, "fence", report, values::choice(&FENCES));
        Self {
            shared: section.flag("shared", report),
            policy: read_policy(section, report),
            alua: section.parsed("alua", report, values::choice(&ALUA)),
            no_path: read_no_path(section, report),
            fence: fences.map(|kinds| Fences {
                reinstate: kinds.contains(&FenceKind::Reinstate),
                preempt_abort: kinds.contains(&FenceKind::PreemptAbort),
                lun_reset: kinds.contains(&FenceKind::LunReset),
                quiesce: kinds.contains(&FenceKind::Quiesce),
            }),
            quiesce: section.parsed("quiesce", report, to_an_hour()),
            stop_timeout: section.parsed("stop_timeout", report, to_an_hour()),
            resize: section.parsed("resize", report, values::choice(&RESIZES)),
            same_unit: section.parsed("same_unit", report, values::choice(&SAME_UNITS)),
            sessions: section.integer("sessions", report, values::number_in(1, SESSIONS_MAX)),
            detect: Detect::read(section, report),
            iscsi: Iscsi::read(section, report),
        }
    }

    /// What holds if `self` has precedence over `lower`: key by key.
    pub(in super::super) fn over(&self, lower: &Self) -> Self {
        let (detect, iscsi) = (&self.detect, &self.iscsi);
        Self {
            shared: self.shared.over(&lower.shared),
            policy: self.policy.over(&lower.policy),
            alua: self.alua.over(&lower.alua),
            no_path: self.no_path.over(&lower.no_path),
            fence: self.fence.over(&lower.fence),
            quiesce: self.quiesce.over(&lower.quiesce),
            stop_timeout: self.stop_timeout.over(&lower.stop_timeout),
            resize: self.resize.over(&lower.resize),
            same_unit: self.same_unit.over(&lower.same_unit),
            sessions: self.sessions.over(&lower.sessions),
            detect: Detect {
                network: detect.network.over(&lower.detect.network),
                target: detect.target.over(&lower.detect.target),
                command: detect.command.over(&lower.detect.command),
            },
            iscsi: iscsi.over(&lower.iscsi),
        }
    }
}

impl Detect {
    fn read(parent: &mut Section<'_>, report: &mut Report<'_>) -> Self {
        let Some(mut section) = parent.section("detect", report) else {
            return Self::default();
        };
        // Below 200 ms, the least retransmission timeout of TCP, nothing can be told from a lost
        // segment.
        let network = values::duration_in(Duration::from_millis(200), seconds(60));
        let detect = Self {
            network: section.parsed("network", report, network),
            target: section.parsed("target", report, values::duration_in(seconds(1), HOUR)),
            command: section.parsed("command", report, values::duration_in(seconds(1), HOUR)),
        };
        section.finish(report);
        detect
    }
}

impl Iscsi {
    fn read(parent: &mut Section<'_>, report: &mut Report<'_>) -> Self {
        let Some(mut section) = parent.section("iscsi", report) else {
            return Self::default();
        };
        let length = || values::size_in(LENGTH_MIN, LENGTH_MAX);
        let segment = "max_recv_data_segment_length";
        let iscsi = Self {
            header_digest: section.parsed("header_digest", report, values::choice(&DIGESTS)),
            data_digest: section.parsed("data_digest", report, values::choice(&DIGESTS)),
            max_recv_data_segment_length: section.parsed(segment, report, length()),
            first_burst_length: section.parsed("first_burst_length", report, length()),
            max_burst_length: section.parsed("max_burst_length", report, length()),
            immediate_data: section.flag("immediate_data", report),
            initial_r2t: section.flag("initial_r2t", report),
            max_outstanding_r2t: section.integer(
                "max_outstanding_r2t",
                report,
                values::number_in(1, u16::MAX),
            ),
            queue_depth: section.integer(
                "queue_depth",
                report,
                values::number_in(1, QUEUE_DEPTH_MAX),
            ),
        };
        section.finish(report);
        iscsi
    }

    fn over(&self, lower: &Self) -> Self {
        let segment = &self.max_recv_data_segment_length;
        let r2t = &self.max_outstanding_r2t;
        Self {
            header_digest: self.header_digest.over(&lower.header_digest),
            data_digest: self.data_digest.over(&lower.data_digest),
            max_recv_data_segment_length: segment.over(&lower.max_recv_data_segment_length),
            first_burst_length: self.first_burst_length.over(&lower.first_burst_length),
            max_burst_length: self.max_burst_length.over(&lower.max_burst_length),
            immediate_data: self.immediate_data.over(&lower.immediate_data),
            initial_r2t: self.initial_r2t.over(&lower.initial_r2t),
            max_outstanding_r2t: r2t.over(&lower.max_outstanding_r2t),
            queue_depth: self.queue_depth.over(&lower.queue_depth),
        }
    }
}

const SELECTORS: [(&str, PolicyKind); 6] = [
    ("failover", PolicyKind::Failover),
    ("round-robin", PolicyKind::RoundRobin),
    ("queue-length", PolicyKind::QueueLength),
    ("service-time", PolicyKind::ServiceTime),
    ("historical-service-time", PolicyKind::HistoricalServiceTime),
    ("latency-aware", PolicyKind::LatencyAware),
];

const TIERS: [(&str, Tiers); 3] = [
    ("alua", Tiers::Alua),
    ("explicit", Tiers::Explicit),
    ("single", Tiers::Single),
];

const BALANCES: [(&str, Balance); 2] = [("ios", Balance::Ios), ("bytes", Balance::Bytes)];

/// `policy = "PRESET"` or
/// `policy = { selector = …, by = …, tiers = …, failback = …, hedge = …, eject = … }`
fn read_policy(parent: &mut Section<'_>, report: &mut Report<'_>) -> Field<PolicySpec> {
    let Some(item) = parent.item("policy", report) else {
        return Field::Absent;
    };
    let selector = values::choice(&SELECTORS);
    if item.is_text() {
        return item.parsed(report, selector).map(PolicySpec::preset);
    }
    let Some(mut section) = item.clone().section(report) else {
        return Field::Broken;
    };
    let selector = section.parsed("selector", report, selector);
    let balance = section.parsed("by", report, values::choice(&BALANCES));
    let tiers = section.parsed("tiers", report, values::choice(&TIERS));
    let failback = section.parsed("failback", report, failback);
    let hedge = section.parsed("hedge", report, values::hedge);
    let eject = section.flag("eject", report);
    section.finish(report);
    let broken = selector.is_broken() || balance.is_broken() || tiers.is_broken();
    if broken || failback.is_broken() || hedge.is_broken() || eject.is_broken() {
        return Field::Broken;
    }
    let default = defaults::POLICY;
    let spec = PolicySpec {
        selector: selector.value().copied().unwrap_or(default.selector),
        balance: balance.value().copied().unwrap_or(default.balance),
        tiers: tiers.value().copied().unwrap_or(default.tiers),
        failback: failback.value().copied().unwrap_or(default.failback),
        hedge: hedge.value().copied().unwrap_or(default.hedge),
        eject: eject.value().copied().unwrap_or(default.eject),
    };
    match balance.given() {
        Some(given) if spec.selector != PolicyKind::RoundRobin => {
            report.add(&given.place, Problem::BalanceUnused);
            Field::Broken
        }
        _ => item.given(spec),
    }
}

fn failback(text: &str) -> Result<Failback, Problem> {
    match text {
        "immediate" => Ok(Failback::Immediate),
        "manual" => Ok(Failback::Manual),
        time if time.starts_with(|c: char| c.is_ascii_digit()) => {
            values::duration_in(Duration::ZERO, DAY)(time).map(Failback::After)
        }
        word => {
            let words = [("immediate", ()), ("manual", ()), ("30s", ())];
            values::choice(&words)(word).map(|()| Failback::DEFAULT)
        }
    }
}

/// `no_path = "fail"`, `{ queue = "5m" }` or `{ queue = "forever" }`
fn read_no_path(parent: &mut Section<'_>, report: &mut Report<'_>) -> Field<NoPath> {
    let Some(item) = parent.item("no_path", report) else {
        return Field::Absent;
    };
    if item.is_text() {
        let words = [("fail", NoPath::Fail)];
        return item.parsed(report, values::choice(&words));
    }
    let Some(mut section) = item.clone().section(report) else {
        return Field::Broken;
    };
    let place: Place = section.place_of("queue");
    let queue = section.parsed("queue", report, |text| match text {
        "forever" => Ok(NoPath::QueueForever),
        time => values::duration_in(seconds(1), 365 * DAY)(time).map(NoPath::Queue),
    });
    section.finish(report);
    if queue.is_absent() {
        report.add(&place, Problem::Missing("queue = \"5m\""));
        return Field::Broken;
    }
    queue
}
