//! The way of spans to the collector: in batches, from a thread of its own, bounded.
//!
//! Spans that find no room are dropped and counted (see [`tally`](super::tally)); a collector that is away costs the
//! process nothing else. The SDK's own words about it are left out: it would say them for every batch.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
        SpanExporter as ExportsSpans,
    },
};

use super::{
    ids::Ids,
    tally::{self, Bounded, Room},
};
use crate::config::settings;

/// How long sending one batch may take, its repetitions included.
const SEND: Duration = Duration::from_secs(5);
/// Spans that wait to be sent, at most: some megabytes, as long as they hold no content.
const WAITING: usize = 8_192;
/// The same where calls hold what was asked and answered, which may be some hundred kilobytes each.
const WAITING_WITH_CONTENT: usize = 512;
/// As so many requests: collectors take none that is too large.
const BATCHES: usize = 16;
/// How long spans wait for others to be sent with.
const GATHER: Duration = Duration::from_secs(2);
/// How long what is left may take to be sent at the end.
const LAST: Duration = Duration::from_secs(3);

/// Traces can't be sent as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The HTTP client can't be set up.
    #[error("the client for traces can't be set up")]
    Http(#[from] reqwest::Error),
    /// The exporter can't be set up.
    #[error("traces can't be exported")]
    Exporter(#[from] ExporterBuildError),
}

/// Sends what is traced until it is finished.
#[must_use]
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Export {
    /// Sends spans to the collector at `endpoint`, as told by the process `instance`. Not to be called within a runtime.
    pub(in crate::telemetry) fn start(
        settings: &settings::Trace,
        endpoint: &str,
        instance: &str,
    ) -> Result<(Self, SdkTracer), ExportError> {
        let client = reqwest::blocking::Client::builder()
            .timeout(SEND)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_headers(settings.headers().unwrap_or_default())
            .with_timeout(SEND)
            .build()?;
        let waiting = if settings.include_content { WAITING_WITH_CONTENT } else { WAITING };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(waiting)
            .with_max_export_batch_size(waiting / BATCHES)
            .with_scheduled_delay(GATHER)
            .build();
        let room = Room::new(waiting);
        let exporter = Told { exporter, away: AtomicBool::new(false), room: room.clone() };
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded { processor, room })
            // A span is made only for what is sampled.
            .with_sampler(Sampler::AlwaysOn)
            .with_id_generator(Ids::default())
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("ragq");
        Ok((Self(provider), tracer))
    }

    /// Sends what is left, if that can be done in time.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST) {
            tracing::debug!(%error, "not all traces were sent");
        }
    }
}

/// An exporter that says once that the collector is away, and once that it is back, and counts what it sent and lost.
#[derive(Debug)]
struct Told {
    exporter: SpanExporter,
    away: AtomicBool,
    room: Room,
}

impl ExportsSpans for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.room.leave(spans);
        let result = self.exporter.export(batch).await;
        tally::ended(spans, result.is_ok());
        let was_away = self.away.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_away => {
                tracing::warn!(
                    error = error as &dyn Error,
                    "traces can't be sent to the collector; until they can, they are lost"
                );
            }
            Ok(()) if was_away => tracing::info!("traces reach the collector again"),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
