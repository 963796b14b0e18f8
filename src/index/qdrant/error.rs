//! What Qdrant's errors mean. Every error of the client becomes a [`Failure`] here and nowhere else.
//!
//! A message says what to do about it where somebody can do something. It never holds the API key; of what the
//! server says one line is shown, which names vectors, collections and dimensions, never texts.

use std::time::Duration;

use qdrant_client::QdrantError;
use tonic::Code as Status;

use crate::domain::failure::{Code, Failure};

/// The longest part of a server's message that is shown, in characters.
const SHOWN: usize = 200;

/// What the client says when it got no connection; it has no code of its own.
const NO_CONNECTION: &str = "Failed to connect";

/// The failure behind an error of a call to the server at `address` about `collection`.
pub(super) fn classify(error: QdrantError, address: &str, collection: &str) -> Failure {
    match &error {
        QdrantError::ResponseError { status } => {
            let (code, message) = judge(status.code(), status.message(), address, collection);
            Failure::new(code, message).with_source(error)
        }
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
            let wait = Duration::from_secs(*retry_after_seconds);
            Failure::new(Code::IndexUnavailable, format!("Qdrant at {address} has no room for more calls now"))
                .with_retry_after(Some(wait))
                .with_source(error)
        }
        QdrantError::Io(_) => Failure::new(Code::IndexUnavailable, unreachable(address)).with_source(error),
        QdrantError::ConversionError(_) | QdrantError::InvalidUri(_) | QdrantError::NoSnapshotFound(_) => {
            Failure::new(Code::Unknown, "the Qdrant client could not make the call").with_source(error)
        }
    }
}

fn judge(status: Status, said: &str, address: &str, collection: &str) -> (Code, String) {
    let said = one_line(said);
    let failed = |what: &str| (Code::IndexUnavailable, format!("Qdrant at {address} {what}: {said}"));
    match status {
        Status::Unavailable => (Code::IndexUnavailable, unreachable(address)),
        Status::Internal if said.starts_with(NO_CONNECTION) => (Code::IndexUnavailable, unreachable(address)),
        Status::DeadlineExceeded => (Code::IndexUnavailable, format!("Qdrant at {address} did not answer in time")),
        // What a broken connection is called depends on when it broke; its text is the transport's, no help.
        Status::Cancelled => (Code::IndexUnavailable, format!("the call to Qdrant at {address} was broken off")),
        Status::Internal | Status::Unknown | Status::Aborted | Status::DataLoss => failed("failed"),
        Status::ResourceExhausted => failed("has no room for more"),
        Status::FailedPrecondition => failed("is not ready for this"),
        Status::Unauthenticated => (
            Code::IndexUnavailable,
            format!("Qdrant at {address} does not accept the API key: set QDRANT_API_KEY to one that it knows"),
        ),
        Status::PermissionDenied => (
            Code::IndexUnavailable,
            format!(
                "Qdrant at {address} does not let this API key do this: ragq needs one that may read, write and \
                 create the collection `{collection}`"
            ),
        ),
        Status::NotFound => failed("lost something that was there a moment ago"),
        Status::Unimplemented => failed("does not know a call that ragq makes; ragq needs Qdrant 1.16 or later"),
        Status::InvalidArgument if is_of_vectors(&said) => (
            Code::IndexMismatch,
            format!("Qdrant does not take this vector, the collection `{collection}` is made for others: {said}"),
        ),
        Status::InvalidArgument | Status::AlreadyExists | Status::OutOfRange | Status::Ok => {
            (Code::Unknown, format!("Qdrant refused a call: {said}"))
        }
    }
}

/// Whether a refusal is about a vector's length or name: the collection was changed meanwhile.
fn is_of_vectors(said: &str) -> bool {
    said.contains("dimension error") || said.contains("vector name")
}

fn unreachable(address: &str) -> String {
    format!("Qdrant at {address} can't be reached")
}

fn one_line(said: &str) -> String {
    said.lines().next().unwrap_or_default().chars().take(SHOWN).collect()
}

/// The status that the server, or the transport in its stead, answered with.
pub(super) fn status(error: &QdrantError) -> Option<Status> {
    match error {
        QdrantError::ResponseError { status } => Some(status.code()),
        QdrantError::ResourceExhaustedError { .. } => Some(Status::ResourceExhausted),
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_) => None,
    }
}

