//! One metric with all its series: registered at once, found by the labels' values without looking anything up.
//!
//! Labels take values of closed sets only. Most sets are enums; two are known when the process starts: the routes it
//! serves and the providers it is set up for.

use std::marker::PhantomData;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label as Pair, Level, Metadata, Recorder, SharedString, Unit};

/// The closed sets that are known only when the process starts.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// What is served over HTTP: method and route template.
    pub routes: Vec<String>,
    /// The names of the providers, in order.
    pub providers: Vec<String>,
}

/// A value of a label's closed set.
pub trait Label: Copy {
    /// All values, in the order of their indices.
    fn words(sets: &Sets) -> Vec<String>;
    /// Which of them this is.
    fn index(self) -> usize;
}

/// Declares an enum whose values are a label's closed set, or makes an enum of the domain one.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// The word used in metrics.
            #[allow(dead_code, reason = "not all of them are told elsewhere")]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl Label for $name {
            fn words(_: &Sets) -> Vec<String> {
                vec![$($text.to_owned()),*]
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
    (of the domain: $($name:ty),*) => {$(
        impl Label for $name {
            fn words(_: &Sets) -> Vec<String> {
                Self::ALL.iter().map(|word| word.as_str().to_owned()).collect()
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}
pub(super) use labels;

/// The values of all labels of one series.
pub trait Labels: Copy {
    /// Of each label all its values.
    fn sets(sets: &Sets) -> Vec<Vec<String>>;
    /// Of each label which value it is.
    fn indices(self) -> [usize; 3];
}

impl Labels for () {
    fn sets(_: &Sets) -> Vec<Vec<String>> {
        Vec::new()
    }
    fn indices(self) -> [usize; 3] {
        [0; 3]
    }
}

impl<A: Label> Labels for (A,) {
    fn sets(sets: &Sets) -> Vec<Vec<String>> {
        vec![A::words(sets)]
    }
    fn indices(self) -> [usize; 3] {
        [self.0.index(), 0, 0]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn sets(sets: &Sets) -> Vec<Vec<String>> {
        vec![A::words(sets), B::words(sets)]
    }
    fn indices(self) -> [usize; 3] {
        [self.0.index(), self.1.index(), 0]
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn sets(sets: &Sets) -> Vec<Vec<String>> {
        vec![A::words(sets), B::words(sets), C::words(sets)]
    }
    fn indices(self) -> [usize; 3] {
        [self.0.index(), self.1.index(), self.2.index()]
    }
}

/// What is known of a metric before any process runs.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// What Prometheus calls its kind.
    pub kind: &'static str,
    /// What it is.
    pub help: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Of each label all its values.
    pub sets: fn(&Sets) -> Vec<Vec<String>>,
    /// Upper bounds of a histogram's buckets; of others none.
    pub buckets: &'static [f64],
}

/// A kind of metric and how one series of it is made.
pub trait Form {
    /// What values are recorded with.
    type Handle;
    /// What Prometheus calls it.
    const KIND: &'static str;
    /// Upper bounds of its buckets, if it has any.
    const BUCKETS: &'static [f64] = &[];
    /// Says what the metric is.
    fn describe(recorder: &dyn Recorder, name: KeyName, unit: Unit, help: SharedString);
    /// Makes a series.
    fn register(recorder: &dyn Recorder, key: &Key, metadata: &Metadata<'_>) -> Self::Handle;
}

impl Form for Counter {
    type Handle = Self;
    const KIND: &'static str = "counter";

    fn describe(recorder: &dyn Recorder, name: KeyName, unit: Unit, help: SharedString) {
        recorder.describe_counter(name, Some(unit), help);
    }
    fn register(recorder: &dyn Recorder, key: &Key, metadata: &Metadata<'_>) -> Self {
        recorder.register_counter(key, metadata)
    }
}

impl Form for Gauge {
    type Handle = Self;
    const KIND: &'static str = "gauge";

    fn describe(recorder: &dyn Recorder, name: KeyName, unit: Unit, help: SharedString) {
        recorder.describe_gauge(name, Some(unit), help);
    }
    fn register(recorder: &dyn Recorder, key: &Key, metadata: &Metadata<'_>) -> Self {
        recorder.register_gauge(key, metadata)
    }
}

/// Declares a sort of histogram by its buckets.
macro_rules! histograms {
    ($($(#[$doc:meta])* $name:ident = [$($bound:literal),*];)*) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl Form for $name {
            type Handle = Histogram;
            const KIND: &'static str = "histogram";
            const BUCKETS: &'static [f64] = &[$($bound),*];

            fn describe(recorder: &dyn Recorder, name: KeyName, unit: Unit, help: SharedString) {
                recorder.describe_histogram(name, Some(unit), help);
            }
            fn register(recorder: &dyn Recorder, key: &Key, metadata: &Metadata<'_>) -> Histogram {
                recorder.register_histogram(key, metadata)
            }
        }
    )*};
}

histograms! {
    /// What jobs and providers take: 5 ms to 10 min.
    Long = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
    /// What steps of them take: half a millisecond to 30 s.
    Short = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
}

/// One metric with all its series.
pub struct Family<L, F: Form> {
    series: Box<[F::Handle]>,
    strides: [usize; 3],
    labels: PhantomData<fn(L)>,
}

impl<L: Labels, F: Form> Family<L, F> {
    /// Makes every series there can be.
    pub fn register(recorder: &dyn Recorder, sets: &Sets, declared: &Declared) -> Self {
        F::describe(recorder, declared.name.into(), declared.unit, declared.help.into());
        let metadata = Metadata::new(module_path!(), Level::INFO, None);
        let words = L::sets(sets);
        let mut strides = [0; 3];
        let mut stride = 1;
        for (label, words) in words.iter().enumerate().rev() {
            strides[label] = stride;
            stride *= words.len();
        }
        let series = (0..stride).map(|number| {
            let pair = |(label, name): (usize, &&'static str)| {
                let words = &words[label];
                Pair::new(*name, words[number / strides[label] % words.len()].clone())
            };
            let pairs: Vec<Pair> = declared.labels.iter().enumerate().map(pair).collect();
            F::register(recorder, &Key::from_parts(declared.name, pairs), &metadata)
        });
        Self { series: series.collect(), strides, labels: PhantomData }
    }

    /// The series with these labels.
    pub fn at(&self, labels: L) -> &F::Handle {
        let indices = labels.indices();
        &self.series[(0..3).map(|label| indices[label] * self.strides[label]).sum::<usize>()]
    }
}
