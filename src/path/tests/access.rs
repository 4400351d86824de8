//! Access states of the port: read, told, watched.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::path::message::PathAccess;
use crate::scsi::alua::AccessState;

const STANDBY: u8 = 2;
const TRANSITIONING: u8 = 15;

/// What the unit of a test is like, and what it was asked.
#[derive(Default)]
struct Array {
    state: u8,
    preferred: bool,
    /// Answers REPORT TARGET PORT GROUPS with this once.
    instead: Option<Answer>,
    /// It tells its size in standby, as LIO does.
    tells_size: bool,
    asked: u32,
    activated: Vec<[u8; 16]>,
}

impl Array {
    /// The disk of the other tests, in port group 2 of a target with implicit and explicit access states.
    fn answer(&mut self, cdb: &[u8; 16]) -> Answer {
        let refusal = match self.state {
            STANDBY => Some(Answer::check(2, 0x04, 0x0b)),
            3 => Some(Answer::check(2, 0x04, 0x0c)),
            TRANSITIONING => Some(Answer::check(2, 0x04, 0x0a)),
            _ => None,
        };
        match (cdb[0], cdb[1] & 1, cdb[2]) {
            (0x12, 0, _) => {
                let mut answer = disk(cdb);
                answer.data[5] = 0x30;
                answer
            }
            (0x12, 1, 0x83) => {
                let mut answer = disk(cdb);
                answer.data.extend([0x51, 0x14, 0, 4, 0, 0, 0, 7]);
                answer.data.extend([0x51, 0x15, 0, 4, 0, 0, 0, 2]);
                answer.data[3] += 16;
                answer
            }
            (0x12, ..) => disk(cdb),
            (0xa3, ..) => {
                self.asked += 1;
                let state = self.state | u8::from(self.preferred) << 7;
                let groups = [
                    [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
                    [state, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7],
                ];
                let data = [&[0, 0, 0, 24][..], groups.as_flattened()].concat();
                self.instead.take().unwrap_or_else(|| Answer::good(data))
            }
            (0xa4, ..) => {
                self.activated.push(*cdb);
                Answer::good(Vec::new())
            }
            (0x9e, ..) if self.tells_size => disk(cdb),
            _ => refusal.unwrap_or_else(|| disk(cdb)),
        }
    }
}

fn array(change: impl FnOnce(&mut Array)) -> (Bench, Rc<RefCell<Array>>) {
    let mut array = Array::default();
    change(&mut array);
    let array = Rc::new(RefCell::new(array));
    let mut bench = Bench::new();
    let unit = Rc::clone(&array);
    bench.disk = Box::new(move |cdb, _| Some(unit.borrow_mut().answer(cdb)));
    (bench, array)
}

fn told(bench: &mut Bench) -> Vec<Option<PathAccess>> {
    let mut told = Vec::new();
    for message in bench.messages.drain(..) {
        if let Message::Access { access, .. } = message {
            told.push(access);
        }
    }
    told
}

fn states(bench: &mut Bench) -> Vec<AccessState> {
    told(bench)
        .into_iter()
        .flatten()
        .map(|access| access.state)
        .collect()
}

fn order(bench: &mut Bench, order: Order) {
    bench.path.order(bench.now, order);
    bench.turn();
    bench.serve(Link::Main);
}

#[test]
fn the_volume_is_told_the_access_state_before_the_path_is_usable() {
    let (mut bench, _array) = array(|array| (array.state, array.preferred) = (1, true));
    bench.up();
    let [
        Message::Fenced { .. },
        Message::Access { access, .. },
        Message::Standing { .. },
    ] = bench.messages.make_contiguous()
    else {
        panic!("{:?}", bench.messages)
    };
    let expected = PathAccess {
        group: 2,
        state: AccessState::NonOptimized,
        preferred: true,
        explicit: true,
        transition: ms(60_000),
    };
    assert_eq!(*access, Some(expected));
    assert_eq!(bench.path.status(bench.now).access, Some(expected));
}

#[test]
fn a_target_that_makes_no_difference_and_a_path_that_may_not_ask_are_not_asked() {
    let mut bench = Bench::new();
    bench.disk = Box::new(|cdb, _| {
        assert_ne!(cdb[0], 0xa3);
        Some(disk(cdb))
    });
    bench.up();
    order(&mut bench, Order::ReadAccess);
    assert_eq!(told(&mut bench), []);
    let mut bench = Bench::with(|config| config.alua = false);
    bench.disk = Box::new(|cdb, _| {
        assert_ne!(cdb[0], 0xa3);
        Some(Array::default().answer(cdb))
    });
    bench.up();
    bench.pass(ms(60_000));
    assert_eq!(told(&mut bench), []);
}

#[test]
fn an_order_to_read_is_answered_at_once_even_if_nothing_changed() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    bench.messages.clear();
    order(&mut bench, Order::ReadAccess);
    assert_eq!(
        states(&mut bench),
        [AccessState::Optimized],
        "the volume had its doubts"
    );
    array.borrow_mut().state = 1;
    order(&mut bench, Order::ReadAccess);
    assert_eq!(states(&mut bench), [AccessState::NonOptimized]);
}

