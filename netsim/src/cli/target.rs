//! `netsim target`.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use iiblockdaemon::iscsi::chap::{ChapAlgorithm, Secret};
use iiblockdaemon::iscsi::name::IscsiName;
use netsim::quantity::{parse_duration, parse_size};
use netsim::target::lun::{Backing, Lun, LunConfig};
use netsim::target::server::TargetServer;
use netsim::target::{
    Behaviour, DigestWish, Orphans, PortalBehaviour, PortalConfig, Reinstatement, Target,
    TargetAuth, TargetConfig, Wishes,
};
use tokio::net::TcpListener;

use super::say;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Digest {
    None,
    Crc32c,
    Any,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reinstate {
    Synchronous,
    Asynchronous,
    Ignored,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Portal to listen on, ADDRESS:PORT[,GROUP]; may be repeated. Portals of one group share
    /// session names.
    #[arg(long = "portal", required = true, value_parser = parse_portal)]
    portals: Vec<(SocketAddr, u16)>,
    /// Address that SendTargets names instead of the portal's own, e.g. a proxy's; one per portal.
    #[arg(long = "advertise", value_name = "ADDRESS:PORT")]
    advertised: Vec<String>,
    /// Name of the target.
    #[arg(long = "target", default_value = "iqn.2026-11.com.example:netsim")]
    name: IscsiName,
    /// Size of each disk.
    #[arg(long, default_value = "256MiB", value_parser = parse_size)]
    size: u64,
    /// File behind the first disk, created if missing; without it disks live in memory.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Logical block size in bytes.
    #[arg(long, default_value_t = 512)]
    block_size: u32,
    /// Number of disks: LUNs 0, 1, ...
    #[arg(long, default_value_t = 1)]
    luns: u16,
    /// CHAP user name that initiators must give.
    #[arg(long, requires = "chap_secret_file")]
    chap_user: Option<String>,
    /// File with the initiators' CHAP secret.
    #[arg(long, requires = "chap_user")]
    chap_secret_file: Option<PathBuf>,
    /// CHAP name with which the target proves itself.
    #[arg(long, requires_all = ["chap_user", "mutual_secret_file"])]
    mutual_user: Option<String>,
    /// File with the target's own CHAP secret.
    #[arg(long, requires = "mutual_user")]
    mutual_secret_file: Option<PathBuf>,
    /// Header digests that the target accepts.
    #[arg(long, value_enum, default_value = "any")]
    header_digest: Digest,
    /// Data digests that the target accepts.
    #[arg(long, value_enum, default_value = "any")]
    data_digest: Digest,
    /// Ask for all data by R2T.
    #[arg(long)]
    initial_r2t: bool,
    /// Refuse immediate data.
    #[arg(long)]
    no_immediate_data: bool,
    /// Commands per session.
    #[arg(long, default_value_t = 128)]
    queue_depth: u32,
    /// Time that each command takes.
    #[arg(long, default_value = "0ms", value_parser = parse_duration)]
    service_time: Duration,
    /// What a login with the name of a living session does: ends it and waits for its commands, ends
    /// it only, or nothing.
    #[arg(long, value_enum, default_value = "synchronous")]
    reinstatement: Reinstate,
    /// Commands of dead sessions execute so much later (ghosts) instead of never.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    orphans_after: Option<Duration>,
}

fn parse_portal(text: &str) -> anyhow::Result<(SocketAddr, u16)> {
    let (address, group) = match text.rsplit_once(',') {
        Some((address, group)) => (address, group.parse().context("portal group")?),
        None => (text, 1),
    };
    Ok((address.parse()?, group))
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut listeners = Vec::new();
    for (address, _) in &arguments.portals {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.with_context(|| format!("cannot listen on {address}"))?);
    }
    let target = build(&arguments, &listeners)?;
    let name = target.config().name.clone();
    let server = TargetServer::start(target, listeners)?;
    say(format_args!("target {name}"))?;
    for address in server.addresses() {
        say(format_args!("portal {address}"))?;
    }
    tokio::signal::ctrl_c().await?;
    let (statistics, breaches) = server.with(|target| (target.statistics(), target.breaches()));
    say(format_args!("{statistics:?}"))?;
    for breach in breaches {
        say(format_args!("the initiator broke a rule: {breach}"))?;
    }
    Ok(())
}

