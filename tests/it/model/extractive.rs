//! The extractive model on prose and Markdown: what it quotes, what it cites, when it says nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use futures::{FutureExt, TryStreamExt};
use proptest::prelude::*;
use ragq::{
    domain::answer::{Passage, Usage},
    model::{AnswerModel, AnswerPart, AnswerRequest, Bounds, extractive::ExtractiveModel},
};

use super::support::passage;

/// The handbook of a lighthouse, as retrieval would hand it over: best passage first.
const HANDBOOK: [&str; 5] = [
    "## The lamp\n\nThe lamp burns rape-seed oil. It uses 40 litres of it in a winter night.\nThe spare oil is \
     kept in the\ncellar, behind the coal. It must never be stored in the tower.\n\n\
     The lens is polished every Monday [3].",
    "## Starting the engine\n\nThe fog horn needs compressed air. To start the engine of the compressor, run:\n\n\
     ```sh\nhornctl engine start --wait\n```\n\nThe pressure is reached after four minutes.",
    "## Duties\n\nBefore the keeper leaves the tower, he does the following:\n\n- trims the wick\n- winds up the \
     clockwork\n- locks the cellar\n\n| Duty | Every |\n|------|-------|\n| Paint the gallery | 2 years |\n| Test the \
     fog horn | 7 days |\n",
    "The spare oil is kept in the cellar, behind the coal. Coal comes by boat in May.",
    "## Getting help\n\nSend the boat to the harbour master. He can be found in the pilots' inn at any hour.",
];

fn handbook() -> Vec<Passage> {
    HANDBOOK.iter().map(|text| passage(text)).collect()
}

fn parts_of(question: &str, passages: Vec<Passage>) -> Vec<AnswerPart> {
    let request = AnswerRequest {
        question: question.into(),
        passages: passages.into(),
        messages: Vec::new(),
        bounds: Bounds::default(),
    };
    let parts = async { ExtractiveModel.answer(request).await.unwrap().try_collect().await.unwrap() };
    parts.now_or_never().expect("nothing to wait for")
}

fn answer_from(question: &str, passages: Vec<Passage>) -> String {
    let text = |part| match part {
        AnswerPart::Delta(text) => Some(text),
        AnswerPart::Done { .. } => None,
    };
    parts_of(question, passages).into_iter().filter_map(text).collect()
}

fn answer(question: &str) -> String {
    answer_from(question, handbook())
}

/// The numbers in `[n]`.
fn citations(answer: &str) -> Vec<usize> {
    answer.split('[').skip(1).filter_map(|rest| rest.split_once(']')?.0.parse().ok()).collect()
}

const NOTHING: &str = "The documents do not seem to answer this.";

#[test]
fn the_sentence_that_answers_comes_first_with_its_citation() {
    for (question, first) in [
        ("Where is the spare oil kept?", "- The spare oil is kept in the cellar, behind the coal. [1]"),
        (
            "Where must the spare oil never be stored?",
            "- The spare oil is kept in the cellar, behind the coal. It must never be stored in the tower. [1]",
        ),
        (
            "How much oil does the lamp use in a winter night?",
            "- The lamp burns rape-seed oil. It uses 40 litres of it in a winter night. [1]",
        ),
        ("how often is the fog horn tested", "- Test the fog horn | 7 days [3]"),
        ("When does coal come?", "- Coal comes by boat in May. [4]"),
    ] {
        let answer = answer(question);
        let lines: Vec<&str> = answer.lines().take(3).collect();
        assert_eq!(lines, ["From the documents:", "", first], "{question}");
    }
}

#[test]
fn what_the_documents_do_not_hold_is_said_plainly_and_cites_nothing() {
    for question in [
        "What is the capital of France?",
        "Who won the football championship?",
        "How do I reset my password?",
        "",
        "?",
        "the of and",
        "Wie wird das Wetter?",
    ] {
        assert_eq!(answer(question), NOTHING, "{question}");
    }
    assert_eq!(answer_from("Where is the oil?", Vec::new()), NOTHING);
}

