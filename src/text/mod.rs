//! Words and sentences of natural language: the same analysis for indexing, searching and quoting.

pub mod analysis;
pub mod sentences;
pub mod tokens;
