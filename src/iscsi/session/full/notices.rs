//! What the target says unasked: asynchronous messages and rejects (RFC 7143 11.9, 11.17).
//!
//! A rejected command was discarded, and its CmdSN does not count as received (7.3): the hole is
//! plugged with a NOP-Out of the same number, or the window would never move again. A Reject of any
//! other PDU of a task is for the log only: the target answers the task itself.

use std::time::{Duration, Instant};

use super::{Event, Exchange, FullFeature};
use crate::ids::Lun;
use crate::iscsi::error::{InvalidPdu, PeerMisbehaved, SessionError};
use crate::iscsi::pdu::{AsyncMessage, BHS_LEN, Bhs, Opcode, Reject, TmfResponse};
use crate::iscsi::session::event::{AsyncEvent, TaskFailure};
use crate::iscsi::tags::Itt;
use crate::payload::Payload;

fn seconds(count: u16) -> Duration {
    Duration::from_secs(count.into())
}

impl FullFeature {
    pub(super) fn on_async(
        &mut self,
        pdu: AsyncMessage,
        data: &Payload,
    ) -> Result<(), SessionError> {
        self.window.consume(pdu.numbers.stat_sn);
        let [_, two, three] = pdu.parameters;
        let event = match pdu.event {
            0 => AsyncEvent::Scsi {
                lun: pdu.lun,
                sense: super::tasks::sense(data),
            },
            1 => AsyncEvent::LogoutRequested {
                within: seconds(three),
            },
            2 => AsyncEvent::ConnectionDropped {
                time2wait: seconds(two),
                time2retain: seconds(three),
            },
            3 => AsyncEvent::SessionDropped {
                time2wait: seconds(two),
                time2retain: seconds(three),
            },
            4 => AsyncEvent::Renegotiate {
                within: seconds(three),
            },
            5 => {
                self.end_terminated(pdu.lun)?;
                AsyncEvent::TasksTerminated { lun: pdu.lun }
            }
            event => AsyncEvent::Other {
                event,
                vendor_code: pdu.vendor_code,
            },
        };
        Ok(self.push_async(event)?)
    }

    /// Event 5: the tasks of a unit end without an answer; the message is to be acknowledged at once.
    fn end_terminated(&mut self, lun: Lun) -> Result<(), SessionError> {
        for itt in self.tasks_before(Some(lun), self.submitted) {
            self.end_task(itt, |_| Err(TaskFailure::Terminated))?;
        }
        self.push_acknowledgement(lun);
        Ok(())
    }

    pub(super) fn on_reject(
        &mut self,
        now: Instant,
        pdu: Reject,
        data: &Payload,
    ) -> Result<(), SessionError> {
        self.window.consume(pdu.numbers.stat_sn);
        let data = data.to_bytes();
        let Some(rejected) = data.first_chunk::<BHS_LEN>().copied().map(Bhs::from_wire) else {
            return Err(InvalidPdu::DataTooShort("header of a rejected PDU").into());
        };
        tracing::debug!(reason = ?pdu.reason, ?rejected, "the target rejected a PDU");
        let opcode = rejected.opcode()?;
        let Some(itt) = rejected.itt() else {
            return Ok(());
        };
        let refused = PeerMisbehaved::Rejected {
            opcode: opcode as u8,
            reason: pdu.reason.code(),
        };
        match (opcode, self.find(itt)?) {
            (Opcode::ScsiCommand, Some(Exchange::Task(task))) => {
                let cmd_sn = task.cmd_sn;
                self.end_task(itt, |_| Err(TaskFailure::Rejected(pdu.reason)))?;
                if !self.window.is_received(cmd_sn) {
                    self.plug_hole(cmd_sn)?;
                }
            }
            (Opcode::NopOut, Some(Exchange::Ping(_))) => self.end_ping(now, itt),
            (Opcode::TaskManagementRequest, Some(Exchange::Management(_))) => {
                self.end_management(itt, TmfResponse::Rejected);
            }
            (Opcode::TextRequest, Some(Exchange::Text)) => {
                self.table.remove(itt);
                self.text = None;
                self.events.push_back(Event::TargetsRefused(pdu.reason));
            }
            (Opcode::NopOut, Some(Exchange::Plug)) | (Opcode::LogoutRequest, _) => {
                return Err(refused.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Tags of the tasks of a unit, or of all, submitted before the one with this number, in order.
    pub(super) fn tasks_before(&self, lun: Option<Lun>, before: u64) -> Vec<Itt> {
        let mut found: Vec<(u64, Itt)> = self
            .table
            .iter()
            .filter_map(|(itt, exchange)| match exchange {
                Exchange::Task(task) => Some((task, itt)),
                Exchange::Management(_)
                | Exchange::Ping(_)
                | Exchange::Plug
                | Exchange::Text
                | Exchange::Logout => None,
            })
            .filter(|(task, _)| task.number < before && lun.is_none_or(|lun| lun == task.lun))
            .map(|(task, itt)| (task.number, itt))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, itt)| itt).collect()
    }
}
