//! The initiator's SCSI layer against netsim's simulated disk. The two share no code: what one builds by
//! the standard, the other has to read by the standard.

use bytes::Bytes;
use iiblockdaemon::errno::IoErrno;
use iiblockdaemon::payload::Payload;
use iiblockdaemon::scsi::alua::{AccessState, PortGroups};
use iiblockdaemon::scsi::capacity::{Capacity, ShortCapacity};
use iiblockdaemon::scsi::cdb::{
    Command, DataLength, Direction, Extent, INQUIRY_ALLOCATION, ReserveIn, ReserveOut,
    VPD_ALLOCATION, WriteSameFlags,
};
use iiblockdaemon::scsi::identity::LunIdentity;
use iiblockdaemon::scsi::inquiry::StandardInquiry;
use iiblockdaemon::scsi::mode::{CACHING_PAGE, ModeParameters};
use iiblockdaemon::scsi::opcodes::CommandSupport;
use iiblockdaemon::scsi::reservation::{RegisteredKeys, ReservationKey, parameter_list};
use iiblockdaemon::scsi::verdict::{CommandKind, PathTrouble, Recheck, Verdict, judge};
use iiblockdaemon::scsi::vpd::{
    BlockLimits, DeviceIdentification, Provisioning, ProvisioningKind, Rotation, page, serial,
    supported_pages,
};
use iiblockdaemon::task::{Completion, Residual};
use iiblockdaemon::units::{BlockRange, Geometry};
use netsim::target::lun::{
    Access, Backing, Lun, LunConfig, NexusId, Port, PortGroup, Refusal, WriteCache,
};

const A: NexusId = NexusId(1);
const B: NexusId = NexusId(2);
const BLOCK: u32 = 512;
const BLOCKS: u64 = 4096;

fn config() -> LunConfig {
    LunConfig {
        power_on_attention: false,
        ..LunConfig::disk(7, BLOCK, BLOCKS)
    }
}

fn disk(config: LunConfig) -> Lun {
    Lun::new(config, Backing::ram())
}

fn geometry() -> Geometry {
    Geometry::new(BLOCK, BLOCKS).expect("a disk")
}

fn range(lba: u64, blocks: u64) -> BlockRange {
    let size = u64::from(BLOCK);
    let largest = Geometry::new(BLOCK, 1 << 40).expect("a large disk");
    largest
        .range(lba * size, blocks * size)
        .expect("a range of it")
}

fn len_of(bytes: u32) -> usize {
    usize::try_from(bytes).expect("64 bits")
}

/// Sends a command and checks that both sides agree on its data.
fn send(lun: &mut Lun, nexus: NexusId, command: Command, data: &[u8]) -> Completion {
    let cdb = command.cdb();
    let expected = command.data_length(BLOCK);
    let out = match expected {
        DataLength::Out(len) => len_of(len),
        DataLength::None | DataLength::In(_) => 0,
    };
    assert_eq!(out, data.len(), "{command:?}");
    assert_eq!(lun.data_out_len(cdb.wire()), out, "{command:?}");
    let answer = lun.execute(nexus, cdb.wire(), &Bytes::copy_from_slice(data).into());
    if let DataLength::In(len) = expected {
        assert!(answer.data_in.len() <= len_of(len), "{command:?}");
    }
    Completion {
        status: answer.status,
        sense: answer.sense.into(),
        data: Payload::from(answer.data_in),
        residual: Residual::None,
    }
}

fn ask(lun: &mut Lun, command: Command) -> Bytes {
    let answer = send(lun, A, command, &[]);
    let judged = judge(&answer, CommandKind::Other);
    assert_eq!(judged.verdict, Verdict::Good, "{command:?}: {judged}");
    answer.data.to_bytes()
}

fn vpd(lun: &mut Lun, page: u8) -> Bytes {
    ask(
        lun,
        Command::Inquiry {
            page: Some(page),
            allocation: VPD_ALLOCATION,
        },
    )
}

fn verdict(lun: &mut Lun, command: Command, data: &[u8], kind: CommandKind) -> Verdict {
    judge(&send(lun, A, command, data), kind).verdict
}

