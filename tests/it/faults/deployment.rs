//! A distributed deployment of real processes: `ragq api` and `ragq worker` on a Redis server, with the small Qdrant
//! and the scripted provider of the test; callers that do not give up; and what must hold at the end of every test.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{callers::Callers, history, member::Member};
use crate::support::{
    app::ADMIN_TOKEN,
    eventually, process,
    provider::{Reply, ScriptedProvider},
    qdrant,
    redis::{Server, say},
};

/// How long a worker may be silent. Longer than a busy machine keeps a process waiting, so that no lease is lost but
/// by the fault of the test.
pub const LEASE: Duration = Duration::from_secs(2);

/// The answer of the provider: with the one passage there is, it can be cited.
pub const ANSWER: &str = "It lists high water and low water for every day [1].";

/// What a deployment is made of.
pub struct Plan<'a> {
    /// API processes.
    pub apis: usize,
    /// Worker processes.
    pub workers: usize,
    /// More settings, over those that make everything quick.
    pub settings: &'a [(&'a str, &'a str)],
    /// How Redis is reached, if not at its own address.
    pub redis_url: Option<String>,
    /// What the provider says to everything.
    pub reply: Reply,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self { apis: 1, workers: 1, settings: &[], redis_url: None, reply: Reply::text(ANSWER) }
    }
}

/// A running deployment.
pub struct Deployment {
    /// The queue's server.
    pub redis: Server,
    /// The provider.
    pub provider: ScriptedProvider,
    /// The APIs.
    pub apis: Vec<Member>,
    /// The workers.
    pub workers: Vec<Member>,
    /// Those who call.
    pub callers: Callers,
    environment: Vec<(String, String)>,
    started: usize,
    _qdrant: qdrant::Server,
}

impl Deployment {
    /// Starts one on this server, and has it take in the one document.
    pub async fn start(redis: Server, plan: Plan<'_>) -> Self {
        let qdrant = qdrant::Server::start();
        let provider = ScriptedProvider::start(vec![Reply::default_forever(plan.reply)]).await;
        let url = plan.redis_url.unwrap_or_else(|| redis.url());
        let basic = [
            ("REDIS_URL", url.as_str()),
            ("QDRANT_URL", &qdrant.url()),
            ("OPENAI_BASE_URL", &provider.base_url()),
            ("RAGQ_ADMIN_TOKEN", ADMIN_TOKEN),
            ("RAGQ_QUEUE__LEASE_MS", &LEASE.as_millis().to_string()),
            ("RAGQ_WORKER__HEARTBEAT_MS", "300"),
            ("RAGQ_WORKER__GRACE_MS", "1000"),
            ("RAGQ_REDIS__RESPONSE_TIMEOUT_MS", "1000"),
            ("RAGQ_QUEUE__BACKOFF_BASE_MS", "20"),
            ("RAGQ_QUEUE__BACKOFF_CAP_MS", "200"),
            ("RUST_LOG", "warn,ragq::worker=info"),
        ];
        let settings = basic.iter().chain(plan.settings);
        let environment = settings.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut deployment = Self {
            redis,
            provider,
            apis: Vec::new(),
            workers: Vec::new(),
            callers: Callers::new(),
            environment,
            started: 0,
            _qdrant: qdrant,
        };
        for _ in 0..plan.apis {
            deployment.start_api().await;
        }
        for _ in 0..plan.workers.max(1) {
            deployment.start_worker().await;
        }
        let document = json!({ "title": "Tides", "text": "The tide table of the harbour lists high water and low \
            water for every day of the year." });
        let job = deployment.callers.submit("/documents", document).await;
        assert_eq!(deployment.callers.ended(&job).await["status"], "completed");
        if plan.workers == 0 {
            deployment.stop_worker(0).await;
        }
        deployment
    }

    /// What its processes are told by their environment.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// One more API.
    pub async fn start_api(&mut self) {
        let member = Member::start("api", "api", &self.environment).await;
        self.callers.know(&member.url);
        self.apis.push(member);
    }

    /// One more worker; they are called `worker-1`, `worker-2` and so on.
    pub async fn start_worker(&mut self) {
        self.start_worker_by(process::ragq()).await;
    }

    /// The same by a command that runs the binary in its own way.
    pub async fn start_worker_by(&mut self, command: Command) {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        self.workers.push(Member::start_by(command, "worker", &name, &self.environment).await);
    }

    /// Kills an API; callers turn to the others.
    pub async fn kill_api(&mut self, index: usize) {
        let api = self.apis.remove(index);
        self.callers.forget(&api.url);
        api.kill().await;
    }

