//! Logins, probes, probation, stops.

use super::*;

#[test]
fn a_path_that_is_admitted_is_ready_at_once_the_first_time_and_after_a_probation_later() {
    let mut bench = Bench::new();
    bench.up();
    assert_eq!(bench.state(), PathState::Ready);
    bench.close(Link::Main);
    assert_eq!(bench.state(), PathState::Down);
    bench.pass(ms(10));
    bench.up();
    assert_eq!(bench.state(), PathState::Probation);
    bench.pass(ms(1_000));
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn while_a_used_path_is_identified_again_what_is_in_flight_may_finish() {
    let mut bench = Bench::new();
    bench.up();
    bench.messages.clear();
    bench.disk = Box::new(|_, _| None);
    bench.write();
    bench.path.order(bench.now, Order::Recheck);
    bench.turn();
    assert_eq!(bench.state(), PathState::Probing);
    assert_eq!(
        bench.standings(),
        [Standing::Suspect],
        "not beyond hope: it has commands in flight"
    );
}

#[test]
fn a_stop_during_a_login_hangs_up() {
    let mut bench = Bench::new();
    bench.connect(Link::Main);
    bench.path.stop(bench.now);
    bench.turn();
    assert!(
        !bench.is_open(Link::Main),
        "a login that completes now has no use"
    );
    assert!(bench.path.is_stopped());
    bench.serve(Link::Main);
    assert_eq!(bench.path.poll_timeout().map(|deadline| deadline.why), None);
}

#[test]
fn a_probation_whose_probe_is_swallowed_ends() {
    let mut bench = Bench::new();
    bench.up();
    bench.close(Link::Main);
    bench.pass(ms(10));
    bench.identify();
    bench.path.order(bench.now, Order::Admit);
    bench.turn();
    // Full-sized segments do not pass, pings do.
    bench.disk = Box::new(|cdb, _| (cdb[0] != 0x28).then(|| disk(cdb)));
    bench.pass(ms(40_000));
    assert_eq!(bench.lost().len(), 1);
}

#[test]
fn a_busy_target_and_a_full_window_are_no_reason_to_lose_the_path_on_probation() {
    let mut bench = Bench::new();
    bench.up();
    bench.close(Link::Main);
    bench.pass(ms(10));
    bench.window = 4;
    bench.identify();
    bench.path.order(bench.now, Order::Admit);
    bench.turn();
    bench.messages.clear();
    bench.disk = Box::new(|cdb, _| (cdb[0] == 0).then(|| Answer::status(0x08)));
    while bench.path.free_slots() > 0 {
        bench.write();
    }
    bench.pass(ms(3_000));
    assert_eq!(bench.state(), PathState::Probation);
    assert!(bench.lost().is_empty());
}

#[test]
fn a_probe_waits_for_a_closed_command_window() {
    let mut bench = Bench::new();
    bench.window = 4;
    bench.up();
    let mut kept = 0;
    while bench.path.free_slots() > 0 {
        bench.write();
        kept += 1;
    }
    assert_eq!(kept, 4);
    bench.messages.clear();
    let sent = {
        let bytes = bench.path.outgoing(Link::Main).take_all();
        bench.wires.get_mut(&Link::Main).unwrap().take(&bytes)
    };
    bench.async_message(0, [0; 3]);
    assert_eq!(bench.state(), PathState::Probing, "it waits for its turn");
    for command in sent.iter().filter_map(Sent::command) {
        bench.respond(Link::Main, &command, &Answer::good(Vec::new()));
    }
    bench.serve(Link::Main);
    let identified = |message: &Message| matches!(message, Message::Identified { .. });
    assert!(bench.messages.iter().any(identified));
    assert!(bench.lost().is_empty());
}

#[test]
fn an_answer_to_an_older_probe_is_not_taken_for_the_one_that_is_due() {
    let mut bench = Bench::new();
    bench.up();
    bench.close(Link::Main);
    bench.pass(ms(10));
    bench.identify();
    bench.disk = Box::new(|_, _| None);
    bench.path.order(bench.now, Order::Admit);
    bench.path.handle_timeout(bench.now);
    bench.turn();
    bench.messages.clear();
    let bytes = bench.path.outgoing(Link::Main).take_all();
    let old = bench.wires.get_mut(&Link::Main).unwrap().take(&bytes);
    bench.async_message(0, [0; 3]);
    assert_eq!(bench.state(), PathState::Probing);
    let old = old[0].command().unwrap();
    bench.respond(Link::Main, &old, &Answer::good(Vec::new()));
    bench.disk = Box::new(|cdb, _| Some(disk(cdb)));
    // The probe's first command was kept back above; its second must not have been sent yet.
    let bytes = bench.path.outgoing(Link::Main).take_all();
    let sent = bench.wires.get_mut(&Link::Main).unwrap().take(&bytes);
    assert_eq!(sent.iter().filter_map(Sent::command).count(), 1);
}

#[test]
fn a_change_that_is_reported_during_a_probe_has_the_unit_looked_at_again() {
    let mut bench = Bench::new();
    bench.up();
    bench.messages.clear();
    bench.path.order(bench.now, Order::Recheck);
    bench.turn();
    bench.serve_once(Link::Main);
    bench.serve_once(Link::Main);
    bench.path.order(bench.now, Order::Recheck);
    let (mut inquiries, mut answered) = (0, false);
    while bench.serve_once(Link::Main) {
        answered |= !bench.messages.is_empty();
        inquiries += 1;
    }
    let identified = bench
        .messages
        .iter()
        .filter(|message| matches!(message, Message::Identified { .. }));
    assert_eq!(
        identified.count(),
        1,
        "only what was found last is shown to the volume"
    );
    assert!(answered && inquiries > 10, "{inquiries}: asked twice");
}

#[test]
fn a_target_cannot_keep_a_path_away_for_hours() {
    let mut bench = Bench::new();
    bench.up();
    bench.async_message(3, [0, 65_535, 0]);
    assert_eq!(bench.state(), PathState::Down);
    bench.pass(ms(61_000));
    assert!(
        bench.path.incarnation() > Incarnation(1),
        "it has tried again"
    );
}

#[test]
fn a_logout_that_the_target_asks_for_sends_new_commands_elsewhere_at_once_and_comes_when_the_old_ones_ended()
 {
    let mut bench = Bench::new();
    bench.up();
    bench.disk = Box::new(|_, _| None);
    bench.write();
    let bytes = bench.path.outgoing(Link::Main).take_all();
    let sent = bench.wires.get_mut(&Link::Main).unwrap().take(&bytes);
    bench.messages.clear();
    bench.async_message(1, [0, 0, 600]);
    assert_eq!(bench.standings(), [Standing::Suspect]);
    let command = sent[0].command().unwrap();
    bench.respond(Link::Main, &command, &Answer::good(Vec::new()));
    bench.serve(Link::Main);
    assert_eq!(
        bench.state(),
        PathState::Down,
        "logged out as soon as nothing was in flight"
    );
    assert_eq!(bench.lost(), [vec![]]);
}

#[test]
fn a_login_that_is_swallowed_is_given_up_soon_and_the_next_one_later() {
    let mut bench = Bench::new();
    for seconds in [5, 10] {
        bench.connect(Link::Main);
        let began = bench.now;
        while bench.state() == PathState::LoggingIn {
            let deadline = bench.path.poll_timeout().expect("a login has a limit");
            bench.now = bench.now.max(deadline.at);
            bench.path.handle_timeout(bench.now);
            bench.turn();
        }
        assert_eq!(bench.state(), PathState::Down);
        assert_eq!(bench.now - began, Duration::from_secs(seconds));
        bench.pass(ms(2_000));
    }
}

#[test]
fn a_login_that_meets_a_power_on_tells_the_volume_and_one_that_meets_tgts_or_lios_greeting_does_not()
 {
    for (ascq, told) in [(0x01, true), (0x00, false), (0x07, false)] {
        let mut bench = Bench::new();
        let mut attentions = vec![Answer::check(6, 0x29, ascq)];
        bench.disk = Box::new(move |cdb, _| {
            let attention = attentions.pop().filter(|_| cdb[0] == 0);
            Some(attention.unwrap_or_else(|| disk(cdb)))
        });
        bench.up();
        let tells = |message: &Message| matches!(message, Message::PowerLost { .. });
        assert_eq!(bench.messages.iter().any(tells), told, "29/{ascq:02x}");
    }
}

#[test]
fn commands_that_a_reset_ended_without_an_answer_are_asked_for_at_once() {
    let mut bench = Bench::new();
    bench.up();
    bench.disk = Box::new(|_, _| None);
    let unanswered = bench.write();
    bench.serve(Link::Main);
    bench.disk = Box::new(|_, _| Some(Answer::check(6, 0x29, 0x03)));
    bench.write();
    bench.serve(Link::Main);
    bench.turn();
    bench.disk = Box::new(|cdb, _| Some(disk(cdb)));
    bench.pass(ms(4_500));
    assert_eq!(bench.state(), PathState::Ready);
    assert!(bench.lost().is_empty());
    // This target does not answer ABORT TASK either.
    bench.pass(ms(1_000));
    let lost = bench.lost();
    let tasks: Vec<TaskId> = lost.iter().flatten().map(|(task, _)| *task).collect();
    assert_eq!(tasks, [unanswered], "long before the command timeout");
}

#[test]
fn a_unit_that_is_not_ready_here_is_asked_again_in_the_same_session() {
    let mut bench = Bench::new();
    let began = bench.now;
    let transition = move |cdb: &[u8; 16], ready: bool| match cdb[0] {
        0x25 | 0x9e if !ready => Answer::check(2, 0x04, 0x0a),
        _ => disk(cdb),
    };
    bench.disk = Box::new(move |cdb, _| Some(transition(cdb, false)));
    bench.connect(Link::Main);
    bench.serve(Link::Main);
    bench.pass(ms(3_000));
    assert_eq!(bench.state(), PathState::Probing);
    assert_eq!(bench.path.incarnation(), Incarnation(1));
    bench.disk = Box::new(move |cdb, _| Some(transition(cdb, true)));
    bench.pass(ms(250));
    assert!(bench.now - began < ms(3_300));
    assert!(
        bench
            .messages
            .iter()
            .any(|message| matches!(message, Message::Identified { .. })),
        "identified at once"
    );
}

#[test]
fn a_session_that_ends_before_its_first_answer_leaves_a_doubt_and_no_other() {
    let doubted = |message: &Message| matches!(message, Message::PowerDoubted { .. });
    for answered in [false, true] {
        let mut bench = Bench::new();
        let mut first = answered;
        bench.disk = Box::new(move |cdb, _| {
            let answer = std::mem::take(&mut first);
            (cdb[0] == 0 && answer).then(|| disk(cdb))
        });
        bench.connect(Link::Main);
        bench.serve(Link::Main);
        assert_eq!(bench.state(), PathState::Probing);
        bench.close(Link::Main);
        assert_eq!(bench.messages.iter().any(doubted), !answered);
    }
    let mut bench = Bench::new();
    bench.up();
    bench.disk = Box::new(|_, _| None);
    bench.write();
    bench.close(Link::Main);
    assert!(
        !bench.messages.iter().any(doubted),
        "it was told, if there was anything to tell"
    );
}

#[test]
fn a_unit_that_is_busy_until_the_session_is_given_up_has_told_nothing_that_could_be_lost() {
    let mut bench = Bench::new();
    bench.disk = Box::new(|_, _| Some(Answer::status(0x08)));
    bench.connect(Link::Main);
    bench.serve(Link::Main);
    assert_eq!(bench.state(), PathState::Down);
    let doubted = |message: &Message| matches!(message, Message::PowerDoubted { .. });
    assert!(!bench.messages.iter().any(doubted));
}

#[test]
fn another_unit_that_was_without_power_is_none_of_the_volumes_business() {
    for stranger in [true, false] {
        let mut bench = Bench::new();
        let mut attentions = vec![Answer::check(6, 0x29, 0x01)];
        bench.disk = Box::new(move |cdb, _| {
            let attention = attentions.pop().filter(|_| cdb[0] == 0);
            Some(attention.unwrap_or_else(|| disk(cdb)))
        });
        bench.identify();
        let why = "no".to_owned();
        bench.path.order(bench.now, Order::Refuse { why, stranger });
        bench.turn();
        let tells = |message: &Message| {
            matches!(
                message,
                Message::PowerLost { .. } | Message::PowerDoubted { .. }
            )
        };
        assert_eq!(bench.messages.iter().any(tells), !stranger);
    }
}

#[test]
fn a_unit_in_transition_is_asked_again_whether_it_caches() {
    let mut bench = Bench::new();
    bench.disk = Box::new(|cdb, _| {
        Some(match cdb[0] {
            0x1a | 0x5a => Answer::check(2, 0x04, 0x0a),
            _ => disk(cdb),
        })
    });
    bench.connect(Link::Main);
    bench.serve(Link::Main);
    let identified = |message: &Message| matches!(message, Message::Identified { .. });
    assert!(!bench.messages.iter().any(identified), "not yet");
    assert_eq!(bench.state(), PathState::Probing);
    bench.disk = Box::new(|cdb, _| Some(disk(cdb)));
    bench.pass(ms(300));
    assert!(bench.messages.iter().any(identified));
}
