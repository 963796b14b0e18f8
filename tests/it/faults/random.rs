//! Random faults, one after the other, under jobs of every outcome; what callers saw is judged as a history.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::future::join_all;
use rand::{RngExt as _, seq::IndexedRandom as _};
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    callers::Callers,
    deployment::{ANSWER, Deployment, Plan, number_in, question},
    history::History,
    report, size,
};
use crate::support::{
    eventually,
    provider::{Call, Reply},
    redis::{Server, say},
};

/// How many submit at a time.
const CLIENTS: usize = 20;

/// What each job is to come to, by its number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Answered.
    Plain,
    /// Answered, though the provider fails often.
    Flaky,
    /// The provider never takes it.
    Refused,
    /// Cancelled by its caller, if that is quick enough.
    Cancelled,
    /// Its deadline is short.
    Hurried,
    /// Answered after a while.
    Slow,
}

fn course(number: usize) -> Course {
    match number % 20 {
        0 | 1 => Course::Flaky,
        2 => Course::Refused,
        3 | 4 => Course::Cancelled,
        5 => Course::Hurried,
        6 => Course::Slow,
        _ => Course::Plain,
    }
}

fn reply(call: &Call) -> Reply {
    let quick = || Reply::text(ANSWER).pieces(3).drip(Duration::from_millis(5));
    let flaky = || match rand::rng().random_range(0..4) {
        0 => Reply::error(500, "server_error", "try again"),
        1 => Reply::text(ANSWER).cut_after(1),
        _ => quick(),
    };
    match course(number_in(&call.body)) {
        Course::Plain | Course::Cancelled => quick(),
        Course::Flaky => flaky(),
        Course::Refused => Reply::error(400, "invalid_request_error", "never"),
        Course::Hurried => quick().wait(Duration::from_millis(rand::rng().random_range(0..400))),
        Course::Slow => quick().wait(Duration::from_secs(1)),
    }
}

fn request(number: usize) -> Value {
    let mut request = question(number);
    match course(number) {
        Course::Flaky => request["max_attempts"] = 50.into(),
        Course::Hurried => request["deadline_ms"] = 300.into(),
        Course::Plain | Course::Refused | Course::Cancelled | Course::Slow => {}
    }
    request
}

/// Submits jobs until there are enough, and cancels at once what is to be cancelled.
async fn submit(callers: &Callers, next: &AtomicUsize, jobs: usize) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= jobs {
            return;
        }
        let job = callers.submit("/chat", request(number)).await;
        if course(number) == Course::Cancelled {
            callers.cancel(&job).await;
        }
    }
}

/// Looks at jobs, one after the other, until stopped: mostly at the latest, which still change.
async fn look(callers: &Callers, stop: &CancellationToken) -> History {
    let mut history = History::default();
    while !stop.is_cancelled() {
        let jobs = callers.submitted();
        let latest = &jobs[jobs.len().saturating_sub(300)..];
        let from = if rand::rng().random_bool(0.8) { latest } else { &jobs };
        if let Some(job) = from.choose(&mut rand::rng()) {
            history.saw(callers.view(job, 0).await);
        }
        tokio::task::yield_now().await;
    }
    history
}

/// One fault; its name.
async fn strike(deployment: &mut Deployment, client: &mut MultiplexedConnection) -> &'static str {
    let moment = Duration::from_millis(rand::rng().random_range(50..400));
    let some = rand::rng().random_range(0..deployment.workers.len());
    match rand::rng().random_range(0..8) {
        0 => {
            deployment.workers.remove(some).kill().await;
            deployment.start_worker().await;
            "worker killed"
        }
        1 => {
            deployment.stop_worker(some).await;
            deployment.start_worker().await;
            "worker stopped"
        }
        2 => {
            deployment.workers[some].signal("STOP");
            // As long as it takes for its lease to end, and for others to take over what it held.
            let name = deployment.workers[some].name.clone();
            eventually(async || (!deployment.held().await.contains_key(&name)).then_some(())).await;
            deployment.workers[some].signal("CONT");
            "worker frozen"
        }
        3 => {
            deployment.redis.stop_signal();
            tokio::time::sleep(moment * 4).await;
            deployment.redis.cont_signal();
            "Redis stalled"
        }
        4 => {
            deployment.redis.kill9().await;
            tokio::time::sleep(moment).await;
            deployment.redis.restart().await;
            *client = deployment.redis.client().await;
            "Redis killed"
        }
        5 => {
            deployment.kill_api(0).await;
            deployment.start_api().await;
            "API killed"
        }
        _ => {
            for kind in ["normal", "pubsub"] {
                let _killed: u64 = say(client, &format!("CLIENT KILL TYPE {kind} SKIPME yes")).await.unwrap();
            }
            "connections killed"
        }
    }
}

#[tokio::test]
async fn whatever_happens_every_accepted_job_ends_once_and_no_caller_sees_the_impossible() {
    let jobs = size(1_000, 100_000);
    // A job that happens to run under many faults is not poison here.
    let settings = [("RAGQ_QUEUE__MAX_LOST_LEASES", "100"), ("RAGQ_WORKER__GRACE_MS", "500")];
    let plan = Plan { apis: 2, workers: 3, settings: &settings, ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[("appendfsync", "always")]).await, plan).await;
    deployment.provider.choose(|call| Some(reply(call)));
    let (callers, done) = (deployment.callers.clone(), CancellationToken::new());
    let next = AtomicUsize::new(0);
    let submitting = async {
        join_all((0..CLIENTS).map(|_| submit(&callers, &next, jobs))).await;
        done.cancel();
    };
    let looking = join_all((0..4).map(|_| look(&callers, &done)));
    let mut faults: HashMap<&str, usize> = HashMap::new();
    let mut client = deployment.redis.client().await;
    let striking = async {
        // Also when the jobs are submitted quickly some faults come.
        while !done.is_cancelled() || faults.values().sum::<usize>() < 6 {
            *faults.entry(strike(&mut deployment, &mut client).await).or_default() += 1;
            let seen = deployment.provider.counts().calls;
            let more = eventually(async || {
                (done.is_cancelled() || deployment.provider.counts().calls > seen + 50).then_some(())
            });
            more.await;
        }
    };
    let ((), mut histories, ()) = tokio::join!(submitting, looking, striking);
    drop(client);
    let views = deployment.finish().await;
    let count = |status: &str| views.iter().filter(|view| view["status"] == status).count();
    let (completed, dead, cancelled) = (count("completed"), count("dead"), count("cancelled"));
    assert!(completed > 0 && dead > 0 && cancelled > 0, "completed {completed}, dead {dead}, cancelled {cancelled}");
    // The last state of each is the end of every caller's history.
    let (mut looks, mut violations) = (0, Vec::new());
    for history in &mut histories {
        looks += history.looks;
        for view in &views {
            history.saw(view.clone());
        }
        violations.append(&mut history.violations);
    }
    assert!(violations.is_empty(), "{} violations, such as {}", violations.len(), violations[0]);
    report(
        "random faults",
        &format!(
            "jobs {} (completed {completed}, dead {dead}, cancelled {cancelled}), faults {faults:?}, looks {looks}, \
             violations 0",
            views.len()
        ),
    );
}
