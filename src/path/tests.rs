//! Paths against a scripted target: every session logs in for real, and answers what a test does not
//! keep back.

mod access;
mod courier;
mod escalation;
mod fencing;
mod health;
mod lifecycle;
mod network;
mod sameness;
mod uplink;

use std::collections::VecDeque;

use bytes::Bytes;

use super::message::Order;
use super::message::{FenceKind, Standing};
use super::*;
use crate::ids::Disposition;
use crate::iscsi::error::LoginStatus;
use crate::iscsi::framer::{Frame, Framer, SegmentLimits};
use crate::iscsi::isid::Isid;
use crate::iscsi::keys::Text;
use crate::iscsi::name::IscsiName;
use crate::iscsi::outbox::Outbox;
use crate::iscsi::pdu::login::{LoginRequest, LoginResponse, Stage, StageFlags};
use crate::iscsi::pdu::*;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::session::config::{AuthConfig, Offer};
use crate::scsi::cdb::{Command, Direction};
use crate::task::{DataTransfer, Residual, TaskAttribute};
use crate::units::Geometry;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The target's end of one connection.
struct Wire {
    framer: Framer,
    outbox: Outbox,
    received: BytesMut,
    stat_sn: SerialNumber,
    exp_cmd_sn: SerialNumber,
    /// Commands that there is room for.
    window: u32,
}

/// A PDU that a session sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    bhs: Bhs,
    data: Vec<u8>,
}

impl Sent {
    pub(super) fn command(&self) -> Option<ScsiCommand> {
        (self.bhs.opcode() == Ok(Opcode::ScsiCommand))
            .then(|| ScsiCommand::decode(&self.bhs).unwrap())
    }
}

/// What the target answers to a command.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u8,
    pub(super) sense: Option<[u8; 3]>,
    pub(super) data: Vec<u8>,
}

impl Answer {
    pub(super) fn good(data: Vec<u8>) -> Self {
        Self {
            status: 0,
            sense: None,
            data,
        }
    }

    pub(super) fn status(status: u8) -> Self {
        Self {
            status,
            ..Self::good(Vec::new())
        }
    }

    /// CHECK CONDITION.
    pub(super) fn check(key: u8, asc: u8, ascq: u8) -> Self {
        Self {
            status: 2,
            sense: Some([key, asc, ascq]),
            data: Vec::new(),
        }
    }
}

/// A disk of 1 GiB with an identifier of its own.
pub(super) fn disk(cdb: &[u8; 16]) -> Answer {
    let page = |code: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).unwrap();
        Answer::good([&[0, code, 0, length], body].concat())
    };
    match (cdb[0], cdb[1] & 1, cdb[2]) {
        (0x12, 0, _) => {
            let mut data = vec![0; 36];
            (data[2], data[4]) = (5, 31);
            data[8..32].copy_from_slice(b"ACME    disk            ");
            Answer::good(data)
        }
        (0x12, 1, 0x00) => page(0x00, &[0x00, 0x80, 0x83]),
        (0x12, 1, 0x80) => page(0x80, b"S1"),
        (0x12, 1, 0x83) => {
            let naa = [
                0x60, 0x01, 0x40, 0x5f, 0x2d, 0x3c, 0x4b, 0x5a, 1, 2, 3, 4, 5, 6, 7, 8,
            ];
            page(0x83, &[&[0x01, 0x03, 0x00, 16][..], &naa].concat())
        }
        (0x9e, ..) => {
            let mut data = vec![0; 32];
            data[..8].copy_from_slice(&((1u64 << 21) - 1).to_be_bytes());
            data[8..12].copy_from_slice(&512u32.to_be_bytes());
            Answer::good(data)
        }
        (0x28, ..) => {
            let blocks = usize::from(u16::from_be_bytes([cdb[7], cdb[8]]));
            Answer::good(vec![0; blocks * 512])
        }
        (0x1a | 0x5a, ..) => Answer::check(5, 0x20, 0),
        _ => Answer::good(Vec::new()),
    }
}

impl Wire {
    fn new() -> Self {
        let limits = SegmentLimits {
            data: 1 << 20,
            control: 1 << 20,
        };
        Self {
            framer: Framer::new(limits),
            outbox: Outbox::new(),
            received: BytesMut::new(),
            stat_sn: SerialNumber(100),
            exp_cmd_sn: SerialNumber(0),
            window: 64,
        }
    }