#[test]
fn a_question_how_is_answered_with_the_command_and_its_sentence() {
    let answer = answer("How do I start the engine?");
    assert!(
        answer.contains("To start the engine of the compressor, run: `hornctl engine start --wait` [2]"),
        "{answer}"
    );
}

#[test]
fn one_name_of_a_question_alone_is_about_something_else() {
    assert_eq!(answer("What is the capital of the cellar?"), NOTHING);
    let lift = vec![passage("The lift is green. Coal comes by boat in May.")];
    assert!(answer_from("What colour is the lift?", lift).contains("- The lift is green. [1]"));
}

#[test]
fn a_title_or_a_question_of_the_text_is_not_quoted_but_what_stands_below_it() {
    for title in ["4.2. Leaks of the boat", "5.2. How does the boat leak?"] {
        let text = format!("{title}\n\nWater comes in at the keel when it is loaded.\n\n4.3. Oars of the boat");
        let answer = answer_from("How does the boat leak?", vec![passage(&text)]);
        assert_eq!(answer, "From the documents:\n\n- Water comes in at the keel when it is loaded. [1]", "{title}");
    }
}

#[test]
fn what_is_asked_to_be_defined_is_answered_by_its_definition_first() {
    let text = "The keeper trims the storm lantern before dusk. Never carry a storm lantern below.\n\nA storm \
                lantern is a lamp whose flame is sheltered from the wind.";
    let answer = answer_from("What is a storm lantern?", vec![passage(text)]);
    let first = "- A storm lantern is a lamp whose flame is sheltered from the wind. [1]";
    assert_eq!(answer.lines().nth(2), Some(first), "{answer}");
}

#[test]
fn a_single_word_is_no_answer() {
    let answer =
        answer_from("What does Fog-Horn-Duty mean?", vec![passage("# Duties\n\n- Fog-Horn-Duty\n- Lamp-Duty")]);
    assert_eq!(answer, NOTHING);
}

#[test]
fn what_is_said_again_with_a_reference_more_is_quoted_once() {
    let text = |note: &str| {
        format!("The spare wick is kept in a tin. It lies next to the glass of the lamp{note}, in the upper drawer.")
    };
    let passages = vec![passage(&text("")), passage(&text(" (see Section 3.5 [Glasses], page 35)"))];
    let answer = answer_from("Does the spare wick lie next to the glass of the lamp?", passages);
    assert_eq!(answer.matches("in the upper drawer").count(), 1, "{answer}");
}

#[test]
fn a_sentence_does_not_go_on_on_the_line_of_a_fence() {
    let text = "To start the engine, run:\n\n```\nhornctl fill\nhornctl start engine\n```\n\nThis starts the engine.";
    let answer = answer_from("How do I start the engine?", vec![passage(text)]);
    assert!(answer.contains("hornctl fill"), "{answer}");
    assert!(answer.lines().all(|line| !line.trim_start().starts_with("``` ")), "{answer}");
}

#[test]
fn code_is_not_quoted_to_who_asks_for_no_command() {
    let text = "## Owners\n\nThe harbour owns the engine of the fog horn.\n\n```\nhornctl engine owner set --fog-horn harbour\n```";
    let answer = answer_from("Who owns the engine of the fog horn?", vec![passage(text)]);
    assert_eq!(answer, "From the documents:\n\n- The harbour owns the engine of the fog horn. [1]");
}

#[test]
fn a_list_that_was_announced_stays_a_list() {
    let answer = answer("What does the keeper do before he leaves the tower?");
    let list = "- Before the keeper leaves the tower, he does the following:\n  - trims the wick\n  - winds up the \
                clockwork\n  - locks the cellar [3]";
    assert!(answer.contains(list), "{answer}");
}

#[test]
fn what_stands_below_a_heading_that_names_it_is_quoted() {
    assert!(answer("How do I get help?").contains("Send the boat to the harbour master."));
}

