//! Judges what callers saw of jobs: one state after the other, and the log at the end.

use std::collections::HashMap;

use serde_json::{Value, json};

/// The states that do not change any more; events of the same names end a log.
pub const FINAL: [&str; 3] = ["completed", "dead", "cancelled"];

/// Whether the job's state is its last.
pub fn is_final(view: &Value) -> bool {
    FINAL.contains(&view["status"].as_str().unwrap())
}

fn number(view: &Value, field: &str) -> u64 {
    view[field].as_u64().unwrap()
}

/// What one caller saw, who looks at one job at a time.
#[derive(Default)]
pub struct History {
    last: HashMap<String, Value>,
    /// How often it looked.
    pub looks: usize,
    /// What can't be.
    pub violations: Vec<String>,
}

impl History {
    /// Notes a job's state as it is seen now.
    pub fn saw(&mut self, view: Value) {
        self.looks += 1;
        let wrong = judge_state(&view).or_else(|| {
            let before = self.last.get(view["job_id"].as_str().unwrap())?;
            judge_step(before, &view)
        });
        self.violations.extend(wrong.map(|wrong| format!("{wrong}: {view}")));
        self.last.insert(view["job_id"].as_str().unwrap().to_owned(), view);
    }
}

/// What is wrong with a state by itself.
fn judge_state(view: &Value) -> Option<&'static str> {
    let answered = view["result"]["answer"].as_str().is_some_and(|answer| !answer.trim().is_empty());
    match view["status"].as_str().unwrap() {
        "completed" if view["kind"] == "chat" && !answered => Some("completed without an answer"),
        "dead" if view["error"]["code"].is_null() => Some("dead without a reason"),
        "completed" | "dead" if view["finished_at"].is_null() => Some("final without an end"),
        "running" if number(view, "deliveries") == 0 => Some("running without a delivery"),
        _ if number(view, "attempt") > number(view, "max_attempts") => Some("more attempts than it has"),
        _ => None,
    }
}

/// All but what its calls cost: that of a call which was cut off is known only afterwards, by a worker that has lost the
/// job.
fn without_cost(view: &Value) -> Value {
    let mut view = view.clone();
    view["usage_total"].take();
    view
}

/// What is wrong with the step from one state to a later one.
fn judge_step(before: &Value, after: &Value) -> Option<&'static str> {
    for counter in ["calls", "prompt_tokens", "completion_tokens", "wasted_tokens"] {
        let cost = |view: &Value| view["usage_total"][counter].as_u64();
        if cost(after) < cost(before) {
            return Some("what it cost went back");
        }
    }
    if is_final(before) {
        return (without_cost(before) != without_cost(after)).then_some("a final job changed");
    }
    for counter in ["deliveries", "lost_leases", "deferrals"] {
        if number(after, counter) < number(before, counter) {
            return Some("a counter went back");
        }
    }
    // Of an attempt only the running one can be taken back.
    let kept = number(before, "attempt") - u64::from(before["status"] == "running");
    if number(after, "attempt") < kept {
        return Some("an attempt that was used is not counted any more");
    }
    // Without another delivery a job goes only this way.
    let place = |view: &Value| {
        ["running", "scheduled", "queued"].iter().position(|status| view["status"] == *status).unwrap_or(3)
    };
    (number(before, "deliveries") == number(after, "deliveries") && place(after) < place(before))
        .then_some("it went back without a delivery")
}

/// What is wrong with the log of a final job.
pub fn judge_log(view: &Value, log: &[(String, Value)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut require = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{what}: {view} {log:?}"));
        }
    };
    let named = |name: &str| log.iter().filter(|(event, _)| event == name).count();
    let sequence = log.iter().map(|(_, data)| number(data, "seq"));
    require(sequence.eq(0..log.len() as u64), "the log has gaps");
    require(log.first().is_some_and(|(name, _)| name == "created"), "the log does not begin with its job");
    let ends: usize = FINAL.iter().map(|name| named(name)).sum();
    require(ends == 1, "a job ends once");
    require(log.last().is_some_and(|(name, _)| view["status"] == **name), "the log ends as the job did");
    require(named("started") as u64 == number(view, "deliveries"), "one start for each delivery");
    let from = log.iter().rposition(|(name, _)| name == "started").unwrap_or(0);
    let early = log.iter().take_while(|(name, _)| name != "started").any(|(name, _)| name == "delta");
    require(!early, "pieces of an answer before anybody worked on it");
    if view["status"] == "completed" && view["kind"] == "chat" {
        let pieces = log[from..].iter().filter(|(name, _)| name == "delta");
        let told: String = pieces.map(|(_, data)| data["text"].as_str().unwrap()).collect();
        require(told == view["result"]["answer"].as_str().unwrap_or_default(), "the pieces are not the answer");
        require(log.last().is_some_and(|(_, data)| data["result"] == view["result"]), "two results");
    }
    wrong
}

