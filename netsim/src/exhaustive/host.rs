//! The volume itself, and all that it is told and says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iiblockdaemon::ids::{Disposition, Incarnation, IoId, PathId, TaskId};
use iiblockdaemon::path::message::{
    Fate, Features, FenceKind, Message, Order, Standing, TrimMethod, Unit,
};
use iiblockdaemon::payload::Payload;
use iiblockdaemon::scsi::cdb::Command;
use iiblockdaemon::scsi::identity::LunIdentity;
use iiblockdaemon::scsi::inquiry::StandardInquiry;
use iiblockdaemon::task::{Completion, DataTransfer, Residual, Task};
use iiblockdaemon::units::Geometry;
use iiblockdaemon::volume::{
    GrayConfig, NoPath, Pin, Request, ReservationConfig, Volume, VolumeConfig,
};

use super::chooser::{Choice, Chooser};
use super::known::{Known, Output};
use super::step::{Input, Write, Writes};
use super::{BLOCKS, Blocks, PATHS, SmallWorld};

const BLOCK: u32 = 512;
/// More than there are commands.
const SLOTS: u32 = 8;
/// Longer than any pause before a command is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Drives one volume.
pub(super) struct Host {
    volume: Volume,
    chooser: Chooser,
    unit: Arc<Unit>,
    now: Instant,
    writes: Vec<Blocks>,
    known: Known,
    /// Each path's present or last session.
    sessions: [Incarnation; PATHS],
    /// The sessions of [`super::known::KnownPath::lost`].
    lost: [Vec<Incarnation>; PATHS],
    /// In flight, in the order of their submission.
    tasks: Vec<(TaskId, usize, Write)>,
}

impl Host {
    /// A volume with both paths in use, both with that unit.
    pub(super) fn new(small: &SmallWorld, unit: &Arc<Unit>, now: Instant) -> Self {
        let chooser = Chooser::default();
        let config = VolumeConfig {
            weights: vec![1; PATHS],
            tiers: Vec::new(),
            activate: false,
            shared: small.shared,
            no_path: NoPath::QueueForever,
            quiesce: None,
            reinstate: true,
            grow: true,
            pin: Pin::default(),
            unclean: small.unclean,
            orphaned: false,
            policy: Box::new(chooser.clone()),
            gray: GrayConfig::default(),
            reservation: ReservationConfig::default(),
        };
        let mut host = Self {
            volume: Volume::new(now, config),
            chooser,
            unit: Arc::clone(unit),
            now,
            writes: small.writes.clone(),
            known: Known::default(),
            sessions: [Incarnation(0); PATHS],
            lost: Default::default(),
            tasks: Vec::new(),
        };
        for path in 0..PATHS {
            if small.unclean {
                host.known.paths[path].lost.push(Writes::only(0));
                host.lost[path].push(Incarnation(0));
            }
            host.come_back(path);
        }
        host
    }

    /// All that its future depends on.
    pub(super) fn known(&self) -> Known {
        let status = self.volume.status(self.now);
        let mut known = self.known.clone();
        known.figures = [status.queued, status.waiting, status.ghosts];
        known
    }

    /// The paths that it chose at the last input.
    pub(super) fn choices(&self) -> Vec<Choice> {
        self.chooser.made()
    }

    /// Gives it an input, with those choices of paths.
    ///
    /// # Errors
    /// It did what nobody asked for.
    pub(super) fn take(&mut self, input: Input, choices: &[usize]) -> Result<Output, String> {
        self.chooser.prescribe(choices);
        match input {
            Input::Ask => self.ask(),
            Input::Answer(path, write) => self.answer(path, write),
            Input::Lose(path, reached) => self.lose(path, reached),
            Input::GiveUp(path, write, reached) => self.give_up(path, write, reached)?,
            Input::Return(path) => self.come_back(path),
            Input::Fence(path, upto) => self.fence(path, upto),
        }
        self.settle()
    }

    fn ask(&mut self) {
        let blocks = self.writes[usize::from(self.known.asked)];
        self.known.asked += 1;
        let number = self.known.asked;
        let (first, count) = blocks.extent();
        let bytes = u64::from(BLOCK);
        let range = self.unit.geometry.range(first * bytes, count * bytes);
        let range = range.expect("within the unit");
        let mut data = Payload::new();
        for _ in 0..count {
            data.push(Bytes::from(vec![number; BLOCK as usize]));
        }
        let request = Request::Write {
            range,
            data,
            fua: false,
        };
        self.volume.request(self.now, IoId(number.into()), request);
    }

    fn answer(&mut self, path: usize, write: Write) {
        let task = self.take_task(path, write);
        self.known.answered.add(write);
        let completion = Completion {
            status: 0,
            sense: Bytes::new(),
            data: Payload::new(),
            residual: Residual::None,
        };
        let message = Message::Completed {
            incarnation: self.sessions[path],
            task,
            completion,
        };
        self.tell(path, message);
    }

    fn lose(&mut self, path: usize, reached: Writes) {
        let mut tasks = Vec::new();
        self.tasks.retain(|&(task, on, write)| {
            if on == path {
                let fate = if reached.has(write) {
                    Disposition::Indeterminate
                } else {
                    Disposition::Unsent
                };
                tasks.push((task, fate));
            }
            on != path
        });
        let known = &mut self.known.paths[path];
        known.up = false;
        known.in_flight = Writes::default();
        if !reached.is_empty() {
            known.lost.push(reached);
            self.lost[path].push(self.sessions[path]);
        }
        let incarnation = self.sessions[path];
        self.tell(path, Message::Lost { incarnation, tasks });
    }

