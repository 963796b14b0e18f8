//! Random lives of jobs against a model of plain maps: states, counters and sums must agree after every
//! step, whatever the order, over restarts.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use ragq::{
    domain::{
        failure::Code,
        ids::{JobId, Lease, WorkerId},
        job::{Kind, NewJob, Priority, Status},
        spent::UsageTotal,
    },
    queue::{Fenced, KindStats, Release, Replay},
};

use super::{
    contract::{self, Fixture, Limits},
    redis_server::RedisFixture,
    sqlite_file::SqliteFixture,
};

#[derive(Clone, Debug)]
enum Action {
    Submit { priority: Priority, delay_s: u64, deadline_s: Option<u64>, max_attempts: u32 },
    Beat { worker: usize },
    Fetch { worker: usize, max: usize },
    Complete { delivery: usize },
    Die { delivery: usize },
    Retry { delivery: usize, after_s: u64 },
    Defer { delivery: usize, after_s: u64 },
    HandBack { delivery: usize },
    Leave { worker: usize },
    Cancel { job: usize },
    Replay { job: usize },
    Discard { job: usize },
    Pass { quarters: u32 },
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    let any = 0..64_usize;
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
    prop_oneof![
        6 => (priority, prop_oneof![2 => Just(0_u64), 1 => 1..20_u64], prop::option::of(1..40_u64), 1..4_u32).prop_map(
            |(priority, delay_s, deadline_s, max_attempts)| Action::Submit { priority, delay_s, deadline_s, max_attempts }
        ),
        3 => (0..2_usize).prop_map(|worker| Action::Beat { worker }),
        6 => (0..2_usize, 1..4_usize).prop_map(|(worker, max)| Action::Fetch { worker, max }),
        3 => any.clone().prop_map(|delivery| Action::Complete { delivery }),
        2 => any.clone().prop_map(|delivery| Action::Die { delivery }),
        3 => (any.clone(), 0..10_u64).prop_map(|(delivery, after_s)| Action::Retry { delivery, after_s }),
        2 => (any.clone(), 0..10_u64).prop_map(|(delivery, after_s)| Action::Defer { delivery, after_s }),
        2 => any.clone().prop_map(|delivery| Action::HandBack { delivery }),
        1 => (0..2_usize).prop_map(|worker| Action::Leave { worker }),
        1 => any.clone().prop_map(|job| Action::Cancel { job }),
        2 => any.clone().prop_map(|job| Action::Replay { job }),
        1 => any.prop_map(|job| Action::Discard { job }),
        4 => (1..12_u32).prop_map(|quarters| Action::Pass { quarters }),
        1 => Just(Action::Reopen),
    ]
}

/// What the model knows of a job. Times are milliseconds since the start.
#[derive(Clone, Debug)]
struct Job {
    status: Status,
    used: u32,
    max_attempts: u32,
    deliveries: u64,
    delivery: u64,
    lost: u32,
    deferrals: u32,
    worker: usize,
    due: i64,
    deadline: Option<i64>,
    deadline_s: Option<u64>,
    final_at: i64,
}

impl Job {
    /// What `attempt` shows: failures, plus the delivery that runs or ended the job.
    fn shown(&self) -> (Status, u32, u64, u32, u32) {
        let running = u32::from(self.status == Status::Running);
        (self.status, self.used + running, self.deliveries, self.lost, self.deferrals)
    }

    fn end(&mut self, status: Status, now: i64) {
        self.status = status;
        self.final_at = now;
    }
}

struct World<F> {
    fixture: F,
    limits: Limits,
    now: i64,
    jobs: BTreeMap<JobId, Job>,
    removed: u64,
    submitted: u64,
    workers: [WorkerId; 2],
    lease_until: [Option<i64>; 2],
    /// Every lease ever given: most are stale.
    leases: Vec<Lease>,
}

