//! What calls cost, counted three times: by the provider that was called, by the metrics of the real binary, by the jobs'
//! records. All three agree on every token, whatever became of the call.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{eventually, process::Up, sim::Sim};

/// A `ragq up` before a simulated provider.
struct Ledger {
    sim: Sim,
    up: Up,
    http: reqwest::Client,
    _data: tempfile::TempDir,
}

/// The label of what was asked for answers.
const CHAT: &str = r#"operation="chat""#;

/// Prompt and completion tokens.
type Sides = [u64; 2];

impl Ledger {
    async fn open() -> Self {
        let sim = Sim::start(&["--first-token-ms", "0", "--token-ms", "0"]).await;
        let data = tempfile::tempdir().unwrap();
        let environment = [
            ("OPENAI_BASE_URL", sim.base_url.as_str()),
            ("RAGQ_EMBEDDING__MODEL", "embed-1"),
            ("RAGQ_QUEUE__BACKOFF_BASE_MS", "100"),
            ("RAGQ_QUEUE__BACKOFF_CAP_MS", "1000"),
            ("RAGQ_BREAKER__PAUSE_MS", "100"),
            ("RAGQ_BREAKER__FAILURES", "100"),
            ("RAGQ_ADMIN_TOKEN", "the-token-of-this-ledger"),
        ];
        let up = Up::start(&data.path().join("data"), &environment).await;
        let http = reqwest::Client::builder().build().unwrap();
        let ledger = Self { sim, up, http, _data: data };
        let document = json!({ "title": "Tides", "text": "High water is at noon. ".repeat(200) });
        let taken_in = ledger.submit("/documents", document).await;
        assert_eq!(ledger.ended(&taken_in).await["status"], "completed");
        ledger
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("{}{path}", self.up.url));
        let request = request.bearer_auth("the-token-of-this-ledger").json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn submit(&self, path: &str, body: Value) -> String {
        let answer = self.json(Method::POST, path, body).await;
        answer["job_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn ask(&self, max_attempts: u32) -> String {
        self.submit("/chat", json!({ "query": "When is high water?", "max_attempts": max_attempts })).await
    }

    async fn view(&self, job: &str) -> Value {
        self.json(Method::GET, &format!("/job-status?job_id={job}&wait_ms=1000"), Value::Null).await
    }

    async fn ended(&self, job: &str) -> Value {
        eventually(async || Some(self.view(job).await).filter(|view| !view["finished_at"].is_null())).await
    }

    /// All series of a metric: its labels, as they are written, and its value.
    async fn metric(&self, name: &str) -> BTreeMap<String, u64> {
        let text = self.http.get(format!("{}/metrics", self.up.url)).send().await.unwrap().text().await.unwrap();
        let of = |line: &str| {
            let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
            Some((labels.to_owned(), value.parse::<f64>().ok()? as u64))
        };
        text.lines().filter_map(of).collect()
    }

    /// The sum of those series of a metric that carry all these labels.
    async fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let series = self.metric(name).await;
        series.iter().filter(|(has, _)| labels.iter().all(|label| has.contains(label))).map(|(_, value)| value).sum()
    }