    /// Orders a worker to stop and waits until it has, in good order; what it logged.
    pub async fn stop_worker(&mut self, index: usize) -> String {
        let mut worker = self.workers.remove(index);
        worker.signal("TERM");
        let status = worker.ended().await;
        assert!(status.success(), "{} ended with {status}: {}", worker.name, worker.log());
        worker.log()
    }

    /// How many jobs each worker holds, by its name.
    pub async fn held(&self) -> HashMap<String, u64> {
        let queue = self.callers.admin(Method::GET, "/admin/queue", Value::Null).await;
        let mut held = HashMap::new();
        for worker in queue["workers"].as_array().unwrap() {
            let name = worker["id"].as_str().unwrap().split(':').next().unwrap().to_owned();
            *held.entry(name).or_default() += worker["running"].as_u64().unwrap();
        }
        held
    }

    /// Waits until the worker holds so many jobs.
    pub async fn until_held(&self, worker: &str, jobs: usize) {
        eventually(async || (self.held().await.get(worker).copied() == Some(jobs as u64)).then_some(())).await;
    }

    /// How often the provider was called for each question, by [`question`]'s number.
    pub fn calls(&self) -> HashMap<usize, usize> {
        let mut calls = HashMap::new();
        for call in self.provider.calls() {
            *calls.entry(number_in(&call.body)).or_default() += 1;
        }
        calls
    }

    /// Calls of the provider beyond the first for each question.
    pub fn duplicate_calls(&self) -> usize {
        self.calls().values().map(|calls| calls - 1).sum()
    }

    /// Waits until no job is unfinished, for as long as they become fewer: what was submitted in a drill may take long,
    /// and the last of them are those that the provider fails most, which stands in the way of all while its breaker is
    /// open.
    async fn until_done(&self) {
        let (mut fewest, mut since) = (u64::MAX, Instant::now());
        while fewest > 0 {
            let queue = self.callers.admin(Method::GET, "/admin/queue", Value::Null).await;
            let states = ["queued", "scheduled", "running"];
            let unfinished: u64 = states.iter().map(|state| queue["counts"][state].as_u64().unwrap()).sum();
            if unfinished < fewest {
                (fewest, since) = (unfinished, Instant::now());
            }
            assert!(since.elapsed() < Duration::from_mins(5), "{fewest} jobs are not worked on: {queue:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the deployment and checks what must hold after every fault; the final state of every job submitted.
    ///
    /// Every job that was accepted is there and final, and its log tells of one end; the queue has these jobs and no
    /// others; nobody holds a lease, and nothing is left of what waiting jobs take up.
    pub async fn finish(mut self) -> Vec<Value> {
        let jobs = self.callers.submitted();
        self.until_done().await;
        let views = self.callers.all_ended(&jobs).await;
        let mut violations = Vec::new();
        let logs = self.callers.logs(&jobs).await;
        for (view, log) in views.iter().zip(&logs) {
            violations.extend(history::judge_log(view, log));
        }
        assert!(violations.is_empty(), "{} violations, such as {:#?}", violations.len(), &violations[..1]);
        let queue = self.callers.admin(Method::GET, "/admin/queue", Value::Null).await;
        let count = |status: &str| queue["counts"][status].as_u64().unwrap();
        for unfinished in ["queued", "scheduled", "running"] {
            assert_eq!(count(unfinished), 0, "{queue}");
        }
        let there = count("completed") + count("dead") + count("cancelled");
        assert_eq!(there, jobs.len() as u64, "submitted = completed + dead + cancelled: {queue}");
        let mut client = self.redis.client().await;
        for kind in ["chat", "ingest", "replay"] {
            let leases: u64 = say(&mut client, &format!("ZCARD {{ragq}}:inflight:{kind}")).await.unwrap();
            assert_eq!(leases, 0, "of kind {kind}");
        }
        let bytes: i64 = say(&mut client, "HGET {ragq}:counters bytes").await.unwrap();
        assert_eq!(bytes, 0, "no job waits, but they take up bytes");
        while !self.workers.is_empty() {
            self.stop_worker(0).await;
        }
        for api in &mut self.apis {
            api.signal("TERM");
            assert!(api.ended().await.success(), "{}", api.log());
        }
        views
    }
}

/// A question that tells its number, so that calls of the provider can be told apart.
pub fn question(number: usize) -> Value {
    json!({ "query": format!("Question {number}: what does the tide table of the harbour list?") })
}

/// The number of the question that a call of the provider is about.
pub fn number_in(body: &Value) -> usize {
    let text = body["messages"].to_string();
    let rest = text.rsplit("Question ").next().expect("it is about a question");
    rest.split(':').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number in {text}"))
}

/// The sum of a counter over jobs.
pub fn sum(views: &[Value], counter: &str) -> u64 {
    views.iter().map(|view| view[counter].as_u64().unwrap()).sum()
}
