use super::*;
use crate::limits::NBD_PAYLOAD_MAX;

#[test]
fn each_bad_request_has_its_errno_and_the_stream_stays_in_step() {
    let mut link = Link::simple();
    let fua = command_flag::FUA;
    let cases: [(u16, u16, u64, u32, u32); 22] = [
        // Unknown commands: CACHE, BLOCK_STATUS, RESIZE.
        (5, 0, 0, 512, 22),
        (7, 0, 0, 512, 22),
        (8, 0, 0, 512, 22),
        (u16::MAX, 0, 0, 512, 22),
        // Unknown flags, and known ones in the wrong place.
        (command::READ, 1 << 15, 0, 512, 22),
        (command::READ, command_flag::DF, 0, 512, 22),
        (command::READ, command_flag::NO_HOLE, 0, 512, 22),
        (command::WRITE, command_flag::NO_HOLE | fua, 0, 512, 22),
        (command::FLUSH, command_flag::FAST_ZERO, 0, 0, 22),
        (command::TRIM, command_flag::NO_HOLE, 0, 512, 22),
        (command::WRITE_ZEROES, command_flag::DF, 0, 512, 22),
        // Alignment.
        (command::READ, 0, 1, 512, 22),
        (command::READ, 0, 0, 511, 22),
        (command::WRITE, 0, 256, 512, 22),
        (command::TRIM, 0, 0, 100, 22),
        // The end.
        (command::READ, 0, SIZE, 512, 22),
        (command::READ, 0, u64::MAX - 511, 512, 22),
        (command::TRIM, 0, SIZE - 512, 1024, 22),
        (command::WRITE, 0, SIZE, 512, 28),
        (command::WRITE_ZEROES, 0, SIZE - 512, 1024, 28),
        (command::WRITE_ZEROES, 0, u64::MAX - 511, 512, 28),
        // Payload.
        (command::READ, 0, 0, NBD_PAYLOAD_MAX + 512, 22),
    ];
    for (cookie, (kind, flags, offset, length, errno)) in (0..).zip(cases) {
        let mut bytes = request(kind, flags, cookie, offset, length);
        if kind == command::WRITE {
            bytes.put_bytes(0xff, length as usize);
        }
        let answer = link.refused(&bytes);
        assert_eq!(
            answer,
            simple_reply(errno, cookie),
            "{kind} {flags:#x} {offset} {length}"
        );
    }
    link.send(&request(command::READ, 0, 99, 0, 512));
    link.answer_next(Ok(zeroes(512)));
}

#[test]
fn a_read_only_export_refuses_everything_that_writes_with_eperm() {
    let mut read_only = export();
    read_only.flags.read_only = true;
    let mut link = Link::with(&read_only, false, TINY);
    assert_eq!(link.refused(&write(0, 1, 0, &[0; 512])), simple_reply(1, 1));
    for kind in [command::TRIM, command::WRITE_ZEROES] {
        let answer = link.refused(&request(kind, 0, 2, 0, 512));
        assert_eq!(answer, simple_reply(1, 2));
    }
    link.send(&request(command::FLUSH, 0, 3, 0, 0));
    link.answer_next(Ok(Payload::new()));
}

#[test]
fn what_was_not_advertised_is_refused() {
    let mut plain = export();
    plain.flags = ExportFlags::default();
    let mut link = Link::with(&plain, false, TINY);
    for kind in [command::FLUSH, command::TRIM, command::WRITE_ZEROES] {
        let answer = link.refused(&request(kind, 0, 1, 0, 0));
        assert_eq!(answer, simple_reply(22, 1), "{kind}");
    }
    let answer = link.refused(&write(command_flag::FUA, 2, 0, &[0; 512]));
    assert_eq!(answer, simple_reply(22, 2), "FUA would be a lie");
    plain.flags.write_zeroes = true;
    let mut link = Link::with(&plain, false, TINY);
    let fast = request(command::WRITE_ZEROES, command_flag::FAST_ZERO, 3, 0, 512);
    assert_eq!(link.refused(&fast), simple_reply(22, 3));
}

