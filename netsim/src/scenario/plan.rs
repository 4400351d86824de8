//! When what happens: faults with their repeats and ends, as changes of the world and as marks.

use std::collections::BTreeSet;
use std::time::Duration;

use iiblockdaemon::volume::ReservationAsk;

use super::{FaultSpec, Order, Scenario};
use crate::fault::PathState;
use crate::link::Held;
use crate::recording::Mark;
use crate::target::Pace;
use crate::world::{Fault, Planned, Reload};

/// One occurrence of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Which fault, in the order of time.
    pub fault: usize,
    /// Its beginning, since the volume is online.
    pub begin: Duration,
    /// Its end; `None`: with the workload.
    pub end: Option<Duration>,
}

impl Episode {
    fn lasts_at(&self, at: Duration) -> bool {
        self.begin <= at && self.end.is_none_or(|end| at < end)
    }
}

impl FaultSpec {
    /// In words, with its paths.
    #[must_use]
    pub fn label(&self, scenario: &Scenario) -> String {
        let names = self.paths.iter().map(|path| &*scenario.paths[*path].name);
        let names: Vec<&str> = names.collect();
        match names.len() {
            0 => self.order.to_string(),
            1 => format!("{} on path {}", self.order, names[0]),
            n if n == scenario.paths.len() => format!("{} on all paths", self.order),
            _ => format!("{} on paths {}", self.order, names.join(", ")),
        }
    }

    /// When its last occurrence ends.
    #[must_use]
    pub fn end(&self) -> Option<Duration> {
        Some(self.at + self.every * (self.times - 1) + self.lasts?)
    }
}

impl Scenario {
    /// Every occurrence of every fault, by its beginning.
    #[must_use]
    pub fn episodes(&self) -> Vec<Episode> {
        let mut all = Vec::new();
        for (index, fault) in self.faults.iter().enumerate() {
            all.extend((0..fault.times).map(|n| {
                let begin = fault.at + fault.every * n;
                Episode {
                    fault: index,
                    begin,
                    end: fault.lasts.map(|lasts| begin + lasts),
                }
            }));
        }
        all.sort_by_key(|episode| episode.begin);
        all
    }

    /// What changes when.
    #[must_use]
    pub fn planned(&self) -> Vec<Planned> {
        let episodes = self.episodes();
        let mut planned = Vec::new();
        for episode in &episodes {
            self.plan_episode(episode, &mut planned);
        }
        for path in 0..self.paths.len() {
            self.plan_network(path, &episodes, &mut planned);
        }
        planned.sort_by_key(|planned: &Planned| planned.at);
        planned
    }

    /// Everything but the network.
    fn plan_episode(&self, episode: &Episode, planned: &mut Vec<Planned>) {
        let fault = &self.faults[episode.fault];
        let Episode { begin, end, .. } = *episode;
        let mut plan = |at: Option<Duration>, fault| {
            planned.extend(at.map(|at| Planned { at, fault }));
        };
        match fault.order {
            Order::Network(_) => {}
            Order::Ends(_)
            | Order::HalfOpen
            | Order::HalfClose(_)
            | Order::NoCarrier
            | Order::Late(_)
            | Order::Freeze
            | Order::Hang(_)
            | Order::Jam(_)
            | Order::Pace(_)
            | Order::ClosedWindow
            | Order::Notice(_)
            | Order::Redirect(_)
            | Order::Misbehave(_)
            | Order::Access(_)
            | Order::Impostor
            | Order::Capacity(_)
            | Order::Remove
            | Order::Add
            | Order::Vanish => {
                for path in fault.paths.iter().copied() {
                    let changes = self.on_portal(path, &fault.order);
                    if let Some((begins, ends)) = changes {
                        plan(Some(begin), begins);
                        if let Some(ends) = ends {
                            plan(end, ends);
                        }
                    }
                }
            }
            Order::Crash => {
                let until = end.unwrap_or(self.workload.lasts);
                let away = until.saturating_sub(begin);
                plan(Some(begin), Fault::Crash { away });
                plan(end, Fault::Boot);
            }
            Order::KillDaemon => plan(Some(begin), Fault::Kill),
            Order::Grow(bytes) => {
                let blocks = bytes / u64::from(self.unit.block_size);
                plan(Some(begin), Fault::Grow { blocks });
            }
            Order::Reload => {
                if let Some(reload) = &fault.reload {
                    let settings = Box::new(reload.settings);
                    plan(Some(begin), Fault::Reload(Reload::Settings(settings)));
                }
            }
            Order::ReplaceClient(client) => plan(Some(begin), Fault::Replace { client }),
            Order::Status { status, times } => plan(Some(begin), Fault::Status { status, times }),
            Order::ResetUnit => plan(Some(begin), Fault::Reset),
            Order::Attention { asc, ascq } => plan(Some(begin), Fault::Attention { asc, ascq }),
            Order::Preempted => plan(Some(begin), Fault::Preempted),
            Order::OwnReserve(kind) => {
                let ask = ReservationAsk::Reserve { kind };
                plan(Some(begin), Fault::Ask(ask));
            }
            Order::OwnRelease => plan(Some(begin), Fault::Ask(ReservationAsk::Release)),
            Order::Reserve { exclusive } => {
                let on = true;
                plan(Some(begin), Fault::Reserve { exclusive, on });
                let on = false;
                plan(end, Fault::Reserve { exclusive, on });
            }
        }
    }

