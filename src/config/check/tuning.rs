//! The keys that profiles and defaults may have: built-in values, and what contradicts what.

use std::time::Duration;

use policies::PolicySpec;

use super::super::error::{Place, Problem};
use super::super::file::{Fences, Tuning};
use super::super::reader::Field;
use super::super::values::{show_duration, show_size};
use super::super::{Alua, Detect, Fence, Iscsi, NoPath, Resize, SameUnit, defaults};
use super::{Checker, value_or};

/// The values that hold.
pub(super) struct Settings {
    pub(super) shared: bool,
    pub(super) policy: PolicySpec,
    pub(super) alua: Alua,
    pub(super) no_path: NoPath,
    pub(super) fence: Fence,
    pub(super) detect: Detect,
    pub(super) iscsi: Iscsi,
    pub(super) stop_timeout: Duration,
    pub(super) resize: Resize,
    pub(super) same_unit: SameUnit,
}

impl Checker<'_, '_, '_> {
    /// From keys over which precedence was decided already.
    pub(super) fn tuning(&mut self, tuning: &Tuning) -> Settings {
        let detect = self.detect(tuning);
        Settings {
            shared: value_or(&tuning.shared, defaults::SHARED),
            policy: value_or(&tuning.policy, defaults::POLICY),
            alua: value_or(&tuning.alua, defaults::ALUA),
            no_path: self.no_path(tuning, detect),
            fence: self.fence(tuning),
            detect,
            iscsi: self.iscsi(tuning),
            stop_timeout: value_or(&tuning.stop_timeout, defaults::STOP_TIMEOUT),
            resize: value_or(&tuning.resize, defaults::RESIZE),
            same_unit: value_or(&tuning.same_unit, defaults::SAME_UNIT),
        }
    }

    fn detect(&mut self, tuning: &Tuning) -> Detect {
        let fields = &tuning.detect;
        let default = defaults::DETECT;
        let detect = Detect {
            network: value_or(&fields.network, default.network),
            target: value_or(&fields.target, default.target),
            command: value_or(&fields.command, default.command),
        };
        self.ordered(
            (&fields.network, "detect.network", detect.network),
            (&fields.target, "detect.target", detect.target),
            show_duration,
        );
        self.ordered(
            (&fields.target, "detect.target", detect.target),
            (&fields.command, "detect.command", detect.command),
            show_duration,
        );
        detect
    }

    fn no_path(&mut self, tuning: &Tuning, detect: Detect) -> NoPath {
        let no_path = value_or(&tuning.no_path, defaults::NO_PATH);
        let budget = detect.network + detect.target;
        let broken = tuning.detect.network.is_broken() || tuning.detect.target.is_broken();
        if let NoPath::Queue(queue) = no_path
            && queue < budget
            && !broken
        {
            let detect = &tuning.detect;
            let places = [
                tuning.no_path.place(),
                detect.target.place(),
                detect.network.place(),
            ];
            let written = places.into_iter().flatten().next();
            let problem = Problem::NoPathTooShort {
                queue: show_duration(queue),
                budget: show_duration(budget),
            };
            let place = written.cloned().unwrap_or_default();
            self.report.add(&place, problem);
        }
        no_path
    }

    fn fence(&mut self, tuning: &Tuning) -> Fence {
        let default = Fences {
            reinstate: defaults::FENCE_REINSTATE,
            preempt_abort: defaults::FENCE_PREEMPT_ABORT,
            lun_reset: false,
            quiesce: defaults::FENCE_QUIESCE,
        };
        let fences = value_or(&tuning.fence, default);
        // Both in one section contradict; a profile's time that a volume's list leaves unused does not.
        if let (Some(quiesce), Some(fence)) = (tuning.quiesce.place(), tuning.fence.place())
            && section(quiesce) == section(fence)
            && !fences.quiesce
        {
            self.report.add(quiesce, Problem::QuiesceUnused);
        }
        if let Some(fence) = tuning.fence.place()
            && fences.lun_reset
            && !fences.reinstate
        {
            self.report.add(fence, Problem::LunResetAlone);
        }
        let quiesce = value_or(&tuning.quiesce, defaults::QUIESCE);
        Fence {
            reinstate: fences.reinstate,
            preempt_abort: fences.preempt_abort,
            lun_reset: fences.lun_reset,
            quiesce: fences.quiesce.then_some(quiesce),
        }
    }

    fn iscsi(&mut self, tuning: &Tuning) -> Iscsi {
        let fields = &tuning.iscsi;
        let default = defaults::ISCSI;
        let max_burst = value_or(&fields.max_burst_length, default.max_burst_length);
        // Who lowers the burst alone means the first one too.
        let default_first = default.first_burst_length.min(max_burst);
        let first_burst = value_or(&fields.first_burst_length, default_first);
        self.ordered(
            (
                &fields.first_burst_length,
                "iscsi.first_burst_length",
                first_burst,
            ),
            (
                &fields.max_burst_length,
                "iscsi.max_burst_length",
                max_burst,
            ),
            show_size,
        );
        let segment = &fields.max_recv_data_segment_length;
        Iscsi {
            header_digest: value_or(&fields.header_digest, default.header_digest),
            data_digest: value_or(&fields.data_digest, default.data_digest),
            max_recv_data_segment_length: value_or(segment, default.max_recv_data_segment_length),
            first_burst_length: first_burst,
            max_burst_length: max_burst,
            immediate_data: value_or(&fields.immediate_data, default.immediate_data),
            initial_r2t: value_or(&fields.initial_r2t, default.initial_r2t),
            max_outstanding_r2t: value_or(&fields.max_outstanding_r2t, default.max_outstanding_r2t),
            queue_depth: value_or(&fields.queue_depth, default.queue_depth),
        }
    }

    /// Reports, at a place that the user wrote, if the first value is above the second.
    fn ordered<T: PartialOrd + Copy>(
        &mut self,
        low: (&Field<T>, &'static str, T),
        high: (&Field<T>, &'static str, T),
        show: fn(T) -> String,
    ) {
        let (low_field, low_key, low) = low;
        let (high_field, high_key, high) = high;
        if low <= high || low_field.is_broken() || high_field.is_broken() {
            return;
        }
        if let Some(place) = low_field.place() {
            let problem = Problem::Above {
                value: show(low),
                limit_key: high_key,
                limit: show(high),
            };
            self.report.add(place, problem);
        } else if let Some(place) = high_field.place() {
            let problem = Problem::Below {
                value: show(high),
                limit_key: low_key,
                limit: show(low),
            };
            self.report.add(place, problem);
        }
    }
}

fn section(place: &Place) -> Option<&str> {
    place.key.rsplit_once('.').map(|(section, _)| section)
}
