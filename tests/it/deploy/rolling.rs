//! A rolling restart of everything, behind a balancer that looks at `/health/ready` as load balancers do: callers with
//! connections they keep see no failure, readers go on where they were, no answer is lost or made twice.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    faults::{
        deployment::{ANSWER, Deployment, Plan, number_in, question},
        history::FINAL,
        report, size,
    },
    support::{
        eventually,
        provider::{Gate, Reply},
        redis::Server,
    },
};

/// Between two looks at a replica.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A balancer of connections: each goes to the next replica that was ready when it was last looked at.
struct Balancer {
    url: String,
    /// Replicas with whether they are ready.
    replicas: Arc<Mutex<Vec<(String, bool)>>>,
    tasks: JoinSet<()>,
}

impl Balancer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replicas = Arc::<Mutex<Vec<(String, bool)>>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(balance(listener, Arc::clone(&replicas)));
        Self { url, replicas, tasks }
    }

    /// Takes a replica in, and waits until it is sent callers.
    async fn add(&mut self, url: &str) {
        self.replicas.lock().unwrap().push((url.to_owned(), false));
        self.tasks.spawn(look(url.to_owned(), Arc::clone(&self.replicas)));
        self.until(url, true).await;
    }

    /// Waits until a replica is (or is not) sent callers.
    async fn until(&self, url: &str, ready: bool) {
        let is = |(known, is): &(String, bool)| known == url && *is == ready;
        eventually(async || self.replicas.lock().unwrap().iter().any(is).then_some(())).await;
    }
}

