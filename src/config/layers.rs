//! Reads what was given (file, environment, flags) and finds what is wrong with each value by itself.
//!
//! A layer is a list of given values; what one is worth is settled here, alone on top of the defaults, so that
//! one bad value hides no other. Rules between settings are in `checks`.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use serde_json::{Number, Value};

use super::{
    Flag, Sources,
    catalog::{self, Setting},
    environment::Environment,
    problem::{Origin, Problem},
    secret::MASK,
    settings::{SECTIONS, Settings},
};

/// The variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "RAGQ_CONFIG";
/// The file that is read without being named, if it is there.
pub const CONFIG_FILE: &str = "ragq.toml";

/// A value given for a setting.
pub(super) struct Given {
    pub setting: &'static Setting,
    pub origin: Origin,
    pub value: Value,
}

/// All that was given, weakest first, and all that is wrong with it.
#[derive(Default)]
pub(super) struct Layers {
    pub given: Vec<Given>,
    pub problems: Vec<Problem>,
    /// Settings whose value is wrong: rules that involve them can't be judged.
    pub spoiled: Vec<&'static str>,
}

impl Layers {
    pub(super) fn read(sources: &Sources) -> Self {
        let mut layers = Self::default();
        layers.read_file(sources);
        layers.read_environment(&sources.environment, &sources.directory);
        for flag in &sources.flags {
            layers.read_flag(flag);
        }
        layers
    }

    fn refuse(&mut self, setting: &'static Setting, origin: &Origin, message: impl Into<String>) {
        self.problems.push(Problem::of(&setting.path, origin, message));
        self.spoiled.push(&setting.path);
    }

    /// Takes the value if the setting, alone on top of the defaults, can have it.
    fn take(&mut self, setting: &'static Setting, origin: Origin, value: Value, given: &str) {
        if setting.secret && value == MASK {
            return self.refuse(
                setting,
                &origin,
                "is what stands for a secret when settings are shown, not the secret",
            );
        }
        let mut alone = catalog::defaults();
        alone[setting.section][setting.key] = value.clone();
        if setting.shape.admits(&value) && serde_json::from_value::<Settings>(alone).is_ok() {
            self.given.push(Given { setting, origin, value });
        } else {
            self.refuse(setting, &origin, setting.refusal(given));
        }
    }

    fn take_text(&mut self, setting: &'static Setting, origin: Origin, text: &str) {
        match setting.shape.parse(text) {
            Some(value) => self.take(setting, origin, value, text),
            None => self.refuse(setting, &origin, setting.refusal(text)),
        }
    }

    fn read_flag(&mut self, flag: &Flag) {
        match catalog::setting(flag.setting) {
            Some(setting) => self.take_text(setting, Origin::Flag(flag.name.to_owned()), &flag.value),
            None => self.problems.push(Problem::new(flag.name, format!("there is no setting {}", flag.setting))),
        }
    }

    fn read_environment(&mut self, environment: &Environment, directory: &Path) {
        for setting in catalog::settings() {
            let plain = environment.get(&setting.variable);
            let file = setting.file_variable().and_then(|name| Some((environment.get(&name)?, name)));
            match (plain, file) {
                (None, None) => {}
                (Some(value), None) => {
                    let origin = Origin::Environment(setting.variable.clone());
                    match value.to_str() {
                        Some(text) => self.take_text(setting, origin, text),
                        None => self.refuse(setting, &origin, "must be UTF-8"),
                    }
                }
                (None, Some((path, name))) => self.read_secret(setting, name, &directory.join(path)),
                (Some(_), Some((_, name))) => {
                    let origin = Origin::Environment(setting.variable.clone());
                    self.refuse(setting, &origin, format!("is given twice, also as {name}: unset one of the two"));
                }
            }
        }
        for (name, value) in environment.iter() {
            self.problems.extend(unknown_variable(name, value));
        }
    }

