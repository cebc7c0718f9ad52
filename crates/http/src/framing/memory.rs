//! What a stream takes beside itself.

use super::{Phase, Stream};

impl Stream {
    /// Bytes allocated, without those of bodies, which count against the budget.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        let beyond = match &self.phase {
            Phase::Beyond(beyond) => {
                size_of_val(&**beyond) + beyond.line.capacity() + beyond.head.head.memory()
            }
            _ => 0,
        };
        self.buffer.capacity() + self.keep.memory() + beyond
    }

    /// Gives the memory of a head back that is over.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() != 0 {
            self.buffer = Vec::new();
        }
    }
}
