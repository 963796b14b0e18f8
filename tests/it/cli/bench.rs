//! `ragq bench` against a real Redis and a real `ragq up`: small runs, whose figures are looked at for sense and not
//! for speed.

use std::{path::Path, process::Stdio};

use redis::aio::MultiplexedConnection;
use serde_json::Value;

use super::{Ended, NOBODY, Ragq, ragq};
use crate::support::{
    eventually,
    process::{Up, signal},
    redis::Server,
};

/// The one line of standard output.
#[track_caller]
fn report(ended: &Ended) -> Value {
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Fails the test unless the number at this place lies between the two.
#[track_caller]
fn within(report: &Value, place: &str, least: f64, most: f64) {
    let number = report.pointer(place).and_then(Value::as_f64);
    assert!(number.is_some_and(|number| (least..=most).contains(&number)), "{place} in {report:#}");
}

/// Latencies rise with their quantiles.
#[track_caller]
fn sound_latencies(report: &Value, place: &str) {
    let at = |name: &str| report.pointer(&format!("{place}/{name}")).and_then(Value::as_f64).unwrap();
    let all = ["p50", "p95", "p99", "p99_9", "max"].map(at);
    assert!(all.is_sorted() && all[0] >= 0.0 && all[4] > 0.0, "{place} in {report:#}");
}

#[track_caller]
fn nothing_lost_or_doubled(report: &Value) {
    for place in ["/lost", "/duplicated", "/failed"] {
        within(report, place, 0.0, 0.0);
    }
}

async fn keys(client: &mut MultiplexedConnection) -> u64 {
    redis::cmd("DBSIZE").query_async(client).await.unwrap()
}

/// A command whose temporary files go into its own folder.
fn bench<const N: usize>(url: &str, args: [&str; N]) -> Ragq {
    let mut command = ragq(url, []);
    let folder = command.folder().to_owned();
    command.command.env("TMPDIR", folder).arg("bench").args(args);
    command
}

async fn up_on(redis: &Server, folder: &Path) -> Up {
    Up::start(&folder.join("data"), &[("REDIS_URL", &redis.url())]).await
}

#[tokio::test]
async fn drain_hands_every_job_over_once_and_leaves_nothing_behind() {
    let redis = Server::start(&[]).await;
    let args = ["drain", "--jobs", "300", "--waiting", "50", "--workers", "2", "--slots", "8", "--pickup", "3"];
    let mut command = bench(NOBODY, args).env("REDIS_URL", &redis.url());
    command.command.args(["--idle", "1", "--against-redis"]);
    let report = report(&command.run().await.expect(0));
    nothing_lost_or_doubled(&report);
    within(&report, "/handled", 300.0, 350.0);
    for place in ["/cpu_us/client", "/cpu_us/worker", "/cpu_us/redis", "/per_second", "/submit/per_second"] {
        within(&report, place, 0.1, 1e6);
    }
    within(&report, "/redis_bytes_per_waiting_job", 250.0, 5_000.0);
    within(&report, "/submit/batch", 1.0, 300.0);
    // A job's whole life takes more bytes than its question has, and more work than storing them.
    within(&report, "/against_redis/bytes", 250.0, 10_000.0);
    within(&report, "/against_redis/rate_ratio", 0.0, 10.0);
    within(&report, "/against_redis/pipelined", 1.0, 300.0);
    for place in ["/submit/latency_ms", "/pickup/from_call_ms", "/pickup/ping_ms"] {
        sound_latencies(&report, place);
    }
    within(&report, "/pickup/idle/seconds", 1.0, 60.0);
    assert_eq!(keys(&mut redis.client().await).await, 0, "the queue is removed");
}

#[tokio::test]
async fn drain_runs_on_the_embedded_store_where_there_is_no_redis() {
    let mut command = bench(NOBODY, ["drain", "--jobs", "100", "--bytes", "50"]);
    let folder = std::mem::replace(&mut command.folder, tempfile::tempdir().unwrap());
    let report = report(&command.run().await.expect(0));
    nothing_lost_or_doubled(&report);
    within(&report, "/handled", 100.0, 100.0);
    within(&report, "/cpu_us/worker", 0.1, 1e6);
    assert_eq!((&report["store"], &report["cpu_us"]["redis"]), (&"sqlite".into(), &Value::Null));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "its folder is removed");
}

#[tokio::test]
async fn ctrl_c_ends_a_drain_and_removes_its_queue() {
    let redis = Server::start(&[]).await;
    let mut client = redis.client().await;
    let mut command = bench(NOBODY, ["drain", "--waiting", "50000000"]).env("REDIS_URL", &redis.url());
    let child = command.command.stdin(Stdio::null()).spawn().unwrap();
    eventually(async || (keys(&mut client).await > 0).then_some(())).await;
    signal(child.id().unwrap(), "INT");
    let ended = Ended::of(child.wait_with_output().await.unwrap()).expect(130);
    ended.says(&["removed"]);
    assert_eq!((ended.stdout.as_str(), keys(&mut client).await), ("", 0));
}

