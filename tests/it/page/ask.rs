//! Asking: the job's life as the page shows it, streams that go on, citations, keys, the keyboard.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    on_both_queues,
    site::{Line, Queue, Site},
};
use crate::support::{
    eventually,
    provider::{Gate, Reply, ScriptedProvider},
};

const NOTES: &str = "# Release\n\nReleases leave the yard on Tuesdays, after the harbour master has signed.\n";
const QUESTION: &str = "When do releases leave the yard?";

on_both_queues!(
    a_reload_in_mid_stream_goes_on_with_the_same_answer,
    a_provider_that_fails_twice_is_seen_retrying_and_then_answers,
    cancelling_closes_the_call_and_says_so,
);

async fn asking(queue: Queue, replies: Vec<Reply>) -> (Site, ScriptedProvider) {
    let provider = ScriptedProvider::start(replies).await;
    let site = Site::start_with(queue, Some(&provider), &[]).await;
    site.put("release", "Release notes", NOTES).await;
    (site, provider)
}

#[tokio::test]
async fn a_first_visit_leads_to_a_cited_answer_whose_passage_opens_marked() {
    let site = Site::start().await;
    let tab = site.open("").await;
    tab.says("There are no documents yet").await;
    tab.click("button", "A sample to try").await;
    tab.click("button", "What happens when a worker dies?").await;
    tab.says("Its lease runs out after 15 seconds").await;
    tab.click("button", "Source 1").await;
    tab.until("document.querySelector('.reader mark')?.innerText.includes('Its lease runs out')").await;
    // The mark is what was cited, byte for byte, and it is in view.
    tab.until("(() => { const r = document.querySelector('.reader mark').getBoundingClientRect(); return r.bottom > 0 && r.top < innerHeight; })()").await;
    tab.until("document.querySelector('.reader').contains(document.activeElement)").await;
    tab.press("Escape").await;
    tab.until("!document.querySelector('.reader') && document.activeElement.className === 'chip'").await;
    tab.finish();
}

