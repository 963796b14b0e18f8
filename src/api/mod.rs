//! The HTTP API: questions, jobs, documents, the operator's routes, health, the page.
//!
//! It speaks to the ports only. Input is read by [`fields`] and [`input`], errors are [`problem`]s, what
//! surrounds every request is in [`request`]. A stream lives in its response; only what operators order is a task of its
//! own, in [`deeds`].

use std::time::Duration;

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware};
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

pub mod admin;
pub mod audit;
pub mod auth;
pub mod cancel;
pub mod chat;
pub mod deeds;
pub mod discards;
pub mod documents;
pub mod events;
pub mod fields;
pub mod health;
pub mod history;
pub mod input;
pub mod jobs;
pub mod lists;
mod look;
mod many;
pub mod metrics;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod rate;
pub mod replays;
pub mod request;
pub mod serve;
pub mod state;
pub mod submit;
mod unread;
pub mod waiting;

pub use auth::{AdminTokens, ApiKeys};
pub use deeds::Deeds;
pub use health::{Degraded, HealthSource, NothingWatched};
pub use state::{ApiParts, ApiState, Setup};

/// How long a body may stop coming before it is given up: callers that send nothing more hold a connection.
const BODY_SILENT: Duration = Duration::from_secs(30);

fn described() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(page::page))
        .routes(routes!(page::part))
        .routes(routes!(openapi::openapi))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(chat::ask))
        .routes(routes!(jobs::status))
        .routes(routes!(jobs::cancel))
        .routes(routes!(events::events))
        .routes(routes!(documents::submit::submit_documents, documents::read::list_documents))
        .routes(routes!(documents::read::get_document, documents::submit::delete_document))
        .routes(routes!(documents::read::get_text))
        .routes(routes!(documents::read::get_chunks))
        .routes(routes!(documents::read::list_collections))
        .routes(routes!(admin::queue))
        .routes(routes!(admin::pause))
        .routes(routes!(admin::resume))
        .routes(routes!(admin::dead_letters))
        .routes(routes!(admin::dead_letter, admin::discard))
        .routes(routes!(admin::replay))
        .routes(routes!(replays::replay_many))
        .routes(routes!(discards::discard_many))
        .routes(routes!(cancel::cancel_many))
        .routes(routes!(history::history))
        .routes(routes!(audit::audit))
}

/// Every route there is, as method and template.
pub fn route_templates() -> Vec<String> {
    let (_, document) = described().split_for_parts();
    let operations = document.paths.paths.iter().flat_map(|(path, item)| {
        let methods = [
            ("GET", &item.get),
            ("PUT", &item.put),
            ("POST", &item.post),
            ("DELETE", &item.delete),
            ("PATCH", &item.patch),
        ];
        methods
            .into_iter()
            .filter(|(_, operation)| operation.is_some())
            .map(move |(method, _)| format!("{method} {path}"))
    });
    operations.collect()
}

/// What a process answers that only works on jobs: whether it lives and is ready, and its metrics.
pub fn probes(state: ApiState) -> Router {
    let (router, _) = OpenApiRouter::<ApiState>::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    let around = middleware::from_fn_with_state(state.clone(), request::around);
    router.fallback(request::no_route).method_not_allowed_fallback(request::no_method).layer(around).with_state(state)
}

/// All routes of the API.
pub fn router(state: ApiState) -> Router {
    let (router, document) = described().split_for_parts();
    let served = openapi::complete(document, &state);
    let limit = usize::try_from(state.api.max_body_bytes).unwrap_or(usize::MAX);
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(state.clone(), request::around))
        .layer(middleware::from_fn_with_state(state.clone(), unread::discard))
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(RequestBodyTimeoutLayer::new(BODY_SILENT))
        .layer(DefaultBodyLimit::max(limit))
        .layer(Extension(served));
    router.fallback(request::no_route).method_not_allowed_fallback(request::no_method).layer(layers).with_state(state)
}
