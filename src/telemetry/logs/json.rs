//! Log lines as flat JSON objects: time, level, message, the event's own fields, then those of the spans around it,
//! innermost first. A name that stands already is not written again.
//!
//! tracing-subscriber's own JSON keeps what spans carry in an object beside, so that the same id would stand in two
//! places, depending on who says it; and it parses that object again for every line.

use std::{error::Error, fmt};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use crate::domain::failure::chain;

/// Writes events as lines of JSON; also how spans keep their fields until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flat;

/// Fields as they stand in a line, each after a comma, with its name quoted.
struct Members<'a> {
    out: &'a mut dyn fmt::Write,
    /// Between a span's fields: no JSON text holds one unescaped.
    end: &'static str,
    /// The names that stand already.
    written: Vec<&'static str>,
    result: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        let name = name(field);
        if self.result.is_ok() && !self.written.contains(&name) {
            self.written.push(name);
            let value = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
            self.result = write!(self.out, "\"{name}\":{value}{}", self.end);
        }
    }
}

/// The name without the mark of a raw identifier.
fn name(field: &Field) -> &'static str {
    field.name().trim_start_matches("r#")
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, &value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, &value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, &value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, &value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.member(field, &chain(value));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, &format!("{value:?}"));
    }
}

impl<'writer> FormatFields<'writer> for Flat {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Members { out: &mut writer, end: "\n", written: Vec::new(), result: Ok(()) };
        fields.record(&mut members);
        members.result
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

impl<S> FormatEvent<S, Flat> for Flat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(&self, context: &FmtContext<'_, S, Flat>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        write!(line, "\",\"level\":\"{}\",", metadata.level())?;
        let written = vec!["timestamp", "level", "target"];
        let mut members = Members { out: &mut line, end: ",", written, result: Ok(()) };
        event.record(&mut members);
        let Members { mut written, result, .. } = members;
        result?;
        write!(line, "\"target\":\"{}\"", metadata.target())?;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<Self>>() else { continue };
            for member in fields.fields.lines() {
                let key = member.get(1..).and_then(|rest| rest.split('"').next()).unwrap_or_default();
                if written.contains(&key) {
                    continue;
                }
                write!(line, ",{member}")?;
                // The span's own text of it outlives the line.
                written.extend(span.metadata().fields().iter().map(|field| name(&field)).find(|name| *name == key));
            }
        }
        line.write_str("}\n")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use tracing::{error_span, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::lines;
    use crate::{
        config::settings::LogFormat,
        domain::failure::{Code, Failure},
    };

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The one line that `say` logs.
    pub(in super::super) fn line(say: impl FnOnce()) -> String {
        let log = Log::default();
        let to = log.clone();
        let layer = lines(LogFormat::Json, move || to.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_error_comes_with_all_that_stands_behind_it() {
        let failure = Failure::new(Code::StoreUnavailable, "the store is away")
            .with_source(Failure::new(Code::Unknown, "no answer").with_source(io::Error::other("reset by peer")));
        let line = line(|| warn!(error = &failure as &dyn std::error::Error, "it failed"));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["error"], "store_unavailable: the store is away: unknown: no answer: reset by peer");
    }

    #[test]
    fn a_name_stands_once_and_the_innermost_value_with_it() {
        let line = line(|| {
            let outer = error_span!("outer", a = 1, b = 1, c = 1, d = 1, level = "mine").entered();
            let inner = error_span!("inner", a = 2, b = 2, c = Option::<i32>::None).entered();
            warn!(a = 3, d = Option::<i32>::None, target = "mine", "said");
            drop((inner, outer));
        });
        for name in ["a", "b", "c", "d", "level", "target"] {
            assert_eq!(line.matches(&format!("\"{name}\":")).count(), 1, "{name} in {line}");
        }
        let line: Value = serde_json::from_str(&line).unwrap();
        let values = ["a", "b", "c", "d"].map(|name| line[name].as_i64());
        assert_eq!(values, [Some(3), Some(2), Some(1), Some(1)], "what was left out hides nothing");
        assert_eq!((&line["level"], &line["target"]), (&"WARN".into(), &module_path!().into()));
    }
}
