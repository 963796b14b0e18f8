//! The compose file, by docker-compose and by what must hold of every service.

use ragq::config::catalog;
use serde_json::Value;

use super::{
    manifests,
    serving::check_settings,
    tools::{run, text, tool, yaml},
};

/// The compose file as docker-compose understands it, with these profiles; nothing of the test's environment.
fn project(profiles: &str) -> Value {
    let project = tool("docker-compose")
        .args(["config", "--format", "json"])
        .env_clear()
        .env("COMPOSE_PROFILES", profiles)
        .current_dir(super::tools::repository())
        .output()
        .expect("docker-compose can be run");
    assert!(project.status.success(), "{}", String::from_utf8_lossy(&project.stderr));
    serde_json::from_slice(&project.stdout).unwrap()
}

/// Its services by name.
fn services(profiles: &str) -> Vec<(String, Value)> {
    let services = project(profiles)["services"].as_object().unwrap().clone();
    services.into_iter().collect()
}

/// The parts of the image that run ragq.
fn of_ragq() -> Vec<(String, Value)> {
    services("sim").into_iter().filter(|(_, service)| service["image"].as_str().unwrap().starts_with("ragq:")).collect()
}

#[test]
fn the_compose_file_is_one_with_and_without_its_profiles() {
    run("docker-compose", ["config", "--quiet"]);
    let names = |profiles: &str| services(profiles).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(""), ["api", "grafana", "prometheus", "qdrant", "redis", "worker"]);
    for optional in ["provider-sim", "otel-collector"] {
        assert!(names("sim,traces").contains(&optional.to_owned()));
    }
}

#[test]
fn every_service_runs_with_few_rights_within_limits_and_is_reached_from_this_machine_alone() {
    for (name, service) in services("sim,traces") {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        assert!(service["privileged"].is_null() && service["cap_add"].is_null(), "{name}");
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(["cpus", "memory", "pids"].iter().all(|limit| !limits[limit].is_null()), "{name}: {limits}");
        for port in service["ports"].as_array().unwrap_or(&Vec::new()) {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
        }
        let image = service["image"].as_str().unwrap();
        assert!(image.rsplit(':').next().is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v')));
    }
}

#[test]
fn services_start_when_what_they_need_is_healthy() {
    let services = services("sim");
    let healthy =
        |name: &str| services.iter().any(|(known, service)| known == name && service["healthcheck"]["test"].is_array());
    for (name, service) in &services {
        assert!(healthy(name), "{name} has no health check");
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name} needs {needed}");
            assert!(healthy(needed), "{needed}");
        }
    }
    for role in ["api", "worker"] {
        let (_, service) = services.iter().find(|(name, _)| name == role).unwrap();
        let needs: Vec<_> = service["depends_on"].as_object().unwrap().keys().collect();
        assert_eq!(needs, ["qdrant", "redis"], "{role}");
    }
}

#[test]
fn ragq_accepts_every_setting_it_is_given() {
    for (name, service) in of_ragq() {
        let given = service["environment"].as_object().into_iter().flatten();
        let given: Vec<_> = given.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        for (variable, _) in &given {
            assert!(catalog::settings().iter().any(|setting| &setting.variable == variable), "{name}: {variable}");
        }
        check_settings(service["command"][0].as_str().unwrap(), &given);
    }
}

#[test]
fn no_process_gets_a_secret_that_it_does_not_get_on_kubernetes() {
    let pods = manifests::of_ragq();
    for (name, service) in of_ragq() {
        let given = service["environment"].as_object().into_iter().flatten().map(|(variable, _)| variable.as_str());
        let is_secret = |variable: &&str| {
            catalog::settings().iter().any(|setting| setting.secret && setting.variable == **variable)
        };
        let given: Vec<_> = given.filter(is_secret).collect();
        let pod = pods.iter().find(|pod| pod.name == name);
        let named = pod.into_iter().flat_map(|pod| pod.container["env"].as_array().unwrap());
        let named: Vec<_> = named.map(|variable| variable["name"].as_str().unwrap()).collect();
        assert!(given.iter().all(|variable| named.contains(variable)), "{name}: {given:?}, there {named:?}");
        assert_eq!(given.contains(&"OPENAI_API_KEY"), name == "worker");
        assert_eq!(given.contains(&"RAGQ_ADMIN_TOKEN"), name == "api");
    }
}

#[test]
fn a_worker_that_is_stopped_has_time_for_its_answers() {
    let (_, worker) = services("").into_iter().find(|(name, _)| name == "worker").unwrap();
    assert_eq!(worker["stop_grace_period"], "5m30s");
    let grace: u64 = worker["environment"]["RAGQ_WORKER__GRACE_MS"].as_str().unwrap().parse().unwrap();
    assert!(grace + 5_000 < 330_000);
}

#[test]
fn the_dashboards_and_their_source_are_where_grafana_looks_for_them() {
    let services = services("");
    let (_, grafana) = services.iter().find(|(name, _)| name == "grafana").unwrap();
    let mounts: Vec<_> =
        grafana["volumes"].as_array().unwrap().iter().map(|mount| mount["target"].as_str().unwrap()).collect();
    let provider = yaml(&text("dashboards/provisioning/dashboards/ragq.yml")).remove(0);
    assert!(mounts.contains(&provider["providers"][0]["options"]["path"].as_str().unwrap()), "{mounts:?}");
    assert!(mounts.contains(&"/etc/grafana/provisioning"), "{mounts:?}");
    let source = yaml(&text("dashboards/provisioning/datasources/prometheus.yml")).remove(0);
    let host =
        source["datasources"][0]["url"].as_str().unwrap().strip_prefix("http://").unwrap().split(':').next().unwrap();
    assert!(services.iter().any(|(name, _)| name == host), "{host}");
}

#[test]
fn what_the_example_of_settings_names_is_read() {
    let (example, compose) = (text(".env.example"), text("docker-compose.yml"));
    let names = example.lines().filter_map(|line| line.strip_prefix("# ")?.split_once('=')).map(|(name, _)| name);
    let names: Vec<_> = names.filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(name == "COMPOSE_PROFILES" || compose.contains(&format!("${{{name}")), "{name}");
    }
    // Where it sends those who want another one: what stands there reaches API and workers.
    let (_, place) = example.split_once("add it to `").expect("it says where others go");
    let place = &yaml(&compose)[0][place.split('`').next().unwrap()];
    assert!(place["REDIS_URL"].is_string(), "{place}");
}
