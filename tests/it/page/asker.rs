//! What an asker meets where a question does not go straight to its answer, and what must not be lost on the way.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    in_both_shapes,
    site::{Shape, Site},
};
use crate::support::provider::{Reply, ScriptedProvider};

const NOTES: &str = "# Release\n\nReleases leave the yard on Tuesdays, after the harbour master has signed.\n";
const QUESTION: &str = "When do releases leave the yard?";

in_both_shapes!(a_question_that_died_and_is_replayed_reaches_its_asker, a_pause_and_an_outage_are_told_to_who_waits,);

async fn asking(shape: Shape, replies: Vec<Reply>) -> (Site, ScriptedProvider) {
    let provider = ScriptedProvider::start(replies).await;
    let site = Site::start_with(shape, Some(&provider), &[]).await;
    site.put("release", "Release notes", NOTES).await;
    (site, provider)
}

fn too_long() -> Reply {
    Reply::error(400, "context_length_exceeded", "This model's maximum context length is 10 tokens.")
}

async fn replay_the_letter(site: &Site) {
    let letters = site.send(Method::GET, "/admin/dlq", Value::Null).await;
    let id = letters["items"][0]["job_id"].as_str().expect("a dead letter");
    site.send(Method::POST, &format!("/admin/dlq/{id}/replay"), Value::Null).await;
}

async fn a_question_that_died_and_is_replayed_reaches_its_asker(shape: Shape) {
    let (site, provider) = asking(shape, vec![too_long()]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("Given up for now: ").await;
    tab.says("An operator can try it again; the answer would appear here.").await;
    // It fails once more, which the asker sees who comes back to the window.
    provider.then(vec![Reply::error(400, "content_filter", "The response was filtered.")]);
    replay_the_letter(&site).await;
    tab.eval("dispatchEvent(new Event('focus'))").await;
    tab.says("word it differently").await;
    tab.reload().await;
    tab.says("word it differently").await;
    provider.then(vec![Reply::text("On Tuesdays [1].")]);
    replay_the_letter(&site).await;
    tab.eval("dispatchEvent(new Event('focus'))").await;
    tab.says("On Tuesdays 1.").await;
    tab.silent("Given up").await;
    tab.reload().await;
    tab.says("On Tuesdays 1.").await;
    tab.finish();
}

async fn a_pause_and_an_outage_are_told_to_who_waits(shape: Shape) {
    let wrong = Reply::default_forever(Reply::error(401, "invalid_api_key", "Incorrect API key provided"));
    let provider = ScriptedProvider::start(vec![Reply::text("On Tuesdays [1]."), wrong]).await;
    let more = [("RAGQ_BREAKER__PAUSE_MS", "120000"), ("RAGQ_BREAKER__LONGEST_PAUSE_MS", "120000")];
    let site = Site::start_with(shape, Some(&provider), &more).await;
    site.put("release", "Release notes", NOTES).await;
    let tab = site.open("").await;
    site.send(Method::POST, "/admin/queue/pause", Value::Null).await;
    tab.ask(QUESTION).await;
    tab.says("Waiting: the operators have paused questions.").await;
    site.send(Method::POST, "/admin/queue/resume", Value::Null).await;
    tab.says("On Tuesdays 1.").await;
    site.ask(QUESTION, "scheduled").await;
    tab.press("Alt+N").await;
    tab.ask(QUESTION).await;
    tab.says("Waiting: the model provider does not answer. Your question is kept. Next try in ").await;
    tab.finish();
}

#[tokio::test]
async fn an_answer_with_code_in_a_list_is_no_wider_than_the_screen() {
    let line = format!("export RAGQ_SETTING={}", "value-".repeat(60));
    let answer = format!(
        "Do it so [1]:\n\n- Set it:\n\n  ```\n  {line}\n  ```\n\n- Start it:\n\n  1. Then:\n\n     ```\n     {line}\n     ```\n"
    );
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text(answer)]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.until("document.querySelectorAll('.prose li pre').length === 2 && document.querySelector('.facts')").await;
    for width in [320, 390, 480, 640, 900, 1440] {
        let screen = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": false });
        tab.call("Emulation.setDeviceMetricsOverride", screen).await;
        tab.until(&format!("innerWidth === {width}")).await;
        let over = tab.eval("document.documentElement.scrollWidth - innerWidth").await;
        assert!(over.as_i64().is_some_and(|over| over <= 0), "{over} too wide at {width}");
        let cut = tab.eval("[...document.querySelectorAll('.prose li')].filter((li) => li.getBoundingClientRect().right > innerWidth).length").await;
        assert_eq!(cut, json!(0), "at {width}");
    }
    tab.finish();
}

