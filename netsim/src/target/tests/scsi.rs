use iiblockdaemon::iscsi::pdu::text::{TextRequest, TextResponse};
use iiblockdaemon::iscsi::pdu::{DataDirection, NopIn, NopOut};
use iiblockdaemon::iscsi::serial::SerialNumber;
use iiblockdaemon::task::Residual;

use super::super::*;
use super::initiator::{BLOCK, Initiator, cdb, pattern, target};

#[test]
fn unsolicited_and_solicited_data_become_one_write() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let keys = [
        ("InitialR2T", "No"),
        ("ImmediateData", "Yes"),
        ("FirstBurstLength", "1024"),
        ("MaxBurstLength", "2048"),
        ("DataDigest", "CRC32C"),
        ("HeaderDigest", "CRC32C"),
    ];
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &keys);
    let data = pattern(8 * BLOCK);
    let length = DataDirection::Write(4096);
    let itt = initiator.command(
        now,
        &mut target,
        cdb(0x8a, 5, 8),
        length,
        false,
        &data[..512],
    );
    assert!(
        initiator.receive(&mut target).is_none(),
        "still unsolicited"
    );
    let unsolicited = &data[512..1024];
    initiator.data_out(now, &mut target, (itt, None), (0, 512), true, unsolicited);
    for (sn, (offset, length)) in [(1024, 2048), (3072, 1024)].into_iter().enumerate() {
        let r2t = initiator.r2t(&mut target).unwrap();
        assert_eq!((r2t.offset, r2t.length), (offset, length));
        assert_eq!(r2t.r2t_sn as usize, sn);
        let half = length / 2;
        for (data_sn, at) in [(0, offset), (1, offset + half)] {
            let place = (data_sn, at);
            let data = &data[at as usize..(at + half) as usize];
            let tag = (itt, Some(r2t.ttt));
            initiator.data_out(now, &mut target, tag, place, data_sn == 1, data);
        }
    }
    let response = initiator.response(&mut target).unwrap();
    assert_eq!((response.status, response.itt), (0, itt));
    assert_eq!(response.residual.checked(), Some(Residual::None));
    let unit = target.unit(0).unwrap();
    assert_eq!(unit.peek(5, 8).unwrap(), data);
    assert_eq!(target.breaches(), []);
}

#[test]
fn data_in_is_cut_by_the_initiators_segment_and_marked_at_burst_ends() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let keys = [
        ("MaxRecvDataSegmentLength", "1536"),
        ("MaxBurstLength", "2048"),
    ];
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &keys);
    let data = pattern(8 * BLOCK);
    initiator.write(now, &mut target, 0, &data[..2048]);
    initiator.write(now, &mut target, 4, &data[2048..]);
    initiator.response(&mut target).unwrap();
    initiator.response(&mut target).unwrap();
    let read = initiator.read(now, &mut target, 0, 8);
    let shape: Vec<_> = read
        .iter()
        .map(|(pdu, data)| (pdu.data_sn, pdu.offset, data.len(), pdu.last))
        .collect();
    let expected = [
        (0, 0, 1536, false),
        (1, 1536, 512, true),
        (2, 2048, 1536, false),
        (3, 3584, 512, true),
    ];
    assert_eq!(shape, expected);
    let whole: Vec<u8> = read.iter().flat_map(|(_, data)| data.to_vec()).collect();
    assert_eq!(whole, data);
    let statuses: Vec<_> = read.iter().map(|(pdu, _)| pdu.status.is_some()).collect();
    assert_eq!(statuses, [false, false, false, true]);
}

