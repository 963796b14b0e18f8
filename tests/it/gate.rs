//! The gates before the providers: what processes on one job store share of them, and what they do without it.

use std::{sync::Arc, time::Duration};

use futures::future::{join, join_all, poll_immediate};
use ragq::{
    config::Settings,
    domain::{
        answer::Usage,
        failure::{Code, Failure},
        job::Kind,
        spent::Spent,
    },
    gate::{BreakerView, Cost, Gate, Gates, KindGate},
    queue::{
        Cells,
        redis::{RedisJobStore, RedisOptions},
    },
    resilience::{
        breaker::BreakerState,
        budget::{RateHeaders, RateLimits},
    },
    telemetry::metrics::{Metrics, Scope, Sets},
};

use tokio::time::timeout;

use crate::{
    queue::redis_server::link_to,
    support::{
        eventually,
        proxy::Proxy,
        redis::{Server, say},
    },
};

/// One process of a deployment.
struct Process {
    gates: Gates,
    store: Arc<RedisJobStore>,
    metrics: Metrics,
}

fn metrics() -> Metrics {
    Metrics::new(Scope::Process, Sets::default()).unwrap()
}

impl Process {
    fn start(server: &Server, pause: Duration) -> Self {
        Self::start_with(server, pause, |_| ())
    }

    fn start_with(server: &Server, pause: Duration, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_at(&server.url(), pause, change)
    }

    fn start_at(url: &str, pause: Duration, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.model.base_url = Some("http://127.0.0.1:1/v1".into());
        settings.breaker.pause_ms = pause.as_millis() as u64;
        settings.breaker.longest_pause_ms = pause.as_millis() as u64;
        change(&mut settings);
        let options = RedisOptions::default();
        let store = Arc::new(RedisJobStore::new(link_to(url, &options), options));
        let cells: Arc<dyn Cells> = store.clone();
        let metrics = metrics();
        Self { gates: Gates::open(&settings, &cells, &metrics), store, metrics }
    }

