//! What every passage index promises. An adapter joins by implementing [`Subject`] and naming itself to
//! `contract!` in a module of its own.

use async_trait::async_trait;
use ragq::{
    domain::{
        answer::{Passage, RetrievalMode},
        document::Chunk,
        failure::Code,
    },
    index::{Found, IndexedDocument, PassageIndex, QuestionVector, SearchQuery},
};

/// An adapter under test with a store that nobody else uses.
#[async_trait]
pub trait Subject: Sized {
    /// A fresh, empty index; none if this run has no store for it, which leaves the cases out.
    async fn start() -> Option<Self>;
    /// The index.
    fn index(&self) -> &dyn PassageIndex;
    /// The same store with a new index before it.
    async fn restart(self) -> Self;
}

macro_rules! cases {
    ($($name:ident)*) => {
        /// Makes a test of every case for one adapter.
        macro_rules! contract {
            ($subject:ty) => {
                $(#[tokio::test]
                async fn $name() {
                    let subject = <$subject as $crate::index::contract::Subject>::start().await;
                    if let Some(subject) = subject {
                        $crate::index::contract::$name(subject).await;
                    }
                })*
            };
        }
        pub(crate) use contract;
    };
}

cases! {
    an_empty_index_finds_nothing
    what_was_put_is_found_with_everything_about_it
    putting_twice_is_as_putting_once
    putting_a_version_again_with_other_content_replaces_it
    versions_stand_side_by_side
    removing_versions_keeps_the_one_to_keep
    removing_all_versions_leaves_nothing
    removing_what_is_not_there_is_fine
    a_tenant_never_finds_what_is_anothers
    a_collection_is_searched_alone_if_named
    words_are_found_in_any_of_their_forms
    a_word_of_the_title_or_a_heading_finds_the_chunk
    the_limit_is_kept_and_the_best_come_first
    a_vector_finds_what_no_word_does
    a_search_without_stored_vectors_says_that_it_was_lexical
    a_search_without_a_vector_is_lexical
    documents_without_vectors_are_still_found_by_a_hybrid_search
    vectors_of_another_model_are_refused_naming_both
    vectors_of_another_dimension_are_refused_naming_both
    another_model_is_welcome_once_nothing_is_left_of_the_first
    text_and_chunks_are_given_back_as_they_came
    a_document_of_many_chunks_is_whole
    a_document_without_chunks_keeps_its_text
    everything_is_there_after_a_restart
    what_was_removed_is_gone_after_a_restart
    puts_at_the_same_time_are_all_found
    a_ping_is_answered
}

/// A document whose chunks are these, parted by blank lines.
pub fn document(id: &str, version: u64, chunks: &[&str]) -> IndexedDocument {
    let mut text = String::new();
    let mut spans = Vec::new();
    for (ordinal, chunk) in (0..).zip(chunks) {
        if ordinal > 0 {
            text.push_str("\n\n");
        }
        let start = text.len();
        text.push_str(chunk);
        let (end, headings) = (text.len(), Vec::new());
        spans.push(Chunk { ordinal, start, end, headings, text: (*chunk).to_owned() });
    }
    IndexedDocument {
        tenant: "acme".into(),
        collection: "manuals".into(),
        document_id: id.into(),
        version,
        title: format!("Title of {id}"),
        source: Some(format!("{id}.md")),
        text,
        chunks: spans,
        vectors: Vec::new(),
        embedding_model: None,
    }
}

fn embedded(mut document: IndexedDocument, model: &str, vectors: &[&[f32]]) -> IndexedDocument {
    document.vectors = vectors.iter().map(|vector| vector.to_vec()).collect();
    document.embedding_model = Some(model.to_owned());
    document
}

pub fn question(text: &str) -> SearchQuery {
    SearchQuery { tenant: "acme".into(), collection: None, text: text.into(), vector: None, limit: 10 }
}

fn near(text: &str, vector: &[f32]) -> SearchQuery {
    near_by("m", text, vector)
}