#[test]
fn residuals_say_how_much_too_little_or_too_much_was_expected() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    let residual = |expected, initiator: &mut Initiator, target: &mut Target| {
        let direction = DataDirection::Read(expected);
        initiator.command(now, target, cdb(0x88, 0, 1), direction, true, &[]);
        let (bhs, data) = initiator.receive(target).unwrap();
        let pdu = iiblockdaemon::iscsi::pdu::DataIn::decode(&bhs).unwrap();
        (pdu.status.unwrap().residual.checked().unwrap(), data.len())
    };
    let mut of = |expected| residual(expected, &mut initiator, &mut target);
    assert_eq!(of(512), (Residual::None, 512));
    assert_eq!(of(1000), (Residual::Underflow(488), 512));
    assert_eq!(of(100), (Residual::Overflow(412), 100));
}

#[test]
fn the_window_closes_as_commands_wait_and_opens_as_they_end() {
    let now = crate::clock::now();
    let mut target = target(|config| config.queue_depth = 2);
    let slow = PortalBehaviour {
        service_time: Duration::from_secs(1),
        ..PortalBehaviour::default()
    };
    target.set_portal(0, slow);
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    let first = initiator.cmd_sn;
    for _ in 0..3 {
        initiator.write(now, &mut target, 0, &[1; BLOCK]);
    }
    assert_eq!(
        target.outstanding(),
        2,
        "the third is outside of the window"
    );
    assert!(matches!(
        target.breaches()[..],
        [Breach::OutsideWindow { .. }]
    ));
    target.handle_timeout(now + Duration::from_secs(1));
    let response = initiator.response(&mut target).unwrap();
    assert_eq!(response.numbers.exp_cmd_sn, first.plus(2));
    assert_eq!(response.numbers.max_cmd_sn, first.plus(2));
    let response = initiator.response(&mut target).unwrap();
    assert_eq!(response.numbers.max_cmd_sn, first.plus(3));
    assert!(
        initiator.response(&mut target).is_none(),
        "it was never taken"
    );
}

#[test]
fn each_breach_of_the_data_rules_is_named_and_ends_the_session() {
    type Act = fn(&mut Initiator, Instant, &mut Target);
    let cases: [(&str, Act); 4] = [
        ("DataSN 1 where 0", |initiator, now, target| {
            let length = DataDirection::Write(1024);
            let itt = initiator.command(now, target, cdb(0x8a, 0, 2), length, true, &[]);
            let ttt = Some(initiator.r2t(target).unwrap().ttt);
            initiator.data_out(now, target, (itt, ttt), (1, 0), true, &[0; 1024]);
        }),
        ("offset 512 where 0", |initiator, now, target| {
            let length = DataDirection::Write(1024);
            let itt = initiator.command(now, target, cdb(0x8a, 0, 2), length, true, &[]);
            let ttt = Some(initiator.r2t(target).unwrap().ttt);
            initiator.data_out(now, target, (itt, ttt), (0, 512), true, &[0; 512]);
        }),
        ("InitialR2T=Yes", |initiator, now, target| {
            let length = DataDirection::Write(1024);
            initiator.command(now, target, cdb(0x8a, 0, 2), length, false, &[]);
        }),
        ("CmdSN", |initiator, now, target| {
            initiator.cmd_sn = initiator.cmd_sn.next();
            initiator.write(now, target, 0, &[1; BLOCK]);
        }),
    ];
    for (expected, act) in cases {
        let now = crate::clock::now();
        let mut target = target(|_| {});
        let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
        act(&mut initiator, now, &mut target);
        let breaches = target.breaches();
        let [breach] = breaches.as_slice() else {
            panic!("{expected}: {breaches:?}")
        };
        assert!(breach.to_string().contains(expected), "{breach}");
        assert_eq!(target.is_over(initiator.id), Some(true), "{expected}");
    }
}

#[test]
fn a_ping_comes_back_with_its_data() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    let ping = NopOut {
        immediate: true,
        lun: LunAddress::from_wire([0; 8]),
        itt: Some(initiator.itt()),
        ttt: None,
        numbers: initiator.numbers(),
    };
    initiator.send(now, &mut target, ping.encode(), b"echo");
    let (bhs, data) = initiator.receive(&mut target).unwrap();
    let pong = NopIn::decode(&bhs);
    assert_eq!((pong.itt, pong.ttt), (ping.itt, None));
    assert_eq!(data, &b"echo"[..]);
}

