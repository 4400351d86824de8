//! One SCSI command at the target: how its data comes in, and how its answer goes out.

use std::time::Instant;

use bytes::Bytes;
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::{
    Bhs, DataDirection, DataIn, DataInStatus, DataOut, RawResidual, ScsiCommand, ScsiResponse,
    TargetNumbers,
};
use iiblockdaemon::iscsi::tags::{Itt, Ttt};
use iiblockdaemon::payload::Payload;
use iiblockdaemon::task::{Residual, TaskAttribute};

use super::breach::Breach;
use super::lun::Response;
use super::parameters::Parameters;

/// Data-Out that is under way: unsolicited (no tag) or asked for by one R2T.
#[derive(Debug)]
struct Burst {
    ttt: Option<Ttt>,
    next: u32,
    end: u32,
    data_sn: u32,
}

/// A burst to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) r2t_sn: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// A command that was not answered yet.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) itt: Itt,
    pub(super) lun: LunAddress,
    pub(super) cdb: [u8; 16],
    /// Whether it holds a place in the CmdSN window.
    pub(super) numbered: bool,
    /// Executes after everything older on its unit (SAM-5 8.6), commands of dead sessions included.
    pub(super) ordered: bool,
    pub(super) direction: DataDirection,
    /// Its header, should it be rejected.
    pub(super) header: Bhs,
    /// The residual count is to be a lie.
    pub(super) lies: bool,
    /// What the Data-In count from.
    pub(super) first_data_sn: u32,
    data: Payload,
    /// Bytes that the command takes: the lesser of what it needs and what the initiator has.
    wanted: u32,
    needed: u32,
    asked: u32,
    r2t_sn: u32,
    bursts: Vec<Burst>,
    /// It is stuck in the backing store.
    pub(super) jammed: bool,
    /// Complete and waiting to be executed at this time, under this number.
    pub(super) ready: Option<(Instant, u64)>,
}

impl Task {
    /// A command with its immediate data. `needed`: bytes that its descriptor block calls for.
    pub(super) fn new(
        header: &Bhs,
        command: &ScsiCommand,
        immediate: Payload,
        needed: u32,
        parameters: &Parameters,
    ) -> Result<Self, Breach> {
        let itt = command.itt;
        let (expected, came) = (data_out_length(command), length(&immediate));
        let limit = parameters.unsolicited_length().min(expected);
        if came > 0 && !parameters.immediate_data {
            return Err(Breach::ImmediateData(itt));
        }
        if came > limit {
            return Err(Breach::TooMuchUnsolicited(itt));
        }
        let mut bursts = Vec::new();
        if !command.last {
            if parameters.initial_r2t {
                return Err(Breach::InitialR2t(itt));
            }
            bursts.push(Burst {
                ttt: None,
                next: came,
                end: limit,
                data_sn: 0,
            });
        }
        Ok(Self {
            itt,
            lun: command.lun,
            cdb: command.cdb,
            numbered: !command.immediate,
            ordered: command.attribute == TaskAttribute::Ordered,
            direction: command.direction,
            header: *header,
            lies: false,
            first_data_sn: 0,
            data: immediate,
            wanted: needed.min(expected),
            needed,
            asked: came,
            r2t_sn: 0,
            bursts,
            jammed: false,
            ready: None,
        })
    }

    /// Takes one Data-Out.
    pub(super) fn take(&mut self, pdu: &DataOut, data: Payload) -> Result<(), Breach> {
        let itt = self.itt;
        let found = self.bursts.iter().position(|burst| burst.ttt == pdu.ttt);
        let index = found.ok_or(Breach::NoSuchBurst { itt, ttt: pdu.ttt })?;
        let burst = &mut self.bursts[index];
        if pdu.data_sn != burst.data_sn {
            let (got, expected) = (pdu.data_sn, burst.data_sn);
            return Err(Breach::DataSn { itt, got, expected });
        }
        let (have, came) = (length(&self.data), length(&data));
        if pdu.offset != burst.next || pdu.offset != have || came > burst.end - burst.next {
            return Err(Breach::DataOffset {
                itt,
                got: pdu.offset,
                expected: burst.next,
            });
        }
        burst.next += came;
        burst.data_sn += 1;
        // An unsolicited burst may be shorter than the negotiated limit; a solicited one is exact.
        let complete = burst.next == burst.end;
        if complete && !pdu.last || pdu.last && !complete && burst.ttt.is_some() {
            return Err(Breach::BurstEnd(itt));
        }
        if pdu.last {
            let burst = self.bursts.remove(index);
            self.asked = self.asked.max(burst.next);
        }
        self.data.append(data);
        Ok(())
    }

