//! What is to become of a request, by the contract alone, and whether an answer is one of the contract's.

use reqwest::{
    Method, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;

use super::{
    contract::{Contract, Operation, Parameter, Place},
    draft::{Access, Draft},
    world::{MAX_BODY, Request},
};

/// What the contract says of a request.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Nothing is wrong with it.
    Within,
    /// It must be refused, because of this.
    Outside(String),
    /// The contract leaves it open.
    Open,
}

/// An answer, read to its end where it has one.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A parameter's text as what its schema calls it.
fn typed(parameter: &Parameter, text: &str) -> Value {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match number.filter(|_| parameter.schema["type"] == "integer") {
        Some(number) => number.into(),
        None => text.into(),
    }
}

/// What is wrong with a request, if the contract says what is right; none: it says nothing.
pub fn verdict(operation: &Operation, draft: &Draft, request: &Request) -> Verdict {
    let wrong = wrong_parameters(operation, request).or_else(|| wrong_body(operation, request));
    // The older form of a question has its fields in the query string, of which the contract has no schema.
    let older = operation.path == "/chat" && request.url.query().is_some();
    let numbers = request.url.query_pairs().any(|(_, value)| value.parse::<u64>().is_ok_and(|n| n > i64::MAX as u64));
    match wrong {
        _ if !draft.judged || older || numbers || request.body.len() > MAX_BODY => Verdict::Open,
        Some(why) => Verdict::Outside(why),
        None => Verdict::Within,
    }
}

fn wrong_parameters(operation: &Operation, request: &Request) -> Option<String> {
    for parameter in &operation.parameters {
        let values: Vec<String> = match parameter.place {
            Place::Path => vec![request.id.clone()],
            Place::Query => {
                let pairs = request.url.query_pairs().filter(|(name, _)| *name == parameter.name);
                pairs.map(|(_, value)| value.into_owned()).collect()
            }
            Place::Header => {
                let values = request.headers.get_all(&parameter.name).iter();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_ascii().to_owned();
                let values = values.map(|value| text(value.as_bytes()));
                // What a browser sends that has seen no event yet is as good as nothing.
                values.filter(|value| !(value.is_empty() && parameter.name == "Last-Event-ID")).collect()
            }
        };
        match values.as_slice() {
            [] if parameter.required => return Some(format!("{} is missing", parameter.name)),
            [] => {}
            [one] if parameter.validator.is_valid(&typed(parameter, one)) => {}
            [_] => return Some(format!("{} does not fit its schema", parameter.name)),
            // Of some headers only one counts.
            _ if parameter.name == "Last-Event-ID" => {}
            _ => return Some(format!("{} is there more than once", parameter.name)),
        }
    }
    let known = |name: &str| operation.at(Place::Query).any(|parameter| parameter.name == name);
    let unknown = request.url.query_pairs().find(|(name, _)| !known(name));
    let readers = operation.lock.is_some();
    unknown.filter(|_| readers).map(|(name, _)| format!("{name:?} is no parameter"))
}

fn wrong_body(operation: &Operation, request: &Request) -> Option<String> {
    if operation.contents.is_empty() || (request.body.is_empty() && !operation.body_required) {
        return None;
    }
    let given = request.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
    // JSON under a name of its own is still JSON.
    let essence = if essence.ends_with("+json") { "application/json".to_owned() } else { essence };
    let Some(content) = operation.content(&essence) else { return Some(format!("{essence:?} is not taken")) };
    if essence != "application/json" {
        return None;
    }
    let Ok(value) = serde_json::from_slice(&request.body) else { return Some("the body is not JSON".into()) };
    content.validator.validate(&value).err().map(|error| format!("the body does not fit its schema: {error}"))
}

/// Refusals for reasons that no schema can tell.
fn beyond_schemas(operation: &Operation, problem: &Value) -> bool {
    match problem["code"].as_str() {
        // A key that was used before; a queue's order of things; files that hold nothing readable.
        Some("idempotency_key_reused" | "all_refused") => true,
        Some("validation_failed") => problem["errors"].as_array().unwrap().iter().all(|error| {
            match error["field"].as_str() {
                // Made up, though of the right form. Larger than allowed, when written out.
                Some("cursor" | "metadata") => true,
                // The letter is of a document.
                Some("payload") => operation.path.ends_with("/replay"),
                _ => false,
            }
        }),
        _ => false,
    }
}

