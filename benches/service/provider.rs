//! A provider that takes its time: answers every question after a set wait, with few bytes.

use std::time::Duration;

use axum::{Router, extract::State, response::IntoResponse, routing::post};
use tokio::net::TcpListener;

async fn answer(State(wait): State<Duration>) -> impl IntoResponse {
    tokio::time::sleep(wait).await;
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"slow\",\
             \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let body = chunk("{\"role\":\"assistant\",\"content\":\"Done [1].\"}", "null")
        + &chunk("{}", "\"stop\"")
        + "data: [DONE]\n\n";
    ([("content-type", "text/event-stream")], body)
}

/// Starts one on a free port; its base URL. Runs as long as the runtime.
pub async fn start(wait: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(wait);
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    url
}
