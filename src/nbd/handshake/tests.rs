use std::time::Duration;

use super::*;
use crate::nbd::export::{BlockSizes, ExportFlags};
use crate::nbd::wire::info;

mod streams;

const FIXED: u32 = 1;
const FIXED_NO_ZEROES: u32 = 3;

fn export(name: &str) -> ExportInfo {
    ExportInfo {
        name: name.to_owned(),
        description: String::new(),
        size: 1 << 30,
        block_sizes: BlockSizes::new(512, 4096).unwrap(),
        flags: ExportFlags {
            flush: true,
            fua: true,
            ..ExportFlags::default()
        },
    }
}

/// A client that writes to a handshake and collects what comes back.
struct Client {
    handshake: Handshake,
    input: BytesMut,
    received: Vec<u8>,
    start: Instant,
}

impl Client {
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant to start from; nothing waits"
    )]
    fn of(exports: Vec<ExportInfo>) -> Self {
        let start = Instant::now();
        let mut handshake = Handshake::new(start, Arc::new(exports));
        let greeting = handshake.outgoing().take_all();
        assert_eq!(&greeting[..], b"NBDMAGICIHAVEOPT\x00\x03");
        Self {
            handshake,
            input: BytesMut::new(),
            received: Vec::new(),
            start,
        }
    }

    /// Client flags sent.
    fn begun(exports: Vec<ExportInfo>, flags: u32) -> Self {
        let mut client = Self::of(exports);
        client.send(&flags.to_be_bytes()).unwrap();
        client
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        self.input.extend_from_slice(bytes);
        let result = self.handshake.handle_bytes(&mut self.input);
        let output = self.handshake.outgoing().take_all();
        self.received.extend_from_slice(&output);
        result
    }

    fn option(&mut self, kind: u32, data: &[u8]) -> Result<(), HandshakeError> {
        self.send(&option_bytes(kind, data))
    }

    /// What came back since the last call, as (option, type, data).
    fn replies(&mut self) -> Vec<(u32, u32, Vec<u8>)> {
        let mut rest = std::mem::take(&mut self.received);
        let mut replies = Vec::new();
        while !rest.is_empty() {
            let mut header = &rest[..20];
            assert_eq!(header.get_u64(), 0x3_e889_0455_65a9);
            let (option, kind, length) = (header.get_u32(), header.get_u32(), header.get_u32());
            let tail = rest.split_off(20 + length as usize);
            replies.push((option, kind, rest[20..].to_vec()));
            rest = tail;
        }
        replies
    }

    /// The type of the only reply to that option.
    fn only_reply(&mut self, kind: u32, data: &[u8]) -> u32 {
        self.option(kind, data).unwrap();
        let replies = self.replies();
        assert_eq!(replies.len(), 1, "{replies:?}");
        assert_eq!(replies[0].0, kind);
        replies[0].1
    }
}

fn option_bytes(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.put_u32(kind);
    bytes.put_u32(data.len().try_into().unwrap());
    bytes.put_slice(data);
    bytes
}

fn info_data(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_u32(name.len().try_into().unwrap());
    data.put_slice(name.as_bytes());
    data.put_u16(wanted.len().try_into().unwrap());
    wanted.iter().for_each(|&kind| data.put_u16(kind));
    data
}

fn infos(replies: &[(u32, u32, Vec<u8>)]) -> Vec<u16> {
    let infos = replies.iter().filter(|reply| reply.1 == option_reply::INFO);
    infos.map(|reply| (&reply.2[..2]).get_u16()).collect()
}

#[test]
fn go_is_answered_byte_for_byte_as_the_protocol_says() {
    let mut disk = export("disk");
    disk.flags.can_multi_conn = true;
    let mut client = Client::begun(vec![disk.clone()], FIXED_NO_ZEROES);
    client
        .send(b"IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x04disk\0\0")
        .unwrap();
    let expected: &[u8] = b"\x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\0\0\0\x03\0\0\0\x0e\
        \0\x03\0\0\x02\0\0\0\x10\0\x02\0\0\0\
        \x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\0\0\0\x03\0\0\0\x0c\
        \0\0\0\0\0\0\x40\0\0\0\x01\x0d\
        \x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\0\0\0\x01\0\0\0\0";
    assert_eq!(client.received, expected);
    let ready = HandshakeOutcome::Ready {
        export: disk,
        structured_replies: false,
    };
    assert_eq!(client.handshake.poll_outcome(), Some(ready));
    assert_eq!(client.handshake.poll_outcome(), None);
}

