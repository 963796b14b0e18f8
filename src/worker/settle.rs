//! What is done with a delivery's outcome: the outermost layer of apalis' service stack.
//!
//! It sees what the handler returned as well as panics and timeouts of the layers inside, decides by the
//! error value alone, and writes the decision to the job store before the slot is free again.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use apalis_core::{
    error::{AbortError, BoxDynError},
    task::Task,
};
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, error_span};

use super::{STORE_BACKOFF, backend::Handed};
use crate::{
    domain::{
        failure::{Code, Failure, chain},
        ids::Lease,
        job::{Delivery, JobError},
        spent::{ProviderUsage, Spent, UsageTotal},
    },
    queue::{
        Fenced, Finish, Release, SharedJobStore,
        history::{self, Flow},
    },
    rag::Halt,
    resilience::decision::{Decision, RetryPolicy},
    telemetry::{
        logs,
        metrics::{Fate, Metrics, Operation},
        traces,
    },
};

/// Settles every delivery that passes through.
#[derive(Clone)]
pub(super) struct SettleLayer {
    pub(super) store: SharedJobStore,
    pub(super) policy: RetryPolicy,
    /// Told whenever something was scheduled, so that the housekeeping sleeps no longer than that.
    pub(super) upkeep: Arc<Notify>,
    /// Counts what becomes of deliveries.
    pub(super) metrics: Metrics,
    /// Ends the tries to settle with a store that does not answer.
    pub(super) give_up: CancellationToken,
}

/// The layer's service.
#[derive(Clone)]
pub(super) struct SettleService<S> {
    inner: S,
    layer: SettleLayer,
}

impl<S> Layer<S> for SettleLayer {
    type Service = SettleService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SettleService { inner, layer: self.clone() }
    }
}

impl<S> Service<Task<Handed>> for SettleService<S>
where
    S: Service<Task<Handed>, Response = Finish>,
    S::Error: Into<BoxDynError> + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut task: Task<Handed>) -> Self::Future {
        let slot = task.args.slot.take();
        let (delivery, spent) = (task.args.delivery.clone(), task.args.spent.clone());
        let (span, attempt) = (span_of(&delivery), traces::attempt(&delivery));
        (task.args.span, task.args.attempt) = (span.clone(), attempt.clone());
        let outcome = self.inner.call(task);
        let layer = self.layer.clone();
        let begun = Instant::now();
        let in_flight = layer.metrics.job_in_flight(delivery.kind);
        Box::pin(async move {
            let outcome = outcome.await.map_err(|error| halt(error.into()));
            let ran = begun.elapsed();
            // Boxed: room for it is needed at the end only, and thousands wait for theirs.
            let settling = layer.settle(&delivery, &spent, outcome, ran, &attempt);
            Box::pin(settling.instrument(attempt.clone()).instrument(span)).await;
            drop((in_flight, slot));
            Ok(())
        })
    }
}

/// Whatever is logged within says which job it is about, and which request that came of.
fn span_of(delivery: &Delivery) -> Span {
    let (job, origin) = (delivery.lease.job, &delivery.origin);
    error_span!(
        target: logs::IDS,
        "job",
        request.id = %origin.request_id(job),
        trace_id = %origin.trace_id(job),
        job.id = %job,
        job.kind = %delivery.kind,
        job.attempt = delivery.attempt,
        job.delivery = delivery.lease.delivery,
    )
}

/// What the store is to do.
#[derive(Clone, Debug)]
enum Settlement {
    Finish(Finish),
    Release(Release),
}

