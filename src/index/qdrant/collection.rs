//! The collection in Qdrant: made when first written to, with a sparse vector for words, and a dense vector for
//! each embedding model once its first vectors come.
//!
//! A dense vector is named after its model. So the collection itself says which model and dimension it holds,
//! every process reads the same, and vectors of two models can't meet. What is known of it is remembered until a
//! call fails.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use qdrant_client::{
    Qdrant, QdrantError,
    qdrant::{
        CollectionInfo, Condition, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
        CreateVectorNameRequestBuilder, DeleteVectorNameRequestBuilder, DenseVectorCreationConfigBuilder, Distance,
        FieldType, Filter, IntegerIndexParamsBuilder, KeywordIndexParamsBuilder, Modifier, ScrollPointsBuilder,
        SparseVectorParamsBuilder, SparseVectorsConfigBuilder, VectorParamsBuilder, VectorsConfigBuilder,
        payload_index_params::IndexParams, vectors_config::Config,
    },
};
use tonic::Code as Status;

use crate::domain::failure::{Code, Failure};

use super::{
    connection::{Connection, Kind},
    draft::WORDS,
    error, point,
};

/// What the name of a dense vector begins with; the model's name follows.
const DENSE: &str = "dense.";
/// What a vector's name may hold unescaped: they become folders of the server.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
/// The longest name that Qdrant gives a vector, in bytes.
const LONGEST_NAME: usize = 200;

/// What is known of the collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    /// Embedding models with their vectors' dimension.
    pub(super) models: BTreeMap<String, usize>,
    indexed: HashSet<String>,
}

impl Schema {
    fn of(info: &CollectionInfo, collection: &str) -> Result<Self, Failure> {
        let params = info.config.as_ref().and_then(|config| config.params.as_ref());
        let sparse = params.and_then(|params| params.sparse_vectors_config.as_ref()?.map.get(WORDS));
        if sparse.is_none_or(|words| words.modifier() != Modifier::Idf) {
            let message = format!(
                "the Qdrant collection `{collection}` is not one of ragq's (no sparse vector `{WORDS}` with the IDF \
                 modifier): name another one, or delete it"
            );
            return Err(Failure::new(Code::IndexMismatch, message));
        }
        let named = params.and_then(|params| params.vectors_config.as_ref()?.config.as_ref());
        let models = match named {
            Some(Config::ParamsMap(named)) => {
                let models = named.map.iter().filter_map(|(name, params)| Some((model(name)?, params.size as usize)));
                models.collect()
            }
            Some(Config::Params(_)) | None => BTreeMap::new(),
        };
        Ok(Self { models, indexed: info.payload_schema.keys().cloned().collect() })
    }

    /// Whether vectors of this model and dimension can be kept and searched.
    pub(super) fn holds(&self, model: &str, dimensions: usize) -> bool {
        self.models.get(model) == Some(&dimensions)
    }

    /// Whether nothing is missing to write a document with such vectors.
    fn is_ready(&self, embedding: Option<(&str, usize)>) -> bool {
        indexes().iter().all(|(field, ..)| self.indexed.contains(*field))
            && embedding.is_none_or(|(model, dimensions)| self.holds(model, dimensions))
    }
}

/// The name of the dense vector of a model.
pub(super) fn vector_name(model: &str) -> String {
    format!("{DENSE}{}", utf8_percent_encode(model, ESCAPED))
}

/// The model whose vectors have this name.
fn model(vector_name: &str) -> Option<String> {
    let escaped = vector_name.strip_prefix(DENSE)?;
    percent_decode_str(escaped).decode_utf8().ok().map(Cow::into_owned)
}

