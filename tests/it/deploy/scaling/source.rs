//! Where the numbers come from: the keys that the triggers name, counted on a real Redis as KEDA counts them, and the
//! formula in KEDA's own language.

use std::{collections::HashSet, time::Duration};

use expr::Context;
use redis::{RedisResult, aio::MultiplexedConnection};
use reqwest::Method;
use serde_json::{Value, json};

use super::{autoscaler::Autoscaler, spec::Spec};
use crate::{
    deploy::{
        kubernetes::settings_of,
        manifests::{object, overlay},
        tools::text,
    },
    faults::deployment::{Deployment, Plan, question},
    support::{
        eventually,
        provider::{Gate, Reply},
        redis::{Server, connect, say},
    },
};

/// Counts a key whatever it is, as KEDA's scaler of Redis does: a kind that can't be counted is an error.
const COUNT: &str = "
local kind = redis.call('TYPE', KEYS[1]).ok
local commands = { zset = 'ZCARD', set = 'SCARD', hash = 'HLEN', list = 'LLEN', none = 'LLEN' }
if not commands[kind] then
  return redis.error_reply('ERR unsupported key type: ' .. kind)
end
return redis.call(commands[kind], KEYS[1])";

/// Longest wait for the server, after which it counts as being down.
const PATIENCE: Duration = Duration::from_millis(500);

/// The metric of a `ScaledObject`.
pub struct Source {
    spec: Spec,
    url: String,
    connection: Option<MultiplexedConnection>,
}

impl Source {
    /// On the Redis at this address, which need not be there.
    pub fn new(spec: Spec, url: String) -> Self {
        Self { spec, url, connection: None }
    }

    /// The metric at present; none if any part of it can't be had.
    pub async fn metric(&mut self) -> Option<f64> {
        let counts = tokio::time::timeout(PATIENCE, self.counts()).await;
        let Ok(Ok(counts)) = counts else {
            self.connection = None;
            return None;
        };
        let mut context = Context::default();
        for ((name, _), count) in self.spec.triggers.iter().zip(counts) {
            context.insert(name.clone(), count as f64);
        }
        let value = expr::eval(&self.spec.formula, &context).expect("the formula can be evaluated");
        // Handed on in thousandths.
        Some((value.as_float().expect("a number with a fraction, or KEDA refuses it") * 1_000.0).trunc() / 1_000.0)
    }

    /// Each trigger's count.
    pub async fn counts(&mut self) -> RedisResult<Vec<u64>> {
        if self.connection.is_none() {
            let client = redis::Client::open(self.url.as_str())?;
            self.connection = Some(client.get_multiplexed_async_connection().await?);
        }
        let mut counts = Vec::new();
        for (_, key) in &self.spec.triggers {
            let connection = self.connection.as_mut().expect("it was opened");
            counts.push(redis::cmd("EVAL").arg(COUNT).arg(1).arg(key).query_async(connection).await?);
        }
        Ok(counts)
    }
}

/// What the handbook lets KEDA do, as rules of an ACL.
pub fn rights_of_keda() -> String {
    let handbook = text("docs/deploy.md");
    handbook.lines().find_map(|line| line.strip_prefix("user keda ")).expect("the handbook has them").to_owned()
}

#[test]
fn the_formula_divides_each_kind_by_the_slots_that_a_worker_has_for_it() {
    let spec = Spec::of_the_manifests();
    let slots = |variable: &str| -> f64 { settings_of("worker")[variable].parse().unwrap() };
    let (chat, ingest) = (slots("RAGQ_WORKER__CHAT_SLOTS"), slots("RAGQ_WORKER__INGEST_SLOTS"));
    // With thousandths a job must still be more than nothing.
    assert!(chat <= 1_000.0 && ingest <= 1_000.0);
    for (name, _) in &spec.triggers {
        let mut context = Context::default();
        for (other, _) in &spec.triggers {
            context.insert(other.clone(), if other == name { 60.0 } else { 0.0 });
        }
        let workers = expr::eval(&spec.formula, &context).unwrap().as_float().expect("a number with a fraction");
        let expected = 60.0 / if name.starts_with("chat_") { chat } else { ingest };
        assert!((workers - expected).abs() < 1e-9, "{name}: {workers}");
    }
    assert!((spec.target - 1.0).abs() < f64::EPSILON, "the formula counts workers");
}

#[test]
fn every_trigger_has_its_place_in_the_formula_and_a_name_of_its_own() {
    let scaled = object(&overlay("k8s"), "ScaledObject", "worker").clone();
    let spec = Spec::of(&scaled);
    let names: HashSet<_> = spec.triggers.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.len(), spec.triggers.len());
    let words: HashSet<_> = spec.formula.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect();
    assert!(names.is_subset(&words), "{names:?} {words:?}");
    // KEDA looks at none of these where there is a formula; the scaler would still refuse what is no number.
    for trigger in scaled["spec"]["triggers"].as_array().unwrap() {
        assert_eq!(trigger["metadata"]["listLength"], "1", "{trigger}");
    }
}

