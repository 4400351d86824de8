use proptest::prelude::*;

use super::*;
use crate::iscsi::outbox::Outbox;
use crate::payload::Payload;

const LIMITS: SegmentLimits = SegmentLimits {
    data: 16 << 10,
    control: 512,
};

/// Every frame with the data pieces of a PDU put together, feeding at the given places.
fn frames(
    framer: &mut Framer,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<Vec<(Bhs, Vec<u8>)>, InvalidPdu> {
    let mut input = BytesMut::new();
    let mut pdus: Vec<(Bhs, Vec<u8>)> = Vec::new();
    let mut ended = 0;
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        input.extend_from_slice(&bytes[from..to]);
        from = to;
        while let Some(frame) = framer.next(&mut input)? {
            match frame {
                Frame::Header(bhs, _) => {
                    assert_eq!(pdus.len(), ended, "a header follows an end");
                    pdus.push((bhs, Vec::new()));
                }
                Frame::Data(piece) => {
                    assert!(!piece.is_empty());
                    pdus.last_mut().unwrap().1.extend_from_slice(&piece);
                }
                Frame::End => ended += 1,
            }
        }
        assert!(
            input.len() <= 1072.max(limits::DATA_PIECE_MIN),
            "as documented"
        );
    }
    assert!(input.is_empty());
    assert_eq!(ended, pdus.len());
    Ok(pdus)
}

fn wire(digests: Digests, segments: &[Vec<u8>]) -> Vec<u8> {
    let mut outbox = Outbox::new();
    outbox.set_digests(digests);
    for segment in segments {
        let mut payload = Payload::new();
        segment
            .chunks(1500)
            .for_each(|chunk| payload.push(Bytes::copy_from_slice(chunk)));
        outbox.push(Bhs::new(Opcode::DataIn), &payload);
    }
    outbox.outgoing().take_all().to_vec()
}

proptest! {
    #[test]
    fn what_the_outbox_sends_the_framer_reads_however_it_is_cut(
        header: bool, data: bool,
        segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let digests = Digests { header, data };
        let bytes = wire(digests, &segments);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        let mut framer = Framer::new(LIMITS);
        framer.set_digests(digests);
        let read = frames(&mut framer, &bytes, &cuts).unwrap();
        let data: Vec<Vec<u8>> = read.iter().map(|(_, data)| data.clone()).collect();
        prop_assert_eq!(&data, &segments);
        for ((bhs, _), segment) in read.iter().zip(&segments) {
            prop_assert_eq!(bhs.data_len() as usize, segment.len());
        }
    }

    #[test]
    fn with_both_digests_no_flipped_bit_goes_unnoticed(
        segment in prop::collection::vec(any::<u8>(), 1..3000),
        place in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let digests = Digests { header: true, data: true };
        let mut bytes = wire(digests, std::slice::from_ref(&segment));
        let place = place.index(bytes.len());
        bytes[place] ^= 1u8 << bit;
        let mut framer = Framer::new(LIMITS);
        framer.set_digests(digests);
        let mut input = BytesMut::from(&bytes[..]);
        let mut error = None;
        while error.is_none() {
            match framer.next(&mut input) {
                Ok(Some(Frame::End)) => panic!("a flipped bit went unnoticed"),
                Ok(Some(_)) => {}
                // A header that says to be longer makes the framer wait for the rest.
                Ok(None) => break,
                Err(found) => error = Some(found),
            }
        }
        prop_assert!(error.is_some() || place == 4, "TotalAHSLength");
    }
}

#[test]
fn the_wire_form_is_that_of_rfc_7143_11_2() {
    let digests = Digests {
        header: true,
        data: true,
    };
    let bytes = wire(digests, &[vec![0xaa; 5]]);
    assert_eq!(bytes.len(), 48 + 4 + 8 + 4);
    assert_eq!(bytes[5..8], [0, 0, 5], "the length without padding");
    assert_eq!(bytes[48..52], digest(&bytes[..48]));
    assert_eq!(bytes[57..60], [0, 0, 0], "padding is zero");
    assert_eq!(bytes[60..], digest(&bytes[52..60]), "and in the digest");
}

#[test]
fn additional_header_segments_are_handed_out_and_in_the_header_digest() {
    let mut bhs = Bhs::new(Opcode::ScsiCommand);
    bhs.set_byte::<4>(2);
    let mut bytes = bhs.wire().to_vec();
    bytes.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    bytes.extend_from_slice(&digest(&bytes));
    let mut framer = Framer::new(LIMITS);
    framer.set_digests(Digests {
        header: true,
        data: false,
    });
    let mut input = BytesMut::from(&bytes[..]);
    let Ok(Some(Frame::Header(read, ahs))) = framer.next(&mut input) else {
        panic!("no header");
    };
    assert_eq!(read, bhs);
    assert_eq!(ahs[..], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(input.is_empty());
}

#[test]
fn each_kind_of_pdu_has_its_limit() {
    for (opcode, limit) in [
        (Opcode::DataIn, LIMITS.data),
        (Opcode::NopIn, LIMITS.control),
    ] {
        let mut bhs = Bhs::new(opcode);
        bhs.set_data_len(limit);
        let mut input = BytesMut::from(&bhs.wire()[..]);
        assert!(Framer::new(LIMITS).next(&mut input).is_ok());
        bhs.set_data_len(limit + 1);
        let mut input = BytesMut::from(&bhs.wire()[..]);
        let error = InvalidPdu::DataTooLong {
            opcode: opcode as u8,
            length: limit + 1,
            limit,
        };
        assert_eq!(Framer::new(LIMITS).next(&mut input).unwrap_err(), error);
    }
}

#[test]
fn large_data_is_handed_on_before_it_is_complete() {
    let bytes = wire(Digests::default(), &[vec![7; 16 << 10]]);
    let mut framer = Framer::new(LIMITS);
    let mut input = BytesMut::from(&bytes[..10_000]);
    assert!(matches!(
        framer.next(&mut input),
        Ok(Some(Frame::Header(..)))
    ));
    let Ok(Some(Frame::Data(piece))) = framer.next(&mut input) else {
        panic!("no data");
    };
    assert_eq!(piece.len(), 10_000 - BHS_LEN);
}
