//! The list of metrics in the handbook is made from their declarations.

use std::{fmt::Write as _, path::Path};

use ragq::telemetry::metrics::{Declared, table};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");

fn rows(declared: &[Declared]) -> String {
    let mut text = "| metric | kind | labels | what it is |\n|---|---|---|---|\n".to_owned();
    for metric in declared {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(text, "| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), metric.help).unwrap();
    }
    text
}

/// The page with what stands between a mark and its end replaced.
fn with(page: &str, mark: &str, text: &str) -> String {
    let (before, rest) = page.split_once(&format!("<!-- {mark} -->\n")).expect("the page has the mark");
    let (_, after) = rest.split_once("<!-- end -->").expect("the mark has an end");
    format!("{before}<!-- {mark} -->\n{text}<!-- end -->{after}")
}

#[test]
fn the_handbook_lists_every_metric() {
    let page = std::fs::read_to_string(PAGE).expect("docs/metrics.md");
    let whole = with(&page, "process", &rows(table::Process::DECLARED));
    let whole = with(&whole, "deployment", &rows(table::Deployment::DECLARED));
    if std::env::var_os("RAGQ_RENEW_DOCS").is_some() {
        std::fs::write(Path::new(PAGE), whole).expect("the page can be written");
        return;
    }
    assert!(page == whole, "docs/metrics.md is stale, renew it: RAGQ_RENEW_DOCS=1 cargo test --test it observe::docs");
}
