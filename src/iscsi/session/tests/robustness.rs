//! No input makes a session panic, run away, or resolve a task twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Everything that a target can say, in a session with something of everything outstanding.
fn valid_stream(peer: &mut Peer) -> Vec<Vec<u8>> {
    let read = peer.read(1, 2048).itt;
    let write = peer.write(2, &pattern(20_000))[0].command().itt;
    let plain = peer.read(3, 0).itt;
    let now = peer.now;
    peer.full().ping(now);
    let ping = peer.sent_one().nop_out().itt;
    peer.full().manage(now, TaskFunction::AbortTask(TaskId(3)));
    let abort = peer.sent_one().management().itt;
    let mut stream = Vec::new();
    let mut add = |bhs: Bhs, data: &[u8], outbox: &mut Outbox| {
        outbox.push(bhs, &Bytes::copy_from_slice(data).into());
        stream.push(outbox.outgoing().take_all().to_vec());
    };
    let mut outbox = std::mem::take(&mut peer.outbox);
    let mut data_in = peer.data_in(read, 0, 0);
    add(data_in.encode(), &pattern(1024), &mut outbox);
    let r2t = peer.r2t(write, 0, 8192, 4096);
    add(r2t.encode(), &[], &mut outbox);
    let nop = NopIn {
        lun: lun(),
        itt: ping,
        ttt: Ttt::new(1),
        numbers: peer.consumed(),
    };
    add(nop.encode(), &[], &mut outbox);
    let message = AsyncMessage {
        lun: lun(),
        numbers: peer.consumed(),
        event: 0,
        vendor_code: 0,
        parameters: [1, 2, 3],
    };
    add(message.encode(), &[0, 2, 0x70, 0], &mut outbox);
    let response = peer.response(plain, 0, Residual::None);
    add(response.encode(), &[], &mut outbox);
    let managed = TaskManagementResponse {
        itt: abort,
        response: TmfResponse::Complete,
        numbers: peer.consumed(),
    };
    add(managed.encode(), &[], &mut outbox);
    data_in = peer.data_in(read, 1, 1024);
    data_in.numbers = peer.consumed();
    data_in.status = Some(DataInStatus {
        status: 0,
        residual: Residual::None.into(),
    });
    add(data_in.encode(), &pattern(1024), &mut outbox);
    let response = peer.response(write, 2, Residual::None);
    add(response.encode(), &[0, 2, 0x70, 0], &mut outbox);
    peer.outbox = outbox;
    stream
}

/// Feeds bytes in pieces, drains everything, and checks that no task resolves twice or never.
fn digest_all(mut peer: Peer, bytes: &[u8], piece: usize, submitted: &[u64]) {
    let mut input = BytesMut::new();
    let mut resolved = BTreeMap::new();
    let mut failed = None;
    for part in bytes.chunks(piece) {
        input.extend_from_slice(part);
        let result = peer.session.handle_bytes(peer.now, &mut input);
        if let (Some(before), Err(now)) = (&failed, &result) {
            assert_eq!(before, now);
        }
        failed = failed.or_else(|| result.err());
        for event in peer.events() {
            if let Event::Completed(id, _) | Event::Failed(id, _) | Event::Aborted(id) = event {
                *resolved.entry(id).or_insert(0) += 1;
            }
        }
        let queued = peer.session.outgoing().take_all().len();
        assert!(queued <= 200_000, "output is bounded by what was asked");
    }
    for (id, _) in peer.session.into_lost() {
        *resolved.entry(id).or_insert(0) += 1;
    }
    let expected: BTreeMap<_, _> = submitted.iter().map(|id| (TaskId(*id), 1)).collect();
    assert_eq!(resolved, expected);
}

fn setup() -> Setup {
    Setup::answers(&[
        ("InitialR2T", "Yes"),
        ("ImmediateData", "Yes"),
        ("MaxRecvDataSegmentLength", "8192"),
    ])
}

