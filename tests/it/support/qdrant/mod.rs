//! A small Qdrant in the test's own process: the gRPC services over real TCP, the few calls ragq makes answered
//! as Qdrant answers them, all others refused. It is strict where Qdrant may be: a filter by a field without an
//! index is refused, as strict mode does.
//!
//! `store` holds what was written, `filter` and `rank` find it again, `services` is the wire. Faults are ordered
//! with [`Server::inject`].

mod filter;
mod rank;
mod services;
mod store;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
};

use qdrant_client::qdrant::{
    collections_server::CollectionsServer, points_server::PointsServer, qdrant_server::QdrantServer,
};
use tokio::runtime::Runtime;
use tonic::{Status, transport::server::TcpIncoming};

use store::Store;

/// What an injected fault does to a call.
#[derive(Clone)]
pub enum Fault {
    /// Answers with this status, having done nothing.
    Status(tonic::Code, &'static str),
    /// Never answers.
    Stall,
}

struct Order {
    call: &'static str,
    after: usize,
    times: usize,
    fault: Fault,
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    orders: Mutex<Vec<Order>>,
    calls: Mutex<Vec<&'static str>>,
    key: Mutex<Option<&'static str>>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// What stands before every call: the key, then the faults.
    async fn admit(&self, call: &'static str, metadata: &tonic::metadata::MetadataMap) -> Result<(), Status> {
        self.calls.lock().unwrap().push(call);
        if let Some(key) = *self.key.lock().unwrap()
            && metadata.get("api-key").and_then(|given| given.to_str().ok()) != Some(key)
        {
            return Err(Status::unauthenticated("Invalid API key or JWT"));
        }
        match self.fault(call) {
            None => Ok(()),
            Some(Fault::Status(code, message)) => Err(Status::new(code, message)),
            Some(Fault::Stall) => std::future::pending().await,
        }
    }

    fn fault(&self, call: &str) -> Option<Fault> {
        let mut orders = self.orders.lock().unwrap();
        let order = orders.iter_mut().find(|order| (order.call == call || order.call == "*") && order.times > 0)?;
        if order.after > 0 {
            order.after -= 1;
            return None;
        }
        order.times -= 1;
        Some(order.fault.clone())
    }
}

/// A running server; stops, and breaks its connections, when dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Of its own: connections end with it, as they do with a process.
    runtime: Option<Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// A server on a port of its own.
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// A server on this port.
    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let mut server = Self { shared: Arc::default(), address, runtime: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let service = || services::Service(Arc::clone(&self.shared));
        let router = tonic::transport::Server::builder()
            .add_service(PointsServer::new(service()).max_decoding_message_size(usize::MAX))
            .add_service(CollectionsServer::new(service()))
            .add_service(QdrantServer::new(service()));
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            router.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Breaks every connection and starts again on the same port, with what was stored.
    pub async fn restart(&mut self) {
        self.stop();
        let address = self.address;
        let listener = super::eventually(async move || TcpListener::bind(address).ok()).await;
        self.serve(listener);
    }

    /// Loses a collection.
    pub fn lose(&self, collection: &str) {
        self.shared.store().remove(collection);
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks for this key from now on.
    pub fn require_key(&self, key: &'static str) {
        *self.shared.key.lock().unwrap() = Some(key);
    }

    /// Has calls of this name (`*` for any) fail `times` times, once `after` were let pass.
    pub fn inject(&self, call: &'static str, after: usize, times: usize, fault: Fault) {
        self.shared.orders.lock().unwrap().push(Order { call, after, times, fault });
    }

    /// Answers as Qdrant before 1.18 does: the vectors of a collection can't be changed.
    pub fn be_old(&self) {
        for call in ["create_vector_name", "delete_vector_name"] {
            self.inject(call, 0, usize::MAX, Fault::Status(tonic::Code::Unimplemented, ""));
        }
    }

    /// How often a call of this name came in.
    pub fn calls(&self, name: &str) -> usize {
        self.shared.calls.lock().unwrap().iter().filter(|call| **call == name).count()
    }

    /// How many points a collection holds.
    pub fn points(&self, collection: &str) -> usize {
        self.shared.store().collection(collection).map_or(0, |collection| collection.points.len())
    }

    /// The names of a collection's dense vectors.
    pub fn dense(&self, collection: &str) -> Vec<String> {
        self.shared.store().collection(collection).map_or(Vec::new(), |it| it.dense.keys().cloned().collect())
    }
}
