//! Documents as JSON, and reading them.

use ragq::{
    domain::{
        document::{Change, Format},
        ids::Tenant,
        job::Kind,
        spent::UsageTotal,
    },
    queue::{Deliveries, Fenced, Finish},
};
use serde_json::{Value, json};

use super::harness::{App, expect, fields, header, problem, text};

async fn put(app: &App, document: Value) -> Value {
    let answer = app.post("/documents").json(&document).send().await.unwrap();
    assert!(header(&answer, "location").unwrap().starts_with("/job-status?job_id="));
    expect(answer, 202).await
}

async fn get(app: &App, path: &str) -> Value {
    expect(app.get(path).send().await.unwrap(), 200).await
}

#[tokio::test]
async fn a_text_becomes_a_job_and_its_bytes_travel_beside_the_payload() {
    let app = App::start().await;
    let document = json!({ "title": "Handbook", "text": "# Hello\n", "source": "https://x/h.md", "collection": "c-1" });
    let accepted = put(&app, document).await;
    let id = text(&accepted, "document_id");
    assert_eq!(accepted["status_url"], format!("/job-status?job_id={}", text(&accepted, "job_id")));
    assert!(id.starts_with("doc_") && id.len() == 28, "{id}");
    let pending = get(&app, &format!("/documents/{id}")).await;
    assert_eq!((&pending["state"], &pending["version"]), (&json!("pending"), &json!(null)));
    let delivery = app.fetch(Kind::Ingest).await;
    assert_eq!(delivery.payload["kind"], "ingest");
    assert_eq!(delivery.payload["document_id"], id.as_str());
    assert!(!delivery.payload.to_string().contains("Hello"));
    assert_eq!(app.store.upload(delivery.lease.job).await.unwrap().unwrap(), b"# Hello\n");
    let change = delivery.document.unwrap();
    assert_eq!((change.change, change.format, change.version), (Change::Put, Format::Markdown, 1));
    assert_eq!((change.title.as_str(), change.source.as_deref()), ("Handbook", Some("https://x/h.md")));
}

#[tokio::test]
async fn an_id_that_no_client_could_put_into_a_path_is_refused() {
    let app = App::start().await;
    for id in [".", "..", "...", "", "a/b", "a b", "é"] {
        let document = json!({ "title": "t", "text": "x", "document_id": id });
        let refused = app.post("/documents").json(&document).send().await.unwrap();
        assert_eq!(fields(&problem(refused, 422, "validation_failed").await), ["document_id"], "{id}");
    }
    let longest = format!("..{}", "-".repeat(198));
    put(&app, json!({ "title": "t", "text": "x", "document_id": longest })).await;
    assert_eq!(get(&app, &format!("/documents/{longest}")).await["document_id"], longest.as_str());
}

#[tokio::test]
async fn the_same_source_is_the_same_document_in_its_collection() {
    let app = App::start().await;
    let id = |title: &str, source: Option<&str>, collection: &str| {
        let document = json!({ "title": title, "text": "x", "source": source, "collection": collection });
        let app = &app;
        async move { text(&put(app, document).await, "document_id") }
    };
    assert_eq!(id("a", Some("s"), "c").await, id("b", Some("s"), "c").await);
    assert_ne!(id("a", Some("s"), "c").await, id("a", Some("s"), "d").await);
    assert_ne!(id("a", None, "c").await, id("b", None, "c").await);
}

#[tokio::test]
async fn equal_content_has_an_equal_hash_and_a_version_of_its_own() {
    let app = App::start().await;
    let document = json!({ "title": "t", "text": "x", "document_id": "d" });
    put(&app, document.clone()).await;
    put(&app, document).await;
    put(&app, json!({ "title": "t", "text": "y", "document_id": "d" })).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let delivery = app.fetch(Kind::Ingest).await;
        let change = delivery.document.unwrap();
        seen.push((change.version, change.content_hash));
        let finish = Finish::Completed { result: json!({}), document: None, turn: None };
        assert!(matches!(
            app.store.finish(&delivery.lease, finish, UsageTotal::default()).await.unwrap(),
            Fenced::Applied(())
        ));
    }
    seen.sort();
    assert_eq!(seen.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(seen[0].1, seen[1].1);
    assert_ne!(seen[1].1, seen[2].1);
}

