//! Metrics: what a process counts of itself, and what the job store says of the whole deployment.
//!
//! [`table`] declares them all. A [`Metrics`] belongs to one app, not to the program: it is handed to the parts that
//! record, so that several apps in one program never mix. Recording is a call of a typed function here: it finds its
//! series by index, and costs an atomic addition. Nothing is looked up by name and no label is made on the way.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use metrics::{NoopRecorder, Recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

mod deployment;
mod family;
mod jobs;
mod machine;
mod provider;
pub mod table;
mod words;

pub use deployment::{Figures, KindFigures};
pub use family::{Declared, Sets};
pub use provider::{CallInFlight, ProviderMetrics};
pub use words::{
    BreakerState, CallOutcome, Danger, Fate, IngestStage, Operation, Refusal, RetrievalStage, StoreOperation,
};

use self::{
    family::Label as _,
    table::{Deployment, Process},
    words::{Provider, Route, StatusClass},
};
use crate::domain::answer::Retrieval;

/// Whether a process speaks for the whole deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of itself only: a worker.
    Process,
    /// Also of what all processes share: a replica of the API.
    Deployment,
}

/// The metrics of one app; a clone is one more reference.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    sets: Sets,
    routes: HashMap<String, Route>,
    process: Process,
    deployment: Option<Deployment>,
    handle: PrometheusHandle,
}

impl Metrics {
    /// All metrics with all their series at zero.
    pub fn new(scope: Scope, sets: Sets) -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for declared in Process::DECLARED.iter().chain(Deployment::DECLARED) {
            if !declared.buckets.is_empty() {
                builder = builder.set_buckets_for_metric(Matcher::Full(declared.name.to_owned()), declared.buckets)?;
            }
        }
        let recorder = builder.build_recorder();
        Ok(Self::recording(&recorder, recorder.handle(), scope, sets))
    }

    /// Metrics that forget what they are given.
    pub fn uncounted(scope: Scope, sets: Sets) -> Result<Self, BuildError> {
        Ok(Self::recording(&NoopRecorder, PrometheusBuilder::new().build_recorder().handle(), scope, sets))
    }

    fn recording(recorder: &dyn Recorder, handle: PrometheusHandle, scope: Scope, sets: Sets) -> Self {
        let process = Process::register(recorder, &sets);
        let deployment = (scope == Scope::Deployment).then(|| Deployment::register(recorder, &sets));
        let numbered = sets.routes.iter().cloned().enumerate();
        let routes = numbered.map(|(number, route)| (route, Route(number))).collect();
        let metrics = Self(Arc::new(Inner { sets, routes, process, deployment, handle }));
        metrics.begin();
        // Where nobody has called yet, nothing has failed.
        for provider in Provider::words(&metrics.0.sets) {
            for operation in [Operation::Chat, Operation::Embeddings] {
                metrics.provider(&provider, operation).breaker_is(BreakerState::Closed);
            }
        }
        metrics
    }

    /// What the metrics declare, in the scope given.
    pub fn declared(scope: Scope) -> impl Iterator<Item = &'static Declared> {
        let deployment = if scope == Scope::Deployment { Deployment::DECLARED } else { &[] };
        Process::DECLARED.iter().chain(deployment)
    }

    /// Whether figures of the whole deployment are shown.
    pub fn speaks_for_the_deployment(&self) -> bool {
        self.0.deployment.is_some()
    }

    fn process(&self) -> &Process {
        &self.0.process
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        self.measure();
        self.0.handle.render()
    }

    /// Puts what histograms were given since the last time into their buckets; without it what nobody asks for would
    /// pile up. To be called every few seconds.
    pub fn tidy(&self) {
        self.0.handle.run_upkeep();
    }

    /// An HTTP request was answered.
    pub fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        // What answers GET answers HEAD.
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        let unmatched = Route(self.0.sets.routes.len());
        let route = self.0.routes.get(format!("{method} {route}").as_str()).copied().unwrap_or(unmatched);
        self.process().requests.at((route, StatusClass::from(status))).increment(1);
        self.process().request.at((route,)).record(took);
    }

    /// A stage of retrieval was gone through.
    pub fn retrieval_stage(&self, stage: RetrievalStage, took: Duration) {
        self.process().retrieval_stage.at((stage,)).record(took);
    }

    /// A question has its passages.
    pub fn retrieved(&self, retrieval: &Retrieval) {
        self.process().retrievals.at((retrieval.mode.into(),)).increment(1);
        if retrieval.degraded {
            self.process().degraded.at(()).increment(1);
        }
    }

    /// A stage of taking in a document was gone through.
    pub fn ingest_stage(&self, stage: IngestStage, took: Duration) {
        self.process().ingest_stage.at((stage,)).record(took);
    }

    /// The job store answered, or failed to.
    pub fn store(&self, operation: StoreOperation, took: Duration, failed: bool) {
        self.process().store.at((operation,)).record(took);
        if failed {
            self.process().store_errors.at((operation,)).increment(1);
        }
    }
}

#[cfg(test)]
mod tests;
