//! Splitting, ordering, answers and retries on healthy paths.

use super::*;

#[test]
fn a_large_read_is_split_and_put_together_in_order() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.read(0, 600);
    let tasks = bench.tasks_on(0);
    assert_eq!(tasks.len(), 3, "256 + 256 + 88 blocks");
    for (&task, fill) in tasks.iter().zip([1u8, 2, 3]).rev() {
        let DataTransfer::In(len) = bench.in_flight[&task].task.data else {
            panic!("a read")
        };
        let data = Bytes::from(vec![fill; usize::try_from(len).unwrap()]);
        bench.answer(task, completion(0, Bytes::new(), data.into()));
    }
    let data = bench
        .volume
        .poll_reply()
        .unwrap()
        .result
        .unwrap()
        .to_bytes();
    assert_eq!(data.len(), 600 * BLOCK);
    assert_eq!([data[0], data[256 * BLOCK], data[512 * BLOCK]], [1, 2, 3]);
}

#[test]
fn a_split_write_is_answered_once_and_only_after_its_last_part() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let io = bench.write(0, 512);
    let tasks = bench.tasks_on(0);
    assert_eq!(tasks.len(), 2);
    bench.good(tasks[1]);
    assert!(bench.replies().is_empty());
    bench.good(tasks[0]);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn overlapping_writes_are_in_flight_one_after_the_other() {
    let mut bench = Bench::new(2, |config| {
        config.policy = policies::build(PolicySpec::preset(PolicyKind::RoundRobin), 1);
    });
    bench.up(0);
    bench.up(1);
    let first = bench.write(0, 8);
    let second = bench.write(7, 2);
    assert_eq!(bench.in_flight.len(), 1);
    let task = *bench.in_flight.keys().next().unwrap();
    bench.good(task);
    assert_eq!(bench.replies(), [(first, None)]);
    let task = *bench.in_flight.keys().next().unwrap();
    bench.good(task);
    assert_eq!(bench.replies(), [(second, None)]);
}

#[test]
fn fua_that_writes_cannot_carry_is_a_flush_after_them() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let range = geometry().range(0, 4096).unwrap();
    let io = bench.ask(Request::Write {
        range,
        data: command::zeroes(4096),
        fua: true,
    });
    let write = bench.tasks_on(0)[0];
    bench.good(write);
    assert!(bench.replies().is_empty(), "the flush is still to come");
    let flush = bench.tasks_on(0)[0];
    assert!(matches!(
        bench.in_flight[&flush].task.cdb.opcode(),
        0x35 | 0x91
    ));
    bench.good(flush);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn fua_that_writes_can_carry_is_a_bit_of_theirs() {
    let mut bench = Bench::new(1, |_| {});
    let mut able = unit("S1");
    able.features.fua = true;
    assert_eq!(bench.identify(0, able), Order::Admit);
    bench.stand(0, Standing::Ready);
    let range = geometry().range(0, 4096).unwrap();
    bench.ask(Request::Write {
        range,
        data: command::zeroes(4096),
        fua: true,
    });
    let task = bench.tasks_on(0)[0];
    assert_eq!(bench.in_flight[&task].task.cdb.wire()[1] & 0x08, 0x08);
    bench.good(task);
    assert_eq!(bench.replies().len(), 1);
}

#[test]
fn a_trim_is_rounded_inwards_and_one_of_nothing_is_done() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let range = geometry().range(3 * 512, 4 * 512).unwrap();
    let nothing = bench.ask(Request::Trim { range, fua: false });
    assert_eq!(
        bench.replies(),
        [(nothing, None)],
        "blocks 3 to 6 hold no whole grain of 8"
    );
    let range = geometry().range(3 * 512, 24 * 512).unwrap();
    bench.ask(Request::Trim { range, fua: false });
    let task = bench.tasks_on(0)[0];
    let DataTransfer::Out(list) = &bench.in_flight[&task].task.data else {
        panic!("a list")
    };
    let list = list.to_bytes();
    assert_eq!(
        list[8..20],
        [0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 16],
        "blocks 8 to 23"
    );
}

