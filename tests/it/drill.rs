//! The operator's drill of `docs/operations.md`, smaller: the real binary, the simulated provider, the commands.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    eventually,
    process::{Up, ragq},
    sim::Sim,
};

/// Dead letters of each cause.
const LETTERS: u64 = 30;

/// The third terminal.
struct Operator<'a> {
    up: &'a Up,
    token: String,
    folder: &'a Path,
    http: reqwest::Client,
}

impl Operator<'_> {
    /// Runs a command: its exit code and what it printed.
    async fn run(&self, line: &str) -> (i32, String) {
        let mut command = ragq();
        command.env("RAGQ_URL", &self.up.url).env("RAGQ_ADMIN_TOKEN", &self.token).current_dir(self.folder);
        let output = command.args(line.split(' ')).output().await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    async fn json(&self, line: &str) -> Value {
        let (code, text) = self.run(&format!("{line} --json")).await;
        assert_eq!(code, 0, "{line}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Asks so many questions, each with more fields.
    async fn ask(&self, count: u64, fields: Value) {
        for number in 0..count {
            let mut question = json!({ "query": format!("Question {number}: what is a lease?") });
            question.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let answer = self.http.post(format!("{}/chat", self.up.url)).json(&question).send().await.unwrap();
            assert_eq!(answer.status(), 202);
        }
    }

    async fn until(&self, is: impl Fn(&Value) -> bool) -> Value {
        eventually(async || Some(self.json("queue stats").await).filter(|queue| is(&queue["counts"]))).await
    }

    async fn groups(&self) -> Vec<(String, u64)> {
        let groups = self.json("dlq list").await["groups"].as_array().unwrap().clone();
        let each = |group: &Value| (group["code"].as_str().unwrap().to_owned(), group["count"].as_u64().unwrap());
        let mut groups: Vec<_> = groups.iter().map(each).collect();
        groups.sort();
        groups
    }
}

#[tokio::test]
async fn the_operators_drill_goes_as_the_handbook_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    std::fs::write(folder.path().join("docs/leases.md"), "# Leases\n\nA lease is the right to work on a job.\n")
        .unwrap();
    let sim = Sim::start(&["--first-token-ms", "5", "--token-ms", "0", "--api-key", "drill"]).await;
    let environment = [("OPENAI_API_KEY", "drill"), ("OPENAI_BASE_URL", sim.base_url.as_str())];
    let up = Up::start(&folder.path().join("data"), &environment).await;
    let token = up.admin_token();
    let operator = Operator { up: &up, token, folder: folder.path(), http: reqwest::Client::new() };
    assert_eq!(operator.run("ingest docs").await.0, 0);

    sim.plan(json!({ "faults": ["401"] })).await;
    operator.ask(5, json!({})).await;
    eventually(async || operator.run("health").await.1.starts_with("degraded").then_some(())).await;
    let queue = operator.json("queue stats").await;
    assert_eq!((&queue["counts"]["dead"], &queue["counts"]["completed"]), (&json!(0), &json!(1)), "{queue}");
    sim.plan(json!({})).await;
    operator.until(|counts| counts["completed"] == 6).await;
    eventually(async || operator.run("health").await.1.starts_with("ready").then_some(())).await;

    sim.plan(json!({ "faults": ["400"] })).await;
    operator.ask(LETTERS, json!({})).await;
    operator.until(|counts| counts["dead"] == LETTERS).await;
    sim.plan(json!({})).await;
    operator.ask(LETTERS, json!({ "collection": "archive" })).await;
    operator.ask(LETTERS, json!({ "deadline_ms": 1 })).await;
    operator.until(|counts| counts["dead"] == 3 * LETTERS).await;
    let cause = |code: &str| (code.to_owned(), LETTERS);
    let all = [cause("collection_not_found"), cause("deadline_exceeded"), cause("provider_rejected")];
    assert_eq!(operator.groups().await, all);

    let (code, said) = operator.run("dlq replay --code collection_not_found --yes").await;
    assert!(code == 2 && said.contains("the same cause returned"), "{code}: {said}");
    operator.until(|counts| counts["dead"] == 3 * LETTERS).await;
    assert_eq!(operator.run("ingest docs --collection archive").await.0, 0);
    let (_, said) = operator.run("dlq replay --code collection_not_found --dry-run").await;
    assert_eq!(said, format!("{LETTERS} match\n"));
    let (code, said) = operator.run("dlq replay --code collection_not_found --rate 20 --yes").await;
    assert_eq!((code, said), (0, format!("{LETTERS} of {LETTERS} replayed\n")));
    operator.until(|counts| counts["dead"] == 2 * LETTERS).await;
    assert_eq!(operator.groups().await, all[1..]);

    let (code, said) = operator.run("dlq discard --reason deadline_exceeded").await;
    assert_eq!((code, said), (0, format!("{LETTERS} match, {LETTERS} discarded\n")));
    assert_eq!(operator.groups().await, [cause("provider_rejected")]);

    let audit = operator.json("queue audit").await;
    let replays = audit["items"].as_array().unwrap().iter();
    let replays = replays.filter(|item| item["action"] == "replay_letters" && item["stage"] == "done");
    assert_eq!(replays.map(|item| item["count"].as_u64().unwrap()).collect::<Vec<_>>(), [LETTERS, LETTERS]);
    assert_eq!(audit["items"][0]["remote_address"], "127.0.0.1");
    let submitted = 1 + 1 + 5 + 3 * LETTERS + 2;
    eventually(async || {
        let history = operator.json("queue history --minutes 60").await;
        let sum = |name: &str| -> u64 {
            history["items"].as_array().unwrap().iter().map(|item| item[name].as_u64().unwrap()).sum()
        };
        (sum("submitted") == submitted && sum("completed") == 1 + 1 + 5 + LETTERS + 2).then_some(())
    })
    .await;
    assert!(up.stop().await.success());
}
