//! The queue's server stalled, cut off, killed and filled up under load.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use reqwest::StatusCode;
use serde_json::Value;

use super::{
    deployment::{ANSWER, Deployment, LEASE, Plan, question, sum},
    report, size,
};
use crate::support::{
    eventually,
    provider::{Gate, Reply},
    redis::{Server, say},
};

/// An answer that takes its time, so that a fault meets many in the middle.
fn streamed() -> Reply {
    Reply::text(ANSWER).pieces(8).drip(Duration::from_millis(100))
}

/// A field of what the server says about itself.
async fn info(client: &mut MultiplexedConnection, section: &str, field: &str) -> u64 {
    let text: String = say(client, &format!("INFO {section}")).await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().parse().unwrap()
}

/// Two APIs and two workers with work for a while.
async fn loaded(server: Server, settings: &[(&str, &str)]) -> Deployment {
    let plan = Plan { apis: 2, workers: 2, settings, reply: streamed(), ..Plan::default() };
    Deployment::start(server, plan).await
}

/// Asks `jobs` questions while `fault` happens in the midst of it, and waits for all answers: nothing of it was done
/// twice, and no lease of the living was taken.
async fn unharmed_by(deployment: &mut Deployment, jobs: usize, fault: impl AsyncFnOnce(&mut Server)) {
    let callers = deployment.callers.clone();
    let (provider, server) = (&deployment.provider, &mut deployment.redis);
    let fault = async {
        provider.until("the first answers", |counts| counts.calls > jobs / 10).await;
        fault(server).await;
    };
    let (chats, ()) = tokio::join!(callers.ask((0..jobs).map(question)), fault);
    let views = deployment.callers.all_ended(&chats).await;
    for view in &views {
        assert_eq!((&view["status"], &view["attempt"]), (&"completed".into(), &1.into()), "{view}");
    }
    assert_eq!(sum(&views, "lost_leases"), 0, "a living worker's job was taken back");
    assert_eq!(deployment.duplicate_calls(), 0, "the provider was asked twice");
    assert_eq!(deployment.calls().len(), jobs);
}

#[tokio::test]
async fn a_stall_of_the_server_costs_no_lease_and_no_second_call() {
    let stall = size(LEASE + Duration::from_millis(500), Duration::from_secs(10));
    let jobs = size(300, 2_000);
    let mut deployment = loaded(Server::start(&[]).await, &[]).await;
    unharmed_by(&mut deployment, jobs, async |server| {
        server.stop_signal();
        // The fault itself.
        tokio::time::sleep(stall).await;
        server.cont_signal();
    })
    .await;
    let refused = deployment.callers.refused();
    deployment.finish().await;
    let seconds = stall.as_secs_f32();
    report(
        "Redis stalled",
        &format!("{seconds} s, {jobs} jobs, duplicate calls 0, leases lost 0, requests repeated {refused}"),
    );
}

#[tokio::test]
async fn connections_killed_again_and_again_are_opened_again() {
    let (jobs, rounds) = size((300, 10), (2_000, 100));
    let mut deployment = loaded(Server::start(&[]).await, &[]).await;
    let mut client = deployment.redis.client().await;
    let mut before = 0;
    unharmed_by(&mut deployment, jobs, async |_| {
        before = info(&mut client, "stats", "total_connections_received").await;
        for round in 0..rounds {
            let _killed: u64 = say(&mut client, "CLIENT KILL TYPE normal SKIPME yes").await.unwrap();
            let _killed: u64 = say(&mut client, "CLIENT KILL TYPE pubsub").await.unwrap();
            let wanted = before + 3 * (round + 1);
            eventually(async || {
                let opened = info(&mut client, "stats", "total_connections_received").await;
                (opened >= wanted).then_some(())
            })
            .await;
        }
    })
    .await;
    let reconnects = info(&mut client, "stats", "total_connections_received").await - before;
    drop(client);
    deployment.finish().await;
    report("Redis connections killed", &format!("{rounds} times, reconnects {reconnects}, duplicate calls 0"));
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_with_every_job_it_acknowledged() {
    let (jobs, kills) = size((300, 2), (2_000, 10));
    // What is acknowledged is on the disk, so that nothing at all may be missing.
    let mut deployment = loaded(Server::start(&[("appendfsync", "always")]).await, &[]).await;
    unharmed_by(&mut deployment, jobs, async |server| {
        for _ in 0..kills {
            let at = size(1, 10);
            server.kill9().await;
            // Away for a moment, as a restarting machine is.
            tokio::time::sleep(Duration::from_millis(30 * at)).await;
            server.restart().await;
            let mut client = server.client().await;
            let served = info(&mut client, "stats", "total_commands_processed").await + 100;
            eventually(async || {
                let now = info(&mut client, "stats", "total_commands_processed").await;
                (now > served).then_some(())
            })
            .await;
        }
    })
    .await;
    // `finish` looks every accepted job up.
    let accepted = deployment.finish().await.len();
    report("Redis kill -9, restarted", &format!("{kills} times, accepted {accepted}, lost 0, duplicate calls 0"));
}

#[tokio::test]
async fn a_server_out_of_memory_refuses_submits_while_what_runs_is_finished() {
    let jobs = size(100, 2_000);
    let gate = Gate::new();
    let reply = Reply::text(ANSWER).held_after_first_by(&gate);
    let plan = Plan { workers: 2, reply, ..Plan::default() };
    let deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let accepted = deployment.callers.ask((0..jobs).map(question)).await;
    deployment.provider.until("both workers at work", |counts| counts.in_flight >= jobs.min(128)).await;
    let mut client = deployment.redis.client().await;
    let () = say(&mut client, "CONFIG SET maxmemory 1mb").await.unwrap();

    let refusals = size(5, 500);
    for number in 0..refusals {
        let url = format!("{}/chat", deployment.callers.url());
        let response = deployment.callers.http.post(url).json(&question(jobs + number)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let seconds = response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
        let problem: Value = response.json().await.unwrap();
        assert!(seconds >= 1 && problem["code"] == "queue_full", "{problem}");
    }
    gate.open();
    let views = deployment.callers.all_ended(&accepted).await;
    let finished = views.iter().filter(|view| view["status"] == "completed").count();
    assert_eq!(finished, jobs, "what was accepted before is finished, also what still waited");
    assert_eq!((sum(&views, "deliveries"), deployment.duplicate_calls()), (jobs as u64, 0));

    let () = say(&mut client, "CONFIG SET maxmemory 0").await.unwrap();
    deployment.callers.ask([question(jobs + refusals)]).await;
    drop(client);
    deployment.finish().await;
    report("Redis out of memory", &format!("refused {refusals}, finished {finished}"));
}
