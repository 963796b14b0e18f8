//! What holds for every request: ids, problems, headers, health, the page.

use ragq::{
    domain::{clock::Timestamp, failure::Code},
    gate::{BreakerView, Operation},
    resilience::breaker::BreakerState,
};
use reqwest::Method;
use serde_json::json;

use super::harness::{ADMIN, App, Fixed, expect, header, problem};

#[tokio::test]
async fn every_answer_carries_a_request_id_the_callers_own_if_it_is_harmless() {
    let app = App::start().await;
    let made = app.get("/health/live").send().await.unwrap();
    assert_eq!(header(&made, "x-request-id").unwrap().len(), 26);
    let given = app.get("/health/live").header("x-request-id", "abc-1.2:3_4").send().await.unwrap();
    assert_eq!(header(&given, "x-request-id").unwrap(), "abc-1.2:3_4");
    let long = "x".repeat(129);
    for odd in ["a b", "", "a\"b", long.as_str()] {
        let answer = app.get("/health/live").header("x-request-id", odd).send().await.unwrap();
        assert_eq!(header(&answer, "x-request-id").unwrap().len(), 26, "{odd:?}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_and_a_405_names_the_methods() {
    let app = App::start().await;
    problem(app.get("/nowhere").send().await.unwrap(), 404, "not_found").await;
    problem(app.get("/health/live/").send().await.unwrap(), 404, "not_found").await;
    let refused = app.client.request(Method::PUT, format!("{}/documents", app.url)).send().await.unwrap();
    let allow = header(&refused, "allow").unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    problem(refused, 405, "method_not_allowed").await;
}

#[tokio::test]
async fn nothing_is_sniffed_nothing_is_cached() {
    let app = App::start().await;
    for path in ["/health/live", "/nowhere", "/collections"] {
        let answer = app.get(path).send().await.unwrap();
        assert_eq!(header(&answer, "x-content-type-options").unwrap(), "nosniff", "{path}");
        assert_eq!(header(&answer, "cache-control").unwrap(), "no-store", "{path}");
        assert!(header(&answer, "content-security-policy").unwrap().contains("default-src 'none'"), "{path}");
    }
}

#[tokio::test]
async fn a_head_request_has_no_body_even_when_refused() {
    let app = App::start().await;
    let answer = app.client.head(format!("{}/nowhere", app.url)).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn ready_says_degraded_and_why_while_jobs_can_be_accepted() {
    let app = App::start().await;
    let ready = expect(app.get("/health/ready").send().await.unwrap(), 200).await;
    assert_eq!(ready, json!({ "status": "ready", "degraded": [] }));
    let closed = BreakerView {
        provider: "a provider".into(),
        operation: Operation::Chat,
        state: BreakerState::Closed,
        code: None,
        message: None,
        consecutive_failures: 0,
        opened_at: None,
        retry_in_ms: None,
    };
    let open = BreakerView {
        operation: Operation::Embeddings,
        state: BreakerState::Open,
        code: Some(Code::ProviderUnauthorized),
        message: Some("the key is refused".into()),
        consecutive_failures: 1,
        opened_at: Some(Timestamp(1_700_000_000_000)),
        retry_in_ms: Some(900),
        ..closed.clone()
    };
    let app = App::with(|options| options.health = std::sync::Arc::new(Fixed(vec![closed, open]))).await;
    let ready = expect(app.get("/health/ready").send().await.unwrap(), 200).await;
    assert_eq!(ready["status"], "degraded");
    let part =
        json!({"component": "embedding", "code": "provider_unauthorized", "message": "a provider: the key is refused"});
    assert_eq!(ready["degraded"], json!([part]));
    let figures = expect(app.get("/admin/queue").bearer_auth(ADMIN).send().await.unwrap(), 200).await;
    let closed = json!({
        "provider": "a provider", "operation": "chat", "state": "closed", "code": null, "message": null,
        "consecutive_failures": 0, "opened_at": null, "retry_in_ms": null
    });
    let open = json!({
        "provider": "a provider", "operation": "embeddings", "state": "open", "code": "provider_unauthorized",
        "message": "the key is refused", "consecutive_failures": 1, "opened_at": "2023-11-14T22:13:20.000Z",
        "retry_in_ms": 900
    });
    assert_eq!(figures["breakers"], json!([closed, open]));
    app.ask("still accepted?").await;
}

#[tokio::test]
async fn a_draining_process_is_alive_but_not_ready() {
    let app = App::start().await;
    app.drain.cancel();
    expect(app.get("/health/live").send().await.unwrap(), 200).await;
    problem(app.get("/health/ready").send().await.unwrap(), 503, "draining").await;
}

#[tokio::test]
async fn a_closed_store_is_a_503_that_shows_nothing_of_the_inside() {
    let app = App::start().await;
    app.store.close().await;
    for path in ["/health/ready", "/collections", "/documents"] {
        let answer = app.get(path).send().await.unwrap();
        assert!(header(&answer, "retry-after").is_some(), "{path}");
        let body = expect(answer, 503).await;
        assert!(!body.to_string().to_lowercase().contains("sqlite"), "{body}");
    }
    let page = app.get("/").send().await.unwrap();
    assert_eq!(page.status(), 200);
}

#[tokio::test]
async fn the_page_says_what_runs_here_under_a_strict_policy() {
    let app = App::start().await;
    let answer = app.get("/").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type").unwrap(), "text/html; charset=utf-8");
    let policy = header(&answer, "content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let page = answer.text().await.unwrap();
    for part in ["a queue", "an index", "a &lt;model&gt;", "/openapi.json", env!("CARGO_PKG_VERSION")] {
        assert!(page.contains(part), "{part} is missing");
    }
    // Nothing inline, which the policy would refuse.
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("<model>"));
    assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=\"/page/").count());
    for placeholder in ["version", "queue", "index", "model"] {
        assert!(!page.contains(&format!("{{{placeholder}}}")), "{placeholder} was left");
    }
}

#[tokio::test]
async fn the_page_and_its_files_are_sent_once_and_then_only_if_they_changed() {
    let app = App::start().await;
    for path in ["/", "/page/app.js", "/page/base.css", "/page/icon.svg"] {
        let first = app.get(path).send().await.unwrap();
        assert_eq!(first.status(), 200, "{path}");
        assert_eq!(header(&first, "x-content-type-options").unwrap(), "nosniff");
        assert_eq!(header(&first, "cache-control").unwrap(), "no-cache");
        let tag = header(&first, "etag").unwrap();
        assert!(tag.starts_with('"'), "{tag}");
        let again = app.get(path).header("if-none-match", &tag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), header(&again, "etag").unwrap()), (304, tag));
        let policies = [&first, &again].map(|answer| header(answer, "content-security-policy").unwrap());
        assert_eq!(policies[0], policies[1], "a 304 renews what was kept");
        assert!(again.text().await.unwrap().is_empty());
        let other = app.get(path).header("if-none-match", "\"other\"").send().await.unwrap();
        assert_eq!(other.status(), 200);
    }
    problem(app.get("/page/nothing.js").send().await.unwrap(), 404, "not_found").await;
}
