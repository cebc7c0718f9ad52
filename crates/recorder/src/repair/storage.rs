//! A file, or a vector that stands in for one, and a window that slides over it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What the repair does to a file. Offsets and lengths in bytes.
pub(super) trait Storage {
    fn len(&self) -> io::Result<u64>;
    /// Reads up to `buf.len()` bytes; 0 only at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Returns when everything is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Storage for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// For tests and fuzzing. Writes beyond the end are a fault of the caller's.
impl Storage for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.as_slice().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let place =
            usize::try_from(offset).ok().and_then(|offset| self.get_mut(offset..offset + bytes.len()));
        place.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stretch of a file in memory that moves with the questions asked of it.
pub(super) struct Window<'s, S> {
    storage: &'s S,
    /// Length of the file when the window was made; what is written behind it later is left alone.
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'s, S: Storage> Window<'s, S> {
    pub(super) fn new(storage: &'s S, len: u64) -> Self {
        Self { storage, len, start: 0, bytes: Vec::new() }
    }

    /// The bytes from `offset` on: at least `need` of them, fewer only at the end of the file, often more.
    pub(super) fn at(&mut self, offset: u64, need: usize) -> Result<&[u8], (u64, io::Error)> {
        let end = offset.saturating_add(need as u64).min(self.len);
        let held = self.start..=self.start + self.bytes.len() as u64;
        if !(held.contains(&offset) && held.contains(&end)) {
            self.load(offset, need)?;
        }
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }

    fn load(&mut self, offset: u64, need: usize) -> Result<(), (u64, io::Error)> {
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.start = offset;
        self.bytes.resize(need.max(CHUNK).min(rest), 0);
        let mut filled = 0;
        while filled < self.bytes.len() {
            let at = offset + filled as u64;
            match self.storage.read_at(&mut self.bytes[filled..], at).map_err(|error| (at, error))? {
                // The file has become shorter.
                0 => break,
                n => filled += n,
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }
}

/// Bytes read at once: enough that a disk works at its full rate.
const CHUNK: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_shows_what_is_there() {
        let file: Vec<u8> = (0..3 * CHUNK as u32 / 4).flat_map(|n| n.to_le_bytes()).collect();
        let mut window = Window::new(&file, file.len() as u64);
        for (offset, need) in
            [(0, 10), (CHUNK - 3, 7), (5, 2 * CHUNK), (3 * CHUNK - 4, 100), (3 * CHUNK, 1), (17, 0)]
        {
            let bytes = window.at(offset as u64, need).unwrap();
            assert!(bytes.len() >= need.min(file.len() - offset), "{offset} {need}");
            assert_eq!(*bytes, file[offset..offset + bytes.len()]);
        }
    }
}
