//! What the cluster's Prometheus and Grafana are given: the same rules and dashboards as everywhere else.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::{
    manifests::{object, overlay, with_component},
    tools::{repository, text, yaml},
};

/// The object that holds the rules.
const RULES: &str = "k8s/components/monitoring/rules.yaml";

/// What stands before the rules in it.
const HEAD: &str = "\
# Made of prometheus/rules, which a test keeps it equal to.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ragq
  labels:
    app.kubernetes.io/name: ragq
spec:
  groups:
";

#[test]
fn the_rules_of_the_cluster_are_those_of_prometheus() {
    let mut files: Vec<_> =
        fs::read_dir(repository().join("prometheus/rules")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut made = HEAD.to_owned();
    let mut groups = Vec::new();
    for file in files {
        let rules = fs::read_to_string(&file).unwrap();
        groups.extend(yaml(&rules)[0]["groups"].as_array().unwrap().clone());
        let (_, listed) = rules.split_once("\ngroups:\n").expect("a list of groups");
        for line in listed.lines() {
            made += &if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
        }
    }
    assert_eq!(yaml(&made)[0]["spec"]["groups"], Value::Array(groups));
    if text(RULES) != made {
        let fresh = concat!(env!("CARGO_TARGET_TMPDIR"), "/rules.yaml");
        fs::write(fresh, made).unwrap();
        panic!("{RULES} is stale: cp {fresh} {RULES}");
    }
    let rule = object(&with_component("k8s", "monitoring"), "PrometheusRule", "ragq").clone();
    assert!(!rule["spec"]["groups"].as_array().unwrap().is_empty());
}

#[test]
fn every_dashboard_is_in_the_map_that_grafana_finds_by_its_label() {
    let dashboards = fs::read_dir(repository().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let dashboards: BTreeSet<_> =
        dashboards.filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "json")).collect();
    assert!(!dashboards.is_empty());
    let objects = with_component("k8s", "monitoring");
    let maps = objects.iter().filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1");
    let held: BTreeSet<_> = maps.flat_map(|map| map["data"].as_object().unwrap().keys().cloned()).collect();
    assert_eq!(held, dashboards);
}

#[test]
fn what_is_scraped_are_the_services_that_serve_metrics() {
    let objects = overlay("k8s");
    let monitored = with_component("k8s", "monitoring");
    let monitor = object(&monitored, "ServiceMonitor", "ragq");
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let services = objects.iter().filter(|object| object["kind"] == "Service");
    let found =
        services.filter(|service| wanted.iter().all(|(name, value)| &service["metadata"]["labels"][name] == value));
    let names: Vec<_> = found
        .map(|service| {
            assert!(
                service["spec"]["ports"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|port| port["name"] == monitor["spec"]["endpoints"][0]["port"])
            );
            service["metadata"]["name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(names, ["api", "worker"]);
}

#[test]
fn every_part_of_the_collector_that_is_named_is_there_and_used() {
    let configured = yaml(&text("prometheus/otel-collector.yml")).remove(0);
    let pipelines = configured["service"]["pipelines"].as_object().unwrap();
    for part in ["receivers", "processors", "exporters"] {
        let defined: BTreeSet<_> = configured[part].as_object().unwrap().keys().map(String::as_str).collect();
        let used = pipelines.values().flat_map(|pipeline| pipeline[part].as_array().unwrap());
        assert_eq!(defined, used.map(|name| name.as_str().unwrap()).collect(), "{part}");
    }
    // Where `.env.example` sends traces to.
    let port = text(".env.example").rsplit_once("otel-collector:").unwrap().1.trim().to_owned();
    let protocols = &configured["receivers"]["otlp"]["protocols"];
    assert_eq!(protocols["http"]["endpoint"], format!("0.0.0.0:{port}"));
}
