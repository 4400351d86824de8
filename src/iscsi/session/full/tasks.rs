//! SCSI tasks: submission, data both ways, status (RFC 7143 4.2.5, 11.3, 11.4, 11.7, 11.8).
//!
//! A write sends what was negotiated without being asked (immediate data with the command, then
//! unsolicited Data-Out, together at most FirstBurstLength), the rest as the target asks for it by
//! R2T, burst by burst in order. The payload belongs to the task until the task resolves, and to the
//! output queue until the socket took it.
//!
//! A read's data arrives in order of offset (DataPDUInOrder and DataSequenceInOrder are Yes) and is
//! collected as slices of the input.

use std::time::Instant;

use bytes::{Buf, Bytes};

use super::task::{Outcome, TaskState, Transfer};
use super::{Event, Exchange, FullFeature};
use crate::ids::Lun;
use crate::iscsi::error::{PeerMisbehaved, SessionError};
use crate::iscsi::pdu::{DataDirection, DataIn, DataOut, R2t, ScsiCommand, ScsiResponse};
use crate::iscsi::session::event::TaskFailure;
use crate::iscsi::tags::{Itt, Ttt};
use crate::payload::Payload;
use crate::task::Task;

/// A stretch of a command's data to be sent as Data-Out.
struct Burst {
    lun: Lun,
    ttt: Option<Ttt>,
    offset: u32,
    length: u32,
}

impl FullFeature {
    /// Sends a task's command, with as much data as may go unasked. Its outcome comes as an event.
    ///
    /// # Panics
    /// If there are no [`FullFeature::free_slots`], if the id is in use, or if its data is longer
    /// than [`crate::limits::TRANSFER_MAX`].
    pub fn submit(&mut self, now: Instant, task: Task) {
        assert!(self.free_slots() > 0, "submit only into a free slot");
        self.note_sent(now);
        let Task {
            id,
            lun,
            cdb,
            attribute,
            data,
        } = task;
        let (direction, transfer) = Transfer::start(data);
        let numbers = self.window.take();
        let start = self.outbox.position();
        let unasked = self.unasked(direction);
        // The task is in the table before a byte of it is queued: an R2T may come while the
        // command is still being written.
        let itt = self.table.insert(Exchange::Task(TaskState {
            id,
            lun,
            cmd_sn: numbers.cmd_sn,
            number: self.submitted,
            start,
            submitted_at: now,
            last_progress_at: now,
            transfer: transfer.unasked(unasked.total),
            aborts: 0,
            answer: None,
        }));
        self.submitted += 1;
        let known = self.tasks.insert(id, itt);
        assert!(known.is_none(), "task {id:?} was submitted before");
        let command = ScsiCommand {
            immediate: false,
            last: unasked.immediate == unasked.total,
            direction,
            attribute,
            lun,
            itt,
            numbers,
            cdb: *cdb.wire(),
        };
        let immediate = self.payload(itt, 0, unasked.immediate);
        self.outbox.push(command.encode(), &immediate);
        let rest = Burst {
            lun,
            ttt: None,
            offset: unasked.immediate,
            length: unasked.total - unasked.immediate,
        };
        self.push_burst(itt, &rest);
        self.marks.push(start, self.outbox.position(), itt);
    }

    /// How much of a command's data goes unasked (RFC 7143 13.10, 13.11, 13.14).
    fn unasked(&self, direction: DataDirection) -> Unasked {
        let DataDirection::Write(length) = direction else {
            return Unasked::default();
        };
        let first_burst = length.min(self.negotiated.first_burst_length);
        let immediate = if self.negotiated.immediate_data {
            first_burst.min(self.negotiated.target_max_recv_data_segment_length)
        } else {
            0
        };
        let total = if self.negotiated.initial_r2t {
            immediate
        } else {
            first_burst
        };
        Unasked { immediate, total }
    }

    /// Data of a write, by reference.
    fn payload(&self, itt: Itt, offset: u32, length: u32) -> Payload {
        match self.task(itt).map(|task| &task.transfer) {
            Some(Transfer::Out { data, .. }) => data.slice(offset as usize, length as usize),
            Some(Transfer::None | Transfer::In { .. }) | None => Payload::new(),
        }
    }

    /// Queues a burst as Data-Out PDUs of the target's segment length, numbered from 0.
    fn push_burst(&mut self, itt: Itt, burst: &Burst) {
        let segment = self.negotiated.target_max_recv_data_segment_length;
        let (mut sent, mut data_sn) = (0, 0);
        while sent < burst.length {
            let length = segment.min(burst.length - sent);
            let offset = burst.offset + sent;
            sent += length;
            let pdu = DataOut {
                last: sent == burst.length,
                lun: burst.lun,
                itt,
                ttt: burst.ttt,
                exp_stat_sn: self.window.exp_stat_sn(),
                data_sn,
                offset,
            };
            let data = self.payload(itt, offset, length);
            self.outbox.push(pdu.encode(), &data);
            data_sn += 1;
        }
    }

