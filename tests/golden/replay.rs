//! The target's side of whole captured sessions, told to our session.
//!
//! Our session does what the captured initiator did; what tgt answered then is answered to us. Task tags,
//! ISID and command numbers are translated, for ours differ; nothing else is touched. Only captures of the
//! probe can be told to their end, for it logs in with the same steps as we do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iiblockdaemon::ids::TaskId;
use iiblockdaemon::iscsi::chap::{ChapAlgorithm, Secret, decode_binary};
use iiblockdaemon::iscsi::digest::Digests;
use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::iscsi::keys::Text;
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::{
    DataDirection, DataIn, DataOut, Opcode, R2t, ScsiCommand, ScsiResponse,
};
use iiblockdaemon::iscsi::session::config::{
    AuthConfig, ChapConfig, DigestChoice, Entropy, Offer, SessionConfig, SessionKind,
};
use iiblockdaemon::iscsi::session::{Event, Session, TargetQuery, TaskFunction};
use iiblockdaemon::payload::Payload;
use iiblockdaemon::task::{Cdb, Completion, DataTransfer, Task, TaskAttribute};

use crate::meaning::{of, texts};
use crate::vectors::{Assembler, Connection, Parsed, Side, Vector};

/// What a captured command brought: data, status, sense data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    data: Vec<u8>,
    status: u8,
    sense: Vec<u8>,
}

struct Replay<'a> {
    connection: &'a Connection,
    session: Session,
    now: Instant,
    /// Frames what our session sends.
    ours: Assembler,
    /// Tags of the captured initiator, and ours for the same task.
    tags: BTreeMap<u32, u32>,
    /// What our command numbers are ahead of the captured ones.
    ahead: u32,
    isid: [u8; 6],
    /// The data of captured writes by the captured tag, assembled.
    writes: BTreeMap<u32, Vec<u8>>,
    expected: BTreeMap<u32, Outcome>,
    events: Vec<Event>,
}