#[test]
fn export_name_is_answered_with_size_flags_and_zeroes_only_if_wanted() {
    for (flags, zeroes) in [(0, 124), (FIXED, 124), (2, 0), (FIXED_NO_ZEROES, 0)] {
        let mut client = Client::begun(vec![export("disk")], flags);
        client.option(option::EXPORT_NAME, b"disk").unwrap();
        let mut expected = b"\0\0\0\0\x40\0\0\0\0\x0d".to_vec();
        expected.resize(10 + zeroes, 0);
        assert_eq!(client.received, expected);
        let outcome = client.handshake.poll_outcome();
        assert!(matches!(outcome, Some(HandshakeOutcome::Ready { .. })));
    }
}

#[test]
fn structured_replies_add_the_do_not_fragment_flag_to_later_answers() {
    let mut client = Client::begun(vec![export("disk")], FIXED_NO_ZEROES);
    assert_eq!(
        client.only_reply(option::STRUCTURED_REPLY, b""),
        option_reply::ACK
    );
    client.option(option::EXPORT_NAME, b"disk").unwrap();
    assert_eq!(client.received, b"\0\0\0\0\x40\0\0\0\0\x8d");
    let Some(HandshakeOutcome::Ready {
        structured_replies, ..
    }) = client.handshake.poll_outcome()
    else {
        panic!("no outcome");
    };
    assert!(structured_replies);
}

#[test]
fn each_capability_has_its_bit() {
    let all = ExportFlags {
        read_only: true,
        rotational: true,
        can_multi_conn: true,
        fua: true,
        flush: true,
        trim: true,
        write_zeroes: true,
        fast_zero: true,
    };
    let mut disk = export("disk");
    disk.flags = all;
    assert_eq!(disk.transmission_flags(true), 0b1001_1111_1111);
    disk.flags = ExportFlags::default();
    assert_eq!(disk.transmission_flags(false), 1);
    disk.flags.fast_zero = true;
    assert_eq!(
        disk.transmission_flags(false),
        1,
        "fast zero without write zeroes"
    );
}

#[test]
fn bytes_after_the_last_option_stay_in_the_input() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let mut bytes = option_bytes(option::GO, &info_data("disk", &[]));
    bytes.extend_from_slice(b"a request");
    client.send(&bytes).unwrap();
    assert_eq!(&client.input[..], b"a request");
}

#[test]
fn info_answers_what_go_would_and_stays_in_the_handshake() {
    let mut disk = export("disk");
    disk.description = "LUN 1".to_owned();
    let wanted = [info::NAME, info::DESCRIPTION, info::BLOCK_SIZE, 77];
    let mut client = Client::begun(vec![disk], FIXED);
    client
        .option(option::INFO, &info_data("disk", &wanted))
        .unwrap();
    assert_eq!(client.handshake.poll_outcome(), None);
    let asked = client.replies();
    client
        .option(option::GO, &info_data("disk", &wanted))
        .unwrap();
    let went = client.replies();
    let data = |replies: &[(u32, u32, Vec<u8>)]| -> Vec<Vec<u8>> {
        replies.iter().map(|reply| reply.2.clone()).collect()
    };
    assert_eq!(data(&asked), data(&went));
    assert!(asked.iter().any(|reply| reply.2 == b"\0\x01disk"));
    assert!(asked.iter().any(|reply| reply.2 == b"\0\x02LUN 1"));
}

