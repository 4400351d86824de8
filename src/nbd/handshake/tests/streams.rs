//! Whole conversations, by property.

use proptest::prelude::*;

use super::*;

/// A plausible conversation, now and then with garbage.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(info_data("disk", &[info::NAME])),
        Just(Vec::new()),
        Just(b"disk".to_vec()),
    ];
    let option = (0..13_u32, data).prop_map(|(kind, data)| option_bytes(kind, &data));
    let piece = prop_oneof![
        9 => option,
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    (0..5_u32, proptest::collection::vec(piece, 0..12)).prop_map(|(flags, pieces)| {
        let mut bytes = flags.to_be_bytes().to_vec();
        pieces.iter().for_each(|piece| bytes.extend(piece));
        bytes
    })
}

fn outcome_of(pieces: &[&[u8]]) -> (Vec<u8>, Option<HandshakeOutcome>, Vec<u8>, bool) {
    let mut client = Client::of(vec![export("disk"), export("other")]);
    let mut failed = false;
    for piece in pieces {
        if failed {
            client.input.extend_from_slice(piece);
        } else {
            failed = client.send(piece).is_err();
        }
    }
    let outcome = client.handshake.poll_outcome();
    (client.received, outcome, client.input.to_vec(), failed)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let mut client = Client::of(vec![export("disk")]);
        let _ = client.send(&bytes);
    }

    #[test]
    fn nothing_but_an_incomplete_option_is_left_in_the_input(bytes in conversation()) {
        let mut client = Client::of(vec![export("disk"), export("other")]);
        let ok = client.send(&bytes).is_ok();
        if ok && client.handshake.poll_outcome().is_none() && client.input.len() >= OPTION_HEADER_LEN {
            let announced = (&client.input[12..]).get_u32() as usize;
            prop_assert!(client.input.len() < OPTION_HEADER_LEN + announced);
        }
    }

    #[test]
    fn how_the_input_is_cut_makes_no_difference(
        bytes in conversation(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(outcome_of(&pieces), outcome_of(&[&bytes]));
    }
}
