//! What becomes of many jobs begun together when few of their calls fail: those that fail are the first to end.

use std::{collections::HashSet, sync::Mutex};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::row::ANSWER;
use crate::{
    faults::deployment::{number_in, question, sum},
    support::{
        app::TestApp,
        provider::{Gate, Reply, ScriptedProvider},
    },
};

const JOBS: usize = 48;

/// Fails at its first call.
const fn fails_once(number: usize) -> bool {
    number.is_multiple_of(8)
}

#[tokio::test]
async fn a_few_failures_before_the_first_answer_do_not_have_the_provider_left_alone() {
    let provider = ScriptedProvider::start(vec![]).await;
    let answering = Gate::new();
    let (held, failed) = (Reply::text(ANSWER).held_by(&answering), Mutex::new(HashSet::new()));
    provider.choose(move |call| {
        let number = number_in(&call.body);
        let fails = fails_once(number) && failed.lock().unwrap().insert(number);
        Some(if fails { Reply::error(500, "server_error", "try again") } else { held.clone() })
    });
    let base_url = provider.base_url();
    let app = TestApp::start_with(|app| app.model.base_url = Some(base_url)).await;
    app.put("tides", "Tides", "The tide table of the harbour lists high water and low water.").await;
    app.send(Method::POST, "/admin/queue/pause", json!({ "kinds": ["chat"] })).await;
    let jobs = join_all((0..JOBS).map(|number| app.submit("/chat", question(number)))).await;
    app.send(Method::POST, "/admin/queue/resume", json!({})).await;
    let failures = (0..JOBS).filter(|number| fails_once(*number)).count();
    assert!(failures > 5, "as many in a row as trip a breaker");
    provider.until("all of them", |counts| counts.in_flight == JOBS).await;
    assert_eq!(provider.counts().calls, JOBS + failures);
    let breaker = &app.get("/admin/queue").await["breakers"][0];
    assert_eq!(breaker["state"], "closed", "{breaker}");
    answering.open();
    let views = join_all(jobs.iter().map(|job| app.wait_for(job))).await;
    assert!(views.iter().all(|view| view["status"] == "completed"));
    assert_eq!((sum(&views, "attempt"), sum(&views, "deferrals")), ((JOBS + failures) as u64, 0));
    app.finish().await;
}
