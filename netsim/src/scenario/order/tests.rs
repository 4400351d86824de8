use super::*;

#[test]
fn every_order_is_read_back_from_its_own_text() {
    for text in [
        "cut",
        "blackhole to-target",
        "reset",
        "close",
        "half-open",
        "freeze",
        "no-carrier",
        "late 10000ms",
        "crash",
        "kill-daemon",
        "remove",
        "add",
        "reload",
        "half-close to-initiator",
        "half-close to-target",
        "hang 3",
        "slow 20",
        "shallow 4",
        "stragglers 50/200ms",
        "closed-window",
        "ask-logout 3s",
        "drop-connection 1s",
        "drop-session 2s",
        "redirect B",
        "misbehave stat-sn",
        "misbehave twice",
        "access standby",
        "impostor",
        "capacity 1024B",
        "vanish",
        "grow 1024B",
        "reserve writes",
        "reserve all",
        "replace-client 1",
        "busy 5",
        "task-set-full 7",
        "attention 29/00",
        "reset-unit",
    ] {
        let order: Order = text.parse().unwrap();
        assert_eq!(order.to_string(), text);
    }
}

#[test]
fn words_that_are_not_understood_are_named() {
    let message = |text: &str| text.parse::<Order>().unwrap_err().to_string();
    assert!(message("explode").contains("kill-daemon"));
    assert!(message("busy").contains("a number of commands"));
    assert!(message("attention 29").contains("29/00"));
    assert!(message("freeze now").contains("no further word"));
    assert!(message("latency 5").contains("ms"));
    assert!(
        message("heal").contains("no fault"),
        "a fault's end is its own"
    );
}
