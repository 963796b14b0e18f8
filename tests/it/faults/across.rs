//! What goes from one process to another: events, cancellations, pauses, jobs of other producers, and no clock.

use std::{collections::HashSet, time::Duration};

use apalis_core::backend::TaskSink as _;
use apalis_redis::{Config, RedisStorage};
use eventsource_stream::{Event, Eventsource as _};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::deployment::{ANSWER, Deployment, Plan, question, sum};
use crate::support::{
    app::ADMIN_TOKEN,
    eventually, process,
    provider::{Gate, Reply},
    redis::Server,
};

type Failed = eventsource_stream::EventStreamError<reqwest::Error>;

/// Follows a job on one API, after an event if one is named.
async fn follow(
    deployment: &Deployment,
    api: usize,
    job: &str,
    after: Option<&str>,
) -> impl Stream<Item = Result<Event, Failed>> + Unpin + use<> {
    let mut request = deployment.callers.http.get(format!("{}/jobs/{job}/events", deployment.apis[api].url));
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    Box::pin(response.bytes_stream().eventsource())
}

#[tokio::test]
async fn a_stream_shows_what_a_worker_elsewhere_writes_and_goes_on_at_another_api() {
    let (first, second) = (Gate::new(), Gate::new());
    let plan = Plan { apis: 3, ..Plan::default() };
    let deployment = Deployment::start(Server::start(&[]).await, plan).await;
    // The first piece, then the rest slowly, so that it is written in many pieces while it is read.
    let reply = Reply::text(ANSWER.repeat(5)).pieces(30).drip(Duration::from_millis(30));
    deployment.provider.then(vec![Reply::default_forever(reply.held_by(&first).held_after_first_by(&second))]);
    let job = deployment.callers.ask([question(0)]).await.remove(0);

    let mut stream = follow(&deployment, 0, &job, None).await;
    let mut seen = Vec::new();
    first.open();
    while seen.last().is_none_or(|event: &Event| event.event != "delta") {
        seen.push(stream.next().await.unwrap().unwrap());
    }
    // Away in the middle of the answer, and back at another API.
    drop(stream);
    let mut stream = follow(&deployment, 1, &job, Some(&seen.last().unwrap().id)).await;
    second.open();
    for _ in 0..3 {
        seen.push(stream.next().await.unwrap().unwrap());
    }
    drop(stream);
    let mut stream = follow(&deployment, 2, &job, Some(&seen.last().unwrap().id)).await;
    while let Some(event) = stream.next().await {
        seen.push(event.unwrap());
    }
    let whole = deployment.callers.log(&job).await;
    let seen: Vec<(String, Value)> =
        seen.iter().map(|event| (event.event.clone(), serde_json::from_str(&event.data).unwrap())).collect();
    assert_eq!(seen, whole, "nothing is missing, nothing is doubled");
    assert!(whole.iter().filter(|(name, _)| name == "delta").count() > 4, "it came in pieces: {whole:?}");
    deployment.finish().await;
}

#[tokio::test]
async fn a_job_that_a_plain_apalis_producer_pushes_is_answered() {
    let deployment = Deployment::start(Server::start(&[]).await, Plan::default()).await;
    let connection = apalis_redis::connect(deployment.redis.url()).await.unwrap();
    let config = Config::default().queue("{ragq}");
    let mut producer = RedisStorage::<Value, _>::new(connection).with_config(config);
    let mut request = question(7);
    request["kind"] = "chat".into();
    producer.push(request).await.unwrap();

    let mut client = deployment.redis.client().await;
    let known: HashSet<String> = deployment.callers.submitted().into_iter().collect();
    let jobs: Vec<String> = redis::cmd("HKEYS").arg("{ragq}:data").query_async(&mut client).await.unwrap();
    let job = jobs.into_iter().find(|job| !known.contains(job)).unwrap();
    let view = deployment.callers.ended(&job).await;
    assert_eq!((&view["status"], &view["result"]["answer"]), (&"completed".into(), &ANSWER.into()), "{view}");
    assert_eq!(deployment.calls().into_keys().collect::<Vec<_>>(), [7]);
    deployment.callers.adopt(vec![job]);
    deployment.finish().await;
}

#[tokio::test]
async fn a_paused_queue_is_paused_for_every_process_also_one_that_starts_later() {
    let mut deployment = Deployment::start(Server::start(&[]).await, Plan { apis: 2, ..Plan::default() }).await;
    let callers = deployment.callers.clone();
    let paused = callers.admin(Method::POST, "/admin/queue/pause", json!({ "kinds": ["chat"] })).await;
    assert_eq!(paused["paused"], json!(["chat"]));
    let jobs = callers.ask((0..20).map(question)).await;
    deployment.start_worker().await;
    eventually(async || deployment.held().await.get("worker-2").copied()).await;
    // Documents are taken in meanwhile, by the very workers that leave the questions alone.
    for number in 0..4 {
        let document = json!({ "title": "More", "text": format!("Ships of the line, volume {number}.") });
        let job = callers.submit("/documents", document).await;
        assert_eq!(callers.ended(&job).await["status"], "completed");
    }
    for job in &jobs {
        let view = callers.view(job, 0).await;
        assert_eq!((&view["status"], &view["deliveries"]), (&"queued".into(), &0.into()), "{view}");
    }
    callers.admin(Method::POST, "/admin/queue/resume", json!({ "kinds": ["chat"] })).await;
    let views = callers.all_ended(&jobs).await;
    assert!(views.iter().all(|view| view["status"] == "completed" && view["deliveries"] == 1));
    deployment.finish().await;
}