#[test]
fn a_unit_that_does_not_know_write_same_gets_zeroes_written() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let range = geometry().range(0, 300 * 512).unwrap();
    let io = bench.ask(Request::WriteZeroes {
        range,
        may_unmap: false,
        fua: false,
    });
    let task = bench.tasks_on(0)[0];
    assert_eq!(bench.in_flight[&task].task.cdb.opcode(), 0x93);
    bench.answer(task, check(5, 0x20, 0));
    let writes = bench.tasks_on(0);
    assert_eq!(writes.len(), 2, "256 + 44 blocks");
    bench.all_good(0);
    assert_eq!(bench.replies(), [(io, None)]);
    bench.ask(Request::WriteZeroes {
        range,
        may_unmap: false,
        fua: false,
    });
    let task = bench.tasks_on(0)[0];
    assert_eq!(
        bench.in_flight[&task].task.cdb.opcode(),
        0x2a,
        "it is not asked again"
    );
}

#[test]
fn a_unit_without_a_cache_to_flush_has_flushed() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let io = bench.ask(Request::Flush);
    let task = bench.tasks_on(0)[0];
    bench.answer(task, check(5, 0x20, 0));
    let next = bench.ask(Request::Flush);
    assert_eq!(bench.replies(), [(io, None), (next, None)]);
}

#[test]
fn a_medium_error_fails_without_another_path_and_names_the_block() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    bench.read(100, 8);
    let task = bench.tasks_on(0)[0];
    let mut sense = [0u8; 18];
    (sense[0], sense[2], sense[6], sense[7], sense[12]) = (0xf0, 3, 103, 10, 0x11);
    bench.answer(
        task,
        completion(2, Bytes::copy_from_slice(&sense), Payload::new()),
    );
    let error = bench.volume.poll_reply().unwrap().result.unwrap_err();
    assert_eq!(
        error,
        IoError {
            errno: IoErrno::Io,
            lba: Some(103)
        }
    );
    assert!(bench.tasks_on(1).is_empty());
}

#[test]
fn a_unit_attention_is_retried_and_has_the_path_looked_at() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let io = bench.read(0, 8);
    let task = bench.tasks_on(0)[0];
    bench.answer(task, check(6, 0x29, 0));
    assert_eq!(bench.volume.poll_order(), Some((PathId(0), Order::Recheck)));
    bench.all_good(0);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn a_short_read_that_is_called_good_is_never_handed_on() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    let io = bench.read(0, 8);
    let task = bench.tasks_on(0)[0];
    bench.answer(task, completion(0, Bytes::new(), command::zeroes(512)));
    assert!(bench.replies().is_empty());
    assert_eq!(bench.tasks_on(1).len(), 1, "the other path is asked");
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn a_full_task_set_means_fewer_commands_and_no_error() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let ios: Vec<_> = (0..8).map(|n| bench.read(n * 8, 8)).collect();
    assert_eq!(bench.tasks_on(0).len(), 8);
    let task = bench.tasks_on(0)[7];
    bench.answer(task, completion(0x28, Bytes::new(), Payload::new()));
    bench.pass(Duration::from_millis(20));
    assert_eq!(bench.tasks_on(0).len(), 7, "no slot until others end");
    bench.all_good(0);
    bench.pass(Duration::from_secs(2));
    bench.all_good(0);
    assert_eq!(bench.replies().len(), ios.len());
}

#[test]
fn busy_for_longer_than_the_retry_window_is_an_error_at_last() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let io = bench.read(0, 8);
    let mut answers = 0;
    while bench.replies().is_empty() {
        if let Some(&task) = bench.tasks_on(0).first() {
            bench.answer(task, completion(0x08, Bytes::new(), Payload::new()));
            answers += 1;
        }
        assert!(answers < 200, "bounded");
        if bench.volume.is_idle() {
            break;
        }
        bench.pass(Duration::from_millis(500));
        let replies = bench.replies();
        if !replies.is_empty() {
            assert_eq!(replies, [(io, Some(IoErrno::Io))]);
            break;
        }
    }
    assert!(answers > 20, "{answers}: it was tried for the whole window");
}

