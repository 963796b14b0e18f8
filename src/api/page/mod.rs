//! `GET /` and what the page is made of below `/page/`: Ask, Documents, Queue, Dead letters.
//!
//! The page is static files in the binary, and a client of the same API as everybody else: nothing here knows a
//! caller or touches a store. `app.js` is where its script begins; `vendor/` holds what others wrote, at pinned
//! versions. Only what it says about this process is filled in. The policy lets nothing run or load that is not one of
//! these files, and Trusted Types keep the script itself from ever making markup out of text.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};

use super::{
    input::PartPath,
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
};

const PAGE: &str = include_str!("index.html");
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

macro_rules! parts {
    ($media:ident: $($name:literal in $file:literal),* $(,)?) => {
        [$(($name, $media, include_str!($file))),*]
    };
    ($media:ident: $($name:literal),* $(,)?) => { parts!($media: $($name in $name),*) };
}

/// A file of the page.
struct Part {
    media: &'static str,
    text: &'static str,
    tag: String,
}

static PARTS: LazyLock<HashMap<&'static str, Part>> = LazyLock::new(|| {
    let vendored = parts!(SCRIPT:
        "preact.js" in "vendor/preact.js",
        "hooks.js" in "vendor/hooks.js",
        "htm.js" in "vendor/htm.js",
        "marked.js" in "vendor/marked.js",
    );
    let scripts = parts!(SCRIPT:
        "app.js", "ask.js", "audit.js", "cancel.js", "charts.js", "conversations.js", "document.js", "documents.js", "events.js",
        "http.js", "job.js", "keys.js", "letter.js", "letters.js", "library.js", "markdown.js",
        "queue.js", "reader.js", "replay.js", "sample.js", "store.js", "subjects.js", "theme.js", "turn.js",
        "turns.js", "ui.js", "uploads.js", "welcome.js", "words.js",
    );
    let styles = parts!(STYLE: "base.css", "shell.css", "ask.css", "documents.css", "operator.css");
    let images = parts!(IMAGE: "icon.svg");
    let all = [&vendored[..], &scripts, &styles, &images].concat();
    all.into_iter().map(|(name, media, text)| (name, Part { media, text, tag: tag(text) })).collect()
});

/// A strong entity tag: the hash of what is sent.
fn tag(text: &str) -> String {
    format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32])
}

/// Whether the caller has this already.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given
        .flat_map(|list| list.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == tag || one == "*")
}

/// Text of the page with what its caller needs to keep it; always asked for again, so that no two versions mix. The
/// policy comes with a 304 as well: the headers of that answer replace those that were kept.
fn answer(asked: &HeaderMap, media: &'static str, tag: String, text: impl IntoResponse) -> Response {
    let known = has(asked, &tag);
    let tag = [(header::ETAG, tag)];
    let rules = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, tag, rules).into_response();
    }
    (tag, rules, [(header::CONTENT_TYPE, media)], text).into_response()
}

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

/// The page
#[utoipa::path(
    get, path = "/", tag = "about", operation_id = "page",
    responses(
        (status = 200, description = "A page for people", body = String, content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The caller has it already"),
    ),
)]
pub async fn page(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let page = PAGE
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{max_body_bytes}", &state.api.max_body_bytes.to_string())
        .replace("{queue}", &escaped(&state.setup.queue))
        .replace("{index}", &escaped(&state.setup.index))
        .replace("{model}", &escaped(&state.setup.model));
    answer(&headers, HTML, tag(&page), page)
}

/// A file of the page
#[utoipa::path(
    get, path = "/page/{id}", tag = "about", operation_id = "page_part",
    params(("id" = String, Path, pattern = "^[a-z.]+$", description = "The file's name, as the page gives it")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/javascript; charset=utf-8"), (String = "text/css; charset=utf-8"), (String = "image/svg+xml")
        )),
        (status = 304, description = "The caller has it already"),
        (status = 404, description = "The page has no such file"),
    ),
)]
pub async fn part(PartPath(name): PartPath, headers: HeaderMap) -> Result<Response> {
    let nothing = || Problem::new(ProblemCode::NotFound, "the page has no such file");
    let part = PARTS.get(name.as_str()).ok_or_else(nothing)?;
    Ok(answer(&headers, part.media, part.tag.clone(), part.text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/page");
        let mut names: Vec<String> = Vec::new();
        for folder in [folder.clone(), folder.join("vendor")] {
            let files =
                std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.extend(files.filter(|name| [".js", ".css", ".svg"].iter().any(|ending| name.ends_with(ending))));
        }
        names.sort();
        let mut served: Vec<_> = PARTS.keys().copied().collect();
        served.sort_unstable();
        assert_eq!(names, served);
    }

    #[test]
    fn a_caller_has_what_it_names_and_nothing_else() {
        let asked = |value: &'static str| HeaderMap::from_iter([(header::IF_NONE_MATCH, value.parse().unwrap())]);
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(has(&asked(known), "\"a\""), "{known}");
        }
        for unknown in ["\"b\"", "a", ""] {
            assert!(!has(&asked(unknown), "\"a\""), "{unknown}");
        }
    }
}
