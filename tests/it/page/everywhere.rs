//! What holds for every view: axe has no serious finding, nothing hangs over the side of a narrow screen. A site that
//! has seen some use is gone through, light and dark; pictures of all of it are left in `target/tmp/page`.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::Tab,
    site::{ADMIN_TOKEN, Shape, Site},
};
use crate::support::provider::{Reply, ScriptedProvider};

const ANSWER: &str = "When a worker dies, its **lease runs out** and the job is delivered again [1]:\n\n\
- A worker renews its leases by heartbeats; 15 seconds after the last one the job is taken back [1].\n\
- A lost lease is no failure of the job: `lost_leases` rises and no attempt is used [1].\n\
- After three lost leases the job is dead as `poison`, since it must not take its workers down for ever [2].\n\n\
In the embedded deployment the leases of the process before are taken back at once when ragq starts [1].";

/// The script that finds what would shut people out.
fn axe() -> String {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let file = cache.expect("a home").join("ragq-tools/page/axe.min.js");
    std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing: tests/run installs it", file.display()))
}

/// A site with the handbook in it, a conversation, a refused document and dead letters; and a tab that holds the token.
async fn lived_in() -> (Site, ScriptedProvider, Tab) {
    let too_long = || Reply::error(400, "context_length_exceeded", "This model's maximum context length is 10 tokens.");
    let refused = Reply::error(400, "content_filter", "The response was filtered.");
    let provider = ScriptedProvider::start(vec![too_long(), too_long(), refused]).await;
    let site = Site::start_with(Shape::Embedded, Some(&provider), &[]).await;
    let handbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for name in ["jobs", "questions", "reliability", "retrieval", "models", "operations"] {
        let text = std::fs::read_to_string(handbook.join(format!("{name}.md"))).expect("a page of the handbook");
        let title = text.lines().next().expect("a title").trim_start_matches("# ").to_owned();
        site.put(name, &title, &text).await;
    }
    for n in 1..=3 {
        site.ask(&format!("What happens to job number {n}?"), "dead").await;
    }
    provider.then(vec![Reply::default_forever(Reply::text(ANSWER).usage(1_800, 120))]);
    for verb in ["pause", "resume"] {
        site.send(Method::POST, &format!("/admin/queue/{verb}"), json!({ "kinds": ["ingest"] })).await;
    }
    let tab = site.open("#/queue").await;
    tab.fill("Admin token", ADMIN_TOKEN).await;
    tab.press("Enter").await;
    tab.says("Workers").await;
    (site, provider, tab)
}

/// What is looked at: a name, and how to get there.
async fn visit(tab: &Tab, view: &str) {
    let to = async |hash: &str, sign: &str| {
        tab.eval(&format!("location.hash = {}", json!(hash))).await;
        tab.until(sign).await;
    };
    match view {
        "ask-new" => to("#/ask", "document.querySelector('.lead')").await,
        "ask-answer" => {
            tab.eval("document.querySelector('.conversations li a').click()").await;
            tab.until("document.querySelector('.facts')").await;
        }
        "ask-source" => {
            tab.eval("find('button', 'Source 1').click()").await;
            tab.until("document.querySelector('.reader mark')").await;
        }
        "documents" => to("#/documents", "document.querySelectorAll('tbody tr').length >= 6").await,
        "document" => to("#/documents/jobs", "document.querySelector('.chunks li')").await,
        "queue" => to("#/queue", "document.querySelector('.tile') && text().includes('Heard of')").await,
        "audit" => to("#/queue/audit", "document.querySelector('tbody tr')").await,
        "cancel" => {
            to("#/queue", "document.querySelector('.tile')").await;
            tab.eval("find('button', 'Cancel jobs').click()").await;
            tab.until("document.querySelector('dialog[open]')").await;
        }
        "letters" => to("#/letters", "document.querySelector('.group') && document.querySelector('tbody tr')").await,
        "letter" => {
            tab.eval("document.querySelector('td.title a').click()").await;
            tab.until("document.querySelector('#query')").await;
        }
        "dialog" => {
            to("#/letters", "document.querySelector('.group')").await;
            tab.eval("find('button', 'Replay group').click()").await;
            tab.until("document.querySelector('dialog[open]')").await;
        }
        other => panic!("no such view: {other}"),
    }
}

const VIEWS: [&str; 11] = [
    "ask-new",
    "ask-answer",
    "ask-source",
    "documents",
    "document",
    "queue",
    "audit",
    "cancel",
    "letters",
    "letter",
    "dialog",
];

async fn scheme(tab: &Tab, scheme: &str) {
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": "reduce" }]);
    tab.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
}

async fn leave(tab: &Tab, view: &str) {
    if matches!(view, "ask-source" | "dialog" | "cancel") {
        tab.press("Escape").await;
        tab.until("!document.querySelector('.reader, dialog[open]')").await;
    }
}

#[tokio::test]
async fn axe_has_no_serious_finding_in_any_view_light_or_dark() {
    let (_site, _provider, tab) = lived_in().await;
    tab.press("Alt+1").await;
    tab.ask("What happens to a job when its worker dies?").await;
    tab.until("document.querySelector('.facts')").await;
    tab.eval(&format!("(() => {{ {}\n return true; }})()", axe())).await;
    for colours in ["light", "dark"] {
        scheme(&tab, colours).await;
        for view in VIEWS {
            visit(&tab, view).await;
            let found = tab
                .eval("axe.run(document).then(({ violations, passes }) => ({ passes: passes.length, serious: violations
                    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
                    .map(({ id, nodes }) => ({ id, at: nodes.slice(0, 3).map((node) => node.html.slice(0, 300) + node.failureSummary) })) }))")
                .await;
            assert_eq!(found["serious"], json!([]), "{view}, {colours}");
            assert!(found["passes"].as_u64().is_some_and(|passes| passes > 10), "axe has looked: {found}");
            leave(&tab, view).await;
        }
    }
    tab.finish();
}

async fn picture(tab: &Tab, file: &Path) {
    let data = tab.call("Page.captureScreenshot", json!({ "format": "png" })).await["data"].clone();
    let bytes = STANDARD.decode(data.as_str().expect("a picture")).expect("base64");
    std::fs::write(file, bytes).expect("it can be written");
}

#[tokio::test]
async fn every_view_fits_narrow_and_wide_screens() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).expect("a folder for pictures");
    let (_site, _provider, tab) = lived_in().await;
    tab.press("Alt+1").await;
    tab.ask("What happens to a job when its worker dies?").await;
    tab.until("document.querySelector('.facts')").await;
    for (width, height) in [(1440, 900), (820, 1180), (390, 844)] {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        tab.call("Emulation.setDeviceMetricsOverride", size).await;
        for view in VIEWS {
            visit(&tab, view).await;
            let over: Value = tab.eval("document.scrollingElement.scrollWidth - innerWidth").await;
            assert!(over.as_i64().is_some_and(|over| over <= 0), "{view} is {over} too wide at {width}");
            for colours in ["light", "dark"] {
                scheme(&tab, colours).await;
                picture(&tab, &folder.join(format!("{view}-{width}-{colours}.png"))).await;
            }
            leave(&tab, view).await;
        }
    }
    tab.finish();
}
