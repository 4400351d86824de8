//! Sessions against a scripted target: every test logs in for real, then plays the target's part
//! PDU by PDU.

mod data_in;
mod data_out;
mod errors;
mod keepalive;
mod logged_in;
mod lost;
mod management;
mod notices;
mod numbers;
mod robustness;
mod text;

use std::time::Duration;

use bytes::Bytes;

use super::config::{AuthConfig, Offer, SessionKind};
use super::*;
use crate::ids::Lun;
use crate::iscsi::digest::Digests;
use crate::iscsi::error::{LoginStatus, TransferFault};
use crate::iscsi::isid::Isid;
use crate::iscsi::keys::Text;
use crate::iscsi::name::IscsiName;
use crate::iscsi::pdu::login::{LoginRequest, StageFlags};
use crate::iscsi::pdu::*;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::Ttt;
use crate::task::{Cdb, Completion, DataTransfer, Residual, Task, TaskAttribute};

/// What a test's session and target agree on.
#[derive(Clone)]
struct Setup {
    offer: Offer,
    /// The target's keys in the operational stage.
    answers: Vec<(&'static str, &'static str)>,
    kind: SessionKind,
    /// StatSN of the first login response.
    stat_sn: u32,
    /// Commands that the target has room for.
    window: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            offer: Offer::default(),
            answers: vec![("MaxRecvDataSegmentLength", "8192")],
            kind: SessionKind::Normal {
                target: IscsiName::new("iqn.2003-01.com.example:array1").unwrap(),
            },
            stat_sn: 100,
            window: 64,
        }
    }
}

impl Setup {
    fn answers(answers: &[(&'static str, &'static str)]) -> Self {
        Self {
            answers: answers.to_vec(),
            ..Self::default()
        }
    }

    fn config(&self) -> SessionConfig {
        SessionConfig {
            initiator_name: IscsiName::new("iqn.2026-11.com.example:db1").unwrap(),
            kind: self.kind.clone(),
            isid: Isid::from_wire([0x80, 1, 2, 3, 4, 5]),
            auth: AuthConfig::None,
            offer: self.offer,
            login_timeout: Duration::from_secs(15),
            logout_timeout: Duration::from_secs(5),
        }
    }
}

/// A PDU that the session sent.
#[derive(Clone, Debug)]
struct Sent {
    bhs: Bhs,
    data: Vec<u8>,
}

impl Sent {
    fn command(&self) -> ScsiCommand {
        assert_eq!(self.bhs.opcode(), Ok(Opcode::ScsiCommand), "{self:?}");
        ScsiCommand::decode(&self.bhs).unwrap()
    }

    fn data_out(&self) -> DataOut {
        assert_eq!(self.bhs.opcode(), Ok(Opcode::DataOut), "{self:?}");
        DataOut::decode(&self.bhs).unwrap()
    }

    fn nop_out(&self) -> NopOut {
        assert_eq!(self.bhs.opcode(), Ok(Opcode::NopOut), "{self:?}");
        NopOut::decode(&self.bhs).unwrap()
    }

    fn management(&self) -> TaskManagementRequest {
        let opcode = self.bhs.opcode();
        assert_eq!(opcode, Ok(Opcode::TaskManagementRequest), "{self:?}");
        TaskManagementRequest::decode(&self.bhs).unwrap()
    }
}

/// The target, as the test plays it, with the session that it talks to.
struct Peer {
    session: Session,
    now: Instant,
    framer: Framer,
    outbox: Outbox,
    received: BytesMut,
    stat_sn: SerialNumber,
    exp_cmd_sn: SerialNumber,
    max_cmd_sn: SerialNumber,
}

