use super::*;

#[test]
fn the_first_command_of_a_nexus_hears_of_the_power_on_but_inquiry_passes() {
    let mut lun = ram(LunConfig::disk(1, 512, 2048));
    assert!(ask(&mut lun, &[0x12, 0, 0, 0, 96, 0]).is_good());
    assert_eq!(codes(&ask(&mut lun, &TEST_UNIT_READY)), (6, 0x29, 0));
    assert!(ask(&mut lun, &TEST_UNIT_READY).is_good());
    let other = send(&mut lun, B, &TEST_UNIT_READY, &[]);
    assert_eq!(codes(&other), (6, 0x29, 0), "each nexus hears for itself");
}

#[test]
fn request_sense_takes_the_attention_with_good_status() {
    let mut lun = ram(LunConfig::disk(1, 512, 2048));
    let answer = ask(&mut lun, &[0x03, 0, 0, 0, 252, 0]);
    assert!(answer.is_good());
    assert_eq!(
        (answer.data_in[2], answer.data_in[12], answer.data_in.len()),
        (6, 0x29, 18)
    );
    assert!(ask(&mut lun, &TEST_UNIT_READY).is_good());
}

#[test]
fn an_attention_refuses_a_write_without_carrying_it_out() {
    let mut lun = ram(LunConfig::disk(1, 512, 2048));
    assert_eq!(
        codes(&send(&mut lun, A, &WRITE_BLOCK_5, &[7; 512])),
        (6, 0x29, 0)
    );
    assert_eq!(lun.peek(5, 1).unwrap()[..], [0; 512]);
    assert_eq!(lun.executed(0x2a), 0);
}

#[test]
fn changes_are_told_to_every_nexus_once() {
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
            group: 2,
        },
    );
    lun.resize(4096);
    lun.resize(8192);
    for nexus in [A, B] {
        assert_eq!(
            codes(&send(&mut lun, nexus, &TEST_UNIT_READY, &[])),
            (6, 0x2a, 0x09)
        );
        assert!(send(&mut lun, nexus, &TEST_UNIT_READY, &[]).is_good());
    }
    let capacity = ask(&mut lun, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(capacity.data_in[..], [0, 0, 0x1f, 0xff, 0, 0, 2, 0]);
}

#[test]
fn unknown_commands_and_reserved_bits_are_refused() {
    let mut lun = ram(quiet());
    assert_eq!(codes(&ask(&mut lun, &[0xc1])), (5, 0x20, 0));
    assert_eq!(
        codes(&ask(&mut lun, &[0x9e, 0x17])),
        (5, 0x20, 0),
        "unknown service action"
    );
    assert_eq!(
        codes(&ask(&mut lun, &[0xa0])),
        (5, 0x20, 0),
        "REPORT LUNS is the target's"
    );
    let group_number = [0x28, 0, 0, 0, 0, 5, 1, 0, 1, 0];
    let answer = ask(&mut lun, &group_number);
    assert_eq!(codes(&answer), (5, 0x24, 0));
    assert_eq!(
        answer.sense[15..18],
        [0xc0, 0, 6],
        "byte 6 of the descriptor block is named"
    );
    let beyond = [0x28, 0, 0, 0, 0, 5, 0, 0, 1, 0, 1];
    assert_eq!(
        codes(&ask(&mut lun, &beyond)),
        (5, 0x24, 0),
        "a bit behind a 10-byte block"
    );
}

#[test]
fn injected_answers_come_instead_or_after() {
    let mut lun = ram(quiet());
    let busy = Injection {
        nexus: Some(A),
        opcode: Some(0x2a),
        times: 2,
        refusal: Refusal::Status(0x08),
        carried_out: false,
    };
    lun.inject(busy.clone());
    assert!(
        send(&mut lun, B, &WRITE_BLOCK_5, &[1; 512]).is_good(),
        "another nexus"
    );
    assert!(ask(&mut lun, &READ_BLOCK_5).is_good(), "another command");
    for _ in 0..2 {
        assert_eq!(send(&mut lun, A, &WRITE_BLOCK_5, &[2; 512]).status, 0x08);
    }
    assert_eq!(lun.peek(5, 1).unwrap()[..], [1; 512]);
    let refusal = Refusal::sense(sense::ABORTED_COMMAND, 0x47, 0x03);
    lun.inject(Injection {
        times: 1,
        refusal,
        carried_out: true,
        ..busy
    });
    assert_eq!(
        codes(&send(&mut lun, A, &WRITE_BLOCK_5, &[3; 512])),
        (0xb, 0x47, 3)
    );
    assert_eq!(
        lun.peek(5, 1).unwrap()[..],
        [3; 512],
        "carried out, and denied"
    );
    assert!(send(&mut lun, A, &WRITE_BLOCK_5, &[4; 512]).is_good());
    assert_eq!(lun.injected(), 3);
}

