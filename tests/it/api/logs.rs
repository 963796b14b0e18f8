//! What requests leave in the log, and what they must not.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use ragq::{api::HealthSource, config::settings::LogFormat, gate::BreakerView, telemetry::logs};
use serde_json::{Value, json};
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

use super::harness::{App, expect, header, problem};
use crate::support::eventually;

/// Everything that is logged on this thread, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = logs::lines(LogFormat::Json, move || writer.clone()).with_filter(LevelFilter::INFO);
        (log, tracing::subscriber::set_default(tracing_subscriber::registry().with(lines)))
    }

    /// Waits until requests of this app are heard. A line's first use on a thread that nobody listens to
    /// switches the line off for all threads until it is asked for again.
    async fn hear(&self, app: &App) {
        eventually(async || {
            tracing::callsite::rebuild_interest_cache();
            app.get("/warm-up").send().await.unwrap();
            (!self.requests().is_empty()).then_some(())
        })
        .await;
        self.0.lock().unwrap().clear();
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines about requests.
    fn requests(&self) -> Vec<Value> {
        let lines = self.text();
        let all = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|line| line["message"] == "request").collect()
    }
}

struct Panics;

impl HealthSource for Panics {
    fn breakers(&self) -> Vec<BreakerView> {
        panic!("SECRET of the inside");
    }
}

#[tokio::test]
async fn each_request_is_one_line_with_its_template_and_nothing_of_its_content() {
    let (log, _guard) = Log::listen();
    let app = App::start().await;
    log.hear(&app).await;
    let answer = app.post("/chat?oops=SECRET").json(&json!({ "query": "SECRET" })).send().await.unwrap();
    let refused = header(&answer, "x-request-id").unwrap();
    problem(answer, 422, "validation_failed").await;
    let asked = app.post("/chat").json(&json!({ "query": "SECRET", "metadata": { "SECRET": 1 } }));
    let accepted = expect(asked.header("Idempotency-Key", "SECRET").send().await.unwrap(), 202).await;
    app.get("/documents/SECRET?limit=1").send().await.unwrap();
    app.get("/SECRET").send().await.unwrap();
    // Callers poll: reads that succeed are left to `debug`.
    expect(app.get("/documents").send().await.unwrap(), 200).await;
    let lines = log.requests();
    let seen: Vec<_> =
        lines.iter().map(|line| (line["route"].as_str().unwrap(), line["status"].as_u64().unwrap())).collect();
    assert_eq!(seen, [("/chat", 422), ("/chat", 202), ("/documents/{id}", 422), ("unmatched", 404)]);
    assert_eq!(lines[0]["request.id"], refused.as_str());
    assert_eq!((&lines[0]["job.id"], &lines[1]["job.id"]), (&Value::Null, &accepted["job_id"]));
    assert_eq!((&lines[0]["method"], &lines[0]["code"]), (&json!("POST"), &json!("validation_failed")));
    assert!(lines.iter().all(|line| line["duration_ms"].is_u64()));
    assert!(!log.text().contains("SECRET"), "{}", log.text());
}

#[tokio::test]
async fn a_panic_is_a_500_that_shows_nothing_and_is_logged_once_under_its_request_id() {
    let (log, _guard) = Log::listen();
    let app = App::with(|options| options.health = Arc::new(Panics)).await;
    log.hear(&app).await;
    let answer = app.get("/health/ready").header("x-request-id", "r-1").send().await.unwrap();
    let body = problem(answer, 500, "internal").await;
    assert!(!body.to_string().contains("SECRET") && !body.to_string().contains("panic"));
    let lines = log.requests();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["level"], &lines[0]["request.id"]), (&json!("ERROR"), &json!("r-1")));
    assert_eq!(lines[0]["error"], "a handler panicked");
    expect(app.get("/health/live").send().await.unwrap(), 200).await;
}
