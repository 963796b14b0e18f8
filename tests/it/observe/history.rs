//! The last hour, as every process of a deployment counts its part of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    faults::deployment::{Deployment, Plan, question},
    support::{eventually, provider::Reply, redis::Server},
};

#[tokio::test]
async fn the_history_adds_up_what_all_processes_did_and_says_what_waits_of_each_kind() {
    // A retry that is not due before the test is over, wherever in its span it falls; and no answer of Redis that is given
    // up on a busy machine: what may not have been told is told again.
    let settings = [
        ("RAGQ_QUEUE__BACKOFF_BASE_MS", "86400000"),
        ("RAGQ_QUEUE__BACKOFF_CAP_MS", "86400000"),
        ("RAGQ_REDIS__RESPONSE_TIMEOUT_MS", "20000"),
        ("RAGQ_QUEUE__LEASE_MS", "30000"),
    ];
    let plan = Plan { apis: 2, workers: 2, settings: &settings, ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let callers = deployment.callers.clone();
    for job in callers.ask((0..8).map(question)).await {
        callers.ended(&job).await;
    }
    let nowhere = json!({ "query": "Question 8: where?", "collection": "nowhere" });
    let dead = callers.submit("/chat", nowhere).await;
    callers.ended(&dead).await;
    // One waits for its next attempt.
    deployment.provider.then(vec![Reply::status(500)]);
    let waiting = callers.ask([question(9)]).await.remove(0);
    eventually(async || (callers.view(&waiting, 0).await["status"] == "scheduled").then_some(())).await;
    // What a process has not told yet it tells when it leaves.
    deployment.stop_worker(0).await;
    // The questions, one that died, one that waits; and the document of every deployment.
    let expected = json!({
        "all": { "submitted": 11, "completed": 9, "dead": 1, "retried": 1 },
        "chat": { "submitted": 10, "completed": 8, "dead": 1, "retried": 1 },
        "ingest": { "submitted": 1, "completed": 1, "dead": 0, "retried": 0 },
    });
    let mut before = Value::Null;
    eventually(async || {
        let history = callers.admin(Method::GET, "/admin/history?minutes=60", Value::Null).await;
        let items = history["items"].as_array().unwrap();
        let sum = |of: &dyn Fn(&Value) -> &Value| {
            let sum = |flow: &str| items.iter().map(|item| of(item)[flow].as_u64().unwrap()).sum::<u64>();
            json!({ "submitted": sum("submitted"), "completed": sum("completed"), "dead": sum("dead"), "retried": sum("retried") })
        };
        let seen = json!({
            "all": sum(&|item| item), "chat": sum(&|item| &item["kinds"]["chat"]), "ingest": sum(&|item| &item["kinds"]["ingest"])
        });
        let last = items.last().unwrap();
        let scheduled = [&last["scheduled"], &last["kinds"]["chat"]["scheduled"], &last["kinds"]["ingest"]["scheduled"]];
        if seen != before {
            println!("seen: {seen}, scheduled: {scheduled:?}");
            before = seen.clone();
        }
        (seen == expected && scheduled == [&json!(1), &json!(1), &json!(0)]).then_some(())
    })
    .await;
    callers.cancel(&waiting).await;
    deployment.finish().await;
}
