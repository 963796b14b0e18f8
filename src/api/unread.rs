//! Reads on what a refused request has left unread, so that its refusal arrives.
//!
//! A server that answers and closes while the caller still sends resets the connection, and many callers
//! then see a broken pipe instead of the 413 or 401. So the rest of the body is read and thrown away, within
//! bounds, before a refusal goes out. A caller who waits for `100 Continue` has sent nothing yet and is not
//! asked for it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, HttpBody as _},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures::{Stream as _, StreamExt as _, stream::poll_fn};
use http::header;
use tokio::time::timeout;

use super::state::ApiState;

/// How long a refusal waits for the caller to finish.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that can be read on after whoever read it has dropped it.
#[derive(Clone)]
struct Shared(Arc<Mutex<BodyDataStream>>);

impl Shared {
    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body.into_data_stream())))
    }

    fn body(&self) -> Body {
        let this = self.clone();
        Body::from_stream(poll_fn(move |context| {
            let mut stream = this.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::pin::Pin::new(&mut *stream).poll_next(context)
        }))
    }

    /// Reads to the end, to an error, or until so many bytes have come.
    async fn discard(&self, most: u64) {
        let (mut rest, mut read) = (self.body().into_data_stream(), 0);
        while let Some(Ok(piece)) = rest.next().await {
            read += piece.len() as u64;
            if read > most {
                break;
            }
        }
    }
}

/// The layer: as much again as a body may have is thrown away, no more.
pub async fn discard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let shared = Shared::new(body);
    let response = next.run(Request::from_parts(parts, shared.body())).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        // Out of patience or over the bound: the refusal goes out all the same.
        timeout(PATIENCE, shared.discard(state.api.max_body_bytes)).await.ok();
    }
    response
}
