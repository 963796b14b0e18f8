//! The gates before the providers: whether a call may be made, and what its outcome teaches.
//!
//! There is one [`Gate`] for every provider and operation. Behind it stand the provider's circuit breaker and its budget
//! of requests and tokens, which all processes of the deployment share, and a limit of calls under way that each
//! process finds for itself. The worker asks it *before* it fetches jobs ([`KindGate::passes`]), so that jobs wait in
//! the queue and not in slots; the model adapter asks it before every call, and reports through the [`Ticket`] it is
//! given; the API shows it. The rules stand in [`resilience`](crate::resilience), pure; here is what ties them to a
//! process.

use std::{sync::Arc, time::Duration};

use async_openai::config::OPENAI_API_BASE;
use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    breaking::{Breaking, Probe},
    crowd::Crowd,
    shared::{Machine, Report, Shared},
    spending::Spending,
};
use crate::{
    config::{Settings, settings},
    domain::{
        clock::Timestamp,
        failure::{Code, Failure},
        job::Kind,
    },
    queue::Cells,
    resilience::{
        breaker::{Admission, BreakerRules, BreakerState},
        budget::{BudgetRules, RateHeaders, RateLimits},
    },
    telemetry::{
        metrics::{self, Metrics, ProviderMetrics, Refusal},
        traces::Callee,
    },
};

mod breaking;
mod crowd;
mod pass;
mod shared;
mod spending;
mod ticket;

pub use crowd::Place;
pub use pass::{KindGate, Pass};
pub use spending::{Cost, Reservation};
pub use ticket::Ticket;

/// How long a probe's holder may be silent.
const PROBE_LEASE: Duration = Duration::from_secs(15);
/// The longest Retry-After that is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Answers.
    Chat,
    /// Vectors.
    Embeddings,
}

impl Operation {
    /// The word used in API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
        }
    }
}

impl From<BreakerState> for metrics::BreakerState {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open,
            BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

/// A provider's breaker as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BreakerView {
    /// The provider's name.
    pub provider: String,
    /// What it is asked for.
    pub operation: Operation,
    /// Where its breaker stands.
    pub state: BreakerState,
    /// What opened it last, unless it is closed.
    #[schema(value_type = Option<String>)]
    pub code: Option<Code>,
    /// In words.
    pub message: Option<String>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Since when it has not been closed.
    pub opened_at: Option<Timestamp>,
    /// Milliseconds until the next probe; null unless it is open.
    pub retry_in_ms: Option<u64>,
}

/// The gate before one operation of one provider.
pub struct Gate {
    provider: String,
    operation: Operation,
    breaking: Arc<Breaking>,
    spending: Arc<Spending>,
    crowd: Arc<Crowd>,
    metrics: ProviderMetrics,
    /// What the spans of its calls tell.
    callee: Callee,
}

impl Gate {
    /// What the provider is called.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether what is asked and answered is told in traces.
    pub const fn tells_content(&self) -> bool {
        self.callee.content
    }

    /// Reserves what a call may cost. The first of three steps to a call; what one of them gives is given back when it
    /// is dropped.
    pub async fn reserve(&self, cost: Cost, patience: Duration) -> Result<Reservation, Failure> {
        self.counted(self.spending.reserve(cost, patience).await)
    }

    /// Takes a place among the calls under way: the second step. While the breaker is not closed there is no limit here:
    /// it lets a single one through, which must not wait until others end.
    pub async fn enter(&self, patience: Duration) -> Result<Place, Failure> {
        if self.breaking.admission().0 != Admission::Closed {
            return Ok(self.crowd.push_in());
        }
        self.follow();
        self.counted(self.crowd.enter(patience).await)
    }

    /// Whether a call may be made: the third step. Of the calls that come while the breaker waits for a probe one is let
    /// through.
    pub async fn admit(self: &Arc<Self>) -> Result<Ticket, Failure> {
        let probing = |probe: Probe| Ok(Ticket::new(self.clone(), probe.generation(), Some(probe)));
        if let Some(probe) = self.breaking.take_offered() {
            return probing(probe);
        }
        let (admission, generation) = self.breaking.admission();
        self.counted(match admission {
            Admission::Closed => Ok(Ticket::new(self.clone(), generation, None)),
            Admission::Wait(_) => Err(self.breaking.refusal()),
            Admission::ProbeDue => match self.breaking.claim().await {
                Some(probe) => probing(probe),
                None => Err(self.breaking.refusal()),
            },
        })
    }

