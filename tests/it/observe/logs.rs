//! What the log of a real process says of a job's life, and what it must not say.

use std::fs::File;

use serde_json::{Value, json};

use crate::support::{
    eventually,
    process::{Up, ragq},
    provider::{Reply, ScriptedProvider},
};

/// What stands in document, question, answer, key and refusal, and must not stand in a log.
const SECRET: &str = "SECRET";

/// The lines of a log that holds nothing but JSON.
#[track_caller]
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

fn document() -> Value {
    json!({ "title": SECRET, "text": "The SECRET of the harbour is kept in the lighthouse." })
}

fn question() -> Value {
    json!({ "query": "Where is the SECRET of the harbour?" })
}

/// Submits; the job when it is completed or dead.
async fn ended(up: &Up, path: &str, request_id: &str, body: Value) -> Value {
    let http = reqwest::Client::builder().build().unwrap();
    let request = http.post(format!("{}{path}", up.url)).header("x-request-id", request_id).json(&body);
    let accepted: Value = request.send().await.unwrap().json().await.unwrap();
    let job = accepted["job_id"].as_str().expect("a job").to_owned();
    eventually(async || {
        let status = http.get(format!("{}/job-status?job_id={job}&wait_ms=1000", up.url)).send().await.unwrap();
        let status: Value = status.json().await.unwrap();
        ["completed", "dead"].contains(&status["status"].as_str()?).then_some(status)
    })
    .await
}

#[tokio::test]
async fn every_line_of_a_job_s_life_names_it_and_its_request_and_none_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ScriptedProvider::start(vec![Reply::status(500), Reply::text("It is SECRET [1].")]).await;
    let log = folder.path().join("log");
    let environment = [
        ("OPENAI_BASE_URL", provider.base_url()),
        ("OPENAI_API_KEY", "sk-SECRET".to_owned()),
        ("RAGQ_LOG__FORMAT", "json".to_owned()),
        ("RUST_LOG", "info,ragq=trace".to_owned()),
        ("RAGQ_QUEUE__BACKOFF_BASE_MS", "20".to_owned()),
    ];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let up = Up::start_logging(&folder.path().join("data"), &environment, &[], File::create(&log).unwrap()).await;
    let document = ended(&up, "/documents", "r-put", document()).await;
    let question = ended(&up, "/chat", "r-ask", question()).await;
    assert_eq!(question["deliveries"], 2);
    up.stop().await;
    provider.finish();

    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    let lines = lines(&text);
    assert!(lines.iter().any(|line| line["text"].as_str().is_some_and(|text| text.starts_with("ragq is stopping"))));
    for (job, request_id, messages) in [
        (&document, "r-put", vec!["request", "job completed"]),
        (&question, "r-ask", vec!["request", "job to be retried", "job completed"]),
    ] {
        let of_job: Vec<_> = lines.iter().filter(|line| line["job.id"] == job["job_id"]).collect();
        assert!(of_job.iter().all(|line| line["request.id"] == request_id), "{of_job:#?}");
        assert!(of_job.iter().all(|line| line["trace_id"] == job["trace_id"]), "{of_job:#?}");
        let of_request: Vec<_> = lines.iter().filter(|line| line["request.id"] == request_id).collect();
        assert!(of_request.iter().all(|line| line["job.id"] == job["job_id"]), "{of_request:#?}");
        let told: Vec<_> = of_job.iter().filter(|line| line["level"] == "INFO").map(|line| &line["message"]).collect();
        assert_eq!(told, messages, "one line a request and one an attempt");
    }
    let attempts: Vec<_> = lines.iter().filter(|line| line["job.id"] == question["job_id"]).collect();
    let attempts: Vec<_> = attempts.iter().filter_map(|line| line["job.attempt"].as_u64()).collect();
    assert_eq!((attempts.first(), attempts.last()), (Some(&1), Some(&2)));
}

#[tokio::test]
async fn what_is_logged_alone_names_its_job_and_request_too() {
    for filter in ["warn", "ragq::worker=info"] {
        let folder = tempfile::tempdir().unwrap();
        let provider = ScriptedProvider::start(vec![Reply::status(400)]).await;
        let (base_url, log) = (provider.base_url(), folder.path().join("log"));
        let environment = [
            ("OPENAI_BASE_URL", base_url.as_str()),
            ("OPENAI_API_KEY", "sk-SECRET"),
            ("RAGQ_LOG__FORMAT", "json"),
            ("RUST_LOG", filter),
        ];
        let up = Up::start_logging(&folder.path().join("data"), &environment, &[], File::create(&log).unwrap()).await;
        assert_eq!(ended(&up, "/documents", "r-put", document()).await["status"], "completed");
        let job = ended(&up, "/chat", "r-ask", question()).await;
        up.stop().await;
        let text = std::fs::read_to_string(&log).unwrap();
        let mut lines = lines(&text).into_iter();
        let said = lines.find(|line| line["message"] == "job dead").unwrap_or_else(|| panic!("{filter}: {text}"));
        assert_eq!((&said["job.id"], &said["request.id"]), (&job["job_id"], &json!("r-ask")), "{filter}: {said}");
        assert!(said["trace_id"].is_string() && said["job.attempt"] == 1, "{filter}: {said}");
        provider.finish();
    }
}

#[tokio::test]
async fn what_a_process_says_of_its_start_and_end_is_json_as_well() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    std::fs::write(folder.path().join("docs/a.md"), "The lighthouse keeps the harbour.").unwrap();
    let log = folder.path().join("log");
    let arguments = ["--docs", "docs", "--ask", "What keeps the harbour?"];
    let json = ("RAGQ_LOG__FORMAT", "json");
    let up = Up::start_logging(&folder.path().join("data"), &[json], &arguments, File::create(&log).unwrap()).await;
    let said = |what: &str| std::fs::read_to_string(&log).unwrap().contains(what);
    eventually(async || said("ragq stays up").then_some(())).await;

    // The port is taken, and 4317 is no port for HTTP.
    let second = ragq()
        .args(["up", "--data", "other", "--listen", up.url.strip_prefix("http://").unwrap()])
        .envs([json, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")])
        .current_dir(folder.path())
        .output()
        .await
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = lines(&String::from_utf8(second.stderr).unwrap());
    let of = |message: &str| told.iter().find(|line| line["message"] == message).unwrap_or(&Value::Null);
    assert!(of("warning")["warning"].as_str().unwrap().contains("4318"), "{told:#?}");
    assert_eq!((&of("warning")["level"], &of("failed")["level"]), (&json!("WARN"), &json!("ERROR")));
    assert!(of("failed")["error"].as_str().unwrap().contains("--listen"), "{told:#?}");

    assert!(up.stop().await.success());
    let lines = lines(&std::fs::read_to_string(&log).unwrap());
    assert!(lines.iter().any(|line| line["text"].as_str().is_some_and(|text| text.starts_with("documents: 1"))));
}
