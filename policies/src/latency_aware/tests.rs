//! The selector against paths that are healthy, slow, silent and narrow.

use super::*;
use crate::Failback;
use crate::view::tests::{path, start};

/// A closed loop of `depth` reads over paths with the given latency each.
struct Loop {
    now: Instant,
    policy: LatencyAware,
    views: Vec<PathView>,
    /// Answer's time, path, sent.
    flying: Vec<(Instant, usize, Instant)>,
    served: Vec<u32>,
}

const READ: IoView = IoView {
    direction: Direction::Read,
    bytes: 4096,
    lba: 0,
};

impl Loop {
    fn new(paths: u16) -> Self {
        let now = start();
        let views: Vec<PathView> = (0..paths).map(path).collect();
        let mut policy = LatencyAware::new(Failback::Immediate);
        policy.on_roster(now, &views);
        Self {
            now,
            policy,
            served: vec![0; views.len()],
            views,
            flying: Vec::new(),
        }
    }

    fn view(&mut self) {
        for (index, view) in self.views.iter_mut().enumerate() {
            let mine = self.flying.iter().filter(|(_, path, _)| *path == index);
            view.oldest = mine.clone().map(|(_, _, sent)| *sent).min();
            view.in_flight = u32::try_from(mine.count()).unwrap();
            view.slots_free = 32 - view.in_flight;
        }
    }

    fn run(
        &mut self,
        time: Duration,
        depth: usize,
        latency: impl Fn(usize, usize) -> Option<Duration>,
    ) {
        let until = self.now + time;
        self.served.fill(0);
        while self.now < until {
            while self.flying.len() < depth {
                self.view();
                let candidates = Candidates::new(&self.views).unwrap();
                let pick = self.policy.choose(self.now, &READ, candidates);
                let index = usize::from(pick.path());
                self.policy.on_dispatch(self.now, pick.path(), &READ);
                let queued = self.views[index].in_flight as usize;
                let took = latency(index, queued).unwrap_or(Duration::from_secs(3600));
                self.flying.push((self.now + took, index, self.now));
            }
            let next = (0..self.flying.len())
                .min_by_key(|&at| self.flying[at].0)
                .unwrap();
            if self.flying[next].0 > until {
                self.now = until;
                return;
            }
            let (at, index, sent) = self.flying.remove(next);
            self.now = at;
            self.served[index] += 1;
            self.policy
                .on_complete(at, u16::try_from(index).unwrap(), &READ, sent);
        }
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn equal_paths_get_equal_shares() {
    let mut world = Loop::new(2);
    world.run(Duration::from_secs(5), 8, |_, _| Some(ms(1)));
    let [a, b] = world.served[..] else { panic!() };
    assert!(a.abs_diff(b) * 10 < a + b, "{a} and {b}");
}

#[test]
fn a_path_that_becomes_slow_loses_its_share_at_once_and_has_it_back_soon() {
    let mut world = Loop::new(2);
    world.run(Duration::from_secs(5), 8, |_, _| Some(ms(1)));
    world.run(ms(500), 8, |path, _| Some(ms([20, 1][path])));
    world.run(Duration::from_secs(10), 8, |path, _| {
        Some(ms([20, 1][path]))
    });
    let slow = world.served[0];
    assert!(slow * 100 < world.served[1], "{:?}", world.served);
    assert!(slow >= 2, "it is tried now and then: {slow}");
    world.run(Duration::from_secs(4), 8, |_, _| Some(ms(1)));
    world.run(Duration::from_secs(5), 8, |_, _| Some(ms(1)));
    let [a, b] = world.served[..] else { panic!() };
    assert!(a.abs_diff(b) * 5 < a + b, "{a} and {b}");
}

#[test]
fn a_silent_path_traps_few_commands() {
    let mut world = Loop::new(2);
    world.run(Duration::from_secs(5), 16, |_, _| Some(ms(1)));
    world.run(ms(300), 16, |path, _| (path == 1).then_some(ms(1)));
    let trapped = world
        .flying
        .iter()
        .filter(|(_, path, _)| *path == 0)
        .count();
    assert!(trapped < 16, "all of them");
    assert!(
        world.served[1] > 500,
        "the rest goes on: {:?}",
        world.served
    );
}

#[test]
fn a_narrow_path_gets_what_it_can_carry() {
    let mut world = Loop::new(2);
    // Each command takes its turn: 1 ms on path 0, 10 ms on path 1.
    let narrow = |path: usize, queued: usize| {
        let turns = u64::try_from(queued + 1).unwrap();
        Some(ms([1, 10][path] * turns))
    };
    world.run(Duration::from_secs(5), 8, narrow);
    world.run(Duration::from_secs(10), 8, narrow);
    let [wide, narrow] = world.served[..] else {
        panic!()
    };
    assert!(narrow > 0 && wide > narrow * 5, "{wide} and {narrow}");
}

#[test]
fn the_estimate_jumps_up_at_once_and_comes_down_with_time() {
    let t0 = start();
    let peak = Peak {
        value: 0.001,
        at: t0,
    };
    let up = peak.after(t0 + ms(1), 0.1);
    assert!((up.value - 0.1).abs() < 1e-12);
    let down = up.after(t0 + ms(1001), 0.001);
    assert!((0.03..0.05).contains(&down.value), "{}", down.value);
}