fn near_by(model: &str, text: &str, vector: &[f32]) -> SearchQuery {
    let vector = QuestionVector { model: model.to_owned(), values: vector.to_vec() };
    SearchQuery { vector: Some(vector), ..question(text) }
}

async fn put(index: &dyn PassageIndex, document: IndexedDocument) {
    index.put(document).await.unwrap();
}

async fn search(index: &dyn PassageIndex, query: SearchQuery) -> Found {
    index.search(query).await.unwrap()
}

/// `document/version/chunk` of everything found, best first.
async fn found(index: &dyn PassageIndex, query: SearchQuery) -> Vec<String> {
    search(index, query).await.passages.iter().map(name).collect()
}

async fn found_sorted(index: &dyn PassageIndex, query: SearchQuery) -> Vec<String> {
    let mut names = found(index, query).await;
    names.sort();
    names
}

fn name(passage: &Passage) -> String {
    format!("{}/{}/{}", passage.document_id, passage.version, passage.chunk)
}

pub async fn an_empty_index_finds_nothing(subject: impl Subject) {
    let found = search(subject.index(), near("anything", &[1.0, 0.0])).await;
    assert_eq!(found, Found { passages: Vec::new(), mode: RetrievalMode::Lexical });
    assert_eq!(subject.index().text(&"acme".into(), &"a".into(), 1).await.unwrap(), None);
}

pub async fn what_was_put_is_found_with_everything_about_it(subject: impl Subject) {
    let mut kettle = document("kettle", 3, &["Ümläute before it.", "The kettle switches itself off."]);
    kettle.chunks[1].headings = vec!["Use".into(), "Safety".into()];
    let (start, end) = (kettle.chunks[1].start, kettle.chunks[1].end);
    put(subject.index(), kettle).await;
    let found = search(subject.index(), question("When does it switch off?")).await;
    assert_eq!(found.mode, RetrievalMode::Lexical);
    let [passage] = &found.passages[..] else { panic!("{found:?}") };
    assert!(passage.score > 0.0);
    let expected = Passage {
        document_id: "kettle".into(),
        version: 3,
        title: "Title of kettle".into(),
        source: Some("kettle.md".into()),
        collection: "manuals".into(),
        chunk: 1,
        headings: vec!["Use".into(), "Safety".into()],
        start,
        end,
        text: "The kettle switches itself off.".into(),
        score: passage.score,
    };
    assert_eq!(*passage, expected);
}

pub async fn putting_twice_is_as_putting_once(subject: impl Subject) {
    let index = subject.index();
    let lamp = || embedded(document("lamp", 1, &["A lamp shines.", "A lamp glows."]), "m", &[&[1.0, 0.0], &[0.0, 1.0]]);
    put(index, lamp()).await;
    put(index, document("other", 1, &["Something else."])).await;
    let once = search(index, near("lamp", &[1.0, 0.1])).await;
    put(index, lamp()).await;
    assert_eq!(search(index, near("lamp", &[1.0, 0.1])).await, once);
    assert_eq!(once.passages.len(), 2);
}

pub async fn putting_a_version_again_with_other_content_replaces_it(subject: impl Subject) {
    let index = subject.index();
    put(index, document("lamp", 1, &["A lamp shines.", "It is oiled."])).await;
    assert_eq!(found(index, question("shines")).await, ["lamp/1/0"]);
    put(index, document("lamp", 1, &["A lamp glows."])).await;
    assert_eq!(found(index, question("lamp")).await, ["lamp/1/0"]);
    assert!(found(index, question("shines oiled")).await.is_empty());
    assert_eq!(index.text(&"acme".into(), &"lamp".into(), 1).await.unwrap().as_deref(), Some("A lamp glows."));
}

