//! Asking: the job's life as the page shows it, streams that go on, citations, keys, the keyboard.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    in_both_shapes,
    site::{Line, Shape, Site},
};
use crate::support::{
    eventually,
    provider::{Gate, Reply, ScriptedProvider},
};

const NOTES: &str = "# Release\n\nReleases leave the yard on Tuesdays, after the harbour master has signed.\n";
const QUESTION: &str = "When do releases leave the yard?";

in_both_shapes!(
    a_reload_in_mid_stream_goes_on_with_the_same_answer,
    a_provider_that_fails_twice_is_seen_retrying_and_then_answers,
    cancelling_closes_the_call_and_says_so,
    an_answer_that_runs_in_one_tab_is_seen_in_another,
    a_dropped_connection_is_told_and_goes_on_where_it_was,
    a_wrong_key_of_the_provider_is_told_as_a_deferral_with_its_reason_and_time,
    a_question_that_waits_says_how_many_are_before_it,
);

async fn asking(shape: Shape, replies: Vec<Reply>) -> (Site, ScriptedProvider) {
    let provider = ScriptedProvider::start(replies).await;
    let site = Site::start_with(shape, Some(&provider), &[]).await;
    site.put("release", "Release notes", NOTES).await;
    (site, provider)
}

/// Says how long the machine took over a visit: what is left of a minute is the person's.
fn took(begun: Instant, hands: &str) {
    eprintln!("a first visit to its cited answer: {hands}, {:.1} s of waiting", begun.elapsed().as_secs_f32());
}

#[tokio::test]
async fn a_first_visit_leads_to_a_cited_answer_whose_passage_opens_marked() {
    let site = Site::start().await;
    let begun = Instant::now();
    let tab = site.open("").await;
    tab.says("There are no documents yet").await;
    tab.click("button", "A sample to try").await;
    tab.click("button", "What happens when a worker dies?").await;
    tab.says("Its lease runs out after 15 seconds").await;
    // While an answer grows nobody can tell what it will draw on.
    tab.until("document.querySelector('.facts')").await;
    tab.click("button", "Source 1").await;
    tab.until("document.querySelector('.reader mark')?.innerText.includes('Its lease runs out')").await;
    took(begun, "3 clicks");
    // Of the cited passage what the answer quotes is marked, and it is in view.
    tab.until("document.querySelector('.reader .passage').innerText.length > 2 * document.querySelector('.reader mark').innerText.length").await;
    tab.until("(() => { const r = document.querySelector('.reader mark').getBoundingClientRect(); return r.bottom > 0 && r.top < innerHeight; })()").await;
    tab.until("document.querySelector('.reader').contains(document.activeElement)").await;
    tab.press("Escape").await;
    tab.until("!document.querySelector('.reader') && document.activeElement.className === 'chip'").await;
    tab.finish();
}

#[tokio::test]
async fn a_first_visit_with_a_file_of_ones_own_leads_to_its_passage() {
    let site = Site::start().await;
    let desk = tempfile::tempdir().expect("a folder");
    let file = desk.path().join("release.md");
    std::fs::write(&file, NOTES).expect("it can be written");
    let begun = Instant::now();
    let tab = site.open("").await;
    tab.click("link", "Your own documents").await;
    tab.choose("Choose files", &[file]).await;
    tab.click("link", "Ask about it").await;
    tab.until("document.activeElement.id === 'question'").await;
    tab.type_text(QUESTION).await;
    tab.press("Enter").await;
    tab.click("button", "Source 1").await;
    tab.until("document.querySelector('.reader mark')?.innerText.includes('on Tuesdays')").await;
    took(begun, "4 clicks, a file chosen, a question typed");
    tab.finish();
}

#[tokio::test]
async fn of_a_cited_passage_the_sentence_behind_the_statement_is_marked_also_when_the_document_has_moved_or_gone() {
    const MARKED: &str = "The lamp of the harbour office is lit at dusk.";
    let (site, _provider) =
        asking(Shape::Embedded, vec![Reply::text("Every dusk the harbour's lamp is lit [1].")]).await;
    let text = format!("Of the harbour müch is tøld. {MARKED} The pilot boards at the outer buoy.");
    site.put("lamp", "The lamp", &text).await;
    let tab = site.open("").await;
    tab.ask("When is the lamp of the harbour office lit?").await;
    tab.until("document.querySelector('.facts')").await;
    let marked = format!("document.querySelector('.reader mark')?.innerText === {}", json!(MARKED));
    let look = async |note: &str| {
        tab.click("button", "Source 1").await;
        tab.until(&marked).await;
        tab.says(note).await;
        tab.press("Escape").await;
    };
    look("The pilot boards").await;
    site.put("lamp", "The lamp", &format!("Something new stands before it. {text}")).await;
    look("The document has changed since it was cited").await;
    site.put("lamp", "The lamp", "Nothing of it is left.").await;
    look("no longer has the passage").await;
    // What the list of sources shows is the sentence as well, also after a reload.
    tab.reload().await;
    tab.until(&format!("document.querySelector('.source .quote').innerText.startsWith({})", json!(MARKED))).await;
    tab.finish();
}

