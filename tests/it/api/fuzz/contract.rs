//! The `OpenAPI` document as the fuzz reads it: operations, what they take, what they may answer.
//!
//! Objects of answers are closed: a member that no schema names is a defect, although JSON Schema would let
//! it pass. What a request may hold is taken as it stands.

use std::collections::BTreeMap;

use jsonschema::{Draft, Validator};
use reqwest::Method;
use serde_json::{Value, json};

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

pub struct Parameter {
    pub name: String,
    pub place: Place,
    pub required: bool,
    pub schema: Value,
    pub validator: Validator,
}

/// A body that an operation takes.
pub struct Content {
    pub media_type: String,
    pub schema: Value,
    pub validator: Validator,
}

/// An answer that an operation may give.
pub struct Answer {
    /// By content type; none: no body.
    pub content: BTreeMap<String, Validator>,
    /// Name, whether it is always there, and what it holds.
    pub headers: Vec<(String, bool, Validator)>,
}

pub struct Operation {
    pub method: Method,
    pub path: String,
    pub parameters: Vec<Parameter>,
    pub contents: Vec<Content>,
    pub body_required: bool,
    pub answers: BTreeMap<u16, Answer>,
    /// What opens it: `api_key`, `admin_token`, nothing.
    pub lock: Option<String>,
}

impl Operation {
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn at(&self, place: Place) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(move |parameter| parameter.place == place)
    }

    pub fn content(&self, media_type: &str) -> Option<&Content> {
        self.contents.iter().find(|content| content.media_type == media_type)
    }
}

pub struct Contract {
    /// What `$ref` leads into.
    pub document: Value,
    pub operations: Vec<Operation>,
}

impl Contract {
    pub fn read(document: Value) -> Self {
        let mut operations = Vec::new();
        for (path, methods) in members(&document["paths"]) {
            for (method, operation) in members(methods) {
                let method = method.to_uppercase().parse().unwrap();
                operations.push(read_operation(&document, method, path, operation));
            }
        }
        Self { document, operations }
    }

    /// The methods of a path.
    pub fn methods(&self, path: &str) -> Vec<&Method> {
        self.operations.iter().filter(|operation| operation.path == path).map(|operation| &operation.method).collect()
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn read_operation(document: &Value, method: Method, path: &str, operation: &Value) -> Operation {
    let parameter = |value: &Value| Parameter {
        name: value["name"].as_str().unwrap().to_owned(),
        place: match value["in"].as_str() {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            other => panic!("a parameter in {other:?}"),
        },
        required: value["required"] == true,
        schema: value["schema"].clone(),
        validator: validator(document, &value["schema"], false),
    };
    let content = |(media_type, content): (&String, &Value)| Content {
        media_type: media_type.clone(),
        schema: content["schema"].clone(),
        validator: validator(document, &content["schema"], false),
    };
    let body = &operation["requestBody"];
    let lock = items(&operation["security"]).flat_map(members).map(|(scheme, _)| scheme.clone()).next();
    Operation {
        method,
        path: path.to_owned(),
        parameters: items(&operation["parameters"]).map(parameter).collect(),
        contents: members(&body["content"]).map(content).collect(),
        body_required: body["required"] == true,
        answers: members(&operation["responses"])
            .map(|(status, answer)| read_answer(document, status, answer))
            .collect(),
        lock,
    }
}

fn read_answer(document: &Value, status: &str, answer: &Value) -> (u16, Answer) {
    let body = |(media_type, body): (&String, &Value)| (media_type.clone(), validator(document, &body["schema"], true));
    let header = |(name, header): (&String, &Value)| {
        (name.clone(), header["required"] == true, validator(document, &header["schema"], true))
    };
    let content = members(&answer["content"]).map(body).collect();
    (status.parse().unwrap(), Answer { content, headers: members(&answer["headers"]).map(header).collect() })
}

/// Checks values by a schema of the document.
fn validator(document: &Value, schema: &Value, close: bool) -> Validator {
    let mut root = schema.clone();
    root["components"] = json!({ "schemas": document["components"]["schemas"] });
    if close {
        closed(&mut root, document, false);
    }
    jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(&root).unwrap()
}

/// What a `$ref` leads to, or the schema itself.
pub fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("the reference leads somewhere"),
        None => schema,
    }
}

/// Forbids members that are not named. A part of an `allOf` knows only its own members: it stays open, is
/// put in place of its reference, and the whole is closed instead.
fn closed(schema: &mut Value, document: &Value, part: bool) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(parts)) = members.get_mut("allOf") {
                for part in parts {
                    *part = resolved(document, part).clone();
                }
            }
            let named = members.get("properties").is_some_and(Value::is_object);
            let open = !members.contains_key("additionalProperties") && !part;
            for (name, member) in members.iter_mut() {
                closed(member, document, name == "allOf");
            }
            if open && (named || members.contains_key("allOf")) {
                members.insert("unevaluatedProperties".into(), false.into());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| closed(item, document, part)),
        _ => {}
    }
}
