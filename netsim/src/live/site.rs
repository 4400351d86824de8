//! The target and its proxies, and what faults do to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;

use crate::clock;
use crate::fault::PathState;
use crate::link::{Conditions, End};
use crate::proxy::{ProxyConfig, ProxyHandle};
use crate::scenario::{Place, Scenario};
use crate::target::lun::Access;
use crate::target::server::TargetServer;
use crate::target::{Pace, PortalBehaviour, Target, TargetStatistics};
use crate::world::{self, Fault, Line, Reload};

/// A line that is faster than this is as fast as the machine's own.
const SLOW: std::time::Duration = std::time::Duration::from_millis(1);

/// The target behind its proxies.
#[derive(Debug)]
pub(super) struct Site {
    place: Place,
    /// Whether the daemon's configuration has each path.
    configured: Vec<bool>,
    server: Option<TargetServer>,
    /// The target while it is away.
    crashed: Option<Target>,
    portals: Vec<SocketAddr>,
    proxies: Vec<ProxyHandle>,
    lines: Vec<PathState>,
    normal: PortalBehaviour,
    /// What mends the target.
    undo: Vec<Fault>,
}

impl Site {
    pub(super) async fn start(scenario: &Scenario, folder: &Path) -> anyhow::Result<Self> {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let mut listeners = Vec::new();
        for _ in &scenario.paths {
            listeners.push(TcpListener::bind(any).await?);
        }
        let portals = listeners.iter().map(TcpListener::local_addr);
        let portals = portals.collect::<Result<Vec<_>, _>>()?;
        let knobs = scenario.knobs();
        let addresses = portals.iter().map(ToString::to_string);
        let target = world::target_at(&knobs, addresses);
        let name = target.config().name.to_string();
        let server = TargetServer::start(target, listeners)?;
        let proxies = portals
            .iter()
            .map(|portal| ProxyHandle::start(ProxyConfig::new(any, portal.to_string())));
        let proxies = proxies.collect::<Result<Vec<_>, _>>()?;
        let lines: Vec<PathState> = scenario
            .paths
            .iter()
            .map(|path| as_state(&path.line))
            .collect();
        for (proxy, line) in proxies.iter().zip(&lines) {
            proxy.set_state(line.clone());
        }
        let addresses = proxies.iter().map(|proxy| proxy.local_addr().to_string());
        let weights = scenario.paths.iter().map(|path| path.weight);
        Ok(Self {
            place: Place {
                target: name,
                portals: addresses.zip(weights).collect(),
                folder: folder.display().to_string(),
            },
            configured: scenario.paths.iter().map(|path| path.configured).collect(),
            server: Some(server),
            crashed: None,
            portals,
            proxies,
            lines,
            undo: Vec::new(),
            normal: PortalBehaviour {
                service_time: scenario.target.service_time,
                ..PortalBehaviour::default()
            },
        })
    }

    /// Where everything is that the daemon's configuration has.
    pub(super) fn place(&self) -> Place {
        let portals = self.place.portals.iter().zip(&self.configured);
        let there = portals.filter(|(_, there)| **there);
        Place {
            portals: there.map(|(portal, _)| portal.clone()).collect(),
            ..self.place.clone()
        }
    }

    /// How many paths the configuration has.
    pub(super) fn configured(&self) -> usize {
        self.configured.iter().filter(|there| **there).count()
    }

    /// The configuration has a path that it did not have, or the other way round.
    pub(super) fn reconfigure(&mut self, reload: &Reload) {
        match *reload {
            Reload::Remove { path } => self.configured[path] = false,
            Reload::Add { path } => self.configured[path] = true,
            Reload::Weight { path, weight } => self.place.portals[path].1 = weight,
            Reload::Settings(_) => {}
        }
    }

    /// Where the daemon finds the paths.
    pub(super) fn portals(&self) -> Vec<SocketAddr> {
        self.proxies.iter().map(ProxyHandle::local_addr).collect()
    }