#[test]
fn structured_clients_are_told_why() {
    let mut link = Link::structured();
    let expected = error_chunk(
        22,
        1,
        "offset and length must be multiples of 512 bytes",
        None,
    );
    let answer = link.refused(&request(command::READ, 0, 1, 1, 512));
    assert_eq!(answer, expected);
    let expected = error_chunk(28, 2, "beyond the end of the export", None);
    assert_eq!(link.refused(&write(0, 2, SIZE, &[0; 512])), expected);
}

#[test]
fn a_failure_with_its_place_is_an_error_offset_chunk() {
    let mut link = Link::structured();
    for (at, told) in [
        (4096, Some(4096)),
        (4096 + 1023, Some(4096 + 1023)),
        (4096 + 1024, None),
        (4095, None),
    ] {
        link.send(&request(command::READ, 0, 5, 4096, 1024));
        let failure = RequestFailure::new(IoErrno::Io, "medium error").at(at);
        link.answer_next(Err(failure));
        assert_eq!(link.output(), error_chunk(5, 5, "medium error", told));
    }
}

#[test]
fn a_failure_of_a_simple_read_carries_no_data() {
    let mut link = Link::simple();
    link.send(&request(command::READ, 0, 5, 0, 1024));
    link.answer_next(Err(RequestFailure::new(IoErrno::Io, "medium error").at(0)));
    assert_eq!(link.output(), simple_reply(5, 5));
}

#[test]
fn enotsup_and_eoverflow_reach_only_clients_that_asked_for_them() {
    let mut link = Link::structured();
    let fast = command_flag::FAST_ZERO;
    let df = command_flag::DF;
    for (kind, flags, errno, told) in [
        (command::WRITE_ZEROES, fast, IoErrno::NotSup, 95),
        (command::WRITE_ZEROES, 0, IoErrno::NotSup, 22),
        (command::TRIM, 0, IoErrno::NotSup, 22),
        (command::READ, df, IoErrno::Overflow, 75),
        (command::READ, 0, IoErrno::Overflow, 22),
        (command::READ, 0, IoErrno::Shutdown, 108),
    ] {
        link.send(&request(kind, flags, 1, 0, 512));
        link.answer_next(Err(errno.into()));
        assert_eq!(link.output(), error_chunk(told, 1, "", None), "{errno}");
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_between_characters() {
    let mut link = Link::structured();
    link.send(&request(command::FLUSH, 0, 1, 0, 0));
    let text = format!("x{}", "ü".repeat(3000));
    link.answer_next(Err(RequestFailure::new(IoErrno::Io, text.clone())));
    assert_eq!(link.output(), error_chunk(5, 1, &text[..4095], None));
}

#[test]
fn requests_of_length_zero_succeed_at_once() {
    let mut link = Link::structured();
    for kind in [command::WRITE, command::TRIM, command::WRITE_ZEROES] {
        let answer = link.refused(&request(kind, 0, 1, 512, 0));
        assert_eq!(answer, simple_reply(0, 1));
    }
    let none = b"\x66\x8e\x33\xef\0\x01\0\0\0\0\0\0\0\0\0\x01\0\0\0\0";
    let answer = link.refused(&request(command::READ, 0, 1, SIZE, 0));
    assert_eq!(&answer[..], none, "a data chunk may not be empty");
    let mut link = Link::simple();
    let answer = link.refused(&request(command::READ, 0, 1, SIZE, 0));
    assert_eq!(answer, simple_reply(0, 1));
}

#[test]
fn a_stream_out_of_step_ends_the_connection() {
    let mut connection = Connection::new(&export(), false);
    let mut input = BytesMut::from(&[0xab; 28][..]);
    let magic = 0xabab_abab;
    assert_eq!(
        connection.handle_bytes(&mut input),
        Err(ConnectionError::BadRequestMagic { magic })
    );
}
