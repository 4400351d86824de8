//! Which stretches of the output stream belong to which task, to see a task progress as the socket
//! takes its bytes.

use std::collections::VecDeque;

use crate::iscsi::tags::Itt;

/// Stretches in stream order, forgotten once they were taken.
#[derive(Debug, Default)]
pub(super) struct SendMarks {
    marks: VecDeque<Mark>,
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    from: u64,
    to: u64,
    itt: Itt,
}

impl SendMarks {
    /// The bytes at stream positions `from..to` are this task's.
    pub(super) fn push(&mut self, from: u64, to: u64, itt: Itt) {
        self.marks.push_back(Mark { from, to, itt });
    }

    /// The socket has taken all bytes before `sent`: names each task of which it took some since
    /// the last call.
    pub(super) fn note(&mut self, sent: u64, mut moved: impl FnMut(Itt)) {
        if sent == self.seen {
            return;
        }
        self.seen = sent;
        while let Some(mark) = self.marks.front().filter(|mark| mark.from < sent) {
            moved(mark.itt);
            if sent < mark.to {
                break;
            }
            self.marks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_moved_since_the_last_look_is_named() {
        let tag = |n| Itt::new(n).unwrap();
        let mut marks = SendMarks::default();
        marks.push(10, 20, tag(1));
        marks.push(20, 30, tag(2));
        let mut look = |sent| {
            let mut moved = Vec::new();
            marks.note(sent, |itt| moved.push(itt.get()));
            moved
        };
        assert_eq!(look(10), [0u32; 0]);
        assert_eq!(look(15), [1]);
        assert_eq!(look(15), [0u32; 0]);
        assert_eq!(look(25), [1, 2]);
        assert_eq!(look(30), [2]);
        assert_eq!(look(31), [0u32; 0]);
    }
}
