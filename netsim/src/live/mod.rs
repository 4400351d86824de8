//! Scenarios over real sockets: a simulated target, a fault proxy in front of each portal, the real daemon in
//! this process, and a workload that verifies every block over NBD.
//!
//! The file is the same as in virtual time; what cannot be done to real sockets is refused by
//! [`impossible`]. A proxy acknowledges what it swallows: it stands for a frozen middlebox, never for a lost
//! packet.

mod site;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use iiblockdaemon::control::report::{PathState, StatusReport, VolumeState};
use iiblockdaemon::shell::config_file;
use iiblockdaemon::shell::control_client;
use iiblockdaemon::shell::daemon::Daemon;

use crate::clock;
use crate::demo::Watch;
use crate::nbd_client::{Address, Client, ClientConfig};
use crate::recording::{PathRecord, Recording, Told};
use crate::scenario::{Order, Played, Scenario, Seen, judge};
use crate::target::lun::WriteCache;
use crate::workload::{Report, Workload, WorkloadConfig};
use crate::world::Fault;

use site::Site;

/// How long the daemon may take until its export is there.
const START: Duration = Duration::from_secs(30);

/// Once everything is mended, and no ghost can be left, everything is well within so long.
const RECOVERY: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// Width of the recording's intervals.
const INTERVAL: Duration = Duration::from_millis(100);

/// What of a scenario cannot be done over real sockets, and why.
#[must_use]
pub fn impossible(scenario: &Scenario) -> Vec<String> {
    let why = |order: &Order| match order {
        Order::HalfOpen => Some("a proxy cannot reset one side alone"),
        Order::KillDaemon => Some("the daemon lives in this process"),
        Order::ReplaceClient(_) => Some("the workload's clients stay"),
        Order::Crash if scenario.unit.cache == WriteCache::Volatile => {
            Some("the workload knows nothing of volatile caches")
        }
        Order::Crash => None,
        Order::HalfClose(_) => Some("a proxy cannot close one side alone"),
        Order::NoCarrier => Some("a proxy has no NIC; cut comes near"),
        Order::Late(_) => Some("a proxy acknowledges everything itself; latency comes near"),
        Order::Preempted | Order::OwnReserve(_) | Order::OwnRelease => {
            Some("only a world in virtual time has an administrator")
        }
        Order::Redirect(_) => Some("a redirect would lead past the proxies"),
        Order::Network(_)
        | Order::Remove
        | Order::Add
        | Order::Reload
        | Order::Ends(_)
        | Order::Hang(_)
        | Order::Jam(_)
        | Order::Pace(_)
        | Order::ClosedWindow
        | Order::Notice(_)
        | Order::Misbehave(_)
        | Order::Reserve { .. }
        | Order::Access(_)
        | Order::Capacity(_)
        | Order::Grow(_)
        | Order::Vanish
        | Order::Impostor
        | Order::Freeze
        | Order::Status { .. }
        | Order::ResetUnit
        | Order::Attention { .. } => None,
    };
    let faults = scenario.faults.iter();
    faults
        .filter_map(|fault| {
            let why = why(&fault.order)?;
            Some(format!("\"{}\": {why}", fault.order))
        })
        .collect()
}

