//! How faults are drawn from a seed.

use std::time::Duration;

use policies::{PolicyKind, PolicySpec};

use super::{Fault, Knobs, Notice, Planned, Reload, Settings};
use crate::link::{Direction, End, Held};
use crate::rng::Rng;
use crate::target::Misdeed;
use crate::target::lun::Access;

const BUSY: u8 = 0x08;
const TASK_SET_FULL: u8 = 0x28;

/// Unit attentions that change nothing: reset, mode parameters, access states.
const ATTENTIONS: [(u8, u8); 3] = [(0x29, 0x02), (0x2a, 0x01), (0x2a, 0x06)];

/// Episodes of trouble until [`Knobs::trouble`] is over.
pub(super) fn draw(rng: &mut Rng, knobs: &Knobs) -> Vec<Planned> {
    let mut planned = Vec::new();
    let paths = knobs.groups.len();
    for _ in 0..rng.between(1, 12) {
        let at = rng.duration_below(knobs.trouble);
        let left = knobs.trouble - at;
        let end = at + rng.duration_below(left);
        let path = match knobs.spared {
            Some(spared) => (0..paths)
                .filter(|path| *path != spared)
                .nth(rng.index(paths - 1)),
            None => Some(rng.index(paths)),
        };
        let Some(path) = path else { continue };
        let kinds = if knobs.spared.is_some() { 7 } else { 12 };
        if rng.chance(1, 10) {
            let client = rng.index(knobs.load.clients);
            planned.push(Planned {
                at,
                fault: Fault::Replace { client },
            });
        }
        episode(rng, kinds, path, (at, end), &mut planned);
    }
    let mut more = Rng::new(knobs.seed).stream("more faults");
    if more.chance(3, 5) {
        for _ in 0..more.between(1, 6) {
            further(&mut more, knobs, &mut planned);
        }
    }
    let mut uplinks = Rng::new(knobs.seed).stream("uplinks");
    if uplinks.chance(2, 5) {
        for _ in 0..uplinks.between(1, 4) {
            uplink(&mut uplinks, knobs, &mut planned);
        }
    }
    reloads(knobs, &mut planned);
    let mut rng = Rng::new(knobs.seed).stream("growth");
    if rng.chance(1, 6) {
        let at = rng.duration_below(knobs.trouble);
        let blocks = knobs.blocks * rng.between(2, 4);
        planned.retain(|planned| !matches!(planned.fault, Fault::Capacity { .. }));
        planned.push(Planned {
            at,
            fault: Fault::Grow { blocks },
        });
    }
    let kills = planned.iter().any(|p| p.fault == Fault::Kill);
    planned.retain(|planned| !kills || !is_forgotten(&planned.fault, knobs));
    planned.retain(|planned| !hits_spared(&planned.fault, knobs));
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// Commands that hang, in some way or the other, and resets of the unit by others.
pub(super) fn manage(rng: &mut Rng, knobs: &mut Knobs) {
    if !rng.chance(1, 2) {
        return;
    }
    let first = usize::from(knobs.spared.is_some());
    for _ in 0..rng.between(1, 4) {
        let at = rng.duration_below(knobs.trouble);
        let path = first + rng.index(knobs.groups.len() - first);
        let times = u32::try_from(rng.between(1, 3)).unwrap_or(1);
        let fault = match rng.below(4) {
            0 | 1 => Fault::Jam { path, times },
            2 => Fault::Hang { path, times },
            _ => Fault::Reset,
        };
        let spared = knobs.spared.is_some() && fault == Fault::Reset;
        if !spared {
            knobs.faults.push(Planned { at, fault });
        }
    }
    if rng.chance(1, 2) {
        let at = rng.duration_below(knobs.trouble);
        let fault = Fault::EndJams;
        knobs.faults.push(Planned { at, fault });
    }
    knobs.faults.sort_by_key(|planned| planned.at);
}

/// A carrier that is lost, or a target that answers late: through one path, or all that may be broken.
fn uplink(rng: &mut Rng, knobs: &Knobs, planned: &mut Vec<Planned>) {
    let at = rng.duration_below(knobs.trouble);
    let end = at + rng.duration_below(knobs.trouble - at);
    let first = usize::from(knobs.spared.is_some());
    let paths = first..knobs.groups.len();
    let only = first + rng.index(paths.len());
    let late = rng.duration_below(Duration::from_secs(4));
    let (all, carrier) = (rng.chance(1, 4), rng.chance(1, 2));
    for path in paths.filter(|path| all || *path == only) {
        let (begins, ends) = if carrier {
            let lost = |lost| Fault::Carrier { path, lost };
            (lost(true), lost(false))
        } else {
            let late_by = |by| Fault::Late { path, by };
            (late_by(late), late_by(Duration::ZERO))
        };
        planned.push(Planned { at, fault: begins });
        planned.push(Planned {
            at: end,
            fault: ends,
        });
    }
}

/// What the administrator changes meanwhile: paths come and go, settings change.
fn reloads(knobs: &Knobs, planned: &mut Vec<Planned>) {
    let mut rng = Rng::new(knobs.seed).stream("reloads");
    if !rng.chance(1, 3) {
        return;
    }
    let mut at: Vec<Duration> = (0..rng.between(1, 8))
        .map(|_| rng.duration_below(knobs.trouble))
        .collect();
    at.sort_unstable();
    let mut configured: Vec<bool> = (0..knobs.groups.len())
        .map(|path| !knobs.absent.contains(&path))
        .collect();
    let mut settings = knobs.settings();
    for at in at {
        let path = rng.index(configured.len());
        let alone = configured.iter().filter(|there| **there).count() == 1;
        let reload = match rng.below(6) {
            0..=2 if !configured[path] => {
                configured[path] = true;
                Reload::Add { path }
            }
            0..=2 if !alone && knobs.spared != Some(path) => {
                configured[path] = false;
                Reload::Remove { path }
            }
            3 => Reload::Weight {
                path,
                weight: u8::try_from(rng.between(1, 4)).unwrap_or(1),
            },
            _ => {
                change(&mut rng, &mut settings);
                Reload::Settings(Box::new(settings))
            }
        };
        let fault = Fault::Reload(reload);
        planned.push(Planned { at, fault });
    }
}

fn change(rng: &mut Rng, settings: &mut Settings) {
    match rng.below(5) {
        4 => settings.sessions = 3 - settings.sessions,
        0 => {
            let kind = PolicyKind::ALL[rng.index(PolicyKind::ALL.len())];
            settings.policy = PolicySpec::preset(kind);
        }
        1 => settings.commands_per_path = [1, 4, 64][rng.index(3)],
        2 => settings.shared = !settings.shared,
        _ => {
            let network = Duration::from_millis([300, 700, 1500][rng.index(3)]);
            settings.detect.network = network;
        }
    }
}

/// What a daemon does not know any more once it was killed: that the unit was smaller, and that a session was
/// with another process than its portal's.
#[expect(clippy::wildcard_enum_match_arm, reason = "two faults of many")]
fn is_forgotten(fault: &Fault, knobs: &Knobs) -> bool {
    match fault {
        Fault::Capacity { .. } => true,
        Fault::Redirect {
            path, to: Some(to), ..
        } => !knobs.share_sessions(*path, *to),
        _ => false,
    }
}

/// An access state is its whole portal group's, that of the path that is never broken too.
fn hits_spared(fault: &Fault, knobs: &Knobs) -> bool {
    let Fault::Access { path, access } = fault else {
        return false;
    };
    let good = matches!(access, Access::Optimized | Access::NonOptimized);
    let group = |path: usize| knobs.groups.get(path);
    !good
        && knobs
            .spared
            .is_some_and(|spared| group(spared) == group(*path))
}

/// One episode of what a target, a unit or a sick network does besides breaking.
#[expect(
    clippy::too_many_lines,
    reason = "a table: one row per kind of episode"
)]
fn further(rng: &mut Rng, knobs: &Knobs, planned: &mut Vec<Planned>) {
    let at = rng.duration_below(knobs.trouble);
    let end = at + rng.duration_below(knobs.trouble - at);
    let paths = knobs.groups.len();
    let path = match knobs.spared {
        Some(_) => 1 + rng.index(paths - 1),
        None => rng.index(paths),
    };
    let mut plan = |at, fault| planned.push(Planned { at, fault });
    let reset = Fault::Cut {
        path,
        end: End::Reset,
    };
    let direction = match rng.below(3) {
        0 => Direction::ToTarget,
        1 => Direction::ToInitiator,
        _ => Direction::Both,
    };
    let kinds = if knobs.spared.is_some() { 14 } else { 15 };
    match rng.below(kinds) {
        0 => plan(at, Fault::HalfClose { path, direction }),
        1 => {
            let larger_than = 64 << rng.below(8);
            plan(
                at,
                Fault::LargeHole {
                    path,
                    direction,
                    larger_than,
                },
            );
            let held = if rng.chance(1, 2) {
                Held::Release
            } else {
                Held::Drop
            };
            plan(end, Fault::Heal { path, held });
        }
        2 => {
            let bytes_per_second = 100 << rng.below(14);
            let unlimited = 0;
            plan(
                at,
                Fault::Bandwidth {
                    path,
                    bytes_per_second,
                },
            );
            plan(
                end,
                Fault::Bandwidth {
                    path,
                    bytes_per_second: unlimited,
                },
            );
        }
        3 if knobs.has_digests() => {
            let one_in = 1 << rng.below(8);
            plan(at, Fault::Corrupt { path, one_in });
            plan(end, Fault::Corrupt { path, one_in: 0 });
        }
        3 | 4 => {
            let times = u32::try_from(rng.between(2, 5)).unwrap_or(2);
            let period = (end - at) / times;
            let down = rng.duration_below(period);
            let up = period - down;
            plan(
                at,
                Fault::Flap {
                    path,
                    down,
                    up,
                    times,
                },
            );
        }
        5 => {
            let times = u32::try_from(rng.between(1, 4)).unwrap_or(1);
            plan(at, Fault::Hang { path, times });
        }
        6 => {
            plan(at, Fault::Window { path, closed: true });
            plan(
                end,
                Fault::Window {
                    path,
                    closed: false,
                },
            );
        }
        7 => {
            let notice = notice(rng);
            plan(at, Fault::Notice { path, notice });
        }
        8 => {
            let (to, permanent) = (Some(rng.index(paths)), rng.chance(1, 2));
            plan(
                at,
                Fault::Redirect {
                    path,
                    to,
                    permanent,
                },
            );
            plan(at, reset);
            plan(
                end,
                Fault::Redirect {
                    path,
                    to: None,
                    permanent,
                },
            );
        }
        9 | 10 => {
            let how = Misdeed::ALL[rng.index(Misdeed::ALL.len())];
            plan(at, Fault::Misbehave { path, how });
        }
        11 => {
            let states = [
                Access::NonOptimized,
                Access::Standby,
                Access::Unavailable,
                Access::Transitioning,
            ];
            let access = states[rng.index(states.len())];
            plan(at, Fault::Access { path, access });
            let access = Access::Optimized;
            plan(end, Fault::Access { path, access });
        }
        12 => {
            plan(at, Fault::Impostor { path, on: true });
            plan(at, reset.clone());
            plan(end, Fault::Impostor { path, on: false });
            plan(end, reset);
        }
        13 if rng.chance(1, 2) => {
            let blocks = if rng.chance(1, 2) {
                knobs.blocks * 2
            } else {
                knobs.blocks / 2
            };
            let blocks = Some(blocks);
            plan(at, Fault::Capacity { path, blocks });
            plan(end, Fault::Capacity { path, blocks: None });
        }
        13 => {
            plan(at, Fault::Vanish { path, on: true });
            plan(end, Fault::Vanish { path, on: false });
        }
        _ => {
            let exclusive = rng.chance(1, 2);
            let on = true;
            plan(at, Fault::Reserve { exclusive, on });
            let on = false;
            plan(end, Fault::Reserve { exclusive, on });
        }
    }
}

