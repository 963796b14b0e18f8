//! `ragq ingest`: what is sent, what is waited for, and what is said of files that failed.

use std::{
    collections::HashMap,
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    ragq,
    scripted::{Api, JOB, Reply, Seen, job},
};

const DOCUMENTS: &str = "POST /documents";
const STATUS: &str = "GET /job-status";

/// The names of the files in a multipart body, in order.
fn names(seen: &Seen) -> Vec<String> {
    let text = seen.text();
    let names = text.split("filename=\"").skip(1);
    names.map(|rest| rest.split("\"\r\n").next().unwrap().replace("\\\"", "\"")).collect()
}

/// Accepts every file under the job id given for its name, else under `JOB`.
fn takes(seen: &Seen, jobs: &HashMap<&str, &str>) -> Reply {
    let item = |name: &String| {
        let job = jobs.get(name.as_str()).copied().unwrap_or(JOB);
        json!({"name": name, "document_id": "d", "job_id": job})
    };
    Reply::json(202, &json!({ "items": names(seen).iter().map(item).collect::<Vec<_>>() }))
}

fn ingested() -> Reply {
    job("completed", &json!({"kind": "ingest", "result": {"document_id": "d", "unchanged": false}}))
}

fn taking_everything(seen: &Seen) -> Reply {
    if seen.route == DOCUMENTS { takes(seen, &HashMap::new()) } else { ingested() }
}

#[tokio::test]
async fn a_folder_goes_with_the_paths_of_its_files_and_what_is_passed_over_is_counted() {
    let api = Api::answering(|seen| Some(taking_everything(seen))).await;
    let ended = ragq(&api.url, ["ingest", "docs", "--collection", "handbook"])
        .file("docs/a.md", "first")
        .file("docs/sub/a.md", "second")
        .file("docs/sub/ü \"x\".txt", "third")
        .file("docs/.hidden/b.md", "no")
        .file("docs/code.rs", "no")
        .run()
        .await
        .expect(0);
    assert_eq!(ended.stdout, "3 ingested (skipped: 1 hidden, 1 of other formats)\n");
    let sent = &api.seen(DOCUMENTS)[0];
    assert!(sent.text().contains("name=\"collection\"\r\n\r\nhandbook\r\n"), "{}", sent.text());
    assert!(sent.text().contains("filename=\"docs/a.md\"\r\n\r\nfirst\r\n"), "{}", sent.text());
    assert_eq!(names(sent), ["docs/a.md", "docs/sub/a.md", "docs/sub/ü \"x\".txt"]);
}

#[tokio::test]
async fn a_part_that_fails_is_named_with_its_reason_and_ends_with_2() {
    let (refused, dead) = ("01J9ZC6M1V7H0Q8T3X5K2B4N60", "01J9ZC6M1V7H0Q8T3X5K2B4N61");
    let api = Api::answering(move |seen| {
        if seen.route == DOCUMENTS {
            let items = json!([
                {"name": "a.md", "document_id": "d", "job_id": JOB},
                {"name": "b.pdf", "error": {"code": "document_empty", "message": "the file is empty"}},
                {"name": "c.pdf", "document_id": "d", "job_id": dead},
            ]);
            return Some(Reply::json(202, &json!({ "items": items })));
        }
        assert!(!seen.query.contains(refused));
        let error = json!({"code": "document_encrypted", "message": "it is encrypted", "class": "permanent"});
        Some(if seen.query.contains(dead) { job("dead", &json!({ "error": error })) } else { ingested() })
    })
    .await;
    let files = |command: super::Ragq| command.file("a.md", "a").file("b.pdf", "b").file("c.pdf", "c");
    let ended = files(ragq(&api.url, ["ingest", "a.md", "b.pdf", "c.pdf", "gone.md"])).run().await.expect(2);
    ended.says(&["b.pdf: the file is empty (document_empty)", "c.pdf: it is encrypted (document_encrypted)"]);
    ended.says(&["gone.md: No such file"]);
    assert_eq!(ended.stdout, "1 ingested, 3 failed\n");
    let ended = files(ragq(&api.url, ["ingest", "a.md", "b.pdf", "c.pdf", "--json"])).run().await.expect(2);
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&summary["ingested"], summary["failed"].as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(summary["failed"][1]["job_id"], dead);
}

#[tokio::test]
async fn when_all_fail_it_ends_with_1() {
    let refusal = json!({
        "title": "Every file was refused", "status": 422, "code": "all_refused", "request_id": "r",
        "items": [{"name": "a.md", "error": {"code": "document_empty", "message": "the file is empty"}}],
    });
    let api = Api::playing(vec![(DOCUMENTS, Reply::json(422, &refusal))]).await;
    let ended = ragq(&api.url, ["ingest", "a.md"]).file("a.md", " ").run().await.expect(1);
    ended.says(&["a.md: the file is empty (document_empty)"]);
    assert_eq!(ended.stdout, "1 failed\n");
}

#[tokio::test]
async fn a_file_asked_for_that_is_not_of_a_known_format_is_a_failure_and_nothing_found_too() {
    let api = Api::playing(vec![]).await;
    ragq(&api.url, ["ingest", "a.rs"]).file("a.rs", "x").run().await.expect(1).says(&["a.rs", ".docx"]);
    let ended = ragq(&api.url, ["ingest", "."]).file("a.rs", "x").run().await.expect(1);
    assert_eq!(ended.stdout, "nothing to take in (skipped: 1 of other formats)\n");
}