/// Plays a scenario over real sockets, in real time, in an empty `folder`.
///
/// # Errors
/// If it is impossible, or if a part cannot be started. That a demand is not met is no error.
pub async fn play(scenario: &Scenario, folder: &Path) -> anyhow::Result<Played> {
    let impossible = impossible(scenario);
    if !impossible.is_empty() {
        bail!(
            "{} cannot be played over real sockets: {}",
            scenario.name,
            impossible.join("; ")
        );
    }
    let mut site = Site::start(scenario, folder).await?;
    let file = folder.join("multipath.toml");
    configure(scenario, &site, &file, Duration::ZERO)?;
    let daemon = Daemon::start(config_file::explain(&file)?, Some(file.clone()))?;
    let watch = Watch::start(folder.join("control.sock"));
    let clients = connect(scenario, &folder.join("nbd.sock")).await?;
    until(START, async || {
        let report = daemon.report().await;
        report.is_ok_and(|report| ready_paths(&report) == site.configured())
    })
    .await;
    let workload = Workload::start(&clients, load(scenario, &clients), "");
    let began = clock::now();
    for planned in scenario.planned() {
        clock::sleep_until(Some(began + planned.at)).await;
        if let Fault::Reload(reload) = &planned.fault {
            site.reconfigure(reload);
            configure(scenario, &site, &file, planned.at)?;
            daemon.reload().await?;
        } else {
            site.inflict(&planned.fault).await?;
        }
    }
    let over = began + scenario.workload.lasts;
    clock::sleep_until(Some(over)).await;
    if scenario.mend {
        site.mend().await?;
    }
    let wanted = scenario.pass.paths_ready.unwrap_or(scenario.paths.len());
    let limit = RECOVERY + quiesce(scenario);
    let well = until(limit, async || {
        let report = daemon.report().await;
        report.is_ok_and(|report| is_well(&report, wanted))
    })
    .await;
    let recovery = well.then(|| clock::now() - over);
    let report = workload.finish().await;
    let ended = clock::now();
    let status = daemon.report().await.ok();
    let mut recording = record(&site, &watch, &report, (began, ended));
    recording.journal = journal(&site, folder, status.as_ref(), began).await;
    scenario.inscribe(&mut recording, Duration::ZERO);
    let mut seen = seen(&site, &report, status.as_ref());
    seen.recovery = recovery;
    drop((watch, clients));
    if !daemon.stop().await && scenario.mend && seen.broken.is_none() {
        seen.broken = Some("the daemon did not stop cleanly".to_owned());
    }
    recording.criteria = judge(scenario, &recording, &seen);
    Ok(Played {
        recording,
        timeline: Vec::new(),
    })
}

/// Writes the daemon's configuration as it is at that time.
fn configure(scenario: &Scenario, site: &Site, file: &Path, at: Duration) -> anyhow::Result<()> {
    fs::write(file, scenario.multipath_toml(&site.place(), at))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Waits until something is so, or the limit is over; whether it is so.
async fn until(limit: Duration, mut so: impl AsyncFnMut() -> bool) -> bool {
    let limit = clock::now() + limit;
    loop {
        if so().await {
            return true;
        }
        if clock::now() >= limit {
            return false;
        }
        clock::sleep_until(Some(clock::now() + POLL)).await;
    }
}

/// Connects every client as soon as the export is there.
async fn connect(scenario: &Scenario, socket: &Path) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    let give_up = clock::now() + START;
    while clients.len() < scenario.workload.clients {
        match Client::connect(ClientConfig::new(Address::Unix(socket.to_owned()))).await {
            Ok(client) => clients.push(client),
            Err(error) if clock::now() >= give_up => {
                return Err(error).context("the daemon's export did not come up");
            }
            Err(_) => clock::sleep_until(Some(clock::now() + POLL)).await,
        }
    }
    Ok(clients)
}

fn load(scenario: &Scenario, clients: &[Client]) -> WorkloadConfig {
    let (unit, workload) = (&scenario.unit, &scenario.workload);
    let depth = u32::try_from(workload.depth).unwrap_or(u32::MAX);
    let workers = depth * u32::try_from(clients.len()).unwrap_or(u32::MAX);
    let bytes = unit.blocks * u64::from(unit.block_size);
    WorkloadConfig {
        workers,
        blocks_per_io_max: workload.blocks_max,
        read_percent: workload.reads,
        pause: workload.pause * depth,
        record: true,
        ..WorkloadConfig::mixed(scenario.seed, unit.block_size, bytes)
    }
}

fn quiesce(scenario: &Scenario) -> Duration {
    let volume = scenario.daemon.volumes.first();
    volume
        .and_then(|volume| volume.fence.quiesce)
        .unwrap_or_default()
}

