//! The demonstration: one disk, two paths, a workload that verifies every byte, and faults.
//!
//! [`run`] starts a simulated target with two portals and a fault proxy in front of each, has the
//! caller start the daemon on them, and runs the workload over the daemon's NBD socket while the
//! [`Timeline`] breaks and heals the paths. What the daemon is, is the caller's: a function from
//! the [`Site`] to whatever must stay alive.

use std::fmt::Write as _;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use iiblockdaemon::iscsi::name::IscsiName;
use tokio::net::TcpListener;

use crate::clock;
use crate::fault::Fault;
use crate::link::{Direction, Held};
use crate::meter::Phase;
use crate::nbd_client::{Address, Client, ClientConfig};
use crate::proxy::{ProxyConfig, ProxyHandle};
use crate::recording::{Criterion, Mark, PathRecord, Recording};
use crate::report::{self, duration};
use crate::target::lun::{Backing, Lun, LunConfig};
use crate::target::server::TargetServer;
use crate::target::{PortalConfig, Target, TargetConfig};
use crate::workload::{Report, Workload, WorkloadConfig};

mod watch;

pub use watch::Watch;

const CONNECT_RETRY: Duration = Duration::from_millis(50);
const LIVE_INTERVAL: Duration = Duration::from_secs(1);

/// What the demonstration is made of.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Seed of the workload.
    pub seed: u64,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Its logical block size in bytes.
    pub block_size: u32,
    /// Requests outstanding.
    pub workers: u32,
    /// What happens, and when.
    pub timeline: Timeline,
    /// How long the daemon may take until its export can be connected to.
    pub start_timeout: Duration,
    /// Keep every answer, for [`Demo::recording`].
    pub record: bool,
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            size: 64 << 20,
            block_size: 512,
            workers: 16,
            timeline: Timeline::standard(Duration::from_secs(5)),
            start_timeout: Duration::from_secs(30),
            record: false,
        }
    }
}

/// One event: what is done to which path, and how long the run goes on after it.
#[derive(Clone, Debug)]
pub struct Event {
    /// What the table calls it.
    pub label: String,
    /// The path: 0 is A, 1 is B. `None`: nothing is done to a path.
    pub fault: Option<(usize, Fault)>,
    /// Time until the next event.
    pub lasts: Duration,
}

/// The events of a run, in order.
#[derive(Clone, Debug)]
pub struct Timeline(pub Vec<Event>);

impl Timeline {
    /// Cut path A, heal it, black-hole it, heal it; each phase lasts `each`.
    #[must_use]
    pub fn standard(each: Duration) -> Self {
        let event = |label: &str, fault| Event {
            label: label.to_owned(),
            fault,
            lasts: each,
        };
        let heal = Fault::Heal(Held::Release);
        Self(vec![
            event("healthy", None),
            event("cut path A (RST)", Some((0, Fault::Cut))),
            event("heal path A", Some((0, heal.clone()))),
            event(
                "black-hole path A",
                Some((0, Fault::BlackHole(Direction::Both))),
            ),
            event("heal path A", Some((0, heal))),
        ])
    }
}

/// What the daemon is given: where the target is, and where its export has to be.
#[derive(Clone, Debug)]
pub struct Site {
    /// Name of the target.
    pub target: IscsiName,
    /// Number of the logical unit.
    pub lun: u16,
    /// The two portals, each behind its proxy: path A, path B.
    pub portals: Vec<SocketAddr>,
    /// Where the export is to be served.
    pub nbd_socket: PathBuf,
    /// A folder for whatever the daemon needs.
    pub folder: PathBuf,
}

/// A demonstration whose daemon runs, after its timeline.
#[derive(Debug)]
pub struct Demo<D> {
    /// The result.
    pub report: Report,
    /// Where everything is.
    pub site: Site,
    /// What the caller's function gave; dropping it ends the daemon.
    pub daemon: D,
    /// The proxies of path A and path B.
    pub proxies: Vec<ProxyHandle>,
    /// The target.
    pub server: TargetServer,
}