    /// How often it says that it turned the breaker to a state.
    fn turns_to(&self, state: &str) -> u64 {
        let name = "ragq_provider_breaker_transitions_total{";
        let labels = [r#"operation="chat""#.to_owned(), format!(r#"state="{state}""#)];
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
    }

    fn gate(&self) -> &Arc<Gate> {
        &self.gates.chat()[0]
    }

    fn passes(&self) -> KindGate {
        self.gates.of(Kind::Chat)
    }

    fn view(&self) -> BreakerView {
        self.gate().view()
    }

    async fn fail(&self, code: Code) -> Failure {
        let ticket = self.gate().admit().await.unwrap();
        ticket.failed(Failure::new(code, "it said"))
    }

    async fn sees(&self, state: BreakerState) {
        eventually(async || (self.view().state == state).then_some(())).await;
    }

    async fn end(self) {
        self.gates.close().await;
        self.store.close().await;
    }
}

const LONG: Duration = Duration::from_mins(10);
/// Long enough for what happens at once.
const A_WHILE: Duration = Duration::from_millis(100);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn failures_of_several_processes_trip_one_breaker_that_all_see_and_that_outlives_them() {
    let server = Server::start(&[]).await;
    let (here, there, idle) =
        (Process::start(&server, LONG), Process::start(&server, LONG), Process::start(&server, LONG));
    for _ in 0..2 {
        here.fail(Code::ProviderError).await;
    }
    for _ in 0..3 {
        there.fail(Code::ProviderTimeout).await;
    }
    for process in [&here, &there, &idle] {
        process.sees(BreakerState::Open).await;
        let view = process.view();
        assert_eq!((view.consecutive_failures, view.message.as_deref()), (5, Some("it said")), "{view:?}");
        assert!(view.opened_at.is_some() && view.retry_in_ms.is_some_and(|wait| wait > 60_000), "{view:?}");
    }
    let refused = idle.gate().admit().await.err().unwrap();
    assert_eq!(refused.code, Code::BreakerOpen);
    assert!(refused.retry_after.is_some_and(|wait| wait > Duration::from_mins(1)));
    assert!(poll_immediate(idle.passes().passes(8)).await.is_none(), "no job is fetched");
    for process in [here, there, idle] {
        process.end().await;
    }
    let later = Process::start(&server, LONG);
    later.sees(BreakerState::Open).await;
    later.end().await;
}

#[tokio::test]
async fn one_probe_is_made_in_the_whole_deployment_and_its_first_token_opens_the_way_for_all() {
    let server = Server::start(&[]).await;
    let (here, there) = (Process::start(&server, SHORT), Process::start(&server, SHORT));
    let told = here.fail(Code::QuotaExhausted).await;
    assert_eq!(told.code, Code::QuotaExhausted);
    assert!(told.retry_after.is_some(), "it comes back when the provider is tried again");
    there.sees(BreakerState::HalfOpen).await;
    here.sees(BreakerState::HalfOpen).await;
    let (one, other) = join(here.gate().admit(), there.gate().admit()).await;
    assert!(one.is_ok() != other.is_ok(), "one of the two");
    let refused = if one.is_ok() { &there } else { &here };
    let mut probe = one.or(other).ok().unwrap();
    assert_eq!(refused.gate().admit().await.err().unwrap().code, Code::BreakerOpen);
    probe.spoke();
    here.sees(BreakerState::Closed).await;
    there.sees(BreakerState::Closed).await;
    assert_eq!(here.passes().passes(8).await.len(), 4, "slowly at first");
    let told = probe.failed(Failure::new(Code::StreamCut, "in the middle"));
    assert_eq!(told.code, Code::StreamCut, "by then it is an attempt like any other");
    assert_eq!(here.view().state, BreakerState::Closed);
    here.end().await;
    there.end().await;
}

#[tokio::test]
async fn one_job_is_fetched_for_the_probe_and_one_that_makes_no_call_gives_it_back() {
    let server = Server::start(&[]).await;
    let (here, there) = (Process::start(&server, SHORT), Process::start(&server, SHORT));
    here.fail(Code::RateLimited).await;
    let unused = here.passes().passes(8).await;
    assert_eq!(unused.len(), 1);
    assert_eq!(there.gate().admit().await.err().unwrap().code, Code::BreakerOpen, "also for calls of running jobs");
    drop(unused);
    let used = there.passes().passes(8).await;
    assert_eq!(used.len(), 1);
    let ticket = there.gate().admit().await.unwrap();
    drop(used);
    assert!(poll_immediate(there.passes().passes(8)).await.is_none(), "not before the call shows how the provider is");
    let told = ticket.failed(Failure::new(Code::ProviderError, "still broken"));
    assert_eq!(told.code, Code::ProviderError, "why is told as it is");
    assert!(told.defers(), "a failed probe is a deferral, whatever it failed with: {told}");
    assert_eq!(there.view().code, Some(Code::ProviderError));
    let again = there.passes().passes(8).await;
    assert_eq!(again.len(), 1, "after another pause");
    drop(there.gate().admit().await.unwrap());
    drop(again);
    let called_off = here.passes().passes(8).await;
    assert_eq!(called_off.len(), 1, "a call that is called off tells nothing");
    here.gate().admit().await.unwrap().succeeded(Usage::default());
    there.sees(BreakerState::Closed).await;
    drop(called_off);
    here.end().await;
    there.end().await;
}

#[tokio::test]
async fn a_turn_of_the_breaker_is_counted_once_in_the_whole_deployment() {
    let server = Server::start(&[]).await;
    let (here, there) = (Process::start(&server, SHORT), Process::start(&server, SHORT));
    let mut calls = Vec::new();
    for process in [&here, &there] {
        for _ in 0..5 {
            calls.push(process.gate().admit().await.unwrap());
        }
    }
    for call in calls {
        call.failed(Failure::new(Code::ProviderError, "to all alike"));
    }
    let turns = |state| here.turns_to(state) + there.turns_to(state);
    for process in [&here, &there] {
        process.sees(BreakerState::HalfOpen).await;
    }
    let probe = eventually(async || here.gate().admit().await.ok()).await;
    probe.succeeded(Usage::default());
    for process in [&here, &there] {
        process.sees(BreakerState::Closed).await;
    }
    // By then all that was told before is written.
    here.gates.close().await;
    there.gates.close().await;
    assert_eq!(["open", "half_open", "closed"].map(turns), [1, 1, 1]);
    here.end().await;
    there.end().await;
}

#[tokio::test]
async fn failures_seen_while_the_store_was_away_count_beside_those_that_others_wrote_meanwhile() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let cut_off = Process::start_at(&proxy.url(), LONG, |_| ());
    let there = Process::start(&server, LONG);
    proxy.refuse(true);
    for _ in 0..2 {
        cut_off.fail(Code::ProviderTimeout).await;
    }
    for _ in 0..3 {
        there.fail(Code::ProviderError).await;
    }
    proxy.refuse(false);
    for process in [&cut_off, &there] {
        process.sees(BreakerState::Open).await;
    }
    assert_eq!(there.view().consecutive_failures, 5);
    cut_off.end().await;
    there.end().await;
}