    /// Has the limit of calls under way keep up with the breaker.
    fn follow(&self) {
        let (generation, closed_lately) = self.breaking.generation();
        self.crowd.follow(generation, closed_lately);
    }

    /// Counts what is not let through.
    fn counted<T>(&self, step: Result<T, Failure>) -> Result<T, Failure> {
        step.inspect_err(|failure| match failure.code {
            Code::BreakerOpen => self.metrics.refused(Refusal::BreakerOpen),
            Code::BudgetExhausted => self.metrics.refused(Refusal::BudgetExhausted),
            Code::LargerThanBudget => self.metrics.refused(Refusal::LargerThanBudget),
            _ => {}
        })
    }

    /// Learns from what a reply says of the provider's limits.
    pub fn learn(&self, headers: RateHeaders) {
        self.spending.learn(headers);
    }

    /// The breaker as operators see it.
    pub fn view(&self) -> BreakerView {
        self.breaking.look(|breaker, now| BreakerView {
            provider: self.provider.clone(),
            operation: self.operation,
            state: breaker.state(now),
            code: breaker.cause().map(|cause| cause.code),
            message: breaker.cause().map(|cause| cause.message.clone()),
            consecutive_failures: breaker.consecutive_failures(),
            opened_at: breaker.cause().map(|cause| cause.since),
            retry_in_ms: breaker.retry_in(now).map(|wait| wait.as_millis() as u64),
        })
    }
}

