//! Why the store in `SQLite` could not be opened or did not do its work, and what its callers get to see of it.

use std::path::PathBuf;

use crate::queue::StoreError;

/// The store's file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another store of this one) has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// It was written by a newer ragq.
    #[error("{} has schema version {found}, this ragq knows up to {known}: use the newer ragq", path.display())]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// The version found.
        found: usize,
        /// The newest version known.
        known: usize,
    },
    /// It is a database of another program, or no database.
    #[error("{} is not a job store of ragq", path.display())]
    Foreign {
        /// The store's file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `SQLite` refused.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The store's file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// A stored value that does not have its type: the file was damaged or changed by hand.
pub(super) fn corrupt(column: usize, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
}
