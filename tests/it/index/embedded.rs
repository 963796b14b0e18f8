//! The embedded index: the contract, and what is its own (the file, closing, what a crash leaves).

use async_trait::async_trait;
use ragq::{
    domain::failure::Code,
    index::{PassageIndex, embedded::EmbeddedIndex},
};

use super::contract::{Subject, contract, document, question};

struct Embedded {
    index: EmbeddedIndex,
    folder: tempfile::TempDir,
}

impl Embedded {
    fn fresh() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(folder: tempfile::TempDir) -> Self {
        Self { index: EmbeddedIndex::open(&folder.path().join("index.db")).unwrap(), folder }
    }
}

#[async_trait]
impl Subject for Embedded {
    async fn start() -> Option<Self> {
        Some(Self::fresh())
    }
    fn index(&self) -> &dyn PassageIndex {
        &self.index
    }
    async fn restart(self) -> Self {
        self.index.close().await.unwrap();
        Self::open(self.folder)
    }
}

contract!(Embedded);

#[tokio::test]
async fn a_closed_index_refuses_and_closing_twice_is_fine() {
    let subject = Embedded::fresh();
    subject.index.close().await.unwrap();
    subject.index.close().await.unwrap();
    let failure = subject.index.search(question("lamp")).await.unwrap_err();
    assert_eq!(failure.code, Code::IndexUnavailable);
}

/// A copy of the files as they lie there while the index is open is what a power cut leaves.
#[tokio::test]
async fn an_acknowledged_put_survives_without_a_close() {
    let subject = Embedded::fresh();
    subject.index.put(document("a", 1, &["A lamp of brass."])).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["index.db", "index.db-wal"] {
        std::fs::copy(subject.folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let copy = Embedded::open(copy);
    assert_eq!(copy.index.search(question("lamp")).await.unwrap().passages.len(), 1);
}

#[tokio::test]
async fn what_a_crash_left_half_written_or_half_removed_is_cleared_at_the_next_opening() {
    let subject = Embedded::fresh();
    for id in ["whole", "written", "removed"] {
        subject.index.put(document(id, 1, &["A lamp of brass."])).await.unwrap();
    }
    subject.index.close().await.unwrap();
    let file = rusqlite::Connection::open(subject.folder.path().join("index.db")).unwrap();
    file.execute("UPDATE documents SET state = 0 WHERE id = 'written'", []).unwrap();
    file.execute("UPDATE documents SET state = 2 WHERE id = 'removed'", []).unwrap();
    drop(file);
    let subject = Embedded::open(subject.folder);
    let found = subject.index.search(question("lamp")).await.unwrap().passages;
    assert_eq!(found.iter().map(|passage| passage.document_id.as_str()).collect::<Vec<_>>(), ["whole"]);
    let file = rusqlite::Connection::open(subject.folder.path().join("index.db")).unwrap();
    for table in ["documents", "texts", "chunks", "terms"] {
        let rows: i64 = file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "{table}");
    }
}

#[tokio::test]
async fn removal_leaves_no_row_of_the_document() {
    let subject = Embedded::fresh();
    let texts = vec!["A lamp of brass."; 600];
    subject.index.put(document("long", 1, &texts)).await.unwrap();
    subject.index.remove_versions(&"acme".into(), &"long".into(), None).await.unwrap();
    let file = rusqlite::Connection::open(subject.folder.path().join("index.db")).unwrap();
    for table in ["documents", "texts", "chunks", "terms"] {
        let rows: i64 = file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn what_is_left_is_found_after_most_was_removed() {
    let subject = Embedded::fresh();
    subject.index.put(document("few", 1, &["A lamp of brass."])).await.unwrap();
    let many = vec!["A lamp."; 4_200];
    subject.index.put(document("many", 1, &many)).await.unwrap();
    assert_eq!(subject.index.search(question("lamp")).await.unwrap().passages.len(), 10);
    subject.index.remove_versions(&"acme".into(), &"many".into(), None).await.unwrap();
    subject.index.put(document("new", 1, &["A lamp of steel."])).await.unwrap();
    let found = subject.index.search(question("lamp")).await.unwrap().passages;
    assert_eq!(found.iter().map(|passage| passage.document_id.as_str()).collect::<Vec<_>>(), ["few", "new"]);
}

#[tokio::test]
async fn terms_of_an_older_analysis_are_made_anew() {
    let subject = Embedded::fresh();
    subject.index.put(document("a", 1, &["A lamp of brass."])).await.unwrap();
    subject.index.close().await.unwrap();
    let file = rusqlite::Connection::open(subject.folder.path().join("index.db")).unwrap();
    file.execute("UPDATE terms SET bytes = x'0100'", []).unwrap();
    file.execute("UPDATE documents SET analysis = 0", []).unwrap();
    drop(file);
    let subject = Embedded::open(subject.folder);
    assert_eq!(subject.index.search(question("lamps")).await.unwrap().passages.len(), 1);
}

#[tokio::test]
async fn a_file_of_another_format_is_refused_and_one_that_is_no_index_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let failure = EmbeddedIndex::open(&path).unwrap_err();
    assert_eq!(failure.code, Code::IndexUnavailable);
    assert!(failure.message.contains("99"), "{failure}");
    let path = folder.path().join("note.db");
    std::fs::write(&path, "This is no database, but a note of more than a few words.".repeat(20)).unwrap();
    assert!(EmbeddedIndex::open(&path).unwrap_err().message.contains("damaged"));
}

#[tokio::test]
async fn a_span_that_is_not_its_text_is_refused() {
    let subject = Embedded::fresh();
    let mut wrong = document("a", 1, &["A lamp of brass."]);
    wrong.chunks[0].end -= 1;
    assert!(subject.index.put(wrong).await.unwrap_err().message.contains("chunk 0"));
}
