//! What comes of it when Qdrant is slow, away, changed, locked, or not the port that was meant.

use std::{net::TcpListener, time::Duration};

use ragq::{
    domain::failure::{Class, Code},
    index::{
        PassageIndex,
        qdrant::{Options, QdrantIndex},
    },
};

use super::{
    super::contract::{Subject as _, document, question},
    Qdrant,
    own::embedded,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::qdrant::{Fault, Server};

const UNAVAILABLE: Fault = Fault::Status(tonic::Code::Unavailable, "shutting down");

#[tokio::test]
async fn a_qdrant_that_is_down_at_the_start_is_found_when_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let index = QdrantIndex::connect(Options::new(format!("http://{address}"))).unwrap();
    let failure = index.put(document("a", 1, &["A lamp."])).await.unwrap_err();
    assert_eq!((failure.code, failure.class()), (Code::IndexUnavailable, Class::Transient));
    assert!(failure.message.contains(&format!("{address} can't be reached")), "{failure}");
    assert!(index.ping().await.is_err());
    let _server = Server::on(TcpListener::bind(address).unwrap());
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    assert_eq!(index.search(question("lamp")).await.unwrap().passages.len(), 1);
}

#[tokio::test]
async fn a_call_outlives_a_short_absence() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    server.inject("*", 0, 2, UNAVAILABLE);
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    server.inject("query", 0, 2, UNAVAILABLE);
    assert_eq!(index.search(question("lamp")).await.unwrap().passages.len(), 1);
}

#[tokio::test]
async fn broken_connections_are_made_anew() {
    let Qdrant { index, mut server } = Qdrant::start().await.unwrap();
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    server.restart().await;
    assert_eq!(index.search(question("lamp")).await.unwrap().passages.len(), 1);
    server.restart().await;
    index.put(document("b", 1, &["A lamp."])).await.unwrap();
}

#[tokio::test]
async fn a_lasting_absence_is_a_transient_failure() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    server.inject("query", 0, 1_000, UNAVAILABLE);
    let failure = index.search(question("lamp")).await.unwrap_err();
    assert_eq!((failure.code, failure.class()), (Code::IndexUnavailable, Class::Transient));
    // The client of Qdrant asks once more by itself each time.
    assert!(server.calls("query") <= 8, "{}", server.calls("query"));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    let short = Duration::from_millis(50);
    let hasty = Options { read_timeout: short, write_timeout: short, ..Options::new(server.url()) };
    let hasty = QdrantIndex::connect(hasty).unwrap();
    hasty.ping().await.unwrap();
    server.inject("query", 0, 1, Fault::Stall);
    let search = hasty.search(question("lamp")).await.unwrap_err();
    server.inject("upsert", 0, 1, Fault::Stall);
    let put = hasty.put(document("b", 1, &["A lamp."])).await.unwrap_err();
    for failure in [search, put] {
        assert_eq!(failure.code, Code::IndexUnavailable);
        assert!(failure.message.contains("within 50 ms"), "{failure}");
    }
}

#[tokio::test]
async fn a_write_that_fails_half_way_is_an_error_and_the_next_one_mends_it() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    let texts = vec!["A lamp of brass."; 700];
    server.inject("upsert", 1, 1, Fault::Status(tonic::Code::ResourceExhausted, "disk full"));
    let failure = index.put(document("long", 1, &texts)).await.unwrap_err();
    assert_eq!(failure.code, Code::IndexUnavailable);
    assert_eq!(index.text(&"acme".into(), &"long".into(), 1).await.unwrap(), None, "it has no seal");
    index.put(document("long", 1, &texts[..300])).await.unwrap();
    let chunks = index.chunks(&"acme".into(), &"long".into(), 1, 0, 1_000).await.unwrap();
    assert_eq!(chunks.len(), 300);
    assert_eq!(server.points("ragq"), 301);
}

