//! A burst of questions on a deployment that is at none: up to the maximum, back to none, no answer killed.

use std::time::Duration;

use super::{autoscaler::Autoscaler, pods::Pods, source::Source, spec::Spec};
use crate::{
    deploy::{kubernetes::settings_of, manifests::of_ragq},
    faults::{
        deployment::{ANSWER, Deployment, Plan, number_in, question, sum},
        report, size,
    },
    support::{provider::Reply, redis::Server},
};

/// How many questions come at once.
const QUESTIONS: usize = 500;

/// So long everything must have taken at most, in seconds of the cluster.
const TOO_LONG: u64 = 1_200;

#[tokio::test]
async fn a_burst_scales_from_none_to_the_maximum_and_back_and_kills_no_answer() {
    // A second of the cluster.
    let second = size(Duration::from_millis(100), Duration::from_secs(1));
    let plan = Plan {
        workers: 0,
        // Leases as in the manifests: a busy machine is not to be taken for a dead worker.
        settings: &[("RAGQ_QUEUE__LEASE_MS", "15000"), ("RAGQ_WORKER__HEARTBEAT_MS", "3000")],
        ..Plan::default()
    };
    let deployment = Deployment::start(Server::start(&[]).await, plan).await;
    // Answers of 1 to 20 seconds, whoever asks.
    deployment.provider.choose(move |call| {
        let seconds = 1 + number_in(&call.body) * 7 % 20;
        Some(Reply::text(ANSWER).wait(second * seconds as u32))
    });
    let spec = Spec::of_the_manifests();
    let (maximum, cooldown) = (spec.max, spec.cooldown);
    let mut source = Source::new(spec.clone(), deployment.redis.url());
    let mut autoscaler = Autoscaler::new(spec);
    let worker = of_ragq().into_iter().find(|workload| workload.name == "worker").unwrap();
    let termination = worker.pod["terminationGracePeriodSeconds"].as_u64().unwrap() as u32;
    let environment = deployment.environment().iter().cloned().chain(settings_of("worker")).collect();
    let mut pods = Pods::new(environment, second * termination);

    let jobs = deployment.callers.ask((0..QUESTIONS).map(question)).await;
    let (mut at_maximum, mut last_active, mut back, mut steps) = (None, 0, None, Vec::new());
    let mut clock = tokio::time::interval(second);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for now in 1..TOO_LONG {
        clock.tick().await;
        if autoscaler.looks(now) {
            let metric = source.metric().await;
            last_active = if metric.is_some_and(|metric| metric > 0.0) { now } else { last_active };
            let before = autoscaler.replicas;
            autoscaler.second(now, metric);
            if before != autoscaler.replicas {
                steps.push(format!("{} at {now} s", autoscaler.replicas));
            }
        }
        pods.scale(autoscaler.replicas as usize);
        if autoscaler.replicas == maximum && at_maximum.is_none() {
            at_maximum = Some(now);
        }
        if at_maximum.is_some() && autoscaler.replicas == 0 {
            back = Some(now);
            break;
        }
    }
    let (up, down) = (at_maximum.expect("it reaches the maximum"), back.expect("it comes back to none"));
    let pods_in_all = pods.gone().await;
    report("burst", &format!("ready {}, replicas {}, last job at {last_active} s", pods.ready(), steps.join(", ")));
    assert!(up <= 60, "{steps:?}");
    assert!(down > last_active + cooldown, "{steps:?}, last active at {last_active}");
    assert_eq!((pods.ended, pods.killed), (pods_in_all, 0), "{steps:?}");

    let views = deployment.callers.all_ended(&jobs).await;
    assert!(views.iter().all(|view| view["status"] == "completed"));
    assert_eq!(sum(&views, "deliveries"), QUESTIONS as u64, "nothing was begun twice");
    assert_eq!(sum(&views, "lost_leases") + sum(&views, "deferrals"), 0);
    assert_eq!((deployment.calls().len(), deployment.duplicate_calls()), (QUESTIONS, 0));
    deployment.finish().await;
}
