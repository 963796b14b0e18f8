//! What all handlers share: the ports, the settings they need, who may call, and whether the process drains.

use std::{ops::Deref, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    auth::{AdminTokens, ApiKeys},
    deeds::Deeds,
    health::HealthSource,
    look::LastLook,
    rate::Rate,
};
use crate::{
    config::settings,
    domain::clock::Clock,
    index::PassageIndex,
    queue::SharedJobStore,
    telemetry::{metrics::Metrics, traces::Sampling},
};

/// What this process is made of, in words for people; no addresses with passwords, no keys.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The job store.
    pub queue: String,
    /// The passage index.
    pub index: String,
    /// The model that answers.
    pub model: String,
}

/// What an API is made of.
pub struct ApiParts {
    /// The job store.
    pub store: SharedJobStore,
    /// The passage index.
    pub index: Arc<dyn PassageIndex>,
    /// Stamps the ids of new jobs.
    pub clock: Arc<dyn Clock>,
    /// Limits of requests.
    pub api: settings::Api,
    /// Defaults of jobs.
    pub queue: settings::Queue,
    /// Limits of documents.
    pub ingest: settings::Ingest,
    /// Who may call; none: everybody, as the tenant `default`.
    pub keys: ApiKeys,
    /// What opens the admin routes; none: nothing does.
    pub admin_tokens: AdminTokens,
    /// Cancelled when the process is ordered to stop: it is not ready any more.
    pub leaving: CancellationToken,
    /// Cancelled when callers should have gone elsewhere: streams and long polls end.
    pub drain: CancellationToken,
    /// What operators ordered and is under way.
    pub deeds: Deeds,
    /// What is degraded at present.
    pub health: Arc<dyn HealthSource>,
    /// What the page says of this process.
    pub setup: Setup,
    /// Counts what happens.
    pub metrics: Metrics,
    /// Which requests are traced.
    pub sampling: Sampling,
}

/// The parts with what is made of them once.
pub struct Shared {
    parts: ApiParts,
    pub(super) rate: Option<Rate>,
    pub(super) last_look: LastLook,
}

impl Deref for Shared {
    type Target = ApiParts;
    fn deref(&self) -> &ApiParts {
        &self.parts
    }
}

/// The state of all handlers; a clone is one more reference.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

impl ApiState {
    /// The state made of these parts.
    pub fn new(parts: ApiParts) -> Self {
        let rate = parts.api.rate_per_minute.and_then(Rate::per_minute);
        Self(Arc::new(Shared { parts, rate, last_look: LastLook::default() }))
    }
}

impl Deref for ApiState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
