//! `GET /jobs/{id}/events`.

use std::time::Duration;

use ragq::{
    domain::{
        failure::{Code, Failure},
        job::{JobError, Kind},
        spent::UsageTotal,
    },
    queue::{Deliveries, Fenced, Maintenance, Release},
};
use reqwest::Response;
use serde_json::{Value, json};

use super::harness::{App, PATIENCE, admin, header, problem};
use crate::support::eventually;

/// One event as it came.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

/// Reads a stream event by event.
struct Stream {
    response: Response,
    buffer: String,
}

impl Stream {
    async fn open(app: &App, job: &str) -> Self {
        Self::of(app.get(&format!("/jobs/{job}/events")).send().await.unwrap())
    }

    fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type").unwrap(), "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// The next block of lines; none: the server closed.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("the stream is silent");
            self.buffer += std::str::from_utf8(&chunk.unwrap()?).unwrap();
        }
    }

    async fn next(&mut self) -> Option<Event> {
        let block = self.block().await?;
        let field = |name: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        let data = field("data").map_or(Value::Null, |data| serde_json::from_str(&data).unwrap());
        Some(Event {
            id: field("id").map(|id| id.parse().unwrap()),
            name: field("event").unwrap_or(block.clone()),
            data,
        })
    }

    async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// A job that was answered in two pieces.
async fn answered(app: &App) -> String {
    let job = app.ask("q").await;
    let delivery = app.fetch(Kind::Chat).await;
    app.delta(&delivery, "Be").await;
    app.delta(&delivery, "cause.").await;
    app.complete(&delivery, "Because.").await;
    job
}

#[tokio::test]
async fn the_whole_log_is_sent_in_order_with_number_and_attempt_and_then_the_server_closes() {
    let app = App::start().await;
    let job = answered(&app).await;
    let events = Stream::open(&app, &job).await.rest().await;
    assert_eq!(names(&events), ["created", "started", "delta", "delta", "completed"]);
    for (number, event) in (0..).zip(&events) {
        assert_eq!((event.id, &event.data["seq"]), (Some(number), &json!(number)));
        assert_eq!(event.data["attempt"], u64::from(number > 0));
        assert!(event.data.get("event").is_none());
    }
    assert_eq!(events[1].data["worker"], app.worker.as_str());
    assert_eq!(events[2].data["text"], "Be");
    assert_eq!(events[4].data["result"], json!({ "answer": "Because." }));
}

#[tokio::test]
async fn a_reader_sees_the_answer_grow() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let mut stream = Stream::open(&app, &job).await;
    assert_eq!(stream.next().await.unwrap().name, "created");
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!(stream.next().await.unwrap().name, "started");
    for text in ["a", "b", "c"] {
        app.delta(&delivery, text).await;
        assert_eq!(stream.next().await.unwrap().data["text"], text);
    }
    app.complete(&delivery, "abc").await;
    assert_eq!(stream.next().await.unwrap().name, "completed");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn an_open_stream_keeps_telling_the_worker_that_somebody_reads() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!(app.store.append_delta(&delivery.lease, "a".into()).await.unwrap(), Fenced::Applied(false));
    let mut stream = Stream::open(&app, &job).await;
    while stream.next().await.unwrap().name != "delta" {}
    assert_eq!(app.store.append_delta(&delivery.lease, "b".into()).await.unwrap(), Fenced::Applied(true));
}

#[tokio::test]
async fn a_reader_resumes_after_the_event_it_has_seen() {
    let app = App::start().await;
    let job = answered(&app).await;
    let path = format!("/jobs/{job}/events");
    let rest = Stream::of(app.get(&format!("{path}?after=2")).send().await.unwrap()).rest().await;
    assert_eq!(names(&rest), ["delta", "completed"]);
    assert_eq!(rest[0].data["text"], "cause.");
    let resumed = app.get(&path).header("Last-Event-ID", "3").send().await.unwrap();
    assert_eq!(names(&Stream::of(resumed).rest().await), ["completed"]);
    let both = app.get(&format!("{path}?after=0")).header("Last-Event-ID", "3").send().await.unwrap();
    assert_eq!(names(&Stream::of(both).rest().await), ["completed"]);
}

