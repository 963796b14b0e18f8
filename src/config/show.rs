//! The effective settings as text or JSON, each with its source; secrets are masked by their type.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    Loaded,
    catalog::{self, Setting, Shape},
};

/// One line per setting, grouped like the configuration file.
pub fn text(loaded: &Loaded) -> String {
    let rows: Vec<_> = rows(loaded).map(|(setting, value, origin)| (setting, shown(setting, &value), origin)).collect();
    let names = rows.iter().map(|(setting, ..)| setting.path.len()).max().unwrap_or(0);
    // One very long value is not to push all sources off the screen.
    let values = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0).min(32);
    let mut out = String::new();
    for (setting, value, origin) in rows {
        // Writing to a string does not fail.
        writeln!(out, "{:names$}  {value:values$}  {origin}", setting.path).ok();
    }
    out
}

/// One object per setting: `name`, `variable`, `value` (null: none), `source`.
pub fn json(loaded: &Loaded) -> Value {
    rows(loaded)
        .map(|(setting, value, origin)| {
            json!({"name": setting.path, "variable": setting.variable, "value": value, "source": origin})
        })
        .collect()
}

fn rows(loaded: &Loaded) -> impl Iterator<Item = (&'static Setting, Value, String)> {
    let tree = serde_json::to_value(&loaded.settings).unwrap_or_default();
    catalog::settings().iter().map(move |setting| {
        let value = tree[setting.section][setting.key].clone();
        (setting, tidy(setting, value), loaded.origins.of(&setting.path).to_string())
    })
}

/// A number as it was written: 0.7 kept in 32 bits is 0.699999988 in 64.
fn tidy(setting: &Setting, value: Value) -> Value {
    let written = value.as_f64().map(|number| (number as f32).to_string());
    match (&setting.shape, written.and_then(|text| text.parse::<f64>().ok())) {
        (Shape::Number { .. }, Some(number)) => number.into(),
        _ => value,
    }
}

/// A value for people: none is a dash, text that could be taken for something else is quoted.
pub(super) fn shown(setting: &Setting, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if setting.secret && !text.is_empty() => text.clone(),
        Value::String(text) if text.is_empty() || text == "-" || text.contains(char::is_whitespace) => {
            format!("{text:?}")
        }
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