fn identity(lun: &mut Lun) -> LunIdentity {
    let inquiry = ask(
        lun,
        Command::Inquiry {
            page: None,
            allocation: INQUIRY_ALLOCATION,
        },
    );
    let inquiry = StandardInquiry::parse(&inquiry).expect("a well-formed answer");
    let names =
        DeviceIdentification::parse(&vpd(lun, page::IDENTIFICATION)).expect("a well-formed answer");
    let serial = serial(&vpd(lun, page::SERIAL)).expect("a well-formed answer");
    let capacity =
        Capacity::parse(&ask(lun, Command::ReadCapacity16)).expect("a well-formed answer");
    LunIdentity::new(&inquiry, &names.designators, serial, capacity.geometry)
}

#[test]
fn a_probe_learns_what_the_disk_is() {
    let mut lun = disk(LunConfig {
        max_transfer_blocks: 256,
        optimal_transfer_blocks: 128,
        unmap_granularity: 8,
        rotation: 7200,
        physical_exponent: 3,
        ..config()
    });
    let pages = supported_pages(&vpd(&mut lun, page::SUPPORTED)).unwrap();
    assert!(pages.contains(&page::PROVISIONING));
    let limits = BlockLimits::parse(&vpd(&mut lun, page::BLOCK_LIMITS)).unwrap();
    assert!(limits.no_zero_write_same);
    assert_eq!((limits.transfer_max, limits.transfer_optimal), (256, 128));
    assert_eq!(
        (limits.unmap_blocks_max, limits.unmap_descriptors_max),
        (1 << 20, 64)
    );
    assert_eq!(
        (limits.unmap_granularity, limits.unmap_alignment),
        (8, Some(0))
    );
    assert_eq!(limits.write_same_max, 1 << 16);
    let rotation = Rotation::parse(&vpd(&mut lun, page::BLOCK_CHARACTERISTICS));
    assert_eq!(rotation, Ok(Rotation::Rpm(7200)));
    let thin = Provisioning::parse(&vpd(&mut lun, page::PROVISIONING)).unwrap();
    assert!(thin.unmap && thin.write_same_16 && thin.write_same_10 && thin.reads_zeroes);
    assert_eq!((thin.kind, thin.anchor), (ProvisioningKind::Thin, false));
    let capacity = Capacity::parse(&ask(&mut lun, Command::ReadCapacity16)).unwrap();
    assert_eq!(
        (capacity.geometry, capacity.physical_block_size()),
        (geometry(), 4096)
    );
    let short = ShortCapacity::parse(&ask(&mut lun, Command::ReadCapacity10));
    assert_eq!(short, Ok(ShortCapacity::Fits(geometry())));
    let support = Command::ReportSupportedOperationCode {
        code: 0x93,
        action: None,
    };
    let support = CommandSupport::parse(&ask(&mut lun, support)).unwrap();
    assert!(support.has_no_data_out());
}

#[test]
fn mode_sense_is_read_in_both_forms() {
    for (cache, fua, write_protected) in [
        (WriteCache::Safe, true, false),
        (WriteCache::Off, false, true),
    ] {
        let mut lun = disk(LunConfig {
            cache,
            fua,
            write_protected,
            ..config()
        });
        let write_cache = Some(cache == WriteCache::Safe);
        let expected = ModeParameters {
            write_protected,
            fua,
            write_cache,
        };
        let short = Command::ModeSense6 {
            page: CACHING_PAGE,
            allocation: 255,
        };
        assert_eq!(ModeParameters::parse_6(&ask(&mut lun, short)), Ok(expected));
        let long = Command::ModeSense10 {
            page: CACHING_PAGE,
            allocation: 512,
        };
        assert_eq!(ModeParameters::parse_10(&ask(&mut lun, long)), Ok(expected));
    }
}