#[tokio::test]
async fn a_reconnect_past_the_end_is_told_that_there_is_no_more() {
    let app = App::start().await;
    let job = answered(&app).await;
    for after in ["4", "5", "18446744073709551615"] {
        let answer = app.get(&format!("/jobs/{job}/events?after={after}")).send().await.unwrap();
        assert_eq!(answer.status(), 204, "{after}");
    }
    let answer = app.get(&format!("/jobs/{job}/events")).header("Last-Event-ID", "4").send().await.unwrap();
    assert_eq!(answer.status(), 204);
}

#[tokio::test]
async fn a_bad_event_number_is_refused() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let path = format!("/jobs/{job}/events");
    for bad in ["x", "-1", "+1", "1.0", "18446744073709551616"] {
        let answer = app.get(&format!("{path}?after={bad}")).send().await.unwrap();
        problem(answer, 400, "malformed_event_id").await;
        let answer = app.get(&path).header("Last-Event-ID", bad).send().await.unwrap();
        problem(answer, 400, "malformed_event_id").await;
    }
}

#[tokio::test]
async fn cancelling_ends_the_stream() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let mut stream = Stream::open(&app, &job).await;
    assert_eq!(stream.next().await.unwrap().name, "created");
    assert_eq!(app.delete(&format!("/jobs/{job}")).send().await.unwrap().status(), 200);
    assert_eq!(names(&stream.rest().await), ["cancelled"]);
}

#[tokio::test]
async fn a_retry_is_told_with_its_time_and_the_next_attempt_opens_anew() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let delivery = app.fetch(Kind::Chat).await;
    let error = JobError::from(&Failure::new(Code::StreamCut, "cut"));
    let release = Release::Retry { after: Duration::from_millis(1), error };
    assert_eq!(app.store.release(&delivery.lease, release, UsageTotal::default()).await.unwrap(), Fenced::Applied(()));
    let again = eventually(async || {
        app.store.upkeep().await.unwrap();
        app.store.fetch(&app.worker, Kind::Chat, 1).await.unwrap().pop()
    })
    .await;
    app.complete(&again, "Because.").await;
    let events = Stream::open(&app, &job).await.rest().await;
    assert_eq!(names(&events), ["created", "started", "retrying", "started", "completed"]);
    assert_eq!(events[2].data["code"], "stream_cut");
    assert!(events[2].data["retry_at"].is_string());
    assert_eq!(events[3].data["attempt"], 2);
}

#[tokio::test]
async fn after_a_replay_the_log_goes_on_where_it_stood() {
    let app = App::start().await;
    let job = app.dead_letter("q", Code::ContentRefused).await;
    let events = Stream::open(&app, &job).await.rest().await;
    assert_eq!(names(&events), ["created", "started", "dead"]);
    assert_eq!(events[2].data["error"]["code"], "content_refused");
    let replay = admin(app.post(&format!("/admin/dlq/{job}/replay"))).send().await.unwrap();
    assert_eq!(replay.status(), 202);
    let resumed = app.get(&format!("/jobs/{job}/events?after=2")).send().await.unwrap();
    let mut stream = Stream::of(resumed);
    assert_eq!(stream.next().await.unwrap().name, "replayed");
    app.complete(&app.fetch(Kind::Chat).await, "Because.").await;
    assert_eq!(names(&stream.rest().await), ["started", "completed"]);
}

#[tokio::test]
async fn a_draining_api_sends_its_readers_to_another_replica_at_once() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let mut stream = Stream::open(&app, &job).await;
    assert_eq!(stream.next().await.unwrap().name, "created");
    app.drain.cancel();
    assert_eq!(stream.block().await.unwrap().trim(), "retry: 0");
    assert_eq!(stream.block().await, None);
}

#[tokio::test]
async fn a_stream_that_is_left_leaves_nothing_behind() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let mut stream = Stream::open(&app, &job).await;
    assert_eq!(stream.next().await.unwrap().name, "created");
    drop(stream);
    let delivery = app.fetch(Kind::Chat).await;
    app.complete(&delivery, "Because.").await;
    assert_eq!(names(&Stream::open(&app, &job).await.rest().await).last(), Some(&"completed"));
}

#[tokio::test]
async fn a_log_longer_than_a_page_is_sent_whole() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let delivery = app.fetch(Kind::Chat).await;
    for n in 0..600 {
        app.delta(&delivery, &n.to_string()).await;
    }
    app.complete(&delivery, "done").await;
    let events = Stream::open(&app, &job).await.rest().await;
    assert_eq!(events.len(), 603);
    assert!(events.iter().zip(0..).all(|(event, number)| event.id == Some(number)));
}
