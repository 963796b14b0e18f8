//! What a server tells about itself: `INFO`, and `CONFIG GET` where it is allowed.

use std::{collections::HashMap, fmt};

use redis::aio::MultiplexedConnection;

use super::faults::{Fault, Trouble};

/// A server's version, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The fields of `INFO`.
#[derive(Default)]
pub(in crate::queue::redis) struct Info(HashMap<String, String>);

impl Info {
    /// Asks for these sections.
    pub(super) async fn ask(connection: &mut MultiplexedConnection, sections: &[&str]) -> Result<Self, Trouble> {
        let text: String = redis::cmd("INFO").arg(sections).query_async(connection).await?;
        Ok(Self::parse(&text))
    }

    /// Reads what `INFO` says.
    pub(in crate::queue::redis) fn parse(text: &str) -> Self {
        let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// A field's value.
    pub(in crate::queue::redis) fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A field that is a number.
    pub(in crate::queue::redis) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// The version of Redis that the server behaves like; Valkey names one, too, besides its own.
    pub(super) fn version(&self) -> Option<Version> {
        let read = |name| {
            let mut parts = self.field(name)?.split('.').map(str::parse);
            Some(Version(parts.next()?.ok()?, parts.next()?.ok()?))
        };
        match (read("redis_version"), read("valkey_version")) {
            (Some(redis), Some(valkey)) => Some(redis.max(valkey)),
            (redis, valkey) => redis.or(valkey),
        }
    }
}

/// A setting of the server; none if it does not tell, as most managed ones don't.
pub(super) async fn config(connection: &mut MultiplexedConnection, name: &str) -> Result<Option<String>, Trouble> {
    match redis::cmd("CONFIG").arg("GET").arg(name).query_async::<HashMap<String, String>>(connection).await {
        Ok(mut found) => Ok(found.remove(name)),
        Err(error) => {
            let trouble = Trouble::from(error);
            match trouble.fault {
                // Forbidden, renamed or unknown there.
                Fault::Denied | Fault::Broken => Ok(None),
                Fault::Undone
                | Fault::Unclear
                | Fault::Unloaded
                | Fault::Full
                | Fault::Disk
                | Fault::Locked
                | Fault::Unsafe => Err(trouble),
            }
        }
    }
}

#[cfg(test)]
impl Info {
    pub(super) fn of(text: &str) -> Self {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_all_sections() {
        let info = Info::parse("# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n");
        assert_eq!(info.field("maxmemory_policy"), Some("noeviction"));
        assert_eq!(info.field("aof_enabled"), None);
        assert_eq!(info.number("redis_version"), None);
    }

    #[test]
    fn versions_of_redis_and_valkey_are_read_and_compared_as_numbers() {
        let table = [
            ("redis_version:7.0.15", Some(Version(7, 0))),
            ("redis_version:6.2.14", Some(Version(6, 2))),
            ("redis_version:10.0.1", Some(Version(10, 0))),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0", Some(Version(8, 1))),
            ("valkey_version:9.0.0", Some(Version(9, 0))),
            ("redis_version:unstable", None),
            ("os:Linux", None),
        ];
        for (text, version) in table {
            assert_eq!(Info::parse(text).version(), version, "{text}");
        }
        assert!(Version(10, 0) > Version(7, 2) && Version(7, 2) > Version(7, 0));
    }
}