#[tokio::test]
async fn an_api_that_is_full_or_limits_the_rate_is_waited_for_as_long_as_it_says() {
    let full = Reply::problem(503, "queue_full", "the queue is full").header("retry-after", "1");
    let fast = Reply::problem(429, "rate_limited", "too many requests").header("retry-after", "1");
    let taken = Reply::json(202, &json!({"items": [{"name": "a.md", "document_id": "d", "job_id": JOB}]}));
    let api = Api::playing(vec![(DOCUMENTS, full), (DOCUMENTS, fast), (DOCUMENTS, taken), (STATUS, ingested())]).await;
    ragq(&api.url, ["ingest", "a.md"]).file("a.md", "a").run().await.expect(0);
    let sent = api.seen(DOCUMENTS);
    assert!(sent.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_secs(1)));
}

#[tokio::test]
async fn files_that_found_no_room_are_sent_again_without_those_that_did() {
    let first = AtomicUsize::new(0);
    let api = Api::answering(move |seen| {
        if seen.route != DOCUMENTS || first.fetch_add(1, Ordering::SeqCst) > 0 {
            return Some(taking_everything(seen));
        }
        let full = json!({"code": "queue_full", "message": "the queue is full"});
        let taken = json!({"name": "a.md", "document_id": "d", "job_id": JOB});
        Some(Reply::json(202, &json!({ "items": [taken, {"name": "b.md", "error": full}] })))
    })
    .await;
    let ended = ragq(&api.url, ["ingest", "a.md", "b.md"]).file("a.md", "a").file("b.md", "b").run().await.expect(0);
    assert_eq!(ended.stdout, "2 ingested\n");
    let sent: Vec<_> = api.seen(DOCUMENTS).iter().map(names).collect();
    assert_eq!(sent, [vec!["a.md", "b.md"], vec!["b.md"]]);
}

#[tokio::test]
async fn a_batch_over_the_apis_limit_is_halved_until_only_the_file_that_is_too_large_fails() {
    let api = Api::answering(|seen| match seen.route.as_str() {
        DOCUMENTS if seen.text().contains("large") => {
            Some(Reply::problem(413, "body_too_large", "a body may have 9 bytes"))
        }
        _ => Some(taking_everything(seen)),
    })
    .await;
    let mut command = ragq(&api.url, ["ingest", "."]).file("d.md", "large");
    for name in ["a.md", "b.md", "c.md", "e.md"] {
        command = command.file(name, "small");
    }
    let ended = command.run().await.expect(2);
    ended.says(&["d.md: a body may have 9 bytes (body_too_large)"]);
    assert_eq!(ended.stdout, "4 ingested, 1 failed\n");
}

#[tokio::test]
async fn a_caller_the_api_does_not_know_stops_at_once() {
    let api = Api::playing(vec![(DOCUMENTS, Reply::problem(401, "unauthorized", "no such key"))]).await;
    let ended = ragq(&api.url, ["ingest", "a.md"]).file("a.md", "a").run().await.expect(64);
    ended.says(&["RAGQ_API_KEY"]);
    assert_eq!(ended.stdout, "1 not sent\n");
}

#[tokio::test]
async fn jobs_that_take_their_time_are_waited_for_and_unchanged_documents_are_told_apart() {
    let polls = Mutex::new(HashMap::<String, usize>::new());
    let api = Api::answering(move |seen| {
        if seen.route == DOCUMENTS {
            let jobs = HashMap::from([("a.md", "01J9ZC6M1V7H0Q8T3X5K2B4N60"), ("b.md", "01J9ZC6M1V7H0Q8T3X5K2B4N61")]);
            return Some(takes(seen, &jobs));
        }
        let mut polls = polls.lock().unwrap();
        let polled = polls.entry(seen.query.clone()).or_default();
        *polled += 1;
        Some(match (*polled, seen.query.contains("N61")) {
            (1, _) => job("running", &json!({"kind": "ingest"})),
            (_, true) => job("completed", &json!({"kind": "ingest", "result": {"unchanged": true}})),
            (_, false) => ingested(),
        })
    })
    .await;
    let ended = ragq(&api.url, ["ingest", "a.md", "b.md"]).file("a.md", "a").file("b.md", "b").run().await.expect(0);
    assert_eq!(ended.stdout, "1 ingested, 1 unchanged\n");
    assert_eq!(api.seen(STATUS).len(), 4);
}

#[tokio::test]
async fn without_waiting_it_ends_when_everything_is_accepted() {
    let api = Api::answering(|seen| Some(taking_everything(seen))).await;
    let ended = ragq(&api.url, ["ingest", "a.md", "--no-wait"]).file("a.md", "a").run().await.expect(0);
    assert_eq!(ended.stdout, "1 accepted\n");
    assert!(api.seen(STATUS).is_empty());
}

#[tokio::test]
async fn standard_input_is_one_text_under_its_title() {
    let taken = Reply::json(202, &json!({"job_id": JOB, "document_id": "d", "status_url": ""}));
    let api = Api::playing(vec![(DOCUMENTS, taken), (STATUS, ingested())]).await;
    let ended = ragq(&api.url, ["ingest", "-", "--title", "Notes"]).run_with_stdin("some *text*").await.expect(0);
    assert_eq!(ended.stdout, "1 ingested\n");
    assert_eq!(api.seen(DOCUMENTS)[0].json(), json!({"title": "Notes", "text": "some *text*"}));
}

#[tokio::test]
async fn many_files_go_in_batches_over_few_connections() {
    let api = Api::answering(|seen| Some(taking_everything(seen))).await;
    let command = ragq(&api.url, ["ingest", "many"]);
    let folder = command.folder().join("many");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..1_000 {
        std::fs::write(folder.join(format!("{number}.md")), "text").unwrap();
    }
    let ended = command.run().await.expect(0);
    assert_eq!(ended.stdout, "1000 ingested\n");
    assert_eq!(api.seen(DOCUMENTS).len(), 16);
    assert!(api.most_under_way() <= 6, "{}", api.most_under_way());
}
