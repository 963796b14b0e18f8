//! The store on a Redis server: its fixture for the contract, and what only a server can do.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::join_all;
use ragq::{
    domain::{
        audit::{ActionId, AuditNote, AuditStage},
        clock::{ManualClock, Timestamp},
        event::EventKind,
        ids::{JobId, WorkerId},
        job::{Kind, NewJob, Status, Submitted},
    },
    queue::{
        CancelStep, Cells as _, Deliveries as _, Fenced, Maintenance as _, Operations as _, SharedJobStore,
        Submissions as _, Swap,
        redis::{
            RedisJobStore, RedisOptions,
            link::{Link, LinkOptions, Mode},
        },
    },
};

use super::contract::{self, Fixture, Limits, START, beat, chat, complete, submit, take, view};
use crate::support::{
    eventually,
    proxy::Proxy,
    redis::{Server, say},
};

/// A store on a server of its own, with a clock that is moved by hand.
pub struct RedisFixture {
    pub server: Server,
    pub clock: ManualClock,
    pub limits: Limits,
    store: Arc<RedisJobStore>,
}

pub fn options(limits: &Limits) -> RedisOptions {
    RedisOptions {
        lease: limits.lease,
        max_lost_leases: limits.max_lost_leases,
        max_jobs: limits.max_jobs,
        max_bytes: limits.max_bytes,
        completed_retention: limits.completed_retention,
        dead_retention: limits.dead_retention,
        ..RedisOptions::default()
    }
}

fn store(server: &Server, limits: &Limits, clock: &ManualClock) -> Arc<RedisJobStore> {
    let options = RedisOptions { clock: Some(Arc::new(clock.clone())), ..options(limits) };
    Arc::new(RedisJobStore::new(link(server, &options), options))
}

pub fn link(server: &Server, options: &RedisOptions) -> Link {
    link_to(&server.url(), options)
}

pub fn link_to(url: &str, options: &RedisOptions) -> Link {
    Link::new(link_options(url, options)).unwrap()
}

pub fn link_options(url: &str, options: &RedisOptions) -> LinkOptions {
    LinkOptions {
        url: url.into(),
        mode: Mode::Single,
        key: options.key(),
        tls_ca_file: None,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(5),
        patience: Duration::from_secs(5),
        fsync: false,
        min_replicas: 0,
        allow_unsafe: false,
    }
}

#[async_trait(?Send)]
impl Fixture for RedisFixture {
    async fn open(limits: Limits) -> Self {
        let server = Server::start(&[]).await;
        let clock = ManualClock::at(Timestamp(START.0 - limits.lease.as_millis() as i64));
        let store = store(&server, &limits, &clock);
        // It takes leases back only once it has been in touch with the server for long enough.
        store.upkeep().await.unwrap();
        for _ in 0..4 {
            clock.advance(limits.lease / 4);
            store.upkeep().await.unwrap();
        }
        Self { server, clock, limits, store }
    }

