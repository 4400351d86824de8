//! Volatile caches, power losses and flushes.

use super::*;
use crate::path::message::Message;

impl Bench {
    pub(super) fn power_lost(&mut self, path: u16, heard: Option<Instant>) {
        let message = Message::PowerLost { heard };
        self.volume.handle_message(self.now, PathId(path), message);
        self.turn();
    }

    pub(super) fn flush(&mut self) -> Option<IoErrno> {
        let io = self.ask(Request::Flush);
        self.all_good(0);
        let replies = self.replies();
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].0, io);
        replies[0].1
    }

    pub(super) fn written(&mut self, fua: bool) {
        let range = geometry().range(0, 512).unwrap();
        let data = command::zeroes(BLOCK);
        self.ask(Request::Write { range, data, fua });
        self.all_good(0);
        self.all_good(0);
        assert_eq!(self.replies().len(), 1);
    }
}

#[test]
fn a_power_loss_after_unflushed_writes_fails_the_next_flush_once() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.written(false);
    bench.power_lost(0, None);
    assert_eq!(bench.flush(), Some(IoErrno::Io));
    assert_eq!(bench.flush(), None);
}

#[test]
fn a_power_loss_that_can_have_lost_nothing_fails_no_flush() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.written(false);
    assert_eq!(bench.flush(), None);
    bench.written(true);
    bench.power_lost(0, None);
    assert_eq!(
        bench.flush(),
        None,
        "everything was flushed or written through"
    );
}

#[test]
fn a_loss_that_nobody_heard_of_is_told_again() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.written(false);
    bench.power_lost(0, None);
    assert_eq!(bench.flush(), Some(IoErrno::Io));
    bench.volume.loss_was_not_heard();
    assert_eq!(bench.flush(), Some(IoErrno::Io));
}

#[test]
fn after_an_unclean_exit_nobody_knows_what_was_flushed() {
    let mut bench = Bench::new(1, |config| config.unclean = true);
    bench.power_lost(0, None);
    bench.up(0);
    assert_eq!(bench.flush(), Some(IoErrno::Io));
}

#[test]
fn what_a_path_with_a_session_told_already_is_no_news_from_another() {
    let mut bench = Bench::new(2, |_| {});
    let before = bench.now;
    bench.now += Duration::from_secs(1);
    bench.power_lost(0, None);
    bench.up(0);
    bench.written(false);
    bench.power_lost(1, Some(before));
    assert_eq!(bench.flush(), None, "path 0 has told, and lives");
    bench.written(false);
    bench.power_lost(1, Some(bench.now + Duration::from_secs(1)));
    assert_eq!(
        bench.flush(),
        Some(IoErrno::Io),
        "in touch since: another one"
    );
}

#[test]
fn what_was_taken_for_old_news_hides_no_later_loss() {
    let mut bench = Bench::new(2, |_| {});
    let start = bench.now;
    let at = |seconds| start + Duration::from_secs(seconds);
    bench.up(0);
    bench.up(1);
    bench.now = at(10);
    bench.written(false);
    bench.power_lost(0, Some(at(5)));
    assert_eq!(bench.flush(), Some(IoErrno::Io));
    bench.written(false);
    // The unit loses its power again at second 15, and nobody has told path 0 that its session is dead.
    bench.now = at(20);
    bench.power_lost(1, Some(at(1)));
    bench.power_lost(0, Some(at(14)));
    assert_eq!(bench.flush(), Some(IoErrno::Io), "path 1 told of the first");
}

#[test]
fn a_write_that_waits_for_a_fence_while_the_power_fails_is_told_of_after_its_acknowledgement() {
    let mut bench = Bench::new(2, |config| config.shared = true);
    bench.up(0);
    bench.up(1);
    let io = bench.write(0, 8);
    bench.lose(0, Disposition::Indeterminate);
    bench.all_good(1);
    assert!(bench.replies().is_empty(), "carried out, not fenced");
    bench.power_lost(1, Some(bench.now));
    bench.fence(0, Incarnation(1));
    assert_eq!(bench.replies(), [(io, None)]);
    let asked = bench.ask(Request::Flush);
    bench.all_good(1);
    assert_eq!(bench.replies(), [(asked, Some(IoErrno::Io))]);
}

#[test]
fn a_unit_that_would_not_tell_for_a_while_whether_it_caches_is_not_taken_for_one_that_does() {
    let told = |write_cache| {
        let mut features = unit("S1").features;
        features.write_cache = write_cache;
        features
    };
    let (off, silent) = (told(Some(false)), told(None));
    assert!(!off.common(&silent).caches() && !silent.common(&off).caches());
    assert!(silent.common(&silent).caches(), "it may");
    assert!(off.common(&told(Some(true))).caches());
}

#[test]
fn flushes_under_way_fail_together() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.written(false);
    let one = bench.ask(Request::Flush);
    let other = bench.ask(Request::Flush);
    bench.power_lost(0, None);
    bench.all_good(0);
    bench.all_good(0);
    let failed = Some(IoErrno::Io);
    assert_eq!(bench.replies(), [(one, failed), (other, failed)]);
    assert_eq!(bench.flush(), None);
}

#[test]
fn a_write_of_which_a_part_was_carried_out_before_a_power_loss_is_made_again() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let io = bench.write(0, 600);
    let tasks = bench.tasks_on(0);
    assert_eq!(tasks.len(), 3);
    bench.good(tasks[0]);
    bench.power_lost(0, None);
    bench.good(tasks[1]);
    bench.good(tasks[2]);
    assert!(bench.replies().is_empty());
    assert_eq!(bench.tasks_on(0).len(), 3, "all of it");
    bench.all_good(0);
    assert_eq!(bench.replies(), [(io, None)]);
}
