//! The manifests: valid, complete in themselves, and such that no answer is lost to them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
};

use ragq::config::catalog;
use serde_json::Value;

use super::{
    manifests::{
        COMPONENTS, OVERLAYS, REDIS_MODES, Workload, built, copied, environment, object, of_ragq, overlay,
        with_component, workloads,
    },
    serving::check_settings,
    tools::run,
};

/// What the settings of the self-contained overlay say to a workload.
pub fn settings_of(workload: &str) -> HashMap<String, String> {
    let objects = overlay("k8s");
    let workload = of_ragq().into_iter().find(|known| known.name == workload).expect("it is there");
    let stores = ["REDIS_URL", "QDRANT_URL"];
    let given = environment(&objects, &workload.container).into_iter();
    given.filter(|(name, _)| !stores.contains(&name.as_str())).collect()
}

/// Every set of objects that people may apply, with what it is.
pub fn everything() -> Vec<(String, Vec<Value>)> {
    let overlays = OVERLAYS.map(|name| (name.to_owned(), overlay(name)));
    let components = COMPONENTS.map(|name| (format!("k8s with {name}"), with_component("k8s", name)));
    let modes = REDIS_MODES.map(|name| (format!("k8s/managed with {name}"), with_component("k8s/managed", name)));
    overlays.into_iter().chain(components).chain(modes).collect()
}

#[test]
fn every_object_of_kubernetes_is_as_its_schema_says() {
    let folder = copied();
    let mut files = Vec::new();
    for name in OVERLAYS {
        let file = folder.path().join(format!("{}.yaml", name.replace('/', "-")));
        fs::write(&file, built(&folder.path().join(name))).unwrap();
        files.push(file);
    }
    // The oldest that knows the sleep before a stop without being told to, and a newer one.
    for version in ["1.30", "1.34"] {
        let strictly = ["--strict", "--no-warn", "--quiet", "-k", version].map(Into::into);
        run("kubernetes-validate", strictly.into_iter().chain(files.iter().map(|file| file.clone().into_os_string())));
    }
}

#[test]
fn the_overlay_that_git_has_needs_no_file_of_yours() {
    let objects = super::tools::yaml(&built(&super::tools::repository().join("k8s")));
    assert_eq!(objects.iter().filter(|object| object["kind"] == "Deployment").count(), 2);
}

#[test]
fn everything_lives_in_one_namespace_that_is_made_with_it() {
    for name in ["k8s", "k8s/managed"] {
        let objects = overlay(name);
        let namespace = object(&objects, "Namespace", "ragq");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
            assert_eq!(object["metadata"]["namespace"], "ragq", "{name}: {object}");
        }
    }
}

#[test]
fn every_pod_is_restricted_as_its_namespace_demands() {
    for workload in workloads(&overlay("k8s")) {
        let Workload { name, pod, container, .. } = &workload;
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{name}");
        assert!(security["runAsUser"].as_u64().unwrap() > 0, "{name}");
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(security["capabilities"]["drop"][0], "ALL", "{name}");
        let resources = &container["resources"];
        for given in [&resources["requests"]["cpu"], &resources["requests"]["memory"], &resources["limits"]["memory"]] {
            assert!(given.is_string(), "{name}: {resources}");
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert!(container[probe].is_object(), "{name} has no {probe}");
        }
        let image = container["image"].as_str().unwrap();
        assert!(image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}: {image}");
    }
}

#[test]
fn every_setting_in_the_manifests_is_known_and_passes_the_check_of_its_role() {
    for name in ["k8s", "k8s/managed"] {
        let objects = overlay(name);
        for workload in
            workloads(&objects).iter().filter(|workload| ["api", "worker"].contains(&workload.name.as_str()))
        {
            let given = environment(&objects, &workload.container);
            let optional =
                workload.container["env"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap());
            for variable in given.iter().map(|(name, _)| name.as_str()).chain(optional) {
                assert!(catalog::settings().iter().any(|setting| setting.variable == variable), "{variable}");
            }
            check_settings(&workload.name, &given);
        }
    }
    let secrets = super::tools::text("k8s/secrets/secrets.env.example");
    for (variable, _) in secrets.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')) {
        assert!(catalog::settings().iter().any(|setting| setting.variable == variable && setting.secret), "{variable}");
    }
}

#[test]
fn the_api_starts_with_the_settings_of_a_provider_whose_key_only_workers_are_given() {
    let provider = [("RAGQ_EMBEDDING__MODEL", "text-embedding-3-small"), ("RAGQ_FALLBACK_1__NAME", "gpt-4o-mini")];
    let objects = overlay("k8s");
    for workload in of_ragq() {
        let given = environment(&objects, &workload.container).into_iter();
        let mut given: Vec<_> = given.chain(provider.map(|(name, value)| (name.into(), value.into()))).collect();
        let mut names = workload.container["env"].as_array().unwrap().iter().map(|variable| &variable["name"]);
        let is_given_the_key = names.any(|name| name == "OPENAI_API_KEY");
        assert_eq!(is_given_the_key, workload.name == "worker");
        if is_given_the_key {
            given.push(("OPENAI_API_KEY".into(), "its-key".into()));
        }
        check_settings(&workload.name, &given);
    }
}

