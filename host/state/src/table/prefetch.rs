//! Asking for memory before it is needed: what lies apart is fetched side by side, and who then reads one after the other
//! does not wait for each.

/// Has the cache line of `value` fetched, and does not wait for it.
#[inline]
pub fn line<T: Copy>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which cannot fault, for an address that is valid besides; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
    // A read that nothing depends on: the processor goes on meanwhile, if not as far.
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(*value);
}