/// The payload fields that filters and facets go by. Only the first two are worth links of their own in the
/// graph of vectors: searches go by no other.
fn indexes() -> [(&'static str, FieldType, IndexParams); 6] {
    let keyword = || KeywordIndexParamsBuilder::default().enable_hnsw(false);
    [
        (point::TENANT, FieldType::Keyword, KeywordIndexParamsBuilder::default().is_tenant(true).into()),
        (point::COLLECTION, FieldType::Keyword, KeywordIndexParamsBuilder::default().into()),
        (point::DOCUMENT, FieldType::Keyword, keyword().into()),
        (point::CONTENT, FieldType::Keyword, keyword().into()),
        (point::LANGUAGE, FieldType::Keyword, keyword().into()),
        (point::VERSION, FieldType::Integer, IntegerIndexParamsBuilder::new(true, false).enable_hnsw(false).into()),
    ]
}

/// The collection, its schema looked up once.
pub(super) struct Collection {
    connection: Arc<Connection>,
    known: RwLock<Option<Arc<Schema>>>,
    /// One at a time changes the schema.
    preparing: tokio::sync::Mutex<()>,
}

impl Collection {
    /// Reached over this connection.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, known: RwLock::default(), preparing: tokio::sync::Mutex::default() }
    }

    /// What is known of the collection; none if there is none yet.
    pub(super) async fn schema(&self) -> Result<Option<Arc<Schema>>, Failure> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(schema) => Ok(Some(schema)),
            None => self.refresh().await,
        }
    }

    /// The same, asked anew.
    pub(super) async fn refresh(&self) -> Result<Option<Arc<Schema>>, Failure> {
        let name = self.connection.collection();
        let look_up = |client: Qdrant, name| async move { client.collection_info(name).await };
        let answer = self.connection.attempt(Kind::Read, &name, look_up).await?;
        let schema = match answer {
            Ok(answer) => {
                let info = answer.result.unwrap_or_default();
                Some(Arc::new(Schema::of(&info, name)?))
            }
            Err(error) if error::status(&error) == Some(Status::NotFound) => None,
            Err(error) => return Err(self.connection.classify(error)),
        };
        self.known.write().unwrap_or_else(PoisonError::into_inner).clone_from(&schema);
        Ok(schema)
    }

    /// Has the schema looked up anew next time: after an error it may be another.
    pub(super) fn forget(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes what is missing to write a document with vectors of this model and dimension; gives the name of its
    /// dense vector.
    pub(super) async fn prepare(&self, embedding: Option<(&str, usize)>) -> Result<Option<String>, Failure> {
        let name = embedding.map(|(model, _)| vector_name(model));
        if name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
            let message = format!("the embedding model's name is too long: {LONGEST_NAME} bytes fit, fewer if escaped");
            return Err(Failure::new(Code::IndexMismatch, message));
        }
        if self.schema().await?.is_some_and(|schema| schema.is_ready(embedding)) {
            return Ok(name);
        }
        let _turn = self.preparing.lock().await;
        let schema = if let Some(schema) = self.refresh().await? {
            schema
        } else {
            self.create(embedding).await?;
            // Whoever was first made it.
            self.refresh().await?.unwrap_or_default()
        };
        for (field, kind, params) in indexes() {
            if !schema.indexed.contains(field) {
                self.index(field, kind, &params).await?;
            }
        }
        if let Some((model, dimensions)) = embedding
            && !schema.holds(model, dimensions)
        {
            self.make_room(&schema, model, dimensions).await?;
            self.add(model, dimensions).await?;
        }
        self.refresh().await?;
        Ok(name)
    }

    async fn create(&self, embedding: Option<(&str, usize)>) -> Result<(), Failure> {
        let mut words = SparseVectorsConfigBuilder::default();
        words.add_named_vector_params(WORDS, SparseVectorParamsBuilder::default().modifier(Modifier::Idf));
        let mut dense = VectorsConfigBuilder::default();
        if let Some((model, dimensions)) = embedding {
            let params = VectorParamsBuilder::new(dimensions as u64, Distance::Cosine);
            dense.add_named_vector_params(vector_name(model), params);
        }
        let request = CreateCollectionBuilder::new(self.connection.collection())
            .vectors_config(dense)
            .sparse_vectors_config(words)
            .build();
        let Err(error) = self
            .connection
            .attempt(Kind::Write, &request, |client, request| async move { client.create_collection(request).await })
            .await?
        else {
            return Ok(());
        };
        // Another process may have been quicker, or an earlier try that seemed to fail.
        if self.refresh().await?.is_some() { Ok(()) } else { Err(self.connection.classify(error)) }
    }

    async fn index(&self, field: &str, kind: FieldType, params: &IndexParams) -> Result<(), Failure> {
        let request = CreateFieldIndexCollectionBuilder::new(self.connection.collection(), field, kind)
            .field_index_params(params.clone())
            .wait(true)
            .build();
        self.connection
            .call(Kind::Write, &request, |client, request| async move { client.create_field_index(request).await })
            .await
            .map(|_| ())
    }

    /// Refuses if vectors of another model or dimension are stored, and drops what is left of those that are not.
    async fn make_room(&self, schema: &Schema, model: &str, dimensions: usize) -> Result<(), Failure> {
        for (known, known_dimensions) in &schema.models {
            if self.stores(known, Filter::default()).await? {
                return Err(Failure::new(
                    Code::IndexMismatch,
                    format!(
                        "the index holds vectors of `{known}` with {known_dimensions} dimensions, the document has \
                         vectors of `{model}` with {dimensions}: use one embedding model, or delete the embedded \
                         documents first"
                    ),
                ));
            }
            let request = DeleteVectorNameRequestBuilder::new(self.connection.collection(), vector_name(known))
                .wait(true)
                .build();
            let delete = |client: Qdrant, request| async move { client.delete_vector_name(request).await };
            let answer = self.connection.attempt(Kind::Write, &request, delete).await?;
            self.changed(answer, |schema| !schema.models.contains_key(known)).await?;
        }
        Ok(())
    }

    async fn add(&self, model: &str, dimensions: usize) -> Result<(), Failure> {
        let config = DenseVectorCreationConfigBuilder::new(dimensions as u64, Distance::Cosine);
        let request = CreateVectorNameRequestBuilder::new(self.connection.collection(), vector_name(model), config)
            .wait(true)
            .build();
        let create = |client: Qdrant, request| async move { client.create_vector_name(request).await };
        let answer = self.connection.attempt(Kind::Write, &request, create).await?;
        self.changed(answer, |schema| schema.holds(model, dimensions)).await
    }

    /// What came of a change of the vectors that a collection has, which not every Qdrant knows. An error may hide
    /// that it was made, by an earlier try or another process: `made` looks.
    async fn changed<T: Send>(
        &self,
        answer: Result<T, QdrantError>,
        made: impl Fn(&Schema) -> bool + Send,
    ) -> Result<(), Failure> {
        let Err(error) = answer else { return Ok(()) };
        if self.refresh().await?.is_some_and(|schema| made(&schema)) {
            return Ok(());
        }
        if error::status(&error) != Some(Status::Unimplemented) {
            return Err(self.connection.classify(error));
        }
        let message = format!(
            "the Qdrant collection `{}` was made for no or other vectors, which Qdrant before 1.18 can't change: update \
             Qdrant, or name another collection and take the documents in again",
            self.connection.collection()
        );
        Err(Failure::new(Code::IndexMismatch, message).with_source(error))
    }

    /// Whether any point within `scope` has a vector of this model.
    pub(super) async fn stores(&self, model: &str, scope: Filter) -> Result<bool, Failure> {
        let mut filter = scope;
        filter.must.push(Condition::has_vector(vector_name(model)));
        let request =
            ScrollPointsBuilder::new(self.connection.collection()).filter(filter).limit(1).with_payload(false).build();
        Ok(!self
            .connection
            .call(Kind::Read, &request, |client, request| async move { client.scroll(request).await })
            .await?
            .result
            .is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_told_from_its_vectors_name_whatever_it_is_called() {
        for name in ["text-embedding-3-small", "BAAI/bge-m3", "nomic-embed-text:v1.5", "modèle \"é\"", ""] {
            let vector = vector_name(name);
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.%".contains(c);
            assert!(vector.chars().all(plain), "{vector}");
            assert_eq!(model(&vector).as_deref(), Some(name));
        }
        assert_eq!(vector_name("text-embedding-3-small"), "dense.text-embedding-3-small");
        assert_eq!(model("words"), None);
    }

    #[test]
    fn a_collection_that_ragq_did_not_make_is_refused() {
        let failure = Schema::of(&CollectionInfo::default(), "docs").unwrap_err();
        assert_eq!(failure.code, Code::IndexMismatch);
        assert!(failure.message.contains("`docs`"), "{failure}");
    }
}