fn ready_paths(report: &StatusReport) -> usize {
    let paths = report.volumes.iter().flat_map(|volume| &volume.paths);
    paths.filter(|path| path.state == PathState::Ready).count()
}

fn is_well(report: &StatusReport, ready: usize) -> bool {
    let served = |state| matches!(state, VolumeState::Serving | VolumeState::Degraded);
    let volumes = report.volumes.iter();
    let mut calm = volumes.filter(|volume| volume.ghosts == 0 && served(volume.state));
    ready_paths(report) >= ready && calm.next().is_some()
}

fn record(
    site: &Site,
    watch: &Watch,
    report: &Report,
    (began, ended): (Instant, Instant),
) -> Recording {
    let paths = watch.paths(&site.portals(), (began, ended), INTERVAL);
    Recording {
        simulated: false,
        lasted: ended - began,
        interval: INTERVAL,
        ios: report.answers.clone(),
        paths: paths.into_iter().map(without_gap).collect(),
        ..Recording::default()
    }
}

/// What the daemon's journal says, oldest first; nothing if it does not answer.
async fn journal(
    site: &Site,
    folder: &Path,
    status: Option<&StatusReport>,
    began: Instant,
) -> Vec<Told> {
    let Some(volume) = status.and_then(|status| status.volumes.first()) else {
        return Vec::new();
    };
    let (socket, name) = (folder.join("control.sock"), volume.name.clone());
    let asked = tokio::task::spawn_blocking(move || control_client::events(&socket, &name));
    let Ok(Ok(events)) = asked.await else {
        return Vec::new();
    };
    let now = clock::now() - began;
    let at = |ago_ms| now.saturating_sub(Duration::from_millis(ago_ms));
    let mut journal = Vec::new();
    for path in events.paths {
        let portals = site.portals();
        let of = |portal: &SocketAddr| path.name.contains(&portal.to_string());
        let known = portals.iter().position(of);
        journal.extend(path.events.iter().map(|event| Told {
            at: at(event.ago_ms),
            path: known,
            text: Told::text(&event.what, &event.why, None),
        }));
    }
    journal.extend(events.events.iter().map(|event| Told {
        at: at(event.ago_ms),
        path: None,
        text: Told::text(
            &event.what,
            &event.why,
            event.took_ms.map(Duration::from_millis),
        ),
    }));
    journal.sort_by_key(|told| told.at);
    journal
}

/// A path was in its first state from the beginning on.
fn without_gap(mut path: PathRecord) -> PathRecord {
    if let Some((at, ..)) = path.states.first_mut() {
        *at = Duration::ZERO;
    }
    path
}

fn seen(site: &Site, report: &Report, status: Option<&StatusReport>) -> Seen {
    let volume = status.and_then(|status| status.volumes.first());
    let totals = volume.map(|volume| volume.totals).unwrap_or_default();
    let key = volume.and_then(|volume| volume.reservation.as_ref());
    let mismatch = report.violations.iter().map(ToString::to_string);
    let mismatch: Vec<String> = mismatch.collect();
    let (statistics, breach) = site.target_saw();
    Seen {
        online: Duration::ZERO,
        mismatch: (report.mismatches > 0).then(|| mismatch.join("; ")),
        broken: breach,
        recovery: None,
        logins: statistics.logins,
        retries: totals.retries,
        fenced: totals.fenced,
        quiesced: totals.quiesced,
        late_writes: statistics.executed_late,
        reads: totals.reads,
        hedges: totals.hedges,
        aborts: statistics.aborts,
        resets: statistics.unit_resets,
        ejections: volume.map_or(0, |volume| {
            volume.paths.iter().map(|path| path.ejections).sum()
        }),
        size: volume.and_then(|volume| volume.size_bytes).unwrap_or(0),
        preempted: key.map(|key| key.preempted),
        registrations: key.map_or(0, |key| key.registered),
    }
}
