//! Queue and Dead letters: figures, pause and resume, breakers; letters read, edited, replayed, discarded.

use std::sync::Arc;

use ragq::{
    domain::{
        audit::{ActionId, AdminAction, AuditNote, AuditStage},
        clock::{Clock as _, SystemClock},
    },
    queue::{
        Operations as _,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::Tab,
    in_both_shapes,
    site::{ADMIN_TOKEN, Shape, Site},
};
use crate::support::provider::{Reply, ScriptedProvider};

/// The row of the questions in the table of kinds.
const QUESTIONS: &str =
    "[...document.querySelectorAll('tbody tr')].find((row) => row.innerText.startsWith('Questions'))";

const NOTES: &str = "Releases leave the yard on Tuesdays, after the harbour master has signed.";

in_both_shapes!(
    many_jobs_are_cancelled_by_kind_and_state_after_a_dry_run_and_the_audit_log_tells_of_it,
    a_group_is_replayed_at_a_rate_after_a_dry_run,
    pausing_holds_questions_back_until_they_are_resumed,
    the_last_hour_is_drawn_and_summed_up_by_kind,
    a_provider_that_is_closed_shows_why_and_when_it_is_probed,
    a_letter_shows_its_attempts_and_goes_back_into_the_queue_as_edited,
    selected_letters_are_discarded_after_a_question,
);

fn too_long() -> Reply {
    Reply::error(400, "context_length_exceeded", "This model's maximum context length is 10 tokens.")
}

async fn operating(shape: Shape, replies: Vec<Reply>) -> (Site, ScriptedProvider) {
    let provider = ScriptedProvider::start(replies).await;
    let site = Site::start_with(shape, Some(&provider), &[]).await;
    site.put("release", "Release notes", NOTES).await;
    (site, provider)
}

/// A view of the operator with the token given.
async fn unlocked(site: &Site, view: &str) -> Tab {
    let tab = site.open(view).await;
    tab.says("Sign in as operator").await;
    tab.fill("Admin token", ADMIN_TOKEN).await;
    tab.press("Enter").await;
    tab.silent("Sign in as operator").await;
    tab
}

#[tokio::test]
async fn a_wrong_admin_token_is_refused_and_the_right_one_opens_both_views() {
    let site = Site::start().await;
    let tab = site.open("#/queue").await;
    // The field has the focus, at first and after an error.
    let ready = "document.activeElement.type === 'password' && document.activeElement.value === ''";
    tab.until(ready).await;
    tab.type_text("not-the-token-of-the-operator").await;
    tab.press("Enter").await;
    tab.says("Wrong token.").await;
    tab.until(ready).await;
    tab.type_text(ADMIN_TOKEN).await;
    tab.press("Enter").await;
    tab.says("Nothing waits for a worker").await;
    tab.press("Alt+4").await;
    tab.says("No dead letters").await;
    assert_eq!(tab.eval("Object.values(localStorage).some((kept) => kept.includes('token'))").await, json!(false));
    tab.finish();
}

async fn many_jobs_are_cancelled_by_kind_and_state_after_a_dry_run_and_the_audit_log_tells_of_it(shape: Shape) {
    let (site, _provider) = operating(shape, vec![]).await;
    let tab = unlocked(&site, "#/queue").await;
    tab.click("button", "Pause questions").await;
    tab.says("What is paused is still accepted").await;
    for _ in 0..3 {
        site.ask("When do releases leave?", "queued").await;
    }
    tab.click("button", "Cancel jobs").await;
    tab.eval("(() => { const s = find('field', 'Of the kind'); s.value = 'ingest'; s.dispatchEvent(new Event('change', { bubbles: true })); })()").await;
    tab.click("button", "Dry run").await;
    tab.says("Nothing matches").await;
    tab.eval("(() => { const s = find('field', 'Of the kind'); s.value = 'chat'; s.dispatchEvent(new Event('change', { bubbles: true })); })()").await;
    tab.until("find('button', 'Cancel jobs').disabled").await;
    tab.click("button", "Dry run").await;
    tab.says("3 jobs would be cancelled").await;
    tab.fill("Altogether, at most", "2").await;
    tab.click("button", "Dry run").await;
    tab.says("2 jobs would be cancelled").await;
    tab.click("button", "Cancel 2").await;
    tab.until("document.querySelector('.note.done')?.innerText === '2 jobs cancelled.'").await;
    tab.until(&format!("{QUESTIONS}.cells[8].innerText === '2'")).await;
    tab.until("[...document.querySelectorAll('.tile')].some((tile) => /queued\\s*1/.test(tile.innerText))").await;
    tab.click("link", "Audit log").await;
    tab.until("document.querySelectorAll('tbody tr').length === 2").await;
    let rows =
        tab.eval("[...document.querySelectorAll('tbody tr')].map((row) => row.innerText.replace(/\\s+/g, ' '))").await;
    let (cancel, pause) = (rows[0].as_str().unwrap(), rows[1].as_str().unwrap());
    assert!(
        cancel.contains("cancel jobs done kinds chat, limit 2, status scheduled and queued 2 admin from 127.0.0.1"),
        "{rows}"
    );
    assert!(pause.contains("pause queue done chat"), "{rows}");
    tab.click("link", "Queue").await;
    tab.says("By kind, now and over the last hour").await;
    tab.finish();
}

#[tokio::test]
async fn a_cut_off_action_is_shown_beside_a_finished_one_of_the_same_request_id() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data").join("jobs.db");
    let store = SqliteJobStore::open(&path, SqliteOptions::default(), clock.clone()).unwrap();
    // What two discards leave behind whose caller called both requests the same, the second one killed midway.
    let begun = |subject: &str| AuditNote {
        action_id: Some(ActionId::new(clock.now())),
        action: AdminAction::DiscardLetter,
        stage: AuditStage::Begun,
        actor: "admin".into(),
        remote_address: None,
        request_id: "cleanup".into(),
        subject: Some(subject.into()),
        count: 0,
        detail: None,
    };
    let first = begun("first-letter");
    let done = AuditNote { stage: AuditStage::Done, count: 1, ..first.clone() };
    for note in [first, done, begun("second-letter")] {
        store.note(&note).await.unwrap();
    }
    store.close().await;
    let site = Site::start_on(folder).await;
    let tab = unlocked(&site, "#/queue/audit").await;
    tab.until("document.querySelectorAll('tbody tr').length === 2").await;
    let rows = tab.eval("[...document.querySelectorAll('tbody tr')].map((row) => row.innerText)").await;
    let shows = |row: usize, words: [&str; 2]| words.iter().all(|word| rows[row].as_str().unwrap().contains(word));
    assert!(shows(0, ["begun", "second-letter"]) && shows(1, ["done", "first-letter"]), "{rows}");
    tab.finish();
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page() {
    let site = Site::start().await;
    let tab = unlocked(&site, "#/queue/audit").await;
    tab.says("Nothing was done yet").await;
    for _ in 0..60 {
        site.send(Method::POST, "/admin/queue/resume", json!({ "kinds": ["chat"] })).await;
    }
    // A page has a hundred entries, two of each action.
    tab.until("document.querySelectorAll('tbody tr').length === 50").await;
    tab.click("button", "Load more").await;
    tab.until("document.querySelectorAll('tbody tr').length === 60 && !find('button', 'Load more')").await;
    tab.finish();
}

async fn pausing_holds_questions_back_until_they_are_resumed(shape: Shape) {
    let (site, provider) = operating(shape, vec![Reply::text("On Tuesdays [1].")]).await;
    let tab = unlocked(&site, "#/queue").await;
    tab.click("button", "Pause questions").await;
    tab.says("What is paused is still accepted").await;
    let job = site.ask("When do releases leave?", "queued").await;
    tab.until("[...document.querySelectorAll('.tile')].some((tile) => /queued\\s*1/.test(tile.innerText))").await;
    assert_eq!(provider.calls().len(), 0);
    // The table is of the same moment as the tiles, and nothing that is paused "could run now".
    assert_eq!(tab.eval(&format!("{QUESTIONS}.cells[1].innerText")).await, json!("1"));
    tab.says("1 question held back until questions are resumed").await;
    tab.silent("could run now").await;
    tab.click("button", "Resume questions").await;
    tab.silent("What is paused is still accepted").await;
    let view = site.send(Method::GET, &format!("/job-status?job_id={job}&wait_ms=30000"), Value::Null).await;
    assert_eq!(view["status"], "completed", "{view}");
    tab.finish();
}

async fn the_last_hour_is_drawn_and_summed_up_by_kind(shape: Shape) {
    let (site, _provider) = operating(shape, vec![Reply::text("On Tuesdays [1]."), too_long()]).await;
    site.ask("When do releases leave?", "completed").await;
    site.ask("When do releases leave, in every detail?", "dead").await;
    let tab = unlocked(&site, "#/queue").await;
    tab.until("document.querySelectorAll('.chart').length === 4").await;
    // Submitted, completed and dead questions of the last hour.
    tab.until(&format!("[3, 4, 7].map((n) => {QUESTIONS}?.cells[n].innerText).join() === '2,1,1'")).await;
    tab.until("document.querySelector('.chart svg').getAttribute('aria-label').startsWith('Throughput since ')").await;
    tab.until("document.querySelector('.chart rect.fill')").await;
    tab.finish();
}

async fn a_provider_that_is_closed_shows_why_and_when_it_is_probed(shape: Shape) {
    let wrong = Reply::default_forever(Reply::error(401, "invalid_api_key", "Incorrect API key provided"));
    let (site, provider) = operating(shape, vec![wrong]).await;
    let tab = unlocked(&site, "#/queue").await;
    tab.says("Circuit breakers").await;
    site.ask("When do releases leave?", "scheduled").await;
    tab.until("document.querySelector('.breaker .badge.bad, .breaker .badge.wait')").await;
    tab.until("/Next probe in|A probe is due/.test(document.querySelector('.breaker').innerText)").await;
    tab.says("Questions wait and use no attempt").await;
    let top = |what: &str| format!("document.querySelector('{what}').getBoundingClientRect().top");
    tab.until(&format!("{} < {}", top(".breaker:is(.bad, .wait)"), top(".tile"))).await;
    provider.then(vec![Reply::default_forever(Reply::text("On Tuesdays [1]."))]);
    tab.until("document.querySelector('.breaker .badge.good')").await;
    tab.finish();
}

async fn a_letter_shows_its_attempts_and_goes_back_into_the_queue_as_edited(shape: Shape) {
    let (site, provider) = operating(shape, vec![too_long(), Reply::text("On Tuesdays [1].")]).await;
    let job = site.ask("When do releases leave, in every detail?", "dead").await;
    let tab = unlocked(&site, "#/letters").await;
    // The list says which question it was, and what was wrong with it.
    tab.says("When do releases leave, in every detail? The provider answered 400").await;
    tab.click("link", "When do releases leave, in every detail?").await;
    tab.says("What was to be done").await;
    tab.says("died").await;
    tab.click("button", "Copy the job's id").await;
    assert_eq!(tab.clipboard().await, job);
    tab.eval("[...document.querySelectorAll('summary')].find((e) => e.innerText.startsWith('Everything')).click()")
        .await;
    let whole = "JSON.parse(document.querySelector('details[open] pre').innerText)";
    tab.until(&format!("{whole}.request_id && {whole}.attempts.length === 1 && {whole}.payload.query")).await;
    tab.until("document.querySelector('#query')?.value === 'When do releases leave, in every detail?'").await;
    tab.fill("Question", "When do releases leave?").await;
    tab.click("button", "Replay as edited").await;
    tab.until("location.hash === '#/letters'").await;
    tab.says("“When do releases leave?” is queued again.").await;
    let view = site.send(Method::GET, &format!("/job-status?job_id={job}&wait_ms=30000"), Value::Null).await;
    assert_eq!(view["status"], "completed", "{view}");
    assert!(provider.calls()[1].body.to_string().contains("When do releases leave?"));
    tab.says("No dead letters").await;
    tab.click("link", "See what comes of it").await;
    tab.says("Its answer On Tuesdays").await;
    // The audit log says that it was edited, and where it is.
    tab.eval("location.hash = '#/queue/audit'").await;
    tab.until(&format!("find('link', {})", json!(job))).await;
    tab.says("replay letter done").await;
    tab.silent("edited true").await;
    tab.finish();
}

async fn a_group_is_replayed_at_a_rate_after_a_dry_run(shape: Shape) {
    let (site, provider) = operating(shape, (0..4).map(|_| too_long()).collect()).await;
    for n in 0..4 {
        site.ask(&format!("When do releases leave, question {n}?"), "dead").await;
    }
    provider.then(vec![Reply::default_forever(Reply::text("On Tuesdays [1]."))]);
    let tab = unlocked(&site, "#/letters").await;
    tab.click("button", "Replay group context too long").await;
    tab.until("find('button', 'Replay').disabled").await;
    tab.click("button", "Dry run").await;
    tab.says("4 dead letters would be replayed").await;
    tab.fill("Altogether, at most", "2").await;
    tab.until("find('button', 'Replay').disabled").await;
    tab.fill("Altogether, at most", "100").await;
    tab.click("button", "Dry run").await;
    tab.says("4 dead letters would be replayed").await;
    // How fast they go changes nothing about how many they are.
    tab.fill("Each second, at most", "20").await;
    tab.click("button", "Replay 4").await;
    tab.says("4 of 4 replayed").await;
    tab.says("completed").await;
    tab.says("No dead letters").await;
    // How it went is still there after a reload.
    tab.reload().await;
    tab.says("4 of 4 replayed").await;
    tab.finish();
}

async fn selected_letters_are_discarded_after_a_question(shape: Shape) {
    let (site, _provider) = operating(shape, vec![too_long(), too_long(), too_long()]).await;
    for n in 0..3 {
        site.ask(&format!("When do releases leave, question {n}?"), "dead").await;
    }
    let tab = unlocked(&site, "#/letters").await;
    tab.until("document.querySelectorAll('tbody tr').length === 3").await;
    tab.eval("[...document.querySelectorAll('tbody input')].slice(0, 2).forEach((box) => box.click())").await;
    tab.click("button", "Discard selected").await;
    tab.says("2 dead letters will be gone").await;
    tab.click("button", "Discard 2").await;
    tab.until("document.querySelectorAll('tbody tr').length === 1").await;
    tab.says("Discarded: 2 dead letters.").await;
    let letters = site.send(Method::GET, "/admin/dlq", Value::Null).await;
    assert_eq!(letters["items"].as_array().unwrap().len(), 1);
    // The last one is found by its id, and by nothing that it does not have.
    tab.fill("Find by id or words", "no such words").await;
    tab.says("No letter has").await;
    tab.fill("Find by id or words", letters["items"][0]["job_id"].as_str().unwrap()).await;
    tab.until("document.querySelectorAll('tbody tr').length === 1").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('#query')").await;
    tab.click("button", "Discard").await;
    tab.says("Discard for good?").await;
    tab.click("button", "Discard").await;
    tab.says("is discarded. Audit log").await;
    tab.finish();
}