impl SettleLayer {
    async fn settle(
        &self,
        delivery: &Delivery,
        spent: &Spent,
        outcome: Result<Finish, Halt>,
        ran: Duration,
        attempt: &Span,
    ) {
        self.metrics.ran(delivery.kind, ran);
        let mut traced = traces::Outcome::of(attempt);
        let (settlement, failure) = match outcome {
            Ok(finish) => (Settlement::Finish(finish), None),
            Err(Halt::LeaseLost) => {
                tracing::info!("lease lost, outcome dropped");
                traced.name = "lease_lost";
                return self.lost(delivery, spent, Fate::Lost).await;
            }
            Err(Halt::Cancelled) => {
                tracing::info!("job cancelled while it ran");
                traced.name = "cancelled";
                return self.lost(delivery, spent, Fate::Cancelled).await;
            }
            Err(Halt::Leaving) => (Settlement::Release(Release::HandBack), None),
            Err(Halt::Failed(failure)) => (self.after(delivery, &failure), Some(failure)),
        };
        if let Some(failure) = &failure {
            self.metrics.failed(failure.code);
            traced.code = Some(failure.code);
        }
        let fate = fate_of(&settlement);
        let untold = Untold(Some(why(failure.as_ref())));
        let writing = self.write(&delivery.lease, &settlement, spent.total(fate == Fate::Useful));
        let written = writing.instrument(traces::stage("settle")).await;
        match written {
            Some(Fenced::Applied(())) => {
                log(&settlement, untold.told());
                traced.name = outcome_of(&settlement);
                self.tokens(spent, fate);
                self.count(delivery, &settlement, ran);
            }
            Some(Fenced::Stale) => {
                let (code, source) = untold.told();
                tracing::info!(code, source, "stale settlement refused");
                traced.name = "lease_lost";
                self.metrics.stale_finish(delivery.kind);
                self.lost(delivery, spent, Fate::Lost).await;
            }
            None => self.tokens(spent, Fate::Lost),
        }
    }

    /// Counts the tokens that a delivery cost: those of calls that went well by what became of its outcome, those of
    /// others, beside a useful one, as of calls that were made again.
    fn tokens(&self, spent: &Spent, fate: Fate) {
        for ProviderUsage { provider, well, badly } in spent.by_provider() {
            // The label tells the providers apart; tokens are not told apart by operation.
            let metrics = self.metrics.provider(&provider, Operation::Chat);
            metrics.tokens(fate, well.prompt_tokens, well.completion_tokens);
            let fate = if fate == Fate::Useful { Fate::Retried } else { fate };
            metrics.tokens(fate, badly.prompt_tokens, badly.completion_tokens);
        }
    }

    /// Counts what was written, for the metrics and for the history.
    fn count(&self, delivery: &Delivery, settlement: &Settlement, ran: Duration) {
        let kind = delivery.kind;
        if let Some(flow) = flow_of(settlement) {
            let counts = self.store.counts();
            counts.count(kind, flow);
            counts.took(kind, history::Span::Run, ran);
        }
        match settlement {
            Settlement::Finish(Finish::Completed { .. }) => {
                let end_to_end = delivery.delivered_at.since(delivery.created_at) + ran;
                self.metrics.completed(kind, end_to_end);
            }
            Settlement::Finish(Finish::Dead { reason, error }) => {
                self.metrics.dead(kind, *reason, Some(error.class), 1);
            }
            Settlement::Release(Release::Retry { .. }) => self.metrics.retried(kind),
            Settlement::Release(Release::Defer { error, .. }) => self.metrics.deferred(error.code),
            Settlement::Release(Release::HandBack) => self.metrics.handed_back(kind),
        }
    }

    /// Counts what a delivery cost that may no longer settle its job. Tried once: the slot is wanted for other jobs, and a
    /// second try might count it twice.
    async fn lost(&self, delivery: &Delivery, spent: &Spent, fate: Fate) {
        self.tokens(spent, fate);
        let cost = spent.total(false);
        if cost.calls > 0
            && let Err(error) = self.store.spend(&delivery.lease, cost).await
        {
            tracing::warn!(error = &error as &dyn Error, "what a delivery cost was not counted");
        }
    }

    fn after(&self, delivery: &Delivery, failure: &Failure) -> Settlement {
        let error = JobError::from(failure);
        match self.policy.decide(failure, delivery.attempt, delivery.max_attempts, delivery.deferrals) {
            Decision::Retry(after) => Settlement::Release(Release::Retry { after, error }),
            Decision::Defer(after) => Settlement::Release(Release::Defer { after, error }),
            Decision::Dead(reason) => Settlement::Finish(Finish::Dead { reason, error }),
        }
    }

