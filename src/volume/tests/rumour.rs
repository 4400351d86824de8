//! A loss of power that may be no news, and one that was perhaps not told.

use super::*;
use crate::path::message::Message;

impl Bench {
    fn power_doubted(&mut self, path: u16, heard: Option<Instant>) {
        let message = Message::PowerDoubted { heard };
        self.volume.handle_message(self.now, PathId(path), message);
        self.turn();
    }

    fn opcodes_on(&self, path: u16) -> Vec<u8> {
        let tasks = self.tasks_on(path).into_iter();
        tasks
            .map(|task| self.in_flight[&task].task.cdb.opcode())
            .collect()
    }

    fn ask_flush(&mut self) -> IoId {
        self.ask(Request::Flush)
    }
}

/// What is held back for the word of a witness, which then takes its time.
#[test]
fn a_flush_that_waits_for_a_witness_fails_with_all_the_rest_while_no_port_is_active() {
    use crate::scsi::alua::AccessState::{Optimized, Standby};
    let mut bench = Bench::array(&[Optimized, Optimized], |config| {
        config.no_path = NoPath::Queue(Duration::from_secs(5));
    });
    bench.written(false);
    let io = bench.ask_flush();
    bench.pass(Duration::from_millis(1));
    bench.lose(1, Disposition::Unsent);
    bench.power_doubted(1, None);
    let [flush, witness] = bench.tasks_on(0)[..] else {
        panic!("{:?}", bench.opcodes_on(0));
    };
    bench.good(flush);
    assert_eq!(bench.replies(), []);
    bench.access(0, Standby);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.replies(), [(io, FAILED)]);
    bench.good(witness);
    bench.access(0, Optimized);
    assert_eq!(bench.flush(), None);
}

const TEST_UNIT_READY: u8 = 0x00;
const SYNCHRONIZE_CACHE: [u8; 2] = [0x35, 0x91];
const FAILED: Option<IoErrno> = Some(IoErrno::Io);

#[test]
fn what_a_new_path_is_told_is_no_news_if_one_in_use_knows_nothing_of_it() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.written(false);
    bench.power_lost(1, None);
    assert_eq!(bench.opcodes_on(0), [TEST_UNIT_READY], "it is asked");
    bench.all_good(0);
    assert_eq!(bench.flush(), None);
}

#[test]
fn what_a_new_path_is_told_is_news_if_the_one_in_use_turns_out_to_be_dead() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.written(false);
    bench.power_lost(1, None);
    bench.lose(0, Disposition::Indeterminate);
    bench.up(1);
    let io = bench.ask_flush();
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, FAILED)]);
}

#[test]
fn a_path_in_use_that_is_told_as_well_confirms_it_and_one_flush_fails() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.written(false);
    bench.power_lost(1, None);
    let asked = bench.tasks_on(0)[0];
    bench.answer(asked, check(6, 0x29, 0x01));
    assert_eq!(bench.flush(), FAILED);
    assert_eq!(bench.flush(), None);
}

#[test]
fn an_answer_to_what_was_sent_before_refutes_nothing() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.written(false);
    let old = bench.write(0, 8);
    bench.now += Duration::from_millis(1);
    bench.power_lost(1, None);
    let write = bench.tasks_on(0)[0];
    bench.good(write);
    assert_eq!(bench.replies(), [(old, None)]);
    bench.lose(0, Disposition::Indeterminate);
    bench.up(1);
    let io = bench.ask_flush();
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, FAILED)]);
}

#[test]
fn a_flush_waits_for_the_word_of_a_path_in_use() {
    for dead in [false, true] {
        let mut bench = Bench::new(2, |_| {});
        bench.up(0);
        bench.written(false);
        bench.power_lost(1, None);
        bench.up(1);
        // What the witness is asked has no answer yet; the flush goes over the other path.
        bench.stand(0, Standing::Suspect);
        let io = bench.ask_flush();
        let flush = bench.tasks_on(1)[0];
        assert!(SYNCHRONIZE_CACHE.contains(&bench.opcodes_on(1)[0]));
        bench.good(flush);
        assert_eq!(bench.replies(), [], "nobody knows yet");
        if dead {
            bench.lose(0, Disposition::Indeterminate);
        } else {
            bench.all_good(0);
        }
        let told = dead.then_some(IoErrno::Io);
        assert_eq!(bench.replies(), [(io, told)]);
        assert!(bench.volume.is_idle());
    }
}

#[test]
fn a_witness_that_is_busy_is_asked_again() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.written(false);
    bench.power_lost(1, None);
    for _ in 0..3 {
        let asked = bench.tasks_on(0)[0];
        bench.answer(asked, completion(0x08, Bytes::new(), Payload::new()));
        assert_eq!(bench.tasks_on(0), [], "not at once");
        let due = bench.volume.poll_timeout().unwrap().at;
        assert!(due > bench.now && due <= bench.now + Duration::from_millis(100));
        bench.now = due;
        bench.volume.handle_timeout(due);
        bench.turn();
    }
    bench.all_good(0);
    assert_eq!(bench.flush(), None);
}

#[test]
fn an_answer_that_is_lost_with_the_only_session_may_have_told_of_a_power_loss() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.written(false);
    let heard = Some(bench.now);
    bench.lose(0, Disposition::Indeterminate);
    bench.power_doubted(0, heard);
    assert_eq!(bench.volume.status(bench.now).counters.doubts, 1);
    bench.up(0);
    assert_eq!(bench.flush(), FAILED);
    assert_eq!(bench.flush(), None);
}

#[test]
fn what_was_flushed_before_leaves_no_doubt() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.written(false);
    assert_eq!(bench.flush(), None);
    bench.lose(0, Disposition::Indeterminate);
    bench.power_doubted(0, None);
    bench.up(0);
    assert_eq!(bench.flush(), None);
}

#[test]
fn an_answer_lost_with_one_session_leaves_no_doubt_where_another_is_well() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    bench.written(false);
    let heard = Some(bench.now);
    bench.lose(1, Disposition::Indeterminate);
    bench.power_doubted(1, heard);
    bench.all_good(0);
    assert_eq!(bench.flush(), None);
}

#[test]
fn two_new_paths_that_are_told_of_a_power_loss_refute_nothing() {
    let mut bench = Bench::new(2, |config| config.unclean = true);
    bench.power_lost(0, None);
    bench.up(0);
    bench.power_lost(1, None);
    bench.up(1);
    assert!(bench.opcodes_on(0).is_empty());
    assert!(bench.opcodes_on(1).is_empty());
    assert_eq!(bench.flush(), FAILED);
}

#[test]
fn a_path_that_comes_into_use_before_the_flush_is_asked_as_well() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.written(false);
    bench.lose(0, Disposition::Indeterminate);
    bench.power_doubted(0, Some(bench.now));
    bench.up(1);
    assert_eq!(bench.opcodes_on(1), [TEST_UNIT_READY]);
    let io = bench.ask_flush();
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, None)]);
}