    /// What is done to a NIC or a portal, if anything is, and what ends it.
    fn on_portal(&self, path: usize, order: &Order) -> Option<(Fault, Option<Fault>)> {
        let switch = |fault: &dyn Fn(bool) -> Fault| (fault(true), Some(fault(false)));
        Some(match order {
            Order::Ends(end) => (Fault::Cut { path, end: *end }, None),
            Order::HalfOpen => (Fault::HalfOpen { path }, None),
            Order::HalfClose(direction) => {
                let direction = *direction;
                (Fault::HalfClose { path, direction }, None)
            }
            Order::NoCarrier => switch(&|lost| Fault::Carrier { path, lost }),
            Order::Late(by) => {
                let late = |by| Fault::Late { path, by };
                (late(*by), Some(late(Duration::ZERO)))
            }
            Order::Freeze => switch(&|on| Fault::Freeze { path, on }),
            Order::ClosedWindow => switch(&|closed| Fault::Window { path, closed }),
            Order::Impostor => switch(&|on| Fault::Impostor { path, on }),
            Order::Vanish => switch(&|on| Fault::Vanish { path, on }),
            Order::Remove => (
                Fault::Reload(Reload::Remove { path }),
                Some(Fault::Reload(Reload::Add { path })),
            ),
            Order::Add => (Fault::Reload(Reload::Add { path }), None),
            &Order::Hang(times) => (Fault::Hang { path, times }, None),
            &Order::Jam(times) => (Fault::Jam { path, times }, Some(Fault::EndJams)),
            Order::Pace(pace) => {
                let at = |pace| Fault::Pace { path, pace };
                (at(*pace), Some(at(Pace::default())))
            }
            Order::Notice(notice) => {
                let notice = *notice;
                (Fault::Notice { path, notice }, None)
            }
            Order::Misbehave(how) => (Fault::Misbehave { path, how: *how }, None),
            Order::Redirect(name) => {
                let to = self.paths.iter().position(|path| path.name == *name);
                let permanent = false;
                let redirect = |to| Fault::Redirect {
                    path,
                    to,
                    permanent,
                };
                (redirect(to), Some(redirect(None)))
            }
            Order::Access(access) => {
                let state = |access| Fault::Access { path, access };
                (state(*access), Some(state(self.paths[path].access)))
            }
            Order::Capacity(bytes) => {
                let blocks = bytes / u64::from(self.unit.block_size);
                let capacity = |blocks| Fault::Capacity { path, blocks };
                (capacity(Some(blocks)), Some(capacity(None)))
            }
            Order::Network(_)
            | Order::Crash
            | Order::Grow(_)
            | Order::KillDaemon
            | Order::Reload
            | Order::ReplaceClient(_)
            | Order::Status { .. }
            | Order::ResetUnit
            | Order::Attention { .. }
            | Order::Preempted
            | Order::OwnReserve(_)
            | Order::OwnRelease
            | Order::Reserve { .. } => return None,
        })
    }

    /// The network of a path: at each change, all that is wrong with it.
    fn plan_network(&self, path: usize, episodes: &[Episode], planned: &mut Vec<Planned>) {
        let orders: Vec<(&Episode, &FaultSpec, &crate::fault::Fault)> = episodes
            .iter()
            .filter_map(|episode| {
                let fault = &self.faults[episode.fault];
                if let Order::Network(order) = &fault.order
                    && fault.paths.contains(&path)
                {
                    Some((episode, fault, order))
                } else {
                    None
                }
            })
            .collect();
        let changes: BTreeSet<Duration> = orders
            .iter()
            .flat_map(|(episode, ..)| [Some(episode.begin), episode.end])
            .flatten()
            .collect();
        for at in changes {
            let mut state = PathState::default();
            for (_, _, order) in orders.iter().filter(|(episode, ..)| episode.lasts_at(at)) {
                state.apply(order);
            }
            let ends = orders
                .iter()
                .filter(|(episode, ..)| episode.end == Some(at));
            state.held = ends
                .map(|(_, fault, _)| fault.held)
                .next_back()
                .unwrap_or(Held::Release);
            let state = Box::new(state);
            planned.push(Planned {
                at,
                fault: Fault::Route { path, state },
            });
        }
    }
}

/// What a recording of it is marked with. The volume went online at `online`.
pub(super) fn marks(scenario: &Scenario, online: Duration) -> Vec<Mark> {
    let mut marks = Vec::new();
    for episode in scenario.episodes() {
        let fault = &scenario.faults[episode.fault];
        let label = fault.label(scenario);
        marks.push(Mark {
            at: online + episode.begin,
            what: label.clone(),
        });
        if let Some(end) = episode.end.filter(|end| *end > episode.begin) {
            marks.push(Mark {
                at: online + end,
                what: format!("end of {label}"),
            });
        }
    }
    marks.push(Mark {
        at: online + scenario.workload.lasts,
        what: if scenario.mend {
            "end of the workload: everything is mended".to_owned()
        } else {
            "end of the workload".to_owned()
        },
    });
    marks.sort_by_key(|mark| mark.at);
    marks
}
