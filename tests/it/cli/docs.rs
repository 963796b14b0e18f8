//! The handbook: its links lead somewhere, and what it says of codes, settings and commands is so.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::Parser as _;
use ragq::{
    cli::args::Cli,
    config::docs,
    domain::failure::{Class, Code},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page of the handbook with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = entries.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages.chain([root().join("README.md")]).map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn words(text: &str, begins: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with(begins));
    words.map(|word| word.trim_end_matches('_').to_owned()).collect()
}

#[test]
fn every_link_leads_to_a_file() {
    for (page, text) in pages() {
        let folder = page.parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let target = link.split('#').next().unwrap();
            assert!(link.contains("://") || folder.join(target).exists(), "{link} in {}", page.display());
        }
    }
}

#[test]
fn every_code_is_explained_with_its_class() {
    let text = fs::read_to_string(root().join("docs/api.md")).unwrap();
    for code in Code::ALL {
        let class = match code.class() {
            Class::Transient => "transient",
            Class::Overloaded => "overloaded",
            Class::ProviderUnusable => "provider_unusable",
            Class::Permanent => "permanent",
        };
        assert!(text.contains(&format!("\n| `{code}` | {class} | ")), "{code} is {class}");
    }
}

/// Variables that tests and benchmarks read and ragq does not.
const OF_TESTS: [&str; 2] = ["RAGQ_BENCH_CHUNKS", "RAGQ_DRILL"];

#[test]
fn every_setting_that_is_named_exists() {
    let mut known = words(&docs::markdown(), "RAGQ_");
    known.extend(OF_TESTS.map(str::to_owned));
    for (page, text) in pages() {
        for name in words(&text, "RAGQ_") {
            let exists = known.contains(&name) || name.strip_suffix("_FILE").is_some_and(|name| known.contains(name));
            assert!(exists, "{name} in {}", page.display());
        }
    }
}

/// The commands of code blocks as the shell would split them, from `ragq` on; `VARIABLE=value` before it, a
/// pipe and a comment after it are left out.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = text.split("```").skip(1).step_by(2).flat_map(str::lines);
    lines
        .filter_map(|line| {
            let line = line.replace("cargo run --release --locked -- ", "ragq ");
            let quoted = line.split('"').enumerate();
            let words = quoted.flat_map(|(place, part)| match place % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            let command = words.skip_while(|word| word.contains('=') || word == "|");
            let command: Vec<_> = command.take_while(|word| !word.starts_with('#') && word != "|").collect();
            (command.first().map(String::as_str) == Some("ragq")).then_some(command)
        })
        .collect()
}

#[test]
fn every_command_that_is_shown_is_one() {
    let mut shown = 0;
    for (page, text) in pages() {
        for command in commands(&text) {
            shown += 1;
            let parsed = Cli::try_parse_from(&command);
            assert!(parsed.is_ok(), "{command:?} in {}: {}", page.display(), parsed.unwrap_err());
        }
    }
    assert!(shown > 20, "{shown}");
}