#[tokio::test]
async fn an_answer_that_cites_nothing_says_so_unless_nothing_is_claimed() {
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text("I believe on Fridays.")]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("No source cited: check this before you rely on it.").await;
    tab.press("Alt+N").await;
    tab.silent("No source cited").await;
    tab.ask("Zyxwv qwghlm?").await;
    tab.says("The documents hold no passage that fits this question").await;
    tab.until("document.querySelector('.facts')").await;
    assert!(!tab.text().await.contains("No source cited"));
    tab.finish();

    let site = Site::start().await;
    site.put("release", "Release notes", NOTES).await;
    let tab = site.open("").await;
    tab.ask("Who repairs yard lanterns?").await;
    tab.says("The documents do not seem to answer this.").await;
    tab.until("document.querySelector('.facts')").await;
    let text = tab.text().await;
    assert!(!text.contains("quoted from the documents") && !text.contains("No source cited"), "{text}");
    tab.finish();
}

#[tokio::test]
async fn a_conversation_is_forgotten_only_after_a_question() {
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text("On Tuesdays [1].")]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("On Tuesdays 1.").await;
    let forget = format!("Forget the conversation \"{QUESTION}\"");
    tab.click("button", &forget).await;
    tab.click("button", "Keep").await;
    tab.until("!document.querySelector('dialog')").await;
    tab.says("On Tuesdays 1.").await;
    tab.click("button", &forget).await;
    tab.click("button", "Forget").await;
    tab.says("What would you like to know?").await;
    tab.silent(QUESTION).await;
    tab.finish();
}

#[tokio::test]
async fn a_conversation_and_what_is_half_written_are_there_after_a_look_elsewhere_and_a_reload() {
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text("On Tuesdays [1].")]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("On Tuesdays 1.").await;
    tab.fill("Your question", "And who has to sign").await;
    let kept =
        "document.querySelector('#question')?.value === 'And who has to sign' && text().includes('On Tuesdays 1.')";
    for back in ["Alt+1", "Alt+Q"] {
        tab.click("link", "Documents").await;
        tab.until("!document.querySelector('#question')").await;
        tab.press(back).await;
        tab.until(kept).await;
    }
    tab.click("link", "Documents").await;
    tab.until("!document.querySelector('#question')").await;
    tab.click("link", "Ask").await;
    tab.until(kept).await;
    tab.reload().await;
    tab.until(kept).await;
    // Another conversation has another draft, and what was sent is none.
    tab.press("Alt+N").await;
    tab.until("document.querySelector('#question')?.value === ''").await;
    tab.finish();
}

#[tokio::test]
async fn a_question_that_is_too_long_is_not_cut_but_told() {
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text("On Tuesdays [1].")]).await;
    let tab = site.open("").await;
    tab.until("document.activeElement.id === 'question'").await;
    let long = |whys: usize| format!("{QUESTION} {}", "why ".repeat(whys));
    tab.type_text(&long(4_242)).await;
    tab.says("Too long by 1,000 characters: 16,000 can be asked").await;
    tab.until("find('button', 'Ask').disabled").await;
    tab.fill("Your question", &long(3_742)).await;
    tab.says("1,000 characters left").await;
    tab.press("Enter").await;
    tab.says("On Tuesdays 1.").await;
    // A long question leaves room for its answer.
    tab.until("document.querySelector('.question').offsetHeight < 400").await;
    tab.click("button", "Show all of it").await;
    tab.until("document.querySelector('.question').offsetHeight > 400").await;
    tab.finish();
}

#[tokio::test]
async fn after_cancelling_with_the_keyboard_it_is_on_asking_again() {
    let (site, _provider) =
        asking(Shape::Embedded, vec![Reply::text("one two three four").pieces(4).stall_after(2)]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.says("one two").await;
    tab.eval("find('button', 'Cancel').focus()").await;
    tab.press("Enter").await;
    tab.says("Cancelled").await;
    tab.until("document.activeElement.innerText === 'Ask again'").await;
    tab.finish();
}

#[tokio::test]
async fn who_has_scrolled_away_from_a_growing_answer_gets_back_to_its_end_by_a_button() {
    let text = "A line of it.\n\n".repeat(200);
    let (site, _provider) = asking(Shape::Embedded, vec![Reply::text(text)]).await;
    let tab = site.open("").await;
    tab.ask(QUESTION).await;
    tab.until("document.querySelector('.facts')").await;
    tab.eval("scrollTo(0, 0)").await;
    tab.click("button", "To the newest").await;
    tab.until("document.scrollingElement.scrollHeight - scrollY - innerHeight < 120").await;
    tab.until("!find('button', 'To the newest')").await;
    tab.finish();
}
