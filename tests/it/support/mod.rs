//! What tests share: apps, processes, the scripted and the simulated provider, Redis servers and a proxy before them,
//! a small Qdrant, a collector of traces, a terminal, waiting for conditions.

pub mod app;
pub mod collector;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod qdrant;
pub mod redis;
pub mod sim;
pub mod terminal;

use std::time::Duration;

/// Asks `probe` again and again until it gives something; fails after a minute.
pub async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asking).await.expect("it happens within a minute")
}