fn notice(rng: &mut Rng) -> Notice {
    let seconds = |rng: &mut Rng| Duration::from_secs(rng.below(4));
    match rng.below(4) {
        0 => Notice::Logout {
            within: seconds(rng),
        },
        1 => Notice::DropConnection { wait: seconds(rng) },
        2 => Notice::DropSession { wait: seconds(rng) },
        _ => {
            let (asc, ascq) = ATTENTIONS[rng.index(ATTENTIONS.len())];
            Notice::Scsi { asc, ascq }
        }
    }
}

fn episode(
    rng: &mut Rng,
    kinds: u64,
    path: usize,
    (at, end): (Duration, Duration),
    planned: &mut Vec<Planned>,
) {
    let mut plan = |at, fault| planned.push(Planned { at, fault });
    match rng.below(kinds) {
        0 => {
            let end = if rng.chance(1, 2) {
                End::Fin
            } else {
                End::Reset
            };
            plan(at, Fault::Cut { path, end });
        }
        1 => plan(at, Fault::HalfOpen { path }),
        2 => {
            plan(at, Fault::Refuse { path, on: true });
            plan(
                at,
                Fault::Cut {
                    path,
                    end: End::Reset,
                },
            );
            plan(end, Fault::Refuse { path, on: false });
        }
        3 | 4 => {
            let direction = match rng.below(4) {
                0 => Direction::ToTarget,
                1 => Direction::ToInitiator,
                _ => Direction::Both,
            };
            plan(at, Fault::Hole { path, direction });
            let held = if rng.chance(2, 3) {
                Held::Release
            } else {
                Held::Drop
            };
            plan(end, Fault::Heal { path, held });
        }
        5 => {
            let by = rng.duration_below(Duration::from_millis(900));
            plan(at, Fault::Slow { path, by });
            plan(
                end,
                Fault::Slow {
                    path,
                    by: Duration::ZERO,
                },
            );
        }
        6 => {
            plan(at, Fault::Freeze { path, on: true });
            plan(end, Fault::Freeze { path, on: false });
        }
        7 => {
            plan(at, Fault::Crash { away: end - at });
            plan(end, Fault::Boot);
        }
        8 => {
            let status = if rng.chance(1, 2) {
                BUSY
            } else {
                TASK_SET_FULL
            };
            let times = u32::try_from(rng.between(1, 20)).unwrap_or(1);
            plan(at, Fault::Status { status, times });
        }
        9 => plan(at, Fault::Kill),
        _ => {
            let (asc, ascq) = ATTENTIONS[rng.index(ATTENTIONS.len())];
            plan(at, Fault::Attention { asc, ascq });
        }
    }
}
