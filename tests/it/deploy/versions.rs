//! Processes of two versions beside each other, as there are while a deployment is updated.

use reqwest::Method;
use serde_json::json;

use crate::{
    faults::deployment::{Deployment, Plan, question},
    support::{
        process::ragq,
        redis::{Server, say},
    },
};

#[tokio::test]
async fn a_worker_does_the_jobs_of_a_newer_api_that_says_more_than_it_knows() {
    let deployment = Deployment::start(Server::start(&[]).await, Plan::default()).await;
    let callers = deployment.callers.clone();
    callers.admin(Method::POST, "/admin/queue/pause", json!({ "kinds": ["chat"] })).await;
    let job = callers.ask([question(0)]).await.remove(0);
    // What a later version would have written: the same format, more fields in the header and in the payload.
    let mut client = deployment.redis.client().await;
    let key = "{ragq}:data";
    let data: String = say(&mut client, &format!("HGET {key} {job}")).await.unwrap();
    let (header, payload) = data.split_once('\n').unwrap();
    assert!(header.starts_with("1{"), "the format's version: {header}");
    let newer = format!(
        "{},\"colour\":{{\"of\":\"ink\"}}}}\n{},\"mood\":\"calm\"}}",
        header.strip_suffix('}').unwrap(),
        payload.strip_suffix('}').unwrap()
    );
    let _new: u64 = redis::cmd("HSET").arg(key).arg(&job).arg(newer).query_async(&mut client).await.unwrap();
    callers.admin(Method::POST, "/admin/queue/resume", json!({ "kinds": ["chat"] })).await;
    let view = callers.ended(&job).await;
    assert_eq!((&view["status"], &view["deliveries"]), (&json!("completed"), &json!(1)), "{view}");
    deployment.finish().await;
}

#[tokio::test]
async fn a_process_says_which_version_it_is() {
    let said = ragq().arg("--version").output().await.unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), concat!("ragq ", env!("CARGO_PKG_VERSION")));
}
