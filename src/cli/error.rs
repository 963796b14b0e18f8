//! Why a command could not do its work, and which exit code that is.

use std::io;

use super::{client::ClientError, exit::Exit};

/// A command's failure.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments or the environment are wrong; the text says which and how to put it right.
    #[error("{0}")]
    Usage(String),
    /// The API refused or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file given on the command line could not be read.
    #[error("{path} can't be read: {error}")]
    Unreadable {
        /// The file as given.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The output could not be written.
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
    /// The runtime could not be started.
    #[error("the runtime can't be started: {0}")]
    Runtime(io::Error),
}

impl CliError {
    /// The exit code it ends the command with.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Client(error) => error.exit(),
            Self::Unreadable { .. } | Self::Output(_) | Self::Runtime(_) => Exit::Failed,
        }
    }
}
