//! What ragq's client of the provider costs a call, against the plain HTTP client: in turns, on the simulated provider.

use std::{path::Path, sync::Arc};

use futures::StreamExt as _;
use ragq::{
    config::Settings,
    domain::clock::SystemClock,
    gate::Gates,
    model::{AnswerModel, AnswerRequest, Bounds, Message, Role, openai::OpenAiModel},
    queue::{
        Cells,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
    telemetry::metrics::{Metrics, Scope, Sets},
};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    task::JoinSet,
    time::{Duration, Instant, sleep_until},
};

use super::{
    server::{RAGQ, Server, client},
    usage::{self, quantile},
};

/// Calls a second, how many of them in a round, and rounds of each way.
const RATE: u32 = 500;
const CALLS: u32 = 500;
/// Many short ones: whatever else the machine does meets both ways alike, and the median is of those that it left alone.
const ROUNDS: usize = 24;

/// The question with its passages: about 1,500 tokens.
const PROMPT_WORDS: usize = 1_200;
const LONGEST_ANSWER: u32 = 1_024;
/// Far more than is used: what is measured is that it is counted.
const TOKENS_PER_MINUTE: u64 = 1_000_000_000;

/// One way to make a call.
#[derive(Clone)]
enum Way {
    /// The HTTP client and nothing else; the reply is read and not looked at.
    Direct { http: reqwest::Client, url: String, body: Arc<Value> },
    /// What a worker calls.
    Stack { model: Arc<dyn AnswerModel>, messages: Vec<Message> },
}

impl Way {
    async fn call(self) {
        match self {
            Self::Direct { http, url, body } => {
                let mut reply = http.post(url).json(&*body).send().await.expect("a reply");
                assert!(reply.status().is_success(), "{}", reply.status());
                while reply.chunk().await.expect("a whole reply").is_some() {}
            }
            Self::Stack { model, messages } => {
                let request =
                    AnswerRequest { question: String::new(), passages: [].into(), messages, bounds: Bounds::default() };
                let mut parts = model.answer(request).await.expect("an answer");
                while let Some(part) = parts.next().await {
                    part.expect("a whole answer");
                }
            }
        }
    }

    /// CPU time of this process for the calls, and their latencies from when they were due.
    async fn round(&self) -> (Duration, Vec<Duration>) {
        let before = usage::cpu(std::process::id());
        let begun = Instant::now();
        let mut calls = JoinSet::new();
        for number in 0..CALLS {
            let due = begun + Duration::from_secs(1) * number / RATE;
            sleep_until(due).await;
            let way = self.clone();
            calls.spawn(async move {
                way.call().await;
                due.elapsed()
            });
        }
        let mut latencies = calls.join_all().await;
        latencies.sort_unstable();
        (usage::cpu(std::process::id()).saturating_sub(before), latencies)
    }
}

/// A worker's model before the provider at `url`, with its gate in a job store of its own.
fn stack(url: &str, folder: &Path, tokens_per_minute: Option<u64>) -> (Gates, Arc<dyn AnswerModel>) {
    let mut settings = Settings::default();
    settings.model.base_url = Some(url.to_owned());
    settings.model.max_tokens = LONGEST_ANSWER;
    settings.model.tokens_per_minute = tokens_per_minute;
    settings.worker.chat_slots = CALLS;
    let file = folder.join(format!("{}.db", tokens_per_minute.is_some()));
    let store = SqliteJobStore::open(&file, SqliteOptions::default(), Arc::new(SystemClock)).expect("a job store");
    let cells: Arc<dyn Cells> = Arc::new(store);
    let metrics = Metrics::new(Scope::Process, Sets::default()).expect("metrics");
    let gates = Gates::open(&settings, &cells, &metrics);
    let model = OpenAiModel::new(&settings.model, &gates.chat()[0]).expect("a model");
    (gates, Arc::new(model))
}

/// Measures the ways in turns.
pub async fn run() {
    let mut command = Command::new(RAGQ);
    command.args(["provider-sim", "--listen", "127.0.0.1:0", "--first-token-ms", "20", "--token-ms", "0"]);
    let sim = Server::spawn(command).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (gates, free) = stack(&sim.url, folder.path(), None);
    let (limited_gates, limited) = stack(&sim.url, folder.path(), Some(TOKENS_PER_MINUTE));
    let content = "word ".repeat(PROMPT_WORDS);
    let body = json!({ "model": "bench", "messages": [{ "role": "user", "content": content }],
        "max_tokens": LONGEST_ANSWER, "stream": true, "stream_options": { "include_usage": true } });
    let messages = vec![Message { role: Role::User, content: content.into() }];
    let ways = [
        Way::Direct { http: client(), url: format!("{}/chat/completions", sim.url), body: Arc::new(body) },
        Way::Stack { model: free, messages: messages.clone() },
        Way::Stack { model: limited, messages },
    ];
    for way in &ways {
        way.round().await;
    }
    let (mut cpu, mut p99) = ([Duration::ZERO; 3], [const { Vec::new() }; 3]);
    let before = usage::cpu(sim.pid);
    for _ in 0..ROUNDS {
        for (at, way) in ways.iter().enumerate() {
            let (used, latencies) = way.round().await;
            cpu[at] += used;
            p99[at].push(quantile(&latencies, 0.99));
        }
    }
    let simulator = usage::cpu(sim.pid).saturating_sub(before) / (CALLS * (ways.len() * ROUNDS) as u32);
    gates.close().await;
    limited_gates.close().await;
    let median = |spans: &[Duration]| {
        let mut spans = spans.to_vec();
        spans.sort_unstable();
        quantile(&spans, 0.5).as_secs_f64() * 1e6
    };
    let [direct, stack, budget] = cpu.map(|used| (used / (CALLS * ROUNDS as u32)).as_secs_f64() * 1e6);
    let [direct_p99, stack_p99, budget_p99] = p99.each_ref().map(|spans| median(spans));
    println!(
        "{}",
        json!({
            "bench": "provider", "calls_a_second": RATE,
            "cpu_us": { "direct": direct as u64, "stack": stack as u64, "with_budget": budget as u64,
                "overhead": (stack - direct) as i64, "overhead_with_budget": (budget - direct) as i64,
                "simulator": simulator.as_micros() as u64 },
            "p99_us": { "direct": direct_p99 as u64, "stack": stack_p99 as u64, "with_budget": budget_p99 as u64,
                "ratio": stack_p99 / direct_p99, "ratio_with_budget": budget_p99 / direct_p99 },
        })
    );
}
