//! Who may call: keys, tenants, the admin token, the rate.

use serde_json::{Value, json};

use super::harness::{ADMIN, App, expect, header, problem, text};

async fn keyed() -> App {
    App::with(|options| options.api.keys = "acme:key-a-0123456789,umbrella:key-b-0123456789".into()).await
}

#[tokio::test]
async fn with_keys_every_route_but_page_health_metrics_and_contract_refuses_a_caller_without_one() {
    let app = keyed().await;
    let contract: Value = app.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    let open = ["/", "/page/{id}", "/openapi.json", "/health/live", "/health/ready", "/metrics"];
    let mut closed = 0;
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().map(|name| name.to_uppercase()) {
            let id = if path.starts_with("/page/") { "app.js" } else { "01J9ZC6M1V7H0Q8T3X5K2B4N6P" };
            let url = format!("{}{}", app.url, path.replace("{id}", id));
            for wrong in [
                None,
                Some("Bearer nonsense"),
                Some("Bearer"),
                Some("Basic key-a-0123456789"),
                Some("Bearer key-b-01234567892"),
            ] {
                let mut request = app.client.request(method.parse().unwrap(), &url);
                if let Some(wrong) = wrong {
                    request = request.header("authorization", wrong);
                }
                let answer = request.send().await.unwrap();
                if open.contains(&path.as_str()) {
                    assert_eq!(answer.status(), 200, "{method} {path}");
                } else {
                    assert!(header(&answer, "www-authenticate").unwrap().starts_with("Bearer"), "{method} {path}");
                    problem(answer, 401, "unauthorized").await;
                    closed += 1;
                }
            }
        }
    }
    assert!(closed >= 5 * 17, "only {closed} looked at");
}

#[tokio::test]
async fn what_belongs_to_another_key_is_not_there() {
    let app = keyed().await;
    let ask = app.post("/chat").bearer_auth("key-a-0123456789").json(&json!({ "query": "mine?" }));
    let job = text(&expect(ask.send().await.unwrap(), 202).await, "job_id");
    let put = json!({ "title": "mine", "text": "text", "document_id": "mine" });
    expect(app.post("/documents").bearer_auth("key-a-0123456789").json(&put).send().await.unwrap(), 202).await;
    let paths = [format!("/job-status?job_id={job}"), format!("/jobs/{job}/events"), "/documents/mine".to_owned()];
    for path in &paths {
        assert_eq!(app.get(path).bearer_auth("key-b-0123456789").send().await.unwrap().status(), 404, "{path}");
        assert_eq!(app.get(path).bearer_auth("key-a-0123456789").send().await.unwrap().status(), 200, "{path}");
    }
    let cancel = app.delete(&format!("/jobs/{job}")).bearer_auth("key-b-0123456789").send().await.unwrap();
    problem(cancel, 404, "job_not_found").await;
    let list = expect(app.get("/documents").bearer_auth("key-b-0123456789").send().await.unwrap(), 200).await;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_tenant() {
    let app = keyed().await;
    let mut jobs = Vec::new();
    for key in ["key-a-0123456789", "key-b-0123456789"] {
        let ask = app.post("/chat").bearer_auth(key).header("idempotency-key", "same").json(&json!({ "query": "q" }));
        jobs.push(text(&expect(ask.send().await.unwrap(), 202).await, "job_id"));
    }
    assert_ne!(jobs[0], jobs[1]);
}

#[tokio::test]
async fn the_admin_routes_want_the_admin_token_and_no_other() {
    let app = keyed().await;
    let call = |token: &str| app.get("/admin/queue").bearer_auth(token).send();
    problem(call("key-a-0123456789").await.unwrap(), 401, "unauthorized").await;
    problem(app.get("/admin/queue").send().await.unwrap(), 401, "unauthorized").await;
    expect(call(ADMIN).await.unwrap(), 200).await;
    let unset = App::with(|options| options.admin_token = None).await;
    for token in ["", "x", ADMIN] {
        let answer = unset.get("/admin/queue").bearer_auth(token).send().await.unwrap();
        let problem = problem(answer, 401, "unauthorized").await;
        assert!(text(&problem, "detail").contains("RAGQ_ADMIN_TOKEN"));
    }
}

#[tokio::test]
async fn each_admin_token_opens_the_admin_routes_under_its_own_name() {
    let tokens = [("ana", "token-of-ana-0123456789"), ("ben", "token-of-ben-0123456789"), ("admin", ADMIN)];
    let app = App::with(|options| {
        options.api.admin_tokens = "ana:token-of-ana-0123456789\nben:token-of-ben-0123456789".into();
    })
    .await;
    for (name, token) in tokens {
        expect(app.post("/admin/queue/pause").bearer_auth(token).send().await.unwrap(), 200).await;
        let audit = expect(app.get("/admin/audit?limit=2").bearer_auth(token).send().await.unwrap(), 200).await;
        assert_eq!((&audit["items"][0]["actor"], &audit["items"][1]["actor"]), (&json!(name), &json!(name)), "{audit}");
    }
    for wrong in ["token-of-cyd-0123456789", "ana", "ana:token-of-ana-0123456789", ""] {
        problem(app.post("/admin/queue/pause").bearer_auth(wrong).send().await.unwrap(), 401, "unauthorized").await;
    }
    // Those with a name are enough.
    let named = App::with(|options| {
        options.admin_token = None;
        options.api.admin_tokens = "ana:token-of-ana-0123456789".into();
    })
    .await;
    let call = |token: &str| named.get("/admin/queue").bearer_auth(token).send();
    expect(call("token-of-ana-0123456789").await.unwrap(), 200).await;
    problem(call(ADMIN).await.unwrap(), 401, "unauthorized").await;
}

#[tokio::test]
async fn a_key_over_its_rate_is_told_to_wait_while_others_go_on() {
    let app = App::with(|options| {
        options.api.keys = "acme:key-a-0123456789,umbrella:key-b-0123456789".into();
        options.api.rate_per_minute = Some(2);
    })
    .await;
    let ask = |key: &str| app.post("/chat").bearer_auth(key).json(&json!({ "query": "q" })).send();
    expect(ask("key-a-0123456789").await.unwrap(), 202).await;
    let put = json!({ "title": "t", "text": "x" });
    expect(app.post("/documents").bearer_auth("key-a-0123456789").json(&put).send().await.unwrap(), 202).await;
    let refused = ask("key-a-0123456789").await.unwrap();
    let wait: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    problem(refused, 429, "rate_limited").await;
    let refused = app.post("/documents").bearer_auth("key-a-0123456789").json(&put).send().await.unwrap();
    problem(refused, 429, "rate_limited").await;
    expect(ask("key-b-0123456789").await.unwrap(), 202).await;
    let reading = app.get("/documents").bearer_auth("key-a-0123456789").send().await.unwrap();
    expect(reading, 200).await;
}
