use super::*;

fn pattern(blocks: usize) -> Vec<u8> {
    (0..blocks * 512)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect()
}

#[test]
fn what_was_written_is_read_in_both_forms() {
    let mut lun = ram(quiet());
    let data = pattern(4);
    let short = [0x2a, 0, 0, 0, 1, 0, 0, 0, 4, 0];
    assert_eq!(lun.data_out_len(&cdb(&short)), 2048);
    assert!(send(&mut lun, A, &short, &data).is_good());
    let long = [0x88, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0];
    assert_eq!(ask(&mut lun, &long).data_in, data);
    let long = [0x8a, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0];
    assert!(send(&mut lun, A, &long, &[0xee; 512]).is_good());
    let read = ask(&mut lun, &[0x28, 0, 0, 0, 1, 0, 0, 0, 4, 0]).data_in;
    assert_eq!(
        (&read[..512], &read[512..1024]),
        (&data[..512], &[0xee; 512][..])
    );
    assert_eq!(read[1024..], data[1024..]);
}

#[test]
fn a_write_of_several_slices_is_one_write() {
    let mut lun = ram(quiet());
    let data = Bytes::from(pattern(2));
    let mut payload = Payload::new();
    for part in [0..100, 100..700, 700..1024] {
        payload.push(data.slice(part));
    }
    assert!(
        lun.execute(A, &cdb(&[0x2a, 0, 0, 0, 0, 9, 0, 0, 2, 0]), &payload)
            .is_good()
    );
    assert_eq!(lun.peek(9, 2).unwrap(), data);
}

#[test]
fn ranges_beyond_the_end_are_refused_and_nothing_is_written() {
    let mut lun = ram(quiet());
    for lba in [2047u32, 2048, u32::MAX] {
        let [a, b, c, d] = lba.to_be_bytes();
        let answer = send(&mut lun, A, &[0x2a, 0, a, b, c, d, 0, 0, 2, 0], &[1; 1024]);
        assert_eq!(codes(&answer), (5, 0x21, 0), "{lba}");
    }
    assert_eq!(lun.peek(2047, 1).unwrap()[..], [0; 512]);
    let wraps = [
        0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2, 0, 0,
    ];
    assert_eq!(codes(&ask(&mut lun, &wraps)), (5, 0x21, 0));
    let last = [0x28, 0, 0, 0, 0x07, 0xff, 0, 0, 1, 0];
    assert!(ask(&mut lun, &last).is_good());
}

#[test]
fn a_transfer_longer_than_the_limit_is_refused() {
    let mut lun = ram(LunConfig {
        max_transfer_blocks: 8,
        ..quiet()
    });
    assert!(ask(&mut lun, &[0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0]).is_good());
    assert_eq!(
        codes(&ask(&mut lun, &[0x28, 0, 0, 0, 0, 0, 0, 0, 9, 0])),
        (5, 0x24, 0)
    );
    let mut huge = ram(LunConfig {
        blocks: 1 << 40,
        ..quiet()
    });
    let read = [
        0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0,
    ];
    assert_eq!(
        codes(&ask(&mut huge, &read)),
        (5, 0x24, 0),
        "2 TiB fit no memory"
    );
}

#[test]
fn a_write_with_too_little_data_is_refused() {
    let mut lun = ram(quiet());
    assert_eq!(
        codes(&send(&mut lun, A, &WRITE_BLOCK_5, &[1; 511])),
        (5, 0x24, 0)
    );
    assert_eq!(lun.peek(5, 1).unwrap()[..], [0; 512]);
}