pub async fn versions_stand_side_by_side(subject: impl Subject) {
    let index = subject.index();
    put(index, document("lamp", 1, &["A lamp of brass."])).await;
    put(index, document("lamp", 2, &["A lamp of steel."])).await;
    assert_eq!(found_sorted(index, question("lamp")).await, ["lamp/1/0", "lamp/2/0"]);
    let text = async |version| index.text(&"acme".into(), &"lamp".into(), version).await.unwrap();
    assert_eq!(text(1).await.as_deref(), Some("A lamp of brass."));
    assert_eq!(text(2).await.as_deref(), Some("A lamp of steel."));
    assert_eq!(text(3).await, None);
}

pub async fn removing_versions_keeps_the_one_to_keep(subject: impl Subject) {
    let index = subject.index();
    for version in 1..=3 {
        put(index, document("lamp", version, &["A lamp."])).await;
    }
    put(index, document("lantern", 1, &["A lamp as well."])).await;
    index.remove_versions(&"acme".into(), &"lamp".into(), Some(2)).await.unwrap();
    assert_eq!(found_sorted(index, question("lamp")).await, ["lamp/2/0", "lantern/1/0"]);
    assert_eq!(index.text(&"acme".into(), &"lamp".into(), 1).await.unwrap(), None);
    assert!(index.chunks(&"acme".into(), &"lamp".into(), 3, 0, 10).await.unwrap().is_empty());
}

pub async fn removing_all_versions_leaves_nothing(subject: impl Subject) {
    let index = subject.index();
    let lamp = |version| embedded(document("lamp", version, &["A lamp."]), "m", &[&[1.0, 0.0]]);
    put(index, lamp(1)).await;
    put(index, lamp(2)).await;
    assert_eq!(found(index, near("lamp", &[1.0, 0.0])).await.len(), 2);
    index.remove_versions(&"acme".into(), &"lamp".into(), None).await.unwrap();
    assert!(found(index, near("lamp", &[1.0, 0.0])).await.is_empty());
    put(index, lamp(3)).await;
    assert_eq!(found(index, near("lamp", &[1.0, 0.0])).await, ["lamp/3/0"]);
}

pub async fn removing_what_is_not_there_is_fine(subject: impl Subject) {
    subject.index().remove_versions(&"acme".into(), &"lamp".into(), None).await.unwrap();
    let mut others = document("lamp", 1, &["A lamp."]);
    others.tenant = "other".into();
    put(subject.index(), others).await;
    subject.index().remove_versions(&"acme".into(), &"lamp".into(), None).await.unwrap();
    let query = SearchQuery { tenant: "other".into(), ..question("lamp") };
    assert_eq!(found(subject.index(), query).await, ["lamp/1/0"]);
}

pub async fn a_tenant_never_finds_what_is_anothers(subject: impl Subject) {
    let index = subject.index();
    let secret = |tenant: &str, text: &str| {
        let mut document = embedded(document("plan", 1, &[text]), "m", &[&[1.0, 0.0]]);
        document.tenant = tenant.into();
        document
    };
    put(index, secret("acme", "The plan of acme.")).await;
    put(index, secret("rival", "The plan of the rival.")).await;
    for (tenant, text) in [("acme", "The plan of acme."), ("rival", "The plan of the rival.")] {
        let query = SearchQuery { tenant: tenant.into(), ..near("plan acme rival", &[1.0, 0.0]) };
        let texts: Vec<String> = search(index, query).await.passages.into_iter().map(|passage| passage.text).collect();
        assert_eq!(texts, [text]);
        assert_eq!(index.text(&tenant.into(), &"plan".into(), 1).await.unwrap().as_deref(), Some(text));
    }
    let nobody = SearchQuery { tenant: "nobody".into(), ..near("plan", &[1.0, 0.0]) };
    assert!(found(index, nobody).await.is_empty());
}