impl<F: Fixture> World<F> {
    async fn new() -> Self {
        let limits = Limits { max_lost_leases: 2, completed_retention: Duration::from_secs(40), ..Limits::default() };
        let limits = Limits { dead_retention: Duration::from_secs(80), ..limits };
        Self {
            fixture: F::open(limits.clone()).await,
            limits,
            now: 0,
            jobs: BTreeMap::new(),
            removed: 0,
            submitted: 0,
            workers: [WorkerId::boot("a"), WorkerId::boot("b")],
            lease_until: [None, None],
            leases: Vec::new(),
        }
    }

    fn job(&self, index: usize) -> Option<JobId> {
        (!self.jobs.is_empty()).then(|| *self.jobs.keys().nth(index % self.jobs.len()).unwrap())
    }

    /// A lease out of all ever given, and the model's job if the lease is still good.
    fn lease(&self, index: usize) -> Option<(Lease, Option<Job>)> {
        if self.leases.is_empty() {
            return None;
        }
        // Mostly recent ones: old leases are all stale.
        let lease = self.leases[self.leases.len() - 1 - index % self.leases.len().min(8)].clone();
        let job = self.jobs.get(&lease.job).filter(|job| {
            job.status == Status::Running && job.delivery == lease.delivery && self.workers[job.worker] == lease.worker
        });
        Some((lease, job.cloned()))
    }

    #[allow(clippy::too_many_lines, reason = "one arm per action reads best together")]
    async fn act(&mut self, action: Action) {
        let store = self.fixture.store();
        let store = &*store;
        match action {
            Action::Submit { priority, delay_s, deadline_s, max_attempts } => {
                let delay = Some(Duration::from_secs(delay_s));
                let deadline = deadline_s.map(Duration::from_secs);
                let new = NewJob { priority, delay, deadline, max_attempts, ..contract::chat("q") };
                let id = contract::submit(store, new).await;
                self.submitted += 1;
                let deadline = deadline_s.map(|s| self.now + s as i64 * 1_000);
                let due = self.now + delay_s as i64 * 1_000;
                let job = Job {
                    status: if delay_s == 0 { Status::Queued } else { Status::Scheduled },
                    used: 0,
                    max_attempts,
                    deliveries: 0,
                    delivery: 0,
                    lost: 0,
                    deferrals: 0,
                    worker: 0,
                    due: deadline.map_or(due, |deadline| due.min(deadline)),
                    deadline,
                    deadline_s,
                    final_at: 0,
                };
                self.jobs.insert(id, job);
            }
            Action::Beat { worker } => {
                contract::beat_again(store, &self.workers[worker]).await;
                self.lease_until[worker] = Some(self.now + self.limits.lease.as_millis() as i64);
            }
            Action::Fetch { worker, max } => self.fetch(worker, max).await,
            Action::Complete { delivery } => {
                let Some((lease, job)) = self.lease(delivery) else { return };
                let done = store.finish(&lease, contract::completed("a"), UsageTotal::default()).await.unwrap();
                self.expect(done, lease.job, job.as_ref(), |job, now| {
                    // The successful attempt goes on being shown.
                    job.used += 1;
                    job.end(Status::Completed, now);
                });
            }
            Action::Die { delivery } => {
                let Some((lease, job)) = self.lease(delivery) else { return };
                let done =
                    store.finish(&lease, contract::dead(Code::ContentRefused), UsageTotal::default()).await.unwrap();
                self.expect(done, lease.job, job.as_ref(), |job, now| {
                    job.used += 1;
                    job.end(Status::Dead, now);
                });
            }
            Action::Retry { delivery, after_s } => {
                let Some((lease, job)) = self.lease(delivery) else { return };
                let done = store
                    .release(&lease, contract::retry(Duration::from_secs(after_s)), UsageTotal::default())
                    .await
                    .unwrap();
                self.expect(done, lease.job, job.as_ref(), |job, now| {
                    job.used += 1;
                    if job.used >= job.max_attempts {
                        job.end(Status::Dead, now);
                    } else {
                        wait(job, now, after_s);
                    }
                });
            }
            Action::Defer { delivery, after_s } => {
                let Some((lease, job)) = self.lease(delivery) else { return };
                let done = store
                    .release(&lease, contract::defer(Duration::from_secs(after_s)), UsageTotal::default())
                    .await
                    .unwrap();
                self.expect(done, lease.job, job.as_ref(), |job, now| {
                    job.deferrals += 1;
                    wait(job, now, after_s);
                });
            }
            Action::HandBack { delivery } => {
                let Some((lease, job)) = self.lease(delivery) else { return };
                let done = store.release(&lease, Release::HandBack, UsageTotal::default()).await.unwrap();
                self.expect(done, lease.job, job.as_ref(), |job, _| job.status = Status::Queued);
            }
            Action::Leave { worker } => {
                store.leave(&self.workers[worker]).await.unwrap();
                self.lease_until[worker] = None;
                for job in self.jobs.values_mut() {
                    if job.status == Status::Running && job.worker == worker {
                        job.status = Status::Queued;
                    }
                }
            }
            Action::Cancel { job } => {
                let Some(id) = self.job(job) else { return };
                assert!(store.cancel(&"default".into(), id).await.unwrap().is_some());
                let job = self.jobs.get_mut(&id).unwrap();
                if !job.status.is_final() {
                    job.used += u32::from(job.status == Status::Running);
                    job.end(Status::Cancelled, self.now);
                }
            }
            Action::Replay { job } => {
                let Some(id) = self.job(job) else { return };
                let replayed = store.replay(id, None).await.unwrap();
                let job = self.jobs.get_mut(&id).unwrap();
                assert_eq!(replayed == Replay::Replayed, job.status == Status::Dead);
                if job.status == Status::Dead {
                    job.status = Status::Queued;
                    (job.used, job.deliveries, job.lost, job.deferrals) = (0, 0, 0, 0);
                    job.deadline = job.deadline_s.map(|s| self.now + s as i64 * 1_000);
                }
            }
            Action::Discard { job } => {
                let Some(id) = self.job(job) else { return };
                let dead = self.jobs[&id].status == Status::Dead;
                assert_eq!(store.discard(id).await.unwrap(), dead);
                if dead {
                    self.jobs.remove(&id);
                    self.removed += 1;
                }
            }
            Action::Pass { quarters } => {
                for _ in 0..quarters {
                    self.quarter().await;
                }
            }
            Action::Reopen => self.fixture.reopen().await,
        }
    }