#[tokio::test]
async fn failures_that_the_store_took_down_without_an_answer_in_time_count_once() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let process = Process::start_at(&proxy.url(), LONG, |_| ());
    let mut client = server.client().await;
    let mut failures_in_a_row = async |count: u32| {
        let expected = format!("\"consecutive\":{count},");
        eventually(async || {
            let cell: Option<String> = say(&mut client, "HGET {ragq}:cells breaker:openai:chat").await.unwrap();
            cell.is_some_and(|cell| cell.contains(&expected)).then_some(())
        })
        .await;
    };
    process.fail(Code::ProviderError).await;
    failures_in_a_row(1).await;
    // Longer than anybody waits for a cell.
    proxy.delay(Duration::from_millis(1_300));
    for _ in 0..2 {
        process.fail(Code::ProviderTimeout).await;
    }
    failures_in_a_row(3).await;
    // Until it has asked again, whatever came of the first time.
    let asked = proxy.seen("EVALSHA");
    eventually(async || (proxy.seen("EVALSHA") > asked).then_some(())).await;
    proxy.delay(Duration::ZERO);
    process.fail(Code::ProviderError).await;
    failures_in_a_row(4).await;
    assert_eq!((process.view().state, process.view().consecutive_failures), (BreakerState::Closed, 4));
    process.end().await;
}

#[tokio::test]
async fn a_process_goes_on_with_what_it_knows_while_the_store_is_away() {
    let server = Server::start(&[]).await;
    let process = Process::start(&server, SHORT);
    server.stop_signal();
    for _ in 0..5 {
        process.fail(Code::ProviderError).await;
    }
    assert_ne!(process.view().state, BreakerState::Closed);
    process.sees(BreakerState::HalfOpen).await;
    process.gate().admit().await.unwrap().succeeded(Usage::default());
    process.sees(BreakerState::Closed).await;
    server.cont_signal();
    process.end().await;
}

fn cost(prompt: u64) -> Cost {
    Cost { prompt, longest_answer: 1_000 }
}

fn ten_thousand_tokens(settings: &mut Settings) {
    settings.model.tokens_per_minute = Some(10_000);
}

#[tokio::test]
async fn processes_spend_one_budget_and_what_is_not_used_is_everybodys_again() {
    let server = Server::start(&[]).await;
    let here = Process::start_with(&server, SHORT, ten_thousand_tokens);
    let there = Process::start_with(&server, SHORT, ten_thousand_tokens);
    let reserved = here.gate().reserve(cost(5_000), Duration::ZERO).await.unwrap();
    let refused = there.gate().reserve(cost(5_000), Duration::ZERO).await.err().unwrap();
    assert_eq!(refused.code, Code::BudgetExhausted);
    assert!(refused.retry_after.is_some_and(|wait| wait > Duration::from_secs(10)), "{refused:?}");
    assert!(timeout(A_WHILE, there.passes().passes(8)).await.is_err(), "nothing is fetched that can't be paid");
    let never = there.gate().reserve(cost(9_000), Duration::from_mins(10)).await.err().unwrap();
    assert_eq!(never.code, Code::LargerThanBudget);
    let place = here.gate().enter(Duration::ZERO).await.unwrap();
    let ticket = here.gate().admit().await.unwrap().with(reserved, place, Spent::default());
    let usage = Usage { prompt_tokens: 900, completion_tokens: 100, total_tokens: 1_000 };
    ticket.succeeded(usage);
    eventually(async || there.gate().reserve(cost(5_000), Duration::ZERO).await.ok()).await;
    here.end().await;
    there.end().await;
}

