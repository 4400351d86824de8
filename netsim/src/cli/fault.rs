//! `netsim fault`.

use std::time::Duration;

use anyhow::Context as _;
use netsim::proxy::control;
use netsim::quantity::parse_duration;

/// Faults: cut, cut-fin, blackhole [both|to-target|to-initiator], large-hole SIZE, latency TIME,
/// jitter TIME, bandwidth SIZE (per second), corrupt ONE-IN, heal [release|drop], status.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    netsim fault A blackhole --for 5s\n  \
    netsim fault /run/a.sock latency 20ms\n  \
    netsim fault A cut --for 200ms --every 1s --times 10\n  \
    netsim fault A heal drop\n  \
    netsim fault A status")]
pub(crate) struct Arguments {
    /// Name or control socket of the proxy (its --control).
    proxy: String,
    /// The fault and its value.
    #[arg(required = true)]
    fault: Vec<String>,
    /// Heal after this time, e.g. 5s; held bytes are released.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Let it come again, so often (see --times); everything is healed in between.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires_all = ["duration", "times"])]
    every: Option<Duration>,
    /// How often it comes.
    #[arg(long, value_name = "N", requires = "every")]
    times: Option<u32>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut line = arguments.fault.join(" ");
    if let Some(duration) = arguments.duration {
        line.push_str(&format!(" for {}us", duration.as_micros()));
    }
    if let (Some(every), Some(times)) = (arguments.every, arguments.times) {
        line.push_str(&format!(" every {}us times {times}", every.as_micros()));
    }
    let path = control::socket_path(&arguments.proxy);
    let answer = control::request(&path, &line)
        .await
        .with_context(|| format!("proxy {} ({})", arguments.proxy, path.display()))?;
    print!("{answer}");
    Ok(())
}
