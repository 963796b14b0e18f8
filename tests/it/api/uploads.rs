//! Documents as files.

use ragq::{
    domain::{document::Format, job::Kind},
    queue::{Deliveries, sqlite::SqliteOptions},
};
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::harness::{App, expect, fields, header, problem, text};

fn file(name: &str, content: impl Into<Vec<u8>>) -> Part {
    Part::bytes(content.into()).file_name(name.to_owned())
}

#[tokio::test]
async fn each_file_is_accepted_or_refused_for_itself() {
    let app = App::start().await;
    let form = Form::new()
        .text("collection", "docs")
        .part("file", file("guide/a.md", "# A"))
        .part("anything", file("b.exe", "MZ"))
        .part("file", file("c.txt", "plain"))
        .part("file", file("empty.md", " \n"));
    let answer = app.post("/documents").multipart(form).send().await.unwrap();
    assert_eq!(header(&answer, "retry-after").unwrap(), "1");
    let items = expect(answer, 202).await["items"].clone();
    assert_eq!(items[0]["name"], "guide/a.md");
    assert!(items[0].get("error").is_none());
    assert_eq!(items[1]["error"]["code"], "unsupported_format");
    assert!(items[1].get("job_id").is_none());
    assert_eq!(items[3]["error"]["code"], "document_empty");
    let first = app.fetch(Kind::Ingest).await;
    let change = first.document.unwrap();
    assert_eq!(first.lease.job.to_string(), text(&items[0], "job_id"));
    assert_eq!(change.document_id.as_str(), text(&items[0], "document_id"));
    assert_eq!((change.title.as_str(), change.source.as_deref()), ("a.md", Some("guide/a.md")));
    assert_eq!((change.collection.as_str(), change.format), ("docs", Format::Markdown));
    assert_eq!(app.store.upload(first.lease.job).await.unwrap().unwrap(), b"# A");
    assert_eq!(app.fetch(Kind::Ingest).await.document.unwrap().format, Format::Text);
}

#[tokio::test]
async fn an_upload_of_which_nothing_is_accepted_is_a_422_that_says_why_for_each() {
    let app = App::start().await;
    let form = Form::new().part("file", file("a.exe", "MZ")).part("file", file("b.zip", "PK"));
    let refused = problem(app.post("/documents").multipart(form).send().await.unwrap(), 422, "all_refused").await;
    assert_eq!(fields(&refused), ["a.exe", "b.zip"]);
    assert_eq!(refused["items"][1]["name"], "b.zip");
    assert_eq!(refused["items"][1]["error"]["code"], "unsupported_format");
}

#[tokio::test]
async fn a_queue_that_fills_up_in_the_middle_refuses_the_rest_only() {
    let app = App::with(|options| options.store = SqliteOptions { max_jobs: 1, ..SqliteOptions::default() }).await;
    let form = || Form::new().part("file", file("a.md", "a")).part("file", file("b.md", "b"));
    let items = expect(app.post("/documents").multipart(form()).send().await.unwrap(), 202).await["items"].clone();
    assert!(items[0]["job_id"].is_string());
    assert_eq!(items[1]["error"]["code"], "queue_full");
    let answer = app.post("/documents").multipart(form()).send().await.unwrap();
    assert!(header(&answer, "retry-after").is_some());
    problem(answer, 503, "queue_full").await;
}

#[tokio::test]
async fn unknown_parts_wrong_names_and_missing_files_are_named_together() {
    let app = App::start().await;
    let form = Form::new().text("collection", "a b").text("tag", "x");
    let refused = problem(app.post("/documents").multipart(form).send().await.unwrap(), 422, "validation_failed").await;
    assert_eq!(fields(&refused), ["collection", "file", "tag"]);
    let form = Form::new().part("file", file(&"x".repeat(501), "a"));
    let refused = problem(app.post("/documents").multipart(form).send().await.unwrap(), 422, "validation_failed").await;
    assert_eq!(fields(&refused), ["filename"]);
}

