//! A deployment whose provider is the simulated one, and waiting for longer than a test usually does.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    faults::{
        deployment::{Deployment, Plan},
        size,
    },
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

    /// What an API says at this path.
    pub async fn get(&self, path: &str) -> Value {
        let callers = &self.deployment.callers;
        let answer = callers.http.get(format!("{}{path}", callers.url())).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// What the provider counted, once `is` holds.
    pub async fn counted(&self, patience: Duration, is: impl Fn(&Value) -> bool) -> Value {
        within(patience, async || Some(self.sim.stats().await).filter(|stats| is(stats))).await
    }
    /// The jobs once all of them are answered, which takes as long as the provider lets it take.
    pub async fn answered(&self, jobs: &[String]) -> Vec<Value> {
        let patience = size(Duration::from_mins(1), Duration::from_mins(15));
        self.counted(patience, |stats| stats["statuses"]["200"].as_u64() >= Some(jobs.len() as u64)).await;
        let views = self.deployment.callers.all_ended(jobs).await;
        for view in &views {
            assert_eq!(view["status"], "completed", "{view}");
        }
        views
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