    fn expect(&mut self, done: Fenced, id: JobId, job: Option<&Job>, change: impl FnOnce(&mut Job, i64)) {
        assert_eq!(done == Fenced::Applied(()), job.is_some(), "fenced by the lease, and only by it");
        if job.is_some() {
            change(self.jobs.get_mut(&id).unwrap(), self.now);
        }
    }

    async fn fetch(&mut self, worker: usize, max: usize) {
        let taken = self.fixture.store().fetch(&self.workers[worker], Kind::Chat, max).await.unwrap();
        let live = self.lease_until[worker].is_some_and(|until| until > self.now);
        let good = |job: &Job, now: i64| job.deadline.is_none_or(|deadline| deadline > now);
        let queued = self.jobs.values().filter(|job| job.status == Status::Queued && good(job, self.now)).count();
        assert_eq!(taken.len(), if live { queued.min(max) } else { 0 }, "as many as there are and were asked for");
        for delivery in taken {
            let now = self.now;
            let job = self.jobs.get_mut(&delivery.lease.job).unwrap();
            assert!(job.status == Status::Queued && good(job, now));
            job.status = Status::Running;
            job.worker = worker;
            job.deliveries += 1;
            job.delivery += 1;
            assert_eq!((delivery.lease.delivery, delivery.attempt), (job.delivery, job.used + 1));
            self.leases.push(delivery.lease);
        }
        // A fetch may bury what it meets past its deadline, and need not: the round that follows does.
        self.upkeep().await;
    }