/// All gates of a process.
pub struct Gates {
    chat: Vec<Arc<Gate>>,
    embeddings: Vec<Arc<Gate>>,
    /// Whether this process itself calls the providers.
    own: bool,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Gates {
    /// The gates that the settings call for, in step with those of all other processes on the same job store.
    pub fn open(settings: &Settings, cells: &Arc<dyn Cells>, metrics: &Metrics) -> Self {
        if settings.model.has_provider() { Self::with(settings, cells, metrics, true) } else { Self::none(false) }
    }

    /// For a process that calls no provider, and may not have been told that there is one: it shows what others found
    /// of those that the settings name.
    pub fn watching(settings: &Settings, cells: &Arc<dyn Cells>, metrics: &Metrics) -> Self {
        Self::with(settings, cells, metrics, settings.model.has_provider())
    }

    fn none(own: bool) -> Self {
        Self {
            chat: Vec::new(),
            embeddings: Vec::new(),
            own,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    fn with(settings: &Settings, cells: &Arc<dyn Cells>, metrics: &Metrics, own: bool) -> Self {
        let mut gates = Self::none(own);
        for model in settings.models() {
            let first_estimate = u64::from(model.max_tokens) + settings.retrieval.context_tokens as u64;
            let budget = BudgetRules {
                limits: RateLimits { requests: model.requests_per_minute, tokens: model.tokens_per_minute },
                first_estimate,
            };
            let metrics = metrics.provider(&model.provider, metrics::Operation::Chat);
            let gate = gates.gate(settings, &model, Operation::Chat, budget, cells, metrics);
            gates.chat.push(gate);
        }
        if !own || settings.embedding.model.is_some() {
            let embedding = &settings.embedding;
            let budget = BudgetRules {
                limits: RateLimits { requests: embedding.requests_per_minute, tokens: embedding.tokens_per_minute },
                first_estimate: FIRST_BATCH,
            };
            let metrics = metrics.provider(&settings.model.provider, metrics::Operation::Embeddings);
            let gate = gates.gate(settings, &settings.model, Operation::Embeddings, budget, cells, metrics);
            gates.embeddings.push(gate);
        }
        gates
    }

    fn gate(
        &self,
        settings: &Settings,
        model: &settings::Model,
        operation: Operation,
        budget: BudgetRules,
        cells: &Arc<dyn Cells>,
        metrics: ProviderMetrics,
    ) -> Arc<Gate> {
        let provider = model.provider.clone();
        let name = |what: &str| format!("{what}:{provider}:{}", operation.as_str());
        let turns = metrics.clone();
        let turned = move |to: BreakerState| turns.breaker_went(to.into());
        let breaker = self.share(name("breaker"), rules(settings), Box::new(turned), cells);
        let budget = self.share(name("budget"), budget, Box::new(|never| match never {}), cells);
        Arc::new(Gate {
            breaking: Arc::new(Breaking::new(breaker, self.tasks.clone())),
            spending: Arc::new(Spending::new(budget)),
            // A call for the vector of a question beside each of those that take in documents.
            crowd: Arc::new(Crowd::new(match operation {
                Operation::Chat => settings.worker.chat_slots,
                Operation::Embeddings => settings.worker.chat_slots + settings.worker.ingestions(),
            })),
            callee: callee(settings, model, operation),
            provider,
            operation,
            metrics,
        })
    }

    fn share<M: Machine>(
        &self,
        name: String,
        rules: M::Rules,
        report: Report<M>,
        cells: &Arc<dyn Cells>,
    ) -> Arc<Shared<M>> {
        let shared = Arc::new(Shared::new(name, rules, report));
        self.tasks.spawn(shared.clone().run(cells.clone(), self.stop.clone()));
        shared
    }

    /// The gates before answers, in the order in which providers are asked; none without a provider.
    pub fn chat(&self) -> &[Arc<Gate>] {
        &self.chat
    }

    /// The gate before vectors; none without an embedding model.
    pub fn embeddings(&self) -> Option<&Arc<Gate>> {
        self.embeddings.first()
    }

    /// What stands before the jobs of a kind.
    pub fn of(&self, kind: Kind) -> KindGate {
        KindGate::new(match kind {
            Kind::Chat => self.chat.clone(),
            Kind::Ingest => self.embeddings.clone(),
            Kind::Replay => Vec::new(),
        })
    }

    /// All breakers, those of one provider together; of those that only others call, the ones that have opened.
    pub fn breakers(&self) -> Vec<BreakerView> {
        let of_provider = |gate: &Arc<Gate>| {
            let provider = gate.provider.clone();
            let embeddings = self.embeddings.iter().filter(move |other| other.provider == provider).cloned();
            std::iter::once(gate.clone()).chain(embeddings)
        };
        let gates = self.chat.iter().flat_map(of_provider);
        gates.filter(|gate| self.own || gate.breaking.has_opened()).map(|gate| gate.view()).collect()
    }

    /// Writes what is left to tell, and ends.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Gates {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the spans of calls of `operation` tell of whom they go to.
fn callee(settings: &Settings, model: &settings::Model, operation: Operation) -> Callee {
    let answers = operation == Operation::Chat;
    let asked_for = if answers { Some(&model.name) } else { settings.embedding.model.as_ref() };
    let address = model.base_url.as_deref().unwrap_or(OPENAI_API_BASE);
    let address = reqwest::Url::parse(address.trim()).ok();
    Callee {
        operation: operation.as_str(),
        provider: model.provider.clone(),
        model: asked_for.cloned().unwrap_or_default(),
        address: address.as_ref().and_then(|url| url.host_str()).unwrap_or_default().to_owned(),
        port: address.as_ref().and_then(reqwest::Url::port_or_known_default).unwrap_or_default(),
        max_tokens: answers.then_some(model.max_tokens),
        temperature: model.temperature.filter(|_| answers),
        content: settings.trace.include_content,
    }
}

/// What a batch of chunks is taken to cost before there was one.
const FIRST_BATCH: u64 = 16_000;

fn rules(settings: &Settings) -> BreakerRules {
    let breaker = &settings.breaker;
    BreakerRules {
        failures: breaker.failures,
        failure_percent: breaker.failure_percent,
        min_calls: breaker.min_calls,
        window: Duration::from_secs(breaker.window_s),
        pause: Duration::from_millis(breaker.pause_ms),
        longest_pause: Duration::from_millis(breaker.longest_pause_ms),
        longest_retry_after: LONGEST_RETRY_AFTER,
        probe_lease: PROBE_LEASE,
    }
}