    fn store(&self) -> SharedJobStore {
        self.store.clone()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn reopen(&mut self) {
        self.store = store(&self.server, &self.limits, &self.clock);
    }
}

#[tokio::test]
async fn a_piece_of_an_answer_outlasts_an_absence_beyond_all_patience_and_is_written_once() {
    let server = Server::start(&[]).await;
    let options = options(&Limits::default());
    let short = Duration::from_millis(100);
    let link = LinkOptions { response_timeout: short, patience: short, ..link_options(&server.url(), &options) };
    let store = RedisJobStore::new(Link::new(link).unwrap(), options);
    let worker = contract::beat(&store, "w").await;
    let id = contract::submit(&store, contract::chat("q")).await;
    let lease = contract::take(&store, &worker).await.lease;
    server.stop_signal();
    let stalled = async {
        // Others have given up meanwhile, again and again.
        for _ in 0..4 {
            store.ping().await.unwrap_err();
        }
        server.cont_signal();
    };
    let (written, ()) = tokio::join!(store.append_delta(&lease, "half".into()), stalled);
    assert!(matches!(written.unwrap(), Fenced::Applied(_)));
    let log = store.events(&"default".into(), id, None, 10).await.unwrap().unwrap().events;
    assert_eq!(log.iter().map(|event| event.kind.name()).collect::<Vec<_>>(), ["created", "started", "delta"]);
}

#[tokio::test]
async fn a_note_whose_answer_is_lost_is_in_the_audit_log_once() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let options = options(&Limits::default());
    let store = RedisJobStore::new(link_to(&proxy.url(), &options), options);
    let note = |stage| AuditNote { action_id: Some(ActionId::new(START)), stage, ..contract::control::note(1) };
    // From now on the server has the script: what is cut is the answer to it, not that it is missing.
    store.note(&note(AuditStage::Begun)).await.unwrap();
    for cut in [0, 3] {
        let seen = proxy.seen("EVALSHA");
        proxy.cut("EVALSHA", cut);
        store.note(&note(AuditStage::Done)).await.unwrap();
        assert_eq!(proxy.seen("EVALSHA") - seen, 2, "it was sent again");
    }
    assert_eq!(store.audit(None, 10).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn a_step_of_cancelling_whose_answer_is_lost_cancels_no_more_than_it_was_told_to() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let options = options(&Limits::default());
    let store = RedisJobStore::new(link_to(&proxy.url(), &options), options);
    for _ in 0..10 {
        contract::submit(&store, contract::chat("q")).await;
    }
    let step = |dry_run| CancelStep { skip: 0, max: 3, dry_run };
    // From now on the server has the script.
    store.cancel_some(Kind::Chat, Status::Queued, step(true)).await.unwrap();
    proxy.cut("EVALSHA", 3);
    let tally = store.cancel_some(Kind::Chat, Status::Queued, step(false)).await.unwrap();
    assert_eq!((tally.seen, tally.matched, tally.cancelled), (3, 3, 3));
    assert_eq!(store.stats().await.unwrap().counts[&Status::Cancelled], 3);
}

#[tokio::test]
async fn what_changes_during_a_break_is_heard_even_if_the_first_look_after_it_fails() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let options = options(&Limits::default());
    let short = Duration::from_millis(100);
    let through = LinkOptions { url: proxy.url().into(), patience: short, ..link_options(&server.url(), &options) };
    let store = RedisJobStore::new(Link::new(through).unwrap(), options.clone());
    let elsewhere = RedisJobStore::new(link(&server, &options), options);
    let id = contract::submit(&elsewhere, contract::chat("q")).await;
    let mut watch = store.watch(id);
    assert_eq!(contract::view(&store, id).await.status, Status::Queued);
    proxy.answer("EVALSHA", "-LOADING the server reads its data\r\n");
    proxy.hang_up();
    elsewhere.cancel(&"default".into(), id).await.unwrap();
    eventually(async || (proxy.seen("SUBSCRIBE") > 1).then_some(())).await;
    // By then whoever looked has given up.
    for _ in 0..3 {
        store.ping().await.unwrap_err();
    }
    proxy.pass_on("EVALSHA");
    let heard = async { while watch.changed().await.status != Some(Status::Cancelled) {} };
    tokio::time::timeout(Duration::from_mins(1), heard).await.expect("it is heard");
}

contract::every_case!(redis, crate::queue::redis_server::RedisFixture);

/// Another process on the fixture's server, behind a proxy, that gives up soon.
pub fn behind(proxy: &Proxy, fixture: &RedisFixture) -> RedisJobStore {
    let options = RedisOptions { clock: Some(Arc::new(fixture.clock.clone())), ..options(&fixture.limits) };
    let link = LinkOptions {
        response_timeout: Duration::from_millis(300),
        patience: Duration::from_millis(100),
        ..link_options(&proxy.url(), &options)
    };
    RedisJobStore::new(Link::new(link).unwrap(), options)
}

/// Another process on the fixture's server.
fn another(fixture: &RedisFixture) -> Arc<RedisJobStore> {
    store(&fixture.server, &fixture.limits, &fixture.clock)
}

