//! How jobs on a Redis server are settled when the answer to that is lost, or when one of many can't be.

use std::time::Duration;

use futures::future::join_all;
use ragq::{
    domain::{failure::Code, ids::Lease, job::Status, spent::UsageTotal},
    queue::{Deliveries as _, Fenced, Finish, Release, Submissions as _, redis::RedisJobStore},
};
use serde_json::json;

use super::{
    contract::{
        Fixture as _, Limits, adds_up, beat, beat_again, chat, completed, dead, defer, retry, silence, submit, take,
        view,
    },
    redis_server::{RedisFixture, behind},
};
use crate::support::{eventually, proxy::Proxy, redis::say};

const COST: UsageTotal = UsageTotal { calls: 1, prompt_tokens: 20, completion_tokens: 3, wasted_tokens: 0 };

/// What a worker asks for at the end of a delivery.
#[derive(Clone, Debug)]
enum Settlement {
    Finish(Finish),
    Release(Release),
}

/// All of them, with the status that the job has then.
fn all() -> [(Settlement, Status); 5] {
    [
        (Settlement::Finish(completed("done")), Status::Completed),
        (Settlement::Finish(dead(Code::ContentRefused)), Status::Dead),
        (Settlement::Release(retry(Duration::from_hours(1))), Status::Scheduled),
        (Settlement::Release(defer(Duration::from_hours(1))), Status::Scheduled),
        (Settlement::Release(Release::HandBack), Status::Queued),
    ]
}

impl Settlement {
    async fn write(&self, store: &RedisJobStore, lease: &Lease) -> ragq::queue::Result<Fenced> {
        match self.clone() {
            Self::Finish(finish) => store.finish(lease, finish, COST).await,
            Self::Release(release) => store.release(lease, release, COST).await,
        }
    }

    /// Writes it until there is an answer.
    async fn write_again(&self, store: &RedisJobStore, lease: &Lease) -> Fenced {
        eventually(async || self.write(store, lease).await.ok()).await
    }
}

#[tokio::test]
async fn a_settlement_whose_answer_was_lost_for_good_is_applied_once_when_it_is_asked_for_again() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let proxy = Proxy::start(fixture.server.port()).await;
    let (direct, store) = (fixture.store(), behind(&proxy, &fixture));
    for (settlement, status) in all() {
        let id = submit(&*direct, chat("q")).await;
        let worker = beat(&*direct, "w").await;
        let lease = take(&*direct, &worker).await.lease;
        let mut watch = store.watch(id);
        eventually(async || store.job(&"default".into(), id).await.ok().flatten()).await;
        // So that the server has the script: what is cut is the answer of the call itself.
        let nobody = Lease { delivery: 99, ..lease.clone() };
        assert_eq!(settlement.write_again(&store, &nobody).await, Fenced::Stale);
        proxy.delay(Duration::from_hours(1));
        settlement.write(&store, &lease).await.unwrap_err();
        eventually(async || (view(&*direct, id).await.status == status).then_some(())).await;
        proxy.delay(Duration::ZERO);
        assert_eq!(settlement.write_again(&store, &lease).await, Fenced::Applied(()), "{settlement:?}");
        let shown = view(&*direct, id).await;
        assert_eq!((shown.status, shown.usage_total), (status, COST), "{settlement:?}");
        let told = async { while watch.changed().await.status != Some(status) {} };
        tokio::time::timeout(Duration::from_mins(1), told).await.expect("who waits here is told, too");
        // Whoever asks without need is refused as before.
        assert_eq!(settlement.write_again(&store, &lease).await, Fenced::Stale, "{settlement:?}");
        direct.cancel(&"default".into(), id).await.unwrap();
    }
}

#[tokio::test]
async fn a_settlement_that_was_never_carried_out_is_stale_once_the_job_was_taken_back() {
    for max_lost_leases in [3, 1] {
        let limits = Limits { max_lost_leases, ..Limits::default() };
        let fixture = RedisFixture::open(limits.clone()).await;
        let proxy = Proxy::start(fixture.server.port()).await;
        let (direct, store) = (fixture.store(), behind(&proxy, &fixture));
        let mut jobs = Vec::new();
        let worker = beat(&*direct, "w").await;
        for (settlement, _) in all() {
            submit(&*direct, chat("q")).await;
            jobs.push((settlement, take(&*direct, &worker).await.lease));
        }
        proxy.answer("EVALSHA", "-LOADING the server reads its data\r\n");
        for (settlement, lease) in &jobs {
            settlement.write(&store, lease).await.unwrap_err();
        }
        proxy.pass_on("EVALSHA");
        silence(&fixture, &limits).await;
        for (settlement, lease) in &jobs {
            let before = view(&*direct, lease.job).await;
            assert!(matches!(before.status, Status::Queued | Status::Dead), "{before:?}");
            assert_eq!(settlement.write_again(&store, lease).await, Fenced::Stale, "{settlement:?}, {before:?}");
            assert_eq!(view(&*direct, lease.job).await, before);
        }
    }
}

