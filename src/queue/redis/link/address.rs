//! The address of a deployment: one URL, for Sentinel and Cluster with several hosts, separated by commas, as in
//! `rediss://user:password@one:26379,two:26379/0`. What is wrong with it is said without showing any of it.

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};

/// What the URL says.
pub(super) struct Address {
    /// The hosts with their ports, at least one.
    pub hosts: Vec<(String, u16)>,
    /// Whether the connection is encrypted; certificates are always verified.
    pub tls: bool,
    /// The user, if one is named.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database.
    pub database: i64,
}

impl Address {
    /// Reads a URL; hosts without a port have `default_port`.
    pub(super) fn parse(url: &str, default_port: u16) -> Result<Self, &'static str> {
        let (scheme, rest) = url.trim().split_once("://").ok_or("must begin with redis:// or rediss://")?;
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err("must begin with redis:// or rediss://"),
        };
        if rest.contains('#') {
            return Err("must not hold a #: in a password it is written %23, and certificates are always verified");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let mut read = Vec::new();
        let mut said = RedisConnectionInfo::default();
        for host in hosts.split(',') {
            // Each by itself is a URL as the client library knows it.
            let (address, settings) = one(&format!("{scheme}://{user}@{}{tail}", host.trim()), default_port)?;
            read.push(address);
            said = settings;
        }
        Ok(Self {
            hosts: read,
            tls,
            user: said.username().map(str::to_owned),
            password: said.password().map(str::to_owned),
            database: said.db(),
        })
    }
}

fn one(url: &str, default_port: u16) -> Result<((String, u16), RedisConnectionInfo), &'static str> {
    let unreadable = "must be redis://[user:password@]host[:port][/database]; signs that mean something in a URL \
                      are written as % and their number";
    let url = redis::parse_redis_url(url).ok_or(unreadable)?;
    let port = url.port().unwrap_or(default_port);
    let user_alone = !url.username().is_empty() && url.password().is_none();
    if user_alone {
        return Err("names a user without a password; a password alone is written redis://:password@host");
    }
    let info = url.into_connection_info().map_err(|_| "must name a host and, if anything, a database by its number")?;
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => {
            Ok(((host.clone(), port), info.redis_settings().clone()))
        }
        // The enum is open to new kinds of addresses.
        _ => Err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_all_their_parts() {
        let plain = Address::parse("redis://localhost", 6379).unwrap();
        assert_eq!(plain.hosts, [("localhost".to_owned(), 6379)]);
        assert_eq!((plain.tls, plain.user, plain.password, plain.database), (false, None, None, 0));
        let full = Address::parse("rediss://app:s%40fe@one:1,two,[::1]:3/7", 26379).unwrap();
        let hosts = [("one".to_owned(), 1), ("two".to_owned(), 26379), ("::1".to_owned(), 3)];
        assert_eq!(full.hosts, hosts);
        assert_eq!((full.tls, full.database), (true, 7));
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("app"), Some("s@fe")));
        let valkey = Address::parse(" valkeys://:safe@host/", 6379).unwrap();
        assert_eq!((valkey.tls, valkey.user, valkey.password.as_deref()), (true, None, Some("safe")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_it() {
        for bad in [
            "",
            "localhost:6379",
            "http://localhost",
            "unix:///run/redis.sock",
            "redis://",
            "redis://swordfish@host",
            "redis://host:99999",
            "redis://one,,two",
            "redis://host/first",
            "redis://:swordfish@0.0.0.0",
            "rediss://host/#insecure",
            "redis://app:sword/fish@host",
        ] {
            let why = Address::parse(bad, 6379).map(|_| ()).unwrap_err();
            assert!(why.starts_with("must ") || why.starts_with("names "), "{bad}: {why}");
            assert!(!why.contains("fish"), "{why}");
        }
    }
}