#[tokio::test]
async fn a_cancellation_closes_the_providers_connection_in_a_worker_elsewhere() {
    let plan = Plan { apis: 2, reply: Reply::text(ANSWER).stall_after(1), ..Plan::default() };
    let deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let jobs = deployment.callers.ask((0..10).map(question)).await;
    deployment.provider.until("all questions", |counts| counts.in_flight == 10).await;
    for job in &jobs {
        assert_eq!(deployment.callers.cancel(job).await["status"], "cancelled");
    }
    let counts = deployment.provider.until("ten hang-ups", |counts| counts.in_flight == 0).await;
    assert_eq!((counts.calls, counts.disconnects), (10, 10));
    deployment.finish().await;
}

/// The binary with a clock that is wrong by this much.
fn with_clock(offset: &str) -> Command {
    // Loaded by ourselves: the program that goes with it would stand between the test and the process.
    let folders = std::fs::read_dir("/usr/lib").expect("a system has libraries").flatten();
    let library = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    let library = library.expect("libfaketime is missing: install the package faketime");
    let mut command = process::ragq();
    // Of the two clocks only the one that people set is wrong.
    command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("DONT_FAKE_MONOTONIC", "1");
    command
}

#[tokio::test]
async fn workers_whose_clocks_are_wrong_by_an_hour_do_as_well_as_others() {
    let (ahead, behind) = (with_clock("+1h"), with_clock("-1h"));
    let jobs = 60;
    // The failures below come in a row; what a breaker makes of that is shown elsewhere.
    let settings =
        [("RAGQ_WORKER__CHAT_SLOTS", "10"), ("RAGQ_BREAKER__FAILURES", "1000"), ("RAGQ_BREAKER__MIN_CALLS", "1000")];
    let plan = Plan { workers: 0, settings: &settings, ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let reply = Reply::text(ANSWER).pieces(4).drip(Duration::from_millis(50));
    // Some have to be tried again, which is a matter of time, too.
    let failures = (0..jobs / 3).map(|_| Reply::error(500, "server_error", "try again"));
    deployment.provider.then(failures.chain([Reply::default_forever(reply)]).collect());
    deployment.start_worker_by(ahead).await;
    deployment.start_worker_by(behind).await;
    let began = Timestamp::now();
    let questions = (0..jobs).map(|number| {
        let mut question = question(number);
        question["deadline_ms"] = 50_000.into();
        question
    });
    let chats = deployment.callers.ask(questions).await;
    let views = deployment.callers.all_ended(&chats).await;
    let ended = Timestamp::now();
    for view in &views {
        assert_eq!(view["status"], "completed", "{view}");
        let times = ["created_at", "started_at", "finished_at"];
        let [created, started, finished] = times.map(|time| view[time].as_str().unwrap().parse::<Timestamp>().unwrap());
        // The server's clock is that of this machine, in milliseconds.
        let slack = jiff::Span::new().milliseconds(1);
        assert!(began - slack <= created && created <= started && started <= finished && finished <= ended, "{view}");
    }
    assert_eq!(sum(&views, "lost_leases"), 0);
    for (worker, sign) in deployment.workers.iter().zip([1, -1]) {
        let log = worker.log();
        let said = log.lines().find(|line| line.contains("job completed")).expect("both had work");
        let clock: Timestamp = said.split_whitespace().next().unwrap().parse().unwrap();
        let minutes = sign * (clock.as_second() - ended.as_second()) / 60;
        assert!((55..=65).contains(&minutes), "its clock was not wrong: {said}");
    }
    deployment.finish().await;
}

#[tokio::test]
async fn a_replay_goes_on_at_another_api_when_its_own_is_killed() {
    let refusal = Reply::error(400, "context_length_exceeded", "too long");
    let settings = [("RAGQ_REPLAY__STOP_SHARE", "2")];
    let plan = Plan { settings: &settings, reply: refusal, ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let jobs = 80;
    deployment.callers.ask((0..jobs).map(question)).await;
    let dead = async |deployment: &Deployment| -> Value {
        deployment.callers.admin(Method::GET, "/admin/queue", Value::Null).await["counts"]["dead"].clone()
    };
    eventually(async || (dead(&deployment).await == jobs).then_some(())).await;
    deployment.provider.choose(|_| Some(Reply::text(ANSWER)));
    let request = json!({ "rate_per_second": 20 });
    let route = |url: &str| deployment.callers.http.post(format!("{url}/admin/dlq/replay"));
    let (status, accepted) = deployment.callers.send(|url| route(url).bearer_auth(ADMIN_TOKEN).json(&request)).await;
    let accepted: Value = serde_json::from_str(&accepted).unwrap();
    assert_eq!((status, &accepted["matched"]), (StatusCode::ACCEPTED, &json!(jobs)));
    let path = format!("/job-status?job_id={}", accepted["job_id"].as_str().unwrap());
    let replay = async |deployment: &Deployment| deployment.callers.admin(Method::GET, &path, Value::Null).await;
    eventually(async || (replay(&deployment).await["progress"]["replayed"].as_u64() >= Some(5)).then_some(())).await;
    deployment.start_api().await;
    deployment.kill_api(0).await;
    let ended = eventually(async || Some(replay(&deployment).await).filter(|view| view["status"] == "completed")).await;
    assert_eq!((&ended["lost_leases"], &ended["attempt"]), (&json!(1), &json!(1)), "{ended}");
    assert_eq!(ended["progress"], json!({ "matched": jobs, "replayed": jobs, "skipped": 0, "failed_again": 0 }));
    let views = deployment.callers.all_ended(&deployment.callers.submitted()).await;
    let chats: Vec<_> = views.iter().filter(|view| view["kind"] == "chat").collect();
    assert_eq!(sum(&views, "deliveries"), chats.len() as u64 + 1, "replayed and delivered once, and the document");
    assert!(chats.iter().all(|view| view["status"] == "completed"));
}