    /// Tokens by what became of them.
    async fn tokens(&self) -> BTreeMap<&'static str, Sides> {
        let mut tokens = BTreeMap::new();
        for (fate, label) in [
            ("useful", r#"fate="useful""#),
            ("retried", r#"fate="retried""#),
            ("cancelled", r#"fate="cancelled""#),
            ("lost", r#"fate="lost""#),
        ] {
            let mut sides = [0, 0];
            for (side, of) in sides.iter_mut().zip([r#"side="prompt""#, r#"side="completion""#]) {
                *side = self.sum("ragq_provider_tokens_total", &[label, of]).await;
            }
            tokens.insert(fate, sides);
        }
        tokens
    }

    /// What the provider counted since the last time, once no call is under way.
    async fn provider(&self) -> (u64, Sides) {
        eventually(async || (self.sim.stats().await["in_flight"] == 0).then_some(())).await;
        let stats = self.sim.take_stats().await;
        let number = |name: &str| stats[name].as_u64().unwrap();
        (number("calls"), [number("prompt_tokens"), number("completion_tokens")])
    }

    /// The provider, the metrics and the job agree on what happened since `before`, and on what became of it;
    /// how many calls that was.
    async fn agrees(
        &self,
        job: &str,
        before: &BTreeMap<&'static str, Sides>,
        came_to: &[(&'static str, Sides)],
    ) -> u64 {
        let (calls, counted) = self.provider().await;
        let expected: BTreeMap<_, Sides> = before
            .iter()
            .map(|(fate, sides)| {
                let more = came_to.iter().find(|(of, _)| of == fate).map_or([0, 0], |(_, more)| *more);
                (*fate, [sides[0] + more[0], sides[1] + more[1]])
            })
            .collect();
        let total = came_to.iter().fold([0, 0], |sum, (_, more)| [sum[0] + more[0], sum[1] + more[1]]);
        assert_eq!(total, counted, "the provider's own count");
        // What is counted after a job's end is there a moment after it.
        let same = eventually(async || (self.tokens().await == expected).then_some(()));
        timeout(PATIENCE, same).await.ok();
        assert_eq!(self.tokens().await, expected, "the metrics");
        let usage = eventually(async || {
            Some(self.view(job).await["usage_total"].clone()).filter(|usage| usage["calls"] == calls)
        })
        .await;
        let useful = came_to.iter().find(|(fate, _)| *fate == "useful").map_or([0, 0], |(_, sides)| *sides);
        let wasted = total[0] + total[1] - useful[0] - useful[1];
        let record = json!({ "calls": calls, "prompt_tokens": counted[0], "completion_tokens": counted[1],
            "wasted_tokens": wasted });
        assert_eq!(usage, record, "the job's record");
        calls
    }

    /// Waits until the job's reader has been told of a piece of the answer.
    async fn until_heard(&self, job: &str) {
        let mut events = self.http.get(format!("{}/jobs/{job}/events", self.up.url)).send().await.unwrap();
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains("event: delta") {
            told.extend(events.chunk().await.unwrap().expect("it goes on"));
        }
    }

    /// Waits until the provider has let so many calls fail, then mends it.
    async fn mend_after(&self, fault: &str, failed: u64) {
        eventually(async || (self.sim.stats().await["faults"][fault].as_u64() >= Some(failed)).then_some(())).await;
        self.sim.plan(json!({})).await;
    }
}

/// How long metrics may lag behind a job's end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tokens of an answer, and those that are said of one that breaks off.
const WHOLE: u64 = 60;
const BROKEN: u64 = 3;

#[tokio::test]
async fn provider_metrics_and_records_agree_on_every_token_whatever_became_of_the_call() {
    let ledger = Ledger::open().await;
    let (calls, counted) = ledger.provider().await;
    assert_eq!(ledger.tokens().await["useful"], counted, "taking in a document");
    assert!(calls > 0 && counted[1] == 0, "{calls} calls, {counted:?}");
    let mut all_calls = calls;

    let before = ledger.tokens().await;
    let job = ledger.ask(1).await;
    let view = ledger.ended(&job).await;
    assert_eq!(view["status"], "completed", "{view}");
    let prompt = view["result"]["usage"]["prompt_tokens"].as_u64().unwrap();
    // The question's own vector.
    let vector = view["usage_total"]["prompt_tokens"].as_u64().unwrap() - prompt;
    assert!(vector > 0, "{view}");
    all_calls += ledger.agrees(&job, &before, &[("useful", [vector + prompt, WHOLE])]).await;

    // Broken off again and again, then whole.
    let before = ledger.tokens().await;
    ledger.sim.plan(json!({ "faults": ["cut,on=chat"] })).await;
    let job = ledger.ask(50).await;
    ledger.mend_after("cut", 2).await;
    let view = ledger.ended(&job).await;
    let broken = view["attempt"].as_u64().unwrap() - 1;
    let retried = [vector + broken * prompt, broken * BROKEN];
    all_calls += ledger.agrees(&job, &before, &[("retried", retried), ("useful", [prompt, WHOLE])]).await;

    // Broken off as often as it may be.
    let before = ledger.tokens().await;
    ledger.sim.plan(json!({ "faults": ["cut,on=chat"] })).await;
    let job = ledger.ask(2).await;
    assert_eq!(ledger.ended(&job).await["status"], "dead");
    let (retried, lost) = ([vector + prompt, BROKEN], [prompt, BROKEN]);
    all_calls += ledger.agrees(&job, &before, &[("retried", retried), ("lost", lost)]).await;

    // Called off after the first token.
    let before = ledger.tokens().await;
    ledger.sim.plan(json!({ "token_ms": 60_000 })).await;
    let job = ledger.ask(1).await;
    ledger.until_heard(&job).await;
    ledger.json(Method::DELETE, &format!("/jobs/{job}"), Value::Null).await;
    all_calls += ledger.agrees(&job, &before, &[("cancelled", [vector + prompt, 1])]).await;

    // Refused with what nobody knows: it costs nothing, and an operator can see it.
    let before = ledger.tokens().await;
    ledger.sim.plan(json!({ "faults": ["424,on=chat"] })).await;
    let job = ledger.ask(2).await;
    assert_eq!(ledger.ended(&job).await["error"]["code"], "unknown");
    all_calls += ledger.agrees(&job, &before, &[("retried", [vector, 0])]).await;
    assert_eq!(ledger.sum("ragq_failures_total", &[r#"code="unknown""#]).await, 2);

    // Left alone, tried again, well again.
    let before = ledger.tokens().await;
    ledger.sim.plan(json!({ "faults": ["401,on=chat"] })).await;
    let job = ledger.ask(1).await;
    let is = async |state: &str| {
        ledger.sum("ragq_provider_breaker_state", &[CHAT, &format!(r#"state="{state}""#)]).await == 1
    };
    eventually(async || is("open").await.then_some(())).await;
    ledger.mend_after("status", 2).await;
    assert_eq!(ledger.ended(&job).await["status"], "completed");
    all_calls += ledger.agrees(&job, &before, &[("retried", [vector, 0]), ("useful", [prompt, WHOLE])]).await;
    eventually(async || is("closed").await.then_some(())).await;
    let turns = async |state: &str| {
        ledger.sum("ragq_provider_breaker_transitions_total", &[CHAT, &format!(r#"state="{state}""#)]).await
    };
    let refused = ledger.sum("ragq_failures_total", &[r#"code="provider_unauthorized""#]).await;
    assert_eq!([turns("open").await, turns("half_open").await, turns("closed").await], [refused, refused, 1]);
    assert_eq!(ledger.sum("ragq_deferrals_total", &[r#"code="provider_unauthorized""#]).await, refused);

    assert_eq!(ledger.sum("ragq_provider_calls_total", &[]).await, all_calls);
    assert_eq!(ledger.sum("ragq_provider_calls_in_flight", &[]).await, 0);
}
