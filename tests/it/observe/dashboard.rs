//! The dashboard and the rules on a real Prometheus that scrapes a real deployment under load with faults.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ragq::telemetry::metrics::{Metrics, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use super::{prometheus::Prometheus, sheet};
use crate::{
    faults::deployment::{Deployment, Plan, question},
    support::{eventually, provider::Reply, redis::Server},
};

/// One panel as the dashboard's file has it.
pub struct Panel {
    pub title: String,
    pub expressions: Vec<String>,
}

fn file(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&file("dashboards/ragq.json")).expect("dashboards/ragq.json is JSON")
}

/// All panels, with what Grafana would put in the place of variables.
fn panels(dashboard: &Value) -> Vec<Panel> {
    let filled = |target: &Value| {
        let expression = target["expr"].as_str().expect("an expression");
        let filled = expression.replace("$namespace", ".*").replace("$kind", ".*").replace("$__rate_interval", "15s");
        assert!(!filled.contains('$'), "an unknown variable: {filled}");
        filled
    };
    let panels = dashboard["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] != "row");
    panels
        .map(|panel| Panel {
            title: panel["title"].as_str().expect("a title").to_owned(),
            expressions: panel["targets"].as_array().expect("targets").iter().map(filled).collect(),
        })
        .collect()
}

/// The names in an expression that are ours.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("ragq_") || word.starts_with("ragq:")).collect()
}

#[test]
fn dashboard_and_rules_name_only_metrics_that_there_are() {
    let recording = file("prometheus/rules/recording.yml");
    let mut known: BTreeSet<String> = BTreeSet::new();
    for metric in Metrics::declared(Scope::Deployment) {
        let ends: &[&str] = if metric.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        known.extend(ends.iter().map(|end| format!("{}{end}", metric.name)));
    }
    known.extend(recording.lines().filter_map(|line| Some(line.trim().strip_prefix("- record: ")?.to_owned())));
    for path in ["prometheus/rules/recording.yml", "prometheus/rules/alerts.yml", "dashboards/ragq.json"] {
        let text = file(path);
        let used = names(&text);
        assert!(used.len() > 5, "{path}");
        for name in used {
            assert!(known.contains(name), "{path} uses {name}, which nobody exports");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_every_link_leads_to_a_runbook() {
    let (dashboard, handbook) = (dashboard(), file("docs/operations.md"));
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel["title"]);
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{}", panel["title"]);
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        for link in panel["links"].as_array().into_iter().flatten() {
            let anchor = link["url"].as_str().and_then(|url| url.split('#').nth(1)).expect("an anchor");
            let heads = handbook.lines().filter_map(|line| line.strip_prefix("### "));
            assert!(heads.map(str::to_lowercase).any(|head| head == anchor), "{anchor}");
        }
    }
}

/// Questions that are answered, some after failures of the provider that close it, one that can't be, one that is called
/// off.
async fn load(deployment: &Deployment, round: usize) {
    let callers = &deployment.callers;
    let mut jobs = Vec::new();
    // As many in a row trip the breaker.
    let mut faults: Vec<_> = (0..5).map(|_| Reply::status(500)).collect();
    faults.push(Reply::error(429, "rate_limit_exceeded", "slower").header("retry-after", "1"));
    deployment.provider.then(faults);
    for number in 0..5 {
        jobs.push(callers.submit("/chat", question(round * 10 + number)).await);
    }
    let nowhere = json!({ "query": "Question 1: where?", "collection": "nowhere" });
    jobs.push(callers.submit("/chat", nowhere).await);
    callers.admin(Method::POST, "/admin/queue/pause", json!({ "kinds": ["chat"] })).await;
    let called_off = callers.submit("/chat", question(round * 10 + 9)).await;
    callers.cancel(&called_off).await;
    callers.admin(Method::POST, "/admin/queue/resume", Value::Null).await;
    for job in jobs {
        callers.ended(&job).await;
    }
}

#[tokio::test]
async fn every_panel_and_every_rule_gives_data_on_a_real_prometheus() {
    let deployment = Deployment::start(Server::start(&[]).await, Plan { workers: 2, ..Plan::default() }).await;
    let of = |members: &[crate::faults::member::Member]| members.iter().map(|member| member.url.clone()).collect();
    let prometheus =
        Prometheus::start(&[("ragq-api", of(&deployment.apis)), ("ragq-worker", of(&deployment.workers))]).await;
    // Curves want a while; to be tried, a round of each is enough.
    let until = Instant::now() + Duration::from_secs(if sheet::wanted().is_some() { 75 } else { 0 });
    let mut round = 0;
    while round == 0 || Instant::now() < until {
        load(&deployment, round).await;
        round += 1;
    }
    let panels = panels(&dashboard());
    assert!(panels.len() > 30);
    for panel in &panels {
        for expression in &panel.expressions {
            // What is shown only while there is some of it must be there at zero.
            let always = expression.trim_end_matches(" > 0");
            eventually(async || (!prometheus.query(always).await.is_empty()).then_some(())).await;
            prometheus.query(expression).await;
        }
    }
    let rules = prometheus.rules().await;
    assert!(
        rules.iter().any(|rule| rule["type"] == "alerting") && rules.iter().any(|rule| rule["type"] == "recording")
    );
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        if rule["type"] == "recording" {
            let name = rule["name"].as_str().expect("a name");
            eventually(async || (!prometheus.query(name).await.is_empty()).then_some(())).await;
        }
    }
    // The load had what the panels of failures are for.
    for happened in [
        r#"sum(ragq_attempts_total{class="transient"})"#,
        r#"sum(ragq_provider_breaker_transitions_total{state="open"})"#,
        "sum(ragq_deferrals_total)",
        "sum(ragq_jobs_dead_lettered_total)",
    ] {
        eventually(async || (!prometheus.query(&format!("{happened} > 0")).await.is_empty()).then_some(())).await;
    }
    let finished = r#"sum(ragq_jobs_finished_total{outcome="completed", kind="chat"})"#;
    eventually(async || {
        let counted = prometheus.query(finished).await[0]["value"][1].as_str()?.parse::<f64>().ok()?;
        (counted >= 5.0).then_some(())
    })
    .await;
    if let Some(path) = sheet::wanted() {
        sheet::draw(&prometheus, &panels, &path).await;
    }
    deployment.finish().await;
}
