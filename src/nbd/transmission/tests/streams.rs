//! Whole streams of requests, by property.

use bytes::{Buf, BufMut, Bytes};
use proptest::prelude::*;

use super::*;

/// Requests of all kinds, mostly sane, with their payload.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let request = (0..9_u16, 0..32_u16, any::<u64>(), 0..40_u64, 0..20_u32).prop_map(
        |(kind, flags, cookie, block, blocks)| {
            let flags = if flags < 24 { flags & 1 } else { flags };
            let kind = if kind == command::DISC {
                command::READ
            } else {
                kind
            };
            let mut bytes = request(kind, flags, cookie, block * 512, blocks * 512);
            if kind == command::WRITE {
                bytes.extend((0..blocks * 512).map(|i| i.to_le_bytes()[0] ^ 0x55));
            }
            bytes
        },
    );
    proptest::collection::vec(request, 0..12).prop_map(|requests| requests.concat())
}

/// The replies of a connection with structured replies, in an order of their own: refusals overtake.
fn messages(mut replies: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while !replies.is_empty() {
        let structured = (&replies[..4]).get_u32() == 0x668e_33ef;
        let whole = if structured {
            20 + (&replies[16..20]).get_u32() as usize
        } else {
            16
        };
        messages.push(replies.split_to(whole));
    }
    messages.sort();
    messages
}

/// Feeds the pieces, answering every request in order; what was asked and what was answered.
fn served(pieces: &[&[u8]], limits: ConnectionLimits) -> (Vec<(String, Bytes)>, Vec<Bytes>) {
    let mut small = export();
    small.size = 32 * 512;
    let mut link = Link::with(&small, true, limits);
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for piece in pieces {
        link.send(piece);
        loop {
            while let Some(Request { token, command }) = link.connection.poll_request() {
                let (text, data, length) = match &command {
                    Command::Read { length, .. } => (format!("{command:?}"), Bytes::new(), *length),
                    Command::Write { offset, data, fua } => {
                        (format!("Write {offset} {fua}"), data.to_bytes(), 0)
                    }
                    Command::Flush | Command::Trim { .. } | Command::WriteZeroes { .. } => {
                        (format!("{command:?}"), Bytes::new(), 0)
                    }
                };
                asked.push((text, data));
                link.connection.reply(token, Ok(zeroes(length as usize)));
            }
            let output = link.output();
            link.send(&[]);
            if output.is_empty() {
                break;
            }
            answered.extend_from_slice(&output);
        }
    }
    (asked, messages(answered.into()))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let mut connection = Connection::with_limits(&export(), true, TINY);
        let mut input = BytesMut::from(&bytes[..]);
        let _ = connection.handle_bytes(&mut input);
    }

    #[test]
    fn a_client_that_is_never_answered_occupies_no_more_than_its_bounds(
        requests in proptest::collection::vec(
            (0..9_u16, 0..4_u16, any::<u64>(), prop_oneof![Just(512_u32), Just(30 << 10), any::<u32>()]),
            0..40,
        )
    ) {
        let mut connection = Connection::with_limits(&export(), true, TINY);
        let mut input = BytesMut::new();
        for (kind, flags, offset, length) in requests {
            if !connection.wants_input() {
                break;
            }
            input.extend_from_slice(&request(kind, flags, 7, (offset % SIZE) & !511, length));
            input.put_bytes(0, if kind == command::WRITE { length as usize % (64 << 10) } else { 0 });
            if connection.handle_bytes(&mut input).is_err() {
                break;
            }
            prop_assert!(connection.in_flight() <= TINY.requests);
            prop_assert!(connection.held <= TINY.bytes);
            prop_assert!(connection.outgoing().pending() <= 4 * 128);
        }
    }

    #[test]
    fn how_the_input_is_cut_makes_no_difference(
        bytes in stream(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let whole = served(&[&bytes], TINY);
        prop_assert_eq!(&served(&pieces, TINY), &whole);
        let unbounded = served(&[&bytes], ConnectionLimits::default());
        prop_assert_eq!(unbounded, whole, "bounds delay requests and change none");
    }
}
