//! The allocator of the whole process, librdkafka's C code included, and the settings that are not its defaults.
//!
//! An epoch's buffers are made by one thread and freed by another. Given back to the operating system after mimalloc's
//! 10 ms, they come as fresh pages for the next epoch, and clearing pages was a tenth of a run's CPU time.
//!
//! Transparent huge pages are refused: one byte touched in a buffer that is never filled gave it 2 MiB, in all a quarter
//! of the memory of a Kafka-to-Kafka pipeline at full speed, and no CPU time was won by them.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed pages are kept.
const PURGE_DELAY_MS: std::ffi::c_long = 200;

/// `mi_option_purge_delay`, which stands before this one in mimalloc.h and is not exported by name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = libmimalloc_sys::mi_option_use_numa_nodes - 1;

/// To be called first thing.
pub fn set_up() {
    // SAFETY: sets an integer option; mimalloc takes any value at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) }
    // SAFETY: sets a flag of this process and takes no pointer. A kernel that refuses costs memory, nothing else.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}