#[test]
fn the_valid_stream_is_valid() {
    let mut peer = Peer::new(&setup());
    let stream = valid_stream(&mut peer).concat();
    peer.try_bytes(&stream).unwrap();
    let events = peer.events();
    assert_eq!(events.len(), 6, "{events:?}");
    assert_eq!(peer.full().outstanding(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1usize..200) {
        let peer = Peer::new(&setup());
        digest_all(peer, &bytes, piece, &[]);
    }

    #[test]
    fn random_headers_of_targets_do_no_harm(
        headers in prop::collection::vec((0usize..9, any::<[u8; 47]>(), any::<bool>()), 1..20),
        piece in 1usize..200,
    ) {
        let mut peer = Peer::new(&setup());
        let mut bytes = Vec::new();
        let tags: Vec<Itt> = (1..4).map(|id| peer.read(id, 2048).itt).collect();
        for (opcode, mut rest, ours) in headers {
            // No data, and often a tag that exists: past the first checks.
            rest[3..7].fill(0);
            if ours {
                let tag = tags[usize::from(rest[20]) % 3].get().to_be_bytes();
                rest[15..19].copy_from_slice(&tag);
            }
            bytes.push([0x20, 0x21, 0x22, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f][opcode]);
            bytes.extend_from_slice(&rest);
        }
        digest_all(peer, &bytes, piece, &[1, 2, 3]);
    }

    #[test]
    fn mutated_streams_do_no_harm(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        shuffle: bool,
        cut in any::<prop::sample::Index>(),
        piece in 1usize..3000,
    ) {
        let mut peer = Peer::new(&setup());
        let pdus = valid_stream(&mut peer);
        let mut bytes = if shuffle {
            order.iter().flat_map(|index| pdus[*index].clone()).collect()
        } else {
            pdus.concat()
        };
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= value;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 4);
        digest_all(peer, &bytes, piece, &[1, 2, 3]);
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_events(
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut peer = Peer::new(&setup());
        let bytes = valid_stream(&mut peer).concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let mut input = BytesMut::new();
        for pair in places.windows(2) {
            input.extend_from_slice(&bytes[pair[0]..pair[1]]);
            peer.session.handle_bytes(peer.now, &mut input).unwrap();
        }
        prop_assert!(input.is_empty());
        let mut completed = Vec::new();
        for event in peer.events() {
            if let Event::Completed(id, _) = event {
                completed.push(id.0);
            }
        }
        prop_assert_eq!(completed, [1, 2]);
    }

    #[test]
    fn any_write_arrives_whole_whatever_was_negotiated(
        len in 1usize..60_000, initial_r2t: bool, immediate: bool,
        segment in 512u32..9000, first in 512u32..20_000, burst in 512u32..20_000,
    ) {
        let yes = |b: bool| if b { "Yes" } else { "No" };
        let leak = |n: u32| -> &'static str { n.to_string().leak() };
        let mut peer = Peer::new(&Setup::answers(&[
            ("InitialR2T", yes(initial_r2t)),
            ("ImmediateData", yes(immediate)),
            ("MaxRecvDataSegmentLength", leak(segment)),
            ("FirstBurstLength", leak(first.min(burst))),
            ("MaxBurstLength", leak(burst)),
        ]));
        let data = pattern(len);
        let mut disk = vec![0; len];
        let mut put = |sent: &[Sent]| -> usize {
            let mut total = 0;
            for pdu in sent {
                assert!(pdu.data.len() <= segment as usize);
                let offset = if pdu.bhs.opcode() == Ok(Opcode::DataOut) { pdu.data_out().offset } else { 0 };
                disk[offset as usize..offset as usize + pdu.data.len()].copy_from_slice(&pdu.data);
                total += pdu.data.len();
            }
            let last = sent.last().unwrap();
            assert!(last.bhs.is_final());
            total
        };
        let sent = peer.write(1, &data);
        let itt = sent[0].command().itt;
        let mut received = put(&sent);
        assert!(received <= first.min(burst) as usize);
        let mut r2t_sn = 0;
        while received < len {
            let want = u32::try_from(len - received).unwrap().min(burst);
            let r2t = peer.r2t(itt, r2t_sn, u32::try_from(received).unwrap(), want);
            peer.send(r2t.encode(), &[]);
            let sent = peer.sent();
            received += put(&sent);
            r2t_sn += 1;
        }
        peer.respond(itt, 0, Residual::None);
        prop_assert!(matches!(peer.event(), Event::Completed(TaskId(1), _)));
        prop_assert_eq!(disk, data);
    }
}
