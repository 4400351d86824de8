//! The daemon's session against the simulated target over the link model, in virtual time.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the one event that it waits for"
)]

mod pair;

use std::time::Duration;

use iiblockdaemon::ids::{Disposition, Lun as LunAddress};
use iiblockdaemon::iscsi::chap::{ChapAlgorithm, Secret};
use iiblockdaemon::iscsi::pdu::TmfResponse;
use iiblockdaemon::iscsi::session::config::{
    AuthConfig, ChapConfig, DigestChoice, Offer, SessionKind,
};
use iiblockdaemon::iscsi::session::{AsyncEvent, Event, TargetQuery, TaskFunction};
use netsim::link::{Conditions, Held, Hole};
use netsim::rng::Rng;
use netsim::target::{
    Behaviour, DigestWish, Orphans, PortalBehaviour, PortalConfig, Reinstatement, TargetAuth,
    Wishes,
};
use pair::{Pair, Setup};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn data_survives_every_combination_of_negotiated_values_and_network_conditions() {
    for seed in 0..48 {
        let mut rng = Rng::new(seed).stream("knobs");
        let mut yes = || rng.chance(1, 2);
        let digest = |yes| {
            if yes {
                DigestChoice::Crc32c
            } else {
                DigestChoice::None
            }
        };
        let offer = Offer {
            header_digest: digest(yes()),
            data_digest: digest(yes()),
            immediate_data: yes(),
            ..Offer::default()
        };
        let (initial_r2t, immediate_data, status_in_data) = (yes(), yes(), yes());
        let mut size = |low, high| u32::try_from(rng.between(low, high)).unwrap();
        let wishes = Wishes {
            header_digest: DigestWish::Either,
            initial_r2t,
            immediate_data,
            max_recv_data_segment_length: size(512, 9000),
            first_burst_length: size(512, 20_000),
            max_burst_length: size(512, 40_000),
            max_outstanding_r2t: size(1, 4),
            ..Wishes::default()
        };
        let offer = Offer {
            max_recv_data_segment_length: size(512, 9000),
            ..offer
        };
        let setup = Setup {
            seed,
            offer,
            ..Setup::default()
        };
        let mut pair = Pair::new(setup, |config| {
            config.wishes = wishes;
            config.status_in_data = status_in_data;
            config.queue_depth = 8;
        });
        let conditions = Conditions {
            latency: Duration::from_micros(rng.below(5000)),
            jitter: Duration::from_micros(rng.below(5000)),
            bandwidth: std::num::NonZeroU64::new(rng.between(1 << 20, 1 << 30)),
            ..Conditions::default()
        };
        pair.set_conditions(&conditions, Held::Release);
        pair.log_in();
        write_and_read(&mut pair, &mut rng);
        assert_eq!(pair.target.breaches(), [], "seed {seed}");
    }
}

/// Writes at random places, many at once, then reads everything back.
fn write_and_read(pair: &mut Pair, rng: &mut Rng) {
    let mut disk = vec![0; 256 * 512];
    for _ in 0..20 {
        let lba = rng.index(200);
        let blocks = rng.index(56) + 1;
        let mut data = vec![0; blocks * 512];
        rng.fill(&mut data);
        disk[lba * 512..(lba + blocks) * 512].copy_from_slice(&data);
        // One at a time: overlapping writes in flight have no order.
        let id = pair.write(lba, data);
        pair.run_until_resolved(&[id]);
    }
    let reads: Vec<_> = (0..8).map(|part| pair.read(part * 32, 32)).collect();
    pair.run_until_resolved(&reads);
    for (part, id) in reads.into_iter().enumerate() {
        let got = pair.data(id);
        assert!(
            got == disk[part * 32 * 512..(part + 1) * 32 * 512],
            "part {part}"
        );
    }
}

#[test]
fn both_sides_prove_themselves_with_every_chap_algorithm() {
    for algorithm in ChapAlgorithm::ALL {
        let initiator = || Secret::new(b"the initiator's").unwrap();
        let target = |text: &[u8]| Secret::new(text).unwrap();
        for (own, passes) in [
            (&b"the target's own"[..], true),
            (b"somebody else's", false),
        ] {
            let chap = ChapConfig::new("bob", initiator()).unwrap();
            let chap = chap.algorithms(&[algorithm]).unwrap();
            let chap = chap.mutual("array", target(b"the target's own")).unwrap();
            let setup = Setup {
                auth: AuthConfig::Chap(chap),
                ..Setup::default()
            };
            let mut pair = Pair::new(setup, |config| {
                config.auth = Some(TargetAuth {
                    user: "bob".to_owned(),
                    secret: initiator(),
                    algorithms: ChapAlgorithm::ALL.to_vec(),
                    mutual: Some(("array".to_owned(), target(own))),
                });
            });
            let result = pair.try_log_in();
            assert_eq!(result.is_ok(), passes, "{algorithm}: {result:?}");
        }
    }
}

#[test]
fn discovery_lists_every_portal_however_long_the_answer() {
    let setup = Setup {
        kind: SessionKind::Discovery,
        offer: Offer {
            max_recv_data_segment_length: 512,
            ..Offer::default()
        },
        ..Setup::default()
    };
    let mut pair = Pair::new(setup, |config| {
        config.portals.extend((2..100).map(|number| PortalConfig {
            address: format!("10.0.1.{number}:3260"),
            group: 1,
        }));
    });
    pair.log_in();
    let now = pair.now;
    pair.full().send_targets(now, TargetQuery::All);
    let targets = pair.run_until(|event| match event {
        Event::Targets(targets) => Some(targets),
        _ => None,
    });
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].portals.len(), 100);
    assert_eq!(pair.target.breaches(), []);
}

