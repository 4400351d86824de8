//! What came of the requests: counts and latencies.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Workload;

/// The longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// Counts of one measurement.
#[derive(Clone, Debug)]
pub struct Tally {
    workload: Workload,
    /// Latencies in nanoseconds.
    latencies: Histogram<u64>,
    elapsed: Duration,
}

/// A measurement as it is printed. Times are in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Volume or export, and which way to it.
    pub what: String,
    /// `read` or `write`.
    pub direction: &'static str,
    /// `random` or `sequential`.
    pub pattern: &'static str,
    /// Bytes per request.
    pub block_bytes: u32,
    /// Requests in flight.
    pub depth: usize,
    /// Time from the first request to the last answer.
    pub elapsed_s: f64,
    /// Requests answered.
    pub ios: u64,
    /// Per second.
    pub iops: f64,
    /// Per second.
    pub bytes_per_s: f64,
    /// Of the answered requests; `null` without any.
    pub latency_s: Option<Latency>,
    /// How many requests took so long: each row up to twice as long as the one before.
    pub histogram: Vec<Row>,
    /// What ended it early.
    pub error: Option<String>,
}

/// Latencies in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The arithmetic mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// Nine in ten take at most so long.
    pub p90: f64,
    /// 99 in 100.
    pub p99: f64,
    /// 999 in 1000.
    pub p999: f64,
    /// The longest.
    pub most: f64,
}

/// One row of the histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Up to here, in seconds.
    pub up_to_s: f64,
    /// Requests since the row before.
    pub ios: u64,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Panics
    /// Never: the bounds of the histogram are constant.
    #[must_use]
    pub fn new(workload: Workload) -> Self {
        let most = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        let latencies = Histogram::new_with_bounds(1, most, 3).expect("constant bounds are valid");
        Self {
            workload,
            latencies,
            elapsed: Duration::ZERO,
        }
    }

    /// A request was answered.
    pub(super) fn add(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanos.max(1));
    }

    /// So long it took so far.
    pub(super) fn set_elapsed(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// What is measured.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Requests answered.
    #[must_use]
    pub fn ios(&self) -> u64 {
        self.latencies.len()
    }

    /// How long it took so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// For print; `error` is what ended it early.
    #[must_use]
    pub fn report(&self, what: String, error: Option<String>) -> Report {
        let Workload {
            block,
            depth,
            sequential,
            write,
            ..
        } = self.workload;
        let ios = self.ios();
        let elapsed_s = self.elapsed.as_secs_f64();
        let iops = if elapsed_s > 0.0 {
            ios as f64 / elapsed_s
        } else {
            0.0
        };
        Report {
            what,
            direction: if write { "write" } else { "read" },
            pattern: if sequential { "sequential" } else { "random" },
            block_bytes: block,
            depth,
            elapsed_s,
            ios,
            iops,
            bytes_per_s: iops * f64::from(block),
            latency_s: (ios > 0).then(|| self.latency()),
            histogram: self.rows(),
            error,
        }
    }

    fn latency(&self) -> Latency {
        let at = |quantile| seconds(self.latencies.value_at_quantile(quantile));
        Latency {
            mean: self.latencies.mean() / 1e9,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            most: seconds(self.latencies.max()),
        }
    }

    /// From the first row with requests to the last one.
    fn rows(&self) -> Vec<Row> {
        const FIRST: u64 = 1000;
        let steps = self.latencies.iter_log(FIRST, 2.0);
        let rows = steps.map(|step| Row {
            up_to_s: seconds(step.value_iterated_to() + 1),
            ios: step.count_since_last_iteration(),
        });
        rows.skip_while(|row| row.ios == 0).collect()
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
