//! An API that plays a script: replies are taken in order per route; a request without a reply, and a reply
//! without a request, fail the test.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering},
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// A job id as the API makes them.
pub(super) const JOB: &str = "01J9ZC6M1V7H0Q8T3X5K2B4N6P";

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) route: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) at: Instant,
}

impl Seen {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is answered.
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    cut: bool,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string(), cut: false }
    }

    pub(super) fn problem(status: u16, code: &str, detail: &str) -> Self {
        let body = json!({
            "type": format!("urn:ragq:problem:{code}"), "title": "It is refused", "status": status,
            "detail": detail, "code": code, "request_id": "request-7",
        });
        Self::json(status, &body)
    }

    pub(super) fn events(events: &[(u64, &str, Value)]) -> Self {
        let one = |(seq, name, data): &(u64, &str, Value)| {
            let mut data = data.clone();
            data["seq"] = (*seq).into();
            data["attempt"] = data.get("attempt").cloned().unwrap_or_else(|| 1.into());
            format!("id: {seq}\nevent: {name}\ndata: {data}\n\n")
        };
        let headers = vec![("content-type", "text/event-stream".to_owned())];
        Self { status: 200, headers, body: events.iter().map(one).collect(), cut: false }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The connection breaks after the body instead of ending.
    pub(super) fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    /// Text at the end of the body.
    pub(super) fn then(mut self, text: &str) -> Self {
        self.body.push_str(text);
        self
    }

    fn response(self) -> Response {
        let mut response = Response::builder().status(StatusCode::from_u16(self.status).unwrap());
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let bytes = Bytes::from(self.body);
        let body = if self.cut {
            // Sent before the break, not together with it.
            let pieces = futures::stream::unfold(0, move |step| {
                let bytes = bytes.clone();
                async move {
                    if step == 0 {
                        return Some((Ok(bytes), 1));
                    }
                    tokio::task::yield_now().await;
                    (step == 1).then(|| (Err(std::io::Error::other("cut")), 2))
                }
            });
            Body::from_stream(pieces)
        } else {
            Body::from_stream(futures::stream::iter([Ok::<_, Infallible>(bytes)]))
        };
        response.body(body).unwrap()
    }
}

type Answer = dyn Fn(&Seen) -> Option<Reply> + Send + Sync;

struct Play {
    answer: Box<Answer>,
    seen: Mutex<Vec<Seen>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

/// The API.
pub(super) struct Api {
    pub(super) url: String,
    play: Arc<Play>,
    script: Arc<Mutex<HashMap<String, VecDeque<Reply>>>>,
    _server: JoinSet<()>,
}

impl Api {
    /// An API that answers each route (`POST /chat`) with its replies in order.
    pub(super) async fn playing(replies: Vec<(&str, Reply)>) -> Self {
        let mut script: HashMap<String, VecDeque<Reply>> = HashMap::new();
        for (route, reply) in replies {
            script.entry(route.to_owned()).or_default().push_back(reply);
        }
        let script = Arc::new(Mutex::new(script));
        let next = Arc::clone(&script);
        let mut api = Self::answering(move |seen| next.lock().unwrap().get_mut(&seen.route)?.pop_front()).await;
        api.script = script;
        api
    }

    /// An API that answers as the function says.
    pub(super) async fn answering(answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let play = Arc::new(Play {
            answer: Box::new(answer),
            seen: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(Arc::clone(&play));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, play, script: Arc::default(), _server: server }
    }

    /// All requests of a route, in order; fails the test if the script was not played to its end.
    pub(super) fn seen(&self, route: &str) -> Vec<Seen> {
        for (route, replies) in self.script.lock().unwrap().iter() {
            assert!(replies.is_empty(), "{} replies to {route} were not asked for", replies.len());
        }
        let seen = self.play.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.route == route).cloned().collect()
    }

    /// How many requests were under way at a time, at most.
    pub(super) fn most_under_way(&self) -> usize {
        self.play.most_under_way.load(Ordering::SeqCst)
    }
}

async fn serve(State(play): State<Arc<Play>>, request: Request) -> Response {
    let under_way = play.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    play.most_under_way.fetch_max(under_way, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let seen = Seen {
        route: format!("{} {}", parts.method, parts.uri.path()),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        at: Instant::now(),
    };
    play.seen.lock().unwrap().push(seen.clone());
    let unexpected = || Reply::problem(500, "not_in_the_script", &format!("{} has no reply", seen.route));
    let reply = (play.answer)(&seen).unwrap_or_else(unexpected);
    play.under_way.fetch_sub(1, Ordering::SeqCst);
    reply.response()
}

/// The 202 of a submission.
pub(super) fn accepted() -> Reply {
    Reply::json(202, &json!({"job_id": JOB, "status": "queued", "status_url": "", "events_url": ""}))
}

/// A job in this state with these fields.
pub(super) fn job(status: &str, fields: &Value) -> Reply {
    let mut job = json!({
        "job_id": JOB, "kind": "chat", "status": status, "attempt": 1, "max_attempts": 5, "deliveries": 1,
        "lost_leases": 0, "deferrals": 0, "created_at": "2026-01-01T00:00:00.000Z", "started_at": null,
        "finished_at": null, "result": null, "error": null,
    });
    for (name, value) in fields.as_object().unwrap() {
        job[name] = value.clone();
    }
    Reply::json(200, &job)
}

/// The result of a question answered with this text.
pub(super) fn answer(text: &str) -> Value {
    json!({
        "answer": text,
        "citations": [{
            "index": 1, "document_id": "d", "title": "Leases", "source": "docs/jobs.md", "chunk": 2,
            "start": 0, "end": 9, "text": "A lease\nis  lost.", "score": 1.5,
        }],
        "model": "extractive",
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        "retrieval": {"mode": "lexical", "degraded": false},
    })
}
