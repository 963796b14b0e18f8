//! The manifests as `kubectl kustomize` makes them, and the questions tests ask of them.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::tools::{repository, tool, yaml};

/// The overlays that stand by themselves.
pub const OVERLAYS: [&str; 4] = ["k8s", "k8s/base", "k8s/managed", "k8s/secrets"];

/// The components, each of which joins an overlay.
pub const COMPONENTS: [&str; 2] = ["gateway", "monitoring"];

/// The components that only make sense with a Redis that others run.
pub const REDIS_MODES: [&str; 2] = ["sentinel", "cluster"];

/// A copy of what the manifests are made of, with the examples in the place of what people fill in.
pub fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["k8s", "prometheus", "dashboards"] {
        if repository().join(part).is_dir() {
            copy(&repository().join(part), &folder.path().join(part));
        }
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            copy(&path, &to.join(&name));
        } else if let Some(filled_in) = name.strip_suffix(".example") {
            fs::copy(&path, to.join(filled_in)).unwrap();
        } else if !to.join(&name).exists() {
            fs::copy(&path, to.join(&name)).unwrap();
        }
    }
}

/// What `kubectl kustomize` makes of a folder.
pub fn built(folder: &Path) -> String {
    let output = tool("kubectl").arg("kustomize").arg(folder).output().expect("kubectl can be run");
    assert!(output.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it makes of an overlay of the repository.
pub fn overlay(name: &str) -> Vec<Value> {
    yaml(&built(&copied().path().join(name)))
}

/// An overlay with one component.
pub fn with_component(overlay: &str, name: &str) -> Vec<Value> {
    let folder = copied();
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    let kustomization = format!("resources: [../{overlay}]\ncomponents: [../k8s/components/{name}]\n");
    fs::write(own.join("kustomization.yaml"), kustomization).unwrap();
    yaml(&built(&own))
}

/// The one object of this kind and name.
pub fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let one = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two of {kind} {name}");
    one
}

/// A pod template with its only container.
pub struct Workload {
    /// Of what makes its pods.
    pub name: String,
    /// The pod's labels.
    pub labels: Value,
    /// The pod's specification.
    pub pod: Value,
    /// The container's.
    pub container: Value,
}

/// All workloads among the objects.
pub fn workloads(objects: &[Value]) -> Vec<Workload> {
    let templates = objects.iter().filter(|object| object["spec"]["template"]["spec"].is_object());
    templates
        .map(|object| {
            let template = &object["spec"]["template"];
            let containers = template["spec"]["containers"].as_array().unwrap();
            assert_eq!(containers.len(), 1, "{}", object["metadata"]["name"]);
            Workload {
                name: object["metadata"]["name"].as_str().unwrap().to_owned(),
                labels: template["metadata"]["labels"].clone(),
                pod: template["spec"].clone(),
                container: containers[0].clone(),
            }
        })
        .collect()
}

/// The workloads of the self-contained overlay that run ragq.
pub fn of_ragq() -> Vec<Workload> {
    let all = workloads(&overlay("k8s"));
    all.into_iter().filter(|workload| workload.container["image"].as_str().unwrap().starts_with("ragq:")).collect()
}

/// The environment of a container, looked up in the maps and secrets among the objects; what is optional and not
/// there is left out.
pub fn environment(objects: &[Value], container: &Value) -> Vec<(String, String)> {
    let mut given = Vec::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let map = object(objects, "ConfigMap", source["configMapRef"]["name"].as_str().unwrap());
        for (name, value) in map["data"].as_object().unwrap() {
            given.push((name.clone(), value.as_str().unwrap().to_owned()));
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap().to_owned();
        if let Some(value) = variable["value"].as_str() {
            given.push((name, value.to_owned()));
            continue;
        }
        let reference = &variable["valueFrom"]["secretKeyRef"];
        if reference["optional"] != true {
            let secret = object(objects, "Secret", reference["name"].as_str().unwrap());
            given.push((name, secret_value(secret, reference["key"].as_str().unwrap())));
        }
    }
    given
}

/// A value of a Secret, which must be there.
pub fn secret_value(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_else(|| panic!("no {key} in {secret}"));
    let mut child = Command::new("base64")
        .arg("--decode")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), encoded.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