#[test]
fn news_while_the_states_are_being_read_make_them_read_again() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    let before = array.borrow().asked;
    for _ in 0..5 {
        bench.path.order(bench.now, Order::ReadAccess);
    }
    bench.serve(Link::Main);
    assert_eq!(
        array.borrow().asked,
        before + 2,
        "one at a time, and one after the last news"
    );
}

#[test]
fn a_path_in_standby_stays_ready_in_its_session_and_its_return_is_seen_within_seconds() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    array.borrow_mut().state = STANDBY;
    order(&mut bench, Order::ReadAccess);
    assert_eq!(
        states(&mut bench),
        [AccessState::Optimized, AccessState::Standby]
    );
    bench.pass(ms(60_000));
    assert_eq!(bench.state(), PathState::Ready);
    assert_eq!(bench.path.incarnation(), Incarnation(1));
    array.borrow_mut().state = 0;
    bench.pass(ms(2_000));
    assert_eq!(states(&mut bench), [AccessState::Optimized]);
}

#[test]
fn the_end_of_a_transition_is_seen_within_a_tenth_of_a_second() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    array.borrow_mut().state = TRANSITIONING;
    order(&mut bench, Order::ReadAccess);
    bench.pass(ms(15_000));
    bench.messages.clear();
    array.borrow_mut().state = 0;
    bench.pass(ms(100));
    assert_eq!(states(&mut bench), [AccessState::Optimized]);
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn while_no_path_carries_anything_the_states_are_watched_as_closely() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    array.borrow_mut().state = STANDBY;
    order(&mut bench, Order::ReadAccess);
    bench.path.set_surroundings(Surroundings {
        starved: true,
        ..Surroundings::default()
    });
    bench.pass(ms(10_000));
    bench.messages.clear();
    array.borrow_mut().state = 0;
    bench.pass(ms(100));
    assert_eq!(states(&mut bench), [AccessState::Optimized]);
}

#[test]
fn a_unit_attention_that_the_question_meets_is_not_swallowed() {
    for (asc, ascq, state) in [
        (0x2a, 0x06, PathState::Ready),
        (0x3f, 0x0e, PathState::Probing),
    ] {
        let (mut bench, array) = array(|_| {});
        bench.up();
        array.borrow_mut().instead = Some(Answer::check(6, asc, ascq));
        bench.path.order(bench.now, Order::ReadAccess);
        bench.serve_once(Link::Main);
        assert_eq!(bench.state(), state, "{asc:02x}/{ascq:02x}");
    }
}