/// Checks the answer to a request; tells what is wrong with it.
pub fn check(
    contract: &Contract,
    operation: &Operation,
    draft: &Draft,
    request: &Request,
    reply: &Reply,
) -> Result<(), String> {
    let status = reply.status;
    if status.is_server_error() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&reply.body)));
    }
    common(request, reply)?;
    let head = request.method == Method::HEAD && operation.method == Method::GET;
    if request.method != operation.method && !head {
        return other_method(contract, operation, request, reply);
    }
    documented(operation, reply, head)?;
    let locked_out = match (&draft.access, operation.lock.as_deref()) {
        (_, None) | (Access::Right, _) => false,
        (Access::Other, Some(lock)) => lock == "admin_token",
        (Access::Wrong(_), Some(_)) => true,
    };
    // A path that leads elsewhere is looked at before who asks.
    if request.id.contains('/') || (operation.path.ends_with("{id}") && request.id.is_empty()) {
        return if status == StatusCode::NOT_FOUND { Ok(()) } else { Err(format!("{status} instead of 404")) };
    }
    if locked_out != (status == StatusCode::UNAUTHORIZED) {
        return Err(format!("{status} for {:?}", draft.access));
    }
    if locked_out || head {
        return Ok(());
    }
    match verdict(operation, draft, request) {
        Verdict::Outside(why) if status.is_success() => Err(format!("{status}, but {why}")),
        Verdict::Within if matches!(status.as_u16(), 400 | 405 | 413 | 415 | 422) => {
            let problem = reply.json();
            if beyond_schemas(operation, &problem) {
                Ok(())
            } else {
                Err(format!("refused, but it is sound: {problem}"))
            }
        }
        _ => Ok(()),
    }
}

/// What holds for every answer.
fn common(request: &Request, reply: &Reply) -> Result<(), String> {
    let Some(id) = reply.header("x-request-id") else { return Err("no x-request-id".into()) };
    if !reply.status.is_client_error() || request.method == Method::HEAD {
        return Ok(());
    }
    let problem = reply.json();
    if problem["request_id"] != id || problem["status"] != reply.status.as_u16() || !problem["code"].is_string() {
        return Err(format!("{} is no problem: {}", reply.status, String::from_utf8_lossy(&reply.body)));
    }
    Ok(())
}

/// A method that is not the operation's: another operation's of the same path, or none's.
fn other_method(contract: &Contract, operation: &Operation, request: &Request, reply: &Reply) -> Result<(), String> {
    let methods = contract.methods(&operation.path);
    let read = request.method == Method::HEAD && methods.contains(&&Method::GET);
    if read || methods.contains(&&request.method) {
        return Ok(());
    }
    let nowhere = reply.status == StatusCode::NOT_FOUND && reply.json()["code"] == "not_found";
    let allow = reply.header(ALLOW.as_str()).unwrap_or_default();
    let told = methods.iter().all(|method| allow.split(',').any(|word| word == method.as_str()));
    if nowhere || (reply.status == StatusCode::METHOD_NOT_ALLOWED && told) {
        return Ok(());
    }
    Err(format!("{} with Allow {allow:?} to a method that is not there", reply.status))
}

/// Status, headers, content type and body are as the contract says.
fn documented(operation: &Operation, reply: &Reply, head: bool) -> Result<(), String> {
    let status = reply.status;
    let answer = operation.answers.get(&status.as_u16()).ok_or_else(|| format!("{status} is not in the contract"))?;
    for (name, required, validator) in &answer.headers {
        let value = match reply.header(name) {
            Some(text) => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
            None if *required => return Err(format!("{status} without {name}")),
            None => continue,
        };
        let as_text = Value::from(reply.header(name).unwrap_or_default());
        if !validator.is_valid(&value) && !validator.is_valid(&as_text) {
            return Err(format!("{name}: {value} is not as the contract says"));
        }
    }
    let content_type = reply.header(CONTENT_TYPE.as_str());
    let Some(content_type) = content_type else {
        let empty = answer.content.is_empty() && reply.body.is_empty();
        return if empty || head { Ok(()) } else { Err(format!("{status} without a content type")) };
    };
    let validator = answer.content.get(content_type).ok_or_else(|| format!("{status} as {content_type}"))?;
    if head {
        return if reply.body.is_empty() { Ok(()) } else { Err("a body to HEAD".into()) };
    }
    let body = match content_type {
        "application/json" | "application/problem+json" => serde_json::from_slice(&reply.body),
        _ => Ok(Value::from(String::from_utf8(reply.body.clone()).map_err(|_| "the body is not UTF-8")?)),
    };
    let body = body.map_err(|_| format!("{status} is not JSON"))?;
    validator.validate(&body).map_err(|error| format!("{status} does not fit its schema: {error} in {body}"))
}
