//! What some settings' texts stand for: the API keys and the address to listen on.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::{
    problem::Problem,
    secret::Secret,
    settings::{Api, Settings},
};
use crate::domain::ids::Tenant;

/// The variable problems with the keys are named by.
const KEYS: &str = "RAGQ_API__KEYS";
/// The shortest API key, in characters: 16 random ones can't be guessed over a network.
const MIN_KEY_CHARS: usize = 16;
/// The longest name of an API key, in characters.
const MAX_NAME_CHARS: usize = 64;

impl Settings {
    /// The API keys with their tenants, none if keys are not used; fails at the first that is malformed.
    pub fn api_keys(&self) -> Result<Vec<(Tenant, Secret)>, Problem> {
        let mut keys = Vec::new();
        let (mut names, mut seen) = (HashSet::new(), HashSet::new());
        let entries = self.api.keys.expose().split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (nth, entry) in (1..).zip(entries) {
            // Entries are told by number: what looks like a malformed name may be a key.
            let (name, key) = parse_key(entry).map_err(|why| Problem::new(KEYS, format!("entry {nth}: {why}")))?;
            if !names.insert(name) {
                return Err(Problem::new(KEYS, format!("entry {nth}: the name {name} is there twice")));
            }
            if !seen.insert(key) {
                return Err(Problem::new(KEYS, format!("entry {nth}: the key of {name} is there twice")));
            }
            keys.push((name.into(), key.into()));
        }
        Ok(keys)
    }
}

fn parse_key(entry: &str) -> Result<(&str, &str), String> {
    let (name, key) = entry.split_once(':').ok_or("must be name:key")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(plain) {
        return Err(format!("the name must be 1 to {MAX_NAME_CHARS} characters of a-z, 0-9, _ and -"));
    }
    if key.len() < MIN_KEY_CHARS {
        return Err(format!("the key of {name} must have at least {MIN_KEY_CHARS} characters"));
    }
    if !is_token(key) {
        return Err(format!("the key of {name} must be printable ASCII without spaces"));
    }
    Ok((name, key))
}

/// Whether the text can be sent as a bearer token: printable ASCII without spaces.
pub(super) fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Api {
    /// The address to listen on; none if `listen` is not one.
    pub fn listen_address(&self) -> Option<SocketAddr> {
        listen_address(&self.listen)
    }
}

/// An address to listen on, as settings write it: `ADDRESS:PORT`, `localhost:PORT`, or `:PORT` for all addresses.
pub fn listen_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    match host {
        "" => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().ok()?)),
        "localhost" => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut settings = Settings::default();
        settings.api.keys = text.into();
        let pairs = |keys: Vec<(Tenant, Secret)>| {
            keys.iter().map(|(name, key)| (name.to_string(), key.expose().to_owned())).collect()
        };
        settings.api_keys().map(pairs).map_err(|problem| problem.to_string())
    }

    #[test]
    fn keys_are_told_apart_by_name() {
        assert_eq!(keys(""), Ok(vec![]));
        let expected = vec![
            ("web".to_owned(), "0123456789abcdef".to_owned()),
            ("bot_2".to_owned(), "fedcba98765:4321".to_owned()),
        ];
        assert_eq!(keys("web:0123456789abcdef, bot_2:fedcba98765:4321\n").as_ref(), Ok(&expected));
        assert_eq!(keys("web:0123456789abcdef\r\nbot_2:fedcba98765:4321").as_ref(), Ok(&expected));
    }

    #[test]
    fn a_malformed_key_is_refused_without_showing_it() {
        for (text, why) in [
            ("0123456789abcdef", "must be name:key"),
            ("Web:0123456789abcdef", "1 to 64 characters"),
            (":0123456789abcdef", "1 to 64 characters"),
            ("web:0123456789abcde", "at least 16"),
            ("web:0123456789 abcdef", "without spaces"),
            ("web:0123456789abcdéf", "printable ASCII"),
            ("web:0123456789abcdef,web:1123456789abcdef", "the name web is there twice"),
            ("web:0123456789abcdef,bot:0123456789abcdef", "the key of bot is there twice"),
        ] {
            let message = keys(text).unwrap_err();
            assert!(message.contains(why), "{text}: {message}");
            assert!(!message.contains("0123456789"), "{message}");
        }
    }

    #[test]
    fn an_address_may_leave_out_the_host() {
        for (text, expected) in [
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("localhost:8080", Some("127.0.0.1:8080")),
            (":8080", Some("0.0.0.0:8080")),
            ("[::1]:0", Some("[::1]:0")),
            ("8080", None),
            ("127.0.0.1", None),
            ("example.com:80", None),
            (":80800", None),
        ] {
            let api = Api { listen: text.into(), ..Api::default() };
            assert_eq!(api.listen_address(), expected.map(|address| address.parse().unwrap()), "{text}");
        }
    }
}
