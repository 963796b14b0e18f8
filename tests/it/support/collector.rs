//! A collector of traces: OTLP over HTTP as collectors speak it, keeping all that comes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1,
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace's id, in hexadecimal.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Its parent's; empty for the root of a trace.
    pub parent: String,
    pub name: String,
    pub kind: v1::span::SpanKind,
    /// Whether it failed.
    pub failed: bool,
    /// The spans it is linked to.
    pub links: Vec<String>,
    pub attributes: HashMap<String, Value>,
    /// What is told of the process it came from.
    pub resource: HashMap<String, Value>,
}

impl Span {
    /// An attribute; null if it has none of that name.
    pub fn get(&self, name: &str) -> Value {
        self.attributes.get(name).cloned().unwrap_or_default()
    }
}

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    bodies: Vec<u8>,
    headers: Vec<HeaderMap>,
}

/// A running collector.
pub struct Collector {
    /// What belongs into `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
    received: Arc<Mutex<Received>>,
    /// Ends with the collector.
    _server: JoinSet<()>,
}

impl Collector {
    /// Listens on a port of the system's choice.
    pub async fn start() -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { endpoint, received, _server: server }
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap().spans.clone()
    }

    /// The spans of one trace so far.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == id).collect()
    }

    /// Whether these words were among what came.
    pub fn holds(&self, words: &str) -> bool {
        self.received.lock().unwrap().bodies.windows(words.len()).any(|bytes| bytes == words.as_bytes())
    }

    /// The headers of each request.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.received.lock().unwrap().headers.clone()
    }
}

async fn take(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body.clone()).expect("an export");
    let mut received = received.lock().unwrap();
    received.bodies.extend_from_slice(&body);
    received.headers.push(headers);
    for resource in request.resource_spans {
        let told = attributes(resource.resource.unwrap_or_default().attributes);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            received.spans.push(read(span, &told));
        }
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

fn read(span: v1::Span, resource: &HashMap<String, Value>) -> Span {
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{} ends before it begins", span.name);
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind(),
        failed: span.status.is_some_and(|status| status.code() == v1::status::StatusCode::Error),
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        name: span.name,
        attributes: attributes(span.attributes),
        resource: resource.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

fn attributes(given: Vec<KeyValue>) -> HashMap<String, Value> {
    let mut attributes = HashMap::new();
    for KeyValue { key, value, .. } in given {
        let before = attributes.insert(key.clone(), value.map(json).unwrap_or_default());
        assert!(before.is_none(), "{key} is given twice");
    }
    attributes
}

fn json(value: AnyValue) -> Value {
    match value.value {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::BoolValue(is)) => json!(is),
        Some(any_value::Value::IntValue(number)) => json!(number),
        Some(any_value::Value::DoubleValue(number)) => json!(number),
        Some(any_value::Value::ArrayValue(list)) => list.values.into_iter().map(json).collect(),
        other => panic!("no attribute of ours: {other:?}"),
    }
}