/// Width of the intervals in which a recording counts what paths carried.
const INTERVAL: Duration = Duration::from_millis(100);

impl<D> Demo<D> {
    /// What the run was seen to do; `paths` saw the daemon's paths meanwhile.
    #[must_use]
    pub fn recording(&self, config: &DemoConfig, paths: Option<&Watch>) -> Recording {
        let phases = &self.report.phases;
        let Some((began, ended)) = bounds(phases) else {
            return Recording::default();
        };
        let marks = phases.iter().skip(1).map(|phase| Mark {
            at: phase.began - began,
            what: phase.label.clone(),
        });
        let watched = paths.map(|watch| watch.paths(&self.site.portals, (began, ended), INTERVAL));
        let names = ["A", "B"].iter().zip(watched.unwrap_or_default());
        let none = |demand: &str, seen: u64| Criterion {
            demand: demand.to_owned(),
            seen: seen.to_string(),
            passed: seen == 0,
        };
        Recording {
            name: "demonstration".to_owned(),
            about: "One disk, two paths, a workload that verifies every block it reads.".to_owned(),
            seed: config.seed,
            simulated: false,
            lasted: ended - began,
            interval: INTERVAL,
            ios: self.report.answers.clone(),
            paths: names
                .map(|(name, path)| PathRecord {
                    name: (*name).to_owned(),
                    ..path
                })
                .collect(),
            marks: marks.collect(),
            journal: Vec::new(),
            stalls: phases.iter().map(|phase| phase.longest_stall).collect(),
            criteria: vec![
                none("no I/O error", self.report.error_count()),
                none("no block read wrong", self.report.mismatches),
            ],
        }
    }
}

fn bounds(phases: &[Phase]) -> Option<(Instant, Instant)> {
    Some((phases.first()?.began, phases.last()?.ended?))
}

/// Runs the demonstration in `folder`. `start` starts the daemon on the site; it need not wait until the
/// export is there. Progress goes to `out`, a line per second and a table at the end.
///
/// # Errors
/// If a part cannot be started; errors and mismatches of the workload stand in the report.
pub async fn run<D>(
    config: &DemoConfig,
    folder: &Path,
    start: impl AsyncFnOnce(&Site) -> anyhow::Result<D>,
    out: &mut dyn Write,
) -> anyhow::Result<Demo<D>> {
    let server = start_target(config).await?;
    let proxies = server.addresses().iter().map(|portal| {
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        ProxyHandle::start(ProxyConfig::new(listen, portal.to_string()))
    });
    let proxies = proxies.collect::<Result<Vec<_>, _>>()?;
    let site = Site {
        target: server.with(|target| target.config().name.clone()),
        lun: 0,
        portals: proxies.iter().map(ProxyHandle::local_addr).collect(),
        nbd_socket: folder.join("demo.sock"),
        folder: folder.to_owned(),
    };
    writeln!(out, "target {} with two portals", site.target)?;
    for (name, portal) in ["A", "B"].iter().zip(&site.portals) {
        writeln!(out, "path {name}: {portal}, through a fault proxy")?;
    }
    let daemon = start(&site).await.context("the daemon did not start")?;
    let client = connect(&site.nbd_socket, config.start_timeout).await?;
    writeln!(
        out,
        "export unix:{}: {} MiB in blocks of {} bytes; every block read is verified\n",
        site.nbd_socket.display(),
        client.export().size >> 20,
        client.export().block_size_min.max(config.block_size)
    )?;
    let report = run_timeline(config, client, &proxies, out).await?;
    writeln!(out, "\n{}", report::table(&report.phases))?;
    write!(out, "{}", proof(&proxies))?;
    write!(out, "{}", report::summary(&report))?;
    Ok(Demo {
        report,
        site,
        daemon,
        proxies,
        server,
    })
}

