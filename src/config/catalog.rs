//! The list of all settings, made from the structs' JSON schema: names, shape, default, documentation.
//!
//! Everything that treats settings alike (layers, show, docs) walks this list, so that a field added to
//! [`settings`](super::settings) is read, checked and documented without another line.

use std::{fmt, sync::LazyLock};

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::settings::{SECTIONS, Settings};

/// The variables that do not follow `RAGQ_SECTION__KEY`: names that people and platforms know already.
const STANDARD_NAMES: [(&str, &str); 13] = [
    ("api.admin_token", "RAGQ_ADMIN_TOKEN"),
    ("api.admin_tokens", "RAGQ_ADMIN_TOKENS"),
    ("client.api_key", "RAGQ_API_KEY"),
    ("client.url", "RAGQ_URL"),
    ("index.qdrant_api_key", "QDRANT_API_KEY"),
    ("index.qdrant_url", "QDRANT_URL"),
    ("log.filter", "RUST_LOG"),
    ("model.api_key", "OPENAI_API_KEY"),
    ("model.base_url", "OPENAI_BASE_URL"),
    ("store.redis_url", "REDIS_URL"),
    ("trace.otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("trace.otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS"),
    ("trace.service_name", "OTEL_SERVICE_NAME"),
];

/// What a setting's value may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// `true` or `false`.
    Switch,
    /// A whole number within these bounds.
    Whole {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A finite number within these bounds.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// One of these words.
    Words(Vec<String>),
    /// Text.
    Text {
        /// Whether it may be empty.
        empty: bool,
    },
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("true or false"),
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Words(words) => f.write_str(&words.join(" or ")),
            Self::Text { empty: true } => f.write_str("text"),
            Self::Text { empty: false } => f.write_str("text that is not empty"),
        }
    }
}

impl Shape {
    /// The value that `text` (of a variable or flag) stands for; none if it is not of this shape.
    pub fn parse(&self, text: &str) -> Option<Value> {
        let word = text.trim();
        match self {
            Self::Switch => word.parse::<bool>().ok().map(Value::from),
            Self::Whole { .. } => word.parse::<u64>().ok().map(Value::from),
            Self::Number { .. } => word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
            Self::Words(_) => Some(word.into()),
            Self::Text { .. } => Some(text.into()),
        }
    }

    /// Whether the value is of this shape and within its bounds.
    pub fn admits(&self, value: &Value) -> bool {
        match self {
            Self::Switch => value.is_boolean(),
            Self::Whole { min, max } => value.as_u64().is_some_and(|number| (*min..=*max).contains(&number)),
            Self::Number { min, max } => value.as_f64().is_some_and(|number| (*min..=*max).contains(&number)),
            Self::Words(words) => value.as_str().is_some_and(|text| words.iter().any(|word| word == text)),
            Self::Text { empty } => value.as_str().is_some_and(|text| *empty || !text.is_empty()),
        }
    }

    fn of(schema: &Value) -> Self {
        let is = |wanted: &str| match &schema["type"] {
            Value::String(one) => one == wanted,
            Value::Array(several) => several.iter().any(|one| one == wanted),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        let words = words(schema);
        if !words.is_empty() {
            Self::Words(words)
        } else if is("boolean") {
            Self::Switch
        } else if is("integer") {
            let widest = if schema["format"] == "uint32" { u64::from(u32::MAX) } else { i64::MAX as u64 };
            let bound = |name: &str| schema[name].as_f64().map(|number| number as u64);
            Self::Whole { min: bound("minimum").unwrap_or(0), max: bound("maximum").unwrap_or(widest) }
        } else if is("number") {
            let bound = |name: &str| schema[name].as_f64();
            Self::Number { min: bound("minimum").unwrap_or(f64::MIN), max: bound("maximum").unwrap_or(f64::MAX) }
        } else {
            Self::Text { empty: schema["minLength"].as_u64().unwrap_or(0) == 0 }
        }
    }
}

/// The words of a closed set: `enum` if they are not documented one by one, else `oneOf` of `const`.
fn words(schema: &Value) -> Vec<String> {
    let texts = |values: &[Value]| values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>();
    let listed = schema["enum"].as_array().map(|values| texts(values)).unwrap_or_default();
    let documented = schema["oneOf"].as_array().map(|schemas| {
        schemas.iter().flat_map(|one| one["const"].as_str().map(str::to_owned).into_iter().chain(words(one)))
    });
    listed.into_iter().chain(documented.into_iter().flatten()).collect()
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `section.key`, as in the file.
    pub path: String,
    /// The section's name.
    pub section: &'static str,
    /// The key within the section.
    pub key: &'static str,
    /// The environment variable that names it.
    pub variable: String,
    /// What its value may be.
    pub shape: Shape,
    /// Whether its value must not be shown; such a setting can also be given as a file.
    pub secret: bool,
    /// The value nobody needs to give; null: none.
    pub default: Value,
    /// What it means.
    pub doc: String,
}

impl Setting {
    /// The variable that names a file holding the value; only secrets have one.
    pub fn file_variable(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.variable))
    }

    /// What is wrong with a value that was `given` as this text, without showing a secret.
    pub fn refusal(&self, given: &str) -> String {
        let allowed = &self.shape;
        if self.secret {
            return format!("must be {allowed}");
        }
        let mut shown: String = given.chars().take(60).collect();
        if shown.len() < given.len() {
            shown.push('…');
        }
        format!("must be {allowed}, not {shown:?}")
    }
}