fn state(status: &str, counters: [u64; 4]) -> Value {
    let [attempt, deliveries, lost_leases, deferrals] = counters;
    json!({ "job_id": "j", "kind": "chat", "status": status, "attempt": attempt, "max_attempts": 5,
        "deliveries": deliveries, "lost_leases": lost_leases, "deferrals": deferrals, "finished_at": "then",
        "result": { "answer": "It does." }, "error": { "code": "poison" } })
}

/// The same state with what so many calls cost.
fn paid(mut state: Value, calls: u64) -> Value {
    state["usage_total"] = json!({ "calls": calls, "prompt_tokens": 9, "completion_tokens": 9, "wasted_tokens": 9 });
    state
}

fn verdict(states: &[Value]) -> Vec<String> {
    let mut history = History::default();
    for state in states {
        history.saw(state.clone());
    }
    history.violations
}

#[test]
fn a_history_as_it_should_be_is_not_blamed() {
    let good = [
        state("queued", [0, 0, 0, 0]),
        state("running", [1, 1, 0, 0]),
        state("queued", [0, 1, 1, 0]),
        state("running", [1, 2, 1, 0]),
        state("scheduled", [1, 2, 1, 0]),
        state("queued", [1, 2, 1, 0]),
        state("scheduled", [1, 3, 1, 1]),
        paid(state("completed", [2, 4, 1, 1]), 1),
        // Told by a worker that had lost the job.
        paid(state("completed", [2, 4, 1, 1]), 2),
    ];
    assert_eq!(verdict(&good), [""; 0]);
}

#[test]
fn whatever_goes_back_or_ends_twice_is_blamed() {
    let unanswered = json!({ "answer": " " });
    let mut empty = state("completed", [1, 1, 0, 0]);
    empty["result"] = unanswered;
    for bad in [
        vec![state("completed", [1, 1, 0, 0]), state("running", [1, 1, 0, 0])],
        vec![state("completed", [1, 1, 0, 0]), state("dead", [1, 1, 0, 0])],
        vec![state("running", [1, 2, 1, 0]), state("running", [1, 1, 1, 0])],
        vec![state("scheduled", [2, 2, 0, 0]), state("queued", [1, 2, 0, 0])],
        vec![state("queued", [0, 1, 0, 0]), state("running", [1, 1, 0, 0])],
        vec![paid(state("running", [1, 1, 0, 0]), 2), paid(state("running", [1, 1, 0, 0]), 1)],
        vec![state("running", [6, 6, 0, 0])],
        vec![state("running", [1, 0, 0, 0])],
        vec![empty],
    ] {
        assert_eq!(verdict(&bad).len(), 1, "{bad:?}");
    }
}

#[test]
fn a_log_is_blamed_for_gaps_second_ends_and_missing_pieces() {
    let view = state("completed", [1, 1, 0, 0]);
    let event = |name: &str, more: Value| (name.to_owned(), more);
    let log = |text: &str| {
        let mut log = vec![
            event("created", json!({})),
            event("started", json!({})),
            event("delta", json!({ "text": "It " })),
            event("delta", json!({ "text": text })),
            event("completed", json!({ "result": view["result"] })),
        ];
        for (seq, (_, data)) in log.iter_mut().enumerate() {
            data["seq"] = seq.into();
        }
        log
    };
    assert_eq!(judge_log(&view, &log("does.")), [""; 0]);
    assert_eq!(judge_log(&view, &log("did.")).len(), 1);
    let mut gap = log("does.");
    gap[3].1["seq"] = 7.into();
    assert_eq!(judge_log(&view, &gap).len(), 1);
    let mut twice = log("does.");
    twice.push(event("completed", json!({ "seq": 5, "result": view["result"] })));
    assert_eq!(judge_log(&view, &twice).len(), 1);
    let mut unstarted = log("does.");
    unstarted[1].0 = "deferred".into();
    assert!(!judge_log(&view, &unstarted).is_empty());
}
