//! A TCP proxy over real sockets whose path can be broken at run time.
//!
//! It stands between an initiator and a portal and carries each connection over the link model
//! ([`crate::link`]). Faults come through a [`ProxyHandle`] or the control socket ([`control`]):
//!
//! - *cut*: all connections end with RST (or FIN), and new ones are refused by the kernel, because
//!   nothing listens until the heal;
//! - *black hole*: connections stay open, new ones are accepted, and nothing passes in the holed
//!   direction. What the sender sends is read and held, up to [`ProxyConfig::hold_bytes`]; the heal
//!   releases it late or drops it. Even the end of a connection does not get through a hole;
//! - *latency, jitter, bandwidth, corruption*: per direction, as the link model does them.
//!
//! A proxy acknowledges the bytes that it swallows: it stands for a frozen middlebox or process
//! behind a live TCP stack, never for a lost packet (that takes a network namespace).
//!
//! Each fault leaves proof in the [`Statistics`]. Where no condition holds, a connection is a plain
//! read and write loop: one copy in, one copy out.

mod connection;
pub mod control;
mod door;
mod statistics;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::clock;
use crate::fault::{Fault, PathState};
use crate::link::{End, Held, Link};
use crate::rng::Rng;

use connection::Carrier;
use door::Door;
pub use statistics::{DirectionStatistics, Statistics};

/// What a proxy is to do.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it connects to, `host:port`.
    pub to: String,
    /// Bytes held per direction and connection while a hole or a slow line keeps them; the sender
    /// is not read above.
    pub hold_bytes: usize,
    /// Seed of jitter and corruption.
    pub seed: u64,
}

impl ProxyConfig {
    /// A proxy from `listen` to `to` that holds up to 64 MiB per direction and connection.
    #[must_use]
    pub fn new(listen: SocketAddr, to: impl Into<String>) -> Self {
        Self {
            listen,
            to: to.into(),
            hold_bytes: 64 << 20,
            seed: 0,
        }
    }
}

/// What every connection watches: the path, and how often it was cut so far. The count makes a cut
/// that is healed at once end the connections all the same.
#[derive(Clone, Debug, Default)]
struct Network {
    path: PathState,
    cuts: u64,
    cut_with: Option<End>,
    /// How often connections were left half open.
    halved: u64,
}

/// The handle of a running proxy. Dropping the last clone ends it and resets its connections.
#[derive(Clone, Debug)]
pub struct ProxyHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local_addr: SocketAddr,
    network: watch::Sender<Network>,
    statistics: Arc<statistics::Shared>,
    task: JoinHandle<()>,
    /// How often flapping was begun or ended: who began an earlier one stops.
    flappings: Mutex<u64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a fault comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// How long it lasts each time.
    pub lasts: Duration,
    /// From one begin to the next; not shorter than `lasts`.
    pub every: Duration,
    /// How often it comes.
    pub times: u32,
}

impl ProxyHandle {
    /// Starts a proxy on the current runtime.
    ///
    /// # Errors
    /// If the listening address cannot be bound.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: ProxyConfig) -> io::Result<Self> {
        let door = Door::open(config.listen)?;
        let local_addr = door.local_addr();
        let statistics = Arc::new(statistics::Shared::default());
        let (network, watched) = watch::channel(Network::default());
        let task = tokio::spawn(accept(door, config, watched, Arc::clone(&statistics)));
        Ok(Self(Arc::new(Inner {
            local_addr,
            network,
            statistics,
            task,
            flappings: Mutex::new(0),
        })))
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr
    }

    /// Carries out one order; faults add up until a heal, which ends flapping, too.
    pub fn set(&self, fault: &Fault) {
        let mut flappings = self.flappings();
        *flappings += u64::from(matches!(fault, Fault::Heal(_)));
        self.apply(fault);
    }

    fn apply(&self, fault: &Fault) {
        tracing::info!(proxy = %self.0.local_addr, %fault, "fault");
        self.0.network.send_modify(|network| {
            network.path.apply(fault);
            if let Fault::Cut | Fault::CutFin = fault {
                network.cuts += 1;
                network.cut_with = network.path.cut;
            }
            network.halved += u64::from(*fault == Fault::HalfOpen);
        });
    }

    /// What the path is like from now on, whatever was ordered before.
    pub fn set_state(&self, state: PathState) {
        tracing::info!(proxy = %self.0.local_addr, %state, "path");
        self.0.network.send_modify(|network| {
            if let Some(end) = state.cut.filter(|_| network.path.cut.is_none()) {
                network.cuts += 1;
                network.cut_with = Some(end);
            }
            network.path = state;
        });
    }

    /// Carries out one order and heals everything after `duration`.
    pub fn set_for(&self, fault: &Fault, duration: Duration, held: Held) {
        self.set(fault);
        let proxy = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            proxy.heal(held);
        });
    }

    /// Carries out one order again and again; everything is healed in between. A heal or another
    /// flapping ends it.
    pub fn flap(&self, fault: &Fault, flapping: Flapping) {
        let mine = {
            let mut flappings = self.flappings();
            *flappings += 1;
            *flappings
        };
        let (fault, inner) = (fault.clone(), Arc::downgrade(&self.0));
        let heal = Fault::Heal(Held::Release);
        let pause = flapping.every.saturating_sub(flapping.lasts);
        tokio::spawn(async move {
            let mut next = clock::now();
            for _ in 0..flapping.times {
                for (order, lasts) in [(&fault, flapping.lasts), (&heal, pause)] {
                    let Some(proxy) = inner.upgrade().map(Self) else {
                        return;
                    };
                    if !proxy.apply_if(mine, order) {
                        return;
                    }
                    drop(proxy);
                    next += lasts;
                    clock::sleep_until(Some(next)).await;
                }
            }
        });
    }

    /// Carries out an order of that flapping, unless it is over.
    fn apply_if(&self, flapping: u64, order: &Fault) -> bool {
        let flappings = self.flappings();
        if *flappings == flapping {
            self.apply(order);
        }
        *flappings == flapping
    }

    fn flappings(&self) -> MutexGuard<'_, u64> {
        let flappings = self.0.flappings.lock();
        flappings.unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every fault; `held` says what becomes of the bytes in a hole.
    pub fn heal(&self, held: Held) {
        self.set(&Fault::Heal(held));
    }

    /// What the path is like now.
    #[must_use]
    pub fn path(&self) -> PathState {
        self.0.network.borrow().path.clone()
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.statistics.snapshot()
    }
}

async fn accept(
    mut door: Door,
    config: ProxyConfig,
    mut network: watch::Receiver<Network>,
    statistics: Arc<statistics::Shared>,
) {
    let rng = Rng::new(config.seed);
    let mut connections = JoinSet::new();
    for serial in 0.. {
        let accepted = loop {
            let cut = network.borrow_and_update().path.cut.is_some();
            door.shut_if(cut).await;
            tokio::select! { biased;
                changed = network.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(_) = connections.join_next() => {}
                stream = door.accept() => break stream,
            }
        };
        statistics.opened();
        let link = Link::new(&rng.stream_indexed("connection", serial), config.hold_bytes);
        let carrier = Carrier {
            to: config.to.clone(),
            network: network.clone(),
            statistics: Arc::clone(&statistics),
        };
        connections.spawn(carrier.carry(accepted, link));
    }
}

#[cfg(test)]
mod tests;
