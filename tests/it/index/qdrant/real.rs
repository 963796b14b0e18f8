//! The contract over a real Qdrant, if there is one.

use std::io::Write as _;

use async_trait::async_trait;
use ragq::index::{
    PassageIndex,
    qdrant::{Options, QdrantIndex},
};

use super::super::contract::{Subject, contract};

/// An index in a collection of its own, which goes with it.
struct Real {
    index: QdrantIndex,
    collection: Collection,
}

struct Collection(Options);

impl Drop for Collection {
    fn drop(&mut self) {
        let options = self.0.clone();
        // A runtime can't be waited for inside another.
        let delete = move || {
            let client = qdrant_client::Qdrant::from_url(&options.url)
                .api_key(options.api_key.map(|key| key.expose().to_owned()))
                .skip_compatibility_check()
                .build()
                .unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(client.delete_collection(&options.collection)).unwrap();
        };
        let deleted = std::thread::spawn(delete).join();
        assert!(deleted.is_ok() || std::thread::panicking(), "the collection could not be deleted");
    }
}

fn options() -> Option<Options> {
    let url = std::env::var("QDRANT_URL").ok()?;
    let api_key = std::env::var("QDRANT_API_KEY").ok().map(|key| key.as_str().into());
    let collection = format!("ragq-test-{}", ulid::Ulid::generate());
    Some(Options { api_key, collection, ..Options::new(url) })
}

#[async_trait]
impl Subject for Real {
    async fn start() -> Option<Self> {
        let options = options()?;
        Some(Self { index: QdrantIndex::connect(options.clone()).unwrap(), collection: Collection(options) })
    }
    fn index(&self) -> &dyn PassageIndex {
        &self.index
    }
    async fn restart(self) -> Self {
        Self { index: QdrantIndex::connect(self.collection.0.clone()).unwrap(), collection: self.collection }
    }
}

contract!(Real);

#[test]
fn a_run_without_a_real_qdrant_says_so() {
    if options().is_none() {
        // Not `eprintln!`, whose output is kept from who runs the tests.
        writeln!(std::io::stderr(), "real Qdrant: not run (set QDRANT_URL to the gRPC address of one)").unwrap();
    }
}
