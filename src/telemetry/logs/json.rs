//! Log lines as flat JSON objects: time, level, message, the event's own fields, then those of the spans around it.
//!
//! tracing-subscriber's own JSON keeps what spans carry in an object beside, so that the same id would stand in two
//! places, depending on who says it; and it parses that object again for every line.

use std::fmt;

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

/// Writes events as lines of JSON; also how spans keep their fields until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flat;

/// Fields as they stand in a line, each after a comma, with its name quoted.
struct Members<'a> {
    out: &'a mut dyn fmt::Write,
    /// Between a span's fields: no JSON text holds one unescaped.
    end: &'static str,
    result: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        if self.result.is_ok() {
            let value = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
            self.result = write!(self.out, "\"{}\":{value}{}", name(field), self.end);
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
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, &format!("{value:?}"));
    }
}

impl<'writer> FormatFields<'writer> for Flat {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Members { out: &mut writer, end: "\n", result: Ok(()) };
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
        let mut members = Members { out: &mut line, end: ",", result: Ok(()) };
        event.record(&mut members);
        members.result?;
        write!(line, "\"target\":\"{}\"", metadata.target())?;
        let own = |key: &str| {
            ["timestamp", "level", "target"].contains(&key) || metadata.fields().iter().any(|field| name(&field) == key)
        };
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<Self>>() else { continue };
            for member in fields.fields.lines() {
                let key = member.get(1..).and_then(|rest| rest.split('"').next()).unwrap_or_default();
                // What the line says itself stands, and no key twice.
                if !own(key) {
                    write!(line, ",{member}")?;
                }
            }
        }
        line.write_str("}\n")
    }
}
