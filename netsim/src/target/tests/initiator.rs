//! A bare initiator: it sends what a test tells it to and checks nothing that the test does not.

use bytes::{Bytes, BytesMut};
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::chap::Secret;
use iiblockdaemon::iscsi::digest::Digests;
use iiblockdaemon::iscsi::framer::{Frame, Framer, SegmentLimits};
use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::login::{LoginRequest, LoginResponse, Stage, StageFlags};
use iiblockdaemon::iscsi::pdu::{
    Bhs, DataDirection, DataIn, DataOut, InitiatorNumbers, Opcode, R2t, ScsiCommand, ScsiResponse,
};
use iiblockdaemon::iscsi::serial::SerialNumber;
use iiblockdaemon::iscsi::tags::{Itt, Ttt};
use iiblockdaemon::task::TaskAttribute;

use super::super::*;
use crate::target::lun::{Backing, LunConfig};

pub(super) const NAME: &str = "iqn.2026-11.com.example:netsim";
pub(super) const BLOCK: usize = 512;

pub(super) fn secret() -> Secret {
    Secret::new(b"twelve bytes").unwrap()
}

/// A target with two portals in one group, one in another, and two disks without attentions.
pub(super) fn target(change: impl FnOnce(&mut TargetConfig)) -> Target {
    let mut config = TargetConfig::new(NAME.parse().unwrap());
    for (address, group) in [
        ("10.0.0.1:3260", 1),
        ("10.0.0.2:3260", 1),
        ("10.0.0.3:3260", 2),
    ] {
        let address = address.to_owned();
        config.portals.push(PortalConfig { address, group });
    }
    change(&mut config);
    let disk = |number| {
        let config = LunConfig {
            power_on_attention: false,
            ..LunConfig::disk(number, 512, 8192)
        };
        Lun::new(config, Backing::ram())
    };
    Target::new(config, [(0, disk(0)), (1, disk(1))])
}

pub(super) struct Initiator {
    pub(super) id: ConnectionId,
    pub(super) cmd_sn: SerialNumber,
    pub(super) isid: Isid,
    next_itt: u32,
    out: Outbox,
    framer: Framer,
    input: BytesMut,
    received: std::collections::VecDeque<(Bhs, Bytes)>,
}

impl Initiator {
    pub(super) fn connect(now: Instant, target: &mut Target, portal: usize, isid: u8) -> Self {
        let limits = SegmentLimits {
            data: 1 << 24,
            control: 1 << 24,
        };
        Self {
            id: target.connect(now, portal),
            cmd_sn: SerialNumber(u32::MAX - 2),
            isid: Isid::from_wire([0x80, 0, 0, 0, 0, isid]),
            next_itt: 0,
            out: Outbox::new(),
            framer: Framer::new(limits),
            input: BytesMut::new(),
            received: std::collections::VecDeque::new(),
        }
    }

    /// Connects and logs in without security, with these operational keys.
    pub(super) fn log_in(
        now: Instant,
        target: &mut Target,
        portal: usize,
        isid: u8,
        keys: &[(&str, &str)],
    ) -> Self {
        let mut initiator = Self::connect(now, target, portal, isid);
        let (response, _) = initiator.log_in_again(now, target, keys);
        assert_eq!(response.status, LoginStatus::SUCCESS);
        assert_ne!(response.tsih, 0);
        initiator
    }

    pub(super) fn log_in_again(
        &mut self,
        now: Instant,
        target: &mut Target,
        keys: &[(&str, &str)],
    ) -> (LoginResponse, Text) {
        let mut text = Text::new()
            .with("InitiatorName", "iqn.2026-11.com.example:test")
            .with("TargetName", NAME);
        keys.iter().for_each(|(key, value)| text.push(key, value));
        let answer = self.login(
            now,
            target,
            Stage::Operational,
            Some(Stage::FullFeature),
            text,
        );
        let digest = |key| answer.1.get(key) == Some("CRC32C");
        let digests = Digests {
            header: digest("HeaderDigest"),
            data: digest("DataDigest"),
        };
        self.out.set_digests(digests);
        self.framer.set_digests(digests);
        answer
    }

    /// One login request and its response.
    pub(super) fn login(
        &mut self,
        now: Instant,
        target: &mut Target,
        stage: Stage,
        transit: Option<Stage>,
        text: Text,
    ) -> (LoginResponse, Text) {
        self.send_login(now, target, stage, transit, &text);
        self.login_response(target).expect("a login response")
    }

    pub(super) fn send_login(
        &mut self,
        now: Instant,
        target: &mut Target,
        stage: Stage,
        transit: Option<Stage>,
        text: &Text,
    ) {
        let request = LoginRequest {
            flags: StageFlags {
                stage,
                transit,
                continues: false,
            },
            version_max: 0,
            version_min: 0,
            isid: self.isid,
            tsih: 0,
            itt: Itt::new(0).unwrap(),
            cid: 0,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: SerialNumber(0),
        };
        self.send(now, target, request.encode(), &text.encode());
    }

    pub(super) fn login_response(&mut self, target: &mut Target) -> Option<(LoginResponse, Text)> {
        let (bhs, data) = self.receive(target)?;
        let response = LoginResponse::decode(&bhs).unwrap();
        Some((response, Text::decode(&data).unwrap()))
    }

