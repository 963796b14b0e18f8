//! Reads the fields of a request, from JSON or from a query string, and collects all that is wrong.
//!
//! Every route reads its input with [`Fields`], so that all problems are named at once, in the same
//! words, and an unknown field (a typing error, most often) is never silently ignored. A value is never
//! shown back: messages hold field names and limits only.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::RangeInclusive,
    str::FromStr,
};

use serde_json::{Map, Value};

use super::problem::{FieldError, Problem, Result};
use crate::domain::{clock::Timestamp, job::UnknownWord};

/// What a text field may hold.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Most characters.
    pub max_chars: usize,
    /// Whether the text is of the right kind.
    pub fits: fn(&str) -> bool,
    /// The rule in words: "must ...".
    pub rule: &'static str,
}

fn plain(text: &str, also: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// Whether the text holds anything but white space and control characters; a byte order mark is white space
/// here, as it is in the patterns of JSON Schema.
pub fn says_something(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !c.is_control() && c != '\u{feff}')
}

/// A document's id.
/// Not of dots alone: clients take `..` out of a path before they send it, so that nobody could read or
/// delete the document.
pub const DOCUMENT_ID: Text = Text {
    max_chars: 200,
    fits: |text| plain(text, "._:-") && text.chars().any(|c| c != '.'),
    rule: "must be 1 to 200 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-', not only dots",
};

/// A collection's name.
pub const COLLECTION: Text = Text {
    max_chars: 100,
    fits: |text| plain(text, "._-"),
    rule: "must be 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
};

/// A conversation's id.
pub const CONVERSATION_ID: Text = Text {
    max_chars: 200,
    fits: |text| plain(text, "._:@/-"),
    rule: "must be 1 to 200 characters of A-Z, a-z, 0-9, '.', '_', ':', '@', '/' and '-'",
};

/// A document's title, a file's name.
pub const TITLE: Text = Text {
    max_chars: 500,
    fits: |text| says_something(text) && !text.chars().any(char::is_control),
    rule: "must be 1 to 500 characters, not only spaces, without control characters",
};

/// Where a document came from.
pub const SOURCE: Text = Text {
    max_chars: 2_000,
    fits: |text| says_something(text) && !text.chars().any(char::is_control),
    rule: "must be 1 to 2,000 characters, not only spaces, without control characters",
};

/// A place in a list.
pub const CURSOR: Text =
    Text { max_chars: 2_000, fits: |text| plain(text, ""), rule: "must be the next_cursor of an earlier answer" };

impl Text {
    /// A text for people: anything that says something.
    pub const fn prose(max_chars: usize, rule: &'static str) -> Self {
        Self { max_chars, fits: says_something, rule }
    }

    fn problem(&self, text: &str) -> Option<String> {
        // Bytes bound characters from above: most texts are never counted.
        let long = text.len() > self.max_chars && text.chars().count() > self.max_chars;
        if long {
            return Some(format!("must be no longer than {} characters", self.max_chars));
        }
        (!(self.fits)(text)).then(|| self.rule.to_owned())
    }
}

/// The fields of one request, read one after the other.
#[derive(Debug)]
pub struct Fields {
    values: BTreeMap<String, Value>,
    textual: bool,
    errors: Vec<FieldError>,
}

impl Fields {
    /// The members of a JSON object; a null is as if it were left out.
    pub fn of_object(object: Map<String, Value>) -> Self {
        Self { values: object.into_iter().collect(), textual: false, errors: Vec::new() }
    }

    /// The members of a JSON body, which must be an object.
    pub fn of_json(body: Value) -> Result<Self> {
        match body {
            Value::Object(object) => Ok(Self::of_object(object)),
            _ => Err(Problem::field("body", "must be a JSON object")),
        }
    }

    /// The parameters of a query string.
    pub fn of_query(pairs: Vec<(String, String)>) -> Self {
        let mut fields = Self { values: BTreeMap::new(), textual: true, errors: Vec::new() };
        for (name, value) in pairs {
            match fields.values.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(Value::String(value));
                }
                Entry::Occupied(taken) => {
                    let name = taken.key().clone();
                    fields.fail(&name, "is given more than once");
                }
            }
        }
        fields
    }

    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Notes a problem.
    pub fn fail(&mut self, field: &str, message: impl Into<String>) {
        // A name comes from the caller when it is unknown: show enough of it to be recognised.
        let field = field.chars().filter(|c| !c.is_control()).take(64).collect();
        self.errors.push(FieldError { field, message: message.into() });
    }

    /// The value of a field, whatever it is.
    pub fn any(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &str, rule: Text) -> Option<String> {
        let Value::String(text) = self.any(name)? else {
            self.fail(name, "must be a string");
            return None;
        };
        match rule.problem(&text) {
            None => Some(text),
            Some(message) => {
                self.fail(name, message);
                None
            }
        }
    }

    /// A text that must be given; empty if it is wrong, which [`Fields::finish`] will say.
    pub fn required_text(&mut self, name: &str, rule: Text) -> String {
        if self.values.get(name).is_none_or(Value::is_null) {
            self.fail(name, "is required");
        }
        self.text(name, rule).unwrap_or_default()
    }

    /// A whole number.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match self.any(name)? {
            Value::String(text) if self.textual && text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64())),
            _ => None,
        };
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            self.fail(name, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// An instant, as answers write it.
    pub fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let instant = serde_json::from_value(self.any(name)?).ok();
        if instant.is_none() {
            self.fail(name, "must be an instant (RFC 3339), as in 2026-01-31T12:00:00.000Z");
        }
        instant
    }

    /// True or false.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.any(name)?;
        if value.as_bool().is_none() {
            self.fail(name, "must be true or false");
        }
        value.as_bool()
    }

    /// One of a closed set of words.
    pub fn word<T: FromStr<Err = UnknownWord>>(&mut self, name: &str) -> Option<T> {
        let value = self.any(name)?;
        let parsed = value.as_str().unwrap_or_default().parse();
        parsed.map_err(|unknown: UnknownWord| self.fail(name, unknown.to_string())).ok()
    }

    /// A JSON object of at most `max_bytes` when written without white space; as JSON text in a query string.
    pub fn object(&mut self, name: &str, max_bytes: usize) -> Option<Map<String, Value>> {
        let value = match self.any(name)? {
            Value::String(text) if self.textual => serde_json::from_str(&text).unwrap_or(Value::Null),
            value => value,
        };
        let Value::Object(object) = value else {
            self.fail(name, "must be a JSON object");
            return None;
        };
        if serde_json::to_vec(&object).is_ok_and(|bytes| bytes.len() > max_bytes) {
            self.fail(name, format!("must be no longer than {max_bytes} bytes of JSON"));
            return None;
        }
        Some(object)
    }

    /// Ends the reading: whatever was not read is unknown, and all problems are told together.
    pub fn finish(mut self) -> Result<()> {
        for name in std::mem::take(&mut self.values).into_keys() {
            self.fail(&name, "is not a known field");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::validation(self.errors)) }
    }
}

