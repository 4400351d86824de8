//! What is outstanding, by initiator task tag.
//!
//! A tag is a place in a slab (low half) and the number of times that the place was used (high half):
//! lookup is one index, and a tag that comes late for something that ended is told from one that was
//! never sent.

use crate::iscsi::tags::Itt;

/// Places in the table: one fewer than 16 bits allow, so that no tag is the reserved one.
const PLACES_MAX: usize = 0xffff;

/// A slab whose keys are task tags.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: Vec<Place<T>>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Place<T> {
    uses: u16,
    content: Option<T>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Puts something in and names it.
    ///
    /// # Panics
    /// If 65535 things are outstanding: every kind has its own bound far below.
    pub(super) fn insert(&mut self, content: T) -> Itt {
        let index = self.free.pop().unwrap_or_else(|| {
            assert!(self.places.len() < PLACES_MAX, "task tags are bounded");
            self.places.push(Place {
                uses: 0,
                content: None,
            });
            u16::try_from(self.places.len() - 1).expect("below 65535")
        });
        let place = self.places.get_mut(usize::from(index));
        let place = place.expect("a free place is in the table");
        place.uses = place.uses.wrapping_add(1);
        place.content = Some(content);
        tag(place.uses, u32::from(index)).expect("index is below 65535")
    }

    fn place(&self, itt: Itt) -> Option<(&Place<T>, u16)> {
        let [a, b, c, d] = itt.get().to_be_bytes();
        let place = self.places.get(usize::from(u16::from_be_bytes([c, d])))?;
        Some((place, u16::from_be_bytes([a, b])))
    }

    /// Whether this tag was given out at some time, and not too long ago.
    pub(super) fn was_issued(&self, itt: Itt) -> bool {
        self.place(itt)
            .is_some_and(|(place, uses)| place.uses.wrapping_sub(uses) < 1 << 15)
    }

    pub(super) fn get(&self, itt: Itt) -> Option<&T> {
        let (place, uses) = self.place(itt)?;
        place.content.as_ref().filter(|_| place.uses == uses)
    }

    pub(super) fn get_mut(&mut self, itt: Itt) -> Option<&mut T> {
        self.get(itt)?;
        self.places
            .get_mut(place_of(itt))
            .and_then(|place| place.content.as_mut())
    }

    /// Takes it out; its tag may be used again.
    pub(super) fn remove(&mut self, itt: Itt) -> Option<T> {
        self.get(itt)?;
        let index = place_of(itt);
        self.free.push(u16::try_from(index).ok()?);
        self.places.get_mut(index)?.content.take()
    }

    /// Everything that is outstanding, by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Itt, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let content = place.content.as_ref()?;
            let index = u32::try_from(index).ok()?;
            Some((tag(place.uses, index)?, content))
        })
    }
}

fn tag(uses: u16, index: u32) -> Option<Itt> {
    Itt::new(u32::from(uses) << 16 | index)
}

fn place_of(itt: Itt) -> usize {
    let [_, _, c, d] = itt.get().to_be_bytes();
    usize::from(u16::from_be_bytes([c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_not_reused_and_is_recognised_when_it_comes_late() {
        let mut table = Table::new();
        let old = table.insert('a');
        assert_eq!(table.remove(old), Some('a'));
        let new = table.insert('b');
        assert_ne!(old, new);
        assert_eq!((table.get(old), table.get(new)), (None, Some(&'b')));
        assert!(table.was_issued(old) && table.was_issued(new));
        let never = Itt::new(new.get() + (1 << 16)).unwrap();
        assert!(!table.was_issued(never));
        assert!(!table.was_issued(Itt::new(77).unwrap()));
        assert_eq!(table.remove(old), None);
    }

    #[test]
    fn no_use_of_any_place_makes_the_reserved_tag() {
        let mut table = Table::new();
        for _ in 0..200_000 {
            let tag = table.insert(());
            assert!(table.get(tag).is_some());
            table.remove(tag);
        }
        assert_eq!(table.places.len(), 1);
    }

    #[test]
    fn what_is_outstanding_is_listed_by_place() {
        let mut table = Table::new();
        let tags: Vec<_> = (0..4).map(|n| table.insert(n)).collect();
        table.remove(tags[1]);
        let listed: Vec<_> = table.iter().map(|(tag, n)| (tag, *n)).collect();
        assert_eq!(listed, [(tags[0], 0), (tags[2], 2), (tags[3], 3)]);
    }
}
