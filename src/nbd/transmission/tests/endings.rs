use super::*;

#[test]
fn disc_lets_outstanding_requests_finish() {
    let mut link = Link::simple();
    link.send(&request(command::FLUSH, 0, 1, 0, 0));
    link.send(&request(command::DISC, 0, 2, 0, 0));
    link.send(b"garbage after the goodbye is not looked at");
    assert!(link.input.is_empty());
    assert!(!link.connection.wants_input());
    assert!(!link.connection.is_finished());
    link.answer_next(Ok(Payload::new()));
    assert!(!link.connection.is_finished(), "the reply is not sent yet");
    assert_eq!(link.output(), simple_reply(0, 1));
    assert!(link.connection.is_finished());
}

#[test]
fn tokens_outlive_a_connection_that_is_gone() {
    let mut link = Link::simple();
    for cookie in 0..3 {
        link.send(&request(command::FLUSH, 0, cookie, 0, 0));
    }
    let request = link.next();
    drop(link);
    drop(request);
}

#[test]
#[should_panic(expected = "dropped without an answer")]
fn a_forgotten_token_is_our_bug() {
    let mut link = Link::simple();
    link.send(&request(command::FLUSH, 0, 1, 0, 0));
    drop(link.next());
    link.send(&[]);
}

#[test]
#[should_panic(expected = "another client's connection")]
fn a_reply_to_the_wrong_client_is_our_bug() {
    let mut link = Link::simple();
    link.send(&request(command::FLUSH, 0, 1, 0, 0));
    let token = link.next().token;
    Link::simple().connection.reply(token, Ok(Payload::new()));
}

#[test]
#[should_panic(expected = "wrong length")]
fn a_short_read_is_our_bug() {
    let mut link = Link::simple();
    link.send(&request(command::READ, 0, 1, 0, 1024));
    link.answer_next(Ok(zeroes(512)));
}
