//! What operators order: carried out to its end, stopped or broken off, and what the audit log says of it then.

use std::{convert::Infallible, panic::AssertUnwindSafe};

use futures::{FutureExt as _, future::join_all};
use ragq::{
    api::{auth::Admin, deeds::Deed},
    domain::{
        audit::{AdminAction, AuditNote, AuditStage},
        failure::Code,
        job::Status,
    },
    queue::Operations as _,
};
use reqwest::{Method, Response};
use serde_json::json;

use super::harness::{App, admin, problem, text};
use crate::support::{app::TestApp, eventually};

/// Enough jobs that something can happen while they are cancelled.
const MANY: u64 = 2_000;

async fn with_jobs(count: u64) -> App {
    let app = App::start().await;
    join_all((0..count).map(|number| app.ask(if number % 2 == 0 { "even" } else { "odd" }))).await;
    app
}

async fn cancel_all(app: &App) -> Response {
    admin(app.post("/admin/jobs/cancel")).json(&json!({})).send().await.unwrap()
}

/// The latest entry of the audit log.
async fn latest(app: &App) -> Option<AuditNote> {
    app.store.audit(None, 1).await.unwrap().items.pop().map(|entry| entry.note)
}

async fn begun(app: &App) {
    while latest(app).await.is_none() {}
}

async fn ended(app: &App) -> AuditNote {
    eventually(async || latest(app).await.filter(|note| note.stage != AuditStage::Begun)).await
}

async fn cancelled(app: &App) -> u64 {
    app.store.stats().await.unwrap().counts[&Status::Cancelled]
}

#[tokio::test]
async fn what_was_ordered_is_done_to_its_end_though_the_caller_goes_away() {
    let app = with_jobs(MANY).await;
    tokio::select! {
        biased;
        () = begun(&app) => {}
        _ = cancel_all(&app) => panic!("it was done at once"),
    }
    // The request is dropped, and its connection with it.
    assert!(cancelled(&app).await < MANY, "the caller stayed to the end");
    let note = ended(&app).await;
    assert_eq!((note.stage, note.count, cancelled(&app).await), (AuditStage::Done, MANY, MANY));
}

#[tokio::test]
async fn an_order_that_fails_midway_says_to_how_many_it_was_done() {
    let app = with_jobs(300).await;
    let file = rusqlite::Connection::open(app.folder().join("jobs.db")).unwrap();
    // From the 250th job on; the step that it is in, of a hundred, is not done at all.
    file.execute_batch(
        "CREATE TRIGGER worn_out BEFORE UPDATE ON jobs
         WHEN new.status = 'cancelled' AND (SELECT count(*) FROM jobs WHERE status = 'cancelled') >= 250
         BEGIN SELECT RAISE(ABORT, 'worn out'); END;",
    )
    .unwrap();
    let failed = problem(cancel_all(&app).await, 503, "store_unavailable").await;
    assert_eq!(failed["done"], 200);
    assert!(text(&failed, "detail").ends_with("it was done to 200 before that"), "{failed}");
    let note = ended(&app).await;
    assert_eq!((note.stage, note.count, cancelled(&app).await), (AuditStage::Failed, 200, 200));
    // Nothing was done: nothing is said of it.
    let failed = problem(cancel_all(&app).await, 503, "store_unavailable").await;
    assert_eq!(failed.get("done"), None, "{failed}");
}

#[tokio::test]
async fn letters_are_discarded_until_one_can_not_be_and_it_is_said_how_many_were() {
    let app = App::start().await;
    for _ in 0..120 {
        app.dead_letter("q", Code::ContentRefused).await;
    }
    let file = rusqlite::Connection::open(app.folder().join("jobs.db")).unwrap();
    file.execute_batch(
        "CREATE TRIGGER worn_out BEFORE DELETE ON jobs WHEN (SELECT count(*) FROM jobs) <= 10
         BEGIN SELECT RAISE(ABORT, 'worn out'); END;",
    )
    .unwrap();
    let failed = admin(app.post("/admin/dlq/discard")).json(&json!({})).send().await.unwrap();
    let failed = problem(failed, 503, "store_unavailable").await;
    assert_eq!(failed["done"], 110, "{failed}");
    let note = ended(&app).await;
    assert_eq!((note.stage, note.count), (AuditStage::Failed, 110));
    assert_eq!(app.store.stats().await.unwrap().counts[&Status::Dead], 10);
}

#[tokio::test]
async fn an_order_that_the_end_of_the_process_breaks_off_is_noted_as_failed_after_so_many() {
    let app = with_jobs(MANY).await;
    let stopping = async {
        while cancelled(&app).await == 0 {}
        app.deeds.stop();
    };
    let (answer, ()) = tokio::join!(cancel_all(&app), stopping);
    let failed = problem(answer, 503, "draining").await;
    let note = ended(&app).await;
    let done = cancelled(&app).await;
    assert_eq!((note.stage, note.count), (AuditStage::Failed, done));
    assert_eq!(failed["done"], done);
    assert!((1..MANY).contains(&done), "{done}");
}

#[tokio::test]
async fn an_order_that_panics_is_noted_as_failed_after_so_many() {
    let app = App::start().await;
    let admin = Admin { name: "ana".into(), remote_address: None, request_id: "r".into() };
    let ordering =
        admin.does::<Infallible, _>(&app.state, Deed::new(AdminAction::CancelJobs), |_, progress| async move {
            progress.add(3);
            panic!("a defect")
        });
    let panic = AssertUnwindSafe(ordering).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"a defect"), "the request ends with it, too");
    let note = ended(&app).await;
    assert_eq!((note.stage, note.count, note.actor.as_str()), (AuditStage::Failed, 3, "ana"));
}

#[tokio::test]
async fn a_process_that_drains_waits_for_what_was_ordered() {
    let app = TestApp::start().await;
    app.send(Method::POST, "/admin/queue/pause", json!({})).await;
    let question = json!({ "query": "q" });
    join_all((0..MANY).map(|_| app.submit("/chat", question.clone()))).await;
    let begun = async { while app.get("/admin/audit?limit=1").await["items"][0]["action"] != "cancel_jobs" {} };
    tokio::select! {
        biased;
        () = begun => {}
        _ = app.send(Method::POST, "/admin/jobs/cancel", json!({})) => panic!("it was done at once"),
    }
    let app = TestApp::start_in(app.drain().await, |_| ()).await;
    let audit = app.get("/admin/audit?limit=1").await;
    let latest = &audit["items"][0];
    assert_eq!((&latest["stage"], &latest["count"]), (&json!("done"), &json!(MANY)), "{audit}");
    app.finish().await;
}
