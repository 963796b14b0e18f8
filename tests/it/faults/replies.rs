//! Answers of the queue's server that are lost or cut in half: it did what it was told, and the caller can't know.

use std::{collections::HashSet, time::Duration};

use super::{
    deployment::{ANSWER, Deployment, Plan, question, sum},
    report, size,
};
use crate::support::{eventually, provider::Reply, proxy::Proxy, redis::Server};

#[tokio::test]
async fn lost_and_halved_answers_double_nothing_and_strand_nothing() {
    let (jobs, cuts) = size((200, 40), (2_000, 500));
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let reply = Reply::text(ANSWER).pieces(4).drip(Duration::from_millis(60));
    let plan = Plan { apis: 2, workers: 2, redis_url: Some(proxy.url()), reply, ..Plan::default() };
    let deployment = Deployment::start(server, plan).await;
    let callers = &deployment.callers;
    let asking = callers.ask((0..jobs).map(question));
    // Every step of the store is one script: submits, fetches, finishes, pieces of answers and heartbeats are hit as
    // they come, with their answer lost whole, after a few bytes, or late in it.
    let cutting = async {
        for cut in 0..cuts {
            proxy.cut("EVALSHA", [0, 1, 4, 9, 40, 200][cut % 6]);
            let before = proxy.seen("EVALSHA");
            eventually(async || (proxy.seen("EVALSHA") > before + 12).then_some(())).await;
        }
    };
    let (chats, ()) = tokio::join!(asking, cutting);
    let views = deployment.callers.all_ended(&chats).await;
    assert!(views.iter().all(|view| view["status"] == "completed"));
    assert_eq!(views.iter().map(|view| &view["job_id"]).collect::<HashSet<_>>().len(), jobs);
    // Each handed over once: an answer to a fetch that is lost is given again.
    // Each handed over once, as an answer to a fetch that is lost is given again, but for those that were put off
    // because no call of theirs got through for as long as the store is waited for: many calls share a connection.
    let again =
        views.iter().find(|view| view["deliveries"].as_u64() != view["deferrals"].as_u64().map(|put_off| put_off + 1));
    assert_eq!(again, None);
    assert_eq!(sum(&views, "lost_leases"), 0);
    assert_eq!(deployment.duplicate_calls(), 0);
    // `finish` checks that the queue has these jobs and no others: no submit counted twice, none is stranded.
    deployment.finish().await;
    let put_off = sum(&views, "deferrals");
    report("replies cut in half", &format!("cut {cuts}, jobs {jobs}, put off {put_off}, doubled 0, stranded 0"));
}
