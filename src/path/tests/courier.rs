//! Errands of the volume, and the wait for the registration of its key.

use super::*;
use crate::path::message::{Enrol, Errand};

fn order(bench: &mut Bench, order: Order) {
    bench.path.order(bench.now, order);
    bench.turn();
    bench.serve(Link::Main);
}

fn errand(ticket: u64) -> Order {
    Order::Carry(Errand {
        ticket,
        command: Command::TestUnitReady,
        attribute: TaskAttribute::Simple,
        data: DataTransfer::None,
    })
}

/// Logged in, identified and admitted, with a key that is not registered.
fn joining() -> Bench {
    let mut bench = Bench::new();
    order(&mut bench, Order::Enrol(Enrol::Needed));
    bench.connect(Link::Main);
    bench.serve(Link::Main);
    order(&mut bench, Order::Admit);
    bench
}

fn joins(bench: &Bench) -> usize {
    let joining = |message: &&Message| matches!(message, Message::Joining { .. });
    bench.messages.iter().filter(joining).count()
}

fn carried(bench: &Bench) -> Vec<(u64, Option<u8>)> {
    let mut carried = Vec::new();
    for message in &bench.messages {
        if let Message::Carried { ticket, answer } = message {
            carried.push((*ticket, answer.as_ref().map(|answer| answer.status)));
        }
    }
    carried
}

#[test]
fn a_path_is_not_used_before_its_key_is_registered_and_asks_once() {
    let mut bench = joining();
    assert_eq!((bench.path.is_ready(), joins(&bench)), (false, 1));
    order(&mut bench, errand(5));
    assert_eq!(carried(&bench), [(5, Some(0))], "it serves errands");
    order(&mut bench, Order::Enrol(Enrol::Done));
    assert!(bench.path.is_ready());
    order(&mut bench, Order::Recheck);
    order(&mut bench, Order::Admit);
    assert!(bench.path.is_ready(), "the same session is registered");
    bench.close(Link::Main);
    assert!(!bench.path.is_ready());
    assert_eq!(joins(&bench), 1);
}

#[test]
fn a_path_whose_key_is_refused_is_out_of_use_and_says_why() {
    for for_good in [true, false] {
        let mut bench = joining();
        let why = "no room for a registration".to_owned();
        order(&mut bench, Order::Reject { why, for_good });
        let status = bench.path.status(bench.now);
        assert_eq!(status.why, "no room for a registration");
        let disabled = status.state == PathState::Disabled;
        assert_eq!(disabled, for_good);
        // What comes late is for a session that is over.
        order(&mut bench, Order::Enrol(Enrol::Done));
        assert!(!bench.path.is_ready());
    }
}

#[test]
fn errands_go_one_by_one_and_end_with_their_session() {
    let mut bench = joining();
    bench.disk = Box::new(|_, _| None);
    for ticket in 1..=3 {
        order(&mut bench, errand(ticket));
    }
    assert_eq!(bench.path.status(bench.now).own_commands, 1);
    bench.close(Link::Main);
    assert_eq!(carried(&bench), [(1, None), (2, None), (3, None)]);
    order(&mut bench, errand(4));
    assert_eq!(carried(&bench)[3], (4, None), "there is no session");
}

#[test]
fn no_key_means_no_wait() {
    let mut bench = joining();
    order(&mut bench, Order::Enrol(Enrol::NotNeeded));
    assert!(bench.path.is_ready());
}
