//! Buffers by size, to be used again.

/// Unused buffers, one list for each power of two.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: [Vec<Vec<u8>>; CLASSES],
    kept_bytes: usize,
}

impl Pool {
    /// An empty buffer for `len` bytes, of [`buffer_size`] if it is not of another size that was given back.
    pub(super) fn buffer(&mut self, len: usize) -> Vec<u8> {
        let size = buffer_size(len);
        match class(size).and_then(|class| self.free.get_mut(class)).and_then(Vec::pop) {
            Some(buffer) => {
                self.kept_bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(size),
        }
    }

    /// Takes a buffer back; its memory goes to the allocator when enough is kept.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if let Some(list) = class(capacity).and_then(|class| self.free.get_mut(class))
            && self.kept_bytes + capacity <= KEPT_BYTES
        {
            buffer.clear();
            self.kept_bytes += capacity;
            list.push(buffer);
        }
    }
}

/// The size of the buffer that `len` bytes get.
pub(super) fn buffer_size(len: usize) -> usize {
    len.next_power_of_two().max(SMALLEST)
}

/// The list of buffers of just this size.
fn class(size: usize) -> Option<usize> {
    let class = (size / SMALLEST).checked_ilog2()? as usize;
    (class < CLASSES && size == SMALLEST << class).then_some(class)
}

/// Bytes of the smallest buffers: an IP header's.
const SMALLEST: usize = 64;
/// 64 bytes to 128 KiB: more than a datagram.
const CLASSES: usize = 12;
/// Bytes of unused buffers that are kept.
const KEPT_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_by_size() {
        let mut pool = Pool::default();
        for len in [0, 1, 64, 65, 1_480, 65_535, 131_072] {
            let buffer = pool.buffer(len);
            assert!(buffer.capacity() == buffer_size(len) && class(buffer.capacity()).is_some());
            let address = buffer.as_ptr();
            pool.recycle(buffer);
            let again = pool.buffer(len);
            assert_eq!((again.as_ptr(), again.len()), (address, 0));
        }
        let many: Vec<_> = (0..100).map(|_| pool.buffer(131_072)).collect();
        many.into_iter().for_each(|buffer| pool.recycle(buffer));
        assert!(pool.kept_bytes <= KEPT_BYTES);
        assert_eq!(class(buffer_size(131_073)), None);
    }
}