    /// A quarter of a lease passes, then a round of housekeeping.
    async fn quarter(&mut self) {
        self.fixture.pass(self.limits.lease / 4).await;
        self.now += (self.limits.lease / 4).as_millis() as i64;
        self.upkeep().await;
    }

    async fn upkeep(&mut self) {
        self.fixture.store().upkeep().await.unwrap();
        let now = self.now;
        for worker in 0..2 {
            if self.lease_until[worker].is_some_and(|until| until <= now) {
                self.lease_until[worker] = None;
                for job in self.jobs.values_mut().filter(|job| job.status == Status::Running && job.worker == worker) {
                    job.lost += 1;
                    job.status = Status::Queued;
                    if job.lost >= self.limits.max_lost_leases {
                        job.end(Status::Dead, now);
                    }
                }
            }
        }
        for job in self.jobs.values_mut() {
            let waits = matches!(job.status, Status::Queued | Status::Scheduled);
            if waits && job.deadline.is_some_and(|deadline| deadline <= now) {
                job.end(Status::Dead, now);
            } else if job.status == Status::Scheduled && job.due <= now {
                job.status = Status::Queued;
            }
        }
        let before = self.jobs.len();
        let kept = |status| match status {
            Status::Completed | Status::Cancelled => self.limits.completed_retention,
            Status::Dead => self.limits.dead_retention,
            Status::Queued | Status::Scheduled | Status::Running => Duration::MAX,
        };
        self.jobs.retain(|_, job| {
            i64::try_from(kept(job.status).as_millis()).is_ok_and(|kept| job.final_at + kept > now)
                || !job.status.is_final()
        });
        self.removed += (before - self.jobs.len()) as u64;
    }

    async fn check(&self) {
        let store = self.fixture.store();
        for (id, job) in &self.jobs {
            let view = contract::view(&*store, *id).await;
            let shown = (view.status, view.attempt, view.deliveries, view.lost_leases, view.deferrals);
            assert_eq!(shown, job.shown(), "{id}: {job:?}");
        }
        let stats = store.stats().await.unwrap();
        let of_kinds = |figure: fn(&KindStats) -> u64| stats.kinds.values().map(figure).sum::<u64>();
        let counts = stats.counts;
        assert_eq!(of_kinds(|kind| kind.queued), counts[&Status::Queued]);
        assert_eq!(of_kinds(|kind| kind.scheduled), counts[&Status::Scheduled]);
        assert_eq!(of_kinds(|kind| kind.running), counts[&Status::Running]);
        assert_eq!(of_kinds(|kind| kind.dead), counts[&Status::Dead]);
        assert_eq!(stats.dead.values().sum::<u64>(), counts[&Status::Dead]);
        for status in Status::ALL {
            let expected = self.jobs.values().filter(|job| job.status == *status).count() as u64;
            assert_eq!(counts[status], expected, "{status}");
        }
        assert_eq!(counts.values().sum::<u64>() + self.removed, self.submitted);
    }
}

fn wait(job: &mut Job, now: i64, after_s: u64) {
    let due = now + after_s as i64 * 1_000;
    job.status = Status::Scheduled;
    job.due = job.deadline.map_or(due, |deadline| due.min(deadline));
}

fn agrees<F: Fixture>(actions: Vec<Action>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::<F>::new().await;
        for action in actions {
            world.act(action).await;
            world.check().await;
        }
    });
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn sqlite_agrees_with_the_model(actions in prop::collection::vec(action(), 1..60)) {
        agrees::<SqliteFixture>(actions);
    }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn redis_agrees_with_the_model(actions in prop::collection::vec(action(), 1..60)) {
        // Another process on the same server has not been in touch with it long enough to take leases back.
        agrees::<RedisFixture>(actions.into_iter().filter(|action| !matches!(action, Action::Reopen)).collect());
    }
}
