use super::*;

const WRITE_EXCLUSIVE_REGISTRANTS: u8 = 5;
const EXCLUSIVE_ACCESS: u8 = 3;

fn out(lun: &mut Lun, nexus: NexusId, action: u8, kind: u8, own: u64, other: u64) -> Response {
    let list = [own.to_be_bytes(), other.to_be_bytes(), [0; 8]].concat();
    send(
        lun,
        nexus,
        &[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0],
        &list,
    )
}

fn keys(lun: &mut Lun) -> Vec<u64> {
    let data = ask(lun, &[0x5e, 0, 0, 0, 0, 0, 0, 1, 0, 0]).data_in;
    let listed = usize::from(data[7]);
    assert_eq!(data.len(), 8 + listed);
    data[8..]
        .chunks(8)
        .map(|key| u64::from_be_bytes(key.try_into().unwrap()))
        .collect()
}

fn two_nexuses() -> Lun {
    let mut lun = ram(quiet());
    lun.attach(
        A,
        Port {
            relative: 1,
            group: 1,
        },
    );
    lun.attach(
        B,
        Port {
            relative: 2,
            group: 1,
        },
    );
    lun
}

#[test]
fn a_key_registered_over_one_nexus_is_seen_over_another_and_can_be_removed() {
    let mut lun = two_nexuses();
    assert!(out(&mut lun, B, 0, 0, 0, 0xbeef).is_good());
    assert_eq!(keys(&mut lun), [0xbeef]);
    assert_eq!(
        out(&mut lun, B, 0, 0, 0x1234, 0).status,
        0x18,
        "not the registered key"
    );
    assert!(out(&mut lun, B, 0, 0, 0xbeef, 0).is_good());
    assert!(keys(&mut lun).is_empty());
    assert!(
        out(&mut lun, B, 6, 0, 0x9999, 7).is_good(),
        "and ignore existing key"
    );
    assert_eq!(keys(&mut lun), [7]);
}

#[test]
fn registrations_survive_a_lost_nexus_and_not_a_power_cycle() {
    let mut lun = two_nexuses();
    out(&mut lun, A, 0, 0, 0, 1);
    lun.nexus_lost(A);
    assert_eq!(codes(&ask(&mut lun, &TEST_UNIT_READY)), (6, 0x29, 0x07));
    assert_eq!(keys(&mut lun), [1]);
    lun.power_cycle(|_| true);
    ask(&mut lun, &TEST_UNIT_READY);
    assert!(keys(&mut lun).is_empty());
}

#[test]
fn only_registrants_write_to_a_unit_reserved_for_registrants() {
    let mut lun = two_nexuses();
    assert_eq!(
        out(&mut lun, A, 1, WRITE_EXCLUSIVE_REGISTRANTS, 0, 0).status,
        0x18,
        "no key"
    );
    out(&mut lun, A, 0, 0, 0, 1);
    assert!(out(&mut lun, A, 1, WRITE_EXCLUSIVE_REGISTRANTS, 1, 0).is_good());
    assert!(send(&mut lun, A, &WRITE_BLOCK_5, &[1; 512]).is_good());
    assert_eq!(send(&mut lun, B, &WRITE_BLOCK_5, &[2; 512]).status, 0x18);
    assert!(send(&mut lun, B, &READ_BLOCK_5, &[]).is_good());
    out(&mut lun, B, 0, 0, 0, 2);
    assert!(send(&mut lun, B, &WRITE_BLOCK_5, &[3; 512]).is_good());
    let held = ask(&mut lun, &[0x5e, 1, 0, 0, 0, 0, 0, 1, 0, 0]).data_in;
    assert_eq!(
        held[7..],
        [16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0]
    );
    assert!(out(&mut lun, A, 2, WRITE_EXCLUSIVE_REGISTRANTS, 1, 0).is_good());
    assert_eq!(
        codes(&send(&mut lun, B, &TEST_UNIT_READY, &[])),
        (6, 0x2a, 0x04)
    );
}

#[test]
fn exclusive_access_keeps_readers_out() {
    let mut lun = two_nexuses();
    out(&mut lun, A, 0, 0, 0, 1);
    out(&mut lun, A, 1, EXCLUSIVE_ACCESS, 1, 0);
    assert_eq!(send(&mut lun, B, &READ_BLOCK_5, &[]).status, 0x18);
    assert!(send(&mut lun, B, &TEST_UNIT_READY, &[]).is_good());
    assert!(ask(&mut lun, &READ_BLOCK_5).is_good());
    assert!(out(&mut lun, A, 3, 0, 1, 0).is_good(), "clear");
    assert!(send(&mut lun, B, &READ_BLOCK_5, &[]).is_good());
}

