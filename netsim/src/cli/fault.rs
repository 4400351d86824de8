//! `netsim fault`.

use std::time::Duration;

use anyhow::Context as _;
use netsim::fault::FAULTS;
use netsim::proxy::control;
use netsim::quantity::parse_duration;

use super::say;

const EXAMPLES: &str = "\
Examples:
  netsim fault A blackhole --for 5s
  netsim fault /run/a.sock latency 20ms
  netsim fault A cut --for 200ms --every 1s --times 10
  netsim fault A heal drop
  netsim fault A status";

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Faults: {FAULTS}, status\n\n{EXAMPLES}"))]
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
    Ok(say(answer.trim_end())?)
}
