//! The queue's server replaced by its replica, in good order and after a crash. The deployment reaches it at one
//! address, as behind a service name that follows the primary: a proxy that is turned to the new one.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use reqwest::StatusCode;
use serde_json::Value;

use super::{
    deployment::{ANSWER, Deployment, Plan, question, sum},
    report, size,
};
use crate::support::{
    eventually,
    provider::Reply,
    proxy::Proxy,
    redis::{Server, say},
};

/// Whether a server says this of its replication.
async fn until_replication(client: &mut MultiplexedConnection, words: &str) {
    eventually(async || {
        let info: String = say(client, "INFO replication").await.unwrap();
        info.contains(words).then_some(())
    })
    .await;
}

/// A primary with a replica that has all it has, and the address by which the primary is reached.
async fn pair() -> (Server, Server, Proxy) {
    let primary = Server::start(&[]).await;
    let replica = Server::start(&[("replicaof", &format!("127.0.0.1 {}", primary.port()))]).await;
    until_replication(&mut primary.client().await, "state=online").await;
    let proxy = Proxy::start(primary.port()).await;
    (primary, replica, proxy)
}

fn streamed() -> Reply {
    Reply::text(ANSWER).pieces(6).drip(Duration::from_millis(80))
}

#[tokio::test]
async fn an_orderly_failover_loses_nothing() {
    let (jobs, turns) = size((200, 1), (2_000, 6));
    let (primary, replica, proxy) = pair().await;
    let plan = Plan { apis: 2, workers: 2, redis_url: Some(proxy.url()), reply: streamed(), ..Plan::default() };
    // The one that is the primary in the end is the one that `finish` looks into.
    let (kept, ended) = if turns % 2 == 1 { (replica, primary) } else { (primary, replica) };
    let deployment = Deployment::start(kept, plan).await;
    let mut servers = [&ended, &deployment.redis];
    if turns % 2 == 0 {
        servers.reverse();
    }
    let failing_over = async {
        for turn in 0..turns {
            let [from, to] = [servers[turn % 2], servers[(turn + 1) % 2]];
            let seen = deployment.provider.counts().calls;
            deployment.provider.until("more work", |counts| counts.calls > seen + jobs / 10).await;
            let (mut old, mut new) = (from.client().await, to.client().await);
            let () = say(&mut old, &format!("FAILOVER TO 127.0.0.1 {}", to.port())).await.unwrap();
            until_replication(&mut new, "role:master").await;
            // Connections that stand still lead to the old one, which says that it is a replica now.
            proxy.lead_to(to.port());
            until_replication(&mut new, "state=online").await;
        }
    };
    let (chats, ()) = tokio::join!(deployment.callers.ask((0..jobs).map(question)), failing_over);
    let views = deployment.callers.all_ended(&chats).await;
    assert!(views.iter().all(|view| view["status"] == "completed" && view["attempt"] == 1));
    assert_eq!((sum(&views, "lost_leases"), deployment.duplicate_calls()), (0, 0));
    deployment.finish().await;
    report("FAILOVER to a replica", &format!("{turns} times, jobs {jobs}, lost 0, duplicate calls 0"));
}

/// Submits once, to one API; the job, if it was accepted.
async fn submit_once(deployment: &Deployment, key: &str, number: usize) -> Option<String> {
    let url = format!("{}/chat", deployment.callers.url());
    let request = deployment.callers.http.post(url).header("idempotency-key", key).json(&question(number));
    let response = request.send().await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    match status {
        StatusCode::ACCEPTED => Some(answer["job_id"].as_str().unwrap().to_owned()),
        StatusCode::SERVICE_UNAVAILABLE => None,
        other => panic!("{other}: {answer}"),
    }
}

/// What became of submits around the death of the primary.
struct Aftermath {
    /// Accepted while the replica was cut off.
    accepted: usize,
    /// Of all that were accepted, those that nobody knows any more.
    lost: Vec<String>,
    /// Those accepted while the replica was cut off.
    late: Vec<String>,
}

/// Has jobs done, cuts the replica off, submits more, kills the primary and puts the replica in its place; then sends
/// once more what was refused.
async fn primary_dies(settings: &[(&str, &str)]) -> Aftermath {
    let (before, after) = size((40, 10), (1_000, 500));
    let (mut primary, replica, proxy) = pair().await;
    let plan = Plan { apis: 2, settings, redis_url: Some(proxy.url()), reply: streamed(), ..Plan::default() };
    let deployment = Deployment::start(replica, plan).await;
    let mut accepted = deployment.callers.ask((0..before).map(question)).await;
    deployment.callers.all_ended(&accepted).await;
    // The replica has all of that before it is cut off.
    let _replicas: u64 = say(&mut primary.client().await, "WAIT 1 60000").await.unwrap();
    let mut client = deployment.redis.client().await;
    let () = say(&mut client, "REPLICAOF 127.0.0.1 1").await.unwrap();
    until_replication(&mut primary.client().await, "connected_slaves:0").await;

    let submits = (0..after).map(async |number| {
        let key = format!("late-{number}");
        (number, submit_once(&deployment, &key, before + number).await)
    });
    let submits = futures::future::join_all(submits).await;
    let late: Vec<String> = submits.iter().filter_map(|(_, job)| job.clone()).collect();
    accepted.extend(late.clone());
    primary.kill9().await;
    let () = say(&mut client, "REPLICAOF NO ONE").await.unwrap();
    proxy.lead_to(deployment.redis.port());
    // The operator gives the new primary a replica of its own.
    let _spare = Server::start(&[("replicaof", &format!("127.0.0.1 {}", deployment.redis.port()))]).await;
    until_replication(&mut client, "state=online").await;

    let again = (0..after).map(async |number| {
        eventually(async || submit_once(&deployment, &format!("late-{number}"), before + number).await).await
    });
    let again = futures::future::join_all(again).await;
    deployment.callers.all_ended(&again).await;
    let mut lost = Vec::new();
    for job in &accepted {
        let (status, answer) =
            deployment.callers.send(|url| deployment.callers.http.get(format!("{url}/job-status?job_id={job}"))).await;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => lost.push(job.clone()),
            other => panic!("{other}: {answer}"),
        }
    }
    // What there is now is known by these jobs.
    deployment.callers.adopt(again);
    deployment.finish().await;
    Aftermath { accepted: late.len(), lost, late }
}

#[tokio::test]
async fn a_primary_that_dies_takes_along_only_what_its_replica_lacked() {
    let aftermath = primary_dies(&[]).await;
    assert!(aftermath.accepted > 0);
    let mut lost = aftermath.lost.clone();
    let mut late = aftermath.late.clone();
    lost.sort();
    late.sort();
    assert_eq!(lost, late, "lost is exactly what was accepted while the replica was cut off");
    report(
        "kill -9 of the primary",
        &format!("accepted with the replica cut off {}, lost {}", aftermath.accepted, lost.len()),
    );
}

#[tokio::test]
async fn with_a_replica_asked_for_nothing_accepted_is_lost_with_the_primary() {
    let settings = [("RAGQ_QUEUE__MIN_REPLICAS", "1")];
    let aftermath = primary_dies(&settings).await;
    assert_eq!((aftermath.accepted, aftermath.lost.len()), (0, 0), "without its replica nothing is accepted");
    report("kill -9 of the primary, MIN_REPLICAS=1", "accepted with the replica cut off 0, lost 0");
}
