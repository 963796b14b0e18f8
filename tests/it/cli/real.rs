//! The client commands against a real `ragq up`.

use std::path::Path;

use serde_json::{Value, json};

use super::{Ended, Ragq, ragq};
use crate::support::process::Up;

/// A folder with documents of several formats in it.
fn with_documents(command: Ragq) -> Ragq {
    command
        .file("docs/office.md", "# Coffee\n\nThe coffee machine is descaled every second Friday.\n")
        .file("docs/sub/office.md", "# Parking\n\nVisitors park on level three of the garage.\n")
        .file("docs/empty.txt", " ")
        .file("docs/not-a.pdf", "this is no PDF")
        .file("docs/.hidden.md", "hidden")
}

fn operator<const N: usize>(up: &Up, args: [&str; N]) -> Ragq {
    ragq(&up.url, args).env("RAGQ_ADMIN_TOKEN_FILE", up.data.join("admin-token").to_str().unwrap())
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap()
}

async fn start(folder: &Path) -> Up {
    Up::start(&folder.join("data"), &[]).await
}

#[tokio::test]
async fn a_folder_is_taken_in_asked_about_and_taken_in_again_as_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let up = start(folder.path()).await;
    let ended = with_documents(ragq(&up.url, ["ingest", "docs"])).run().await.expect(2);
    assert_eq!(ended.stdout, "2 ingested, 2 failed (skipped: 1 hidden)\n");
    ended.says(&["docs/empty.txt: ", "(document_empty)", "docs/not-a.pdf: ", "(document_mislabelled)"]);
    let again = with_documents(ragq(&up.url, ["ingest", "docs/office.md", "docs/sub"])).run().await.expect(0);
    assert_eq!(again.stdout, "2 unchanged\n");
    let text = ragq(&up.url, ["ingest", "-", "--title", "Lift"]).run_with_stdin("The lift is green.").await.expect(0);
    assert_eq!(text.stdout, "1 ingested\n");

    let asked = ragq(&up.url, ["ask", "Where do visitors park?"]).run().await.expect(0);
    assert!(asked.stdout.contains("level three"), "{}", asked.stdout);
    assert!(asked.stdout.contains("\n[1] ") && asked.stdout.contains("docs/sub/office.md"), "{}", asked.stdout);
    let job = json_of(&ragq(&up.url, ["ask", "What colour is the lift?", "--json"]).run().await.expect(0));
    assert_eq!(job["status"], "completed");
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(json_of(&ragq(&up.url, ["jobs", "show", id, "--json"]).run().await.expect(0)), job);
    assert!(ragq(&up.url, ["jobs", "show", id]).run().await.expect(0).stdout.contains("green"));
    // What has ended can't be called off.
    assert_eq!(ragq(&up.url, ["jobs", "cancel", id]).run().await.expect(1).stdout, format!("{id} completed\n"));
    ragq(&up.url, ["ask", " "]).run().await.expect(1).says(&["query: "]);
    ragq(&up.url, ["ask", "Why?", "--collection", "none"]).run().await.expect(1).says(&["collection_not_found"]);
    assert!(up.stop().await.success());
}

#[tokio::test]
async fn the_operator_sees_the_queue_and_replays_and_discards_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let up = start(folder.path()).await;
    assert_eq!(ragq(&up.url, ["health"]).run().await.expect(0).stdout, "ready\n");
    ragq(&up.url, ["ask", "Why?", "--collection", "none"]).run().await.expect(1);
    ragq(&up.url, ["ask", "Who?", "--collection", "none"]).run().await.expect(1);

    let stats = json_of(&operator(&up, ["queue", "stats", "--json"]).run().await.expect(0));
    assert_eq!(stats["counts"]["dead"], 2, "{stats}");
    let listed = operator(&up, ["dlq", "list"]).run().await.expect(0).stdout;
    assert!(listed.contains("2 permanent collection_not_found"), "{listed}");
    let letters = json_of(&operator(&up, ["dlq", "list", "--json"]).run().await.expect(0));
    let ids: Vec<&str> = letters["items"].as_array().unwrap().iter().map(|l| l["job_id"].as_str().unwrap()).collect();
    let shown = operator(&up, ["dlq", "show", ids[0]]).run().await.expect(0).stdout;
    assert!(shown.contains("\"query\": \"Who?\"") && shown.contains("collection_not_found"), "{shown}");

    let dry = operator(&up, ["dlq", "replay", "--code", "collection_not_found", "--dry-run"]).run().await.expect(0);
    assert_eq!(dry.stdout, "2 match\n");
    let edited = operator(&up, ["dlq", "replay", ids[0], "--payload", "edited.json"]);
    edited.file("edited.json", r#"{"query": "Who?"}"#).run().await.expect(0);
    operator(&up, ["dlq", "discard", ids[1]]).run().await.expect(0);
    operator(&up, ["dlq", "discard", ids[1]]).run().await.expect(1).says(&["dead_letter_not_found"]);
    crate::support::eventually(async || {
        let job = json_of(&ragq(&up.url, ["jobs", "show", ids[0], "--json"]).run().await);
        (job["status"] == "completed").then_some(())
    })
    .await;
    assert!(operator(&up, ["dlq", "list"]).run().await.expect(0).stdout.contains("no dead letters"));
    ragq(&up.url, ["dlq", "list"]).env("RAGQ_ADMIN_TOKEN", "not-the-token").run().await.expect(64).says(&["401"]);
    assert!(up.stop().await.success());
}

#[tokio::test]
async fn a_paused_queue_holds_jobs_which_can_be_called_off_and_go_on_when_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let up = start(folder.path()).await;
    operator(&up, ["queue", "pause", "--kind", "chat"]).run().await.expect(0);
    let held = |question: &'static str| {
        let client = reqwest::Client::builder().build().unwrap();
        let request = client.post(format!("{}/chat", up.url)).json(&json!({ "query": question }));
        async move {
            let accepted: Value = request.send().await.unwrap().json().await.unwrap();
            accepted["job_id"].as_str().unwrap().to_owned()
        }
    };
    let (first, second) = (held("One?").await, held("Two?").await);
    let shown = ragq(&up.url, ["jobs", "show", &second]).run().await.expect(0).stdout;
    assert!(shown.contains("queued, 1 before it"), "{shown}");
    assert_eq!(ragq(&up.url, ["jobs", "cancel", &first]).run().await.expect(0).stdout, format!("{first} cancelled\n"));
    operator(&up, ["queue", "resume"]).run().await.expect(0);
    crate::support::eventually(async || {
        let job = json_of(&ragq(&up.url, ["jobs", "show", &second, "--json"]).run().await);
        (job["status"] == "completed").then_some(())
    })
    .await;
    assert!(up.stop().await.success());
}

#[tokio::test]
async fn a_caller_shows_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [("RAGQ_API__KEYS", "team:a-key-of-sixteen-or-more")];
    let up = Up::start(&folder.path().join("data"), &keys).await;
    ragq(&up.url, ["ask", "Why?"]).run().await.expect(64).says(&["RAGQ_API_KEY"]);
    let asked = ragq(&up.url, ["ask", "Why?"]).env("RAGQ_API_KEY", "a-key-of-sixteen-or-more").run().await.expect(0);
    assert!(!asked.stdout.is_empty());
    assert!(up.stop().await.success());
}