#[tokio::test]
async fn the_triggers_count_the_very_keys_in_which_jobs_wait_and_run() {
    let gate = Gate::new();
    let plan = Plan { reply: Reply::text("Of all tides [1].").held_by(&gate), ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let spec = Spec::of_the_manifests();
    let mut client = connect(&deployment.redis.url()).await;
    // One job runs, then one of each priority waits, and documents.
    let callers = deployment.callers.clone();
    callers.ask([question(0)]).await;
    deployment.provider.until("the question", |counts| counts.in_flight == 1).await;
    callers.admin(Method::POST, "/admin/queue/pause", json!({})).await;
    for (number, priority) in ["high", "normal", "low"].into_iter().enumerate() {
        let mut asked = question(number + 1);
        asked["priority"] = priority.into();
        callers.submit("/chat", asked).await;
        callers.submit("/documents", json!({ "title": priority, "text": "Of tides." })).await;
    }
    let keys: Vec<String> = say(&mut client, "KEYS *").await.unwrap();
    let waits_or_runs = |key: &String| key.contains(":queued:") || key.contains(":inflight:");
    let there: HashSet<String> = keys.into_iter().filter(waits_or_runs).collect();
    let counted: HashSet<String> = spec.triggers.iter().map(|(_, key)| key.clone()).collect();
    let uncounted: Vec<_> = there.difference(&counted).collect();
    assert!(uncounted.is_empty(), "{uncounted:?}");
    let queue: Value = callers.admin(Method::GET, "/admin/queue", Value::Null).await;
    let mut source = Source::new(spec.clone(), deployment.redis.url());
    let counts: u64 = source.counts().await.unwrap().into_iter().sum();
    assert_eq!(counts, queue["counts"]["queued"].as_u64().unwrap() + queue["counts"]["running"].as_u64().unwrap());
    assert_eq!(counts, 7);
    gate.open();
    callers.admin(Method::POST, "/admin/queue/resume", json!({})).await;
    deployment.start_worker().await;
    deployment.finish().await;
}

#[tokio::test]
async fn the_rights_that_the_handbook_gives_to_keda_are_enough_to_count_and_for_nothing_else() {
    let server = Server::start(&[]).await;
    let mut client = connect(&server.url()).await;
    let _made: String = say(&mut client, &format!("ACL SETUSER keda {}", rights_of_keda())).await.unwrap();
    let _added: u64 = say(&mut client, "ZADD {ragq}:inflight:chat 1 a 2 b").await.unwrap();
    let _added: u64 = say(&mut client, "ZADD {ragq}:queued:ingest:low 1 a").await.unwrap();
    let url = format!("redis://keda:PASSWORD@127.0.0.1:{}/", server.port());
    let mut source = Source::new(Spec::of_the_manifests(), url.clone());
    assert_eq!(source.counts().await.unwrap(), [0, 0, 0, 2, 0, 0, 1, 0]);
    let mut keda = connect(&url).await;
    for refused in ["ZREM {ragq}:inflight:chat a", "HGETALL {ragq}:data", "FLUSHALL"] {
        let answer = say::<redis::Value>(&mut keda, refused).await;
        assert!(answer.is_err_and(|error| error.code() == Some("NOPERM")), "{refused}");
    }
}

#[tokio::test]
async fn a_retry_that_comes_due_wakes_a_deployment_of_none() {
    let settings = [("RAGQ_QUEUE__BACKOFF_BASE_MS", "3000"), ("RAGQ_QUEUE__BACKOFF_CAP_MS", "3000")];
    let mut deployment =
        Deployment::start(Server::start(&[]).await, Plan { settings: &settings, ..Plan::default() }).await;
    deployment.provider.then(vec![Reply::error(500, "server_error", "try again")]);
    let job = deployment.callers.ask([question(0)]).await.remove(0);
    let callers = deployment.callers.clone();
    eventually(async || (callers.view(&job, 0).await["status"] == "scheduled").then_some(())).await;
    deployment.stop_worker(0).await;
    let spec = Spec::of_the_manifests();
    let mut autoscaler = Autoscaler::new(spec.clone());
    let mut source = Source::new(spec, deployment.redis.url());
    let mut second = 0;
    eventually(async || {
        second += 1;
        autoscaler.second(second, source.metric().await);
        (autoscaler.replicas > 0).then_some(())
    })
    .await;
    deployment.start_worker().await;
    assert_eq!(callers.ended(&job).await["status"], "completed");
    deployment.finish().await;
}

#[tokio::test]
async fn while_redis_is_down_or_does_not_answer_no_worker_is_taken_away() {
    let mut server = Server::start(&[]).await;
    let spec = Spec::of_the_manifests();
    let mut source = Source::new(spec.clone(), server.url());
    let mut autoscaler = Autoscaler::new(spec);
    let mut client = connect(&server.url()).await;
    let waiting = (0..500).map(|job| format!("{job} {job}")).collect::<Vec<_>>().join(" ");
    let _added: u64 = say(&mut client, &format!("ZADD {{ragq}}:queued:chat:normal {waiting}")).await.unwrap();
    for second in 1..=60 {
        autoscaler.second(second, source.metric().await);
    }
    assert_eq!(autoscaler.replicas, 10);
    server.stop_signal();
    // What is seen of a server that hangs is the same all the time.
    let hanging = source.metric().await;
    assert_eq!(hanging, None);
    (61..=600).for_each(|second| autoscaler.second(second, hanging));
    assert_eq!(autoscaler.replicas, 10);
    server.cont_signal();
    server.kill9().await;
    for second in 601..=1_200 {
        autoscaler.second(second, source.metric().await);
    }
    assert_eq!(autoscaler.replicas, 10);
    server.restart().await;
    let mut client = connect(&server.url()).await;
    let _removed: u64 = say(&mut client, "DEL {ragq}:queued:chat:normal").await.unwrap();
    for second in 1_201..=1_800 {
        autoscaler.second(second, source.metric().await);
    }
    assert_eq!(autoscaler.replicas, 0, "and when it is back, things go on");
}