#[test]
fn name_and_description_come_on_request_only_and_block_sizes_always() {
    let mut disk = export("disk");
    disk.description = "LUN 1".to_owned();
    let mut client = Client::begun(vec![disk], FIXED);
    client
        .option(option::INFO, &info_data("disk", &[]))
        .unwrap();
    assert_eq!(infos(&client.replies()), [info::BLOCK_SIZE, info::EXPORT]);
}

#[test]
fn an_empty_description_is_not_sent() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let wanted = info_data("disk", &[info::DESCRIPTION]);
    client.option(option::INFO, &wanted).unwrap();
    assert_eq!(infos(&client.replies()), [info::BLOCK_SIZE, info::EXPORT]);
}

#[test]
fn the_empty_name_is_the_only_export_and_its_real_name_is_told() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let wanted = info_data("", &[info::NAME]);
    client.option(option::INFO, &wanted).unwrap();
    assert!(client.replies().iter().any(|r| r.2 == b"\0\x01disk"));

    let mut client = Client::begun(vec![export("a"), export("b")], FIXED);
    assert_eq!(
        client.only_reply(option::INFO, &info_data("", &[])),
        option_reply::ERR_UNKNOWN
    );
    let mut client = Client::begun(Vec::new(), FIXED);
    assert_eq!(
        client.only_reply(option::INFO, &info_data("", &[])),
        option_reply::ERR_UNKNOWN
    );
}

#[test]
fn list_names_every_export_with_its_description() {
    let mut second = export("b");
    second.description = "scratch".to_owned();
    let mut client = Client::begun(vec![export("a"), second], FIXED);
    client.option(option::LIST, b"").unwrap();
    let expected = [
        (option::LIST, option_reply::SERVER, b"\0\0\0\x01a".to_vec()),
        (
            option::LIST,
            option_reply::SERVER,
            b"\0\0\0\x01bscratch".to_vec(),
        ),
        (option::LIST, option_reply::ACK, Vec::new()),
    ];
    assert_eq!(client.replies(), expected);
}

#[test]
fn abort_is_acknowledged_and_ends_the_handshake() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    assert_eq!(client.only_reply(option::ABORT, b""), option_reply::ACK);
    assert_eq!(
        client.handshake.poll_outcome(),
        Some(HandshakeOutcome::Aborted)
    );
    client.option(option::LIST, b"").unwrap();
    assert_eq!(client.replies(), [], "nothing is answered after the end");
}

#[test]
fn options_that_we_do_not_speak_are_refused_and_the_stream_stays_in_step() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    // PEEK_EXPORT, STARTTLS, LIST_META_CONTEXT, SET_META_CONTEXT, EXTENDED_HEADERS, and the future.
    for kind in [4, 5, 9, 10, 11, 12, 0, u32::MAX] {
        let data = vec![0x5a; 300];
        assert_eq!(client.only_reply(kind, &data), option_reply::ERR_UNSUP);
    }
    let go = info_data("disk", &[]);
    client.option(option::GO, &go).unwrap();
    assert!(client.handshake.poll_outcome().is_some());
}

#[test]
fn malformed_options_are_invalid_and_the_handshake_goes_on() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let mut long_name = Vec::new();
    long_name.put_u32(4097);
    long_name.put_bytes(b'x', 4097);
    long_name.put_u16(0);
    let malformed: [(u32, &[u8], u32); 10] = [
        (option::LIST, b"x", option_reply::ERR_INVALID),
        (option::STRUCTURED_REPLY, b"x", option_reply::ERR_INVALID),
        (option::GO, b"", option_reply::ERR_INVALID),
        (option::GO, b"\0\0\0", option_reply::ERR_INVALID),
        (option::GO, b"\0\0\0\x04dis", option_reply::ERR_INVALID),
        (option::GO, b"\0\0\0\x04disk", option_reply::ERR_INVALID),
        (
            option::GO,
            b"\0\0\0\x04disk\0\x01",
            option_reply::ERR_INVALID,
        ),
        (
            option::GO,
            b"\0\0\0\x04disk\0\0\0\0",
            option_reply::ERR_INVALID,
        ),
        (
            option::GO,
            b"\0\0\0\x02\xff\xfe\0\0",
            option_reply::ERR_INVALID,
        ),
        (option::INFO, &long_name, option_reply::ERR_TOO_BIG),
    ];
    for (kind, data, expected) in malformed {
        assert_eq!(client.only_reply(kind, data), expected, "{kind} {data:?}");
    }
    assert_eq!(
        client.only_reply(option::GO, b"\xff\xff\xff\xffdisk\0\0"),
        option_reply::ERR_INVALID
    );
    client.option(option::GO, &info_data("disk", &[])).unwrap();
    assert!(client.handshake.poll_outcome().is_some());
}

