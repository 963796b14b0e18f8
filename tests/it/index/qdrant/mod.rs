//! The index in Qdrant: the contract over the small server of the test's own process, and over a real one.
//!
//! A real Qdrant is taken from `QDRANT_URL` (the gRPC address; `QDRANT_API_KEY` goes with it). Each test makes
//! a collection of its own there and deletes it. Without one the run says so.

mod faults;
mod own;
mod real;

use async_trait::async_trait;
use ragq::index::{
    PassageIndex,
    qdrant::{Options, QdrantIndex},
};

use super::contract::{Subject, contract};
use crate::support::qdrant::Server;

/// An index before a small server of its own.
struct Qdrant {
    index: QdrantIndex,
    server: Server,
}

impl Qdrant {
    fn before(server: Server) -> Self {
        Self { index: QdrantIndex::connect(Options::new(server.url())).unwrap(), server }
    }
}

#[async_trait]
impl Subject for Qdrant {
    async fn start() -> Option<Self> {
        Some(Self::before(Server::start()))
    }
    fn index(&self) -> &dyn PassageIndex {
        &self.index
    }
    async fn restart(mut self) -> Self {
        self.server.restart().await;
        Self::before(self.server)
    }
}

contract!(Qdrant);