    fn give_up(&mut self, path: usize, write: Write, reached: Writes) -> Result<(), String> {
        let task = self.take_task(path, write);
        self.known.note_given_up(path, write);
        let message = Message::Failed {
            incarnation: self.sessions[path],
            task,
            fate: Fate::AtLarge,
        };
        self.tell(path, message);
        let order = self
            .volume
            .poll_order()
            .map(|(path, order)| (usize::from(path.0), order));
        if order != Some((path, Order::GiveUp)) {
            return Err(format!(
                "the session that may still execute write {write} is kept"
            ));
        }
        self.lose(path, reached);
        self.now += PAUSE;
        self.volume.handle_timeout(self.now);
        Ok(())
    }

    fn come_back(&mut self, path: usize) {
        self.known.paths[path].up = true;
        self.sessions[path] = self.sessions[path].next();
        let incarnation = self.sessions[path];
        let unit = Arc::clone(&self.unit);
        self.tell(path, Message::Identified { incarnation, unit });
        // The second without proof that the portals share sessions: the world knows that they do.
        let order = self.volume.poll_order().map(|(_, order)| order);
        assert!(matches!(order, Some(Order::Admit | Order::AdmitIfProven)));
        let standing = Standing::Ready;
        let message = Message::Standing {
            incarnation,
            standing,
        };
        self.tell(path, message);
    }

    fn fence(&mut self, path: usize, last: usize) {
        self.known.paths[path].lost.drain(..=last);
        let upto = self.lost[path].drain(..=last).next_back();
        let upto = upto.expect("a session that was lost");
        let by = FenceKind::Reinstatement;
        self.tell(path, Message::Fenced { upto, by });
    }

    fn take_task(&mut self, path: usize, write: Write) -> TaskId {
        let mut tasks = self.tasks.iter();
        let place = tasks.position(|&(_, on, of)| (on, of) == (path, write));
        let (task, _, _) = self.tasks.remove(place.expect("a command in flight"));
        self.known.paths[path].in_flight.remove(write);
        task
    }

    fn tell(&mut self, path: usize, message: Message) {
        self.volume.handle_message(self.now, id(path), message);
    }

    /// Lets the volume send and answer what it will.
    fn settle(&mut self) -> Result<Output, String> {
        for path in 0..PATHS {
            self.volume.set_slots(id(path), SLOTS);
        }
        self.volume.dispatch(self.now);
        while let Some(submission) = self.volume.poll_submission() {
            let path = usize::from(submission.path.0);
            let write = self.recognise(&submission.task)?;
            if !self.known.paths[path].up || self.sessions[path] != submission.incarnation {
                return Err(format!(
                    "write {write} is sent over path {path}, which is down"
                ));
            }
            self.known.paths[path].in_flight.add(write);
            self.tasks.push((submission.task.id, path, write));
        }
        if let Some((path, order)) = self.volume.poll_order() {
            return Err(format!("path {path} is ordered to {order:?}"));
        }
        let mut output = Output::default();
        while let Some(reply) = self.volume.poll_reply() {
            let write = Write::try_from(reply.io.0).expect("ids are ours");
            if let Err(error) = reply.result {
                return Err(format!("write {write} failed: {error:?}"));
            }
            self.known.acknowledged.add(write);
            output.acknowledged.add(write);
        }
        Ok(output)
    }

    /// Which write the command is.
    fn recognise(&self, task: &Task) -> Result<Write, String> {
        let wrong = || format!("a command that nobody asked for: {task:?}");
        let Some(Command::Write { extent, .. }) = Command::parse(task.cdb.wire()) else {
            return Err(wrong());
        };
        let DataTransfer::Out(data) = &task.data else {
            return Err(wrong());
        };
        let data = data.to_bytes();
        let write = *data.first().ok_or_else(wrong)?;
        let index = usize::from(write).checked_sub(1).ok_or_else(wrong)?;
        let blocks = self.writes.get(index).ok_or_else(wrong)?;
        let whole = data.iter().all(|byte| *byte == write);
        if !whole || (extent.lba, u64::from(extent.blocks)) != blocks.extent() {
            return Err(wrong());
        }
        Ok(write)
    }
}

fn id(path: usize) -> PathId {
    PathId(u16::try_from(path).expect("two paths"))
}

/// The disk of every small world.
pub(super) fn unit() -> Unit {
    let geometry = Geometry::new(BLOCK, BLOCKS as u64).expect("a size that exists");
    let inquiry = StandardInquiry {
        qualifier: 0,
        device_type: 0,
        version: 5,
        tpgs: 0,
        vendor: "netsim".to_owned(),
        product: "small world".to_owned(),
        revision: "1".to_owned(),
    };
    Unit {
        identity: LunIdentity::new(&inquiry, &[], Some("1".to_owned()), geometry),
        geometry,
        features: Features {
            fua: false,
            write_cache: Some(false),
            write_protected: false,
            rotational: false,
            transfer_blocks_max: 8,
            preferred_bytes: 4096,
            trim: TrimMethod::None,
            write_same_blocks_max: 0,
            unmapped_reads_zero: false,
        },
        target: "iqn.2026-11.com.example:small".to_owned(),
        portal_group: Some(1),
    }
}
