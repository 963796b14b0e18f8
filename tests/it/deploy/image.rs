//! The image: its Dockerfile by hadolint, and by what the compose file and the manifests rely on.

use super::tools::{repository, run, text};

#[test]
fn the_dockerfile_is_free_of_what_hadolint_knows_to_be_wrong() {
    run("hadolint", ["Dockerfile"]);
}

#[test]
fn the_image_is_built_by_any_builder_and_runs_without_rights() {
    let dockerfile = text("Dockerfile");
    assert!(!dockerfile.contains("syntax="), "a frontend would have to be fetched");
    assert!(!dockerfile.contains("RUN --"), "mounts are known to BuildKit alone");
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "a number, or no cluster can tell");
    for label in ["title", "description", "licenses", "version", "revision"] {
        assert!(last.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
    // The form without brackets would need a shell.
    for instruction in ["ENTRYPOINT [", "CMD ["] {
        assert!(last.contains(instruction), "{instruction}");
    }
}

#[test]
fn the_image_is_of_this_version_and_this_compiler() {
    let (dockerfile, version) = (text("Dockerfile"), env!("CARGO_PKG_VERSION"));
    assert!(dockerfile.contains(&format!("ARG VERSION={version}\n")));
    assert!(text("docker-compose.yml").contains(&format!("image: ragq:{version}\n")));
    for overlay in ["k8s/kustomization.yaml", "k8s/managed/kustomization.yaml"] {
        assert!(text(overlay).contains(&format!("newTag: {version}\n")), "{overlay}");
    }
    assert!(dockerfile.contains(&format!("FROM rust:{}-", env!("CARGO_PKG_RUST_VERSION"))));
}

#[test]
fn everything_the_build_copies_is_let_through_to_it() {
    let (dockerfile, ignored) = (text("Dockerfile"), text(".dockerignore"));
    let copies =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    for copy in copies {
        let (sources, _) = copy.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            assert!(repository().join(source).exists(), "{source}");
            assert!(ignored.lines().any(|line| line.strip_prefix('!') == Some(source)), "{source}");
        }
    }
    // A target that is not stood in for would stop the build at its manifest.
    let cargo: toml::Table = toml::from_str(&text("Cargo.toml")).unwrap();
    for kind in ["bin", "test", "bench"] {
        for target in cargo[kind].as_array().unwrap() {
            let folder = target["path"].as_str().unwrap().strip_suffix("/main.rs").expect("a folder of its own");
            let stands_in = |line: &str| line.contains("for program in ") && line.contains(folder);
            assert!(dockerfile.lines().any(stands_in), "{folder}");
        }
    }
}
