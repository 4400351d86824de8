//! Data on its way through: a rope of reference-counted slices, never copied.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// The data of a request or an answer, in order, as slices of the buffers that the kernel filled.
///
/// Cloning and slicing move reference counts only.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    chunks: SmallVec<[Bytes; 2]>,
    len: usize,
}

impl Payload {
    /// No data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a slice.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Appends all of `other`.
    pub fn append(&mut self, other: Self) {
        self.len += other.len;
        self.chunks.extend(other.chunks);
    }

    /// The slices, none empty, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }

    /// The `len` bytes from `offset` on.
    ///
    /// # Panics
    /// If they are not inside the payload.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "slice inside payload"
        );
        let (mut skip, mut left, mut out) = (offset, len, Self::new());
        for chunk in &self.chunks {
            if left == 0 {
                break;
            }
            if skip >= chunk.len() {
                skip -= chunk.len();
                continue;
            }
            let take = left.min(chunk.len() - skip);
            out.push(chunk.slice(skip..skip + take));
            left -= take;
            skip = 0;
        }
        out
    }

    /// All bytes in one buffer: without a copy if there is one slice only.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut all = BytesMut::with_capacity(self.len);
                many.iter().for_each(|chunk| all.extend_from_slice(chunk));
                all.freeze()
            }
        }
    }
}

impl From<Bytes> for Payload {
    fn from(chunk: Bytes) -> Self {
        let mut payload = Self::new();
        payload.push(chunk);
        payload
    }
}