fn config(connection: &Connection, auth: AuthConfig) -> SessionConfig {
    let theirs = texts(connection, Side::Initiator);
    let number = |key: &str| theirs.get(key).map_or(8192, |value| value.parse().unwrap());
    let yes = |key: &str| theirs.get(key) == Some("Yes");
    let digest = |key: &str| match theirs.get(key) {
        Some("CRC32C") => DigestChoice::Crc32c,
        _ => DigestChoice::None,
    };
    let discovery = theirs.get("SessionType") == Some("Discovery");
    let target = || SessionKind::Normal {
        target: theirs.get("TargetName").unwrap().parse().unwrap(),
    };
    SessionConfig {
        initiator_name: theirs.get("InitiatorName").unwrap().parse().unwrap(),
        kind: if discovery {
            SessionKind::Discovery
        } else {
            target()
        },
        isid: Isid::from_wire([0x40, 1, 2, 3, 4, 5]),
        auth,
        offer: Offer {
            header_digest: digest("HeaderDigest"),
            data_digest: digest("DataDigest"),
            max_recv_data_segment_length: number("MaxRecvDataSegmentLength"),
            first_burst_length: number("FirstBurstLength"),
            max_burst_length: number("MaxBurstLength"),
            immediate_data: yes("ImmediateData"),
            initial_r2t: yes("InitialR2T"),
            max_outstanding_r2t: 1,
            default_time2wait: 0,
            default_time2retain: 0,
        },
        login_timeout: Duration::from_secs(15),
        logout_timeout: Duration::from_secs(5),
    }
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn some_instant() -> Instant {
    Instant::now()
}

impl<'a> Replay<'a> {
    /// Tells the whole connection.
    fn tell(connection: &'a Connection, auth: AuthConfig) -> Self {
        let now = some_instant();
        let config = Arc::new(config(connection, auth));
        let mut replay = Self {
            connection,
            session: Session::new(now, config, Entropy::new([7; 32])),
            now,
            ours: Assembler::new(Digests::default()),
            tags: BTreeMap::new(),
            ahead: 0,
            isid: [0; 6],
            writes: write_data(connection),
            expected: BTreeMap::new(),
            events: Vec::new(),
        };
        for pdu in &connection.pdus {
            match pdu.side {
                Side::Initiator => replay.do_the_same(pdu),
                Side::Target => replay.answer(pdu),
            }
        }
        replay
    }

    /// Everything that our session sent since the last call.
    fn sent(&mut self) -> Vec<Parsed> {
        let mut stream = BytesMut::from(&self.session.outgoing().take_all()[..]);
        let mut pdus = Vec::new();
        while let Some(pdu) = self
            .ours
            .next(&mut stream)
            .expect("what we send can be framed")
        {
            pdus.push(pdu);
        }
        assert!(stream.is_empty());
        pdus
    }

    /// The one PDU that our session sent for a captured one, whose tag it takes the place of.
    fn counterpart(&mut self, pdu: &Vector) -> Parsed {
        let sent = self.sent();
        let first = sent
            .first()
            .unwrap_or_else(|| panic!("{}: we send nothing", pdu.place))
            .clone();
        let theirs = pdu.parse();
        assert_eq!(
            first.bhs.opcode_value(),
            theirs.bhs.opcode_value(),
            "{}",
            pdu.place
        );
        self.tags
            .insert(theirs.bhs.word::<16>(), first.bhs.word::<16>());
        first
    }

    fn do_the_same(&mut self, pdu: &Vector) {
        let theirs = pdu.parse();
        let tag = theirs.bhs.word::<16>();
        match pdu.opcode() {
            Opcode::LoginRequest => {
                let ours = self.counterpart(pdu);
                self.ahead = ours.bhs.word::<24>().wrapping_sub(theirs.bhs.word::<24>());
                self.isid = ours.bhs.get::<8, 6>();
                // Without T the next stage means nothing, and libiscsi leaves it there.
                let stages = |flags: u8| if flags & 0x80 == 0 { flags & !3 } else { flags };
                assert_eq!(
                    stages(ours.bhs.flags()),
                    stages(theirs.bhs.flags()),
                    "{}",
                    pdu.place
                );
                assert_eq!(
                    chap_response(&ours),
                    chap_response(&theirs),
                    "{}",
                    pdu.place
                );
            }
            Opcode::ScsiCommand => self.submit(pdu, &ScsiCommand::decode(&theirs.bhs).unwrap()),
            // Ours leave by themselves when they are asked for.
            Opcode::DataOut => {}
            Opcode::NopOut if theirs.bhs.itt().is_none() => {
                let answers = self.sent();
                let answered = answers
                    .iter()
                    .any(|ours| ours.bhs.ttt() == theirs.bhs.ttt());
                assert!(
                    answered,
                    "{}: the target's ping was not answered: {answers:?}",
                    pdu.place
                );
            }
            Opcode::NopOut => {
                self.session.full_feature().unwrap().ping(self.now);
                self.counterpart(pdu);
            }
            Opcode::TaskManagementRequest => {
                let function = match theirs.bhs.flags() & 0x7f {
                    5 => TaskFunction::LogicalUnitReset(theirs.bhs.lun()),
                    6 => TaskFunction::TargetWarmReset,
                    other => panic!("{}: function {other} is not told", pdu.place),
                };
                self.session
                    .full_feature()
                    .unwrap()
                    .manage(self.now, function);
                self.counterpart(pdu);
            }
            // The first request of an exchange; the session goes on by itself.
            Opcode::TextRequest if !self.tags.contains_key(&tag) => {
                self.session
                    .full_feature()
                    .unwrap()
                    .send_targets(self.now, TargetQuery::All);
                self.counterpart(pdu);
            }
            Opcode::TextRequest => {
                self.counterpart(pdu);
            }
            Opcode::LogoutRequest => {
                self.session.full_feature().unwrap().logout(self.now);
                self.counterpart(pdu);
            }
            other => panic!("{}: no initiator sends {other:?}", pdu.place),
        }
    }

    fn submit(&mut self, pdu: &Vector, command: &ScsiCommand) {
        let tag = command.itt.get();
        let data = match command.direction {
            DataDirection::None => DataTransfer::None,
            DataDirection::Read(length) => DataTransfer::In(length),
            DataDirection::Write(_) => {
                DataTransfer::Out(Payload::from(Bytes::from(self.writes[&tag].clone())))
            }
        };
        let full = self.session.full_feature().expect("logged in");
        assert!(full.free_slots() > 0, "{}: the window is closed", pdu.place);
        let attribute = TaskAttribute::Simple;
        let (id, cdb) = (TaskId(tag.into()), Cdb::from_16(command.cdb));
        full.submit(
            self.now,
            Task {
                id,
                lun: command.lun,
                cdb,
                attribute,
                data,
            },
        );
        self.expected.insert(tag, Outcome::default());
        let ours = ScsiCommand::decode(&self.counterpart(pdu).bhs).unwrap();
        let theirs = ScsiCommand {
            itt: ours.itt,
            numbers: ours.numbers,
            last: ours.last,
            ..*command
        };
        assert_eq!(ours, theirs, "{}", pdu.place);
    }

    /// Gives one PDU of the target to our session, in pieces, and collects what it must make of it.
    fn answer(&mut self, pdu: &Vector) {
        let Parsed { mut bhs, data, .. } = pdu.parse();
        let tag = bhs.word::<16>();
        let opcode = pdu.opcode();
        if let Some(ours) = self.tags.get(&tag) {
            bhs.set_word::<16>(*ours);
        }
        bhs.set_word::<28>(bhs.word::<28>().wrapping_add(self.ahead));
        bhs.set_word::<32>(bhs.word::<32>().wrapping_add(self.ahead));
        if opcode == Opcode::LoginResponse {
            bhs.set::<8, 6>(self.isid);
        }
        self.note(opcode, tag, pdu);
        let mut stream = Outbox::new();
        stream.set_digests(pdu.digests);
        stream.push(bhs, &Payload::from(Bytes::from(data)));
        let mut input = BytesMut::new();
        for piece in stream.outgoing().take_all().chunks(1000) {
            input.extend_from_slice(piece);
            let told = self.session.handle_bytes(self.now, &mut input);
            told.unwrap_or_else(|error| panic!("{}: {error}", pdu.place));
        }
        assert!(
            input.is_empty(),
            "{}: {} bytes left over",
            pdu.place,
            input.len()
        );
        self.events
            .extend(std::iter::from_fn(|| self.session.poll_event()));
        if self.session.full_feature().is_some() {
            self.ours.set_digests(self.connection.digests);
        }
        if opcode == Opcode::R2t {
            self.check_burst(pdu, tag);
        }
    }

    /// What the owner of the session must be told of a command in the end.
    fn note(&mut self, opcode: Opcode, tag: u32, pdu: &Vector) {
        let Parsed { bhs, data, .. } = pdu.parse();
        let Some(outcome) = self.expected.get_mut(&tag) else {
            return;
        };
        if opcode == Opcode::DataIn {
            outcome.data.extend(data);
            if let Some(end) = DataIn::decode(&bhs).unwrap().status {
                outcome.status = end.status;
            }
        } else if opcode == Opcode::ScsiResponse {
            outcome.status = ScsiResponse::decode(&bhs).unwrap().status;
            outcome.sense = data.get(2..).unwrap_or_default().to_vec();
        }
    }

    /// Our session answers an R2T with exactly the bytes that were asked for.
    fn check_burst(&mut self, pdu: &Vector, tag: u32) {
        let asked = R2t::decode(&pdu.parse().bhs).unwrap();
        let (from, length) = (asked.offset as usize, asked.length as usize);
        let mut at = from;
        for ours in self.sent() {
            let header = DataOut::decode(&ours.bhs).expect("only Data-Out answers an R2T");
            assert_eq!(header.offset as usize, at, "{}", pdu.place);
            assert_eq!(header.ttt, Some(asked.ttt), "{}", pdu.place);
            assert_eq!(
                ours.data,
                self.writes[&tag][at..at + ours.data.len()],
                "{}",
                pdu.place
            );
            at += ours.data.len();
        }
        assert_eq!(at, from + length, "{}: the end of the burst", pdu.place);
    }

    /// Every command was answered as it was in the capture, exactly once; the session ended by logout.
    fn check(&self) -> usize {
        let mut completed: BTreeMap<u32, Outcome> = BTreeMap::new();
        for event in &self.events {
            if let Event::Completed(
                id,
                Completion {
                    status,
                    sense,
                    data,
                    ..
                },
            ) = event
            {
                let (data, sense) = (data.to_bytes().to_vec(), sense.to_vec());
                let outcome = Outcome {
                    data,
                    status: *status,
                    sense,
                };
                let twice = completed.insert(u32::try_from(id.0).unwrap(), outcome);
                assert_eq!(twice, None);
            }
        }
        assert_eq!(completed, self.expected, "{}", self.connection.file);
        let count =
            |wanted: fn(&Event) -> bool| self.events.iter().filter(|event| wanted(event)).count();
        assert_eq!(count(|event| matches!(event, Event::LoggedIn(_))), 1);
        assert_eq!(count(|event| matches!(event, Event::LoggedOut { .. })), 1);
        assert_eq!(
            count(|event| matches!(event, Event::Failed(..) | Event::Aborted(_))),
            0
        );
        completed.len()
    }
}

fn chap_response(pdu: &Parsed) -> Option<Vec<u8>> {
    let text = Text::decode(&pdu.data).expect("text");
    text.get("CHAP_R")
        .map(|response| decode_binary(response).expect("binary"))
}

/// The data of each write, put together from the command and its Data-Out PDUs.
fn write_data(connection: &Connection) -> BTreeMap<u32, Vec<u8>> {
    let mut writes: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for pdu in connection
        .pdus
        .iter()
        .filter(|pdu| pdu.side == Side::Initiator)
    {
        let Parsed { bhs, data, .. } = pdu.parse();
        let at = match pdu.opcode() {
            Opcode::ScsiCommand => 0,
            Opcode::DataOut => DataOut::decode(&bhs).unwrap().offset as usize,
            _ => continue,
        };
        let write = writes.entry(bhs.word::<16>()).or_default();
        write.resize(write.len().max(at + data.len()), 0);
        write[at..at + data.len()].copy_from_slice(&data);
    }
    writes
}

#[test]
fn sessions_without_digests_are_lived_through_with_all_four_ways_of_write_data() {
    let connections = of("tgt_initial_r2t");
    assert_eq!(connections.len(), 4);
    for connection in &connections {
        assert_eq!(Replay::tell(connection, AuthConfig::None).check(), 2);
    }
}

#[test]
fn sessions_with_digests_are_lived_through_residuals_and_sense_included() {
    for file in ["tgt_data_digest", "tgt_both_digests"] {
        assert_eq!(Replay::tell(&of(file)[0], AuthConfig::None).check(), 8);
    }
}

#[test]
fn pings_both_ways_task_management_and_logout_are_lived_through() {
    Replay::tell(&of("tgt_nop_in")[0], AuthConfig::None).check();
    let connection = &of("tgt_control")[0];
    let replay = Replay::tell(connection, AuthConfig::None);
    assert_eq!(replay.check(), 2);
    let answers: Vec<String> = replay
        .events
        .iter()
        .filter_map(|event| match event {
            Event::TaskManagement { response, .. } => Some(format!("{response:?}")),
            _ => None,
        })
        .collect();
    assert_eq!(answers, ["Complete", "NotSupported"]);
    assert!(
        replay
            .events
            .iter()
            .any(|event| matches!(event, Event::PingAnswered { .. }))
    );
}

#[test]
fn a_discovery_in_three_answers_is_lived_through() {
    let connections = of("libiscsi_discovery_long");
    let replay = Replay::tell(&connections[0], AuthConfig::None);
    replay.check();
    let targets = replay.events.iter().find_map(|event| match event {
        Event::Targets(targets) => Some(targets),
        _ => None,
    });
    let targets = targets.expect("the targets");
    assert_eq!(targets.len(), 51);
    assert!(
        targets
            .iter()
            .all(|target| target.portals.len() == 1 && target.portals[0].1 == Some(1))
    );
}

#[test]
fn a_chap_login_of_libiscsi_is_repeated_step_by_step() {
    let secret = Secret::new(b"initiator-secret").unwrap();
    let chap = ChapConfig::new("initiator-user", secret).unwrap();
    let chap = chap
        .algorithms(&[ChapAlgorithm::Md5])
        .unwrap()
        .allow_none(true);
    let mut connection = of("libiscsi_chap")[0].clone();
    // The security stage: method, algorithm and challenge, proof, each with its answer.
    connection.pdus.truncate(6);
    let mut replay = Replay::tell(&connection, AuthConfig::Chap(chap));
    assert!(replay.events.is_empty());
    let next = replay.sent();
    assert_eq!(next.len(), 1);
    assert_eq!(
        next[0].bhs.flags(),
        0x87,
        "tgt took the proof: now the operational stage"
    );
}