    /// Writes the settlement, however long the store is away; only the end of the worker's grace ends that (none),
    /// and then the lease expires and the job is delivered again.
    async fn write(&self, lease: &Lease, settlement: &Settlement, cost: UsageTotal) -> Option<Fenced> {
        let mut failures = 0;
        loop {
            let written = match settlement.clone() {
                Settlement::Finish(finish) => self.store.finish(lease, finish, cost).await,
                Settlement::Release(release) => self.store.release(lease, release, cost).await,
            };
            match written {
                Ok(Fenced::Applied(())) => {
                    if matches!(settlement, Settlement::Release(_)) {
                        self.upkeep.notify_one();
                    }
                    return Some(Fenced::Applied(()));
                }
                Ok(Fenced::Stale) => return Some(Fenced::Stale),
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = &error as &dyn Error, "settling a job failed");
                    tokio::select! {
                        () = self.give_up.cancelled() => return None,
                        () = tokio::time::sleep(STORE_BACKOFF.wait(failures)) => {}
                    }
                }
            }
        }
    }
}

/// What became of what the delivery paid for.
fn fate_of(settlement: &Settlement) -> Fate {
    match settlement {
        Settlement::Finish(Finish::Completed { .. }) => Fate::Useful,
        Settlement::Finish(Finish::Dead { .. }) => Fate::Lost,
        Settlement::Release(Release::Retry { .. } | Release::Defer { .. } | Release::HandBack) => Fate::Retried,
    }
}

/// What the attempt's span calls it.
fn outcome_of(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Finish(Finish::Completed { .. }) => "completed",
        Settlement::Finish(Finish::Dead { .. }) => "died",
        Settlement::Release(Release::Retry { .. }) => "retried",
        Settlement::Release(Release::Defer { .. }) => "deferred",
        Settlement::Release(Release::HandBack) => "handed_back",
    }
}

/// What the history calls it.
fn flow_of(settlement: &Settlement) -> Option<Flow> {
    match settlement {
        Settlement::Finish(Finish::Completed { .. }) => Some(Flow::Completed),
        Settlement::Finish(Finish::Dead { .. }) => Some(Flow::Dead),
        Settlement::Release(Release::Retry { .. }) => Some(Flow::Retried),
        Settlement::Release(Release::Defer { .. }) => Some(Flow::Deferred),
        Settlement::Release(Release::HandBack) => None,
    }
}

/// What logs say of a failure: its code, and what it came from.
type Why = (&'static str, String);

fn why(failure: Option<&Failure>) -> Why {
    let source = failure.and_then(Error::source).map(chain);
    (failure.map_or("", |failure| failure.code.as_str()), source.unwrap_or_default())
}

/// A delivery whose outcome is not in the log yet. What is dropped so was not written, even where the process ended in
/// the middle of that.
struct Untold(Option<Why>);

impl Untold {
    fn told(mut self) -> Why {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some((code, source)) = self.0.take() {
            tracing::warn!(code, source, "job not settled, it is delivered again when its lease has ended");
        }
    }
}

/// One line per delivery, once it is written: what a line says is so.
fn log(settlement: &Settlement, (code, source): Why) {
    match settlement {
        Settlement::Finish(Finish::Completed { .. }) => {
            tracing::info!("job completed");
        }
        Settlement::Finish(Finish::Dead { reason, .. }) => {
            tracing::warn!(%reason, code, source, "job dead");
        }
        Settlement::Release(Release::Retry { after, .. }) => {
            tracing::info!(code, source, ?after, "job to be retried");
        }
        Settlement::Release(Release::Defer { after, .. }) => {
            tracing::info!(code, source, ?after, "job deferred");
        }
        Settlement::Release(Release::HandBack) => {
            tracing::info!("job handed back");
        }
    }
}

/// Reads an error of the service stack: our own [`Halt`], a timeout, a panic, or something unforeseen.
fn halt(error: BoxDynError) -> Halt {
    let error = match error.downcast::<Halt>() {
        Ok(halt) => return *halt,
        Err(error) => error,
    };
    if error.is::<tower::timeout::error::Elapsed>() {
        return Failure::new(Code::AttemptTimeout, "the attempt took longer than an attempt may").into();
    }
    if error.is::<AbortError>() {
        // The panic's own words may hold anything: they go to the log through the panic hook only.
        return Failure::new(Code::HandlerPanicked, "ragq itself failed on this job (a panic, see its log)").into();
    }
    Failure::new(Code::Unknown, "the job failed for an unforeseen reason").with_source(error).into()
}
