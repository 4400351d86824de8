//! Commands that hang while others do not, and writes that were aborted.

use super::*;
use crate::path::message::{Abort, Fate};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One path in use, of which `seconds` of reads took `took` each, one at a time, with `hung` of them left
/// out.
struct Flowing {
    bench: Bench,
    /// What it asks for all the time, and what hangs.
    asks: [Request; 2],
}

fn read() -> Request {
    Request::Read {
        range: geometry().range(64 * 512, 8 * 512).unwrap(),
    }
}

impl Flowing {
    /// With two seconds of answered reads behind it: what is usual is known.
    fn under_way() -> Self {
        let mut flowing = Self::asking([read(), read()]);
        flowing.flow(ms(2_000), ms(5), &[]);
        flowing
    }

    fn asking(asks: [Request; 2]) -> Self {
        let mut bench = Bench::new(1, |_| {});
        bench.up(0);
        Self { bench, asks }
    }

    /// Asks one after the other; those in `left` are not answered.
    fn flow(&mut self, time: Duration, took: Duration, left: &[TaskId]) {
        let until = self.bench.now + time;
        while self.bench.now < until {
            self.bench.ask(self.asks[0].clone());
            self.bench.pass(took);
            for task in self.bench.tasks_on(0) {
                if !left.contains(&task) {
                    self.bench.good(task);
                }
            }
        }
    }

    /// What is not answered.
    fn hang(&mut self) -> TaskId {
        let before = self.bench.tasks_on(0);
        self.bench.ask(self.asks[1].clone());
        let new = |task: &TaskId| !before.contains(task);
        self.bench.tasks_on(0).into_iter().find(new).unwrap()
    }

    /// The commands that are to be aborted, by now.
    fn aborts(&mut self) -> Vec<TaskId> {
        let mut aborts = Vec::new();
        while let Some((_, order)) = self.bench.volume.poll_order() {
            if let Order::Abort {
                task,
                why: Abort::Overtaken { .. },
            } = order
            {
                aborts.push(task);
            }
        }
        aborts
    }
}

#[test]
fn a_command_that_hangs_while_later_ones_are_answered_is_aborted_within_seconds_and_once() {
    let mut flowing = Flowing::under_way();
    let hung = flowing.hang();
    flowing.flow(ms(1_900), ms(5), &[hung]);
    assert!(flowing.aborts().is_empty(), "the floor");
    flowing.flow(ms(1_000), ms(5), &[hung]);
    assert_eq!(flowing.aborts(), [hung]);
    flowing.flow(ms(5_000), ms(5), &[hung]);
    assert!(flowing.aborts().is_empty(), "the path has its order");
}

#[test]
fn a_flush_that_hangs_is_found_by_later_flushes_and_by_nothing_else() {
    let mut flowing = Flowing::asking([Request::Flush, Request::Flush]);
    flowing.flow(ms(4_000), ms(200), &[]);
    let hung = flowing.hang();
    flowing.flow(ms(3_900), ms(200), &[hung]);
    assert!(flowing.aborts().is_empty(), "twenty times 200 ms");
    flowing.flow(ms(1_500), ms(200), &[hung]);
    assert_eq!(flowing.aborts(), [hung]);

    // One that took long does not make that usual.
    let mut flowing = Flowing::asking([Request::Flush, Request::Flush]);
    flowing.flow(ms(2_000), ms(100), &[]);
    flowing.flow(ms(1_500), ms(1_500), &[]);
    let hung = flowing.hang();
    flowing.flow(ms(2_500), ms(100), &[hung]);
    assert_eq!(flowing.aborts(), [hung]);

    let mut flowing = Flowing::asking([read(), Request::Flush]);
    flowing.flow(ms(4_000), ms(5), &[]);
    let hung = flowing.hang();
    flowing.flow(ms(9_000), ms(5), &[hung]);
    assert!(
        flowing.aborts().is_empty(),
        "a cache takes its time, and reads do not wait for it"
    );
    let trim = Request::Trim {
        range: geometry().range(0, 8 * 512).unwrap(),
        fua: false,
    };
    let mut flowing = Flowing::asking([trim.clone(), trim]);
    flowing.flow(ms(4_000), ms(5), &[]);
    let hung = flowing.hang();
    flowing.flow(ms(9_000), ms(5), &[hung]);
    assert!(flowing.aborts().is_empty());
}

#[test]
fn it_is_found_as_well_if_all_else_comes_to_wait_for_it() {
    // 200 ms are usual, so that it has four seconds.
    let stopped = || {
        let mut flowing = Flowing::under_way();
        flowing.flow(ms(2_200), ms(200), &[]);
        let hung = flowing.hang();
        flowing.flow(ms(2_100), ms(5), &[hung]);
        (flowing, hung)
    };
    let (mut flowing, hung) = stopped();
    flowing.bench.pass(ms(1_800));
    assert!(flowing.aborts().is_empty());
    flowing.bench.pass(ms(1_000));
    assert_eq!(flowing.aborts(), [hung]);

    let (mut flowing, _) = stopped();
    flowing.bench.pass(ms(1_500));
    let second = flowing.hang();
    flowing.bench.pass(ms(1_500));
    assert!(flowing.aborts().is_empty(), "a later one is not answered");
    flowing.bench.good(second);
}

#[test]
fn what_a_barrier_held_up_does_not_make_that_usual() {
    let mut flowing = Flowing::under_way();
    let before: Vec<TaskId> = (0..8).map(|_| flowing.hang()).collect();
    flowing.bench.pass(ms(1_000));
    let asked = flowing.bench.now;
    drained(&mut flowing.bench, asked);
    for task in before {
        flowing.bench.good(task);
    }
    let hung = flowing.hang();
    flowing.flow(ms(2_600), ms(20), &[hung]);
    assert_eq!(flowing.aborts(), [hung]);
}