#[test]
fn the_target_pings_and_drops_an_initiator_that_does_not_answer() {
    let now = crate::clock::now();
    let second = Duration::from_secs(1);
    let mut target = target(|_| {});
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    target.set_behaviour(Behaviour {
        ping_interval: Some(second),
        ..Behaviour::default()
    });
    assert_eq!(target.poll_timeout().unwrap().at, now + second);
    target.handle_timeout(now + second);
    let (bhs, _) = initiator.receive(&mut target).unwrap();
    let ping = NopIn::decode(&bhs);
    let pong = NopOut {
        immediate: true,
        lun: ping.lun,
        itt: None,
        ttt: Some(ping.ttt.unwrap()),
        numbers: initiator.numbers(),
    };
    initiator.send(now + second, &mut target, pong.encode(), &[]);
    target.handle_timeout(now + 2 * second);
    assert_eq!(target.is_over(initiator.id), None);
    target.handle_timeout(now + 3 * second);
    assert_eq!(target.is_over(initiator.id), Some(true));
}

#[test]
fn send_targets_lists_all_portals_in_as_many_responses_as_it_takes() {
    let now = crate::clock::now();
    let mut target = target(|config| {
        for number in 0..40 {
            let address = format!("10.1.0.{number}:3260");
            config.portals.push(PortalConfig { address, group: 3 });
        }
    });
    let keys = [
        ("SessionType", "Discovery"),
        ("MaxRecvDataSegmentLength", "512"),
    ];
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &keys);
    let mut request = TextRequest {
        immediate: false,
        is_final: true,
        continues: false,
        lun: LunAddress::from_wire([0; 8]),
        itt: initiator.itt(),
        ttt: None,
        cmd_sn: initiator.numbers().cmd_sn,
        exp_stat_sn: SerialNumber(0),
    };
    let ask = Text::new().with("SendTargets", "All").encode();
    initiator.send(now, &mut target, request.encode(), &ask);
    let mut all = Vec::new();
    loop {
        let (bhs, data) = initiator.receive(&mut target).unwrap();
        let response = TextResponse::decode(&bhs).unwrap();
        all.extend_from_slice(&data);
        assert_eq!(response.is_final, !response.continues);
        if response.is_final {
            break;
        }
        assert_eq!(data.len(), 512);
        request.ttt = response.ttt;
        request.cmd_sn = initiator.numbers().cmd_sn;
        initiator.send(now, &mut target, request.encode(), &[]);
    }
    let text = Text::decode(&all).unwrap();
    assert_eq!(text.len(), 1 + 43);
    let addresses: Vec<_> = text.iter().skip(1).map(|(_, value)| value).collect();
    assert_eq!(addresses[2], "10.0.0.3:3260,2");
    assert_eq!(addresses[42], "10.1.0.39:3260,3");
    initiator.write(now, &mut target, 0, &[0; BLOCK]);
    assert!(matches!(target.breaches()[..], [Breach::NotInDiscovery(1)]));
}

#[test]
fn report_luns_and_the_inquiry_of_an_empty_place_are_answered() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    let mut report = [0; 16];
    (report[0], report[9]) = (0xa0, 64);
    let direction = DataDirection::Read(64);
    initiator.command(now, &mut target, report, direction, true, &[]);
    let (_, data) = initiator.receive(&mut target).unwrap();
    let expected = [
        [0, 0, 0, 16, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(data, expected.concat());
    let mut inquiry = [0; 16];
    (inquiry[0], inquiry[4]) = (0x12, 36);
    let response = report::no_such_unit(&inquiry);
    assert_eq!((response.data_in[0], response.data_in.len()), (0x7f, 36));
    assert_eq!(report::no_such_unit(&[0; 16]).sense[12], 0x25);
}
