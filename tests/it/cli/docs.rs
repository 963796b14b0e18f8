//! The handbook: its links lead somewhere, and what it says of codes, settings and commands is so.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::CommandFactory as _;
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

#[test]
fn every_setting_that_is_named_exists() {
    let known = words(&docs::markdown(), "RAGQ_");
    for (page, text) in pages() {
        for name in words(&text, "RAGQ_") {
            let exists = known.contains(&name) || name.strip_suffix("_FILE").is_some_and(|name| known.contains(name));
            assert!(exists, "{name} in {}", page.display());
        }
    }
}

#[test]
fn every_command_that_is_shown_exists_with_its_flags() {
    let cli = Cli::command();
    for (page, text) in pages() {
        for line in
            text.lines().filter(|line| line.starts_with("ragq ") || line.contains(" ragq ") && line.contains('='))
        {
            let mut command = &cli;
            let shown = line.split("ragq ").last().unwrap().split(['#', '|']).next().unwrap();
            for word in shown.split_whitespace() {
                if let Some(inner) = command.find_subcommand(word) {
                    command = inner;
                } else if let Some(flag) = word.strip_prefix("--") {
                    let known = command.get_arguments().any(|argument| argument.get_long() == Some(flag));
                    assert!(known || flag == "json" || flag == "url", "{line} in {}", page.display());
                }
            }
            assert!(!std::ptr::eq(command, &raw const cli), "{line} in {}", page.display());
        }
    }
}
