//! What stands in the PDUs: texts, CHAP, SCSI data.

use std::collections::BTreeMap;

use iiblockdaemon::iscsi::chap::{ChapAlgorithm, Secret, decode_binary};
use iiblockdaemon::iscsi::keys::Text;
use iiblockdaemon::iscsi::pdu::{DataIn, Opcode, ScsiCommand, ScsiResponse};
use iiblockdaemon::scsi::capacity::Capacity;
use iiblockdaemon::scsi::cdb::Command;
use iiblockdaemon::scsi::identity::LunIdentity;
use iiblockdaemon::scsi::inquiry::StandardInquiry;
use iiblockdaemon::scsi::sense::{Sense, SenseKey};
use iiblockdaemon::scsi::vpd::{self, DeviceIdentification};

use crate::vectors::{Connection, Side, connections};

/// The connections of one file.
pub(crate) fn of(file: &str) -> Vec<Connection> {
    let mut all = connections();
    all.retain(|connection| connection.file == format!("{file}.pdus"));
    assert!(!all.is_empty(), "no {file}.pdus");
    all
}

/// The text of the login and text PDUs of one side, joined.
pub(crate) fn texts(connection: &Connection, side: Side) -> Text {
    let mut joined = Vec::new();
    for pdu in connection.pdus.iter().filter(|pdu| pdu.side == side) {
        let is_text = matches!(
            pdu.opcode(),
            Opcode::LoginRequest
                | Opcode::LoginResponse
                | Opcode::TextRequest
                | Opcode::TextResponse
        );
        if is_text {
            joined.extend(pdu.parse().data);
        }
    }
    Text::decode(&joined).unwrap_or_else(|error| panic!("{}: {error}", connection.file))
}

#[test]
fn foreign_login_texts_are_read_key_by_key() {
    for connection in connections() {
        let ours = texts(&connection, Side::Initiator);
        assert!(
            ours.get("InitiatorName")
                .is_some_and(|name| name.starts_with("iqn."))
        );
        let theirs = texts(&connection, Side::Target);
        for (key, value) in ours.iter().chain(theirs.iter()) {
            assert!(
                !key.is_empty() && !value.is_empty(),
                "{}: {key}={value}",
                connection.file
            );
        }
    }
    let theirs = texts(&of("libiscsi_inquiry")[0], Side::Target);
    for (key, value) in [
        ("TargetPortalGroupTag", "1"),
        ("InitialR2T", "Yes"),
        ("ImmediateData", "Yes"),
        ("FirstBurstLength", "65536"),
        ("MaxBurstLength", "262144"),
    ] {
        assert_eq!(theirs.get(key), Some(value), "{key}");
    }
}

#[test]
fn a_discovery_answer_in_several_responses_without_c_bit_is_one_text() {
    // tgt cuts its answer anywhere, sets neither F nor C, and goes on with the same task tag.
    let connection = &of("libiscsi_discovery_long")[0];
    let responses: Vec<_> = connection
        .pdus
        .iter()
        .filter(|pdu| pdu.opcode() == Opcode::TextResponse)
        .collect();
    let flags: Vec<u8> = responses
        .iter()
        .map(|pdu| pdu.parse().bhs.flags())
        .collect();
    assert_eq!(flags, [0x00, 0x00, 0x80]);
    let theirs = texts(connection, Side::Target);
    let targets = theirs
        .iter()
        .filter(|(key, _)| *key == "TargetName")
        .count();
    let addresses = theirs
        .iter()
        .filter(|(key, _)| *key == "TargetAddress")
        .count();
    assert_eq!((targets, addresses), (51, 51));
}

/// Every CHAP response of a file with what it must be: (theirs, ours).
fn chap_responses(file: &str, algorithm: ChapAlgorithm) -> Vec<(Vec<u8>, Vec<u8>)> {
    let secrets = [
        (
            Side::Initiator,
            Side::Target,
            Secret::new(b"initiator-secret").unwrap(),
        ),
        (
            Side::Target,
            Side::Initiator,
            Secret::new(b"target-secret-1").unwrap(),
        ),
    ];
    let mut responses = Vec::new();
    for connection in of(file) {
        for (answering, asking, secret) in &secrets {
            let (answer, question) = (texts(&connection, *answering), texts(&connection, *asking));
            let (Some(response), Some(challenge)) = (answer.get("CHAP_R"), question.get("CHAP_C"))
            else {
                continue;
            };
            let identifier = question.get("CHAP_I").unwrap().parse().unwrap();
            let challenge = decode_binary(challenge).unwrap();
            let ours = algorithm.response(identifier, secret, &challenge);
            responses.push((decode_binary(response).unwrap(), ours));
        }
    }
    responses
}

#[test]
fn foreign_chap_responses_are_what_we_compute() {
    let one_way = chap_responses("libiscsi_chap", ChapAlgorithm::Md5);
    assert_eq!(one_way.len(), 2);
    assert_eq!(one_way[0].0, one_way[0].1);
    assert_ne!(
        one_way[1].0, one_way[1].1,
        "the second login had a wrong secret"
    );
    let mutual = chap_responses("libiscsi_chap_mutual", ChapAlgorithm::Md5);
    assert_eq!(mutual.len(), 2);
    assert!(mutual.iter().all(|(theirs, ours)| theirs == ours));
}

#[test]
fn tgt_means_sha1_by_chap_algorithm_7() {
    // IANA's 6 is SHA-1 and 7 is SHA-256; tgt 1.0.85 took 7 for SHA-1 before there was a registry.
    let responses = chap_responses("tgt_chap_sha1", ChapAlgorithm::Sha1);
    assert_eq!(responses.len(), 4);
    assert!(responses[..3].iter().all(|(theirs, ours)| theirs == ours));
    assert_ne!(
        responses[3].0, responses[3].1,
        "the last login had a wrong secret"
    );
}

