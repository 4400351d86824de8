//! `netsim proxy`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use netsim::fault::Fault;
use netsim::proxy::{ProxyConfig, ProxyHandle, control};
use netsim::quantity::parse_size;

use super::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen, ADDRESS:PORT.
    #[arg(long)]
    listen: SocketAddr,
    /// Where to connect to, HOST:PORT.
    #[arg(long)]
    to: String,
    /// Control socket for `netsim fault`: a path, or a name without slashes.
    #[arg(long, value_name = "SOCK")]
    control: Option<String>,
    /// A fault from the start on, e.g. "latency 5ms"; may be repeated.
    #[arg(long)]
    fault: Vec<Fault>,
    /// Bytes held per direction and connection while a fault keeps them.
    #[arg(long, default_value = "64MiB", value_parser = parse_size)]
    hold: u64,
    /// Seed of jitter and corruption.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = ProxyConfig {
        hold_bytes: usize::try_from(arguments.hold)?,
        seed: arguments.seed,
        ..ProxyConfig::new(arguments.listen, arguments.to)
    };
    let listen = config.listen;
    let to = config.to.clone();
    let proxy = ProxyHandle::start(config).with_context(|| format!("cannot listen on {listen}"))?;
    arguments.fault.iter().for_each(|fault| proxy.set(fault));
    say(format_args!("proxy {} -> {to}", proxy.local_addr()))?;
    let Some(name) = arguments.control else {
        return until_interrupted().await;
    };
    let path: PathBuf = control::socket_path(&name);
    say(format_args!(
        "break it with: netsim fault {name} blackhole --for 5s"
    ))?;
    tokio::select! { biased;
        done = until_interrupted() => done,
        served = control::serve(proxy, &path) => {
            served.with_context(|| format!("control socket {}", path.display()))
        }
    }
}

async fn until_interrupted() -> anyhow::Result<()> {
    Ok(tokio::signal::ctrl_c().await?)
}
