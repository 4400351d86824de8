//! Room for what sockets bring: buffers that are used again once nothing refers to what they held.
//!
//! What arrives is handed on as slices of the buffer that the kernel filled, so a buffer is free again when
//! the last of them was written to the other side. Taking the same few buffers in turns keeps them in the
//! processor's cache and spares the page faults of fresh memory.

use bytes::BytesMut;

/// Room that a read is offered; large reads need few system calls.
pub const READ_ROOM: usize = 256 << 10;

/// Less room than this, and another buffer is taken.
const READ_ROOM_MIN: usize = 16 << 10;

/// Used-up buffers that are kept for later. Those beyond are given back as soon as nothing refers to them.
const KEPT_MAX: usize = 32;

/// Used-up buffers that are asked, latest first, whether they are free again.
const ASKED_MAX: usize = 8;

/// The buffers of one volume's sockets.
#[derive(Debug, Default)]
pub struct Rooms {
    /// Used up, and maybe still referred to. The latest stands last.
    used: Vec<BytesMut>,
}

impl Rooms {
    /// Makes room in `input` for a read. What it holds unread moves along.
    pub fn make(&mut self, input: &mut BytesMut) {
        if input.capacity() - input.len() >= READ_ROOM_MIN {
            return;
        }
        if input.len() + READ_ROOM_MIN > READ_ROOM {
            // A unit that is read whole before it is understood, and does not fit.
            return input.reserve(READ_ROOM);
        }
        let mut next = self.take();
        next.extend_from_slice(input);
        input.clear();
        let old = std::mem::replace(input, next);
        // One of another origin, or none yet, is not worth keeping.
        if self.used.len() < KEPT_MAX {
            self.used.push(old);
        }
    }

    /// Gives back what is kept for later, when nothing is going on.
    pub fn relax(&mut self) {
        self.used = Vec::new();
    }

    fn take(&mut self) -> BytesMut {
        let asked = self.used.len().min(ASKED_MAX);
        let mut at = self.used.len();
        for _ in 0..asked {
            at -= 1;
            if self.used[at].try_reclaim(READ_ROOM) {
                return self.used.swap_remove(at);
            }
        }
        // The ones in the middle may be free for long: the oldest is asked as well.
        if asked < self.used.len() && self.used[0].try_reclaim(READ_ROOM) {
            return self.used.swap_remove(0);
        }
        if self.used.len() == KEPT_MAX {
            self.used.swap_remove(0);
        }
        BytesMut::with_capacity(READ_ROOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(input: &mut BytesMut, byte: u8) {
        let room = input.capacity() - input.len();
        input.extend_from_slice(&vec![byte; room]);
    }

    #[test]
    fn a_buffer_is_used_again_once_nothing_refers_to_it() {
        let (mut rooms, mut input) = (Rooms::default(), BytesMut::new());
        rooms.make(&mut input);
        let first = input.as_ptr();
        fill(&mut input, 1);
        let held = input.split().freeze();
        rooms.make(&mut input);
        let second = input.as_ptr();
        assert_ne!(first, second, "the first is still referred to");
        fill(&mut input, 2);
        drop((held, input.split()));
        rooms.make(&mut input);
        let third = input.as_ptr();
        assert!(third == first || third == second);
    }

    #[test]
    fn what_was_not_understood_yet_moves_along() {
        let (mut rooms, mut input) = (Rooms::default(), BytesMut::new());
        rooms.make(&mut input);
        fill(&mut input, 7);
        let part = input.split_off(input.len() - 5);
        let held = std::mem::replace(&mut input, part);
        rooms.make(&mut input);
        assert_eq!(&input[..], [7; 5]);
        assert!(input.capacity() - input.len() >= READ_ROOM_MIN);
        assert!(held.iter().all(|&byte| byte == 7));
    }

    #[test]
    fn a_unit_larger_than_a_buffer_gets_its_room() {
        let (mut rooms, mut input) = (Rooms::default(), BytesMut::new());
        input.extend_from_slice(&vec![3; READ_ROOM]);
        rooms.make(&mut input);
        assert_eq!(input.len(), READ_ROOM);
        assert!(input.capacity() - input.len() >= READ_ROOM_MIN);
    }

    #[test]
    fn used_buffers_that_nobody_gives_back_are_not_kept_without_bound() {
        let (mut rooms, mut input) = (Rooms::default(), BytesMut::new());
        let mut held = Vec::new();
        for _ in 0..3 * KEPT_MAX {
            rooms.make(&mut input);
            fill(&mut input, 0);
            held.push(input.split());
        }
        assert!(rooms.used.len() <= KEPT_MAX);
    }
}
