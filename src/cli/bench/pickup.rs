//! How soon an idle worker picks a job up, beside the quickest way there is between two processes over the same
//! Redis; and what that worker asks of Redis while it has nothing to do.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::{
    crew::Crew,
    figures::{Latencies, LatencySummary, ratio},
    fill::{job, question},
    redis::{Idle, Server},
    usage::monotonic,
    worker::Said,
};
use crate::{config::Settings, domain::job::Submitted, queue::SharedJobStore};

/// Time for the worker to become idle again after a job.
const REST: Duration = Duration::from_millis(20);

/// What came of it, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pickup {
    /// From the submit's return to the handler's start; 0 if the handler was first.
    from_submitted_ms: LatencySummary,
    /// From the submit's call to the handler's start.
    from_call_ms: LatencySummary,
    /// From the push's call to the other's pop.
    ping_ms: LatencySummary,
    ratio_p50: Option<f64>,
    ratio_p99: Option<f64>,
    ratio_from_call_p50: Option<f64>,
    ratio_from_call_p99: Option<f64>,
    idle: Idle,
}

/// So many jobs, one by one, each after a ping; then a time of idling.
pub(super) async fn measure(
    settings: &Settings,
    store: &SharedJobStore,
    server: &mut Server,
    (count, bytes, idle): (u64, u32, Duration),
) -> anyhow::Result<Pickup> {
    let list = format!("{}:ping", settings.queue.name);
    let query = question(bytes);
    let mut worker = Crew::start(settings, 1, &["--slots=64".to_owned(), "--stamps".to_owned()]).await?;
    let mut pinged = Crew::start(settings, 1, &["--slots=1".to_owned(), format!("--ping={list}")]).await?;
    worker.begin().await?;
    pinged.begin().await?;
    let (mut pings, mut from_call, mut from_submitted) = (Latencies::new()?, Latencies::new()?, Latencies::new()?);
    for _ in 0..count {
        sleep(REST).await;
        let called = monotonic();
        server.push(&list).await?;
        pings.record(started(&mut pinged).await?.saturating_sub(called));
        sleep(REST).await;
        let job = job(&query);
        let called = monotonic();
        let submitted = store.submit(job).await?;
        let returned = monotonic();
        anyhow::ensure!(matches!(submitted, Submitted::Accepted(_)), "a job was not accepted: {submitted:?}");
        let started = started(&mut worker).await?;
        from_call.record(started.saturating_sub(called));
        from_submitted.record(started.saturating_sub(returned));
    }
    pinged.end().await?;
    sleep(REST).await;
    let before = server.read().await?;
    sleep(idle).await;
    let idle = server.read().await?.commands_since(&before);
    worker.end().await?;
    let (from_submitted, from_call, ping) = (from_submitted.summary(), from_call.summary(), pings.summary());
    Ok(Pickup {
        from_submitted_ms: from_submitted,
        from_call_ms: from_call,
        ping_ms: ping,
        ratio_p50: ratio(from_submitted.p50, ping.p50),
        ratio_p99: ratio(from_submitted.p99, ping.p99),
        ratio_from_call_p50: ratio(from_call.p50, ping.p50),
        ratio_from_call_p99: ratio(from_call.p99, ping.p99),
        idle,
    })
}

async fn started(crew: &mut Crew) -> anyhow::Result<Duration> {
    match crew.next().await? {
        Some((_, Said::Started(at))) => Ok(at),
        Some((_, said)) => anyhow::bail!("a worker process said {said:?}"),
        None => anyhow::bail!("nothing was picked up"),
    }
}
