//! The rules of `prometheus/`: Prometheus takes them, each alert is tried both ways, and each has its section in the
//! handbook.

use std::{collections::BTreeSet, path::Path};

use super::promtool::promtool;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn path(path: &str) -> String {
    format!("{ROOT}/{path}")
}

/// What follows `key` on lines that begin with it.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key)).map(str::trim).collect()
}

#[test]
fn prometheus_takes_the_configuration_and_has_nothing_against_the_rules() {
    promtool(&["check", "config", &path("prometheus/prometheus.yml")], "");
    for rules in ["recording", "alerts"] {
        let file = path(&format!("prometheus/rules/{rules}.yml"));
        promtool(&["check", "rules", "--lint=all", "--lint-fatal", &file], "");
    }
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let tests = read("prometheus/tests/alerts.yml");
    let (mut fires, mut keeps_quiet) = (BTreeSet::new(), BTreeSet::new());
    for case in tests.split("        alertname: ").skip(1) {
        let name = case.lines().next().expect("a name");
        if case.contains("exp_alerts: []") {
            keeps_quiet.insert(name)
        } else {
            fires.insert(name)
        };
    }
    let rules = read("prometheus/rules/alerts.yml");
    let alerts: BTreeSet<&str> = values(&rules, "alert:").into_iter().collect();
    assert!(!alerts.is_empty());
    assert_eq!(fires, alerts, "each is seen to fire");
    assert_eq!(keeps_quiet, alerts, "each is seen not to fire");
    promtool(&["test", "rules", &path("prometheus/tests/alerts.yml")], "");
}

#[test]
fn every_alert_has_its_section_in_the_handbook() {
    let rules = read("prometheus/rules/alerts.yml");
    let handbook = read("docs/operations.md");
    let runbooks = values(&rules, "runbook:");
    for (alert, runbook) in values(&rules, "alert:").into_iter().zip(runbooks) {
        assert_eq!(runbook, format!("docs/operations.md#{}", alert.to_lowercase()));
        let (_, rest) =
            handbook.split_once(&format!("\n### {alert}\n")).unwrap_or_else(|| panic!("no section {alert}"));
        let section = rest.split("\n#").next().unwrap_or_default();
        for part in ["Means:", "Look:", "Do:"] {
            assert!(section.contains(part), "{alert} does not say {part}");
        }
    }
}
