//! What operators order: carried out to its end, whoever waits for it, and written into the audit log.
//!
//! The server drops a handler whose caller goes away, in the middle of whatever it does. An order half done, of which
//! nobody knows how far it got, is worse than one that goes on; so each is a task of its own, which the handler only
//! waits for. [`Deeds`] has them, so that a process that ends can wait for them, too.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::{
    auth::Admin,
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
};
use crate::domain::audit::{ActionId, AdminAction, AuditNote, AuditStage};

/// What an operator is about to do.
#[derive(Clone, Debug)]
pub struct Deed {
    action: AdminAction,
    subject: Option<String>,
    detail: Option<Value>,
}

impl Deed {
    /// An action.
    pub fn new(action: AdminAction) -> Self {
        Self { action, subject: None, detail: None }
    }

    /// What it is done to.
    #[must_use]
    pub fn to(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// What was asked for; never a payload. What was left out is left out here, too.
    #[must_use]
    pub fn asked(self, mut detail: Value) -> Self {
        if let Value::Object(members) = &mut detail {
            members.retain(|_, value| !value.is_null());
        }
        Self { detail: Some(detail), ..self }
    }
}

/// The deeds under way in a process.
#[derive(Clone, Debug, Default)]
pub struct Deeds {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Deeds {
    /// Has those of many steps end after the present one, as failed.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end of `serving`, which deeds come from, and of all of them; those of many steps are stopped
    /// when `ending` is `grace` ago.
    pub async fn outlive(&self, serving: impl Future<Output = ()>, ending: CancellationToken, grace: Duration) {
        let all = async {
            serving.await;
            self.tracker.close();
            self.tracker.wait().await;
        };
        let stopping = async {
            ending.cancelled().await;
            sleep(grace).await;
            self.stop();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = all => {}
            () = stopping => {}
        }
    }
}

/// How far a deed has got.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    count: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Progress {
    /// It was done to so many more. What is told here counts even if it fails later.
    pub fn add(&self, more: u64) {
        self.count.fetch_add(more, Ordering::Relaxed);
    }

    /// Fails once the process must end: to be asked before each of many steps.
    pub fn may_go_on(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            let detail = "the process is shutting down; ask again for the rest";
            return Err(Problem::new(ProblemCode::Draining, detail).retry_after(Duration::from_secs(1)));
        }
        Ok(())
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Admin {
    /// Does something to its end, even if the caller does not wait for it. It is in the audit log before it is done, or
    /// it is not done; and once more with its outcome and to how many it was done, also if it panics, which goes on in
    /// the caller. A process that is killed between the two leaves it there as begun.
    pub async fn does<T, F>(&self, state: &ApiState, deed: Deed, act: impl FnOnce(ApiState, Progress) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let Deed { action, subject, detail } = deed;
        let note = AuditNote {
            action_id: Some(ActionId::new(state.clock.now())),
            action,
            stage: AuditStage::Begun,
            actor: self.name.as_ref().to_owned(),
            remote_address: self.remote_address.map(|address| address.to_string()),
            request_id: self.request_id.clone(),
            subject,
            count: 0,
            detail,
        };
        let progress = Progress { count: Arc::default(), stop: state.deeds.stop.clone() };
        let acting = act(state.clone(), progress.clone());
        let doing = carry_out(state.clone(), note, progress, acting).in_current_span();
        match state.deeds.tracker.spawn(doing).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(error) => Err(Problem::internal(error)),
            },
        }
    }
}

async fn carry_out<T>(
    state: ApiState,
    mut note: AuditNote,
    progress: Progress,
    acting: impl Future<Output = Result<T>>,
) -> Result<T> {
    state.store.note(&note).await?;
    // What a panic leaves half done is in the store, which is made for that; nothing in memory is used again.
    let outcome = AssertUnwindSafe(acting).catch_unwind().await;
    note.stage = if matches!(outcome, Ok(Ok(_))) { AuditStage::Done } else { AuditStage::Failed };
    note.count = progress.count();
    let AuditNote { action, stage, actor, count, .. } = &note;
    let (subject, remote) = (note.subject.as_deref(), note.remote_address.as_deref());
    tracing::info!(%action, %stage, actor, remote, subject, count, "an operator acted");
    if let Err(error) = state.store.note(&note).await {
        let error = &error as &dyn std::error::Error;
        tracing::error!(%action, %stage, subject, count, error, "an outcome is missing in the audit log");
    }
    match outcome {
        Ok(outcome) => outcome.map_err(|problem| problem.after(note.count)),
        Err(panic) => resume_unwind(panic),
    }
}