#[test]
fn a_slow_task_is_aborted_and_a_reset_unit_tells_so() {
    let mut pair = Pair::new(Setup::default(), |_| {});
    pair.log_in();
    pair.target.set_portal(
        0,
        PortalBehaviour {
            service_time: 60 * SECOND,
            ..PortalBehaviour::default()
        },
    );
    let id = pair.write(0, vec![7; 512]);
    pair.run_for(SECOND);
    let now = pair.now;
    pair.full().manage(now, TaskFunction::AbortTask(id));
    let aborted = pair.run_until(|event| match event {
        Event::Aborted(id) => Some(id),
        _ => None,
    });
    assert_eq!(aborted, id);
    let now = pair.now;
    let lun = LunAddress::from_number(0).unwrap();
    pair.full().manage(now, TaskFunction::LogicalUnitReset(lun));
    let response = pair.run_until(|event| match event {
        Event::TaskManagement { response, .. } => Some(response),
        _ => None,
    });
    assert_eq!(response, TmfResponse::Complete);
    assert_eq!(pair.first_byte(), 0);
    assert_eq!(pair.target.breaches(), []);
}

#[test]
fn pings_are_answered_both_ways_and_a_requested_logout_is_carried_out() {
    let mut pair = Pair::new(Setup::default(), |_| {});
    pair.log_in();
    pair.target.set_behaviour(Behaviour {
        ping_interval: Some(SECOND),
        ..Behaviour::default()
    });
    let now = pair.now;
    pair.full().ping(now);
    pair.run_until(|event| matches!(event, Event::PingAnswered { .. }).then_some(()));
    pair.run_for(10 * SECOND);
    assert_eq!(pair.target.sessions().count(), 1, "every ping was answered");
    pair.target.request_logout(5);
    let within = pair.run_until(|event| match event {
        Event::Async(AsyncEvent::LogoutRequested { within }) => Some(within),
        _ => None,
    });
    assert_eq!(within, 5 * SECOND);
    let now = pair.now;
    pair.full().logout(now);
    let wait = pair.run_until(|event| match event {
        Event::LoggedOut { time2wait } => Some(time2wait),
        _ => None,
    });
    assert_eq!(wait, 2 * SECOND);
    assert_eq!(pair.target.sessions().count(), 0);
    assert_eq!(pair.target.breaches(), []);
}

/// A write that the network swallowed; the session that sent it is given up.
fn swallowed_write(reinstatement: Reinstatement) -> Pair {
    let mut pair = Pair::new(Setup::default(), |_| {});
    pair.target.set_behaviour(Behaviour {
        reinstatement,
        ..Behaviour::default()
    });
    pair.log_in();
    let hole = Conditions {
        hole: Hole::All,
        ..Conditions::default()
    };
    pair.set_conditions(&hole, Held::Release);
    let ghost = pair.write(0, vec![7; 512]);
    pair.run_for(SECOND);
    assert!(pair.held() > 512, "the write is in the hole");
    let lost = pair.give_up();
    assert_eq!(lost, [(ghost, Disposition::Indeterminate)]);
    pair
}

#[test]
fn a_write_that_a_black_hole_held_executes_after_the_heal_over_a_newer_one() {
    let mut pair = swallowed_write(Reinstatement::Synchronous);
    let mut other = pair.another_session(1, 2);
    let new = other.write(0, vec![8; 512]);
    other.run_until_resolved(&[new]);
    assert_eq!(other.first_byte(), 8);
    other.heal_old_link(&mut pair);
    assert_eq!(other.first_byte(), 7, "the ghost");
}

#[test]
fn reinstatement_fences_a_write_that_a_black_hole_held() {
    for reinstatement in [Reinstatement::Synchronous, Reinstatement::Asynchronous] {
        let mut pair = swallowed_write(reinstatement);
        let mut other = pair.another_session(1, 1);
        let new = other.write(0, vec![8; 512]);
        other.run_until_resolved(&[new]);
        other.heal_old_link(&mut pair);
        assert_eq!(other.first_byte(), 8, "{reinstatement:?}");
        assert_eq!(other.target.statistics().reinstated, 1);
    }
}

#[test]
fn a_target_that_executes_orphans_late_needs_synchronous_reinstatement_to_be_fenced() {
    for (reinstatement, expected) in [
        (Reinstatement::Synchronous, 8),
        (Reinstatement::Asynchronous, 7),
    ] {
        let mut pair = Pair::new(Setup::default(), |_| {});
        pair.target.set_behaviour(Behaviour {
            reinstatement,
            orphans: Orphans::ExecuteAfter(20 * SECOND),
            ..Behaviour::default()
        });
        pair.log_in();
        pair.target.set_portal(
            0,
            PortalBehaviour {
                service_time: 10 * SECOND,
                ..PortalBehaviour::default()
            },
        );
        pair.write(0, vec![7; 512]);
        pair.run_for(SECOND);
        pair.give_up();
        let mut other = pair.another_session(1, 1);
        let new = other.write(0, vec![8; 512]);
        other.run_until_resolved(&[new]);
        other.run_for(60 * SECOND);
        assert_eq!(other.first_byte(), expected, "{reinstatement:?}");
        assert_eq!(other.target.statistics().executed_late, 1);
    }
}