    pub(super) fn send(&mut self, now: Instant, target: &mut Target, bhs: Bhs, data: &[u8]) {
        self.out.push(bhs, &Bytes::copy_from_slice(data).into());
        let mut bytes = BytesMut::from(self.out.outgoing().take_all().as_ref());
        target.handle_bytes(now, self.id, &mut bytes);
    }

    /// The next PDU of the target's, if there is one.
    pub(super) fn receive(&mut self, target: &mut Target) -> Option<(Bhs, Bytes)> {
        if let Some(queue) = target.outgoing(self.id) {
            self.input.extend_from_slice(&queue.take_all());
        }
        let mut pdu = None;
        while let Some(frame) = self.framer.next(&mut self.input).unwrap() {
            match frame {
                Frame::Header(bhs, _) => pdu = Some((bhs, Payload::new())),
                Frame::Data(piece) => pdu.as_mut().unwrap().1.push(piece),
                Frame::End => {
                    let (bhs, data) = pdu.take().unwrap();
                    self.received.push_back((bhs, data.to_bytes()));
                }
            }
        }
        self.received.pop_front()
    }

    pub(super) fn itt(&mut self) -> Itt {
        self.next_itt += 1;
        Itt::new(self.next_itt).unwrap()
    }

    /// CmdSN of a command that takes one.
    pub(super) fn numbers(&mut self) -> InitiatorNumbers {
        let cmd_sn = self.cmd_sn;
        self.cmd_sn = cmd_sn.next();
        let exp_stat_sn = SerialNumber(0);
        InitiatorNumbers {
            cmd_sn,
            exp_stat_sn,
        }
    }

    /// Sends a command with its immediate data.
    pub(super) fn command(
        &mut self,
        now: Instant,
        target: &mut Target,
        cdb: [u8; 16],
        direction: DataDirection,
        last: bool,
        immediate: &[u8],
    ) -> Itt {
        let command = ScsiCommand {
            immediate: false,
            last,
            direction,
            attribute: TaskAttribute::Simple,
            lun: LunAddress::from_number(0).unwrap(),
            itt: self.itt(),
            numbers: self.numbers(),
            cdb,
        };
        self.send(now, target, command.encode(), immediate);
        command.itt
    }

    pub(super) fn data_out(
        &mut self,
        now: Instant,
        target: &mut Target,
        (itt, ttt): (Itt, Option<Ttt>),
        (data_sn, offset): (u32, u32),
        last: bool,
        data: &[u8],
    ) {
        let pdu = DataOut {
            last,
            lun: LunAddress::from_number(0).unwrap(),
            itt,
            ttt,
            exp_stat_sn: SerialNumber(0),
            data_sn,
            offset,
        };
        self.send(now, target, pdu.encode(), data);
    }

    /// Writes blocks with immediate data only.
    pub(super) fn write(
        &mut self,
        now: Instant,
        target: &mut Target,
        lba: u32,
        data: &[u8],
    ) -> Itt {
        let length = u32::try_from(data.len()).unwrap();
        let cdb = cdb(0x8a, lba, length / 512);
        self.command(now, target, cdb, DataDirection::Write(length), true, data)
    }

    /// An ordered TEST UNIT READY.
    pub(super) fn barrier(&mut self, now: Instant, target: &mut Target) -> Itt {
        let command = ScsiCommand {
            immediate: false,
            last: true,
            direction: DataDirection::None,
            attribute: TaskAttribute::Ordered,
            lun: LunAddress::from_number(0).unwrap(),
            itt: self.itt(),
            numbers: self.numbers(),
            cdb: [0; 16],
        };
        self.send(now, target, command.encode(), &[]);
        command.itt
    }

    pub(super) fn response(&mut self, target: &mut Target) -> Option<ScsiResponse> {
        let (bhs, _) = self.receive(target)?;
        Some(ScsiResponse::decode(&bhs).expect("a SCSI Response"))
    }

    pub(super) fn r2t(&mut self, target: &mut Target) -> Option<R2t> {
        let (bhs, _) = self.receive(target)?;
        assert_eq!(bhs.opcode(), Ok(Opcode::R2t));
        Some(R2t::decode(&bhs).unwrap())
    }

    /// Reads blocks; returns the Data-In PDUs, of which the last carries the status.
    pub(super) fn read(
        &mut self,
        now: Instant,
        target: &mut Target,
        lba: u32,
        blocks: u32,
    ) -> Vec<(DataIn, Bytes)> {
        let length = blocks * 512;
        let cdb = cdb(0x88, lba, blocks);
        self.command(now, target, cdb, DataDirection::Read(length), true, &[]);
        let mut all = Vec::new();
        while let Some((bhs, data)) = self.receive(target) {
            assert_eq!(bhs.opcode(), Ok(Opcode::DataIn));
            all.push((DataIn::decode(&bhs).unwrap(), data));
        }
        all
    }
}

pub(super) fn cdb(opcode: u8, lba: u32, blocks: u32) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[6..10].copy_from_slice(&lba.to_be_bytes());
    cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n / 7 % 251).try_into().unwrap())
        .collect()
}