/// Whether the same call may well succeed a moment later: the connection broke, or the server is starting.
pub(super) fn may_pass(error: &QdrantError) -> bool {
    match status(error) {
        Some(Status::Unavailable | Status::Internal | Status::Unknown | Status::Cancelled | Status::Aborted) => true,
        Some(_) => false,
        None => matches!(error, QdrantError::Io(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: Status, said: &str) -> QdrantError {
        tonic::Status::new(status, said).into()
    }

    #[test]
    fn every_status_becomes_a_failure_that_says_what_to_do() {
        let table = [
            (Status::Unavailable, "tcp connect error", Code::IndexUnavailable, "can't be reached"),
            (Status::Internal, "Failed to connect to http://q:6334/", Code::IndexUnavailable, "can't be reached"),
            (Status::Internal, "disk full", Code::IndexUnavailable, "failed: disk full"),
            (Status::Unknown, "transport error", Code::IndexUnavailable, "failed: transport error"),
            (Status::Aborted, "shard moved", Code::IndexUnavailable, "failed: shard moved"),
            (Status::DataLoss, "gone", Code::IndexUnavailable, "failed: gone"),
            (Status::Cancelled, "Timeout expired", Code::IndexUnavailable, "broken off"),
            (Status::DeadlineExceeded, "slow", Code::IndexUnavailable, "in time"),
            (Status::ResourceExhausted, "busy", Code::IndexUnavailable, "no room"),
            (Status::FailedPrecondition, "no shard", Code::IndexUnavailable, "not ready"),
            (Status::Unauthenticated, "Must provide a key", Code::IndexUnavailable, "QDRANT_API_KEY"),
            (Status::PermissionDenied, "read only", Code::IndexUnavailable, "`docs`"),
            (Status::NotFound, "no collection", Code::IndexUnavailable, "lost"),
            (Status::Unimplemented, "unknown", Code::IndexUnavailable, "1.16"),
            (
                Status::InvalidArgument,
                "Wrong input: Vector dimension error: expected dim: 2, got 3",
                Code::IndexMismatch,
                "expected dim: 2, got 3",
            ),
            (Status::InvalidArgument, "Not existing vector name error: m", Code::IndexMismatch, "`docs`"),
            (Status::InvalidArgument, "bad filter", Code::Unknown, "bad filter"),
            (Status::AlreadyExists, "there", Code::Unknown, "there"),
            (Status::OutOfRange, "far", Code::Unknown, "far"),
            (Status::Ok, "", Code::Unknown, "refused"),
        ];
        for (status, said, code, part) in table {
            let failure = classify(refused(status, said), "q:6334", "docs");
            assert_eq!(failure.code, code, "{status:?} {said}");
            assert!(failure.message.contains(part), "{status:?}: {failure}");
        }
    }

    #[test]
    fn only_what_may_pass_by_itself_is_tried_again() {
        let passing =
            [Status::Unavailable, Status::Internal, Status::Unknown, Status::Cancelled, Status::Aborted].map(Some);
        for code in (0..=16).map(Status::from) {
            assert_eq!(may_pass(&refused(code, "")), passing.contains(&Some(code)), "{code:?}");
        }
        assert!(may_pass(&QdrantError::Io(std::io::Error::other("reset"))));
        assert!(!may_pass(&QdrantError::ConversionError(String::new())));
    }

    #[test]
    fn a_wait_that_the_server_asks_for_is_passed_on() {
        let mut status = tonic::Status::resource_exhausted("slow down");
        status.metadata_mut().insert("retry-after", 7.into());
        let failure = classify(status.into(), "q:6334", "docs");
        assert_eq!((failure.code, failure.retry_after), (Code::IndexUnavailable, Some(Duration::from_secs(7))));
    }

    #[test]
    fn a_long_message_is_cut_to_one_short_line() {
        let failure = classify(refused(Status::Internal, &format!("{}\nsecond", "x".repeat(900))), "q:6334", "docs");
        assert!(failure.message.len() < 300 && !failure.message.contains("second"), "{failure}");
    }
}
