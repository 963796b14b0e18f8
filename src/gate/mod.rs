//! The gates before the providers: whether a call may be made, and what its outcome teaches.
//!
//! There is one [`Gate`] for every provider and operation, with the provider's circuit breaker, which all processes of
//! the deployment share. The worker asks it *before* it fetches jobs ([`KindGate::passes`]), so that jobs wait in the
//! queue and not in slots; the model adapter asks it before every call ([`Gate::admit`]) and reports through the
//! [`Ticket`] it was given; the API shows it. The rules stand in [`resilience`](crate::resilience), pure; here is what
//! ties them to a process.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use ulid::Ulid;

use self::shared::{Machine, Shared, Urgency};
use crate::{
    config::Settings,
    domain::{
        clock::Timestamp,
        failure::{Code, Failure},
        job::Kind,
    },
    queue::Cells,
    resilience::breaker::{Admission, Breaker, BreakerEvent, BreakerRules, BreakerState},
};

mod pass;
mod shared;
mod ticket;

pub use pass::{KindGate, Pass};
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

impl Machine for Breaker {
    type Event = BreakerEvent;
    /// The generation, if the event was taken as it was meant.
    type Answer = Option<u64>;
    type Rules = BreakerRules;

    fn apply(&mut self, event: &BreakerEvent, now: Timestamp, rules: &BreakerRules) -> Option<u64> {
        Self::apply(self, event, now, rules).then(|| self.generation())
    }

    fn merge(into: &mut BreakerEvent, event: &BreakerEvent) -> bool {
        match (into, event) {
            (
                BreakerEvent::Succeeded { generation, calls },
                BreakerEvent::Succeeded { generation: of, calls: more },
            ) if generation == of => {
                *calls = calls.saturating_add(*more);
                true
            }
            _ => false,
        }
    }

    fn is_news(&self, before: &Self) -> bool {
        Self::is_news(self, before)
    }
}

/// The gate before one operation of one provider.
pub struct Gate {
    provider: String,
    operation: Operation,
    breaker: Arc<Shared<Breaker>>,
    /// This boot of the process, before all others the holder of its probes.
    boot: String,
    claims: AtomicU64,
    /// A probe that was claimed before a job was fetched, for that job's first call.
    offered: Mutex<Option<Probe>>,
    quiet: Mutex<Quiet>,
    tasks: TaskTracker,
}

/// Successes that nobody has been told of, because nothing failed.
#[derive(Clone, Copy, Debug, Default)]
struct Quiet {
    generation: u64,
    calls: u32,
    since: Timestamp,
}

impl Gate {
    /// What the provider is called.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether a call may be made, and if so under what obligations. Of the calls that come while the provider's
    /// breaker waits for a probe one is let through.
    pub async fn admit(self: &Arc<Self>) -> Result<Ticket, Failure> {
        if let Some(probe) = self.offered().take() {
            return Ok(Ticket::probe(self.clone(), probe));
        }
        let (admission, generation) = self.admission();
        match admission {
            Admission::Closed => Ok(Ticket::new(self.clone(), generation)),
            Admission::Wait(_) => Err(self.refusal()),
            Admission::ProbeDue => match self.claim().await {
                Some(probe) => Ok(Ticket::probe(self.clone(), probe)),
                None => Err(self.refusal()),
            },
        }
    }

