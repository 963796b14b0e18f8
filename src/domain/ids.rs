//! Identifiers: jobs, tenants, documents, collections, workers, leases.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

/// A job's id: a ULID, so that ids sort by the time they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
pub struct JobId(Ulid);

/// The text is not a job id (26 characters of Crockford's base 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job id is a ULID: 26 characters of 0-9 and A-Z without I, L, O, U")]
pub struct MalformedJobId;

impl JobId {
    /// A new id for a job made at `at_ms` (milliseconds since 1970, UTC).
    pub fn new(at_ms: i64) -> Self {
        Self(Ulid::from_parts(at_ms.max(0) as u64, rand::random()))
    }

    /// The id that sorts after all others.
    pub const LAST: Self = Self(Ulid::max());

    /// The id as the number it is.
    pub const fn bits(self) -> u128 {
        self.0.0
    }
}

impl FromStr for JobId {
    type Err = MalformedJobId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A ULID has 128 bits: a first character above 7 overflows, which the parser lets through.
        if text.as_bytes().first().is_none_or(|first| *first > b'7') {
            return Err(MalformedJobId);
        }
        Ulid::from_string(text).map(Self).map_err(|_| MalformedJobId)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Whose a record is: the name of the API key, `default` without keys.
    Tenant
}
name! {
    /// A document's id, unique within its tenant: given by the caller or derived from its source.
    DocumentId
}
name! {
    /// A named set of documents, `default` unless the caller says otherwise.
    Collection
}
name! {
    /// One boot of one worker process: `name:ULID`. Two boots never share an id.
    WorkerId
}

impl Default for Tenant {
    fn default() -> Self {
        "default".into()
    }
}

impl Tenant {
    /// Whose the operator's own jobs are: no API key can have this name.
    pub fn operator() -> Self {
        "(operator)".into()
    }
}
impl Default for Collection {
    fn default() -> Self {
        "default".into()
    }
}

impl WorkerId {
    /// The id of a new boot of the worker called `name`.
    pub fn boot(name: &str) -> Self {
        Self(boot(name).into())
    }
}

/// What one boot of a process called `name` is known by: `name:ULID`. No two boots share it.
pub fn boot(name: &str) -> String {
    format!("{name}:{}", Ulid::from_parts(0, rand::random()))
}

/// The right to work on one delivery of one job; whoever holds an outdated one is refused.
///
/// The fencing token is `worker` + `delivery`: a worker that gets the same job twice holds two different leases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The worker's boot.
    pub worker: WorkerId,
    /// The how-manieth handing over of the job this is, over its whole life (a replay does not reset it).
    pub delivery: u64,
}
