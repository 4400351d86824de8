//! The volume against paths that do what a test says.

mod access;
mod change;
mod durability;
mod escalation;
mod failover;
mod flow;
mod gray;
mod reservation;
mod rumour;
mod together;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use policies::{PolicyKind, PolicySpec};

use super::*;
use crate::errno::IoErrno;
use crate::ids::Disposition;
use crate::path::message::FenceKind;
use crate::path::message::{Fate, Features, TrimMethod};
use crate::scsi::identity::LunIdentity;
use crate::scsi::inquiry::StandardInquiry;
use crate::task::{Completion, DataTransfer, Residual};
use crate::units::Geometry;

pub(super) const BLOCK: usize = 512;

pub(super) fn geometry() -> Geometry {
    Geometry::new(512, 1 << 20).unwrap()
}

pub(super) fn unit(serial: &str) -> Unit {
    let inquiry = StandardInquiry {
        qualifier: 0,
        device_type: 0,
        version: 5,
        tpgs: 0,
        vendor: "ACME".into(),
        product: "disk".into(),
        revision: "1".into(),
    };
    Unit {
        identity: LunIdentity::new(&inquiry, &[], Some(serial.into()), geometry()),
        geometry: geometry(),
        features: Features {
            fua: false,
            write_cache: Some(true),
            write_protected: false,
            rotational: false,
            transfer_blocks_max: 256,
            preferred_bytes: 4096,
            trim: TrimMethod::Unmap {
                blocks_max: 4096,
                granularity: 8,
                alignment: 0,
            },
            write_same_blocks_max: 1024,
            unmapped_reads_zero: true,
        },
        target: "iqn.2026-11.com.example:array".into(),
        portal_group: Some(1),
    }
}

/// The usual settings.
pub(super) fn config(paths: usize) -> VolumeConfig {
    VolumeConfig {
        weights: vec![1; paths],
        tiers: Vec::new(),
        activate: false,
        shared: false,
        no_path: NoPath::Queue(Duration::from_secs(300)),
        quiesce: Some(Duration::from_secs(45)),
        reinstate: true,
        grow: true,
        pin: Pin::default(),
        unclean: false,
        orphaned: false,
        policy: policies::build(PolicySpec::preset(PolicyKind::Failover), 1),
        gray: GrayConfig::default(),
        reservation: ReservationConfig::default(),
    }
}

/// A volume, its clock, and what its fake paths hold.
pub(super) struct Bench {
    pub(super) volume: Volume,
    pub(super) now: Instant,
    incarnations: Vec<u32>,
    next_io: u64,
    /// Submitted and not yet answered, by task.
    pub(super) in_flight: BTreeMap<TaskId, Submission>,
}

