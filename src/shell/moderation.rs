//! A moment's patience under a deep queue, so that one turn serves several requests.
//!
//! Where many requests are in flight, their answers come one by one, and each would cost a turn: a wake-up, a
//! read, a write to the other side, and the same there. As a network card holds back its interrupts, a volume
//! thread that has nothing to do waits a little before it asks its sockets again: a small part of what a
//! request takes anyway, and never longer than 100 µs. Under a shallow queue, where each request is
//! waited for, it does not wait at all.

use std::cell::RefCell;
use std::thread;
use std::time::Duration;

/// Fewer requests than these in flight are waited for one by one.
const DEEP: usize = 8;

/// This part of a request's usual time may be spent.
const PART: u32 = 12;

/// The longest hold.
const HOLD_MAX: Duration = Duration::from_micros(100);

/// A shorter hold costs more than it spares.
const HOLD_MIN: Duration = Duration::from_micros(10);

thread_local! {
    /// What each volume of this thread allows; `None` where nothing is in flight.
    static ALLOWED: RefCell<Vec<Option<Duration>>> = const { RefCell::new(Vec::new()) };
}

/// One volume's say in how long its thread may hold.
#[derive(Debug)]
pub struct Moderation {
    place: usize,
    told: Option<Duration>,
}

impl Moderation {
    /// For a volume of the calling thread.
    #[must_use]
    pub fn new() -> Self {
        let place = ALLOWED.with_borrow_mut(|allowed| {
            allowed.push(None);
            allowed.len() - 1
        });
        Self { place, told: None }
    }

    /// `in_flight` requests of the volume are not answered, and one takes `usual` of late.
    pub fn tell(&mut self, in_flight: usize, usual: Duration) {
        let allows = match in_flight {
            0 => None,
            shallow if shallow < DEEP => Some(Duration::ZERO),
            _ => Some((usual / PART).min(HOLD_MAX)),
        };
        if allows != self.told {
            self.told = allows;
            ALLOWED.with_borrow_mut(|allowed| {
                if let Some(place) = allowed.get_mut(self.place) {
                    *place = allows;
                }
            });
        }
    }
}

impl Default for Moderation {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Moderation {
    fn drop(&mut self) {
        self.tell(0, Duration::ZERO);
    }
}

/// How long the calling thread may hold: as long as its most impatient volume allows.
fn allowed() -> Duration {
    ALLOWED.with_borrow(|allowed| {
        let busy = allowed.iter().flatten();
        busy.min().copied().unwrap_or(Duration::ZERO)
    })
}

/// To be called by a volume thread's runtime before it parks.
pub fn hold() {
    let hold = allowed();
    if hold >= HOLD_MIN {
        thread::sleep(hold);
    }
}

/// Has the calling thread's sleeps end when they should, not up to 50 µs later (`PR_SET_TIMERSLACK`).
pub fn sharpen_timers() {
    // Of no consequence where it fails but for longer holds.
    let _ = nix::sys::prctl::set_timerslack(1_000);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_deep_queue_allows_a_part_of_what_its_requests_take() {
        let mut volume = Moderation::new();
        volume.tell(32, MILLI);
        assert_eq!(allowed(), MILLI / PART);
        volume.tell(32, 500 * MILLI);
        assert_eq!(allowed(), HOLD_MAX, "however long they take");
    }

    #[test]
    fn a_request_that_is_waited_for_allows_none() {
        let (mut deep, mut shallow) = (Moderation::new(), Moderation::new());
        deep.tell(32, MILLI);
        shallow.tell(1, MILLI);
        assert_eq!(allowed(), Duration::ZERO);
        shallow.tell(0, MILLI);
        assert_eq!(allowed(), MILLI / PART);
    }

    #[test]
    fn a_volume_that_is_gone_has_no_say() {
        let mut staying = Moderation::new();
        staying.tell(32, MILLI);
        Moderation::new().tell(1, MILLI);
        assert_eq!(allowed(), MILLI / PART);
    }
}