/// Sends one file whose part has this in its head after the part's name.
async fn with_head(app: &App, rest: &[u8]) -> reqwest::Response {
    let head =
        [b"--b\r\nContent-Disposition: form-data; name=\"file\"; ", rest, b"\r\n\r\nhello\r\n--b--\r\n"].concat();
    app.post("/documents").header("content-type", "multipart/form-data; boundary=b").body(head).send().await.unwrap()
}

#[tokio::test]
async fn names_beyond_ascii_are_read_in_either_form_and_refused_in_none() {
    let app = App::start().await;
    let name = async |rest: &str| expect(with_head(&app, rest.as_bytes()).await, 202).await["items"][0]["name"].clone();
    assert_eq!(name("filename=\"caf\u{e9}.md\"").await, "caf\u{e9}.md");
    assert_eq!(name("filename*=utf-8''caf%C3%A9.md").await, "caf\u{e9}.md");
    assert_eq!(name("filename=\"caf_.md\"; filename*=UTF-8''caf%C3%A9.md").await, "caf\u{e9}.md");
    let refused = problem(with_head(&app, b"filename=\"caf\xe9.md\"").await, 422, "validation_failed").await;
    assert_eq!(fields(&refused), ["filename"]);
    assert_eq!(refused["errors"][0]["message"], "must be UTF-8");
}

#[tokio::test]
async fn a_broken_or_oversized_upload_leaves_nothing_behind() {
    let app = App::with(|options| options.api.max_body_bytes = 2_000).await;
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.md\"\r\n\r\nhello\r\n";
    let send = |kind: &'static str, body: String| app.post("/documents").header("content-type", kind).body(body).send();
    let with = "multipart/form-data; boundary=b";
    problem(send(with, head.to_owned()).await.unwrap(), 400, "invalid_multipart").await;
    problem(send(with, "nonsense".into()).await.unwrap(), 400, "invalid_multipart").await;
    problem(send("multipart/form-data", head.to_owned()).await.unwrap(), 400, "invalid_multipart").await;
    problem(send(with, format!("{head}--b--{}", "x".repeat(3_000))).await.unwrap(), 413, "body_too_large").await;
    let form = || Form::new().part("file", file("a.md", "x".repeat(900)));
    let pieces: Vec<_> = std::iter::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(100))).take(30).collect();
    let endless = Part::stream(reqwest::Body::wrap_stream(futures::stream::iter(pieces))).file_name("b.md");
    let answer = app.post("/documents").multipart(form().part("file", endless)).send().await.unwrap();
    problem(answer, 413, "body_too_large").await;
    let list = expect(app.get("/documents").send().await.unwrap(), 200).await;
    assert_eq!(list["items"], json!([]));
    expect(app.post("/documents").multipart(form()).send().await.unwrap(), 202).await;
}

#[tokio::test]
async fn a_repeated_upload_under_a_key_gives_the_same_jobs() {
    let app = App::start().await;
    let send = |second: &str| {
        let form = Form::new().part("file", file("a.md", "a")).part("file", file("b.md", second));
        app.post("/documents").header("Idempotency-Key", "k").multipart(form).send()
    };
    let first = expect(send("b").await.unwrap(), 202).await;
    let again = send("b").await.unwrap();
    assert_eq!(header(&again, "idempotent-replayed").unwrap(), "true");
    assert_eq!(expect(again, 202).await, first);
    let changed = expect(send("c").await.unwrap(), 202).await;
    assert_eq!(changed["items"][0], first["items"][0]);
    assert_eq!(changed["items"][1]["error"]["code"], "idempotency_key_reused");
}

#[tokio::test]
async fn names_beyond_ascii_come_through() {
    let app = App::start().await;
    let form = Form::new().part("file", file("Übersicht 2026.md", "x"));
    let items = expect(app.post("/documents").multipart(form).send().await.unwrap(), 202).await["items"].clone();
    assert_eq!(items[0]["name"], "Übersicht 2026.md");
}
