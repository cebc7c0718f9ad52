//! Hints to the processor that memory will be read or written soon.
#![allow(unsafe_code, reason = "the instruction takes an address")]

/// Begins to load the cache line in which `bytes` start. Reading a capture file goes from one cold line to the next,
/// and where the next one is depends on the one before: what can be asked for early need not be waited for.
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

/// Begins to get the cache line in which `memory` starts for this processor alone, to write it soon. Memory that
/// another processor has read last has to be taken from it first: who writes without having asked waits for that once
/// for each line as soon as more is to be written than the processor can keep back.
#[inline]
pub fn prefetch_to_write<T>(memory: &[T]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch changes no memory that the program could see and faults on no address (Intel SDM, PREFETCHW; a
    // processor that does not know it does nothing). Written out, because without the processor's feature being asked
    // for at compile time the intrinsic becomes a prefetch for reading.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) memory.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = memory;
}