#[test]
fn a_question_that_is_refused_for_the_state_tells_the_state() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    bench.messages.clear();
    array.borrow_mut().instead = Some(Answer::check(2, 0x04, 0x0c));
    order(&mut bench, Order::ReadAccess);
    assert_eq!(states(&mut bench), [AccessState::Unavailable]);
    bench.pass(ms(2_000));
    assert_eq!(states(&mut bench), [AccessState::Optimized]);
}

#[test]
fn a_question_that_is_not_answered_is_asked_again() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    bench.messages.clear();
    array.borrow_mut().instead = Some(Answer::status(0x08));
    order(&mut bench, Order::ReadAccess);
    assert_eq!(states(&mut bench), [], "busy");
    bench.pass(ms(100));
    assert_eq!(states(&mut bench), [AccessState::Optimized]);
}

#[test]
fn a_unit_that_no_longer_knows_the_question_is_one_without_access_states() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    bench.messages.clear();
    array.borrow_mut().instead = Some(Answer::check(5, 0x20, 0x00));
    order(&mut bench, Order::ReadAccess);
    assert_eq!(told(&mut bench), [None]);
}

#[test]
fn a_path_that_logs_in_to_a_standby_port_waits_in_its_session_until_the_unit_can_be_identified() {
    let (mut bench, array) = array(|array| array.state = STANDBY);
    bench.connect(Link::Main);
    bench.serve(Link::Main);
    bench.pass(ms(120_000));
    assert_eq!(bench.state(), PathState::Probing);
    assert_eq!(bench.path.incarnation(), Incarnation(1));
    let access = bench.path.status(bench.now).access.unwrap();
    assert_eq!(access.state, AccessState::Standby);
    let [Message::Waiting(Some(waiting))] = bench.messages.make_contiguous() else {
        panic!("{:?}", bench.messages)
    };
    assert_eq!(waiting.access, access);
    assert!(waiting.identity.wwid().starts_with("naa.6001405f"));
    order(&mut bench, Order::Activate);
    assert_eq!(array.borrow().activated.len(), 1, "that needs no identity");
    array.borrow_mut().state = 0;
    bench.pass(ms(200));
    let identified = |message: &Message| matches!(message, Message::Identified { .. });
    assert!(bench.messages.iter().any(identified));
    bench.path.order(bench.now, Order::Admit);
    bench.turn();
    assert_eq!(states(&mut bench), [AccessState::Optimized], "as read last");
}

#[test]
fn a_look_at_the_unit_does_not_cost_a_path_in_standby_its_session() {
    let (mut bench, array) = array(|_| {});
    bench.up();
    array.borrow_mut().state = STANDBY;
    order(&mut bench, Order::Recheck);
    bench.pass(ms(60_000));
    assert_eq!(bench.path.incarnation(), Incarnation(1));
    assert_eq!(bench.lost(), [] as [Vec<_>; 0]);
}

#[test]
fn what_a_probation_could_not_show_in_standby_is_shown_before_the_path_is_used() {
    let (mut bench, array) = array(|array| array.tells_size = true);
    bench.up();
    bench.close(Link::Main);
    bench.pass(ms(10));
    array.borrow_mut().state = STANDBY;
    bench.up();
    bench.pass(ms(1_000));
    assert_eq!(
        bench.state(),
        PathState::Ready,
        "every probe was answered, by a refusal"
    );
    array.borrow_mut().state = 0;
    bench.messages.clear();
    bench.path.order(bench.now, Order::ReadAccess);
    bench.serve(Link::Main);
    assert_eq!(bench.state(), PathState::Probing);
    bench.path.order(bench.now, Order::Admit);
    assert_eq!(bench.state(), PathState::Probation);
}

#[test]
fn to_activate_names_the_paths_own_group_and_reads_what_came_of_it() {
    let (mut bench, array) = array(|array| array.state = 1);
    bench.up();
    let before = array.borrow().asked;
    order(&mut bench, Order::Activate);
    let [cdb] = array.borrow().activated[..] else {
        panic!()
    };
    assert_eq!(cdb[..10], [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8]);
    assert_eq!(array.borrow().asked, before + 1);
}