pub async fn a_collection_is_searched_alone_if_named(subject: impl Subject) {
    let index = subject.index();
    put(index, embedded(document("a", 1, &["A shared word."]), "m", &[&[1.0, 0.0]])).await;
    let mut law = embedded(document("b", 1, &["A shared word."]), "m", &[&[1.0, 0.0]]);
    law.collection = "law".into();
    put(index, law).await;
    let within = |collection: &str| SearchQuery { collection: Some(collection.into()), ..near("shared", &[1.0, 0.0]) };
    assert_eq!(found(index, within("manuals")).await, ["a/1/0"]);
    assert_eq!(found(index, within("law")).await, ["b/1/0"]);
    assert!(found(index, within("none")).await.is_empty());
    assert_eq!(found_sorted(index, near("shared", &[1.0, 0.0])).await, ["a/1/0", "b/1/0"]);
}

pub async fn words_are_found_in_any_of_their_forms(subject: impl Subject) {
    let index = subject.index();
    put(index, document("en", 1, &["Leases are renewed by the workers."])).await;
    assert_eq!(found(index, question("How does a worker renew its lease?")).await, ["en/1/0"]);
    assert!(found(index, question("the by are")).await.is_empty(), "stop words find nothing");
}

pub async fn a_word_of_the_title_or_a_heading_finds_the_chunk(subject: impl Subject) {
    let index = subject.index();
    let mut guide = document("guide", 1, &["Press the button twice.", "Nothing here."]);
    guide.title = "Dishwasher".into();
    guide.chunks[0].headings = vec!["Descaling".into()];
    put(index, guide).await;
    put(index, document("other", 1, &["Press another button."])).await;
    assert_eq!(found(index, question("descaling the dishwasher")).await, ["guide/1/0", "guide/1/1"]);
    assert_eq!(found(index, question("descaling")).await, ["guide/1/0"]);
}