#[tokio::test]
async fn what_another_process_changes_is_heard() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture));
    let worker = beat(&*there, "w").await;
    let id = submit(&*here, chat("q")).await;
    let mut watch = here.watch(id);
    assert_eq!(view(&*here, id).await.status, Status::Queued, "whoever looks after that misses nothing");
    let lease = take(&*there, &worker).await.lease;
    assert_eq!(watch.changed().await.status, Some(Status::Running));
    assert!(matches!(there.append_delta(&lease, "text".into()).await.unwrap(), Fenced::Applied(_)));
    watch.changed().await;
    let page = here.events(&"default".into(), id, Some(1), 10).await.unwrap().unwrap();
    assert_eq!(page.events[0].kind, EventKind::Delta { text: "text".into() });
    complete(&*there, &lease, "done").await;
    while watch.changed().await.status != Some(Status::Completed) {}
}

#[tokio::test]
async fn a_worker_hears_of_a_cancel_elsewhere() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture));
    let worker = beat(&*here, "w").await;
    let id = submit(&*there, chat("q")).await;
    let lease = take(&*here, &worker).await.lease;
    let mut at_work = here.watch_delivery(&lease);
    there.cancel(&"default".into(), id).await.unwrap();
    assert_eq!(at_work.changed().await.status, Some(Status::Cancelled));
}

#[tokio::test]
async fn a_worker_waiting_elsewhere_is_woken() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture));
    let worker = beat(&*there, "w").await;
    let (id, ()) = tokio::join!(submit(&*here, chat("q")), there.wait_for_work(Kind::Chat));
    assert_eq!(take(&*there, &worker).await.lease.job, id);
}

#[tokio::test]
async fn a_fetch_whose_answer_was_lost_tells_of_its_jobs_after_a_pause_and_after_its_lease_ran_out() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let proxy = Proxy::start(fixture.server.port()).await;
    let (direct, store) = (fixture.store(), behind(&proxy, &fixture));
    let worker = beat(&*direct, "w").await;
    let id = submit(&*direct, chat("q")).await;
    // The connection is open and the server has the script: what is lost is the answer of the call itself.
    eventually(async || store.fetch(&WorkerId::boot("nobody"), Kind::Chat, 1).await.ok()).await;
    proxy.delay(Duration::from_hours(1));
    store.fetch(&worker, Kind::Chat, 1).await.unwrap_err();
    eventually(async || (view(&*direct, id).await.status == Status::Running).then_some(())).await;
    proxy.delay(Duration::ZERO);
    fixture.pass(fixture.limits.lease + Duration::from_secs(1)).await;
    direct.pause(&[Kind::Chat]).await.unwrap();
    let told = eventually(async || store.fetch(&worker, Kind::Chat, 1).await.ok()).await;
    assert_eq!(told.iter().map(|delivery| delivery.lease.job).collect::<Vec<_>>(), [id]);
    complete(&*direct, &told[0].lease, "done").await;
}

#[tokio::test]
async fn a_fetch_that_was_sent_twice_and_handed_over_nothing_does_so_whenever_it_runs() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let proxy = Proxy::start(fixture.server.port()).await;
    let options = RedisOptions { clock: Some(Arc::new(fixture.clock.clone())), ..options(&fixture.limits) };
    let store = RedisJobStore::new(link_to(&proxy.url(), &options), options);
    let worker = beat(&store, "w").await;
    assert!(store.fetch(&WorkerId::boot("nobody"), Kind::Chat, 1).await.unwrap().is_empty());
    proxy.cut("EVALSHA", 0);
    assert!(store.fetch(&worker, Kind::Chat, 1).await.unwrap().is_empty());
    submit(&store, chat("q")).await;
    // Another process that begins to count is the same to the server as what was sent to it first.
    assert!(another(&fixture).fetch(&worker, Kind::Chat, 1).await.unwrap().is_empty(), "nobody hears that answer");
    take(&store, &worker).await;
}

#[tokio::test]
async fn thousands_of_watches_share_a_connection() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture));
    let mut watches = Vec::new();
    for _ in 0..2_000 {
        watches.push(here.watch(JobId::new(START.0)));
    }
    let worker = beat(&*there, "w").await;
    let id = submit(&*there, chat("q")).await;
    let mut watch = here.watch(id);
    assert_eq!(view(&*here, id).await.status, Status::Queued);
    take(&*there, &worker).await;
    assert_eq!(watch.changed().await.status, Some(Status::Running));
    let mut client = fixture.server.client().await;
    let channels: Vec<String> = ::redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut client).await.unwrap();
    assert!(channels.len() > 2_000, "{}", channels.len());
    let clients: String = ::redis::cmd("CLIENT").arg("LIST").query_async(&mut client).await.unwrap();
    assert!(clients.lines().count() <= 6, "{clients}");
    drop((watches, watch));
    eventually(async || {
        let left: Vec<String> = ::redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut client).await.unwrap();
        (left.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn waiters_are_told_what_they_missed_while_the_server_was_away() {
    let mut fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture));
    let id = submit(&*there, chat("q")).await;
    let mut watch = here.watch(id);
    assert_eq!(view(&*here, id).await.status, Status::Queued);
    fixture.server.restart().await;
    there.cancel(&"default".into(), id).await.unwrap();
    while watch.changed().await.status != Some(Status::Cancelled) {}
}