#[test]
fn preempt_and_abort_takes_the_reservation_and_names_whose_commands_end() {
    let mut lun = two_nexuses();
    out(&mut lun, A, 0, 0, 0, 1);
    out(&mut lun, B, 0, 0, 0, 2);
    out(&mut lun, B, 1, WRITE_EXCLUSIVE_REGISTRANTS, 2, 0);
    assert_eq!(
        out(&mut lun, A, 5, WRITE_EXCLUSIVE_REGISTRANTS, 1, 99).status,
        0x18,
        "no such key"
    );
    let answer = out(&mut lun, A, 5, WRITE_EXCLUSIVE_REGISTRANTS, 1, 2);
    assert!(answer.is_good());
    assert_eq!(answer.aborts, [B]);
    assert_eq!(keys(&mut lun), [1]);
    assert_eq!(
        codes(&send(&mut lun, B, &TEST_UNIT_READY, &[])),
        (6, 0x2a, 0x05)
    );
    assert_eq!(send(&mut lun, B, &WRITE_BLOCK_5, &[2; 512]).status, 0x18);
    assert!(send(&mut lun, A, &WRITE_BLOCK_5, &[1; 512]).is_good());
}

#[test]
fn a_list_of_another_length_or_with_unknown_flags_is_refused() {
    let mut lun = two_nexuses();
    let short = send(&mut lun, A, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 23, 0], &[0; 23]);
    assert_eq!(codes(&short), (5, 0x1a, 0));
    let mut list = [0; 24];
    list[20] = 0x05;
    let all_ports = send(&mut lun, A, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0], &list);
    assert_eq!(codes(&all_ports), (5, 0x26, 0));
}

#[test]
fn every_registrant_holds_a_reservation_of_all_registrants() {
    const ALL: u8 = 7;
    let mut lun = two_nexuses();
    out(&mut lun, A, 0, 0, 0, 1);
    assert!(out(&mut lun, A, 1, ALL, 1, 0).is_good());
    assert_eq!(send(&mut lun, B, &WRITE_BLOCK_5, &[2; 512]).status, 0x18);
    out(&mut lun, B, 0, 0, 0, 2);
    assert!(send(&mut lun, B, &WRITE_BLOCK_5, &[2; 512]).is_good());
    assert!(out(&mut lun, B, 1, ALL, 2, 0).is_good(), "it holds it");
    out(&mut lun, A, 0, 0, 1, 0);
    let held = |lun: &mut Lun| ask(lun, &[0x5e, 1, 0, 0, 0, 0, 0, 1, 0, 0]).data_in;
    assert_eq!(held(&mut lun)[8..16], [0; 8], "no single holder");
    assert_eq!(held(&mut lun)[21], ALL, "one registrant is left");
    out(&mut lun, A, 0, 0, 0, 1);
    let others = out(&mut lun, A, 5, ALL, 1, 0);
    assert_eq!(others.aborts, [B], "key 0: everybody else");
    assert_eq!(keys(&mut lun), [1]);
    assert!(out(&mut lun, A, 2, ALL, 1, 0).is_good());
    assert_eq!(held(&mut lun).len(), 8);
}

#[test]
fn registrations_with_aptpl_survive_a_power_cycle_where_the_unit_can() {
    for persistent in [true, false] {
        let mut lun = ram(LunConfig {
            persistent,
            ..quiet()
        });
        let list = [[0; 8], 5u64.to_be_bytes(), [0, 0, 0, 0, 1, 0, 0, 0]].concat();
        let register = send(&mut lun, A, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0], &list);
        let can = ask(&mut lun, &[0x5e, 2, 0, 0, 0, 0, 0, 1, 0, 0]).data_in[2];
        assert_eq!((register.is_good(), can == 1), (persistent, persistent));
        lun.power_cycle(|_| true);
        ask(&mut lun, &TEST_UNIT_READY);
        assert_eq!(keys(&mut lun).len(), usize::from(persistent));
    }
}

#[test]
fn somebody_elsewhere_takes_registrations_and_reservation_away() {
    let mut lun = two_nexuses();
    out(&mut lun, A, 0, 0, 0, 1);
    out(&mut lun, A, 1, WRITE_EXCLUSIVE_REGISTRANTS, 1, 0);
    lun.preempt_elsewhere();
    assert_eq!(codes(&ask(&mut lun, &TEST_UNIT_READY)), (6, 0x2a, 0x05));
    assert_eq!(send(&mut lun, A, &WRITE_BLOCK_5, &[1; 512]).status, 0x18);
    assert_eq!((lun.registrations(), keys(&mut lun).len()), (0, 1));
}