#[tokio::test]
async fn a_source_opened_while_the_answer_grows_is_marked_anew_when_it_is_whole() {
    let gate = Gate::new();
    let text = "[1] says that they leave on Tuesdays.";
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text(text).pieces(3).held_after_first_by(&gate)]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.click("button", "Source 1").await;
    tab.until("document.querySelector('.reader mark')?.innerText.startsWith('# Release')").await;
    gate.open();
    tab.until("document.querySelector('.reader mark')?.innerText.startsWith('Releases leave')").await;
    tab.finish();
}

#[tokio::test]
async fn copying_puts_the_answer_with_its_sources_on_the_clipboard() {
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text("They leave on **Tuesdays** [1].")]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.click("button", "Copy").await;
    tab.until("find('button', 'Copied')").await;
    let whole = "They leave on **Tuesdays** [1].\n\n[1] Release notes\n";
    eventually(async || (tab.clipboard().await == whole).then_some(())).await;
    // Over plain HTTP a browser has no clipboard to write to, and the older way is taken.
    tab.eval("(window.clipboard = navigator.clipboard).writeText('')").await;
    tab.eval("Object.defineProperty(navigator, 'clipboard', { value: undefined })").await;
    tab.click("button", "Copy").await;
    eventually(async || (tab.clipboard().await == whole).then_some(())).await;
    tab.until("document.activeElement.innerText === 'Copy'").await;
    tab.finish();
}

async fn a_reload_in_mid_stream_goes_on_with_the_same_answer(shape: Shape) {
    let gate = Gate::new();
    let (site, provider) =
        asking(shape, vec![Reply::text("They leave on Tuesdays [1].").pieces(3).held_after_first_by(&gate)]).await;
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

async fn an_answer_that_runs_in_one_tab_is_seen_in_another(shape: Shape) {
    let gate = Gate::new();
    let (site, provider) =
        asking(shape, vec![Reply::text("They leave on Tuesdays [1].").pieces(3).held_after_first_by(&gate)]).await;
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

async fn a_dropped_connection_is_told_and_goes_on_where_it_was(shape: Shape) {
    let gate = Gate::new();
    let (site, _provider) =
        asking(shape, vec![Reply::text("They leave on Tuesdays [1].").pieces(3).held_after_first_by(&gate)]).await;
    let line = Line::to(&site.url).await;
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

async fn a_provider_that_fails_twice_is_seen_retrying_and_then_answers(shape: Shape) {
    let gate = Gate::new();
    let failing = Reply::status(500).held_by(&gate);
    let (site, provider) = asking(shape, vec![failing, Reply::status(500), Reply::text("On Tuesdays [1].")]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    provider.until("the first call", |counts| counts.in_flight == 1).await;
    // Held back before its second attempt, the job can be looked at.
    site.send(Method::POST, "/admin/queue/pause", Value::Null).await;
    gate.open();
    tab.says("Retrying: The provider answered 500 Internal Server Error.").await;
    tab.says("Waiting: the operators have paused questions.").await;
    site.send(Method::POST, "/admin/queue/resume", Value::Null).await;
    tab.says("On Tuesdays 1.").await;
    tab.says("attempt 3").await;
    tab.finish();
}

async fn a_wrong_key_of_the_provider_is_told_as_a_deferral_with_its_reason_and_time(shape: Shape) {
    let (site, provider) =
        asking(shape, vec![Reply::default_forever(Reply::error(401, "invalid_api_key", "Incorrect API key provided"))])
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

async fn cancelling_closes_the_call_and_says_so(shape: Shape) {
    let (site, provider) = asking(shape, vec![Reply::text("one two three four").pieces(4).stall_after(2)]).await;
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

async fn a_question_that_waits_says_how_many_are_before_it(shape: Shape) {
    let gate = Gate::new();
    let provider =
        ScriptedProvider::start(vec![Reply::default_forever(Reply::text("On Tuesdays [1].").held_by(&gate))]).await;
    let site = Site::start_with(shape, Some(&provider), &[("RAGQ_WORKER__CHAT_SLOTS", "1")]).await;
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
    let site = Site::start_with(Shape::Embedded, None, &[("RAGQ_API__KEYS", "sales:key-of-sales-0123456789")]).await;
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
