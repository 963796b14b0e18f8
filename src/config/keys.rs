//! What some settings' texts stand for: API keys and admin tokens with their names, the address to listen on.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use super::{
    problem::Problem,
    secret::Secret,
    settings::{Api, Settings},
};
use crate::domain::ids::Tenant;

/// The variables that problems with the keys and tokens are named by.
const KEYS: &str = "RAGQ_API__KEYS";
const ADMIN_TOKENS: &str = "RAGQ_ADMIN_TOKENS";
const ADMIN_TOKEN: &str = "RAGQ_ADMIN_TOKEN";
/// The name of whoever shows the admin token that has none of its own.
const ADMIN: &str = "admin";
/// The shortest secret with a name, in characters: 16 random ones can't be guessed over a network.
const MIN_SECRET_CHARS: usize = 16;
/// The longest name, in characters.
const MAX_NAME_CHARS: usize = 64;

impl Settings {
    /// The API keys with their tenants, none if keys are not used; fails at the first that is malformed.
    pub fn api_keys(&self) -> Result<Vec<(Tenant, Secret)>, Problem> {
        let keys = named(&self.api.keys, "key").map_err(|why| Problem::new(KEYS, why))?;
        Ok(keys.into_iter().map(|(name, key)| (name.into(), key.into())).collect())
    }

    /// The admin tokens with the names that the audit log calls their holders by; fails at the first that is malformed
    /// or can't be told from the one without a name, and at one that is an API key too: whoever has that must not be
    /// taken for an operator.
    pub fn admin_tokens(&self) -> Result<Vec<(Arc<str>, Secret)>, Problem> {
        let refused = |why| Problem::new(ADMIN_TOKENS, why);
        let mut tokens: Vec<(Arc<str>, Secret)> = Vec::new();
        for (name, token) in named(&self.api.admin_tokens, "token").map_err(refused)? {
            if name == ADMIN {
                return Err(refused(format!("the name {ADMIN} is that of RAGQ_ADMIN_TOKEN")));
            }
            if self.api.admin_token.as_ref().is_some_and(|one| one.matches(token)) {
                return Err(refused(format!("the token of {name} is also RAGQ_ADMIN_TOKEN")));
            }
            tokens.push((name.into(), token.into()));
        }
        tokens.extend(self.api.admin_token.clone().map(|token| (ADMIN.into(), token)));
        let keys = named(&self.api.keys, "key").unwrap_or_default();
        let shared = tokens.iter().find_map(|(name, token)| {
            keys.iter().find(|(_, key)| token.matches(key)).map(|(tenant, _)| (name, tenant))
        });
        match shared {
            Some((name, tenant)) if &**name == ADMIN => {
                Err(Problem::new(ADMIN_TOKEN, format!("is also the key of {tenant} in {KEYS}")))
            }
            Some((name, tenant)) => Err(refused(format!("the token of {name} is also the key of {tenant} in {KEYS}"))),
            None => Ok(tokens),
        }
    }
}

/// The names and secrets of `name:secret,...`; `what` the secrets are called when one is refused.
fn named<'a>(text: &'a Secret, what: &str) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut pairs = Vec::new();
    let (mut names, mut seen) = (HashSet::new(), HashSet::new());
    let entries = text.expose().split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    for (nth, entry) in (1..).zip(entries) {
        // Entries are told by number: what looks like a malformed name may be a secret.
        let (name, secret) = pair(entry, what).map_err(|why| format!("entry {nth}: {why}"))?;
        if !names.insert(name) {
            return Err(format!("entry {nth}: the name {name} is there twice"));
        }
        if !seen.insert(secret) {
            return Err(format!("entry {nth}: the {what} of {name} is there twice"));
        }
        pairs.push((name, secret));
    }
    Ok(pairs)
}

fn pair<'a>(entry: &'a str, what: &str) -> Result<(&'a str, &'a str), String> {
    let (name, secret) = entry.split_once(':').ok_or_else(|| format!("must be name:{what}"))?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(plain) {
        return Err(format!("the name must be 1 to {MAX_NAME_CHARS} characters of a-z, 0-9, _ and -"));
    }
    if secret.len() < MIN_SECRET_CHARS {
        return Err(format!("the {what} of {name} must have at least {MIN_SECRET_CHARS} characters"));
    }
    if !is_token(secret) {
        return Err(format!("the {what} of {name} must be printable ASCII without spaces"));
    }
    Ok((name, secret))
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
    fn admin_tokens_have_names_beside_the_one_that_has_none() {
        let tokens = |one: Option<&str>, named: &str| {
            let mut settings = Settings::default();
            settings.api.admin_token = one.map(Secret::from);
            settings.api.admin_tokens = named.into();
            let tokens = settings.admin_tokens().map_err(|problem| problem.to_string())?;
            Ok::<_, String>(tokens.iter().map(|(name, token)| format!("{name}={}", token.expose())).collect::<Vec<_>>())
        };
        assert_eq!(tokens(None, ""), Ok(vec![]));
        assert_eq!(tokens(Some("t"), ""), Ok(vec!["admin=t".to_owned()]));
        let (ana, both) = ("ana=0123456789abcdef".to_owned(), "ana:0123456789abcdef\nben:fedcba9876543210");
        assert_eq!(tokens(Some("t"), "ana:0123456789abcdef"), Ok(vec![ana.clone(), "admin=t".to_owned()]));
        assert_eq!(tokens(None, both), Ok(vec![ana, "ben=fedcba9876543210".to_owned()]));
        for (one, named, why) in [
            (None, "0123456789abcdef", "RAGQ_ADMIN_TOKENS: entry 1: must be name:token"),
            (None, "ana:0123456789", "RAGQ_ADMIN_TOKENS: entry 1: the token of ana must have at least 16"),
            (None, "admin:0123456789abcdef", "RAGQ_ADMIN_TOKENS: the name admin is that of RAGQ_ADMIN_TOKEN"),
            (
                Some("0123456789abcdef"),
                "ana:0123456789abcdef",
                "RAGQ_ADMIN_TOKENS: the token of ana is also RAGQ_ADMIN_",
            ),
        ] {
            let message = tokens(one, named).unwrap_err();
            assert!(message.starts_with(why) && !message.contains("0123456789"), "{message}");
        }
    }

    #[test]
    fn an_admin_token_that_is_an_api_key_too_is_refused() {
        let problem = |one: Option<&str>, named: &str| {
            let mut settings = Settings::default();
            settings.api.keys = "web:0123456789abcdef".into();
            settings.api.admin_token = one.map(Secret::from);
            settings.api.admin_tokens = named.into();
            settings.admin_tokens().map(|tokens| tokens.len()).map_err(|problem| problem.to_string())
        };
        assert_eq!(problem(Some("fedcba9876543210"), "ana:fedcba98765432100"), Ok(2));
        for (one, named, why) in [
            (Some("0123456789abcdef"), "", "RAGQ_ADMIN_TOKEN: is also the key of web in RAGQ_API__KEYS"),
            (None, "ana:0123456789abcdef", "RAGQ_ADMIN_TOKENS: the token of ana is also the key of web in RAGQ_API__K"),
        ] {
            let message = problem(one, named).unwrap_err();
            assert!(message.starts_with(why) && !message.contains("0123456789"), "{message}");
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
