//! Fetches whose answer is lost for longer than anybody waits for it: what they handed over is worked on all the same,
//! whatever the gate before the provider does meanwhile.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::{BoxFuture, ready};
use ragq::{
    config::Settings,
    domain::{
        document::DocumentCommit,
        failure::{Code, Failure},
        ids::{JobId, WorkerId},
        job::{Delivery, JobView, Kind, NewJob, Status},
        spent::Spent,
    },
    gate::{Gate, Gates, Ticket},
    queue::{
        Cells, Deliveries as _, Finish, Operations as _, SharedJobStore,
        redis::{
            RedisJobStore, RedisOptions,
            link::{Link, LinkOptions},
        },
    },
    rag::Halt,
    resilience::{breaker::BreakerState, decision::RetryPolicy},
    telemetry::metrics::{Metrics, Scope, Sets},
    worker::{Handler, KindSettings, Stop, Worker, WorkerSettings},
};
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    queue::{
        contract::{chat, delete, submit, view},
        redis_server::{link_options, link_to},
    },
    support::{eventually, proxy::Proxy, redis::Server},
};

const FOR_EVER: Duration = Duration::from_hours(1);

/// Is done with everything at once.
struct Done;

impl Handler for Done {
    fn handle<'a>(&'a self, delivery: &'a Delivery, _: &'a Spent) -> BoxFuture<'a, Result<Finish, Halt>> {
        let document = delivery.document.as_ref().map(|_| DocumentCommit::Deleted);
        Box::pin(ready(Ok(Finish::Completed { result: json!({}), document, turn: None })))
    }
}

/// The gates of a process that reaches the queue at all times.
struct Provider {
    gates: Gates,
    store: Arc<RedisJobStore>,
}

impl Provider {
    fn start(server: &Server, pause: Duration) -> Self {
        let mut settings = Settings::default();
        settings.model.base_url = Some("http://127.0.0.1:1/v1".into());
        settings.embedding.model = Some("vectors".into());
        settings.breaker.pause_ms = pause.as_millis() as u64;
        settings.breaker.longest_pause_ms = pause.as_millis() as u64;
        let options = RedisOptions::default();
        let store = Arc::new(RedisJobStore::new(link_to(&server.url(), &options), options));
        let cells: Arc<dyn Cells> = store.clone();
        Self { gates: Gates::open(&settings, &cells, &metrics()), store }
    }

    fn gate(&self, kind: Kind) -> &Arc<Gate> {
        if kind == Kind::Ingest { self.gates.embeddings().unwrap() } else { &self.gates.chat()[0] }
    }

    /// Has it left alone.
    async fn close(&self, kind: Kind) {
        let ticket = eventually(async || self.gate(kind).admit().await.ok()).await;
        ticket.failed(Failure::new(Code::QuotaExhausted, "nothing is left"));
    }

    /// The call that finds out whether it is well again: nobody else is let through before it has.
    async fn probe(&self, kind: Kind) -> Ticket {
        eventually(async || self.gate(kind).admit().await.ok()).await
    }

    async fn sees(&self, kind: Kind, state: BreakerState) {
        eventually(async || (self.gate(kind).view().state == state).then_some(())).await;
    }

    async fn end(self) {
        self.gates.close().await;
        self.store.close().await;
    }
}

fn metrics() -> Metrics {
    Metrics::new(Scope::Process, Sets::default()).unwrap()
}

/// A worker of one kind that reaches the queue through a proxy, and gives up on an answer soon.
struct Working {
    store: Arc<RedisJobStore>,
    stop: Stop,
    parts: JoinSet<()>,
}

impl Working {
    async fn start(proxy: &Proxy, kind: Kind, provider: &Provider) -> Self {
        // It beats once: the proxy passes on one command after the other, and what is not answered holds up the rest.
        let options = RedisOptions { lease: FOR_EVER, ..RedisOptions::default() };
        let link = LinkOptions {
            // Longer than a gate takes to turn.
            response_timeout: Duration::from_secs(1),
            patience: Duration::from_millis(100),
            ..link_options(&proxy.url(), &options)
        };
        let store = Arc::new(RedisJobStore::new(Link::new(link).unwrap(), options));
        let shared: SharedJobStore = store.clone();
        let settings = WorkerSettings {
            name: "test".to_owned(),
            kinds: HashMap::from([(kind, KindSettings { slots: 4, timeout: Duration::from_mins(1) })]),
            heartbeat: FOR_EVER,
            policy: RetryPolicy::new(Duration::from_millis(5), Duration::from_millis(20)),
        };
        let worker = Worker::new(shared, Arc::new(Done), settings, Arc::new(Notify::new()), metrics())
            .behind(HashMap::from([(kind, provider.gates.of(kind))]));
        let (mut parts, stop) = (JoinSet::new(), Stop::default());
        let order = stop.clone();
        parts.spawn(async move { worker.run(order).await.unwrap() });
        // From here on the server has the script, so that a fetch is one call.
        assert!(provider.store.fetch(&WorkerId::boot("nobody"), kind, 1).await.unwrap().is_empty());
        eventually(async || (!provider.store.stats().await.unwrap().workers.is_empty()).then_some(())).await;
        Self { store, stop, parts }
    }

    async fn end(mut self) {
        self.stop.drain.cancel();
        self.parts.join_next().await.unwrap().unwrap();
        self.store.close().await;
    }
}

async fn reaches(store: &RedisJobStore, id: JobId, status: Status) -> JobView {
    eventually(async || Some(view(store, id).await).filter(|view| view.status == status)).await
}

/// Submits a job whose delivery is not heard of before `let_go`.
async fn handed_over_unheard(provider: &Provider, job: NewJob, proxy: &Proxy, let_go: impl FnOnce()) -> JobId {
    proxy.delay(FOR_EVER);
    let id = submit(&*provider.store, job).await;
    let_go();
    reaches(&provider.store, id, Status::Running).await;
    // That answer is lost for good, those that follow are heard.
    proxy.delay(Duration::ZERO);
    id
}

#[tokio::test]
async fn a_deletion_handed_over_unheard_is_carried_out_though_its_provider_is_called_again_meanwhile() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let provider = Provider::start(&server, Duration::from_millis(50));
    provider.close(Kind::Ingest).await;
    let mut probe = provider.probe(Kind::Ingest).await;
    let working = Working::start(&proxy, Kind::Ingest, &provider).await;
    let id = handed_over_unheard(&provider, delete("d"), &proxy, || ()).await;
    probe.spoke();
    provider.sees(Kind::Ingest, BreakerState::Closed).await;
    assert_eq!(reaches(&provider.store, id, Status::Completed).await.deliveries, 1);
    working.end().await;
    provider.end().await;
}

#[tokio::test]
async fn a_job_handed_over_unheard_is_done_though_its_provider_is_left_alone_meanwhile() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let provider = Provider::start(&server, Duration::from_millis(50));
    let other = Provider::start(&server, FOR_EVER);
    provider.close(Kind::Chat).await;
    let mut probe = provider.probe(Kind::Chat).await;
    let working = Working::start(&proxy, Kind::Chat, &provider).await;
    let id = handed_over_unheard(&provider, chat("q"), &proxy, || probe.spoke()).await;
    other.sees(Kind::Chat, BreakerState::Closed).await;
    other.close(Kind::Chat).await;
    provider.sees(Kind::Chat, BreakerState::Open).await;
    assert_eq!(reaches(&provider.store, id, Status::Completed).await.deliveries, 1);
    provider.sees(Kind::Chat, BreakerState::Open).await;
    working.end().await;
    for process in [provider, other] {
        process.end().await;
    }
}
