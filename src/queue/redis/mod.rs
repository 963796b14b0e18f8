//! The job store in Redis or Valkey, for many processes.
//!
//! [`link`] reaches the server, whatever happens to it.

pub mod link;
