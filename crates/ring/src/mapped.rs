//! A capture file as a slice.
#![allow(unsafe_code)]

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Deref;

use memmap2::{Advice, Mmap};

/// A regular file, mapped read-only, to be read once from start to end.
///
/// A mapped file that shrinks raises SIGBUS in whoever reads beyond its new end. So a file that is being recorded is
/// refused: recorders hold a lock on their files, and the mapping holds a shared one against them.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    /// Holds the shared lock.
    file: File,
}

impl MappedFile {
    /// Maps `file`. `None` if it cannot be mapped safely, and is to be read instead: it is no regular file, it is
    /// empty, or somebody is writing it.
    pub fn new(file: &File) -> io::Result<Option<Self>> {
        let facts = file.metadata()?;
        if !facts.is_file() || facts.len() == 0 || usize::try_from(facts.len()).is_err() {
            return Ok(None);
        }
        let file = file.try_clone()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            // A file system without locks has no recorder of ours on it that could shrink the file unnoticed.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // SAFETY: the memory is read only through `&[u8]`, and nobody is expected to change the file: recorders keep
        // away while the lock is held. Another program that writes to it all the same can make us read changed
        // bytes, which the readers check like any foreign bytes, or shrink it, which ends the process by SIGBUS.
        let map = unsafe { Mmap::map(&file)? };
        // Only advice: without it the file is read more slowly.
        let _ = map.advise(Advice::Sequential);
        Ok(Some(Self { map, file }))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // The caller's own descriptor shares the lock and may live on.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn maps_what_nobody_writes() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert!(MappedFile::new(file.as_file()).unwrap().is_none(), "empty");
        file.write_all(b"capture").unwrap();
        let other = File::open(file.path()).unwrap();
        assert_eq!(&**MappedFile::new(&other).unwrap().as_ref().unwrap(), b"capture");
        let recorder = File::options().write(true).open(file.path()).unwrap();
        recorder.try_lock().unwrap();
        let again = File::open(file.path()).unwrap();
        assert!(MappedFile::new(&again).unwrap().is_none(), "being recorded");
        assert!(MappedFile::new(&File::open("/dev/null").unwrap()).unwrap().is_none());
    }
}