#[tokio::test]
async fn what_another_process_puts_in_a_cell_is_heard_also_after_the_server_was_away() {
    let mut fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture));
    let mut watch = here.watch_cell("c");
    assert_eq!(here.cell("c").await.unwrap().version, 0, "whoever looks after that misses nothing");
    let Swap::Applied(told) = there.swap_cell("c", 0, "some words", true).await.unwrap() else { panic!("refused") };
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow_and_update(), told);
    assert!(matches!(there.swap_cell("c", 1, "quiet", false).await.unwrap(), Swap::Applied(_)));
    fixture.server.restart().await;
    watch.changed().await.unwrap();
    assert_eq!(watch.borrow().version, 2, "found when the connection stood again");
}

#[tokio::test]
async fn housekeeping_does_not_hurry_over_a_lease_that_may_not_be_taken_back_yet() {
    let limits = Limits::default();
    let fixture = RedisFixture::open(limits.clone()).await;
    let worker = beat(&*fixture.store(), "w").await;
    let id = submit(&*fixture.store(), chat("q")).await;
    take(&*fixture.store(), &worker).await;
    fixture.pass(limits.lease + Duration::from_secs(1)).await;
    // A process that has only just met the server.
    let fresh = another(&fixture);
    let done = fresh.upkeep().await.unwrap();
    assert_eq!((done.leases_lost, done.next_due), (0, None));
    assert_eq!(view(&*fixture.store(), id).await.status, Status::Running);
}

#[tokio::test]
async fn a_job_pushed_under_an_id_of_another_kind_is_handed_over_and_finished() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let store = fixture.store();
    let mut client = fixture.server.client().await;
    for (id, payload) in [("task-7", r#"{"query":"q","kind":"chat","priority":"high"}"#), ("no json", "{")] {
        let _: () =
            ::redis::cmd("HSET").arg("{ragq}:data").arg(id).arg(payload).query_async(&mut client).await.unwrap();
        let due = START.0 / 1_000;
        let _: () =
            ::redis::cmd("ZADD").arg("{ragq}:scheduled").arg(due).arg(id).query_async(&mut client).await.unwrap();
    }
    assert_eq!(store.upkeep().await.unwrap().promoted, 2);
    let worker = beat(&*store, "w").await;
    let taken = store.fetch(&worker, Kind::Chat, 10).await.unwrap();
    assert_eq!(taken[0].payload["query"], "q", "the urgent one first");
    assert_eq!(taken[1].payload, "{", "for the worker to bury");
    for delivery in &taken {
        complete(&*store, &delivery.lease, "done").await;
    }
    contract::adds_up(&*store, 2).await;
    assert_eq!(store.stats().await.unwrap().counts[&Status::Completed], 2);
}

#[tokio::test]
async fn figures_say_how_the_server_keeps_jobs() {
    let server = Server::start(&[]).await;
    let options = options(&Limits::default());
    let store = RedisJobStore::new(link(&server, &options), options);
    let condition = store.stats().await.unwrap().condition;
    assert!(condition.used_bytes.unwrap() > 100_000 && condition.limit_bytes.is_none(), "{condition:?}");
    let safe = (condition.append_only, condition.append_works, condition.keeps_all);
    assert_eq!(safe, (Some(true), Some(true), Some(true)));
    for setting in ["maxmemory 100mb", "maxmemory-policy allkeys-lru", "appendonly no"] {
        say::<()>(&mut server.client().await, &format!("CONFIG SET {setting}")).await.unwrap();
    }
    let condition = store.stats().await.unwrap().condition;
    assert_eq!((condition.limit_bytes, condition.append_only), (Some(100 * 1024 * 1024), Some(false)));
    assert_eq!(condition.keeps_all, Some(false));
    store.close().await;
}