#[test]
fn a_sentence_that_two_passages_hold_is_quoted_once() {
    let answer = answer("Where is the spare oil kept?");
    assert_eq!(answer.matches("The spare oil is kept in the cellar").count(), 1, "{answer}");
}

#[test]
fn a_note_of_the_document_is_no_citation() {
    let answer = answer("When is the lens polished?");
    assert!(answer.contains("The lens is polished every Monday. [1]"), "{answer}");
    assert!(citations(&answer).iter().all(|n| *n == 1), "{answer}");
}

#[test]
fn it_streams_in_deltas_and_ends_as_the_extractive_model_at_no_cost() {
    let parts = parts_of("Where is the spare oil kept?", handbook());
    assert!(parts.len() > 2);
    let done = AnswerPart::Done {
        provider: "extractive".into(),
        model: "extractive".into(),
        usage: Usage::default(),
        truncated: false,
    };
    assert_eq!(parts.last(), Some(&done));
    assert!(parts.iter().take(parts.len() - 1).all(|part| matches!(part, AnswerPart::Delta(_))));
    assert_eq!(ExtractiveModel.name(), "extractive");
}

#[test]
fn german_is_answered_from_german() {
    let passages = vec![
        passage("Der Leuchtturm wurde 1874 erbaut. Seine Höhe beträgt 38 Meter, d. h. er ist der höchste der Küste."),
        passage("Die Wärter werden vom Hafenamt bezahlt. Der Lohn wird am 3. Oktober ausgezahlt."),
    ];
    let answer = answer_from("Wer bezahlt die Wärter?", passages.clone());
    assert!(answer.contains("- Die Wärter werden vom Hafenamt bezahlt."), "{answer}");
    assert!(answer.contains("[2]"), "{answer}");
    assert_eq!(answer_from("Wie heißt der Papst?", passages), NOTHING);
}

#[test]
fn a_sentence_without_end_is_cut_where_the_answer_is() {
    let filler = "and the sea was grey and wide ".repeat(40);
    let text = format!("It was long ago {filler} until the keeper married the daughter of a pilot {filler}.");
    let answer = answer_from("Whom did the keeper marry?", vec![passage(&text)]);
    assert!(answer.contains("married the daughter of a pilot"), "{answer}");
    assert!(answer.contains("- … ") && answer.ends_with(" … [1]"), "{answer}");
    assert!(answer.chars().count() < 450, "{answer}");
}

fn collapsed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

proptest! {
    #[test]
    fn whatever_is_asked_every_quotation_stands_in_the_passage_it_cites(
        question in "(where|how|what|is|kept|oil|lamp|engine|keeper|tower|boat|fog|horn|coal| ){1,8}",
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let passages: Vec<Passage> = order.iter().map(|at| passage(HANDBOOK[*at])).collect();
        let answer = answer_from(&question, passages.clone());
        if answer != NOTHING {
            let items: Vec<&str> = answer.split("\n- ").skip(1).collect();
            prop_assert!((1..=4).contains(&items.len()), "{}", answer);
            for item in items {
                let (quote, cited) = item.rsplit_once('[').unwrap();
                let n: usize = cited.trim().trim_end_matches(']').parse().unwrap();
                let source = collapsed(&passages[n - 1].text).replace(" [3]", "");
                for line in quote.split("\n  - ").flat_map(|line| line.split('`')).map(str::trim) {
                    prop_assert!(source.contains(line), "{:?} is not in {:?}", line, source);
                }
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(question in "\\PC{0,60}", texts in proptest::collection::vec("(\\PC|\n|[-#|`.?! :\\[\\]0-9]|word ){0,120}", 1..4)) {
        let passages: Vec<Passage> = texts.iter().map(|text| passage(text)).collect();
        let asked = format!("{question} {}", texts[0].chars().take(30).collect::<String>());
        let count = passages.len();
        let answer = answer_from(&asked, passages);
        prop_assert!(answer == NOTHING || answer.starts_with("From the documents:\n\n- "));
        prop_assert!(citations(&answer).iter().all(|n| (1..=count).contains(n)), "{}", answer);
    }
}
