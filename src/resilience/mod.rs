//! What follows from a failure, and what keeps the next ones away: backoff, the decision between retry, deferral and
//! death, the circuit breaker, budgets of requests and tokens, adaptive concurrency. Pure.

pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod concurrency;
pub mod decision;
