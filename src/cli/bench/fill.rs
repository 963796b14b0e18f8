//! Fills a queue with jobs as `POST /chat` makes them.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::figures::Latencies;
use crate::{
    cli::terminal::Terminal,
    domain::{
        clock::{Clock as _, SystemClock},
        ids::{JobId, Tenant},
        job::{Kind, NewJob, Priority, Submitted},
        origin::Origin,
    },
    queue::SharedJobStore,
};

/// Jobs between two words on the progress.
const TELL: usize = 100_000;

/// Submits so many jobs, so many at a time; their ids.
pub(super) async fn fill(
    store: &SharedJobStore,
    count: u64,
    bytes: u32,
    submitters: u32,
    latencies: &mut Latencies,
    terminal: Terminal,
) -> anyhow::Result<Vec<JobId>> {
    let query = question(bytes);
    let submits = futures::stream::iter(0..count).map(|_| {
        let job = job(&query);
        async move {
            let (id, begun) = (job.id, Instant::now());
            match store.submit(job).await? {
                Submitted::Accepted(_) => Ok((id, begun.elapsed())),
                refused => anyhow::bail!("a job was not accepted: {refused:?}"),
            }
        }
    });
    let mut submits = submits.buffer_unordered(submitters as usize);
    let mut ids = Vec::with_capacity(count as usize);
    while let Some((id, latency)) = submits.try_next().await? {
        latencies.record(latency);
        ids.push(id);
        if ids.len() % TELL == 0 {
            terminal.say(&format!("{} of {count} jobs submitted", ids.len()));
        }
    }
    Ok(ids)
}

/// A question of so many bytes.
pub(super) fn question(bytes: u32) -> String {
    "Why is the sky blue? ".chars().cycle().take(bytes as usize).collect()
}

/// A job as the API makes it of a question.
pub(super) fn job(query: &str) -> NewJob {
    NewJob {
        id: JobId::new(SystemClock.now().0),
        tenant: Tenant::default(),
        kind: Kind::Chat,
        priority: Priority::Normal,
        payload: json!({ "kind": Kind::Chat, "query": query }),
        max_attempts: 5,
        deadline: None,
        delay: None,
        idempotency: None,
        conversation_id: None,
        document: None,
        origin: Origin::default(),
    }
}