    /// The target asks for a burst. It keeps its tag no longer than the burst lasts, so the tag is
    /// not remembered: the same one may come again.
    pub(super) fn on_r2t(&mut self, now: Instant, pdu: R2t) -> Result<(), SessionError> {
        let Some(task) = self.task_of(pdu.itt)?.filter(|task| task.answer.is_none()) else {
            return Ok(());
        };
        task.transfer.ask(&pdu).map_err(PeerMisbehaved::from)?;
        task.last_progress_at = now;
        let start = self.outbox.position();
        let burst = Burst {
            lun: pdu.lun,
            ttt: Some(pdu.ttt),
            offset: pdu.offset,
            length: pdu.length,
        };
        self.push_burst(pdu.itt, &burst);
        self.marks.push(start, self.outbox.position(), pdu.itt);
        Ok(())
    }

    /// The header of a Data-In: checked before a byte of its data is accepted. `None` if the task
    /// ended or has its answer: the data is swallowed.
    pub(in crate::iscsi::session) fn begin_data_in(
        &mut self,
        now: Instant,
        pdu: &DataIn,
        length: u32,
    ) -> Result<Option<Itt>, SessionError> {
        let Some(task) = self.task_of(pdu.itt)?.filter(|task| task.answer.is_none()) else {
            return Ok(None);
        };
        task.transfer
            .accept(pdu, length)
            .map_err(PeerMisbehaved::from)?;
        task.last_progress_at = now;
        Ok(Some(pdu.itt))
    }

    /// A piece of that data.
    pub(in crate::iscsi::session) fn data_in(&mut self, now: Instant, itt: Itt, piece: Bytes) {
        if let Some(Exchange::Task(task)) = self.table.get_mut(itt) {
            task.last_progress_at = now;
            if let Transfer::In { data, .. } = &mut task.transfer {
                data.push(piece);
            }
        }
    }

    /// The end of a Data-In; its digest was verified. With a status it is the end of the task too;
    /// the F bit alone ends a burst.
    pub(in crate::iscsi::session) fn end_data_in(
        &mut self,
        pdu: &DataIn,
    ) -> Result<(), SessionError> {
        self.window.update(pdu.numbers);
        if let Some(end) = pdu.status {
            // Only now, with the data in our buffer, may the next PDU of ours acknowledge it.
            self.window.consume(pdu.numbers.stat_sn);
            self.end_task(pdu.itt, |task| {
                task.complete(end.status, end.residual, Bytes::new())
            })?;
        }
        Ok(())
    }

    pub(super) fn on_scsi_response(
        &mut self,
        pdu: ScsiResponse,
        data: &Payload,
    ) -> Result<(), SessionError> {
        self.window.consume(pdu.numbers.stat_sn);
        self.end_task(pdu.itt, |task| {
            if pdu.response == ScsiResponse::COMPLETED {
                task.complete(pdu.status, pdu.residual, sense(data))
            } else {
                Err(TaskFailure::Response(pdu.response))
            }
        })
    }

    /// The target ended a task: told at once, or held back while an abort is under way. Ignored if
    /// the task ended before.
    pub(super) fn end_task(
        &mut self,
        itt: Itt,
        outcome: impl FnOnce(&mut TaskState) -> Outcome,
    ) -> Result<(), SessionError> {
        let Some(task) = self.task_of(itt)?.filter(|task| task.answer.is_none()) else {
            return Ok(());
        };
        let outcome = outcome(task);
        if task.aborts > 0 {
            task.answer = Some(outcome);
        } else {
            self.resolve(itt, outcome);
        }
        Ok(())
    }

    /// Takes a task out of the books with its outcome.
    pub(super) fn resolve(&mut self, itt: Itt, outcome: Outcome) {
        if let Some(task) = self.release(itt) {
            self.events.push_back(match outcome {
                Ok(completion) => Event::Completed(task.id, completion),
                Err(failure) => Event::Failed(task.id, failure),
            });
        }
    }
}

/// How much of a write goes with the command, and how much unasked altogether.
#[derive(Clone, Copy, Default)]
struct Unasked {
    immediate: u32,
    total: u32,
}

/// Sense data without the two bytes of length before it (RFC 7143 11.4.7.2); what is there, if the
/// length lies.
pub(super) fn sense(data: &Payload) -> Bytes {
    let mut bytes = data.to_bytes();
    let Some(length) = bytes.first_chunk::<2>().copied().map(u16::from_be_bytes) else {
        return Bytes::new();
    };
    bytes.advance(2);
    bytes.truncate(usize::from(length));
    bytes
}