/// The number if it is whole: JSON knows no integers, and `5.0` is as good as `5`.
fn whole(number: Option<f64>) -> Option<u64> {
    // Above 2^53 a float no longer tells neighbours apart.
    number.filter(|number| number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number)).map(|n| n as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::job::Priority;

    fn errors(fields: Fields) -> Vec<String> {
        let problem = fields.finish().unwrap_err();
        let body: Value = serde_json::from_slice(&problem.body("r")).unwrap();
        let list = body["errors"].as_array().unwrap().iter();
        list.map(|e| format!("{} {}", e["field"].as_str().unwrap(), e["message"].as_str().unwrap())).collect()
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_value_is_shown_back() {
        let mut fields =
            Fields::of_json(json!({"title": " ", "top_k": "SECRET", "priority": "SECRET", "oops": "SECRET"})).unwrap();
        fields.required_text("title", TITLE);
        fields.required_text("text", TITLE);
        fields.integer("top_k", 1..=50);
        fields.word::<Priority>("priority");
        let errors = errors(fields);
        let named: Vec<_> = errors.iter().map(|e| e.split(' ').next().unwrap()).collect();
        assert_eq!(named, ["title", "text", "top_k", "priority", "oops"]);
        assert!(!errors.concat().contains("SECRET"));
    }

    #[test]
    fn a_null_is_as_good_as_nothing_and_a_whole_float_as_an_integer() {
        let mut fields = Fields::of_json(json!({"a": null, "b": 5.0})).unwrap();
        assert_eq!(fields.integer("a", 1..=9), None);
        assert_eq!(fields.integer("b", 1..=9), Some(5));
        fields.finish().unwrap();
        assert_eq!(errors(Fields::of_json(json!({"oops": null})).unwrap()), ["oops is not a known field"]);
    }

    #[test]
    fn numbers_out_of_range_with_a_fraction_or_a_sign_are_refused() {
        for bad in [json!(0), json!(10), json!(-1), json!(1.5), json!(1e300), json!(true), json!("5")] {
            let mut fields = Fields::of_json(json!({"n": bad})).unwrap();
            assert_eq!(fields.integer("n", 1..=9), None, "{bad}");
            assert_eq!(errors(fields), ["n must be a whole number from 1 to 9"]);
        }
    }

    #[test]
    fn in_a_query_string_numbers_are_text_and_a_repeated_name_is_refused() {
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let mut fields = Fields::of_query(pairs(&[("n", "5"), ("m", "{\"a\":1}")]));
        assert_eq!(fields.integer("n", 1..=9), Some(5));
        assert_eq!(fields.object("m", 10).unwrap()["a"], 1);
        fields.finish().unwrap();
        let mut fields = Fields::of_query(pairs(&[("n", "5"), ("n", "6")]));
        fields.integer("n", 1..=9);
        assert_eq!(errors(fields), ["n is given more than once"]);
    }

    #[test]
    fn what_looks_like_nothing_says_nothing_and_dots_alone_name_no_document() {
        for nothing in ["", " \n", "\u{85}\0", "\u{feff}", "\u{a0}\u{3000}"] {
            assert!(!says_something(nothing), "{nothing:?}");
        }
        assert!(says_something("\u{feff}a"));
        for (id, good) in [(".", false), ("..", false), ("....", false), (".a", true), ("a..", true), (":", true)] {
            assert_eq!((DOCUMENT_ID.fits)(id), good, "{id}");
        }
    }

    #[test]
    fn lengths_count_characters_not_bytes() {
        let rule = Text::prose(3, "must say something");
        let mut fields = Fields::of_json(json!({"a": "äöü", "b": "äöüß"})).unwrap();
        assert_eq!(fields.text("a", rule).as_deref(), Some("äöü"));
        assert_eq!(fields.text("b", rule), None);
        assert_eq!(errors(fields), ["b must be no longer than 3 characters"]);
    }
}