impl Bench {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of a test's time"
    )]
    pub(super) fn new(paths: usize, change: impl FnOnce(&mut VolumeConfig)) -> Self {
        let now = Instant::now();
        let mut config = config(paths);
        change(&mut config);
        Self {
            volume: Volume::new(now, config),
            now,
            incarnations: vec![0; paths],
            next_io: 0,
            in_flight: BTreeMap::new(),
        }
    }

    /// The path logs in and is admitted; returns the order that it got.
    pub(super) fn identify(&mut self, path: u16, unit: Unit) -> Order {
        self.incarnations[usize::from(path)] += 1;
        let incarnation = Incarnation(self.incarnations[usize::from(path)]);
        let unit = Arc::new(unit);
        self.volume.handle_message(
            self.now,
            PathId(path),
            Message::Identified { incarnation, unit },
        );
        let (who, order) = self.volume.poll_order().unwrap();
        assert_eq!(who, PathId(path));
        order
    }

    pub(super) fn up(&mut self, path: u16) {
        assert!(!matches!(
            self.identify(path, unit("S1")),
            Order::Refuse { .. }
        ));
        self.stand(path, Standing::Ready);
    }

    pub(super) fn incarnation(&self, path: u16) -> Incarnation {
        Incarnation(self.incarnations[usize::from(path)])
    }

    pub(super) fn stand(&mut self, path: u16, standing: Standing) {
        let incarnation = self.incarnation(path);
        let message = Message::Standing {
            incarnation,
            standing,
        };
        self.volume.handle_message(self.now, PathId(path), message);
        self.turn();
    }

    /// Dispatches and collects submissions.
    pub(super) fn turn(&mut self) {
        for path in 0..self.incarnations.len() {
            let id = PathId(u16::try_from(path).unwrap());
            let used = self.in_flight.values().filter(|s| s.path == id).count();
            self.volume
                .set_slots(id, 8u32.saturating_sub(u32::try_from(used).unwrap()));
        }
        self.volume.dispatch(self.now);
        while let Some(submission) = self.volume.poll_submission() {
            self.in_flight.insert(submission.task.id, submission);
        }
    }

    pub(super) fn ask(&mut self, request: Request) -> IoId {
        self.next_io += 1;
        let io = IoId(self.next_io);
        self.volume.request(self.now, io, request);
        self.turn();
        io
    }

    pub(super) fn write(&mut self, lba: u64, blocks: u64) -> IoId {
        let range = geometry().range(lba * 512, blocks * 512).unwrap();
        let data = command::zeroes(usize::try_from(blocks).unwrap() * BLOCK);
        self.ask(Request::Write {
            range,
            data,
            fua: false,
        })
    }

    pub(super) fn read(&mut self, lba: u64, blocks: u64) -> IoId {
        self.ask(Request::Read {
            range: geometry().range(lba * 512, blocks * 512).unwrap(),
        })
    }

    /// The tasks in flight on a path, oldest first.
    pub(super) fn tasks_on(&self, path: u16) -> Vec<TaskId> {
        let on = |s: &&Submission| s.path == PathId(path);
        self.in_flight
            .values()
            .filter(on)
            .map(|s| s.task.id)
            .collect()
    }

    pub(super) fn answer(&mut self, task: TaskId, completion: Completion) {
        let submission = self.in_flight.remove(&task).unwrap();
        let (path, incarnation) = (submission.path, submission.incarnation);
        let message = Message::Completed {
            incarnation,
            task,
            completion,
        };
        self.volume.handle_message(self.now, path, message);
        self.turn();
    }

    /// It ends without a SCSI status.
    pub(super) fn fail(&mut self, task: TaskId, fate: Fate) {
        let submission = self.in_flight.remove(&task).unwrap();
        let message = Message::Failed {
            incarnation: submission.incarnation,
            task,
            fate,
        };
        self.volume
            .handle_message(self.now, submission.path, message);
        self.turn();
    }

    /// GOOD, with as much data as was asked for.
    pub(super) fn good(&mut self, task: TaskId) {
        let data = match self.in_flight[&task].task.data {
            DataTransfer::In(len) => command::zeroes(usize::try_from(len).unwrap()),
            DataTransfer::None | DataTransfer::Out(_) => Payload::new(),
        };
        self.answer(task, completion(0, Bytes::new(), data));
    }

    /// Answers everything in flight on a path with GOOD until nothing is.
    pub(super) fn all_good(&mut self, path: u16) {
        while let Some(&task) = self.tasks_on(path).first() {
            self.good(task);
        }
    }

    /// The path's session is lost with everything in flight on it.
    pub(super) fn lose(&mut self, path: u16, disposition: Disposition) {
        let tasks: Vec<_> = self
            .tasks_on(path)
            .into_iter()
            .map(|task| (task, disposition))
            .collect();
        for (task, _) in &tasks {
            self.in_flight.remove(task);
        }
        let incarnation = self.incarnation(path);
        self.volume
            .handle_message(self.now, PathId(path), Message::Lost { incarnation, tasks });
        self.turn();
    }

    pub(super) fn fence(&mut self, path: u16, upto: Incarnation) {
        let message = Message::Fenced {
            upto,
            by: FenceKind::Reinstatement,
        };
        self.volume.handle_message(self.now, PathId(path), message);
        self.turn();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.volume.poll_timeout().filter(|d| d.at <= until) {
            assert!(
                deadline.at > self.now,
                "a deadline that stays in the past: {}",
                deadline.why
            );
            self.now = deadline.at;
            self.volume.handle_timeout(self.now);
            self.turn();
        }
        self.now = until;
        self.volume.handle_timeout(self.now);
        self.turn();
    }

    /// Every answer that there is: io and error.
    pub(super) fn replies(&mut self) -> Vec<(IoId, Option<IoErrno>)> {
        std::iter::from_fn(|| self.volume.poll_reply())
            .map(|reply| (reply.io, reply.result.err().map(|error| error.errno)))
            .collect()
    }
}

pub(super) fn completion(status: u8, sense: Bytes, data: Payload) -> Completion {
    Completion {
        status,
        sense,
        data,
        residual: Residual::None,
    }
}

/// CHECK CONDITION with fixed sense.
pub(super) fn check(key: u8, asc: u8, ascq: u8) -> Completion {
    let mut sense = [0u8; 18];
    (sense[0], sense[2], sense[7], sense[12], sense[13]) = (0x70, key, 10, asc, ascq);
    completion(2, Bytes::copy_from_slice(&sense), Payload::new())
}