#[test]
fn every_secret_has_a_line_in_the_example_and_reaches_a_pod() {
    let secret = overlay("k8s/secrets").remove(0);
    let lines: BTreeSet<&str> = secret["data"].as_object().unwrap().keys().map(String::as_str).collect();
    // The store's address has a Secret of its own; the key that commands send is for whoever runs them.
    let elsewhere = ["REDIS_URL", "RAGQ_API_KEY"];
    let known = catalog::settings().iter().filter(|setting| setting.secret).map(|setting| setting.variable.as_str());
    assert_eq!(lines, known.filter(|variable| !elsewhere.contains(variable)).collect());
    let pods = of_ragq();
    let reaching = pods.iter().flat_map(|pod| pod.container["env"].as_array().unwrap()).filter(|variable| {
        let reference = &variable["valueFrom"]["secretKeyRef"];
        reference["name"] == secret["metadata"]["name"] && reference["key"] == variable["name"]
    });
    assert_eq!(lines, reaching.map(|variable| variable["name"].as_str().unwrap()).collect());
    // Both send traces.
    for pod in pods.iter().filter(|pod| ["api", "worker"].contains(&pod.name.as_str())) {
        let mut names = pod.container["env"].as_array().unwrap().iter().map(|variable| &variable["name"]);
        assert!(names.any(|name| name == "OTEL_EXPORTER_OTLP_HEADERS"), "{}", pod.name);
    }
}

#[test]
fn an_attempt_ends_before_the_workers_grace_and_that_before_its_pods() {
    let workload = of_ragq().into_iter().find(|workload| workload.name == "worker").unwrap();
    let given = settings_of("worker");
    let millis = |variable: &str| -> u64 { given[variable].parse().unwrap() };
    let (attempt, grace) = (millis("RAGQ_WORKER__CHAT_TIMEOUT_MS"), millis("RAGQ_WORKER__GRACE_MS"));
    let pod = workload.pod["terminationGracePeriodSeconds"].as_u64().unwrap() * 1_000;
    // After its grace a worker takes up to five seconds to hand back what is left.
    assert!(attempt < grace && grace + 5_000 < pod, "{attempt} < {grace} < {pod}");
}

#[test]
fn an_api_pod_goes_on_answering_until_nobody_is_sent_to_it() {
    let workload = of_ragq().into_iter().find(|workload| workload.name == "api").unwrap();
    let sleep = workload.container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let pod = workload.pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    // Then it takes up to twenty seconds to finish what is under way.
    assert!(sleep >= 3 && sleep + 20 < pod, "{sleep}, {pod}");
}

/// Whether a selector is one and all of it is among the labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| wanted.iter().all(|(name, value)| &labels[name] == value))
}

#[test]
fn whatever_selects_pods_finds_some() {
    for (what, objects) in everything() {
        let workloads = workloads(&objects);
        for object in &objects {
            let selector = match object["kind"].as_str().unwrap() {
                "Service" => &object["spec"]["selector"],
                "PodDisruptionBudget" => &object["spec"]["selector"]["matchLabels"],
                "NetworkPolicy" if object["spec"]["podSelector"] == serde_json::json!({}) => continue,
                "NetworkPolicy" => &object["spec"]["podSelector"]["matchLabels"],
                "Deployment" | "StatefulSet" => {
                    let labels = &object["spec"]["template"]["metadata"]["labels"];
                    assert!(selects(&object["spec"]["selector"]["matchLabels"], labels), "{object}");
                    continue;
                }
                _ => continue,
            };
            assert!(workloads.iter().any(|workload| selects(selector, &workload.labels)), "{what}: {object}");
        }
    }
}

#[test]
fn redis_lets_in_ragq_and_the_namespace_of_keda_alone() {
    let objects = overlay("k8s");
    let policy = object(&objects, "NetworkPolicy", "redis");
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["ports"][0]["port"], 6379);
    let from = rules[0]["from"].as_array().unwrap();
    assert_eq!(from.len(), 2, "{from:?}");
    for workload in of_ragq() {
        assert!(selects(&from[0]["podSelector"]["matchLabels"], &workload.labels), "{}", workload.name);
    }
    assert_eq!(from[1]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "keda");
}

#[test]
fn the_gateways_route_takes_the_place_of_the_ingress() {
    let kinds = |objects: &[Value]| {
        objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(kinds(&overlay("k8s")).contains(&"Ingress".to_owned()));
    let with_gateway = with_component("k8s", "gateway");
    assert!(!kinds(&with_gateway).contains(&"Ingress".to_owned()));
    let backend = &object(&with_gateway, "HTTPRoute", "ragq")["spec"]["rules"][0]["backendRefs"][0];
    let service = object(&with_gateway, "Service", backend["name"].as_str().unwrap());
    assert_eq!(service["spec"]["ports"][0]["port"], backend["port"]);
}

#[test]
fn the_operators_routes_stay_closed_until_a_token_is_given() {
    let objects = overlay("k8s");
    let api = of_ragq().into_iter().find(|workload| workload.name == "api").unwrap();
    let tokens = ["RAGQ_ADMIN_TOKEN", "RAGQ_ADMIN_TOKENS"];
    assert!(!environment(&objects, &api.container).iter().any(|(name, _)| tokens.contains(&name.as_str())));
    let ignored = super::tools::text(".gitignore");
    for file in ["k8s/secrets/secrets.env", "k8s/managed/redis.env", ".env"] {
        assert!(ignored.lines().any(|line| line == format!("/{file}")), "{file}");
    }
    // What is given reaches the API under the name it looks for.
    let secret = overlay("k8s/secrets").remove(0);
    for token in tokens {
        let reference = api.container["env"].as_array().unwrap().iter().find(|one| one["name"] == token).unwrap();
        let reference = &reference["valueFrom"]["secretKeyRef"];
        assert_eq!(reference["name"], secret["metadata"]["name"]);
        assert!(secret["data"].get(reference["key"].as_str().unwrap()).is_some(), "{secret}");
    }
}
