//! A deployment whose provider is the simulated one, and waiting for longer than a test usually does.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    faults::deployment::{Deployment, Plan},
    support::{redis::Server, sim::Sim},
};

/// A simulated provider and the deployment that calls it.
pub struct Scene {
    /// The provider.
    pub sim: Sim,
    /// The deployment; the scripted provider in it is not called.
    pub deployment: Deployment,
}

impl Scene {
    /// Starts both: so many workers, with these settings.
    pub async fn start(sim: &[&str], workers: usize, settings: &[(&str, &str)]) -> Self {
        let sim = Sim::start(sim).await;
        let settings = [&[("OPENAI_BASE_URL", sim.base_url.as_str())], settings].concat();
        let plan = Plan { workers, settings: &settings, ..Plan::default() };
        let deployment = Deployment::start(Server::start(&[]).await, plan).await;
        Self { sim, deployment }
    }

    /// What the provider counted, once `is` holds.
    pub async fn counted(&self, patience: Duration, is: impl Fn(&Value) -> bool) -> Value {
        within(patience, async || Some(self.sim.stats().await).filter(|stats| is(stats))).await
    }
}

/// Asks `probe` again and again until it gives something, for so long at most.
pub async fn within<T>(patience: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(patience, asking).await.unwrap_or_else(|_| panic!("it happens within {patience:?}"))
}

/// When something was over that is timed from now on.
pub async fn timed<T>(of: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (of.await, begun.elapsed())
}
