//! The reference of all settings as Markdown; `docs/configuration.md` holds exactly this.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    CONFIG_FILE, CONFIG_VARIABLE,
    catalog::{self, Setting, Shape},
};

/// The whole page.
pub fn markdown() -> String {
    let mut out = format!(
        "<!-- Made by `ragq config docs > docs/configuration.md`; a test keeps it in step. -->\n\
         # Configuration\n\n\
         Every setting has a default; what is given wins over it, weakest first: `{CONFIG_FILE}`, environment, flags.\n\n\
         * **File**: `{CONFIG_FILE}` in the working directory, or the one named by `{CONFIG_VARIABLE}` (for \
         `ragq config` also by `--config FILE`), which then must be there. `key = value` below `[section]`.\n\
         * **Environment**: the variables below. An empty one counts as unset. A secret can be given as a file \
         instead: add `_FILE` to its variable and give the file's path; one line break at its end is ignored.\n\
         * **Flags**: see `ragq help`.\n\n\
         A key or a `RAGQ_` variable that is not below is an error, so that a slip of the pen is never silently \
         ignored (variables that Kubernetes makes for Services are let be). `ragq config check` names everything \
         that is wrong and ends with exit code 64; `ragq config show` prints each setting's value and where it \
         came from, with secrets masked.\n\n\
         Names end in their unit: `_ms` milliseconds, `_s` seconds, `_bytes`, `_chars`, `_tokens`.\n"
    );
    for section in catalog::sections() {
        // Writing to a string does not fail.
        write!(out, "\n## {}\n\n{}\n\n", section.name, section.doc).ok();
        out.push_str("| key | variable | default | allowed | meaning |\n|---|---|---|---|---|\n");
        for setting in catalog::settings().iter().filter(|setting| setting.section == section.name) {
            row(&mut out, setting);
        }
    }
    out
}

fn row(out: &mut String, setting: &Setting) {
    let default = match &setting.default {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => format!("`{}`", setting.default),
    };
    let file = if setting.secret { " (secret)" } else { "" };
    let allowed = match &setting.shape {
        Shape::Whole { min, max } => format!("{min} to {max}"),
        Shape::Number { min, max } => format!("{min} to {max}, also fractions"),
        Shape::Text { .. } => "text".to_owned(),
        Shape::Switch | Shape::Words(_) => setting.shape.to_string(),
    };
    let Setting { key, variable, doc, .. } = setting;
    writeln!(out, "| `{key}` | `{variable}`{file} | {default} | {allowed} | {doc} |").ok();
}
