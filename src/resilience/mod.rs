//! What follows from a failure: backoff and the decision between retry, deferral and death. Pure.

pub mod backoff;
pub mod breaker;
pub mod decision;