#[tokio::test]
async fn a_settlement_that_was_applied_is_known_after_the_job_went_on() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let proxy = Proxy::start(fixture.server.port()).await;
    let (direct, store) = (fixture.store(), behind(&proxy, &fixture));
    let worker = beat(&*direct, "w").await;
    for settlement in [Settlement::Release(defer(Duration::ZERO)), Settlement::Release(retry(Duration::ZERO))] {
        let id = submit(&*direct, chat("q")).await;
        let lease = take(&*direct, &worker).await.lease;
        let nobody = Lease { delivery: 99, ..lease.clone() };
        assert_eq!(settlement.write_again(&store, &nobody).await, Fenced::Stale);
        proxy.delay(Duration::from_hours(1));
        settlement.write(&store, &lease).await.unwrap_err();
        eventually(async || (view(&*direct, id).await.status == Status::Scheduled).then_some(())).await;
        proxy.delay(Duration::ZERO);
        direct.upkeep().await.unwrap();
        beat_again(&*direct, &worker).await;
        let next = take(&*direct, &worker).await.lease;
        assert_eq!((next.job, next.delivery), (id, 2));
        assert_eq!(direct.finish(&next, dead(Code::ContentRefused), COST).await.unwrap(), Fenced::Applied(()));
        assert_eq!(settlement.write_again(&store, &lease).await, Fenced::Applied(()), "{settlement:?}");
        assert_eq!(view(&*direct, id).await.usage_total.calls, 2);
    }
}

#[tokio::test]
async fn a_job_that_can_not_be_ended_takes_nothing_from_those_that_are_ended_with_it() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let mut leases = Vec::new();
    for _ in 0..60 {
        submit(&*store, chat("q")).await;
        leases.push(take(&*store, &worker).await.lease);
    }
    let bad = leases[42].job;
    // Its log can't be written: something else has its key.
    let mut client = fixture.server.client().await;
    let _set: String = say(&mut client, &format!("SET {{ragq}}:events:{bad} x")).await.unwrap();
    let ends = leases.iter().enumerate().map(async |(number, lease)| {
        // Every third dies, and some have cost nothing.
        let finish = if number % 3 == 1 { dead(Code::ContentRefused) } else { completed("done") };
        let cost = if number % 5 == 0 && lease.job != bad { UsageTotal::default() } else { COST };
        (lease.job, cost, finish.clone(), store.finish(lease, finish, cost).await)
    });
    for (id, cost, finish, ended) in join_all(ends).await {
        if id == bad {
            ended.unwrap_err();
            continue;
        }
        assert_eq!(ended.unwrap(), Fenced::Applied(()));
        let shown = view(&*store, id).await;
        assert_eq!(shown.usage_total, cost);
        let (result, letter) = match finish {
            Finish::Completed { result, .. } => (Some(result), None),
            Finish::Dead { .. } => (None, store.dead_letter(id).await.unwrap()),
        };
        assert_eq!(shown.result, result);
        let log = store.events(&"default".into(), id, None, 100).await.unwrap().unwrap();
        assert_eq!((log.events.len(), log.ended), (3, true), "{log:?}");
        if shown.status == Status::Dead {
            assert_eq!(letter.unwrap().attempts.len(), 1);
        }
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.counts[&Status::Completed], stats.counts[&Status::Dead], stats.running), (39, 20, 1));
    adds_up(&*store, 60).await;
    let left: Vec<String> = say(&mut client, "ZRANGE {ragq}:inflight:chat 0 -1").await.unwrap();
    assert_eq!(left, [format!("{worker} {bad}")]);
    let each = json!({ "query": "q" }).to_string().len();
    let bytes: usize = say(&mut client, "HGET {ragq}:counters bytes").await.unwrap();
    assert_eq!(bytes, each, "what the ended ones took up is free");
}
