//! What the index in Qdrant promises beyond the contract.

use ragq::{
    domain::{answer::RetrievalMode, failure::Code},
    index::{
        IndexedDocument, PassageIndex, QuestionVector, SearchQuery,
        qdrant::{Options, QdrantIndex},
    },
};

use super::{
    super::contract::{Subject as _, document, question},
    Qdrant,
};

const COLLECTION: &str = "ragq";

pub fn embedded(id: &str, model: &str, vector: &[f32]) -> IndexedDocument {
    let mut document = document(id, 1, &["A lamp of brass."]);
    document.vectors = vec![vector.to_vec()];
    document.embedding_model = Some(model.to_owned());
    document
}

fn near(model: &str, vector: &[f32]) -> SearchQuery {
    SearchQuery { vector: Some(QuestionVector { model: model.into(), values: vector.to_vec() }), ..question("lamp") }
}

#[tokio::test]
async fn nothing_is_made_in_qdrant_before_the_first_document() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.ping().await.unwrap();
    index.search(question("lamp")).await.unwrap();
    index.remove_versions(&"acme".into(), &"a".into(), None).await.unwrap();
    assert_eq!(server.calls("create"), 0);
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    index.put(document("b", 1, &["A lamp."])).await.unwrap();
    assert_eq!(server.calls("create"), 1);
}

#[tokio::test]
async fn a_deployment_without_vectors_gets_them_later() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(document("plain", 1, &["A lamp of steel."])).await.unwrap();
    assert!(server.dense(COLLECTION).is_empty());
    index.put(embedded("rich", "vendor/model:v1", &[1.0, 0.0])).await.unwrap();
    assert_eq!(server.dense(COLLECTION), ["dense.vendor%2Fmodel%3Av1"]);
    let found = index.search(near("vendor/model:v1", &[1.0, 0.0])).await.unwrap();
    assert_eq!((found.mode, found.passages.len()), (RetrievalMode::Hybrid, 2));
}

#[tokio::test]
async fn another_process_sees_the_first_vectors_at_once() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    let other = QdrantIndex::connect(Options::new(server.url())).unwrap();
    index.put(document("plain", 1, &["A lamp of steel."])).await.unwrap();
    assert_eq!(other.search(near("m", &[1.0, 0.0])).await.unwrap().mode, RetrievalMode::Lexical);
    index.put(embedded("rich", "m", &[1.0, 0.0])).await.unwrap();
    assert_eq!(other.search(near("m", &[1.0, 0.0])).await.unwrap().mode, RetrievalMode::Hybrid);
}

#[tokio::test]
async fn a_qdrant_that_cannot_add_vectors_says_what_to_do_unless_they_came_first() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    server.be_old();
    index.put(document("plain", 1, &["A lamp of steel."])).await.unwrap();
    let failure = index.put(embedded("rich", "m", &[1.0, 0.0])).await.unwrap_err();
    assert_eq!(failure.code, Code::IndexMismatch);
    assert!(failure.message.contains("1.18"), "{failure}");
    let first = QdrantIndex::connect(Options { collection: "other".into(), ..Options::new(server.url()) }).unwrap();
    first.put(embedded("rich", "m", &[1.0, 0.0])).await.unwrap();
    assert_eq!(first.search(near("m", &[1.0, 0.0])).await.unwrap().mode, RetrievalMode::Hybrid);
}

#[tokio::test]
async fn vectors_of_an_abandoned_model_are_dropped() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(embedded("a", "first", &[1.0, 0.0])).await.unwrap();
    index.remove_versions(&"acme".into(), &"a".into(), None).await.unwrap();
    index.put(embedded("a", "second", &[1.0, 0.0, 0.0])).await.unwrap();
    assert_eq!(server.dense(COLLECTION), ["dense.second"]);
    index.remove_versions(&"acme".into(), &"a".into(), None).await.unwrap();
    index.put(embedded("a", "second", &[1.0, 0.0])).await.unwrap();
    assert_eq!(index.search(near("second", &[1.0, 0.0])).await.unwrap().mode, RetrievalMode::Hybrid);
}

#[tokio::test]
async fn the_mode_is_that_of_what_was_searched_however_few_passages_are_wanted() {
    let Qdrant { index, server: _server } = Qdrant::start().await.unwrap();
    index.put(document("plain", 1, &["A lamp of steel, a lamp."])).await.unwrap();
    let mut elsewhere = embedded("rich", "m", &[1.0, 0.0]);
    elsewhere.chunks[0].text = "A table.....here".into();
    elsewhere.text = "A table.....here".into();
    elsewhere.collection = "law".into();
    index.put(elsewhere).await.unwrap();
    let within = |collection: Option<&str>, limit| SearchQuery {
        collection: collection.map(Into::into),
        limit,
        ..near("m", &[1.0, 0.0])
    };
    for limit in [1, 2, 10] {
        assert_eq!(index.search(within(None, limit)).await.unwrap().mode, RetrievalMode::Hybrid, "{limit}");
        assert_eq!(index.search(within(Some("law"), limit)).await.unwrap().mode, RetrievalMode::Hybrid, "{limit}");
        let plain = index.search(within(Some("manuals"), limit)).await.unwrap();
        assert_eq!((plain.mode, plain.passages.len()), (RetrievalMode::Lexical, 1), "{limit}");
    }
}

#[tokio::test]
async fn a_version_that_is_there_is_not_written_again() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    let written = server.calls("upsert");
    index.put(document("a", 1, &["A lamp."])).await.unwrap();
    assert_eq!(server.calls("upsert"), written);
}

#[tokio::test]
async fn removal_leaves_no_point_of_the_document() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    let texts = vec!["A lamp of brass, and then some more about it."; 3_000];
    index.put(document("long", 1, &texts)).await.unwrap();
    assert!(server.points(COLLECTION) > 3_002, "the text is in several pieces");
    index.put(document("long", 1, &texts[..10])).await.unwrap();
    assert_eq!(server.points(COLLECTION), 11, "ten chunks and their text");
    index.remove_versions(&"acme".into(), &"long".into(), None).await.unwrap();
    assert_eq!(server.points(COLLECTION), 0);
}

#[tokio::test]
async fn a_collection_of_somebody_else_is_left_alone() {
    let Qdrant { index, server } = Qdrant::start().await.unwrap();
    let client = qdrant_client::Qdrant::from_url(&server.url()).skip_compatibility_check().build().unwrap();
    client.create_collection(qdrant_client::qdrant::CreateCollectionBuilder::new(COLLECTION)).await.unwrap();
    let failure = index.put(document("a", 1, &["A lamp."])).await.unwrap_err();
    assert_eq!(failure.code, Code::IndexMismatch);
    assert!(failure.message.contains("`ragq`"), "{failure}");
    assert_eq!((server.calls("upsert"), server.calls("create_field_index")), (0, 0));
}

#[tokio::test]
async fn a_span_that_is_not_its_text_is_refused() {
    let Qdrant { index, server: _server } = Qdrant::start().await.unwrap();
    let mut wrong = document("a", 1, &["A lamp of brass."]);
    wrong.chunks[0].end -= 1;
    assert!(index.put(wrong).await.unwrap_err().message.contains("chunk 0"));
}
