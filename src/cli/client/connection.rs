//! Where the API is and what to show it, from flags and settings.

use std::fmt;

use crate::{
    cli::error::CliError,
    config::{self, Environment, Purpose, Secret, Settings, Sources},
};

/// An API and the caller's secrets for it.
#[derive(Clone)]
pub struct Connection {
    /// Its address, without a slash at the end.
    pub url: String,
    /// The caller's key, if the API wants one.
    pub api_key: Option<Secret>,
    /// The operator's token, for the admin routes.
    pub admin_token: Option<Secret>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection to the API at `url` without secrets.
    pub fn to(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), api_key: None, admin_token: None }
    }

    /// From the settings: `--url`, `RAGQ_URL`, `RAGQ_API_KEY`, `RAGQ_ADMIN_TOKEN`, or the configuration file.
    pub fn load(url: Option<&str>, environment: Environment) -> Result<Self, CliError> {
        let sources = Sources { purpose: Purpose::Client, ..Sources::new(environment) };
        let loaded = config::load(&sources.with_flag("--url", "client.url", url))
            .map_err(|problems| CliError::Usage(problems.to_string()))?;
        Ok(Self::of(loaded.settings))
    }

    /// From settings that are read.
    pub fn of(settings: Settings) -> Self {
        Self {
            api_key: settings.client.api_key,
            admin_token: settings.api.admin_token,
            ..Self::to(&settings.client.url)
        }
    }
}
