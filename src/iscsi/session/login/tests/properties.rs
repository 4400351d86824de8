use super::*;
use crate::limits::LOGIN_EXCHANGES_MAX;
use proptest::prelude::*;

fn any_pair() -> impl Strategy<Value = (String, String)> {
    let keys = prop::sample::select(vec![
        "AuthMethod",
        "CHAP_A",
        "CHAP_I",
        "CHAP_C",
        "CHAP_N",
        "CHAP_R",
        "HeaderDigest",
        "DataDigest",
        "InitialR2T",
        "ImmediateData",
        "MaxBurstLength",
        "FirstBurstLength",
        "MaxRecvDataSegmentLength",
        "MaxOutstandingR2T",
        "ErrorRecoveryLevel",
        "TargetPortalGroupTag",
        "TargetAddress",
        "TaskReporting",
        "IFMarkInt",
        "X-unknown",
    ]);
    let values = prop_oneof![
        prop::sample::select(vec![
            "None",
            "CHAP",
            "CRC32C",
            "Yes",
            "No",
            "Reject",
            "Irrelevant",
            "NotUnderstood",
            "5",
            "7",
            "0",
            "1",
            "65536",
            "0x0102",
            "0bAAAA",
            "10.0.0.1:3260,1",
            ""
        ])
        .prop_map(str::to_owned),
        "[^\0]{0,20}",
    ];
    (keys.prop_map(str::to_owned), values)
}

#[derive(Clone, Debug)]
struct Move {
    transit: bool,
    continues: bool,
    class: u8,
    text: Vec<u8>,
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let pairs = prop::collection::vec(any_pair(), 0..5).prop_map(|pairs| {
        let text = pairs
            .iter()
            .fold(Text::new(), |text, (k, v)| text.with(k, v));
        text.encode()
    });
    prop_oneof![4 => pairs, 1 => prop::collection::vec(any::<u8>(), 0..60)]
}

fn any_move() -> impl Strategy<Value = Move> {
    let class = prop_oneof![20 => Just(0u8), 1 => any::<u8>()];
    (any::<bool>(), prop::bool::weighted(0.1), class, any_text()).prop_map(
        |(transit, continues, class, text)| Move {
            transit,
            continues,
            class,
            text,
        },
    )
}

/// Plays the moves over and over; gives the number of requests until the login ended.
fn play(config: SessionConfig, moves: &[Move]) -> (u32, Option<LoginStep>) {
    let mut dialogue = Dialogue::start(config);
    let mut requests = 1;
    for step in moves.iter().cycle() {
        let mut response = dialogue.response(step.transit && !step.continues);
        response.flags.continues = step.continues;
        response.status = LoginStatus::new(step.class, 1);
        match dialogue.respond(response, &step.text) {
            Ok(LoginStep::Send(login, request, segment)) => {
                assert!(segment.len() <= 8192);
                assert!(!(request.flags.continues && request.flags.transit.is_some()));
                requests += 1;
                let stat_sn = SerialNumber(requests);
                dialogue = Dialogue {
                    login: *login,
                    request,
                    segment,
                    stat_sn,
                };
            }
            Ok(end) => return (requests, Some(end)),
            Err(_) => return (requests, None),
        }
    }
    unreachable!("there is at least one move");
}

proptest! {
    #[test]
    fn whatever_the_target_says_a_login_ends_within_its_bound(
        moves in prop::collection::vec(any_move(), 1..8),
        kind in 0..4,
    ) {
        let mutual = chap().mutual("", Secret::new(TARGET_SECRET).unwrap()).unwrap();
        let config = match kind {
            0 => config(),
            1 => with_chap(mutual),
            2 => with_chap(chap().allow_none(true)),
            _ => SessionConfig { kind: SessionKind::Discovery, ..config() },
        };
        let demands_proof = kind == 1;
        let (requests, end) = play(config, &moves);
        prop_assert!(requests <= LOGIN_EXCHANGES_MAX);
        if let Some(LoginStep::Done(logged_in)) = end {
            let n = logged_in.negotiated;
            // No random target computes a right response.
            prop_assert!(!demands_proof);
            prop_assert!(n.first_burst_length <= n.max_burst_length);
            prop_assert!(n.max_burst_length >= 512 && n.target_max_recv_data_segment_length >= 512);
            prop_assert!(n.max_outstanding_r2t >= 1);
        }
    }
}