#[test]
fn identities_of_two_disks_differ_and_of_one_disk_match() {
    let mut lun = disk(config());
    let volume = identity(&mut lun);
    assert_eq!(identity(&mut lun).matches(&volume), Ok(()));
    assert!(volume.wwid().starts_with("naa.600005e") && !volume.weak());
    let other = LunConfig {
        power_on_attention: false,
        ..LunConfig::disk(8, BLOCK, BLOCKS)
    };
    assert!(identity(&mut disk(other)).matches(&volume).is_err());
}

#[test]
fn data_goes_there_and_back_in_every_form() {
    let mut lun = disk(LunConfig {
        blocks: 1 << 33,
        ..config()
    });
    // Ten bytes; sixteen for the address; ten with FUA.
    for (lba, blocks, fua) in [
        (10, 3, false),
        ((1 << 32) + 5, 2, true),
        (0xffff_fff0, 16, true),
    ] {
        let len = usize::try_from(blocks * u64::from(BLOCK)).unwrap();
        let data: Vec<u8> = (0..len).map(|i| u8::try_from(i % 253).unwrap()).collect();
        let write = Command::transfer(Direction::Write, range(lba, blocks), fua);
        assert_eq!(
            verdict(&mut lun, write, &data, CommandKind::Write),
            Verdict::Good
        );
        let read = Command::transfer(Direction::Read, range(lba, blocks), false);
        assert_eq!(ask(&mut lun, read), data);
    }
    assert_eq!((lun.executed(0x2a), lun.executed(0x8a)), (2, 1));
}

#[test]
fn flush_trim_and_zeroes_do_what_they_say() {
    let mut lun = disk(LunConfig {
        cache: WriteCache::Volatile,
        ..config()
    });
    let write = Command::transfer(Direction::Write, range(0, 8), false);
    send(&mut lun, A, write, &[1; 4096]);
    assert_eq!(
        verdict(&mut lun, Command::flush(), &[], CommandKind::Flush),
        Verdict::Good
    );
    let (unmap, list) = Command::unmap(&[range(1, 2), range(6, 1)]);
    assert_eq!(
        verdict(&mut lun, unmap, &list, CommandKind::Trim),
        Verdict::Good
    );
    let extent = Extent::of(range(4, 1));
    let flags = WriteSameFlags {
        unmap: true,
        no_data_out: true,
        anchor: false,
    };
    let zero = Command::WriteSame16 { extent, flags };
    assert_eq!(
        verdict(&mut lun, zero, &[], CommandKind::WriteZeroes),
        Verdict::Good
    );
    let flags = WriteSameFlags::default();
    let zero = Command::WriteSame10 {
        lba: 7,
        blocks: 1,
        flags,
    };
    assert_eq!(
        verdict(&mut lun, zero, &[0; 512], CommandKind::WriteZeroes),
        Verdict::Good
    );
    let held: Vec<_> = (0..8).map(|lba| lun.peek(lba, 1).unwrap()[0]).collect();
    assert_eq!(held, [1, 0, 0, 1, 0, 1, 0, 0]);
    lun.power_cycle(|_| false);
    assert_eq!(
        lun.peek(0, 8).unwrap()[..],
        [1; 4096],
        "what the flush made durable"
    );
}

#[test]
fn a_target_without_a_command_is_met_with_the_right_verdict() {
    let refuses = [0x35, 0x41, 0x42, 0x93].into();
    let mut lun = disk(LunConfig {
        refuses,
        ..config()
    });
    let flush = verdict(&mut lun, Command::flush(), &[], CommandKind::Flush);
    assert_eq!(flush, Verdict::Unsupported);
    let (unmap, list) = Command::unmap(&[range(0, 1)]);
    assert_eq!(
        verdict(&mut lun, unmap, &list, CommandKind::Trim),
        Verdict::Unsupported
    );
    let groups = Command::ReportTargetPortGroups { allocation: 1024 };
    assert_eq!(
        verdict(&mut lun, groups, &[], CommandKind::Other),
        Verdict::Unsupported
    );
}

#[test]
fn a_write_beyond_the_end_has_no_space() {
    let mut lun = disk(config());
    let write = Command::transfer(Direction::Write, range(BLOCKS, 1), false);
    let beyond = verdict(&mut lun, write, &[0; 512], CommandKind::Write);
    assert_eq!(
        beyond,
        Verdict::Fail {
            errno: IoErrno::NoSpc,
            recheck: Some(Recheck::Capacity)
        }
    );
}