#[test]
fn a_write_behind_a_trim_of_nothing_is_not_forgotten() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let first = bench.write(0, 8);
    let range = geometry().range(3 * 512, 4 * 512).unwrap();
    let trim = bench.ask(Request::Trim { range, fua: false });
    let behind = bench.write(3, 4);
    bench.all_good(0);
    assert_eq!(
        bench.replies(),
        [(first, None), (trim, None), (behind, None)]
    );
}

#[test]
fn zeroing_in_many_parts_survives_a_unit_that_does_not_know_write_same() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let range = geometry().range(0, 2049 * 512).unwrap();
    let io = bench.ask(Request::WriteZeroes {
        range,
        may_unmap: false,
        fua: false,
    });
    let parts = bench.tasks_on(0);
    assert_eq!(parts.len(), 3, "1024 + 1024 + 1 blocks");
    for task in parts.into_iter().rev() {
        bench.answer(task, check(5, 0x20, 0));
    }
    bench.all_good(0);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn a_short_write_that_is_called_good_is_not_acknowledged() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    bench.up(1);
    let io = bench.write(0, 8);
    let task = bench.tasks_on(0)[0];
    let mut short = completion(0, Bytes::new(), Payload::new());
    short.residual = Residual::Underflow(512);
    bench.answer(task, short);
    assert!(
        bench.replies().is_empty(),
        "seven of eight blocks were written"
    );
    assert_eq!(bench.tasks_on(1).len(), 1, "the other path is asked");
    bench.all_good(1);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn io_that_waited_for_a_path_has_all_its_patience_left() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    bench.lose(0, Disposition::Unsent);
    let io = bench.write(0, 8);
    bench.pass(limits::RETRY_WINDOW + Duration::from_secs(1));
    bench.up(0);
    let task = bench.tasks_on(0)[0];
    bench.answer(task, check(2, 0x04, 0x01));
    assert!(
        bench.replies().is_empty(),
        "becoming ready, as targets do after an outage"
    );
    bench.pass(Duration::from_secs(1));
    bench.all_good(0);
    assert_eq!(bench.replies(), [(io, None)]);
}

#[test]
fn being_busy_for_long_uses_up_no_other_patience() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let io = bench.read(0, 8);
    for _ in 0..2 * limits::RETRYABLE_MAX {
        let task = bench.tasks_on(0)[0];
        bench.answer(task, completion(0x08, Bytes::new(), Payload::new()));
        bench.pass(Duration::from_secs(1));
    }
    let task = bench.tasks_on(0)[0];
    bench.answer(task, check(0x0b, 0, 0));
    bench.all_good(0);
    assert_eq!(
        bench.replies(),
        [(io, None)],
        "one aborted command is not too many"
    );
}

#[test]
fn the_next_flush_tells_of_an_acknowledged_write_that_the_target_lost() {
    let mut bench = Bench::new(1, |_| {});
    bench.up(0);
    let read = bench.read(0, 8);
    let mut deferred = check(4, 0x44, 0);
    let mut sense = deferred.sense.to_vec();
    sense[0] = 0x71;
    deferred.sense = sense.into();
    let task = bench.tasks_on(0)[0];
    bench.answer(task, deferred);
    bench.all_good(0);
    assert_eq!(bench.replies(), [(read, None)]);
    let flush = bench.ask(Request::Flush);
    bench.all_good(0);
    assert_eq!(bench.replies(), [(flush, Some(IoErrno::Io))]);
    let next = bench.ask(Request::Flush);
    bench.all_good(0);
    assert_eq!(bench.replies(), [(next, None)], "it is told once");
}

#[test]
fn commands_fit_every_path_that_they_may_be_tried_on() {
    let mut bench = Bench::new(2, |_| {});
    bench.up(0);
    let mut narrow = unit("S1");
    narrow.features.transfer_blocks_max = 64;
    narrow.features.trim = TrimMethod::None;
    assert!(!matches!(bench.identify(1, narrow), Order::Refuse { .. }));
    bench.stand(1, Standing::Ready);
    bench.write(0, 128);
    assert_eq!(bench.in_flight.len(), 2, "64 blocks each");
    let features = &bench.volume.unit().unwrap().features;
    assert_ne!(features.trim, TrimMethod::None, "clients were told of it");
}
