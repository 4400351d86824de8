//! What the daemon logs inside a world: for the timeline, and to find errors.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use super::Detail;

/// A subscriber that keeps lines until they are taken.
#[derive(Clone, Debug)]
pub(super) struct Log {
    level: LevelFilter,
    detail: Detail,
    lines: Arc<Mutex<Vec<(Level, String)>>>,
}

/// While there is one subscriber in all, `tracing` asks the one of the thread that comes first to a line of
/// code whether anybody wants what is said there, and remembers the answer for all threads. A second one,
/// that wants nothing and stays, makes it ask all.
static BYSTANDER: OnceLock<Dispatch> = OnceLock::new();

impl Log {
    pub(super) fn new(level: LevelFilter, detail: Detail) -> Self {
        BYSTANDER.get_or_init(|| {
            Dispatch::new(Self {
                level: LevelFilter::OFF,
                detail: Detail::Nothing,
                lines: Arc::default(),
            })
        });
        Self {
            level,
            detail,
            lines: Arc::default(),
        }
    }

    pub(super) fn take(&self) -> Vec<(Level, String)> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *lines)
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let level = *event.metadata().level();
        // Outboxes say so of each PDU.
        if self.detail == Detail::Pdus && level > Level::INFO && !line.0.starts_with(" queued") {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((level, line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
