//! `GET /openapi.json`: the contract as `OpenAPI` 3.1, made from the handlers and the types they send.
//!
//! Each handler states what is its own; what follows from how every route is built is added here: the
//! problems that any request can meet, the headers of every answer, and the limits this process is set to.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use serde_json::{Map, Value, json};
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{problem::ProblemBody, state::ApiState};

/// What the document says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "ragq",
        description = "Answers questions over a team's documents through a durable queue.\n\n\
            A question is accepted at once and becomes a job; its state is polled or its events are followed. \
            Every error is `application/problem+json` with a stable `code`; every answer carries `x-request-id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "questions", description = "Asking"),
        (name = "jobs", description = "Following what was submitted"),
        (name = "documents", description = "What answers are made from"),
        (name = "operator", description = "Behind the admin token"),
        (name = "health", description = "For probes"),
        (name = "about", description = "What this is"),
    ),
    components(schemas(
        ProblemBody<'static>,
        crate::domain::answer::Answer,
        crate::domain::failure::Code,
        crate::domain::job::DeadReason,
        crate::domain::job::Kind,
        crate::domain::replay::ReplayResult,
        crate::domain::ids::JobId
    ))
)]
pub struct Document;

/// The document as it is served.
#[derive(Clone, Debug)]
pub struct Served(pub bytes::Bytes);

/// Read this document
#[utoipa::path(
    get, path = "/openapi.json", tag = "about", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")),
)]
pub async fn openapi(axum::Extension(Served(bytes)): axum::Extension<Served>, State(_): State<ApiState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], bytes).into_response()
}

/// Completes what the handlers state.
pub fn complete(mut document: utoipa::openapi::OpenApi, state: &ApiState) -> Served {
    let bearer = |what: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what)).build())
    };
    if let Some(components) = document.components.as_mut() {
        components.add_security_scheme("api_key", bearer("An API key; its name is the tenant"));
        components.add_security_scheme("admin_token", bearer("The admin token"));
    }
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let open = state.keys.is_empty();
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        for (path, item) in paths.iter_mut() {
            let Some(methods) = item.as_object_mut() else { continue };
            methods.values_mut().filter_map(Value::as_object_mut).for_each(|operation| every(path, operation, open));
        }
    }
    limits(&mut document, state);
    Served(serde_json::to_vec(&document).unwrap_or_default().into())
}

fn mentions(operation: &Map<String, Value>, scheme: &str) -> bool {
    let security = operation.get("security").and_then(Value::as_array);
    security.is_some_and(|list| list.iter().any(|entry| entry.get(scheme).is_some()))
}

/// The problems that an operation can meet because of how it is built.
fn expected(path: &str, operation: &Map<String, Value>) -> Vec<(u16, &'static str)> {
    let mut list = vec![(500, "A defect of ragq")];
    let secured = operation.contains_key("security");
    if secured {
        list.push((401, "A missing or wrong key or token"));
        list.push((422, "Fields or parameters are wrong; `errors` names all of them"));
        list.push((503, "The job store or the index does not answer, or the queue is full"));
    }
    if operation.contains_key("requestBody") {
        list.push((413, "The body is over the limit"));
        list.push((415, "The body is of another type, or compressed"));
        list.push((400, "The body, the path or the query string can't be read"));
    } else if path.contains('{') || path == "/job-status" {
        list.push((400, "The id is malformed, or the path or the query string can't be read"));
    } else if secured {
        list.push((400, "The query string can't be read"));
    }
    list
}

fn every(path: &str, operation: &mut Map<String, Value>, open: bool) {
    let problems = expected(path, operation);
    if open && mentions(operation, "api_key") {
        operation.remove("security");
    }
    let keyed = operation.contains_key("security");
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        parameters.iter_mut().for_each(parameter);
    }
    if let Some(body) = operation.get_mut("requestBody") {
        // utoipa says required for every body; a null among its schemas says that it is not.
        let optional = body.pointer("/content/application~1json/schema/oneOf").is_some();
        body["required"] = json!(!optional);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, description) in problems {
        if status != 401 || keyed {
            responses.entry(status.to_string()).or_insert_with(|| json!({ "description": description }));
        }
    }
    for (status, response) in responses.iter_mut() {
        if status.starts_with(['4', '5']) {
            let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            response["content"] = json!({ "application/problem+json": schema });
        }
        response["headers"] = headers(path, status);
    }
}

fn headers(path: &str, status: &str) -> Value {
    let text = |description: &str, required: bool| json!({ "description": description, "required": required, "schema": { "type": "string" } });
    let seconds = |required: bool| {
        let schema = json!({ "type": "integer", "minimum": 1 });
        json!({ "description": "Seconds to wait", "required": required, "schema": schema })
    };
    let mut headers = json!({ "x-request-id": text("The request's id: the caller's own, if it sent one", true) });
    match status {
        "202" => {
            headers["Retry-After"] = seconds(true);
            headers["Location"] = text("Where the job's state can be read", path != "/documents");
            headers["Idempotent-Replayed"] = text("`true` if an earlier request stored the job", false);
        }
        "401" => headers["WWW-Authenticate"] = text("How to authenticate", true),
        "429" => headers["Retry-After"] = seconds(true),
        "503" => headers["Retry-After"] = seconds(false),
        _ => {}
    }
    headers
}

/// Parameters are never null, only left out; headers and cursors have a form.
fn parameter(parameter: &mut Value) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let schema = &mut parameter["schema"];
    if let Some(types) = schema.get("type").and_then(Value::as_array) {
        let kept: Vec<Value> = types.iter().filter(|kind| *kind != "null").cloned().collect();
        schema["type"] = kept.first().cloned().unwrap_or_default();
    }
    if let Some(one_of) = schema.get("oneOf").and_then(Value::as_array) {
        let kept = one_of.iter().find(|option| option.get("type") != Some(&json!("null"))).cloned();
        *schema = kept.unwrap_or_default();
    }
    match name.as_str() {
        "Idempotency-Key" => {
            schema["pattern"] = json!(r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#);
            schema["maxLength"] = json!(512);
        }
        "cursor" => schema["pattern"] = json!("^[0-9a-f]{8,2000}$"),
        _ => {}
    }
}

/// The limits that this process is set to.
fn limits(document: &mut Value, state: &ApiState) {
    if let Some(query) = document.pointer_mut("/components/schemas/ChatRequest/properties/query") {
        query["maxLength"] = json!(state.api.max_query_chars);
    }
    let parameters = document.pointer_mut("/paths/~1job-status/get/parameters").and_then(Value::as_array_mut);
    let wait = parameters.into_iter().flatten().find(|parameter| parameter["name"] == "wait_ms");
    if let Some(wait) = wait {
        wait["schema"]["maximum"] = json!(state.api.max_wait_ms);
    }
    if let Some(result) = document.pointer_mut("/components/schemas/JobView/properties/result") {
        let description = "Of a `chat` job its Answer; of a `replay` its ReplayResult; of an `ingest` job what became \
            of the document";
        let answer = json!({ "$ref": "#/components/schemas/Answer" });
        let replay = json!({ "$ref": "#/components/schemas/ReplayResult" });
        *result = json!({
            "description": description,
            "anyOf": [answer, replay, { "type": "object" }, { "type": "null" }],
        });
    }
}
