use super::*;

#[test]
fn a_write_is_handed_on_as_slices_of_the_input_buffers() {
    let mut link = Link::simple();
    let bytes = write(0, 1, 0, &vec![3; 3 * NBD_FRAGMENT_MIN]);
    let mut places = Vec::new();
    for cut in [
        &bytes[..28 + NBD_FRAGMENT_MIN],
        &bytes[28 + NBD_FRAGMENT_MIN..],
    ] {
        link.input = BytesMut::from(cut);
        let skip = if places.is_empty() { 28 } else { 0 };
        places.push(link.input[skip..].as_ptr());
        link.connection.handle_bytes(&mut link.input).unwrap();
    }
    let write = link.next();
    let Command::Write { data, .. } = &write.command else {
        panic!("{write:?}");
    };
    let slices: Vec<*const u8> = data.chunks().map(|chunk| chunk.as_ptr()).collect();
    assert_eq!(slices, places);
    link.connection.reply(write.token, Ok(Payload::new()));
}

#[test]
fn a_client_that_sends_single_bytes_costs_few_slices() {
    let mut link = Link::simple();
    for byte in write(0, 1, 0, &[3; 4 * NBD_FRAGMENT_MIN]) {
        link.send(&[byte]);
    }
    let write = link.next();
    let Command::Write { data, .. } = &write.command else {
        panic!("{write:?}");
    };
    assert_eq!(data.chunks().count(), 4);
    link.connection.reply(write.token, Ok(Payload::new()));
}

#[test]
fn the_rest_of_a_payload_is_announced() {
    let mut link = Link::simple();
    link.send(&write(0, 1, 0, &[0; 32 << 10])[..28 + (8 << 10)]);
    assert_eq!(link.connection.expected_input(), 24 << 10);
    link.send(&[0; 24 << 10]);
    assert_eq!(link.connection.expected_input(), 0);
    link.answer_next(Ok(Payload::new()));
}

#[test]
fn a_write_beyond_the_payload_limit_is_skipped_as_it_arrives() {
    let mut link = Link::tiny();
    let length = TINY.skip;
    link.send(&request(command::WRITE, 0, 1, 0, length));
    assert!(link.output().is_empty(), "answered after its payload");
    for _ in 0..length / 512 {
        link.send(&[0; 512]);
        assert!(link.input.is_empty(), "nothing is kept");
    }
    assert_eq!(link.output(), simple_reply(22, 1));
}

#[test]
fn a_write_beyond_the_skip_limit_ends_the_connection() {
    let mut link = Link::tiny();
    let length = TINY.skip + 512;
    link.input = BytesMut::from(&request(command::WRITE, 0, 1, 0, length)[..]);
    let limit = TINY.skip;
    assert_eq!(
        link.connection.handle_bytes(&mut link.input),
        Err(ConnectionError::PayloadTooLarge { length, limit })
    );
}