    /// What happened at the target, and the first rule of RFC 7143 that the initiator broke.
    pub(super) fn target_saw(&self) -> (TargetStatistics, Option<String>) {
        let Some(server) = &self.server else {
            return Default::default();
        };
        server.with(|target| {
            let breach = target.breaches().first().map(ToString::to_string);
            (target.statistics(), breach)
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all the others are the target's"
    )]
    pub(super) async fn inflict(&mut self, fault: &Fault) -> anyhow::Result<()> {
        tracing::info!(%fault, "fault");
        match fault {
            Fault::Route { path, state } => self.set_route(*path, state),
            Fault::Cut { path, end } => {
                let mut state = self.proxies[*path].path();
                state.cut = Some(*end);
                self.proxies[*path].set_state(state.clone());
                state.cut = None;
                self.proxies[*path].set_state(state);
            }
            Fault::Freeze { path, on } => self.freeze(*path, *on),
            Fault::Crash { .. } => self.crash().await?,
            Fault::Boot => self.boot().await?,
            Fault::Kill | Fault::Reload(_) | Fault::Replace { .. } | Fault::Redirect { .. } => {
                bail!("over real sockets this cannot be done: {fault}")
            }
            of_target => {
                self.undo.retain(|undo| undo != of_target);
                self.undo.extend(opposite(of_target));
                if let Some(server) = &self.server {
                    server.with(|target| world::impose(target, clock::now(), of_target));
                }
            }
        }
        Ok(())
    }

    /// What is wrong with a path, on top of what its line is like.
    fn set_route(&self, path: usize, wrong: &PathState) {
        let line = &self.lines[path];
        let with = |line: &Conditions, wrong: &Conditions| Conditions {
            latency: line.latency + wrong.latency,
            jitter: line.jitter + wrong.jitter,
            bandwidth: wrong.bandwidth.into_iter().chain(line.bandwidth).min(),
            ..wrong.clone()
        };
        self.proxies[path].set_state(PathState {
            cut: wrong.cut,
            to_target: with(&line.to_target, &wrong.to_target),
            to_initiator: with(&line.to_initiator, &wrong.to_initiator),
            held: wrong.held,
        });
    }

    fn freeze(&self, path: usize, frozen: bool) {
        let behaviour = PortalBehaviour {
            frozen,
            ..self.normal.clone()
        };
        if let Some(server) = &self.server {
            server.with(|target| target.set_portal(path, behaviour));
        }
    }

    /// The target dies with all its connections; its ports refuse.
    async fn crash(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            let mut target = server.stop().await.context("the target did not end")?;
            target.restart(clock::now(), |_| true);
            self.crashed = Some(target);
        }
        // What has come through a proxy ends with the target.
        for proxy in &self.proxies {
            let mut state = proxy.path();
            state.cut = Some(End::Reset);
            proxy.set_state(state);
        }
        Ok(())
    }

    async fn boot(&mut self) -> anyhow::Result<()> {
        let Some(target) = self.crashed.take() else {
            return Ok(());
        };
        let mut listeners = Vec::new();
        for portal in &self.portals {
            listeners.push(TcpListener::bind(portal).await?);
        }
        self.server = Some(TargetServer::start(target, listeners)?);
        for proxy in &self.proxies {
            let mut state = proxy.path();
            state.cut = None;
            proxy.set_state(state);
        }
        Ok(())
    }

    /// Everything is as at the beginning.
    pub(super) async fn mend(&mut self) -> anyhow::Result<()> {
        self.boot().await?;
        for path in 0..self.proxies.len() {
            self.set_route(path, &PathState::default());
            self.freeze(path, false);
        }
        self.mend_target();
        Ok(())
    }

    fn mend_target(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        let Some(server) = &self.server else {
            return;
        };
        for fault in &undo {
            server.with(|target| world::impose(target, clock::now(), fault));
        }
        for path in 0..self.proxies.len() {
            server.with(|target| target.clear_trouble(path));
        }
    }
}

/// What ends a fault of the target, if it does not end by itself.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other faults end by themselves"
)]
fn opposite(fault: &Fault) -> Option<Fault> {
    match *fault {
        Fault::Window { path, closed: true } => Some(Fault::Window {
            path,
            closed: false,
        }),
        Fault::Access { path, access } if access != Access::Optimized => Some(Fault::Access {
            path,
            access: Access::Optimized,
        }),
        Fault::Capacity {
            path,
            blocks: Some(_),
        } => Some(Fault::Capacity { path, blocks: None }),
        Fault::Vanish { path, on: true } => Some(Fault::Vanish { path, on: false }),
        Fault::Impostor { path, on: true } => Some(Fault::Impostor { path, on: false }),
        Fault::Reserve {
            exclusive,
            on: true,
        } => Some(Fault::Reserve {
            exclusive,
            on: false,
        }),
        Fault::Pace { path, pace } if pace != Pace::default() => Some(Fault::Pace {
            path,
            pace: Pace::default(),
        }),
        _ => None,
    }
}

fn as_state(line: &Line) -> PathState {
    let slow = |time: std::time::Duration| {
        if time < SLOW {
            Default::default()
        } else {
            time
        }
    };
    let conditions = Conditions {
        latency: slow(line.latency),
        jitter: slow(line.jitter),
        bandwidth: line.bandwidth,
        ..Conditions::default()
    };
    PathState {
        to_target: conditions.clone(),
        to_initiator: conditions,
        ..PathState::default()
    }
}