#[tokio::test]
async fn a_failure_before_the_seal_is_mended_though_the_content_is_the_same() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(document("a", 1, &["A lamp.", "A table.", "A chair."])).await.unwrap();
    server.inject("delete", 0, 1, Fault::Status(tonic::Code::ResourceExhausted, "busy"));
    index.put(document("a", 1, &["A lamp."])).await.unwrap_err();
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    assert_eq!(server.points("ragq"), 2);
}

#[tokio::test]
async fn a_collection_that_was_changed_meanwhile_refuses_vectors_naming_both_sizes() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(embedded("a", "m", &[1.0, 0.0])).await.unwrap();
    let refused =
        Fault::Status(tonic::Code::InvalidArgument, "Wrong input: Vector dimension error: expected dim: 3, got 2");
    server.inject("upsert", 0, 1, refused);
    let failure = index.put(embedded("b", "m", &[1.0, 0.0])).await.unwrap_err();
    assert_eq!(failure.code, Code::IndexMismatch);
    assert!(failure.message.contains("expected dim: 3, got 2"), "{failure}");
}

#[tokio::test]
async fn a_collection_that_vanished_is_made_anew_at_the_next_try() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    server.lose("ragq");
    let failure = index.put(document("b", 1, &["A lamp."])).await.unwrap_err();
    assert_eq!(failure.class(), Class::Transient);
    index.put(document("b", 1, &["A lamp."])).await.unwrap();
    assert_eq!(index.search(question("lamp")).await.unwrap().passages.len(), 1);
}

#[tokio::test]
async fn a_wrong_key_is_told_apart_and_never_shown() {
    let server = Server::start();
    server.require_key("right-key");
    let with = |key: &str| {
        let options = Options { api_key: Some(key.into()), ..Options::new(server.url()) };
        QdrantIndex::connect(options).unwrap()
    };
    with("right-key").ping().await.unwrap();
    let wrong = with("swordfish");
    let put = wrong.put(document("a", 1, &["A lamp."])).await.unwrap_err();
    for failure in [wrong.ping().await.unwrap_err(), put] {
        assert_eq!(failure.code, Code::IndexUnavailable);
        assert!(failure.message.contains("QDRANT_API_KEY"), "{failure}");
        let all = format!("{failure:?}");
        assert!(!all.contains("swordfish") && !all.contains("right-key"), "{all}");
    }
    let keyless = QdrantIndex::connect(Options::new(server.url())).unwrap();
    assert!(keyless.ping().await.unwrap_err().message.contains("QDRANT_API_KEY"));
}

/// Refuses whatever comes, as a server for HTTP/1.1 does when it is spoken to in HTTP/2.
async fn refuse(listener: tokio::net::TcpListener) {
    loop {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut head = [0; 1_024];
        let said = connection.read(&mut head).await.unwrap_or(0);
        let status = if head[..said].starts_with(b"GET / HTTP/1.1") { "200 OK" } else { "400 Bad Request" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        // The client may be gone already.
        connection.write_all(answer.as_bytes()).await.ok();
    }
}

#[tokio::test]
async fn the_rest_port_is_recognised_by_its_answer() {
    let mut servers = tokio::task::JoinSet::new();
    let bind = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let (strict, lenient) = (bind().await.unwrap(), bind().await.unwrap());
    let addresses = [&strict, &lenient].map(|listener| listener.local_addr().unwrap());
    servers.spawn(refuse(strict));
    // Speaks HTTP/2 as well and knows none of the calls.
    servers.spawn(async move { axum::serve(lenient, axum::Router::new()).await.unwrap() });
    for address in addresses {
        let index = QdrantIndex::connect(Options::new(format!("http://{address}"))).unwrap();
        for failure in [index.ping().await.unwrap_err(), index.search(question("lamp")).await.unwrap_err()] {
            assert_eq!(failure.code, Code::IndexUnavailable);
            assert!(failure.message.contains("REST") && failure.message.contains("6334"), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_unreachable_by_https() {
    let server = Server::start();
    let index = QdrantIndex::connect(Options::new(server.url().replace("http:", "https:"))).unwrap();
    assert_eq!(index.ping().await.unwrap_err().code, Code::IndexUnavailable);
}
