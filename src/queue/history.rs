//! The last hour in intervals: what each process counts beside its work, and how intervals are read.
//!
//! A process counts in memory and tells the store every few seconds, so that a job costs no more for it. What the store
//! does of its own accord (a deadline that passed, poison, cancellations) it counts itself, once for all processes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{
    clock::Timestamp,
    job::{Kind, words},
};

/// How long an interval is; also in `redis/lua/job.lua`.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// How far back the history goes.
pub const KEPT: Duration = Duration::from_hours(1);

/// How often a process tells what it counted.
const TELL_EVERY: Duration = Duration::from_secs(5);

words! {
    /// What happens to jobs.
    Flow {
        /// Accepted.
        Submitted = "submitted",
        /// Ended with a result.
        Completed = "completed",
        /// Became a dead letter.
        Dead = "dead",
        /// Called off.
        Cancelled = "cancelled",
        /// Put back, an attempt used.
        Retried = "retried",
        /// Put back, no attempt used.
        Deferred = "deferred",
    }
}

words! {
    /// How long something of a job took.
    Span {
        /// From when it was queued to its delivery.
        Wait = "wait",
        /// One delivery.
        Run = "run",
    }
}

/// Steps of a spread: quarters of a doubling, from 1 ms to two hours and more.
const STEPS: usize = 96;

/// The step of a spread that a time belongs to.
fn step(time: Duration) -> usize {
    let millis = (time.as_secs_f64() * 1_000.0).max(1.0);
    ((4.0 * millis.log2()) as usize).min(STEPS - 1)
}

/// The middle of a step, in milliseconds.
fn middle(step: usize) -> u64 {
    2_f64.powf((step as f64 + 0.5) / 4.0).round() as u64
}

/// What one process counts between two tellings.
#[derive(Debug)]
pub struct Counts {
    flows: [[AtomicU64; Flow::ALL.len()]; Kind::ALL.len()],
    spans: Box<[[[AtomicU64; STEPS]; Span::ALL.len()]; Kind::ALL.len()]>,
}

impl Default for Counts {
    fn default() -> Self {
        let none = |_| std::array::from_fn(|_| AtomicU64::new(0));
        Self { flows: Default::default(), spans: Box::new(std::array::from_fn(|_| std::array::from_fn(none))) }
    }
}

impl Counts {
    /// Something happened to a job.
    pub fn count(&self, kind: Kind, flow: Flow) {
        self.flows[kind as usize][flow as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Something of a job took this long.
    pub fn took(&self, kind: Kind, span: Span, time: Duration) {
        self.spans[kind as usize][span as usize][step(time)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted since this was last asked, as stores keep it: name and count.
    pub fn take(&self) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        for kind in Kind::ALL {
            let counts = &self.flows[*kind as usize];
            taken.extend(Flow::ALL.iter().map(|flow| {
                let count = counts[*flow as usize].swap(0, Ordering::Relaxed);
                (flow_name(*kind, *flow), count)
            }));
            for span in Span::ALL {
                let counts = self.spans[*kind as usize][*span as usize].iter().enumerate();
                taken.extend(counts.filter_map(|(step, count)| {
                    let count = count.swap(0, Ordering::Relaxed);
                    (count > 0).then(|| (format!("{kind}:{span}:{step}"), count))
                }));
            }
        }
        taken.retain(|(_, count)| *count > 0);
        taken
    }

    /// Takes back what could not be told.
    pub fn give_back(&self, counts: &[(String, u64)]) {
        for (name, count) in counts {
            match Name::parse(name) {
                Some(Name::Flow(kind, flow)) => {
                    self.flows[kind as usize][flow as usize].fetch_add(*count, Ordering::Relaxed);
                }
                Some(Name::Span(kind, span, step)) => {
                    self.spans[kind as usize][span as usize][step].fetch_add(*count, Ordering::Relaxed);
                }
                Some(Name::Level(..)) | None => {}
            }
        }
    }
}

/// When a process told last.
#[derive(Debug, Default)]
pub struct Told(Mutex<Option<Timestamp>>);

impl Told {
    /// Whether it is time to tell again; if so, the next time counts from now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let mut told_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not keep it silent.
        let due = told_at.is_none_or(|told_at| now < told_at || now.since(told_at) >= TELL_EVERY);
        if due {
            *told_at = Some(now);
        }
        due
    }
}

/// The name under which a store counts.
pub fn flow_name(kind: Kind, flow: Flow) -> String {
    format!("{kind}:{flow}")
}

/// A name under which a store keeps a number of an interval.
enum Name {
    Flow(Kind, Flow),
    Span(Kind, Span, usize),
    /// How many jobs were in a state that is not final.
    Level(Kind, Level),
}

#[derive(Clone, Copy)]
enum Level {
    Queued,
    Scheduled,
    Running,
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(':');
        let (kind, word) = (parts.next()?.parse().ok()?, parts.next()?);
        Some(match (word, parts.next()) {
            ("queued", None) => Self::Level(kind, Level::Queued),
            ("scheduled", None) => Self::Level(kind, Level::Scheduled),
            ("running", None) => Self::Level(kind, Level::Running),
            (word, None) => Self::Flow(kind, word.parse().ok()?),
            (word, Some(step)) => Self::Span(kind, word.parse().ok()?, step.parse().ok().filter(|step| *step < STEPS)?),
        })
    }
}

/// An interval as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInterval {
    /// When it began.
    pub at: Timestamp,
    /// Names and numbers.
    pub numbers: HashMap<String, u64>,
}

/// Half of the times were shorter than `p50`, 95 in 100 shorter than `p95`; in milliseconds, to a tenth of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
}

type Spread = BTreeMap<usize, u64>;