#[test]
fn unknown_client_flags_drop_the_client() {
    let mut client = Client::of(vec![export("disk")]);
    assert_eq!(
        client.send(&7_u32.to_be_bytes()),
        Err(HandshakeError::UnknownClientFlags { flags: 7 })
    );
}

#[test]
fn a_client_that_is_no_nbd_client_is_dropped() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    assert!(matches!(
        client.send(b"GET / HTTP/1.1\r\n\r\n"),
        Err(HandshakeError::BadOptionMagic { .. })
    ));
}

#[test]
fn an_oversized_option_is_refused_by_its_header_alone() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let length = NBD_OPTION_MAX + 1;
    let mut header = option_bytes(option::GO, b"");
    header[12..].copy_from_slice(&length.to_be_bytes());
    let option = option::GO;
    assert_eq!(
        client.send(&header),
        Err(HandshakeError::OptionTooLong { option, length })
    );
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let data = vec![0; NBD_OPTION_MAX as usize];
    assert_eq!(client.only_reply(99, &data), option_reply::ERR_UNSUP);
}

#[test]
fn a_client_that_never_stops_haggling_is_dropped() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    for _ in 0..NBD_OPTIONS_MAX {
        client.option(option::LIST, b"").unwrap();
    }
    assert_eq!(
        client.option(option::LIST, b""),
        Err(HandshakeError::TooManyOptions)
    );
}

#[test]
fn without_fixed_newstyle_only_export_name_is_served() {
    let mut client = Client::begun(vec![export("disk")], 0);
    let option = option::LIST;
    assert_eq!(
        client.option(option, b""),
        Err(HandshakeError::NotFixedNewstyle { option })
    );
}

#[test]
fn an_unknown_export_ends_export_name_but_not_go() {
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let go = info_data("disc", &[]);
    assert_eq!(
        client.only_reply(option::GO, &go),
        option_reply::ERR_UNKNOWN
    );
    let name = "disc".to_owned();
    assert_eq!(
        client.option(option::EXPORT_NAME, b"disc"),
        Err(HandshakeError::UnknownExport { name })
    );
    let mut client = Client::begun(vec![export("disk")], FIXED);
    let endless = vec![b'x'; 5000];
    let Err(HandshakeError::UnknownExport { name }) = client.option(option::EXPORT_NAME, &endless)
    else {
        panic!("refused");
    };
    assert_eq!(name.len(), 64, "the log gets a bounded name");
}

#[test]
fn a_silent_client_runs_out_of_time_and_a_finished_one_does_not() {
    let mut client = Client::of(vec![export("disk")]);
    let deadline = client.handshake.poll_timeout().unwrap();
    assert_eq!(deadline.at, client.start + NBD_HANDSHAKE_TIMEOUT);
    let before = deadline.at - Duration::from_millis(1);
    assert_eq!(client.handshake.handle_timeout(before), Ok(()));
    assert_eq!(
        client.handshake.handle_timeout(deadline.at),
        Err(HandshakeError::TimedOut)
    );

    let mut client = Client::begun(vec![export("disk")], FIXED);
    client.option(option::EXPORT_NAME, b"").unwrap();
    let deadline = client
        .handshake
        .poll_timeout()
        .expect("the answer is under way");
    assert!(client.handshake.poll_outcome().is_some());
    assert_eq!(client.handshake.poll_timeout(), None);
    assert_eq!(client.handshake.handle_timeout(deadline.at), Ok(()));
}
