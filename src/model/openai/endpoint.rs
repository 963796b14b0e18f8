//! Where the provider is and what authorises us: async-openai's `Config`, ours because its own sends an
//! empty `Authorization` header when there is no key and reads the environment by itself.

use std::fmt;

use async_openai::config::{Config, OPENAI_API_BASE};
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use secrecy::{ExposeSecret, SecretString};

use super::SetupError;
use crate::config::settings;

/// Azure takes a key in a header of its own; `Authorization` is for its tokens.
const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");

/// One provider's address, key and headers.
#[derive(Clone)]
pub(super) struct Endpoint {
    base: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    key: SecretString,
    official: bool,
}

impl Endpoint {
    /// The endpoint that the settings describe.
    pub(super) fn new(settings: &settings::Model) -> Result<Self, SetupError> {
        let given = settings.base_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        let url = Url::parse(given.unwrap_or(OPENAI_API_BASE)).map_err(|_| SetupError::BaseUrl("is not an address"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(SetupError::BaseUrl("must begin with http:// or https://"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let key = settings.api_key.as_ref().map_or("", |key| key.expose().trim());
        let mut base = url;
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
            query,
            headers: headers(key, host.ends_with(".azure.com"))?,
            key: key.into(),
            official: host == "api.openai.com",
        })
    }

    /// The key, to be masked wherever a provider repeats it; empty without one.
    pub(super) fn secret(&self) -> &str {
        self.key.expose_secret()
    }

    /// Whether this is `OpenAI` itself.
    pub(super) const fn is_official(&self) -> bool {
        self.official
    }
}

fn headers(key: &str, azure: bool) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("ragq/", env!("CARGO_PKG_VERSION"))));
    if !key.is_empty() {
        let (name, value) = if azure { (AZURE_KEY, key.to_owned()) } else { (AUTHORIZATION, format!("Bearer {key}")) };
        let mut value = HeaderValue::from_str(&value).map_err(|_| SetupError::ApiKey)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("official", &self.official).finish_non_exhaustive()
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base_url: Option<&str>, api_key: Option<&str>) -> Result<Endpoint, SetupError> {
        Endpoint::new(&settings::Model {
            base_url: base_url.map(Into::into),
            api_key: api_key.map(Into::into),
            ..settings::Model::default()
        })
    }

    #[test]
    fn the_base_address_is_used_as_given_without_its_last_slash() {
        for (given, url) in [
            (None, "https://api.openai.com/v1/x"),
            (Some("http://h:1/v1"), "http://h:1/v1/x"),
            (Some("http://h:1/v1/"), "http://h:1/v1/x"),
            (Some(" http://h:1 \n"), "http://h:1/x"),
            (Some("http://h:1//"), "http://h:1/x"),
        ] {
            assert_eq!(endpoint(given, None).unwrap().url("/x"), url, "{given:?}");
        }
    }

    #[test]
    fn a_query_of_the_base_address_goes_with_every_request() {
        let azure =
            endpoint(Some("https://r.openai.azure.com/openai/deployments/d?api-version=2024-10-21"), None).unwrap();
        assert_eq!(azure.url("/x"), "https://r.openai.azure.com/openai/deployments/d/x");
        assert_eq!(azure.query(), [("api-version", "2024-10-21")]);
    }

    #[test]
    fn without_a_key_there_is_no_authorization_header_at_all() {
        for none in [None, Some(""), Some("  \n")] {
            assert!(endpoint(None, none).unwrap().headers().get(AUTHORIZATION).is_none());
        }
        let with = endpoint(None, Some("sk-1\n")).unwrap().headers();
        assert_eq!(with[AUTHORIZATION], "Bearer sk-1");
        assert!(with[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn azure_gets_the_key_in_its_own_header() {
        let headers = endpoint(Some("https://r.openai.azure.com/openai/v1"), Some("k")).unwrap().headers();
        assert_eq!(headers["api-key"], "k");
        assert!(headers.get(AUTHORIZATION).is_none());
    }

    #[test]
    fn what_is_no_address_is_refused_by_the_name_of_its_setting() {
        for bad in ["localhost:11434", "ftp://h/v1", "/v1", "http://"] {
            let error = endpoint(Some(bad), None).unwrap_err().to_string();
            assert!(error.contains("OPENAI_BASE_URL"), "{bad}: {error}");
        }
        assert!(matches!(endpoint(None, Some("a\u{7}b")), Err(SetupError::ApiKey)));
    }
}
