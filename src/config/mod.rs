//! All settings of ragq: where they come from, what they may be, how they are shown and documented.
//!
//! One struct per section ([`settings`]); `RAGQ_SECTION__KEY` in the environment and `[section] key` in
//! `ragq.toml` name the same field. Layers, checks and documentation are made from these structs. Weakest
//! first: defaults, file, environment, flags. [`load`] tells all that is wrong at once.

use std::path::PathBuf;

pub mod catalog;
mod checks;
pub mod docs;
pub mod environment;
mod keys;
mod layers;
pub mod problem;
pub mod secret;
pub mod settings;
pub mod show;

pub use environment::Environment;
pub use keys::listen_address;
pub use layers::{CONFIG_FILE, CONFIG_VARIABLE};
pub use problem::{Origin, Origins, Problem, Problems};
pub use secret::Secret;
pub use settings::Settings;

use layers::Layers;

/// What the settings are for: a client is not to fail over what only a server needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To serve in one process: everything is checked.
    #[default]
    Serve,
    /// To serve as the API beside workers.
    Api,
    /// To work beside APIs.
    Worker,
    /// To talk to a running ragq: every value is read, but only the client's own are checked together.
    Client,
}

/// A flag of the command line that stands for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As it is written, such as `--listen`.
    pub name: &'static str,
    /// The setting, as `section.key`.
    pub setting: &'static str,
    /// What was given.
    pub value: String,
}

/// Everything settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The process's environment.
    pub environment: Environment,
    /// The working directory; relative file names start here. Empty: the process's own.
    pub directory: PathBuf,
    /// The file named by `--config`.
    pub config_file: Option<PathBuf>,
    /// Flags that stand for settings.
    pub flags: Vec<Flag>,
    /// What the settings are for.
    pub purpose: Purpose,
    /// Whether this is the check before a deployment, which refuses what a process starts with, warning.
    pub deploying: bool,
}

impl Sources {
    /// The environment and `ragq.toml` in the working directory, for serving.
    pub fn new(environment: Environment) -> Self {
        Self { environment, ..Self::default() }
    }

    /// The same with a flag, if it was given: `.with_flag("--listen", "api.listen", args.listen)`.
    #[must_use]
    pub fn with_flag(mut self, name: &'static str, setting: &'static str, value: Option<impl Into<String>>) -> Self {
        self.flags.extend(value.map(|value| Flag { name, setting, value: value.into() }));
        self
    }
}

/// Settings that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each came from.
    pub origins: Origins,
    /// What is allowed but worth a warning at start, one sentence each.
    pub notices: Vec<Problem>,
}

/// Reads, merges and checks all settings; on failure says everything that is wrong.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let Layers { given, mut problems, spoiled } = Layers::read(sources);
    let mut tree = catalog::defaults();
    let mut origins = Origins::default();
    for value in given {
        tree[value.setting.section][value.setting.key] = value.value;
        origins.set(&value.setting.path, value.origin);
    }
    // Every value fits by itself and values do not depend on each other, so the whole fits.
    let settings: Settings = match serde_json::from_value(tree) {
        Ok(settings) => settings,
        Err(_) if !problems.is_empty() => return Err(Problems(problems)),
        Err(_) => return Err(Problems(vec![Problem::new("configuration", "does not fit together")])),
    };
    let findings = checks::check(&settings, &origins, &spoiled, sources);
    problems.extend(findings.problems);
    if problems.is_empty() {
        Ok(Loaded { settings, origins, notices: findings.notices })
    } else {
        Err(Problems(problems))
    }
}