fn percentiles(spread: &Spread) -> Option<Percentiles> {
    let all: u64 = spread.values().sum();
    let at = |share: f64| {
        let mut left = (all as f64 * share).ceil() as u64;
        spread.iter().find_map(|(step, count)| {
            left = left.saturating_sub(*count);
            (left == 0).then(|| middle(*step))
        })
    };
    (all > 0).then_some(())?;
    Some(Percentiles { p50: at(0.5)?, p95: at(0.95)? })
}

/// What happened to the jobs of one kind, or of all, in an interval, and how many there were at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// Jobs that waited for a worker.
    pub queued: u64,
    /// Jobs that waited for their time.
    pub scheduled: u64,
    /// Jobs in flight.
    pub running: u64,
    /// Jobs accepted.
    pub submitted: u64,
    /// Jobs that ended with a result.
    pub completed: u64,
    /// Jobs that became dead letters.
    pub dead: u64,
    /// Jobs called off.
    pub cancelled: u64,
    /// Deliveries that used an attempt and are tried again.
    pub retried: u64,
    /// Deliveries put back without using an attempt.
    pub deferred: u64,
    /// From when jobs were queued to their delivery; null: there was none.
    #[schema(required)]
    pub wait_ms: Option<Percentiles>,
    /// Of one delivery; null: none ended.
    #[schema(required)]
    pub run_ms: Option<Percentiles>,
}

impl Activity {
    fn level(&mut self, level: Level) -> &mut u64 {
        match level {
            Level::Queued => &mut self.queued,
            Level::Scheduled => &mut self.scheduled,
            Level::Running => &mut self.running,
        }
    }

    fn flow(&mut self, flow: Flow) -> &mut u64 {
        match flow {
            Flow::Submitted => &mut self.submitted,
            Flow::Completed => &mut self.completed,
            Flow::Dead => &mut self.dead,
            Flow::Cancelled => &mut self.cancelled,
            Flow::Retried => &mut self.retried,
            Flow::Deferred => &mut self.deferred,
        }
    }
}

/// One interval of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryInterval {
    /// When it began.
    pub at: Timestamp,
    /// All kinds together.
    #[serde(flatten)]
    pub all: Activity,
    /// Each kind by itself.
    #[schema(value_type = BTreeMap<String, Activity>)]
    pub kinds: BTreeMap<Kind, Activity>,
}

impl HistoryInterval {
    /// An interval in which nothing was noted.
    pub fn empty(at: Timestamp) -> Self {
        let kinds = Kind::ALL.iter().map(|kind| (*kind, Activity::default())).collect();
        Self { at, all: Activity::default(), kinds }
    }

    /// Reads what a store kept; names of a newer ragq are left out.
    pub fn of(stored: &StoredInterval) -> Self {
        let mut interval = Self::empty(stored.at);
        let mut spreads: HashMap<(Option<Kind>, Span), Spread> = HashMap::new();
        for (name, number) in &stored.numbers {
            let mut both = |kind: Kind, add: &dyn Fn(&mut Activity)| {
                add(&mut interval.all);
                add(interval.kinds.entry(kind).or_default());
            };
            match Name::parse(name) {
                Some(Name::Level(kind, level)) => both(kind, &|activity| *activity.level(level) += number),
                Some(Name::Flow(kind, flow)) => both(kind, &|activity| *activity.flow(flow) += number),
                Some(Name::Span(kind, span, step)) => {
                    for whose in [None, Some(kind)] {
                        *spreads.entry((whose, span)).or_default().entry(step).or_default() += number;
                    }
                }
                None => {}
            }
        }
        for ((whose, span), spread) in spreads {
            let activity = match whose {
                None => &mut interval.all,
                Some(kind) => interval.kinds.entry(kind).or_default(),
            };
            match span {
                Span::Wait => activity.wait_ms = percentiles(&spread),
                Span::Run => activity.run_ms = percentiles(&spread),
            }
        }
        interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_told_is_told_the_next_time_and_nothing_twice() {
        let counts = Counts::default();
        counts.count(Kind::Chat, Flow::Submitted);
        counts.took(Kind::Ingest, Span::Run, Duration::from_millis(250));
        let mut taken = counts.take();
        taken.sort();
        assert_eq!(taken, [("chat:submitted".to_owned(), 1), ("ingest:run:31".to_owned(), 1)]);
        assert!(counts.take().is_empty());
        counts.give_back(&taken);
        counts.count(Kind::Chat, Flow::Submitted);
        let again: HashMap<_, _> = counts.take().into_iter().collect();
        assert_eq!((again["chat:submitted"], again["ingest:run:31"]), (2, 1));
    }

    #[test]
    fn percentiles_are_right_to_a_tenth() {
        let counts = Counts::default();
        for millis in 1..=1_000 {
            counts.took(Kind::Chat, Span::Wait, Duration::from_millis(millis));
        }
        let stored = StoredInterval { at: Timestamp(0), numbers: counts.take().into_iter().collect() };
        let interval = HistoryInterval::of(&stored);
        let Percentiles { p50, p95 } = interval.all.wait_ms.unwrap();
        assert!((450..=550).contains(&p50) && (855..=1_045).contains(&p95), "{p50} {p95}");
        assert_eq!(interval.kinds[&Kind::Chat].wait_ms, interval.all.wait_ms);
        assert_eq!((interval.all.run_ms, interval.kinds[&Kind::Ingest].wait_ms), (None, None));
    }

    #[test]
    fn very_short_and_very_long_times_have_their_place() {
        let counts = Counts::default();
        counts.took(Kind::Chat, Span::Run, Duration::ZERO);
        counts.took(Kind::Chat, Span::Run, Duration::from_hours(1_000));
        assert_eq!(counts.take().len(), 2);
    }
}