#[test]
fn a_protected_unit_refuses_every_kind_of_write() {
    let mut lun = ram(LunConfig {
        write_protected: true,
        ..quiet()
    });
    let same = [0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let unmap = [0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for block in [&WRITE_BLOCK_5[..], &same, &unmap] {
        assert_eq!(codes(&send(&mut lun, A, block, &[0; 512])), (7, 0x27, 0));
    }
    assert!(ask(&mut lun, &READ_BLOCK_5).is_good());
}

#[test]
fn fua_is_refused_where_it_is_not_known() {
    let mut lun = ram(LunConfig {
        fua: false,
        ..quiet()
    });
    let answer = send(
        &mut lun,
        A,
        &[0x2a, 0x08, 0, 0, 0, 5, 0, 0, 1, 0],
        &[1; 512],
    );
    assert_eq!(codes(&answer), (5, 0x24, 0));
    assert_eq!(answer.sense[15..18], [0xc0, 0, 1]);
}

fn unmap_list(ranges: &[(u64, u32)]) -> Vec<u8> {
    let body = u16::try_from(ranges.len() * 16).unwrap();
    let mut list = [(body + 6).to_be_bytes(), body.to_be_bytes(), [0; 2], [0; 2]].concat();
    for (lba, blocks) in ranges {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    list
}

fn unmap(lun: &mut Lun, list: &[u8]) -> Response {
    let [high, low] = u16::try_from(list.len()).unwrap().to_be_bytes();
    send(lun, A, &[0x42, 0, 0, 0, 0, 0, 0, high, low, 0], list)
}

#[test]
fn unmapped_blocks_read_as_zeroes() {
    let mut lun = ram(quiet());
    send(&mut lun, A, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0], &[9; 4096]);
    assert!(unmap(&mut lun, &unmap_list(&[(1, 2), (6, 1)])).is_good());
    let read = lun.peek(0, 8).unwrap();
    let zero: Vec<_> = (0..8).filter(|block| read[block * 512] == 0).collect();
    assert_eq!(zero, [1, 2, 6]);
}

#[test]
fn an_unmap_list_is_taken_whole_or_not_at_all() {
    let mut lun = ram(LunConfig {
        max_unmap_blocks: 100,
        max_unmap_descriptors: 2,
        ..quiet()
    });
    send(&mut lun, A, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[9; 512]);
    assert_eq!(
        codes(&unmap(&mut lun, &unmap_list(&[(0, 1), (2048, 1)]))),
        (5, 0x21, 0)
    );
    assert_eq!(
        codes(&unmap(&mut lun, &unmap_list(&[(0, 60), (60, 60)]))),
        (5, 0x26, 0)
    );
    assert_eq!(
        codes(&unmap(&mut lun, &unmap_list(&[(0, 1); 3]))),
        (5, 0x26, 0)
    );
    assert_eq!(codes(&unmap(&mut lun, &[0; 7])), (5, 0x1a, 0));
    let mut wrong = unmap_list(&[(0, 1)]);
    wrong[1] += 1;
    assert_eq!(
        codes(&unmap(&mut lun, &wrong)),
        (5, 0x26, 0),
        "lengths contradict each other"
    );
    assert_eq!(lun.peek(0, 1).unwrap()[..], [9; 512]);
    assert!(unmap(&mut lun, &[]).is_good(), "nothing to do is no error");
}

#[test]
fn a_unit_that_is_not_thin_knows_no_unmap() {
    let mut lun = ram(LunConfig {
        thin: false,
        ..quiet()
    });
    assert_eq!(
        codes(&unmap(&mut lun, &unmap_list(&[(0, 1)]))),
        (5, 0x20, 0)
    );
    let same = [0x93, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(codes(&ask(&mut lun, &same)), (5, 0x24, 0));
    let limits = ask(&mut lun, &[0x12, 1, 0xb0, 0, 255, 0]).data_in;
    assert_eq!(limits[20..36], [0; 16]);
}

#[test]
fn write_same_repeats_its_block_or_writes_zeroes_without_one() {
    let mut lun = ram(LunConfig {
        max_write_same_blocks: 16,
        ..quiet()
    });
    let same = |flags, blocks| [0x93, flags, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, blocks, 0, 0];
    let block = pattern(1);
    assert_eq!(lun.data_out_len(&cdb(&same(0, 3))), 512);
    assert!(send(&mut lun, A, &same(0, 3), &block).is_good());
    assert_eq!(
        lun.peek(10, 3).unwrap(),
        [&block[..], &block, &block].concat()
    );
    assert_eq!(lun.data_out_len(&cdb(&same(1, 2))), 0);
    assert!(ask(&mut lun, &same(0x09, 2)).is_good());
    assert_eq!(lun.peek(10, 3).unwrap(), [&[0; 1024][..], &block].concat());
    assert_eq!(
        codes(&send(&mut lun, A, &same(0, 0), &block)),
        (5, 0x24, 0),
        "WSNZ"
    );
    assert_eq!(
        codes(&send(&mut lun, A, &same(0, 17), &block)),
        (5, 0x24, 0),
        "too long"
    );
    let short = [0x41, 0x08, 0, 0, 0, 12, 0, 0, 1, 0];
    assert!(send(&mut lun, A, &short, &[0; 512]).is_good());
    assert_eq!(lun.peek(12, 1).unwrap()[..], [0; 512]);
}

#[test]
fn a_damaged_block_is_named_and_heals_when_written() {
    let mut lun = ram(quiet());
    lun.damage(7);
    let eight = [0x28, 0, 0, 0, 0, 4, 0, 0, 8, 0];
    let answer = ask(&mut lun, &eight);
    assert_eq!(codes(&answer), (3, 0x11, 0));
    assert_eq!(
        (answer.sense[0], &answer.sense[3..7]),
        (0xf0, &[0, 0, 0, 7][..])
    );
    assert!(send(&mut lun, A, &[0x2a, 0, 0, 0, 0, 7, 0, 0, 1, 0], &[1; 512]).is_good());
    assert!(ask(&mut lun, &eight).is_good());
}

#[test]
fn a_power_cycle_loses_what_was_not_synchronised() {
    let mut lun = ram(LunConfig {
        cache: WriteCache::Volatile,
        ..quiet()
    });
    let write = |lba: u8, fua: u8| [0x2a, fua, 0, 0, 0, lba, 0, 0, 1, 0];
    send(&mut lun, A, &write(1, 0), &[1; 512]);
    assert!(ask(&mut lun, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_good());
    for lba in [1, 2, 3, 4] {
        send(&mut lun, A, &write(lba, 0), &[2; 512]);
        send(&mut lun, A, &write(lba, 0), &[3; 512]);
    }
    send(&mut lun, A, &write(2, 0x08), &[4; 512]);
    let range = [0x91, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0];
    assert!(ask(&mut lun, &range).is_good());
    let held = |lun: &Lun| [1, 2, 3, 4].map(|lba| lun.peek(lba, 1).unwrap()[0]);
    assert_eq!(held(&lun), [3, 4, 3, 3]);
    assert_eq!(lun.power_cycle(|_| false), 2);
    assert_eq!(
        held(&lun),
        [1, 4, 3, 0],
        "1: synchronised once, 2: FUA, 3: synchronised, 4: never"
    );
    assert_eq!(codes(&ask(&mut lun, &TEST_UNIT_READY)), (6, 0x29, 0x01));
}

#[test]
fn a_power_cycle_may_spare_some_blocks() {
    let mut lun = ram(LunConfig {
        cache: WriteCache::Volatile,
        ..quiet()
    });
    send(&mut lun, A, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 4, 0], &[5; 2048]);
    assert_eq!(lun.power_cycle(|lba| lba % 2 == 0), 2);
    let held = [0, 1, 2, 3].map(|lba| lun.peek(lba, 1).unwrap()[0]);
    assert_eq!(held, [5, 0, 5, 0]);
}

#[test]
fn without_a_volatile_cache_nothing_is_lost() {
    for cache in [WriteCache::Off, WriteCache::Safe] {
        let mut lun = ram(LunConfig { cache, ..quiet() });
        send(&mut lun, A, &WRITE_BLOCK_5, &[5; 512]);
        assert_eq!(lun.power_cycle(|_| false), 0);
        assert_eq!(lun.peek(5, 1).unwrap()[..], [5; 512]);
    }
}

#[test]
fn a_synchronisation_beyond_the_end_is_refused() {
    let mut lun = ram(quiet());
    let from = |lba: u16, blocks| {
        let [high, low] = lba.to_be_bytes();
        [0x35, 0, 0, 0, high, low, 0, 0, blocks, 0]
    };
    assert!(ask(&mut lun, &from(2047, 0)).is_good());
    assert!(ask(&mut lun, &from(2047, 1)).is_good());
    assert_eq!(codes(&ask(&mut lun, &from(2047, 2))), (5, 0x21, 0));
    assert_eq!(codes(&ask(&mut lun, &from(2049, 0))), (5, 0x21, 0));
}