pub async fn the_limit_is_kept_and_the_best_come_first(subject: impl Subject) {
    let index = subject.index();
    put(index, document("rare", 1, &["Zeppelin over the town.", "The town."])).await;
    for n in 0..5 {
        put(index, document(&format!("town{n}"), 1, &["The town and its people."])).await;
    }
    let query = |limit| SearchQuery { limit, ..question("zeppelin town") };
    let some = search(index, query(3)).await.passages;
    assert_eq!(some.len(), 3);
    assert_eq!(name(&some[0]), "rare/1/0");
    assert!(some.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert!(search(index, query(0)).await.passages.is_empty());
}

pub async fn a_vector_finds_what_no_word_does(subject: impl Subject) {
    let index = subject.index();
    put(index, embedded(document("auto", 1, &["An automobile needs fuel."]), "m", &[&[0.9, 0.1, 0.0]])).await;
    put(index, embedded(document("tree", 1, &["A tree needs water."]), "m", &[&[0.0, 0.1, 0.9]])).await;
    put(index, embedded(document("both", 1, &["A car on the road."]), "m", &[&[0.8, 0.3, 0.0]])).await;
    let words = found(index, question("car")).await;
    assert_eq!(words, ["both/1/0"]);
    let hybrid = search(index, near("car", &[2.0, 0.0, 0.0])).await;
    assert_eq!(hybrid.mode, RetrievalMode::Hybrid);
    assert_eq!(hybrid.passages.iter().map(name).collect::<Vec<_>>(), ["both/1/0", "auto/1/0", "tree/1/0"]);
}

pub async fn a_search_without_stored_vectors_says_that_it_was_lexical(subject: impl Subject) {
    put(subject.index(), document("a", 1, &["A word."])).await;
    let found = search(subject.index(), near("word", &[1.0, 0.0])).await;
    assert_eq!((found.mode, found.passages.len()), (RetrievalMode::Lexical, 1));
}

pub async fn a_search_without_a_vector_is_lexical(subject: impl Subject) {
    put(subject.index(), embedded(document("a", 1, &["A word."]), "m", &[&[1.0, 0.0]])).await;
    let found = search(subject.index(), question("word")).await;
    assert_eq!((found.mode, found.passages.len()), (RetrievalMode::Lexical, 1));
}

pub async fn documents_without_vectors_are_still_found_by_a_hybrid_search(subject: impl Subject) {
    let index = subject.index();
    put(index, document("plain", 1, &["A word alone."])).await;
    put(index, embedded(document("rich", 1, &["Another text."]), "m", &[&[1.0, 0.0]])).await;
    put(index, document("later", 1, &["A word later."])).await;
    let found = search(index, near("word", &[1.0, 0.0])).await;
    assert_eq!(found.mode, RetrievalMode::Hybrid);
    let mut names: Vec<String> = found.passages.iter().map(name).collect();
    names.sort();
    assert_eq!(names, ["later/1/0", "plain/1/0", "rich/1/0"]);
}

pub async fn vectors_of_another_model_are_refused_naming_both(subject: impl Subject) {
    let index = subject.index();
    put(index, embedded(document("a", 1, &["One."]), "first-model", &[&[1.0, 0.0]])).await;
    let other = embedded(document("b", 1, &["Two."]), "second-model", &[&[1.0, 0.0]]);
    let put = index.put(other).await.unwrap_err();
    let search = index.search(near_by("second-model", "one", &[1.0, 0.0])).await.unwrap_err();
    for failure in [put, search] {
        assert_eq!(failure.code, Code::IndexMismatch);
        for part in ["first-model", "second-model"] {
            assert!(failure.message.contains(part), "{failure}");
        }
    }
    assert_eq!(index.text(&"acme".into(), &"b".into(), 1).await.unwrap(), None, "nothing of it was stored");
    assert!(found(index, question("two")).await.is_empty());
}

pub async fn vectors_of_another_dimension_are_refused_naming_both(subject: impl Subject) {
    let index = subject.index();
    put(index, embedded(document("a", 1, &["One."]), "m", &[&[1.0, 0.0]])).await;
    let other = embedded(document("b", 1, &["Two."]), "m", &[&[1.0, 0.0, 0.0]]);
    let put = index.put(other).await.unwrap_err();
    let search = index.search(near("one", &[1.0, 0.0, 0.0])).await.unwrap_err();
    for failure in [put, search] {
        assert_eq!(failure.code, Code::IndexMismatch);
        assert!(failure.message.contains('2') && failure.message.contains('3'), "{failure}");
    }
}

pub async fn another_model_is_welcome_once_nothing_is_left_of_the_first(subject: impl Subject) {
    let index = subject.index();
    put(index, embedded(document("a", 1, &["One."]), "first", &[&[1.0, 0.0]])).await;
    assert_eq!(found(index, near_by("first", "", &[1.0, 0.0])).await, ["a/1/0"]);
    index.remove_versions(&"acme".into(), &"a".into(), None).await.unwrap();
    put(index, embedded(document("b", 1, &["Two."]), "second", &[&[0.0, 1.0, 0.0]])).await;
    assert_eq!(found(index, near_by("second", "", &[0.0, 1.0, 0.0])).await, ["b/1/0"]);
}

pub async fn text_and_chunks_are_given_back_as_they_came(subject: impl Subject) {
    let index = subject.index();
    let mut long = document("long", 1, &["Erster Absatz über Öl.", "Zweiter.", "Dritter – mit Strich.", "Vierter."]);
    long.chunks[2].headings = vec!["Ein \"Titel\"".into()];
    put(index, long.clone()).await;
    let text = index.text(&"acme".into(), &"long".into(), 1).await.unwrap();
    assert_eq!(text.as_deref(), Some(&*long.text));
    let some = async |from, limit| index.chunks(&"acme".into(), &"long".into(), 1, from, limit).await.unwrap();
    assert_eq!(some(0, 100).await, long.chunks);
    assert_eq!(some(1, 2).await, long.chunks[1..3]);
    assert!(some(4, 10).await.is_empty());
    assert!(some(u32::MAX, 10).await.is_empty());
    assert!(some(0, 0).await.is_empty());
}

pub async fn a_document_of_many_chunks_is_whole(subject: impl Subject) {
    let index = subject.index();
    let texts: Vec<String> =
        (0..700).map(|n| format!("Paragraph number{n} speaks of paint. {}", "é ".repeat(60))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut book = document("book", 1, &texts);
    let vectors: Vec<Vec<f32>> = (0..700).map(|n| vec![1.0, n as f32 / 700.0]).collect();
    book.vectors = vectors;
    book.embedding_model = Some("m".into());
    // Once before the first search, once after it.
    put(index, book.clone()).await;
    assert_eq!(found(index, question("number699")).await, ["book/1/699"]);
    assert_eq!(found(index, near("", &[1.0, 1.0])).await[0], "book/1/699");
    put(index, IndexedDocument { document_id: "again".into(), ..book.clone() }).await;
    assert_eq!(found_sorted(index, question("number300")).await, ["again/1/300", "book/1/300"]);
    assert_eq!(index.chunks(&"acme".into(), &"again".into(), 1, 0, 1_000).await.unwrap(), book.chunks);
    for (from, some) in (0..).step_by(7).zip(book.chunks.chunks(7)) {
        assert_eq!(index.chunks(&"acme".into(), &"again".into(), 1, from, 7).await.unwrap(), some);
    }
    assert_eq!(index.text(&"acme".into(), &"again".into(), 1).await.unwrap(), Some(book.text));
    index.remove_versions(&"acme".into(), &"book".into(), None).await.unwrap();
    assert_eq!(found(index, question("number300")).await, ["again/1/300"]);
}

pub async fn a_document_without_chunks_keeps_its_text(subject: impl Subject) {
    let mut blank = document("blank", 1, &[]);
    blank.text = "\n".into();
    put(subject.index(), blank).await;
    let text = subject.index().text(&"acme".into(), &"blank".into(), 1).await.unwrap();
    assert_eq!(text.as_deref(), Some("\n"));
    assert!(found(subject.index(), question("blank")).await.is_empty());
}

pub async fn everything_is_there_after_a_restart(subject: impl Subject) {
    let index = subject.index();
    put(index, embedded(document("a", 1, &["A lamp of brass.", "A table."]), "m", &[&[1.0, 0.0], &[0.0, 1.0]])).await;
    put(index, document("b", 1, &["A lamp of steel."])).await;
    put(index, document("b", 2, &["A lamp of glass."])).await;
    let before = search(index, near("lamp glass", &[0.5, 1.0])).await;
    let subject = subject.restart().await;
    assert_eq!(search(subject.index(), near("lamp glass", &[0.5, 1.0])).await, before);
    assert_eq!(before.passages.len(), 4);
    let other = embedded(document("c", 1, &["Two."]), "other", &[&[1.0, 0.0]]);
    assert_eq!(subject.index().put(other).await.unwrap_err().code, Code::IndexMismatch);
}

pub async fn what_was_removed_is_gone_after_a_restart(subject: impl Subject) {
    let index = subject.index();
    put(index, document("a", 1, &["A lamp of brass."])).await;
    put(index, document("b", 1, &["A lamp of steel."])).await;
    index.remove_versions(&"acme".into(), &"a".into(), None).await.unwrap();
    let subject = subject.restart().await;
    assert_eq!(found(subject.index(), question("lamp")).await, ["b/1/0"]);
}

pub async fn puts_at_the_same_time_are_all_found(subject: impl Subject) {
    let index = subject.index();
    let texts: Vec<String> = (0..20).map(|n| format!("The common word and number{n}.")).collect();
    let ids: Vec<String> = (0..20).map(|n| format!("doc{n}")).collect();
    let puts = ids.iter().zip(&texts).map(|(id, text)| put(index, document(id, 1, &[text])));
    let searches = (0..20).map(|_| search(index, question("common")));
    futures::future::join(futures::future::join_all(puts), futures::future::join_all(searches)).await;
    let all = search(index, SearchQuery { limit: 50, ..question("common") }).await;
    assert_eq!(all.passages.len(), 20);
    assert_eq!(found(index, question("number13")).await, ["doc13/1/0"]);
}

pub async fn a_ping_is_answered(subject: impl Subject) {
    subject.index().ping().await.unwrap();
}
