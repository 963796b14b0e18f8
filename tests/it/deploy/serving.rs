//! What the binary really does with the arguments, settings, ports and paths that deployment files give it.

use reqwest::StatusCode;
use serde_json::Value;

use super::manifests::{Workload, of_ragq};
use crate::{
    faults::deployment::{Deployment, Plan},
    support::{process::ragq, redis::Server},
};

/// Holds settings to `ragq config check`, as the process of this role would get them.
pub fn check_settings(role: &str, given: &[(String, String)]) {
    // Others than the two roles take no settings that are checked together.
    if !["api", "worker"].contains(&role) {
        return;
    }
    let output = std::process::Command::new(crate::support::process::RAGQ)
        .args(["config", "check", "--role", role])
        .env_clear()
        .envs(given.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{role}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where a container is told to listen.
fn port(workload: &Workload) -> u64 {
    let arguments = workload.container["args"].as_array().unwrap();
    let at = arguments.iter().position(|argument| argument == "--listen").expect("it listens");
    arguments[at + 1].as_str().unwrap().strip_prefix(':').expect("on all addresses").parse().unwrap()
}

/// Every probe of a container.
fn probes(container: &Value) -> impl Iterator<Item = &Value> {
    ["startupProbe", "livenessProbe", "readinessProbe"].into_iter().map(|name| &container[name])
}

#[test]
fn probes_and_services_lead_to_the_port_that_is_listened_on() {
    for workload in of_ragq() {
        let (name, container) = (&workload.name, &workload.container);
        let ports = container["ports"].as_array().unwrap();
        assert_eq!(ports.len(), 1, "{name}");
        assert_eq!(ports[0]["containerPort"], port(&workload), "{name}");
        for probe in probes(container) {
            assert_eq!(probe["httpGet"]["port"], ports[0]["name"], "{name}: {probe}");
        }
    }
}

#[tokio::test]
async fn the_paths_of_probes_are_answered_by_the_processes_they_probe() {
    let deployment = Deployment::start(Server::start(&[]).await, Plan::default()).await;
    let workloads = of_ragq();
    assert_eq!(workloads.len(), 2);
    for workload in workloads {
        let role = workload.container["args"][0].as_str().unwrap();
        let member = if role == "api" { &deployment.apis[0] } else { &deployment.workers[0] };
        for probe in probes(&workload.container) {
            let path = probe["httpGet"]["path"].as_str().unwrap();
            let answer = deployment.callers.http.get(format!("{}{path}", member.url)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{role}: {path}");
        }
        // The probe of the image and of the compose file.
        let mut probe = ragq();
        probe.args(["health", "--url", &member.url]);
        assert!(probe.status().await.unwrap().success(), "{role}");
    }
    deployment.finish().await;
}
