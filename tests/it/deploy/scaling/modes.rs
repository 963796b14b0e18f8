//! A Redis behind sentinels, and a Cluster: with the component for it, the triggers find the keys in which the jobs of a
//! real deployment wait, the way KEDA looks for them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    source::{Source, rights_of_keda},
    spec::Spec,
};
use crate::{
    deploy::{
        manifests::{environment, object, with_component, workloads},
        tools::text,
    },
    faults::deployment::{Deployment, Plan, question},
    queue::redis_link::finding::Cluster,
    support::redis::{Server, connect, say},
};

/// What the manifests make of a mode: what they say to workers of it, and their `ScaledObject`.
fn manifests(mode: &str) -> (Vec<(String, String)>, Value) {
    let objects = with_component("k8s/managed", mode);
    let worker = workloads(&objects).into_iter().find(|workload| workload.name == "worker").expect("it is there");
    let mut said = environment(&objects, &worker.container);
    said.retain(|(name, _)| name.starts_with("RAGQ_REDIS__"));
    assert!(said.contains(&("RAGQ_REDIS__MODE".to_owned(), mode.to_owned())), "{said:?}");
    (said, object(&objects, "ScaledObject", "worker").clone())
}

/// What the handbook gives to KEDA in a Cluster beside what it needs everywhere.
fn more_of_a_cluster() -> String {
    let handbook = text("docs/deploy.md");
    let (_, rest) = handbook.split_once("in a Cluster also `").expect("the handbook has it");
    rest.split('`').next().unwrap().to_owned()
}

/// Starts a deployment on this server, reached by `url`, lets three questions wait and counts them at `counted_at`.
async fn three_are_counted(redis: Server, url: String, counted_at: String, said: &[(String, String)], scaled: &Value) {
    let settings: Vec<_> = said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let plan = Plan { settings: &settings, redis_url: Some(url), ..Plan::default() };
    let deployment = Deployment::start(redis, plan).await;
    let callers = deployment.callers.clone();
    callers.admin(Method::POST, "/admin/queue/pause", json!({})).await;
    callers.ask((0..3).map(question)).await;
    let mut source = Source::new(Spec::of(scaled), counted_at);
    assert_eq!(source.counts().await.unwrap(), [0, 3, 0, 0, 0, 0, 0, 0]);
    callers.admin(Method::POST, "/admin/queue/resume", json!({})).await;
    deployment.finish().await;
}

#[tokio::test]
async fn behind_sentinels_the_triggers_ask_for_the_master_that_ragq_asks_for() {
    let (said, scaled) = manifests("sentinel");
    let triggers = scaled["spec"]["triggers"].as_array().unwrap();
    let variable = triggers[0]["metadata"]["sentinelMasterFromEnv"].as_str().unwrap();
    assert!(triggers.iter().all(|trigger| trigger["metadata"]["sentinelMasterFromEnv"] == variable));
    // KEDA looks the variable up in the worker's container.
    let (_, master) = said.iter().find(|(name, _)| name == variable).expect("the worker is told it");
    let (primary, sentinel) = (Server::start(&[]).await, Server::start_sentinel(&[]).await);
    let mut client = sentinel.client().await;
    let () = say(&mut client, &format!("SENTINEL MONITOR {master} 127.0.0.1 {} 1", primary.port())).await.unwrap();
    let (host, port): (String, u16) =
        say(&mut client, &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {master}")).await.unwrap();
    three_are_counted(primary, sentinel.url(), format!("redis://{host}:{port}/"), &said, &scaled).await;
}

#[tokio::test]
async fn in_a_cluster_the_triggers_all_count_on_the_one_node_that_has_the_queue() {
    let (said, scaled) = manifests("cluster");
    let mut cluster = Cluster::start().await;
    let mut client = cluster.nodes[0].client().await;
    let mut slots = Vec::new();
    for (_, key) in Spec::of(&scaled).triggers {
        slots.push(say::<u16>(&mut client, &format!("CLUSTER KEYSLOT {key}")).await.unwrap());
    }
    slots.dedup();
    let [slot] = slots[..] else { panic!("a queue lives in one slot: {slots:?}") };
    let owner = cluster.owner(slot).await;
    let redis = cluster.nodes.remove(owner);
    // Whoever connects knows one of the others. KEDA asks it first where the slots are.
    for node in [&redis, &cluster.nodes[0]] {
        let rights = format!("ACL SETUSER keda {} {}", rights_of_keda(), more_of_a_cluster());
        let _made: String = say(&mut node.client().await, &rights).await.unwrap();
    }
    let known = cluster.nodes[0].url();
    let mut keda = connect(&known.replace("redis://", "redis://keda:PASSWORD@")).await;
    let slots: Vec<redis::Value> = say(&mut keda, "CLUSTER SLOTS").await.unwrap();
    assert!(!slots.is_empty());
    let url = redis.url().replace("redis://", "redis://keda:PASSWORD@");
    three_are_counted(redis, known, url, &said, &scaled).await;
}