    /// The next burst to be asked for, if one may be now.
    pub(super) fn next_wanted(&self, parameters: &Parameters) -> Option<Wanted> {
        let unsolicited = self.bursts.iter().any(|burst| burst.ttt.is_none());
        let outstanding = self.bursts.len() as u64;
        let full = outstanding >= u64::from(parameters.max_outstanding_r2t);
        if unsolicited || full || self.asked >= self.wanted {
            return None;
        }
        Some(Wanted {
            r2t_sn: self.r2t_sn,
            offset: self.asked,
            length: parameters.max_burst_length.min(self.wanted - self.asked),
        })
    }

    /// The burst was asked for with this tag.
    pub(super) fn asked(&mut self, wanted: Wanted, ttt: Ttt) {
        self.r2t_sn += 1;
        self.asked = wanted.offset + wanted.length;
        self.bursts.push(Burst {
            ttt: Some(ttt),
            next: wanted.offset,
            end: self.asked,
            data_sn: 0,
        });
    }

    /// Whether all its data is here.
    pub(super) fn is_complete(&self) -> bool {
        self.bursts.is_empty() && self.asked >= self.wanted
    }

    /// The data to execute it with.
    pub(super) fn data_out(&self) -> Payload {
        let len = self.data.len().min(self.needed as usize);
        self.data.slice(0, len)
    }

    /// Puts the answer out. `numbers` carries the next StatSN, which the status consumes.
    pub(super) fn respond(
        &self,
        response: Response,
        numbers: TargetNumbers,
        parameters: &Parameters,
        status_in_data: bool,
        out: &mut Outbox,
    ) {
        let mut data = response.data_in;
        let mut residual = self.residual(data.len(), response.status);
        if self.lies {
            residual = Residual::Underflow(1);
        }
        if let DataDirection::Read(expected) = self.direction {
            data.truncate(expected as usize);
        } else {
            data.clear();
        }
        let collapse = status_in_data && response.sense.is_empty() && !data.is_empty();
        let status = DataInStatus {
            status: response.status,
            residual: residual.into(),
        };
        let sent = self.send_data(data, numbers, parameters, collapse.then_some(status), out);
        if collapse {
            return;
        }
        let pdu = ScsiResponse {
            itt: self.itt,
            response: ScsiResponse::COMPLETED,
            status: response.status,
            residual: RawResidual::from(residual),
            numbers,
            exp_data_sn: sent.max(self.r2t_sn),
        };
        out.push(pdu.encode(), &sense_segment(&response.sense));
    }

    /// Sends the data in segments and bursts; returns how many PDUs that took.
    fn send_data(
        &self,
        data: Bytes,
        numbers: TargetNumbers,
        parameters: &Parameters,
        status: Option<DataInStatus>,
        out: &mut Outbox,
    ) -> u32 {
        let burst_length = parameters.max_burst_length as usize;
        let segment_length = parameters.initiator_segment_length as usize;
        let (mut at, mut data_sn) = (0, self.first_data_sn);
        while at < data.len() {
            let burst_left = burst_length - at % burst_length;
            let take = segment_length.min(burst_left).min(data.len() - at);
            let end = at + take == data.len();
            let pdu = DataIn {
                last: end || take == burst_left,
                acknowledge: false,
                status: status.filter(|_| end),
                lun: LunAddress::from_wire([0; 8]),
                itt: self.itt,
                ttt: None,
                numbers,
                data_sn,
                offset: u32::try_from(at).unwrap_or(u32::MAX),
            };
            out.push(pdu.encode(), &Payload::from(data.slice(at..at + take)));
            at += take;
            data_sn += 1;
        }
        data_sn
    }

    fn residual(&self, data_in: usize, status: u8) -> Residual {
        let data_in = u32::try_from(data_in).unwrap_or(u32::MAX);
        let (expected, moved) = match self.direction {
            DataDirection::None => (0, data_in),
            DataDirection::Read(expected) => (expected, data_in),
            DataDirection::Write(expected) if status == 0 => (expected, self.needed),
            DataDirection::Write(expected) => (expected, self.needed.max(expected)),
        };
        match moved.checked_sub(expected) {
            Some(0) => Residual::None,
            Some(more) => Residual::Overflow(more),
            None => Residual::Underflow(expected - moved),
        }
    }
}

fn data_out_length(command: &ScsiCommand) -> u32 {
    match command.direction {
        DataDirection::Write(length) => length,
        DataDirection::None | DataDirection::Read(_) => 0,
    }
}

fn length(data: &Payload) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

/// Sense data behind its length of two bytes (RFC 7143 11.4.7.2).
fn sense_segment(sense: &[u8]) -> Payload {
    if sense.is_empty() {
        return Payload::new();
    }
    let length = u16::try_from(sense.len()).unwrap_or(u16::MAX);
    Bytes::from([&length.to_be_bytes(), sense].concat()).into()
}
