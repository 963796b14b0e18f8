//! What a collector is sent of a job's life, by real processes.

use std::fs::File;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use ragq::domain::origin::TraceId;
use serde_json::{Value, json};

use crate::{
    faults::deployment::{ANSWER, Deployment, Plan},
    support::{
        collector::{Collector, Span},
        eventually,
        process::Up,
        provider::{Gate, Reply, ScriptedProvider},
        redis::Server,
    },
};

/// What stands in document, question, answer and key, and must not stand in a trace.
const SECRET: &str = "SECRET";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// `ragq up` before a provider that fails once, with a document taken in.
struct Scene {
    up: Up,
    provider: ScriptedProvider,
    folder: tempfile::TempDir,
    document: Value,
    http: reqwest::Client,
}

impl Scene {
    async fn start(endpoint: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = vec![
            Reply::default_forever(Reply::embeddings(8)),
            Reply::status(500),
            Reply::default_forever(Reply::text("It is SECRET [1].").model("gpt-that-answered").usage(90, 7)),
        ];
        let provider = ScriptedProvider::start(script).await;
        let base_url = provider.base_url();
        let mut environment = vec![
            ("OPENAI_BASE_URL", base_url.as_str()),
            ("OPENAI_API_KEY", "sk-SECRET"),
            ("RAGQ_EMBEDDING__MODEL", "embedder"),
            ("RAGQ_MODEL__NAME", "gpt-asked-for"),
            ("RAGQ_QUEUE__BACKOFF_BASE_MS", "20"),
            ("RAGQ_LOG__FORMAT", "json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("RAGQ_TRACE__SAMPLE_RATIO", "1"),
        ];
        environment.extend_from_slice(settings);
        let log = File::create(folder.path().join("log")).unwrap();
        let up = Up::start_logging(&folder.path().join("data"), &environment, &[], log).await;
        let http = reqwest::Client::builder().build().unwrap();
        let mut scene = Self { up, provider, folder, document: Value::Null, http };
        let text = "The SECRET of the harbour is kept in the lighthouse.";
        scene.document = scene.done("/documents", "", json!({ "title": SECRET, "text": text })).await;
        scene
    }

    /// Submits, under this trace context unless it is empty; the job when it is completed.
    async fn done(&self, path: &str, traceparent: &str, body: Value) -> Value {
        done(&self.http, &self.up.url, path, traceparent, body).await
    }

    async fn ask(&self, traceparent: &str) -> Value {
        self.done("/chat", traceparent, json!({ "query": "Where is the SECRET of the harbour?" })).await
    }

    /// How many spans its metrics say were sent or lost.
    async fn spans(&self, fate: &str) -> u64 {
        let text = self.http.get(format!("{}/metrics", self.up.url)).send().await.unwrap().text().await.unwrap();
        let series = format!("ragq_spans_total{{fate=\"{fate}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&series)).expect("it is there from the start");
        value.parse().unwrap()
    }

    /// Ends it in order; its log.
    async fn end(self) -> String {
        assert!(self.up.stop().await.success());
        self.provider.finish();
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

async fn done(http: &reqwest::Client, url: &str, path: &str, traceparent: &str, body: Value) -> Value {
    let mut request = http.post(format!("{url}{path}")).json(&body);
    if !traceparent.is_empty() {
        request = request.header("traceparent", traceparent);
    }
    let accepted: Value = request.send().await.unwrap().json().await.unwrap();
    let job = accepted["job_id"].as_str().expect("a job").to_owned();
    eventually(async || {
        let status = http.get(format!("{url}/job-status?job_id={job}&wait_ms=1000")).send().await.unwrap();
        let status: Value = status.json().await.unwrap();
        (status["status"] == "completed").then_some(status)
    })
    .await
}

fn sampled() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

/// The children of a span, in the order of their ends.
fn children<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.parent == parent.id).collect()
}

fn names(spans: &[&Span]) -> Vec<String> {
    spans.iter().map(|span| span.name.clone()).collect()
}

/// The only span of that name.
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

/// Checks the trace of a question that was tried twice; its attempts.
fn check(spans: &[Span], job: &Value) -> (Span, Span) {
    let request = only(spans, "POST /chat");
    assert_eq!((request.kind, request.parent.as_str()), (SpanKind::Server, CALLER));
    assert_eq!(request.get("http.response.status_code"), 202);
    assert_eq!((request.get("http.route"), request.get("http.request.method")), (json!("/chat"), json!("POST")));
    let submit = only(spans, "submit chat");
    assert_eq!((submit.kind, &submit.parent), (SpanKind::Producer, &request.id));
    assert_eq!(submit.get("messaging.operation.type"), "send");
    assert_eq!(submit.get("messaging.message.id"), job["job_id"]);
    let attempts = children(spans, submit);
    assert_eq!(names(&attempts), ["process chat", "process chat"]);
    let (first, second) = (attempts[0], attempts[1]);
    for (attempt, number) in [(first, 1), (second, 2)] {
        assert_eq!(attempt.kind, SpanKind::Consumer);
        assert_eq!((attempt.get("ragq.job.attempt"), attempt.get("ragq.job.delivery")), (json!(number), json!(number)));
        assert_eq!(attempt.get("messaging.message.id"), job["job_id"]);
        assert_eq!(attempt.get("messaging.destination.name"), "chat");
        assert_eq!(attempt.get("messaging.system"), "ragq");
        assert!(attempt.get("messaging.client.id").is_string() && attempt.get("ragq.job.wait_ms").is_i64());
    }
    assert_eq!(first.links, [submit.id.as_str()]);
    assert_eq!(second.links, [submit.id.as_str(), first.id.as_str()]);
    assert!(first.failed && !second.failed);
    assert_eq!((first.get("ragq.job.outcome"), first.get("error.type")), (json!("retried"), json!("provider_error")));
    assert_eq!((second.get("ragq.job.outcome"), second.get("error.type")), (json!("completed"), Value::Null));
    (first.clone(), second.clone())
}

#[tokio::test]
async fn a_job_retried_once_is_one_trace_of_linked_attempts_without_any_content() {
    let collector = Collector::start().await;
    let scene = Scene::start(&collector.endpoint, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")]).await;
    let job = scene.ask(&sampled()).await;
    assert_eq!((&job["trace_id"], &job["deliveries"]), (&json!(TRACE), &json!(2)));
    let unsampled = scene.ask(&format!("00-{}-{CALLER}-00", "a".repeat(32))).await;
    assert_eq!(unsampled["trace_id"], "a".repeat(32));
    eventually(async || (scene.spans("sent").await > 0).then_some(())).await;
    assert_eq!(scene.spans("lost").await, 0);
    let (document, port) = (scene.document.clone(), reqwest::Url::parse(&scene.provider.base_url()).unwrap());
    scene.end().await;

    // What was left was sent at the end.
    let spans = collector.trace(TRACE);
    let (first, second) = check(&spans, &job);
    assert_eq!(names(&children(&spans, &first)), ["retrieve", "chat gpt-asked-for", "settle"]);
    assert_eq!(names(&children(&spans, &second)), ["chat gpt-asked-for", "settle"], "retrieved once");
    let retrieve = only(&spans, "retrieve");
    assert_eq!(names(&children(&spans, retrieve)), ["embed", "search", "filter"]);
    assert_eq!(
        (retrieve.get("ragq.retrieval.mode"), retrieve.get("ragq.retrieval.passages")),
        (json!("hybrid"), json!(1))
    );
    let embed = only(&spans, "embeddings embedder");
    assert_eq!((&embed.parent, embed.kind), (&only(&spans, "embed").id, SpanKind::Client));
    assert_eq!(embed.get("gen_ai.operation.name"), "embeddings");

    let calls: Vec<_> = spans.iter().filter(|span| span.name.starts_with("chat ")).collect();
    for call in &calls {
        assert_eq!(call.kind, SpanKind::Client);
        assert_eq!(call.get("gen_ai.operation.name"), "chat");
        assert_eq!(call.get("gen_ai.request.model"), "gpt-asked-for");
        assert!(call.get("gen_ai.provider.name").is_string() && call.get("gen_ai.request.max_tokens").is_i64());
        assert_eq!((call.get("server.address"), call.get("server.port")), (json!("127.0.0.1"), json!(port.port())));
    }
    assert_eq!((calls[0].failed, calls[0].get("error.type")), (true, json!("provider_error")));
    assert_eq!((calls[1].failed, calls[1].get("error.type")), (false, Value::Null));
    assert_eq!(calls[1].get("gen_ai.response.model"), "gpt-that-answered");
    assert_eq!(calls[1].get("gen_ai.response.finish_reasons"), json!(["stop"]));
    assert_eq!(
        (calls[1].get("gen_ai.usage.input_tokens"), calls[1].get("gen_ai.usage.output_tokens")),
        (json!(90), json!(7))
    );
    assert_eq!(spans.len(), 13, "{spans:#?}");

    // A request that brings no context begins a trace that is called like its job.
    let bits = document["job_id"].as_str().unwrap().parse::<ragq::domain::ids::JobId>().unwrap();
    assert_eq!(document["trace_id"], TraceId::from(bits).to_string());
    let spans = collector.trace(document["trace_id"].as_str().unwrap());
    assert_eq!(only(&spans, "POST /documents").parent, "");
    let attempt = only(&spans, "process ingest");
    assert_eq!(attempt.parent, only(&spans, "submit ingest").id);
    assert_eq!(names(&children(&spans, attempt)), ["extract", "embed", "index", "settle"]);

    assert!(collector.trace(&"a".repeat(32)).is_empty(), "its caller did not want it recorded");
    let traces: std::collections::HashSet<_> = collector.spans().into_iter().map(|span| span.trace).collect();
    assert_eq!(traces.len(), 2, "reads and probes begin no trace");
    assert!(!collector.holds(SECRET) && !collector.holds("harbour"));
    assert!(collector.headers().iter().all(|headers| headers["x-key"] == "a b"));
    let resource = &collector.spans()[0].resource;
    assert_eq!((&resource["service.name"], resource.contains_key("service.instance.id")), (&json!("ragq"), true));
}

#[tokio::test]
async fn questions_and_answers_are_in_traces_only_when_opted_in() {
    let collector = Collector::start().await;
    let scene = Scene::start(&collector.endpoint, &[("RAGQ_TRACE__INCLUDE_CONTENT", "true")]).await;
    scene.ask(&sampled()).await;
    scene.end().await;
    let spans = collector.trace(TRACE);
    let calls: Vec<_> = spans.iter().filter(|span| span.name.starts_with("chat ")).collect();
    let messages =
        |span: &Span, name: &str| -> Value { serde_json::from_str(span.get(name).as_str().unwrap_or("null")).unwrap() };
    for call in &calls {
        let asked = messages(call, "gen_ai.input.messages");
        let last = asked.as_array().unwrap().last().unwrap();
        assert_eq!(last["role"], "user");
        assert!(last["parts"][0]["content"].as_str().unwrap().contains("Where is the SECRET of the harbour?"));
    }
    assert!(messages(calls[0], "gen_ai.output.messages").is_null());
    let parts = json!([{ "type": "text", "content": "It is SECRET [1]." }]);
    let answered = json!([{ "role": "assistant", "parts": parts, "finish_reason": "stop" }]);
    assert_eq!(messages(calls[1], "gen_ai.output.messages"), answered);
    assert!(!collector.holds("sk-SECRET"));
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_hinders_nothing() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint.clone();
    drop(collector);
    let scene = Scene::start(&endpoint, &[]).await;
    let told = |log: &str| log.lines().filter(|line| line.contains("traces can't be sent")).count();
    let log = scene.folder.path().join("log");
    eventually(async || (told(&std::fs::read_to_string(&log).unwrap()) > 0).then_some(())).await;
    scene.ask(&sampled()).await;
    eventually(async || (scene.spans("lost").await > 0).then_some(())).await;
    assert_eq!(scene.spans("sent").await, 0);
    // The end sends again, in vain.
    assert_eq!(told(&scene.end().await), 1);
}

#[tokio::test]
async fn one_trace_goes_from_the_api_through_redis_to_the_worker() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint.as_str();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("RAGQ_TRACE__SAMPLE_RATIO", "0")];
    let plan = Plan { settings: &settings, ..Plan::default() };
    let deployment = Deployment::start(Server::start(&[]).await, plan).await;
    deployment.provider.then(vec![Reply::status(500)]);
    let http = reqwest::Client::builder().build().unwrap();
    let question = json!({ "query": "What does the tide table list?" });
    let job = done(&http, &deployment.apis[0].url, "/chat", &sampled(), question).await;
    let complete = |spans: &[Span]| spans.iter().filter(|span| span.name == "process chat").count() == 2;
    let spans = eventually(async || Some(collector.trace(TRACE)).filter(|spans| complete(spans))).await;
    let spans = eventually(async || {
        let all = collector.trace(TRACE);
        (all.len() >= spans.len() && all.iter().any(|span| span.name == "POST /chat")).then_some(all)
    })
    .await;
    let (attempt, _) = check(&spans, &job);
    let instance = |span: &Span| span.resource["service.instance.id"].as_str().unwrap().to_owned();
    let (api, worker) = (instance(only(&spans, "POST /chat")), instance(&attempt));
    assert!(api.starts_with("api:") && worker.starts_with("worker-1:"), "{api}, {worker}");
    let traces: std::collections::HashSet<_> = collector.spans().into_iter().map(|span| span.trace).collect();
    assert_eq!(traces.len(), 1, "at a ratio of 0 no other trace begins");
}

#[tokio::test]
async fn a_repeated_request_is_traced_with_the_job_of_the_first() {
    let collector = Collector::start().await;
    let scene = Scene::start(&collector.endpoint, &[]).await;
    let ask = async |query: &str| -> Value {
        let request = scene.http.post(format!("{}/chat", scene.up.url)).header("Idempotency-Key", "once");
        let request = request.header("traceparent", sampled()).json(&json!({ "query": query }));
        request.send().await.unwrap().json().await.unwrap()
    };
    let (first, again) = (ask("Where is the harbour?").await, ask("Where is the harbour?").await);
    assert!(first["job_id"].is_string() && first["job_id"] == again["job_id"], "{first} {again}");
    assert_eq!(ask("Where is the lighthouse?").await["code"], "idempotency_key_reused");
    scene.end().await;
    let spans = collector.trace(TRACE);
    let submits = spans.iter().filter(|span| span.name == "submit chat");
    let (stored, refused): (Vec<_>, Vec<_>) = submits.partition(|span| !span.failed);
    assert_eq!((stored.len(), refused.len()), (2, 1));
    assert!(stored.iter().all(|span| span.get("messaging.message.id") == first["job_id"]), "{stored:#?}");
    assert!(refused.iter().all(|span| span.get("messaging.message.id").is_null()), "{refused:#?}");
}

#[tokio::test]
async fn an_attempt_that_could_not_be_settled_is_not_called_lost() {
    let collector = Collector::start().await;
    let gate = Gate::new();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str())];
    let reply = Reply::text(ANSWER).held_after_first_by(&gate);
    let plan = Plan { settings: &settings, reply, ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let http = reqwest::Client::builder().build().unwrap();
    let request = http.post(format!("{}/chat", deployment.apis[0].url)).header("traceparent", sampled());
    let accepted = request.json(&json!({ "query": "What does the tide table list?" })).send().await.unwrap();
    assert!(accepted.status().is_success());
    deployment.until_held("worker-1", 1).await;
    deployment.provider.until("the question", |counts| counts.in_flight == 1).await;
    deployment.redis.kill9().await;
    // It hands the job back when its grace is over, but nobody takes it.
    let worker = &mut deployment.workers[0];
    worker.signal("TERM");
    worker.ended().await;
    let told = [worker.logged("job handed back"), worker.logged("job not settled")];
    assert_eq!(told, [0, 1], "{}", worker.log());
    let spans = collector.trace(TRACE);
    let attempt = only(&spans, "process chat");
    assert_eq!(attempt.get("ragq.job.outcome"), "unsettled");
}