    /// The breaker as operators see it.
    pub fn view(&self) -> BreakerView {
        self.breaker.look(|breaker, now| BreakerView {
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

    fn admission(&self) -> (Admission, u64) {
        self.breaker.look(|breaker, now| (breaker.admission(now), breaker.generation()))
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.breaker.changes()
    }

    fn offered(&self) -> MutexGuard<'_, Option<Probe>> {
        // Nothing panics while the lock is held.
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the provider is left alone at least.
    fn wait(&self) -> Option<Duration> {
        match self.admission().0 {
            Admission::Wait(wait) => Some(wait),
            Admission::Closed | Admission::ProbeDue => None,
        }
    }

    /// Why no call may be made now. It names the cause by its code alone: who asks is not who met it.
    fn refusal(&self) -> Failure {
        let why = self.breaker.look(|breaker, _| breaker.cause().map(|cause| cause.code));
        let why = why.map_or("", Code::as_str);
        let message =
            format!("the model provider is left alone until a call to it shows that it is well again ({why})");
        Failure::new(Code::BreakerOpen, message).with_retry_after(self.wait())
    }

    /// Claims the probe before all other processes; none if another has it, or none is due.
    async fn claim(self: &Arc<Self>) -> Option<Probe> {
        let number = self.claims.fetch_add(1, Ordering::Relaxed);
        let holder = format!("{}/{number}", self.boot);
        let generation = self.breaker.ask(BreakerEvent::Claimed { holder }).await.flatten()?;
        let alive = CancellationToken::new();
        let (gate, ended) = (self.clone(), alive.clone());
        self.tasks.spawn(async move {
            let beat = async {
                loop {
                    tokio::time::sleep(gate.breaker.rules().probe_lease / 3).await;
                    gate.breaker.tell(BreakerEvent::Renewed { generation }, Urgency::Now);
                }
            };
            ended.run_until_cancelled(beat).await
        });
        Some(Probe { gate: self.clone(), generation, told: false, _alive: alive.drop_guard() })
    }

    fn probe_succeeded(&self, generation: u64) {
        self.breaker.tell(BreakerEvent::Succeeded { generation, calls: 1 }, Urgency::Now);
    }

    fn succeeded(&self, generation: u64) {
        if self.breaker.look(|breaker, _| breaker.heeds_success()) {
            return self.tell_successes(generation, 1);
        }
        let now = self.breaker.look(|_, now| now);
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        // What is older than a window would not be counted anyway; rather too few than too many.
        if quiet.generation != generation || now.since(quiet.since) > self.breaker.rules().window {
            *quiet = Quiet { generation, calls: 0, since: now };
        }
        quiet.calls = quiet.calls.saturating_add(1);
    }

    fn tell_successes(&self, generation: u64, more: u32) {
        let quiet = std::mem::take(&mut *self.quiet.lock().unwrap_or_else(PoisonError::into_inner));
        let calls = more + if quiet.generation == generation { quiet.calls } else { 0 };
        if calls > 0 {
            self.breaker.tell(BreakerEvent::Succeeded { generation, calls }, Urgency::Soon);
        }
    }

    /// Reports a failed call; `generation` is the one it was admitted under.
    fn failed(&self, generation: u64, failure: &Failure) {
        // What went well before belongs before it: it ends a row of failures and counts for the share.
        self.tell_successes(generation, 0);
        let event = BreakerEvent::Failed {
            generation,
            code: failure.code,
            message: failure.message.clone(),
            retry_after: failure.retry_after,
            jitter: rand::random(),
        };
        self.breaker.tell(event, Urgency::Now);
    }
}

/// The right to make the one call that finds out whether a provider is well again.
struct Probe {
    gate: Arc<Gate>,
    generation: u64,
    /// Whether its outcome has been told.
    told: bool,
    /// Says that its holder lives, for as long as it does.
    _alive: DropGuard,
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.told {
            self.gate.breaker.tell(BreakerEvent::Abandoned { generation: self.generation }, Urgency::Now);
        }
    }
}

/// All gates of a process.
pub struct Gates {
    chat: Vec<Arc<Gate>>,
    embeddings: Vec<Arc<Gate>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Gates {
    /// The gates that the settings call for, in step with those of all other processes on the same job store.
    pub fn open(settings: &Settings, cells: &Arc<dyn Cells>) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let gate = |operation: Operation| {
            let provider = settings.model.provider.clone();
            let name = format!("breaker:{provider}:{}", operation.as_str());
            let breaker = Arc::new(Shared::new(name, rules(settings)));
            tasks.spawn(breaker.clone().run(cells.clone(), stop.clone()));
            Arc::new(Gate {
                provider,
                operation,
                breaker,
                boot: Ulid::from_parts(0, rand::random()).to_string(),
                claims: AtomicU64::new(0),
                offered: Mutex::default(),
                quiet: Mutex::default(),
                tasks: tasks.clone(),
            })
        };
        let has_provider = settings.model.has_provider();
        let embeds = has_provider && settings.embedding.model.is_some();
        let chat = has_provider.then(|| gate(Operation::Chat)).into_iter().collect();
        let embeddings = embeds.then(|| gate(Operation::Embeddings)).into_iter().collect();
        Self { chat, embeddings, tasks, stop }
    }

    /// The gate before answers; none without a provider.
    pub fn chat(&self) -> Option<&Arc<Gate>> {
        self.chat.first()
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

    /// All breakers, those of one provider together.
    pub fn breakers(&self) -> Vec<BreakerView> {
        let mut views = Vec::new();
        for gate in &self.chat {
            views.push(gate.view());
            views
                .extend(self.embeddings.iter().filter(|other| other.provider == gate.provider).map(|gate| gate.view()));
        }
        views
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
