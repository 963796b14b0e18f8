//! What becomes of spans: how many were sent, how many lost, and that no more wait than there is room for.
//!
//! The SDK drops what finds its queue full and keeps to itself how much that is; here the room is as large as its queue
//! and given out before it, so that what is dropped is dropped here, and counted. The figures are of the whole process,
//! as the exporter is; metrics read them when they are asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

static SENT: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many spans this process has sent to its collector, and how many were lost on the way.
pub fn sent_and_lost() -> (u64, u64) {
    (SENT.load(Relaxed), LOST.load(Relaxed))
}

/// Room for spans that wait to be sent.
#[derive(Clone, Debug)]
pub(super) struct Room {
    waiting: Arc<AtomicUsize>,
    most: usize,
}

impl Room {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: Arc::default(), most }
    }

    /// Takes room for one span; without any the span is lost.
    fn take(&self) -> bool {
        let has = self.waiting.fetch_add(1, Relaxed) < self.most;
        if !has {
            self.waiting.fetch_sub(1, Relaxed);
            LOST.fetch_add(1, Relaxed);
        }
        has
    }

    /// Gives back the room of so many spans, which are sent now.
    pub(super) fn leave(&self, count: usize) {
        self.waiting.fetch_sub(count, Relaxed);
    }
}

/// Counts spans whose sending ended.
pub(super) fn ended(count: usize, sent: bool) {
    let tally = if sent { &SENT } else { &LOST };
    tally.fetch_add(count as u64, Relaxed);
}

/// Hands on what there is room for.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    pub(super) processor: P,
    pub(super) room: Room,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.room.take() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_lost_and_room_that_is_left_is_taken_again() {
        let room = Room::new(2);
        let lost = || sent_and_lost().1;
        let before = lost();
        assert_eq!([room.take(), room.take(), room.take(), room.take()], [true, true, false, false]);
        assert_eq!(lost(), before + 2);
        room.leave(1);
        assert_eq!([room.take(), room.take()], [true, false]);
        assert_eq!(lost(), before + 3);
    }
}
