//! Remembers how the last call to a provider went, for `/health/ready`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt as _;

use super::{AnswerModel, AnswerPart, AnswerRequest, AnswerStream, Embedder};
use crate::domain::failure::{Class, Code, Failure};

/// What is wrong with a provider at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why.
    pub code: Code,
    /// For people.
    pub message: String,
}

/// The state of one provider as its calls show it.
#[derive(Clone, Debug, Default)]
pub struct Observation(Arc<Mutex<Option<Trouble>>>);

impl Observation {
    /// What was wrong with the last call, unless it went well or the request itself was at fault.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<Trouble>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn failed(&self, failure: &Failure) {
        match failure.class() {
            Class::Permanent => self.set(None),
            Class::Transient | Class::Overloaded | Class::ProviderUnusable => {
                self.set(Some(Trouble { code: failure.code, message: failure.message.clone() }));
            }
        }
    }
}

/// A model whose calls are observed.
pub struct Observed<M> {
    inner: M,
    observation: Observation,
}

impl<M> Observed<M> {
    /// Observes `inner`.
    pub fn new(inner: M, observation: Observation) -> Self {
        Self { inner, observation }
    }
}

#[async_trait]
impl<M: AnswerModel> AnswerModel for Observed<M> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn answer(&self, request: AnswerRequest) -> Result<AnswerStream, Failure> {
        let stream = self.inner.answer(request).await.inspect_err(|failure| self.observation.failed(failure))?;
        let observation = self.observation.clone();
        Ok(stream
            .inspect(move |part| match part {
                Ok(AnswerPart::Done { .. }) => observation.set(None),
                Ok(AnswerPart::Delta(_)) => {}
                Err(failure) => observation.failed(failure),
            })
            .boxed())
    }
}

#[async_trait]
impl<E: Embedder> Embedder for Observed<E> {
    fn model(&self) -> &str {
        self.inner.model()
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
        let vectors = self.inner.embed(texts).await.inspect_err(|failure| self.observation.failed(failure))?;
        self.observation.set(None);
        Ok(vectors)
    }
}