#[tokio::test]
async fn all_wrong_fields_of_a_document_are_named_at_once() {
    let app = App::with(|options| options.ingest.max_text_bytes = 3).await;
    let wrong = json!({
        "title": "\n", "text": " ", "source": "", "collection": "a b", "document_id": "a/b", "tags": [],
    });
    let answer = app.post("/documents").json(&wrong).send().await.unwrap();
    let named = fields(&problem(answer, 422, "validation_failed").await);
    assert_eq!(named, ["title", "text", "source", "collection", "document_id", "tags"]);
    let answer = app.post("/documents").json(&json!({ "title": "t", "text": "four" })).send().await.unwrap();
    assert_eq!(fields(&problem(answer, 422, "validation_failed").await), ["text"]);
    let answer = app.post("/documents").json(&json!([])).send().await.unwrap();
    problem(answer, 422, "validation_failed").await;
    let answer = app.post("/documents").body("x").header("content-type", "text/plain").send().await.unwrap();
    problem(answer, 415, "unsupported_media_type").await;
}

#[tokio::test]
async fn a_repeated_submission_under_a_key_is_the_same_job() {
    let app = App::start().await;
    let send = |body: &str| {
        let document = json!({ "title": "t", "text": body });
        app.post("/documents").header("Idempotency-Key", "k").json(&document).send()
    };
    let first = expect(send("x").await.unwrap(), 202).await;
    let again = send("x").await.unwrap();
    assert_eq!(header(&again, "idempotent-replayed").unwrap(), "true");
    assert_eq!(expect(again, 202).await, first);
    problem(send("y").await.unwrap(), 422, "idempotency_key_reused").await;
}

#[tokio::test]
async fn an_ingested_document_can_be_read_whole_and_chunk_by_chunk() {
    let app = App::start().await;
    let whole = "one äöü\ntwo\nthree\n";
    put(&app, json!({ "title": "t", "text": whole, "document_id": "a:b.c_d-e" })).await;
    let path = "/documents/a:b.c_d-e";
    problem(app.get(&format!("{path}/text")).send().await.unwrap(), 404, "document_not_ready").await;
    problem(app.get(&format!("{path}/chunks")).send().await.unwrap(), 404, "document_not_ready").await;
    app.ingest(&Tenant::default()).await;
    let record = get(&app, path).await;
    assert_eq!((&record["state"], &record["version"], &record["chunks"]), (&json!("ready"), &json!(1), &json!(3)));
    assert_eq!(record["size_bytes"], whole.len());
    assert_eq!(get(&app, "/documents/a%3Ab.c_d-e").await, record);
    let answer = app.get(&format!("{path}/text")).send().await.unwrap();
    assert_eq!(header(&answer, "content-type").unwrap(), "text/plain; charset=utf-8");
    assert_eq!(answer.text().await.unwrap(), whole);
    let first = get(&app, &format!("{path}/chunks?limit=2")).await;
    let spans = |page: &Value| {
        let chunks = page["items"].as_array().unwrap().clone();
        chunks.into_iter().map(|chunk| text(&chunk, "text")).collect::<Vec<_>>()
    };
    assert_eq!(spans(&first), ["one äöü\n", "two\n"]);
    assert_eq!((&first["items"][1]["start"], &first["items"][1]["end"]), (&json!(11), &json!(15)));
    let cursor = text(&first, "next_cursor");
    let second = get(&app, &format!("{path}/chunks?limit=2&cursor={cursor}")).await;
    assert_eq!(spans(&second), ["three\n"]);
    assert_eq!(second["next_cursor"], json!(null));
}