/// Looks at one replica again and again, whatever the others do.
async fn look(url: String, replicas: Arc<Mutex<Vec<(String, bool)>>>) {
    let client = Client::builder().timeout(Duration::from_secs(1)).build().unwrap();
    loop {
        let answer = client.get(format!("{url}/health/ready")).send().await;
        // On a busy machine an answer may be late, which says nothing.
        if !answer.as_ref().is_err_and(reqwest::Error::is_timeout) {
            let ready = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
            for (_, is) in replicas.lock().unwrap().iter_mut().filter(|(known, _)| *known == url) {
                *is = ready;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn balance(listener: TcpListener, replicas: Arc<Mutex<Vec<(String, bool)>>>) {
    let mut connections = JoinSet::new();
    let mut turn = 0;
    while let Ok((mut caller, _)) = listener.accept().await {
        turn += 1;
        let ready: Vec<_> =
            replicas.lock().unwrap().iter().filter(|(_, ready)| *ready).map(|(url, _)| url.clone()).collect();
        let address = ready[turn % ready.len()].strip_prefix("http://").unwrap().to_owned();
        connections.spawn(async move {
            // A connection that can't be made is closed, which its caller sees as a failure.
            if let Ok(mut replica) = TcpStream::connect(address).await {
                tokio::io::copy_bidirectional(&mut caller, &mut replica).await.ok();
            }
        });
    }
}

/// What callers saw.
#[derive(Default)]
struct Seen {
    failures: Mutex<Vec<String>>,
    jobs: Mutex<Vec<String>>,
    followed: Mutex<HashSet<String>>,
    resumed: AtomicUsize,
}

impl Seen {
    fn failed(&self, what: &str) {
        self.failures.lock().unwrap().push(what.to_owned());
    }
}

/// One caller with connections it keeps.
struct Caller {
    http: Client,
    url: String,
    seen: Arc<Seen>,
}

impl Caller {
    /// Asks and gets the job's id, at the first try.
    async fn ask(&self, number: usize) -> Option<String> {
        let sent = self.http.post(format!("{}/chat", self.url)).json(&question(number)).send().await;
        let answer: Value = match sent {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => answer.json().await.unwrap(),
            other => {
                self.seen.failed(&format!("asking: {other:?}"));
                return None;
            }
        };
        let job = answer["job_id"].as_str().unwrap().to_owned();
        self.seen.jobs.lock().unwrap().push(job.clone());
        Some(job)
    }

    /// Follows the job to its end; its events. A stream that ends before is gone on with at once, as browsers do.
    async fn follow(&self, job: &str) -> Vec<(String, Value)> {
        let mut log = Vec::<(String, Value)>::new();
        let mut last = None;
        loop {
            let mut request = self.http.get(format!("{}/jobs/{job}/events", self.url));
            if let Some(last) = &last {
                request = request.header("last-event-id", last);
            }
            let mut stream = match request.send().await {
                Ok(answer) if answer.status() == StatusCode::OK => answer.bytes_stream().eventsource(),
                other => {
                    self.seen.failed(&format!("following: {other:?}"));
                    return log;
                }
            };
            self.seen.followed.lock().unwrap().insert(job.to_owned());
            while let Some(event) = stream.next().await {
                let Ok(event) = event else {
                    self.seen.failed(&format!("a stream was cut off: {event:?}"));
                    break;
                };
                // A hint alone is no event.
                if !event.data.is_empty() {
                    log.push((event.event, serde_json::from_str(&event.data).unwrap()));
                    last = Some(event.id);
                }
            }
            if log.last().is_some_and(|(name, _)| FINAL.contains(&name.as_str())) {
                return log;
            }
            self.seen.resumed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks one question after the other until told otherwise, in turns following and polling.
    async fn go_on(self, mut number: usize, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let Some(job) = self.ask(number).await else { continue };
            if number.is_multiple_of(2) {
                self.follow(&job).await;
                continue;
            }
            loop {
                let polled = self.http.get(format!("{}/job-status?job_id={job}&wait_ms=1000", self.url)).send().await;
                match polled {
                    Ok(answer) if answer.status() == StatusCode::OK => {
                        let view: Value = answer.json().await.unwrap();
                        if FINAL.contains(&view["status"].as_str().unwrap()) {
                            break;
                        }
                    }
                    other => {
                        self.seen.failed(&format!("polling: {other:?}"));
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_rolling_restart_fails_no_request_and_loses_and_doubles_no_answer() {
    let callers = size(8, 64);
    let rounds = size(1, 5);
    let settings = [
        // Long enough for a balancer on a busy machine.
        ("RAGQ_API__DRAIN_DELAY_MS", size("3000", "5000")),
        ("RAGQ_WORKER__GRACE_MS", "60000"),
        // The provider may fall silent for as long as it takes to replace every API.
        ("RAGQ_MODEL__IDLE_TIMEOUT_MS", "240000"),
        ("RAGQ_QUEUE__LEASE_MS", "15000"),
        ("RAGQ_WORKER__HEARTBEAT_MS", "3000"),
    ];
    let plan = Plan { apis: 2, workers: 3, settings: &settings, ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let gate = Gate::new();
    let held = gate.clone();
    deployment.provider.choose(move |call| {
        let reply = Reply::text(ANSWER).pieces(5).drip(Duration::from_millis(30));
        Some(if number_in(&call.body) == 0 { reply.held_after_first_by(&held) } else { reply })
    });
    let mut balancer = Balancer::start().await;
    for api in &deployment.apis {
        balancer.add(&api.url).await;
    }
    let seen = Arc::new(Seen::default());
    let url = balancer.url.clone();
    let caller = || Caller {
        http: Client::builder().timeout(Duration::from_mins(1)).build().unwrap(),
        url: url.clone(),
        seen: Arc::clone(&seen),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for number in 0..callers {
        asking.spawn(caller().go_on((number + 1) * 10_000, Arc::clone(&stop)));
    }
    // One answer that is not over before every API was replaced.
    let reader = caller();
    let long = reader.ask(0).await.expect("it is accepted");
    let mut reading = JoinSet::new();
    let followed = long.clone();
    reading.spawn(async move { reader.follow(&followed).await });
    eventually(async || seen.followed.lock().unwrap().contains(&long).then_some(())).await;

    for _ in 0..rounds {
        for _ in 0..2 {
            deployment.start_api().await;
            balancer.add(&deployment.apis[2].url).await;
            let mut old = deployment.apis.remove(0);
            deployment.callers.forget(&old.url);
            old.signal("TERM");
            assert!(old.ended().await.success(), "{}", old.log());
            balancer.until(&old.url, false).await;
        }
    }
    gate.open();
    let whole = reading.join_next().await.unwrap().unwrap();
    for _ in 0..rounds {
        for _ in 0..3 {
            deployment.start_worker().await;
            deployment.stop_worker(0).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = asking.join_next().await {
        ended.unwrap();
    }

    let failures = seen.failures.lock().unwrap().clone();
    let jobs = seen.jobs.lock().unwrap().clone();
    let resumed = seen.resumed.load(Ordering::Relaxed);
    report(
        "rolling restart",
        &format!("{} questions, {} failures, {resumed} streams resumed", jobs.len(), failures.len()),
    );
    assert!(failures.is_empty(), "{} of {}: {failures:#?}", failures.len(), jobs.len());
    assert!(resumed >= rounds, "the long answer was followed on one replica after the other");
    assert_eq!(whole, deployment.callers.log(&long).await, "nothing is missing, nothing is doubled");
    deployment.callers.adopt(jobs.clone());
    let views = deployment.callers.all_ended(&jobs).await;
    assert!(views.iter().all(|view| view["status"] == "completed"));
    let again: Vec<_> = views.iter().filter(|view| view["deliveries"] != 1).collect();
    assert!(again.is_empty(), "{} were begun twice: {again:#?}", again.len());
    assert_eq!((deployment.calls().len(), deployment.duplicate_calls()), (jobs.len(), 0));
    deployment.finish().await;
}
