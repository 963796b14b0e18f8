//! How providers describe an error: the shapes met at `OpenAI`, Azure, vLLM, Ollama, llama.cpp, Gemini,
//! `FastAPI` servers and proxies, read into one. What it means is `classify`'s business.

use serde_json::Value;

/// An error as a provider described it; nothing in it is fit to be shown before `wording` saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    /// The error's code: a word, or an HTTP status.
    pub(super) code: Option<String>,
    /// The error's type.
    pub(super) kind: Option<String>,
    /// The field of the request it is about.
    pub(super) param: Option<String>,
    /// What it says.
    pub(super) message: Option<String>,
    /// Whether it was a page for people, as proxies send.
    pub(super) html: bool,
}

impl ErrorBody {
    /// Reads a body of whatever kind.
    pub(super) fn of(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        match serde_json::from_str::<Value>(text) {
            Ok(value) => Self::of_json(&value).unwrap_or_default(),
            Err(_) if looks_html(text) => Self { html: true, ..Self::default() },
            Err(_) => Self { message: (!text.is_empty()).then(|| text.to_owned()), ..Self::default() },
        }
    }

    /// The error that a JSON value describes, if it describes one: also told from an answer by this.
    pub(super) fn of_json(value: &Value) -> Option<Self> {
        match value {
            // Gemini wraps its error in a list.
            Value::Array(items) => items.first().and_then(Self::of_json),
            Value::String(message) => Some(Self { message: Some(message.clone()), ..Self::default() }),
            Value::Object(fields) => {
                if fields.contains_key("choices") && !fields.contains_key("error") {
                    return None;
                }
                match fields.get("error") {
                    Some(Value::Object(_)) => Some(Self::of_fields(fields.get("error")?)),
                    Some(Value::String(message)) => {
                        Some(Self { message: Some(message.clone()), ..Self::of_fields(value) })
                    }
                    _ if fields.contains_key("message") || fields.contains_key("detail") => {
                        Some(Self::of_fields(value))
                    }
                    _ => None,
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }

    fn of_fields(error: &Value) -> Self {
        let inner = error.get("innererror").or_else(|| error.get("inner_error"));
        let code = word(error.get("code")).or_else(|| word(inner?.get("code")));
        let message = word(error.get("message")).or_else(|| error.get("detail").and_then(detail));
        Self {
            code,
            kind: word(error.get("type")).or_else(|| word(error.get("status"))),
            param: word(error.get("param")),
            message: message.or_else(|| word(error.get("error"))),
            html: false,
        }
    }

    /// Whether code or type is one of `words`.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        [&self.code, &self.kind]
            .into_iter()
            .flatten()
            .any(|own| words.iter().any(|word| own.eq_ignore_ascii_case(word)))
    }

    /// Whether the message holds one of `phrases`, given in lower case.
    pub(super) fn says(&self, phrases: &[&str]) -> bool {
        self.message.as_ref().is_some_and(|message| {
            let message = message.to_lowercase();
            phrases.iter().any(|phrase| message.contains(phrase))
        })
    }
}

fn word(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `FastAPI`'s `detail`: a sentence, or a list of what is wrong with which field.
fn detail(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => word(items.first()?.get("msg")),
        Value::Object(_) => word(value.get("message")).or_else(|| word(value.get("error"))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => word(Some(value)),
    }
}

/// Whether a text is a page for people.
pub(super) fn looks_html(text: &str) -> bool {
    let start = text.trim_start().get(..200).unwrap_or(text).to_ascii_lowercase();
    start.trim_start().starts_with("<!doctype") || start.contains("<html") || start.contains("<head")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (Option<String>, Option<String>, Option<String>) {
        let body = ErrorBody::of(body.as_bytes());
        (body.code, body.kind, body.message)
    }

    #[test]
    fn every_shape_of_an_error_is_read() {
        let some = |text: &str| Some(text.to_owned());
        for (body, code, kind, message) in [
            (r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#, some("c"), some("t"), some("m")),
            (
                r#"{"error":{"message":"m","code":429,"status":"RESOURCE_EXHAUSTED"}}"#,
                some("429"),
                some("RESOURCE_EXHAUSTED"),
                some("m"),
            ),
            (r#"[{"error":{"message":"m","code":400}}]"#, some("400"), None, some("m")),
            (r#"{"error":"m"}"#, None, None, some("m")),
            (
                r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#,
                some("400"),
                some("BadRequestError"),
                some("m"),
            ),
            (r#"{"detail":"m"}"#, None, None, some("m")),
            (r#"{"detail":[{"loc":["body","model"],"msg":"m","type":"missing"}]}"#, None, None, some("m")),
            (
                r#"{"error":{"message":"m","code":null,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                some("ResponsibleAIPolicyViolation"),
                None,
                some("m"),
            ),
            ("upstream connect error", None, None, some("upstream connect error")),
            ("", None, None, None),
            ("{}", None, None, None),
        ] {
            assert_eq!(read(body), (code, kind, message), "{body}");
        }
    }

    #[test]
    fn a_page_is_known_as_one() {
        for page in
            ["<html><body>502</body></html>", "\n<!DOCTYPE html><title>x</title>", "<?xml version=\"1.0\"?><html>"]
        {
            assert!(ErrorBody::of(page.as_bytes()).html, "{page}");
        }
        assert!(!ErrorBody::of(b"<3 is no page").html);
    }

    #[test]
    fn an_answer_describes_no_error() {
        let answer = serde_json::json!({"choices": [{"delta": {"content": "x"}}], "message": "hm"});
        assert_eq!(ErrorBody::of_json(&answer), None);
        assert_eq!(ErrorBody::of_json(&serde_json::json!({"data": [], "error": null})), None);
    }
}