/// One command with the data that came back and its end.
struct Exchange {
    place: String,
    command: ScsiCommand,
    data: Vec<u8>,
    status: u8,
    sense: Option<Sense>,
}

fn exchanges(connection: &Connection) -> Vec<Exchange> {
    let mut open: BTreeMap<u32, Exchange> = BTreeMap::new();
    let mut done = Vec::new();
    for pdu in &connection.pdus {
        let parsed = pdu.parse();
        let tag = parsed.bhs.word::<16>();
        let opcode = pdu.opcode();
        if opcode == Opcode::ScsiCommand {
            let command = ScsiCommand::decode(&parsed.bhs).unwrap();
            let place = pdu.place.clone();
            open.insert(
                tag,
                Exchange {
                    place,
                    command,
                    data: Vec::new(),
                    status: 0,
                    sense: None,
                },
            );
        }
        let status = if opcode == Opcode::DataIn {
            open.get_mut(&tag)
                .expect(&pdu.place)
                .data
                .extend(&parsed.data);
            DataIn::decode(&parsed.bhs)
                .unwrap()
                .status
                .map(|status| status.status)
        } else if opcode == Opcode::ScsiResponse {
            Some(ScsiResponse::decode(&parsed.bhs).unwrap().status)
        } else {
            None
        };
        if let Some(status) = status {
            let mut exchange = open.remove(&tag).expect(&pdu.place);
            exchange.status = status;
            if opcode == Opcode::ScsiResponse {
                exchange.sense = Sense::parse(parsed.data.get(2..).unwrap_or_default());
            }
            done.push(exchange);
        }
    }
    done
}

#[test]
fn the_identity_of_a_tgt_lun_is_read() {
    let (mut inquiry, mut designators, mut serial) = (None, None, None);
    for exchange in of("libiscsi_inquiry").iter().flat_map(exchanges) {
        let data = exchange.data.as_slice();
        match Command::parse(&exchange.command.cdb) {
            Some(Command::Inquiry { page: None, .. }) => {
                inquiry = StandardInquiry::parse(data).ok()
            }
            Some(Command::Inquiry {
                page: Some(0x00), ..
            }) => {
                let pages = vpd::supported_pages(data).unwrap();
                assert_eq!(pages, [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
            }
            Some(Command::Inquiry {
                page: Some(0x80), ..
            }) => serial = vpd::serial(data).unwrap(),
            Some(Command::Inquiry {
                page: Some(0x83), ..
            }) => {
                designators = DeviceIdentification::parse(data).ok();
            }
            Some(Command::Inquiry {
                page: Some(0xb0), ..
            }) => {
                vpd::BlockLimits::parse(data).unwrap();
            }
            _ => {}
        }
    }
    let inquiry = inquiry.unwrap();
    assert!(inquiry.is_disk());
    assert_eq!(
        (inquiry.vendor.as_str(), inquiry.product.as_str()),
        ("IET", "VIRTUAL-DISK")
    );
    assert_eq!(serial.as_deref().map(str::trim), Some("beaf11"));
    let capacity = of("libiscsi_capacity")
        .iter()
        .flat_map(exchanges)
        .find_map(|exchange| {
            (exchange.command.cdb[0] == 0x9e).then(|| Capacity::parse(&exchange.data).unwrap())
        });
    let designators = designators.unwrap().designators;
    let identity = LunIdentity::new(&inquiry, &designators, serial, capacity.unwrap().geometry);
    assert!(
        identity.weak(),
        "tgt's default names derive from target and LUN number: {identity}"
    );
}

#[test]
fn the_capacity_of_tgt_luns_is_read() {
    let sizes: Vec<(u32, u64)> = of("libiscsi_capacity")
        .iter()
        .flat_map(exchanges)
        .filter(|exchange| exchange.command.cdb[0] == 0x9e && exchange.status == 0)
        .map(|exchange| {
            let capacity = Capacity::parse(&exchange.data).unwrap();
            (capacity.geometry.block_size(), capacity.geometry.blocks())
        })
        .collect();
    assert!(
        sizes.contains(&(512, 8192)) && sizes.contains(&(4096, 1024)),
        "{sizes:?}"
    );
}

#[test]
fn the_first_answer_of_a_session_is_a_unit_attention() {
    let mut attentions = 0;
    for connection in connections() {
        let Some(first) = exchanges(&connection).into_iter().next() else {
            continue;
        };
        assert_eq!(first.status, 0x02, "{}", first.place);
        let sense = first.sense.unwrap();
        assert_eq!(
            (sense.key, sense.asc),
            (SenseKey::UnitAttention, 0x29),
            "{}",
            first.place
        );
        attentions += 1;
    }
    assert!(attentions > 20);
}

#[test]
fn foreign_data_commands_are_ones_that_we_know() {
    let mut known = 0;
    for connection in connections() {
        for exchange in exchanges(&connection) {
            // READ, WRITE, SYNCHRONIZE CACHE and the capacity, as libiscsi and qemu build them.
            if matches!(
                exchange.command.cdb[0],
                0x28 | 0x2a | 0x88 | 0x8a | 0x35 | 0x91 | 0x25 | 0x9e
            ) {
                let command = Command::parse(&exchange.command.cdb);
                assert!(
                    command.is_some(),
                    "{}: {:02x?}",
                    exchange.place,
                    exchange.command.cdb
                );
                known += 1;
            }
        }
    }
    assert!(known > 30, "only {known} commands were looked at");
}