fn build(arguments: &Arguments, listeners: &[TcpListener]) -> anyhow::Result<Target> {
    let advertised = &arguments.advertised;
    ensure!(
        advertised.is_empty() || advertised.len() == listeners.len(),
        "as many --advertise as --portal"
    );
    let mut portals = Vec::new();
    for (index, (listener, (_, group))) in listeners.iter().zip(&arguments.portals).enumerate() {
        let own = listener.local_addr()?.to_string();
        let address = advertised.get(index).cloned().unwrap_or(own);
        let group = *group;
        portals.push(PortalConfig { address, group });
    }
    let config = TargetConfig {
        portals,
        auth: auth(arguments)?,
        queue_depth: arguments.queue_depth,
        wishes: Wishes {
            header_digest: wish(arguments.header_digest),
            data_digest: wish(arguments.data_digest),
            initial_r2t: arguments.initial_r2t,
            immediate_data: !arguments.no_immediate_data,
            ..Wishes::default()
        },
        ..TargetConfig::new(arguments.name.clone())
    };
    let units = (0..arguments.luns).map(|number| Ok((number, unit(arguments, number)?)));
    let units = units.collect::<anyhow::Result<Vec<_>>>()?;
    let mut target = Target::new(config, units);
    target.set_behaviour(Behaviour {
        reinstatement: match arguments.reinstatement {
            Reinstate::Synchronous => Reinstatement::Synchronous,
            Reinstate::Asynchronous => Reinstatement::Asynchronous,
            Reinstate::Ignored => Reinstatement::Ignored,
        },
        orphans: arguments
            .orphans_after
            .map_or(Orphans::Terminate, Orphans::ExecuteAfter),
        ..Behaviour::default()
    });
    for portal in 0..listeners.len() {
        let service_time = arguments.service_time;
        let behaviour = PortalBehaviour {
            service_time,
            ..PortalBehaviour::default()
        };
        target.set_portal(portal, behaviour);
    }
    Ok(target)
}

fn unit(arguments: &Arguments, number: u16) -> anyhow::Result<Lun> {
    let size = u64::from(arguments.block_size);
    if !arguments.block_size.is_power_of_two() || !(512..=65536).contains(&arguments.block_size) {
        bail!("--block-size: a power of two from 512 to 65536");
    }
    let backing = match &arguments.file {
        Some(path) if number == 0 => Backing::File(open(path, arguments.size)?),
        _ => Backing::ram(),
    };
    ensure!(arguments.size >= size, "--size: at least one block");
    let config = LunConfig::disk(
        u32::from(number),
        arguments.block_size,
        arguments.size / size,
    );
    Ok(Lun::new(config, backing))
}

fn open(path: &Path, size: u64) -> anyhow::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    if file.metadata()?.len() < size {
        file.set_len(size)?;
    }
    Ok(file)
}

fn auth(arguments: &Arguments) -> anyhow::Result<Option<TargetAuth>> {
    let (Some(user), Some(file)) = (&arguments.chap_user, &arguments.chap_secret_file) else {
        return Ok(None);
    };
    let mutual = match (&arguments.mutual_user, &arguments.mutual_secret_file) {
        (Some(user), Some(file)) => Some((user.clone(), secret(file)?)),
        _ => None,
    };
    Ok(Some(TargetAuth {
        user: user.clone(),
        secret: secret(file)?,
        algorithms: ChapAlgorithm::ALL.to_vec(),
        mutual,
    }))
}

fn secret(path: &Path) -> anyhow::Result<Secret> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Secret::new(bytes.trim_ascii_end()).with_context(|| path.display().to_string())
}

fn wish(digest: Digest) -> DigestWish {
    match digest {
        Digest::None => DigestWish::None,
        Digest::Crc32c => DigestWish::Crc32c,
        Digest::Any => DigestWish::Either,
    }
}
