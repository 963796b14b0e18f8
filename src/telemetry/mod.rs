//! What ragq tells about itself while it runs: logs, traces, metrics.

use tracing_subscriber::{filter::ParseError, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{Settings, settings::LogFormat};

pub mod logs;
pub mod metrics;
pub mod traces;

/// Logs or traces can't be set up as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter of logs can't be read.
    #[error("log.filter (RUST_LOG)")]
    Filter(#[from] ParseError),
    /// Traces can't be sent.
    #[error(transparent)]
    Export(#[from] traces::ExportError),
}

/// Starts logs for the whole process, and traces where there is a collector; a second call changes nothing. What is
/// returned sends the last traces. `instance` tells this process from others; not to be called within a runtime.
pub fn start(settings: &Settings, instance: &str) -> Result<Option<traces::Export>, StartError> {
    let mut layers = vec![logs::layer(&settings.log)?];
    let mut export = None;
    if let Some(endpoint) = &settings.trace.otlp_endpoint {
        let (started, tracer) = traces::Export::start(&settings.trace, endpoint, instance)?;
        layers.push(traces::layer(tracer));
        export = Some(started);
    }
    // An error only says that there is a subscriber already.
    let _already_set = tracing_subscriber::registry().with(layers).try_init();
    if settings.log.format == LogFormat::Json {
        // The program that reads the log knows no other lines.
        std::panic::set_hook(Box::new(logs::panicked));
    }
    Ok(export)
}