    fn read_secret(&mut self, setting: &'static Setting, variable: String, path: &Path) {
        let origin = Origin::Environment(variable);
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if text.is_empty() {
                    self.refuse(setting, &origin, format!("the file {} is empty", path.display()));
                } else {
                    self.take_text(setting, origin, text);
                }
            }
            Err(error) => self.refuse(setting, &origin, format!("can't read {}: {error}", path.display())),
        }
    }

    fn read_file(&mut self, sources: &Sources) {
        let (subject, path, named) = config_file(sources);
        let text = match std::fs::read_to_string(sources.directory.join(&path)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return,
            Err(error) => {
                self.problems.push(Problem::new(subject, format!("can't read {}: {error}", path.display())));
                return;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.read_table(&path, table),
            // Place and reason only: the full message quotes the line, which may hold a secret.
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                self.problems.push(Problem::new(format!("{} line {line}", path.display()), error.message()));
            }
        }
    }

    fn read_table(&mut self, path: &Path, table: toml::Table) {
        let file = path.display();
        for (section, keys) in table {
            let known = SECTIONS.iter().any(|(name, _)| *name == section);
            match keys {
                toml::Value::Table(keys) if known => {
                    for (key, value) in keys {
                        let name = format!("{section}.{key}");
                        match catalog::setting(&name) {
                            Some(setting) => self.take_toml(setting, Origin::File(path.to_owned()), &value),
                            None => self.problems.push(Problem::new(
                                format!("{file}: {name}"),
                                unknown("setting", &name, catalog::settings().iter().map(|s| s.path.as_str())),
                            )),
                        }
                    }
                }
                _ if known => self.problems.push(Problem::new(
                    format!("{file}: {section}"),
                    format!("is a section: write [{section}] and its settings below"),
                )),
                _ => self.problems.push(Problem::new(
                    format!("{file}: {section}"),
                    unknown("section", &section, SECTIONS.iter().map(|(name, _)| *name)),
                )),
            }
        }
    }

    fn take_toml(&mut self, setting: &'static Setting, origin: Origin, value: &toml::Value) {
        let (json, given) = match value {
            toml::Value::String(text) => (Some(Value::from(text.as_str())), text.clone()),
            toml::Value::Integer(number) => (Some(Value::from(*number)), number.to_string()),
            toml::Value::Float(number) => (Number::from_f64(*number).map(Value::Number), number.to_string()),
            toml::Value::Boolean(switch) => (Some(Value::from(*switch)), switch.to_string()),
            toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
                (None, value.type_str().to_owned())
            }
        };
        match json {
            Some(json) => self.take(setting, origin, json, &given),
            None => self.refuse(setting, &origin, setting.refusal(&given)),
        }
    }
}

/// Who names the configuration file, its path, and whether it was named (then it must be there).
fn config_file(sources: &Sources) -> (&'static str, PathBuf, bool) {
    if let Some(path) = &sources.config_file {
        ("--config", path.clone(), true)
    } else if let Some(path) = sources.environment.get(CONFIG_VARIABLE) {
        (CONFIG_VARIABLE, path.into(), true)
    } else {
        (CONFIG_FILE, CONFIG_FILE.into(), false)
    }
}

fn unknown_variable(name: &str, value: &OsStr) -> Option<Problem> {
    let ours = name.starts_with("RAGQ_") && name != CONFIG_VARIABLE;
    if !ours || is_service_link(name, value) {
        return None;
    }
    let known: Vec<_> =
        catalog::settings().iter().flat_map(|s| [Some(s.variable.clone()), s.file_variable()]).collect();
    if known.iter().flatten().any(|variable| variable == name) {
        return None;
    }
    // A setting with a standard name has only that one: say it, rather than the nearest spelling.
    let regular = name.trim_start_matches("RAGQ_").to_lowercase().replace("__", ".");
    let message = match catalog::setting(&regular) {
        Some(setting) => format!("unknown variable: {} is set by {}", setting.path, setting.variable),
        None => unknown("variable", name, known.iter().flatten().map(String::as_str).chain([CONFIG_VARIABLE])),
    };
    Some(Problem::new(name, message))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Optimal string alignment also counts two swapped letters as one slip.
    let nearest = known.map(|other| (strsim::osa_distance(name, other), other)).min();
    // What all variables share says nothing about the one that was meant.
    let own = name.trim_start_matches("RAGQ_").len();
    match nearest {
        Some((distance, other)) if distance <= own.div_ceil(3) => {
            format!("unknown {what}, did you mean {other}?")
        }
        _ => format!("unknown {what}; `ragq config docs` lists all"),
    }
}

/// Whether Kubernetes made the variable: it describes every Service of the namespace to every pod, so one called
/// `ragq` or `ragq-api` gives `RAGQ_PORT`, `RAGQ_API_SERVICE_HOST` and so on
/// (<https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>).
fn is_service_link(name: &str, value: &OsStr) -> bool {
    if name.contains("__") {
        return false;
    }
    let address = value.to_str().is_some_and(|value| value.contains("://"));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && address)
        || name.rsplit_once("_PORT_").is_some_and(|(_, port)| {
            let mut parts = port.split('_');
            let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
            number && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_describe_kubernetes_services_are_let_be_and_others_are_not() {
        for (name, value) in [
            ("RAGQ_SERVICE_HOST", "10.0.0.1"),
            ("RAGQ_SERVICE_PORT", "8080"),
            ("RAGQ_API_SERVICE_PORT_HTTP", "8080"),
            ("RAGQ_API_PORT", "tcp://10.0.0.1:8080"),
            ("RAGQ_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("RAGQ_PORT_8080_TCP_PROTO", "tcp"),
            ("RAGQ_PORT_8080_TCP_PORT", "8080"),
            ("RAGQ_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(unknown_variable(name, OsStr::new(value)), None, "{name}");
        }
        for (name, value) in [("RAGQ_PORT", "8080"), ("RAGQ_API__PORT", "tcp://x"), ("RAGQ_PORT_X_TCP", "1")] {
            assert!(unknown_variable(name, OsStr::new(value)).is_some(), "{name}");
        }
    }
}