/// The keys that are of one job alone.
async fn keys_of(fixture: &RedisFixture, id: JobId) -> Vec<String> {
    say(&mut fixture.server.client().await, &format!("KEYS *:{id}")).await.unwrap()
}

#[tokio::test]
async fn a_job_that_completes_in_its_first_delivery_has_no_key_of_its_own_and_is_told_in_full() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w with spaces").await;
    let id = submit(&*store, chat("q")).await;
    let lease = take(&*store, &worker).await.lease;
    assert_eq!(view(&*store, id).await.status, Status::Running);
    complete(&*store, &lease, "done").await;
    assert_eq!(keys_of(&fixture, id).await, [""; 0]);
    let job = view(&*store, id).await;
    assert_eq!((job.status, job.attempt, job.deliveries, job.lost_leases), (Status::Completed, 1, 1, 0));
    assert!(job.started_at.is_some() && job.finished_at.is_some(), "{job:?}");
    let whole = store.events(&"default".into(), id, None, 10).await.unwrap().unwrap();
    assert_eq!(
        whole.events.iter().map(|event| event.kind.name()).collect::<Vec<_>>(),
        ["created", "started", "completed"]
    );
    assert_eq!(whole.events[1].kind, EventKind::Started { worker });
    let rest = store.events(&"default".into(), id, Some(1), 1).await.unwrap().unwrap();
    assert_eq!(rest.events, whole.events[2..]);
    assert!(rest.ended);
}

#[tokio::test]
async fn a_job_that_an_older_worker_was_given_is_told_and_finished() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, chat("q")).await;
    let lease = take(&*store, &worker).await.lease;
    // As it was written before there was a line for such jobs.
    let mut client = fixture.server.client().await;
    let now = START.0;
    for command in [
        format!("HDEL {{ragq}}:first {id}"),
        format!(
            "HSET {{ragq}}:meta:{id} status running attempt 1 delivery 1 deliveries 1 worker {worker} place 1 \
             started_at {now} kind chat bytes 10"
        ),
    ] {
        let _done: ::redis::Value = say(&mut client, &command).await.unwrap();
    }
    let started = format!("1 started {worker}");
    let key = format!("{{ragq}}:events:{id}");
    let _done: u64 = ::redis::cmd("RPUSH").arg(key).arg(started).query_async(&mut client).await.unwrap();
    assert_eq!(view(&*store, id).await.status, Status::Running);
    complete(&*store, &lease, "done").await;
    assert_eq!(view(&*store, id).await.status, Status::Completed);
    let log = store.events(&"default".into(), id, None, 10).await.unwrap().unwrap().events;
    assert_eq!(log.iter().map(|event| event.kind.name()).collect::<Vec<_>>(), ["created", "started", "completed"]);
}

#[tokio::test]
async fn a_request_that_the_server_can_not_carry_out_fails_alone() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let store = fixture.store();
    let mut jobs: Vec<_> = (0..40).map(|_| NewJob { delay: Some(Duration::from_secs(1)), ..chat("q") }).collect();
    for (number, job) in jobs.iter_mut().enumerate() {
        job.id = JobId::new(START.0 + number as i64);
    }
    // Its record can't be written: something else has its key.
    let bad = jobs[20].id;
    let _set: String = say(&mut fixture.server.client().await, &format!("SET {{ragq}}:meta:{bad} x")).await.unwrap();
    let submitted = join_all(jobs.into_iter().map(|job| async { (job.id, store.submit(job).await) })).await;
    for (id, submitted) in submitted {
        match submitted {
            Ok(accepted) => assert_eq!(accepted, Submitted::Accepted(id)),
            Err(error) => assert_eq!(id, bad, "{error:?}"),
        }
    }
    assert_eq!(store.stats().await.unwrap().counts[&Status::Scheduled], 39);
    fixture.pass(Duration::from_secs(1)).await;
    store.upkeep().await.unwrap();
    let worker = beat(&*store, "w").await;
    assert_eq!(contract::fetch_ids(&*store, &worker, 100).await.len(), 39);
}
