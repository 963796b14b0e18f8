//! Sets up logging: on standard error, for people or as one JSON object a line.
//!
//! Lines about a job or a request say which: the spans around them carry the ids (`job.id`, `request.id`, `trace_id`),
//! and [`json`] puts what spans carry on the lines themselves. What is logged is the business of the place that handles an event: a constant lowercase phrase with fields
//! (`job.id`, `job.attempt`), never a prompt, payload or secret.

mod json;

use std::io::IsTerminal as _;

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::config::settings::{Log, LogFormat};

/// Libraries that say at `info` what helps nobody but their authors.
const NOISY: &str =
    "apalis=warn,apalis_core=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rusqlite=warn,tower=warn";

/// Starts logging for the whole process; a second call changes nothing. Fails if the filter can't be read.
pub fn init(log: &Log) -> Result<(), ParseError> {
    let subscriber = tracing_subscriber::registry().with(filter(&log.filter)?).with(lines(log.format, std::io::stderr));
    // An error only says that there is a logger already.
    let _already_set = subscriber.try_init();
    Ok(())
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

/// A layer of any kind.
pub type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The filter as configured, with noisy libraries at `warn` unless it names them or lets less through anyway.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let given = EnvFilter::builder().parse(text)?;
    match given.max_level_hint() {
        Some(level) if level <= LevelFilter::WARN => Ok(given),
        // Of two directives for one target the later one counts.
        _ => EnvFilter::builder().parse(format!("{NOISY},{text}")),
    }
}

#[cfg(test)]
mod tests {
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
    fn a_filter_that_lets_little_through_is_left_alone() {
        for text in ["off", "error", "warn"] {
            assert_eq!(levels(text), text);
        }
    }

    #[test]
    fn setting_up_twice_is_harmless_and_a_bad_filter_is_told() {
        let log = Log { filter: "off".to_owned(), ..Log::default() };
        init(&log).unwrap();
        init(&Log { format: LogFormat::Json, ..log.clone() }).unwrap();
        assert!(init(&Log { filter: "ragq=loud".to_owned(), ..log }).is_err());
    }
}
