use super::*;

#[test]
fn requests_beyond_the_limit_wait_in_the_input() {
    let mut link = Link::tiny();
    for cookie in 0..5 {
        link.send(&request(command::FLUSH, 0, cookie, 0, 0));
    }
    assert!(!link.connection.wants_input());
    assert_eq!(link.input.len(), 28);
    assert_eq!(link.connection.in_flight(), 4);
    link.answer_next(Ok(Payload::new()));
    link.send(&[]);
    assert!(!link.connection.wants_input(), "the reply is not sent yet");
    assert_eq!(link.output(), simple_reply(0, 0));
    link.send(&[]);
    assert!(link.input.is_empty());
    assert!(!link.connection.wants_input(), "full again");
    for _ in 1..5 {
        link.answer_next(Ok(Payload::new()));
    }
    link.output();
    link.send(&[]);
    assert!(link.connection.wants_input());
    assert_eq!(link.connection.in_flight(), 0);
}

#[test]
fn a_full_connection_is_read_again_when_a_reply_is_sent_though_nothing_waits_in_the_input() {
    let mut link = Link::tiny();
    for cookie in 0..4 {
        link.send(&request(command::FLUSH, 0, cookie, 0, 0));
    }
    assert!(link.input.is_empty());
    assert!(!link.connection.wants_input());
    link.answer_next(Ok(Payload::new()));
    assert!(!link.connection.wants_input(), "the reply is not sent yet");
    link.output();
    assert!(link.connection.wants_input());
    (0..3).for_each(|_| link.answer_next(Ok(Payload::new())));
}

#[test]
fn bytes_beyond_the_limit_wait_in_the_input_until_the_reply_is_sent() {
    let mut link = Link::tiny();
    for cookie in 0..3 {
        link.send(&request(command::READ, 0, cookie, 0, TINY.payload));
    }
    assert!(!link.connection.wants_input());
    assert_eq!(link.input.len(), 28);
    link.answer_next(Ok(zeroes(TINY.payload as usize)));
    link.connection
        .outgoing()
        .advance(16 + TINY.payload as usize - 1);
    link.send(&[]);
    assert!(!link.connection.wants_input(), "one byte is not sent yet");
    link.connection.outgoing().advance(1);
    link.send(&[]);
    assert!(link.connection.wants_input());
    assert!(link.input.is_empty());
    link.answer_next(Ok(zeroes(TINY.payload as usize)));
    link.answer_next(Ok(zeroes(TINY.payload as usize)));
}

#[test]
fn a_client_that_never_reads_its_errors_is_not_read_either() {
    let mut link = Link::tiny();
    for cookie in 0..100 {
        link.send(&request(u16::MAX, 0, cookie, 0, 0));
    }
    assert!(!link.connection.wants_input());
    assert_eq!(link.connection.outgoing().pending(), 4 * 16);
}

#[test]
fn a_payload_that_was_admitted_is_read_to_its_end() {
    let mut link = Link::tiny();
    let large = write(0, 1, 0, &[0; 32 << 10]);
    link.send(&large);
    link.send(&large[..100]);
    assert!(link.connection.wants_input());
    link.send(&large[100..]);
    link.send(&large[..28]);
    assert!(!link.connection.wants_input(), "the third does not fit");
    link.answer_next(Ok(Payload::new()));
    link.answer_next(Ok(Payload::new()));
}
