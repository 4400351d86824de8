use super::*;

#[test]
fn a_read_is_handed_on_and_answered_with_its_data() {
    let mut link = Link::simple();
    link.send(
        b"\x25\x60\x95\x13\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\x10\0\0\0\x02\0",
    );
    let read = link.next();
    let Command::Read { offset, length } = read.command else {
        panic!("{read:?}");
    };
    assert_eq!((offset, length), (4096, 512));
    let data: Payload = Bytes::from(vec![7; 512]).into();
    link.connection.reply(read.token, Ok(data));
    let mut expected = b"\x67\x44\x66\x98\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08".to_vec();
    expected.resize(16 + 512, 7);
    assert_eq!(link.output(), expected);
}

#[test]
fn a_structured_read_is_one_final_chunk_with_its_offset() {
    let mut link = Link::structured();
    link.send(&request(command::READ, command_flag::DF, 9, 4096, 512));
    link.answer_next(Ok(Bytes::from(vec![7; 512]).into()));
    let mut expected =
        b"\x66\x8e\x33\xef\0\x01\0\x01\0\0\0\0\0\0\0\x09\0\0\x02\x08\0\0\0\0\0\0\x10\0".to_vec();
    expected.resize(28 + 512, 7);
    assert_eq!(link.output(), expected);
}

#[test]
fn the_other_commands_come_out_with_their_flags() {
    let fua = command_flag::FUA;
    let no_hole = command_flag::NO_HOLE;
    let fast = command_flag::FAST_ZERO;
    let mut link = Link::structured();
    link.send(&write(fua, 1, 512, &[1; 512]));
    link.send(&request(command::FLUSH, 0, 2, 0, 0));
    link.send(&request(command::TRIM, fua, 3, 0, 1024));
    link.send(&request(command::WRITE_ZEROES, no_hole | fast, 4, 0, 2048));
    link.send(&request(command::WRITE_ZEROES, fua, 5, 0, 2048));
    let mut seen = Vec::new();
    while let Some(Request { token, command }) = link.connection.poll_request() {
        seen.push(format!("{command:?}"));
        link.connection.reply(token, Ok(Payload::new()));
    }
    assert!(seen[0].starts_with("Write { offset: 512, ") && seen[0].ends_with("fua: true }"));
    assert_eq!(
        seen[1..],
        [
            "Flush",
            "Trim { offset: 0, length: 1024, fua: true }",
            "WriteZeroes { offset: 0, length: 2048, fua: false, may_unmap: false, fast: true }",
            "WriteZeroes { offset: 0, length: 2048, fua: true, may_unmap: true, fast: false }",
        ]
    );
    let expected: Vec<u8> = (1..=5).flat_map(|cookie| simple_reply(0, cookie)).collect();
    assert_eq!(
        link.output(),
        expected,
        "success without data is a simple reply"
    );
}

#[test]
fn fua_is_tolerated_on_commands_that_write_nothing() {
    let mut link = Link::simple();
    link.send(&request(command::READ, command_flag::FUA, 1, 0, 512));
    link.send(&request(command::FLUSH, command_flag::FUA, 2, 0, 0));
    link.answer_next(Ok(zeroes(512)));
    link.answer_next(Ok(Payload::new()));
}

#[test]
fn trim_and_write_zeroes_may_be_larger_than_a_payload() {
    let mut large = export();
    large.size = 1 << 40;
    let mut link = Link::with(&large, false, TINY);
    let length = u32::MAX - 511;
    link.send(&request(command::TRIM, 0, 1, 0, length));
    link.send(&request(command::WRITE_ZEROES, 0, 2, 1 << 39, length));
    link.answer_next(Ok(Payload::new()));
    link.answer_next(Ok(Payload::new()));
}

#[test]
fn replies_go_out_in_the_order_of_completion() {
    let mut link = Link::simple();
    link.send(&request(command::FLUSH, 0, 1, 0, 0));
    link.send(&request(command::FLUSH, 0, 2, 0, 0));
    let (first, second) = (link.next(), link.next());
    link.connection.reply(second.token, Ok(Payload::new()));
    link.connection.reply(first.token, Ok(Payload::new()));
    assert_eq!(
        link.output(),
        [simple_reply(0, 2), simple_reply(0, 1)].concat()
    );
}

#[test]
fn replies_without_payload_of_one_turn_are_one_slice() {
    let mut link = Link::simple();
    for cookie in 0..3 {
        link.send(&request(command::FLUSH, 0, cookie, 0, 0));
        link.answer_next(Ok(Payload::new()));
    }
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    assert_eq!(link.connection.outgoing().slices(&mut slices), 1);
}
