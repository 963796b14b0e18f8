//! The extractive model on real prose.