#[tokio::test]
async fn ctrl_c_ends_the_workers_of_a_drain_too() {
    let redis = Server::start(&[]).await;
    let mut client = redis.client().await;
    let mut command = bench(NOBODY, ["drain", "--jobs", "10", "--pickup", "1000000"]).env("REDIS_URL", &redis.url());
    let child = command.command.stdin(Stdio::null()).spawn().unwrap();
    let others = async |client: &mut MultiplexedConnection| {
        let list: String = redis::cmd("CLIENT").arg("LIST").query_async(client).await.unwrap();
        list.lines().count() - 1
    };
    // Only workers wait with a blocking pop.
    eventually(async || {
        let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut client).await.unwrap();
        list.contains("cmd=blpop").then_some(())
    })
    .await;
    signal(child.id().unwrap(), "INT");
    Ended::of(child.wait_with_output().await.unwrap()).expect(130);
    eventually(async || (others(&mut client).await == 0).then_some(())).await;
    assert_eq!(keys(&mut client).await, 0);
}

#[tokio::test]
async fn submit_measures_accepted_requests_and_calls_their_jobs_off() {
    let (redis, folder) = (Server::start(&[]).await, tempfile::tempdir().unwrap());
    let up = up_on(&redis, folder.path()).await;
    let args = ["submit", "--paused", "--requests", "200", "--connections", "8", "--idempotency", "--against-redis"];
    let command = bench(&up.url, args).env("REDIS_URL", &redis.url()).env("RAGQ_ADMIN_TOKEN", up.admin_token().trim());
    let report = report(&command.run().await.expect(0));
    nothing_lost_or_doubled(&report);
    within(&report, "/accepted", 200.0, 200.0);
    within(&report, "/statuses/202", 200.0, 200.0);
    sound_latencies(&report, "/latency_ms");
    within(&report, "/batch", 1.0, 8.0);
    within(&report, "/cpu_us/client", 0.1, 1e6);
    // The kernel counts another process in hundredths of a second.
    within(&report, "/cpu_us/server", 0.0, 1e6);
    within(&report, "/cpu_us/redis", 0.0, 1e6);
    within(&report, "/against_redis/bytes", 200.0, 10_000.0);
    let stats = operator_stats(&up).await;
    assert_eq!((&stats["counts"]["cancelled"], &stats["backlog"]), (&200.into(), &0.into()), "{stats}");
    assert_eq!(stats["paused"], serde_json::json!([]));
    assert!(up.stop().await.success());
}

async fn operator_stats(up: &Up) -> Value {
    let stats = ragq(&up.url, ["queue", "stats", "--json"]).env("RAGQ_ADMIN_TOKEN", up.admin_token().trim());
    serde_json::from_str(&stats.run().await.expect(0).stdout).unwrap()
}

#[tokio::test]
async fn submit_at_a_rate_takes_its_time_and_leaves_the_jobs_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), &[]).await;
    let args = ["submit", "--requests", "50", "--rate", "200", "--keep", "--bytes", "30", "--connections", "4"];
    let report = report(&bench(&up.url, args).run().await.expect(0));
    nothing_lost_or_doubled(&report);
    // The last of 50 is due after 49 steps of 5 ms.
    within(&report, "/seconds", 0.245, 3600.0);
    within(&report, "/per_second", 0.0, 205.0);
    assert_eq!(report["cpu_us"]["redis"], Value::Null);
    eventually(async || (operator_stats(&up).await["counts"]["completed"] == 50).then_some(())).await;
    assert!(up.stop().await.success());
}

#[tokio::test]
async fn chat_waits_for_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), &[]).await;
    let report = report(&bench(&up.url, ["chat", "--questions", "12", "--connections", "3"]).run().await.expect(0));
    nothing_lost_or_doubled(&report);
    within(&report, "/answered", 12.0, 12.0);
    for place in ["/latency_ms", "/accepted_ms"] {
        sound_latencies(&report, place);
    }
    within(&report, "/cpu_us/server", 0.0, 1e7);
    assert!(report["latency_ms"]["p50"].as_f64() >= report["accepted_ms"]["p50"].as_f64());
    assert!(up.stop().await.success());
}

#[tokio::test]
async fn what_is_missing_is_said_with_its_exit_code() {
    bench(NOBODY, ["submit"]).run().await.expect(69).says(&[NOBODY, "ragq up"]);
    bench(NOBODY, ["chat"]).run().await.expect(69).says(&[NOBODY, "ragq up"]);
    bench(NOBODY, ["submit", "--paused"]).run().await.expect(64).says(&["RAGQ_ADMIN_TOKEN"]);
    bench("https://ragq.example", ["submit"]).run().await.expect(64).says(&["http://"]);
    bench(NOBODY, ["submit", "--connections", "0"]).run().await.expect(64).says(&["--connections"]);
    for flags in [["--pickup", "5"], ["--workers", "2"]] {
        bench(NOBODY, ["drain", flags[0], flags[1]]).run().await.expect(64).says(&[flags[0], "REDIS_URL"]);
    }
    let gone = bench(NOBODY, ["drain"]).env("REDIS_URL", "redis://127.0.0.1:1/");
    gone.run().await.expect(69).says(&["Redis can't be reached"]);
}

#[tokio::test]
async fn traces_that_can_not_be_sent_are_told_as_what_they_are() {
    let command =
        bench(NOBODY, ["submit", "--requests", "1"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/a b");
    let ended = command.run().await.expect(64);
    ended.says(&["traces can't be exported", "invalid endpoint"]);
    assert!(!ended.stderr.contains("log.filter"), "{}", ended.stderr);
}
