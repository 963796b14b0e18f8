//! Objects of kinds that Kubernetes learns from others, held to their definitions as strictly as its own: a property
//! the definition does not know is an error.
//!
//! The definitions are not part of the repository: they are looked for in `../shared/crds`. Without them these objects
//! are not checked, which is said loudly.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
};

use serde_json::{Map, Value, json};

use super::{
    kubernetes::everything,
    manifests::{REDIS_MODES, object, overlay},
    tools::{repository, yaml},
};

/// The folder of definitions, if it is there.
fn definitions() -> Option<PathBuf> {
    let folder = repository().join("../shared/crds");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "\nNOT CHECKED: objects of KEDA, the Prometheus Operator and the Gateway API, as there is no {}\n",
        folder.display()
    );
    None
}

/// A schema of a custom resource definition as JSON Schema, in which what is not named is refused.
fn strict(schema: &Value) -> Value {
    let Some(members) = schema.as_object() else { return schema.clone() };
    let mut out = Map::new();
    for (name, value) in members {
        let value = match name.as_str() {
            "properties" | "patternProperties" => Value::Object(
                value.as_object().unwrap().iter().map(|(name, schema)| (name.clone(), strict(schema))).collect(),
            ),
            "items" | "additionalProperties" | "not" => strict(value),
            "allOf" | "anyOf" | "oneOf" => value.clone(),
            // What a server makes of a missing value, and words for people.
            name if name.starts_with("x-kubernetes")
                || ["default", "description", "nullable", "example"].contains(&name) =>
            {
                continue;
            }
            _ => value.clone(),
        };
        out.insert(name.clone(), value);
    }
    let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if out.contains_key("properties") && !out.contains_key("additionalProperties") && !keeps_unknown {
        out.insert("additionalProperties".into(), false.into());
    }
    if schema["x-kubernetes-int-or-string"] == true {
        out.remove("type");
        out.insert("type".into(), json!(["integer", "string"]));
    }
    if schema["nullable"] == true {
        let schema = Value::Object(out);
        return json!({ "anyOf": [schema, { "type": "null" }] });
    }
    Value::Object(out)
}

/// The schemas of all definitions, by kind and version.
fn schemas(folder: &PathBuf) -> HashMap<(String, String), Value> {
    let mut schemas = HashMap::new();
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let definitions = yaml(&fs::read_to_string(&file).unwrap());
        for definition in definitions.iter().filter(|one| one["kind"] == "CustomResourceDefinition") {
            let (group, kind) = (definition["spec"]["group"].as_str().unwrap(), &definition["spec"]["names"]["kind"]);
            for version in definition["spec"]["versions"].as_array().unwrap() {
                let mut schema = strict(&version["schema"]["openAPIV3Schema"]);
                // The server knows these by itself.
                schema["properties"]["metadata"] = json!({ "type": "object" });
                let version = format!("{group}/{}", version["name"].as_str().unwrap());
                schemas.insert((version, kind.as_str().unwrap().to_owned()), schema);
            }
        }
    }
    schemas
}

#[test]
fn every_custom_object_is_as_its_definition_says() {
    let Some(folder) = definitions() else { return };
    let schemas = schemas(&folder);
    let mut checked = HashMap::<String, usize>::new();
    for (what, objects) in everything() {
        for object in objects {
            let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            // Groups of Kubernetes itself have no dot, or end so.
            if version.split('/').next().is_some_and(|group| {
                !group.contains('.') || group.ends_with("networking.k8s.io") && !group.starts_with("gateway")
            }) {
                continue;
            }
            let schema = schemas.get(&(version.to_owned(), kind.to_owned()));
            let schema = schema.unwrap_or_else(|| panic!("{what}: no definition of {version} {kind}"));
            let validator = jsonschema::validator_for(schema).unwrap();
            let errors: Vec<_> =
                validator.iter_errors(&object).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{what}: {kind}: {errors:#?}");
            *checked.entry(kind.to_owned()).or_default() += 1;
        }
    }
    for kind in ["ScaledObject", "TriggerAuthentication", "ServiceMonitor", "HTTPRoute"] {
        assert!(checked.contains_key(kind), "{checked:?}");
    }
}

#[test]
fn an_object_with_a_property_that_its_definition_does_not_know_is_refused() {
    let Some(folder) = definitions() else { return };
    let schemas = schemas(&folder);
    let schema = &schemas[&("keda.sh/v1alpha1".to_owned(), "ScaledObject".to_owned())];
    let validator = jsonschema::validator_for(schema).unwrap();
    let mut scaled = object(&overlay("k8s"), "ScaledObject", "worker").clone();
    assert!(validator.is_valid(&scaled));
    scaled["spec"]["maxReplicas"] = 3.into();
    assert!(!validator.is_valid(&scaled));
    scaled["spec"].as_object_mut().unwrap().remove("maxReplicas");
    scaled["spec"]["triggers"][0]["metadata"]["listLength"] = 8.into();
    assert!(!validator.is_valid(&scaled), "values of triggers are text");
}

#[test]
fn keda_knows_every_parameter_of_the_triggers_and_finds_all_it_must_have() {
    let Some(folder) = definitions() else { return };
    let scalers: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("keda-scalers-schema.json")).unwrap()).unwrap();
    let scaling = |objects: &Vec<Value>| objects.iter().any(|object| object["kind"] == "ScaledObject");
    let scaling: Vec<_> = everything().into_iter().filter(|(_, objects)| scaling(objects)).collect();
    let modes = REDIS_MODES.map(|mode| format!("redis-{mode}"));
    let mut types = HashSet::new();
    for (what, objects) in scaling {
        // By itself it has no stores, and so no secret.
        if what == "k8s/base" {
            continue;
        }
        let scaled = object(&objects, "ScaledObject", "worker");
        for trigger in scaled["spec"]["triggers"].as_array().unwrap() {
            let known =
                scalers["scalers"].as_array().unwrap().iter().find(|scaler| scaler["type"] == trigger["type"]).unwrap();
            let known = known["parameters"].as_array().unwrap();
            let reads = |parameter: &str, from: &str| {
                known
                    .iter()
                    .any(|one| one["name"].as_str().unwrap().eq_ignore_ascii_case(parameter) && one[from] == true)
            };
            for parameter in trigger["metadata"].as_object().unwrap().keys() {
                match parameter.strip_suffix("FromEnv") {
                    None => assert!(reads(parameter, "metadataVariableReadable"), "{parameter}"),
                    Some(parameter) => assert!(reads(parameter, "envVariableReadable"), "{parameter}"),
                }
            }
            let name = trigger["authenticationRef"]["name"].as_str().unwrap();
            let authentication = object(&objects, "TriggerAuthentication", name);
            for target in authentication["spec"]["secretTargetRef"].as_array().unwrap() {
                let parameter = target["parameter"].as_str().unwrap();
                assert!(reads(parameter, "triggerAuthenticationVariableReadable"), "{parameter}");
                let secret = object(&objects, "Secret", target["name"].as_str().unwrap());
                assert!(secret["data"].get(target["key"].as_str().unwrap()).is_some(), "{target}");
            }
            assert!(trigger["metadata"]["listName"].is_string());
            types.insert(trigger["type"].as_str().unwrap().to_owned());
        }
    }
    let expected: HashSet<_> = modes.into_iter().chain(["redis".to_owned()]).collect();
    assert_eq!(types, expected);
}
