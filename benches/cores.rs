//! Micro-benches of what every request passes: `cargo bench --bench cores [-- FILTER]`.

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use iiblockdaemon::ids::{IoId, Lun};
use iiblockdaemon::iscsi::digest::{Digests, digest};
use iiblockdaemon::iscsi::framer::{Framer, SegmentLimits};
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::command::RawResidual;
use iiblockdaemon::iscsi::pdu::data::DataInStatus;
use iiblockdaemon::iscsi::pdu::{
    Bhs, DataDirection, DataIn, InitiatorNumbers, ScsiCommand, TargetNumbers,
};
use iiblockdaemon::iscsi::serial::SerialNumber;
use iiblockdaemon::iscsi::tags::Itt;
use iiblockdaemon::payload::Payload;
use iiblockdaemon::task::TaskAttribute;
use iiblockdaemon::units::Geometry;
use iiblockdaemon::volume::ranges::RangeTable;
use policies::{Access, Candidates, Direction, IoView, PathView, PolicyKind, PolicySpec};

mod lab;

use lab::{Lab, Workload};

const SEGMENT: usize = 256 << 10;

fn command() -> ScsiCommand {
    ScsiCommand {
        immediate: false,
        last: true,
        direction: DataDirection::Read(4096),
        attribute: TaskAttribute::Simple,
        lun: Lun::from_number(1).expect("a LUN"),
        itt: Itt::new(17).expect("a tag"),
        numbers: InitiatorNumbers {
            cmd_sn: SerialNumber(5),
            exp_stat_sn: SerialNumber(6),
        },
        cdb: [0x88, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0],
    }
}

fn data_in() -> DataIn {
    DataIn {
        last: true,
        acknowledge: false,
        status: Some(DataInStatus {
            status: 0,
            residual: RawResidual::default(),
        }),
        lun: Lun::from_number(1).expect("a LUN"),
        itt: Itt::new(17).expect("a tag"),
        ttt: None,
        numbers: TargetNumbers {
            stat_sn: SerialNumber(1),
            exp_cmd_sn: SerialNumber(2),
            max_cmd_sn: SerialNumber(66),
        },
        data_sn: 0,
        offset: 0,
    }
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    group.bench_function("encode SCSI Command", |bencher| {
        bencher.iter(|| black_box(command()).encode());
    });
    let bhs = data_in().encode();
    group.bench_function("decode Data-In", |bencher| {
        bencher.iter(|| DataIn::decode(black_box(&bhs)));
    });
    group.finish();
}

/// A stream of Data-In as a target sends it, written once and cloned by reference.
fn stream(digests: Digests, length: usize) -> BytesMut {
    let mut outbox = Outbox::new();
    outbox.set_digests(digests);
    let data = Payload::from(bytes::Bytes::from(vec![0x5a; length]));
    outbox.push(data_in().encode(), &data);
    BytesMut::from(&outbox.outgoing().take_all()[..])
}

fn framing(criterion: &mut Criterion) {
    let both = Digests {
        header: true,
        data: true,
    };
    let mut group = criterion.benchmark_group("frame Data-In");
    for (name, digests) in [("plain", Digests::default()), ("digests", both)] {
        for length in [4 << 10, SEGMENT] {
            let input = stream(digests, length).freeze();
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_with_input(BenchmarkId::new(name, length), &input, |bencher, input| {
                let limits = SegmentLimits {
                    data: 1 << 20,
                    control: 64 << 10,
                };
                bencher.iter_batched(
                    || BytesMut::from(&input[..]),
                    |mut input| {
                        let mut framer = Framer::new(limits);
                        framer.set_digests(digests);
                        let mut frames = 0;
                        while let Ok(Some(_)) = framer.next(&mut input) {
                            frames += 1;
                        }
                        assert_eq!(frames, 3, "header, data, end");
                        // Dropping the buffer is the caller's, and not measured.
                        input
                    },
                    criterion::BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

fn queueing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue a command");
    let bhs: Bhs = command().encode();
    group.bench_function("32 at a time", |bencher| {
        let mut outbox = Outbox::new();
        bencher.iter(|| {
            for _ in 0..32 {
                outbox.push(bhs, &Payload::new());
            }
            let queue = outbox.outgoing();
            let pending = usize::try_from(queue.pending()).expect("a length");
            queue.advance(pending);
        });
    });
    group.finish();
}

fn crc(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("CRC32C");
    for length in [48, 4 << 10, 64 << 10, 1 << 20] {
        let data = vec![0x5a; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(length),
            &data,
            |bencher, data| {
                bencher.iter(|| digest(black_box(data)));
            },
        );
    }
    group.finish();
}

fn policy(criterion: &mut Criterion) {
    let io = IoView {
        direction: Direction::Read,
        bytes: 4096,
        lba: 4711,
    };
    let start = netsim::clock::now();
    for kind in PolicyKind::ALL {
        let mut group = criterion.benchmark_group(format!("policy {kind}"));
        for paths in [2_u16, 8, 32] {
            let views: Vec<PathView> = (0..paths)
                .map(|path| PathView {
                    path,
                    access: Access::ActiveOptimized,
                    preferred: false,
                    tier: 0,
                    weight: 1,
                    in_flight: u32::from(path % 5),
                    in_flight_bytes: u64::from(path % 5) * 4096,
                    oldest: None,
                    slots_free: 32,
                })
                .collect();
            let mut policy = policies::build(PolicySpec::preset(kind), 0);
            policy.on_roster(start, &views);
            let mut now = start;
            group.bench_function(BenchmarkId::from_parameter(paths), |bencher| {
                bencher.iter(|| {
                    let sent = now;
                    now += Duration::from_micros(5);
                    let candidates = Candidates::new(black_box(&views)).expect("paths");
                    let path = policy.choose(now, &io, candidates).path();
                    policy.on_dispatch(now, path, &io);
                    policy.on_complete(now, path, &io, sent);
                });
            });
        }
        group.finish();
    }
}

fn ranges(criterion: &mut Criterion) {
    let geometry = Geometry::new(512, 1 << 24).expect("a geometry");
    let range = |place: u64| {
        let place = place * 7919 % (1 << 20);
        geometry.range(place * 4096, 4096).expect("a range")
    };
    let mut table = RangeTable::default();
    for io in 0..1000 {
        table.acquire(IoId(io), range(io), |_| false);
    }
    let mut next = 1000;
    criterion.bench_function("range of a write among 1000 in flight", |bencher| {
        bencher.iter(|| {
            assert!(table.acquire(IoId(next), range(next), |_| false));
            table.release(IoId(next - 1000), range(next - 1000));
            next += 1;
        });
    });
}

/// With the simulated target's work in it; good for comparing one version with another.
fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine and simulated target");
    for (name, write, bytes, depth) in [
        ("read 4 KiB depth 32", false, 4 << 10, 32),
        ("write 4 KiB depth 32", true, 4 << 10, 32),
        ("read 64 KiB depth 16", false, 64 << 10, 16),
    ] {
        let workload = Workload {
            write,
            bytes,
            depth,
        };
        let mut lab = Lab::new(2, false, || 0);
        group.throughput(Throughput::Elements(depth));
        group.bench_function(name, |bencher| {
            bencher.iter(|| lab.run(workload, depth));
        });
    }
    group.finish();
}

criterion_group!(
    benches, headers, framing, queueing, crc, policy, ranges, engine
);
criterion_main!(benches);
