//! Processes of two versions beside each other, as there are while a deployment is updated.

use redis::AsyncCommands as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    faults::deployment::{Deployment, Plan, question},
    support::{
        app::TestApp,
        process::ragq,
        provider::{Reply, ScriptedProvider},
        redis::{Server, say},
    },
};

/// The code of the failure that is met here, and the word that a later version might have had for it.
const CODE: &str = "provider_rejected";
const LATER: &str = "moon_in_the_way";

/// What the provider refuses for good.
fn refused() -> Reply {
    Reply::error(400, "invalid_request", "not like this")
}

/// What must hold of a letter whose cause an API has no word for: it is shown, listed and told with all the rest.
fn check_letter(view: &Value, log: &[(String, Value)], letters: &Value, letter: &Value) {
    let known = |error: &Value| {
        assert_eq!(error["code"], "unknown", "{error}");
        assert_eq!(error["class"], "permanent", "what follows was said by who knew: {error}");
        assert!(error["message"].as_str().unwrap().contains("not like this"), "{error}");
    };
    assert_eq!(view["status"], "dead", "{view}");
    known(&view["error"]);
    let names: Vec<_> = log.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["created", "started", "passages", "dead"], "an event that has no name here is not shown");
    known(&log[3].1["error"]);
    assert_eq!(letters["groups"], json!([{ "reason": "permanent", "code": "unknown", "count": 1 }]));
    known(&letters["items"][0]["error"]);
    known(&letter["attempts"][0]["error"]);
}

#[tokio::test]
async fn a_worker_does_the_jobs_of_a_newer_api_that_says_more_than_it_knows() {
    let deployment = Deployment::start(Server::start(&[]).await, Plan::default()).await;
    let callers = deployment.callers.clone();
    callers.admin(Method::POST, "/admin/queue/pause", json!({ "kinds": ["chat"] })).await;
    let job = callers.ask([question(0)]).await.remove(0);
    // What a later version would have written: the same format, more fields in the header and in the payload.
    let mut client = deployment.redis.client().await;
    let key = "{ragq}:data";
    let data: String = say(&mut client, &format!("HGET {key} {job}")).await.unwrap();
    let (header, payload) = data.split_once('\n').unwrap();
    assert!(header.starts_with("1{"), "the format's version: {header}");
    let newer = format!(
        "{},\"colour\":{{\"of\":\"ink\"}}}}\n{},\"mood\":\"calm\"}}",
        header.strip_suffix('}').unwrap(),
        payload.strip_suffix('}').unwrap()
    );
    let _new: u64 = redis::cmd("HSET").arg(key).arg(&job).arg(newer).query_async(&mut client).await.unwrap();
    callers.admin(Method::POST, "/admin/queue/resume", json!({ "kinds": ["chat"] })).await;
    let view = callers.ended(&job).await;
    assert_eq!((&view["status"], &view["deliveries"]), (&json!("completed"), &json!(1)), "{view}");
    deployment.finish().await;
}

#[tokio::test]
async fn an_api_shows_what_a_newer_worker_wrote_in_words_that_it_does_not_know() {
    let deployment = Deployment::start(Server::start(&[]).await, Plan::default()).await;
    let callers = deployment.callers.clone();
    deployment.provider.then(vec![refused()]);
    let job = callers.ask([question(0)]).await.remove(0);
    assert_eq!(callers.ended(&job).await["error"]["code"], CODE);
    let mut client = deployment.redis.client().await;
    for field in ["error", "code"] {
        let key = format!("{{ragq}}:meta:{job}");
        let told: String = client.hget(&key, field).await.unwrap();
        assert!(told.contains(CODE), "{told}");
        let _changed: u64 = client.hset(&key, field, told.replace(CODE, LATER)).await.unwrap();
    }
    for list in ["attempts", "events"] {
        let key = format!("{{ragq}}:{list}:{job}");
        let told: String = client.lindex(&key, -1).await.unwrap();
        assert!(told.contains(CODE), "{told}");
        let () = client.lset(&key, -1, told.replace(CODE, LATER)).await.unwrap();
    }
    let events = format!("{{ragq}}:events:{job}");
    let weather = "1 weather {\"wind\":\"west\"}";
    let last: String = client.lindex(&events, -1).await.unwrap();
    let _length: u64 = client.linsert_before(&events, last, weather).await.unwrap();
    let (cause, later) = (format!("permanent:{CODE}:chat"), format!("permanent:{LATER}:chat"));
    let () = client.rename(format!("{{ragq}}:dead:{cause}"), format!("{{ragq}}:dead:{later}")).await.unwrap();
    let _one: u64 = client.srem("{ragq}:dead:causes", cause).await.unwrap();
    let _one: u64 = client.sadd("{ragq}:dead:causes", later).await.unwrap();
    let admin = async |path: &str| callers.admin(Method::GET, path, Value::Null).await;
    let (letters, letter) = (admin("/admin/dlq").await, admin(&format!("/admin/dlq/{job}")).await);
    check_letter(&callers.view(&job, 0).await, &callers.log(&job).await, &letters, &letter);
    // What is filtered by is what was written: a word without a name here is not the code `unknown`.
    assert_eq!(admin("/admin/dlq?code=unknown").await["items"], json!([]));
    // Logs are held to have no gaps, which whoever has a name for every event does not see.
    let _one: u64 = client.lrem(&events, 1, weather).await.unwrap();
    deployment.finish().await;
}

#[tokio::test]
async fn a_process_that_goes_back_to_an_older_version_shows_what_the_newer_one_wrote() {
    let provider =
        ScriptedProvider::start(vec![refused(), Reply::default_forever(Reply::text("High water [1]."))]).await;
    let url = provider.base_url();
    let app = TestApp::start_with(|settings| settings.model.base_url = Some(url)).await;
    app.put("tides", "Tides", "The tide table lists high water for every day.").await;
    let job = app.submit("/chat", json!({ "query": "What does the tide table list?" })).await;
    assert_eq!(app.wait_for(&job).await["error"]["code"], CODE);
    let file = rusqlite::Connection::open(app.data.path().join("jobs.db")).unwrap();
    for (table, column) in [("jobs", "error"), ("jobs", "code"), ("attempts", "error"), ("events", "data")] {
        let later =
            format!("UPDATE {table} SET {column} = replace({column}, ?1, ?2) WHERE {column} LIKE '%' || ?1 || '%'");
        assert_eq!(file.execute(&later, [CODE, LATER]).unwrap(), 1, "{table}.{column}");
    }
    file.execute_batch(
        "UPDATE events SET seq = seq + 1 WHERE data LIKE '%\"dead\"%';
         INSERT INTO events SELECT job, seq - 1, attempt, '{\"event\":\"weather\",\"wind\":\"west\"}' FROM events
             WHERE data LIKE '%\"dead\"%';",
    )
    .unwrap();
    file.close().unwrap();
    let admin = async |path: &str| app.send(Method::GET, path, Value::Null).await.1;
    let (letters, letter) = (admin("/admin/dlq").await, admin(&format!("/admin/dlq/{job}")).await);
    check_letter(&app.get(&format!("/job-status?job_id={job}")).await, &app.events(&job).await, &letters, &letter);
    let (status, answer) = app.send(Method::POST, &format!("/admin/dlq/{job}/replay"), Value::Null).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(app.wait_for(&job).await["status"], "completed");
    app.finish().await;
}

#[tokio::test]
async fn a_process_says_which_version_it_is() {
    let said = ragq().arg("--version").output().await.unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), concat!("ragq ", env!("CARGO_PKG_VERSION")));
}
