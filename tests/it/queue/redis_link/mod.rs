//! The link to Redis against real servers that fail in real ways.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use std::time::Duration;

use ragq::queue::redis::link::{Confirm, Link, LinkError, LinkOptions, Mode, Script};

mod access;
mod confirmed;
mod faults;
pub mod finding;
mod safety;

/// The key that all calls of these tests use.
const KEY: &str = "{ragq}:data";

/// Counts its runs for one call, known by its name: how often it ran before, and whether it was told so.
const MARK: &str = "local before = redis.call('HINCRBY', KEYS[1], ARGV[1], 1) - 1 return {before, tonumber(ARGV[2])}";

/// Options for a link to this address, quick to notice and patient enough for a slow machine.
fn options(url: impl Into<String>) -> LinkOptions {
    LinkOptions {
        url: url.into().into(),
        mode: Mode::Single,
        key: KEY.to_owned(),
        tls_ca_file: None,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(2),
        patience: Duration::from_secs(30),
        fsync: false,
        min_replicas: 0,
        allow_unsafe: false,
    }
}

fn link(url: impl Into<String>) -> Link {
    Link::new(options(url)).unwrap()
}

/// Runs [`MARK`] for the call of this name.
async fn mark(link: &Link, name: &str, confirm: Confirm) -> Result<(u64, bool), LinkError> {
    let told: (u64, u8) = link
        .script(&Script::new(MARK), confirm, |again, call| {
            call.arg(name).arg(u8::from(again));
        })
        .await?;
    Ok((told.0, told.1 == 1))
}

/// The same for a call that must go well: done once, or knowing that it may have been done before.
async fn call(link: &Link, name: &str) {
    let (before, again) = mark(link, name, Confirm::No).await.unwrap();
    assert!(before == 0 || again, "{name} ran {} times and was not told", before + 1);
}
