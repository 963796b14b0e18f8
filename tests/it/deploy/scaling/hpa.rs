//! Kubernetes' horizontal autoscaler for one external metric with a target per replica: wish, stabilisation, rates.
//! Source: kubernetes' `podautoscaler/horizontal.go` and `replica_calculator.go` of 1.30.

use super::spec::{Policy, Rules, Spec};

/// As far as the use of what there is may be off without a change.
const TOLERANCE: f64 = 0.1;

/// Between two looks, in seconds.
pub const PERIOD: u64 = 15;

/// The autoscaler of one deployment.
#[derive(Debug, Default)]
pub struct Hpa {
    /// What it wished for, and when.
    wishes: Vec<(u64, u32)>,
    /// What it did, and when: replicas more or fewer.
    changes: Vec<(u64, i64)>,
}

impl Hpa {
    /// One look at `now`, in seconds: how many replicas there should be.
    pub fn look(&mut self, spec: &Spec, now: u64, metric: f64, replicas: u32) -> u32 {
        let wish = wish(spec, metric, replicas);
        self.wishes.push((now, wish));
        let steady = self.steady(spec, now, wish, replicas).clamp(spec.min.max(1), spec.max);
        let next = if steady > replicas {
            steady.min(self.limit_up(&spec.up, now, replicas).max(replicas))
        } else {
            steady.max(self.limit_down(&spec.down, now, replicas).min(replicas))
        };
        if next != replicas {
            self.changes.push((now, i64::from(next) - i64::from(replicas)));
        }
        next
    }

    /// The wish, held back by earlier ones: up by the lowest, down by the highest of the time of each.
    fn steady(&self, spec: &Spec, now: u64, wish: u32, replicas: u32) -> u32 {
        let within = |window: u64| {
            self.wishes.iter().filter(move |(at, _)| at + window > now).map(|(_, wish)| *wish).chain([wish])
        };
        let up = within(spec.up.window).min().unwrap_or(wish);
        let down = within(spec.down.window).max().unwrap_or(wish);
        replicas.max(up).min(down)
    }

    /// How many there were when the policy's time began.
    fn at_beginning(&self, policy: &Policy, now: u64, replicas: u32) -> f64 {
        let since = self.changes.iter().filter(|(at, _)| at + policy.period > now);
        (i64::from(replicas) - since.map(|(_, change)| change).sum::<i64>()) as f64
    }

    fn limit_up(&self, rules: &Rules, now: u64, replicas: u32) -> u32 {
        let limits = rules.policies.iter().map(|policy| {
            let (begun, value) = (self.at_beginning(policy, now, replicas), f64::from(policy.value));
            (if policy.percent { (begun * (1.0 + value / 100.0)).ceil() } else { begun + value }) as u32
        });
        limits.max().unwrap_or(replicas)
    }

    fn limit_down(&self, rules: &Rules, now: u64, replicas: u32) -> u32 {
        let limits = rules.policies.iter().map(|policy| {
            let (begun, value) = (self.at_beginning(policy, now, replicas), f64::from(policy.value));
            (if policy.percent { begun * (1.0 - value / 100.0) } else { begun - value }).max(0.0) as u32
        });
        limits.min().unwrap_or(replicas)
    }
}

/// What the metric calls for.
fn wish(spec: &Spec, metric: f64, replicas: u32) -> u32 {
    let use_of_target = metric / (spec.target * f64::from(replicas));
    if (use_of_target - 1.0).abs() <= TOLERANCE { replicas } else { (metric / spec.target).ceil() as u32 }
}
