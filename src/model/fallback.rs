//! Several models as one: the first that can answer does.
//!
//! A model whose provider is left alone, over its budget, busy, or refuses the key or the model itself is passed over
//! for the next. What went wrong with the answer is the job's matter, and its next attempt's: asking another model then
//! would be a retry that nobody counts. Once a part of an answer has come, that model it is.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};

use super::{AnswerModel, AnswerRequest, AnswerStream};
use crate::domain::failure::{Class, Code, Failure};

/// Models in the order in which they are asked.
pub struct Fallback {
    first: Arc<dyn AnswerModel>,
    further: Vec<Arc<dyn AnswerModel>>,
}

impl Fallback {
    /// `first`, and the others when it can't.
    pub fn new(first: Arc<dyn AnswerModel>, further: Vec<Arc<dyn AnswerModel>>) -> Self {
        Self { first, further }
    }
}

#[async_trait]
impl AnswerModel for Fallback {
    fn name(&self) -> &str {
        self.first.name()
    }

    async fn answer(&self, request: AnswerRequest) -> Result<AnswerStream, Failure> {
        let mut put_off: Option<Failure> = None;
        for model in std::iter::once(&self.first).chain(&self.further) {
            match begun(model.as_ref(), request.clone()).await {
                Err(failure) if is_elsewhere_possible(&failure) => put_off = Some(sooner(put_off, failure)),
                answer => return answer,
            }
        }
        // There is always a first.
        Err(put_off.unwrap_or_else(|| Failure::new(Code::Unknown, "no model is configured")))
    }
}

/// The model's answer, once its first part has come.
async fn begun(model: &dyn AnswerModel, request: AnswerRequest) -> Result<AnswerStream, Failure> {
    let mut parts = model.answer(request).await?;
    match parts.next().await {
        Some(Err(failure)) => Err(failure),
        first => Ok(stream::iter(first).chain(parts).boxed()),
    }
}

fn is_elsewhere_possible(failure: &Failure) -> bool {
    failure.defers() || failure.code == Code::LargerThanBudget
}

/// What the job is told when no model could: the one that may be had again first, for that is when it should come back.
fn sooner(known: Option<Failure>, failure: Failure) -> Failure {
    match known {
        Some(known) if known.class() != Class::Permanent => {
            let later = |of: &Failure| of.class() == Class::Permanent || of.retry_after > known.retry_after;
            if later(&failure) { known } else { failure }
        }
        _ => failure,
    }
}
