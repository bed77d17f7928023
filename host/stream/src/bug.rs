//! Bugs that can be put into the engine, to see that the tests find them: tests of the tests.
//!
//! Without the feature `seeded-bugs` none is ever in, which the compiler knows: what they would do is not compiled. With
//! it one at a time may be put in at run time, for the whole process.

/// One mistake that an engine with exactly-once could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// An epoch counts as durable while the log is in the cache.
    SkipLogSync,
    /// The same for its outbox.
    SkipOutboxSync,
    /// A new segment's name is in the cache.
    SkipFolderSync,
    /// The outbox forgets entries that no sink has acknowledged.
    FreeOutboxEarly,
    /// A sink gets an epoch that is not durable yet.
    ExposeBeforeDurable,
    /// After a restart a sink gets again what its target has.
    ExposeTwice,
    /// What a sink has accepted, and only gathers, counts as visible.
    AcknowledgeGathered,
    /// A target that is ahead of the state is written to.
    TakeSinkAhead,
    /// A target that lost epochs is written to.
    TakeSinkBehind,
    /// The position of an epoch is its last record, which is then read again.
    OffsetOfLastRecord,
    /// A keyed step starts without the state that the epoch holds.
    ForgetState,
    /// An entry names the epoch before, though that one owed its sink nothing.
    PreviousIsEpochBefore,
    /// Dead letters go into the epoch after their own.
    DeadLettersLate,
    /// A partition's watermark comes back as its largest event time.
    WatermarkTooHigh,
    /// A stage starts without the watermark that it had reached.
    ForgetStageWatermark,
    /// Rows behind a barrier are taken in before the other inputs have passed it.
    DoNotAlign,
    /// An instance that was taken over writes on.
    TakeStaleOwner,
    /// The log throws away what it is given, and says that it is durable.
    KeepNothing,
}

impl Bug {
    pub const ALL: [Self; 18] = [
        Self::SkipLogSync,
        Self::SkipOutboxSync,
        Self::SkipFolderSync,
        Self::FreeOutboxEarly,
        Self::ExposeBeforeDurable,
        Self::ExposeTwice,
        Self::AcknowledgeGathered,
        Self::TakeSinkAhead,
        Self::TakeSinkBehind,
        Self::OffsetOfLastRecord,
        Self::ForgetState,
        Self::PreviousIsEpochBefore,
        Self::DeadLettersLate,
        Self::WatermarkTooHigh,
        Self::ForgetStageWatermark,
        Self::DoNotAlign,
        Self::TakeStaleOwner,
        Self::KeepNothing,
    ];

    /// Whether it is in.
    #[cfg(not(feature = "seeded-bugs"))]
    #[inline(always)]
    pub const fn is_in(self) -> bool {
        false
    }
}

#[cfg(feature = "seeded-bugs")]
mod seeded {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Bug;

    /// The number of the bug that is in, plus one.
    static SEEDED: AtomicUsize = AtomicUsize::new(0);

    impl Bug {
        /// Whether it is in.
        pub fn is_in(self) -> bool {
            SEEDED.load(Ordering::SeqCst) == self as usize + 1
        }

        /// Puts one bug in, in place of the one before.
        pub fn put_in(bug: Option<Self>) {
            SEEDED.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::SeqCst);
        }
    }
}