#[tokio::test]
async fn jobs_are_fetched_only_as_far_as_they_can_be_paid_and_what_they_do_not_spend_comes_back() {
    let server = Server::start(&[]).await;
    let process = Process::start_with(&server, SHORT, ten_thousand_tokens);
    // What nobody has seen yet is taken to be a full context and a full answer: more than half of the budget.
    let passes = process.passes().passes(8).await;
    assert_eq!(passes.len(), 1);
    assert!(timeout(A_WHILE, process.passes().passes(8)).await.is_err());
    drop(passes);
    let again = process.passes().passes(8).await;
    assert_eq!(again.len(), 1);
    // The job's call takes what was put aside for it and gives back what it needs less.
    let small = process.gate().reserve(cost(200), Duration::ZERO).await.unwrap();
    drop(again);
    let more = process.gate().reserve(cost(7_000), Duration::ZERO).await;
    assert!(more.is_ok(), "{:?}", more.err());
    drop(small);
    process.end().await;
}

#[tokio::test]
async fn limits_that_a_reply_names_hold_for_all_processes() {
    let server = Server::start(&[]).await;
    let (here, there) = (Process::start(&server, SHORT), Process::start(&server, SHORT));
    assert_eq!(there.passes().passes(8).await.len(), 8);
    here.gate().learn(RateHeaders {
        limits: RateLimits { requests: Some(60), tokens: None },
        remaining: RateLimits { requests: Some(2), tokens: None },
    });
    eventually(async || (there.passes().passes(8).await.len() == 2).then_some(())).await;
    here.end().await;
    there.end().await;
}

#[tokio::test]
async fn fewer_calls_are_under_way_after_a_refusal_for_overload() {
    let server = Server::start(&[]).await;
    let process = Process::start_with(&server, SHORT, |settings| settings.worker.chat_slots = 8);
    let reserved = process.gate().reserve(cost(5), Duration::ZERO).await.unwrap();
    let place = process.gate().enter(Duration::ZERO).await.unwrap();
    let ticket = process.gate().admit().await.unwrap().with(reserved, place, Spent::default());
    assert_eq!(ticket.failed(Failure::new(Code::ProviderOverloaded, "busy")).code, Code::ProviderOverloaded);
    process.sees(BreakerState::HalfOpen).await;
    process.gate().admit().await.unwrap().succeeded(Usage::default());
    assert_eq!(process.passes().passes(8).await.len(), 4);
    let places: Vec<_> = join_all((0..4).map(|_| process.gate().enter(Duration::ZERO))).await;
    assert!(places.iter().all(Result::is_ok));
    assert_eq!(process.gate().enter(Duration::ZERO).await.err().unwrap().code, Code::BudgetExhausted);
    process.end().await;
}

#[tokio::test]
async fn a_process_that_was_not_told_of_the_provider_shows_what_others_found() {
    let server = Server::start(&[]).await;
    let worker = Process::start(&server, LONG);
    let cells: Arc<dyn Cells> = worker.store.clone();
    let api = Gates::watching(&Settings::default(), &cells, &metrics());
    assert_eq!(api.breakers(), []);
    worker.fail(Code::ProviderUnauthorized).await;
    let shown = eventually(async || api.breakers().pop()).await;
    assert_eq!((shown.provider.as_str(), shown.state), ("openai", BreakerState::Open));
    assert_eq!(shown.code, Some(Code::ProviderUnauthorized));
    api.close().await;
    worker.end().await;
}
