//! What ragq is deployed with: the image, the compose file, the manifests, and how workers are scaled. Judged without
//! an engine, a cluster or a registry, by the tools that people use, and against what the binary really does.

mod compose;
mod custom;
mod image;
mod kubernetes;
mod manifests;
mod monitoring;
mod rolling;
mod scaling;
mod serving;
mod tools;
mod versions;
