//! The command window and the status numbers of a session (RFC 7143 4.2.2).

use crate::iscsi::pdu::{InitiatorNumbers, TargetNumbers};
use crate::iscsi::serial::SerialNumber;

/// CmdSN with its window, and ExpStatSN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    cmd_sn: SerialNumber,
    exp_cmd_sn: SerialNumber,
    max_cmd_sn: SerialNumber,
    exp_stat_sn: SerialNumber,
}

impl Window {
    /// As the login left it: `ours` are the numbers of the next command.
    pub(super) fn new(ours: InitiatorNumbers, theirs: TargetNumbers) -> Self {
        Self {
            cmd_sn: ours.cmd_sn,
            exp_stat_sn: ours.exp_stat_sn,
            exp_cmd_sn: theirs.exp_cmd_sn,
            max_cmd_sn: theirs.max_cmd_sn,
        }
    }

    /// How many more commands the target has room for.
    pub(super) fn room(&self) -> u32 {
        self.cmd_sn.distance(self.max_cmd_sn.next())
    }

    /// Numbers of a command that is delivered in order; it takes a place in the window.
    ///
    /// Called when the command's PDU is queued and never before, so a number can never be skipped.
    pub(super) fn take(&mut self) -> InitiatorNumbers {
        let numbers = self.immediate();
        self.cmd_sn = self.cmd_sn.next();
        numbers
    }

    /// Numbers of an immediate command: it takes no place (RFC 7143 4.2.2.1).
    pub(super) fn immediate(&self) -> InitiatorNumbers {
        InitiatorNumbers {
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        }
    }

    /// ExpStatSN alone, for Data-Out.
    pub(super) fn exp_stat_sn(&self) -> SerialNumber {
        self.exp_stat_sn
    }

    /// Takes ExpCmdSN and MaxCmdSN where they are newer, as the RFC demands of every PDU.
    pub(super) fn update(&mut self, theirs: TargetNumbers) {
        if theirs.max_cmd_sn.precedes(theirs.exp_cmd_sn.previous()) {
            return;
        }
        if self.exp_cmd_sn.precedes(theirs.exp_cmd_sn) {
            self.exp_cmd_sn = theirs.exp_cmd_sn;
        }
        if self.max_cmd_sn.precedes(theirs.max_cmd_sn) {
            self.max_cmd_sn = theirs.max_cmd_sn;
        }
    }

    /// A status was received whole: the next PDU of ours acknowledges it.
    ///
    /// A gap is not held against the target. On one TCP connection no status can be lost, and
    /// targets that miscount are known; each task is resolved by its own tag.
    pub(super) fn consume(&mut self, stat_sn: SerialNumber) {
        if self.exp_stat_sn.precedes(stat_sn.next()) {
            self.exp_stat_sn = stat_sn.next();
        }
    }

    /// Whether the target has received the command with this number.
    pub(super) fn is_received(&self, cmd_sn: SerialNumber) -> bool {
        cmd_sn.precedes(self.exp_cmd_sn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(cmd_sn: u32, exp: u32, max: u32) -> Window {
        let ours = InitiatorNumbers {
            cmd_sn: SerialNumber(cmd_sn),
            exp_stat_sn: SerialNumber(0),
        };
        Window::new(ours, target(0, exp, max))
    }

    fn target(stat: u32, exp: u32, max: u32) -> TargetNumbers {
        TargetNumbers {
            stat_sn: SerialNumber(stat),
            exp_cmd_sn: SerialNumber(exp),
            max_cmd_sn: SerialNumber(max),
        }
    }

    #[test]
    fn the_window_wraps_with_the_numbers() {
        let mut window = window(u32::MAX - 1, u32::MAX - 1, 1);
        assert_eq!(window.room(), 4);
        let taken: Vec<_> = (0..4).map(|_| window.take().cmd_sn.0).collect();
        assert_eq!(taken, [u32::MAX - 1, u32::MAX, 0, 1]);
        assert_eq!(window.room(), 0, "MaxCmdSN+1 is beyond the window");
        assert_eq!(window.immediate().cmd_sn.0, 2);
    }

    #[test]
    fn older_window_values_and_senseless_ones_are_ignored() {
        let mut window = window(10, 10, 20);
        window.update(target(0, 9, 15));
        assert_eq!(window.room(), 11, "a late PDU does not close the window");
        window.update(target(0, 40, 38));
        assert_eq!(window.room(), 11, "MaxCmdSN below ExpCmdSN-1 is no window");
        window.update(target(0, 11, 21));
        assert_eq!(window.room(), 12);
        assert!(window.is_received(SerialNumber(10)) && !window.is_received(SerialNumber(11)));
    }

    #[test]
    fn a_closed_window_is_legal() {
        let mut window = window(10, 10, 9);
        assert_eq!(window.room(), 0);
        window.update(target(0, 10, 10));
        assert_eq!(window.room(), 1);
    }

    #[test]
    fn stat_sn_may_start_anywhere_in_32_bits() {
        let mut window = window(1, 1, 1);
        window.exp_stat_sn = SerialNumber(u32::MAX);
        window.consume(SerialNumber(u32::MAX));
        assert_eq!(window.exp_stat_sn().0, 0);
        window.consume(SerialNumber(u32::MAX - 5));
        assert_eq!(
            window.exp_stat_sn().0,
            0,
            "an older status acknowledges nothing"
        );
    }
}