    fn numbers(&mut self) -> TargetNumbers {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.next();
        TargetNumbers {
            stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.exp_cmd_sn.plus(self.window).previous(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<Sent> {
        self.received.extend_from_slice(bytes);
        let mut pdus = Vec::new();
        while let Some(frame) = self.framer.next(&mut self.received).unwrap() {
            match frame {
                Frame::Header(bhs, _) => pdus.push(Sent {
                    bhs,
                    data: Vec::new(),
                }),
                Frame::Data(data) => {
                    let last = pdus.last_mut().expect("data comes after its header");
                    last.data.extend_from_slice(&data);
                }
                Frame::End => {}
            }
        }
        for Sent { bhs, .. } in &pdus {
            if bhs.opcode() == Ok(Opcode::ScsiCommand) && !bhs.is_immediate() {
                self.exp_cmd_sn = bhs.serial::<24>().next();
            }
        }
        pdus
    }

    fn login(&mut self, request: &LoginRequest, group: &str) -> (Bhs, Vec<u8>) {
        self.exp_cmd_sn = request.cmd_sn;
        let keys = match request.flags.stage {
            Stage::Security => vec![("AuthMethod", "None"), ("TargetPortalGroupTag", group)],
            Stage::Operational | Stage::FullFeature => {
                vec![("MaxRecvDataSegmentLength", "262144")]
            }
        };
        let numbers = self.numbers();
        let response = LoginResponse {
            flags: StageFlags {
                continues: false,
                ..request.flags
            },
            version_max: 0,
            version_active: 0,
            isid: request.isid,
            tsih: 7,
            itt: request.itt,
            stat_sn: numbers.stat_sn,
            exp_cmd_sn: numbers.exp_cmd_sn,
            max_cmd_sn: numbers.max_cmd_sn,
            status: LoginStatus::SUCCESS,
        };
        let text = keys
            .iter()
            .fold(Text::new(), |text, (key, value)| text.with(key, value));
        (response.encode(), text.encode())
    }
}

/// Answers a command by its CDB and attribute.
type Disk = dyn FnMut(&[u8; 16], TaskAttribute) -> Option<Answer>;

/// The same, and by the data that came with it.
type DiskWithData = dyn FnMut(&[u8; 16], &[u8]) -> Option<Answer>;

/// A path, its clock and its target.
pub(super) struct Bench {
    pub(super) path: Path,
    pub(super) now: Instant,
    wires: BTreeMap<Link, Wire>,
    pub(super) dialing: Vec<(Link, Option<PortalAddr>)>,
    pub(super) messages: VecDeque<Message>,
    /// Target portal group tag that logins are told.
    pub(super) group: &'static str,
    /// What commands are answered with; `None` keeps them waiting.
    pub(super) disk: Box<Disk>,
    /// In place of that.
    pub(super) disk_with_data: Option<Box<DiskWithData>>,
    pub(super) pongs: bool,
    /// What the kernel says of the main connection; by default all is acknowledged.
    pub(super) kernel: Box<dyn FnMut(Instant) -> NetworkView>,
    /// How often it was asked.
    pub(super) looks: u32,
    window: u32,
    next_task: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of a test's time"
    )]
    pub(super) fn with(change: impl FnOnce(&mut PathConfig)) -> Self {
        let session = SessionConfig {
            initiator_name: IscsiName::new("iqn.2026-11.com.example:db1").unwrap(),
            kind: SessionKind::Normal {
                target: IscsiName::new("iqn.2003-01.com.example:array1").unwrap(),
            },
            isid: Isid::from_wire([0x80, 1, 2, 3, 4, 5]),
            auth: AuthConfig::None,
            offer: Offer::default(),
            login_timeout: Duration::from_secs(30),
            logout_timeout: Duration::from_secs(5),
        };
        let mut config = PathConfig {
            name: "10.0.1.10".into(),
            route: "10.0.1.10".into(),
            portal: "10.0.1.10".parse().unwrap(),
            session: Arc::new(session),
            lun: Lun::from_number(1).unwrap(),
            alua: true,
            queue_depth: 64,
            detect: Detect {
                network: ms(700),
                target: ms(5_000),
                command: ms(30_000),
            },
            same_by: SameBy::Reservation,
            lun_reset: false,
            seed: 1,
        };
        change(&mut config);
        let now = Instant::now();
        let mut bench = Self {
            path: Path::new(now, PathId(0), config),
            now,
            wires: BTreeMap::new(),
            dialing: Vec::new(),
            messages: VecDeque::new(),
            group: "1",
            disk: Box::new(|cdb, _| Some(disk(cdb))),
            disk_with_data: None,
            pongs: true,
            kernel: Box::new(|_| NetworkView::default()),
            looks: 0,
            window: 64,
            next_task: 0,
        };
        bench.path.handle_timeout(now);
        bench.turn();
        bench
    }

    /// Carries actions and messages.
    pub(super) fn turn(&mut self) {
        while let Some(action) = self.path.poll_action() {
            match action {
                Action::Dial { link, to, .. } => self.dialing.push((link, to)),
                Action::Hangup { link } => {
                    self.wires.remove(&link);
                    self.dialing.retain(|(other, _)| *other != link);
                }
                Action::Observe => {
                    self.looks += 1;
                    let view = (self.kernel)(self.now);
                    self.path.on_network(self.now, view);
                }
            }
        }
        while let Some(message) = self.path.poll_message() {
            self.messages.push_back(message);
        }
    }

    /// The TCP connection is there; nothing of the login is answered yet.
    pub(super) fn connect(&mut self, link: Link) {
        let at = self.dialing.iter().position(|(other, _)| *other == link);
        self.dialing.remove(at.expect("a dial was asked for"));
        self.wires.insert(
            link,
            Wire {
                window: self.window,
                ..Wire::new()
            },
        );
        self.path
            .on_connected(self.now, link, Entropy::new([7; 32]));
        self.turn();
    }

    pub(super) fn is_open(&self, link: Link) -> bool {
        self.wires.contains_key(&link)
    }

    pub(super) fn refuse(&mut self, link: Link) {
        let at = self.dialing.iter().position(|(other, _)| *other == link);
        self.dialing.remove(at.expect("a dial was asked for"));
        self.path.on_closed(self.now, link, "connection refused");
        self.turn();
    }

    /// The target closes the connection.
    pub(super) fn close(&mut self, link: Link) {
        self.wires.remove(&link).expect("open");
        self.path.on_closed(self.now, link, "closed by the target");
        self.turn();
    }

    /// Lets the target answer everything that it was sent, until there is nothing more.
    pub(super) fn serve(&mut self, link: Link) {
        while self.serve_once(link) {}
    }

    /// Lets the target answer what it was sent; whether there was anything.
    pub(super) fn serve_once(&mut self, link: Link) -> bool {
        let Some(wire) = self.wires.get_mut(&link) else {
            return false;
        };
        let sent = wire.take(&self.path.outgoing(link).take_all());
        for pdu in &sent {
            self.answer(link, pdu);
        }
        !sent.is_empty()
    }

    fn answer(&mut self, link: Link, pdu: &Sent) {
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "what is not answered, tests answer themselves"
        )]
        match pdu.bhs.opcode().unwrap() {
            Opcode::LoginRequest => {
                let request = LoginRequest::decode(&pdu.bhs).unwrap();
                let (response, text) = wire.login(&request, self.group);
                self.send(link, response, &text);
            }
            Opcode::NopOut if self.pongs => {
                let ping = NopOut::decode(&pdu.bhs).unwrap();
                let pong = NopIn {
                    lun: ping.lun,
                    itt: ping.itt,
                    ttt: None,
                    numbers: wire.numbers(),
                };
                self.send(link, pong.encode(), &[]);
            }
            Opcode::LogoutRequest => {
                let request = LogoutRequest::decode(&pdu.bhs).unwrap();
                let response = LogoutResponse {
                    itt: request.itt,
                    response: 0,
                    numbers: wire.numbers(),
                    time2wait: 0,
                    time2retain: 0,
                };
                self.send(link, response.encode(), &[]);
            }
            Opcode::ScsiCommand => {
                let command = pdu.command().unwrap();
                let answer = match &mut self.disk_with_data {
                    Some(disk) => disk(&command.cdb, &pdu.data),
                    None => (self.disk)(&command.cdb, command.attribute),
                };
                if let Some(answer) = answer {
                    self.respond(link, &command, &answer);
                }
            }
            _ => {}
        }
    }

    /// Answers a command.
    pub(super) fn respond(&mut self, link: Link, command: &ScsiCommand, answer: &Answer) {
        let expected = match command.direction {
            DataDirection::Read(length) => usize::try_from(length).unwrap(),
            DataDirection::None | DataDirection::Write(_) => 0,
        };
        let data = &answer.data[..answer.data.len().min(expected)];
        let short = u32::try_from(expected - data.len()).unwrap();
        let residual = match short {
            0 => Residual::None,
            short => Residual::Underflow(short),
        };
        if !data.is_empty() {
            let wire = self.wires.get_mut(&link).unwrap();
            let mut numbers = wire.numbers();
            wire.stat_sn = numbers.stat_sn;
            numbers.stat_sn = SerialNumber(0);
            let pdu = DataIn {
                last: true,
                acknowledge: false,
                status: None,
                lun: command.lun,
                itt: command.itt,
                ttt: None,
                numbers,
                data_sn: 0,
                offset: 0,
            };
            self.send(link, pdu.encode(), data);
        }
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        let response = ScsiResponse {
            itt: command.itt,
            response: ScsiResponse::COMPLETED,
            status: answer.status,
            residual: residual.into(),
            numbers: wire.numbers(),
            exp_data_sn: 0,
        };
        let sense = answer.sense.map_or_else(Vec::new, |[key, asc, ascq]| {
            let mut sense = vec![0; 20];
            (sense[1], sense[2], sense[4], sense[9], sense[14], sense[15]) =
                (18, 0x70, key, 10, asc, ascq);
            sense
        });
        self.send(link, response.encode(), &sense);
    }

    fn send(&mut self, link: Link, bhs: Bhs, data: &[u8]) {
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        wire.outbox.push(bhs, &Bytes::copy_from_slice(data).into());
        let bytes = wire.outbox.outgoing().take_all();
        self.path
            .handle_bytes(self.now, link, &mut BytesMut::from(&bytes[..]));
        self.turn();
    }

    pub(super) fn async_message(&mut self, event: u8, parameters: [u16; 3]) {
        let numbers = self.wires.get_mut(&Link::Main).unwrap().numbers();
        let message = AsyncMessage {
            lun: Lun::from_number(1).unwrap(),
            numbers,
            event,
            vendor_code: 0,
            parameters,
        };
        self.send(Link::Main, message.encode(), &[]);
    }

    /// Connects, logs in, is identified; the volume has not answered yet.
    pub(super) fn identify(&mut self) {
        self.connect(Link::Main);
        self.serve(Link::Main);
        let identified = |message: &Message| matches!(message, Message::Identified { .. });
        assert!(self.messages.iter().any(identified), "{:?}", self.messages);
        self.messages.clear();
    }

    /// Connects and goes into use.
    pub(super) fn up(&mut self) {
        self.identify();
        self.path.order(self.now, Order::Admit);
        self.turn();
    }

    pub(super) fn state(&self) -> PathState {
        self.path.status(self.now).state
    }

    /// Submits a write of one block.
    pub(super) fn write(&mut self) -> TaskId {
        self.next_task += 1;
        let geometry = Geometry::new(512, 1 << 21).unwrap();
        let range = geometry.range(0, 512).unwrap();
        let task = Task {
            id: TaskId(self.next_task),
            lun: Lun::from_wire([0; 8]),
            cdb: Command::transfer(Direction::Write, range, false).cdb(),
            attribute: TaskAttribute::Simple,
            data: DataTransfer::Out(Bytes::from(vec![0; 512]).into()),
        };
        self.path.submit(self.now, task);
        TaskId(self.next_task)
    }

    /// Lets time pass, timers fire, and the target answer.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        while let Some(deadline) = self.path.poll_timeout().filter(|d| d.at <= until) {
            turns += 1;
            assert!(turns < 10_000, "spins on {:?}", deadline.why);
            self.now = self.now.max(deadline.at);
            self.path.handle_timeout(self.now);
            self.turn();
            self.serve(Link::Main);
            self.serve(Link::Fencer);
        }
        self.now = until;
    }

    pub(super) fn standings(&self) -> Vec<Standing> {
        let mut standings = Vec::new();
        for message in &self.messages {
            if let Message::Standing { standing, .. } = message {
                standings.push(*standing);
            }
        }
        standings
    }

    pub(super) fn fences(&self) -> Vec<u32> {
        let mut fences = Vec::new();
        for message in &self.messages {
            if let Message::Fenced { upto, by } = message {
                assert_eq!(*by, FenceKind::Reinstatement);
                fences.push(upto.0);
            }
        }
        fences
    }

    pub(super) fn lost(&self) -> Vec<Vec<(TaskId, Disposition)>> {
        let mut lost = Vec::new();
        for message in &self.messages {
            if let Message::Lost { tasks, .. } = message {
                lost.push(tasks.clone());
            }
        }
        lost
    }
}
