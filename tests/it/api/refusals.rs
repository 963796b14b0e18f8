//! Callers that send all of their body before they read a word of the answer.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::harness::{App, PATIENCE};

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
    let app = App::with(|options| options.api.max_body_bytes = 6_000_000).await;
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