#[test]
fn its_next_attempt_has_all_the_time_that_there_is() {
    let mut flowing = Flowing::under_way();
    let hung = flowing.hang();
    flowing.flow(ms(3_000), ms(5), &[hung]);
    assert_eq!(flowing.aborts(), [hung]);
    flowing.bench.fail(hung, Fate::Aborted);
    flowing.bench.pass(ms(20));
    let again = flowing.bench.tasks_on(0);
    assert_eq!(again.len(), 1, "issued again");
    flowing.flow(ms(10_000), ms(5), &again);
    assert!(flowing.aborts().is_empty());
}

#[test]
fn where_nothing_is_answered_nothing_hangs() {
    let mut flowing = Flowing::under_way();
    for _ in 0..8 {
        flowing.hang();
    }
    flowing.bench.pass(ms(29_000));
    assert!(flowing.aborts().is_empty());
}

#[test]
fn where_later_ones_are_slow_too_nothing_hangs() {
    let mut flowing = Flowing::under_way();
    let hung = flowing.hang();
    // From now on each takes 200 ms: twenty times that are four seconds.
    flowing.flow(ms(3_900), ms(200), &[hung]);
    assert!(flowing.aborts().is_empty());
    // And those that were sent before it say nothing.
    let mut flowing = Flowing::under_way();
    let early: Vec<TaskId> = (0..5).map(|_| flowing.hang()).collect();
    let hung = flowing.hang();
    for task in early {
        flowing.bench.pass(ms(500));
        flowing.bench.good(task);
    }
    flowing.bench.pass(ms(3_000));
    assert!(flowing.aborts().is_empty());
    flowing.bench.good(hung);
}

#[test]
fn many_that_hang_together_are_left_to_their_deadline() {
    let mut flowing = Flowing::under_way();
    let hung: Vec<TaskId> = (0..5).map(|_| flowing.hang()).collect();
    flowing.flow(ms(9_000), ms(5), &hung);
    assert!(flowing.aborts().is_empty());
}

#[test]
fn aborts_have_a_budget() {
    let mut flowing = Flowing::under_way();
    let (mut aborted, mut left) = (0, Vec::new());
    for _ in 0..8 {
        let hung = flowing.hang();
        left.push(hung);
        flowing.flow(ms(2_600), ms(5), &left);
        aborted += flowing.aborts().len();
        flowing.bench.good(hung);
        left.clear();
    }
    // 21 seconds: four at once, and one every ten.
    assert!((5..=6).contains(&aborted), "{aborted}");
}

/// A write that the target says it has aborted, sent again and answered elsewhere; what comes of a later one.
fn aborted(shared: bool) -> (Bench, IoId) {
    let mut bench = Bench::new(2, |config| config.shared = shared);
    bench.up(0);
    bench.up(1);
    let io = bench.write(0, 8);
    let task = bench.tasks_on(0)[0];
    bench.fail(task, Fate::Aborted);
    assert_eq!(bench.volume.status(bench.now).ghosts, 1);
    bench.all_good(1);
    (bench, io)
}

fn drained(bench: &mut Bench, asked: Instant) {
    let incarnation = bench.incarnation(0);
    let message = Message::Drained { incarnation, asked };
    bench.volume.handle_message(bench.now, PathId(0), message);
    bench.turn();
}

#[test]
fn what_the_target_calls_aborted_haunts_until_a_barrier_of_its_session_that_is_asked_for_when_somebody_waits()
 {
    let (mut bench, io) = aborted(false);
    assert_eq!(bench.replies(), [(io, None)]);
    assert_eq!(bench.volume.poll_order(), None, "nobody waits");
    let later = bench.write(4, 8);
    assert!(bench.in_flight.is_empty());
    assert_eq!(bench.volume.poll_order(), Some((PathId(0), Order::Drain)));
    bench.write(6, 1);
    assert_eq!(bench.volume.poll_order(), None, "once");
    let asked = bench.now;
    drained(&mut bench, asked);
    assert_eq!(bench.volume.status(bench.now).ghosts, 0);
    let task = bench.tasks_on(0).first().copied();
    bench.good(task.or_else(|| bench.tasks_on(1).first().copied()).unwrap());
    assert_eq!(bench.replies(), [(later, None)]);
}

#[test]
fn a_barrier_that_was_sent_before_an_abort_says_nothing_of_it() {
    let (mut bench, _) = aborted(false);
    let asked = bench.now;
    bench.write(4, 8);
    assert_eq!(bench.volume.poll_order(), Some((PathId(0), Order::Drain)));
    bench.pass(ms(1));
    bench.write(100, 8);
    let task = bench.tasks_on(0)[0];
    bench.fail(task, Fate::Aborted);
    drained(&mut bench, asked);
    assert_eq!(bench.volume.status(bench.now).ghosts, 2);
    assert_eq!(
        bench.volume.poll_order(),
        Some((PathId(0), Order::Drain)),
        "asked for again"
    );
}

#[test]
fn where_nobody_waits_the_barrier_waits_too_but_not_for_ever() {
    let (mut bench, _) = aborted(false);
    bench.pass(ms(9_999));
    assert_eq!(bench.volume.poll_order(), None);
    bench.pass(ms(2));
    assert_eq!(bench.volume.poll_order(), Some((PathId(0), Order::Drain)));
}

#[test]
fn a_shared_volume_acknowledges_an_aborted_write_after_the_barrier() {
    let (mut bench, io) = aborted(true);
    assert!(bench.replies().is_empty());
    assert_eq!(bench.volume.poll_order(), Some((PathId(0), Order::Drain)));
    let asked = bench.now;
    drained(&mut bench, asked);
    assert_eq!(bench.replies(), [(io, None)]);
}