async fn start_target(config: &DemoConfig) -> anyhow::Result<TargetServer> {
    let mut listeners = Vec::new();
    for _ in 0..2 {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    }
    let mut target = TargetConfig::new("iqn.2026-11.com.example:demo".parse()?);
    for listener in &listeners {
        let address = listener.local_addr()?.to_string();
        target.portals.push(PortalConfig { address, group: 1 });
    }
    let blocks = config.size / u64::from(config.block_size);
    let disk = LunConfig::disk(1, config.block_size, blocks);
    let target = Target::new(target, [(0, Lun::new(disk, Backing::ram()))]);
    Ok(TargetServer::start(target, listeners)?)
}

/// Connects to the export as soon as it is there.
async fn connect(socket: &Path, timeout: Duration) -> anyhow::Result<Client> {
    let give_up = clock::now() + timeout;
    let config = ClientConfig::new(Address::Unix(socket.to_owned()));
    loop {
        match Client::connect(config.clone()).await {
            Ok(client) => return Ok(client),
            Err(error) if clock::now() >= give_up => {
                return Err(error).context("the daemon's export did not come up");
            }
            Err(_) => tokio::time::sleep(CONNECT_RETRY).await,
        }
    }
}

async fn run_timeline(
    config: &DemoConfig,
    client: Client,
    proxies: &[ProxyHandle],
    out: &mut dyn Write,
) -> anyhow::Result<Report> {
    let [first, rest @ ..] = config.timeline.0.as_slice() else {
        anyhow::bail!("a timeline without events");
    };
    let block_size = config.block_size.max(client.export().block_size_min);
    let load = WorkloadConfig {
        workers: config.workers,
        record: config.record,
        ..WorkloadConfig::mixed(config.seed, block_size, client.export().size)
    };
    let began = clock::now();
    let workload = Workload::start(&[client], load, &first.label);
    for (index, event) in std::iter::once(first).chain(rest).enumerate() {
        if index > 0 {
            workload.mark(&event.label);
        }
        if let Some((path, fault)) = &event.fault {
            let proxy = proxies.get(*path).context("a path that does not exist")?;
            proxy.set(fault);
        }
        let until = clock::now() + event.lasts;
        while clock::now() < until {
            let next = (clock::now() + LIVE_INTERVAL).min(until);
            clock::sleep_until(Some(next)).await;
            let line = live(&workload);
            writeln!(
                out,
                "{:6.1} s  {line}",
                (clock::now() - began).as_secs_f64()
            )?;
        }
    }
    writeln!(out, "           reading everything once more")?;
    Ok(workload.finish().await)
}

fn live(workload: &Workload) -> String {
    let (phase, stalled) = workload.live();
    format!(
        "{:<20} {:>8} I/Os  longest stall {:>8}  {} errors  {} mismatches{}",
        phase.label,
        phase.ios,
        duration(phase.longest_stall.max(stalled)),
        phase.errors,
        phase.mismatches,
        if stalled > Duration::from_millis(500) {
            "  (waiting)"
        } else {
            ""
        }
    )
}

/// That the faults really happened.
fn proof(proxies: &[ProxyHandle]) -> String {
    let mut text = String::new();
    for (name, proxy) in ["A", "B"].iter().zip(proxies) {
        let s = proxy.statistics();
        let (held, dropped) = (
            s.to_target.held + s.to_initiator.held,
            s.to_target.dropped + s.to_initiator.dropped,
        );
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "path {name}: {} connections, {} cut, {held} bytes held in black holes, \
             {dropped} bytes lost",
            s.opened, s.cut
        );
    }
    text
}

/// How to connect to an export that is kept running.
#[must_use]
pub fn connect_hints(socket: &Path) -> String {
    let socket = socket.display();
    format!(
        "the export stays up until Ctrl-C; connect with\n  \
         nbdinfo 'nbd+unix:///?socket={socket}'\n  \
         qemu-img info 'nbd+unix:///?socket={socket}'\n  \
         nbd-client -unix {socket} /dev/nbd0     (as root, with the nbd module)\n"
    )
}
