//! Where a unit's data lives.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes per chunk of a RAM disk.
const CHUNK: usize = 64 << 10;
const CHUNK_BYTES: u64 = CHUNK as u64;
static ZEROES: [u8; CHUNK] = [0; CHUNK];

/// Data in memory or in a file.
#[derive(Debug)]
pub enum Backing {
    /// Sparse memory: chunks that were never written read as zeroes and take no space.
    Ram(BTreeMap<u64, Box<[u8]>>),
    /// A file; what lies beyond its end reads as zeroes.
    File(File),
}

impl Backing {
    /// Empty memory.
    #[must_use]
    pub fn ram() -> Self {
        Self::Ram(BTreeMap::new())
    }

    /// Fills `data` from byte `offset` on.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Ram(chunks) => {
                for (chunk, at, part) in parts(offset, data.len()) {
                    let target = &mut data[part.clone()];
                    match chunks.get(&chunk) {
                        Some(bytes) => target.copy_from_slice(&bytes[at..at + part.len()]),
                        None => target.fill(0),
                    }
                }
                Ok(())
            }
            Self::File(file) => read_file(file, offset, data),
        }
    }

    /// Writes `data` from byte `offset` on.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Ram(chunks) => {
                for (chunk, at, part) in parts(offset, data.len()) {
                    let bytes = chunks
                        .entry(chunk)
                        .or_insert_with(|| ZEROES.to_vec().into());
                    bytes[at..at + part.len()].copy_from_slice(&data[part]);
                }
                Ok(())
            }
            Self::File(file) => file.write_all_at(data, offset),
        }
    }

    /// Makes `len` bytes from `offset` on read as zeroes; memory of whole chunks is given back.
    pub(super) fn zero(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let take = (CHUNK_BYTES - at % CHUNK_BYTES).min(end - at);
            match self {
                Self::Ram(chunks) if take == CHUNK_BYTES => {
                    chunks.remove(&(at / CHUNK_BYTES));
                }
                Self::Ram(chunks) if !chunks.contains_key(&(at / CHUNK_BYTES)) => {}
                Self::Ram(_) | Self::File(_) => {
                    let take = usize::try_from(take).map_err(io::Error::other)?;
                    self.write(at, &ZEROES[..take])?;
                }
            }
            at += take;
        }
        Ok(())
    }

    /// Makes everything that was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Self::Ram(_) => Ok(()),
            Self::File(file) => file.sync_data(),
        }
    }
}

/// A byte range as (chunk, offset in the chunk, range of the data).
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let position = offset + u64::try_from(done).ok()?;
        let at = usize::try_from(position % CHUNK_BYTES).ok()?;
        let take = (CHUNK - at).min(len - done);
        let part = done..done + take;
        done += take;
        (take > 0).then_some((position / CHUNK_BYTES, at, part))
    })
}

fn read_file(file: &File, mut offset: u64, mut data: &mut [u8]) -> io::Result<()> {
    while !data.is_empty() {
        match file.read_at(data, offset) {
            Ok(0) => {
                data.fill(0);
                return Ok(());
            }
            Ok(n) => {
                data = &mut data[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both kinds against a plain vector, with writes and zeroes across chunk borders.
    #[test]
    fn memory_and_file_hold_what_a_plain_vector_holds() {
        let size = 5 * CHUNK;
        let mut plain = vec![0u8; size];
        let file = tempfile::tempfile().unwrap();
        let mut kinds = [Backing::ram(), Backing::File(file)];
        for step in 0..200usize {
            let at = step * 7919 * 512 % (size - 512);
            let len = (step * 104_729 % (3 * CHUNK)).min(size - at);
            let fill = u8::try_from(step % 251).unwrap() + 1;
            let data = vec![fill; len];
            for kind in &mut kinds {
                match step % 3 {
                    0 => kind.zero(at as u64, len as u64).unwrap(),
                    _ => kind.write(at as u64, &data).unwrap(),
                }
            }
            plain[at..at + len].fill(if step % 3 == 0 { 0 } else { fill });
        }
        for kind in &kinds {
            let mut read = vec![0xff; size];
            kind.read(0, &mut read).unwrap();
            assert!(read == plain);
        }
    }

    #[test]
    fn zeroed_chunks_give_their_memory_back() {
        let mut ram = Backing::ram();
        ram.write(100, &vec![1; 3 * CHUNK]).unwrap();
        let held = |ram: &Backing| match ram {
            Backing::Ram(chunks) => chunks.len(),
            Backing::File(_) => unreachable!("made as memory"),
        };
        assert_eq!(held(&ram), 4);
        ram.zero(0, 3 * CHUNK_BYTES).unwrap();
        assert_eq!(held(&ram), 1);
        ram.zero(8 * CHUNK_BYTES, 10).unwrap();
        assert_eq!(held(&ram), 1, "zeroing what is not there makes nothing");
    }
}
