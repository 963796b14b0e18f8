//! `GET /`: a page that says what this process is and how to use it. No script, no outside parts.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use ulid::Ulid;

use super::{auth::Caller, state::ApiState};
use crate::domain::{ids::Tenant, job::Status};

const PAGE: &str = include_str!("home.html");

/// Text as it may stand in a page.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// The address this process was called by, if it can stand in a command.
fn host(headers: &HeaderMap) -> &str {
    let sane =
        |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    headers.get(header::HOST).and_then(|value| value.to_str().ok()).filter(sane).unwrap_or("localhost:8080")
}

/// Figures for whoever may know them; a store that does not answer leaves them out.
async fn figures(state: &ApiState, tenant: &Tenant) -> Option<Vec<(&'static str, u64)>> {
    let collections = state.store.collections(tenant).await.ok()?;
    let queue = state.store.stats().await.ok()?;
    let mut figures = vec![("documents", collections.iter().map(|collection| collection.documents).sum())];
    // The queue is everybody's: with keys its figures are the operator's alone.
    if state.keys.is_empty() {
        let count = |status: &Status| (status.as_str(), queue.counts.get(status).copied().unwrap_or(0));
        figures.extend(Status::ALL.iter().map(count));
    }
    Some(figures)
}

fn list(figures: Option<&[(&str, u64)]>) -> String {
    let Some(figures) = figures else {
        return "<p>Figures are shown to callers with an API key, while the job store answers.</p>".into();
    };
    let rows = figures.iter().map(|(name, count)| format!("<div><dt>{name}</dt><dd>{count}</dd></div>"));
    format!("<dl class=\"figures\">{}</dl>", rows.collect::<String>())
}

/// The page
#[utoipa::path(
    get, path = "/", tag = "about", operation_id = "home",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html; charset=utf-8")),
)]
pub async fn home(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let figures = match Caller::of(&state, &headers) {
        Some(Caller { tenant }) => figures(&state, &tenant).await,
        None => None,
    };
    let nonce = Ulid::from_parts(0, rand::random()).to_string();
    let auth = if state.keys.is_empty() { "" } else { " \\\n  -H 'Authorization: Bearer YOUR_KEY'" };
    let page = PAGE
        .replace("{nonce}", &nonce)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{queue}", &escaped(&state.setup.queue))
        .replace("{index}", &escaped(&state.setup.index))
        .replace("{model}", &escaped(&state.setup.model))
        .replace("{figures}", &list(figures.as_deref()))
        .replace("{host}", host(&headers))
        .replace("{auth}", auth);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, page).into_response()
}
