//! What the embedded index does, on the calling thread: puts and removals; searches are in [`super::search`].
//!
//! The file comes first: what is committed there is so, and the search structures in memory follow under the
//! gate of their shelf. Whoever builds them holds the gate as well, so a change is either read from the file or
//! follows, never lost and never twice.

// A shelf is not to be mistaken for self.
#![allow(clippy::similar_names)]

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{
    domain::{
        failure::Failure,
        ids::{Collection, DocumentId, Tenant},
    },
    index::{IndexedDocument, draft},
    text::analysis::Analyzer,
};

use super::{
    dense::Dense,
    forward::{Encoder, Part},
    read,
    shelf::Shelf,
    store::{self, Draft, Row, STEP, failed},
};

/// Parts taken over into memory at a time: searches of the shelf wait that long.
const PARTS_AT_ONCE: usize = 4;

/// Documents share this many turns: few wait for another's, and many can be written at a time.
const TURNS: usize = 64;

/// The index without its asynchronous side.
#[derive(Debug)]
pub(super) struct Engine {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Reader>>,
    pub(super) shelves: RwLock<HashMap<Tenant, BTreeMap<Collection, Arc<Shelf>>>>,
    pub(super) searches: AtomicU64,
    turns: [Mutex<()>; TURNS],
}

/// What one search needs for itself: a connection and an array to add up scores in.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) scores: Vec<f32>,
}

impl Engine {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let writer = store::open(path)?;
        let mut shelves: HashMap<Tenant, BTreeMap<Collection, Arc<Shelf>>> = HashMap::new();
        for (number, tenant, collection) in read::shelves(&writer)? {
            shelves.entry(tenant).or_default().insert(collection, Arc::new(Shelf::new(number)));
        }
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            shelves: RwLock::new(shelves),
            searches: AtomicU64::new(0),
            turns: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// Folds the write-ahead log into the file and lets go of the readers.
    pub(super) fn close(&self) -> Result<(), Failure> {
        lock(&self.readers).clear();
        self.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left was rolled back as it was dropped.
        lock(&self.writer)
    }

    /// One transaction of the writer.
    fn write<R>(&self, write: impl FnOnce(&Transaction<'_>) -> Result<R, Failure>) -> Result<R, Failure> {
        let mut writer = self.writer();
        let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let result = write(&tx)?;
        tx.commit().map_err(failed)?;
        Ok(result)
    }

    /// Reads with a connection that nobody else uses meanwhile.
    pub(super) fn read<R>(&self, read: impl FnOnce(&mut Reader) -> Result<R, Failure>) -> Result<R, Failure> {
        let kept = lock(&self.readers).pop();
        let mut reader = match kept {
            Some(reader) => reader,
            None => Reader { connection: store::open_reader(&self.path)?, scores: Vec::new() },
        };
        let result = read(&mut reader);
        lock(&self.readers).push(reader);
        result
    }

    /// Stores one version of a document; it is on disk when this returns.
    pub(super) fn put(&self, mut document: IndexedDocument) -> Result<(), Failure> {
        draft::check(&mut document)?;
        let _turn = self.turn(&document.tenant, &document.document_id);
        let shelf = self.shelf(&document.tenant, &document.collection)?;
        let analyzer = Analyzer::for_text(&document.text);
        let digest = draft::digest(&document);
        let draft = Draft { document: &document, shelf: shelf.number, language: analyzer.language(), digest };
        let mut encoder = Encoder::new(analyzer, &document.title);
        let mut encode = |part: usize| {
            let chunks = document.chunks.iter().skip(part * STEP).take(STEP);
            encoder.encode(chunks)
        };
        let mut terms = vec![encode(0)];
        let begin = |tx: &Transaction<'_>| {
            draft.check_embedding(tx)?;
            if draft.is_stored(tx)? {
                return Ok(None);
            }
            let number = draft.begin(tx)?;
            draft.write_part(tx, number, 0, &terms[0]).map_err(failed)?;
            Ok(Some(number))
        };
        let (number, replaced) = if draft.parts() == 1 {
            let written = self.write(|tx| match begin(tx)? {
                Some(number) => Ok(Some((number, draft.publish(tx, number)?))),
                None => Ok(None),
            })?;
            let Some(written) = written else { return Ok(()) };
            written
        } else {
            let Some(number) = self.write(begin)? else { return Ok(()) };
            let mut rest = || {
                for part in 1..draft.parts() {
                    terms.push(encode(part));
                    self.write(|tx| draft.write_part(tx, number, part, &terms[part]).map_err(failed))?;
                }
                self.write(|tx| draft.publish(tx, number))
            };
            let replaced = rest().inspect_err(|_| {
                if let Err(second) = self.erase(number) {
                    // Nobody sees it, and the next opening clears it.
                    tracing::warn!(error = &second as &dyn Error, "half a document stays in the index");
                }
            })?;
            (number, replaced)
        };
        // The file holds the document now and putting it again changes nothing: search structures that missed
        // it would miss it for good, so they are built anew.
        self.take_in(&shelf, &draft, number, &terms).inspect_err(|_| shelf.forget())?;
        self.take_out(&replaced)
    }