#[tokio::test]
async fn pages_of_chunks_are_never_of_two_versions() {
    let app = App::start().await;
    put(&app, json!({ "title": "t", "text": "1\n2\n3\n", "document_id": "d" })).await;
    app.ingest(&Tenant::default()).await;
    let cursor = text(&get(&app, "/documents/d/chunks?limit=1").await, "next_cursor");
    put(&app, json!({ "title": "t", "text": "4\n5\n6\n", "document_id": "d" })).await;
    app.ingest(&Tenant::default()).await;
    let answer = app.get(&format!("/documents/d/chunks?cursor={cursor}")).send().await.unwrap();
    problem(answer, 409, "document_changed").await;
}

#[tokio::test]
async fn documents_are_listed_page_by_page_and_by_collection() {
    let app = App::start().await;
    for (id, collection) in [("a", "x"), ("b", "y"), ("c", "x")] {
        put(&app, json!({ "title": id, "text": "t", "document_id": id, "collection": collection })).await;
    }
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().map(|item| text(&item, "document_id")).collect::<Vec<_>>()
    };
    let first = get(&app, "/documents?limit=2").await;
    assert_eq!(ids(&first), ["a", "b"]);
    let second = get(&app, &format!("/documents?limit=2&cursor={}", text(&first, "next_cursor"))).await;
    assert_eq!(ids(&second), ["c"]);
    assert_eq!(second["next_cursor"], json!(null));
    assert_eq!(ids(&get(&app, "/documents?collection=x").await), ["a", "c"]);
    assert_eq!(ids(&get(&app, "/documents?collection=none").await), Vec::<String>::new());
    for (wrong, field) in [("limit=0", "limit"), ("limit=501", "limit"), ("cursor=abc", "cursor"), ("size=1", "size")] {
        let answer = app.get(&format!("/documents?{wrong}")).send().await.unwrap();
        assert_eq!(fields(&problem(answer, 422, "validation_failed").await), [field]);
    }
}

#[tokio::test]
async fn collections_are_counted() {
    let app = App::start().await;
    assert_eq!(get(&app, "/collections").await, json!({ "items": [], "next_cursor": null }));
    put(&app, json!({ "title": "t", "text": "1\n2\n", "collection": "x" })).await;
    app.ingest(&Tenant::default()).await;
    let collection = app.collection("x").await.unwrap();
    assert_eq!((&collection["documents"], &collection["chunks"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_document_is_deleted_by_a_job() {
    let app = App::start().await;
    put(&app, json!({ "title": "t", "text": "x", "document_id": "d" })).await;
    app.ingest(&Tenant::default()).await;
    let accepted = expect(app.delete("/documents/d").send().await.unwrap(), 202).await;
    assert_eq!(accepted["document_id"], "d");
    assert_eq!(get(&app, "/documents/d").await["state"], "deleting");
    let delivery = app.fetch(Kind::Ingest).await;
    assert_eq!(delivery.lease.job.to_string(), text(&accepted, "job_id"));
    let change = delivery.document.unwrap();
    assert_eq!((change.change, change.version), (Change::Delete, 2));
}

#[tokio::test]
async fn a_document_that_is_not_there_is_not_found_whatever_its_name() {
    let app = App::start().await;
    for id in ["none", "a%2Fb", "%20", "%F0%9F%98%80", "..%2F..", &"x".repeat(201)] {
        for path in ["", "/text", "/chunks"] {
            let answer = app.get(&format!("/documents/{id}{path}")).send().await.unwrap();
            problem(answer, 404, "document_not_found").await;
        }
        problem(app.delete(&format!("/documents/{id}")).send().await.unwrap(), 404, "document_not_found").await;
    }
    problem(app.get("/documents/%FF").send().await.unwrap(), 400, "malformed_request").await;
}