async fn a_reload_in_mid_stream_goes_on_with_the_same_answer(queue: Queue) {
    let gate = Gate::new();
    let (site, provider) =
        asking(queue, vec![Reply::text("They leave on Tuesdays [1].").pieces(3).held_after_first_by(&gate)]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("They leav").await;
    tab.reload().await;
    tab.says("They leav").await;
    tab.says("Answering").await;
    gate.open();
    tab.says("They leave on Tuesdays 1.").await;
    tab.silent("Answering").await;
    tab.reload().await;
    tab.says("They leave on Tuesdays 1.").await;
    assert_eq!(provider.calls().len(), 1, "nothing was asked again");
    tab.finish();
}

#[tokio::test]
async fn an_answer_that_runs_in_one_tab_is_seen_in_another() {
    let gate = Gate::new();
    let (site, provider) =
        asking(Queue::Embedded, vec![Reply::text("They leave on Tuesdays [1].").pieces(3).held_after_first_by(&gate)])
            .await;
    let (tab, other) = (site.open("").await, site.open("").await);
    tab.ask(QUESTION).await;
    tab.says("They leav").await;
    other.click("link", QUESTION).await;
    other.says("They leav").await;
    gate.open();
    tab.says("They leave on Tuesdays 1.").await;
    other.says("They leave on Tuesdays 1.").await;
    assert_eq!(provider.calls().len(), 1);
    tab.finish();
    other.finish();
}

#[tokio::test]
async fn a_dropped_connection_is_told_and_goes_on_where_it_was() {
    let gate = Gate::new();
    let (site, _provider) =
        asking(Queue::Embedded, vec![Reply::text("They leave on Tuesdays [1].").pieces(3).held_after_first_by(&gate)])
            .await;
    let line = Line::to(&site.up.url).await;
    let tab = site.browser.open(&line.url).await;
    tab.ask(QUESTION).await;
    tab.says("They leav").await;
    line.cut();
    tab.says("The connection is lost").await;
    tab.says("They leav").await;
    gate.open();
    line.mend();
    tab.says("They leave on Tuesdays 1.").await;
    tab.silent("The connection is lost").await;
    tab.finish();
}

async fn a_provider_that_fails_twice_is_seen_retrying_and_then_answers(queue: Queue) {
    let gate = Gate::new();
    let failing = Reply::status(500).held_by(&gate);
    let (site, provider) = asking(queue, vec![failing, Reply::status(500), Reply::text("On Tuesdays [1].")]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    provider.until("the first call", |counts| counts.in_flight == 1).await;
    // Held back before its second attempt, the job can be looked at.
    site.send(Method::POST, "/admin/queue/pause", Value::Null).await;
    gate.open();
    tab.says("Retrying: The provider answered 500 Internal Server Error. The next attempt is at").await;
    site.send(Method::POST, "/admin/queue/resume", Value::Null).await;
    tab.says("On Tuesdays 1.").await;
    tab.says("attempt 3").await;
    tab.finish();
}

#[tokio::test]
async fn a_wrong_key_of_the_provider_is_told_as_a_deferral_with_its_reason_and_time() {
    let (site, provider) = asking(
        Queue::Embedded,
        vec![Reply::default_forever(Reply::error(401, "invalid_api_key", "Incorrect API key provided"))],
    )
    .await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("Deferred: ").await;
    tab.says("no attempt is used").await;
    tab.says("mend the provider's key").await;
    provider.then(vec![Reply::default_forever(Reply::text("On Tuesdays [1]."))]);
    tab.says("On Tuesdays 1.").await;
    tab.finish();
}

async fn cancelling_closes_the_call_and_says_so(queue: Queue) {
    let (site, provider) = asking(queue, vec![Reply::text("one two three four").pieces(4).stall_after(2)]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("one two").await;
    tab.click("button", "Cancel").await;
    tab.says("Cancelled").await;
    provider.until("the disconnect", |counts| counts.disconnects == 1).await;
    provider.then(vec![Reply::text("On Tuesdays [1].")]);
    tab.click("button", "Ask again").await;
    tab.says("On Tuesdays 1.").await;
    tab.finish();
}

#[tokio::test]
async fn a_question_that_waits_says_how_many_are_before_it() {
    let gate = Gate::new();
    let provider =
        ScriptedProvider::start(vec![Reply::default_forever(Reply::text("On Tuesdays [1].").held_by(&gate))]).await;
    let site = Site::start_with(Queue::Embedded, Some(&provider), &[("RAGQ_WORKER__CHAT_SLOTS", "1")]).await;
    site.put("release", "Release notes", NOTES).await;
    for _ in 0..3 {
        site.send(Method::POST, "/chat", json!({ "query": QUESTION })).await;
    }
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("Queued, 2 questions before it.").await;
    gate.open();
    tab.says("On Tuesdays 1.").await;
    tab.finish();
}

#[tokio::test]
async fn a_key_is_asked_for_kept_for_the_session_only_and_can_be_forgotten() {
    let site = Site::start_with(Queue::Embedded, None, &[("RAGQ_API__KEYS", "sales:key-of-sales-0123456789")]).await;
    let tab = site.open("").await;
    tab.says("This server wants an API key").await;
    tab.fill("API key", "key-of-nobody-0123456789").await;
    tab.press("Enter").await;
    tab.says("The server did not take the one it was given").await;
    tab.fill("API key", "key-of-sales-0123456789").await;
    tab.press("Enter").await;
    tab.click("button", "A sample to try").await;
    tab.click("button", "How long are answers kept?").await;
    tab.says("kept for 24 hours").await;
    tab.reload().await;
    tab.says("kept for 24 hours").await;
    assert_eq!(tab.eval("Object.keys(localStorage).filter((name) => name !== 'ragq.theme')").await, json!([]));
    let other = site.open("").await;
    other.says("This server wants an API key").await;
    tab.click("button", "Forget the keys of this tab").await;
    tab.says("This server wants an API key").await;
    tab.silent("kept for 24 hours").await;
    assert_eq!(tab.eval("sessionStorage.length").await, json!(0), "what was answered with the key goes with it");
    tab.finish();
}

#[tokio::test]
async fn everything_in_ask_can_be_done_with_the_keyboard() {
    let site = Site::start().await;
    site.put("release", "Release notes", NOTES).await;
    let tab = site.open("").await;
    // The question is where a visit begins; before it, for whoever goes round, is the way past the frame.
    tab.until("document.activeElement.id === 'question'").await;
    tab.eval("document.querySelector('.skip').focus()").await;
    tab.press("Enter").await;
    tab.until("document.activeElement.id === 'main'").await;
    tab.press("Alt+Q").await;
    tab.until("document.activeElement.id === 'question'").await;
    tab.type_text(QUESTION).await;
    tab.press("Enter").await;
    tab.says("Releases leave the yard on Tuesdays").await;
    // Back from the question field to the chip of the first citation, and into its source.
    let reached = eventually(async || {
        tab.press("Tab").await;
        (tab.eval("document.activeElement.className").await == "chip").then_some(())
    });
    reached.await;
    tab.press("Enter").await;
    tab.until("document.querySelector('.reader mark')").await;
    tab.press("Escape").await;
    tab.until("document.activeElement.className === 'chip'").await;
    tab.press("Alt+N").await;
    tab.until("document.activeElement.id === 'question' && location.hash === '#/ask'").await;
    tab.finish();
}
