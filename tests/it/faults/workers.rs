//! Workers that die, leave and freeze while they hold jobs.

use std::time::{Duration, Instant};

use super::{
    deployment::{ANSWER, Deployment, LEASE, Plan, number_in, question, sum},
    report, size,
};
use crate::support::{
    eventually,
    provider::{Gate, Reply},
    redis::{Server, say},
};

/// A provider's reply that waits in the middle until the gate is opened.
fn held(gate: &Gate) -> Reply {
    Reply::text(ANSWER).held_after_first_by(gate)
}

/// One worker that is in the middle of so many answers, held by the gate.
async fn in_mid_answer(jobs: usize, gate: &Gate) -> Deployment {
    let slots = jobs.to_string();
    let settings = [("RAGQ_WORKER__CHAT_SLOTS", slots.as_str())];
    let plan = Plan { settings: &settings, reply: held(gate), ..Plan::default() };
    let deployment = Deployment::start(Server::start(&[]).await, plan).await;
    deployment.callers.ask((0..jobs).map(question)).await;
    deployment.until_held("worker-1", jobs).await;
    deployment.provider.until("every question", |counts| counts.in_flight == jobs).await;
    deployment
}

#[tokio::test]
async fn the_jobs_of_a_killed_worker_go_on_with_another_and_no_attempt_is_used() {
    let jobs = size(200, 1_000);
    let gate = Gate::new();
    let mut deployment = in_mid_answer(jobs, &gate).await;
    deployment.start_worker().await;

    let killed = Instant::now();
    deployment.workers.remove(0).kill().await;
    deployment.until_held("worker-2", jobs).await;
    let seconds = killed.elapsed().as_secs_f32();
    gate.open();
    let views = deployment.finish().await;
    let chats: Vec<_> = views.into_iter().filter(|view| view["kind"] == "chat").collect();
    for view in &chats {
        assert_eq!(view["status"], "completed", "{view}");
        assert_eq!((&view["attempt"], &view["deliveries"], &view["lost_leases"]), (&1.into(), &2.into(), &1.into()));
    }
    let lease = LEASE.as_secs();
    report("kill -9 of a worker", &format!("recovered {}, after {seconds:.1} s (lease {lease} s)", chats.len()));
}

#[tokio::test]
async fn a_job_whose_workers_keep_dying_is_poison() {
    let settings = [("RAGQ_QUEUE__MAX_LOST_LEASES", "2")];
    let plan = Plan { settings: &settings, reply: Reply::stall_after_headers(), ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    let job = deployment.callers.ask([question(0)]).await.remove(0);
    for worker in ["worker-1", "worker-2"] {
        deployment.until_held(worker, 1).await;
        deployment.workers.remove(0).kill().await;
        deployment.start_worker().await;
    }
    let view = deployment.callers.ended(&job).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&"dead".into(), &"poison".into()), "{view}");
    assert_eq!((&view["attempt"], &view["lost_leases"]), (&0.into(), &2.into()), "{view}");
    assert_eq!(view["deliveries"], 2, "{view}");
    deployment.finish().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_under_load_finishes_what_it_can_and_hands_back_the_rest_uncounted() {
    let jobs = size(120, 1_000);
    let slots = (jobs / 4).to_string();
    let gate = Gate::new();
    let settings = [("RAGQ_WORKER__CHAT_SLOTS", slots.as_str())];
    let plan = Plan { workers: 2, settings: &settings, ..Plan::default() };
    let mut deployment = Deployment::start(Server::start(&[]).await, plan).await;
    // Every second answer is done within the grace period, the others long after it.
    let (quick, slow) = (Reply::text(ANSWER).pieces(5).drip(Duration::from_millis(60)), held(&gate));
    deployment
        .provider
        .choose(move |call| Some(if number_in(&call.body).is_multiple_of(2) { quick.clone() } else { slow.clone() }));
    deployment.callers.ask((0..jobs).map(question)).await;
    eventually(async || (*deployment.held().await.get("worker-1")? > 0).then_some(())).await;
    let log = deployment.stop_worker(0).await;
    let (finished, handed_back) = (log.matches("job completed").count(), log.matches("job handed back").count());
    assert!(handed_back > 0, "nothing was left to hand back: {log}");
    gate.open();
    let calls = deployment.provider.counts();
    assert!(calls.disconnects >= handed_back, "what is handed back is closed at the provider: {calls:?}");

    let chats = jobs as u64;
    let callers = deployment.callers.clone();
    let views = callers.all_ended(&callers.submitted()).await;
    let chat_views: Vec<_> = views.into_iter().filter(|view| view["kind"] == "chat").collect();
    assert!(chat_views.iter().all(|view| view["status"] == "completed" && view["attempt"] == 1));
    assert_eq!(sum(&chat_views, "lost_leases") + sum(&chat_views, "deferrals"), 0);
    let deliveries = sum(&chat_views, "deliveries");
    assert_eq!(deliveries - chats, handed_back as u64, "only what was handed back was delivered again");
    // One call for each delivery: nothing that was finished was done again.
    let calls = deployment.provider.counts().calls as u64;
    assert!(calls <= deliveries, "{calls} calls for {deliveries} deliveries");
    deployment.finish().await;
    report(
        "SIGTERM under load",
        &format!("finished {finished}, handed back {handed_back}, duplicates {}", calls.saturating_sub(deliveries)),
    );
}

#[tokio::test]
async fn what_a_worker_says_that_slept_through_its_lease_is_refused() {
    let jobs = size(60, 1_000);
    let gate = Gate::new();
    let mut deployment = in_mid_answer(jobs, &gate).await;
    deployment.workers[0].signal("STOP");
    // Nobody tells it when it wakes up: it finds out by being refused, or when it has asked again how things stand.
    let mut client = deployment.redis.client().await;
    let _killed: u64 = say(&mut client, "CLIENT KILL TYPE pubsub").await.unwrap();
    drop(client);
    deployment.start_worker().await;
    deployment.until_held("worker-2", jobs).await;
    // Both have the same answers before them now; it wakes up into the midst of the other's work.
    gate.open();
    deployment.workers[0].signal("CONT");
    let sleeper = &deployment.workers[0];
    let refused = || sleeper.logged("lease lost, outcome dropped") + sleeper.logged("stale settlement refused");
    eventually(async || (refused() == jobs).then_some(())).await;
    let (late, dropped) = (sleeper.logged("stale settlement refused"), sleeper.logged("lease lost, outcome dropped"));
    assert_eq!(sleeper.logged("job completed"), 1, "but for the document, nothing that it did counted");
    let views = deployment.finish().await;
    let chats: Vec<_> = views.into_iter().filter(|view| view["kind"] == "chat").collect();
    assert!(chats.iter().all(|view| view["status"] == "completed" && view["deliveries"] == 2), "{:?}", chats[0]);
    report("SIGSTOP beyond the lease", &format!("refused {jobs} (finishes {late}, in the middle {dropped})"));
}
