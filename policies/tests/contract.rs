//! What every selector must keep, whatever its rule: the contract of `policies::Policy`.

use std::time::{Duration, Instant};

use policies::{
    Access, Balance, Candidates, Direction, Failback, IoView, PathView, Policy, PolicyKind,
    PolicySpec, Tiers, build,
};

const STEPS: u32 = 2000;

/// A small deterministic generator (SplitMix64), so that the crate needs no dependency.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) % bound
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.next().to_le_bytes();
        byte
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.below(one_in) == 0
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "Instant has no other constructor; the value is never compared with the clock"
)]
fn start() -> Instant {
    Instant::now()
}

/// Every combination of parts.
fn specs() -> Vec<PolicySpec> {
    let mut specs = Vec::new();
    for selector in PolicyKind::ALL {
        for balance in Balance::ALL {
            let rules = [
                Failback::Immediate,
                Failback::After(Duration::from_millis(50)),
                Failback::DEFAULT,
                Failback::Manual,
            ];
            for tiers in Tiers::ALL {
                specs.extend(rules.map(|failback| PolicySpec {
                    selector,
                    balance,
                    tiers,
                    failback,
                    ..PolicySpec::preset(selector)
                }));
            }
        }
    }
    specs
}

fn view(path: u16, draw: &mut Draw) -> PathView {
    PathView {
        path,
        access: if draw.chance(3) {
            Access::ActiveNonOptimized
        } else {
            Access::ActiveOptimized
        },
        preferred: draw.chance(2),
        tier: draw.byte() % 3,
        weight: draw.byte(),
        in_flight: draw.below(64),
        in_flight_bytes: u64::from(draw.below(1 << 24)),
        oldest: None,
        slots_free: draw.below(4),
    }
}

fn roster(draw: &mut Draw) -> Vec<PathView> {
    let mut views = Vec::new();
    for path in [0, 1, 2, 3, 7, 31, u16::MAX] {
        if !draw.chance(3) {
            views.push(view(path, draw));
        }
    }
    views
}

fn io(draw: &mut Draw) -> IoView {
    let sizes = [0, 512, 4096, 65536, 1 << 20, u32::MAX];
    IoView {
        direction: if draw.chance(2) {
            Direction::Read
        } else {
            Direction::Write
        },
        bytes: sizes[usize::from(draw.byte()) % sizes.len()],
        lba: draw.next(),
    }
}

/// Drives a policy with arbitrary calls and returns its picks.
fn run(policy: &mut dyn Policy, origin: Instant, seed: u64) -> Vec<u16> {
    let mut draw = Draw(seed);
    let mut now = origin;
    let mut picks = Vec::new();
    let mut usable = roster(&mut draw);
    for _ in 0..STEPS {
        now += Duration::from_micros(u64::from(draw.below(20_000)));
        if draw.chance(20) {
            usable = roster(&mut draw);
            // Even a volume that forgets to tell must not break a policy.
            if !draw.chance(10) {
                let mut up = usable.clone();
                let resting = PathView {
                    access: Access::Resting,
                    ..view(100, &mut draw)
                };
                if draw.chance(2) {
                    up.push(resting);
                    up.sort_by_key(|view| view.path);
                }
                policy.on_roster(now, &up);
            }
        }
        if draw.chance(200) {
            policy.fail_back();
        }
        if draw.chance(200) {
            policy.forget(u16::from(draw.byte() % 8));
        }
        for view in &mut usable {
            view.slots_free = draw.below(3);
        }
        let io = io(&mut draw);
        if let Some(candidates) = Candidates::new(&usable) {
            let path = policy.choose(now, &io, candidates).path();
            assert!(
                usable.iter().any(|view| view.path == path),
                "{path} is not usable"
            );
            policy.on_dispatch(now, path, &io);
            policy.on_complete(now, path, &io, now);
            picks.push(path);
        }
    }
    picks
}

#[test]
fn no_sequence_of_calls_makes_a_policy_panic_or_pick_an_unusable_path() {
    let origin = start();
    for spec in specs() {
        for seed in 0..3 {
            let picks = run(&mut *build(spec, seed), origin, seed);
            assert!(
                picks.len() > 1500,
                "{spec}: too little was asked to prove anything"
            );
        }
    }
}

#[test]
fn a_path_that_has_the_number_of_a_forgotten_one_has_never_failed() {
    let now = start();
    let mut draw = Draw(4);
    let both = [(0, 1), (1, 9)].map(|(path, weight)| PathView {
        access: Access::ActiveOptimized,
        preferred: false,
        weight,
        slots_free: 1,
        ..view(path, &mut draw)
    });
    let spec = PolicySpec {
        failback: Failback::Manual,
        ..PolicySpec::preset(PolicyKind::Failover)
    };
    for forgotten in [false, true] {
        let mut policy = build(spec, 1);
        let mut pick = |policy: &mut Box<dyn Policy>, paths: &[PathView]| {
            let candidates = Candidates::new(paths).unwrap();
            policy.choose(now, &io(&mut draw), candidates).path()
        };
        policy.on_roster(now, &both);
        policy.on_roster(now, &both[..1]);
        if forgotten {
            policy.forget(1);
        }
        assert_eq!(pick(&mut policy, &both[..1]), 0);
        policy.on_roster(now, &both);
        assert_eq!(pick(&mut policy, &both), u16::from(forgotten));
    }
}

