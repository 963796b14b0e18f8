//! How many requests a minute each key may submit.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};

use crate::domain::ids::Tenant;

/// One allowance per tenant: as many as a minute's worth at once, refilled evenly.
pub struct Rate {
    limiter: RateLimiter<Tenant, HashMapStateStore<Tenant>, DefaultClock>,
}

impl Rate {
    /// An allowance of `requests` a minute; none if that is zero.
    pub fn per_minute(requests: u32) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(requests)?);
        Some(Self { limiter: RateLimiter::hashmap(quota) })
    }

    /// Takes one request off the tenant's allowance, or says how long to wait for it.
    pub fn take(&self, tenant: &Tenant) -> Result<(), Duration> {
        self.limiter.check_key(tenant).map_err(|refused| refused.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_an_allowance_of_its_own_and_is_told_how_long_to_wait() {
        let rate = Rate::per_minute(2).unwrap();
        let (a, b) = (Tenant::from("a"), Tenant::from("b"));
        assert!(rate.take(&a).is_ok());
        assert!(rate.take(&a).is_ok());
        let wait = rate.take(&a).unwrap_err();
        assert!(wait <= Duration::from_secs(30), "{wait:?}");
        assert!(rate.take(&b).is_ok());
    }
}
