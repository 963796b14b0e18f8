//! Sets up logging: on standard error, for people or as one JSON object a line.
//!
//! Lines about a job or a request say which: the spans around them carry the ids (`job.id`, `request.id`,
//! `trace_id`), and [`json`] puts what spans carry on the lines themselves. Those spans have a target of their own,
//! [`IDS`]: a filter that lets a line through never takes its ids away. What is logged is the business of the place
//! that handles an event: a constant lowercase phrase with fields (`job.id`, `job.attempt`), never a prompt, payload
//! or secret.

mod json;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal as _,
    panic::PanicHookInfo,
};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, ParseError, filter_fn},
    fmt::{self, MakeWriter},
    registry::LookupSpan,
};

use super::traces::is_traced;
use crate::config::settings::{Log, LogFormat};

/// The target of the spans, at `error`, that say what the lines within are about.
pub const IDS: &str = "ragq::ids";

/// Libraries that say at `info` what helps nobody but their authors.
const NOISY: &str =
    "apalis=warn,apalis_core=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rusqlite=warn,tower=warn";

/// Lines on standard error as the settings say. Fails if the filter can't be read.
pub(super) fn layer<S>(log: &Log) -> Result<BoxedLayer<S>, ParseError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // What is made for traces says nothing to readers of logs.
    let filter = filter(&log.filter)?.and(filter_fn(|metadata| !is_traced(metadata)));
    Ok(lines(log.format, std::io::stderr).with_filter(filter).boxed())
}

/// Writes lines in a format.
pub fn lines<S>(format: LogFormat, to: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(to);
    match format {
        LogFormat::Json => layer.fmt_fields(json::Flat).event_format(json::Flat).boxed(),
        // By default there is colour unless NO_COLOR says otherwise; in a file or pipe there is never any.
        LogFormat::Pretty if std::io::stderr().is_terminal() => layer.boxed(),
        LogFormat::Pretty => layer.with_ansi(false).boxed(),
    }
}

/// Logs where a panic happened, and how it came there if `RUST_BACKTRACE` is set; what it says may hold anything.
pub(super) fn panicked(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(location, backtrace, "panicked");
}

/// A layer of any kind.
pub type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The filter as configured, with ids wherever anything is logged, and with noisy libraries at `warn` unless it names
/// them or lets less through anyway.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let given = EnvFilter::builder().parse(text)?;
    // Of two directives for one target the later one counts.
    match given.max_level_hint() {
        Some(LevelFilter::OFF) => Ok(given),
        Some(level) if level <= LevelFilter::WARN => EnvFilter::builder().parse(format!("{IDS}=error,{text}")),
        _ => EnvFilter::builder().parse(format!("{IDS}=error,{NOISY},{text}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, thread};

    use super::*;

    fn levels(text: &str) -> String {
        filter(text).unwrap().to_string()
    }

    #[test]
    fn noisy_libraries_are_quiet_unless_named() {
        let directives = levels("info,hyper=debug");
        assert!(directives.contains("hyper=debug") && !directives.contains("hyper=warn"), "{directives}");
        assert!(directives.contains("apalis=warn"), "{directives}");
    }

    #[test]
    fn a_filter_that_lets_little_through_lets_no_more_through_than_ids() {
        assert_eq!(levels("off"), "off");
        for text in ["error", "warn", "ragq::queue=warn"] {
            let directives = levels(text);
            let mut directives: Vec<_> = directives.split(',').collect();
            directives.sort_unstable();
            let mut wanted = [text, "ragq::ids=error"];
            wanted.sort_unstable();
            assert_eq!(directives, wanted);
        }
    }

    #[test]
    fn a_bad_filter_is_told() {
        let log = Log { filter: "ragq=loud".to_owned(), ..Log::default() };
        assert!(layer::<tracing_subscriber::Registry>(&log).is_err());
    }

    #[test]
    fn a_panic_is_a_line_that_says_where_and_not_what() {
        let (here, before) = (thread::current().id(), panic::take_hook());
        // Other tests may panic meanwhile, and are to be heard.
        panic::set_hook(Box::new(
            move |info| {
                if thread::current().id() == here { panicked(info) } else { before(info) }
            },
        ));
        let said = json::tests::line(|| drop(panic::catch_unwind(|| panic!("SECRET"))));
        let line: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&line["message"], &line["level"]), (&"panicked".into(), &"ERROR".into()));
        assert!(line["location"].as_str().unwrap().starts_with(file!()), "{said}");
        assert!(!said.contains("SECRET"), "{said}");
    }
}
