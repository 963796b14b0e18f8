//! The document that describes the API.

use serde_json::{Value, json};

use super::harness::{App, header};

async fn document(app: &App) -> Value {
    let answer = app.get("/openapi.json").send().await.unwrap();
    assert_eq!(header(&answer, "content-type").unwrap(), "application/json");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn the_contract_lists_every_route_of_the_product() {
    let document = document(&App::start().await).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut routes: Vec<String> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        routes.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    routes.sort();
    let expected = [
        "delete /admin/dlq/{id}",
        "delete /documents/{id}",
        "delete /jobs/{id}",
        "get /",
        "get /admin/audit",
        "get /admin/dlq",
        "get /admin/dlq/{id}",
        "get /admin/history",
        "get /admin/queue",
        "get /collections",
        "get /documents",
        "get /documents/{id}",
        "get /documents/{id}/chunks",
        "get /documents/{id}/text",
        "get /health/live",
        "get /health/ready",
        "get /job-status",
        "get /jobs/{id}/events",
        "get /metrics",
        "get /openapi.json",
        "get /page/{id}",
        "post /admin/dlq/discard",
        "post /admin/dlq/replay",
        "post /admin/dlq/{id}/replay",
        "post /admin/jobs/cancel",
        "post /admin/queue/pause",
        "post /admin/queue/resume",
        "post /chat",
        "post /documents",
    ];
    assert_eq!(routes, expected);
}

#[tokio::test]
async fn every_reference_of_the_contract_leads_somewhere() {
    let document = document(&App::start().await).await;
    let mut looked_at = 0;
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        if let Some(Value::String(reference)) = value.get("$ref") {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
            looked_at += 1;
        }
        match value {
            Value::Object(members) => waiting.extend(members.values()),
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    assert!(looked_at > 50, "{looked_at}");
}

#[tokio::test]
async fn the_contract_tells_the_limits_this_process_is_set_to() {
    let app = App::with(|options| {
        options.api.max_query_chars = 77;
        options.api.max_wait_ms = 88;
    })
    .await;
    let document = document(&app).await;
    assert_eq!(document["components"]["schemas"]["ChatRequest"]["properties"]["query"]["maxLength"], 77);
    let parameters = document["paths"]["/job-status"]["get"]["parameters"].as_array().unwrap();
    let wait = parameters.iter().find(|parameter| parameter["name"] == "wait_ms").unwrap();
    assert_eq!(wait["schema"]["maximum"], 88);
    assert_eq!(wait["schema"]["type"], "integer");
}

#[tokio::test]
async fn routes_are_marked_as_locked_only_if_they_are() {
    let open = document(&App::start().await).await;
    let locked = document(&App::with(|options| options.api.keys = "a:b-0123456789abcdef".into()).await).await;
    assert_eq!(open["paths"]["/chat"]["post"].get("security"), None);
    assert_eq!(locked["paths"]["/chat"]["post"]["security"], json!([{ "api_key": [] }]));
    assert_eq!(open["paths"]["/admin/queue"]["get"]["security"], json!([{ "admin_token": [] }]));
    assert!(locked["paths"]["/chat"]["post"]["responses"].get("401").is_some());
    assert!(open["paths"]["/chat"]["post"]["responses"].get("401").is_none());
}

#[tokio::test]
async fn every_error_of_the_contract_is_a_problem_and_every_answer_has_a_request_id() {
    let document = document(&App::start().await).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["headers"].get("x-request-id").is_some(), "{method} {path} {status}");
                if status.starts_with(['4', '5']) {
                    let schema = response.pointer("/content/application~1problem+json/schema/$ref");
                    assert_eq!(schema, Some(&json!("#/components/schemas/Problem")), "{method} {path} {status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn closed_sets_are_listed_by_the_words_that_are_sent() {
    let document = document(&App::start().await).await;
    let words = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    assert_eq!(words("Kind"), json!(["chat", "ingest", "replay"]));
    assert_eq!(words("Priority"), json!(["high", "normal", "low"]));
    assert_eq!(words("DocumentState"), json!(["pending", "ready", "failed", "deleting"]));
    assert!(words("Code").as_array().unwrap().contains(&json!("context_too_long")));
    assert!(words("ProblemCode").as_array().unwrap().contains(&json!("queue_full")));
}
