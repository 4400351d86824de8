//! Reads the `.pdus` files that `capture.py` wrote.

use std::fs;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use iiblockdaemon::iscsi::digest::Digests;
use iiblockdaemon::iscsi::framer::{Frame, Framer, SegmentLimits};
use iiblockdaemon::iscsi::pdu::{Bhs, InvalidPdu, Opcode};

/// Who sent a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Initiator,
    Target,
}

/// One PDU as it stood on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    /// `FILE:LINE`, for messages.
    pub(crate) place: String,
    pub(crate) side: Side,
    pub(crate) wire: Vec<u8>,
    /// The digests that this PDU carries.
    pub(crate) digests: Digests,
}

/// One captured TCP connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) file: String,
    /// The digests of its full feature phase.
    pub(crate) digests: Digests,
    pub(crate) pdus: Vec<Vector>,
}

/// A PDU taken apart by our framer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) bhs: Bhs,
    pub(crate) ahs: Bytes,
    pub(crate) data: Vec<u8>,
}

/// Every connection of every file, in the order of the files' names.
pub(crate) fn connections() -> Vec<Connection> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(folder).expect("tests/golden");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "pdus")
    });
    files.sort();
    let mut connections = Vec::new();
    for file in files {
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&file).expect("a text file");
        read(&name, &text, &mut connections);
    }
    connections
}

fn read(name: &str, text: &str, connections: &mut Vec<Connection>) {
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{name}:{number}");
        let line = line.split('#').next().unwrap_or_default().trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let side = match word {
            "" => continue,
            "connection" => {
                let has = |key: &str| rest.split(' ').any(|word| word == format!("{key}=crc32c"));
                let digests = Digests {
                    header: has("header_digest"),
                    data: has("data_digest"),
                };
                connections.push(Connection {
                    file: name.into(),
                    digests,
                    pdus: Vec::new(),
                });
                continue;
            }
            "I" => Side::Initiator,
            "T" => Side::Target,
            other => panic!("{place}: {other:?} begins no line of a capture"),
        };
        let connection = connections
            .last_mut()
            .unwrap_or_else(|| panic!("{place}: no connection"));
        let wire = bytes(rest).unwrap_or_else(|| panic!("{place}: not hexadecimal"));
        let login = matches!(wire.first().map(|opcode| opcode & 0x3f), Some(0x03 | 0x23));
        let digests = if login {
            Digests::default()
        } else {
            connection.digests
        };
        connection.pdus.push(Vector {
            place,
            side,
            wire,
            digests,
        });
    }
}

/// `0a0b 00*12`: hexadecimal, with runs as `BB*N`.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for word in text.split(' ') {
        let (digits, times) = match word.split_once('*') {
            Some((digits, times)) => (digits, times.parse().ok()?),
            None => (word, 1),
        };
        let mut run = Vec::new();
        for at in (0..digits.len()).step_by(2) {
            run.push(u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?);
        }
        out.extend(run.repeat(times));
    }
    Some(out)
}

/// Puts the framer's pieces together again, however they come.
pub(crate) struct Assembler {
    framer: Framer,
    begun: Option<Parsed>,
}

impl Assembler {
    /// One that takes whatever the captures hold.
    pub(crate) fn new(digests: Digests) -> Self {
        let mut framer = Framer::new(SegmentLimits {
            data: 1 << 20,
            control: 1 << 20,
        });
        framer.set_digests(digests);
        Self {
            framer,
            begun: None,
        }
    }

    pub(crate) fn set_digests(&mut self, digests: Digests) {
        self.framer.set_digests(digests);
    }

    /// The next complete PDU; `None` if more bytes are needed.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Parsed>, InvalidPdu> {
        while let Some(frame) = self.framer.next(input)? {
            match (frame, &mut self.begun) {
                (Frame::Header(bhs, ahs), None) => {
                    self.begun = Some(Parsed {
                        bhs,
                        ahs,
                        data: Vec::new(),
                    });
                }
                (Frame::Data(piece), Some(pdu)) => pdu.data.extend_from_slice(&piece),
                (Frame::End, Some(_)) => return Ok(self.begun.take()),
                (frame, _) => panic!("a frame out of order: {frame:?}"),
            }
        }
        Ok(None)
    }
}

impl Vector {
    /// Frames it alone; the framer must consume it exactly.
    pub(crate) fn parse(&self) -> Parsed {
        let mut input = BytesMut::from(self.wire.as_slice());
        let parsed = Assembler::new(self.digests).next(&mut input);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", self.place));
        assert!(
            input.is_empty(),
            "{}: {} bytes left over",
            self.place,
            input.len()
        );
        parsed.unwrap_or_else(|| panic!("{}: not complete", self.place))
    }

    pub(crate) fn opcode(&self) -> Opcode {
        self.parse()
            .bhs
            .opcode()
            .unwrap_or_else(|error| panic!("{}: {error}", self.place))
    }
}
