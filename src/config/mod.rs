//! All settings of ragq: their names, defaults and documentation.
//!
//! One struct per section; `RAGQ_SECTION__KEY` in the environment and `[section] key` in `ragq.toml` name the
//! same field. Layers, checks and documentation are made from these structs.

pub mod settings;

pub use settings::Settings;