/// A section with its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub doc: &'static str,
}

struct Catalog {
    settings: Vec<Setting>,
    docs: Vec<(&'static str, String)>,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(build);

/// All settings, in the order of their declaration.
pub fn settings() -> &'static [Setting] {
    &CATALOG.settings
}

/// All sections, in the order of their declaration.
pub fn sections() -> impl Iterator<Item = Section> {
    CATALOG.docs.iter().map(|(name, doc)| Section { name, doc })
}

/// The setting called `path` (`section.key`).
pub fn setting(path: &str) -> Option<&'static Setting> {
    settings().iter().find(|setting| setting.path == path)
}

/// The defaults as a tree of section and key; secrets have none worth hiding.
pub fn defaults() -> Value {
    // Plain structs of plain values: there is nothing that can fail, and a test looks at every default.
    serde_json::to_value(Settings::default()).unwrap_or_default()
}

fn build() -> Catalog {
    let root = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<Settings>()
        .to_value();
    let defaults = defaults();
    let mut catalog = Catalog { settings: Vec::new(), docs: Vec::new() };
    for &(section, keys) in SECTIONS {
        let section_schema = &root["properties"][section];
        catalog.docs.push((section, text(&section_schema["description"])));
        for &key in keys {
            let schema = &section_schema["properties"][key];
            let path = format!("{section}.{key}");
            catalog.settings.push(Setting {
                variable: variable(&path, section, key),
                shape: Shape::of(schema),
                secret: schema["writeOnly"] == true,
                default: defaults[section][key].clone(),
                doc: text(&schema["description"]),
                path,
                section,
                key,
            });
        }
    }
    catalog
}

fn variable(path: &str, section: &str, key: &str) -> String {
    STANDARD_NAMES.iter().find(|(standard, _)| *standard == path).map_or_else(
        || format!("RAGQ_{}__{}", section.to_uppercase(), key.to_uppercase()),
        |(_, name)| (*name).to_owned(),
    )
}

/// A schema's description as one line: doc comments are broken where the source is.
fn text(description: &Value) -> String {
    description.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_meaning_and_a_name_of_its_own_and_a_default_of_its_shape() {
        let mut names = std::collections::HashSet::new();
        for setting in settings() {
            assert!(!setting.doc.is_empty(), "{} has no meaning", setting.path);
            assert!(names.insert(&setting.variable), "{} twice", setting.variable);
            let none = setting.default.is_null();
            assert!(none || setting.shape.admits(&setting.default), "{}: {}", setting.path, setting.default);
        }
    }

    #[test]
    fn every_standard_name_belongs_to_a_setting() {
        for (path, name) in STANDARD_NAMES {
            assert_eq!(setting(path).map(|setting| setting.variable.as_str()), Some(name), "{path}");
        }
    }

    #[test]
    fn shapes_and_secrets_come_from_the_types() {
        let of = |path: &str| setting(path).unwrap().clone();
        assert_eq!(of("api.allow_anonymous").shape, Shape::Switch);
        assert_eq!(of("retrieval.top_k").shape, Shape::Whole { min: 1, max: 50 });
        assert_eq!(of("worker.ingest_slots").shape, Shape::Whole { min: 0, max: 1024 });
        assert_eq!(of("api.rate_per_minute").shape, Shape::Whole { min: 1, max: u64::from(u32::MAX) });
        assert_eq!(of("model.temperature").shape, Shape::Number { min: 0.0, max: 2.0 });
        assert_eq!(of("log.format").shape, Shape::Words(vec!["pretty".into(), "json".into()]));
        assert_eq!(of("embedding.model").shape, Shape::Text { empty: false });
        let secret: Vec<_> = settings().iter().filter(|s| s.secret).map(|s| s.path.as_str()).collect();
        let expected = [
            "api.keys",
            "api.admin_token",
            "api.admin_tokens",
            "store.redis_url",
            "index.qdrant_api_key",
            "model.api_key",
            "fallback_1.api_key",
            "fallback_2.api_key",
            "client.api_key",
            "trace.otlp_headers",
        ];
        assert_eq!(secret, expected);
    }
}