#[test]
fn inquiry_data_has_its_texts_where_spc_puts_them() {
    let mut lun = ram(quiet());
    let data = ask(&mut lun, &[0x12, 0, 0, 0, 255, 0]).data_in;
    assert_eq!((data.len(), data[0], data[4]), (96, 0, 91));
    assert_eq!(&data[8..36], b"NETSIM  DISK            1   ");
    assert_eq!(data[5], 0, "no port groups, no ALUA");
    let cut = ask(&mut lun, &[0x12, 0, 0, 0, 36, 0]).data_in;
    assert_eq!(cut, data[..36]);
    assert_eq!(
        codes(&ask(&mut lun, &[0x12, 0, 0x80, 0, 36, 0])),
        (5, 0x24, 0),
        "page, no EVPD"
    );
}

#[test]
fn every_listed_page_is_there_and_no_other() {
    let mut lun = ram(quiet());
    let listed = ask(&mut lun, &[0x12, 1, 0, 0, 255, 0]).data_in;
    assert_eq!(listed[..], [0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    for page in 0..=255 {
        let answer = ask(&mut lun, &[0x12, 1, page, 1, 0, 0]);
        assert_eq!(
            answer.is_good(),
            listed[4..].contains(&page),
            "page {page:02x}"
        );
        if answer.is_good() {
            let len = usize::from(u16::from_be_bytes([answer.data_in[2], answer.data_in[3]]));
            assert_eq!((answer.data_in[1], answer.data_in.len()), (page, len + 4));
        }
    }
}

#[test]
fn identification_names_the_unit_and_the_port_that_was_asked() {
    let groups = vec![
        PortGroup {
            id: 1,
            access: Access::Optimized,
            preferred: true,
            ports: vec![1],
        },
        PortGroup {
            id: 2,
            access: Access::Standby,
            preferred: false,
            ports: vec![2],
        },
    ];
    let t10 = Some("IET     00010001".into());
    let mut lun = ram(LunConfig {
        groups,
        t10,
        ..quiet()
    });
    lun.attach(
        B,
        Port {
            relative: 2,
            group: 2,
        },
    );
    let page = send(&mut lun, B, &[0x12, 1, 0x83, 0, 255, 0], &[]).data_in;
    assert_eq!(page[4..8], [0x01, 0x03, 0, 16]);
    assert_eq!(
        page[8..24],
        [0x60, 0, 0x05, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    );
    assert_eq!(page[24..28], [0x02, 0x01, 0, 16]);
    assert_eq!(&page[28..44], b"IET     00010001");
    assert_eq!(
        page[44..],
        [0x51, 0x94, 0, 4, 0, 0, 0, 2, 0x51, 0x95, 0, 4, 0, 0, 0, 2]
    );
}

#[test]
fn a_port_in_standby_answers_questions_only() {
    let group = |id, access| PortGroup {
        id,
        access,
        preferred: false,
        ports: vec![id],
    };
    let groups = vec![group(1, Access::Optimized), group(2, Access::Standby)];
    let mut lun = ram(LunConfig { groups, ..quiet() });
    lun.attach(
        B,
        Port {
            relative: 2,
            group: 2,
        },
    );
    assert!(ask(&mut lun, &READ_BLOCK_5).is_good());
    assert_eq!(
        codes(&send(&mut lun, B, &READ_BLOCK_5, &[])),
        (2, 0x04, 0x0b)
    );
    let report = [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
    let groups = send(&mut lun, B, &report, &[]).data_in;
    assert_eq!(
        groups[..],
        [
            0, 0, 0, 24, 0x00, 0xcf, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, //
            0x02, 0xcf, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2,
        ]
    );
    for (access, ascq) in [(Access::Transitioning, 0x0a), (Access::Unavailable, 0x0c)] {
        lun.set_access(2, access);
        assert_eq!(
            codes(&send(&mut lun, B, &READ_BLOCK_5, &[])),
            (6, 0x2a, 0x06)
        );
        assert_eq!(
            codes(&send(&mut lun, B, &READ_BLOCK_5, &[])),
            (2, 0x04, ascq)
        );
    }
}

#[test]
fn a_group_that_is_asked_to_be_active_takes_over_from_the_one_that_was() {
    let group = |id, access| PortGroup {
        id,
        access,
        preferred: false,
        ports: vec![id],
    };
    let config = LunConfig {
        groups: vec![group(1, Access::Optimized), group(2, Access::Standby)],
        explicit: true,
        ..quiet()
    };
    let set = [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    let mut lun = ram(config.clone());
    assert_eq!(ask(&mut lun, &[0x12, 0, 0, 0, 96, 0]).data_in[5], 0x30);
    let unknown = send(&mut lun, A, &set, &[0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(codes(&unknown), (5, 0x26, 0));
    assert!(send(&mut lun, A, &set, &[0, 0, 0, 0, 0, 0, 0, 2]).is_good());
    assert_eq!(lun.access(2), Some(Access::Optimized));
    assert_eq!(lun.access(1), Some(Access::NonOptimized));
    assert_eq!(codes(&ask(&mut lun, &TEST_UNIT_READY)), (6, 0x2a, 6));
    let mut lun = ram(LunConfig {
        explicit: false,
        ..config
    });
    let refused = send(&mut lun, A, &set, &[0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(codes(&refused), (5, 0x20, 0));
}

#[test]
fn mode_sense_tells_of_cache_and_protection() {
    let caching = |config: LunConfig| {
        let mut lun = ram(config);
        let short = ask(&mut lun, &[0x1a, 8, 0x08, 0, 255, 0]).data_in;
        let long = ask(&mut lun, &[0x5a, 8, 0x08, 0, 0, 0, 0, 1, 0, 0]).data_in;
        assert_eq!((short.len(), long.len()), (24, 28));
        assert_eq!((short[0], long[1]), (23, 26));
        assert_eq!((short[2], short[6]), (long[3], long[10]));
        (short[2], short[6])
    };
    assert_eq!(caching(quiet()), (0x10, 0x04));
    let config = LunConfig {
        cache: WriteCache::Off,
        write_protected: true,
        fua: false,
        ..quiet()
    };
    assert_eq!(caching(config), (0x80, 0x00));
    let mut lun = ram(quiet());
    assert_eq!(
        codes(&ask(&mut lun, &[0x1a, 8, 0xc8, 0, 255, 0])),
        (5, 0x39, 0),
        "saved values"
    );
    assert_eq!(
        codes(&ask(&mut lun, &[0x1a, 8, 0x1c, 0, 255, 0])),
        (5, 0x24, 0)
    );
}

#[test]
fn a_large_unit_sends_the_asker_to_the_long_answer() {
    let mut lun = ram(LunConfig {
        physical_exponent: 3,
        ..LunConfig::disk(1, 512, 1 << 33)
    });
    ask(&mut lun, &TEST_UNIT_READY);
    let short = ask(&mut lun, &[0x25]).data_in;
    assert_eq!(short[..], [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
    let long = ask(
        &mut lun,
        &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
    )
    .data_in;
    assert_eq!(
        long[..16],
        [
            0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0, 0, 3, 0xc0, 0
        ]
    );
    assert_eq!(long.len(), 32);
}

#[test]
fn supported_commands_are_reported_with_their_bits() {
    let refuses = [0x35].into();
    let mut lun = ram(LunConfig { refuses, ..quiet() });
    let mut report = |options, code, action| {
        ask(
            &mut lun,
            &[0xa3, 0x0c, options, code, 0, action, 0, 0, 0, 64, 0, 0],
        )
        .data_in
    };
    let same = report(1, 0x93, 0);
    assert_eq!(same[..6], [0, 3, 0, 16, 0x93, 0x09]);
    assert_eq!(same.len(), 20);
    assert_eq!(report(2, 0x9e, 0x10)[..6], [0, 3, 0, 16, 0x9e, 0x10]);
    assert_eq!(
        report(1, 0x35, 0)[..],
        [0, 1, 0, 0],
        "refused by configuration"
    );
    assert_eq!(
        codes(&ask(&mut lun, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        (5, 0x20, 0)
    );
}

#[test]
fn no_descriptor_block_is_too_odd_to_answer() {
    let mut lun = ram(quiet());
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    };
    let mut good = 0;
    for round in 0..20_000u32 {
        let mut block: [u8; 16] = [next(), next()].concat().try_into().unwrap();
        if round % 2 == 0 {
            // Mostly zeroes, so that most forms are well-formed.
            let (at, bit) = (usize::from(block[15] % 16), 1 << (block[14] % 8));
            let opcode = block[0];
            block = [0; 16];
            block[at] = bit;
            block[0] = opcode;
        }
        let len = lun.data_out_len(&block).min(4096);
        let data = Payload::from(Bytes::from(vec![next()[0]; len]));
        let answer = lun.execute(A, &block, &data);
        good += u32::from(answer.is_good());
        assert_eq!(
            answer.is_good() || answer.status == 0x18,
            answer.sense.is_empty()
        );
    }
    assert!(good > 100, "{good} were carried out");
}
