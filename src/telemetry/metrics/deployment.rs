//! What the shared job store says of the whole deployment, as a replica of the API shows it.

use super::{
    Metrics,
    words::{Danger, Depth, Kept},
};
use crate::domain::job::{DeadReason, Kind};

/// The deployment in figures; NaN is what is not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Of each kind of job its own.
    pub kinds: Vec<(Kind, KindFigures)>,
    /// Jobs that workers could take.
    pub backlog: f64,
    /// Workers heard of within their lease.
    pub workers: f64,
    /// Jobs kept with a result.
    pub completed: f64,
    /// Jobs kept that were called off.
    pub cancelled: f64,
    /// Memory the job store uses.
    pub used_bytes: f64,
    /// Memory it may use; 0 without a limit.
    pub limit_bytes: f64,
    /// 1 for each reason for which it may lose accepted jobs.
    pub dangers: Vec<(Danger, f64)>,
    /// Dead letters kept, by reason.
    pub dead_letters: Vec<(DeadReason, f64)>,
}

/// The figures of one kind of job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KindFigures {
    /// Jobs waiting for a worker.
    pub queued: f64,
    /// Jobs waiting for their time.
    pub scheduled: f64,
    /// Jobs being worked on.
    pub running: f64,
    /// Jobs given up.
    pub dead: f64,
    /// Age of the one that has been queued longest, in seconds; 0 if none is.
    pub oldest: f64,
    /// 1 if they are not handed out.
    pub paused: f64,
    /// Slots of all workers.
    pub slots: f64,
}

impl Figures {
    /// Of a deployment whose job store does not answer: what it last said is not shown as if it still held.
    pub fn unknown() -> Self {
        let nan = f64::NAN;
        let kind =
            KindFigures { queued: nan, scheduled: nan, running: nan, dead: nan, oldest: nan, paused: nan, slots: nan };
        Self {
            kinds: Kind::ALL.iter().map(|each| (*each, kind)).collect(),
            backlog: nan,
            workers: nan,
            completed: nan,
            cancelled: nan,
            used_bytes: nan,
            limit_bytes: nan,
            dangers: [Danger::NoAppendOnlyFile, Danger::AppendFails, Danger::Evicts].map(|danger| (danger, nan)).into(),
            dead_letters: DeadReason::ALL.iter().map(|reason| (*reason, nan)).collect(),
        }
    }
}

impl Metrics {
    /// Shows the figures, in a process that speaks for the deployment.
    pub fn show(&self, figures: &Figures) {
        let Some(deployment) = &self.0.deployment else { return };
        deployment.store_up.at(()).set(f64::from(u8::from(!figures.backlog.is_nan())));
        for (kind, of_kind) in &figures.kinds {
            deployment.depth.at((*kind, Depth::Queued)).set(of_kind.queued);
            deployment.depth.at((*kind, Depth::Scheduled)).set(of_kind.scheduled);
            deployment.depth.at((*kind, Depth::Running)).set(of_kind.running);
            deployment.depth.at((*kind, Depth::Dead)).set(of_kind.dead);
            deployment.oldest.at((*kind,)).set(of_kind.oldest);
            deployment.paused.at((*kind,)).set(of_kind.paused);
            deployment.all_slots.at((*kind,)).set(of_kind.slots);
        }
        deployment.backlog.at(()).set(figures.backlog);
        deployment.workers.at(()).set(figures.workers);
        deployment.kept.at((Kept::Completed,)).set(figures.completed);
        deployment.kept.at((Kept::Cancelled,)).set(figures.cancelled);
        deployment.used.at(()).set(figures.used_bytes);
        deployment.limit.at(()).set(figures.limit_bytes);
        for (danger, is) in &figures.dangers {
            deployment.danger.at((*danger,)).set(*is);
        }
        for (reason, letters) in &figures.dead_letters {
            deployment.dead_letters.at((*reason,)).set(*letters);
        }
    }
}
