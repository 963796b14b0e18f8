//! Answering a question: retrieve once, prompt, stream the answer into the job's event log, cite.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::{
    Halt,
    markers::MarkerFilter,
    payload::ChatPayload,
    prompt,
    retrieve::{Question, Retriever},
    support,
};
use crate::{
    domain::{
        answer::{Answer, Citation, Context, Passage, Retrieval, Turn, Usage},
        failure::{Code, Failure},
        ids::Lease,
        job::Delivery,
        spent::Spent,
    },
    model::{AnswerModel, AnswerPart, AnswerRequest, AnswerStream, Bounds},
    queue::{Deliveries, Fenced, Finish},
    telemetry::traces,
};

/// What a question without any passage is answered with; no model is called.
pub const NO_PASSAGE: &str =
    "The documents hold no passage that fits this question. Ask in other words, or add documents on the subject.";

/// How long a call for an answer may wait for its turn, holding a slot.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a growing answer is written to the log while someone reads it.
const READ_PACE: Duration = Duration::from_millis(50);
/// How often otherwise: enough for a reader that comes late.
const UNREAD_PACE: Duration = Duration::from_secs(1);

/// Answers questions.
pub struct Ask {
    store: Arc<dyn Deliveries>,
    retriever: Retriever,
    model: Arc<dyn AnswerModel>,
    history_turns: usize,
}

impl Ask {
    /// The use case over its ports; at most `history_turns` earlier turns are taken into account.
    pub fn new(
        store: Arc<dyn Deliveries>,
        retriever: Retriever,
        model: Arc<dyn AnswerModel>,
        history_turns: usize,
    ) -> Self {
        Self { store, retriever, model, history_turns }
    }

    /// Works on one delivery of a `chat` job up to what it is to be finished with; `spent` counts what its calls cost.
    pub async fn run(&self, delivery: &Delivery, spent: &Spent) -> Result<Finish, Halt> {
        let deadline = delivery.remaining.map(|remaining| Instant::now() + remaining);
        let bounds = Bounds { deadline, patience: PATIENCE, spent: spent.clone() };
        let payload = ChatPayload::decode(&delivery.payload)?;
        let turns = self.turns(delivery).await?;
        let Context { passages, retrieval } = self.context(delivery, &payload, &turns, spent).await?;
        let ChatPayload { query, .. } = payload;
        let answer = if passages.is_empty() {
            no_passage(retrieval)
        } else {
            let messages = prompt::build(&query, &turns, &passages);
            // The answer may be long in coming, and thousands wait for theirs: what the model has is not kept here too.
            drop(turns);
            let request = AnswerRequest { question: query, passages: passages.clone(), messages, bounds };
            let stream = self.model.answer(request).await?;
            self.write_down(&delivery.lease, stream, &passages, retrieval).await?
        };
        let turn = match delivery.conversation_id {
            Some(_) => {
                Some(Turn { question: ChatPayload::decode(&delivery.payload)?.query, answer: answer.answer.clone() })
            }
            None => None,
        };
        let result = serde_json::to_value(&answer)
            .map_err(|error| Failure::new(Code::Unknown, "the answer could not be written").with_source(error))?;
        Ok(Finish::Completed { result, document: None, turn })
    }

    async fn turns(&self, delivery: &Delivery) -> Result<Vec<Turn>, Halt> {
        match &delivery.conversation_id {
            Some(id) => Ok(self.store.turns(&delivery.tenant, id, self.history_turns).await?),
            None => Ok(Vec::new()),
        }
    }

    /// What an earlier attempt retrieved, or a new search, stored before anything is made of it.
    async fn context(
        &self,
        delivery: &Delivery,
        payload: &ChatPayload,
        turns: &[Turn],
        spent: &Spent,
    ) -> Result<Context, Halt> {
        if let Some(context) = &delivery.context {
            return Ok(context.clone());
        }
        let question = Question {
            tenant: &delivery.tenant,
            collection: payload.collection.as_ref(),
            text: &payload.query,
            turns,
            top_k: payload.top_k,
        };
        let context = self.retriever.retrieve(&question, spent).instrument(traces::stage("retrieve")).await?;
        match self.store.save_context(&delivery.lease, &context).await? {
            Fenced::Applied(()) => Ok(context),
            Fenced::Stale => Err(Halt::LeaseLost),
        }
    }

    /// Reads the answer to its end, writing it to the event log at the reader's pace.
    async fn write_down(
        &self,
        lease: &Lease,
        mut stream: AnswerStream,
        passages: &[Passage],
        retrieval: Retrieval,
    ) -> Result<Answer, Halt> {
        let mut filter = MarkerFilter::new(passages.len());
        let mut text = String::new();
        let mut unwritten = String::new();
        let mut due = Instant::now();
        let end = loop {
            let part = tokio::select! {
                part = stream.next() => part,
                () = sleep_until(due), if !unwritten.is_empty() => {
                    let pace = self.append(lease, &mut unwritten).await?;
                    due = Instant::now() + pace;
                    continue;
                }
            };
            match part {
                Some(Ok(AnswerPart::Delta(delta))) => {
                    let shown = filter.push(&delta);
                    text.push_str(&shown);
                    unwritten.push_str(&shown);
                }
                Some(Ok(AnswerPart::Done { provider, model, usage, truncated })) => {
                    break (provider, model, usage, truncated);
                }
                Some(Err(failure)) => return Err(failure.into()),
                None => return Err(Failure::new(Code::StreamCut, "the answer ended before it was whole").into()),
            }
        };
        let (rest, cited) = filter.finish();
        text.push_str(&rest);
        unwritten.push_str(&rest);
        if !unwritten.is_empty() {
            self.append(lease, &mut unwritten).await?;
        }
        if text.trim().is_empty() {
            return Err(Failure::new(Code::EmptyAnswer, "the model gave an empty answer").into());
        }
        let of = |index: usize| Citation::of(index, &passages[index - 1]);
        let mut citations: Vec<Citation> = cited.into_iter().map(of).collect();
        support::find(&text, &mut citations);
        // A truncated answer stands, and says so: another attempt would cost as much and end at the same limit.
        let (provider, model, usage, truncated) = end;
        Ok(Answer { answer: text, citations, provider, model, usage, truncated, retrieval })
    }

    /// Writes what has come since the last time; says how long to wait before the next.
    async fn append(&self, lease: &Lease, unwritten: &mut String) -> Result<Duration, Halt> {
        match self.store.append_delta(lease, std::mem::take(unwritten)).await? {
            Fenced::Applied(true) => Ok(READ_PACE),
            Fenced::Applied(false) => Ok(UNREAD_PACE),
            Fenced::Stale => Err(Halt::LeaseLost),
        }
    }
}

fn no_passage(retrieval: Retrieval) -> Answer {
    Answer {
        answer: NO_PASSAGE.to_owned(),
        citations: Vec::new(),
        provider: "none".to_owned(),
        model: "none".to_owned(),
        usage: Usage::default(),
        truncated: false,
        retrieval,
    }
}