impl Peer {
    /// Before the login.
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant to start from; nothing waits"
    )]
    fn connected(setup: &Setup) -> Self {
        let now = Instant::now();
        let entropy = Entropy::new([7; 32]);
        Self {
            session: Session::new(now, Arc::new(setup.config()), entropy),
            now,
            framer: Framer::new(SegmentLimits {
                data: 1 << 20,
                control: 1 << 20,
            }),
            outbox: Outbox::new(),
            received: BytesMut::new(),
            stat_sn: SerialNumber(setup.stat_sn),
            exp_cmd_sn: SerialNumber(0),
            max_cmd_sn: SerialNumber(0),
        }
    }

    /// Logged in; the login's event was taken.
    fn new(setup: &Setup) -> Self {
        let mut peer = Self::connected(setup);
        peer.answer_login(&[("AuthMethod", "None"), ("TargetPortalGroupTag", "1")], 0);
        peer.answer_login(&setup.answers, setup.window);
        let events = peer.events();
        assert!(matches!(events[..], [Event::LoggedIn(_)]), "{events:?}");
        let digests = peer.full().negotiated().digests;
        peer.set_digests(digests);
        peer
    }

    fn set_digests(&mut self, digests: Digests) {
        self.framer.set_digests(digests);
        self.outbox.set_digests(digests);
    }

    /// Agrees to the transition that the session asks for; the next request is in its queue then.
    fn answer_login(&mut self, keys: &[(&str, &str)], window: u32) {
        let (response, text) = self.login_response(keys, window);
        self.send(response.encode(), &text);
    }

    fn login_response(&mut self, keys: &[(&str, &str)], window: u32) -> (LoginResponse, Vec<u8>) {
        let [sent] = &self.sent()[..] else {
            panic!("one login request at a time");
        };
        let request = LoginRequest::decode(&sent.bhs).unwrap();
        self.exp_cmd_sn = request.cmd_sn;
        self.max_cmd_sn = request.cmd_sn.plus(window).previous();
        let numbers = self.consumed();
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
        (response, text.encode())
    }

    fn full(&mut self) -> &mut FullFeature {
        self.session.full_feature().expect("logged in")
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// The numbers of a PDU that consumes a StatSN.
    fn consumed(&mut self) -> TargetNumbers {
        let numbers = self.numbers();
        self.stat_sn = self.stat_sn.next();
        numbers
    }

    /// The numbers of a PDU that does not.
    fn numbers(&self) -> TargetNumbers {
        TargetNumbers {
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn,
        }
    }

    /// Everything that the session queued, taken by its socket; digests are checked.
    fn sent(&mut self) -> Vec<Sent> {
        self.received
            .extend_from_slice(&self.session.outgoing().take_all());
        let mut pdus = Vec::new();
        while let Some(frame) = self.framer.next(&mut self.received).unwrap() {
            match frame {
                Frame::Header(bhs, ahs) => {
                    assert!(ahs.is_empty());
                    pdus.push(Sent {
                        bhs,
                        data: Vec::new(),
                    });
                }
                Frame::Data(piece) => pdus.last_mut().unwrap().data.extend_from_slice(&piece),
                Frame::End => {}
            }
        }
        assert!(self.received.is_empty(), "whole PDUs only");
        for Sent { bhs, .. } in &pdus {
            let counts = bhs.opcode() == Ok(Opcode::ScsiCommand) && !bhs.is_immediate();
            if counts && bhs.serial::<24>() == self.exp_cmd_sn {
                self.exp_cmd_sn = self.exp_cmd_sn.next();
                self.max_cmd_sn = self.max_cmd_sn.next();
            }
        }
        pdus
    }

    fn sent_one(&mut self) -> Sent {
        let [sent] = <[Sent; 1]>::try_from(self.sent()).expect("one PDU");
        sent
    }

    fn try_send(&mut self, bhs: Bhs, data: &[u8]) -> Result<(), SessionError> {
        self.outbox.push(bhs, &Bytes::copy_from_slice(data).into());
        let bytes = self.outbox.outgoing().take_all();
        self.try_bytes(&bytes)
    }

    fn try_bytes(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.session
            .handle_bytes(self.now, &mut BytesMut::from(bytes))
    }

    fn send(&mut self, bhs: Bhs, data: &[u8]) {
        self.try_send(bhs, data).unwrap();
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn event(&mut self) -> Event {
        let [event] = <[Event; 1]>::try_from(self.events()).expect("one event");
        event
    }

    fn completion(&mut self) -> (TaskId, Completion) {
        let event = self.event();
        let Event::Completed(id, completion) = event else {
            panic!("not completed: {event:?}");
        };
        (id, completion)
    }

    fn failure(&mut self) -> (TaskId, TaskFailure) {
        let event = self.event();
        let Event::Failed(id, failure) = event else {
            panic!("not failed: {event:?}");
        };
        (id, failure)
    }

    fn submit(&mut self, id: u64, data: DataTransfer) {
        let now = self.now;
        self.full().submit(now, task(id, data));
    }

    /// Submits a read and takes its command.
    fn read(&mut self, id: u64, length: u32) -> ScsiCommand {
        self.submit(id, DataTransfer::In(length));
        self.sent_one().command()
    }

    /// Submits a write and takes what goes unasked.
    fn write(&mut self, id: u64, data: &[u8]) -> Vec<Sent> {
        self.submit(id, DataTransfer::Out(Bytes::copy_from_slice(data).into()));
        self.sent()
    }

    fn r2t(&self, itt: Itt, r2t_sn: u32, offset: u32, length: u32) -> R2t {
        R2t {
            lun: lun(),
            itt,
            ttt: Ttt::new(0xf00d).unwrap(),
            numbers: self.numbers(),
            r2t_sn,
            offset,
            length,
        }
    }

    fn data_in(&self, itt: Itt, data_sn: u32, offset: u32) -> DataIn {
        DataIn {
            last: true,
            acknowledge: false,
            status: None,
            lun: Lun::from_wire([0; 8]),
            itt,
            ttt: None,
            numbers: self.numbers(),
            data_sn,
            offset,
        }
    }

    fn response(&mut self, itt: Itt, status: u8, residual: Residual) -> ScsiResponse {
        ScsiResponse {
            itt,
            response: ScsiResponse::COMPLETED,
            status,
            residual: residual.into(),
            numbers: self.consumed(),
            exp_data_sn: 0,
        }
    }

    fn respond(&mut self, itt: Itt, status: u8, residual: Residual) {
        let response = self.response(itt, status, residual);
        self.send(response.encode(), &[]);
    }

    /// A ping of ours: shows what the session would put into any PDU now.
    fn probe_numbers(&mut self) -> InitiatorNumbers {
        let now = self.now;
        self.full().ping(now);
        let ping = self.sent_one().nop_out();
        let pong = NopIn {
            lun: Lun::from_wire([0; 8]),
            itt: ping.itt,
            ttt: None,
            numbers: self.consumed(),
        };
        self.send(pong.encode(), &[]);
        assert!(matches!(self.event(), Event::PingAnswered { .. }));
        ping.numbers
    }
}

fn fault(error: SessionError) -> TransferFault {
    let SessionError::PeerMisbehaved(PeerMisbehaved::Transfer(fault)) = error else {
        panic!("no transfer fault: {error:?}");
    };
    fault
}

fn lun() -> Lun {
    Lun::from_wire([0x40, 0x01, 0, 0, 0, 0, 0, 0])
}

fn task(id: u64, data: DataTransfer) -> Task {
    Task {
        id: TaskId(id),
        lun: lun(),
        cdb: Cdb::from_10([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
        attribute: TaskAttribute::Simple,
        data,
    }
}

/// Bytes that differ by place.
fn pattern(len: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(len).collect()
}
