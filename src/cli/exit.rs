//! Exit codes, the same for every command.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done,
    /// It failed.
    Failed,
    /// Part of it failed, and the output names which part.
    PartlyFailed,
    /// The arguments or the configuration are wrong (`EX_USAGE` of sysexits.h).
    Usage,
    /// A dependency is down (`EX_UNAVAILABLE` of sysexits.h).
    Unavailable,
    /// Ended by Ctrl-C, as shells count it: 128 + `SIGINT`.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::PartlyFailed => 2,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Interrupted => 130,
        }
    }

    /// The end of a command that did several things of which some succeeded and some failed.
    pub const fn of_counts(succeeded: usize, failed: usize) -> Self {
        match (succeeded, failed) {
            (_, 0) => Self::Done,
            (0, _) => Self::Failed,
            (_, _) => Self::PartlyFailed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