    /// Removes every version of a document but `keep`.
    pub(super) fn remove(&self, tenant: &Tenant, id: &DocumentId, keep: Option<u64>) -> Result<(), Failure> {
        let _turn = self.turn(tenant, id);
        let hidden = self.write(|tx| store::hide(tx, tenant, id, keep).map_err(failed))?;
        self.take_out(&hidden)
    }

    /// One change of a document at a time. A put goes on to its end though its job was cancelled or timed out:
    /// a removal must come after it, or what it was to remove would be stored behind its back.
    fn turn(&self, tenant: &Tenant, id: &DocumentId) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (tenant, id).hash(&mut hasher);
        lock(&self.turns[(hasher.finish() % TURNS as u64) as usize])
    }

    fn shelf(&self, tenant: &Tenant, collection: &Collection) -> Result<Arc<Shelf>, Failure> {
        let known = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = known.get(tenant).and_then(|shelves| shelves.get(collection)) {
            return Ok(Arc::clone(shelf));
        }
        drop(known);
        let number = self.write(|tx| store::shelf(tx, tenant, collection).map_err(failed))?;
        let mut known = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        let shelves = known.entry(tenant.clone()).or_default();
        Ok(Arc::clone(shelves.entry(collection.clone()).or_insert_with(|| Arc::new(Shelf::new(number)))))
    }

    /// Lets the search structures follow a document that was just published, where they are built.
    fn take_in(&self, shelf: &Shelf, draft: &Draft<'_>, number: i64, terms: &[Vec<u8>]) -> Result<(), Failure> {
        let gate = shelf.gate();
        if !self.read(|reader| read::is_seen(&reader.connection, number))? {
            return Ok(());
        }
        let chunks = draft.document.chunks.len() as u32;
        let absent = shelf.change_lexical(&gate, |lexical| {
            let absent = !lexical.contains(number);
            if absent {
                lexical.add(number, chunks);
            }
            absent
        });
        if absent == Some(true) {
            for some in terms.chunks(PARTS_AT_ONCE) {
                let parts: Vec<Part<'_>> = some.iter().filter_map(|bytes| Part::decode(bytes)).collect();
                shelf.change_lexical(&gate, |lexical| {
                    // They were written a moment ago: never damaged.
                    parts.iter().try_for_each(|part| lexical.fill(draft.language, part))
                });
            }
            shelf.change_lexical(&gate, super::lexical::Lexical::reveal);
        }
        if let Some((_, dimensions)) = draft.embedding() {
            shelf.change_dense(&gate, |dense| {
                if dense.is_empty() {
                    *dense = Dense::new(dimensions);
                }
                if !dense.contains(number) {
                    dense.add(number, draft.document.vectors.iter());
                }
            });
        }
        Ok(())
    }

    /// Lets the search structures forget hidden documents, then erases these from the file.
    fn take_out(&self, hidden: &[Row]) -> Result<(), Failure> {
        for row in hidden {
            if let Some(shelf) = self.shelf_numbered(row.shelf) {
                let gate = shelf.gate();
                shelf.change_dense(&gate, |dense| dense.remove(row.document));
                if shelf.change_lexical(&gate, |lexical| lexical.remove(row.document)) == Some(true) {
                    let terms = self.read(|reader| read::terms_of(&mut reader.connection, row))?;
                    for part in terms.iter().filter_map(|bytes| Part::decode(bytes)) {
                        shelf.change_lexical(&gate, |lexical| lexical.discount(row.language, &part));
                    }
                }
            }
            self.erase(row.document)?;
        }
        Ok(())
    }

    fn shelf_numbered(&self, number: i64) -> Option<Arc<Shelf>> {
        let known = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        known.values().flat_map(BTreeMap::values).find(|shelf| shelf.number == number).map(Arc::clone)
    }

    /// The writer is lent anew for each step, so that others get their turn.
    fn erase(&self, number: i64) -> Result<(), Failure> {
        while store::erase_some(&mut self.writer(), number)? {}
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
