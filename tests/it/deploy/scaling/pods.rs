//! Real worker processes in the place of pods: as many as are ordered, started beside each other, told to stop like
//! pods, killed like pods if they do not.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::faults::member::Member;

/// The workers of a deployment.
pub struct Pods {
    environment: Vec<(String, String)>,
    termination_grace: Duration,
    started: usize,
    starting: JoinSet<Member>,
    running: Vec<Member>,
    ending: JoinSet<bool>,
    /// How many ended in good order.
    pub ended: usize,
    /// How many had to be killed.
    pub killed: usize,
}

impl Pods {
    /// None yet, of processes with this environment.
    pub fn new(environment: Vec<(String, String)>, termination_grace: Duration) -> Self {
        Self {
            environment,
            termination_grace,
            started: 0,
            starting: JoinSet::new(),
            running: Vec::new(),
            ending: JoinSet::new(),
            ended: 0,
            killed: 0,
        }
    }

    /// How many are ready.
    pub fn ready(&self) -> usize {
        self.running.len()
    }

    /// Notes who is ready and who has ended, then starts or stops as many as it takes to have `replicas`.
    pub fn scale(&mut self, replicas: usize) {
        while let Some(ready) = self.starting.try_join_next() {
            self.running.push(ready.expect("a worker starts"));
        }
        while let Some(in_good_order) = self.ending.try_join_next() {
            self.note(in_good_order.expect("a worker ends"));
        }
        while self.running.len() + self.starting.len() < replicas {
            self.started += 1;
            let (name, environment) = (format!("pod-{}", self.started), self.environment.clone());
            self.starting.spawn(async move { Member::start("worker", &name, &environment).await });
        }
        // The oldest first: they hold the most.
        while self.running.len() + self.starting.len() > replicas && !self.running.is_empty() {
            let pod = self.running.remove(0);
            self.ending.spawn(terminate(pod, self.termination_grace));
        }
    }

    fn note(&mut self, in_good_order: bool) {
        if in_good_order {
            self.ended += 1;
        } else {
            self.killed += 1;
        }
    }

    /// Waits for all that were told to stop; how many there were in all.
    pub async fn gone(&mut self) -> usize {
        while !self.starting.is_empty() {
            self.scale(0);
            tokio::task::yield_now().await;
        }
        self.scale(0);
        while let Some(in_good_order) = self.ending.join_next().await {
            self.note(in_good_order.expect("a worker ends"));
        }
        self.started
    }
}

/// Tells a worker to stop; whether it ended in good order within its time.
async fn terminate(mut pod: Member, grace: Duration) -> bool {
    pod.signal("TERM");
    if let Ok(status) = tokio::time::timeout(grace, pod.ended()).await {
        assert!(status.success(), "{}: {}", pod.name, pod.log());
        true
    } else {
        pod.kill().await;
        false
    }
}
