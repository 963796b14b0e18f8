//! The web page in a real Chromium against the real binary.

mod ask;
mod asker;
mod browser;
mod documents;
mod everywhere;
mod operator;
mod safety;
mod site;

/// The same test with everything in one process, and with an API and a worker of their own on Redis.
macro_rules! in_both_shapes {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(crate::page::site::Shape::Embedded).await })*
        }
        mod distributed {
            $(#[tokio::test] async fn $name() { super::$name(crate::page::site::Shape::Distributed).await })*
        }
    };
}
use in_both_shapes;