#[test]
fn a_medium_error_names_its_block() {
    let mut lun = disk(config());
    lun.damage(100);
    let read = Command::transfer(Direction::Read, range(96, 8), false);
    let judged = judge(&send(&mut lun, A, read, &[]), CommandKind::Read);
    assert_eq!(
        judged.verdict,
        Verdict::Fail {
            errno: IoErrno::Io,
            recheck: None
        }
    );
    assert_eq!(judged.sense.unwrap().information, Some(100));
}

#[test]
fn unit_attentions_lead_to_the_right_question() {
    let mut lun = disk(LunConfig::disk(7, BLOCK, BLOCKS));
    let next = |lun: &mut Lun| verdict(lun, Command::TestUnitReady, &[], CommandKind::Other);
    assert_eq!(next(&mut lun), Verdict::Recheck(Recheck::Reset));
    lun.resize(BLOCKS * 2);
    assert_eq!(next(&mut lun), Verdict::Recheck(Recheck::Capacity));
    lun.set_access(1, Access::NonOptimized);
    assert_eq!(next(&mut lun), Verdict::Recheck(Recheck::Access));
    lun.attention(None, 0x3f, 0x05);
    assert_eq!(next(&mut lun), Verdict::Recheck(Recheck::Identity));
    assert_eq!(next(&mut lun), Verdict::Good);
    lun.inject(netsim::target::lun::Injection {
        nexus: None,
        opcode: None,
        times: 1,
        refusal: Refusal::Status(0x28),
        carried_out: false,
    });
    assert_eq!(next(&mut lun), Verdict::ShrinkQueue);
}

#[test]
fn a_path_finds_its_own_group_and_its_state() {
    let group = |id, access| PortGroup {
        id,
        access,
        preferred: id == 1,
        ports: vec![id],
    };
    let groups = vec![group(1, Access::Optimized), group(2, Access::Standby)];
    let mut lun = disk(LunConfig { groups, ..config() });
    lun.attach(
        A,
        Port {
            relative: 2,
            group: 2,
        },
    );
    let names = DeviceIdentification::parse(&vpd(&mut lun, page::IDENTIFICATION)).unwrap();
    assert_eq!(names.relative_target_port(), Some(2));
    let own = names.target_port_group().unwrap();
    let report = Command::ReportTargetPortGroups { allocation: 1024 };
    let groups = PortGroups::parse(&ask(&mut lun, report)).unwrap();
    assert!(groups.group(1).unwrap().preferred && !groups.truncated);
    assert_eq!(groups.group(own).unwrap().state, AccessState::Standby);
    let read = Command::transfer(Direction::Read, range(0, 1), false);
    let standby = verdict(&mut lun, read, &[], CommandKind::Read);
    assert_eq!(standby, Verdict::OtherPath(PathTrouble::Standby));
}

#[test]
fn a_key_registered_over_one_path_is_seen_over_another() {
    let mut lun = disk(config());
    let (none, key) = (ReservationKey(0), ReservationKey(0x0123_4567_89ab_cdef));
    let register = Command::PersistentReserveOut(ReserveOut::RegisterAndIgnoreExistingKey);
    send(&mut lun, B, register, &parameter_list(none, key));
    let read = Command::PersistentReserveIn {
        action: ReserveIn::ReadKeys,
        allocation: 1024,
    };
    let keys = |lun: &mut Lun| RegisteredKeys::parse(&ask(lun, read)).unwrap().keys;
    assert_eq!(keys(&mut lun), [key]);
    let register = Command::PersistentReserveOut(ReserveOut::Register);
    let wrong = send(&mut lun, B, register, &parameter_list(none, none));
    assert_eq!(judge(&wrong, CommandKind::Other).verdict, Verdict::Conflict);
    send(&mut lun, B, register, &parameter_list(key, none));
    assert!(keys(&mut lun).is_empty());
}
