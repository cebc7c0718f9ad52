//! Page-aligned memory for direct I/O.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::{fmt, io, mem};

/// A buffer of fixed size whose address and length suit `O_DIRECT` on any device ([`ALIGNMENT`]).
pub struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
}

impl AlignedBuffer {
    /// A zeroed buffer of at least `bytes`, rounded up to whole [`ALIGNMENT`]s.
    pub fn new(bytes: usize) -> Self {
        let size = bytes.max(1).next_multiple_of(ALIGNMENT);
        let Ok(layout) = Layout::from_size_align(size, ALIGNMENT) else {
            handle_alloc_error(Layout::new::<u8>())
        };
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, layout }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for the layout's size, initialised, and borrowed as `self` is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the borrow the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.layout.size())
    }
}

// SAFETY: the buffer owns its memory alone, like a Box<[u8]>.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuffer {}

/// The alignment of offsets and lengths that direct writes to `file` need, from `statx` (Linux 6.1); `None` where
/// the kernel or the file system does not say, an error only if the file itself cannot be asked.
pub fn direct_alignment(file: &File) -> io::Result<Option<u32>> {
    // SAFETY: statx is integers only, for which all zeros is a valid value.
    let mut answer: libc::statx = unsafe { mem::zeroed() };
    // SAFETY: the path is an empty C string, `answer` is writable, and the kernel writes no further.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            &raw mut answer,
        )
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOSYS) { Ok(None) } else { Err(error) };
    }
    let told = answer.stx_mask & libc::STATX_DIOALIGN != 0 && answer.stx_dio_offset_align > 0;
    Ok(told.then_some(answer.stx_dio_offset_align))
}

/// Alignment in bytes of [`AlignedBuffer`]: no device of today asks for more than a 4 KiB page of memory
/// alignment (`stx_dio_mem_align` is 512 or less as a rule); 64 KiB also covers machines with such pages.
pub const ALIGNMENT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_zeroed_and_rounded_up() {
        let mut buffer = AlignedBuffer::new(100_000);
        assert_eq!((buffer.len(), buffer.as_ptr() as usize % ALIGNMENT), (131_072, 0));
        assert!(buffer.iter().all(|&byte| byte == 0));
        buffer[131_071] = 1;
    }
}
