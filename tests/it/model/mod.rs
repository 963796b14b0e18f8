//! The model adapters: the `OpenAI` one against the scripted provider, the extractive one on real prose.

mod embedding;
mod extractive;
mod failures;
mod fallback;
mod stack;
mod streams;
mod support;
