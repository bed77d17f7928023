//! The allocator of the whole process, librdkafka's C code included, and the one setting that is not its default.
//!
//! An epoch's buffers are made by one thread and freed by another. Given back to the operating system after mimalloc's
//! 10 ms, they come as fresh pages for the next epoch, and clearing pages was a tenth of a run's CPU time.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed pages are kept.
const PURGE_DELAY_MS: std::ffi::c_long = 200;

/// `mi_option_purge_delay`, which stands before this one in mimalloc.h and is not exported by name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = libmimalloc_sys::mi_option_use_numa_nodes - 1;

/// To be called first thing.
pub fn keep_freed_pages() {
    // SAFETY: sets an integer option; mimalloc takes any value at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) }
}
