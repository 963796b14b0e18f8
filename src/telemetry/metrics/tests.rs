use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::domain::{
    answer::RetrievalMode,
    failure::Code,
    job::{DeadReason, Kind},
};

fn sets() -> Sets {
    Sets { routes: vec!["GET /a".to_owned(), "POST /a".to_owned()], providers: vec!["openai".to_owned()] }
}

fn metrics(scope: Scope) -> Metrics {
    Metrics::new(scope, sets()).unwrap()
}

/// The value of one series.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

/// Names with kind and help as exported.
fn exported(text: &str) -> BTreeMap<String, (String, String)> {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.to_owned()).or_default().1 = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.to_owned()).or_default().0 = kind.to_owned();
        }
    }
    found
}

#[test]
fn what_is_exported_is_what_is_declared_and_every_series_is_there_from_the_start() {
    for scope in [Scope::Process, Scope::Deployment] {
        let text = metrics(scope).render();
        let declared: BTreeMap<_, _> = Metrics::declared(scope)
            .map(|each| (each.name.to_owned(), (each.kind.to_owned(), each.help.to_owned())))
            .collect();
        assert_eq!(exported(&text), declared);
        let lines: BTreeSet<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        for each in Metrics::declared(scope) {
            let series: usize = (each.sets)(&sets()).iter().map(Vec::len).product();
            let of_one = if each.kind == "histogram" { each.buckets.len() + 3 } else { 1 };
            let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
            let own = |line: &&&str| {
                let name = name(line);
                name == each.name
                    || each.kind == "histogram"
                        && ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{}{end}", each.name))
            };
            assert_eq!(lines.iter().filter(own).count(), series * of_one, "{}", each.name);
        }
    }
}

#[test]
fn a_worker_says_nothing_of_the_deployment() {
    let worker = metrics(Scope::Process);
    worker.show(&Figures::unknown());
    assert!(!worker.render().contains("ragq_queue_depth"));
}

#[test]
fn names_and_helps_follow_the_rules() {
    let mut names = BTreeSet::new();
    for each in Metrics::declared(Scope::Deployment) {
        assert!(names.insert(each.name), "{} twice", each.name);
        assert!(each.name.starts_with("ragq_"), "{}", each.name);
        assert_eq!(each.kind == "counter", each.name.ends_with("_total"), "{}", each.name);
        assert!(each.help.ends_with('.'), "{}: {}", each.name, each.help);
        assert_eq!(each.labels.len(), (each.sets)(&sets()).len(), "{}", each.name);
    }
}

#[test]
fn each_record_finds_its_series() {
    let metrics = metrics(Scope::Deployment);
    metrics.submitted(Kind::Ingest);
    metrics.dead(Kind::Chat, DeadReason::Poison, None, 3);
    metrics.failed(Code::Unknown);
    metrics.deferred(Code::RateLimited);
    metrics.delivered(Kind::Chat, Duration::from_millis(30));
    metrics.retrieved(&Retrieval { mode: RetrievalMode::Hybrid, degraded: false });
    metrics.request(&Method::POST, "/a", StatusCode::ACCEPTED, Duration::from_millis(1));
    metrics.request(&Method::HEAD, "/a", StatusCode::OK, Duration::from_millis(1));
    metrics.request(&Method::PUT, "/a", StatusCode::METHOD_NOT_ALLOWED, Duration::from_millis(1));
    metrics.request(&Method::GET, "unmatched", StatusCode::NOT_FOUND, Duration::from_millis(1));
    let provider = metrics.provider("openai", Operation::Embeddings);
    provider.ended(CallOutcome::Failed(Code::ProviderError), Duration::from_secs(2));
    provider.tokens(Fate::Lost, 10, 2);
    provider.breaker_is(BreakerState::HalfOpen);
    let expected: [(&str, f64); 16] = [
        (r#"ragq_jobs_submitted_total{kind="ingest"}"#, 1.0),
        (r#"ragq_jobs_submitted_total{kind="chat"}"#, 0.0),
        (r#"ragq_jobs_finished_total{kind="chat",outcome="dead"}"#, 3.0),
        (r#"ragq_jobs_dead_lettered_total{kind="chat",reason="poison"}"#, 3.0),
        (r#"ragq_failures_total{code="unknown"}"#, 1.0),
        (r#"ragq_deferrals_total{code="rate_limited"}"#, 1.0),
        (r#"ragq_job_wait_seconds_bucket{kind="chat",le="0.025"}"#, 0.0),
        (r#"ragq_job_wait_seconds_bucket{kind="chat",le="0.05"}"#, 1.0),
        (r#"ragq_retrievals_total{mode="hybrid"}"#, 1.0),
        (r#"ragq_http_requests_total{route="POST /a",status="2xx"}"#, 1.0),
        (r#"ragq_http_requests_total{route="GET /a",status="2xx"}"#, 1.0),
        (r#"ragq_http_requests_total{route="unmatched",status="4xx"}"#, 2.0),
        (r#"ragq_provider_calls_total{provider="openai",operation="embeddings",outcome="provider_error"}"#, 1.0),
        (r#"ragq_provider_tokens_total{provider="openai",fate="lost",side="prompt"}"#, 10.0),
        (r#"ragq_provider_breaker_state{provider="openai",operation="embeddings",state="half_open"}"#, 1.0),
        (r#"ragq_provider_breaker_state{provider="openai",operation="embeddings",state="closed"}"#, 0.0),
    ];
    for (series, expected) in expected {
        assert_eq!(value(&metrics, series).to_bits(), expected.to_bits(), "{series}");
    }
}

#[test]
fn what_is_under_way_is_counted_until_it_ends() {
    let metrics = metrics(Scope::Process);
    let (one, other) = (metrics.job_in_flight(Kind::Chat), metrics.job_in_flight(Kind::Chat));
    let series = r#"ragq_jobs_in_flight{kind="chat"}"#;
    assert!((value(&metrics, series) - 2.0).abs() < f64::EPSILON);
    drop((one, other));
    assert!(value(&metrics, series).abs() < f64::EPSILON);
}
