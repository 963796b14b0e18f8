//! What the job store last said of the deployment: looked up when it is needed, and not more often than it may be old.
//! However many ask at the same time, the job store is asked once.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::queue::{JobStore, QueueStats};

/// How long the job store may take; Prometheus gives up a scrape after 10 s.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What was found, and when; held while somebody looks, so that the others wait for what it finds.
#[derive(Debug, Default)]
pub struct LastLook(Mutex<Option<(Instant, Option<Arc<QueueStats>>)>>);

impl LastLook {
    /// The queue in figures that are at most `age` old; none if the store does not answer.
    pub async fn stats(&self, store: &dyn JobStore, age: Duration) -> Option<Arc<QueueStats>> {
        let mut last = self.0.lock().await;
        if let Some((at, stats)) = last.as_ref()
            && at.elapsed() < age
        {
            return stats.clone();
        }
        let stats = timeout(STORE_ANSWERS_WITHIN, store.stats()).await.ok().and_then(Result::ok).map(Arc::new);
        *last = Some((Instant::now(), stats.clone()));
        stats
    }
}
