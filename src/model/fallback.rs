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
    before: Vec<Arc<dyn AnswerModel>>,
    last: Arc<dyn AnswerModel>,
}

impl Fallback {
    /// `first`, and the others when it can't.
    pub fn new(first: Arc<dyn AnswerModel>, further: Vec<Arc<dyn AnswerModel>>) -> Self {
        let (mut before, mut last) = (Vec::with_capacity(further.len()), first);
        for next in further {
            before.push(std::mem::replace(&mut last, next));
        }
        Self { before, last }
    }
}

#[async_trait]
impl AnswerModel for Fallback {
    fn name(&self) -> &str {
        self.before.first().unwrap_or(&self.last).name()
    }

    async fn answer(&self, request: AnswerRequest) -> Result<AnswerStream, Failure> {
        let mut put_off: Option<Failure> = None;
        for model in &self.before {
            match begun(model.as_ref(), request.clone()).await {
                Err(failure) if is_elsewhere_possible(&failure) => put_off = Some(sooner(put_off, failure)),
                answer => return answer,
            }
        }
        // Nobody is asked after it: no copy of the request is kept.
        match begun(self.last.as_ref(), request).await {
            Err(failure) if is_elsewhere_possible(&failure) => Err(sooner(put_off, failure)),
            answer => answer,
        }
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
