//! One row of the table: a provider that does something, a job that meets it, and what must have come of it.

use ragq::config::{Secret, Settings};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    faults::history::{FINAL, judge_log},
    support::{
        app::TestApp,
        provider::{Reply, ScriptedProvider},
    },
};

/// The answer that the provider gives once it is well.
pub const ANSWER: &str = "It lists high water and low water for every day [1].";

/// What must have come of the job.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// Completed, with this answer.
    Answered(&'static str),
    /// Completed, with an answer of so many bytes.
    AnsweredAtLength(usize),
    /// Completed, and said to be cut short.
    Truncated,
    /// Dead with this reason and code.
    Dead(&'static str, &'static str),
    /// Put back with this code until a time so many milliseconds away, give or take a minute.
    Waiting(&'static str, i64),
}

/// What is counted of a job and its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Calls that reached the provider.
    pub calls: usize,
    /// Attempts used.
    pub attempts: u64,
    /// Deferrals.
    pub deferrals: u64,
}

/// A row before it is run.
pub struct Row {
    replies: Vec<Reply>,
    base_url: Option<String>,
    settings: Box<dyn FnOnce(&mut Settings)>,
    max_attempts: u64,
    code: Option<&'static str>,
    least_wait_ms: i64,
}

impl Row {
    /// The provider says these, one call after the other.
    pub fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            replies: replies.into_iter().collect(),
            base_url: None,
            settings: Box::new(|_| ()),
            max_attempts: 5,
            code: None,
            least_wait_ms: 0,
        }
    }

    /// The provider does this once and is well afterwards.
    pub fn once(reply: Reply) -> Self {
        Self::of([reply, Reply::text(ANSWER)])
    }

    /// Nobody the test plays is asked, but whoever is at this address; two attempts.
    pub fn at(base_url: impl Into<String>) -> Self {
        Self { base_url: Some(base_url.into()), max_attempts: 2, ..Self::of([]) }
    }

    /// The code of the failure before the job went on.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The job is put back for at least so long.
    pub fn waits_ms(mut self, milliseconds: i64) -> Self {
        self.least_wait_ms = milliseconds;
        self
    }

    /// With this setting changed.
    pub fn with(mut self, change: impl FnOnce(&mut Settings) + 'static) -> Self {
        self.settings = Box::new(change);
        self
    }

    /// Runs it, and fails the test if anything else comes of it.
    pub async fn ends(self, outcome: Outcome, counted: Counted) {
        let Self { replies, base_url, settings, max_attempts, code, least_wait_ms } = self;
        let provider = ScriptedProvider::start(replies).await;
        let base_url = base_url.unwrap_or_else(|| provider.base_url());
        let app = TestApp::start_with(|app| {
            app.model.base_url = Some(base_url);
            app.model.api_key = Some(Secret::from("sk-test-0123456789abcdef"));
            settings(app);
        })
        .await;
        app.put("tides", "Tides", "The tide table of the harbour lists high water and low water.").await;
        let question = json!({ "query": "What does the tide table list?", "max_attempts": max_attempts });
        let job = app.submit("/chat", question).await;
        let view = match outcome {
            Outcome::Waiting(..) => app.wait_until(&job, |view| view["deferrals"] == 1).await,
            _ => app.wait_for(&job).await,
        };
        judge(outcome, &view);
        if let Outcome::Dead(reason, _) = outcome {
            assert_eq!(app.get(&format!("/admin/dlq/{job}")).await["reason"], reason);
        }
        let seen = Counted {
            calls: provider.counts().calls,
            attempts: view["attempt"].as_u64().unwrap(),
            deferrals: view["deferrals"].as_u64().unwrap(),
        };
        assert_eq!(seen, counted, "{view}");
        if matches!(outcome, Outcome::Waiting(..)) {
            app.send(Method::DELETE, &format!("/jobs/{job}"), Value::Null).await;
        } else {
            let log = app.events(&job).await;
            assert_eq!(judge_log(&view, &log), [""; 0]);
            judge_wait(code, least_wait_ms, &view, &log);
        }
        provider.finish();
        app.finish().await;
    }
}

fn judge(outcome: Outcome, view: &Value) {
    let is_final = FINAL.iter().any(|status| view["status"] == **status);
    match outcome {
        Outcome::Answered(answer) => {
            assert_eq!((&view["status"], &view["result"]["answer"]), (&"completed".into(), &answer.into()), "{view}");
            assert_eq!(view["result"]["truncated"], false, "{view}");
        }
        Outcome::AnsweredAtLength(bytes) => {
            assert_eq!(view["result"]["answer"].as_str().map(str::len), Some(bytes), "{}", view["status"]);
        }
        Outcome::Truncated => {
            assert_eq!((&view["status"], &view["result"]["truncated"]), (&"completed".into(), &true.into()), "{view}");
        }
        Outcome::Dead(_, code) => {
            assert_eq!((&view["status"], &view["error"]["code"]), (&"dead".into(), &code.into()), "{view}");
        }
        Outcome::Waiting(code, milliseconds) => {
            assert!(!is_final, "{view}");
            assert_eq!(view["error"]["code"], code, "{view}");
            let wait = milliseconds_of(&view["error"]["retry_at"]) - milliseconds_of(&view["created_at"]);
            assert!((wait - milliseconds).abs() <= 60_000, "{wait} ms: {view}");
        }
    }
}

/// The code of the failure in between, and how long the job was put back for it.
fn judge_wait(code: Option<&str>, least_ms: i64, view: &Value, log: &[(String, Value)]) {
    let put_back = log.iter().find(|(name, _)| name == "retrying" || name == "deferred");
    assert_eq!(put_back.and_then(|(_, data)| data["code"].as_str()), code, "{log:?}");
    if let Some((_, data)) = put_back {
        let wait = milliseconds_of(&data["retry_at"]) - milliseconds_of(&view["created_at"]);
        assert!(wait >= least_ms, "{wait} ms: {data}");
    }
}

/// A time of the API as milliseconds since 1970.
pub fn milliseconds_of(time: &Value) -> i64 {
    time.as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok()).expect("a time").as_millisecond()
}