#[test]
fn equal_calls_and_seeds_give_equal_picks() {
    let origin = start();
    for spec in specs() {
        let first = run(&mut *build(spec, 11), origin, 5);
        let second = run(&mut *build(spec, 11), origin, 5);
        assert_eq!(first, second, "{spec}");
    }
}

#[test]
fn a_pick_of_a_full_path_changes_nothing() {
    let now = start();
    for spec in specs() {
        let mut draw = Draw(3);
        let views = [0, 1, 2].map(|path| PathView {
            slots_free: 1,
            ..view(path, &mut draw)
        });
        let full = views.map(|view| PathView {
            slots_free: 0,
            ..view
        });
        let mut asked_often = build(spec, 1);
        let mut asked_once = build(spec, 1);
        asked_often.on_roster(now, &views);
        asked_once.on_roster(now, &views);
        for _ in 0..50 {
            let io = io(&mut draw);
            for _ in 0..draw.below(5) {
                let _waits = asked_often.choose(now, &io, Candidates::new(&full).unwrap());
            }
            let candidates = Candidates::new(&views).unwrap();
            let expected = asked_once.choose(now, &io, candidates);
            assert_eq!(asked_often.choose(now, &io, candidates), expected, "{spec}");
        }
    }
}

#[test]
fn no_worse_tier_is_used_while_a_better_one_never_failed() {
    let now = start();
    for spec in specs() {
        if spec.tiers == Tiers::Single {
            continue;
        }
        let mut draw = Draw(9);
        let mut policy = build(spec, 1);
        let mut views = [0, 1, 2, 3].map(|path| PathView {
            tier: u8::from(path < 2),
            ..view(path, &mut draw)
        });
        views[0].access = Access::ActiveNonOptimized;
        views[1].access = Access::ActiveNonOptimized;
        views[2].access = Access::ActiveOptimized;
        views[3].access = Access::ActiveOptimized;
        policy.on_roster(now, &views);
        for _ in 0..200 {
            for view in &mut views {
                view.slots_free = draw.below(2);
            }
            let pick = policy.choose(now, &io(&mut draw), Candidates::new(&views).unwrap());
            assert!(pick.path() >= 2, "{spec} took the worse tier");
        }
    }
}

#[test]
fn the_last_usable_path_is_always_taken_whatever_its_history() {
    let now = start();
    for spec in specs() {
        let mut draw = Draw(4);
        let mut policy = build(spec, 1);
        let both = [view(0, &mut draw), view(1, &mut draw)];
        for _ in 0..5 {
            for alone in 0..2 {
                policy.on_roster(now, &both);
                let rest = &both[alone..=alone];
                policy.on_roster(now, rest);
                let pick = policy.choose(now, &io(&mut draw), Candidates::new(rest).unwrap());
                assert_eq!(usize::from(pick.path()), alone, "{spec}");
            }
        }
    }
}

/// Round-robin: each path's share of equal I/Os, in any prefix, is its weight's within one I/O per
/// competitor.
#[test]
fn turns_are_fair_at_every_moment() {
    let now = start();
    let spreading = specs()
        .into_iter()
        .filter(|spec| spec.selector == PolicyKind::RoundRobin);
    for spec in spreading {
        let mut draw = Draw(1);
        let weights = [1_u8, 2, 5, 255];
        let mut number = 0;
        let views = weights.map(|weight| {
            number += 1;
            PathView {
                path: number,
                access: Access::ActiveOptimized,
                tier: 0,
                weight,
                slots_free: 8,
                ..view(number, &mut draw)
            }
        });
        let mut policy = build(spec, 1);
        policy.on_roster(now, &views);
        let read = IoView {
            direction: Direction::Read,
            bytes: 8192,
            lba: 0,
        };
        let total: u64 = weights.map(u64::from).iter().sum();
        let mut served = [0_u64; 4];
        for turn in 1..=10 * total {
            let pick = policy.choose(now, &read, Candidates::new(&views).unwrap());
            served[usize::from(pick.path()) - 1] += 1;
            for (count, weight) in served.iter().zip(weights) {
                let off = (count * total).abs_diff(turn * u64::from(weight));
                assert!(off < 4 * total, "{spec}: {served:?} after {turn}");
            }
        }
        assert_eq!(
            served,
            weights.map(|weight| 10 * u64::from(weight)),
            "{spec}"
        );
    }
}
