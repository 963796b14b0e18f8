//! Callers that send all of their body before they read a word of the answer.

use std::{convert::Infallible, time::Duration};

use axum::body::{Body, Bytes};
use futures::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use tower::ServiceExt as _;

use super::harness::{App, PATIENCE, expect, problem};

/// Sends the head and the whole body, then reads until the server closes.
async fn stubborn(app: &App, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!("POST /chat HTTP/1.1\r\nhost: ragq\r\nconnection: close\r\n{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

const JSON: &str = "content-type: application/json";

#[tokio::test]
async fn a_caller_that_sends_before_it_reads_still_gets_the_413() {
    let app = App::with(|options| options.api.max_body_bytes = 3_000_000).await;
    let body = vec![b'x'; 8_000_000];
    let answer = stubborn(&app, &format!("{JSON}\r\ncontent-length: {}", body.len()), &body).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let answer = stubborn(&app, &format!("{JSON}\r\ntransfer-encoding: chunked"), &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("x-request-id: "), "{answer}");
}

#[tokio::test]
async fn a_caller_without_a_key_gets_the_401_however_much_it_sends() {
    let app = App::with(|options| options.api.keys = "a:b-0123456789abcdef".into()).await;
    let body = vec![b'x'; 8_000_000];
    let answer = stubborn(&app, &format!("{JSON}\r\ncontent-length: {}", body.len()), &body).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("www-authenticate: "), "{answer}");
}

#[tokio::test]
async fn a_caller_that_asks_first_is_told_no_without_sending_anything() {
    let app = App::with(|options| options.api.max_body_bytes = 1_000).await;
    let answer = stubborn(&app, &format!("{JSON}\r\nexpect: 100-continue\r\ncontent-length: 2000"), b"").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// Time stands still but for timers: what is waited for is the API's patience alone.
#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_given_up() {
    let app = App::start().await;
    let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"query\":"))]).chain(stream::pending());
    let request = axum::http::Request::post("/chat").header("content-type", "application/json");
    let request = request.body(Body::from_stream(begun)).unwrap();
    let answer = timeout(Duration::from_hours(1), app.router.clone().oneshot(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn a_compressed_body_is_refused_as_such_not_as_damaged() {
    let app = App::start().await;
    for (path, kind) in [("/chat", "application/json"), ("/documents", "multipart/form-data; boundary=b")] {
        let request = app.post(path).header("content-type", kind).body("\u{1f}\u{8b}");
        let answer = request.header("content-encoding", "gzip").send().await.unwrap();
        problem(answer, 415, "unsupported_media_type").await;
    }
    let plain = app.post("/chat").json(&serde_json::json!({ "query": "q" })).header("content-encoding", "identity");
    expect(plain.send().await.unwrap(), 202).await;
}

#[tokio::test]
async fn requests_sent_before_the_answers_are_answered_in_order() {
    let app = App::start().await;
    let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    let body = "{\"query\":\"q\"}";
    let ask = format!("POST /chat HTTP/1.1\r\nhost: ragq\r\n{JSON}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let get = "GET /nowhere HTTP/1.1\r\nhost: ragq\r\n\r\n";
    let last = "HEAD /collections HTTP/1.1\r\nhost: ragq\r\nconnection: close\r\n\r\n";
    stream.write_all([&ask, get, last].concat().as_bytes()).await.unwrap();
    let mut answers = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["202", "404", "200"], "{answers}");
}
