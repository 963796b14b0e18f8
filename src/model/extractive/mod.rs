//! The model that needs no provider: it quotes the sentences that answer, word for word, and cites them.
//!
//! It writes nothing of its own, so it can't make anything up; and it says so when the passages do not seem
//! to hold an answer. `candidates` cuts passages into what can be quoted, `weights` says which of the
//! question's words matter, `choose` picks, `quote` makes a quotation fit to read.

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::{AnswerModel, AnswerPart, AnswerRequest, AnswerStream};
use crate::domain::{
    answer::{Passage, Usage},
    failure::Failure,
};

mod candidates;
mod choose;
mod quote;
mod weights;

/// The model's name, in settings and in results.
pub const NAME: &str = "extractive";

/// What stands above the quotations.
const LABEL: &str = "From the documents:";
/// What is said when there is nothing to quote.
const NO_ANSWER: &str = "The documents do not seem to answer this.";

/// Quotes from the passages instead of writing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractiveModel;

#[async_trait]
impl AnswerModel for ExtractiveModel {
    fn name(&self) -> &str {
        NAME
    }

    async fn answer(&self, request: AnswerRequest) -> Result<AnswerStream, Failure> {
        let deltas = answer(&request.question, &request.passages);
        let done = AnswerPart::Done {
            provider: NAME.to_owned(),
            model: NAME.to_owned(),
            usage: Usage::default(),
            truncated: false,
        };
        let parts = deltas.into_iter().map(AnswerPart::Delta).chain([done]);
        Ok(stream::iter(parts.map(Ok)).boxed())
    }
}

/// The answer in the pieces in which it is streamed.
fn answer(question: &str, passages: &[Passage]) -> Vec<String> {
    let quotes = choose::quotes(question, passages);
    if quotes.is_empty() {
        return vec![NO_ANSWER.to_owned()];
    }
    let items = quotes.into_iter().map(|quote| {
        // On the line of a closing fence the citation would keep the block open.
        let gap = if quote.text.ends_with("```") || quote.text.ends_with("~~~") { "\n  " } else { " " };
        format!("\n- {}{gap}[{}]", quote.text, quote.passage + 1)
    });
    [format!("{LABEL}\n")].into_iter().chain(items).collect()
}
