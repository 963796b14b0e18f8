//! The web page in a real Chromium against the real binary.

mod ask;
mod browser;
mod documents;
mod everywhere;
mod operator;
mod safety;
mod site;

/// The same test with the jobs in a file and in Redis.
macro_rules! on_both_queues {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(crate::page::site::Queue::Embedded).await })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(crate::page::site::Queue::Redis).await })*
        }
    };
}
use on_both_queues;
