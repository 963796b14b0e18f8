//! The span of one call to a model provider, by the conventions for generative AI.

use opentelemetry::{Array, Value};
use serde_json::json;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{TARGET, spans::failed};
use crate::domain::{answer::Usage, failure::Code};

/// Who is called, and for what.
#[derive(Clone, Debug)]
pub struct Callee {
    /// `chat` or `embeddings`.
    pub operation: &'static str,
    /// The provider's name.
    pub provider: String,
    /// The model that is asked for.
    pub model: String,
    /// The provider's host.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// The longest answer asked for, in tokens.
    pub max_tokens: Option<u32>,
    /// The temperature asked for.
    pub temperature: Option<f32>,
    /// Whether prompts and answers are told too.
    pub content: bool,
}

/// The span of one call; it ends when this is dropped.
#[derive(Debug)]
pub struct CallSpan {
    span: Span,
    /// The answer so far, if it is to be told.
    said: Option<String>,
}

impl CallSpan {
    /// A call begins.
    pub fn begin(callee: &Callee) -> Self {
        let span = info_span!(
            target: TARGET,
            "call",
            otel.name = %format_args!("{} {}", callee.operation, callee.model),
            otel.kind = "client",
            gen_ai.operation.name = callee.operation,
            gen_ai.provider.name = callee.provider.as_str(),
            gen_ai.request.model = callee.model.as_str(),
            gen_ai.request.max_tokens = callee.max_tokens.map(i64::from),
            gen_ai.request.temperature = callee.temperature.map(f64::from),
            server.address = callee.address.as_str(),
            server.port = i64::from(callee.port),
        );
        let said = (callee.content && !span.is_disabled()).then(String::new);
        Self { span, said }
    }

    /// What is asked, as who says what; noted only where prompts are told.
    pub fn asked<'a>(&self, messages: impl Iterator<Item = (&'static str, &'a str)>) {
        if self.said.is_some() {
            let part = |content: &str| json!([{ "type": "text", "content": content }]);
            let messages: Vec<_> =
                messages.map(|(role, content)| json!({ "role": role, "parts": part(content) })).collect();
            self.span.set_attribute("gen_ai.input.messages", json!(messages).to_string());
        }
    }

    /// More of the answer came.
    pub fn said(&mut self, text: &str) {
        if let Some(said) = &mut self.said {
            said.push_str(text);
        }
    }

    /// The first token came, after so many milliseconds.
    pub fn spoke(&self, after_ms: u64) {
        self.span.set_attribute("ragq.first_token_ms", after_ms as i64);
    }

    /// Who answered, and why the answer ended.
    pub fn answered_by(&self, model: &str, finish_reason: &'static str) {
        self.span.set_attribute("gen_ai.response.model", model.to_owned());
        let reasons = Value::Array(Array::String(vec![finish_reason.into()]));
        self.span.set_attribute("gen_ai.response.finish_reasons", reasons);
        if let Some(said) = &self.said {
            let parts = json!([{ "type": "text", "content": said }]);
            let answer = json!([{ "role": "assistant", "parts": parts, "finish_reason": finish_reason }]);
            self.span.set_attribute("gen_ai.output.messages", answer.to_string());
        }
    }

    /// What the provider counted.
    pub fn counted(&self, usage: Usage) {
        if usage.total_tokens > 0 {
            self.span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens as i64);
            self.span.set_attribute("gen_ai.usage.output_tokens", usage.completion_tokens as i64);
        }
    }

    /// The call failed.
    pub fn failed(&self, code: Code) {
        failed(&self.span, code.as_str());
    }

    /// The call was called off before its end.
    pub fn called_off(&self) {
        failed(&self.span, "cancelled");
    }
}
