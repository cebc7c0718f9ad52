//! A hint to the processor that bytes will be read soon.
#![allow(unsafe_code, reason = "the instruction takes an address")]

/// Begins to load the cache line in which `bytes` start. Reading a capture file goes from one cold line to the next, and
/// where the next one is depends on the one before: what can be asked for early need not be waited for.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads no memory that the program could see and faults on no address (Intel SDM, PREFETCHh);
    // the address is that of a slice besides.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
