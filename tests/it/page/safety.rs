//! What the page must not do: run what a document or an answer says, load from elsewhere, weigh too much.

use serde_json::json;

use super::site::{Shape, Site};
use crate::support::provider::{Reply, ScriptedProvider};

/// Everything a document can try: scripts, handlers, frames, forms, styles, images and links that call home.
const HOSTILE: &str = r#"# <img src=x onerror="window.owned=1"> Yard <script>window.owned = 1</script>

Releases leave the yard on Tuesdays <svg onload="window.owned=1"></svg> [click](javascript:window.owned=1)
![pixel](https://outside.invalid/pixel.png) <iframe srcdoc="<script>parent.owned=1</script>"></iframe>
<a href="javascript:window.owned=1">a</a> [d](data:text/html,<script>window.owned=1</script>) [1](javascript:owned=1)
<form action="https://outside.invalid"><input autofocus onfocus="window.owned=1"></form>
<style>body { display: none }</style> <base href="https://outside.invalid/"> <meta http-equiv="refresh" content="0;url=https://outside.invalid">
<object data="javascript:window.owned=1"></object> <math><mtext><script>window.owned=1</script></mtext></math>
`</code><script>window.owned=1</script>` &lt;script&gt;window.owned=1&lt;/script&gt;
"#;

#[tokio::test]
async fn no_script_of_a_document_or_an_answer_ever_runs() {
    let deep = format!("{HOSTILE}\n\n{}deep [1]\n\n{}[1]", "> ".repeat(3_000), "[".repeat(3_000));
    let provider = ScriptedProvider::start(vec![
        Reply::text(format!("{HOSTILE}\n\nSee [1] and [2](javascript:window.owned=1).")),
        Reply::text(deep),
    ])
    .await;
    let site = Site::start_with(Shape::Embedded, Some(&provider), &[]).await;
    site.put("hostile", "<img src=x onerror=window.owned=1>", HOSTILE).await;
    let tab = site.open("").await;
    tab.ask("When do releases <script>window.owned=1</script> leave the yard?").await;
    tab.until("document.querySelector('.facts')").await;
    tab.click("button", "Source 1").await;
    tab.until("document.querySelector('.reader mark')").await;
    tab.press("Escape").await;
    tab.ask("And when do releases leave on other days?").await;
    tab.until("document.querySelectorAll('.facts').length === 2").await;
    // It is there as text, and nothing of it became an element.
    tab.says("<script>window.owned = 1</script>").await;
    let made = "document.querySelectorAll('main script, main img, main iframe, main form:not(.composer), main style, main base, main object, main math, [onerror], [onload]').length";
    assert_eq!(tab.eval(made).await, json!(0));
    let links = tab.eval("[...document.querySelectorAll('.prose a')].map((a) => a.protocol)").await;
    assert_eq!(links, json!(["https:"]), "the image is a link; the answer that is nested too deep is shown as it is");
    assert_eq!(tab.eval("window.owned ?? null").await, json!(null));
    let elsewhere: Vec<_> = tab.requests().into_iter().filter(|url| !url.starts_with(&site.url)).collect();
    assert_eq!(elsewhere, ["about:blank"; 0], "nothing is asked from elsewhere");
    tab.finish();
}

#[tokio::test]
async fn the_first_view_weighs_at_most_200_kilobytes_and_comes_from_one_place() {
    let site = Site::start().await;
    let tab = site.open("").await;
    tab.says("There are no documents yet").await;
    tab.until("performance.getEntriesByType('resource').every((entry) => entry.responseEnd > 0)").await;
    let bytes = tab.bytes();
    assert!((50_000..=200_000).contains(&bytes), "{bytes} bytes");
    let requests = tab.requests();
    assert!(requests.iter().all(|url| url.starts_with(&site.url)), "{requests:?}");
    tab.finish();
}

#[tokio::test]
async fn the_policy_refuses_inline_scripts_and_markup_made_of_text() {
    let site = Site::start().await;
    let tab = site.open("").await;
    let made = tab
        .eval("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch { return 'refused'; } })()")
        .await;
    assert_eq!(made, json!("refused"));
    let run =
        "(() => { const s = document.createElement('script'); try { s.textContent = 'window.owned = 1'; } catch {}
        document.body.append(s); return window.owned ?? null; })()";
    assert_eq!(tab.eval(run).await, json!(null));
}
