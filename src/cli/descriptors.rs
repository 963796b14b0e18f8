//! Open files: raised as far as the system allows, because a process of many slots needs one for each call.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::settings::Worker;

/// For the stores, the runtime, and the connections of a few hundred callers.
const BESIDE: u64 = 512;

/// Open files of one parser: its pipes and what watches over its end.
const PARSER: u64 = 4;

/// Raises this process' limit of open files; says what may go wrong if it still is too low for its slots.
pub(super) fn raise(worker: &Worker) -> Option<String> {
    lift();
    warning(getrlimit(Resource::Nofile).current, worker)
}

/// Raises the limit as far as it goes.
pub(super) fn lift() {
    let before = getrlimit(Resource::Nofile);
    // None is no limit. Some systems refuse the highest value they name: then the limit stays as it is.
    if before.current.is_some() && before.current != before.maximum {
        let highest = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, highest) {
            tracing::debug!(%error, "the limit of open files could not be raised");
        }
    }
}

fn warning(limit: Option<u64>, worker: &Worker) -> Option<String> {
    let parsers = u64::from(worker.ingest_slots) * PARSER;
    let wanted = u64::from(worker.chat_slots) + parsers + BESIDE;
    limit.filter(|limit| *limit < wanted).map(|limit| {
        format!(
            "{limit} open files are allowed, {} slots for questions need about {wanted}: raise the limit \
             (`ulimit -n {wanted}`, or `LimitNOFILE=` of a systemd unit), or lower RAGQ_WORKER__CHAT_SLOTS",
            worker.chat_slots
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_slots_than_open_files_are_warned_of() {
        let worker = Worker { chat_slots: 5_000, ingest_slots: 2, ..Worker::default() };
        let said = warning(Some(1_024), &worker).unwrap();
        assert!(said.contains("1024") && said.contains("5520") && said.contains("RAGQ_WORKER__CHAT_SLOTS"), "{said}");
        assert_eq!(warning(Some(5_520), &worker), None);
        assert_eq!(warning(None, &worker), None);
    }
}
