//! Where the next request goes.

/// Places of one size on a device, in order or at random.
#[derive(Debug)]
pub(super) struct Places {
    block: u64,
    count: u64,
    /// The next place; `None`: at random.
    next: Option<u64>,
    state: u64,
}

impl Places {
    /// All places of `block` bytes on a device of `size` bytes, which has at least one.
    pub(super) fn new(size: u64, block: u32, sequential: bool, seed: u64) -> Self {
        let block = u64::from(block);
        Self {
            block,
            count: (size / block).max(1),
            next: sequential.then_some(0),
            state: seed,
        }
    }

    /// The byte at which the next request starts.
    pub(super) fn next(&mut self) -> u64 {
        let place = match &mut self.next {
            Some(next) => {
                let place = *next;
                *next = (place + 1) % self.count;
                place
            }
            None => self.random() % self.count,
        };
        place * self.block
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): good enough to spread requests.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
