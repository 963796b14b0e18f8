//! A shelf: one tenant's collection, with its search structures, built when first asked for.
//!
//! Because every shelf has its own, a search never touches what belongs to another tenant or collection.

// A shelf is not to be mistaken for self.
#![allow(clippy::similar_names)]

use std::sync::{
    Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::domain::failure::Failure;

use super::{dense::Dense, lexical::Lexical};

/// One collection of one tenant.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Its number in the tables.
    pub(super) number: i64,
    gate: Mutex<()>,
    lexical: Built<Lexical>,
    dense: Built<Dense>,
    used: AtomicU64,
}

/// Held while search structures are built or follow the file: one at a time.
pub(super) type Gate<'s> = MutexGuard<'s, ()>;

impl Shelf {
    /// A shelf of which nothing is built.
    pub(super) fn new(number: i64) -> Self {
        let (lexical, dense) = (Built::default(), Built::default());
        Self { number, gate: Mutex::new(()), lexical, dense, used: AtomicU64::new(0) }
    }

    /// Waits until nobody else changes or builds the shelf.
    pub(super) fn gate(&self) -> Gate<'_> {
        // It guards no data of its own.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the inverted lists, building them first if need be.
    pub(super) fn lexical<R>(
        &self,
        build: impl FnOnce() -> Result<Lexical, Failure>,
        read: impl FnOnce(&Lexical) -> R,
    ) -> Result<R, Failure> {
        self.lexical.read(self, build, read, Lexical::memory)
    }

    /// Reads the vectors, building them first if need be.
    pub(super) fn dense<R>(
        &self,
        build: impl FnOnce() -> Result<Dense, Failure>,
        read: impl FnOnce(&Dense) -> R,
    ) -> Result<R, Failure> {
        self.dense.read(self, build, read, Dense::memory)
    }

    /// Changes the inverted lists, if built; if they are worn then, they are dropped, to be built when asked for.
    pub(super) fn change_lexical<R>(&self, _: &Gate<'_>, change: impl FnOnce(&mut Lexical) -> R) -> Option<R> {
        self.lexical.change(change, Lexical::is_worn, Lexical::memory)
    }

    /// Changes the vectors, if built, in the same way.
    pub(super) fn change_dense<R>(&self, _: &Gate<'_>, change: impl FnOnce(&mut Dense) -> R) -> Option<R> {
        self.dense.change(change, Dense::is_worn, Dense::memory)
    }

    /// Drops what is built.
    pub(super) fn forget(&self) {
        let _gate = self.gate();
        self.lexical.set(None, Lexical::memory);
        self.dense.set(None, Dense::memory);
    }

    /// Roughly how many bytes of memory are built.
    pub(super) fn memory(&self) -> usize {
        self.lexical.memory.load(Ordering::Relaxed) + self.dense.memory.load(Ordering::Relaxed)
    }

    /// When it was last searched, in searches since the start.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes that it is searched.
    pub(super) fn touch(&self, search: u64) {
        self.used.store(search, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Built<T> {
    value: RwLock<Option<T>>,
    memory: AtomicUsize,
}

impl<T> Default for Built<T> {
    fn default() -> Self {
        Self { value: RwLock::new(None), memory: AtomicUsize::new(0) }
    }
}

impl<T> Built<T> {
    fn read<R>(
        &self,
        shelf: &Shelf,
        build: impl FnOnce() -> Result<T, Failure>,
        read: impl FnOnce(&T) -> R,
        memory: impl FnOnce(&T) -> usize,
    ) -> Result<R, Failure> {
        if let Some(value) = self.lock().as_ref() {
            return Ok(read(value));
        }
        let _gate = shelf.gate();
        // Somebody else may have built it while this waited.
        if let Some(value) = self.lock().as_ref() {
            return Ok(read(value));
        }
        let value = build()?;
        let result = read(&value);
        self.set(Some(value), memory);
        Ok(result)
    }

    fn change<R>(
        &self,
        change: impl FnOnce(&mut T) -> R,
        is_worn: impl FnOnce(&T) -> bool,
        memory: impl FnOnce(&T) -> usize,
    ) -> Option<R> {
        let mut guard = self.value.write().unwrap_or_else(PoisonError::into_inner);
        // Taken out meanwhile, so that a panic leaves nothing half changed.
        let mut value = guard.take()?;
        let result = change(&mut value);
        *guard = (!is_worn(&value)).then_some(value);
        self.memory.store(guard.as_ref().map_or(0, memory), Ordering::Relaxed);
        Some(result)
    }

    fn set(&self, value: Option<T>, memory: impl FnOnce(&T) -> usize) {
        self.memory.store(value.as_ref().map_or(0, memory), Ordering::Relaxed);
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
    }

    fn lock(&self) -> RwLockReadGuard<'_, Option<T>> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }
}
